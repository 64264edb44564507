//! The whole machine in one place: every state with the attempts that matter in it × every event.

use std::fmt::Write as _;

use tongbao::domain::channel::Channel;
use tongbao::domain::event::{
    CloseAnswer, Created, Effect, Event, Fact, Fault, Finding, RefundOutcome, Refusal, SendOutcome, Step, Verdict,
    Write,
};
use tongbao::domain::id::{Account, Incarnation, Round};
use tongbao::domain::order::{
    Attempt, AttemptFailure, AttemptState, CloseStage, Order, OrderFailure, Purpose, Reach, RefundStage,
    SuspenseReason, Wish,
};
use tongbao::domain::retry;
use tongbao::domain::step;

use crate::world::*;

/// The order's situations, each one minute old.
fn situations() -> Vec<(&'static str, Walk)> {
    let created = Walk::new();
    let walk = |from: &Walk, facts: Vec<Fact>| {
        let mut walk = from.clone();
        for fact in facts {
            walk.tell(fact);
        }
        walk
    };
    let submitted = |channel| {
        let mut walk = Walk::new();
        walk.pay_by(channel);
        walk
    };
    let open = submitted(Channel::Simpay);
    let shown = Walk::shown_at(Channel::Simpay);
    let shown_unionpay = Walk::shown_at(Channel::Unionpay);
    let mut expiring = shown.clone();
    expiring.wait_until(expiring.order.expires_at).tell(Fact::DeadlinePassed);
    let dead = walk(&shown, vec![found(0, Finding::Declined)]);
    let mut second = dead.clone();
    second.pay_by(Channel::Wechat);
    second.tell(sent(1, 1, SendOutcome::Accepted { reference: None }));
    let mut last = Walk::of(&Created { attempts_max: 1, ..creation() });
    last.pay_by(Channel::Simpay);
    let further = walk(&Walk::succeeded(), vec![called_back(Channel::Simpay, 0, "another", PAYABLE)]);
    let owed = walk(&Walk::succeeded(), vec![found(0, paid("another", PAYABLE))]);
    let mut anew = walk(&owed, vec![refund(1, refund_dead())]);
    let again = anew.clone();
    for round in 1..=u8::try_from(retry::refund_rounds(owed.order.pace).len()).expect("few rounds") {
        anew.tell(refund_of(Round(round), 1, refund_unclear()));
        if usize::from(round) < retry::refund_rounds(owed.order.pace).len() {
            anew.tell(refund_of(Round(round), 1, refund_dead()));
        }
    }
    vec![
        ("created, no attempt yet", created.clone()),
        ("created, attempt dead", dead.clone()),
        (
            "created, switching to wechat, attempt dead",
            walk(&shown, vec![chosen(Channel::Wechat), closed(0, CloseAnswer::Closed)]),
        ),
        ("validating", walk(&created, vec![chosen(Channel::Simpay)])),
        ("submitted, open, nowhere: the first send is under way", open.clone()),
        ("submitted, open, nowhere, the last attempt allowed", last),
        ("submitted, open, perhaps: the first send is unknown", walk(&open, vec![sent(0, 1, no_answer())])),
        ("submitted, open, shown", shown.clone()),
        ("submitted, open, shown, unionpay", shown_unionpay.clone()),
        (
            "submitted, open, shown, unionpay, claimed by a callback",
            walk(&shown_unionpay, vec![called_back(Channel::Unionpay, 0, REFERENCE, 20_120)]),
        ),
        ("submitted, second attempt open at wechat, first dead", second.clone()),
        ("submitted, closing to cancel, nowhere", walk(&open, vec![Fact::CancelAsked])),
        ("submitted, closing to cancel, shown", walk(&shown, vec![Fact::CancelAsked])),
        ("submitted, closing to cancel, close answered by wechat", {
            walk(&Walk::shown_at(Channel::Wechat), vec![Fact::CancelAsked, closed(0, CloseAnswer::Closed)])
        }),
        ("submitted, closing to cancel, unionpay", walk(&shown_unionpay, vec![Fact::CancelAsked])),
        ("submitted, closing as expired, shown", expiring),
        ("submitted, closing to switch to wechat, shown", walk(&shown, vec![chosen(Channel::Wechat)])),
        ("succeeded", Walk::succeeded()),
        (
            "succeeded by the first attempt, second closing at wechat",
            walk(&second, vec![called_back(Channel::Simpay, 0, REFERENCE, PAYABLE)]),
        ),
        ("succeeded, a further capture unconfirmed", further),
        ("succeeded, a further capture's refund owed", owed.clone()),
        ("succeeded, a further capture's refund in doubt", walk(&owed, vec![refund(1, refund_unclear())])),
        ("succeeded, a further capture's refund owed under its second number", again),
        ("succeeded, a further capture's refund in doubt under its last number", anew),
        ("succeeded, a further capture's refund done", walk(&owed, vec![refund(1, RefundOutcome::Done)])),
        ("failed, cancelled before any attempt", walk(&created, vec![Fact::CancelAsked])),
        ("failed, cancelled, attempt dead", Walk::cancelled()),
    ]
}

/// The events, told to an order whose newest attempt is `ordinal` and pays `payable`.
fn events(order: &Order) -> Vec<(&'static str, Fact)> {
    let newest = order.attempts.last();
    let ordinal = newest.map_or(0, |attempt| attempt.ordinal);
    let channel = newest.map_or(Channel::Simpay, Attempt::channel);
    let first = order.attempt(0).map_or(channel, Attempt::channel);
    let payable = newest.map_or(PAYABLE, |attempt| attempt.payable_minor);
    let send = newest.map_or(1, |attempt| attempt.sends);
    let looked = |verdict| Fact::Validated { channel: Channel::Simpay, method: method_of(Channel::Simpay), verdict };
    let suspect = u16::from(order.captures.len() > 1);
    let round = match order.captures.get(usize::from(suspect)).map(|capture| capture.purpose) {
        Some(Purpose::Suspense { round, .. }) => round,
        Some(Purpose::Payment) | None => Round::FIRST,
    };
    let refunded = |outcome| refund_of(round, suspect, outcome);
    let by_another_account = called_back_in("CNY", Account::new(channel, "second"), (ordinal, "new", payable));
    let other = if channel == Channel::Stripe { Channel::Simpay } else { Channel::Stripe };
    let by_another_channel = called_back(other, ordinal, "new", payable);
    vec![
        ("created", Fact::Created(Box::new(creation()))),
        ("chosen simpay", chosen(Channel::Simpay)),
        ("chosen wechat", chosen(Channel::Wechat)),
        ("validated suitable", suitable(Channel::Simpay, order.expires_at)),
        ("validated unsuitable", looked(Verdict::Unsuitable { failure: AttemptFailure::ChannelUnavailable })),
        ("validated risk", looked(Verdict::RiskRefused { rule: "velocity".into() })),
        ("send accepted", sent(ordinal, send, SendOutcome::Accepted { reference: None })),
        ("send paid", sent(ordinal, send, SendOutcome::Paid { reference: "new".into(), amount_minor: payable })),
        ("send rejected", sent(ordinal, send, refused(Fault::Payment))),
        ("send rejected, our fault", sent(ordinal, send, refused(Fault::Ours))),
        ("send not sent", sent(ordinal, send, not_sent())),
        ("send later", sent(ordinal, send, later())),
        ("send unknown", sent(ordinal, send, no_answer())),
        ("send never sent", sent(ordinal, send + 1, SendOutcome::Accepted { reference: None })),
        ("query paid", found(ordinal, paid("new", payable))),
        ("query paid less", found(ordinal, paid("new", payable - 1))),
        ("query paid more", found(ordinal, paid("new", payable + 1))),
        ("query paid as known", found(0, paid(REFERENCE, PAYABLE))),
        ("query pending", found(ordinal, Finding::Pending)),
        ("query not exist", found(ordinal, Finding::NotExist)),
        ("query declined", found(ordinal, Finding::Declined)),
        ("query closed", found(ordinal, Finding::Closed)),
        ("query unknown", found(ordinal, unclear())),
        ("close closed", closed(ordinal, CloseAnswer::Closed)),
        ("close already paid", closed(ordinal, CloseAnswer::AlreadyPaid)),
        ("close not exist", closed(ordinal, CloseAnswer::NotExist)),
        ("close unknown", closed(ordinal, close_unclear())),
        ("callback paid", called_back(channel, ordinal, "new", payable)),
        ("callback paid less", called_back(channel, ordinal, "new", payable - 1)),
        ("callback other currency", called_back_in("JPY", account(channel), (ordinal, "new", payable))),
        ("callback contradicts", called_back(first, 0, REFERENCE, PAYABLE - 1)),
        ("callback other account", by_another_account),
        ("callback other channel", by_another_channel),
        ("callback other attempt", called_back(channel, 9, "new", payable)),
        ("refund done", refunded(RefundOutcome::Done)),
        ("refund rejected", refunded(RefundOutcome::Rejected { code: "NOT_ENOUGH".into() })),
        ("refund refused for good", refunded(RefundOutcome::Spent { code: "64".into() })),
        ("refund dead", refunded(refund_dead())),
        ("refund dead, first number", refund(suspect, refund_dead())),
        ("refund stuck", refunded(RefundOutcome::Stuck { code: "ABNORMAL".into() })),
        ("refund not sent", refunded(RefundOutcome::NotSent { why: "connection refused".into() })),
        ("refund not exist", refunded(RefundOutcome::NotExist)),
        ("refund unknown", refunded(refund_unclear())),
        ("refund dead, number never sent", refund_of(round.next(), suspect, refund_dead())),
        ("cancel", Fact::CancelAsked),
        ("deadline", Fact::DeadlinePassed),
        ("timer", Fact::TimerFired),
        ("operator: paid", resolved(ordinal, paid("new", payable))),
        ("operator: closed", resolved(ordinal, Finding::Closed)),
    ]
}

/// The machine as text: per situation, the events that have the same outcome share its line. An event that the clock
/// decides about is told twice, one minute on and after the deadline.
fn machine() -> String {
    let mut text = String::new();
    for (title, mut walk) in situations() {
        walk.wait(MINUTE);
        let mut outcomes: Vec<(String, Vec<String>)> = Vec::new();
        let mut late = walk.clone();
        late.wait_until(late.order.expires_at);
        let now = events(&walk.order).into_iter().map(|(name, fact)| (name.to_owned(), fact, walk.at));
        let then = [("deadline, passed", Fact::DeadlinePassed), ("timer, much later", Fact::TimerFired)]
            .map(|(name, fact)| (name.to_owned(), fact, late.at));
        for (name, fact, at) in now.chain(then) {
            let outcome = outcome(&walk.order, &Event { at, incarnation: Incarnation::default(), fact });
            match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
                Some((_, names)) => names.push(name),
                None => outcomes.push((outcome, vec![name])),
            }
        }
        writeln!(text, "{title}").expect("a string takes all");
        for (outcome, names) in outcomes {
            write_wrapped(&mut text, &names, &outcome);
        }
    }
    text
}

/// The events and their outcome, in lines of bounded width.
fn write_wrapped(text: &mut String, names: &[String], outcome: &str) {
    const WIDTH: usize = 116;
    let mut line = String::from("   ");
    for (place, name) in names.iter().enumerate() {
        let word = if place == 0 { name.clone() } else { format!("| {name}") };
        if line.len() + 1 + word.len() > WIDTH {
            writeln!(text, "{line}").expect("a string takes all");
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(&word);
    }
    if line.len() + 4 + outcome.len() > WIDTH {
        writeln!(text, "{line}").expect("a string takes all");
        line = String::from("       ");
    }
    writeln!(text, "{line} -> {outcome}").expect("a string takes all");
}

fn outcome(before: &Order, event: &Event) -> String {
    let step = match step::decide(before, std::slice::from_ref(event)) {
        Ok(step) => step,
        Err(refusal) => return format!("refused: {}", refusal_name(refusal)),
    };
    check(before, &step, event.at);
    let (changes, writes) = (changes(before, &step.after), writes(&step));
    let effects: Vec<String> = proposed(&step).into_iter().map(effect_name).collect();
    let mut parts = vec![if changes.is_empty() { "unchanged".to_owned() } else { changes.join(", ") }];
    if !writes.is_empty() {
        parts.push(format!("writes {}", writes.join(", ")));
    }
    if !effects.is_empty() {
        parts.push(format!("does {}", effects.join(", ")));
    }
    let rests = !step.effects.iter().any(|effect| matches!(effect, Effect::ArmTimer { .. }));
    if rests && step.after != *before {
        parts.push("rests".to_owned());
    }
    parts.join("; ")
}

fn refusal_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::OrderFinal => "order final",
        Refusal::AttemptOpen { .. } => "attempt open",
        Refusal::AttemptsUsedUp => "attempts used up",
        Refusal::ChannelUnusable { .. } => "channel unusable",
        Refusal::AttemptUnknown => "attempt unknown",
        Refusal::AccountDiffers => "account differs",
        Refusal::CaptureContradicts => "capture contradicts",
        Refusal::OutOfPlace => "out of place",
    }
}

fn changes(before: &Order, after: &Order) -> Vec<String> {
    let mut changes = Vec::new();
    if before.state != after.state {
        changes.push(after.state.name().to_owned());
    }
    if before.failure != after.failure {
        changes.push(after.failure.map_or("no failure", order_failure_name).to_owned());
    }
    if before.last_failure != after.last_failure {
        changes.push(format!("last {}", after.last_failure.map_or("none", attempt_failure_name)));
    }
    if before.wish != after.wish {
        changes.push(format!("wish {}", after.wish.map_or("none".to_owned(), wish_name)));
    }
    for attempt in &after.attempts {
        let ordinal = attempt.ordinal;
        let Some(old) = before.attempt(ordinal) else {
            changes.push(format!("#{ordinal} opened at {}", attempt.channel()));
            continue;
        };
        let mut note = |text: String| changes.push(format!("#{ordinal} {text}"));
        if old.state != attempt.state {
            note(attempt_state_name(attempt.state).to_owned());
        }
        if old.reach != attempt.reach {
            note(reach_name(attempt.reach).to_owned());
        }
        if old.close != attempt.close {
            note(close_name(attempt.close).to_owned());
        }
        if old.sends != attempt.sends {
            note(format!("sends {}", attempt.sends));
        }
        if old.claimed_at != attempt.claimed_at {
            note(attempt.claimed_at.map_or("unclaimed", |_| "claimed").to_owned());
        }
        if old.watched != attempt.watched {
            note(format!("watched {}", attempt.watched));
        }
    }
    for (place, capture) in after.captures.iter().enumerate() {
        if before.captures.get(place) != Some(capture) {
            changes.push(format!("capture {place} {}", purpose_name(capture.purpose)));
        }
    }
    if changes.is_empty() && before.attempts != after.attempts {
        changes.push("noted".to_owned());
    }
    assert!(!changes.is_empty() || before.attempts == after.attempts && before.captures == after.captures);
    changes
}

fn order_failure_name(failure: OrderFailure) -> &'static str {
    match failure {
        OrderFailure::Expired => "expired",
        OrderFailure::Cancelled => "cancelled",
        OrderFailure::RiskRefused => "risk refused",
        OrderFailure::AttemptsUsedUp => "attempts used up",
    }
}

fn attempt_failure_name(failure: AttemptFailure) -> &'static str {
    match failure {
        AttemptFailure::AmountInsufficient => "amount insufficient",
        AttemptFailure::AmountMismatch => "amount mismatch",
        AttemptFailure::ChannelDeclined => "declined",
        AttemptFailure::ChannelUnsuitable => "unsuitable",
        AttemptFailure::ChannelUnavailable => "unavailable",
        AttemptFailure::HeldBack => "held back",
    }
}

fn wish_name(wish: Wish) -> String {
    match wish {
        Wish::Switch { channel, .. } => format!("switch to {channel}"),
        Wish::Expiry => "expiry".to_owned(),
        Wish::Cancel => "cancel".to_owned(),
    }
}

fn attempt_state_name(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Open => "open",
        AttemptState::Closing => "closing",
        AttemptState::Dead => "dead",
        AttemptState::Captured => "captured",
    }
}

fn reach_name(reach: Reach) -> &'static str {
    match reach {
        Reach::Nowhere => "nowhere",
        Reach::Perhaps => "perhaps",
        Reach::Shown => "shown",
    }
}

fn close_name(close: CloseStage) -> &'static str {
    match close {
        CloseStage::NotAsked => "close not asked",
        CloseStage::Asked => "close asked",
        CloseStage::Answered => "close answered",
    }
}

fn purpose_name(purpose: Purpose) -> String {
    let Purpose::Suspense { reason, round, refund, incarnation: _, dated_at: _ } = purpose else {
        return "payment".to_owned();
    };
    let reason = match reason {
        SuspenseReason::WrongAmount => "wrong amount",
        SuspenseReason::Further => "further",
        SuspenseReason::TooLate => "too late",
    };
    let refund = match refund {
        RefundStage::Unconfirmed { .. } => "unconfirmed",
        RefundStage::Owed { .. } => "refund owed",
        RefundStage::Doubtful { .. } => "refund in doubt",
        RefundStage::Done { .. } => "refunded",
    };
    if round.is_first() { format!("{reason}, {refund}") } else { format!("{reason}, {refund}, number {}", round.0 + 1) }
}

fn writes(step: &Step) -> Vec<String> {
    let name = |write: &Write| match write {
        Write::OpenAttempt { ordinal } => format!("request #{ordinal}"),
        Write::Capture { index } => format!("capture {index}"),
        Write::Entry(entry) => format!("entry {}", entry.kind().name()),
        Write::Webhook { kind, .. } => kind.name().to_owned(),
        Write::StoreNextAction => "next action".to_owned(),
        Write::WipeNextAction => "wipe".to_owned(),
    };
    step.writes.iter().map(name).collect()
}

fn effect_name(effect: Effect) -> String {
    match effect {
        Effect::Submit { ordinal, send } => format!("submit #{ordinal} send {send}"),
        Effect::Query { ordinal } => format!("query #{ordinal}"),
        Effect::Close { ordinal } => format!("close #{ordinal}"),
        Effect::Refund { capture } => format!("refund {capture}"),
        Effect::QueryRefund { capture } => format!("query refund {capture}"),
        Effect::Choose { channel, .. } => format!("choose {channel}"),
        Effect::ArmTimer { at } => format!("timer at {}", at.0),
    }
}

#[test]
fn the_machine_is_this_table() {
    let machine = machine();
    for (place, (is, was)) in machine.lines().zip(TABLE.lines()).enumerate() {
        assert_eq!(is, was, "line {} of the table differs; the whole table is now:\n{machine}", place + 1);
    }
    assert_eq!(machine.lines().count(), TABLE.lines().count(), "the whole table is now:\n{machine}");
}

#[rustfmt::skip]
const TABLE: &str = "\
created, no attempt yet
    created | validated suitable | validated unsuitable | validated risk | refund done | refund rejected
    | refund refused for good | refund dead | refund dead, first number | refund stuck | refund not sent
    | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> validating
    send accepted | send paid | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | send never sent | query paid | query paid less | query paid more | query paid as known | query pending
    | query not exist | query declined | query closed | query unknown | close closed | close already paid
    | close not exist | close unknown | callback paid | callback paid less | callback other currency
    | callback contradicts | callback other account | callback other channel | callback other attempt
    | operator: paid | operator: closed -> refused: attempt unknown
    cancel -> failed, cancelled; writes wipe, order.failed; rests
    deadline | timer | timer, much later -> unchanged
    deadline, passed -> failed, expired; writes wipe, order.failed; rests
created, attempt dead
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> validating
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query declined | query closed | query unknown | close closed
    | close already paid | close not exist | close unknown | deadline | timer | operator: closed | timer, much later
        -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, last none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> capture 0 wrong amount, refund owed; writes capture 0, entry suspense; does refund 0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> failed, cancelled; writes wipe, order.failed
    deadline, passed -> failed, expired; writes wipe, order.failed
created, switching to wechat, attempt dead
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> validating, wish none
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query declined | query closed | query unknown | close closed
    | close already paid | close not exist | close unknown | deadline | operator: closed -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> capture 0 wrong amount, refund owed; writes capture 0, entry suspense; does refund 0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> failed, cancelled, wish none; writes wipe, order.failed
    timer | timer, much later -> unchanged; does choose wechat
    deadline, passed -> failed, expired, wish none; writes wipe, order.failed
validating
    created | chosen simpay | chosen wechat | refund done | refund rejected | refund refused for good | refund dead
    | refund dead, first number | refund stuck | refund not sent | refund not exist | refund unknown
    | refund dead, number never sent | cancel | deadline | deadline, passed -> refused: out of place
    validated suitable -> submitted, #0 opened at simpay; writes request #0; does submit #0 send 1
    validated unsuitable -> created, last unavailable
    validated risk -> failed, risk refused; writes wipe, order.failed; rests
    send accepted | send paid | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | send never sent | query paid | query paid less | query paid more | query paid as known | query pending
    | query not exist | query declined | query closed | query unknown | close closed | close already paid
    | close not exist | close unknown | callback paid | callback paid less | callback other currency
    | callback contradicts | callback other account | callback other channel | callback other attempt
    | operator: paid | operator: closed -> refused: attempt unknown
    timer | timer, much later -> unchanged
submitted, open, nowhere: the first send is under way
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | query unknown | deadline -> unchanged
    chosen wechat -> wish switch to wechat, #0 closing; does close #0
    send accepted -> #0 shown; writes next action
    send paid | query paid | query paid as known | operator: paid
        -> succeeded, #0 captured, #0 shown, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    send rejected | query declined | query closed | close closed | operator: closed
        -> created, last declined, #0 dead; writes wipe, order.attempt_failed
    send rejected, our fault | send not sent
        -> created, last unavailable, #0 dead; writes wipe, order.attempt_failed
    send later -> noted
    send unknown -> #0 perhaps; does query #0
    query paid less
        -> created, last amount insufficient, #0 dead, #0 shown, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, #0 shown, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query pending | query not exist -> #0 perhaps, #0 sends 2; does submit #0 send 2
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel, #0 closing; does close #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does close #0
submitted, open, nowhere, the last attempt allowed
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | query unknown | deadline -> unchanged
    chosen wechat -> refused: attempts used up
    send accepted -> #0 shown; writes next action
    send paid | query paid | query paid as known | operator: paid
        -> succeeded, #0 captured, #0 shown, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    send rejected -> failed, attempts used up, last declined, #0 dead; writes wipe, order.failed; rests
    send rejected, our fault | send not sent
        -> failed, attempts used up, last unavailable, #0 dead; writes wipe, order.failed; rests
    send later -> noted
    send unknown -> #0 perhaps; does query #0
    query paid less
        -> failed, attempts used up, last amount insufficient, #0 dead, #0 shown, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.failed; does refund 0
    query paid more
        -> failed, attempts used up, last amount mismatch, #0 dead, #0 shown, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.failed; does refund 0
    query pending | query not exist -> #0 perhaps, #0 sends 2; does submit #0 send 2
    query declined | query closed | close closed | operator: closed
        -> failed, attempts used up, last declined, #0 dead; writes wipe, order.failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel, #0 closing; does close #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does close #0
submitted, open, perhaps: the first send is unknown
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | query pending | query not exist -> #0 sends 2; does submit #0 send 2
    chosen wechat -> wish switch to wechat, #0 closing; does close #0
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query unknown | deadline -> unchanged
    send paid | query paid | query paid as known | operator: paid
        -> succeeded, #0 captured, #0 shown, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less
        -> created, last amount insufficient, #0 dead, #0 shown, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, #0 shown, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query declined | query closed | close closed | operator: closed
        -> created, last declined, #0 dead; writes wipe, order.attempt_failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel, #0 closing; does close #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does close #0
submitted, open, shown
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay -> #0 sends 2; does submit #0 send 2
    chosen wechat -> wish switch to wechat, #0 closing; does close #0
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | deadline -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less
        -> created, last amount insufficient, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query declined | query closed | close closed | operator: closed
        -> created, last declined, #0 dead; writes wipe, order.attempt_failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel, #0 closing; does close #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does close #0
submitted, open, shown, unionpay
    created | validated suitable | validated unsuitable | validated risk | send never sent | close closed
    | close already paid | close not exist | close unknown | refund done | refund rejected | refund refused for good
    | refund dead | refund dead, first number | refund stuck | refund not sent | refund not exist | refund unknown
    | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | deadline -> unchanged
    send paid | query paid | operator: paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid as known
        -> created, last amount insufficient, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query declined | query closed | operator: closed
        -> created, last declined, #0 dead; writes wipe, order.attempt_failed
    callback paid | callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel, #0 closing; does query #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does query #0
submitted, open, shown, unionpay, claimed by a callback
    created | validated suitable | validated unsuitable | validated risk | send never sent | close closed
    | close already paid | close not exist | close unknown | refund done | refund rejected | refund refused for good
    | refund dead | refund dead, first number | refund stuck | refund not sent | refund not exist | refund unknown
    | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | deadline -> unchanged
    send paid -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded
    query paid | operator: paid
        -> succeeded, #0 captured, #0 unclaimed, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid as known
        -> created, last amount insufficient, #0 dead, #0 unclaimed, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, #0 unclaimed, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query declined | query closed | operator: closed
        -> created, last declined, #0 dead, #0 unclaimed; writes wipe, order.attempt_failed
    callback paid | callback paid less | callback other currency | callback contradicts | timer | timer, much later
        -> unchanged; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel, #0 closing; does query #0
    deadline, passed -> wish expiry, #0 closing; does query #0
submitted, second attempt open at wechat, first dead
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay -> wish switch to simpay, #1 closing; does close #1
    chosen wechat -> #1 sends 2; does submit #1 send 2
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | deadline -> unchanged
    send paid | query paid | callback paid | operator: paid
        -> succeeded, last none, #1 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less
        -> created, last amount insufficient, #1 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query paid more
        -> created, last amount mismatch, #1 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.attempt_failed; does refund 0
    query paid as known
        -> succeeded, last none, #0 captured, #1 closing, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; does close #1
    query declined | query closed | operator: closed -> created, #1 dead; writes wipe, order.attempt_failed
    close closed -> #1 close answered; does query #1
    close already paid | close not exist | close unknown -> #1 close asked; does query #1
    callback paid less | callback other currency -> #1 claimed; does query #1
    callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel, #1 closing; does close #1
    timer | timer, much later -> unchanged; does query #1
    deadline, passed -> wish expiry, #1 closing; does close #1
submitted, closing to cancel, nowhere
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send unknown | query pending -> #0 perhaps; does close #0
    send paid | query paid | query paid as known | operator: paid
        -> succeeded, wish none, #0 captured, #0 shown, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    send rejected | send rejected, our fault | send not sent | send later
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed; rests
    query paid less | query paid more
        -> failed, cancelled, wish none, #0 dead, #0 shown, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.failed; does refund 0
    query not exist | timer | timer, much later -> unchanged; does close #0
    query declined | query closed | close closed | operator: closed
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed
    query unknown | cancel | deadline | deadline, passed -> unchanged
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
submitted, closing to cancel, shown
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query unknown | cancel | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> failed, cancelled, wish none, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.failed; does refund 0
    query pending | query not exist | timer | timer, much later -> unchanged; does close #0
    query declined | query closed | close closed | operator: closed
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
submitted, closing to cancel, close answered by wechat
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | cancel | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> failed, cancelled, wish none, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.failed; does refund 0
    query declined | query closed | operator: closed
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed
    close closed | timer | timer, much later -> unchanged; does query #0
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
submitted, closing to cancel, unionpay
    created | validated suitable | validated unsuitable | validated risk | send never sent | close closed
    | close already paid | close not exist | close unknown | refund done | refund rejected | refund refused for good
    | refund dead | refund dead, first number | refund stuck | refund not sent | refund not exist | refund unknown
    | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | cancel | deadline | deadline, passed -> unchanged
    send paid | query paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more | query paid as known
        -> failed, cancelled, wish none, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.failed; does refund 0
    query declined | query closed | operator: closed
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed
    callback paid | callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    timer | timer, much later -> unchanged; does query #0
submitted, closing as expired, shown
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> failed, expired, wish none, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe, order.failed; does refund 0
    query pending | query not exist | timer | timer, much later -> unchanged; does close #0
    query declined | query closed | close closed | operator: closed
        -> failed, expired, wish none, #0 dead; writes wipe, order.failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel
submitted, closing to switch to wechat, shown
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay -> wish switch to simpay
    chosen wechat | send accepted | send rejected | send rejected, our fault | send not sent | send later
    | send unknown | query unknown | deadline -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> created, #0 dead, capture 0 wrong amount, refund owed; writes capture 0, entry suspense, wipe; does choose wechat, refund 0
    query pending | query not exist | timer | timer, much later -> unchanged; does close #0
    query declined | query closed | close closed | operator: closed
        -> created, #0 dead; writes wipe; does choose wechat
    close already paid | close unknown -> #0 close asked; does query #0
    close not exist -> wish none, #0 open, #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    cancel -> wish cancel
    deadline, passed -> wish expiry
succeeded
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | deadline | timer | deadline, passed
    | timer, much later -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 1 further, refund owed; writes capture 1, entry suspense; does refund 1
    callback paid -> capture 1 further, unconfirmed; writes capture 1, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
succeeded by the first attempt, second closing at wechat
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> #1 dead, capture 1 further, refund owed; writes capture 1, entry suspense; does refund 1
    query pending | query not exist | timer | timer, much later -> unchanged; does close #1
    query declined | query closed | operator: closed -> #1 dead; rests
    close closed -> #1 close answered; does query #1
    close already paid | close not exist | close unknown -> #1 close asked; does query #1
    callback paid -> #1 dead, capture 1 further, unconfirmed; writes capture 1, entry suspense; does query #1
    callback paid less | callback other currency -> #1 claimed; does query #1
    callback contradicts -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
succeeded, a further capture unconfirmed
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund owed; writes capture 2, entry suspense; does refund 2
    callback paid -> capture 2 further, unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    timer | timer, much later -> unchanged; does query #0
succeeded, a further capture's refund owed
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund owed; writes capture 2, entry suspense; does refund 2
    callback paid -> capture 2 further, unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund done -> capture 1 further, refunded; writes entry suspense_refund, order.suspense_refunded; rests
    refund rejected | refund not sent -> capture 1 further, refund owed
    refund refused for good | refund dead | refund dead, first number -> capture 1 further, refund owed, number 2
    refund stuck | refund unknown -> capture 1 further, refund in doubt
    refund not exist -> capture 1 further, refund in doubt; does refund 1
    timer | timer, much later -> unchanged; does refund 1
succeeded, a further capture's refund in doubt
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund owed; writes capture 2, entry suspense; does refund 2
    callback paid -> capture 2 further, unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund done -> capture 1 further, refunded; writes entry suspense_refund, order.suspense_refunded; rests
    refund rejected | refund refused for good | refund stuck | refund not sent | refund unknown
        -> capture 1 further, refund in doubt
    refund dead | refund dead, first number -> capture 1 further, refund owed, number 2
    refund not exist -> capture 1 further, refund in doubt; does refund 1
    timer | timer, much later -> unchanged; does query refund 1
succeeded, a further capture's refund owed under its second number
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | refund dead, first number | deadline
    | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund owed; writes capture 2, entry suspense; does refund 2
    callback paid -> capture 2 further, unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund done
        -> capture 1 further, refunded, number 2; writes entry suspense_refund, order.suspense_refunded; rests
    refund rejected | refund not sent -> capture 1 further, refund owed, number 2
    refund refused for good | refund dead -> capture 1 further, refund owed, number 3
    refund stuck | refund unknown -> capture 1 further, refund in doubt, number 2
    refund not exist -> capture 1 further, refund in doubt, number 2; does refund 1
    timer | timer, much later -> unchanged; does refund 1
succeeded, a further capture's refund in doubt under its last number
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | refund dead, first number | deadline
    | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund owed; writes capture 2, entry suspense; does refund 2
    callback paid -> capture 2 further, unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund done
        -> capture 1 further, refunded, number 6; writes entry suspense_refund, order.suspense_refunded; rests
    refund rejected | refund refused for good | refund dead | refund stuck | refund not sent | refund unknown
        -> capture 1 further, refund in doubt, number 6
    refund not exist -> capture 1 further, refund in doubt, number 6; does refund 1
    timer | timer, much later -> unchanged; does query refund 1
succeeded, a further capture's refund done
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | refund done | refund rejected
    | refund refused for good | refund dead | refund dead, first number | refund stuck | refund not sent
    | refund not exist | refund unknown | refund dead, number never sent | deadline | timer | deadline, passed
    | timer, much later -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund owed; writes capture 2, entry suspense; does refund 2
    callback paid -> capture 2 further, unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
failed, cancelled before any attempt
    created | validated suitable | validated unsuitable | validated risk | refund done | refund rejected
    | refund refused for good | refund dead | refund dead, first number | refund stuck | refund not sent
    | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send paid | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | send never sent | query paid | query paid less | query paid more | query paid as known | query pending
    | query not exist | query declined | query closed | query unknown | close closed | close already paid
    | close not exist | close unknown | callback paid | callback paid less | callback other currency
    | callback contradicts | callback other account | callback other channel | callback other attempt
    | operator: paid | operator: closed -> refused: attempt unknown
    deadline | timer | deadline, passed | timer, much later -> unchanged
failed, cancelled, attempt dead
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund rejected | refund refused for good | refund dead | refund dead, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | refund dead, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query unknown | close closed | close already paid | close not exist | close unknown | deadline
    | deadline, passed -> unchanged
    send paid -> capture 0 too late, refund owed; writes capture 0, entry suspense; does refund 0
    query paid | query paid less | query paid more | query paid as known | operator: paid
        -> #0 watched 1, capture 0 too late, refund owed; writes capture 0, entry suspense; does refund 0
    query pending | query not exist | query declined | query closed | operator: closed -> #0 watched 1
    callback paid -> capture 0 too late, unconfirmed; writes capture 0, entry suspense; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    timer | timer, much later -> unchanged; does query #0
";
