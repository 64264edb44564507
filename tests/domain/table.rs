//! The whole machine in one place: every state with the attempts that matter in it × every event.

use std::fmt::Write as _;

use tongbao::domain::channel::Channel;
use tongbao::domain::event::{
    CloseAnswer, Created, Effect, Event, Fact, Fault, Finding, Hold, RefundOutcome, RefundResolution, RefundWord,
    Refusal, Rejection, RowChange, SendOutcome, Step, Verdict, Write,
};
use tongbao::domain::id::{Account, Incarnation, Round};
use tongbao::domain::order::{
    Attempt, AttemptFailure, AttemptState, CloseStage, Order, OrderFailure, Purpose, Reach, SuspenseReason, Wish,
};
use tongbao::domain::refund::{Attention, FeePolicy, PaidFrom, Refund, RefundFailure, Stage};
use tongbao::domain::retry;
use tongbao::domain::step;
use tongbao::domain::time::Instant;

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
    let mut anew = walk(&owed, vec![refund(0, refund_ended())]);
    let again = anew.clone();
    for round in 1..=u8::try_from(retry::refund_rounds(owed.order.pace).len()).expect("few rounds") {
        anew.tell(refund_of(Round(round), 0, refund_unclear()));
        if usize::from(round) < retry::refund_rounds(owed.order.pace).len() {
            anew.tell(refund_of(Round(round), 0, refund_ended()));
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
        ("succeeded, a further capture's refund in doubt", walk(&owed, vec![refund(0, refund_unclear())])),
        ("succeeded, a further capture's refund owed under its second number", again),
        ("succeeded, a further capture's refund in doubt under its last number", anew),
        ("succeeded, a further capture's refund done", walk(&owed, vec![refund(0, refund_done())])),
        (
            "succeeded, a further capture's refund came back",
            walk(&owed, vec![refund(0, refund_done()), refund(0, refund_returned())]),
        ),
        ("failed, cancelled before any attempt", walk(&created, vec![Fact::CancelAsked])),
        ("failed, cancelled, attempt dead", Walk::cancelled()),
    ]
}

/// The situations of refunds that a platform asked for, each one minute old.
fn situations_of_refunds() -> Vec<(&'static str, Walk)> {
    let with = |from: &Walk, facts: Vec<Fact>| {
        let mut walk = from.clone();
        for fact in facts {
            walk.tell(fact);
        }
        walk
    };
    let asked = |channel| with(&Walk::paid_at(channel), vec![refund_asked(1_000, FeePolicy::Proportional)]);
    let owed = asked(Channel::Simpay);
    let doubtful = with(&owed, vec![refund(0, refund_unclear())]);
    let poor = with(&owed, vec![refund(0, RefundOutcome::Pending { hold: Hold::Balance })]);
    let done = with(&owed, vec![refund(0, refund_done())]);
    let mut last = owed.clone();
    for round in 0..u8::try_from(retry::refund_rounds(owed.order.pace).len()).expect("few rounds") {
        last.tell(refund_of(Round(round), 0, refund_ended()));
    }
    last.wake();
    let earlier = with(&owed, vec![refund(0, refund_ended()), refund(0, refund_done())]);
    let mut waiting = with(&asked(Channel::Wechat), vec![refund_asked(2_000, FeePolicy::Kept)]);
    // It is a minute old when it is told, and its pause is not over.
    waiting.wait(-MINUTE / 2);
    let otherwise = refund_resolved(0, RefundResolution::PaidOtherwise);
    vec![
        ("a refund owed", owed.clone()),
        ("a refund in doubt", doubtful),
        ("a refund that waits for money at the channel", poor),
        ("a refund owed under its last number", last),
        ("a second refund that waits for its pause, wechat", waiting),
        ("a refund in doubt, alipay", with(&asked(Channel::Alipay), vec![refund(0, refund_unclear())])),
        ("a refund owed, unionpay", asked(Channel::Unionpay)),
        ("a refund paid", done.clone()),
        ("a refund paid by its first number", earlier),
        ("a refund paid, stripe", with(&asked(Channel::Stripe), vec![refund(0, refund_done())])),
        ("a refund failed", with(&owed, vec![refund(0, refund_rejected(Rejection::Refused))])),
        ("a refund paid otherwise", with(&owed, vec![otherwise])),
        ("a refund returned", with(&done, vec![refund(0, refund_returned())])),
    ]
}

/// What happens to the newest refund of an order.
fn events_of_refunds(order: &Order) -> Vec<(&'static str, Fact)> {
    let index = u16::try_from(order.refunds.len().saturating_sub(1)).expect("few refunds");
    let newest = order.refunds.last();
    let round = newest.map_or(Round::FIRST, |refund| refund.round);
    let refundable_minor = order.refundable_minor(FeePolicy::Proportional);
    let kept_minor = order.refundable_minor(FeePolicy::Kept);
    let refunded = |outcome| refund_of(round, index, outcome);
    let much_later = START.plus_ms(1_000 * HOUR);
    let number = newest.and_then(|refund| order.refund_number(refund, round)).map(|number| number.to_string());
    let number = number.unwrap_or_else(|| "unknown".to_owned());
    let account = newest.and_then(|refund| order.attempt_of(refund)).map(|attempt| attempt.account.clone());
    let account = account.unwrap_or_else(|| account_of(order));
    let amount_minor = newest.map_or(1, |refund| refund.amount_minor);
    let noticed = |number: &str, account: &Account, word: Option<(i64, RefundOutcome)>| Fact::RefundNoticed {
        number: number.into(),
        account: account.clone(),
        word: word.map(|(amount_minor, outcome)| RefundWord { amount_minor, currency: "CNY".into(), outcome }),
    };
    let done = Some((amount_minor, refund_done()));
    let another = Account::new(account.channel(), "second");
    vec![
        ("asked, a part", refund_asked(500, FeePolicy::Proportional)),
        ("asked, all", refund_asked(refundable_minor, FeePolicy::Proportional)),
        ("asked, too much", refund_asked(refundable_minor + 1, FeePolicy::Proportional)),
        ("asked, too much without the fee", refund_asked(kept_minor + 1, FeePolicy::Kept)),
        ("asked, nothing", refund_asked(0, FeePolicy::Proportional)),
        ("pending", refunded(RefundOutcome::Pending { hold: Hold::Processing })),
        ("pending for money", refunded(RefundOutcome::Pending { hold: Hold::Balance })),
        ("done", refunded(refund_done())),
        ("poor", refunded(refund_poor())),
        ("our fault", refunded(refund_rejected(Rejection::Ours))),
        ("refused", refunded(refund_rejected(Rejection::Refused))),
        ("dead number", refunded(refund_rejected(Rejection::DeadNumber))),
        ("ended", refunded(refund_ended())),
        ("ended, first number", refund(index, refund_ended())),
        ("ended, number never sent", refund_of(round.next(), index, refund_ended())),
        ("returned", refunded(refund_returned())),
        ("stuck", refunded(refund_stuck())),
        ("not sent", refunded(refund_not_sent())),
        ("not exist", refunded(RefundOutcome::NotExist)),
        ("not exist, much later", refund_by_asking_at(much_later, round, index, RefundOutcome::NotExist)),
        ("unknown", refunded(refund_unclear())),
        ("of no refund", refund(index + 1, refund_done())),
        ("notice: done", noticed(&number, &account, done.clone())),
        ("notice: ended", noticed(&number, &account, Some((amount_minor, refund_ended())))),
        ("notice: returned", noticed(&number, &account, Some((amount_minor, refund_returned())))),
        ("notice: other amount", noticed(&number, &account, Some((amount_minor + 1, refund_done())))),
        ("notice: other account", noticed(&number, &another, done.clone())),
        ("notice: unknown number", noticed("unknown", &account, done)),
        ("notice without a word", noticed(&number, &account, None)),
        ("operator: failed", refund_resolved(index, RefundResolution::Failed)),
        ("operator: paid otherwise", refund_resolved(index, RefundResolution::PaidOtherwise)),
        ("operator: of no refund", refund_resolved(index + 1, RefundResolution::Failed)),
        ("timer", Fact::TimerFired),
    ]
}

fn account_of(order: &Order) -> Account {
    order.attempts.first().map_or_else(|| account(Channel::Simpay), |attempt| attempt.account.clone())
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
    let round = order.refunds.first().map_or(Round::FIRST, |refund| refund.round);
    let refunded = |outcome| refund_of(round, 0, outcome);
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
        ("send paid", sent(ordinal, send, send_paid("new", payable))),
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
        ("refund asked", refund_asked(1, FeePolicy::Proportional)),
        ("refund done", refunded(refund_done())),
        ("refund poor", refunded(refund_poor())),
        ("refund refused", refunded(refund_rejected(Rejection::Refused))),
        ("refund of a dead number", refunded(refund_rejected(Rejection::DeadNumber))),
        ("refund ended", refunded(refund_ended())),
        ("refund ended, first number", refund(0, refund_ended())),
        ("refund stuck", refunded(refund_stuck())),
        ("refund not sent", refunded(refund_not_sent())),
        ("refund not exist", refunded(RefundOutcome::NotExist)),
        ("refund unknown", refunded(refund_unclear())),
        ("refund ended, number never sent", refund_of(round.next(), 0, refund_ended())),
        ("operator: refund failed", refund_resolved(0, RefundResolution::Failed)),
        ("operator: refund paid otherwise", refund_resolved(0, RefundResolution::PaidOtherwise)),
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
        let late = walk.at.max(walk.order.expires_at);
        let now = events(&walk.order).into_iter().map(|(name, fact)| (name, fact, walk.at));
        let then = [("deadline, passed", Fact::DeadlinePassed, late), ("timer, much later", Fact::TimerFired, late)];
        describe(&mut text, title, &walk.order, now.chain(then));
    }
    text
}

/// The same of refunds that a platform asked for. Timers are told a minute, an hour and a month on.
fn machine_of_refunds() -> String {
    let mut text = String::new();
    for (title, mut walk) in situations_of_refunds() {
        walk.wait(MINUTE);
        let now = events_of_refunds(&walk.order).into_iter().map(|(name, fact)| (name, fact, walk.at));
        let then = [
            ("timer, an hour later", Fact::TimerFired, walk.at.plus_ms(HOUR)),
            ("timer, a month later", Fact::TimerFired, walk.at.plus_ms(30 * 24 * HOUR)),
        ];
        describe(&mut text, title, &walk.order, now.chain(then));
    }
    text
}

fn describe(
    text: &mut String,
    title: &str,
    order: &Order,
    events: impl Iterator<Item = (&'static str, Fact, Instant)>,
) {
    let mut outcomes: Vec<(String, Vec<String>)> = Vec::new();
    for (name, fact, at) in events {
        let name = name.to_owned();
        let outcome = outcome(order, &Event { at, incarnation: Incarnation::default(), fact });
        match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, names)) => names.push(name),
            None => outcomes.push((outcome, vec![name])),
        }
    }
    writeln!(text, "{title}").expect("a string takes all");
    for (outcome, names) in outcomes {
        write_wrapped(text, &names, &outcome);
    }
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
        Refusal::OrderNotPaid => "order not paid",
        Refusal::RefundExceeds { .. } => "refund exceeds",
        Refusal::BalanceInsufficient => "balance insufficient",
        Refusal::RefundLimit { .. } => "refund limit",
        Refusal::RefundWindowOver => "refund window over",
        Refusal::RefundFinal => "refund final",
        Refusal::RefundUnknown => "refund unknown",
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
    for (place, refund) in after.refunds.iter().enumerate() {
        if before.refunds.get(place) != Some(refund) {
            changes.push(format!("refund {place} {}", refund_name(refund)));
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

fn purpose_name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Payment => "payment",
        Purpose::Suspense(SuspenseReason::WrongAmount) => "wrong amount",
        Purpose::Suspense(SuspenseReason::Further) => "further",
        Purpose::Suspense(SuspenseReason::TooLate) => "too late",
    }
}

fn refund_name(refund: &Refund) -> String {
    let stage = match refund.stage {
        Stage::Unconfirmed { .. } => "unconfirmed".to_owned(),
        Stage::Waiting { .. } => "waits".to_owned(),
        Stage::Owed { .. } => "owed".to_owned(),
        Stage::Doubtful { .. } => "in doubt".to_owned(),
        Stage::Succeeded { looks: 0, paid_from: PaidFrom::Channel, .. } => "paid".to_owned(),
        Stage::Succeeded { looks, paid_from: PaidFrom::Channel, .. } => format!("paid, looked at {looks}"),
        Stage::Succeeded { paid_from: PaidFrom::Bank, .. } => "paid otherwise".to_owned(),
        Stage::Failed { failure: RefundFailure::Refused, .. } => "failed: refused".to_owned(),
        Stage::Failed { failure: RefundFailure::Ended, .. } => "failed: ended".to_owned(),
        Stage::Failed { failure: RefundFailure::GivenUp, .. } => "failed: given up".to_owned(),
        Stage::Returned { .. } => "returned".to_owned(),
    };
    let number = (!refund.round.is_first()).then(|| format!(", number {}", refund.round.0 + 1));
    let paid_earlier = refund.paid_earlier.map(|paid| {
        let doubt = if paid.doubt.is_some() { ", the last in doubt" } else { "" };
        format!(" by number {}{doubt}", paid.round.0 + 1)
    });
    let attention = refund.attention.map(|attention| match attention {
        Attention::ChannelBalance => ", waits for money",
        Attention::Person => ", waits for a person",
    });
    let rest = [paid_earlier, number, attention.map(str::to_owned)];
    rest.into_iter().flatten().fold(stage, |name, part| name + &part)
}

fn writes(step: &Step) -> Vec<String> {
    let name = |write: &Write| match write {
        Write::OpenAttempt { ordinal } => format!("request #{ordinal}"),
        Write::Capture { index } => format!("capture {index}"),
        Write::Entry(entry) => format!("entry {}", entry.kind().name()),
        Write::Refund { index, change: RowChange::New } => format!("new row of refund {index}"),
        Write::Refund { index, change: RowChange::Changed } => format!("row of refund {index}"),
        Write::Webhook { kind, .. } => kind.name().to_owned(),
        Write::StoreNextAction => "next action".to_owned(),
        Write::WipeNextAction => "wipe".to_owned(),
        Write::RefundsStuck => "stuck".to_owned(),
        Write::RefundsMove => "not stuck".to_owned(),
    };
    step.writes.iter().map(name).collect()
}

fn effect_name(effect: Effect) -> String {
    match effect {
        Effect::Submit { ordinal, send } => format!("submit #{ordinal} send {send}"),
        Effect::Query { ordinal } => format!("query #{ordinal}"),
        Effect::Close { ordinal } => format!("close #{ordinal}"),
        Effect::Refund { refund } => format!("refund {refund}"),
        Effect::QueryRefund { refund } => format!("query refund {refund}"),
        Effect::Choose { channel, .. } => format!("choose {channel}"),
        Effect::ArmTimer { at } => format!("timer at {}", at.0),
    }
}

fn compare(machine: &str, table: &str) {
    for (place, (is, was)) in machine.lines().zip(table.lines()).enumerate() {
        assert_eq!(is, was, "line {} of the table differs; the whole table is now:\n{machine}", place + 1);
    }
    assert_eq!(machine.lines().count(), table.lines().count(), "the whole table is now:\n{machine}");
}

#[test]
fn the_machine_is_this_table() {
    compare(&machine(), TABLE);
}

#[test]
fn refunds_are_this_table() {
    compare(&machine_of_refunds(), REFUNDS);
}

#[rustfmt::skip]
const REFUNDS: &str = "\
a refund owed
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | unknown -> refund 0 in doubt
    pending for money -> refund 0 in doubt, waits for money; writes row of refund 0, stuck
    done | notice: done -> refund 0 paid; writes entry refund_paid, row of refund 0, refund.succeeded; rests
    poor -> refund 0 owed, waits for money; writes row of refund 0, stuck
    our fault -> refund 0 owed, waits for a person; writes row of refund 0, stuck
    refused -> refund 0 failed: refused; writes entry refund_failed, row of refund 0, refund.failed; rests
    dead number | ended | ended, first number | notice: ended -> refund 0 owed, number 2
    ended, number never sent -> refused: out of place
    returned | notice: returned
        -> refund 0 returned; writes entry refund_paid, row of refund 0, refund.succeeded, entry refund_returned, row of refund 0, refund.returned; rests
    stuck -> refund 0 in doubt, waits for a person; writes row of refund 0, stuck
    not sent -> refund 0 owed
    not exist | not exist, much later -> refund 0 in doubt; does refund 0
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other amount | notice without a word -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed -> refund 0 failed: given up; writes entry refund_failed, row of refund 0, refund.failed; rests
    operator: paid otherwise
        -> refund 0 paid otherwise; writes entry refund_paid_otherwise, row of refund 0, refund.succeeded; rests
    timer | timer, an hour later | timer, a month later -> unchanged; does refund 0
a refund in doubt
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | dead number | not sent | unknown -> refund 0 in doubt
    pending for money | poor -> refund 0 in doubt, waits for money; writes row of refund 0, stuck
    done | notice: done -> refund 0 paid; writes entry refund_paid, row of refund 0, refund.succeeded; rests
    our fault | refused | stuck -> refund 0 in doubt, waits for a person; writes row of refund 0, stuck
    ended | ended, first number | notice: ended -> refund 0 owed, number 2
    ended, number never sent -> refused: out of place
    returned | notice: returned
        -> refund 0 returned; writes entry refund_paid, row of refund 0, refund.succeeded, entry refund_returned, row of refund 0, refund.returned; rests
    not exist -> refund 0 in doubt; does refund 0
    not exist, much later -> refund 0 owed; does refund 0
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other amount | notice without a word | timer | timer, an hour later | timer, a month later
        -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed -> refund 0 failed: given up; writes entry refund_failed, row of refund 0, refund.failed; rests
    operator: paid otherwise
        -> refund 0 paid otherwise; writes entry refund_paid_otherwise, row of refund 0, refund.succeeded; rests
a refund that waits for money at the channel
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending -> refund 0 in doubt; writes row of refund 0, not stuck
    pending for money | poor | dead number | not sent | unknown -> refund 0 in doubt, waits for money
    done | notice: done
        -> refund 0 paid; writes entry refund_paid, row of refund 0, refund.succeeded, not stuck; rests
    our fault | refused | stuck -> refund 0 in doubt, waits for a person; writes row of refund 0
    ended | ended, first number | notice: ended -> refund 0 owed, number 2; writes row of refund 0, not stuck
    ended, number never sent -> refused: out of place
    returned | notice: returned
        -> refund 0 returned; writes entry refund_paid, row of refund 0, refund.succeeded, entry refund_returned, row of refund 0, refund.returned, not stuck; rests
    not exist -> refund 0 in doubt, waits for money; does refund 0
    not exist, much later -> refund 0 owed, waits for money; does refund 0
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other amount | notice without a word | timer | timer, an hour later | timer, a month later
        -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed
        -> refund 0 failed: given up; writes entry refund_failed, row of refund 0, refund.failed, not stuck; rests
    operator: paid otherwise
        -> refund 0 paid otherwise; writes entry refund_paid_otherwise, row of refund 0, refund.succeeded, not stuck; rests
a refund owed under its last number
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | unknown -> refund 0 in doubt, number 6
    pending for money -> refund 0 in doubt, number 6, waits for money; writes row of refund 0, stuck
    done | notice: done
        -> refund 0 paid, number 6; writes entry refund_paid, row of refund 0, refund.succeeded; rests
    poor -> refund 0 owed, number 6, waits for money; writes row of refund 0, stuck
    our fault -> refund 0 owed, number 6, waits for a person; writes row of refund 0, stuck
    refused -> refund 0 failed: refused, number 6; writes entry refund_failed, row of refund 0, refund.failed; rests
    dead number | ended | notice: ended
        -> refund 0 failed: ended, number 6; writes entry refund_failed, row of refund 0, refund.failed; rests
    ended, first number -> unchanged
    ended, number never sent -> refused: out of place
    returned | notice: returned
        -> refund 0 returned, number 6; writes entry refund_paid, row of refund 0, refund.succeeded, entry refund_returned, row of refund 0, refund.returned; rests
    stuck -> refund 0 in doubt, number 6, waits for a person; writes row of refund 0, stuck
    not sent -> refund 0 owed, number 6
    not exist | not exist, much later -> refund 0 in doubt, number 6; does refund 0
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other amount | notice without a word -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed
        -> refund 0 failed: given up, number 6; writes entry refund_failed, row of refund 0, refund.failed; rests
    operator: paid otherwise
        -> refund 0 paid otherwise, number 6; writes entry refund_paid_otherwise, row of refund 0, refund.succeeded; rests
    timer | timer, an hour later | timer, a month later -> unchanged; does refund 0
a second refund that waits for its pause, wechat
    asked, a part | asked, all -> refund 2 waits; writes new row of refund 2, entry refund
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | pending for money | done | poor | our fault | refused | dead number | ended | ended, first number
    | ended, number never sent | returned | stuck | not sent | not exist | not exist, much later | unknown
    | notice: done | notice: ended | notice: returned | notice: other amount | notice without a word
        -> refused: out of place
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other account -> refused: account differs
    operator: failed -> refund 1 failed: given up; writes entry refund_failed, row of refund 1, refund.failed
    operator: paid otherwise
        -> refund 1 paid otherwise; writes entry refund_paid_otherwise, row of refund 1, refund.succeeded
    timer -> unchanged; does refund 0
    timer, an hour later | timer, a month later -> refund 1 owed; writes row of refund 1; does refund 0, refund 1
a refund in doubt, alipay
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | dead number | not sent | unknown -> refund 0 in doubt
    pending for money | poor -> refund 0 in doubt, waits for money; writes row of refund 0, stuck
    done | notice: done -> refund 0 paid; writes entry refund_paid, row of refund 0, refund.succeeded; rests
    our fault | refused | stuck -> refund 0 in doubt, waits for a person; writes row of refund 0, stuck
    ended | ended, first number | notice: ended -> refund 0 owed, number 2
    ended, number never sent -> refused: out of place
    returned | notice: returned
        -> refund 0 returned; writes entry refund_paid, row of refund 0, refund.succeeded, entry refund_returned, row of refund 0, refund.returned; rests
    not exist | not exist, much later -> refund 0 in doubt; does refund 0
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other amount | notice without a word | timer | timer, an hour later | timer, a month later
        -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed -> refund 0 failed: given up; writes entry refund_failed, row of refund 0, refund.failed; rests
    operator: paid otherwise
        -> refund 0 paid otherwise; writes entry refund_paid_otherwise, row of refund 0, refund.succeeded; rests
a refund owed, unionpay
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | unknown -> refund 0 in doubt
    pending for money -> refund 0 in doubt, waits for money; writes row of refund 0, stuck
    done -> refund 0 paid; writes entry refund_paid, row of refund 0, refund.succeeded; rests
    poor -> refund 0 owed, waits for money; writes row of refund 0, stuck
    our fault -> refund 0 owed, waits for a person; writes row of refund 0, stuck
    refused -> refund 0 failed: refused; writes entry refund_failed, row of refund 0, refund.failed; rests
    dead number | ended | ended, first number -> refund 0 owed, number 2
    ended, number never sent -> refused: out of place
    returned
        -> refund 0 returned; writes entry refund_paid, row of refund 0, refund.succeeded, entry refund_returned, row of refund 0, refund.returned; rests
    stuck -> refund 0 in doubt, waits for a person; writes row of refund 0, stuck
    not sent -> refund 0 owed
    not exist | not exist, much later -> refund 0 in doubt; does refund 0
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: done | notice: ended | notice: returned | notice: other amount | notice without a word
        -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed -> refund 0 failed: given up; writes entry refund_failed, row of refund 0, refund.failed; rests
    operator: paid otherwise
        -> refund 0 paid otherwise; writes entry refund_paid_otherwise, row of refund 0, refund.succeeded; rests
    timer | timer, an hour later | timer, a month later -> unchanged; does refund 0
a refund paid
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | pending for money | done | poor | our fault | refused | dead number | ended | ended, first number
    | stuck | not sent | not exist | not exist, much later | unknown | notice: done | notice: ended | timer
    | timer, an hour later | timer, a month later -> unchanged
    ended, number never sent -> refused: out of place
    returned | notice: returned
        -> refund 0 returned; writes entry refund_returned, row of refund 0, refund.returned; rests
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other amount | notice without a word -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed | operator: paid otherwise -> refused: refund final
a refund paid by its first number
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | pending for money | poor | our fault | refused | dead number | stuck | not sent | not exist | unknown
        -> refund 0 paid by number 1, the last in doubt, number 2
    done | ended | returned | not exist, much later | notice: done | notice: ended | notice: returned
        -> refund 0 paid by number 1, number 2; rests
    ended, first number -> unchanged
    ended, number never sent -> refused: out of place
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other amount | notice without a word | timer | timer, an hour later | timer, a month later
        -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed | operator: paid otherwise -> refused: refund final
a refund paid, stripe
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | pending for money | done | poor | our fault | refused | dead number | stuck | not sent | not exist
    | unknown | timer | timer, an hour later -> unchanged
    ended | ended, first number | returned
        -> refund 0 returned; writes entry refund_returned, row of refund 0, refund.returned; rests
    ended, number never sent -> refused: out of place
    not exist, much later -> refund 0 paid, looked at 3; rests
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: done | notice: ended | notice: returned | notice: other amount | notice without a word
    | timer, a month later -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed | operator: paid otherwise -> refused: refund final
a refund failed
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | pending for money | done | poor | our fault | refused | dead number | ended | ended, first number
    | returned | stuck | not sent | not exist | not exist, much later | unknown | notice: done | notice: ended
    | notice: returned | notice: other amount | notice without a word | timer | timer, an hour later
    | timer, a month later -> unchanged
    ended, number never sent -> refused: out of place
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other account -> refused: account differs
    operator: failed | operator: paid otherwise -> refused: refund final
a refund paid otherwise
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | pending for money | done | poor | our fault | refused | dead number | ended | ended, first number
    | returned | stuck | not sent | not exist | not exist, much later | unknown | notice: done | notice: ended
    | notice: returned | timer | timer, an hour later | timer, a month later -> unchanged
    ended, number never sent -> refused: out of place
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other amount | notice without a word -> unchanged; does query refund 0
    notice: other account -> refused: account differs
    operator: failed | operator: paid otherwise -> refused: refund final
a refund returned
    asked, a part | asked, all -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    asked, too much | asked, too much without the fee | asked, nothing -> refused: refund exceeds
    pending | pending for money | done | poor | our fault | refused | dead number | ended | ended, first number
    | returned | stuck | not sent | not exist | not exist, much later | unknown | notice: done | notice: ended
    | notice: returned | notice: other amount | notice without a word | timer | timer, an hour later
    | timer, a month later -> unchanged
    ended, number never sent -> refused: out of place
    of no refund | notice: unknown number | operator: of no refund -> refused: refund unknown
    notice: other account -> refused: account differs
    operator: failed | operator: paid otherwise -> refused: refund final
";

#[rustfmt::skip]
const TABLE: &str = "\
created, no attempt yet
    created | validated suitable | validated unsuitable | validated risk -> refused: out of place
    chosen simpay | chosen wechat -> validating
    send accepted | send paid | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | send never sent | query paid | query paid less | query paid more | query paid as known | query pending
    | query not exist | query declined | query closed | query unknown | close closed | close already paid
    | close not exist | close unknown | callback paid | callback paid less | callback other currency
    | callback contradicts | callback other account | callback other channel | callback other attempt
    | operator: paid | operator: closed -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> failed, cancelled; writes wipe, order.failed; rests
    deadline | timer | timer, much later -> unchanged
    deadline, passed -> failed, expired; writes wipe, order.failed; rests
created, attempt dead
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat -> validating
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query declined | query closed | query unknown | close closed
    | close already paid | close not exist | close unknown | deadline | timer | operator: closed | timer, much later
        -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, last none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, entry refund; does refund 0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> failed, cancelled; writes wipe, order.failed
    deadline, passed -> failed, expired; writes wipe, order.failed
created, switching to wechat, attempt dead
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat -> validating, wish none
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query declined | query closed | query unknown | close closed
    | close already paid | close not exist | close unknown | deadline | operator: closed -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, entry refund; does refund 0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> failed, cancelled, wish none; writes wipe, order.failed
    timer | timer, much later -> unchanged; does choose wechat
    deadline, passed -> failed, expired, wish none; writes wipe, order.failed
validating
    created | chosen simpay | chosen wechat | cancel | deadline | deadline, passed -> refused: out of place
    validated suitable -> submitted, #0 opened at simpay; writes request #0; does submit #0 send 1
    validated unsuitable -> created, last unavailable
    validated risk -> failed, risk refused; writes wipe, order.failed; rests
    send accepted | send paid | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | send never sent | query paid | query paid less | query paid more | query paid as known | query pending
    | query not exist | query declined | query closed | query unknown | close closed | close already paid
    | close not exist | close unknown | callback paid | callback paid less | callback other currency
    | callback contradicts | callback other account | callback other channel | callback other attempt
    | operator: paid | operator: closed -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    timer | timer, much later -> unchanged
submitted, open, nowhere: the first send is under way
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
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
        -> created, last amount insufficient, #0 dead, #0 shown, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, #0 shown, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query pending | query not exist -> #0 perhaps, #0 sends 2; does submit #0 send 2
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel, #0 closing; does close #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does close #0
submitted, open, nowhere, the last attempt allowed
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
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
        -> failed, attempts used up, last amount insufficient, #0 dead, #0 shown, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.failed, entry refund; does refund 0
    query paid more
        -> failed, attempts used up, last amount mismatch, #0 dead, #0 shown, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.failed, entry refund; does refund 0
    query pending | query not exist -> #0 perhaps, #0 sends 2; does submit #0 send 2
    query declined | query closed | close closed | operator: closed
        -> failed, attempts used up, last declined, #0 dead; writes wipe, order.failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel, #0 closing; does close #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does close #0
submitted, open, perhaps: the first send is unknown
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | query pending | query not exist -> #0 sends 2; does submit #0 send 2
    chosen wechat -> wish switch to wechat, #0 closing; does close #0
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query unknown | deadline -> unchanged
    send paid | query paid | query paid as known | operator: paid
        -> succeeded, #0 captured, #0 shown, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less
        -> created, last amount insufficient, #0 dead, #0 shown, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, #0 shown, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query declined | query closed | close closed | operator: closed
        -> created, last declined, #0 dead; writes wipe, order.attempt_failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel, #0 closing; does close #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does close #0
submitted, open, shown
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay -> #0 sends 2; does submit #0 send 2
    chosen wechat -> wish switch to wechat, #0 closing; does close #0
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | deadline -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less
        -> created, last amount insufficient, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query declined | query closed | close closed | operator: closed
        -> created, last declined, #0 dead; writes wipe, order.attempt_failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel, #0 closing; does close #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does close #0
submitted, open, shown, unionpay
    created | validated suitable | validated unsuitable | validated risk | send never sent | close closed
    | close already paid | close not exist | close unknown -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | deadline -> unchanged
    send paid | query paid | operator: paid
        -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid as known
        -> created, last amount insufficient, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query declined | query closed | operator: closed
        -> created, last declined, #0 dead; writes wipe, order.attempt_failed
    callback paid | callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel, #0 closing; does query #0
    timer | timer, much later -> unchanged; does query #0
    deadline, passed -> wish expiry, #0 closing; does query #0
submitted, open, shown, unionpay, claimed by a callback
    created | validated suitable | validated unsuitable | validated risk | send never sent | close closed
    | close already paid | close not exist | close unknown -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | deadline -> unchanged
    send paid -> succeeded, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded
    query paid | operator: paid
        -> succeeded, #0 captured, #0 unclaimed, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid as known
        -> created, last amount insufficient, #0 dead, #0 unclaimed, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query paid more
        -> created, last amount mismatch, #0 dead, #0 unclaimed, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query declined | query closed | operator: closed
        -> created, last declined, #0 dead, #0 unclaimed; writes wipe, order.attempt_failed
    callback paid | callback paid less | callback other currency | callback contradicts | timer | timer, much later
        -> unchanged; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel, #0 closing; does query #0
    deadline, passed -> wish expiry, #0 closing; does query #0
submitted, second attempt open at wechat, first dead
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay -> wish switch to simpay, #1 closing; does close #1
    chosen wechat -> #1 sends 2; does submit #1 send 2
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | deadline -> unchanged
    send paid | query paid | callback paid | operator: paid
        -> succeeded, last none, #1 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less
        -> created, last amount insufficient, #1 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query paid more
        -> created, last amount mismatch, #1 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.attempt_failed, entry refund; does refund 0
    query paid as known
        -> succeeded, last none, #0 captured, #1 closing, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; does close #1
    query declined | query closed | operator: closed -> created, #1 dead; writes wipe, order.attempt_failed
    close closed -> #1 close answered; does query #1
    close already paid | close not exist | close unknown -> #1 close asked; does query #1
    callback paid less | callback other currency -> #1 claimed; does query #1
    callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel, #1 closing; does close #1
    timer | timer, much later -> unchanged; does query #1
    deadline, passed -> wish expiry, #1 closing; does close #1
submitted, closing to cancel, nowhere
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send unknown | query pending -> #0 perhaps; does close #0
    send paid | query paid | query paid as known | operator: paid
        -> succeeded, wish none, #0 captured, #0 shown, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    send rejected | send rejected, our fault | send not sent | send later
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed; rests
    query paid less | query paid more
        -> failed, cancelled, wish none, #0 dead, #0 shown, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.failed, entry refund; does refund 0
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
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
submitted, closing to cancel, shown
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query unknown | cancel | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> failed, cancelled, wish none, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.failed, entry refund; does refund 0
    query pending | query not exist | timer | timer, much later -> unchanged; does close #0
    query declined | query closed | close closed | operator: closed
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
submitted, closing to cancel, close answered by wechat
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | cancel | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> failed, cancelled, wish none, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.failed, entry refund; does refund 0
    query declined | query closed | operator: closed
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed
    close closed | timer | timer, much later -> unchanged; does query #0
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
submitted, closing to cancel, unionpay
    created | validated suitable | validated unsuitable | validated risk | send never sent | close closed
    | close already paid | close not exist | close unknown -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query pending | query not exist | query unknown | cancel | deadline | deadline, passed -> unchanged
    send paid | query paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more | query paid as known
        -> failed, cancelled, wish none, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.failed, entry refund; does refund 0
    query declined | query closed | operator: closed
        -> failed, cancelled, wish none, #0 dead; writes wipe, order.failed
    callback paid | callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    timer | timer, much later -> unchanged; does query #0
submitted, closing as expired, shown
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat -> refused: attempt open
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> failed, expired, wish none, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, order.failed, entry refund; does refund 0
    query pending | query not exist | timer | timer, much later -> unchanged; does close #0
    query declined | query closed | close closed | operator: closed
        -> failed, expired, wish none, #0 dead; writes wipe, order.failed
    close already paid | close not exist | close unknown -> #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel
submitted, closing to switch to wechat, shown
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay -> wish switch to simpay
    chosen wechat | send accepted | send rejected | send rejected, our fault | send not sent | send later
    | send unknown | query unknown | deadline -> unchanged
    send paid | query paid | query paid as known | callback paid | operator: paid
        -> succeeded, wish none, #0 captured, capture 0 payment; writes capture 0, entry payment, wipe, order.succeeded; rests
    query paid less | query paid more
        -> created, #0 dead, capture 0 wrong amount, refund 0 owed; writes capture 0, entry suspense, wipe, entry refund; does choose wechat, refund 0
    query pending | query not exist | timer | timer, much later -> unchanged; does close #0
    query declined | query closed | close closed | operator: closed
        -> created, #0 dead; writes wipe; does choose wechat
    close already paid | close unknown -> #0 close asked; does query #0
    close not exist -> wish none, #0 open, #0 close asked; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    cancel -> wish cancel
    deadline, passed -> wish expiry
succeeded
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | deadline | timer | deadline, passed
    | timer, much later -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 1 further, refund 0 owed; writes capture 1, entry suspense, entry refund; does refund 0
    callback paid -> capture 1 further, refund 0 unconfirmed; writes capture 1, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 0 owed; writes new row of refund 0, entry refund; does refund 0
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
succeeded by the first attempt, second closing at wechat
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> #1 dead, capture 1 further, refund 0 owed; writes capture 1, entry suspense, entry refund; does refund 0
    query pending | query not exist | timer | timer, much later -> unchanged; does close #1
    query declined | query closed | operator: closed -> #1 dead; rests
    close closed -> #1 close answered; does query #1
    close already paid | close not exist | close unknown -> #1 close asked; does query #1
    callback paid
        -> #1 dead, capture 1 further, refund 0 unconfirmed; writes capture 1, entry suspense; does query #1
    callback paid less | callback other currency -> #1 claimed; does query #1
    callback contradicts -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 0 owed; writes new row of refund 0, entry refund; does refund 0
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
succeeded, a further capture unconfirmed
    created | validated suitable | validated unsuitable | validated risk | send never sent | refund done
    | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
        -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund 1 owed; writes capture 2, entry suspense, entry refund; does refund 1
    callback paid -> capture 2 further, refund 1 unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    operator: refund failed | operator: refund paid otherwise -> refused: refund final
    timer | timer, much later -> unchanged; does query #0
succeeded, a further capture's refund owed
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund ended, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund 1 owed; writes capture 2, entry suspense, entry refund; does refund 1
    callback paid -> capture 2 further, refund 1 unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    refund done -> refund 0 paid; writes entry refund_paid, order.suspense_refunded; rests
    refund poor -> refund 0 owed, waits for money; writes stuck
    refund refused -> refund 0 owed, waits for a person; writes stuck
    refund of a dead number | refund ended | refund ended, first number -> refund 0 owed, number 2
    refund stuck -> refund 0 in doubt, waits for a person; writes stuck
    refund not sent -> refund 0 owed
    refund not exist -> refund 0 in doubt; does refund 0
    refund unknown -> refund 0 in doubt
    operator: refund failed -> refused: refund final
    operator: refund paid otherwise
        -> refund 0 paid otherwise; writes entry refund_paid_otherwise, order.suspense_refunded; rests
    timer | timer, much later -> unchanged; does refund 0
succeeded, a further capture's refund in doubt
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund ended, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | deadline | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund 1 owed; writes capture 2, entry suspense, entry refund; does refund 1
    callback paid -> capture 2 further, refund 1 unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    refund done -> refund 0 paid; writes entry refund_paid, order.suspense_refunded; rests
    refund poor -> refund 0 in doubt, waits for money; writes stuck
    refund refused | refund stuck -> refund 0 in doubt, waits for a person; writes stuck
    refund of a dead number | refund not sent | refund unknown -> refund 0 in doubt
    refund ended | refund ended, first number -> refund 0 owed, number 2
    refund not exist -> refund 0 in doubt; does refund 0
    operator: refund failed -> refused: refund final
    operator: refund paid otherwise
        -> refund 0 paid otherwise; writes entry refund_paid_otherwise, order.suspense_refunded; rests
    timer | timer, much later -> unchanged; does query refund 0
succeeded, a further capture's refund owed under its second number
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund ended, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | refund ended, first number | deadline
    | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund 1 owed; writes capture 2, entry suspense, entry refund; does refund 1
    callback paid -> capture 2 further, refund 1 unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    refund done -> refund 0 paid, number 2; writes entry refund_paid, order.suspense_refunded; rests
    refund poor -> refund 0 owed, number 2, waits for money; writes stuck
    refund refused -> refund 0 owed, number 2, waits for a person; writes stuck
    refund of a dead number | refund ended -> refund 0 owed, number 3
    refund stuck -> refund 0 in doubt, number 2, waits for a person; writes stuck
    refund not sent -> refund 0 owed, number 2
    refund not exist -> refund 0 in doubt, number 2; does refund 0
    refund unknown -> refund 0 in doubt, number 2
    operator: refund failed -> refused: refund final
    operator: refund paid otherwise
        -> refund 0 paid otherwise, number 2; writes entry refund_paid_otherwise, order.suspense_refunded; rests
    timer | timer, much later -> unchanged; does refund 0
succeeded, a further capture's refund in doubt under its last number
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund ended, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | refund ended, first number | deadline
    | deadline, passed -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund 1 owed; writes capture 2, entry suspense, entry refund; does refund 1
    callback paid -> capture 2 further, refund 1 unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    refund done -> refund 0 paid, number 6; writes entry refund_paid, order.suspense_refunded; rests
    refund poor -> refund 0 in doubt, number 6, waits for money; writes stuck
    refund refused | refund ended | refund stuck -> refund 0 in doubt, number 6, waits for a person; writes stuck
    refund of a dead number | refund not sent | refund unknown -> refund 0 in doubt, number 6
    refund not exist -> refund 0 in doubt, number 6; does refund 0
    operator: refund failed -> refused: refund final
    operator: refund paid otherwise
        -> refund 0 paid otherwise, number 6; writes entry refund_paid_otherwise, order.suspense_refunded; rests
    timer | timer, much later -> unchanged; does query refund 0
succeeded, a further capture's refund done
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund ended, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | refund done | refund poor
    | refund refused | refund of a dead number | refund ended | refund ended, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | deadline | timer | deadline, passed | timer, much later
        -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund 1 owed; writes capture 2, entry suspense, entry refund; does refund 1
    callback paid -> capture 2 further, refund 1 unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    operator: refund failed | operator: refund paid otherwise -> refused: refund final
succeeded, a further capture's refund came back
    created | validated suitable | validated unsuitable | validated risk | send never sent
    | refund ended, number never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query paid as known | query pending | query not exist | query declined | query closed | query unknown
    | close closed | close already paid | close not exist | close unknown | refund done | refund poor
    | refund refused | refund of a dead number | refund ended | refund ended, first number | refund stuck
    | refund not sent | refund not exist | refund unknown | deadline | timer | deadline, passed | timer, much later
        -> unchanged
    send paid | query paid | query paid less | query paid more | operator: paid
        -> capture 2 further, refund 1 owed; writes capture 2, entry suspense, entry refund; does refund 1
    callback paid -> capture 2 further, refund 1 unconfirmed; writes capture 2, entry suspense; does query #0
    callback paid less | callback other currency -> #0 claimed; does query #0
    callback contradicts | operator: closed -> refused: capture contradicts
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refund 1 owed; writes new row of refund 1, entry refund; does refund 1
    operator: refund failed -> refused: refund final
    operator: refund paid otherwise
        -> refund 0 paid otherwise; writes entry refund, entry refund_paid_otherwise, order.suspense_refunded, not stuck; rests
failed, cancelled before any attempt
    created | validated suitable | validated unsuitable | validated risk -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send paid | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | send never sent | query paid | query paid less | query paid more | query paid as known | query pending
    | query not exist | query declined | query closed | query unknown | close closed | close already paid
    | close not exist | close unknown | callback paid | callback paid less | callback other currency
    | callback contradicts | callback other account | callback other channel | callback other attempt
    | operator: paid | operator: closed -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    deadline | timer | deadline, passed | timer, much later -> unchanged
failed, cancelled, attempt dead
    created | validated suitable | validated unsuitable | validated risk | send never sent -> refused: out of place
    chosen simpay | chosen wechat | cancel -> refused: order final
    send accepted | send rejected | send rejected, our fault | send not sent | send later | send unknown
    | query unknown | close closed | close already paid | close not exist | close unknown | deadline
    | deadline, passed -> unchanged
    send paid -> capture 0 too late, refund 0 owed; writes capture 0, entry suspense, entry refund; does refund 0
    query paid | query paid less | query paid more | query paid as known | operator: paid
        -> #0 watched 1, capture 0 too late, refund 0 owed; writes capture 0, entry suspense, entry refund; does refund 0
    query pending | query not exist | query declined | query closed | operator: closed -> #0 watched 1
    callback paid -> capture 0 too late, refund 0 unconfirmed; writes capture 0, entry suspense; does query #0
    callback paid less | callback other currency | callback contradicts -> #0 claimed; does query #0
    callback other account | callback other channel -> refused: account differs
    callback other attempt -> refused: attempt unknown
    refund asked -> refused: order not paid
    refund done | refund poor | refund refused | refund of a dead number | refund ended | refund ended, first number
    | refund stuck | refund not sent | refund not exist | refund unknown | refund ended, number never sent
    | operator: refund failed | operator: refund paid otherwise -> refused: refund unknown
    timer | timer, much later -> unchanged; does query #0
";
