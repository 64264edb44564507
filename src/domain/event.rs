//! Past facts, and what follows from them: the vocabulary of `step`.

use serde::{Deserialize, Serialize};

use super::channel::{Channel, Method};
use super::dated::Dated;
use super::id::{Account, Incarnation, OrderId, PlatformId, Round};
use super::ledger::Entry;
use super::merchant::Merchant;
use super::money::Currency;
use super::order::{AttemptFailure, FeeBearer, Order, Webhooks};
use super::rates::Rates;
use super::refund::FeePolicy;
use super::retry::Pace;
use super::rules::RulesVersion;
use super::splits::Split;
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
        #[serde(default, skip_serializing_if = "Dated::is_not_told")]
        dated: Dated,
    },
    /// The platform wants money of the order back at its payer.
    RefundAsked {
        amount_minor: i64,
        fee_policy: FeePolicy,
    },
    RefundAnswered {
        /// Its place among the order's refunds.
        refund: u16,
        /// Of which of the refund's numbers the answer speaks.
        #[serde(default, skip_serializing_if = "Round::is_first")]
        round: Round,
        /// When the question went out: what it did not find may have come since.
        asked_at: Instant,
        outcome: RefundOutcome,
    },
    /// A callback about a refund, whose signature, account and freshness were verified.
    RefundNoticed {
        /// As the gateway wrote it.
        number: Box<str>,
        account: Account,
        /// What it tells, where the channel's word is proof; none: it is a reason to ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        word: Option<RefundWord>,
    },
    /// A person ended a refund that its channel did not, with evidence.
    RefundResolved {
        refund: u16,
        resolution: RefundResolution,
        operator: Box<str>,
        evidence: Box<str>,
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
    #[serde(default, skip_serializing_if = "<[Split]>::is_empty")]
    pub splits: Box<[Split]>,
}

/// What the look at a chosen channel found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verdict {
    Suitable {
        account: Account,
        #[serde(default, skip_serializing_if = "Merchant::is_operator")]
        merchant: Merchant,
        expires_at: Instant,
    },
    Unsuitable {
        failure: AttemptFailure,
    },
    RiskRefused {
        rule: Box<str>,
    },
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
        #[serde(default, skip_serializing_if = "Dated::is_not_told")]
        dated: Dated,
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
        #[serde(default, skip_serializing_if = "Dated::is_not_told")]
        dated: Dated,
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

/// What a channel tells of a refund: of one send of it, or of all that was ever sent under its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum RefundOutcome {
    /// The channel has it and will pay it.
    Pending {
        hold: Hold,
    },
    Done {
        /// The channel's own name of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<Box<str>>,
        #[serde(default, skip_serializing_if = "Dated::is_not_told")]
        dated: Dated,
    },
    /// Certainly not refunded by this send.
    Rejected {
        class: Rejection,
        code: Box<str>,
    },
    /// Certain: the channel has ended this refund, and the payer has nothing of all that was sent under its number.
    Ended {
        code: Box<str>,
    },
    /// The payer had the money, and the channel has it back.
    Returned {
        code: Box<str>,
        #[serde(default, skip_serializing_if = "Dated::is_not_told")]
        dated: Dated,
    },
    /// It neither goes on nor ends by itself: a person must see to it at the channel.
    Stuck {
        code: Box<str>,
    },
    /// Certainly not taken, and worth sending again unchanged: no byte of the call was written, or too many came at once.
    NotSent {
        why: Box<str>,
    },
    /// A query found no such refund: it may still be on its way there.
    NotExist,
    Unknown {
        why: Box<str>,
    },
}

impl RefundOutcome {
    /// The channel's name of it and when the money moved, where it tells that the payer has it.
    pub fn paid(&self) -> Option<(Option<&str>, Dated)> {
        match self {
            RefundOutcome::Done { reference, dated } => Some((reference.as_deref(), *dated)),
            RefundOutcome::Pending { .. }
            | RefundOutcome::Rejected { .. }
            | RefundOutcome::Ended { .. }
            | RefundOutcome::Returned { .. }
            | RefundOutcome::Stuck { .. }
            | RefundOutcome::NotSent { .. }
            | RefundOutcome::NotExist
            | RefundOutcome::Unknown { .. } => None,
        }
    }
}

/// What a refund that the channel has taken waits for there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Nothing but time.
    Processing,
    /// Money of ours.
    Balance,
}

/// Why a channel would not take a refund, by the table beside its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// There is not enough money of ours at the channel: the same number goes later.
    Poor,
    /// Our fault: key, permission, a limit of ours. The same number goes once that is mended.
    Ours,
    /// The channel will not give this money back.
    Refused,
    /// The channel does not take this number again; another one may go.
    DeadNumber,
}

/// What a verified callback about a refund tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundWord {
    pub amount_minor: i64,
    /// As the gateway wrote it.
    pub currency: Box<str>,
    pub outcome: RefundOutcome,
}

/// How a person ends a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundResolution {
    /// The payer has nothing of it, and nothing of it will be paid.
    Failed,
    /// The payer has got the amount by other means.
    PaidOtherwise,
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
    /// `refunds[index]` of the order is new, or has changed what is shown of it.
    Refund {
        index: u16,
        change: RowChange,
    },
    Webhook {
        kind: WebhookKind,
        sequence: u32,
        /// The place of the refund that it tells of; none where it tells of the order.
        refund: Option<u16>,
    },
    /// The `next_action` that travels beside the event becomes durable.
    StoreNextAction,
    WipeNextAction,
    /// From now on an operator should look at its refunds.
    RefundsStuck,
    /// And from now on nobody needs to.
    RefundsMove,
}

/// Whether a row is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowChange {
    New,
    Changed,
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
    #[serde(rename = "refund.succeeded")]
    RefundSucceeded,
    #[serde(rename = "refund.failed")]
    RefundFailed,
    #[serde(rename = "refund.returned")]
    RefundReturned,
    #[serde(rename = "settlement.closed")]
    SettlementClosed,
    #[serde(rename = "payout.paid")]
    PayoutPaid,
    #[serde(rename = "payout.failed")]
    PayoutFailed,
    #[serde(rename = "payout.returned")]
    PayoutReturned,
}

impl WebhookKind {
    pub const ALL: [WebhookKind; 11] = [
        WebhookKind::OrderSucceeded,
        WebhookKind::OrderFailed,
        WebhookKind::OrderAttemptFailed,
        WebhookKind::OrderSuspenseRefunded,
        WebhookKind::RefundSucceeded,
        WebhookKind::RefundFailed,
        WebhookKind::RefundReturned,
        WebhookKind::SettlementClosed,
        WebhookKind::PayoutPaid,
        WebhookKind::PayoutFailed,
        WebhookKind::PayoutReturned,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            WebhookKind::OrderSucceeded => "order.succeeded",
            WebhookKind::OrderFailed => "order.failed",
            WebhookKind::OrderAttemptFailed => "order.attempt_failed",
            WebhookKind::OrderSuspenseRefunded => "order.suspense_refunded",
            WebhookKind::RefundSucceeded => "refund.succeeded",
            WebhookKind::RefundFailed => "refund.failed",
            WebhookKind::RefundReturned => "refund.returned",
            WebhookKind::SettlementClosed => "settlement.closed",
            WebhookKind::PayoutPaid => "payout.paid",
            WebhookKind::PayoutFailed => "payout.failed",
            WebhookKind::PayoutReturned => "payout.returned",
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
    /// Sends a refund, by its place among the order's.
    Refund {
        refund: u16,
    },
    QueryRefund {
        refund: u16,
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
    /// Nothing was paid that could go back.
    OrderNotPaid,
    /// What is left of the payment is less.
    RefundExceeds {
        remaining_minor: i64,
    },
    /// The platform would owe more than it may.
    BalanceInsufficient,
    /// The channel takes no more refunds of a payment.
    RefundLimit {
        most: u8,
    },
    /// The channel does not refund payments of that age.
    RefundWindowOver,
    /// The refund has come to its end, or is no platform's to fail.
    RefundFinal,
    /// The order has no such refund.
    RefundUnknown,
    /// The order has no such attempt.
    AttemptUnknown,
    /// The account whose key verified is not the attempt's.
    AccountDiffers,
    /// The very reference is on record with another amount.
    CaptureContradicts,
    /// The event does not belong to the state, such as a second creation.
    OutOfPlace,
}
