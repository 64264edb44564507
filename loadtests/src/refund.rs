//! The platform's side of refunds: asks for them over connections of their own, and counts how they were answered.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::pool::Pool;
use crate::tally::{Start, Summary, Tally, is_success};
use crate::wire::{Connection, Reuse};

/// How a paid order is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refund {
    Whole,
    /// Half of its amount, then the rest.
    Parts,
}

impl Refund {
    pub const ALL: [Self; 2] = [Self::Whole, Self::Parts];

    pub fn word(self) -> &'static str {
        match self {
            Self::Whole => "refund",
            Self::Parts => "parts",
        }
    }

    fn portions(self) -> &'static [Portion] {
        match self {
            Self::Whole => &[Portion::Rest],
            Self::Parts => &[Portion::Half, Portion::Rest],
        }
    }

    /// Which refunds of an order there are.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..).take(self.portions().len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Portion {
    Half,
    Rest,
}

/// An order that is to be given back.
pub struct Paid {
    pub serial: u64,
    /// The server's own id of it.
    pub id: Box<str>,
    pub refund: Refund,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Accepted,
    Refused,
    /// Whether the refund was taken is not known.
    Unsure,
}

pub struct Refunds {
    pool: Pool,
    patience: Duration,
    /// Half of what an order is over, where it has one.
    half: Option<String>,
    tally: Mutex<Tally>,
}

#[derive(Serialize)]
struct Body<'a> {
    merchant_refund_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<&'a str>,
}

impl Refunds {
    /// `amount` is that of each order.
    pub fn new(endpoint: Endpoint, (sockets_max, patience): (usize, Duration), amount: &str, tally: Tally) -> Self {
        Self { pool: Pool::new(endpoint, sockets_max), patience, half: half(amount), tally: Mutex::new(tally) }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn summary(&self) -> Summary {
        self.tally().summary()
    }

    /// Asks for one of an order's refunds; it is answered as soon as it is durable.
    pub async fn ask(&self, paid: &Paid, number: u8, merchant_refund_id: &str, key: &str) -> Asked {
        let amount = match paid.refund.portions().get(usize::from(number)) {
            Some(Portion::Half) => self.half.as_deref(),
            Some(Portion::Rest) | None => None,
        };
        let body = serde_json::to_string(&Body { merchant_refund_id, amount }).expect("a struct of texts serialises");
        let request = format!(
            "POST /v1/orders/{}/refunds HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\nprefer: respond-async\r\ncontent-length: {}\r\n\r\n{body}",
            paid.id,
            self.pool.endpoint().host(),
            body.len()
        );
        let intended = Instant::now();
        let Some(mut lease) = self.pool.lease().await else { return Asked::Refused };
        let sent = Instant::now();
        let opened = match lease.slot.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(self.pool.endpoint()).await,
        };
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(broken) => {
                self.tally().broke(broken);
                return Asked::Refused;
            }
        };
        let (status, reuse) = match connection.exchange(request.as_bytes(), self.patience).await {
            Ok(answer) => {
                self.tally().answer(Start { intended, sent }, Instant::now(), answer.status, answer.body);
                (answer.status, answer.reuse)
            }
            Err(broken) => {
                self.tally().broke(broken);
                return Asked::Unsure;
            }
        };
        match reuse {
            Reuse::Keep => lease.slot = Some(connection),
            Reuse::Close => {}
        }
        match status {
            status if is_success(status) => Asked::Accepted,
            500.. => Asked::Unsure,
            _ => Asked::Refused,
        }
    }
}

/// Half of an amount, rounded down to its own decimals; none where nothing is left.
pub fn half(amount: &str) -> Option<String> {
    let decimals = amount.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let digits: String = amount.chars().filter(|&c| c != '.').collect();
    let half = digits.parse::<u64>().ok().map(|minor| minor / 2).filter(|&minor| minor > 0)?;
    let digits = format!("{half:0width$}", width = decimals + 1);
    let (major, minor) = digits.split_at(digits.len() - decimals);
    Some(if decimals == 0 { major.to_owned() } else { format!("{major}.{minor}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_has_the_decimals_of_the_whole() {
        let halves = ["200.00", "0.03", "1.1", "7"].map(|amount| half(amount).unwrap());
        assert_eq!(halves, ["100.00", "0.01", "0.5", "3"]);
        for amount in ["0.01", "1", "0", "x", ""] {
            assert_eq!(half(amount), None, "{amount}");
        }
    }

    #[test]
    fn an_order_has_as_many_refunds_as_portions() {
        assert_eq!(Refund::Whole.numbers().collect::<Vec<_>>(), [0]);
        assert_eq!(Refund::Parts.numbers().collect::<Vec<_>>(), [0, 1]);
    }
}
