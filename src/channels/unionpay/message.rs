//! The three ways in which UnionPay writes a set of fields: a request and a notification are forms, a direct answer
//! looks like one and is not: its values are raw.

use std::collections::BTreeMap;

use url::form_urlencoded;

/// In the order in which they are signed.
pub type Fields = BTreeMap<String, String>;

/// The largest message seen has 30 fields.
const FIELDS_MAX: usize = 100;
/// A notification has about 3,000 bytes.
const FORM_MAX: usize = 64 * 1024;

/// Reads a direct answer: `k=v&k=v` with raw values, in which `+` and `=` of base64 stand for themselves. A value may
/// hold `{a=1&b=2}` or `[…]`, whose `&` does not end it. Nothing is trimmed, since a certificate that comes last may end
/// with a line of its own, and that is signed; the whole may stand in braces, as the kit reads it.
///
/// # Errors
/// What is wrong with it.
pub fn read_answer(body: &[u8]) -> Result<Fields, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8")?;
    let mut fields = Fields::new();
    let mut rest = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("the answer is not made of fields")?;
        let end = end_of_value(after);
        insert(&mut fields, name.to_owned(), after[..end].to_owned())?;
        rest = after[end..].strip_prefix('&').unwrap_or_default();
    }
    Ok(fields)
}

/// Where a raw value ends: at the first `&` that is not within brackets.
fn end_of_value(text: &str) -> usize {
    let mut closing = None;
    for (place, byte) in text.bytes().enumerate() {
        match (closing, byte) {
            (None, b'&') => return place,
            (None, b'{') => closing = Some(b'}'),
            (None, b'[') => closing = Some(b']'),
            (Some(awaited), _) if awaited == byte => closing = None,
            (None | Some(_), _) => {}
        }
    }
    text.len()
}

/// Reads a notification. Empty fields are not signed and are left out.
///
/// # Errors
/// What is wrong with it.
pub fn read_form(body: &[u8]) -> Result<Fields, &'static str> {
    if body.len() > FORM_MAX {
        return Err("the form is too long");
    }
    let mut fields = Fields::new();
    for (name, value) in form_urlencoded::parse(body) {
        insert(&mut fields, name.into_owned(), value.into_owned())?;
    }
    fields.retain(|_, value| !value.is_empty());
    Ok(fields)
}

pub fn write_form(fields: &Fields) -> Vec<u8> {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes()
}

fn insert(fields: &mut Fields, name: String, value: String) -> Result<(), &'static str> {
    if fields.len() == FIELDS_MAX {
        return Err("there are too many fields");
    }
    match fields.insert(name, value) {
        None => Ok(()),
        Some(_) => Err("a field comes twice"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn trap_05_a_direct_answer_is_raw_and_not_a_form() {
        let body = "accNo=a+b/c==&respMsg=成功[0000000]&reserved={a=1&b=[2]}&x=[1&2]&empty=&signature=q+w==\r\n";
        let expected = [
            ("accNo", "a+b/c=="),
            ("respMsg", "成功[0000000]"),
            ("reserved", "{a=1&b=[2]}"),
            ("x", "[1&2]"),
            ("empty", ""),
            ("signature", "q+w==\r\n"),
        ];
        assert_eq!(read_answer(body.as_bytes()), Ok(fields(&expected)));
        assert_eq!(read_answer(b"{a=1&b={c=2}}"), Ok(fields(&[("a", "1"), ("b", "{c=2}")])));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for body in ["Invalid request.", "a=1&b", "a=1&a=1", "a=1&a=2"] {
            assert!(read_answer(body.as_bytes()).is_err(), "{body}");
        }
        assert!(read_answer(&[b'a', b'=', 0xb3, 0xc9]).is_err(), "GBK");
        let many: String = (0..=FIELDS_MAX).map(|place| format!("f{place}=1&")).collect();
        assert!(read_answer(many.as_bytes()).is_err());
    }

    #[test]
    fn an_unclosed_bracket_takes_the_rest() {
        assert_eq!(read_answer(b"a=[1&signature=x"), Ok(fields(&[("a", "[1&signature=x")])));
    }

    #[test]
    fn a_form_is_decoded_once() {
        let read = read_form(b"signature=q%2Bw%3D%3D&respMsg=a+b%2520c&empty=").expect("a form");
        assert_eq!(read, fields(&[("signature", "q+w=="), ("respMsg", "a b%20c")]));
        assert!(read_form(b"a=1&a=1").is_err());
        assert!(read_form(&vec![b'a'; FORM_MAX + 1]).is_err());
        let written = fields(&[("a", "+ =&"), ("中", "文")]);
        assert_eq!(read_form(&write_form(&written)), Ok(written));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = (read_answer(&bytes), read_form(&bytes));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z=&\\[\\]{}成]{0,40}") {
            let _ = read_answer(text.as_bytes());
        }
    }
}
