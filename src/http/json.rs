//! Bodies, strictly: what is read is exactly what was meant, or the request is refused.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::connections::Connection;
use super::problem::{ApiError, Code};
use crate::config::Server;

/// A JSON value as it stood in a body; texts without escapes are borrowed from it. Nesting is bounded by the reader
/// (128 levels) and no object has a key twice.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// Fractions, exponents and integers beyond 64 bits: nothing that any field takes.
    OtherNumber,
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// The fields of an object of which every key is known.
#[derive(Debug)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// Reads a body that says that it is JSON.
///
/// # Errors
/// As [`require_json`] and [`bytes`].
pub async fn body(request: &HttpRequest, payload: Payload, bounds: &Server) -> Result<Bytes, ApiError> {
    require_json(request)?;
    bytes(request, payload, bounds).await
}

/// Reads a body up to its bound and within its time.
pub async fn bytes(request: &HttpRequest, payload: Payload, bounds: &Server) -> Result<Bytes, ApiError> {
    let max = bounds.body_max_bytes;
    let too_large = || ApiError::new(Code::BodyTooLarge, format!("A body may have at most {max} bytes."));
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let within = Duration::from_millis(bounds.body_timeout_ms);
    match tokio::time::timeout(within, collect(payload, max)).await {
        Err(_) => Err(ApiError::new(Code::BodyTimeout, format!("A body must arrive within {within:?}."))),
        Ok(Err(Uncollected::TooLarge)) => Err(too_large()),
        Ok(Err(Uncollected::Broken)) => Err(ApiError::new(Code::RequestInvalid, "The body ended before its time.")),
        Ok(Ok(bytes)) => {
            if let Some(connection) = request.conn_data::<Arc<Connection>>() {
                connection.body_came();
            }
            Ok(bytes)
        }
    }
}

enum Uncollected {
    TooLarge,
    Broken,
}

/// Most bodies come in one piece, which is not copied.
async fn collect(mut payload: Payload, max: usize) -> Result<Bytes, Uncollected> {
    let mut body = Bytes::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| Uncollected::Broken)?;
        if body.len() + piece.len() > max {
            return Err(Uncollected::TooLarge);
        }
        if body.is_empty() {
            body = piece;
        } else {
            let mut joined = BytesMut::from(body);
            joined.extend_from_slice(&piece);
            body = joined.freeze();
        }
    }
    Ok(body)
}

/// # Errors
/// The content type is another one than `application/json` (parameters such as a charset are ignored).
pub fn require_json(request: &HttpRequest) -> Result<(), ApiError> {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(Code::ContentTypeUnsupported, "Send the body as application/json."))
}

/// Reads the object that a body is, all of whose keys are among `known`.
///
/// # Errors
/// 400 for what is no JSON object, has a key twice at any depth, or is no UTF-8; 422 naming the first unknown field.
pub fn object<'a>(body: &'a [u8], known: &[&str]) -> Result<Fields<'a>, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Json::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(Json::Object(fields)) => Fields::known(fields, known, ""),
        Ok(_) => Err(ApiError::new(Code::BodyInvalid, "The body must be a JSON object.")),
        Err(error) => Err(ApiError::new(Code::BodyInvalid, format!("The body is not valid JSON: {error}."))),
    }
}

impl<'a> Fields<'a> {
    fn known(fields: Vec<(Cow<'a, str>, Json<'a>)>, known: &[&str], within: &str) -> Result<Self, ApiError> {
        match fields.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
            None => Ok(Fields(fields)),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(ApiError::field(Code::FieldUnknown, format!("{within}{name}"), "This field is not known."))
            }
        }
    }

    /// The value of a field; a field that is not there is null.
    pub fn take(&mut self, name: &str) -> Json<'a> {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => std::mem::replace(value, Json::Null),
            None => Json::Null,
        }
    }
}

impl<'a> Json<'a> {
    pub fn is_null(&self) -> bool {
        matches!(self, Json::Null)
    }

    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Json::Text(text) => Some(text),
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::OtherNumber | Json::List(_) | Json::Object(_) => None,
        }
    }

    pub fn integer(self) -> Option<i64> {
        match self {
            Json::Integer(number) => Some(number),
            Json::Null | Json::Bool(_) | Json::OtherNumber | Json::Text(_) | Json::List(_) | Json::Object(_) => None,
        }
    }

    pub fn entries(self) -> Option<Vec<(Cow<'a, str>, Json<'a>)>> {
        match self {
            Json::Object(entries) => Some(entries),
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::OtherNumber | Json::Text(_) | Json::List(_) => None,
        }
    }

    /// The fields of an object within the field `name`; `invalid` refuses what is no object.
    pub fn fields(
        self,
        name: &str,
        known: &[&str],
        invalid: impl FnOnce() -> ApiError,
    ) -> Result<Fields<'a>, ApiError> {
        Fields::known(self.entries().ok_or_else(invalid)?, known, &format!("{name}."))
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyReader;
        impl<'de> Visitor<'de> for KeyReader {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.into())))
            }
        }
        deserializer.deserialize_str(KeyReader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut fields: Vec<(Cow<'de, str>, Json<'de>)> = Vec::with_capacity(8);
        while let Some((Key(key), value)) = map.next_entry()? {
            fields.push((key, value));
        }
        // Sorting keeps a body of ten thousand keys from costing fifty million comparisons.
        let mut keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_ref()).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            let shown: String = pair[0].chars().take(64).collect();
            return Err(serde::de::Error::custom(format_args!("the key {shown:?} stands there twice")));
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &[u8]) -> Code {
        object(body, &["a", "b", "payer"]).unwrap_err().code
    }

    #[test]
    fn an_object_is_read_field_by_field() {
        let mut fields = object(br#"{"a":"x\u0041","b":[1,-2,1.5,true,null]}"#, &["a", "b", "c"]).unwrap();
        assert_eq!(fields.take("a"), Json::Text("xA".into()));
        assert_eq!(
            fields.take("b"),
            Json::List(vec![Json::Integer(1), Json::Integer(-2), Json::OtherNumber, Json::Bool(true), Json::Null])
        );
        assert!(fields.take("c").is_null());
    }

    #[test]
    fn what_is_not_exactly_one_json_object_is_refused() {
        let deep = [b"{\"a\":".repeat(200), b"1".to_vec(), b"}".repeat(200)].concat();
        let bodies: [&[u8]; 18] = [
            b"",
            b" ",
            b"null",
            b"[]",
            b"\"a\"",
            b"{",
            b"{}}",
            b"{} {}",
            b"{\"a\":1,}",
            b"{'a':1}",
            b"{\"a\":01}",
            b"{\"a\":1e999}",
            b"{\"a\":NaN}",
            b"{\"a\":\"\n\"}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"\xef\xbb\xbf{}",
            &deep,
        ];
        for body in bodies {
            assert_eq!(code(body), Code::BodyInvalid, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_key_stands_once_at_every_depth_however_it_is_written() {
        for body in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":1}"#,
            r#"{"a":{"x":1,"x":2}}"#,
            r#"{"a":[{"x":1},{"y":{"z":1,"z":1}}]}"#,
            r#"{"unknown":1,"unknown":1}"#,
        ] {
            assert_eq!(code(body.as_bytes()), Code::BodyInvalid, "{body}");
        }
        assert!(object(br#"{"a":{"x":1},"b":{"x":1}}"#, &["a", "b"]).is_ok());
    }

    #[test]
    fn an_unknown_field_is_named() {
        let named = |error: ApiError| serde_json::to_value(error.to_string()).unwrap();
        let error = object(br#"{"a":1,"amuont":"1"}"#, &["a"]).unwrap_err();
        assert_eq!(error.code, Code::FieldUnknown);
        assert_eq!(error.at(), Some("amuont"), "{}", named(error.clone()));

        let mut fields = object(br#"{"payer":{"name":"x"}}"#, &["payer"]).unwrap();
        let invalid = || ApiError::new(Code::PayerInvalid, "");
        let error = fields.take("payer").fields("payer", &["id"], invalid).unwrap_err();
        assert_eq!(error.at(), Some("payer.name"));
    }

    #[test]
    fn ten_thousand_keys_cost_no_more_than_they_weigh() {
        let keys: Vec<String> = (0..6_000).map(|key| format!("\"k{key}\":1")).collect();
        let body = format!("{{\"a\":{{{}}}}}", keys.join(","));
        let begun = std::time::Instant::now();
        object(body.as_bytes(), &["a"]).unwrap();
        assert!(begun.elapsed().as_millis() < 200);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body: Vec<u8>) {
            let _ = object(&body, &["a"]);
        }
    }
}
