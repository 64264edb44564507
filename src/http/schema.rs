//! The shapes of requests and answers, as the OpenAPI document tells them. They mirror what is read and written; a
//! test compares them with an order as it is really shown.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;

/// What a platform wants paid. Unknown fields are refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Names the order for ever, together with the platform.
    #[schema(min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z_.:-]+$", example = "shop-2026-0001")]
    pub merchant_order_id: String,
    /// Major units as a decimal string, at most 999999999999.99, never more decimals than the currency has.
    #[schema(pattern = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,4})?$", example = "200.00")]
    pub amount: String,
    /// Upper-case ISO 4217.
    #[schema(min_length = 3, max_length = 3, example = "CNY")]
    pub currency: String,
    /// With it the order is paid for at once; without it the payer chooses later.
    pub channel: Option<Channel>,
    /// The channel's way to pay; default: the channel's first.
    pub method: Option<Method>,
    /// No control characters; default: the merchant order id.
    #[schema(min_length = 1, max_length = 127, example = "A book")]
    pub description: Option<String>,
    pub payer: Option<Payer>,
    /// https, without credentials; in the sandbox also http and loopback.
    #[schema(max_length = 512, format = "uri")]
    pub return_url: Option<String>,
    /// https, without credentials; in the sandbox also http and loopback. Default: the platform's own.
    #[schema(max_length = 512, format = "uri")]
    pub webhook_url: Option<String>,
    /// Seconds.
    #[schema(minimum = 60, maximum = 604_800, default = 7_200)]
    pub expires_in: Option<u32>,
    #[schema(minimum = 1, maximum = 10, default = 5)]
    pub attempts_max: Option<u8>,
    /// At most 20 pairs, keys of 1 to 40 characters, 4 KiB in all.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Shares for other platforms, which agreed to get them; together at most the amount. The rest is the seller's.
    #[schema(max_items = 20)]
    pub splits: Option<Vec<NewSplit>>,
}

/// A fixed amount or a rate of the order's amount.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSplit {
    /// The other platform's name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[0-9a-z-]+$", example = "platform-b")]
    pub to: String,
    #[schema(example = "5.00")]
    pub amount: Option<String>,
    /// More than 0 and less than 1, at most 6 decimals.
    #[schema(pattern = r"^0\.[0-9]{1,6}$", example = "0.10")]
    pub rate: Option<String>,
}

/// Who pays; kept apart from the order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Payer {
    #[schema(min_length = 1, max_length = 128)]
    pub id: String,
    /// IPv4 or IPv6.
    pub ip: Option<String>,
    /// For WeChat Pay's `jsapi`.
    #[schema(min_length = 1, max_length = 128)]
    pub openid: Option<String>,
}

/// How an order is to be paid.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    pub channel: Channel,
    /// Default: the channel's first.
    pub method: Option<Method>,
    /// Who pays by this attempt and by those after it. Default: who was named last.
    pub payer: Option<Payer>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Simpay,
    Wechat,
    Alipay,
    Unionpay,
    Stripe,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Qr,
    Native,
    Jsapi,
    H5,
    App,
    Page,
    Wap,
    Card,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum State {
    Created,
    Validating,
    Submitted,
    Succeeded,
    Failed,
}

/// An order as it is now. Fields that are not known yet are null, never absent.
#[derive(ToSchema)]
pub struct Order {
    #[schema(example = "ord_01K0000000000000000000000A")]
    pub id: String,
    /// Always `order`.
    pub object: String,
    pub merchant_order_id: String,
    pub state: State,
    pub amount: String,
    pub currency: String,
    /// Null until a channel is chosen, like `fee_rate`, `payable`, `channel` and `method`.
    #[schema(required)]
    pub fee: Option<String>,
    #[schema(required)]
    pub fee_rate: Option<String>,
    pub fee_bearer: FeeBearer,
    #[schema(required)]
    pub payable: Option<String>,
    #[schema(required)]
    pub channel: Option<Channel>,
    #[schema(required)]
    pub method: Option<Method>,
    /// Null when nothing remains to be done by the payer; absent in webhooks.
    pub next_action: Option<NextAction>,
    pub attempts: Vec<Attempt>,
    /// Why the last attempt came to nothing.
    #[schema(required)]
    pub last_failure: Option<Failure>,
    /// Why the order failed for good.
    #[schema(required)]
    pub failure: Option<Failure>,
    /// A page in Chinese and English where the payer may choose and pay.
    pub retry_url: String,
    /// Enabled channels that are up and could take this order instead, the best first: what the payer paid by last,
    /// then by success rate of late, then by fee.
    pub alternative_channels: Vec<Channel>,
    /// While a channel is to be chosen: every enabled channel in that order, with its reason. Else empty.
    pub routing: Vec<Route>,
    /// Money that came and is not what the order was paid by.
    pub suspense: Vec<Suspense>,
    /// What the payer has back of what the order was paid by.
    pub amount_refunded: String,
    /// What may still be refunded.
    pub amount_refundable: String,
    pub splits: Vec<Split>,
    pub metadata: BTreeMap<String, String>,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub expires_at: String,
    #[schema(required, format = DateTime)]
    pub finished_at: Option<String>,
    /// In webhooks only: the place of this one among the order's.
    pub sequence: Option<u32>,
}

/// A share of an order.
#[derive(ToSchema)]
pub struct Split {
    pub to: String,
    /// Null until the order is paid.
    #[schema(required)]
    pub amount: Option<String>,
    #[schema(required)]
    pub rate: Option<String>,
}

/// A channel in its place.
#[derive(ToSchema)]
pub struct Route {
    pub channel: Channel,
    /// Whether it is among the `alternative_channels`.
    pub usable: bool,
    pub health: Health,
    /// Share of the attempts of the last minutes that were paid, of those that ended by the channel's word, as a decimal
    /// from 0 to 1; null with too few of them, which counts as neutral.
    #[schema(required, example = "0.9870")]
    pub success_rate: Option<String>,
    /// Null where the channel cannot take the order, like `payable`.
    #[schema(required)]
    pub fee: Option<String>,
    #[schema(required)]
    pub payable: Option<String>,
    pub reason: RouteReason,
}

/// Why a channel has its place.
#[derive(ToSchema)]
pub struct RouteReason {
    pub code: RouteReasonCode,
    pub message: Message,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RouteReasonCode {
    UsedBefore,
    OnlyOne,
    HigherSuccessRate,
    LowerFee,
    LowerSuccessRate,
    HigherFee,
    Available,
    Down,
    CurrencyUnsuitable,
    BelowMinimum,
    AboveMaximum,
    TooLate,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum FeeBearer {
    Payer,
    Platform,
}

/// What remains to be done by the payer.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub struct NextAction {
    #[schema(rename = "type")]
    pub kind: NextActionType,
    /// `qr_code`: to be shown as a QR code.
    pub qr_code: Option<String>,
    /// `redirect` and `form`: where to.
    pub url: Option<String>,
    /// `form`: the fields to be posted.
    pub fields: Option<BTreeMap<String, String>>,
    /// `client`: for the channel's JSAPI or app SDK.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<BTreeMap<String, String>>,
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum NextActionType {
    QrCode,
    Redirect,
    Form,
    Client,
}

/// One try to pay an order at one channel account.
#[derive(ToSchema)]
pub struct Attempt {
    /// The number sent to the channel: 28 of `[0-9A-Za-z]`.
    pub id: String,
    pub number: u8,
    pub channel: Channel,
    pub method: Method,
    pub account: String,
    pub state: AttemptState,
    pub payable: String,
    #[schema(required)]
    pub channel_reference: Option<String>,
    #[schema(required)]
    pub failure: Option<Failure>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum AttemptState {
    Open,
    Closing,
    Dead,
    Captured,
}

#[derive(ToSchema)]
pub struct Failure {
    pub code: FailureCode,
    pub message: Message,
    #[schema(required)]
    pub advice: Option<Advice>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum FailureCode {
    AmountInsufficient,
    AmountMismatch,
    ChannelDeclined,
    ChannelUnsuitable,
    ChannelUnavailable,
    Expired,
    Cancelled,
    RiskRefused,
    AttemptsUsedUp,
}

/// For the payer.
#[derive(ToSchema)]
pub struct Message {
    pub zh: String,
    pub en: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Advice {
    Retry,
    OtherChannel,
    ContactChannel,
}

#[derive(ToSchema)]
pub struct Suspense {
    /// The channel's.
    pub reference: String,
    pub amount: String,
    pub reason: SuspenseReason,
    pub state: SuspenseState,
    /// The attempt it came by.
    pub attempt: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum SuspenseReason {
    WrongAmount,
    Further,
    TooLate,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum SuspenseState {
    Owed,
    Refunded,
}

/// Money that goes back to a payer. Unknown fields are refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRefund {
    /// Names the refund for ever, together with the platform.
    #[schema(min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z_.:-]+$", example = "shop-2026-0001-back")]
    pub merchant_refund_id: String,
    /// What the payer gets back, in the order's currency, at most `amount_refundable`. Default: all of it.
    #[schema(pattern = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,4})?$", example = "100.30")]
    pub amount: Option<String>,
    /// Shown to the payer where the channel shows it.
    #[schema(min_length = 1, max_length = 80)]
    pub reason: Option<String>,
    pub fee_policy: Option<FeePolicy>,
}

/// `proportional` (default): the fee goes back in proportion to what is left of it. `kept`: the fee stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeePolicy {
    Proportional,
    Kept,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RefundState {
    Created,
    Submitted,
    Succeeded,
    Failed,
    Returned,
}

/// A refund as it is now. Fields that are not known yet are null, never absent.
#[derive(ToSchema)]
pub struct Refund {
    pub id: String,
    /// Always `refund`.
    pub object: String,
    /// The order's id.
    pub order: String,
    pub merchant_refund_id: String,
    pub state: RefundState,
    /// What the payer gets back.
    pub amount: String,
    pub currency: String,
    /// What of the fee goes back, whoever bears it.
    pub fee_returned: String,
    /// What each party gives, the seller first.
    pub parts: Vec<RefundPart>,
    pub fee_policy: FeePolicy,
    #[schema(required)]
    pub reason: Option<String>,
    pub channel: Channel,
    /// The channel's own name of it, once it is told.
    #[schema(required)]
    pub channel_reference: Option<String>,
    #[schema(required)]
    pub attention: Option<Attention>,
    #[schema(required)]
    pub failure: Option<RefundFailure>,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(required, format = DateTime)]
    pub finished_at: Option<String>,
    /// In webhooks only: the place of this one among the order's.
    pub sequence: Option<u32>,
}

#[derive(ToSchema)]
pub struct RefundPart {
    pub platform: String,
    pub amount: String,
}

/// `channel_balance`: it waits for money at the channel. `person`: an operator must act at the channel.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Attention {
    ChannelBalance,
    Person,
}

#[derive(ToSchema)]
pub struct RefundFailure {
    pub code: RefundFailureCode,
    pub message: Message,
    #[schema(required)]
    pub advice: Option<Advice>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RefundFailureCode {
    ChannelRefused,
    ChannelEnded,
    GivenUp,
}

#[derive(ToSchema)]
pub struct Refunds {
    pub data: Vec<Refund>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// `+` is the platform's own money.
#[derive(ToSchema)]
pub struct Balance {
    pub currency: String,
    /// Of the open cycle.
    pub open: String,
    /// Of closed cycles that are not paid out.
    pub settled: String,
    /// Held back.
    pub held: String,
    /// What other platforms owe it of money that they took in their own channel accounts, less what it owes them. It is
    /// paid between platforms and is no part of the balance.
    pub position: String,
}

#[derive(ToSchema)]
pub struct Balances {
    pub data: Vec<Balance>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What changed a platform's balance.
#[derive(ToSchema)]
pub struct BalanceTransaction {
    pub id: String,
    /// Always `balance_transaction`.
    pub object: String,
    #[schema(rename = "type")]
    pub kind: TransactionType,
    /// Signed: `+` is the platform's own money.
    pub amount: String,
    pub currency: String,
    #[schema(required)]
    pub order: Option<String>,
    #[schema(required)]
    pub refund: Option<String>,
    #[schema(required)]
    pub settlement: Option<String>,
    /// The other platform's name.
    #[schema(required)]
    pub counterparty: Option<String>,
    /// true: it changed the position and not the balance.
    pub position: bool,
    /// When it was booked.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When the money moved, by its channel's clock.
    #[schema(format = DateTime)]
    pub effective_at: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum TransactionType {
    Payment,
    Fee,
    ShareOut,
    ShareIn,
    Refund,
    ShareBack,
    FeeReturned,
    RefundFailed,
    RefundReturned,
    Adjustment,
    Hold,
    Release,
    Payout,
    PayoutFailed,
    PayoutReturned,
    PaymentReceived,
    Dispute,
}

#[derive(ToSchema)]
pub struct BalanceTransactions {
    pub data: Vec<BalanceTransaction>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum SettlementState {
    Open,
    Closed,
    Netted,
    PaidOut,
    Carried,
}

/// What a platform had of a cycle. `+` is the platform's own.
#[derive(ToSchema)]
pub struct Settlement {
    pub id: String,
    /// Always `settlement`.
    pub object: String,
    /// Among the platform's in this currency, from 1.
    pub number: u32,
    pub currency: String,
    pub state: SettlementState,
    /// null while the calendar has not begun.
    #[schema(required, format = DateTime)]
    pub from: Option<String>,
    #[schema(required, format = DateTime)]
    pub to: Option<String>,
    /// What payers paid the platform, with the shares that it gives.
    pub gross: String,
    pub refunds: String,
    /// Those that the platform bears.
    pub fees: String,
    pub shares_in: String,
    pub shares_out: String,
    pub adjustments: String,
    /// Of the settlements before it.
    pub brought_forward: String,
    pub net: String,
    /// The net while it is carried, else 0.
    pub carried_forward: String,
    #[schema(required)]
    pub payout: Option<String>,
    /// Shares of money that platforms took in accounts of their own, by the other platform; they are in no net.
    pub positions: Vec<SettlementPosition>,
    /// How far it reaches in each lane; none while it is open.
    pub covers: Vec<SettlementCover>,
}

#[derive(ToSchema)]
pub struct SettlementPosition {
    pub platform: String,
    pub amount: String,
}

#[derive(ToSchema)]
pub struct SettlementCover {
    pub lane: u32,
    pub places: i64,
}

#[derive(ToSchema)]
pub struct Settlements {
    pub data: Vec<Settlement>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// When cycles of platforms end.
#[derive(ToSchema)]
pub struct Calendar {
    pub id: u32,
    pub name: String,
    pub currency: String,
    /// As `daily 00:00 Asia/Shanghai`, of the cycles after the open one.
    #[schema(required)]
    pub schedule: Option<String>,
    #[schema(required)]
    pub open: Option<CalendarCycle>,
    /// The cycle that is being closed.
    #[schema(required)]
    pub closing: Option<CalendarCycle>,
}

#[derive(ToSchema)]
pub struct CalendarCycle {
    pub number: u32,
    #[schema(format = DateTime)]
    pub from: String,
    #[schema(format = DateTime)]
    pub to: String,
}

#[derive(ToSchema)]
pub struct Calendars {
    pub data: Vec<Calendar>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Which cycle is to be closed before its end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseCycle {
    pub number: u32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RescheduleCalendar {
    /// As `weekly mon 02:00 Asia/Shanghai`.
    pub schedule: String,
}

/// How an operator ended a refund.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundResolution {
    /// The refund's id, or its number at the channel: a refund of suspense money has no id.
    pub refund: String,
    pub resolution: RefundEnd,
    /// What shows it; kept in the journal, so nothing personal.
    #[schema(min_length = 1, max_length = 500)]
    pub evidence: String,
}

/// `failed`: the payer has nothing of it, and nothing will be paid. `paid_otherwise`: the payer has got it by other means.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundEnd {
    Failed,
    PaidOtherwise,
}

/// What an operator found out about an attempt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// The attempt's `number`.
    #[schema(minimum = 1)]
    pub attempt: u8,
    pub finding: Finding,
    /// The channel's; for `paid`, and only then.
    #[schema(min_length = 1, max_length = 255)]
    pub reference: Option<String>,
    /// What the channel took, in major units; for `paid`, and only then.
    #[schema(example = "200.60")]
    pub amount: Option<String>,
    /// What shows it, such as the number of a statement. It is kept in the journal: nothing personal.
    #[schema(min_length = 1, max_length = 500)]
    pub evidence: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    Paid,
    /// It was not paid and never will be.
    NotPaid,
}

/// Orders that cannot be worked on, by id.
#[derive(ToSchema)]
pub struct Quarantine {
    pub data: Vec<Quarantined>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct Quarantined {
    pub order: String,
    pub why: String,
    #[schema(format = DateTime)]
    pub since: String,
    /// How often it was tried again in vain.
    pub tries: u64,
    #[schema(format = DateTime)]
    pub retry_at: String,
    pub held: Held,
    /// Callbacks that wait for it.
    pub inbox: u64,
}

/// Refunds that an operator should look at.
#[derive(ToSchema)]
pub struct StuckRefunds {
    pub data: Vec<StuckRefund>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct StuckRefund {
    pub order: String,
    /// The refund's id, or its number at the channel: a refund of suspense money has no id.
    pub refund: String,
    pub cause: RefundCause,
    /// Channel and account, `wechat:default`.
    pub account: String,
    pub amount: String,
    pub currency: String,
    pub state: RefundState,
    #[schema(required)]
    pub attention: Option<Attention>,
    /// How often the channel was asked under this number; null once nothing is asked any more.
    #[schema(required)]
    pub tries: Option<u16>,
    /// When the order first had a refund on this list.
    #[schema(format = DateTime)]
    pub since: String,
}

/// `asked`: its platform asked for it. `suspense`: the money was owed to no order.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RefundCause {
    Asked,
    Suspense,
}

/// Stored rows that cannot be read.
#[derive(ToSchema)]
pub struct UnreadableRows {
    pub data: Vec<UnreadableRow>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct UnreadableRow {
    /// `orders`, `outbox`, `inbox` or `platforms`.
    pub table: String,
    /// What it is found by.
    pub row: String,
    pub why: String,
    #[schema(format = DateTime)]
    pub since: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Held {
    Back,
    OnTrial,
}

/// Operators, by when they were added.
#[derive(ToSchema)]
pub struct Operators {
    pub data: Vec<OperatorDetails>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct OperatorDetails {
    pub name: String,
    pub role: Role,
    pub keys: Vec<OperatorKey>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Support,
    Finance,
    Risk,
    Operator,
    Admin,
}

#[derive(ToSchema)]
pub struct OperatorKey {
    /// The key's first characters.
    pub hint: String,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(required, format = DateTime)]
    pub expires_at: Option<String>,
    #[schema(required, format = DateTime)]
    pub revoked_at: Option<String>,
    pub in_force: bool,
}

/// A further key of one's own.
#[derive(ToSchema)]
pub struct NewOperatorKey {
    pub key: HashedKey,
}

#[derive(ToSchema)]
pub struct HashedKey {
    /// Base64url of the SHA-256 of the key, without padding.
    pub hash: String,
    /// The key's first characters.
    pub hint: String,
    /// Milliseconds since 1970-01-01T00:00:00Z; without it the key holds until it is revoked.
    pub expires_at: Option<i64>,
}

/// Which keys are revoked.
#[derive(ToSchema)]
pub struct RevokedOperatorKeys {
    /// As the list shows it; without it all.
    pub hint: Option<String>,
}

/// What is to be done by hand, and why.
#[derive(ToSchema)]
pub struct NewProposal {
    pub act: Act,
    /// What shows it; kept in the journal, so nothing personal.
    #[schema(min_length = 1, max_length = 500)]
    pub reason: String,
}

/// By its `type`. Accounts of platforms have the platform's name, as `platform:shop-a`.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Act {
    ResolveAttempt {
        order: String,
        attempt: u8,
        finding: Finding,
        reference: Option<String>,
        amount: Option<String>,
    },
    ResolveRefund {
        order: String,
        refund: String,
        resolution: RefundEnd,
    },
    /// An entry of at most 20 lines, which sum to zero.
    Adjust {
        currency: String,
        lines: Vec<AdjustedLine>,
    },
    /// What a platform may owe after refunds, in major units; null: any debt.
    BoundDebt {
        platform: String,
        currency: String,
        most: Option<String>,
    },
    AddOperator {
        name: String,
        role: Role,
        key: HashedKey,
    },
    ChangeRole {
        name: String,
        role: Role,
    },
}

#[derive(ToSchema)]
pub struct AdjustedLine {
    #[schema(example = "bank:main")]
    pub account: String,
    /// In major units, with a sign where it is negative.
    #[schema(example = "-200.00")]
    pub amount: String,
}

#[derive(ToSchema)]
pub struct Proposals {
    pub data: Vec<Proposal>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What one person proposed and another one approves.
#[derive(ToSchema)]
pub struct Proposal {
    #[schema(example = "prp_01K0000000000000000000000A")]
    pub id: String,
    pub state: ProposalState,
    /// As it was posted, by its `type`.
    #[schema(value_type = Object)]
    pub act: String,
    pub reason: String,
    pub proposed_by: String,
    #[schema(format = DateTime)]
    pub proposed_at: String,
    #[schema(format = DateTime)]
    pub lapses_at: String,
    /// Who approved or rejected it.
    #[schema(required)]
    pub decided_by: Option<String>,
    /// Of one that was refused after its approval: `proposal_outdated`, or the code of what it acts on.
    #[schema(required)]
    pub why: Option<String>,
    /// What the act would change, as it was when it was proposed.
    #[schema(value_type = Object)]
    pub before: String,
    #[schema(value_type = Object)]
    pub after: String,
    /// The entries that the act books.
    pub books: Vec<BookedEntry>,
}

#[derive(ToSchema)]
pub struct BookedEntry {
    pub kind: String,
    pub currency: String,
    pub lines: Vec<AdjustedLine>,
}

/// `approved`: it is being carried out.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ProposalState {
    Open,
    Approved,
    Done,
    Refused,
    Rejected,
    Lapsed,
}

/// What operators did and what was refused them.
#[derive(ToSchema)]
pub struct OperatorActs {
    pub data: Vec<OperatorAct>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct OperatorAct {
    #[schema(format = DateTime)]
    pub at: String,
    /// The operator's name; `unknown` for a key of the right form that nobody has.
    pub operator: String,
    pub act: String,
    pub subject: String,
    /// `done`, or the code of the refusal.
    pub outcome: String,
}

/// Orders, newest first.
#[derive(ToSchema)]
pub struct Orders {
    pub data: Vec<Order>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A page of an order's journal.
#[derive(ToSchema)]
pub struct Journal {
    pub data: Vec<JournalStep>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct JournalStep {
    pub version: u32,
    #[schema(format = DateTime)]
    pub at: String,
    /// Each with its `type`, its `at` and what belongs to it.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<String>,
}

#[derive(ToSchema)]
pub struct Channels {
    pub data: Vec<ChannelDetails>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct ChannelDetails {
    pub name: Channel,
    pub enabled: bool,
    pub methods: Vec<Method>,
    pub fee_rate: String,
    /// `"all"` or a list of ISO 4217 codes.
    #[schema(value_type = Value)]
    pub currencies: String,
    /// By currency; empty where the channel takes what the contract takes.
    pub limits: Vec<Limit>,
    /// Null when the channel is not enabled.
    #[schema(required)]
    pub health: Option<Health>,
    /// Of late, as a decimal from 0 to 1; null with too few attempts.
    #[schema(required, example = "0.9870")]
    pub success_rate: Option<String>,
}

/// What a channel takes in one payment: bounds of the payable.
#[derive(ToSchema)]
pub struct Limit {
    pub currency: String,
    #[schema(example = "0.01")]
    pub min: String,
    /// Null where the channel has none of its own.
    #[schema(required)]
    pub max: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Health {
    Up,
    Down,
}

/// What an order would cost its payer now.
#[derive(ToSchema)]
pub struct Quote {
    pub amount: String,
    pub currency: String,
    pub channel: Channel,
    pub fee: String,
    pub fee_rate: String,
    pub payable: String,
}

#[derive(ToSchema)]
pub struct Liveness {
    pub status: String,
}

#[derive(ToSchema)]
pub struct Readiness {
    pub status: String,
    #[schema(required)]
    pub reason: Option<String>,
}

/// The form of the payer's page.
#[derive(ToSchema)]
pub struct PayForm {
    pub channel: Channel,
}

/// Money that a platform is settled for on its way to its bank.
#[derive(ToSchema)]
pub struct Payout {
    #[schema(example = "po_00000007434e590000000c")]
    pub id: String,
    #[schema(example = "payout")]
    pub object: String,
    pub platform: String,
    #[schema(example = "120.83")]
    pub amount: String,
    #[schema(example = "CNY")]
    pub currency: String,
    /// `created`, `approved`, `exported`, `unknown`, `paid`, `failed`, `cancelled` or `returned`.
    #[schema(example = "paid")]
    pub state: String,
    #[schema(required)]
    pub bank_reference: Option<String>,
    /// Why it failed, was cancelled or came back.
    #[schema(required)]
    pub reason: Option<String>,
    #[schema(format = DateTime)]
    pub created_at: String,
    #[schema(format = DateTime)]
    pub state_at: String,
}

#[derive(ToSchema)]
pub struct Payouts {
    pub data: Vec<Payout>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct NewPayouts {
    #[schema(example = "CNY")]
    pub currency: String,
    /// Only this platform's; else of all that have enough.
    pub platform: Option<String>,
    /// Our account that pays; default `main`.
    pub bank: Option<String>,
}

#[derive(ToSchema)]
pub struct PayoutCancellation {
    pub reason: String,
}

#[derive(ToSchema)]
pub struct PayoutAnswer {
    /// `paid`, `failed`, `returned` or `unknown`.
    #[schema(example = "paid")]
    pub answer: String,
    /// What the bank says it paid; another amount than the payout's is refused.
    pub amount: Option<String>,
    pub reference: Option<String>,
    pub reason: Option<String>,
}

#[derive(ToSchema)]
pub struct RefusedAnswer {
    pub line: u64,
    pub payout: String,
    pub why: String,
}

#[derive(ToSchema)]
pub struct PayoutAnswersTaken {
    pub taken: u64,
    pub repeated: u64,
    pub refused: Vec<RefusedAnswer>,
}

#[derive(ToSchema)]
pub struct NewPayoutFile {
    #[schema(example = "CNY")]
    pub currency: String,
    pub bank: Option<String>,
}

#[derive(ToSchema)]
pub struct PayoutFile {
    #[schema(example = "TB001796000000123")]
    pub id: String,
    pub bank: String,
    pub currency: String,
    pub count: u64,
    pub amount: String,
}

#[derive(ToSchema)]
pub struct NewBankDetails {
    pub platform: String,
    pub currency: String,
    /// `holder`, `bank_name`, `account` (`{"iban": …}` or `{"number": …}`) and `agent` (`{"bic": …}` or `{"cnaps": …}`).
    #[schema(value_type = Object)]
    pub details: String,
}

#[derive(ToSchema)]
pub struct BankDetailsApproval {
    pub platform: String,
    pub currency: String,
    pub number: u32,
}

#[derive(ToSchema)]
pub struct BankDetails {
    pub platform: String,
    pub currency: String,
    pub number: u32,
    /// Masked but for the last four characters of the account.
    pub details: String,
    #[schema(required, format = DateTime)]
    pub in_force_at: Option<String>,
}

#[derive(ToSchema)]
pub struct PaymentReceived {
    pub platform: String,
    pub currency: String,
    pub amount: String,
    pub bank: Option<String>,
    /// The bank's own name of the payment.
    pub reference: String,
}

#[derive(ToSchema)]
pub struct Settled {
    pub platform: String,
    pub currency: String,
    /// What is settled and not paid out; negative is a debt.
    pub settled: String,
}

#[derive(ToSchema)]
pub struct NewCalendar {
    #[schema(example = "weekly")]
    pub name: String,
    #[schema(example = "CNY")]
    pub currency: String,
    #[schema(example = "weekly mon 00:00 Asia/Shanghai")]
    pub schedule: String,
}

#[derive(ToSchema)]
pub struct JoinCalendar {
    pub platform: String,
}

#[derive(ToSchema)]
pub struct Joined {
    pub platform: String,
    pub calendar: u32,
    /// `now`, or `next_cycle`.
    #[schema(example = "next_cycle")]
    pub from: String,
}

/// What a platform has of a cycle.
#[derive(ToSchema)]
pub struct SettledPlatform {
    /// Null while the cycle is open.
    #[schema(required)]
    pub id: Option<String>,
    pub platform: String,
    pub currency: String,
    #[schema(example = "closed")]
    pub state: String,
    #[schema(required)]
    pub brought_forward: Option<String>,
    pub net: String,
}

#[derive(ToSchema)]
pub struct SettledOfCycle {
    pub data: Vec<SettledPlatform>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What a platform pays another one, or gets from it, for money that one of them took itself.
#[derive(ToSchema)]
pub struct Netting {
    #[schema(example = "net_1805.3.1")]
    pub id: String,
    /// Always `netting`.
    pub object: String,
    pub calendar: u32,
    /// Of the calendar.
    pub cycle: u32,
    pub direction: NettingDirection,
    /// The other platform's name.
    pub counterparty: String,
    pub amount: String,
    pub currency: String,
    pub state: NettingState,
    /// When the payer confirmed that it has paid.
    #[schema(required, format = DateTime)]
    pub paid_at: Option<String>,
    /// When the payee confirmed that it has got it.
    #[schema(required, format = DateTime)]
    pub received_at: Option<String>,
    #[schema(format = DateTime)]
    pub created_at: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum NettingDirection {
    Pays,
    Gets,
}

/// `paid` and `received`: one side has confirmed; `done`: both have, and it is booked.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum NettingState {
    Open,
    Paid,
    Received,
    Done,
}

#[derive(ToSchema)]
pub struct Nettings {
    pub data: Vec<Netting>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// What the platforms of a closed cycle owe each other.
#[derive(ToSchema)]
pub struct NettingRun {
    /// The calendar and the cycle.
    #[schema(example = "1805.3")]
    pub id: String,
    pub calendar: u32,
    pub cycle: u32,
    pub currency: String,
    pub state: NettingRunState,
    /// Of all positions: always nothing.
    #[schema(example = "0.00")]
    pub sum: String,
    pub positions: Vec<NettingPosition>,
    /// Positions whose other side the cycle does not have, because the counterparty belongs to another calendar.
    pub outside: Vec<OutsidePosition>,
    pub transfers: Vec<NettingTransfer>,
    #[schema(format = DateTime)]
    pub created_at: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum NettingRunState {
    Open,
    Done,
}

/// Signed: `+` is what the platform gets.
#[derive(ToSchema)]
pub struct NettingPosition {
    pub platform: String,
    pub amount: String,
}

/// Signed: `+` is what the platform gets.
#[derive(ToSchema)]
pub struct OutsidePosition {
    pub platform: String,
    pub counterparty: String,
    pub amount: String,
}

#[derive(ToSchema)]
pub struct NettingTransfer {
    pub id: String,
    pub payer: String,
    pub payee: String,
    pub amount: String,
    pub state: NettingState,
    #[schema(required, format = DateTime)]
    pub paid_at: Option<String>,
    #[schema(required, format = DateTime)]
    pub received_at: Option<String>,
}

#[derive(ToSchema)]
pub struct NettingRuns {
    pub data: Vec<NettingRun>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Platforms that owe the operator of closed cycles.
#[derive(ToSchema)]
pub struct Debtors {
    pub data: Vec<Debtor>,
    #[schema(required)]
    pub next_cursor: Option<String>,
}

#[derive(ToSchema)]
pub struct Debtor {
    pub platform: String,
    pub currency: String,
    pub owed: String,
    /// When the settlement was closed with which the debt began; of a debt of more than 100 settlements, the oldest of
    /// these.
    #[schema(required, format = DateTime)]
    pub since: Option<String>,
    /// Whole days since then.
    #[schema(required)]
    pub days: Option<i64>,
}
