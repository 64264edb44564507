//! What the configuration says about prices, read once.

use crate::config::{Config, ConfigError};
use crate::domain::channel::{Channel, Method};
use crate::domain::money::Rate;
use crate::domain::rates::Rates;
use crate::domain::retry::Pace;
use crate::domain::time::{Instant, TimeScale};

pub struct Terms {
    /// Of every channel, enabled or not.
    channels: Rates,
    /// The most general ones first, and of equal ones the earliest: a later one takes the place of one before.
    special: Vec<Special>,
    pub pace: Pace,
    pub time_scale: TimeScale,
}

/// A rate that holds for one way to pay, one platform, or both, from an instant on.
struct Special {
    channel: Channel,
    method: Option<Method>,
    platform: Option<String>,
    rate: Rate,
    from: Option<Instant>,
}

impl Special {
    /// How particular it is: of a platform beats of a way to pay.
    fn rank(&self) -> (bool, bool, Option<Instant>) {
        (self.platform.is_some(), self.method.is_some(), self.from)
    }

    fn holds(&self, platform: &str, now: Instant) -> bool {
        self.platform.as_deref().is_none_or(|only| only == platform) && self.from.is_none_or(|from| from <= now)
    }
}

impl Terms {
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut channels = Rates::NONE;
        for channel in Channel::ALL {
            let key = format!("channels.{channel}.fee_rate");
            let settings =
                config.channels.get(channel.name()).ok_or_else(|| ConfigError(format!("`{key}` is missing")))?;
            let rate = Rate::new(settings.fee_rate);
            let rate = rate.ok_or_else(|| ConfigError(format!("`{key}` must be 0 to 1 with at most 9 decimals")))?;
            channels = channels.with(channel, rate);
        }
        let special = config.fee_rates.iter().enumerate().map(|(place, given)| special(place, given));
        let mut special = special.collect::<Result<Vec<_>, _>>()?;
        special.sort_by_key(Special::rank);
        Ok(Terms { channels, special, pace: config.pace(), time_scale: config.time_scale() })
    }

    /// What a platform's orders are priced by now, for as long as they live.
    pub fn rates(&self, platform: &str, now: Instant) -> Rates {
        let holding = self.special.iter().filter(|special| special.holds(platform, now));
        holding.fold(self.channels.clone(), |rates, special| match special.method {
            Some(method) => rates.with_method(special.channel, method, special.rate),
            // It is more particular than what was said of single ways to pay before.
            None => {
                let methods = special.channel.rules().methods.iter();
                let rates = rates.with(special.channel, special.rate);
                methods.fold(rates, |rates, method| rates.without_method(special.channel, *method))
            }
        })
    }
}

fn special(place: usize, given: &crate::config::FeeRate) -> Result<Special, ConfigError> {
    let refuse = |field: &str, why: &str| ConfigError(format!("`fee_rates[{place}].{field}` {why}"));
    let channel = Channel::parse(&given.channel).ok_or_else(|| refuse("channel", "is no channel"))?;
    let method = match given.method.as_deref() {
        None => None,
        Some(name) => {
            let method = Method::parse(name).filter(|method| channel.rules().methods.contains(method));
            Some(method.ok_or_else(|| refuse("method", "is no way to pay by that channel"))?)
        }
    };
    let from = match given.from.as_deref() {
        None => None,
        Some(text) => Some(Instant::parse_rfc3339(text).ok_or_else(|| refuse("from", "must be an RFC 3339 instant"))?),
    };
    let rate = Rate::new(given.rate).ok_or_else(|| refuse("rate", "must be 0 to 1 with at most 9 decimals"))?;
    Ok(Special { channel, method, platform: given.platform.clone(), rate, from })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FeeRate;

    /// Channel, way to pay, platform, rate, and from when.
    type Given = (&'static str, Option<&'static str>, Option<&'static str>, &'static str, Option<&'static str>);

    fn terms(special: &[Given]) -> Result<Terms, ConfigError> {
        let mut config = Config::load(&[]).unwrap();
        let of = |(channel, method, platform, rate, from): &Given| FeeRate {
            channel: (*channel).to_owned(),
            method: method.map(ToOwned::to_owned),
            platform: platform.map(ToOwned::to_owned),
            rate: rate.parse().unwrap(),
            from: from.map(ToOwned::to_owned),
        };
        config.fee_rates = special.iter().map(of).collect();
        Terms::new(&config)
    }

    fn of(terms: &Terms, platform: &str, method: Method, now: &str) -> String {
        let rates = terms.rates(platform, Instant::parse_rfc3339(now).unwrap());
        rates.of(Channel::Wechat, method).unwrap().to_string()
    }

    #[test]
    fn the_most_particular_rate_that_holds_counts_and_of_equal_ones_the_latest() {
        const BEFORE: &str = "2026-12-31T15:59:59Z";
        const AFTER: &str = "2026-12-31T16:00:00Z";
        let terms = terms(&[
            ("wechat", None, Some("shop"), "0.0025", None),
            ("wechat", Some("jsapi"), Some("shop"), "0.0015", Some("2027-01-01T00:00:00+08:00")),
            ("wechat", Some("jsapi"), None, "0.002", None),
            ("wechat", Some("jsapi"), None, "0.0021", Some("2027-01-01T00:00:00+08:00")),
            ("alipay", None, None, "0.009", None),
        ])
        .unwrap();
        let table = [
            ("other", Method::Native, BEFORE, "0.003"),
            ("other", Method::Jsapi, BEFORE, "0.002"),
            ("other", Method::Jsapi, AFTER, "0.0021"),
            ("shop", Method::Native, AFTER, "0.0025"),
            ("shop", Method::Jsapi, BEFORE, "0.0025"),
            ("shop", Method::Jsapi, AFTER, "0.0015"),
        ];
        for (platform, method, now, rate) in table {
            assert_eq!(of(&terms, platform, method, now), rate, "{platform} {method:?} {now}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_by_its_name() {
        let refused = |special| terms(&[special]).err().unwrap().0;
        assert!(refused(("paypal", None, None, "0.1", None)).contains("fee_rates[0].channel"));
        assert!(refused(("wechat", Some("card"), None, "0.1", None)).contains("fee_rates[0].method"));
        assert!(refused(("wechat", None, None, "1", None)).contains("fee_rates[0].rate"));
        assert!(refused(("wechat", None, None, "0.1", Some("tomorrow"))).contains("fee_rates[0].from"));
    }
}
