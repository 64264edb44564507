//! UnionPay as a merchant meets it: every request signed by the sandbox's merchant, every answer verified by UnionPay's
//! certificate, as its documents say.

mod refunds;

use std::collections::HashSet;
use std::io::{Cursor, Read};
use std::path::PathBuf;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use zip::ZipArchive;

use super::calls::{Call, Outcome, Shown, answer};
use super::clock;
use super::form::{self, Fields, SIGNATURE, parse, signed_text};
use super::signing::Merchant;
use super::wire::query_id;
use crate::config::{Config, sandbox};
use crate::gateway::Gateway;
use crate::gateway::accounts::AccountId;
use crate::gateway::agenda::PaymentId;
use crate::gateway::books::{Acted, Capture, Notice};
use crate::gateway::payer::Conduct;

const NOW: i64 = 1_790_000_000_000;
const TXN_TIME: &str = "20260921221320";
const ORDER: &str = "01JG00048HE8H86CT48HANASK600";

struct Far {
    gateway: web::Data<Gateway>,
    account: AccountId,
    keys: sandbox::Unionpay,
    folder: PathBuf,
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn far(test: &str) -> Far {
    let folder = std::env::temp_dir().join(format!("tongbao-unionpay-{test}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let mut config = Config::load(&[]).unwrap();
    config.data.dir.clone_from(&folder);
    config.channels.retain(|name, _| name == "unionpay");
    let keys = sandbox::Unionpay::open(&folder, sandbox::ACCOUNT).unwrap();
    let gateway = web::Data::new(Gateway::open(&config).unwrap());
    let (account, _) = gateway.unionpay.wire(&keys.mer_id).unwrap();
    Far { gateway, account, keys, folder }
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Far {
    fn head(&self, pairs: &[(&str, &str)]) -> Fields {
        let mut all = fields(&[
            ("version", "5.1.0"),
            ("encoding", "UTF-8"),
            ("signMethod", "01"),
            ("bizType", "000201"),
            ("accessType", "0"),
            ("merId", &self.keys.mer_id),
            ("orderId", ORDER),
            ("txnTime", TXN_TIME),
        ]);
        let merchant = Merchant::new(&self.keys.mer_id, &self.keys.merchant_certificate).unwrap();
        all.insert("certId".into(), merchant.cert_id);
        all.extend(fields(pairs));
        all
    }

    fn purchase(&self, reserved: &str) -> Fields {
        let mut all = self.head(&[
            ("txnType", "01"),
            ("txnSubType", "01"),
            ("channelType", "07"),
            ("currencyCode", "156"),
            ("txnAmt", "20060"),
            ("frontUrl", "https://shop.example/thanks"),
            ("backUrl", "http://127.0.0.1:8080/v1/callbacks/unionpay"),
            ("payTimeout", "20260921222820"),
        ]);
        if !reserved.is_empty() {
            all.insert("reqReserved".into(), reserved.into());
        }
        all
    }

    fn query(&self) -> Fields {
        self.head(&[("txnType", "00"), ("txnSubType", "00")])
    }

    fn refund(&self, query_id: &str, amount: &str) -> Fields {
        self.head(&[
            ("txnType", "04"),
            ("txnSubType", "00"),
            ("channelType", "07"),
            ("orderId", "01JG00048HE8H86CT48HANASK600R00"),
            ("origQryId", query_id),
            ("txnAmt", amount),
            ("backUrl", "http://127.0.0.1:8080/v1/callbacks/unionpay"),
        ])
    }

    /// Signs as the documents say, written here once more: what both ends of the gateway shared could not be wrong.
    fn signed(&self, mut fields: Fields) -> Vec<u8> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(self.keys.merchant_key.expose_secret().as_bytes()).unwrap();
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        let text = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let hash = digest(&SHA256, text.as_bytes());
        let digits: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), digits.as_bytes(), &mut signature).unwrap();
        fields.insert(SIGNATURE.into(), STANDARD.encode(signature));
        form::notification(&fields)
    }

    fn bring(&self, fields: Fields, now: i64) -> Result<i64, &'static str> {
        match answer(&self.gateway, &self.gateway.unionpay, Call::Front, &self.signed(fields), now) {
            Outcome::Page(page) => match page.shown {
                Shown::Cashier { amount_minor } => Ok(amount_minor),
                Shown::Refused(refused) => Err(refused.code),
            },
            Outcome::Answer { .. } | Outcome::Stranger | Outcome::Broken => panic!("a browser is shown a page"),
        }
    }

    /// An answer whose signature was found right, and how the caller gets it.
    fn call_raw(&self, call: Call, body: &[u8], now: i64) -> (Fields, Conduct) {
        match answer(&self.gateway, &self.gateway.unionpay, call, body, now) {
            Outcome::Answer { body, fault } => (self.believed(&String::from_utf8(body).unwrap()), fault.conduct),
            Outcome::Page(_) | Outcome::Stranger | Outcome::Broken => panic!("no answer"),
        }
    }

    fn call(&self, call: Call, fields: Fields, now: i64) -> Fields {
        self.call_raw(call, &self.signed(fields), now).0
    }

    fn believed(&self, text: &str) -> Fields {
        let mut open = false;
        // An ampersand within brackets does not end a value.
        let pairs = text.split(|character| {
            open = matches!(character, '{' | '[') || (open && !matches!(character, '}' | ']'));
            character == '&' && !open
        });
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap());
        let read: Fields = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert!(self.is_unionpays(&read), "{text}");
        read
    }

    fn is_unionpays(&self, fields: &Fields) -> bool {
        let certificate = &fields["signPubKeyCert"];
        assert_eq!(
            certificate.replace("\r\n", "\n").trim_end(),
            self.keys.signer_certificate.replace("\r\n", "\n").trim_end()
        );
        assert!(certificate.contains("\r\n"));
        Merchant::new("8310000000083040", certificate).unwrap().signed(fields)
    }

    fn payer_acts(&self, now: i64) -> Acted {
        let id = PaymentId { account: self.account, number: ORDER.into() };
        self.gateway.books.payer_acts(&id, || self.gateway.wire(self.account).reference(now), now).unwrap()
    }

    fn notice(&self) -> Notice {
        let standing = self.gateway.books.standing(&PaymentId { account: self.account, number: ORDER.into() }).unwrap();
        Notice {
            number: ORDER.into(),
            address: standing.address,
            asked_minor: standing.asked_minor,
            currency: standing.currency,
            capture: standing.capture.unwrap_or(Capture { reference: "05".into(), amount_minor: 1, at: NOW }),
            data: standing.data,
        }
    }
}

/// A request of 2024 that the test gateway took, and the merchant certificate that UnionPay gives out for its tests; both
/// are kept in the tests of yansongda/pay.
#[test]
fn a_request_that_the_true_gateway_took_verifies_by_the_double_hash() {
    let merchant = Merchant::new("777290058167151", include_str!("vectors/merchant.pem")).unwrap();
    let mut fields = parse(include_str!("vectors/refund_request.txt").trim_end().as_bytes()).unwrap();
    assert_eq!(merchant.cert_id, fields["certId"]);
    assert!(merchant.signed(&fields));
    fields.insert("txnAmt".into(), "2".into());
    assert!(!merchant.signed(&fields));
}

#[test]
fn a_purchase_is_brought_paid_queried_and_told_of() {
    let far = far("purchase");
    let not_yet = far.call(Call::Query, far.query(), NOW);
    assert_eq!(not_yet["respCode"], "34", "no browser has come yet");
    assert_eq!(far.bring(far.purchase("Tea {a=1&b=2}"), NOW), Ok(20_060));
    assert_eq!(far.bring(far.purchase("Tea {a=1&b=2}"), NOW + 1), Ok(20_060), "the page is loaded again");
    assert_eq!(far.bring(far.purchase("Coffee"), NOW + 1), Err("12"));

    assert!(matches!(far.payer_acts(NOW + 300), Acted::Paid(_)));
    let notification = far.gateway.wire(far.account).callback(&far.notice(), NOW + 301);
    assert_eq!(notification.content_type, "application/x-www-form-urlencoded;charset=UTF-8");
    let told = parse(&notification.body).unwrap();
    assert!(far.is_unionpays(&told));
    let expected = [
        ("merId", far.keys.mer_id.as_str()),
        ("orderId", ORDER),
        ("txnTime", TXN_TIME),
        ("respCode", "00"),
        ("txnAmt", "20060"),
        ("settleAmt", "20060"),
        ("settleDate", "0921"),
        ("traceTime", "0921221320"),
        ("reqReserved", "Tea {a=1&b=2}"),
        ("txnType", "01"),
    ];
    for (name, value) in expected {
        assert_eq!(told[name], value, "{name}");
    }
    let query_id = &told["queryId"];
    assert!(query_id.len() == 21 && query_id.starts_with("05260921221320"), "{query_id}");
    assert_eq!(told["traceNo"], query_id[14..20]);
    let forged = parse(&far.gateway.wire(far.account).forged(&far.notice(), NOW).body).unwrap();
    assert_eq!((&forged["orderId"], forged["signature"] == told["signature"]), (&told["orderId"], false));
    assert!(!far.is_unionpays(&forged));
}

#[test]
fn trap_05_a_query_names_a_transaction_by_its_number_and_its_time() {
    let far = far("query");
    far.bring(far.purchase("Tea {a=1&b=2}"), NOW).unwrap();
    let waiting = far.call(Call::Query, far.query(), NOW + 1);
    assert_eq!((waiting["respCode"].as_str(), waiting["origRespCode"].as_str()), ("00", "05"));
    assert_eq!((waiting["txnType"].as_str(), waiting["txnSubType"].as_str()), ("01", "01"), "the purchase's own");
    assert_eq!(
        far.call(Call::Query, far.head(&[("txnType", "00"), ("txnSubType", "00"), ("txnTime", "20260921221321")]), NOW)
            ["respCode"],
        "34"
    );
    far.payer_acts(NOW + 300);
    let paid = far.call(Call::Query, far.query(), NOW + 400);
    assert_eq!((paid["origRespCode"].as_str(), paid["settleAmt"].as_str()), ("00", "20060"));
    assert!(paid["signature"].contains('='), "raw: nothing is encoded");
    assert_eq!(paid["reqReserved"], "Tea {a=1&b=2}", "what the merchant sent along comes back");
    let other = far.head(&[("txnType", "00"), ("txnSubType", "00"), ("bizType", "000000")]);
    assert_eq!(far.call(Call::Query, other, NOW + 400)["origRespCode"], "00");
}

#[test]
fn scripts_do_what_the_protocol_can_express() {
    for (reserved, later, code) in [
        ("sim:decline", 300, "64"),
        ("sim:never", 300, "05"),
        ("sim:never", 15 * 60_000, "01"),
        ("sim:late", 300, "05"),
    ] {
        let far = far(&format!("script-{}-{later}", &reserved[4..]));
        far.bring(far.purchase(reserved), NOW).unwrap();
        far.payer_acts(NOW + later);
        assert_eq!(far.call(Call::Query, far.query(), NOW + later)["origRespCode"], code, "{reserved} {later}");
    }
    let far = far("script-refuse");
    assert_eq!(far.bring(far.purchase("sim:refuse"), NOW), Err("01"));
    assert_eq!(far.call(Call::Query, far.query(), NOW)["respCode"], "34");
}

#[test]
fn what_a_script_says_of_the_create_befalls_the_first_query() {
    for (reserved, conduct) in [("sim:hang", Conduct::Hangs), ("sim:error", Conduct::Fails), ("tea", Conduct::Answers)]
    {
        let far = far(&format!("conduct-{}", reserved.replace(':', "-")));
        far.bring(far.purchase(reserved), NOW).unwrap();
        let first = far.call_raw(Call::Query, &far.signed(far.query()), NOW).1;
        let second = far.call_raw(Call::Query, &far.signed(far.query()), NOW).1;
        assert_eq!((first, second), (conduct, Conduct::Answers), "{reserved}");
    }
}

#[test]
fn trap_05_a_single_hash_a_missing_cert_id_and_changed_fields_are_refused_under_a_signature() {
    let far = far("trap-05");
    far.bring(far.purchase(""), NOW).unwrap();
    let code = |body: &[u8]| far.call_raw(Call::Query, body, NOW).0["respCode"].clone();
    let mut without = far.query();
    without.remove("certId");
    assert_eq!(code(&far.signed(without)), "13");
    assert_eq!(code(&far.signed(far.head(&[("txnType", "00"), ("txnSubType", "00"), ("certId", "1")]))), "11");
    let signed = String::from_utf8(far.signed(far.query())).unwrap();
    assert_eq!(code(signed.replace(TXN_TIME, "20260921221321").as_bytes()), "11");
    assert_eq!(code(format!("{signed}&customerIp=192.0.2.7").as_bytes()), "11");

    let der = PrivatePkcs8KeyDer::from_pem_slice(far.keys.merchant_key.expose_secret().as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let mut once = far.query();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed_text(&once).as_bytes(), &mut signature).unwrap();
    once.insert(SIGNATURE.into(), STANDARD.encode(signature));
    assert_eq!(code(&form::notification(&once)), "11", "hashed once");
}

#[test]
fn fields_are_held_to_their_forms() {
    let far = far("fields");
    for (name, value, code) in [
        ("version", "5.0.0", "10"),
        ("signMethod", "11", "10"),
        ("encoding", "GBK", "10"),
        ("accessType", "1", "10"),
        ("bizType", "000301", "10"),
        ("channelType", "05", "10"),
        ("currencyCode", "840", "10"),
        ("orderId", "short", "10"),
        ("orderId", "01JG_0048HE8H86CT48HANASK600", "10"),
        ("txnTime", "20260931221320", "10"),
        ("txnTime", "20260921211319", "10"),
        ("txnTime", "20260921231321", "10"),
        ("txnAmt", "0", "10"),
        ("txnAmt", "0100", "10"),
        ("txnAmt", "200.60", "10"),
        ("txnAmt", "-1", "10"),
        ("txnAmt", "1234567890123", "10"),
        ("frontUrl", "javascript:alert(1)", "10"),
        ("backUrl", "ftp://shop.example", "10"),
        ("payTimeout", "soon", "10"),
        ("payTimeout", "20260921221319", "01"),
    ] {
        let mut purchase = far.purchase("");
        purchase.insert(name.into(), value.into());
        assert_eq!(far.bring(purchase, NOW), Err(code), "{name}={value}");
    }
    for name in ["txnType", "orderId", "txnTime", "txnAmt", "currencyCode", "frontUrl", "backUrl", "channelType"] {
        let mut purchase = far.purchase("");
        purchase.remove(name);
        assert_eq!(far.bring(purchase, NOW), Err("13"), "{name}");
    }
    let mut long = far.purchase("");
    long.insert("reqReserved".into(), "x".repeat(1_025));
    assert_eq!(far.bring(long, NOW), Err("10"));
    for body in [b"".as_slice(), b"merId=1", b"orderId=1&orderId=1", b"%%%", &far.signed(far.head(&[("merId", "777")]))]
    {
        assert!(matches!(answer(&far.gateway, &far.gateway.unionpay, Call::Query, body, NOW), Outcome::Stranger));
    }
}

#[test]
fn the_file_of_a_day_is_there_as_soon_as_something_moved() {
    let far = far("file");
    far.bring(far.purchase(""), NOW).unwrap();
    far.payer_acts(NOW + 300);
    let asked = |day: &str| {
        let mut fields = far.head(&[
            ("txnType", "76"),
            ("txnSubType", "01"),
            ("bizType", "000000"),
            ("fileType", "00"),
            ("settleDate", day),
        ]);
        fields.remove("orderId");
        fields
    };
    let tomorrow = NOW + 86_400_000;
    assert_eq!(far.call(Call::File, asked("0921"), NOW + 400)["respCode"], "00", "the day is not over");
    assert_eq!(far.call(Call::File, asked("0920"), tomorrow)["respCode"], "98", "nothing moved");
    assert_eq!(far.call(Call::File, asked("0931"), tomorrow)["respCode"], "10");
    let file = far.call(Call::File, asked("0921"), tomorrow);
    assert_eq!((file["respCode"].as_str(), file["fileName"].ends_with("_260921.zip")), ("00", true));
    assert!(STANDARD.decode(&file["fileContent"]).unwrap().len() > 100);
    assert!(unpacked(&file["fileContent"]).contains(" D000000000120 C000000020060 "), "the fee");
}

/// The detail of a file.
fn unpacked(content: &str) -> String {
    let mut archive = Vec::new();
    ZlibDecoder::new(&STANDARD.decode(content).unwrap()[..]).read_to_end(&mut archive).unwrap();
    let mut text = String::new();
    ZipArchive::new(Cursor::new(archive)).unwrap().by_index(0).unwrap().read_to_string(&mut text).unwrap();
    text
}

const FORM: &str = "application/x-www-form-urlencoded;charset=UTF-8";

/// Posts to UnionPay's routes.
async fn post(far: &Far, path: &str, content_type: &str, body: Vec<u8>) -> (u16, String) {
    let scope = web::scope("/unionpay").configure(super::routes::routes);
    let routes = App::new().app_data(far.gateway.clone()).service(scope);
    let request = TestRequest::post().uri(path).insert_header((CONTENT_TYPE, content_type)).set_payload(body);
    let service = init_service(routes).await;
    let mut response = call_service(&service, request.to_request()).await;
    if let Some(address) = response.headers().get("location").map(|address| address.to_str().unwrap().to_owned()) {
        let path = address.strip_prefix("http://127.0.0.1:8080").expect("another origin");
        response = call_service(&service, TestRequest::get().uri(path).to_request()).await;
    }
    let status = response.status().as_u16();
    (status, String::from_utf8(read_body(response).await.to_vec()).unwrap())
}

#[actix_web::test]
async fn the_browser_gets_a_page_and_the_merchant_a_raw_signed_answer() {
    let far = far("routes");
    let mut purchase = far.purchase("Tea <b>");
    // By the machine's clock an old time would be refused, and an expiry of the past.
    let txn_time = format!("20{}", clock::query_id(crate::gateway::now_ms()));
    purchase.insert("txnTime".into(), txn_time.clone());
    purchase.insert("payTimeout".into(), "20991231235959".into());
    purchase.insert("frontUrl".into(), "https://shop.example/?a=1&b=%22\"><script>".into());
    let front = "/unionpay/gateway/api/frontTransReq.do";
    let (status, page) = post(&far, front, FORM, far.signed(purchase)).await;
    assert!(status == 200 && page.contains("¥200.60") && !page.contains("<script>"), "{page}");
    let mut query = far.query();
    query.insert("txnTime".into(), txn_time.clone());
    let (_, answer) = post(&far, "/unionpay/gateway/api/queryTrans.do", FORM, far.signed(query)).await;
    assert_eq!(far.believed(&answer)["origRespCode"], "05");
    let mut refund = far.refund("050000000000000000000", "1");
    refund.insert("txnTime".into(), txn_time);
    let refund = far.signed(refund);
    let (_, answer) = post(&far, "/unionpay/gateway/api/backTransReq.do", FORM, refund).await;
    assert_eq!(far.believed(&answer)["respCode"], "35");
    let (_, answer) = post(&far, "/unionpay/filedownload/", FORM, far.signed(far.query())).await;
    assert_eq!(far.believed(&answer)["respCode"], "10");
}

#[actix_web::test]
async fn whoever_is_no_merchant_gets_no_signature() {
    let far = far("strangers");
    let query = "/unionpay/gateway/api/queryTrans.do";
    let invalid = (400, "Invalid request.".to_owned());
    assert_eq!(post(&far, query, FORM, b"merId=777".to_vec()).await, invalid);
    assert_eq!(post(&far, query, "application/json", far.signed(far.query())).await, invalid);
    let (status, page) = post(&far, "/unionpay/gateway/api/frontTransReq.do", FORM, b"orderId=<b>".to_vec()).await;
    assert!(status == 400 && !page.contains("<b>"));
}

#[test]
fn no_two_payments_of_a_second_have_one_reference() {
    let references: HashSet<String> = (0..20_000).map(|_| query_id(NOW)).collect();
    assert_eq!(references.len(), 20_000);
    assert!(references.iter().all(|reference| reference.len() == 21));
}
