//! What a server refuses to start with, and how it says so.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use futures_util::StreamExt;
use futures_util::stream;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use secrecy::ExposeSecret;
use support::accounts::{Account, REAL, enabled, folder, write};
use support::process::{Kind, Process, Site};
use support::{eventually, seconds};
use tongbao::config::sandbox;

/// What must never be said.
const HIDDEN: &str = "hidden7Q";
/// Servers that are started at once.
const AT_ONCE: usize = 4;

/// What stands in the place of a key's file.
enum Spoiled {
    Missing,
    Empty,
    /// Nobody, not even root, can read it.
    Folder,
    Text(String),
}

struct Case {
    channel: &'static str,
    key: &'static str,
    spoiled: Spoiled,
    /// What is said of it, besides the account; the key where it is the key itself.
    said: &'static str,
}

fn case(channel: &'static str, key: &'static str, spoiled: Spoiled, said: &'static str) -> Case {
    Case { channel, key, spoiled, said }
}

/// Every file of every channel, spoiled in every way that any file can be.
fn common(site: &Site) -> Vec<Case> {
    let mut cases = Vec::new();
    for channel in REAL {
        for (key, _) in Account::of(site, channel, "default").files {
            let ways = [
                Spoiled::Missing,
                Spoiled::Empty,
                Spoiled::Folder,
                Spoiled::Text(HIDDEN.into()),
                Spoiled::Text(format!("-----BEGIN CERTIFICATE-----\n{HIDDEN}\n-----END CERTIFICATE-----")),
            ];
            cases.extend(ways.map(|spoiled| case(channel, key, spoiled, key)));
        }
    }
    cases
}

/// What is well formed and yet not what it should be.
fn particular(site: &Site) -> Vec<Case> {
    use Spoiled::Text;
    let dir = site.folder.path();
    let wechat = sandbox::Wechat::open(dir, "default").unwrap();
    let alipay = sandbox::Alipay::open(dir, "default").unwrap();
    let unionpay = sandbox::Unionpay::open(dir, "default").unwrap();
    let other = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let elliptic = KeyPair::generate().unwrap();
    let self_signed = CertificateParams::default().self_signed(&other).unwrap().pem();
    vec![
        case("wechat", "api_v3_key", Text("0123456789abcdef0123456789abcde".into()), "api_v3_key must have exactly 32"),
        case("wechat", "merchant_key", Text(wechat.merchant_certificate.clone()), "merchant_key"),
        case("wechat", "merchant_key", Text(wechat.public_key.clone()), "merchant_key"),
        case("wechat", "merchant_key", Text(elliptic.serialize_pem()), "merchant_key is no RSA"),
        case("wechat", "public_key", Text(wechat.platform_certificate.clone()), "public_key is no RSA public key"),
        case("wechat", "public_key", Text(elliptic.public_key_pem()), "public_key is no RSA public key"),
        case("wechat", "platform_certificates", Text(wechat.public_key), "platform_certificates` has no certificate"),
        case("alipay", "app_key", Text(other.serialize_pem()), "app_certificate is not the certificate of app_key"),
        case("alipay", "app_key", Text(alipay.app_public_key.clone()), "app_key"),
        case("alipay", "app_certificate", Text(alipay.alipay_certificate), "app_certificate is not the certificate of"),
        case("alipay", "alipay_certificate", Text(self_signed.clone()), "alipay_certificate was issued by none"),
        case("alipay", "root_certificate", Text(alipay.app_public_key), "root_certificate has no certificate"),
        case("unionpay", "signing_key", Text(other.serialize_pem()), "signing_certificate is not the certificate of"),
        case(
            "unionpay",
            "signing_certificate",
            Text(unionpay.signer_certificate),
            "not the certificate of signing_key",
        ),
        case("unionpay", "root_certificate", Text(self_signed), "root_certificate has one that is no root"),
        case("unionpay", "middle_certificate", Text(unionpay.merchant_certificate), "did not issue middle_certificate"),
        case("stripe", "secret_key", Text(format!("pk_live_{HIDDEN}")), "secret_key is not one"),
        case("stripe", "webhook_secrets", Text(format!("whsec_abc\n{HIDDEN}")), "webhook_secrets has one that is none"),
        case("stripe", "webhook_secrets", Text(" ".into()), "webhook_secrets must be one to eight"),
    ]
}

/// A site whose server has one account, in order.
fn site_of(prototype: &Site, channel: &'static str) -> (Site, Account) {
    let site = Site::new(Kind::Sqlite, "");
    let account = Account::known_in(prototype.folder.path(), channel, "default");
    let overlay = format!("[gateway]\nembedded = false\n{}{}", enabled(&[channel]), account.keep(&site));
    write(&site.folder.path().join("overlay.toml"), &overlay);
    (site, account)
}

async fn refused(prototype: &Site, Case { channel, key, spoiled, said }: Case) {
    let (site, account) = site_of(prototype, channel);
    let file = folder(&site, channel, "default").join(key);
    std::fs::remove_file(&file).unwrap();
    match spoiled {
        Spoiled::Missing => {}
        Spoiled::Empty => write(&file, "\n"),
        Spoiled::Folder => std::fs::create_dir(&file).unwrap(),
        Spoiled::Text(text) => write(&file, &text),
    }
    let output = tokio::time::timeout(seconds(30), site.run(&["serve"])).await.expect("it ends by itself");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{channel} {key}: it starts: {told}");
    for part in [channel, "default", said] {
        assert!(told.contains(part), "{channel} {key}: {part:?} is not said: {told}");
    }
    assert!(!told.contains(HIDDEN), "{channel} {key}: {told}");
    for (_, text) in &account.files {
        let line = text.lines().rev().nth(1).unwrap_or(text);
        assert!(!told.contains(line), "{channel} {key}: a credential is shown: {told}");
    }
    assert!(!site.store_file().exists(), "nothing was begun");
}

#[actix_web::test]
async fn each_malformed_credential_is_refused_by_name_and_not_shown() {
    let prototype = Site::new(Kind::Sqlite, "");
    let cases: Vec<Case> = common(&prototype).into_iter().chain(particular(&prototype)).collect();
    assert_eq!(cases.len(), 14 * 5 + 19);
    stream::iter(cases).for_each_concurrent(AT_ONCE, |case| refused(&prototype, case)).await;
}

async fn says(server: &Process, what: &[&str]) {
    let line = || async { server.log().lines().any(|line| what.iter().all(|part| line.contains(part))).then_some(()) };
    eventually(&format!("a line of the log says {what:?}"), seconds(30), line).await;
}

#[actix_web::test]
async fn spans_that_shrink_before_a_gateway_of_its_own_are_told() {
    let own = "base_url = \"http://127.0.0.1:9\"";
    let settings = enabled(&["wechat", "stripe"]).replace("[channels.stripe]", &format!("[channels.stripe]\n{own}"));
    let mut site = Site::new(Kind::Sqlite, &settings);
    let mut server = site.start(&["serve"]);
    says(&server, &["WARN", "channels.stripe.base_url", "gateway.time_scale_percent = 100"]).await;
    says(&server, &["serving"]).await;
    assert!(!server.log().contains("channels.wechat.base_url"), "the simulated gateway's spans shrink as well");
    server.stop().await;

    let before = server.log().len();
    site.lay_over(&format!("{settings}[gateway]\ntime_scale_percent = 100\n"));
    let mut server = site.start(&["serve"]);
    let serving = || async { server.log()[before..].contains("serving").then_some(()) };
    eventually("it serves again", seconds(30), serving).await;
    assert!(!server.log()[before..].contains("base_url"), "{}", server.log_tail());
    server.stop().await;
}

/// A start is not refused for it: the account's orders must go on being asked about, and the other channels stay up.
#[actix_web::test]
async fn a_key_that_everybody_may_read_and_a_certificate_that_has_ended_are_told() {
    let prototype = Site::new(Kind::Sqlite, "");
    let (site, account) = site_of(&prototype, "unionpay");
    let files = folder(&site, "unionpay", "default");
    std::fs::set_permissions(files.join("signing_key"), Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(files.join("root_certificate"), Permissions::from_mode(0o644)).unwrap();
    let key = KeyPair::from_pem(account.text("signing_key")).unwrap();
    let mut ended = CertificateParams::default();
    ended.not_before = rcgen::date_time_ymd(2020, 1, 1);
    ended.not_after = rcgen::date_time_ymd(2024, 1, 1);
    write(&files.join("signing_certificate"), &ended.self_signed(&key).unwrap().pem());

    let mut server = site.start(&["serve"]);
    says(&server, &["WARN", "channels.unionpay.accounts.default.signing_key_file", "everybody"]).await;
    says(&server, &["ERROR", "channels.unionpay.accounts.default.signing_certificate", "2024-01-01", "ended"]).await;
    says(&server, &["serving"]).await;
    assert!(!server.log().contains("root_certificate_file"), "what is public may be read");
    let secret = sandbox::Unionpay::open(prototype.folder.path(), "default").unwrap().merchant_key;
    assert!(!server.log().contains(secret.expose_secret().lines().nth(1).unwrap()));
    server.stop().await;
}
