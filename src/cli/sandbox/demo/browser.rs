//! The payer's browser, as far as the demo needs one: where nobody scans and no app is called, it posts the form that the
//! order shows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::channel::Channel;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What an order shows its payer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NextAction {
    Form {
        url: String,
        fields: BTreeMap<String, String>,
    },
    /// The simulated payer sees to it.
    #[serde(other)]
    Other,
}

/// Whether payments by a channel's first method begin with a form.
pub const fn is_needed(channel: Channel) -> bool {
    match channel {
        Channel::Alipay | Channel::Unionpay => true,
        Channel::Simpay | Channel::Wechat | Channel::Stripe => false,
    }
}

/// Does what the payer's browser does. A gateway that fails or hangs on purpose is part of the scripts.
pub async fn visit(client: &reqwest::Client, next_action: &NextAction) {
    let NextAction::Form { url, fields } = next_action else { return };
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let form = client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded; charset=UTF-8")
        .timeout(TIMEOUT)
        .body(body);
    if let Err(error) = form.send().await {
        tracing::debug!(%error, "a form was not answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_told_from_everything_else() {
        let read = |json| serde_json::from_str::<NextAction>(json).unwrap();
        let form =
            read(r#"{"type":"form","url":"http://x/","fields":{"a":"1"},"expires_at":"2026-01-01T00:00:00.000Z"}"#);
        assert_eq!(form, NextAction::Form { url: "http://x/".into(), fields: [("a".into(), "1".into())].into() });
        assert_eq!(read(r#"{"type":"qr_code","qr_code":"weixin://x"}"#), NextAction::Other);
    }
}
