//! Forms, read strictly: every pair once, every escape whole, every text UTF-8.

use std::collections::BTreeMap;

use url::form_urlencoded::Serializer;

/// More parameters than any call has.
const PARAMETERS_MAX: usize = 64;

pub type Parameters = BTreeMap<String, String>;

/// Reads a query string and a body into one set; a name that comes twice could mean either.
pub fn read(query: &str, body: &[u8]) -> Option<Parameters> {
    let body = std::str::from_utf8(body).ok()?;
    let mut parameters = Parameters::new();
    for pair in query.split('&').chain(body.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let is_new = parameters.insert(decode(name)?, decode(value)?).is_none();
        if !is_new || parameters.len() > PARAMETERS_MAX {
            return None;
        }
    }
    Some(parameters)
}

/// A plus is a space; it is decoded once.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

pub fn write(parameters: &Parameters) -> String {
    Serializer::new(String::new()).extend_pairs(parameters).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_04_a_form_is_decoded_once_and_written_back() {
        let read_back = read("a=1%2B1&b=x+y", "c=%25%34%31&d=".as_bytes()).unwrap();
        let expected = [("a", "1+1"), ("b", "x y"), ("c", "%41"), ("d", "")];
        assert_eq!(read_back, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(read(&write(&read_back), b""), Some(read_back));
    }

    #[test]
    fn trap_09_what_is_malformed_or_doubled_is_refused() {
        for (query, body) in
            [("a=1&a=1", ""), ("a=1", "a=1"), ("a", ""), ("a=%4", ""), ("a=%zz", ""), ("a=%+1", ""), ("a=%ff", "")]
        {
            assert_eq!(read(query, body.as_bytes()), None, "{query} {body}");
        }
        assert_eq!(read("", b"\xff=1"), None);
        let many: Vec<String> = (0..65).map(|n| format!("p{n}=1")).collect();
        assert_eq!(read(&many.join("&"), b""), None);
    }
}
