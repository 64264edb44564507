//! The forms of Alipay's messages: the text that a signature covers, form bodies, and the JSON around an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use url::form_urlencoded;

use crate::channels::joined::joined;

/// Longer messages are refused unread.
const MESSAGE_MAX: usize = 256 * 1024;
/// A notification has about thirty fields.
const FIELDS_MAX: usize = 128;

/// Parameters by name, as they were before any encoding.
pub type Parameters = BTreeMap<String, String>;

/// Which parameters a signature does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncovered {
    /// Of a request, and of a message that names its `method`.
    Sign,
    /// Of a notification about a trade.
    SignAndType,
}

impl Uncovered {
    fn covers(self, name: &str) -> bool {
        match self {
            Uncovered::Sign => name != "sign",
            Uncovered::SignAndType => name != "sign" && name != "sign_type",
        }
    }
}

/// `a=1&b=2`: sorted by name, nothing encoded, empty values left in.
pub fn signed_text(parameters: &Parameters, uncovered: Uncovered) -> String {
    joined(parameters.iter().filter(|(name, _)| uncovered.covers(name)))
}

/// The same without empty values.
pub fn signed_text_of_filled(parameters: &Parameters, uncovered: Uncovered) -> String {
    joined(parameters.iter().filter(|(name, value)| uncovered.covers(name) && !value.is_empty()))
}

/// The form encoding of names and values, in UTF-8.
pub fn encoded<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Reads a form body, decoding each name and value exactly once.
///
/// # Errors
/// A name that comes twice, an escape that is none, bytes that are not UTF-8, too much of anything.
pub fn read_form(body: &[u8]) -> Result<Parameters, &'static str> {
    if body.len() > MESSAGE_MAX {
        return Err("the body is too long");
    }
    let mut parameters = Parameters::new();
    for pair in body.split(|byte| *byte == b'&') {
        let equals = pair.iter().position(|byte| *byte == b'=').ok_or("a field has no value")?;
        let name = decoded(&pair[..equals])?;
        let value = decoded(&pair[equals + 1..])?;
        if name.is_empty() {
            return Err("a field has no name");
        }
        if parameters.insert(name, value).is_some() {
            return Err("a field comes twice");
        }
        if parameters.len() > FIELDS_MAX {
            return Err("there are too many fields");
        }
    }
    Ok(parameters)
}

fn decoded(text: &[u8]) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
                match (digit(), digit()) {
                    // Two hexadecimal digits are at most 255.
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    (Some(_) | None, _) => return Err("an escape is none"),
                }
            }
            plain => *plain,
        });
    }
    String::from_utf8(bytes).map_err(|_| "the text is not UTF-8")
}

/// An answer before anything in it is believed.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The inner object, byte for byte as it came: what the signature covers.
    pub content: &'a str,
    pub sign: Option<String>,
    pub cert_sn: Option<String>,
}

/// Takes an answer to `method` apart.
///
/// # Errors
/// It is not one JSON object with exactly one answer in it.
pub fn envelope<'a>(body: &'a [u8], method: &str) -> Result<Envelope<'a>, String> {
    let members = members(body)?;
    let response = format!("{}_response", method.replace('.', "_"));
    let mut envelope = Envelope { content: "", sign: None, cert_sn: None };
    for (name, value) in members {
        match name.as_str() {
            "sign" => envelope.sign = Some(text(value)?),
            "alipay_cert_sn" => envelope.cert_sn = Some(text(value)?),
            name if name == response || name == "error_response" => {
                if !envelope.content.is_empty() {
                    return Err("there are two answers in one".into());
                }
                envelope.content = value.get();
            }
            _ => {}
        }
    }
    if envelope.content.is_empty() {
        return Err("there is no answer in it".into());
    }
    Ok(envelope)
}

/// The `code` of an answer, whatever it answers and before anything in it is believed.
pub fn code(body: &[u8]) -> Option<String> {
    let answer = members(body).ok()?.into_iter().find(|(name, _)| name.ends_with("_response"))?.1;
    texts(answer.get()).ok()?.remove("code")
}

/// The members of the inner object that are texts, or numbers, as the documents' samples have some amounts: their
/// digits as they stand there. What else there is, is not asked for.
///
/// # Errors
/// It is no JSON object, or a name comes twice.
pub fn texts(content: &str) -> Result<Parameters, String> {
    let plain = |value: &RawValue| match value.get().as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Some(value.get().to_owned()),
        Some(_) | None => text(value).ok(),
    };
    Ok(members(content.as_bytes())?.into_iter().filter_map(|(name, value)| Some((name, plain(value)?))).collect())
}

fn members(json: &[u8]) -> Result<Vec<(String, &RawValue)>, String> {
    if json.len() > MESSAGE_MAX {
        return Err("the answer is too long".into());
    }
    serde_json::from_slice::<Members<'_>>(json)
        .map(|Members(members)| members)
        .map_err(|error| format!("unreadable answer: {error}"))
}

fn text(value: &RawValue) -> Result<String, String> {
    serde_json::from_str(value.get()).map_err(|_| "a member is not a text".into())
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;

        impl<'de> Visitor<'de> for Once {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut seen = BTreeSet::new();
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if !seen.insert(name.clone()) {
                        return Err(de::Error::custom("a name comes twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn trap_03_sign_type_is_signed_in_requests_and_not_in_notifications() {
        let given = parameters(&[("b", "2 +"), ("sign_type", "RSA2"), ("a", ""), ("sign", "s")]);
        assert_eq!(signed_text(&given, Uncovered::Sign), "a=&b=2 +&sign_type=RSA2");
        assert_eq!(signed_text(&given, Uncovered::SignAndType), "a=&b=2 +");
        assert_eq!(signed_text_of_filled(&given, Uncovered::Sign), "b=2 +&sign_type=RSA2");
    }

    #[test]
    fn trap_04_forms_are_decoded_exactly_once() {
        let read = read_form(b"sign=a%2Bb%3D%3D&subject=one+%2B+two&twice=%252B&empty=&zh=%E8%8C%B6").unwrap();
        let expected =
            parameters(&[("sign", "a+b=="), ("subject", "one + two"), ("twice", "%2B"), ("empty", ""), ("zh", "茶")]);
        assert_eq!(read, expected);
        let encoded = encoded(expected.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        assert_eq!(read_form(encoded.as_bytes()), Ok(expected));
    }

    #[test]
    fn trap_09_forms_with_faults_are_refused() {
        let many = (0..=FIELDS_MAX).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
        let long = format!("a={}", "x".repeat(MESSAGE_MAX));
        let wrong: [&[u8]; 11] = [
            b"",
            b"a",
            b"=1",
            b"a=1&a=2",
            b"a=1&%61=2",
            b"a=1&",
            b"a=%2",
            b"a=%zz",
            b"a=%B2%E8",
            many.as_bytes(),
            long.as_bytes(),
        ];
        for body in wrong {
            assert!(read_form(body).is_err(), "{}", String::from_utf8_lossy(&body[..body.len().min(40)]));
        }
    }

    #[test]
    fn trap_02_the_signed_text_is_cut_from_the_received_bytes() {
        let body = br#"{ "alipay_trade_query_response" : {"msg":"a \/ b",  "code":"10000"} , "sign":"c2ln","alipay_cert_sn":"ab"}"#;
        let envelope = envelope(body, "alipay.trade.query").unwrap();
        assert_eq!(envelope.content, r#"{"msg":"a \/ b",  "code":"10000"}"#);
        assert_eq!((envelope.sign.as_deref(), envelope.cert_sn.as_deref()), (Some("c2ln"), Some("ab")));
        assert_eq!(texts(envelope.content).unwrap(), parameters(&[("msg", "a / b"), ("code", "10000")]));
    }

    #[test]
    fn trap_09_answers_with_faults_are_refused() {
        let wrong: [&[u8]; 10] = [
            b"",
            b"[]",
            b"null",
            br#"{"sign":"s"}"#,
            br#"{"alipay_trade_close_response":{}}"#,
            br#"{"alipay_trade_query_response":{},"alipay_trade_query_response":{}}"#,
            br#"{"alipay_trade_query_response":{},"error_response":{}}"#,
            br#"{"alipay_trade_query_response":{},"sign":1}"#,
            br#"{"alipay_trade_query_response":{"code":"10000"#,
            b"{\"alipay_trade_query_response\":{\"msg\":\"\xb2\xe8\"}}",
        ];
        for body in wrong {
            assert!(envelope(body, "alipay.trade.query").is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(texts(r#"{"code":"10000","code":"40004"}"#).is_err());
        assert!(texts(r#""10000""#).is_err());
        let read = texts(r#"{"total_amount":0.10,"msg":"x","list":[{"a":"b"}],"flag":true,"none":null}"#);
        assert_eq!(read, Ok(parameters(&[("total_amount", "0.10"), ("msg", "x")])));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = read_form(&body);
            let _ = envelope(&body, "alipay.trade.query");
        }
    }
}
