//! What the configuration says about prices, read once.

use crate::config::{Config, ConfigError};
use crate::domain::channel::Channel;
use crate::domain::money::Rate;
use crate::domain::retry::Pace;
use crate::domain::time::TimeScale;

pub struct Terms {
    /// By [`Channel::index`], enabled or not: an order keeps them for life.
    pub rates: [Rate; Channel::COUNT],
    pub pace: Pace,
    pub time_scale: TimeScale,
}

impl Terms {
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let rate = |channel: Channel| {
            let key = format!("channels.{channel}.fee_rate");
            let settings =
                config.channels.get(channel.name()).ok_or_else(|| ConfigError(format!("`{key}` is missing")))?;
            Rate::new(settings.fee_rate)
                .ok_or_else(|| ConfigError(format!("`{key}` must be 0 to 1 with at most 9 decimals")))
        };
        let [simpay, wechat, alipay, unionpay, stripe] = Channel::ALL;
        Ok(Terms {
            rates: [rate(simpay)?, rate(wechat)?, rate(alipay)?, rate(unionpay)?, rate(stripe)?],
            pace: config.pace(),
            time_scale: config.time_scale(),
        })
    }
}
