//! Where callbacks go.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

/// Distinct callback addresses that payments share; further ones are held by each payment for itself.
const SHARED_ADDRESSES_MAX: usize = 1024;
const ADDRESS_MAX: usize = 255;

/// An address for callbacks, parsed once.
#[derive(Debug)]
pub struct Address {
    pub url: url::Url,
    /// Host and port: what shares the bound on callbacks under way.
    pub host: String,
}

impl Address {
    /// The address of a text that may stand in a request: http or https, with a host, at most 255 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok().filter(|_| text.len() <= ADDRESS_MAX)?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
        Some(Address { url, host })
    }
}

#[derive(PartialEq, Eq, Hash)]
struct SharedAddress(Arc<Address>);

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.url.as_str().hash(state);
    }
}

impl Borrow<Address> for SharedAddress {
    fn borrow(&self) -> &Address {
        &self.0
    }
}

/// One address for all payments that name it, so that a payment holds a pointer and not a parsed URL.
#[derive(Default)]
pub struct Addresses(Mutex<HashSet<SharedAddress>>);

impl Addresses {
    pub fn share(&self, text: &str) -> Option<Arc<Address>> {
        let address = Address::parse(text)?;
        let mut shared = self.0.lock().expect("no holder panics");
        if let Some(SharedAddress(known)) = shared.get(&address) {
            return Some(Arc::clone(known));
        }
        let address = Arc::new(address);
        if shared.len() < SHARED_ADDRESSES_MAX {
            shared.insert(SharedAddress(Arc::clone(&address)));
        }
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_http_with_a_host_and_shared() {
        for wrong in ["", "callbacks", "ftp://host/", "file:///etc", "http://", "javascript:x"] {
            assert!(Address::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(Address::parse("https://host/x").unwrap().host, "host:443");
        assert_eq!(Address::parse("http://127.0.0.1:8080/x").unwrap().host, "127.0.0.1:8080");
        let addresses = Addresses::default();
        let [one, same, other] = ["http://host/a", "http://host/a", "http://host/b"].map(|url| addresses.share(url));
        assert!(Arc::ptr_eq(one.as_ref().unwrap(), same.as_ref().unwrap()));
        assert!(!Arc::ptr_eq(one.as_ref().unwrap(), other.as_ref().unwrap()));
    }
}
