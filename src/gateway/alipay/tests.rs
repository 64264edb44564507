//! The far end as a merchant and a browser meet it: over its routes, with the sandbox's keys.

mod payments;
mod refunds;
mod trust;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use actix_web::{App, test, web};
use serde_json::{Value, json};

use super::form::{self, Parameters};
use super::signing::{AppKey, SigningKey, signed_text};
use super::{routes, units};
use crate::config::{Config, sandbox};
use crate::gateway::agenda::PaymentId;
use crate::gateway::{Gateway, now_ms};

/// Keys take time to make: one set serves all tests, as names and contents of its files.
static KEYS: LazyLock<Vec<(OsString, Vec<u8>)>> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("tongbao-alipay-keys-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    sandbox::Alipay::open(&dir, sandbox::ACCOUNT).expect("keys can be made");
    let files = std::fs::read_dir(folder(&dir)).unwrap().map(Result::unwrap);
    let keys = files.map(|file| (file.file_name(), std::fs::read(file.path()).unwrap())).collect();
    std::fs::remove_dir_all(&dir).unwrap();
    keys
});
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A gateway with books of its own, and the merchant that it knows.
struct Sandbox {
    dir: PathBuf,
    gateway: Arc<Gateway>,
    account: sandbox::Alipay,
    key: SigningKey,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What an answer was.
struct Answer {
    text: String,
    content_type: String,
}

impl Sandbox {
    /// With payers who scan at once.
    fn open() -> Self {
        Sandbox::with_delay(0)
    }

    fn with_delay(payer_delay_ms: u64) -> Self {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tongbao-alipay-{}-{nth}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(folder(&dir)).unwrap();
        for (name, content) in KEYS.iter() {
            std::fs::write(folder(&dir).join(name), content).unwrap();
        }
        let mut config = Config::load(&[]).unwrap();
        config.data.dir = dir.clone();
        config.channels.retain(|name, _| name == "alipay");
        config.gateway.payer_delay_ms = payer_delay_ms;
        let account = sandbox::Alipay::open(&dir, sandbox::ACCOUNT).unwrap();
        let key = SigningKey::from_pem(&account.app_key).unwrap();
        let gateway = Arc::new(Gateway::open(&config).unwrap_or_else(|error| panic!("{error}")));
        Sandbox { dir, gateway, account, key }
    }

    fn common(&self, method: &str) -> Parameters {
        [
            ("app_id", self.account.app_id.as_str()),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", &units::beijing(now_ms())),
            ("version", "1.0"),
            ("notify_url", "http://127.0.0.1:9/notify"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn request(&self, method: &str, content: &Value) -> Parameters {
        let mut parameters = self.common(method);
        parameters.insert("biz_content".into(), content.to_string());
        self.signed(parameters)
    }

    fn signed(&self, mut parameters: Parameters) -> Parameters {
        let sign = self.key.sign(signed_text(&parameters, &["sign"]).as_bytes());
        parameters.insert("sign".into(), sign);
        parameters
    }

    /// Common parameters in the query string, the content in the body.
    async fn send(&self, mut parameters: Parameters) -> Answer {
        let content: Parameters = parameters.remove_entry("biz_content").into_iter().collect();
        self.fetch(test::TestRequest::post(), &form::write(&parameters), form::write(&content)).await
    }

    async fn fetch(&self, request: test::TestRequest, query: &str, body: String) -> Answer {
        let data = web::Data::from(Arc::clone(&self.gateway));
        let app =
            test::init_service(App::new().app_data(data).service(web::scope("/alipay").configure(routes::routes)))
                .await;
        let request = request.uri(&format!("/alipay/gateway.do?{query}")).set_payload(body).to_request();
        let mut response = test::call_service(&app, request).await;
        if let Some(address) = response.headers().get("location").map(|address| address.to_str().unwrap().to_owned()) {
            assert_eq!(response.status(), 302);
            let path = address.strip_prefix("http://127.0.0.1:8080").expect("another origin");
            response = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
        }
        let content_type = response.headers().get("content-type").map_or("", |text| text.to_str().unwrap()).to_owned();
        let body = test::read_body(response).await;
        let text = match content_type.ends_with("GBK") {
            true => encoding_rs::GBK.decode(&body).0.into_owned(),
            false => String::from_utf8(body.to_vec()).unwrap(),
        };
        Answer { text, content_type }
    }

    /// A merchant's call: what is inside the signed answer.
    async fn call(&self, method: &str, content: Value) -> Value {
        let answer = self.send(self.request(method, &content)).await;
        self.believed(method, &answer.text)
    }

    /// The content of an answer whose signature is over its very text.
    fn believed(&self, method: &str, text: &str) -> Value {
        let name = format!("{{\"{}_response\":", method.replace('.', "_"));
        let rest = text.strip_prefix(&name).unwrap_or_else(|| panic!("{text}"));
        let end = rest.find("},\"").map_or(rest.len() - 1, |at| at + 1);
        let whole: Value = serde_json::from_str(text).unwrap();
        let alipay = AppKey::from_pem(&self.account.alipay_public_key).unwrap();
        assert!(alipay.verify(&rest.as_bytes()[..end], whole["sign"].as_str().unwrap()), "{text}");
        serde_json::from_str(&rest[..end]).unwrap()
    }

    /// The browser posts the form of a page.
    async fn browse(&self, content: &Value) -> Answer {
        self.send(self.request("alipay.trade.page.pay", content)).await
    }

    fn payer_acts(&self, number: &str) {
        let account = self.gateway.alipay.wires[0].0;
        self.gateway.payer_acts(PaymentId { account, number: number.into() });
    }

    async fn query(&self, number: &str) -> Value {
        self.call("alipay.trade.query", json!({ "out_trade_no": number })).await
    }
}

fn folder(dir: &Path) -> PathBuf {
    dir.join("sandbox").join("alipay-default")
}

/// The same within an hour, so that what is sent twice is the same request.
fn page(number: &str, subject: &str) -> Value {
    let expires_at = (now_ms().div_euclid(3_600_000) + 2) * 3_600_000;
    json!({
        "out_trade_no": number, "product_code": "FAST_INSTANT_TRADE_PAY", "total_amount": "200.60",
        "subject": subject, "time_expire": units::beijing(expires_at)
    })
}

fn code(number: &str, subject: &str) -> Value {
    json!({ "out_trade_no": number, "product_code": "QR_CODE_OFFLINE", "total_amount": "200.60", "subject": subject })
}

fn sub_code(content: &Value) -> &str {
    content["sub_code"].as_str().unwrap_or_default()
}
