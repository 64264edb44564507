//! The ways to pay: which methods and currencies a channel has, what an order must say for them, and whether the payer's
//! browser has to carry something to the gateway before there is a payment at all.

use std::fmt;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Simpay,
    Wechat,
    Alipay,
    Unionpay,
    Stripe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Qr,
    Native,
    Jsapi,
    H5,
    App,
    Page,
    Wap,
    Card,
}

/// A channel and one of its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    pub channel: Channel,
    pub method: Method,
}

/// What an order must say of its payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    Nothing,
    Openid,
    Ip,
}

/// What a payer does with what the order shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The simulated payer pays by itself: it scans, or follows the address in an app that is not here.
    ByNobody,
    /// A browser posts a form: without it the gateway never hears of the payment.
    ByBrowser,
}

impl Channel {
    pub const ALL: [Self; 5] = [Self::Simpay, Self::Wechat, Self::Alipay, Self::Unionpay, Self::Stripe];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Simpay => "simpay",
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
            Self::Unionpay => "unionpay",
            Self::Stripe => "stripe",
        }
    }

    /// The first one is what an order without a method is paid by.
    const fn methods(self) -> &'static [Method] {
        match self {
            Self::Simpay => &[Method::Qr],
            Self::Wechat => &[Method::Native, Method::Jsapi, Method::H5, Method::App],
            Self::Alipay => &[Method::Page, Method::Qr, Method::Wap],
            Self::Unionpay => &[Method::Page, Method::Wap],
            Self::Stripe => &[Method::Card],
        }
    }

    /// The currencies; none: whatever the server knows.
    const fn currencies(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Simpay => None,
            Self::Wechat | Self::Alipay | Self::Unionpay => Some(&["CNY"]),
            Self::Stripe => Some(&["USD", "EUR", "GBP", "CNY", "HKD", "JPY", "SGD", "AUD", "CAD"]),
        }
    }

    /// Payments in flight that keep two processors busy: at least one and a half times what they carry in the 300 ms that
    /// the simulated payer takes. More only wait longer, in the end for so long that the server asks for payments that
    /// are merely late, which costs both ends a signature each.
    pub const fn in_flight(self) -> usize {
        match self {
            Self::Simpay => 2_800,
            Self::Wechat | Self::Unionpay => 600,
            Self::Alipay => 1_000,
            Self::Stripe => 1_600,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|channel| channel.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("unknown channel {text:?}, known: {known}")
        })
    }
}

impl Method {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qr => "qr",
            Self::Native => "native",
            Self::Jsapi => "jsapi",
            Self::H5 => "h5",
            Self::App => "app",
            Self::Page => "page",
            Self::Wap => "wap",
            Self::Card => "card",
        }
    }
}

impl Way {
    /// The channel's way for orders that name no method.
    pub const fn usual(channel: Channel) -> Self {
        Self { channel, method: channel.methods()[0] }
    }

    /// # Errors
    /// The channel has no such method.
    pub fn by(channel: Channel, method: Option<Method>) -> Result<Self, String> {
        let Some(method) = method else { return Ok(Self::usual(channel)) };
        if channel.methods().contains(&method) {
            return Ok(Self { channel, method });
        }
        let known: Vec<_> = channel.methods().iter().map(|method| method.name()).collect();
        Err(format!("{channel} has no method {}, but {}", method.name(), known.join(", ")))
    }

    /// # Errors
    /// The channel takes other currencies.
    pub fn takes(self, currency: &str) -> Result<(), String> {
        match self.channel.currencies() {
            Some(known) if !known.contains(&currency) => {
                Err(format!("{} takes no {currency}, but {}", self.channel, known.join(", ")))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub const fn payer(self) -> Payer {
        match self.method {
            Method::Jsapi => Payer::Openid,
            Method::H5 => Payer::Ip,
            Method::Qr | Method::Native | Method::App | Method::Page | Method::Wap | Method::Card => Payer::Nothing,
        }
    }

    pub const fn carried(self) -> Carried {
        match self.method {
            Method::Page | Method::Wap => Carried::ByBrowser,
            Method::Qr | Method::Native | Method::Jsapi | Method::H5 | Method::App | Method::Card => Carried::ByNobody,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.channel, self.method.name())
    }
}

/// Which channels a run goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    One(Channel),
    /// Each in turn.
    All,
}

impl Channels {
    const ALL_NAME: &str = "all";

    pub fn parser() -> impl TypedValueParser<Value = Self> {
        let names = Channel::ALL.into_iter().map(Channel::name).chain([Self::ALL_NAME]);
        PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
            Self::ALL_NAME => Ok(Self::All),
            one => one.parse().map(Self::One),
        })
    }

    /// The ways to pay, one for each channel.
    ///
    /// # Errors
    /// A method of one channel does not go with all of them, or the channel does not have it.
    pub fn ways(self, method: Option<Method>) -> Result<Vec<Way>, String> {
        match (self, method) {
            (Self::One(channel), method) => Ok(vec![Way::by(channel, method)?]),
            (Self::All, None) => Ok(Channel::ALL.map(Way::usual).to_vec()),
            (Self::All, Some(_)) => Err("--method needs one channel: each has its own methods".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_belongs_to_its_channel() {
        assert_eq!(Way::by(Channel::Wechat, None).unwrap().method, Method::Native);
        assert_eq!(Way::by(Channel::Wechat, Some(Method::H5)).unwrap().payer(), Payer::Ip);
        assert!(Way::by(Channel::Stripe, Some(Method::Page)).is_err());
        assert!(Channels::All.ways(Some(Method::Qr)).is_err());
        assert_eq!(Channels::All.ways(None).unwrap().len(), Channel::ALL.len());
    }

    #[test]
    fn a_currency_is_refused_before_anything_is_sent() {
        assert!(Way::usual(Channel::Wechat).takes("USD").is_err());
        assert!(Way::usual(Channel::Stripe).takes("USD").is_ok());
        assert!(Way::usual(Channel::Simpay).takes("KWD").is_ok());
    }
}
