//! Callbacks of real channels, signed by whatever key a test wants.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use serde_json::json;
use tongbao::config::sandbox;

use super::client::{Answer, Client};
use super::gateway::now_s;
use super::process::Site;

/// An event of Stripe's that has no consequence, signed with this endpoint's secret.
pub async fn stripe_event(client: &Client, secret: &str) -> Answer {
    let event = json!({
        "id": "evt_1", "object": "event", "type": "customer.created", "livemode": false, "data": { "object": {} },
    });
    let (body, at) = (event.to_string(), now_s());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = client.anonymous().request(Method::POST, "/v1/callbacks/stripe/default");
    let request =
        request.header("content-type", "application/json").header("stripe-signature", format!("t={at},v1={tag}"));
    client.send(request.body(body)).await
}

/// WeChat Pay's side of an account.
pub struct Far {
    account: sandbox::Wechat,
}

/// A key that signs, under the name that it is told by.
pub struct Named {
    pub serial: String,
    key: KeyPair,
}

impl Far {
    pub fn of(site: &Site, account: &str) -> Self {
        Far { account: sandbox::Wechat::open(site.folder.path(), account).expect("an account") }
    }

    pub fn certificate(&self) -> Named {
        Named { serial: self.account.platform_serial.clone(), key: key(self.account.platform_key.expose_secret()) }
    }

    pub fn public_key(&self) -> Named {
        Named { serial: self.account.public_key_id.clone(), key: key(self.account.public_key_private.expose_secret()) }
    }

    /// Another key under the public one's name.
    pub fn stranger(&self) -> Named {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key is made");
        Named { serial: self.account.public_key_id.clone(), key }
    }
}

fn key(pem: &str) -> KeyPair {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("a PEM");
    KeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("an RSA key")
}

/// A notice of some refund, which has no consequence.
pub async fn wechat_refund_notice(client: &Client, far: &Far, named: &Named) -> Answer {
    let (nonce, associated) = ("0123456789ab", "refund");
    let mut resource = json!({ "mchid": far.account.mchid }).to_string().into_bytes();
    let sealing = UnboundKey::new(&AES_256_GCM, far.account.api_v3_key.expose_secret().as_bytes()).expect("a key");
    let place = Nonce::try_assume_unique_for_key(nonce.as_bytes()).expect("twelve bytes");
    LessSafeKey::new(sealing)
        .seal_in_place_append_tag(place, Aad::from(associated.as_bytes()), &mut resource)
        .expect("it is sealed");
    let body = json!({
        "id": "1", "create_time": "2026-01-01T00:00:00+08:00", "event_type": "REFUND.SUCCESS",
        "resource_type": "encrypt-resource", "summary": "x",
        "resource": {
            "algorithm": "AEAD_AES_256_GCM", "original_type": "refund", "ciphertext": STANDARD.encode(resource),
            "nonce": nonce, "associated_data": associated,
        },
    })
    .to_string();
    let at = now_s();
    let text = format!("{at}\n{nonce}\n{body}\n");
    let mut signature = vec![0; named.key.public_modulus_len()];
    let random = SystemRandom::new();
    named.key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).expect("it is signed");
    let request = client.anonymous().request(Method::POST, "/v1/callbacks/wechat/default");
    let request = request
        .header("content-type", "application/json")
        .header("wechatpay-timestamp", at.to_string())
        .header("wechatpay-nonce", nonce)
        .header("wechatpay-serial", &named.serial)
        .header("wechatpay-signature", STANDARD.encode(signature));
    client.send(request.body(body)).await
}
