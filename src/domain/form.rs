//! The forms that stored JSON has.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which form a stored object has, written in it as `form`. What has another one is not read as this: a later version
/// tells the forms apart by their numbers and reads each as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form<const NUMBER: u8>;

impl<const NUMBER: u8> Serialize for Form<NUMBER> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(NUMBER)
    }
}

impl<'de, const NUMBER: u8> Deserialize<'de> for Form<NUMBER> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        if number == NUMBER { Ok(Form) } else { Err(D::Error::custom("another form")) }
    }
}

/// 128 bits as they are stored: 32 hexadecimal digits in lower case.
///
/// # Errors
/// The serializer's own.
pub fn write_digits<S: Serializer>(bits: u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bits:032x}"))
}

/// Reads what [`write_digits`] wrote, and nothing else.
///
/// # Errors
/// It is another text.
pub fn read_digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    let is_written = text.len() == 32 && text.bytes().all(|digit| b"0123456789abcdef".contains(&digit));
    let bits = u128::from_str_radix(&text, 16).ok().filter(|_| is_written);
    bits.ok_or_else(|| D::Error::custom("not 32 hexadecimal digits"))
}

/// Reads a field that is always written, be it null: where it is missing, the object is damaged.
///
/// # Errors
/// What the value's own reading says.
pub fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}
