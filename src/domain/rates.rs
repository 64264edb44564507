//! The fee rates that an order keeps for life.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::{Channel, Method};
use super::money::Rate;

/// A rate for each channel that there was when the order was created, and others for some ways to pay by it. Stored by
/// the channels' names, and by `channel.method`: a channel that comes later has no rate in older orders, and cannot pay
/// them.
#[derive(Clone, PartialEq, Eq)]
pub struct Rates {
    channels: [Option<Rate>; Channel::COUNT],
    /// In the order in which they are stored; mostly there are none.
    methods: Vec<(Channel, Method, Rate)>,
}

impl Rates {
    pub const NONE: Rates = Rates { channels: [None; Channel::COUNT], methods: Vec::new() };

    /// None where the order is older than the channel.
    pub fn of(&self, channel: Channel, method: Method) -> Option<Rate> {
        let special = self.methods.iter().find(|(of, by, _)| (*of, *by) == (channel, method));
        special.map(|(_, _, rate)| *rate).or(self.channels[channel.index()])
    }

    /// The same with this rate for a channel.
    #[must_use]
    pub fn with(mut self, channel: Channel, rate: Rate) -> Self {
        self.channels[channel.index()] = Some(rate);
        self
    }

    /// The same with this rate for one way to pay by a channel.
    #[must_use]
    pub fn with_method(mut self, channel: Channel, method: Method, rate: Rate) -> Self {
        self.methods.retain(|(of, by, _)| (*of, *by) != (channel, method));
        self.methods.push((channel, method, rate));
        self.methods.sort_unstable_by_key(|(of, by, _)| (of.index(), *by));
        self
    }

    /// The same with no rate for one way to pay but the channel's.
    #[must_use]
    pub fn without_method(mut self, channel: Channel, method: Method) -> Self {
        self.methods.retain(|(of, by, _)| (*of, *by) != (channel, method));
        self
    }

    fn known(&self) -> impl Iterator<Item = (Whose, Rate)> + '_ {
        let of = |channel: Channel| Some((Whose { channel, method: None }, self.channels[channel.index()]?));
        let special = |(channel, method, rate): &(Channel, Method, Rate)| {
            (Whose { channel: *channel, method: Some(*method) }, *rate)
        };
        Channel::ALL.into_iter().filter_map(of).chain(self.methods.iter().map(special))
    }
}

/// What a rate is of: `wechat` or `wechat.jsapi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whose {
    channel: Channel,
    method: Option<Method>,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            None => write!(f, "{}", self.channel),
            Some(method) => write!(f, "{}.{}", self.channel, method.name()),
        }
    }
}

impl Whose {
    fn parse(text: &str) -> Option<Self> {
        let (channel, method) = match text.split_once('.') {
            None => (text, None),
            Some((channel, method)) => (channel, Some(Method::parse(method)?)),
        };
        Some(Whose { channel: Channel::parse(channel)?, method })
    }
}

/// By [`Channel::index`].
impl From<[Rate; Channel::COUNT]> for Rates {
    fn from(rates: [Rate; Channel::COUNT]) -> Self {
        Rates { channels: rates.map(Some), methods: Vec::new() }
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.known().map(|(whose, rate)| (whose.to_string(), rate))).finish()
    }
}

impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (whose, rate) in self.known() {
            match whose.method {
                None => map.serialize_entry(whose.channel.name(), &rate)?,
                Some(_) => map.serialize_entry(&whose.to_string(), &rate)?,
            }
        }
        map.end()
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
                while let Some((name, rate)) = map.next_entry::<std::borrow::Cow<'de, str>, Rate>()? {
                    let whose = Whose::parse(&name).ok_or_else(|| A::Error::custom("no channel and no way to pay"))?;
                    if rates.known().any(|(known, _)| known == whose) {
                        return Err(A::Error::custom("two rates of one channel"));
                    }
                    rates = match whose.method {
                        None => rates.with(whose.channel, rate),
                        Some(method) => rates.with_method(whose.channel, method, rate),
                    };
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
        let of = |channel: Channel| rates.of(channel, channel.rules().methods[0]);
        assert_eq!((of(Channel::Wechat), of(Channel::Simpay)), (Some(rate("0.006")), Some(rate("0"))));
        assert_eq!(of(Channel::Stripe), None);
    }

    #[test]
    fn a_way_to_pay_may_have_a_rate_of_its_own() {
        let rates = Rates::NONE.with(Channel::Wechat, rate("0.003"));
        let rates = rates.with_method(Channel::Wechat, Method::Jsapi, rate("0.002"));
        let of = |method| rates.of(Channel::Wechat, method);
        assert_eq!((of(Method::Native), of(Method::Jsapi)), (Some(rate("0.003")), Some(rate("0.002"))));
        let json = r#"{"wechat":"0.003","wechat.jsapi":"0.002"}"#;
        assert_eq!(serde_json::to_string(&rates).unwrap(), json);
        assert_eq!(serde_json::from_str::<Rates>(json).unwrap(), rates);
        assert_eq!(rates.clone().with_method(Channel::Wechat, Method::Jsapi, rate("0.002")), rates);
    }

    #[test]
    fn what_is_no_map_of_rates_is_refused() {
        for json in [
            r#"{"paypal":"0.006"}"#,
            r#"{"wechat":"0.006","wechat":"0.006"}"#,
            r#"{"wechat":null}"#,
            r#"{"wechat.cash":"0.006"}"#,
            r#"{"wechat.":"0.006"}"#,
            r#"{"wechat.jsapi":"0.006","wechat.jsapi":"0.006"}"#,
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
