//! What the payer's browser sees: a cashier for a trade that can be paid, or why there is none. Faults are told to the
//! payer alone, in GBK; the merchant never hears of them.

use encoding_rs::GBK;
use serde::Deserialize;

use super::answers::{self, Failure};
use super::calls::{Placed, place};
use super::request::Request;
use super::units::yuan;
use super::wire::Origin;
use crate::gateway::Gateway;
use crate::gateway::books::Taken;

pub struct Page {
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// What becomes of a trade that a browser brings.
pub enum Opened {
    Cashier(Shown),
    Refusal(Page),
}

/// What the cashier shows, as its address says.
#[derive(Deserialize)]
pub struct Shown {
    subject: String,
    total_amount: String,
    /// Empty: there is no way back.
    return_url: String,
}

/// Opens the trade that a browser brings.
pub fn open(gateway: &Gateway, request: &Request, now: i64) -> Opened {
    match place(gateway, request, Origin::Browser, now) {
        Ok(Placed { taken: Taken::Paid(_), .. }) => Opened::Refusal(refusal(answers::TRADE_HAS_SUCCESS)),
        Ok(Placed { payment, amount_fen, taken: Taken::New(_) | Taken::Again, .. }) => Opened::Cashier(Shown {
            subject: payment.subject.to_string(),
            total_amount: yuan(amount_fen),
            return_url: request.return_url.as_deref().unwrap_or_default().to_owned(),
        }),
        Err(failure) => Opened::Refusal(refusal(failure)),
    }
}

impl Shown {
    pub fn pairs(&self) -> [(&'static str, &str); 3] {
        [("subject", &self.subject), ("total_amount", &self.total_amount), ("return_url", &self.return_url)]
    }

    pub fn page(&self) -> Page {
        let back = match self.return_url.as_str() {
            "" => String::new(),
            url => format!(r#"<p><a href="{}">返回商家 / Back to the merchant</a></p>"#, escape(url)),
        };
        let html = format!(
            "<!doctype html><html lang=\"zh\"><meta charset=\"utf-8\"><title>收银台</title>\
             <h1>{}</h1><p>{} 元</p><p>模拟付款人即将付款 / The simulated payer is about to pay.</p>{back}</html>",
            escape(&self.subject),
            escape(&self.total_amount),
        );
        Page { content_type: "text/html;charset=utf-8", body: html.into_bytes() }
    }
}

pub fn refusal(failure: Failure) -> Page {
    let html = format!(
        "<!doctype html><html lang=\"zh\"><meta charset=\"gbk\"><title>错误</title>\
         <h1>抱歉，无法支付</h1><p>{}</p><p>{}</p></html>",
        failure.sub_msg, failure.sub_code,
    );
    Page { content_type: "text/html;charset=GBK", body: GBK.encode(&html).0.into_owned() }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            plain => escaped.push(plain),
        }
    }
    escaped
}
