//! Which addresses a webhook may go to: those of somebody out there.

use std::net::{IpAddr, SocketAddr};

/// The address that a URL names without a name.
pub fn literal_address(url: &url::Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(IpAddr::V4(address)),
        url::Host::Ipv6(address) => Some(IpAddr::V6(address)),
        url::Host::Domain(_) => None,
    }
}

/// Resolves names to public addresses alone: a platform's webhook must not reach into our own network.
#[derive(Debug, Clone, Copy)]
pub struct PublicOnly;

impl reqwest::dns::Resolve for PublicOnly {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name has no public address".into());
            }
            Ok(Box::new(public.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Whether an address belongs to somebody out there rather than to this machine, its network or a protocol: none of
/// the blocks that IANA's registries of special-purpose addresses (RFC 6890, iana-ipv4- and iana-ipv6-special-registry,
/// as of 2026-11) keep for these.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (b == 18 || b == 19))
                || (a == 192 && b == 0 && c == 0)
                // Relays of 6to4, which carry IPv4 of anybody's choice.
                || (a == 192 && b == 88 && c == 99))
        }
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public(IpAddr::V4(mapped)),
            None => {
                let [first, second, ..] = address.segments();
                let is_global_unicast = first & 0xe000 == 0x2000;
                // 2001::/23 is for protocols: Teredo, ORCHID, benchmarks; 2001:db8::/32 and 3fff::/20 are for documents.
                let is_protocol = first == 0x2001 && (second < 0x0200 || second == 0x0db8);
                let is_6to4 = first == 0x2002;
                let is_document = first == 0x3fff && second < 0x1000;
                is_global_unicast && !is_protocol && !is_6to4 && !is_document
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_addresses_of_no_public_host_are_refused() {
        for text in ["2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1", "2001:2f::1", "2001:10::1", "2001:2::1"] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["3fff::1", "3fff:fff::1", "192.88.99.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "5f00::1"] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["2001:4860:4860::8888", "2001:200::1", "2400:3200::1", "192.88.98.1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for text in [
            "10.0.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "192.168.1.1",
            "::1",
            "fc00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
            "198.18.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
