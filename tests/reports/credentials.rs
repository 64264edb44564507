//! Credentials in their true production forms.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tongbao::config::sandbox::{Alipay, Wechat};

use super::support::accounts::{Account, enabled, folder, write};
use super::support::app::App;
use super::support::books::counts;
use super::support::client::{an_order, text, with};
use super::support::far_ends::{Payment, alipay};
use super::support::process::{Kind, Site};
use super::support::seconds;
use super::support::ways::visit;

const PAID: std::time::Duration = seconds(40);

fn configure(site: &Site, settings: &str) {
    write(&site.folder.path().join("overlay.toml"), settings);
}

/// Files of the simulated gateway's side of an account.
fn replace(site: &Site, account: &str, files: &[(&str, &str)]) {
    for (name, content) in files {
        write(&site.folder.path().join("sandbox").join(account).join(name), content);
    }
}

fn order(channel: &str, method: &str, description: &str) -> Value {
    with(an_order(description), json!({ "channel": channel, "method": method }))
}

/// WeChat Pay's public-key ids have 34 characters behind `PUB_KEY_ID_`; this one is a published one.
#[actix_web::test]
async fn report_a_public_key_id_of_34_digits_is_taken() {
    const TRUE_ID: &str = "PUB_KEY_ID_0117346559632025120500192382001802";
    let site = Site::new(Kind::Sqlite, "");
    let made = Wechat::open(site.folder.path(), "default").unwrap().public_key_id;
    replace(&site, "wechat-default", &[("public_key.id", TRUE_ID)]);
    let account = Account::of(&site, "wechat", "default");
    assert_eq!(account.text("public_key_id"), TRUE_ID);
    configure(&site, &(enabled(&["wechat"]) + &account.keep(&site)));
    let app = App::start(site).await;
    let client = app.client();
    let paid = client.create(&order("wechat", "native", "tea")).await.order(201);
    client.reaches(text(&paid, "id"), "succeeded", PAID).await;
    app.finish().await;

    let number = made.strip_prefix("PUB_KEY_ID_").expect("the sandbox's own ids begin so too");
    assert_eq!((number.len(), number.bytes().all(|byte| byte.is_ascii_digit())), (34, true), "{made}");
}

fn key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

fn params(name: &str, serial: u64, is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "CN"),
        (DnType::OrganizationName, "Ant Financial"),
        (DnType::OrganizationalUnitName, "Certification Authority"),
        (DnType::CommonName, name),
    ] {
        params.distinguished_name.push(kind, value);
    }
    params.serial_number = Some(SerialNumber::from(serial));
    params.is_ca = is_ca;
    params
}

fn authority(name: &str, serial: u64) -> CertificateParams {
    params(name, serial, IsCa::Ca(BasicConstraints::Unconstrained))
}

/// Gives the account certificates as Alipay hands them out: its own and the authority's above it in one file. The key
/// of that authority, and the root above it.
fn certify(site: &Site) -> (String, CertifiedIssuer<'static, KeyPair>) {
    let it = Alipay::open(site.folder.path(), "default").unwrap();
    let root = CertifiedIssuer::self_signed(authority("Ant Financial Certification Authority R1", 1), key()).unwrap();
    let class_2 = authority("Ant Financial Certification Authority Class 2 R1", 2);
    let middle_key = key();
    let middle = class_2.signed_by(&middle_key, &root).unwrap().pem();
    let middle_pem = middle_key.serialize_pem();
    let issuer = Issuer::new(class_2, middle_key);
    let issued = |name, serial, key: &SecretString| {
        let key = KeyPair::from_pem_and_sign_algo(key.expose_secret(), &PKCS_RSA_SHA256).unwrap();
        params(name, serial, IsCa::ExplicitNoCa).signed_by(&key, &issuer).unwrap().pem()
    };
    let (app, own) = (issued("2021-app", 3, &it.app_key), issued("支付宝(中国)网络技术有限公司", 4, &it.alipay_key));
    replace(site, "alipay-default", &[("app.pem", &app), ("alipay.pem", &format!("{own}{middle}"))]);
    (middle_pem, root)
}

async fn start(site: Site) -> App {
    configure(&site, &(enabled(&["alipay"]) + &Account::of(&site, "alipay", "default").keep(&site)));
    App::start(site).await
}

#[actix_web::test]
async fn report_alipays_authority_in_the_configured_bundle_signs_no_notification() {
    let site = Site::new(Kind::Sqlite, "");
    let (middle_key, root) = certify(&site);
    replace(&site, "alipay-default", &[("root.pem", &root.pem())]);
    let app = start(site).await;
    let client = app.client();
    let it = || Alipay::open(app.site.folder.path(), "default").unwrap();
    // Nobody opens the page, so that nobody pays.
    let opened = client.create(&order("alipay", "page", "tea")).await.order(201);
    let payment = Payment::of(text(&opened["attempts"][0], "id"), 20_100, "CNY");
    let before = counts(&app.site).await;
    let forger = Alipay { alipay_key: SecretString::from(middle_key), ..it() };
    let forged = alipay(&it(), &forger, &payment, &[]);
    forged.send(&client, "/v1/callbacks/alipay").await.problem(401, "callback_unverified");
    assert_eq!(counts(&app.site).await, before);
    assert_eq!(client.order(text(&opened, "id")).await["state"], "submitted");
    // The leaf's own key is believed, be it of an amount that nobody asked for.
    let truly = alipay(&it(), &it(), &Payment { amount_minor: 1, ..payment }, &[]);
    assert_eq!(truly.send(&client, "/v1/callbacks/alipay").await.text, "success");
    visit(&opened["next_action"]).await;
    client.reaches(text(&opened, "id"), "succeeded", PAID).await;
    app.finish().await;
}

/// The root that issued the certificates of Alipay's sandbox is not in the root file that comes with them.
#[actix_web::test]
async fn report_the_certificates_of_alipays_own_sandbox_are_taken() {
    let site = Site::new(Kind::Sqlite, "");
    certify(&site);
    let app = start(site).await;
    let client = app.client();
    let paid = client.create(&order("alipay", "qr", "tea")).await.order(201);
    client.reaches(text(&paid, "id"), "succeeded", PAID).await;
    assert!(app.server.log().contains("it is believed because it is configured"), "{}", app.server.log_tail());
    app.finish().await;
}

/// What `openssl pkcs12 -noenc` makes of a merchant's `.pfx`: attributes before each part, a friendlyName of 商户 in GBK
/// among them, the key first, the authorities' certificates before ours.
#[actix_web::test]
async fn report_a_pfx_taken_apart_by_openssl_is_a_merchants_key_and_certificate() {
    let site = Site::new(Kind::Sqlite, "");
    let account = Account::of(&site, "unionpay", "default");
    let settings = enabled(&["unionpay"]) + &account.keep(&site);
    configure(&site, &settings);
    let bag = b"Bag Attributes\n    friendlyName: \xc9\xcc\xbb\xa7\n    localKeyID: 01 00 00 00\n";
    let keys = ["signing_key", "middle_certificate", "root_certificate", "signing_certificate"];
    let whole: Vec<u8> = keys.iter().flat_map(|key| [&bag[..], account.text(key).as_bytes(), b"\n"].concat()).collect();
    for key in ["signing_key", "signing_certificate"] {
        let file = folder(&site, "unionpay", "default").join(key);
        std::fs::write(file, &whole).expect("the file is written");
    }
    let app = App::start(site).await;
    let client = app.client();
    let opened = client.create(&order("unionpay", "page", "tea")).await.order(201);
    visit(&opened["next_action"]).await;
    client.reaches(text(&opened, "id"), "succeeded", PAID).await;
    app.finish().await;
}

/// Official account and app of one merchant have appids of their own.
#[actix_web::test]
async fn report_an_account_has_an_appid_for_each_method() {
    const OFFICIAL: &str = "wxd678efh567hg6787";
    const APP: &str = "wx8888888888888888";
    let site = Site::new(Kind::Sqlite, "");
    replace(&site, "wechat-default", &[("appid", &format!("{OFFICIAL}\n{APP}"))]);
    let account = Account::of(&site, "wechat", "default");
    assert_eq!(account.text("appid"), OFFICIAL);
    let appids = format!("[channels.wechat.accounts.default.appids]\napp = \"{APP}\"\n");
    configure(&site, &(enabled(&["wechat"]) + &account.keep(&site) + &appids));
    let app = App::start(site).await;
    let client = app.client();
    let payer = json!({ "payer": { "id": "u-1", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o" } });
    for (method, parameter, appid) in [("jsapi", "appId", OFFICIAL), ("app", "appid", APP)] {
        let opened = client.create(&with(order("wechat", method, "tea"), payer.clone())).await.order(201);
        assert_eq!(opened["next_action"]["parameters"][parameter], appid, "{opened}");
        client.reaches(text(&opened, "id"), "succeeded", PAID).await;
    }
    app.finish().await;
}
