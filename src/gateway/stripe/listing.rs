//! Lists: newest first, a page at a time.

use serde_json::{Value, json};

use super::failure::Failure;
use super::form::Params;

const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 100;

/// What a caller wants to see of a list.
pub struct Page {
    limit: usize,
    starting_after: Option<String>,
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
        Ok(Page { limit, starting_after: params.text("starting_after") })
    }

    /// The page of these objects, which come oldest first.
    pub fn of(&self, url: &str, objects: Vec<Value>) -> Result<Value, Failure> {
        let mut rest = objects.into_iter().rev();
        if let Some(last) = &self.starting_after {
            let missing = || Failure::no_such("object", "starting_after", last);
            rest.find(|object| object["id"] == last.as_str()).ok_or_else(missing)?;
        }
        let data: Vec<Value> = rest.by_ref().take(self.limit).collect();
        Ok(json!({ "object": "list", "url": url, "has_more": rest.next().is_some(), "data": data }))
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
        assert!(page("starting_after=o9").is_err());
        assert!(page("limit=101").is_err() && page("limit=0").is_err());
    }
}
