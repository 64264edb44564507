//! Who sent a request.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, X_FORWARDED_FOR};

use crate::config::Network;

/// Whose failures a failure counts among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// One client, or those of one network.
    One(IpAddr),
    /// Whoever stands behind this address of ours: nobody there is judged by what the others do.
    Many(IpAddr),
    Unknown,
}

impl Sender {
    /// The peer; behind proxies that are trusted, the one that the outermost of them saw. What others claim in
    /// `X-Forwarded-For` is not looked at.
    pub fn of(request: &HttpRequest, trusted: &[Network]) -> Self {
        let Some(peer) = request.peer_addr().map(|peer| peer.ip().to_canonical()) else { return Sender::Unknown };
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        let forwarded = match is_trusted(peer) {
            true => forwarded(request.headers(), is_trusted),
            false => None,
        };
        match forwarded {
            Some(address) => Sender::One(network(address)),
            None if is_exempt(peer, trusted) => Sender::Many(network(peer)),
            None => Sender::One(network(peer)),
        }
    }
}

/// The last address in `X-Forwarded-For` that is none of ours; none as soon as something there is no address.
fn forwarded(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lines: Vec<&str> = headers.get_all(X_FORWARDED_FOR).map(|line| line.to_str().unwrap_or_default()).collect();
    for hop in lines.into_iter().rev().flat_map(|line| line.rsplit(',')) {
        let hop = hop.trim();
        // Some proxies write the port as well.
        let address = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|hop| hop.ip())).ok()?;
        if !is_trusted(address.to_canonical()) {
            return Some(address);
        }
    }
    None
}

/// Whether bounds per address do not hold for it: behind it there may be anybody.
pub fn is_exempt(address: IpAddr, trusted: &[Network]) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || trusted.iter().any(|network| network.contains(address))
}

/// Whoever has one IPv6 address has its whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_trusted_proxies_say_whom_a_request_is_from() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusted = ["10.0.0.0/8", "127.0.0.1"].map(|text| Network::try_from(text.to_owned()).unwrap());
        let sender = |peer: &str, lines: &[&str]| {
            let request = TestRequest::default().peer_addr(SocketAddr::new(ip(peer), 1));
            let request = lines.iter().fold(request, |request, line| request.append_header((X_FORWARDED_FOR, *line)));
            Sender::of(&request.to_http_request(), &trusted)
        };
        let one = |text: &str| Sender::One(ip(text));
        assert_eq!(sender("198.51.100.1", &["192.0.2.1"]), one("198.51.100.1"), "a stranger's claim");
        assert_eq!(sender("10.0.0.1", &["192.0.2.66, 192.0.2.1"]), one("192.0.2.1"), "what stands before is a claim");
        assert_eq!(sender("10.0.0.1", &["192.0.2.66", "192.0.2.1, 10.0.0.2"]), one("192.0.2.1"), "two proxies");
        assert_eq!(sender("::ffff:10.0.0.1", &["192.0.2.1:4711"]), one("192.0.2.1"));
        assert_eq!(sender("10.0.0.1", &["2001:db8::1"]), one("2001:db8::"));
        assert_eq!(sender("10.0.0.1", &["192.0.2.1, unknown"]), Sender::Many(ip("10.0.0.1")));
        assert_eq!(sender("10.0.0.1", &[]), Sender::Many(ip("10.0.0.1")));
        assert_eq!(sender("127.0.0.2", &["192.0.2.1"]), Sender::Many(ip("127.0.0.2")), "loopback, but not trusted");
        assert_eq!(Sender::of(&TestRequest::default().to_http_request(), &trusted), Sender::Unknown);
    }
}
