//! Every way to pay, and the payer's browser.

use std::time::Duration;

use serde_json::{Value, json};

use super::app::App;
use super::client::{an_order, http, text, with};
use super::seconds;

/// A channel's way to pay, and what an order of 200.00 by it looks like.
#[derive(Debug)]
pub struct Way {
    pub channel: &'static str,
    pub method: &'static str,
    pub currency: &'static str,
    pub payable: &'static str,
    pub next_action: &'static str,
}

#[rustfmt::skip]
pub const WAYS: &[Way] = &[
    Way { channel: "simpay",   method: "qr",     currency: "CNY", payable: "200.60", next_action: "qr_code" },
    Way { channel: "wechat",   method: "native", currency: "CNY", payable: "200.60", next_action: "qr_code" },
    Way { channel: "wechat",   method: "jsapi",  currency: "CNY", payable: "200.60", next_action: "client" },
    Way { channel: "wechat",   method: "h5",     currency: "CNY", payable: "200.60", next_action: "redirect" },
    Way { channel: "wechat",   method: "app",    currency: "CNY", payable: "200.60", next_action: "client" },
    Way { channel: "alipay",   method: "page",   currency: "CNY", payable: "201.00", next_action: "form" },
    Way { channel: "alipay",   method: "qr",     currency: "CNY", payable: "201.00", next_action: "qr_code" },
    Way { channel: "alipay",   method: "wap",    currency: "CNY", payable: "201.00", next_action: "form" },
    Way { channel: "unionpay", method: "page",   currency: "CNY", payable: "201.20", next_action: "form" },
    Way { channel: "unionpay", method: "wap",    currency: "CNY", payable: "201.20", next_action: "form" },
    Way { channel: "stripe",   method: "card",   currency: "USD", payable: "205.80", next_action: "client" },
];

/// UnionPay's payTimeout of 15 min becomes 18 s, its grace of 10 min 12 s.
pub const HURRIED: &str = "[gateway]\ntime_scale_percent = 2\n";
/// From the opening of an attempt that only time ends to its end under [`HURRIED`], the last query's gap included.
pub const HURRIED_END: Duration = seconds(60);
/// The same by the default scale, where the order lives longer than the attempt.
pub const TIMELY_END: Duration = seconds(110);

impl Way {
    /// An order of this way that asks for everything some way needs, paid as `description` says.
    pub fn order(&self, app: &App, description: &str) -> Value {
        with(
            an_order(description),
            json!({
                "channel": self.channel, "method": self.method, "currency": self.currency,
                "payer": { "id": "u-1", "ip": "192.0.2.7", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o" },
                "return_url": app.receiver.url("back"), "webhook_url": app.receiver.url("platform-a"),
            }),
        )
    }

    /// Whether a payer, or the merchant, can end an attempt before its time is over.
    pub fn can_be_closed(&self) -> bool {
        self.channel != "unionpay"
    }
}

/// Creates an order and has its payer go where it is sent, if anywhere.
pub async fn opened(app: &App, order: &Value) -> Value {
    let order = app.client().create(order).await.order(201);
    visit(&order["next_action"]).await;
    order
}

/// Does what the payer's browser would do with what it is shown.
pub async fn visit(next_action: &Value) {
    if next_action.is_null() {
        return;
    }
    let sent = match text(next_action, "type") {
        "form" => {
            let fields = next_action["fields"].as_object().expect("a form has fields");
            let fields = fields.iter().map(|(name, value)| (name, value.as_str().expect("a field is text")));
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            let post = http().post(text(next_action, "url"));
            post.header("content-type", "application/x-www-form-urlencoded; charset=UTF-8").body(body).send().await
        }
        "redirect" => http().get(text(next_action, "url")).send().await,
        "qr_code" | "client" => return,
        other => panic!("no browser knows {other}"),
    };
    // A gateway that fails or hangs on purpose is part of the scripts.
    drop(sent);
}
