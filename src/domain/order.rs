//! The order: what a platform wants paid, its attempts and its captures. Data only; `step` decides.

use serde::{Deserialize, Serialize};

use super::channel::{Channel, Closing, Method};
use super::dated::Day;
use super::id::{Account, AttemptNumber, Incarnation, OrderId, PlatformId};
use super::merchant::Merchant;
use super::money::{Currency, Rate};
use super::rates::Rates;
use super::refund::Refund;
use super::retry::{self, Pace};
use super::rules::{Rulebook, RulesVersion};
use super::splits::Split;
use super::time::{Instant, TimeScale};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Durable; no channel chosen yet, or the last attempt is certainly dead and the payer may choose again.
    Created,
    /// A channel is chosen and looked at; never the state an order rests in.
    Validating,
    /// The intent to call the channel is durable: from here money may move.
    Submitted,
    Succeeded,
    Failed,
}

impl State {
    pub const ALL: [State; 5] = [State::Created, State::Validating, State::Submitted, State::Succeeded, State::Failed];

    pub const fn name(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Validating => "validating",
            State::Submitted => "submitted",
            State::Succeeded => "succeeded",
            State::Failed => "failed",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }

    pub const fn is_final(self) -> bool {
        match self {
            State::Created | State::Validating | State::Submitted => false,
            State::Succeeded | State::Failed => true,
        }
    }
}

/// Why an order failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderFailure {
    Expired,
    Cancelled,
    RiskRefused,
    AttemptsUsedUp,
}

/// Why an attempt (or the choice of a channel) came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptFailure {
    AmountInsufficient,
    AmountMismatch,
    ChannelDeclined,
    ChannelUnsuitable,
    ChannelUnavailable,
    /// We did not send it. It is told as an unavailable channel and says nothing about the channel.
    HeldBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeeBearer {
    Payer,
    Platform,
}

/// What is wanted of the open attempt once it is certainly dead. Stored before the channel is asked to close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    Switch { channel: Channel, method: Method },
    Expiry,
    Cancel,
}

impl Wish {
    /// Cancel beats expiry beats switch; a newer switch takes the place of an older one.
    pub const fn gives_way_to(self, other: Wish) -> bool {
        match (self, other) {
            (Wish::Switch { .. }, Wish::Switch { .. } | Wish::Expiry | Wish::Cancel) | (Wish::Expiry, Wish::Cancel) => {
                true
            }
            (Wish::Expiry | Wish::Cancel, Wish::Switch { .. } | Wish::Expiry) | (Wish::Cancel, Wish::Cancel) => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    Open,
    Closing,
    /// No send of it can ever be paid any more, or what was paid was not the amount asked.
    Dead,
    /// It is the attempt that the order was paid by.
    Captured,
}

/// How far an attempt has got into the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Every send that was answered was certainly not taken.
    Nowhere,
    /// Some send may have been taken; nothing was shown to the payer.
    Perhaps,
    /// A `next_action` is durable, so the payer may be paying.
    Shown,
}

/// How far the closing of an attempt has got at its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseStage {
    NotAsked,
    /// Asked, without a certain answer.
    Asked,
    /// Answered as done, where only a query after it makes it certain.
    Answered,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    pub ordinal: u8,
    /// Of the store when it was opened: a part of its number for ever.
    pub incarnation: Incarnation,
    pub account: Account,
    /// Of its account when it was opened: what is booked of its money follows this for ever.
    #[serde(default, skip_serializing_if = "Merchant::is_operator")]
    pub merchant: Merchant,
    pub method: Method,
    pub payable_minor: i64,
    pub fee_minor: i64,
    pub state: AttemptState,
    pub opened_at: Instant,
    /// Absolute at the channel.
    pub expires_at: Instant,
    /// Queries and closes are counted from here: the last send, its unknown outcome, or when closing began.
    pub paced_from: Instant,
    /// Sends whose intent is durable, and the newest of them that was answered.
    pub sends: u32,
    pub answered: u32,
    pub reach: Reach,
    pub close: CloseStage,
    /// A verified callback spoke of a capture that only a query can confirm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Instant>,
    /// Looks taken at it after its order had failed, see [`Rulebook::watches`].
    pub watched: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<AttemptFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// The channel's own name of it, or of the capture that it was paid by.
    pub reference: Option<Box<str>>,
}

impl Attempt {
    pub const fn channel(&self) -> Channel {
        self.account.channel()
    }

    pub fn is_open(&self) -> bool {
        match self.state {
            AttemptState::Open | AttemptState::Closing => true,
            AttemptState::Dead | AttemptState::Captured => false,
        }
    }

    /// When it is asked for while it is open, counted from `paced_from`. What was sent again and not shown to anybody
    /// begins later in the schedule each time, so that asking and sending again become rare together.
    pub(super) fn queries(&self, book: Rulebook) -> retry::Schedule {
        let schedule = book.queries(self.channel());
        let sent_again = match self.reach {
            Reach::Nowhere | Reach::Perhaps => usize::try_from(self.sends.saturating_sub(1)).unwrap_or(usize::MAX),
            Reach::Shown => 0,
        };
        &schedule[sent_again.min(schedule.len() - 1)..]
    }

    /// Whether asking for this way to pay means this attempt. Once its time is over it is not sent again: a channel
    /// would refuse it, or take it for another one that can be paid beside it.
    pub fn is_renewed_by(&self, channel: Channel, method: Method, now: Instant) -> bool {
        (self.channel(), self.method) == (channel, method) && now < self.expires_at
    }

    /// Whether the gateway may know of this attempt, so that money could ever come by it.
    pub fn may_exist(&self) -> bool {
        match self.reach {
            Reach::Nowhere => self.sends > self.answered,
            Reach::Perhaps | Reach::Shown => true,
        }
    }
}

/// Why a capture is not what an order was paid by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspenseReason {
    /// Another amount than its attempt's payable.
    WrongAmount,
    /// The order was paid already.
    Further,
    /// The order had failed for good.
    TooLate,
}

/// What a capture is to its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Payment,
    /// It goes back: one of the order's refunds is of it.
    Suspense(SuspenseReason),
}

/// Money that a channel says it took, identified by its account (the attempt's) and the channel's reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    pub ordinal: u8,
    pub reference: Box<str>,
    pub amount_minor: i64,
    /// When it was booked.
    pub at: Instant,
    /// By the channel's clock, and the day of its bill.
    pub effective_at: Instant,
    pub bill_day: Day,
    pub purpose: Purpose,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub id: OrderId,
    pub platform: PlatformId,
    /// Commits of this order, the first one being 1: the other half of the journal's key.
    pub version: u32,
    pub state: State,
    pub currency: Currency,
    pub amount_minor: i64,
    /// Fixed when the order is created.
    pub rates: Rates,
    pub fee_bearer: FeeBearer,
    /// Of all that decides about it, fixed when it is created: a journal is replayed by what its order began with.
    pub rules: RulesVersion,
    pub pace: Pace,
    /// Fixed when it is created, like its pace.
    #[serde(default, skip_serializing_if = "TimeScale::is_true")]
    pub time_scale: TimeScale,
    /// Whether somebody wants webhooks of it.
    pub webhooks: Webhooks,
    pub attempts_max: u8,
    pub created_at: Instant,
    pub expires_at: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Instant>,
    /// What looks after its end are counted from, where that end is dated by a clock that ran ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_from: Option<Instant>,
    /// The time of the last event: no event is earlier.
    pub last_at: Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<OrderFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<AttemptFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<Wish>,
    /// Webhooks so far.
    pub sequence: u32,
    pub attempts: Vec<Attempt>,
    pub captures: Vec<Capture>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<Refund>,
    #[serde(default, skip_serializing_if = "<[Split]>::is_empty")]
    pub splits: Box<[Split]>,
    /// Messages of other streams so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub messages_taken: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Webhooks {
    Wanted,
    NotWanted,
}

/// What a payer pays at a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    pub rate: Rate,
    pub fee_minor: i64,
    pub payable_minor: i64,
}

/// The price of an amount at a rate; none where it passes the currency's bound.
pub fn quote(amount_minor: i64, currency: Currency, rate: Rate, bearer: FeeBearer) -> Option<Quote> {
    let fee_minor = rate.fee(amount_minor, currency)?;
    let payable_minor = match bearer {
        FeeBearer::Payer => amount_minor.checked_add(fee_minor)?,
        FeeBearer::Platform => amount_minor,
    };
    Some(Quote { rate, fee_minor, payable_minor })
}

impl Order {
    /// What it lives by, whatever new orders do.
    pub fn rulebook(&self) -> Rulebook {
        Rulebook { version: self.rules, pace: self.pace, time_scale: self.time_scale }
    }

    /// None where it has no rate for the channel, or the price passes the currency's bound.
    pub fn quote(&self, channel: Channel, method: Method) -> Option<Quote> {
        quote(self.amount_minor, self.currency, self.rates.of(channel, method)?, self.fee_bearer)
    }

    pub fn attempt(&self, ordinal: u8) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.ordinal == ordinal)
    }

    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.is_open())
    }

    /// The number of an attempt of this order.
    pub fn number(&self, attempt: &Attempt) -> AttemptNumber {
        AttemptNumber { order: self.id, ordinal: attempt.ordinal, incarnation: attempt.incarnation }
    }

    /// Whether no further attempt may be opened.
    pub fn attempts_used_up(&self) -> bool {
        self.attempts.len() >= usize::from(self.attempts_max.min(AttemptNumber::ORDINALS))
    }

    /// The attempt that a reader cares about: the one paid by, else the open one, else none.
    pub fn current_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.state == AttemptState::Captured).or_else(|| self.open_attempt())
    }

    /// When this order next owes the world something, after `now`; none when it is final and owes nothing.
    pub fn next_due_at(&self, now: Instant) -> Option<Instant> {
        let expiry = match self.wish {
            _ if self.state.is_final() => None,
            None | Some(Wish::Switch { .. }) => Some(self.expires_at),
            Some(Wish::Expiry | Wish::Cancel) => None,
        };
        // A switch whose old attempt is dead waits for nothing but us.
        let switch = match (self.state, self.wish) {
            (State::Created, Some(Wish::Switch { .. })) => Some(now),
            _ => None,
        };
        let attempts = self.attempts.iter().filter_map(|attempt| self.attempt_due_at(attempt, now));
        let refunds = self.refunds.iter().filter_map(|refund| self.refund_due_at(refund, now));
        let watches = self.attempts.iter().filter_map(|attempt| self.watch_due_at(attempt, now));
        let ahead = self.lies_ahead(now).then_some(now);
        expiry.into_iter().chain(switch).chain(attempts).chain(refunds).chain(watches).chain(ahead).min()
    }

    fn attempt_due_at(&self, attempt: &Attempt, now: Instant) -> Option<Instant> {
        let book = self.rulebook();
        let open = attempt.is_open().then_some((attempt.queries(book), attempt.paced_from));
        let claimed = attempt.claimed_at.map(|since| (book.queries(attempt.channel()), since));
        let ticks = open.into_iter().chain(claimed);
        ticks.map(|(schedule, since)| retry::next_tick(schedule, since, now)).min()
    }

    /// Since when an attempt that money may have come by is to be looked at again, its order having failed.
    pub(super) fn watch_since(&self, attempt: &Attempt) -> Option<Instant> {
        let exposed = self.state == State::Failed && attempt.may_exist();
        let gap = self.rulebook().watches().get(usize::from(attempt.watched)).filter(|_| exposed)?;
        Some(self.watched_from.or(self.finished_at)?.plus_ms(*gap))
    }

    /// A look that brought no answer is repeated at the pace of queries.
    fn watch_due_at(&self, attempt: &Attempt, now: Instant) -> Option<Instant> {
        let since = self.watch_since(attempt)?;
        let schedule = self.rulebook().queries(attempt.channel());
        Some(if since > now { since } else { retry::next_tick(schedule, since, now) })
    }

    /// Whether something that it waits for is counted from an instant that no event by `now` can have set: its clock ran
    /// ahead then, and it would wait for as long as that.
    fn lies_ahead(&self, now: Instant) -> bool {
        // Nothing that is counted from is later than the last event.
        self.last_at > now && {
            let mut brought_back = self.clone();
            brought_back.bring_back(now);
            brought_back != *self
        }
    }

    /// Counts what is waited for from `now` at the latest. What is on record stays as it was told.
    pub(super) fn bring_back(&mut self, now: Instant) {
        if self.last_at <= now {
            return;
        }
        let book = self.rulebook();
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.is_open() || attempt.claimed_at.is_some()) {
            attempt.paced_from = attempt.paced_from.min(now);
            attempt.claimed_at = attempt.claimed_at.map(|since| since.min(now));
        }
        for refund in &mut self.refunds {
            refund.bring_back(now, book);
        }
        let is_ahead = self.watched_from.or(self.finished_at).is_some_and(|from| from > now);
        if is_ahead && self.state == State::Failed {
            self.watched_from = Some(now);
        }
    }

    /// Whether its actor may go: it is quiet, and no look is due whose answer must find it there.
    pub fn may_leave(&self, now: Instant) -> bool {
        let rests = |attempt: &Attempt| self.watch_since(attempt).is_none_or(|since| since > now);
        let due = |refund: &Refund| self.look_since(refund).is_some_and(|since| since <= now);
        self.is_quiet() && self.attempts.iter().all(rests) && !self.refunds.iter().any(due) && !self.lies_ahead(now)
    }

    /// Whether nothing more is to be done for it: final, no attempt open and no refund under way.
    pub fn is_quiet(&self) -> bool {
        self.state.is_final()
            && self.attempts.iter().all(|attempt| !attempt.is_open() && attempt.claimed_at.is_none())
            && self.refunds.iter().all(Refund::is_quiet)
    }
}

impl Attempt {
    pub fn can_be_closed(&self, book: Rulebook) -> bool {
        book.channel(self.channel()).closing != Closing::Impossible
    }
}

mod refunds;

#[cfg(test)]
pub(crate) mod example;
