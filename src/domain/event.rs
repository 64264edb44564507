//! Past facts, and what follows from them: the vocabulary of `step`.

use serde::{Deserialize, Serialize};

use super::channel::{Channel, Method};
use super::id::{Account, Incarnation, OrderId, PlatformId, Round};
use super::ledger::Entry;
use super::money::Currency;
use super::order::{AttemptFailure, FeeBearer, Order, Webhooks};
use super::rates::Rates;
use super::retry::Pace;
use super::rules::RulesVersion;
use super::stream::StreamId;
use super::time::{Instant, TimeScale};

/// A fact, its time and the store's incarnation by then; the journal holds these, with nothing personal in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Instant,
    /// What this event opens is numbered by it, for ever.
    pub incarnation: Incarnation,
    #[serde(flatten)]
    pub fact: Fact,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    Created(Box<Created>),
    ChannelChosen {
        channel: Channel,
        method: Method,
    },
    Validated {
        channel: Channel,
        method: Method,
        verdict: Verdict,
    },
    SendAnswered {
        ordinal: u8,
        send: u32,
        outcome: SendOutcome,
    },
    QueryAnswered {
        ordinal: u8,
        finding: Finding,
        /// When the query went out: what it did not find may have come since.
        asked_at: Instant,
    },
    CloseAnswered {
        ordinal: u8,
        answer: CloseAnswer,
    },
    /// A callback whose signature, account and freshness were verified.
    CallbackVerified {
        ordinal: u8,
        /// By the number that the callback gave: the incarnation that the attempt was opened in.
        opened_in: Incarnation,
        account: Account,
        reference: Box<str>,
        amount_minor: i64,
        /// As the gateway wrote it.
        currency: Box<str>,
    },
    RefundAnswered {
        capture: u16,
        /// Of which of the refund's numbers the answer speaks.
        #[serde(default, skip_serializing_if = "Round::is_first")]
        round: Round,
        outcome: RefundOutcome,
    },
    CancelAsked,
    DeadlinePassed,
    /// What was due has come due; it changes nothing by itself.
    TimerFired,
    /// A person settled what could not be settled by asking, with evidence.
    OperatorResolved {
        ordinal: u8,
        finding: Finding,
        operator: Box<str>,
        evidence: Box<str>,
    },
    /// Another stream's message, by its sender and its number there.
    MessageTaken {
        from: StreamId,
        number: u32,
        body: Box<str>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Created {
    pub id: OrderId,
    pub platform: PlatformId,
    pub currency: Currency,
    pub amount_minor: i64,
    pub rates: Rates,
    pub fee_bearer: FeeBearer,
    pub rules: RulesVersion,
    pub pace: Pace,
    #[serde(default, skip_serializing_if = "TimeScale::is_true")]
    pub time_scale: TimeScale,
    pub webhooks: Webhooks,
    pub attempts_max: u8,
    pub expires_at: Instant,
}

/// What the look at a chosen channel found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verdict {
    Suitable { account: Account, expires_at: Instant },
    Unsuitable { failure: AttemptFailure },
    RiskRefused { rule: Box<str> },
}

/// What became of one send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum SendOutcome {
    /// Taken; the payer's `next_action` travels beside the event and stays out of the journal.
    Accepted {
        /// The channel's own name of the attempt, where it tells one so early.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<Box<str>>,
    },
    Paid {
        reference: Box<str>,
        amount_minor: i64,
    },
    /// Certainly not taken.
    Rejected {
        fault: Fault,
        code: Box<str>,
    },
    /// No byte of it was written: the channel could not be reached.
    NotSent {
        why: Box<str>,
    },
    /// We did not send it, for a reason of our own: a bound, the breaker, what it was to be made of.
    HeldBack {
        why: Box<str>,
    },
    /// No request of this channel's can be made of what was asked for. Nothing was sent, and nothing ever will be.
    Impossible {
        code: Box<str>,
    },
    /// Certainly not taken, and the channel asks for the same once more after a while: too many came at once.
    Later {
        why: Box<str>,
    },
    Unknown {
        why: Box<str>,
    },
}

/// Whose fault a certain refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The channel refuses this payment.
    Payment,
    /// The channel refuses us: key, permission, limits.
    Ours,
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Finding {
    Paid {
        reference: Box<str>,
        amount_minor: i64,
    },
    /// The channel knows the attempt and it may still be paid.
    Pending,
    NotExist,
    /// Certain: it was not paid and never will be.
    Declined,
    Closed,
    /// No answer, or none that could be believed.
    Unknown {
        why: Box<str>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum CloseAnswer {
    Closed,
    AlreadyPaid,
    /// There is nothing to close: the channel knows no such attempt, so far.
    NotExist,
    /// Not closed for another reason, or nobody knows.
    Unknown {
        why: Box<str>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum RefundOutcome {
    Done,
    /// Certainly not refunded by this try; the number may be sent again.
    Rejected {
        code: Box<str>,
    },
    /// Certainly not refunded by this try, and the channel will not take its number again.
    Spent {
        code: Box<str>,
    },
    /// Certain: the channel has ended this refund without paying it, and nothing ever will be paid under its number.
    Dead {
        code: Box<str>,
    },
    /// It neither goes on nor ends by itself: a person must see to it at the channel.
    Stuck {
        code: Box<str>,
    },
    /// No byte of the call was written.
    NotSent {
        why: Box<str>,
    },
    /// A query found no such refund: it may still be on its way there.
    NotExist,
    Unknown {
        why: Box<str>,
    },
}

/// Rows that a step adds beside the order's own and its journal's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The attempt's request is frozen with it.
    OpenAttempt {
        ordinal: u8,
    },
    /// `captures[index]` of the order.
    Capture {
        index: u16,
    },
    Entry(Entry),
    Webhook {
        kind: WebhookKind,
        sequence: u32,
    },
    /// The `next_action` that travels beside the event becomes durable.
    StoreNextAction,
    WipeNextAction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookKind {
    #[serde(rename = "order.succeeded")]
    OrderSucceeded,
    #[serde(rename = "order.failed")]
    OrderFailed,
    #[serde(rename = "order.attempt_failed")]
    OrderAttemptFailed,
    #[serde(rename = "order.suspense_refunded")]
    OrderSuspenseRefunded,
}

impl WebhookKind {
    pub const ALL: [WebhookKind; 4] = [
        WebhookKind::OrderSucceeded,
        WebhookKind::OrderFailed,
        WebhookKind::OrderAttemptFailed,
        WebhookKind::OrderSuspenseRefunded,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            WebhookKind::OrderSucceeded => "order.succeeded",
            WebhookKind::OrderFailed => "order.failed",
            WebhookKind::OrderAttemptFailed => "order.attempt_failed",
            WebhookKind::OrderSuspenseRefunded => "order.suspense_refunded",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        WebhookKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What is to be done once the step is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Submit {
        ordinal: u8,
        send: u32,
    },
    Query {
        ordinal: u8,
    },
    Close {
        ordinal: u8,
    },
    Refund {
        capture: u16,
    },
    QueryRefund {
        capture: u16,
    },
    /// The old attempt is dead: look at the channel that the payer chose.
    Choose {
        channel: Channel,
        method: Method,
    },
    ArmTimer {
        at: Instant,
    },
}

/// What an order's step decided.
pub type Step = super::machine::Step<Order>;

/// Business says no. Never journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    OrderFinal,
    /// An attempt lives at another channel and cannot be closed, or is being closed for good.
    AttemptOpen {
        retry_after_ms: i64,
        /// When it will have ended at the latest, where time ends it.
        until: Option<Instant>,
    },
    AttemptsUsedUp,
    /// The channel that is wanted instead cannot take this order now; the open attempt stays.
    ChannelUnusable {
        failure: AttemptFailure,
    },
    /// The order has no such attempt.
    AttemptUnknown,
    /// The account whose key verified is not the attempt's.
    AccountDiffers,
    /// The very reference is on record with another amount.
    CaptureContradicts,
    /// The event does not belong to the state, such as a second creation.
    OutOfPlace,
}
