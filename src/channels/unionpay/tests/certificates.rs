use super::*;

#[test]
fn only_unionpays_certificate_of_this_chain_in_its_time_is_trusted() {
    let chain = Chains::new(&WORLD.root, &WORLD.middle, SIGNER_NAME).expect("a chain");
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
    let chain = Chains::new(&WORLD.root, &WORLD.middle, SIGNER_NAME).expect("a chain");
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
        let error = Unionpay::new("default", "https://gateway.95516.com", credentials).err().expect(piece);
        assert!(error.contains(piece) && !error.contains(secret), "{error}");
    }
    assert!(Unionpay::new("default", "gateway.95516.com", credentials()).is_err());
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

/// A root, a middle certificate and UnionPay's signing certificate, as it changed them in October 2023 and in 2025.
struct Next {
    root: String,
    middle: String,
    signer: String,
}

fn next(middle_ends: i32) -> Next {
    let authority = |name: &str, ends: i32| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        params
    };
    let (root_key, middle_key) = (rsa_key(), rsa_key());
    let root = authority("CFCA CS CA", 2041);
    let root_pem = root.self_signed(&root_key).expect("a root").pem();
    let middle = authority("CFCA OCA31", middle_ends);
    let middle_pem = middle.signed_by(&middle_key, &Issuer::new(root, root_key)).expect("a middle").pem();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("041@Z2025@{SIGNER_NAME}@1"));
    let signer = params.signed_by(&rsa_key(), &Issuer::new(middle, middle_key)).expect("a certificate").pem();
    Next { root: root_pem, middle: middle_pem, signer }
}

#[test]
fn report_two_chains_of_unionpays_stand_side_by_side() {
    let next = next(2036);
    // As the kit hands them out, with what `openssl x509 -text` writes before them.
    let roots = format!("subject=CN=root\n{}subject=CN=CFCA CS CA\n{}", WORLD.root, next.root);
    let middles = format!("{}\r\n{}", next.middle, WORLD.middle);
    let both = Chains::new(&roots, &middles, SIGNER_NAME).expect("two chains");
    let now = stamp().at;
    assert!(both.key_of(&WORLD.gateway.certificate, now).is_ok());
    assert!(both.key_of(&next.signer, now).is_ok());
    let old = Chains::new(&WORLD.root, &WORLD.middle, SIGNER_NAME).expect("a chain");
    assert_eq!(old.key_of(&next.signer, now), Err("the signer's certificate was issued by somebody else"));
    // A message brings one certificate, and no chain of its own.
    let brought = format!("{}{}", WORLD.neighbour.certificate, next.signer);
    assert!(both.key_of(&brought, now).is_err());

    let halves = Chains::new(&WORLD.root, &middles, SIGNER_NAME).err();
    assert_eq!(halves.as_deref(), Some("root_certificate did not issue middle_certificate"));
    let no_root = Chains::new(&middles, &WORLD.middle, SIGNER_NAME).err();
    assert_eq!(no_root.as_deref(), Some("root_certificate has one that is no root"));
    let many = Chains::new(&roots, &WORLD.middle.repeat(17), SIGNER_NAME).err();
    assert_eq!(many.as_deref(), Some("middle_certificate has too many certificates"));
}

#[test]
fn one_of_two_chains_may_have_ended() {
    let ended = next(2026);
    let roots = format!("{}{}", ended.root, WORLD.root);
    let both = Chains::new(&roots, &format!("{}{}", ended.middle, WORLD.middle), SIGNER_NAME).expect("two chains");
    let now = stamp().at;
    assert!(both.key_of(&WORLD.gateway.certificate, now).is_ok());
    assert_eq!(both.key_of(&ended.signer, now), Err("a certificate of the signer's chain is out of date"));
}

/// `openssl pkcs12 -nokeys` writes the authorities' certificates beside ours, which need not be the first.
#[test]
fn report_our_certificate_is_found_by_its_key_in_what_openssl_made_of_a_pfx() {
    let attributes = "Bag Attributes\n    localKeyID: 01\nsubject=CN=041@merchant\nissuer=CN=middle\n";
    let text = format!("{}{}{attributes}{}", WORLD.root, WORLD.middle, WORLD.merchant.certificate);
    let whole = format!("{attributes}Key Attributes: <No Attributes>\n{}{text}", WORLD.merchant.key);
    for text in [text, whole.clone()] {
        let credentials = Credentials {
            signing_key: whole.clone().into(),
            signing_certificate: text,
            root: WORLD.root.repeat(8),
            ..credentials()
        };
        let unionpay = Unionpay::new("default", "https://gateway.95516.com", credentials).expect("it is taken");
        let sent = sent(&unionpay.query(&attempt(), &stamp()));
        assert_eq!(sent["certId"], "69903319369");
    }
}

/// The merchant of UnionPay's own kit, and the chain of production in `vectors/`.
#[test]
fn report_credentials_are_taken_in_their_production_form() {
    let taken = Credentials {
        mer_id: "777290058110048".into(),
        root: include_str!("../vectors/production_root.pem").into(),
        middle: include_str!("../vectors/production_middle.pem").into(),
        ..credentials()
    };
    assert!(Unionpay::new("default", "https://gateway.95516.com", taken).is_ok());
}
