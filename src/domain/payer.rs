//! Who pays, known again without being known: keyed hashes of what names a payer.

use aws_lc_rs::hmac;
use serde::Deserialize;

use super::id::PlatformId;

/// Bytes of a mark: 128 bits keep any number of payers apart.
const MARK_BYTES: usize = 16;

/// A keyed hash of one name of a payer. Without the key it leads nowhere, and no platform is ever told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayerMark(pub [u8; MARK_BYTES]);

/// Whose names the `payer.id`s are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayerIds {
    /// The platforms name their payers alike, by one account system for all of them.
    Shared,
    /// The same id at two platforms is two people.
    Own,
}

/// Makes marks.
pub struct PayerMarks {
    key: hmac::Key,
    ids: PayerIds,
}

/// What names a payer; the address does not.
#[derive(Deserialize)]
struct Names {
    id: Option<String>,
    openid: Option<String>,
}

impl PayerMarks {
    /// `key` holds at least 32 random bytes.
    pub fn new(key: &[u8], ids: PayerIds) -> Self {
        PayerMarks { key: hmac::Key::new(hmac::HMAC_SHA256, key), ids }
    }

    /// One mark per name of a payer, as the store keeps it (JSON). WeChat gives a person one openid per app, whatever
    /// platform asks, so that it needs no platform beside it.
    pub fn of(&self, platform: PlatformId, payer: Option<&str>) -> Vec<PayerMark> {
        let Some(names) = payer.and_then(|json| serde_json::from_str::<Names>(json).ok()) else { return Vec::new() };
        let scope = match self.ids {
            PayerIds::Shared => "id".to_owned(),
            PayerIds::Own => format!("id of {}", platform.0),
        };
        let id = names.id.map(|id| self.mark(&scope, &id));
        let openid = names.openid.map(|openid| self.mark("openid", &openid));
        id.into_iter().chain(openid).collect()
    }

    /// A name has no NUL, so that no two pairs are one text.
    fn mark(&self, scope: &str, name: &str) -> PayerMark {
        let tag = hmac::sign(&self.key, format!("{scope}\0{name}").as_bytes());
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(&tag.as_ref()[..MARK_BYTES]);
        PayerMark(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PlatformId = PlatformId(1);
    const B: PlatformId = PlatformId(2);

    #[test]
    fn a_payer_is_known_again_by_any_name() {
        let marks = PayerMarks::new(&[7; 32], PayerIds::Shared);
        let both = marks.of(A, Some(r#"{"id":"u-1","ip":"::1","openid":"o-1"}"#));
        assert_eq!(both.len(), 2);
        assert_eq!(marks.of(B, Some(r#"{"id":"u-1","ip":null,"openid":null}"#)), both[..1]);
        assert_eq!(marks.of(B, Some(r#"{"openid":"o-1"}"#)), both[1..]);
        assert_ne!(marks.of(A, Some(r#"{"id":"o-1"}"#)), both[1..], "an id is no openid");
        assert_ne!(marks.of(A, Some(r#"{"id":"u-2"}"#)), both[..1]);
        assert!(
            marks.of(A, None).is_empty() && marks.of(A, Some("x")).is_empty() && marks.of(A, Some("{}")).is_empty()
        );
        assert_ne!(PayerMarks::new(&[8; 32], PayerIds::Shared).of(A, Some(r#"{"id":"u-1"}"#)), both[..1]);
    }

    #[test]
    fn where_platforms_name_payers_themselves_an_id_is_theirs_and_an_openid_everybodys() {
        let marks = PayerMarks::new(&[7; 32], PayerIds::Own);
        let payer = Some(r#"{"id":"u-1","openid":"o-1"}"#);
        let (at_a, at_b) = (marks.of(A, payer), marks.of(B, payer));
        assert_ne!(at_a[0], at_b[0]);
        assert_eq!(at_a[1], at_b[1]);
    }
}
