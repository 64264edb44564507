//! What becomes of a refund, and when. A fate is fixed when the refund is taken, so that every state follows from an
//! instant that is on record and no timer has to bring it about.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    Pending,
    /// The payer has the money.
    Refunded,
    /// Over; nothing was paid, and the number is dead.
    Ended,
    /// A person must act at the gateway.
    Stuck,
    /// The payer had the money, and it came back.
    Returned,
}

impl RefundState {
    /// Whether the money is the payer's, or still on its way there: no other refund can have it.
    pub const fn reserves(self) -> bool {
        match self {
            RefundState::Pending | RefundState::Refunded | RefundState::Stuck => true,
            RefundState::Ended | RefundState::Returned => false,
        }
    }
}

/// Until the first of its instants a refund is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fate {
    Refunded { at: i64 },
    Ended { at: i64 },
    Stuck { at: i64 },
    Returned { refunded_at: i64, at: i64 },
}

impl Fate {
    pub const fn state_at(self, now: i64) -> RefundState {
        match self {
            Fate::Refunded { at } if at <= now => RefundState::Refunded,
            Fate::Ended { at } if at <= now => RefundState::Ended,
            Fate::Stuck { at } if at <= now => RefundState::Stuck,
            Fate::Returned { at, .. } if at <= now => RefundState::Returned,
            Fate::Returned { refunded_at, .. } if refunded_at <= now => RefundState::Refunded,
            Fate::Refunded { .. } | Fate::Ended { .. } | Fate::Stuck { .. } | Fate::Returned { .. } => {
                RefundState::Pending
            }
        }
    }

    /// When the payer gets the money, if ever.
    pub const fn refunded_at(self) -> Option<i64> {
        match self {
            Fate::Refunded { at } | Fate::Returned { refunded_at: at, .. } => Some(at),
            Fate::Ended { .. } | Fate::Stuck { .. } => None,
        }
    }

    /// When the money comes back from the payer, if ever.
    pub const fn returned_at(self) -> Option<i64> {
        match self {
            Fate::Returned { at, .. } => Some(at),
            Fate::Refunded { .. } | Fate::Ended { .. } | Fate::Stuck { .. } => None,
        }
    }

    /// Every state that a refund of this fate gets into, and since when it is in it; the first is that in which it was
    /// taken.
    pub fn history(self, taken_at: i64) -> impl Iterator<Item = (RefundState, i64)> {
        let (first, second) = match self {
            Fate::Refunded { at } => ((RefundState::Refunded, at), None),
            Fate::Ended { at } => ((RefundState::Ended, at), None),
            Fate::Stuck { at } => ((RefundState::Stuck, at), None),
            Fate::Returned { refunded_at, at } => {
                ((RefundState::Refunded, refunded_at), Some((RefundState::Returned, at)))
            }
        };
        let pending = Some((RefundState::Pending, taken_at)).filter(|_| taken_at < first.1);
        [pending, Some(first), second].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_follow_from_instants() {
        let returned = Fate::Returned { refunded_at: 10, at: 20 };
        for (fate, states) in [
            (Fate::Refunded { at: 10 }, [RefundState::Refunded, RefundState::Refunded]),
            (Fate::Ended { at: 10 }, [RefundState::Ended, RefundState::Ended]),
            (Fate::Stuck { at: 10 }, [RefundState::Stuck, RefundState::Stuck]),
            (returned, [RefundState::Refunded, RefundState::Returned]),
        ] {
            assert_eq!(fate.state_at(9), RefundState::Pending, "{fate:?}");
            assert_eq!([fate.state_at(10), fate.state_at(20)], states, "{fate:?}");
            for (state, at) in fate.history(5) {
                assert_eq!(fate.state_at(at), state, "{fate:?}");
            }
        }
        assert_eq!(returned.state_at(19), RefundState::Refunded);
        assert_eq!(returned.history(5).map(|(_, at)| at).collect::<Vec<_>>(), [5, 10, 20]);
        assert_eq!(Fate::Refunded { at: 5 }.history(5).collect::<Vec<_>>(), [(RefundState::Refunded, 5)]);
    }
}
