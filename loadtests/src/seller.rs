//! Who sells: the platforms that post a run's orders.

use std::path::Path;

use crate::signature::Secret;

const SELLERS_MAX: usize = 10_000;

pub struct Seller {
    pub key: String,
    /// Signs its webhooks.
    pub secret: Secret,
}

/// The platforms in a file, one a line: its key, a blank, its webhook secret.
///
/// # Errors
/// The file cannot be read, holds nothing, too much, or something else.
pub fn read(file: &Path) -> Result<Vec<Seller>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    parse(&text).map_err(|problem| format!("{}: {problem}", file.display()))
}

fn parse(text: &str) -> Result<Vec<Seller>, String> {
    let seller = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [key, secret] => Ok(Seller { key: key.to_owned(), secret: secret.parse()? }),
        _ => Err("a line is KEY SECRET".to_owned()),
    };
    let sellers = text.lines().map(seller).collect::<Result<Vec<_>, String>>()?;
    match sellers.len() {
        1..=SELLERS_MAX => Ok(sellers),
        count => Err(format!("{count} platforms, expected 1 to {SELLERS_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_key_and_a_secret() {
        let sellers = parse("sk_a whsec_YQ==\nsk_b  whsec_Yg==\n").unwrap();
        assert_eq!(sellers.iter().map(|seller| seller.key.as_str()).collect::<Vec<_>>(), ["sk_a", "sk_b"]);
        for text in ["", "sk_a\n", "sk_a YQ==\n", "sk_a whsec_YQ== more\n", "sk_a whsec_YQ==\n\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
