//! The fee rates that an order keeps for life.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::Channel;
use super::money::Rate;

/// A rate for each channel that there was when the order was created. Stored by the channels' names: a channel that
/// comes later has no rate in older orders, and cannot pay them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rates([Option<Rate>; Channel::COUNT]);

impl Rates {
    pub const NONE: Rates = Rates([None; Channel::COUNT]);

    /// None where the order is older than the channel.
    pub const fn of(&self, channel: Channel) -> Option<Rate> {
        self.0[channel.index()]
    }

    /// The same with this rate for a channel.
    #[must_use]
    pub const fn with(mut self, channel: Channel, rate: Rate) -> Self {
        self.0[channel.index()] = Some(rate);
        self
    }

    fn known(&self) -> impl Iterator<Item = (Channel, Rate)> + '_ {
        Channel::ALL.into_iter().filter_map(|channel| Some((channel, self.of(channel)?)))
    }
}

/// By [`Channel::index`].
impl From<[Rate; Channel::COUNT]> for Rates {
    fn from(rates: [Rate; Channel::COUNT]) -> Self {
        Rates(rates.map(Some))
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.known()).finish()
    }
}

impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.known())
    }
}

impl<'de> Deserialize<'de> for Rates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName;

        impl<'de> Visitor<'de> for ByName {
            type Value = Rates;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate for each channel, by its name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rates, A::Error> {
                let mut rates = Rates::NONE;
                while let Some((channel, rate)) = map.next_entry::<Channel, Rate>()? {
                    if rates.of(channel).is_some() {
                        return Err(A::Error::custom("two rates of one channel"));
                    }
                    rates = rates.with(channel, rate);
                }
                Ok(rates)
            }
        }

        deserializer.deserialize_map(ByName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        Rate::new(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn rates_are_stored_by_name() {
        let rates = Rates::from(["0.003", "0.003", "0.005", "0.006", "0.029"].map(rate));
        let json = r#"{"simpay":"0.003","wechat":"0.003","alipay":"0.005","unionpay":"0.006","stripe":"0.029"}"#;
        assert_eq!(serde_json::to_string(&rates).unwrap(), json);
        assert_eq!(serde_json::from_str::<Rates>(json).unwrap(), rates);
    }

    #[test]
    fn a_channel_that_came_later_has_no_rate() {
        let rates: Rates = serde_json::from_str(r#"{"wechat":"0.006","simpay":"0"}"#).unwrap();
        assert_eq!((rates.of(Channel::Wechat), rates.of(Channel::Simpay)), (Some(rate("0.006")), Some(rate("0"))));
        assert_eq!(rates.of(Channel::Stripe), None);
    }

    #[test]
    fn what_is_no_map_of_rates_is_refused() {
        for json in [
            r#"{"paypal":"0.006"}"#,
            r#"{"wechat":"0.006","wechat":"0.006"}"#,
            r#"{"wechat":null}"#,
            r#"{"wechat":0.006}"#,
            r#"{"wechat":6000000}"#,
            r#"{"wechat":"0.0060"}"#,
            r#"{"wechat":"1"}"#,
            r#"{"wechat":"-0.1"}"#,
            r#"["0.003","0.003","0.005","0.006","0.029"]"#,
        ] {
            assert!(serde_json::from_str::<Rates>(json).is_err(), "{json}");
        }
    }
}
