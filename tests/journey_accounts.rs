//! Several accounts at each channel: whose money goes where, whose word counts, and how keys change while orders are
//! being paid.

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::{Value, json};
use support::accounts::{Account, REAL, enabled, folder, write};
use support::app::App;
use support::client::{Client, an_order, text, with};
use support::forger::{self, Far};
use support::process::{Kind, Site};
use support::ways::visit;
use support::{eventually, seconds};
use tongbao::channels::{Adapter, Ask, NextAction, Payer, Stamp, Submission, sender};
use tongbao::channels::{alipay::Alipay, stripe::Stripe, unionpay::Unionpay, wechat::Wechat};
use tongbao::config::sandbox;
use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::money::Currency;
use tongbao::domain::time::Instant;

const PAID: Duration = seconds(40);
/// Payers who wait until a test has done what it wants to be done meanwhile.
const PATIENT_PAYERS: &str = "[gateway]\nembedded = false\npayer_delay_ms = 6000\n";

/// How an order by each real channel is asked for.
fn by(channel: &str, description: &str) -> Value {
    let (method, currency) = match channel {
        "wechat" => ("native", "CNY"),
        "alipay" => ("qr", "CNY"),
        "unionpay" => ("page", "CNY"),
        "stripe" => ("card", "USD"),
        other => panic!("{other} is no real channel"),
    };
    with(an_order(description), json!({ "channel": channel, "method": method, "currency": currency }))
}

/// Posts an order and, where its payer's browser has something to carry, has it carried.
async fn opened(client: &Client, asked: &Value) -> Value {
    let order = client.create(asked).await.order(201);
    visit(&order["next_action"]).await;
    order
}

fn configure(site: &Site, settings: &str) {
    write(&site.folder.path().join("overlay.toml"), settings);
}

/// The facts of the gateway's books.
fn books(site: &Site) -> Vec<Value> {
    let file = std::fs::read_to_string(site.folder.path().join("gateway/books.jsonl")).unwrap_or_default();
    file.lines().map(|line| serde_json::from_str(line).expect("a fact is JSON")).collect()
}

/// The accounts that the gateway has facts of this kind of a payment at.
fn accounts_of(site: &Site, kind: &str, number: &str) -> Vec<String> {
    let facts = books(site).into_iter().filter(|fact| fact[kind]["number"] == number);
    facts.map(|fact| text(&fact[kind], "account").to_owned()).collect()
}

async fn logged(app: &App, what: &str, times: usize) {
    let seen = || async { (app.server.log().matches(what).count() >= times).then_some(()) };
    eventually(&format!("{what:?} is logged {times} times"), seconds(20), seen).await;
}

#[actix_web::test]
async fn each_platforms_money_goes_to_its_own_account_and_back_from_there() {
    let site = Site::new(Kind::Sqlite, "");
    let mut settings = enabled(&REAL);
    for channel in REAL {
        settings += &Account::of(&site, channel, "default").keep(&site);
        settings += &Account::of(&site, channel, "shop").keep(&site);
    }
    settings += "[platforms.platform-b.accounts]\n";
    settings += &REAL.map(|channel| format!("{channel} = \"shop\"\n")).concat();
    configure(&site, &settings);
    let app = App::start(site).await;
    let cells = REAL.into_iter().flat_map(|channel| [(channel, "default"), (channel, "shop")]);
    join_all(cells.map(|(channel, account)| goes_to(&app, channel, account))).await;
    for channel in REAL {
        let of = |verdict: &str| format!("channel=\"{channel}\",verdict=\"{verdict}\"");
        eventually(&format!("four callbacks of {channel} verify"), PAID, || async {
            (app.metric("tongbao_callbacks_total", &of("taken")).await >= 4.0).then_some(())
        })
        .await;
        assert_eq!(app.metric("tongbao_callbacks_total", &of("forged")).await, 0.0, "{channel}: each by its own keys");
    }
    app.finish().await;
}

async fn goes_to(app: &App, channel: &str, account: &str) {
    let client = if account == "shop" { app.client_b() } else { app.client() };
    let label = format!("{channel}/{account}");
    let number = |order: &Value| text(&order["attempts"][0], "id").to_owned();

    let paid = opened(&client, &by(channel, "tea")).await;
    let paid = client.reaches(text(&paid, "id"), "succeeded", PAID).await;
    assert_eq!(paid["attempts"][0]["account"], account, "{paid}");
    assert_eq!(accounts_of(&app.site, "captured", &number(&paid)), [label.as_str()]);

    let short = opened(&client, &by(channel, "sim:underpay")).await;
    let what = format!("is given back at {label}");
    client.until(text(&short, "id"), &what, PAID, |order| order["suspense"][0]["state"] == "refunded").await;
    assert_eq!(accounts_of(&app.site, "captured", &number(&short)), [label.as_str()]);
    assert_eq!(accounts_of(&app.site, "refunded", &number(&short)), [label.as_str()]);
}

/// The adapter of an account as the merchant that has it would use it.
fn adapter(site: &Site, channel: Channel, account: &str) -> Box<dyn Adapter> {
    let base = format!("http://{}/{channel}", site.gateway);
    let dir = site.folder.path();
    match channel {
        Channel::Wechat => {
            let credentials = sandbox::Wechat::open(dir, account).unwrap().credentials();
            Box::new(Wechat::new(account, &base, credentials).unwrap())
        }
        Channel::Alipay => {
            let credentials = sandbox::Alipay::open(dir, account).unwrap().credentials();
            Box::new(Alipay::new(account, &base, credentials).unwrap())
        }
        Channel::Unionpay => {
            let credentials = sandbox::Unionpay::open(dir, account).unwrap().credentials();
            Box::new(Unionpay::new(account, &base, credentials).unwrap())
        }
        Channel::Stripe => {
            let credentials = sandbox::Stripe::open(dir, account).unwrap().credentials();
            Box::new(Stripe::new(account, &base, credentials).unwrap())
        }
        Channel::Simpay => panic!("simpay is no real channel"),
    }
}

/// Somebody else takes money at the account `shop` under the number of an attempt of `default`, in full. Its gateway
/// tells us so with the keys of `shop`, and truly; the attempt is none of that account's.
#[actix_web::test]
async fn what_another_account_of_the_channel_took_is_not_the_attempts_capture() {
    let site = Site::new(Kind::Sqlite, "");
    let mut settings = enabled(&REAL);
    for channel in REAL {
        settings += &Account::of(&site, channel, "default").keep(&site);
        settings += &Account::of(&site, channel, "shop").keep(&site);
    }
    configure(&site, &settings);
    let mut app = App::start(site).await;
    join_all(REAL.map(|channel| stays_unpaid(&app, Channel::parse(channel).unwrap()))).await;
    // The books cannot agree: the gateway has money that no order of ours is owed.
    app.server.stop().await;
}

async fn stays_unpaid(app: &App, channel: Channel) {
    let client = app.client();
    let order = opened(&client, &by(channel.name(), "sim:never")).await;
    let (id, number) = (text(&order, "id"), text(&order["attempts"][0], "id"));
    let events =
        || async { client.get(&format!("/v1/orders/{id}/events")).await.text.matches("callback_verified").count() };
    assert_eq!(order["state"], "submitted", "{order}");

    let another = adapter(&app.site, channel, "shop");
    let payable = text(&order, "payable").replace('.', "").parse().expect("minor units");
    let now = Instant(support::gateway::now_s() * 1_000);
    let method = Method::parse(text(&order, "method")).unwrap();
    let frozen = another.freeze(&Ask {
        number: number.parse().unwrap(),
        method,
        payable_minor: payable,
        currency: Currency::parse(text(&order, "currency")).unwrap(),
        description: "tea",
        notify_url: format!("{}/v1/callbacks/{channel}/shop", app.site.url()),
        return_url: None,
        payer: &Payer::default(),
        opened_at: now,
        expires_at: now.plus_ms(600_000),
    });
    let stamp = Stamp { at: now, nonce: "0123456789abcdefghijklmnopqrstuv".into() };
    match another.submit(&frozen, &stamp) {
        Submission::Call(outgoing) => {
            let answer = sender::send(
                &sender::client().unwrap(),
                outgoing,
                "00-0-0-00",
                sender::Allowance::of_call(seconds(10)),
            )
            .await
            .expect("an answer");
            assert_eq!(answer.status, 200, "{channel}: {}", String::from_utf8_lossy(&answer.body));
        }
        Submission::Carried(submitted) => {
            let Some(form @ NextAction::Form { .. }) = submitted.next_action else { panic!("{submitted:?}") };
            visit(&serde_json::to_value(form).expect("it is shown as JSON")).await;
        }
    }
    let refused = format!("channel=\"{channel}\",verdict=\"refused\"");
    eventually(&format!("{channel}: the callback is refused"), PAID, || async {
        (app.metric("tongbao_callbacks_total", &refused).await >= 1.0).then_some(())
    })
    .await;
    assert_eq!(accounts_of(&app.site, "captured", number), [format!("{channel}/shop")], "it was truly paid there");
    let after = client.order(id).await;
    assert_eq!((&after["state"], &after["attempts"][0]["state"]), (&json!("submitted"), &json!("open")), "{after}");
    assert_eq!((&after["suspense"], events().await), (&json!([]), 0), "{after}");
}

/// Payers are paying while the merchant's keys change at both ends. What was begun goes on by the new keys: UnionPay and
/// Stripe succeed only once a query was answered, and the gateway knows no other keys by then.
#[actix_web::test]
async fn orders_go_on_while_the_merchants_keys_change() {
    let site = Site::new(Kind::Sqlite, "");
    let old = REAL.map(|channel| Account::of(&site, channel, "default").keep(&site)).concat();
    configure(&site, &format!("{}{PATIENT_PAYERS}{old}", enabled(&REAL)));
    let mut app = App::start_beside_gateway(site).await;
    let client = app.client();
    let begun = join_all(REAL.map(|channel| {
        let client = client.clone();
        async move { opened(&client, &by(channel, "tea")).await }
    }))
    .await;

    let changed = renew_merchants(&app.site);
    configure(&app.site, &format!("{}{PATIENT_PAYERS}{changed}", enabled(&REAL)));
    app.server.hang_up().await;
    logged(&app, "credentials were renewed", 1).await;
    app.stop_gateway().await;
    app.restart_gateway().await;

    for order in &begun {
        client.reaches(text(order, "id"), "succeeded", PAID).await;
    }
    join_all(REAL.map(|channel| {
        let client = client.clone();
        async move {
            let order = opened(&client, &by(channel, "tea")).await;
            assert!(order["next_action"].is_object(), "{channel} takes what the new key signs: {order}");
            client.reaches(text(&order, "id"), "succeeded", PAID).await
        }
    }))
    .await;
    app.finish().await;
}

/// Gives the merchant of every account `default` other keys, at the gateway and in our files.
fn renew_merchants(site: &Site) -> String {
    let next = site.folder.path().join("next");
    let changes: [(&str, &[&str], &[&str]); 4] = [
        ("wechat", &["merchant_serial", "merchant_key"], &["merchant.key.pem", "merchant.pem", "merchant.serial"]),
        ("alipay", &["app_key", "app_certificate"], &["app.key.pem", "app.public.pem", "app.pem"]),
        ("unionpay", &["signing_key", "signing_certificate"], &["merchant.key.pem", "merchant.pem"]),
        ("stripe", &["secret_key"], &["secret.key"]),
    ];
    let mut settings = String::new();
    for (channel, ours, theirs) in changes {
        let fresh = Account::known_in(&next, channel, "default");
        let known = Account::of(site, channel, "default").with_texts_of(&fresh, ours);
        let name = format!("sandbox/{channel}-default");
        for file in theirs {
            let copied = std::fs::copy(next.join(&name).join(file), site.folder.path().join(&name).join(file));
            copied.expect("a key is copied");
        }
        settings += &known.keep(site);
    }
    settings
}

/// A channel changes its own keys: old and new are believed side by side as configured, and what was configured before
/// the last SIGHUP is believed until the next one.
#[actix_web::test]
async fn a_channels_old_and_new_keys_are_believed_side_by_side() {
    let site = Site::new(Kind::Sqlite, "");
    let (wechat, stripe) = (Account::of(&site, "wechat", "default"), Account::of(&site, "stripe", "default"));
    let settings = enabled(&["wechat", "stripe"]);
    configure(&site, &format!("{settings}{}{}", wechat.keep(&site), stripe.keep(&site)));
    let secrets = folder(&site, "stripe", "default").join("webhook_secrets");
    let [first, second] = ["whsec_Zmlyc3QtMDAwMDAwMDAwMDAwMDA", "whsec_c2Vjb25kLTAwMDAwMDAwMDAwMA"];
    write(&secrets, first);
    let app = App::start(site).await;
    let client = app.client();
    let renewed = async |times: usize| {
        app.server.hang_up().await;
        logged(&app, "credentials were renewed", times).await;
    };
    let heard = async || {
        let both = [first, second].map(|secret| forger::stripe_event(&client, secret));
        join_all(both).await.into_iter().map(|answer| answer.status).collect::<Vec<u16>>()
    };
    assert_eq!(heard().await, [200, 401]);
    write(&secrets, &format!("{second}\n{first}\n"));
    renewed(1).await;
    assert_eq!(heard().await, [200, 200], "both stand in the file");
    write(&secrets, second);
    renewed(2).await;
    assert_eq!(heard().await, [200, 200], "what stood there before is believed until the next renewal");
    renewed(3).await;
    assert_eq!(heard().await, [401, 200], "and no longer");

    // WeChat Pay signs by certificate and by public key while a merchant changes over.
    let far = Far::of(&app.site, "default");
    for (named, status) in [(far.certificate(), 204), (far.public_key(), 204), (far.stranger(), 401)] {
        assert_eq!(forger::wechat_refund_notice(&client, &far, &named).await.status, status, "{}", named.serial);
    }
    app.finish().await;
}

/// Nothing of a configuration is taken over unless all of it is good, and what is not is told by its name alone.
#[actix_web::test]
async fn a_malformed_key_changes_nothing_and_a_new_account_is_served_at_once() {
    let site = Site::new(Kind::Sqlite, "");
    let wechat = Account::of(&site, "wechat", "default");
    let shop = Account::of(&site, "wechat", "shop");
    let settings = format!("{}{}", enabled(&["wechat"]), wechat.keep(&site));
    configure(&site, &settings);
    let app = App::start(site).await;
    let (client, client_b) = (app.client(), app.client_b());
    let key = folder(&app.site, "wechat", "default").join("merchant_key");
    let stays = "credentials and accounts stay as they were";

    write(&key, "-----BEGIN PRIVATE KEY-----\nhidden7Q\n-----END PRIVATE KEY-----\n");
    let assigned = "[platforms.platform-b.accounts]\nwechat = \"shop\"\n";
    configure(&app.site, &format!("{settings}{}{assigned}", shop.keep(&app.site)));
    app.server.hang_up().await;
    logged(&app, stays, 1).await;
    let log = app.server.log();
    let line = log.lines().find(|line| line.contains(stays)).expect("the line").to_owned();
    assert!(line.contains("wechat") && line.contains("default") && line.contains("merchant_key"), "{line}");
    assert!(!log.contains("hidden7Q"), "{line}");
    let order = opened(&client_b, &by("wechat", "tea")).await;
    let order = client_b.reaches(text(&order, "id"), "succeeded", PAID).await;
    assert_eq!(order["attempts"][0]["account"], "default", "the new account waits with the rest");

    wechat.keep(&app.site);
    app.server.hang_up().await;
    logged(&app, "credentials were renewed", 1).await;
    for (client, account) in [(&client, "default"), (&client_b, "shop")] {
        let order = opened(client, &by("wechat", "tea")).await;
        let order = client.reaches(text(&order, "id"), "succeeded", PAID).await;
        assert_eq!(order["attempts"][0]["account"], account);
        let number = text(&order["attempts"][0], "id");
        assert_eq!(accounts_of(&app.site, "captured", number), [format!("wechat/{account}")]);
    }

    // Where a channel's money goes is for a start to say.
    let elsewhere = enabled(&["wechat"]).replace("enabled = true", "enabled = true\nbase_url = \"http://127.0.0.1:9\"");
    configure(&app.site, &format!("{elsewhere}{}", wechat.keep(&app.site)));
    app.server.hang_up().await;
    logged(&app, stays, 2).await;
    let log = app.server.log();
    let line = log.lines().rfind(|line| line.contains(stays)).expect("the line").to_owned();
    assert!(line.contains("channels.wechat.base_url") && line.contains("restart"), "{line}");
    let order = opened(&client_b, &by("wechat", "tea")).await;
    let order = client_b.reaches(text(&order, "id"), "succeeded", PAID).await;
    assert_eq!(order["attempts"][0]["account"], "shop", "nothing has changed");

    // A channel is more than its accounts: it waits for a restart, and says so; so does what is to go.
    let stripe = Account::known_in(&app.site.folder.path().join("elsewhere"), "stripe", "default").keep(&app.site);
    let settings = format!("{}{}{stripe}", enabled(&["wechat", "stripe"]), wechat.keep(&app.site));
    configure(&app.site, &settings);
    app.server.hang_up().await;
    logged(&app, "credentials were renewed", 2).await;
    let log = app.server.log();
    assert!(log.contains("the channel is enabled by a restart"), "{}", app.server.log_tail());
    assert!(log.contains("the account is not configured any more"), "{}", app.server.log_tail());
    app.finish().await;
}

/// The gateway had asked nobody yet, or in vain, when it was stopped.
#[actix_web::test]
async fn a_refund_is_told_of_though_its_gateway_was_restarted() {
    let site = Site::new(Kind::Sqlite, &format!("[gateway]\nembedded = false\n{}", enabled(&["wechat"])));
    let mut app = App::start_beside_gateway(site).await;
    app.client().create(&by("wechat", "sim:underpay")).await.order(201);
    let of =
        |site: &Site, kind: &str| books(site).into_iter().filter(|fact| fact[kind].is_object()).collect::<Vec<_>>();
    let booked = || async { (!of(&app.site, "refunded").is_empty()).then_some(()) };
    eventually("the refund is booked", PAID, booked).await;
    app.kill().await;
    app.stop_gateway().await;
    let told = |site: &Site| of(site, "refund_told").iter().any(|fact| fact["refund_told"]["acknowledged"] == true);
    assert!(!told(&app.site), "nobody was there to hear of it");
    app.restart();
    app.restart_gateway().await;
    app.ready().await;
    eventually("the refund is told of", PAID, || async { told(&app.site).then_some(()) }).await;
    app.finish().await;
}

/// What a merchant must keep to itself, as texts to look for.
fn secrets(site: &Site) -> Vec<SecretString> {
    const SECRET: [&str; 6] = ["merchant_key", "api_v3_key", "app_key", "signing_key", "secret_key", "webhook_secrets"];
    let mut secrets = Vec::new();
    for (channel, name) in REAL.into_iter().flat_map(|channel| [(channel, "default"), (channel, "shop")]) {
        let account = Account::of(site, channel, name);
        for (_, content) in account.files.iter().filter(|(key, _)| SECRET.contains(key)) {
            // Of a PEM any line gives it away.
            let lines = content.lines().filter(|line| !line.starts_with("-----") && line.len() >= 16);
            secrets.extend(lines.map(SecretString::from));
        }
    }
    secrets.push(sandbox::simpay_key(site.folder.path(), "default").unwrap());
    secrets
}

#[actix_web::test]
async fn no_credential_is_found_in_logs_answers_or_files() {
    use secrecy::ExposeSecret;
    let site = Site::new(Kind::Sqlite, "");
    let mut settings = format!("[log]\nfilter = \"debug\"\n{}", enabled(&REAL));
    for channel in REAL {
        settings += &Account::of(&site, channel, "default").keep(&site);
        settings += &Account::of(&site, channel, "shop").keep(&site);
    }
    settings += "[platforms.platform-b.accounts]\nwechat = \"shop\"\nalipay = \"shop\"\n";
    configure(&site, &settings);
    let app = App::start(site).await;
    let client = app.client();
    let mut said = String::new();
    for script in ["tea", "sim:underpay", "sim:error", "sim:forge"] {
        let orders = join_all(REAL.map(|channel| {
            let client = client.clone();
            async move { opened(&client, &by(channel, script)).await }
        }));
        for order in orders.await {
            said += &order.to_string();
        }
    }
    said += &opened(&app.client_b(), &by("wechat", "tea")).await.to_string();
    said += &client.create(&an_order("tea")).await.text;
    for channel in REAL {
        let path = format!("/v1/callbacks/{channel}");
        said += &client.post_text(&path, "application/json", "{\"a\":1}").await.text;
    }
    app.server.hang_up().await;
    logged(&app, "credentials were renewed", 1).await;
    for page in ["/metrics", "/openapi.json", "/v1/channels", "/v1/orders?limit=100"] {
        said += &client.get(page).await.text;
    }
    support::books::settle(&app.site, &app.gateway, support::books::Left::default()).await;
    for arguments in [&["--help"][..], &["serve", "--help"], &["audit", "--help"], &["platform", "list"]] {
        let output = app.site.run(arguments).await;
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
    }

    let secrets = secrets(&app.site);
    assert!(secrets.len() > 100, "lines of eight RSA keys and more");
    let mut looked_at = 0;
    let mut folders = vec![app.site.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder is listed") {
            let path = entry.expect("a folder is listed").path();
            // Where they are kept by those who may.
            if path.is_dir() && !["sandbox", "keys"].iter().any(|kept| path.ends_with(kept)) {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).expect("a file is read");
                let content = String::from_utf8_lossy(&bytes);
                looked_at += 1;
                for secret in &secrets {
                    assert!(!content.contains(secret.expose_secret()), "a credential is in {}", path.display());
                }
            }
        }
    }
    assert!(looked_at >= 4, "the store, its log, the gateway's books and the server's log");
    for secret in &secrets {
        assert!(!said.contains(secret.expose_secret()), "a credential was answered");
    }
    app.finish().await;
}
