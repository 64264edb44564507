//! What the payer's browser sees: a cashier for a trade that can be paid, or why there is none. Faults are told to the
//! payer alone, in GBK; the merchant never hears of them.

use encoding_rs::GBK;

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

/// Opens the trade that a browser brings.
pub fn open(gateway: &Gateway, request: &Request, now: i64) -> Page {
    match place(gateway, request, Origin::Browser, now) {
        Ok(Placed { taken: Taken::Paid(_), .. }) => refusal(answers::TRADE_HAS_SUCCESS),
        Ok(Placed { payment, amount_fen, taken: Taken::New(_) | Taken::Again, .. }) => {
            cashier(&payment.subject, amount_fen, request.return_url.as_deref())
        }
        Err(failure) => refusal(failure),
    }
}

fn cashier(subject: &str, amount_fen: i64, return_url: Option<&str>) -> Page {
    let back = match return_url {
        Some(url) => format!(r#"<p><a href="{}">返回商家 / Back to the merchant</a></p>"#, escape(url)),
        None => String::new(),
    };
    let html = format!(
        "<!doctype html><html lang=\"zh\"><meta charset=\"utf-8\"><title>收银台</title>\
         <h1>{}</h1><p>{} 元</p><p>模拟付款人即将付款 / The simulated payer is about to pay.</p>{back}</html>",
        escape(subject),
        yuan(amount_fen),
    );
    Page { content_type: "text/html;charset=utf-8", body: html.into_bytes() }
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
