//! The tables that a group's commit writes, and what a row of each is made of.

use std::sync::Arc;

use sqlx::types::Uuid;

use super::line::{Verb, lines};
use super::rows::fee_bearer_name;
use super::unit::{
    CaptureRow, Claim, MessageRow, OperatorAct, OrderRow, PayoutRow, PutOff, RefundRow, RefundStanding, SettlementRow,
};
use super::{GivenAnswer, InboxReason, InboxRow, StoreError, StoredPlatform};
use crate::domain::id::{OrderId, PlatformId, RefundOrdinal};
use crate::domain::refund::{Attention, RefundFailure};
use crate::domain::stream::StreamId;

/// The key of an order's rows.
pub fn key(id: OrderId) -> Uuid {
    Uuid::from_u128(id.as_u128())
}

/// The key of a stream's rows.
pub fn stream_key(stream: StreamId) -> (i64, Uuid) {
    (i64::from(stream.kind.0), Uuid::from_u128(stream.id))
}

lines! {
    struct HeadLine in "heads", Verb::Insert("") => {
        kind: i64,
        id: Uuid,
        version: i64,
        state: &'static str,
        facet: Option<&'static str>,
        next_due_at: Option<i64>,
        epoch: i64,
        next_action: Option<Box<str>>,
        snapshot: Box<str>,
    }
    /// The step of a head that is there. Both databases have a statement of their own for it.
    struct MovedLine in "heads", Verb::Update { keys: 3 } => {
        kind: i64,
        id: Uuid,
        expected: i64,
        version: i64,
        state: &'static str,
        facet: Option<&'static str>,
        next_due_at: Option<i64>,
        epoch: i64,
        /// 1 where `next_action` is what the row gets, 0 where it keeps its own.
        changes_action: i64,
        next_action: Option<Box<str>>,
        snapshot: Box<str>,
    }
    struct PutOffLine in "heads", Verb::Update { keys: 3 } => {
        kind: i64,
        id: Uuid,
        version: i64,
        next_due_at: i64,
        epoch: i64,
    }
    struct OrderLine in "orders", Verb::Insert("") => {
        id: Uuid,
        platform_id: i64,
        merchant_order_id: Box<str>,
        currency: &'static str,
        amount_minor: i64,
        created_at: i64,
        expires_at: i64,
        request: Box<str>,
        webhook_url: Option<Box<str>>,
    }
    struct PayerLine in "payers", Verb::Insert("ON CONFLICT (order_id, ordinal) DO UPDATE SET payer = excluded.payer") => {
        order_id: Uuid,
        ordinal: i64,
        payer: Box<str>,
    }
    struct JournalLine in "journal", Verb::Insert("") => {
        kind: i64,
        id: Uuid,
        version: i64,
        at: i64,
        body: Vec<u8>,
        lane: i64,
        place: i64,
    }
    struct AttemptLine in "attempts", Verb::Insert("") => {
        order_id: Uuid,
        ordinal: i64,
        channel: &'static str,
        account: Box<str>,
        payable_minor: i64,
        opened_at: i64,
        frozen: Box<str>,
    }
    struct CaptureLine in "captures", Verb::Insert("") => {
        channel: &'static str,
        account: Box<str>,
        reference: Box<str>,
        order_id: Uuid,
        ordinal: i64,
        currency: &'static str,
        amount_minor: i64,
        at: i64,
        effective_at: i64,
        bill_day: i64,
    }
    struct RefundLine in "refunds", Verb::Insert("") => {
        order_id: Uuid,
        ordinal: i64,
        incarnation: i64,
        platform_id: i64,
        merchant_refund_id: Box<str>,
        currency: &'static str,
        amount_minor: i64,
        refundable_minor: i64,
        fee_minor: i64,
        fee_policy: &'static str,
        parts: Box<str>,
        reason: Option<Box<str>>,
        channel: &'static str,
        account: Box<str>,
        created_at: i64,
        state: &'static str,
        attention: Option<&'static str>,
        failure: Option<&'static str>,
        reference: Option<Box<str>>,
        finished_at: Option<i64>,
    }
    /// How far a refund has got.
    struct RefundMovedLine in "refunds", Verb::Update { keys: 2 } => {
        order_id: Uuid,
        ordinal: i64,
        state: &'static str,
        attention: Option<&'static str>,
        failure: Option<&'static str>,
        reference: Option<Box<str>>,
        finished_at: Option<i64>,
    }
    struct StuckLine in "stuck_refunds", Verb::Insert("ON CONFLICT (order_id) DO NOTHING") => {
        order_id: Uuid,
        since: i64,
    }
    struct StuckGoneLine in "stuck_refunds", Verb::Delete => {
        order_id: Uuid,
    }
    struct LineLine in "lines", Verb::Insert("") => {
        kind: i64,
        id: Uuid,
        version: i64,
        entry: i64,
        line: i64,
        entry_kind: &'static str,
        account: Arc<str>,
        currency: &'static str,
        amount_minor: i64,
        lane: i64,
        place: i64,
        at: i64,
        effective_at: i64,
        bill_day: i64,
        cycle: i64,
        transaction_kind: Option<&'static str>,
        platform_id: Option<i64>,
        counterparty: Option<i64>,
        refund: Option<i64>,
    }
    struct AccountLine in "ledger_accounts", Verb::Insert("") => {
        lane: i64,
        account: Arc<str>,
        currency: Arc<str>,
        cycle: i64,
        heading: &'static str,
        counterparty: i64,
    }
    /// A sum of a closed cycle.
    struct AccountGoneLine in "ledger_accounts", Verb::Delete => {
        lane: i64,
        account: Box<str>,
        currency: &'static str,
        cycle: i64,
        heading: &'static str,
        counterparty: i64,
    }
    struct CutLine in "cuts", Verb::Insert("") => {
        lane: i64,
        calendar: i64,
        number: i64,
        place: i64,
        at: i64,
        ends_at: i64,
        schedule: Box<str>,
    }
    struct MemberLine in "calendar_members",
        Verb::Insert("ON CONFLICT (lane, platform_id, currency) DO UPDATE SET calendar = excluded.calendar") =>
    {
        lane: i64,
        platform_id: i64,
        currency: &'static str,
        calendar: i64,
    }
    struct SettlementLine in "settlements", Verb::Insert("") => {
        platform_id: i64,
        cycle: i64,
        currency: &'static str,
        number: i64,
        starts_at: i64,
        ends_at: i64,
        closed_at: i64,
        totals: Box<str>,
        state: &'static str,
        payout: Option<i64>,
    }
    struct SettlementMovedLine in "settlements", Verb::Update { keys: 2 } => {
        platform_id: i64,
        cycle: i64,
        state: &'static str,
        payout: Option<i64>,
    }
    struct PayoutLine in "payouts",
        Verb::Insert("ON CONFLICT (platform_id, currency, number) DO UPDATE SET state = excluded.state, \
            file = excluded.file, body = excluded.body") =>
    {
        platform_id: i64,
        currency: &'static str,
        number: i64,
        bank: Box<str>,
        amount_minor: i64,
        created_at: i64,
        state: &'static str,
        file: Option<Box<str>>,
        body: Box<str>,
    }
    struct BankDetailsLine in "bank_details", Verb::Insert("") => {
        platform_id: i64,
        currency: &'static str,
        number: i64,
        details: Box<str>,
        created_at: i64,
    }
    struct BankDetailsInForceLine in "bank_details", Verb::Update { keys: 3 } => {
        platform_id: i64,
        currency: &'static str,
        number: i64,
        in_force_at: i64,
    }
    struct NettingPartyLine in "netting_parties", Verb::Insert("") => {
        platform_id: i64,
        made_at: i64,
        cycle: i64,
        number: i64,
    }
    struct NettedLine in "settlements_netted", Verb::Insert("") => {
        platform_id: i64,
        cycle: i64,
        netted_at: i64,
    }
    struct BalanceLine in "balances", Verb::Insert("") => {
        lane: i64,
        account: Arc<str>,
        currency: Arc<str>,
        cycle: i64,
        heading: &'static str,
        counterparty: i64,
        place: i64,
        amount_minor: i64,
    }
    struct OutboxLine in "outbox", Verb::Insert("") => {
        kind: i64,
        id: Uuid,
        sequence: i64,
        webhook_kind: &'static str,
        at: i64,
        /// Never later than now, though its stream's last instant may lie ahead.
        next_at: i64,
        platform_id: i64,
        url: Arc<str>,
        trace: [u8; 16],
        body: Arc<[u8]>,
    }
    /// A webhook that is delivered, or never will be.
    struct GoneLine in "outbox", Verb::Delete => {
        kind: i64,
        id: Uuid,
        sequence: i64,
    }
    /// A webhook that is tried again, or no more.
    struct UndeliveredLine in "outbox", Verb::Update { keys: 3 } => {
        kind: i64,
        id: Uuid,
        sequence: i64,
        tries: i64,
        next_at: Option<i64>,
        why: Box<str>,
    }
    struct MessageLine in "messages", Verb::Insert("") => {
        to_kind: i64,
        to_id: Uuid,
        from_kind: i64,
        from_id: Uuid,
        number: i64,
        at: i64,
        body: Vec<u8>,
    }
    struct TakenLine in "messages", Verb::Delete => {
        to_kind: i64,
        to_id: Uuid,
        from_kind: i64,
        from_id: Uuid,
        number: i64,
    }
    struct InboxLine in "inbox", Verb::Insert("ON CONFLICT (digest) DO NOTHING") => {
        reason: &'static str,
        channel: &'static str,
        account: Box<str>,
        number: Box<str>,
        order_id: Option<Uuid>,
        body: Vec<u8>,
        raw: Vec<u8>,
        digest: [u8; 32],
        at: i64,
    }
    struct InboxDoneLine in "inbox", Verb::Delete => {
        id: i64,
    }
    struct AnswerLine in "answers", Verb::Insert(
        "ON CONFLICT (platform_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
         order_id = excluded.order_id, status = excluded.status, body = excluded.body, at = excluded.at"
    ) => {
        platform_id: i64,
        key: Box<str>,
        fingerprint: [u8; 32],
        order_id: Uuid,
        status: Option<i64>,
        body: Option<Box<str>>,
        at: i64,
    }
    struct PaidByLine in "payer_channels", Verb::Insert(
        "ON CONFLICT (payer) DO UPDATE SET channel = excluded.channel, at = excluded.at \
         WHERE excluded.at >= payer_channels.at"
    ) => {
        payer: [u8; 16],
        channel: &'static str,
        at: i64,
    }
    struct PlatformLine in "platforms", Verb::Insert("") => {
        id: i64,
        name: Box<str>,
        fee_bearer: &'static str,
        webhook_secret: Box<str>,
        webhook_url: Option<Box<str>>,
    }
    struct KeyLine in "keys", Verb::Insert("") => {
        hash: [u8; 32],
        platform_id: i64,
        hint: Box<str>,
        created_at: i64,
    }
    struct DebtBoundLine in "debt_bounds", Verb::Insert(
        "ON CONFLICT (platform_id, currency) DO UPDATE SET most_minor = excluded.most_minor"
    ) => {
        platform_id: i64,
        currency: &'static str,
        most_minor: Option<i64>,
    }
    struct ConsentLine in "share_consents", Verb::Insert("") => {
        platform_id: i64,
        from_id: i64,
    }
    struct ConsentGoneLine in "share_consents", Verb::Delete => {
        platform_id: i64,
        from_id: i64,
    }
    struct OperatorLine in "operators", Verb::Insert("") => {
        id: i64,
        name: Box<str>,
        role: &'static str,
    }
    struct RoleLine in "operators", Verb::Update { keys: 1 } => {
        id: i64,
        role: &'static str,
    }
    struct OperatorKeyLine in "operator_keys", Verb::Insert("") => {
        hash: [u8; 32],
        operator_id: i64,
        hint: Box<str>,
        created_at: i64,
        expires_at: Option<i64>,
    }
    struct OperatorKeyRevokedLine in "operator_keys", Verb::Update { keys: 2 } => {
        hash: [u8; 32],
        operator_id: i64,
        revoked_at: i64,
    }
    struct OperatorActLine in "operator_acts", Verb::Insert("ON CONFLICT (id) DO NOTHING") => {
        id: Uuid,
        at: i64,
        operator: Box<str>,
        act: Box<str>,
        subject: Box<str>,
        outcome: Box<str>,
    }
    struct KeyRevokedLine in "keys", Verb::Update { keys: 2 } => {
        hash: [u8; 32],
        platform_id: i64,
        revoked_at: i64,
    }
}

impl PutOffLine {
    pub fn of(put_off: &PutOff, epoch: i64) -> Self {
        let (kind, id) = stream_key(put_off.stream);
        PutOffLine { kind, id, version: i64::from(put_off.version), next_due_at: put_off.next_due_at.0, epoch }
    }
}

impl OperatorActLine {
    pub fn of(act: &OperatorAct) -> Self {
        OperatorActLine {
            id: Uuid::from_u128(act.id),
            at: act.at.0,
            operator: act.operator.clone(),
            act: act.act.clone(),
            subject: act.subject.clone(),
            outcome: act.outcome.clone(),
        }
    }
}

impl OrderLine {
    pub fn of(id: Uuid, row: &OrderRow) -> Self {
        OrderLine {
            id,
            platform_id: i64::from(row.platform.0),
            merchant_order_id: row.request.merchant_order_id.clone(),
            currency: row.currency.code(),
            amount_minor: row.amount_minor,
            created_at: row.created_at.0,
            expires_at: row.expires_at.0,
            request: row.request.asked.written().into(),
            webhook_url: row.request.webhook_url.clone(),
        }
    }
}

impl GoneLine {
    pub fn of(stream: StreamId, sequence: u32) -> Self {
        let (kind, id) = stream_key(stream);
        GoneLine { kind, id, sequence: i64::from(sequence) }
    }
}

impl PlatformLine {
    pub fn of(platform: &StoredPlatform) -> Self {
        PlatformLine {
            id: i64::from(platform.id.0),
            name: platform.name.as_str().into(),
            fee_bearer: fee_bearer_name(platform.fee_bearer),
            webhook_secret: platform.webhook_secret.as_str().into(),
            webhook_url: platform.webhook_url.as_deref().map(Into::into),
        }
    }
}

impl CaptureLine {
    pub fn of(order_id: Uuid, row: &CaptureRow) -> Self {
        CaptureLine {
            channel: row.account.channel().name(),
            account: row.account.name().into(),
            reference: row.reference.clone(),
            order_id,
            ordinal: i64::from(row.ordinal),
            currency: row.currency.code(),
            amount_minor: row.amount_minor,
            at: row.at.0,
            effective_at: row.effective_at.0,
            bill_day: row.bill_day.as_number(),
        }
    }
}

impl PayoutLine {
    pub fn of(row: &PayoutRow) -> Result<Self, StoreError> {
        let (payee, payout) = (row.payee, &row.payout);
        let body = serde_json::to_string(payout);
        let body = body.map_err(|error| StoreError::Corrupt(format!("a payout cannot be written: {error}")))?;
        Ok(PayoutLine {
            platform_id: i64::from(payee.platform.0),
            currency: payee.currency.code(),
            number: i64::from(payout.number),
            bank: payout.bank.as_str().into(),
            amount_minor: payout.amount_minor,
            created_at: payout.created_at.0,
            state: payout.state.name(),
            file: payout.file.clone(),
            body: body.into(),
        })
    }
}

impl SettlementLine {
    pub fn of(row: &SettlementRow) -> Self {
        SettlementLine {
            platform_id: i64::from(row.platform.0),
            cycle: row.cycle.as_number(),
            currency: row.currency.code(),
            number: i64::from(row.number),
            starts_at: row.starts_at.0,
            ends_at: row.ends_at.0,
            closed_at: row.closed_at.0,
            totals: row.totals.clone(),
            state: row.state.name(),
            payout: None,
        }
    }
}

impl RefundLine {
    pub fn of(order_id: Uuid, row: &RefundRow) -> Self {
        let RefundStanding { state, attention, failure, reference, finished_at } = &row.standing;
        RefundLine {
            order_id,
            ordinal: i64::from(u8::from(row.ordinal)),
            incarnation: i64::from(u16::from(row.incarnation)),
            platform_id: i64::from(row.platform.0),
            merchant_refund_id: row.merchant_refund_id.clone(),
            currency: row.currency.code(),
            amount_minor: row.amount_minor,
            refundable_minor: row.refundable_minor,
            fee_minor: row.fee_minor,
            fee_policy: row.fee_policy.name(),
            parts: parts_text(&row.parts),
            reason: row.reason.clone(),
            channel: row.account.channel().name(),
            account: row.account.name().into(),
            created_at: row.created_at.0,
            state: state.name(),
            attention: attention.map(Attention::name),
            failure: failure.map(RefundFailure::name),
            reference: reference.clone(),
            finished_at: finished_at.map(|at| at.0),
        }
    }
}

impl RefundMovedLine {
    pub fn of(order_id: Uuid, ordinal: RefundOrdinal, standing: &RefundStanding) -> Self {
        let RefundStanding { state, attention, failure, reference, finished_at } = standing;
        RefundMovedLine {
            order_id,
            ordinal: i64::from(u8::from(ordinal)),
            state: state.name(),
            attention: attention.map(Attention::name),
            failure: failure.map(RefundFailure::name),
            reference: reference.clone(),
            finished_at: finished_at.map(|at| at.0),
        }
    }
}

/// Who gives how much, as JSON.
fn parts_text(parts: &[(PlatformId, i64)]) -> Box<str> {
    let pairs: Vec<String> = parts.iter().map(|(platform, part)| format!("[{},{part}]", platform.0)).collect();
    format!("[{}]", pairs.join(",")).into()
}

impl MessageLine {
    pub fn of(from: StreamId, message: &MessageRow) -> Self {
        let ((to_kind, to_id), (from_kind, from_id)) = (stream_key(message.to), stream_key(from));
        let (number, at) = (i64::from(message.number), message.at.0);
        MessageLine { to_kind, to_id, from_kind, from_id, number, at, body: message.body.to_vec() }
    }
}

impl AnswerLine {
    pub fn of(claim: &Claim, given: Option<&GivenAnswer>) -> Self {
        AnswerLine {
            platform_id: i64::from(claim.platform.0),
            key: claim.key.clone(),
            fingerprint: claim.fingerprint,
            order_id: key(claim.order),
            status: given.map(|given| i64::from(given.status)),
            body: given.map(|given| given.body.clone()),
            at: claim.at.0,
        }
    }
}

impl InboxLine {
    pub fn of(row: &InboxRow) -> Self {
        InboxLine {
            reason: row.reason.name(),
            channel: row.account.channel().name(),
            account: row.account.name().into(),
            number: row.number.clone(),
            order_id: row.order.map(key),
            body: row.body.clone(),
            raw: row.raw.clone(),
            digest: row.digest,
            at: row.at.0,
        }
    }
}

impl InboxReason {
    const ALL: [InboxReason; 2] = [InboxReason::OrderQuarantined, InboxReason::OrderUnknown];

    const fn name(self) -> &'static str {
        match self {
            InboxReason::OrderQuarantined => "order_quarantined",
            InboxReason::OrderUnknown => "order_unknown",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        InboxReason::ALL.into_iter().find(|reason| reason.name() == name)
    }
}
