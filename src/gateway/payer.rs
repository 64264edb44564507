//! The simulated payer: what the first word of a description makes it, and the answer to its payment, do.

use serde::{Deserialize, Serialize};

/// How long the payer of `sim:slow` takes.
const SLOW_MS: i64 = 20_000;
/// When the true payment follows the forged callback of `sim:forge`.
const FORGE_MS: i64 = 3_000;
/// How long after the close the money of `sim:late` comes.
const LATE_MS: i64 = 1_000;

/// What happens to a payment, named by the first word of its description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    Plain,
    Decline,
    Refuse,
    Never,
    Underpay,
    Hang,
    Error,
    Lost,
    Twice,
    Forge,
    Late,
    Slow,
}

/// What the payer does, counted from the creation of the payment (or from its close, where so named).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    Pays { after_ms: i64 },
    Declines { after_ms: i64 },
    PaysOnceClosed { after_ms: i64 },
    StaysAway,
}

/// How a request that was carried out is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Answers,
    /// Never: the connection is held until the caller gives up.
    Hangs,
    /// With a 500 that says nothing.
    Fails,
}

/// How many callbacks tell of a capture. The first is retried until it is acknowledged, the others are sent once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notices {
    pub at_once: u16,
    pub later: u16,
}

impl Notices {
    pub const NONE: Notices = Notices { at_once: 0, later: 0 };
    pub const ONE: Notices = Notices { at_once: 1, later: 0 };
    pub const TWO: Notices = Notices { at_once: 2, later: 0 };
    pub const THREE: Notices = Notices { at_once: 2, later: 1 };

    pub fn total(self) -> u16 {
        self.at_once + self.later
    }
}

impl Script {
    pub fn of(description: &str) -> Self {
        match description.split_whitespace().next() {
            Some("sim:decline") => Script::Decline,
            Some("sim:refuse") => Script::Refuse,
            Some("sim:never") => Script::Never,
            Some("sim:underpay") => Script::Underpay,
            Some("sim:hang") => Script::Hang,
            Some("sim:error") => Script::Error,
            Some("sim:lost") => Script::Lost,
            Some("sim:twice") => Script::Twice,
            Some("sim:forge") => Script::Forge,
            Some("sim:late") => Script::Late,
            Some("sim:slow") => Script::Slow,
            Some(_) | None => Script::Plain,
        }
    }

    /// What the payer does; `delay_ms` is the usual time that it takes.
    pub fn payer(self, asked_minor: i64, delay_ms: i64) -> Payer {
        match self {
            Script::Plain | Script::Hang | Script::Error | Script::Lost | Script::Twice => {
                Payer::Pays { after_ms: delay_ms }
            }
            // One minor unit less than one is no payment at all.
            Script::Underpay if asked_minor <= 1 => Payer::Declines { after_ms: delay_ms },
            Script::Underpay => Payer::Pays { after_ms: delay_ms },
            Script::Decline => Payer::Declines { after_ms: delay_ms },
            Script::Forge => Payer::Pays { after_ms: FORGE_MS },
            Script::Slow => Payer::Pays { after_ms: SLOW_MS },
            Script::Late => Payer::PaysOnceClosed { after_ms: LATE_MS },
            Script::Never | Script::Refuse => Payer::StaysAway,
        }
    }

    /// Whether the payer does nothing before the payment is closed.
    pub fn waits_for_the_end(self, asked_minor: i64) -> bool {
        match self.payer(asked_minor, 0) {
            Payer::PaysOnceClosed { .. } => true,
            Payer::Pays { .. } | Payer::Declines { .. } | Payer::StaysAway => false,
        }
    }

    /// What a payer who pays hands over.
    pub fn captured_minor(self, asked_minor: i64) -> i64 {
        match self {
            Script::Underpay => asked_minor - 1,
            Script::Plain
            | Script::Decline
            | Script::Refuse
            | Script::Never
            | Script::Hang
            | Script::Error
            | Script::Lost
            | Script::Twice
            | Script::Forge
            | Script::Late
            | Script::Slow => asked_minor,
        }
    }

    /// How the creation of the payment is answered.
    pub fn conduct(self) -> Conduct {
        match self {
            Script::Hang => Conduct::Hangs,
            Script::Error => Conduct::Fails,
            Script::Plain
            | Script::Decline
            | Script::Refuse
            | Script::Never
            | Script::Underpay
            | Script::Lost
            | Script::Twice
            | Script::Forge
            | Script::Late
            | Script::Slow => Conduct::Answers,
        }
    }

    pub fn notices(self) -> Notices {
        match self {
            Script::Lost => Notices::NONE,
            Script::Twice => Notices::THREE,
            Script::Plain
            | Script::Decline
            | Script::Refuse
            | Script::Never
            | Script::Underpay
            | Script::Hang
            | Script::Error
            | Script::Forge
            | Script::Late
            | Script::Slow => Notices::ONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_first_word_is_a_script() {
        assert_eq!(Script::of("sim:hang"), Script::Hang);
        assert_eq!(Script::of("  sim:late and the rest"), Script::Late);
        for plain in ["", "sim:", "sim:hangs", "a sim:hang", "SIM:HANG", "sim:unknown"] {
            assert_eq!(Script::of(plain), Script::Plain, "{plain}");
        }
    }

    #[test]
    fn one_unit_less_than_one_is_declined() {
        assert_eq!(Script::Underpay.payer(1, 300), Payer::Declines { after_ms: 300 });
        assert_eq!(Script::Underpay.payer(2, 300), Payer::Pays { after_ms: 300 });
        assert_eq!(Script::Underpay.captured_minor(2), 1);
    }
}
