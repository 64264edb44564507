//! Who pays, and how a payer is known again without being known: by keyed hashes of what names them.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use super::channel::PayerFact;
use super::form::{Form, stated};
use super::id::PlatformId;

/// Bytes of a mark: 128 bits keep any number of payers apart.
const MARK_BYTES: usize = 16;

/// What a platform tells of who pays, as it is stored: in a table of its own, and nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payer {
    pub form: Form<1>,
    pub id: String,
    #[serde(deserialize_with = "stated")]
    pub ip: Option<IpAddr>,
    #[serde(deserialize_with = "stated")]
    pub openid: Option<String>,
}

/// Who pays is not shown.
impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payer")
    }
}

impl Payer {
    /// Reads what [`Payer::written`] wrote; none where it is damaged or of another form.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As it is stored.
    pub fn written(&self) -> String {
        serde_json::to_string(self).expect("plain structs always serialise")
    }

    pub fn told(&self, fact: PayerFact) -> Option<String> {
        match fact {
            PayerFact::Openid => self.openid.clone(),
            PayerFact::Ip => self.ip.map(|ip| ip.to_string()),
        }
    }
}

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

impl PayerMarks {
    /// `key` holds at least 32 random bytes.
    pub fn new(key: &[u8], ids: PayerIds) -> Self {
        PayerMarks { key: hmac::Key::new(hmac::HMAC_SHA256, key), ids }
    }

    /// One mark per name of a payer; the address names nobody. WeChat gives a person one openid per app, whatever
    /// platform asks, so that it needs no platform beside it.
    pub fn of(&self, platform: PlatformId, payer: Option<&Payer>) -> Vec<PayerMark> {
        let Some(payer) = payer else { return Vec::new() };
        let scope = match self.ids {
            PayerIds::Shared => "id".to_owned(),
            PayerIds::Own => format!("id of {}", platform.0),
        };
        let openid = payer.openid.as_ref().map(|openid| self.mark("openid", openid));
        [self.mark(&scope, &payer.id)].into_iter().chain(openid).collect()
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

    fn payer(id: &str, openid: Option<&str>) -> Payer {
        Payer { form: Form, id: id.into(), ip: "::1".parse().ok(), openid: openid.map(Into::into) }
    }

    #[test]
    fn a_payer_is_known_again_by_any_name() {
        let marks = PayerMarks::new(&[7; 32], PayerIds::Shared);
        let of = |id, openid| marks.of(A, Some(&payer(id, openid)));
        let both = of("u-1", Some("o-1"));
        assert_eq!(both.len(), 2);
        assert_eq!(marks.of(B, Some(&payer("u-1", None))), both[..1]);
        assert_eq!(of("u-2", Some("o-1"))[1..], both[1..]);
        assert_ne!(of("o-1", None), both[1..], "an id is no openid");
        assert_ne!(of("u-2", None), both[..1]);
        assert!(marks.of(A, None).is_empty());
        let elsewhere = PayerMarks::new(&[8; 32], PayerIds::Shared);
        assert_ne!(elsewhere.of(A, Some(&payer("u-1", None))), both[..1]);
    }

    #[test]
    fn where_platforms_name_payers_themselves_an_id_is_theirs_and_an_openid_everybodys() {
        let marks = PayerMarks::new(&[7; 32], PayerIds::Own);
        let payer = payer("u-1", Some("o-1"));
        let (at_a, at_b) = (marks.of(A, Some(&payer)), marks.of(B, Some(&payer)));
        assert_ne!(at_a[0], at_b[0]);
        assert_eq!(at_a[1], at_b[1]);
    }

    #[test]
    fn a_payer_is_read_strictly_and_never_shown() {
        let payer = payer("hidden7Q", Some("hidden8Q"));
        let text = payer.written();
        assert_eq!(text, r#"{"form":1,"id":"hidden7Q","ip":"::1","openid":"hidden8Q"}"#);
        assert_eq!(Payer::read(&text), Some(payer.clone()));
        assert!(!format!("{payer:?} {payer:#?}").contains("hidden"));
        for damaged in [
            r#"{"id":"u-1","ip":null,"openid":null}"#,
            r#"{"form":2,"id":"u-1","ip":null,"openid":null}"#,
            r#"{"form":1,"id":null,"ip":null,"openid":null}"#,
            r#"{"form":1,"id":"u-1","ip":null}"#,
            r#"{"form":1,"id":"u-1","ip":"here","openid":null}"#,
            r#"{"form":1,"id":"u-1","ip":null,"openid":null,"name":"x"}"#,
            "{}",
            "x",
        ] {
            assert_eq!(Payer::read(damaged), None, "{damaged}");
        }
    }
}
