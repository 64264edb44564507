//! Our books against the simulated gateway's.
//!
//! Ours are always read first: the gateway books before it answers, so what we have it must have, and what it has
//! beyond that must be explained by work that is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::books::{Ahead, Place, Reading, is_watched};
use super::report::{Gateway, Report, Totals, money};
use crate::domain::order::{Attempt, Order};
use crate::store::{ChannelTotal, last_key};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts asked for at once.
const CONCURRENT: usize = 8;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Sums {
    captured_minor: i64,
    refunded_minor: i64,
    captures: i64,
}

#[derive(Debug, Deserialize)]
struct Line {
    asked_minor: i64,
    captured_minor: i64,
    refunded_minor: i64,
}

/// The books of a gateway, as it shows them.
pub struct GatewayBooks {
    url: String,
    client: reqwest::Client,
}

impl GatewayBooks {
    pub fn new(url: &str) -> Result<Self, reqwest::Error> {
        // No certificates: the gateway is spoken to in plain text.
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(TIMEOUT).build()?;
        Ok(GatewayBooks { url: url.trim_end_matches('/').to_owned(), client })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        let failed = |error: reqwest::Error| format!("the gateway at {} does not answer: {error}", self.url);
        let response = self.client.get(format!("{}{path}", self.url)).send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => Ok(Some(response.json().await.map_err(failed)?)),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(format!("the gateway at {} answers {path} with {other}", self.url)),
        }
    }

    pub async fn totals(&self) -> Result<BTreeMap<Place, Sums>, String> {
        let all: BTreeMap<String, BTreeMap<String, Sums>> =
            self.get("/sim/totals").await?.ok_or_else(|| format!("{} is no simulated gateway", self.url))?;
        let places = all.into_iter().flat_map(|(channel, currencies)| {
            currencies.into_iter().map(move |(currency, sums)| ((channel.clone(), currency), sums))
        });
        Ok(places.collect())
    }

    pub fn describe(&self, totals: &BTreeMap<Place, Sums>) -> Gateway {
        let channels = totals.iter().map(|((channel, currency), sums)| Totals {
            channel: channel.clone(),
            currency: currency.clone(),
            captures: sums.captures,
            captured: money(sums.captured_minor, currency),
            refunded: money(sums.refunded_minor, currency),
        });
        Gateway { url: self.url.clone(), channels: channels.collect(), ..Gateway::default() }
    }

    /// Compares the attempts of every `stride`th order.
    pub async fn compare_attempts(
        &self,
        reading: Reading<'_>,
        stride: u64,
        report: &mut Report,
    ) -> Result<u64, String> {
        let (mut after, mut compared, mut place) = (None, 0, 0u64);
        loop {
            let page = reading.store.scan(after, reading.page).await.map_err(|error| error.to_string())?;
            let Some(last) = last_key(&page) else { return Ok(compared) };
            after = Some(last);
            let mut chosen = Vec::new();
            // An order that cannot be read was reported where the books were looked at.
            for order in page.into_iter().filter_map(|row| row.value.ok()) {
                if place.is_multiple_of(stride) {
                    chosen.push(order);
                }
                place += 1;
            }
            let orders = stream::iter(chosen).map(|order| self.compare_order(reading, order));
            let mut orders = orders.buffer_unordered(CONCURRENT);
            while let Some(found) = orders.next().await {
                let (attempts, differences) = found?;
                compared += attempts;
                for difference in differences {
                    match difference {
                        Difference::Fault(text) => report.fault(text),
                        Difference::InFlight(text) => report.in_flight(text),
                    }
                }
            }
        }
    }

    async fn compare_order(&self, reading: Reading<'_>, order: Order) -> Result<(u64, Vec<Difference>), String> {
        let mut differences = Vec::new();
        for attempt in &order.attempts {
            let number = order.number(attempt);
            let line: Option<Line> = self.get(&format!("/sim/orders/{number}")).await?;
            let Some(ahead) = compare_attempt(&order, attempt, line.as_ref()) else { continue };
            let now = reading.store.order(order.id).await.map_err(|error| error.to_string())?;
            let moved = now.is_none_or(|now| now.order.version != order.version);
            differences.push(match ahead {
                Side::Gateway(text) if moved || is_watched(&order) => Difference::InFlight(text),
                Side::Gateway(text) | Side::Us(text) => Difference::Fault(text),
            });
        }
        Ok((order.attempts.len() as u64, differences))
    }
}

enum Difference {
    Fault(String),
    InFlight(String),
}

/// Who knows of more than the other.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    Us(String),
    Gateway(String),
}

fn compare_attempt(order: &Order, attempt: &Attempt, line: Option<&Line>) -> Option<Side> {
    let captures = order.captures.iter().filter(|capture| capture.ordinal == attempt.ordinal);
    let (mut captured, mut refunded) = (0, 0);
    for capture in captures {
        captured += capture.amount_minor;
    }
    for refund in order.refunds.iter().filter(|refund| refund.stage.is_paid_by_channel()) {
        if order.attempt_of(refund).is_some_and(|of| of.ordinal == attempt.ordinal) {
            refunded += refund.amount_minor;
        }
    }
    let number = order.number(attempt);
    let Some(line) = line else {
        return (captured > 0).then(|| Side::Us(format!("{number}: captured by us, unknown to the gateway")));
    };
    if line.asked_minor != 0 && line.asked_minor != attempt.payable_minor {
        return Some(Side::Us(format!(
            "{number}: payable is {} minor units by our books, {} by the gateway's",
            attempt.payable_minor, line.asked_minor
        )));
    }
    let text = format!(
        "{number} ({}): captured {captured} and refunded {refunded} minor units by our books, {} and {} by the gateway's",
        order.state.name(),
        line.captured_minor,
        line.refunded_minor
    );
    if captured > line.captured_minor || refunded > line.refunded_minor {
        Some(Side::Us(text))
    } else if (captured, refunded) != (line.captured_minor, line.refunded_minor) {
        Some(Side::Gateway(text))
    } else {
        None
    }
}

/// Compares all totals; whether they are equal.
pub fn compare_totals(
    ours: &[ChannelTotal],
    theirs: &BTreeMap<Place, Sums>,
    ahead: &BTreeMap<Place, Ahead>,
    report: &mut Report,
) -> bool {
    let ours: BTreeMap<Place, Sums> = ours
        .iter()
        .map(|total| {
            let place = (total.channel.clone(), total.currency.clone());
            let (captured_minor, refunded_minor) = (total.captured_minor, total.refunded_minor);
            (place, Sums { captured_minor, refunded_minor, captures: total.captures })
        })
        .collect();
    let places: BTreeSet<&Place> = ours.keys().chain(theirs.keys()).collect();
    let mut equal = true;
    for place in places {
        let (our, their) =
            (ours.get(place).copied().unwrap_or_default(), theirs.get(place).copied().unwrap_or_default());
        if our == their {
            continue;
        }
        equal = false;
        let (channel, currency) = place;
        let text = format!(
            "{channel} in {currency}: we have {} captures of {} in all and {} refunded, the gateway {} of {} and {}",
            our.captures,
            money(our.captured_minor, currency),
            money(our.refunded_minor, currency),
            their.captures,
            money(their.captured_minor, currency),
            money(their.refunded_minor, currency),
        );
        let ahead = ahead.get(place).copied().unwrap_or_default();
        if is_ahead(our, their) && (report.moved || is_within(our, their, ahead)) {
            report.in_flight(text);
        } else {
            report.fault(text);
        }
    }
    equal
}

fn is_ahead(our: Sums, their: Sums) -> bool {
    their.captures >= our.captures
        && their.captured_minor >= our.captured_minor
        && their.refunded_minor >= our.refunded_minor
}

/// Whether the gateway is ahead by no more than what is under way.
fn is_within(our: Sums, their: Sums, ahead: Ahead) -> bool {
    let difference = |their: i64, our: i64| i128::from(their) - i128::from(our);
    their.captures - our.captures <= ahead.captures
        && difference(their.captured_minor, our.captured_minor) <= ahead.captured_minor
        && difference(their.refunded_minor, our.refunded_minor) <= ahead.refunded_minor
}
