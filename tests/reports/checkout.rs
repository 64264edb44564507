//! What payers meet on the pay page.

use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::support::app::{self, App};
use crate::support::client::{Answer, Client, an_order, http, text, with};
use crate::support::process::Kind;
use crate::support::seconds;

const FORM: &str = "application/x-www-form-urlencoded";

fn undecided(description: &str) -> Value {
    with(an_order(description), json!({ "channel": null }))
}

async fn press(payer: &Client, page: &str, channel: &str) -> Answer {
    payer.post_text(page, FORM, format!("channel={channel}")).await
}

fn buttons(page: &str) -> Vec<&str> {
    let values = page.split("<button name=\"channel\" value=\"").skip(1);
    values.map(|rest| rest.split('"').next().expect("a value ends")).collect()
}

/// What stands in an attribute, as a browser reads it.
fn attribute(html: &str, name: &str) -> String {
    let start = format!("{name}=\"");
    let value = html.split(&start).nth(1).and_then(|rest| rest.split('"').next());
    let mut value = value.unwrap_or_else(|| panic!("{name} in {html}")).to_owned();
    for (entity, character) in
        [("&#34;", "\""), ("&quot;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")]
    {
        value = value.replace(entity, character);
    }
    value
}

/// The form that leads away from the page: where it is posted to, and its body.
fn leads_away(page: &str) -> (String, String) {
    let mut forms = page.split("<form ").skip(1).map(|rest| rest.split("</form>").next().expect("a form ends"));
    let form = forms.find(|form| !attribute(form, "action").starts_with('/'));
    let form = form.unwrap_or_else(|| panic!("no form leads to a channel: {page}"));
    let fields = form.split("<input ").skip(1).map(|input| (attribute(input, "name"), attribute(input, "value")));
    (attribute(form, "action"), form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
}

/// Whether a page of this policy lets a form go to an address, or be redirected there.
fn allows(policy: &str, address: &Url) -> bool {
    let directive = policy.split(';').find_map(|part| part.trim().strip_prefix("form-action "));
    let mut sources = directive.expect("forms have a policy").split(' ');
    let (scheme, host) = (address.scheme(), address.host_str().expect("a host"));
    sources.any(|source| source == format!("{scheme}:") || source == format!("{scheme}://{host}:*"))
}

#[actix_web::test]
async fn report_each_button_of_the_pay_page_carries_the_payer_to_its_channel() {
    let app = app::start_with(Kind::Sqlite, "").await;
    let (client, payer) = (app.client(), app.client().anonymous());
    for channel in ["alipay", "unionpay"] {
        let order = client.create(&undecided("茶 \"tea\" <b>&")).await.order(201);
        let (id, page) = (text(&order, "id"), text(&order, "retry_url"));
        let offered = payer.get(page).await;
        assert_eq!(buttons(&offered.text), ["simpay", "wechat", "alipay", "unionpay"], "{}", offered.text);
        let pressed = press(&payer, page, channel).await;
        assert_eq!(pressed.status, 200, "{}", pressed.text);
        // Loaded again, it leads there still.
        for shown in [pressed, payer.get(page).await] {
            let (address, _) = leads_away(&shown.text);
            let policy = shown.header("content-security-policy").expect("a policy");
            assert!(allows(policy, &address.parse().expect("an address")), "{address} by {policy}");
            assert!(policy.contains("form-action 'self' https: "), "{policy}");
        }
        let (address, body) = leads_away(&payer.get(page).await.text);
        let posted = http().post(&address).header("content-type", FORM).body(body).send().await.expect("an answer");
        assert_eq!(posted.status().as_u16(), 302, "{channel}");
        let next = posted.headers()["location"].to_str().expect("an address");
        let (from, to): (Url, Url) = (address.parse().expect("an address"), next.parse().expect("an address"));
        assert_ne!(from.origin(), to.origin(), "as at true gateways");
        let policy = payer.get(page).await.header("content-security-policy").expect("a policy").to_owned();
        assert!(allows(&policy, &to), "{to} by {policy}");
        let cashier = http().get(to).send().await.expect("an answer");
        assert_eq!(cashier.status().as_u16(), 200);
        let payable = if channel == "alipay" { "201.00" } else { "201.20" };
        assert!(cashier.text().await.expect("a page").contains(payable));
        client.reaches(id, "succeeded", seconds(20)).await;
    }
    app.finish().await;
}

#[actix_web::test]
async fn report_a_channel_that_the_page_cannot_lead_to_has_no_button() {
    let app = app::start_with(Kind::Sqlite, "").await;
    let (client, payer) = (app.client(), app.client().anonymous());
    let order = client.create(&with(undecided("tea"), json!({ "currency": "USD" }))).await.order(201);
    assert!(order["alternative_channels"].as_array().is_some_and(|channels| channels.contains(&json!("stripe"))));
    let page = text(&order, "retry_url");
    assert!(!buttons(&payer.get(page).await.text).contains(&"stripe"));
    assert_eq!(press(&payer, page, "stripe").await.status, 422);
    assert_eq!(client.order(text(&order, "id")).await["attempts"], json!([]), "nobody is shut out of the others");
    app.finish().await;
}

#[actix_web::test]
async fn report_wechat_pays_page_learns_where_its_payer_comes_from() {
    let app = app::start_with(Kind::Sqlite, "").await;
    let (client, payer) = (app.client(), app.client().anonymous());
    let by_h5 = json!({ "channel": "wechat", "method": "h5", "payer": { "id": "u-1", "ip": "192.0.2.7" } });
    let order = client.create(&with(an_order("sim:never"), by_h5)).await.order(201);
    let page = payer.get(text(&order, "retry_url")).await;
    assert_eq!(page.header("referrer-policy"), Some("strict-origin"));
    let link = page.text.split("<a class=\"button\"").nth(1).expect("a link").split('>').next().expect("it ends");
    assert_eq!(attribute(link, "href"), text(&order["next_action"], "url"));
    assert!(!page.text.contains("noreferrer"), "{link}");
    client.cancel(text(&order, "id")).await.order(200);
    app.finish().await;
}

async fn submits(app: &App) -> f64 {
    app.metric("tongbao_channel_calls_total", "call=\"submit\"").await
}

#[actix_web::test]
async fn report_a_pay_link_is_not_pressed_without_limit() {
    let app = app::start_with(Kind::Sqlite, "").await;
    let (client, payer) = (app.client(), app.client().anonymous());
    let order = client.create(&undecided("sim:never")).await.order(201);
    let other = client.create(&undecided("tea")).await.order(201);
    let mut refused = 0;
    for _ in 0..40 {
        let pressed = press(&payer, text(&order, "retry_url"), "simpay").await;
        match pressed.status {
            200 => {}
            429 => {
                let wait = pressed.header("retry-after").and_then(|wait| wait.parse::<u64>().ok());
                assert!(wait.is_some_and(|wait| (1..=60).contains(&wait)), "{wait:?}");
                assert!(pressed.text.contains("Too many requests"), "the page says so: {}", pressed.text);
                refused += 1;
            }
            status => panic!("{status}: {}", pressed.text),
        }
    }
    // One press comes back every six seconds.
    assert!((25..=30).contains(&refused), "{refused}");
    assert!(submits(&app).await <= 15.0, "{}", submits(&app).await);
    assert_eq!(press(&payer, text(&other, "retry_url"), "simpay").await.status, 200, "another link is another's");
    client.reaches(text(&other, "id"), "succeeded", seconds(10)).await;
    client.cancel(text(&order, "id")).await.order(200);
    app.finish().await;
}

#[actix_web::test]
async fn report_an_orders_events_come_in_pages() {
    let app = app::start_with(Kind::Sqlite, "").await;
    let client = app.client();
    let order = client.create(&an_order("sim:never")).await.order(201);
    let id = text(&order, "id");
    for _ in 0..12 {
        client.pay(id, "simpay").await.order(200);
    }
    client.cancel(id).await.order(200);
    let path = format!("/v1/orders/{id}/events");
    let page = client.get(&path).await;
    assert_eq!(page.body["data"].as_array().map(Vec::len), Some(20), "the default of every list");
    assert!(page.body["next_cursor"].is_string(), "{}", page.text);
    let mut versions = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{path}?limit=7{cursor}")).await;
        let steps = page.body["data"].as_array().expect("a list");
        assert!(steps.len() <= 7);
        versions.extend(steps.iter().map(|step| step["version"].as_u64().expect("a version")));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(versions.len() > 20);
    assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>(), "each step once, in order");
    let whole = client.get(&format!("{path}?limit=100")).await;
    assert_eq!(whole.body["data"].as_array().map(Vec::len), Some(versions.len()));
    assert_eq!(whole.body["next_cursor"], Value::Null);
    for (query, code, field) in [
        ("limit=0", "limit_invalid", "limit"),
        ("limit=101", "limit_invalid", "limit"),
        ("cursor=x", "cursor_invalid", "cursor"),
        ("before=1", "parameter_unknown", "before"),
    ] {
        assert_eq!(client.get(&format!("{path}?{query}")).await.problem(422, code), Some(field));
    }
    app.finish().await;
}
