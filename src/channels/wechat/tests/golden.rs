//! What was published, byte for byte.

use super::*;
use crate::channels::bill::{BillKind, BillLine};
use crate::channels::wechat::sealed::{Opener, Sealed};

/// The key pair that WeChat Pay's documents sign their examples with; it belongs to no merchant.
const DOCUMENTED_KEY: &str = "-----BEGIN RSA PRIVATE KEY-----
MIIEogIBAAKCAQEAptpm+qvIDCh/9wjU26SQCK26ogYkBhDrYxnAaw2JbbBsp1oD
bHKk+1r381NeBUG2HEFAuU+Fr72u5ot3yKdzoF/FajAzQNKnm569/D3upKoi8mYB
aST15Uig8j8qoUW1U217LL0jEHlSnHV3lcaDTXqDpTRR4Bfz9IqOgJgFZ8/oTfEo
mSrjrLYef81Eyxr7ZIMQXEKKEK7V4UXKS0+/fDsiG/cXidhzt8UbTL9vqXqxM2+I
DImyO+FAc/tkBG55LmzxPto1Nq0WbnZzRM/wTzrd0I/8NlevxtFbphg4evlHjFNI
7+GrqR87ViEwuAJJ9Je5QQjct5YJfFRWiZ5CMQIDAQABAoIBAGBi/GhEgezcHIg1
ltlHaFlLGuxsRbUnYwM9phVxnXk7GJlYe2/TjpERjPkIqOC6hBwwadZjJORP3FCc
Mtc8PKRhjuZ377O7vU0915x2nnyLOGL1IE2AJ3iLi0ZFzTea0FPgg+5lWHM00s9F
YI6qPcGtS41M+xtMWwZiYE3TBBRibHiY8ugGyaNAhiMKehyW05uApjlIF55wwCGx
BkyESJpGRR/6853iHke6Ge+xVcMa9QmQdoH0QqL/8kT28PL568mJJr0Ow/83t4+d
Pe70YPzKAxgUnaDsHJqO+b8qH69AEs8rTI5h2Mon6pH+bJT66KUoiXhn+Kf+4LSs
henRP10CgYEA1QJSfuFOWVRjrg3N/rAIc/Ak84BTZavbyrkqBSuoTs9i/nMI/hOz
VxpDntg7Bx2Tctl6sZO3GioTxKdc/YYaTKci1TKBbeginpsqEQVgwkMCy8HpvUmR
fyAMqLwZC4h9+j+NiZtuoFJDTCgv+WYbasX+kWYEUM21bnSYuO7yEQsCgYEAyIdP
r9uzqPgzN34Tmx+CNTa16VjhBh+zkBtXRLDLhWBeIYxoYNJARD98Pb1XZdvpkZZW
Sk7MfaKo2/DomzyyyB/MbHWwAdFi3yb4y7uMJfyC1MzdUSNN3Vp579hJxHkJ+nN4
Ys76yfcEeVOLnvUT1Z0KKCdIWRdT1Lgi+X1itzMCgYBJUXlPzwGG4fNFj97d0X23
Wmt9nSgXkOYgi0eZbAOMzPmIF9R6kBFk49dur4Lx2g5Ms+r1gKC/0sfnIqxxX11i
EQ1+UNoYGJUB/uql3TIG68XkmKR50P7RwRhaZBRC0gJ6xrFTMjsL2ATuC88niyvY
vrn3FiRaI9RVZrDCxwxvLQKBgEXW4okEAqGBuAzGqztmkOnJoTehDdYdKmOxMgap
cGiGdKJIjX3THDDoz3ONQyglnEZpTqpYoV3MTfU0BT8zt6x9bqwDnQY1D7NalmIW
cqw0Mri8lQQSQKcsQLWo5aA466G/n5kCL1Qx5OwAjesRvhOyuvvbGpZ0ymyWqQ+t
fLkDAoGATcul1L8y5D/wNVP1GXbXMZfBsFP3bbqy8c+Ashm6g8OLm2mGNntd5Z6h
1KkID7Yksh+dZ6t7XaPBtGACXX5Eryr537JVvdX8hAVCp5HVtaN/9VBVP8Ka2e4s
VS/xeNgOMQ7uzhRPBJ8HiTmdI1nHhDnYQpGiBgQn0Z5RAkSvFMk=
-----END RSA PRIVATE KEY-----";

const DOCUMENTED_AT: Instant = Instant(1_554_208_460_000);

/// The API key of the official SDK's tests (wechatpay-java, `TestConfig`).
const SDK_API_V3_KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";

fn documented(appid: &str) -> Wechat {
    let credentials = Credentials {
        mchid: "1900007291".into(),
        appid: appid.into(),
        appids: BTreeMap::new(),
        merchant_key: SecretString::from(DOCUMENTED_KEY),
        api_v3_key: SecretString::from(SDK_API_V3_KEY),
        ..credentials()
    };
    Wechat::new("default", "https://api.mch.weixin.qq.com", credentials).unwrap()
}

fn documented_stamp() -> Stamp {
    Stamp { at: DOCUMENTED_AT, nonce: "593BEC0C930BF1AFEB40B4A08C8FB242".into() }
}

fn authorization(outgoing: &crate::channels::Outgoing) -> String {
    let (_, value) = outgoing.headers.iter().find(|(name, _)| *name == "authorization").unwrap();
    value.clone()
}

fn head(signature: &str) -> String {
    format!(
        "WECHATPAY2-SHA256-RSA2048 mchid=\"1900007291\",nonce_str=\"593BEC0C930BF1AFEB40B4A08C8FB242\",\
         timestamp=\"1554208460\",serial_no=\"408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB\",signature=\"{signature}\""
    )
}

/// Merchant document 4012365336, "how a request with a body is signed".
#[test]
fn a_request_with_a_body_is_signed_as_documented() {
    let body = r#"{"appid":"wxd678efh567hg6787","mchid":"1900007291","description":"Image形象店-深圳腾大-QQ公仔","out_trade_no":"1217752501201407033233368018","notify_url":"https://www.weixin.qq.com/wxpay/pay.php","amount":{"total":100,"currency":"CNY"},"payer":{"openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}}"#;
    let signature = "jnks4dlrPw3ZX+ozVvSK39oa0t7OMBsg83BHAwd8BRdUFiVaQNTLTvci+wURgP1OQBbKYhFGvt7iqYpDSTQkp7Uq1sltaQKyncCyrA1g88m5bsKERQfPyT0ahSwKTYJ1CAn9QiJuSJRq1QsQs07eehbU/k9BCS51jTyc1Jpsi2H77HF9f/BnjXAOP3/sPObg6V5Ee4EzwLox684hhuMuIwHo7D8KFk3LIHOKDcNI4It1aCXydFWNpNK+SG86VUDe5kwoDpw4Ulqfu9z8OFDGbDs9TCxEv8iqQzbpxOlEVoOe2kalSYM5kApQb3nZcxdUtoE0liJGW3RGUNE0t4v01A==";
    let frozen = format!(r#"{{"order":{{"product":"jsapi","expires_at":1554212060000,"body":{body}}}}}"#);
    let Submission::Call(outgoing) = documented(APPID).submit(&frozen, &documented_stamp()) else { panic!("a call") };
    assert_eq!(outgoing.url, "https://api.mch.weixin.qq.com/v3/pay/transactions/jsapi");
    assert_eq!(outgoing.body, body.as_bytes());
    assert_eq!(authorization(&outgoing), head(signature));
}

/// The same series, "how a request with a path parameter is signed": a refund query.
#[test]
fn a_request_without_a_body_is_signed_as_documented() {
    let signature = "Lc9VXxmeonkdV8Xk9tmigQFLhl0vRWTerdmoRu01aAnYwIrD/5nsSwE1WlmZGLRlAFTNQ3QsMa0+VRDlJp1Wp5p0nO8EK68b5sJBbjouxaFciIfq1zfDWWz+jqhcMoKXI1A6dPm1AW7D4d30WsMTNzp6g23OXakIsh9LO3lUmwvTuE0BY8ncf6tNGk4wKmvXwERd/ZpoQY3MAVKz+Nakwc+2XBmzT66KcUehU5kr4IvGa/lEU5RZb/q00zP9VLdBhC/jQSX3X1UcJLCtEc4gTmib4tnmAT+bHF/e17ZAuxDNcx6rqT8gNEXqaJGG+1OflMSTU2tpyG65G4dMKdFcoA==";
    let ask = RefundAsk { refund_number: "123123123123".into(), ..refund_ask() };
    let outgoing = documented(APPID).query_refund(&ask, &documented_stamp());
    assert_eq!(outgoing.url, "https://api.mch.weixin.qq.com/v3/refund/domestic/refunds/123123123123");
    assert_eq!(authorization(&outgoing), head(signature));
}

/// Merchant document 4012365339, "how JSAPI's parameters are signed".
#[test]
fn the_parameters_of_jsapi_are_signed_as_documented() {
    let signature = "mI35pfNEQV6777ke/1T+LJLQDNTm7yeoUJH+j/adPGhmCCi0PbgkvYQTRcXH0uibcLVtvFLdGLpmoYO9FV6lBBsTAjuhh5YOvQi0e2g3e0yytitiNET9FEuqM0pjnKfRW4K6LIZDdbWJv9KhZUx3DrJa5TL7OJ7VdADVivxVySIlPVKjGwuCXzuXSJes0UcILgWQUMyha5/3nYofuHtS7r+KYyMuxD+oJ9VM1Qdxk4UIG59CP5Y3wtYIFybyF3bdu1caHTRRX+DLyMXyYA/IrTmiW01c4RPjpHBX5Dk1sZyY1zVsWNsvMHr2e1NTWtBxKJ+qk5N61J7caYoepHFaxw==";
    let wechat = documented("wx2421b1c4370ec43b");
    let frozen = wechat.freeze(&Ask { expires_at: DOCUMENTED_AT.plus_ms(3_600_000), ..ask(Method::Jsapi) });
    let far = Far { at: DOCUMENTED_AT, ..far() };
    let answer = far.answer(200, json!({"prepay_id": "wx201410272009395522657a690389285100"}));
    let read = wechat.read_submit(&frozen, &documented_stamp(), &answer);
    let shown = serde_json::to_value(read.next_action).unwrap();
    let expected = json!({
        "appId": "wx2421b1c4370ec43b", "timeStamp": "1554208460", "nonceStr": "593BEC0C930BF1AFEB40B4A08C8FB242",
        "package": "prepay_id=wx201410272009395522657a690389285100", "signType": "RSA", "paySign": signature,
    });
    assert_eq!(shown["parameters"], expected);
}

/// wechatpay-java, `AeadAesCipherTest`.
#[test]
fn the_sdks_ciphertext_opens() {
    let sealed: Sealed = serde_json::from_value(json!({
        "algorithm": "AEAD_AES_256_GCM", "ciphertext": "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=", "nonce": "uluk4a9R25RW",
        "associated_data": "associatedData",
    }))
    .unwrap();
    let opener = Opener::new(&SecretString::from(SDK_API_V3_KEY)).unwrap();
    assert_eq!(opener.open(&sealed).as_deref(), Some(b"message".as_slice()));
}

/// wechatpay-java, `TestConfig`: a list of platform certificates as it is downloaded. Its signature is not published, so
/// the list is signed anew, by a key of this run.
#[test]
fn the_sdks_list_of_certificates_is_taken() {
    let body = include_str!("certificates.json");
    let wechat = documented(APPID);
    let at = Instant::parse_rfc3339("2023-10-01T00:00:00+08:00").unwrap();
    let far = Far { at, ..far() };
    let (stamp, answer) = (Stamp { at, ..documented_stamp() }, far.answer(200, body));
    assert_eq!(wechat.read_upkeep(&stamp, &answer), Ok(()));
    let known = Far { key: &STRANGER, serial: "5DEA10EF55877E3CF6C33255C2E7DEFFF7E427EC", at };
    let headers = known.headers(b"{}");
    // The serial is known now, and its key is not the one that signed this.
    let refused = wechat.platform.verify(&headers, b"{}", at);
    assert_eq!(refused, Err(crate::channels::wechat::keys::Disbelief::Forged));
}

/// A gateway's own bill of 2021 with the SHA-1 that the gateway gave it, kept in the tests of gunsluo/wechatpay-go: with a
/// byte order mark and CRLF. The SHA-1 is that of exactly these bytes.
#[test]
fn a_bill_of_the_gateway_hashes_to_what_it_promised_and_is_read() {
    let file = include_bytes!("bill.csv");
    let credentials = Credentials { mchid: "1601959334".into(), ..credentials() };
    let wechat = adapter(credentials);
    let promised = json!({
        "hash_type": "SHA1", "hash_value": "dcd7ceb3d382a1181798368bb15d8437de46c00f",
        "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=g44bIUH1GyQtE7ZmeTAPQx5b69q",
    });
    let fetch = bills::second(&wechat, &promised).unwrap();
    let lines = bills::lines(fetch, &bills::text(*file)).unwrap();
    let first = BillLine {
        kind: BillKind::Payment,
        number: "S20210128170702357723".into(),
        refund_number: None,
        reference: "4200000925202101284997714292".into(),
        amount_minor: 1,
        fee_minor: Some(0),
        currency: Currency::parse("CNY").unwrap(),
        at: Instant::parse_rfc3339("2021-01-28T17:07:11+08:00"),
    };
    assert_eq!((lines.len(), &lines[0]), (3, &first));
}
