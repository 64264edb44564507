//! Query parameters, as strictly as bodies: each known one at most once.

use std::borrow::Cow;

use actix_web::HttpRequest;

use super::problem::{ApiError, Code};

pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// # Errors
    /// An unknown parameter, or one that stands there twice, named.
    pub fn read(request: &'a HttpRequest, known: &[&str]) -> Result<Self, ApiError> {
        let mut read: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            if !known.contains(&name.as_ref()) || read.iter().any(|(before, _)| *before == name) {
                let shown: String = name.chars().take(64).collect();
                let detail = format!("Known, each at most once: {}.", known.join(", "));
                return Err(ApiError::field(Code::ParameterUnknown, shown, detail));
            }
            read.push((name, value));
        }
        Ok(Query(read))
    }

    /// The value of a parameter; an empty one counts as not given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_ref())
            .filter(|value| !value.is_empty())
    }

    /// The value of a parameter as `read` understands it.
    pub fn parse<T>(
        &self,
        code: Code,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| ApiError::field(code, name, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn parameters_are_known_and_stand_once() {
        let read = |query: &str| {
            let request = TestRequest::with_uri(&format!("/v1/orders?{query}")).to_http_request();
            Query::read(&request, &["state", "limit"])
                .map(|query| query.get("state").map(String::from))
                .map_err(|error| (error.code, error.at().map(String::from)))
        };
        assert_eq!(read("state=a%20b&limit="), Ok(Some("a b".into())));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("state="), Ok(None));
        assert_eq!(read("sate=x"), Err((Code::ParameterUnknown, Some("sate".into()))));
        assert_eq!(read("state=x&state=x"), Err((Code::ParameterUnknown, Some("state".into()))));
    }
}
