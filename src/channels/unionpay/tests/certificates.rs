use super::*;

#[test]
fn only_unionpays_certificate_of_this_chain_in_its_time_is_trusted() {
    let chain = Chain::new(&WORLD.root, &WORLD.middle, SIGNER_NAME).expect("a chain");
    let now = stamp().at;
    assert!(chain.key_of(&WORLD.gateway.certificate, now).is_ok());
    let before_all = Instant::parse_rfc3339("1974-12-31T00:00:00Z").expect("an instant");
    let refused = [
        (&WORLD.neighbour.certificate, now, "somebody else's"),
        (&WORLD.former.certificate, now, "out of date"),
        (&WORLD.gateway.certificate, before_all, "out of date"),
        (&WORLD.gateway.certificate, Instant(i64::MAX), "cannot be compared"),
        (&WORLD.middle, now, "issued by somebody else"),
        (&String::from("-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----"), now, "cannot be read"),
        (&String::new(), now, "cannot be read"),
        (&"A".repeat(10_000), now, "cannot be read"),
    ];
    for (certificate, at, why) in refused {
        let refusal = chain.key_of(certificate, at).expect_err(why);
        assert!(refusal.contains(why), "{refusal}, not {why}");
    }
}

#[test]
fn a_certificate_of_the_same_names_and_another_key_is_not_trusted() {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "middle");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let forger = Issuer::new(params, rsa_key());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("041@8310000000083040@{SIGNER_NAME}@00016495"));
    let forged = params.signed_by(&rsa_key(), &forger).expect("a certificate").pem();
    let chain = Chain::new(&WORLD.root, &WORLD.middle, SIGNER_NAME).expect("a chain");
    assert_eq!(chain.key_of(&forged, stamp().at), Err("the signer's certificate was issued by somebody else"));
}

#[test]
fn malformed_credentials_are_named_and_not_shown() {
    let secret = "c2VjcmV0";
    let refused: [(Credentials, &str); 8] = [
        (Credentials { mer_id: "77729005816715".into(), ..credentials() }, "mer_id"),
        (Credentials { signing_key: secret.into(), ..credentials() }, "signing_key"),
        (
            Credentials { signing_key: WORLD.gateway.key.clone().into(), ..credentials() },
            "not the certificate of signing_key",
        ),
        (Credentials { signing_certificate: secret.into(), ..credentials() }, "signing_certificate"),
        (Credentials { root: secret.into(), ..credentials() }, "root_certificate"),
        (Credentials { middle: secret.into(), ..credentials() }, "middle_certificate"),
        (
            Credentials { middle: WORLD.gateway.certificate.clone(), root: WORLD.middle.clone(), ..credentials() },
            "root",
        ),
        (Credentials { signer_name: String::new(), ..credentials() }, "signer_name"),
    ];
    for (credentials, piece) in refused {
        let error = Unionpay::new("default".into(), "https://gateway.95516.com", credentials).err().expect(piece);
        assert!(error.contains(piece) && !error.contains(secret), "{error}");
    }
    assert!(Unionpay::new("default".into(), "gateway.95516.com", credentials()).is_err());
}

#[test]
fn a_key_may_be_pkcs_1_or_pkcs_8() {
    let pkcs8 = rustls_pki_types::PrivatePkcs8KeyDer::from(
        rcgen::KeyPair::from_pem(&WORLD.merchant.key).expect("a key").serialize_der(),
    );
    // PKCS #8 wraps the PKCS #1 key in its last octet string.
    let inner = pkcs8.secret_pkcs8_der().windows(4).position(|four| four == [0x04, 0x82, 0x04, 0xa4].as_slice());
    let start = inner.or_else(|| pkcs8.secret_pkcs8_der().windows(2).position(|two| two == [0x04, 0x82].as_slice()));
    let pkcs1 = &pkcs8.secret_pkcs8_der()[start.expect("an octet string") + 4..];
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pkcs1);
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{text}\n-----END RSA PRIVATE KEY-----\n");
    assert!(Signer::new(&pem.into(), &WORLD.merchant.certificate).is_ok());
}
