//! A platform's request, for tests that are about something else.

use tongbao::domain::form::Form;
use tongbao::domain::money::Currency;
use tongbao::domain::request::Asked;

/// Tea for this much, with nothing said that need not be.
pub fn tea(amount: &str) -> Asked {
    Asked {
        amount: amount.into(),
        attempts_max: 5,
        channel: None,
        currency: Currency::parse("CNY").expect("a currency"),
        description: "tea".into(),
        expires_in: 3_600,
        form: Form,
        metadata: [].into(),
        method: None,
        return_url: None,
        splits: Vec::new(),
        trace: None,
        webhook_url: None,
    }
}
