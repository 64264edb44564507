//! Canonical JSON (RFC 8785) of what this project writes: no numbers but integers within 53 bits, no keys but ASCII. What
//! is left to do is the order of keys.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// # Errors
/// The value's own.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut sorted = Sorted::new();
    value.serialize(&mut Serializer::with_formatter(&mut sorted, Marks))?;
    Ok(sorted.text)
}

/// Says where an object and its members begin and end, by bytes that are nowhere else in JSON without blanks.
struct Marks;

const OBJECT: u8 = 1;
const KEY: u8 = 2;
const VALUE: u8 = 3;
const END: u8 = 4;

impl Formatter for Marks {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(&[OBJECT])
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, _: bool) -> io::Result<()> {
        writer.write_all(&[KEY])
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(&[VALUE])
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(&[END])
    }
}

/// Text that has each object put in order as soon as it is whole.
struct Sorted {
    text: Vec<u8>,
    objects: Vec<Object>,
    /// Of all objects that are open, one after the other.
    members: Vec<Member>,
    /// The members of the last object that was not in order.
    ordered: Vec<u8>,
}

/// An object that is open.
struct Object {
    /// Where its first member begins.
    begin: usize,
    /// The place of its first member among all.
    first: usize,
}

/// A member, by where its parts are in the text.
struct Member {
    begin: usize,
    key_end: usize,
    end: usize,
}

impl Sorted {
    /// With room for most rows of a journal.
    fn new() -> Self {
        Sorted {
            text: Vec::with_capacity(1_024),
            objects: Vec::with_capacity(8),
            members: Vec::with_capacity(32),
            ordered: Vec::with_capacity(1_024),
        }
    }

    fn begin_object(&mut self) {
        self.text.push(b'{');
        self.objects.push(Object { begin: self.text.len(), first: self.members.len() });
    }

    fn begin_key(&mut self) {
        self.end_member();
        if self.is_in_member() {
            self.text.push(b',');
        }
        let begin = self.text.len();
        self.members.push(Member { begin, key_end: begin, end: begin });
    }

    fn begin_value(&mut self) {
        if let Some(member) = self.members.last_mut() {
            member.key_end = self.text.len();
        }
        self.text.push(b':');
    }

    fn end_object(&mut self) {
        self.end_member();
        let Some(Object { begin, first }) = self.objects.pop() else { return };
        let Sorted { text, members, ordered, .. } = self;
        let these = &mut members[first..];
        if !these.is_sorted_by_key(|member| &text[member.begin..member.key_end]) {
            these.sort_unstable_by(|a, b| text[a.begin..a.key_end].cmp(&text[b.begin..b.key_end]));
            ordered.clear();
            for member in these {
                ordered.extend_from_slice(&text[member.begin..member.end]);
                ordered.push(b',');
            }
            ordered.pop();
            text.truncate(begin);
            text.extend_from_slice(ordered);
        }
        members.truncate(first);
        text.push(b'}');
    }

    /// Whether the object that is open has a member already.
    fn is_in_member(&self) -> bool {
        self.objects.last().is_some_and(|object| object.first < self.members.len())
    }

    fn end_member(&mut self) {
        if self.is_in_member()
            && let Some(member) = self.members.last_mut()
        {
            member.end = self.text.len();
        }
    }
}

impl Write for Sorted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match bytes {
            [OBJECT] => self.begin_object(),
            [KEY] => self.begin_key(),
            [VALUE] => self.begin_value(),
            [END] => self.end_object(),
            text => self.text.extend_from_slice(text),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// Written in the order in which its members stand.
    struct Unsorted(Vec<(String, Value)>);

    impl Serialize for Unsorted {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
        }
    }

    #[test]
    fn objects_are_in_the_order_of_their_keys_at_every_depth() {
        #[derive(Serialize)]
        struct Inner {
            z: Vec<Inner>,
            a: &'static str,
            b: (),
        }
        let leaf = || Inner { z: Vec::new(), a: "\u{1}{\"z\":\u{2}\u{3},\u{4}}", b: () };
        let written = to_vec(&Inner { z: vec![leaf(), leaf()], a: "", b: () }).unwrap();
        let leaf = r#"{"a":"\u0001{\"z\":\u0002\u0003,\u0004}","b":null,"z":[]}"#;
        assert_eq!(String::from_utf8(written).unwrap(), format!(r#"{{"a":"","b":null,"z":[{leaf},{leaf}]}}"#));
        for (value, text) in [(json!({}), "{}"), (json!([]), "[]"), (json!("\u{1}"), r#""\u0001""#), (json!(1), "1")] {
            assert_eq!(to_vec(&value).unwrap(), text.as_bytes());
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), ".{0,4}".prop_map(Value::from)];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-d]{1,2}", inner, 0..6)
                    .prop_map(|members| Value::Object(Map::from_iter(members))),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_written_as_by_way_of_a_value(members in prop::collection::hash_map("[a-f]{1,3}", values(), 0..8)) {
            let by_value = serde_json::to_vec(&Value::Object(Map::from_iter(members.clone()))).unwrap();
            prop_assert_eq!(to_vec(&Unsorted(members.into_iter().collect())).unwrap(), by_value);
        }
    }
}
