//! An order lives by the version of rules and schedules that it began with.

use super::*;
use crate::domain::channel::{Channel, Method};
use crate::domain::event::{Finding, RefundOutcome, SendOutcome, Verdict};
use crate::domain::id::{Account, OrderId, PlatformId, Round};
use crate::domain::journal::{Salt, Title};
use crate::domain::merchant::Merchant;
use crate::domain::money::{Currency, Rate};
use crate::domain::order::{AttemptState, FeeBearer};
use crate::domain::retry::Pace;
use crate::domain::rules::RulesVersion;
use crate::domain::rules::tests::NEXT;
use crate::domain::time::TimeScale;

const START: Instant = Instant(1_800_000_000_000);
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn creation(version: RulesVersion) -> Created {
    Created {
        id: OrderId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        platform: PlatformId(7),
        currency: Currency::parse("CNY").unwrap(),
        amount_minor: 20_000,
        rates: [Rate::new(rust_decimal::Decimal::ZERO).unwrap(); Channel::COUNT].into(),
        rules: version,
        fee_bearer: FeeBearer::Payer,
        pace: Pace::Production,
        time_scale: TimeScale::TRUE,
        webhooks: Webhooks::Wanted,
        attempts_max: 5,
        expires_at: START.plus_ms(2 * HOUR),
        splits: Box::default(),
    }
}

/// An order that WeChat Pay was asked for and nobody paid, up to the answer of a query six minutes after its end.
fn unpaid() -> Vec<(i64, Fact)> {
    let (channel, method) = (Channel::Wechat, Method::Native);
    let verdict = Verdict::Suitable {
        account: Account::new(channel, "default"),
        merchant: Merchant::Operator,
        expires_at: START.plus_ms(2 * HOUR),
    };
    let asked_at = START.plus_ms(2 * HOUR + 6 * MINUTE);
    vec![
        (0, Fact::ChannelChosen { channel, method }),
        (0, Fact::Validated { channel, method, verdict }),
        (100, Fact::SendAnswered { ordinal: 0, send: 1, outcome: SendOutcome::Accepted { reference: None } }),
        (2 * HOUR, Fact::DeadlinePassed),
        (2 * HOUR + 6 * MINUTE, Fact::QueryAnswered { ordinal: 0, finding: Finding::NotExist, asked_at }),
    ]
}

fn event(after_ms: i64, fact: Fact) -> Event {
    Event { at: START.plus_ms(after_ms), incarnation: Incarnation::default(), fact }
}

/// A row for each fact, and what stands beside it.
fn commits(version: RulesVersion, facts: Vec<(i64, Fact)>) -> Vec<(Title, Vec<u8>)> {
    let id = creation(version).id.as_u128();
    let creation = event(0, Fact::Created(Box::new(creation(version))));
    let rest = facts.into_iter().map(|(after_ms, fact)| event(after_ms, fact));
    let row = |(event, version): (Event, u32)| {
        let title = Title::of::<Order>(id, version, event.at);
        (title, title.write(Salt([7; 16]), &[event]).unwrap())
    };
    [creation].into_iter().chain(rest).zip(1..).map(row).collect()
}

/// What a list of events leads to, none of them having been stored.
fn walked(version: RulesVersion, facts: Vec<(i64, Fact)>) -> Order {
    let creation = creation(version);
    let first = event(0, Fact::Created(Box::new(creation.clone())));
    let order = decide(&create(&creation, START), &[first]).unwrap().after;
    facts.into_iter().fold(order, |order, (after_ms, fact)| decide(&order, &[event(after_ms, fact)]).unwrap().after)
}

fn replayed(commits: &[(Title, Vec<u8>)]) -> Order {
    let mut order: Option<Order> = None;
    for (title, body) in commits {
        let events: Vec<Event> = title.read(body).unwrap().events;
        let before = order.take().unwrap_or_else(|| match &events[0].fact {
            Fact::Created(facts) => create(facts, events[0].at),
            other => panic!("a journal begins with its creation, not with {other:?}"),
        });
        order = Some(decide(&before, &events).unwrap().after);
    }
    order.unwrap()
}

fn due_in_ms(order: &Order) -> Option<i64> {
    order.next_due_at(order.last_at).map(|due_at| due_at.since_ms(order.last_at))
}

#[test]
fn a_journal_is_replayed_by_the_version_that_its_order_began_with() {
    let (first, second) = (RulesVersion::CURRENT, NEXT);
    let order = replayed(&commits(first, unpaid()));
    assert_eq!((order.state, order.attempts[0].state), (State::Failed, AttemptState::Dead));
    assert_eq!(order, walked(first, unpaid()));

    // By the longer grace of the second version the same answer proves nothing yet.
    let order = walked(second, unpaid());
    assert_eq!((order.state, order.attempts[0].state), (State::Submitted, AttemptState::Closing));
}

#[test]
fn whatever_an_order_waits_for_is_by_its_own_version() {
    let accepted = |version| walked(version, unpaid().drain(..3).collect());
    let then = |order: &Order, after_ms, fact| decide(order, &[event(after_ms, fact)]).unwrap().after;
    let found = |reference: &str, amount_minor| Finding::Paid {
        reference: reference.into(),
        amount_minor,
        dated: Dated::NOT_TOLD,
    };
    let answered =
        |after_ms, finding| (after_ms, Fact::QueryAnswered { ordinal: 0, finding, asked_at: START.plus_ms(after_ms) });
    let mut dues = Vec::new();
    for version in [RulesVersion::CURRENT, NEXT] {
        let order = accepted(version);
        let query = due_in_ms(&order);
        let (after_ms, fact) = answered(1_000, found("ref-1", 1));
        let owed = then(&order, after_ms, fact);
        let outcome = RefundOutcome::Unknown { why: "no answer".into() };
        let answered_refund =
            |outcome| Fact::RefundAnswered { refund: 0, round: Round::FIRST, asked_at: START.plus_ms(1_000), outcome };
        let tried = then(&owed, 1_000, answered_refund(outcome));
        let refund = due_in_ms(&tried);
        let outcome = RefundOutcome::Ended { code: "CLOSED".into() };
        let dead = then(&owed, 1_000, answered_refund(outcome));
        let round = due_in_ms(&dead);
        assert_eq!(dead.refunds[0].round, Round(1));
        let cancelled = then(&order, 1_000, Fact::CancelAsked);
        let (after_ms, fact) = answered(2_000, Finding::Closed);
        let watch = due_in_ms(&then(&cancelled, after_ms, fact));
        dues.push([query, refund, round, watch].map(|due| due.expect("something is due")));
    }
    assert_eq!(dues, [[5_000, 10_000, 60_000, 60_000], [7_000, 8_000, 9_000, 11_000]]);
}
