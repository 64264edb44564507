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

/// Reads a field that is always written, be it null: where it is missing, the object is damaged.
///
/// # Errors
/// What the value's own reading says.
pub fn stated<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}
