//! The day's bill of every channel, fetched by the real binary and compared with the orders line by line; and gateways
//! whose bills must not be believed.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber};
use rcgen::{PKCS_RSA_SHA256, RsaKeySize};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use support::accounts::{Account, enabled, folder, write};
use support::app::App;
use support::client::{Client, an_order, text, with};
use support::process::{Kind, Site};
use support::ways::visit;
use support::{app, eventually, seconds};
use time::OffsetDateTime;
use time::macros::{format_description, offset};
use tongbao::config::sandbox;
use tongbao::domain::id::{AttemptNumber, RefundNumber, RefundSubject, Round};

const SETTINGS: &str = "
[channels.wechat]
enabled = true
[channels.alipay]
enabled = true
[channels.unionpay]
enabled = true
[channels.stripe]
enabled = true
";

/// How a channel's orders are asked for, and the fee that its far end keeps of an amount in minor units.
struct Way {
    channel: &'static str,
    method: &'static str,
    currency: &'static str,
    fee_per_1000: i64,
    /// Whether a refund brings the fee back.
    returns_fee: bool,
}

const WAYS: &[Way] = &[
    Way { channel: "wechat", method: "native", currency: "CNY", fee_per_1000: 6, returns_fee: true },
    Way { channel: "alipay", method: "page", currency: "CNY", fee_per_1000: 6, returns_fee: true },
    Way { channel: "unionpay", method: "page", currency: "CNY", fee_per_1000: 6, returns_fee: true },
    Way { channel: "stripe", method: "card", currency: "USD", fee_per_1000: 29, returns_fee: false },
];

const DESCRIPTIONS: &[&str] = &[
    "tea",
    "tea, green, 100%",
    "\"tea\"; 'tea' `tea`,`",
    "普洱茶，两盒",
    "🍵 tea & cake = 1/2",
    "sim:underpay tea, green",
];

/// A line of a bill without its time.
type Line = (String, String, String, String, String, String, String);

#[actix_web::test]
async fn every_capture_and_refund_is_in_its_channels_bill_and_nothing_else() {
    away_from_midnight().await;
    let app = app::start_with(Kind::Sqlite, SETTINGS).await;
    let begun = OffsetDateTime::now_utc();
    let orders = WAYS.iter().flat_map(|way| DESCRIPTIONS.iter().map(move |description| (way, *description)));
    let settled = join_all(orders.map(|(way, description)| {
        let client = app.client();
        async move { (way, settle(&client, way, description).await) }
    }))
    .await;
    // An order that nobody pays is in no bill.
    let unpaid = app.client().create(&with(an_order("sim:never"), json!({ "channel": "wechat" }))).await.order(201);
    for way in WAYS {
        let mut expected: Vec<Line> = settled
            .iter()
            .filter(|(of, _)| of.channel == way.channel)
            .flat_map(|(way, order)| lines_of(way, order))
            .collect();
        let mut found = bill(&app.site, way.channel, "default", &day(way, begun), begun).await;
        expected.sort();
        found.sort();
        assert_eq!(expected.len(), DESCRIPTIONS.len() + 1, "a refund besides the payments");
        assert_eq!(found, expected, "{}", way.channel);
    }
    asked_wrongly(&app.site).await;
    let unpaid = text(&unpaid, "id");
    app.client().cancel(unpaid).await;
    app.client().reaches(unpaid, "failed", seconds(20)).await;
    app.finish().await;
}

/// Creates an order, does what its payer's browser would do, and waits until its money is where it belongs.
async fn settle(client: &Client, way: &Way, description: &str) -> Value {
    let asked =
        with(an_order(description), json!({ "channel": way.channel, "method": way.method, "currency": way.currency }));
    let order = client.create(&asked).await.order(201);
    visit(&order["next_action"]).await;
    let what = format!("{description} by {}", way.channel);
    let settled = client.until(text(&order, "id"), &what, seconds(40), |order| {
        order["state"] == "succeeded" || order["suspense"][0]["state"] == "refunded"
    });
    settled.await
}

/// What must be in the bill of an order.
fn lines_of(way: &Way, order: &Value) -> Vec<Line> {
    let attempt = &order["attempts"][0];
    let number = text(attempt, "id").to_owned();
    let line = |kind: &str, refund_number: &str, reference: &str, amount: &str, fee_minor: i64| {
        let fee = format!("{}.{:02}", fee_minor / 100, fee_minor % 100);
        let owned = str::to_owned;
        (owned(kind), number.clone(), owned(refund_number), owned(reference), owned(amount), owned(way.currency), fee)
    };
    let fee = |amount: &str| {
        let minor: i64 = amount.replace('.', "").parse().expect("an amount");
        (minor * way.fee_per_1000 + 500) / 1_000
    };
    if order["state"] == "succeeded" {
        let payable = text(attempt, "payable");
        return vec![line("payment", "", text(attempt, "channel_reference"), payable, fee(payable))];
    }
    let suspense = &order["suspense"][0];
    let (reference, amount) = (text(suspense, "reference"), text(suspense, "amount"));
    // It is opened in the life of the store that the attempt was opened in.
    let opened: AttemptNumber = number.parse().expect("an attempt's number");
    let subject = RefundSubject::Suspense { place: 0 };
    let refunded_as =
        RefundNumber { attempt: opened, subject, incarnation: opened.incarnation, round: Round::FIRST }.to_string();
    let given_back = if way.returns_fee { fee(amount) } else { 0 };
    vec![
        line("payment", "", reference, amount, fee(amount)),
        line("refund", &refunded_as, reference, amount, given_back),
    ]
}

/// The channel's own day.
fn day(way: &Way, at: OffsetDateTime) -> String {
    let offset = if way.channel == "stripe" { offset!(UTC) } else { offset!(+8) };
    at.to_offset(offset).format(format_description!("[year]-[month]-[day]")).expect("a day")
}

/// What is paid on two sides of a midnight is in two bills; both calendars turn at a full hour.
async fn away_from_midnight() {
    let now = OffsetDateTime::now_utc();
    let left = 60 * (59 - u64::from(now.minute())) + 60 - u64::from(now.second());
    if [15, 23].contains(&now.hour()) && left < 120 {
        tokio::time::sleep(seconds(left + 1)).await;
    }
}

/// The lines of a bill as `--out` writes them, each moved since then.
async fn bill(site: &Site, channel: &str, account: &str, day: &str, begun: OffsetDateTime) -> Vec<Line> {
    let csv = site.folder.path().join(format!("{channel}-{account}-{day}.csv"));
    let original = csv.with_extension("original");
    let (out, kept) = (csv.to_str().expect("a path"), original.to_str().expect("a path"));
    let arguments = ["bill", channel, "--date", day, "--account", account, "--out", out, "--save-original", kept];
    let output = site.run(&arguments).await;
    assert_eq!(said(&output).0, Some(0), "{}", said(&output).1);
    let shown = site.run(&["bill", channel, "--date", day, "--account", account]).await;
    let (code, words) = said(&shown);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("That day is not over"), "{words}");
    let original = std::fs::read(&original).expect("the original is kept");
    match channel {
        "alipay" => assert!(original.starts_with(b"PK")),
        "stripe" => assert!(original.starts_with(b"{")),
        "wechat" => assert!(original.starts_with("\u{feff}交易时间".as_bytes())),
        _ => assert!(String::from_utf8_lossy(&original).contains("signature=")),
    }
    let mut reader = csv::Reader::from_path(&csv).expect("CSV");
    let header = ["kind", "number", "refund_number", "reference", "amount", "currency", "fee", "at"];
    assert_eq!(reader.headers().expect("a header"), &header[..]);
    let mut lines = Vec::new();
    for row in reader.records() {
        let row = row.expect("a row of eight cells");
        let at = OffsetDateTime::parse(&row[7], &time::format_description::well_known::Rfc3339).expect("a time");
        assert!((begun - time::Duration::seconds(1)..=OffsetDateTime::now_utc()).contains(&at), "{at}");
        assert!(words.contains(&row[4]) || lines.len() >= 10, "{} is not in\n{words}", &row[4]);
        let cell = |place: usize| row[place].to_owned();
        lines.push((cell(0), cell(1), cell(2), cell(3), cell(4), cell(5), cell(6)));
    }
    lines
}

/// The exit code, and all that was printed.
fn said(output: &Output) -> (Option<i32>, String) {
    let words = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output.status.code(), words)
}

async fn asked_wrongly(site: &Site) {
    let out = site.folder.path().join("none.csv");
    let out = out.to_str().expect("a path");
    for (arguments, code, words) in [
        (&["bill", "wechat", "--date", "2999-01-01"][..], 1, "has not begun"),
        (&["bill", "wechat", "--date", "2026-02-30"], 2, "must be a day"),
        (&["bill", "wechat", "--date", "2026-11-01", "--account", "nobody"], 1, "there is: default"),
        (&["bill", "simpay", "--date", "2026-11-01"], 1, "simpay has no bills"),
        (&["bill", "paypal", "--date", "2026-11-01"], 2, "no such channel"),
        (&["bill", "wechat"], 2, "--date"),
        (&["bill", "wechat", "--date", "2026-11-01", "--out", "nowhere/x.csv"], 1, "nowhere is no folder"),
        (&["bill", "--help"], 0, "Beijing"),
        // A day on which nobody traded: UnionPay does not say whether a file is to come.
        (&["bill", "wechat", "--date", "2026-01-01", "--out", out], 0, "No trades."),
        (&["bill", "alipay", "--date", "2026-01-01"], 0, "No trades."),
        (&["bill", "stripe", "--date", "2026-01-01"], 0, "No trades."),
        (&["bill", "unionpay", "--date", "2026-02-01"], 75, "come again at"),
        (&["bill", "unionpay", "--date", "2020-01-01"], 1, "without their year"),
    ] {
        let (found, printed) = said(&site.run(arguments).await);
        assert_eq!(found, Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(words), "{arguments:?}: {printed}");
    }
    let empty = std::fs::read_to_string(out).expect("an empty bill is a file with a header");
    assert_eq!(empty.lines().count(), 1, "{empty}");
}

/// The account `default` is a stranger to the gateway, so that what comes can only have come by the other one's key.
#[actix_web::test]
async fn each_account_fetches_its_own_bill() {
    let settings = "
        [channels.stripe]
        enabled = true
        [channels.stripe.accounts.default]
        secret_key = \"sk_test_stranger\"
        webhook_secrets = \"whsec_c3RyYW5nZXI=\"
        [channels.stripe.accounts.second]
        secret_key_file = \"sandbox/stripe-default/secret.key\"
        webhook_secrets_file = \"sandbox/stripe-default/webhook.secret\"
        [platforms.platform-b.accounts]
        stripe = \"second\"
    ";
    let site = Site::new(Kind::Sqlite, settings);
    sandbox::Stripe::open(site.folder.path(), "default").expect("the sandbox's keys");
    away_from_midnight().await;
    let app = App::start(site).await;
    let begun = OffsetDateTime::now_utc();
    let stripe = WAYS.iter().find(|way| way.channel == "stripe").expect("stripe");
    let order = settle(&app.client_b(), stripe, "tea, green").await;
    assert_eq!(order["attempts"][0]["account"], "second");
    let day = day(stripe, begun);
    let found = bill(&app.site, "stripe", "second", &day, begun).await;
    let (code, words) = said(&app.site.run(&["bill", "stripe", "--date", &day]).await);
    assert!(code == Some(1) && words.contains("401"), "{words}");
    assert!(!words.contains("sk_test"), "{words}");
    assert_eq!(found, lines_of(stripe, &order));
    app.finish().await;
}

/// The certificate that we were set up with is not the one that Alipay signs by any more.
#[actix_web::test]
async fn a_bill_by_a_certificate_that_came_later_is_fetched() {
    let site = Site::new(Kind::Sqlite, "");
    let known = sandbox::Alipay::open(site.folder.path(), "default").expect("the sandbox's keys");
    let named = |name: &str, serial: u64, is_ca: IsCa| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.serial_number, params.is_ca) = (Some(SerialNumber::from(serial)), is_ca);
        params
    };
    let of = |pem: &str| KeyPair::from_pem(pem).expect("a key");
    let root = || named("Root", 1, IsCa::Ca(BasicConstraints::Unconstrained));
    let root_key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let root_pem = root().self_signed(&root_key).expect("a root").pem();
    let old_key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let issuer = Issuer::new(root(), root_key);
    let issued = |name: &str, serial: u64, key: &KeyPair| {
        named(name, serial, IsCa::NoCa).signed_by(key, &issuer).expect("a certificate").pem()
    };
    let theirs = site.folder.path().join("sandbox/alipay-default");
    write(&theirs.join("root.pem"), &root_pem);
    write(&theirs.join("app.pem"), &issued("App", 2, &of(known.app_key.expose_secret())));
    write(&theirs.join("alipay.pem"), &issued("Alipay", 4, &of(known.alipay_key.expose_secret())));
    let ours = Account::of(&site, "alipay", "default").keep(&site);
    write(&folder(&site, "alipay", "default").join("alipay_certificate"), &issued("Alipay", 3, &old_key));
    write(&site.folder.path().join("overlay.toml"), &format!("{}{ours}", enabled(&["alipay"])));

    let mut gateway = site.start(&["gateway"]);
    let is_up = || async { support::gateway::Gateway::new(&site).is_up().await.then_some(()) };
    eventually("the gateway is up", seconds(30), is_up).await;
    let (code, words) = said(&site.run(&["bill", "alipay", "--date", "2026-01-01"]).await);
    assert!(code == Some(0) && words.contains("No trades."), "{words}");

    // One of another holder is not believed, and asked for no more than once.
    write(&folder(&site, "alipay", "default").join("alipay_certificate"), &issued("Another", 3, &old_key));
    let (code, words) = said(&site.run(&["bill", "alipay", "--date", "2026-01-01"]).await);
    assert!(code == Some(1) && words.contains("a certificate that is not known"), "{words}");
    assert_eq!(words.matches("upkeep failed").count(), 1, "{words}");
    gateway.stop().await;
}

/// A gateway that gives everybody the same answer, for as long as the test runs.
fn liar(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        }
    });
    format!("http://{address}")
}

#[actix_web::test]
async fn a_bill_that_cannot_be_believed_is_refused_with_its_line() {
    let entry = |id: &str, amount: &str| {
        format!(
            r#"{{"id":"{id}","object":"balance_transaction","type":"charge","amount":{amount},"fee":88,
            "currency":"usd","created":1767225600,"source":{{"id":"ch_1","object":"charge","amount":2000,
            "currency":"usd","payment_intent":"pi_1","metadata":{{"attempt":"A1"}}}}}}"#
        )
    };
    let page = |entries: &[String], has_more: &str| {
        format!(r#"{{"object":"list","data":[{}],"has_more":{has_more}}}"#, entries.join(","))
    };
    let good = entry("txn_1", "2000");
    let busy = r#"{"error":{"type":"invalid_request_error","code":"rate_limit"}}"#;
    let moved = r#"{"error":{"type":"api_error"}}"#;
    let table = [
        ("200 OK", page(&[good.clone(), entry("txn_2", "2e3")], "false"), 1, "cannot be read"),
        ("200 OK", page(&[good.clone(), entry("txn_2", "1999")], "false"), 1, "line 2: the movement and its source"),
        ("200 OK", page(std::slice::from_ref(&good), "true"), 1, "line 2: the entry was there before"),
        ("200 OK", page(&[good.clone(), good.replace("1767225600", "1767311999")], "false"), 1, "was there before"),
        ("200 OK", page(&[good.replace("1767225600", "1767225599")], "false"), 1, "of another day"),
        ("200 OK", "x".repeat(300_000), 1, "longer than 262144 bytes"),
        ("302 Found", moved.to_owned(), 1, "a status that the API does not have"),
        ("500 Oops", moved.to_owned(), 1, "status 500"),
        ("429 Slow", busy.to_owned(), 75, "come again at"),
        ("200 OK", page(&[good], "false"), 0, "20.00"),
    ];
    for (status, body, code, words) in table {
        let settings = format!(
            "[channels.stripe]\nenabled = true\nbase_url = \"{}\"\n[bills]\nanswer_max_bytes = 262144\n",
            liar(status, body.clone())
        );
        let site = Site::new(Kind::Sqlite, &settings);
        let (out, kept) = (site.folder.path().join("bill.csv"), site.folder.path().join("original"));
        let files = [&out, &kept].map(|file| file.to_str().expect("a path"));
        let date = ["bill", "stripe", "--date", "2026-01-01", "--out", files[0], "--save-original", files[1]];
        let (found, printed) = said(&site.run(&date).await);
        assert_eq!(found, Some(code), "{words}: {printed}");
        assert!(printed.contains(words), "{words} is not in {printed}");
        assert_eq!(out.exists(), code == 0, "half a bill is no bill");
        // What cannot be read is kept for whoever must find out why.
        assert_eq!(kept.exists(), !words.contains("longer"), "{words}");
    }
    let settings = "[channels.stripe]\nbase_url = \"http://127.0.0.1:9\"\n[channels.wechat]\nenabled = false\n";
    let site = Site::new(Kind::Sqlite, settings);
    let (code, printed) = said(&site.run(&["bill", "stripe", "--date", "2026-01-01"]).await);
    assert!(code == Some(1) && printed.contains("no answer"), "{printed}");
    let (code, printed) = said(&site.run(&["bill", "wechat", "--date", "2026-01-01"]).await);
    assert!(code == Some(1) && printed.contains("`channels.wechat.enabled` is false"), "{printed}");
}
