//! Canonical JSON (RFC 8785): one text for each value, so that whoever has the value can make the bytes again.
//!
//! Written straight into the bytes: an object whose members come in another order than that of their keys is put right
//! once it is whole. Nothing that we store has a number with a fraction or a key that needs an escape, and neither is
//! written.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

/// Adds `value` to `to`.
///
/// # Errors
/// It holds a number with a fraction, a key twice, or a key that is not plain ASCII; what `to` holds then is of no use.
pub fn write(value: &impl Serialize, to: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let mut canonical = Canonical { to, members: Vec::new(), objects: Vec::new(), scratch: Vec::new() };
    value.serialize(&mut Serializer::with_formatter(io::sink(), &mut canonical))
}

/// Where a member of an object lies in what was written.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Member {
    /// Without its quotes.
    fn key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.start + 1..self.key_end - 1]
    }
}

struct Canonical<'t> {
    to: &'t mut Vec<u8>,
    /// Of all objects that are being written, the innermost one's last.
    members: Vec<Member>,
    /// The first member of each of them.
    objects: Vec<usize>,
    scratch: Vec<u8>,
}

impl Canonical<'_> {
    fn put_right(&mut self, first: usize) -> io::Result<()> {
        let members = &mut self.members[first..];
        if !members.is_sorted_by(|one, next| one.key(self.to) < next.key(self.to)) {
            let Some(start) = members.iter().map(|member| member.start).min() else { return Ok(()) };
            members.sort_by(|one, other| one.key(self.to).cmp(other.key(self.to)));
            if members.windows(2).any(|pair| pair[0].key(self.to) == pair[1].key(self.to)) {
                return Err(io::Error::other("an object has a key twice"));
            }
            self.scratch.clear();
            for member in members {
                if !self.scratch.is_empty() {
                    self.scratch.push(b',');
                }
                self.scratch.extend_from_slice(&self.to[member.start..member.end]);
            }
            self.to.truncate(start);
            self.to.extend_from_slice(&self.scratch);
        }
        self.members.truncate(first);
        Ok(())
    }
}

macro_rules! as_compact {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<W: ?Sized + Write>(&mut self, _: &mut W, $($name: $type),*) -> io::Result<()> {
            CompactFormatter.$method(self.to, $($name),*)
        }
    )*};
}

impl Formatter for &mut Canonical<'_> {
    as_compact! {
        write_null();
        write_bool(value: bool);
        write_i8(value: i8);
        write_i16(value: i16);
        write_i32(value: i32);
        write_i64(value: i64);
        write_u8(value: u8);
        write_u16(value: u16);
        write_u32(value: u32);
        write_u64(value: u64);
        begin_string();
        end_string();
        write_string_fragment(fragment: &str);
        write_char_escape(escape: CharEscape);
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object_value();
    }

    fn write_i128<W: ?Sized + Write>(&mut self, _: &mut W, _: i128) -> io::Result<()> {
        Err(io::Error::other("a number is too large"))
    }

    fn write_u128<W: ?Sized + Write>(&mut self, _: &mut W, _: u128) -> io::Result<()> {
        Err(io::Error::other("a number is too large"))
    }

    fn write_f32<W: ?Sized + Write>(&mut self, _: &mut W, _: f32) -> io::Result<()> {
        Err(io::Error::other("a number has a fraction"))
    }

    fn write_f64<W: ?Sized + Write>(&mut self, _: &mut W, _: f64) -> io::Result<()> {
        Err(io::Error::other("a number has a fraction"))
    }

    fn write_number_str<W: ?Sized + Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        Err(io::Error::other("a number is of no known kind"))
    }

    fn write_raw_fragment<W: ?Sized + Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        Err(io::Error::other("JSON that is raw is not canonical"))
    }

    fn begin_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.objects.push(self.members.len());
        CompactFormatter.begin_object(self.to)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, _: &mut W, first: bool) -> io::Result<()> {
        CompactFormatter.begin_object_key(self.to, first)?;
        let start = self.to.len();
        self.members.push(Member { start, key_end: start, end: start });
        Ok(())
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let Some(member) = self.members.last_mut() else { return Ok(()) };
        member.key_end = self.to.len();
        let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'\\';
        if member.key(self.to).iter().all(is_plain) { Ok(()) } else { Err(io::Error::other("a key is not plain")) }
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        if let Some(member) = self.members.last_mut() {
            member.end = self.to.len();
        }
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        let first = self.objects.pop().unwrap_or_default();
        self.put_right(first)?;
        CompactFormatter.end_object(self.to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(value: &impl Serialize) -> Result<String, serde_json::Error> {
        let mut bytes = Vec::new();
        write(value, &mut bytes)?;
        Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
    }

    #[derive(Serialize)]
    struct Jumbled {
        ba: u8,
        b: Inner,
        list: Vec<Inner>,
        a: Option<&'static str>,
    }

    #[derive(Serialize)]
    struct Inner {
        z: i64,
        #[serde(flatten)]
        rest: HashMap<&'static str, bool>,
    }

    #[test]
    fn members_are_in_the_order_of_their_keys() {
        let inner = || Inner { z: -7, rest: HashMap::from([("!", true), ("z1", false), ("Z", true)]) };
        let jumbled = Jumbled { ba: 1, b: inner(), list: vec![inner(), inner()], a: None };
        let one = r#"{"!":true,"Z":true,"z":-7,"z1":false}"#;
        let expected = format!(r#"{{"a":null,"b":{one},"ba":1,"list":[{one},{one}]}}"#);
        assert_eq!(written(&jumbled).unwrap(), expected);
        assert_eq!(written(&json!({})).unwrap(), "{}");
    }

    #[test]
    fn what_has_no_canonical_form_here_is_refused() {
        for value in [json!(1.5), json!({"a": [0.0]}), json!({"é": 1}), json!({"a\"": 1}), json!({"a\n": 1})] {
            assert!(written(&value).is_err(), "{value}");
        }
        #[derive(Serialize)]
        struct Twice {
            z: u8,
            #[serde(flatten)]
            rest: HashMap<&'static str, u8>,
        }
        assert!(written(&Twice { z: 1, rest: HashMap::from([("a", 1)]) }).is_ok());
        assert!(written(&Twice { z: 1, rest: HashMap::from([("z", 2)]) }).is_err());
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|value| json!(value)),
            any::<i32>().prop_map(|value| json!(value)),
            ".*".prop_map(|value| json!(value)),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|list| json!(list)),
                prop::collection::hash_map("[ !#-\\[\\]-~]{0,6}", inner, 0..6).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn another_writer_makes_the_same_bytes(value in values()) {
            let oracle = serde_json_canonicalizer::to_vec(&value).unwrap();
            prop_assert_eq!(written(&value).unwrap().into_bytes(), oracle);
        }
    }
}
