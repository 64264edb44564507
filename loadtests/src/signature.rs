//! Standard Webhooks: `v1,` and the HMAC-SHA256 over `id.timestamp.body`.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const TOLERANCE_SECONDS: u64 = 300;

pub struct Secret(hmac::Key);

/// The three headers of a webhook.
#[derive(Clone, Copy, Default)]
pub struct Signed<'a> {
    pub id: &'a [u8],
    pub timestamp: &'a [u8],
    pub signatures: &'a [u8],
}

impl std::str::FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let encoded = text.strip_prefix("whsec_").ok_or("a webhook secret starts with whsec_")?;
        let key = STANDARD.decode(encoded).map_err(|_| "a webhook secret is base64 after whsec_")?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }
}

impl Secret {
    pub fn signed(&self, headers: Signed<'_>, body: &[u8], now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let stamped = std::str::from_utf8(headers.timestamp).ok().and_then(|text| text.parse::<u64>().ok());
        if headers.id.is_empty() || stamped.is_none_or(|stamped| stamped.abs_diff(now) > TOLERANCE_SECONDS) {
            return false;
        }
        let content = [headers.id, headers.timestamp, body].join(&b'.');
        headers.signatures.split(|&byte| byte == b' ').any(|signature| {
            signature
                .strip_prefix(b"v1,")
                .and_then(|encoded| STANDARD.decode(encoded).ok())
                .is_some_and(|tag| hmac::verify(&self.0, &content, &tag).is_ok())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The example of the Standard Webhooks specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &[u8] = b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn check(id: &[u8], timestamp: &[u8], signatures: &[u8], body: &[u8], now: u64) -> bool {
        let secret: Secret = SECRET.parse().unwrap();
        secret.signed(Signed { id, timestamp, signatures }, body, UNIX_EPOCH + Duration::from_secs(now))
    }

    #[test]
    fn the_published_example_holds_and_nothing_else_does() {
        let id = b"msg_p5jXN8AQM9LWM0D4loKWxJek";
        let (stamp, now) = (b"1614265330", 1_614_265_330);
        assert!(check(id, stamp, SIGNATURE, BODY, now));
        assert!(check(id, stamp, &[b"v1,AAAA ", SIGNATURE].concat(), BODY, now + 299));
        assert!(!check(id, stamp, SIGNATURE, b"{}", now));
        assert!(!check(b"msg_other", stamp, SIGNATURE, BODY, now));
        assert!(!check(id, b"1614265331", SIGNATURE, BODY, now));
        assert!(!check(id, stamp, SIGNATURE, BODY, now + 301));
        assert!(!check(id, stamp, b"v1,", BODY, now));
        assert!(!check(id, stamp, b"", BODY, now));
        assert!("MfKQ".parse::<Secret>().is_err());
    }
}
