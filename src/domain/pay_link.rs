//! The retry link: a payer who holds it may choose how to pay this one order, and may do nothing else.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::id::OrderId;

/// What an order's id begins with at the edge; in a link it only makes the address longer.
const ID_PREFIX: &str = "ord_";
/// Digits of the order's id in a token.
const ID_DIGITS: usize = 26;
/// 128 bits: out of reach of guessing, short enough to be read out.
const TAG_BYTES: usize = 16;

/// Makes and checks the links of one server.
pub struct PayLinks {
    prefix: String,
    key: hmac::Key,
}

impl PayLinks {
    /// `public_url` has no slash at its end; `key` holds at least 32 random bytes.
    pub fn new(public_url: &str, key: &[u8]) -> Self {
        let prefix = format!("{}/pay/", public_url.trim_end_matches('/'));
        PayLinks { prefix, key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    pub fn url(&self, id: OrderId) -> String {
        let mut url = String::with_capacity(self.prefix.len() + 48);
        url.push_str(&self.prefix);
        self.push_token(id, &mut url);
        url
    }

    pub fn token(&self, id: OrderId) -> String {
        let mut token = String::with_capacity(48);
        self.push_token(id, &mut token);
        token
    }

    fn push_token(&self, id: OrderId, text: &mut String) {
        let id = id.to_string();
        let digits = &id[ID_PREFIX.len()..];
        let tag = hmac::sign(&self.key, digits.as_bytes());
        text.push_str(digits);
        URL_SAFE_NO_PAD.encode_string(&tag.as_ref()[..TAG_BYTES], text);
    }

    /// The order that a token of ours was made for; none for any other text.
    pub fn order(&self, token: &str) -> Option<OrderId> {
        let (digits, tag) = token.split_at_checked(ID_DIGITS)?;
        let id = format!("{ID_PREFIX}{digits}").parse().ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let expected = hmac::sign(&self.key, digits.as_bytes());
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..TAG_BYTES], &tag).ok()?;
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: OrderId = OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666);

    #[test]
    fn a_link_opens_its_own_order_and_nothing_else() {
        let links = PayLinks::new("https://pay.example/", &[7; 32]);
        let token = links.token(ORDER);
        assert_eq!(token.len(), 48);
        assert_eq!(links.url(ORDER), format!("https://pay.example/pay/{token}"));
        assert_eq!(links.order(&token), Some(ORDER));

        let other = links.token(OrderId::from_u128(ORDER.as_u128() + 1));
        assert_eq!(links.order(&format!("{}{}", &other[..26], &token[26..])), None);
        assert_eq!(PayLinks::new("https://pay.example", &[8; 32]).order(&token), None);
        for broken in ["", "é", &token[..47], &token[..26], &format!("{token}A"), &token.to_lowercase()] {
            assert_eq!(links.order(broken), None, "{broken}");
        }
    }
}
