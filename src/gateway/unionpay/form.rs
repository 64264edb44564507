//! UnionPay's messages as texts: forms that come in, forms that go to merchants, and answers, which are not encoded.

use std::collections::BTreeMap;

use url::form_urlencoded::Serializer;

/// The fields of a message in the order of their names, which is how they are signed.
pub type Fields = BTreeMap<String, String>;

pub const SIGNATURE: &str = "signature";

const FIELDS_MAX: usize = 64;

/// Reads a form: every field once, every escape whole, all of it UTF-8.
pub fn parse(body: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    for pair in body.split(|byte| *byte == b'&') {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (decoded(&pair[..at])?, decoded(&pair[at + 1..])?);
        if name.is_empty() || fields.len() == FIELDS_MAX || fields.insert(name, value).is_some() {
            return None;
        }
    }
    Some(fields)
}

fn decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => digit(*rest.next()?)? << 4 | digit(*rest.next()?)?,
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// What is signed: everything but the signature, by its name, nothing encoded.
pub fn signed_text(fields: &Fields) -> String {
    joined(fields.iter().filter(|(name, value)| *name != SIGNATURE && !value.is_empty()))
}

/// A synchronous answer: the fields as they are. Who decodes it as a form spoils the `+` of every base64.
pub fn answer(fields: &Fields) -> Vec<u8> {
    joined(fields.iter()).into_bytes()
}

/// A notification: an ordinary form.
pub fn notification(fields: &Fields) -> Vec<u8> {
    Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
}

fn joined<'a>(fields: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn trap_09_a_form_is_decoded_once_and_strictly() {
        let read = parse(b"orderId=T1&accNo=a%2Bb%3D+c&respMsg=%E6%88%90%E5%8A%9F&empty=").unwrap();
        assert_eq!(read, fields(&[("orderId", "T1"), ("accNo", "a+b= c"), ("respMsg", "成功"), ("empty", "")]));
        let broken: [&[u8]; 8] = [b"", b"a", b"=1", b"a=1&a=2", b"a=%2", b"a=%zz", b"a=%ff", b"a=1&&b=2"];
        for body in broken {
            assert_eq!(parse(body), None, "{}", String::from_utf8_lossy(body));
        }
        let many = (0..65).map(|number| format!("f{number}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(parse(many.as_bytes()), None);
    }

    #[test]
    fn what_is_signed_is_sorted_and_has_neither_signature_nor_empty_values() {
        let fields = fields(&[("txnAmt", "1"), ("bizType", "000201"), ("signature", "x"), ("certId", ""), ("Z", "1")]);
        assert_eq!(signed_text(&fields), "Z=1&bizType=000201&txnAmt=1");
    }

    #[test]
    fn trap_05_an_answer_is_raw_and_a_notification_is_a_form() {
        let fields = fields(&[("respMsg", "成功[0]"), ("signature", "a+b/c==")]);
        assert_eq!(answer(&fields), "respMsg=成功[0]&signature=a+b/c==".as_bytes());
        let form = notification(&fields);
        assert_eq!(form, b"respMsg=%E6%88%90%E5%8A%9F%5B0%5D&signature=a%2Bb%2Fc%3D%3D");
        assert_eq!(parse(&form), Some(fields));
    }
}
