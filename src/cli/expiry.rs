//! Certificates that are about to end, or have ended, told in the log and to who measures.
//!
//! An account whose certificate has ended is served all the same: its payments on record must go on being asked about,
//! and the other channels of a server must not stay down with it.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::credentials::Certified;
use crate::domain::channel::Channel;
use crate::domain::time::Instant;

/// Time to have a certificate renewed, by a person at each end.
const SOON_MS: i64 = 30 * 24 * 3_600_000;

/// A certificate by the name of its key, and the last instant at which it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    key: &'static str,
    ends_at: Instant,
}

/// The certificates among an account's credentials. What is none is for the channel's adapter to refuse.
pub fn of(credentials: &impl Certified) -> Vec<Certificate> {
    let mut certificates = Vec::new();
    for (key, pem) in credentials.certificates() {
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok) {
            if let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&der) {
                let ends_at = Instant(certificate.validity().not_after.timestamp().saturating_mul(1_000));
                certificates.push(Certificate { key, ends_at });
            }
        }
    }
    certificates
}

pub fn tell(channel: Channel, account: &str, certificates: &[Certificate], now: Instant) {
    for Certificate { key, ends_at } in certificates {
        let key_name = format!("channels.{channel}.accounts.{account}.{key}");
        metrics::gauge!("tongbao_certificate_ends_timestamp_seconds", "channel" => channel.name(),
            "account" => account.to_owned(), "key" => *key)
        .set(ends_at.0.div_euclid(1_000) as f64);
        match ends_at.since_ms(now) {
            ..0 => tracing::error!(key = key_name, ended_at = ends_at.rfc3339(), "a certificate has ended"),
            0..SOON_MS => tracing::warn!(key = key_name, ends_at = ends_at.rfc3339(), "a certificate ends soon"),
            SOON_MS.. => {}
        }
    }
}
