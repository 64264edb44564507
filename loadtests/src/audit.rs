//! After the run: the gateway's books against what this tool saw, and the server's own audit.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::ledger::{Payments, RefundsSummary};
use crate::way::Channel;
use crate::wire::Connection;

const FETCH_PATIENCE: Duration = Duration::from_secs(10);
const COMMAND_PATIENCE: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Totals {
    pub captured_minor: u64,
    pub refunded_minor: u64,
    pub captures: u64,
}

impl Totals {
    fn since(self, before: Self) -> Self {
        Self {
            captured_minor: self.captured_minor.saturating_sub(before.captured_minor),
            refunded_minor: self.refunded_minor.saturating_sub(before.refunded_minor),
            captures: self.captures.saturating_sub(before.captures),
        }
    }
}

/// The gateway's sums over the channels of a run, in its currency.
pub struct GatewayBooks {
    endpoint: Endpoint,
    channels: Vec<Channel>,
    currency: String,
}

impl GatewayBooks {
    pub fn new(endpoint: Endpoint, channels: Vec<Channel>, currency: String) -> Self {
        Self { endpoint, channels, currency }
    }

    pub async fn totals(&self) -> Result<Totals, String> {
        let problem = |what: String| format!("{}/sim/totals: {what}", self.endpoint);
        let mut connection = Connection::open(&self.endpoint).await.map_err(|e| problem(e.name().into()))?;
        let request = format!("GET /sim/totals HTTP/1.1\r\nhost: {}\r\n\r\n", self.endpoint.host());
        let answer = connection.exchange(request.as_bytes(), FETCH_PATIENCE).await;
        let answer = answer.map_err(|e| problem(e.name().into()))?;
        if answer.status != 200 {
            return Err(problem(format!("status {}", answer.status)));
        }
        let all: HashMap<String, HashMap<String, Totals>> =
            serde_json::from_slice(answer.body).map_err(|e| problem(e.to_string()))?;
        let of_run = self.channels.iter().filter_map(|channel| all.get(channel.name())?.get(&self.currency));
        Ok(of_run.fold(Totals::default(), |sum, one| Totals {
            captured_minor: sum.captured_minor + one.captured_minor,
            refunded_minor: sum.refunded_minor + one.refunded_minor,
            captures: sum.captures + one.captures,
        }))
    }

    /// Waits until the gateway's books agree with ours and rest, at most `settle`.
    pub async fn compare(&self, before: Totals, ours: impl Fn() -> Expected, settle: Duration) -> Comparison {
        let deadline = Instant::now() + settle;
        let mut last = None;
        loop {
            let comparison = match self.totals().await {
                Ok(now) => Comparison::of(now.since(before), ours()),
                Err(problem) => Comparison::unknown(problem),
            };
            let resting = last == Some(comparison.gateway);
            if (resting && comparison.differences.is_empty()) || Instant::now() >= deadline {
                return comparison;
            }
            last = Some(comparison.gateway);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// What the gateway's books must show; `uncertain` orders may or may not have been captured, and as many more refunds
/// may or may not have been paid.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Expected {
    pub captures: u64,
    pub net_minor: u64,
    pub uncertain: u64,
    pub uncertain_refunds: u64,
    pub payable_max_minor: u64,
}

/// Requests that may have been carried out although no answer says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsure {
    pub orders: u64,
    pub refunds: u64,
}

impl Expected {
    pub fn new(payments: &Payments, refunds: &RefundsSummary, unsure: Unsure) -> Self {
        Self {
            captures: payments.succeeded + payments.underpaid,
            net_minor: payments.paid_minor.saturating_sub(refunds.refunded_minor),
            uncertain: payments.uncertain + unsure.orders,
            uncertain_refunds: refunds.unfinished + unsure.refunds,
            payable_max_minor: payments.payable_max_minor,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub gateway: Totals,
    pub ours: Option<Expected>,
    pub differences: Vec<String>,
}

impl Comparison {
    fn unknown(problem: String) -> Self {
        Self { gateway: Totals::default(), ours: None, differences: vec![problem] }
    }

    fn of(gateway: Totals, ours: Expected) -> Self {
        let mut differences = Vec::new();
        let captures = ours.captures..=ours.captures + ours.uncertain;
        if !captures.contains(&gateway.captures) {
            differences.push(format!("captures: the gateway has {}, we have {captures:?}", gateway.captures));
        }
        let net = gateway.captured_minor.checked_sub(gateway.refunded_minor);
        let slack = ours.uncertain.saturating_mul(ours.payable_max_minor);
        let refunded = ours.uncertain_refunds.saturating_mul(ours.payable_max_minor);
        let expected = ours.net_minor.saturating_sub(refunded)..=ours.net_minor.saturating_add(slack);
        if !net.is_some_and(|net| expected.contains(&net)) {
            differences.push(format!(
                "net minor units: the gateway has {} - {}, we have {expected:?}",
                gateway.captured_minor, gateway.refunded_minor
            ));
        }
        Self { gateway, ours: Some(ours), differences }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct CommandOutcome {
    pub command: String,
    pub exit_code: Option<i32>,
    pub output: String,
}

impl CommandOutcome {
    pub fn passed(&self) -> bool {
        self.exit_code == Some(0)
    }
}

/// Runs the server's own audit through the shell, as the operator wrote it.
pub async fn run_command(command: &str) -> CommandOutcome {
    let child =
        tokio::process::Command::new("sh").args(["-c", command]).stdin(Stdio::null()).kill_on_drop(true).output();
    let (exit_code, output) = match tokio::time::timeout(COMMAND_PATIENCE, child).await {
        Ok(Ok(done)) => {
            let both = [done.stdout, done.stderr].concat();
            (done.status.code(), String::from_utf8_lossy(&both).trim_end().to_owned())
        }
        Ok(Err(error)) => (None, error.to_string()),
        Err(_) => (None, format!("not done within {} s", COMMAND_PATIENCE.as_secs())),
    };
    CommandOutcome { command: command.to_owned(), exit_code, output }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Expected =
        Expected { captures: 10, net_minor: 200_600, uncertain: 0, uncertain_refunds: 0, payable_max_minor: 20_060 };

    fn totals(captures: u64, captured_minor: u64, refunded_minor: u64) -> Totals {
        Totals { captured_minor, refunded_minor, captures }
    }

    #[test]
    fn equal_books_agree() {
        assert!(Comparison::of(totals(10, 200_600, 0), OURS).differences.is_empty());
        assert!(Comparison::of(totals(10, 220_659, 20_059), OURS).differences.is_empty());
    }

    #[test]
    fn money_that_one_side_misses_is_found() {
        assert_eq!(Comparison::of(totals(11, 220_660, 0), OURS).differences.len(), 2);
        assert_eq!(Comparison::of(totals(9, 180_540, 0), OURS).differences.len(), 2);
        assert_eq!(Comparison::of(totals(10, 200_599, 0), OURS).differences.len(), 1);
        assert_eq!(Comparison::of(totals(10, 0, 1), OURS).differences.len(), 1);
    }

    #[test]
    fn uncertain_orders_leave_room_for_themselves_only() {
        let ours = Expected { uncertain: 1, ..OURS };
        assert!(Comparison::of(totals(11, 220_660, 0), ours).differences.is_empty());
        assert!(!Comparison::of(totals(12, 240_720, 0), ours).differences.is_empty());
        assert!(!Comparison::of(totals(9, 180_540, 0), ours).differences.is_empty());
    }

    #[test]
    fn uncertain_refunds_may_have_been_paid() {
        let ours = Expected { uncertain_refunds: 1, ..OURS };
        assert!(Comparison::of(totals(10, 200_600, 0), ours).differences.is_empty());
        assert!(Comparison::of(totals(10, 200_600, 20_060), ours).differences.is_empty());
        assert!(!Comparison::of(totals(10, 200_600, 20_061), ours).differences.is_empty());
        assert!(!Comparison::of(totals(10, 200_600, 20_060), OURS).differences.is_empty());
    }

    #[tokio::test]
    async fn a_failing_audit_is_told_with_its_output() {
        let outcome = run_command("echo differs; exit 3").await;
        assert_eq!((outcome.exit_code, outcome.output.as_str(), outcome.passed()), (Some(3), "differs", false));
        assert!(run_command("true").await.passed());
    }
}
