//! What is wrong about a callback of a real channel, over HTTP: it is answered as the gateway should see it, counted,
//! and changes nothing.

mod support;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use support::app::App;
use support::beside::Beside;
use support::books::counts;
use support::client::{an_order, text, with};
use support::far_ends::{Message, Payment, alipay, stripe, unionpay, wechat, wechat_of};
use support::process::{Kind, Site};
use support::ways::visit;
use support::{eventually, seconds};
use tongbao::config::sandbox::{Alipay, Stripe, Unionpay, Wechat};

/// Both accounts of every channel, each with a far end of its own. The simulated gateway is that of `default`.
struct Keys {
    wechat: [Wechat; 2],
    alipay: [Alipay; 2],
    unionpay: [Unionpay; 2],
    stripe: [Stripe; 2],
}

const ACCOUNTS: [&str; 2] = ["default", "own"];

impl Keys {
    fn make(site: &Site) -> Self {
        let folder = site.folder.path();
        Keys {
            wechat: ACCOUNTS.map(|name| Wechat::open(folder, name).expect("keys")),
            alipay: ACCOUNTS.map(|name| Alipay::open(folder, name).expect("keys")),
            unionpay: ACCOUNTS.map(|name| Unionpay::open(folder, name).expect("keys")),
            stripe: ACCOUNTS.map(|name| Stripe::open(folder, name).expect("keys")),
        }
    }

    fn settings(&self, site: &Site) -> String {
        let mut settings = "[store]\nstatement_timeout_ms = 500\n".to_owned();
        for channel in CHANNELS {
            settings += &format!("[channels.{channel}]\nenabled = true\n");
        }
        for (place, name) in ACCOUNTS.into_iter().enumerate() {
            let file = |channel: &str, file: &str| {
                site.folder.path().join(format!("sandbox/{channel}-{name}/{file}")).display().to_string()
            };
            let (wechat, alipay, unionpay) = (&self.wechat[place], &self.alipay[place], &self.unionpay[place]);
            settings += &format!(
                "[channels.wechat.accounts.{name}]\nmchid = \"{}\"\nappid = \"{}\"\nmerchant_serial = \"{}\"\n\
                 merchant_key_file = \"{}\"\napi_v3_key_file = \"{}\"\npublic_key_id = \"{}\"\npublic_key_file = \"{}\"\n",
                wechat.mchid,
                wechat.appid,
                wechat.merchant_serial,
                file("wechat", "merchant.key.pem"),
                file("wechat", "api_v3.key"),
                wechat.public_key_id,
                file("wechat", "public_key.pem"),
            );
            settings += &format!(
                "[channels.alipay.accounts.{name}]\napp_id = \"{}\"\nseller_id = \"{}\"\napp_key_file = \"{}\"\n\
                 app_certificate_file = \"{}\"\nalipay_certificate_file = \"{}\"\nroot_certificate_file = \"{}\"\n",
                alipay.app_id,
                alipay.seller_id,
                file("alipay", "app.key.pem"),
                file("alipay", "app.pem"),
                file("alipay", "alipay.pem"),
                file("alipay", "root.pem"),
            );
            settings += &format!(
                "[channels.unionpay.accounts.{name}]\nmer_id = \"{}\"\nsigning_key_file = \"{}\"\n\
                 signing_certificate_file = \"{}\"\nroot_certificate_file = \"{}\"\nmiddle_certificate_file = \"{}\"\n",
                unionpay.mer_id,
                file("unionpay", "merchant.key.pem"),
                file("unionpay", "merchant.pem"),
                file("unionpay", "root.pem"),
                file("unionpay", "middle.pem"),
            );
            settings += &format!(
                "[channels.stripe.accounts.{name}]\nsecret_key_file = \"{}\"\nwebhook_secrets_file = \"{}\"\n",
                file("stripe", "secret.key"),
                file("stripe", "webhook.secret"),
            );
        }
        settings
    }

    /// What must never stand in a log.
    fn secrets(&self) -> Vec<&str> {
        let mut secrets = Vec::new();
        for place in 0..ACCOUNTS.len() {
            secrets.extend([
                self.wechat[place].api_v3_key.expose_secret(),
                self.stripe[place].secret_key.expose_secret(),
                self.stripe[place].webhook_secret.expose_secret(),
            ]);
            for pem in
                [&self.wechat[place].merchant_key, &self.alipay[place].app_key, &self.unionpay[place].merchant_key]
            {
                secrets.push(pem.expose_secret().lines().nth(1).expect("a key has lines"));
            }
        }
        secrets
    }
}

const CHANNELS: [&str; 4] = ["wechat", "alipay", "unionpay", "stripe"];

/// A channel's order and the callbacks of it that are wrong in one thing each.
struct Way {
    channel: &'static str,
    order: Value,
    /// To the account that the attempt belongs to: what is wrong, the callback, and the answer's status and code.
    refused: Vec<(&'static str, Message, u16, &'static str)>,
    /// Rightly signed, and acknowledged: of an amount or in a currency that nobody asked for.
    contradicting: Vec<(&'static str, Message)>,
    /// By the other account's far end, of the first account's payment.
    others: Message,
}

const FORGED: (u16, &str) = (401, "callback_unverified");
const STALE: (u16, &str) = (401, "callback_stale");
const UNREADABLE: (u16, &str) = (400, "callback_unreadable");

fn cases(cases: Vec<(&'static str, Message, (u16, &'static str))>) -> Vec<(&'static str, Message, u16, &'static str)> {
    cases.into_iter().map(|(what, message, (status, code))| (what, message, status, code)).collect()
}

fn by_wechat(site: &Site, keys: &Keys, order: Value) -> Way {
    let [default, own] = &keys.wechat;
    let number = text(&order["attempts"][0], "id").to_owned();
    let good = Payment::of(&number, 20_060, "CNY");
    let right = wechat(default, default, &good);
    let open = || Wechat::open(site.folder.path(), "default").expect("keys");
    let unknown_serial = Wechat { public_key_id: "PUB_KEY_ID_9".into(), ..open() };
    let by_certificate = Wechat { public_key_id: default.platform_serial.clone(), ..open() };
    let another_merchant = Wechat { mchid: own.mchid.clone(), ..open() };
    let another_app = Wechat { appid: own.appid.clone(), ..open() };
    let stale = Payment { told_at: good.told_at - 3_600, ..good.clone() };
    let twice = |text: String| text.replacen('{', "{\"out_trade_no\":\"1\",", 1);
    Way {
        channel: "wechat",
        refused: cases(vec![
            ("another's signature", wechat(default, own, &good), FORGED),
            ("changed bytes", right.with("\"summary\"", "\"summary\" "), FORGED),
            ("cut off", right.cut(), FORGED),
            ("no signature", Message { headers: Vec::new(), ..right.clone() }, FORGED),
            ("an unknown serial", wechat(&unknown_serial, default, &good), FORGED),
            ("another key's serial", wechat(&by_certificate, default, &good), FORGED),
            ("stale", wechat(default, default, &stale), STALE),
            ("another merchant", wechat(&another_merchant, default, &good), UNREADABLE),
            ("another app", wechat(&another_app, default, &good), UNREADABLE),
            ("a doubled field", wechat_of(default, default, &good, twice), UNREADABLE),
            ("huge", right.huge(), (413, "body_too_large")),
        ]),
        contradicting: vec![
            ("another amount", wechat(default, default, &Payment { amount_minor: 1, ..good.clone() })),
            ("another currency", wechat(default, default, &Payment { currency: "USD", ..good.clone() })),
        ],
        others: wechat(own, own, &good),
        order,
    }
}

fn by_alipay(site: &Site, keys: &Keys, order: Value) -> Way {
    let [default, own] = &keys.alipay;
    let number = text(&order["attempts"][0], "id").to_owned();
    let good = Payment::of(&number, 20_100, "CNY");
    let right = alipay(default, default, &good, &[]);
    let open = || Alipay::open(site.folder.path(), "default").expect("keys");
    let another_app = Alipay { app_id: own.app_id.clone(), ..open() };
    let another_seller = Alipay { seller_id: own.seller_id.clone(), ..open() };
    let stale = Payment { told_at: good.told_at - 3 * 86_400, ..good.clone() };
    let doubled = Message { body: [&right.body[..], b"&total_amount=201.00"].concat(), ..right.clone() };
    let unsigned = right.with("&sign=", "&signed=");
    Way {
        channel: "alipay",
        refused: cases(vec![
            ("another's signature", alipay(default, own, &good, &[]), FORGED),
            ("changed bytes", right.with("201.00", "201.01"), FORGED),
            ("no signature", unsigned, FORGED),
            ("another certificate", alipay(default, default, &good, &[("alipay_cert_sn", "ab")]), FORGED),
            ("stale", alipay(default, default, &stale, &[]), STALE),
            ("another app", alipay(&another_app, default, &good, &[]), UNREADABLE),
            ("another seller", alipay(&another_seller, default, &good, &[]), UNREADABLE),
            ("a doubled field", doubled, UNREADABLE),
            ("huge", right.huge(), (413, "body_too_large")),
        ]),
        contradicting: vec![(
            "another amount",
            alipay(default, default, &Payment { amount_minor: 1, ..good.clone() }, &[]),
        )],
        others: alipay(own, own, &good, &[]),
        order,
    }
}

fn by_unionpay(site: &Site, keys: &Keys, order: Value) -> Way {
    let [default, own] = &keys.unionpay;
    let number = text(&order["attempts"][0], "id").to_owned();
    let good = Payment::of(&number, 20_120, "156");
    let right = unionpay(default, default, &good);
    let open = || Unionpay::open(site.folder.path(), "default").expect("keys");
    let merchants_own = Unionpay {
        signer_key: default.merchant_key.clone(),
        signer_certificate: default.merchant_certificate.clone(),
        ..open()
    };
    let swapped = Unionpay { signer_key: own.signer_key.clone(), ..open() };
    let another_merchant = Unionpay { mer_id: own.mer_id.clone(), ..open() };
    let doubled = Message { body: [&right.body[..], b"&txnAmt=20120"].concat(), ..right.clone() };
    Way {
        channel: "unionpay",
        refused: cases(vec![
            ("another's signature", unionpay(default, &swapped, &good), FORGED),
            ("changed bytes", right.with("txnAmt=20120", "txnAmt=20121"), FORGED),
            ("cut off", right.cut(), FORGED),
            ("no signature", right.with("&signature=", "&signed="), FORGED),
            ("another chain's certificate", unionpay(default, own, &good), FORGED),
            ("the merchant's own certificate", unionpay(default, &merchants_own, &good), FORGED),
            ("another merchant", unionpay(&another_merchant, default, &good), UNREADABLE),
            ("a doubled field", doubled, UNREADABLE),
            ("huge", right.huge(), (413, "body_too_large")),
        ]),
        contradicting: vec![
            ("another amount", unionpay(default, default, &Payment { amount_minor: 1, ..good.clone() })),
            ("another currency", unionpay(default, default, &Payment { currency: "840", ..good.clone() })),
        ],
        others: unionpay(own, own, &good),
        order,
    }
}

fn by_stripe(keys: &Keys, order: Value) -> Way {
    let [default, own] = &keys.stripe;
    let number = text(&order["attempts"][0], "id").to_owned();
    let good = Payment::of(&number, 20_580, "usd");
    let right = stripe(default, &good, None);
    let at = |span_s: i64| Payment { told_at: good.told_at + span_s, ..good.clone() };
    Way {
        channel: "stripe",
        refused: cases(vec![
            ("another's signature", stripe(own, &good, None), FORGED),
            ("changed bytes", right.with("20580", "20581"), FORGED),
            ("cut off", right.cut(), FORGED),
            ("no signature", Message { headers: Vec::new(), ..right.clone() }, FORGED),
            ("stale", stripe(default, &at(-3_600), None), STALE),
            ("from the future", stripe(default, &at(3_600), None), STALE),
            ("a connected account's", stripe(default, &good, Some("acct_1")), UNREADABLE),
            ("huge", right.huge(), (413, "body_too_large")),
        ]),
        contradicting: vec![
            ("another amount", stripe(default, &Payment { amount_minor: 1, ..good.clone() }, None)),
            ("another currency", stripe(default, &Payment { currency: "eur", ..good.clone() }, None)),
        ],
        others: stripe(own, &good, None),
        order,
    }
}

/// Pages that no payer opens meanwhile, and codes that none pays.
async fn ways(app: &App, keys: &Keys) -> Vec<Way> {
    let client = app.client();
    let make = async |channel: &str, method: &str, description: &str, currency: &str| {
        let asked = json!({
            "channel": channel, "method": method, "currency": currency, "webhook_url": app.receiver.url("platform-a"),
        });
        client.create(&with(an_order(description), asked)).await.order(201)
    };
    let wechat = make("wechat", "native", "sim:never", "CNY").await;
    let alipay = make("alipay", "page", "tea", "CNY").await;
    let unionpay = make("unionpay", "page", "tea", "CNY").await;
    let stripe = make("stripe", "card", "sim:never", "USD").await;
    vec![
        by_wechat(&app.site, keys, wechat),
        by_alipay(&app.site, keys, alipay),
        by_unionpay(&app.site, keys, unionpay),
        by_stripe(keys, stripe),
    ]
}

/// A server with two accounts at each channel.
async fn start() -> (App, Keys) {
    let site = Site::new(Kind::Sqlite, "");
    let keys = Keys::make(&site);
    std::fs::write(site.folder.path().join("overlay.toml"), keys.settings(&site)).expect("the overlay is written");
    (App::start(site).await, keys)
}

#[actix_web::test]
async fn a_callback_that_is_wrong_in_one_thing_is_refused_and_changes_nothing() {
    let (app, keys) = start().await;
    let client = app.client();
    let ways = ways(&app, &keys).await;
    let before = counts(&app.site).await;
    for way in &ways {
        refused(&app, way).await;
    }
    assert_eq!(counts(&app.site).await, before, "what is refused changes nothing");
    for way in &ways {
        let now = client.order(text(&way.order, "id")).await;
        assert_eq!((&now["state"], &now["attempts"]), (&way.order["state"], &way.order["attempts"]), "{}", way.channel);
    }

    for way in &ways {
        for (what, message) in &way.contradicting {
            let path = format!("/v1/callbacks/{}", way.channel);
            let answer = message.send(&client, &path).await;
            assert!([200, 204].contains(&answer.status), "{} {what}: {}", way.channel, answer.text);
        }
        let taken = app.metric("tongbao_callbacks_total", &series(way.channel, "taken")).await;
        assert_eq!(taken, way.contradicting.len() as f64, "{}", way.channel);
    }
    let after = counts(&app.site).await;
    assert_eq!((&after["captures"], &after["balances"]), (&json!(0), &json!({})), "no money was taken");

    let log = app.server.log();
    for secret in keys.secrets() {
        assert!(!log.contains(secret), "a secret stands in the log");
    }
    end(&app, &ways).await;
    app.finish().await;
}

fn series(channel: &str, verdict: &str) -> String {
    format!("channel=\"{channel}\",verdict=\"{verdict}\"")
}

/// Every wrong callback gets its own refusal and is counted by its kind.
async fn refused(app: &App, way: &Way) {
    let (client, channel) = (app.client(), way.channel);
    let default = format!("/v1/callbacks/{channel}");
    for (what, message, status, code) in &way.refused {
        let answer = message.send(&client, &default).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (*status, Some(*code)), "{channel}: {what}");
    }
    // The other account's far end says that it has this payment: to the account that the attempt belongs to it is a
    // stranger, and to its own account the payment is none of its.
    way.others.send(&client, &default).await.problem(401, "callback_unverified");
    way.others.send(&client, &format!("{default}/own")).await.problem(409, "callback_refused");
    for (verdict, code) in
        [("forged", "callback_unverified"), ("stale", "callback_stale"), ("unreadable", "callback_unreadable")]
    {
        let sent = way.refused.iter().filter(|(_, _, _, known)| *known == code).count();
        let sent = if verdict == "forged" { sent + 1 } else { sent };
        let counted = app.metric("tongbao_callbacks_total", &series(channel, verdict)).await;
        assert_eq!(counted, sent as f64, "{channel} {verdict}");
    }
    assert_eq!(app.metric("tongbao_callbacks_total", &series(channel, "refused")).await, 1.0, "{channel}");
}

/// While nothing can be made durable, the gateway is told to come again: 5xx, and Alipay anything but its word.
#[actix_web::test]
async fn trap_12_a_callback_is_acknowledged_only_once_it_is_durable() {
    let (app, keys) = start().await;
    let client = app.client();
    let ways = ways(&app, &keys).await;
    let send = async |way: &Way| way.contradicting[0].1.send(&client, &format!("/v1/callbacks/{}", way.channel)).await;
    let before = counts(&app.site).await;
    let mut beside = Beside::of(&app.site).await;
    beside.run("BEGIN EXCLUSIVE").await;
    for way in &ways {
        let answer = send(way).await;
        assert!(answer.status >= 500, "{}: {} {}", way.channel, answer.status, answer.text);
        assert_ne!(answer.text, "success", "{}", way.channel);
    }
    beside.run("ROLLBACK").await;
    beside.close().await;
    let is_back = || async { (client.get("/readyz").await.status == 200).then_some(()) };
    eventually("the store is back", seconds(10), is_back).await;
    for way in &ways {
        let answer = send(way).await;
        assert!([200, 204].contains(&answer.status), "{}: {}", way.channel, answer.text);
    }
    let steps = |counts: &Value| counts["steps"].as_u64().expect("a count");
    let after = counts(&app.site).await;
    assert!(steps(&after) >= steps(&before) + ways.len() as u64, "each is in the journal: {before} {after}");
    end(&app, &ways).await;
    app.finish().await;
}

/// What can be called off is; where only the payer can end it, the payer pays.
async fn end(app: &App, ways: &[Way]) {
    let client = app.client();
    for way in ways {
        let id = text(&way.order, "id");
        let next_action = &way.order["next_action"];
        if next_action["type"] == "form" {
            visit(next_action).await;
            client.reaches(id, "succeeded", seconds(25)).await;
        } else {
            client.cancel(id).await;
            client.reaches(id, "failed", seconds(25)).await;
        }
    }
}
