//! The payer's page: what the order costs at each channel, a button per channel, and what to do next.

use std::fmt::Write;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use qrcode::{Color, QrCode};
use serde_json::Value;

use super::App;
use super::json;
use super::pages::{Drawing, NoticePage, Offer, PayPage, Step};
use super::problem::{ApiError, Code};
use super::schema;
use crate::domain::channel::{Channel, Method};
use crate::domain::money::format_minor;
use crate::domain::order::{Attempt, Order, State, Wish};
use crate::domain::routing::{self, Outlook, Route};
use crate::domain::validation::{Health, can_take};
use crate::domain::view::{self, Message};
use crate::engine::ask::{Command, Patience};
use crate::store::StoredOrder;

/// No scripts, no requests to anybody else, in nobody's frame. Forms go to this server and, by https, to any other: a
/// channel's gateway redirects what is posted to it, and a browser holds that address against this list too.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'",
);
/// The same where the gateway is the simulated one, on this machine.
const SANDBOX_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' https: http://127.0.0.1:* http://localhost:*; \
     frame-ancestors 'none'; base-uri 'none'",
);
/// WeChat Pay's H5 page asks where the payer comes from, and refuses those who do not say. The token is not told.
const REFERRER: HeaderValue = HeaderValue::from_static("strict-origin");

/// The payer's page: the amount per channel, a button for each.
#[utoipa::path(
    get,
    path = "/pay/{token}",
    operation_id = "show_pay_page",
    tag = "payer",
    params(("token" = String, Path, description = "As in `retry_url`.")),
    responses((status = 200, description = "The page.", content_type = "text/html"))
)]
pub async fn show(app: Data<App>, token: Path<String>, request: HttpRequest) -> HttpResponse {
    match app.look(&token, &request).await {
        Ok(page) => page,
        Err(error) => app.notice(&error),
    }
}

/// The payer's choice of a channel.
#[utoipa::path(
    post,
    path = "/pay/{token}",
    operation_id = "choose_channel",
    tag = "payer",
    params(("token" = String, Path, description = "As in `retry_url`.")),
    request_body(content = schema::PayForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The page, telling what to do next.", content_type = "text/html"))
)]
pub async fn choose(app: Data<App>, token: Path<String>, request: HttpRequest, payload: Payload) -> HttpResponse {
    match app.choose(&token, &request, payload).await {
        Ok(page) => page,
        Err(error) => app.notice(&error),
    }
}

impl App {
    async fn look(&self, token: &str, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
        let stored = self.linked(token, request).await?;
        self.page(request, token, &stored, None).await
    }

    async fn choose(&self, token: &str, request: &HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
        let mut stored = self.linked(token, request).await?;
        if let Err(error) = self.limits.press(stored.order.platform, stored.order.id) {
            return self.page(request, token, &stored, Some(&error)).await;
        }
        let form = json::bytes(request, payload, &self.config.server).await?;
        let chosen = url::form_urlencoded::parse(&form).find(|(name, _)| name == "channel").map(|(_, value)| value);
        // Only what the page offers: another channel would end the open attempt for nothing.
        let outlook = self.advice.outlook(stored.order.platform);
        let current = stored.order.current_attempt().map(Attempt::channel);
        let offered = |channel: &Channel| {
            let up = outlook.channels[channel.index()].is_some_and(|standing| standing.health == Health::Up);
            let suits = Some(*channel) == current || can_take(&stored.order, *channel, outlook.at);
            up && suits
        };
        let choice = chosen
            .as_deref()
            .and_then(Channel::parse)
            .filter(offered)
            .and_then(|channel| Some(Command::Pay { channel, method: carried(channel)?, payer: None }));
        let placed = match choice {
            Some(command) => {
                let asked = self.desk.ask(stored.order.id, command, Patience::FirstAnswer, None);
                asked.await.map_err(ApiError::from)
            }
            None => Err(ApiError::field(Code::ChannelUnknown, "channel", "no such channel")),
        };
        match placed {
            Ok(placed) => {
                let next_action = placed.next_action(&stored).map(Box::from);
                stored = StoredOrder { order: placed.order, next_action, ..stored };
                self.page(request, token, &stored, None).await
            }
            Err(error) => self.page(request, token, &stored, Some(&error)).await,
        }
    }

    async fn linked(&self, token: &str, request: &HttpRequest) -> Result<StoredOrder, ApiError> {
        let Some(id) = self.links.order(token) else {
            return Err(self.limits.failure(self.limits.sender(request), ApiError::not_found()));
        };
        self.store.order(id).await?.ok_or_else(ApiError::not_found)
    }

    async fn page(
        &self,
        request: &HttpRequest,
        token: &str,
        stored: &StoredOrder,
        error: Option<&ApiError>,
    ) -> Result<HttpResponse, ApiError> {
        let StoredOrder { order, request: asked, payer, next_action, .. } = stored;
        let next_action = next_action.as_deref();
        let outlook = self.advice.outlook_for(order, payer.as_deref()).await;
        let asked = &asked.asked;
        let address = self.config.public_path(&format!("/pay/{token}"));
        let waiting = is_waiting(order);
        let page = PayPage {
            zh_first: prefers_chinese(request.headers()),
            address: &address,
            refresh: waiting.then_some(address.as_str()),
            description: &asked.description,
            amount: &priced(order, order.amount_minor),
            state: state_words(order, next_action.is_some()),
            note: error.map(error_words).or_else(|| failure_words(order)),
            step: step(order, next_action),
            offers: offers(order, &outlook),
            return_url: asked.return_url.as_deref().filter(|_| order.state.is_final()),
        };
        let html = page.render().map_err(|_| ApiError::internal())?;
        Ok(self.html_answer(error, html))
    }

    fn html_answer(&self, error: Option<&ApiError>, html: String) -> HttpResponse {
        let status = error.map_or(StatusCode::OK, |error| error.code.status());
        let policy = if self.config.sandbox { SANDBOX_POLICY } else { POLICY };
        let mut answer = HttpResponse::build(status);
        answer
            .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
            .insert_header((CONTENT_SECURITY_POLICY, policy))
            .insert_header((REFERRER_POLICY, REFERRER));
        if let Some(wait) = error.and_then(|error| error.header(&RETRY_AFTER)) {
            answer.insert_header((RETRY_AFTER, wait.clone()));
        }
        if error.is_some_and(ApiError::ends_connection) {
            answer.force_close();
        }
        answer.body(html)
    }

    /// An error where no order can be shown.
    fn notice(&self, error: &ApiError) -> HttpResponse {
        match (NoticePage { words: error_words(error) }).render() {
            Ok(html) => self.html_answer(Some(error), html),
            Err(_) => HttpResponse::from_error(ApiError::internal()),
        }
    }
}

/// What the payer may choose from, in order.
fn offers(order: &Order, outlook: &Outlook) -> Vec<Offer> {
    let choosable = match order.wish {
        None | Some(Wish::Switch { .. }) => true,
        Some(Wish::Expiry | Wish::Cancel) => false,
    };
    let routes = if choosable { routing::rank(order, outlook) } else { Vec::new() };
    routes.iter().filter(|route| route.is_usable()).filter_map(|route| offer(order, route)).collect()
}

fn offer(order: &Order, route: &Route) -> Option<Offer> {
    carried(route.channel)?;
    let quote = route.price.ok()?;
    Some(Offer {
        channel: route.channel.name(),
        name: channel_words(route.channel),
        reason: view::reason_view(route.reason.for_payer(order.fee_bearer)).message,
        fee: priced(order, quote.payable_minor - order.amount_minor),
        payable: priced(order, quote.payable_minor),
    })
}

fn priced(order: &Order, amount_minor: i64) -> String {
    format!("{} {}", format_minor(amount_minor, order.currency), order.currency)
}

/// Whether the page may have news in a moment.
fn is_waiting(order: &Order) -> bool {
    match order.state {
        State::Validating | State::Submitted => true,
        State::Created => order.wish.is_some(),
        State::Succeeded | State::Failed => false,
    }
}

/// The way to pay by which this page can carry a payer to the channel; none where it cannot.
const fn carried(channel: Channel) -> Option<Method> {
    match channel {
        Channel::Simpay => Some(Method::Qr),
        Channel::Wechat => Some(Method::Native),
        Channel::Alipay | Channel::Unionpay => Some(Method::Page),
        // Its payers need Stripe's own software in their browser.
        Channel::Stripe => None,
    }
}

fn step(order: &Order, next_action: Option<&str>) -> Option<Step> {
    let action: Value = serde_json::from_str(next_action?).ok()?;
    let text = |name: &str| action.get(name).and_then(Value::as_str).map(String::from);
    match text("type")?.as_str() {
        "qr_code" => {
            let code = text("qr_code")?;
            let payable = order.current_attempt().map(|attempt| priced(order, attempt.payable_minor))?;
            Some(Step::Scan { drawing: drawing(&code), code, payable })
        }
        "redirect" => {
            let url = text("url").filter(|url| url.starts_with("https://") || url.starts_with("http://"))?;
            Some(Step::Follow { url })
        }
        "form" => {
            let url = text("url").filter(|url| url.starts_with("https://") || url.starts_with("http://"))?;
            let field = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            let fields = action.get("fields")?.as_object()?.iter().map(field).collect::<Option<Vec<_>>>()?;
            Some(Step::Carry { url, fields })
        }
        // Parameters for a channel's own software are for the platform's own page.
        _ => None,
    }
}

/// None where the text is too long for a QR code: it is shown as text all the same.
fn drawing(text: &str) -> Option<Drawing> {
    let code = QrCode::new(text).ok()?;
    let size = code.width();
    let mut path = String::with_capacity(size * size * 5);
    for (place, color) in code.to_colors().into_iter().enumerate() {
        match color {
            Color::Dark => write!(path, "M{} {}h1v1h-1z", place % size, place / size).ok()?,
            Color::Light => {}
        }
    }
    Some(Drawing { size, path })
}

/// Whether the reader likes Chinese at least as much as English (RFC 9110, quality values).
pub(super) fn prefers_chinese(headers: &HeaderMap) -> bool {
    let given = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let liking = |language: &str| {
        let weights = given.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next()?.to_ascii_lowercase();
            let matches = tag == language || tag.strip_prefix(language).is_some_and(|rest| rest.starts_with('-'));
            let weight = parts.find_map(|part| part.strip_prefix("q=")).unwrap_or("1");
            matches.then(|| thousandths(weight))
        });
        weights.max().unwrap_or(0)
    };
    liking("zh") >= liking("en")
}

/// `0.8` as 800; anything that is no quality value counts as nothing.
fn thousandths(weight: &str) -> u32 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let fraction = format!("{fraction:0<3}");
    match (whole, fraction.len(), fraction.parse::<u32>()) {
        ("0", 3, Ok(thousandths)) => thousandths,
        ("1", 3, Ok(0)) => 1_000,
        _ => 0,
    }
}

fn channel_words(channel: Channel) -> Message {
    match channel {
        Channel::Simpay => Message { zh: "simpay（沙箱）", en: "simpay (sandbox)" },
        Channel::Wechat => Message { zh: "微信支付", en: "WeChat Pay" },
        Channel::Alipay => Message { zh: "支付宝", en: "Alipay" },
        Channel::Unionpay => Message { zh: "云闪付", en: "UnionPay" },
        Channel::Stripe => Message { zh: "银行卡（Stripe）", en: "Card (Stripe)" },
    }
}

fn state_words(order: &Order, has_next_action: bool) -> Message {
    match (order.state, order.wish) {
        (State::Succeeded, _) => Message { zh: "已支付，谢谢。", en: "Paid. Thank you." },
        (State::Failed, _) => {
            Message { zh: "本订单已结束，不能再支付。", en: "This order is over and cannot be paid." }
        }
        (State::Created | State::Validating | State::Submitted, Some(_)) => Message {
            zh: "正在结束上一笔支付，请稍候。",
            en: "The payment before is being ended. One moment, please.",
        },
        (State::Submitted, None) if has_next_action => Message {
            zh: "等待支付，请扫码或继续支付。",
            en: "Waiting for your payment: scan the code or go on.",
        },
        (State::Validating | State::Submitted, None) => Message {
            zh: "正在联系支付渠道，请稍候。",
            en: "Asking the payment channel. One moment, please.",
        },
        (State::Created, None) => Message { zh: "请选择支付渠道。", en: "Please choose how to pay." },
    }
}

fn failure_words(order: &Order) -> Option<Message> {
    let last = order.last_failure.filter(|_| order.state == State::Created).map(view::attempt_failure);
    order.failure.map(view::order_failure).or(last).map(|failure| failure.message)
}

/// What a payer is told of an error; the others are nothing that a payer could mend.
const ERROR_WORDS: [(Code, Message); 9] = [
    (Code::NotFound, Message { zh: "链接无效。", en: "This link is not valid." }),
    (Code::OrderFinal, Message { zh: "订单已结束。", en: "The order is over." }),
    (
        Code::AttemptOpen,
        Message {
            zh: "上一笔支付还不能结束，请完成它，或稍后再试。",
            en: "The payment before cannot be ended yet. Complete it, or try again later.",
        },
    ),
    (
        Code::AttemptsUsedUp,
        Message {
            zh: "支付尝试次数已用完，请重新下单。",
            en: "All attempts to pay this order are used up. Please order again.",
        },
    ),
    (
        Code::ChannelUnsuitable,
        Message {
            zh: "该渠道不支持此订单，请换一个。",
            en: "This channel cannot take the order. Please choose another.",
        },
    ),
    (
        Code::ChannelUnavailable,
        Message {
            zh: "该渠道暂时不可用，请稍后再试。", en: "This channel is down at the moment. Please try later."
        },
    ),
    (Code::ChannelUnknown, Message { zh: "没有这个支付渠道。", en: "There is no such payment channel." }),
    (Code::RateLimited, Message { zh: "请求过于频繁，请稍后再试。", en: "Too many requests. Please try later." }),
    (
        Code::OutcomeUnknown,
        Message {
            zh: "结果尚未确定，请稍候刷新本页，切勿重复付款。",
            en: "The outcome is not known yet. Reload this page in a moment; do not pay twice.",
        },
    ),
];

fn error_words(error: &ApiError) -> Message {
    let known = ERROR_WORDS.into_iter().find(|(code, _)| *code == error.code).map(|(_, words)| words);
    known.unwrap_or(if error.code.status().is_server_error() {
        Message { zh: "系统繁忙，请稍后再试。", en: "We are busy. Please try again in a moment." }
    } else {
        Message { zh: "请求无法处理。", en: "This request cannot be handled." }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::order::FeeBearer;

    #[test]
    fn the_reader_language_comes_first() {
        let zh_first = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_str(given).unwrap());
            prefers_chinese(&headers)
        };
        for given in ["zh-CN,zh;q=0.9,en;q=0.8", "zh", "fr", "", "en;q=0.5, zh-TW", "en;q=x"] {
            assert!(zh_first(given), "{given}");
        }
        for given in ["en", "en-GB,zh;q=0.9", "EN-us, zh;q=0", "zh;q=0.123,en;q=0.124"] {
            assert!(!zh_first(given), "{given}");
        }
        assert!(prefers_chinese(&HeaderMap::new()));
    }

    #[test]
    fn a_code_is_drawn_field_by_field() {
        let drawing = drawing("weixin://wxpay/bizpayurl?pr=abc").unwrap();
        assert!(drawing.size >= 21);
        assert!(drawing.path.starts_with("M0 0h1v1h-1z"), "the corner of a finder pattern is dark");
        assert!(super::drawing(&"x".repeat(5_000)).is_none());
    }

    #[test]
    fn channels_are_offered_in_order_with_their_reasons() {
        let mut order = crate::domain::order::example::order();
        order.attempts.clear();
        order.state = State::Created;
        let outlook = view::tests::outlook();
        let offered = |order: &Order| {
            let offers = offers(order, &outlook);
            offers.into_iter().map(|offer| (offer.channel, offer.reason.en, offer.payable)).collect::<Vec<_>>()
        };
        let expected = [
            ("alipay", "You paid this way last time", "201.00 CNY"),
            ("simpay", "Available too", "200.60 CNY"),
            ("wechat", "Lower fee", "200.60 CNY"),
        ];
        assert_eq!(offered(&order), expected.map(|(channel, reason, payable)| (channel, reason, payable.to_owned())));
        order.fee_bearer = FeeBearer::Platform;
        let reasons: Vec<&str> = offered(&order).into_iter().map(|(_, reason, _)| reason).collect();
        assert_eq!(reasons, ["You paid this way last time", "Available too", "Available too"]);
        order.wish = Some(Wish::Cancel);
        assert!(offered(&order).is_empty());
    }

    #[test]
    fn what_others_wrote_is_shown_as_text() {
        let page = PayPage {
            zh_first: false,
            address: "/pay/x",
            refresh: None,
            description: "<script>alert(1)</script>",
            amount: "1.00 CNY",
            state: Message { zh: "等", en: "wait" },
            note: None,
            step: Some(Step::Follow { url: "https://example/?a=\"><b>".into() }),
            offers: Vec::new(),
            return_url: None,
        };
        let html = page.render().unwrap();
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
        assert!(html.find("wait").unwrap() < html.find("等").unwrap());
    }
}
