//! The far end as a merchant meets it, spoken to by a client that knows only the documents.

mod refunds;

use std::io::Read;
use std::sync::OnceLock;

use actix_web::http::StatusCode;
use actix_web::test as http_test;
use actix_web::{App, web};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::bill::{self, Contents, Holder, Kind};
use crate::config::{Config, sandbox};
use crate::gateway::agenda::PaymentId;
use crate::gateway::books::{BillCapture, BillRefund, BookedRefund, Capture, Notice};
use crate::gateway::cost::Cost;
use crate::gateway::fate::Fate;
use crate::gateway::refund_script::RefundScript;
use crate::gateway::wire::{Callback, Wire};
use crate::gateway::{Gateway, now_ms};

const TRADES: &str = "/wechat/v3/pay/transactions";

struct World {
    gateway: web::Data<Gateway>,
    account: sandbox::Wechat,
    key: KeyPair,
}

/// One gateway for all tests: its keys take a while to make, and every test has numbers of its own.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("tongbao-wechat-{}", std::process::id()));
        let mut config = Config::load(&[]).unwrap();
        config.data.dir = folder.clone();
        config.channels.retain(|name, _| name == "wechat");
        let gateway = web::Data::new(Gateway::open(&config).unwrap());
        let account = sandbox::Wechat::open(&folder, sandbox::ACCOUNT).unwrap();
        let key = PrivatePkcs8KeyDer::from_pem_slice(account.merchant_key.expose_secret().as_bytes()).unwrap();
        let key = KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        // What is open stays usable; nothing is left behind.
        std::fs::remove_dir_all(folder).unwrap();
        World { gateway, account, key }
    })
}

fn number(name: &str) -> String {
    format!("T{:x}{name}", now_ms())
}

/// A request with everything that its signature covers.
#[derive(Clone)]
struct Sent {
    verb: &'static str,
    path: String,
    body: String,
    timestamp: i64,
    mchid: String,
    serial: String,
    headers: Vec<(&'static str, String)>,
}

struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn get(path: &str) -> Self {
        let account = &world().account;
        Sent {
            verb: "GET",
            path: path.to_owned(),
            body: String::new(),
            timestamp: now_ms() / 1_000,
            mchid: account.mchid.clone(),
            serial: account.merchant_serial.clone(),
            headers: vec![("user-agent", "merchant".into()), ("accept", "application/json".into())],
        }
    }

    fn post(path: &str, body: &Value) -> Self {
        let mut sent = Sent { verb: "POST", body: body.to_string(), ..Sent::get(path) };
        sent.headers.push(("content-type", "application/json".into()));
        sent
    }

    fn authorization(&self) -> String {
        let (nonce, timestamp) = ("593BEC0C930BF1AFEB40B4A08C8FB242", self.timestamp);
        let text = format!("{}\n{}\n{timestamp}\n{nonce}\n{}\n", self.verb, self.path, self.body);
        let key = &world().key;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{nonce}\",timestamp=\"{timestamp}\",serial_no=\"{}\",\
             signature=\"{}\"",
            self.mchid,
            self.serial,
            STANDARD.encode(signature)
        )
    }

    async fn go(&self) -> Answer {
        self.go_as(&self.authorization()).await
    }

    async fn go_as(&self, authorization: &str) -> Answer {
        let routes = web::scope("/wechat").configure(super::routes::routes);
        let app = http_test::init_service(App::new().app_data(world().gateway.clone()).service(routes)).await;
        let mut request = http_test::TestRequest::with_uri(&self.path)
            .method(self.verb.parse().unwrap())
            .insert_header(("authorization", authorization))
            .set_payload(self.body.clone());
        for header in &self.headers {
            request = request.insert_header((header.0, header.1.as_str()));
        }
        let response = http_test::call_service(&app, request.to_request()).await;
        let status = response.status();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        Answer { status, headers, body: http_test::read_body(response).await.to_vec() }
    }
}

fn header<'a>(headers: &'a [(impl AsRef<str>, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.as_ref() == name).map(|(_, value)| value.as_str())
}

/// Whether the key that the headers name signed the body.
fn is_genuine(headers: &[(impl AsRef<str>, String)], body: &[u8]) -> bool {
    let account = &world().account;
    let Some(serial) = header(headers, "wechatpay-serial") else { return false };
    let key = if serial.starts_with("PUB_KEY_ID_") {
        assert_eq!(serial, account.public_key_id);
        SubjectPublicKeyInfoDer::from_pem_slice(account.public_key.as_bytes()).unwrap().to_vec()
    } else {
        assert_eq!(serial, account.platform_serial);
        let der = CertificateDer::from_pem_slice(account.platform_certificate.as_bytes()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        certificate.public_key().raw.to_vec()
    };
    let mut text = Vec::new();
    for line in ["wechatpay-timestamp", "wechatpay-nonce"] {
        text.extend_from_slice(header(headers, line).unwrap().as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(body);
    text.push(b'\n');
    let signature = STANDARD.decode(header(headers, "wechatpay-signature").unwrap()).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(&text, &signature).is_ok()
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A success, whose signature is right.
    fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert!(is_genuine(&self.headers, &self.body));
        self.json()
    }

    /// An error's status and code; nobody signs it.
    fn refusal(&self) -> (u16, String) {
        assert_eq!(header(&self.headers, "wechatpay-signature"), None);
        (self.status.as_u16(), self.json()["code"].as_str().unwrap().to_owned())
    }
}

fn create(number: &str) -> Value {
    let account = &world().account;
    json!({
        "appid": account.appid, "mchid": account.mchid, "description": "Tea", "out_trade_no": number,
        "notify_url": "http://127.0.0.1:9/n", "amount": { "total": 20060, "currency": "CNY" },
        "time_expire": time_expire(),
    })
}

/// The same in every request, so that a repeat is one.
fn time_expire() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| super::wire::clock(now_ms() + 3_600_000))
}

async fn created(number: &str) -> PaymentId {
    created_naming(&[], number).await
}

/// A payment whose request has these headers too.
async fn created_naming(headers: &[(&'static str, String)], number: &str) -> PaymentId {
    let mut sent = Sent::post(&format!("{TRADES}/native"), &create(number));
    sent.headers.extend_from_slice(headers);
    sent.go().await.good();
    let (account, _) = world().gateway.wechat.wire(&world().account.mchid).unwrap();
    PaymentId { account, number: number.into() }
}

async fn paid(number: &str) -> PaymentId {
    let payment = created(number).await;
    world().gateway.payer_acts(payment.clone());
    payment
}

async fn queried(number: &str) -> Value {
    let path = format!("{TRADES}/out-trade-no/{number}?mchid={}", world().account.mchid);
    Sent::get(&path).go().await.good()
}

#[actix_web::test]
async fn a_create_brings_a_link_signed_by_the_key_that_is_asked_for() {
    let number = number("create");
    for (product, link) in [("native", "code_url"), ("app", "prepay_id"), ("jsapi", "prepay_id"), ("h5", "h5_url")] {
        let mut body = create(&format!("{number}{product}"));
        body["payer"] = json!({ "openid": "oUpF8uMuAJO" });
        body["scene_info"] = json!({ "payer_client_ip": "127.0.0.1", "h5_info": { "type": "Wap" } });
        let mut sent = Sent::post(&format!("{TRADES}/{product}"), &body);
        let answer = sent.go().await;
        assert!(answer.good()[link].is_string());
        assert_eq!(header(&answer.headers, "wechatpay-serial"), Some(world().account.platform_serial.as_str()));
        sent.headers.push(("wechatpay-serial", world().account.public_key_id.clone()));
        let again = sent.go().await;
        assert_ne!(again.good()[link], answer.json()[link], "a fresh link");
        assert_eq!(header(&again.headers, "wechatpay-serial"), Some(world().account.public_key_id.as_str()));
    }
}

#[actix_web::test]
async fn requests_are_believed_only_as_they_were_signed() {
    let sent = Sent::post(&format!("{TRADES}/native"), &create(&number("auth")));
    let authorization = sent.authorization();
    let refused = |answer: Answer| answer.refusal();
    let sign_error = (401, "SIGN_ERROR".to_owned());
    for wrong in [
        Sent { body: sent.body.replace("20060", "20061"), ..sent.clone() },
        Sent { path: sent.path.replace("native", "app"), ..sent.clone() },
        Sent { path: format!("{}?x=1", sent.path), ..sent.clone() },
    ] {
        assert_eq!(refused(wrong.go_as(&authorization).await), sign_error);
    }
    for wrong in [
        Sent { timestamp: sent.timestamp - 301, ..sent.clone() },
        Sent { timestamp: sent.timestamp + 330, ..sent.clone() },
        Sent { mchid: "1900000001".into(), ..sent.clone() },
        Sent { serial: "0".repeat(40), ..sent.clone() },
    ] {
        assert_eq!(refused(wrong.go().await), sign_error);
    }
    for wrong in [
        String::new(),
        authorization.replace("RSA2048", "SM3"),
        authorization.replace("nonce_str=", "nonce="),
        format!("{authorization},mchid=\"1\""),
        authorization.replace('"', ""),
        authorization.replace("signature=\"", "signature=\"A"),
    ] {
        assert_eq!(refused(sent.go_as(&wrong).await), sign_error, "{wrong}");
    }
    // An SDK that is told of another host may sign the path of the true one.
    let other_host = Sent { path: sent.path.replacen("/wechat", "", 1), ..sent.clone() };
    sent.go_as(&other_host.authorization()).await.good();
    for missing in ["user-agent", "accept", "content-type"] {
        let mut sent = sent.clone();
        sent.headers.retain(|(name, _)| *name != missing);
        assert_eq!(refused(sent.go().await), (400, "PARAM_ERROR".into()), "{missing}");
    }
    sent.go().await.good();
}

#[actix_web::test]
async fn fields_have_the_limits_of_the_documents() {
    let number = number("limits");
    let with = |path: &[&str], value: Value| {
        let mut body = create(&number);
        let (last, above) = path.split_last().unwrap();
        let mut place = &mut body;
        for name in above {
            place = &mut place[*name];
        }
        place[*last] = value;
        body
    };
    for (path, value) in [
        (&["out_trade_no"][..], json!("short")),
        (&["out_trade_no"], json!("x".repeat(33))),
        (&["out_trade_no"], json!("with a blank")),
        (&["description"], json!("")),
        (&["description"], json!("茶".repeat(128))),
        (&["notify_url"], json!("http://127.0.0.1/n?x=1")),
        (&["notify_url"], json!("ftp://127.0.0.1/n")),
        (&["amount", "total"], json!(0)),
        (&["amount", "total"], json!("1")),
        (&["amount", "total"], json!(1.0)),
        (&["amount", "currency"], json!("USD")),
        (&["time_expire"], json!("2026-01-01 10:00:00")),
        (&["mchid"], json!("1900000001")),
        (&["unknown"], json!(1)),
    ] {
        let answer = Sent::post(&format!("{TRADES}/native"), &with(path, value.clone())).go().await;
        assert_eq!(answer.refusal(), (400, "PARAM_ERROR".into()), "{path:?} {value}");
    }
    let taken = [
        (&["time_expire"][..], json!(super::wire::clock(now_ms() - 30_000))),
        (&["goods_tag"], json!("WXG")),
        (&["support_fapiao"], json!(true)),
        (&["settle_info"], json!({ "profit_sharing": false })),
        (&["detail"], json!({ "cost_price": 608_800, "goods_detail": [{ "quantity": 1 }] })),
        (&["scene_info"], json!({ "payer_client_ip": "127.0.0.1", "store_info": { "id": "0001" } })),
    ];
    for (n, (path, value)) in taken.into_iter().enumerate() {
        let number = format!("{number}{n}");
        let mut body = with(path, value.clone());
        body["out_trade_no"] = json!(number);
        Sent::post(&format!("{TRADES}/native"), &body).go().await.good();
        assert_eq!(queried(&number).await["trade_state"], "NOTPAY", "{path:?} {value}");
    }
    let foreign = Sent::post(&format!("{TRADES}/native"), &with(&["appid"], json!("wx0"))).go().await;
    assert_eq!(foreign.refusal(), (400, "APPID_MCHID_NOT_MATCH".into()));
    for product in ["jsapi", "h5"] {
        let answer = Sent::post(&format!("{TRADES}/{product}"), &create(&number)).go().await;
        assert_eq!(answer.refusal(), (400, "PARAM_ERROR".into()), "{product}");
    }
    let mut twice = Sent::post(&format!("{TRADES}/native"), &create(&number));
    twice.body = twice.body.replacen('{', r#"{"description":"Tea","#, 1);
    assert_eq!(twice.go().await.refusal(), (400, "PARAM_ERROR".into()));
    let refused = with(&["description"], json!("sim:refuse"));
    let answer = Sent::post(&format!("{TRADES}/native"), &refused).go().await;
    assert_eq!(answer.refusal(), (403, "RULE_LIMIT".into()));
}

#[actix_web::test]
async fn trap_11_a_number_with_other_fields_is_refused() {
    let number = number("again");
    created(&number).await;
    let body = create(&number);
    for (name, value) in [("description", json!("Coffee")), ("attach", json!("x"))] {
        let mut changed = body.clone();
        changed[name] = value;
        let answer = Sent::post(&format!("{TRADES}/native"), &changed).go().await;
        assert_eq!(answer.refusal(), (403, "OUT_TRADE_NO_USED".into()));
    }
    let answer = Sent::post(&format!("{TRADES}/app"), &body).go().await;
    assert_eq!(answer.refusal(), (403, "OUT_TRADE_NO_USED".into()));
}

#[actix_web::test]
async fn a_payment_is_shown_as_it_stands() {
    let number = number("query");
    let payment = created(&number).await;
    assert_eq!(queried(&number).await["trade_state"], "NOTPAY");
    world().gateway.payer_acts(payment);
    let shown = queried(&number).await;
    assert_eq!((&shown["trade_state"], &shown["amount"]["total"]), (&json!("SUCCESS"), &json!(20060)));
    let reference = shown["transaction_id"].as_str().unwrap();
    assert_eq!(reference.len(), 28);
    let path = format!("{TRADES}/id/{reference}?mchid={}", world().account.mchid);
    assert_eq!(Sent::get(&path).go().await.good()["out_trade_no"], json!(number));

    let absent = format!("{TRADES}/out-trade-no/{number}x?mchid={}", world().account.mchid);
    assert_eq!(Sent::get(&absent).go().await.refusal(), (404, "ORDER_NOT_EXIST".into()));
    for wrong in ["", "?mchid=1900000001"] {
        let path = format!("{TRADES}/out-trade-no/{number}{wrong}");
        assert_eq!(Sent::get(&path).go().await.refusal(), (400, "PARAM_ERROR".into()));
    }
}

#[actix_web::test]
async fn a_close_is_answered_again_and_again_unless_it_was_paid() {
    let (open, paid_number) = (number("close"), number("closepaid"));
    created(&open).await;
    let body = json!({ "mchid": world().account.mchid });
    let close = |number: &str| Sent::post(&format!("{TRADES}/out-trade-no/{number}/close"), &body);
    for _ in 0..2 {
        let answer = close(&open).go().await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
        assert!(is_genuine(&answer.headers, b""));
    }
    assert_eq!(queried(&open).await["trade_state"], "CLOSED");
    let again = |number: &str| Sent::post(&format!("{TRADES}/native"), &create(number));
    assert_eq!(again(&open).go().await.refusal(), (400, "ORDER_CLOSED".into()));
    paid(&paid_number).await;
    assert_eq!(again(&paid_number).go().await.refusal(), (400, "ORDERPAID".into()));
    assert_eq!(close(&paid_number).go().await.refusal(), (400, "ORDERPAID".into()));
    assert_eq!(close(&number("closenone")).go().await.refusal(), (404, "ORDER_NOT_EXIST".into()));
}

fn unsealed(resource: &Value) -> Vec<u8> {
    let text = |name: &str| resource[name].as_str().unwrap();
    let key = UnboundKey::new(&AES_256_GCM, world().account.api_v3_key.expose_secret().as_bytes()).unwrap();
    let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).unwrap();
    let mut bytes = STANDARD.decode(text("ciphertext")).unwrap();
    let plain = LessSafeKey::new(key).open_in_place(nonce, Aad::from(text("associated_data").as_bytes()), &mut bytes);
    plain.unwrap().to_vec()
}

#[actix_web::test]
async fn a_notification_is_sealed_and_signed_and_a_forged_one_is_not() {
    let (_, wire) = world().gateway.wechat.wire(&world().account.mchid).unwrap();
    let (mut serials, mut of_old) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let public = ("wechatpay-serial", world().account.public_key_id.clone());
    for place in 0..32 {
        let number = number(&format!("n{place}"));
        let (named, told) = if place % 2 == 0 { (&[public.clone()][..], &mut serials) } else { (&[][..], &mut of_old) };
        let payment = created_naming(named, &number).await;
        let standing = world().gateway.books.standing(&payment).unwrap();
        let notice = Notice {
            number: payment.number,
            address: standing.address,
            asked_minor: 20060,
            currency: standing.currency,
            capture: Capture { reference: wire.reference(now_ms()).into(), amount_minor: 20060, at: now_ms() },
            data: standing.data,
        };
        let headers = |callback: &Callback| callback.headers.clone();
        let callback = wire.callback(&notice, now_ms());
        assert!(is_genuine(&headers(&callback), &callback.body));
        let body: Value = serde_json::from_slice(&callback.body).unwrap();
        assert_eq!(body["event_type"], "TRANSACTION.SUCCESS");
        assert_eq!(body["resource_type"], "encrypt-resource");
        assert_eq!(body["id"].as_str().unwrap().len(), 36);
        let content: Value = serde_json::from_slice(&unsealed(&body["resource"])).unwrap();
        assert_eq!((&content["out_trade_no"], &content["amount"]["total"]), (&json!(number), &json!(20060)));
        assert_eq!((&content["trade_state"], &content["mchid"]), (&json!("SUCCESS"), &json!(world().account.mchid)));
        let again: Value = serde_json::from_slice(&wire.callback(&notice, now_ms()).body).unwrap();
        assert_eq!(again["id"], body["id"]);
        let forged = wire.forged(&notice, now_ms());
        assert!(!is_genuine(&headers(&forged), &forged.body));
        told.insert(header(&callback.headers, "wechatpay-serial").unwrap().to_owned());
    }
    assert_eq!(serials.len(), 2, "both kinds of key sign");
    let certificate = world().account.platform_serial.clone();
    assert_eq!(of_old.into_iter().collect::<Vec<_>>(), [certificate], "who named no public key may know of none");
    assert!(wire.is_acknowledgement(200, b"") && wire.is_acknowledgement(204, b""));
    assert!(!wire.is_acknowledgement(500, b"") && !wire.is_acknowledgement(302, b""));
    assert_eq!(wire.retry_ms().len(), 15);
}

#[actix_web::test]
async fn platform_certificates_come_sealed() {
    let answer = Sent::get("/wechat/v3/certificates").go().await.good();
    let certificate = &answer["data"][0];
    assert_eq!(certificate["serial_no"], json!(world().account.platform_serial));
    assert_eq!(certificate["encrypt_certificate"]["associated_data"], "certificate");
    let pem = unsealed(&certificate["encrypt_certificate"]);
    assert_eq!(pem, world().account.platform_certificate.as_bytes());
}

#[actix_web::test]
async fn a_bill_is_the_file_whose_hash_was_told() {
    let number = number("bill");
    paid(&number).await;
    std::thread::sleep(std::time::Duration::from_millis(2));
    let day = &super::wire::clock(now_ms())[..10];
    let told = Sent::get(&format!("/wechat/v3/bill/tradebill?bill_date={day}&bill_type=ALL")).go().await.good();
    let url = told["download_url"].as_str().unwrap();
    let path = &url[url.find("/wechat").unwrap()..];
    let file = Sent::get(path).go().await;
    assert_eq!((file.status.as_u16(), header(&file.headers, "wechatpay-signature")), (200, None));
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &file.body);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&told["hash_type"], &told["hash_value"]), (&json!("SHA1"), &json!(hash)));
    let text = String::from_utf8(file.body).unwrap();
    let mut lines = text.strip_prefix('\u{feff}').unwrap().lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!((columns.len(), columns[0], columns[26]), (27, "交易时间", "费率备注"));
    let row = lines.find(|line| line.contains(&number)).unwrap();
    let cells: Vec<&str> = row.strip_prefix('`').unwrap().split(",`").collect();
    let cell = |name: &str| cells[columns.iter().position(|known| *known == name).unwrap()];
    assert_eq!(cells.len(), columns.len());
    assert_eq!((cell("订单金额"), cell("手续费"), cell("交易状态")), ("200.60", "1.20000", "SUCCESS"));

    let zipped = Sent::get(&format!("/wechat/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP"));
    let zipped = zipped.go().await.good();
    let url = zipped["download_url"].as_str().unwrap();
    let file = Sent::get(&url[url.find("/wechat").unwrap()..]).go().await;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&*file.body).read_to_end(&mut plain).unwrap();
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &plain);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(zipped["hash_value"], json!(hash), "the hash is of the plain file");

    let forged = path.replace(".ALL.", ".REFUND.");
    assert_eq!(Sent::get(&forged).go().await.refusal(), (404, "RESOURCE_NOT_EXISTS".into()));
    for (query, code) in [
        ("bill_date=2020-01-01", "NO_STATEMENT_EXIST"),
        ("bill_date=2999-01-01", "INVALID_REQUEST"),
        ("bill_date=20200101", "PARAM_ERROR"),
        ("bill_type=ALL", "PARAM_ERROR"),
        ("bill_date=2020-01-01&bill_date=2020-01-02", "PARAM_ERROR"),
        ("bill_date=2020-01-01&bill_type=SOME", "PARAM_ERROR"),
        ("bill_date=2020-01-01&tar_type=ZIP", "PARAM_ERROR"),
    ] {
        let answer = Sent::get(&format!("/wechat/v3/bill/tradebill?{query}")).go().await;
        assert_eq!(answer.refusal(), (400, code.into()), "{query}");
    }
}

#[test]
fn a_bill_of_one_kind_has_its_own_rows_and_columns() {
    let at = 1_767_232_800_000;
    let capture = Capture { reference: "4200".into(), amount_minor: 20060, at };
    let payment = BillCapture { number: "T1".into(), currency: super::calls::yuan(), capture, data: None };
    let booked = |fate| BookedRefund {
        number: "T1".into(),
        amount_minor: 60,
        currency: super::calls::yuan(),
        at,
        script: RefundScript::Plain,
        fate,
        reference: Some("5030".into()),
        data: None,
        address: None,
        told: std::collections::BTreeMap::new(),
    };
    let line = |fate| BillRefund {
        refund_number: "T1R00".into(),
        refund: booked(fate),
        at,
        payment_reference: Some("4200".into()),
        captured_minor: 20060,
    };
    let refund = line(Fate::Refunded { at: at + 300 });
    let holder = Holder { appid: "wx", mchid: "19" };
    let cost = Cost("0.006".parse().unwrap());
    let contents = Contents { captures: std::slice::from_ref(&payment), refunds: std::slice::from_ref(&refund), cost };
    let file = |kind| bill::file(kind, holder, contents, at + 300).unwrap();
    for (kind, columns, rows) in [(Kind::All, 27, 2), (Kind::Success, 20, 1), (Kind::Refund, 29, 1)] {
        let text = file(kind);
        let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap().lines().collect();
        assert_eq!(lines.len(), rows + 3, "{kind:?}");
        assert_eq!(lines[0].split(',').count(), columns, "{kind:?}");
        assert!(lines[1..=rows].iter().all(|row| row.split(",`").count() == columns), "{kind:?}");
    }
    let all = file(Kind::All);
    assert_eq!(all.lines().last(), Some("`2,`200.60,`0.60,`0.00,`1.20000,`200.60,`0.60"));
    assert!(all.contains("`5030,`T1R00,`0.60,`0.00,`ORIGINAL,`SUCCESS,"), "{all}");
    assert!(all.contains("`0.00000,`0.60%,`0.00,`0.60,"), "{all}");
    assert_eq!(bill::file(Kind::Refund, holder, Contents { refunds: &[], ..contents }, at), None);
    // What a refund is when the bill is made, and the part of the fee that comes back with it.
    let half = |fate| BillRefund { refund: BookedRefund { amount_minor: 10030, ..booked(fate) }, ..line(fate) };
    for (fate, state, done, fee, fees) in [
        (Fate::Refunded { at: at + 300 }, "SUCCESS", "2026-01-01 10:00:00", "-0.60000", "0.60000"),
        (Fate::Refunded { at: at + 301 }, "PROCESSING", "", "-0.60000", "0.60000"),
        (Fate::Ended { at: at + 300 }, "FAIL", "", "0.00000", "1.20000"),
        (Fate::Stuck { at: at + 300 }, "CHANGE", "", "0.00000", "1.20000"),
    ] {
        let refunds = [half(fate)];
        let with = |kind| bill::file(kind, holder, Contents { refunds: &refunds, ..contents }, at + 300).unwrap();
        let text = with(Kind::Refund);
        let row = text.lines().nth(1).unwrap();
        let expected = format!(
            "`2026-01-01 10:00:00,`{done},`5030,`T1R00,`100.30,`0.00,`ORIGINAL,`{state},`,`,`{fee},`0.60%,`0.00,`100.30,"
        );
        assert!(row.contains(&expected), "{row}");
        let last = format!("`2,`200.60,`100.30,`0.00,`{fees},`200.60,`100.30");
        assert_eq!(with(Kind::All).lines().last(), Some(last.as_str()), "{state}");
    }
    assert_eq!(bill::span("2026-01-01"), Some((1_767_196_800_000, 1_767_283_200_000)));
    assert_eq!(bill::span("2026-1-1"), None);
}
