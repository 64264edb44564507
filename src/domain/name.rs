//! Names that people give to platforms, operators and bank accounts.

/// The longest name.
pub const NAME_MAX: usize = 64;

/// Whether something may be called so: 1 to 64 of `0-9`, `a-z` and `-`.
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(fits)
}
