//! Where requests go: plain HTTP on one host and port.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    address: SocketAddr,
}

impl Endpoint {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the `Host` header says.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.to_string(), address }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.host)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("expected http://HOST:PORT")?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        if host.contains(['/', '?', '#', '@', ' ']) || host.is_empty() {
            return Err("expected http://HOST:PORT without a path".into());
        }
        let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let found: Vec<SocketAddr> = with_port.to_socket_addrs().map_err(|e| format!("{with_port}: {e}"))?.collect();
        let address = found
            .iter()
            .find(|address| address.is_ipv4())
            .or(found.first())
            .ok_or_else(|| format!("{with_port}: no address"))?;
        Ok(Self { host: host.to_owned(), address: *address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_host_and_port() {
        let endpoint: Endpoint = "http://127.0.0.1:8080/".parse().unwrap();
        assert_eq!(endpoint.address(), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(endpoint.host(), "127.0.0.1:8080");
        assert!(endpoint.is_loopback());
    }

    #[test]
    fn tells_loopback_from_the_rest() {
        assert!("http://127.9.9.9:1".parse::<Endpoint>().unwrap().is_loopback());
        assert!("http://[::1]:8080".parse::<Endpoint>().unwrap().is_loopback());
        assert!(!"http://192.0.2.1:8080".parse::<Endpoint>().unwrap().is_loopback());
    }

    #[test]
    fn refuses_what_it_cannot_speak() {
        for text in ["https://127.0.0.1:1", "127.0.0.1:1", "http://", "http://127.0.0.1:1/v1", "http://a@127.0.0.1:1"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
