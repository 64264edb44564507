use std::path::Path;

use secrecy::ExposeSecret;

use crate::config::{Config, ConfigError, credentials::AlipayTrust};
use crate::domain::channel::Method;

/// Loads the defaults under an overlay, in a folder of this test that has these files.
fn load(test: &str, files: &[(&str, &str)], overlay: &str) -> Result<Config, ConfigError> {
    let dir = std::env::temp_dir().join(format!("tongbao-accounts-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (name, content) in files {
        std::fs::write(dir.join(name), content).unwrap();
    }
    let path = dir.join("overlay.toml");
    std::fs::write(&path, overlay.replace("DIR", dir.to_str().unwrap())).unwrap();
    Config::load(&[path])
}

fn error<T>(result: Result<T, ConfigError>) -> String {
    result.err().expect("it is refused").to_string()
}

const WECHAT: &str = r#"
[channels.wechat.accounts.default]
mchid = "1900000001"
appid = "wx1"
merchant_serial = "5F"
merchant_key_file = "DIR/merchant.pem"
api_v3_key = "0123456789abcdef0123456789abcdef"
"#;

#[test]
fn wechat_is_read_with_each_way_to_verify() {
    let certificate = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n";
    let files =
        [("merchant.pem", "KEY\n"), ("pub.pem", "PUB"), ("certs.pem", &format!("{certificate}\n{certificate}"))];
    let by_key = format!("{WECHAT}public_key_id = \"PUB_KEY_ID_1\"\npublic_key_file = \"DIR/pub.pem\"\n");
    let accounts = load("wechat-key", &files, &by_key).unwrap().channels["wechat"].accounts.wechat().unwrap();
    let account = &accounts["default"];
    assert_eq!((account.mchid.as_str(), account.merchant_key.expose_secret()), ("1900000001", "KEY"));
    assert_eq!(account.public_key.as_ref().unwrap().pem, "PUB");

    let by_certificate = format!("{WECHAT}platform_certificates_file = \"DIR/certs.pem\"\n");
    let accounts = load("wechat-cert", &files, &by_certificate).unwrap().channels["wechat"].accounts.wechat().unwrap();
    assert_eq!(accounts["default"].platform_certificates, [certificate.trim(), certificate.trim()]);

    let neither = error(load("wechat-none", &files, WECHAT).unwrap().channels["wechat"].accounts.wechat());
    assert!(neither.contains("channels.wechat.accounts.default.public_key_file"), "{neither}");
    let half = format!("{WECHAT}public_key_id = \"PUB_KEY_ID_1\"\n");
    let half = error(load("wechat-half", &files, &half).unwrap().channels["wechat"].accounts.wechat());
    assert!(half.contains("default.public_key_file` is missing"), "{half}");
}

#[test]
fn what_is_missing_unknown_or_double_is_named_and_no_secret_is_shown() {
    let unknown = error(load("unknown", &[], &format!("{WECHAT}mchld = \"1\"\n")));
    assert!(unknown.contains("channels.wechat.accounts.default") && unknown.contains("mchld"), "{unknown}");
    let missing = error(load("missing", &[], "[channels.wechat.accounts.shop]\nmchid = \"1\"\n"));
    assert!(missing.contains("channels.wechat.accounts.shop") && missing.contains("appid"), "{missing}");

    let double = format!("{WECHAT}api_v3_key_file = \"DIR/x\"\npublic_key_id = \"P\"\npublic_key = \"Q\"\n");
    let double = error(load("double", &[("merchant.pem", "K")], &double).unwrap().channels["wechat"].accounts.wechat());
    assert!(double.contains("api_v3_key` and `api_v3_key_file` exclude each other"), "{double}");
    assert!(!double.contains("0123456789abcdef"), "{double}");

    let absent = error(load("absent", &[], WECHAT).unwrap().channels["wechat"].accounts.wechat());
    assert!(absent.contains("default.merchant_key_file") || absent.contains("public_key_file"), "{absent}");

    let table = "[channels.stripe.accounts.default]\nsecret_key = { sk_live_secret = \"sk_live_secret\" }\n";
    let table = error(load("table", &[], table));
    assert!(table.contains("channels.stripe.accounts.default") && !table.contains("sk_live_secret"), "{table}");

    let named = error(load("named", &[], &WECHAT.replace("default", "Shop_1")));
    assert!(named.contains("channels.wechat.accounts.Shop_1"), "{named}");

    let shown = format!("{:?}", load("debug", &[], WECHAT).unwrap());
    assert!(shown.contains("default") && !shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn alipay_believes_a_key_or_three_certificates() {
    let start = "[channels.alipay.accounts.default]\napp_id = \"2021\"\napp_key = \"K\"\n";
    let read = |test: &str, rest: &str| {
        load(test, &[], &format!("{start}{rest}")).unwrap().channels["alipay"].accounts.alipay()
    };
    assert!(matches!(
        read("ali-key", "alipay_public_key = \"P\"").unwrap()["default"].trust,
        AlipayTrust::PublicKey { .. }
    ));
    let all = "app_certificate = \"A\"\nalipay_certificate = \"B\"\nroot_certificate = \"C\"\n";
    assert!(matches!(read("ali-all", all).unwrap()["default"].trust, AlipayTrust::Certificates { .. }));
    for (test, rest, named) in [
        ("ali-none", "", "alipay_public_key_file"),
        ("ali-both", "alipay_public_key = \"P\"\nroot_certificate = \"C\"", "exclude each other"),
        ("ali-two", "app_certificate = \"A\"\nalipay_certificate = \"B\"", "root_certificate_file"),
        ("ali-one", "root_certificate = \"A\"", "app_certificate_file"),
    ] {
        let why = error(read(test, rest));
        assert!(why.contains(named), "{why}");
    }
}

#[test]
fn several_accounts_and_webhook_secrets_stand_side_by_side() {
    let overlay = r#"
[channels.stripe.accounts.default]
secret_key = "sk_1"
webhook_secrets_file = "DIR/secrets"
[channels.stripe.accounts.shop]
secret_key = "sk_2"
webhook_secrets = "whsec_3"
version = "2025-01-01.x"
[platforms.platform-a.accounts]
stripe = "shop"
"#;
    let config = load("several", &[("secrets", "whsec_new\nwhsec_old\n")], overlay).unwrap();
    let accounts = config.channels["stripe"].accounts.stripe().unwrap();
    let secrets: Vec<&str> = accounts["default"].webhook_secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["whsec_new", "whsec_old"]);
    assert_eq!(
        (accounts["default"].version.as_str(), accounts["shop"].version.as_str()),
        (super::STRIPE_VERSION, "2025-01-01.x")
    );
    assert_eq!(config.platforms["platform-a"].accounts["stripe"], "shop");

    let wrong = error(load("wrong", &[], "[platforms.platform-a.accounts]\nstripe = \"stall\"\n"));
    assert!(wrong.contains("platforms.platform-a.accounts.stripe"), "{wrong}");
    let wrong = error(load("wrong-channel", &[], "[platforms.platform-a.accounts]\nstrype = \"default\"\n"));
    assert!(wrong.contains("platforms.platform-a.accounts.strype"), "{wrong}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let overlay = "[channels.simpay.accounts.default]\nkey_file = \"DIR/nothing\"\n";
    let why = error(load("file", &[], overlay).unwrap().channels["simpay"].accounts.simpay());
    assert!(why.contains("channels.simpay.accounts.default.key_file") && why.contains("nothing"), "{why}");
    assert!(!Path::new("nothing").exists());
}

/// `openssl pkcs12` writes the attributes of a `.pfx` before each part, a Chinese `friendlyName` as the bytes it finds.
#[test]
fn report_bytes_before_and_between_the_parts_of_a_pem_file_need_not_be_utf_8() {
    let dir = std::env::temp_dir().join(format!("tongbao-pem-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        super::secret_file(&path).map(|text| text.expose_secret().to_owned())
    };
    // 商户 in GBK.
    let attributes = b"Bag Attributes\n    friendlyName: \xc9\xcc\xbb\xa7\n    localKeyID: 01\n";
    let part = b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
    let text = file("bag.pem", &[&attributes[..], part, attributes, part].concat()).unwrap();
    assert!(text.starts_with("-----BEGIN CERTIFICATE-----\nQUJD\n"), "{text}");
    assert_eq!(super::certificates_of(&text).len(), 2);
    assert_eq!(file("bom.pem", &[b"\xef\xbb\xbf", &part[..]].concat()).unwrap().as_bytes(), part.trim_ascii_end());
    let refused = file("other", b"\xc9\xcc").unwrap_err().to_string();
    assert!(refused.ends_with("it is neither PEM nor text in UTF-8"), "{refused}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn appids_stand_by_method() {
    let start = format!(
        "{}public_key_id = \"P\"\npublic_key = \"Q\"\n",
        WECHAT.replace("_file = \"DIR/merchant.pem\"", " = \"K\"")
    );
    let read = |test: &str, rest: &str| {
        load(test, &[], &format!("{start}{rest}")).unwrap().channels["wechat"].accounts.wechat()
    };
    let accounts =
        read("appids", "[channels.wechat.accounts.default.appids]\njsapi = \"wx2\"\napp = \"wx3\"\n").unwrap();
    let appids = &accounts["default"].appids;
    assert_eq!((&appids[&Method::Jsapi], &appids[&Method::App], appids.len()), (&"wx2".into(), &"wx3".into(), 2));
    for name in ["mini", "card", "Jsapi"] {
        let why = error(read("appids-bad", &format!("appids = {{ {name} = \"wx2\" }}\n")));
        assert!(why.contains(&format!("channels.wechat.accounts.default.appids.{name}` is of no method")), "{why}");
    }
}

/// Two accounts of one name at two channels, of two platforms.
const OWNED: &str = r#"
[channels.simpay.accounts.default]
key = "AAAA"
[channels.simpay.accounts.own]
key = "AAAA"
owner = "platform-a"
[channels.stripe.accounts.default]
[channels.stripe.accounts.own]
owner = "platform-b"
"#;

#[test]
fn an_account_that_belongs_to_a_platform_is_used_by_no_other() {
    let assigned = |platform: &str, channel: &str, account: &str| {
        let assignment = format!("{OWNED}[platforms.{platform}.accounts]\n{channel} = \"{account}\"\n");
        load(&format!("owned-{platform}-{channel}-{account}"), &[], &assignment)
    };
    let config = assigned("platform-a", "simpay", "own").unwrap();
    let owner = |channel: &str, account: &str| config.channels[channel].accounts.owner(account).map(str::to_owned);
    assert_eq!(owner("simpay", "own").as_deref(), Some("platform-a"));
    assert_eq!(owner("stripe", "own").as_deref(), Some("platform-b"));
    assert_eq!((owner("simpay", "default"), owner("simpay", "none")), (None, None));
    assert!(config.channels["simpay"].accounts.simpay().is_ok_and(|accounts| accounts.len() == 2));
    for (platform, channel, owner) in [("platform-b", "simpay", "platform-a"), ("platform-a", "stripe", "platform-b")] {
        assert!(assigned(platform, channel, "default").is_ok());
        let refused = error(assigned(platform, channel, "own"));
        assert!(refused.contains(&format!("`platforms.{platform}.accounts.{channel}`")), "{refused}");
        assert!(refused.contains(&format!("belongs to {owner}")), "{refused}");
    }
}

#[test]
fn the_account_of_all_platforms_belongs_to_none() {
    let owned = "[channels.simpay.accounts.default]\nkey = \"AAAA\"\nowner = \"platform-a\"\n";
    let refused = error(load("owned-default", &[], owned));
    assert!(refused.contains("`channels.simpay.accounts.default.owner`"), "{refused}");
    let empty = "[channels.simpay.accounts.own]\nkey = \"AAAA\"\nowner = \"Platform A\"\n";
    let refused = error(load("owned-by-no-name", &[], empty));
    assert!(refused.contains("`channels.simpay.accounts.own.owner`"), "{refused}");
}
