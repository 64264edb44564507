//! Lists: newest first, a page at a time.

use serde_json::{Value, json};

use super::failure::Failure;
use super::form::Params;

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 100;

/// What a caller wants to see of a list.
pub struct Page {
    limit: usize,
    from: From,
}

/// Where a page begins or ends, by the id of a neighbour that is not on it.
enum From {
    Newest,
    StartingAfter(String),
    EndingBefore(String),
}

impl Page {
    pub fn read(params: &mut Params) -> Result<Self, Failure> {
        let limit = match params.amount("limit")? {
            None => LIMIT_DEFAULT,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| *limit <= LIMIT_MAX)
                .ok_or_else(|| Failure::parameter("parameter_invalid_integer", "limit", "Limit must be 1 to 100."))?,
        };
        let from = match (params.text("starting_after"), params.text("ending_before")) {
            (None, None) => From::Newest,
            (Some(id), None) => From::StartingAfter(id),
            (None, Some(id)) => From::EndingBefore(id),
            (Some(_), Some(_)) => {
                return Err(Failure::invalid("Give either `starting_after` or `ending_before`."));
            }
        };
        Ok(Page { limit, from })
    }

    /// The page of these objects, which come oldest first.
    pub fn of(&self, url: &str, objects: Vec<Value>) -> Result<Value, Failure> {
        let place = |parameter: &str, id: &str| {
            let place = objects.iter().position(|object| object["id"] == id);
            place.ok_or_else(|| Failure::no_such("object", parameter, id))
        };
        let (page, has_more) = match &self.from {
            From::Newest => self.newest(&objects),
            From::StartingAfter(id) => self.newest(&objects[..place("starting_after", id)?]),
            From::EndingBefore(id) => {
                let newer = &objects[place("ending_before", id)? + 1..];
                let page = &newer[..newer.len().min(self.limit)];
                (page, page.len() < newer.len())
            }
        };
        let data: Vec<&Value> = page.iter().rev().collect();
        Ok(json!({ "object": "list", "url": url, "has_more": has_more, "data": data }))
    }

    fn newest<'a>(&self, objects: &'a [Value]) -> (&'a [Value], bool) {
        let from = objects.len().saturating_sub(self.limit);
        (&objects[from..], from > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let objects = || (0..5).map(|n| json!({ "id": format!("o{n}") })).collect::<Vec<_>>();
        let page = |form: &str| {
            Page::read(&mut Params::read(form.as_bytes()).expect("parameters"))
                .and_then(|page| page.of("/x", objects()))
        };
        let ids = |list: &Value| -> Vec<String> {
            list["data"].as_array().expect("a list").iter().map(|object| object["id"].to_string()).collect()
        };
        let first = page("limit=2").expect("a page");
        assert_eq!((ids(&first), &first["has_more"]), (vec!["\"o4\"".to_owned(), "\"o3\"".to_owned()], &json!(true)));
        let last = page("limit=3&starting_after=o3").expect("a page");
        assert_eq!((ids(&last).len(), &last["has_more"]), (3, &json!(false)));
        let back = page("limit=2&ending_before=o1").expect("a page");
        assert_eq!((ids(&back), &back["has_more"]), (vec!["\"o3\"".to_owned(), "\"o2\"".to_owned()], &json!(true)));
        let top = page("limit=3&ending_before=o2").expect("a page");
        assert_eq!((ids(&top), &top["has_more"]), (vec!["\"o4\"".to_owned(), "\"o3\"".to_owned()], &json!(false)));
        assert!(page("starting_after=o9").is_err() && page("ending_before=o9").is_err());
        assert!(page("starting_after=o1&ending_before=o3").is_err());
        assert!(page("limit=101").is_err() && page("limit=0").is_err());
    }
}
