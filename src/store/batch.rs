//! A group as rows, table by table, in the order of the keys that they are unique by.

use std::cmp::Reverse;
use std::collections::HashSet;

use sqlx::types::Uuid;

use super::companions::{Companions, Known, News, PlacedCut, Purse, Stamped, Stub};
use super::line::Visitor;
use super::tables::{
    AccountGoneLine, AccountLine, AnswerLine, AttemptLine, BalanceLine, BankDetailsInForceLine, BankDetailsLine,
    CaptureLine, ConsentGoneLine, ConsentLine, CutLine, DebtBoundLine, GoneLine, HeadLine, InboxDoneLine, InboxLine,
    JournalLine, KeyLine, KeyRevokedLine, LineLine, MemberLine, MessageLine, MovedLine, NettedLine, NettingPartyLine,
    OperatorActLine, OperatorKeyLine, OperatorKeyRevokedLine, OperatorLine, OrderLine, OutboxLine, PaidByLine,
    PayerLine, PayoutLine, PlatformLine, PutOffLine, RefundLine, RefundMovedLine, RoleLine, SettlementLine,
    SettlementMovedLine, StuckGoneLine, StuckLine, TakenLine, UndeliveredLine, stream_key,
};
use super::unit::{Cut, Group, NextActionChange, Row, StepUnit, UniqueName, Unit};
use super::{DeadLetterChange, Delivery, StoreError};
use crate::domain::journal::{LaneEvent, Title};
use crate::domain::stream::StreamId;

/// Stands before every attempt: who the order was created with.
const CREATED_WITH: i64 = -1;

/// Of a row that has no place yet, and so no cycle.
const UNPLACED: i64 = -1;

#[derive(Default)]
pub struct Batch {
    pub lane: i64,
    pub epoch: i64,
    pub number: i64,
    pub first_place: i64,
    /// By the owner's clock.
    pub at: i64,
    /// What new streams are called, in the order of the group.
    pub names: Vec<Name>,
    pub moved: Vec<MovedLine>,
    pub put_off: Vec<PutOffLine>,
    pub taken: Vec<TakenLine>,
    new: Vec<HeadLine>,
    orders: Vec<OrderLine>,
    payers: Vec<PayerLine>,
    journal: Vec<JournalLine>,
    attempts: Vec<AttemptLine>,
    captures: Vec<CaptureLine>,
    refunds: Vec<RefundLine>,
    refunds_moved: Vec<RefundMovedLine>,
    stuck: Vec<StuckLine>,
    stuck_no_more: Vec<StuckGoneLine>,
    /// Lines that have no place yet, in the order of their steps.
    unplaced: Vec<(LineLine, Stub)>,
    lines: Vec<LineLine>,
    accounts: Vec<AccountLine>,
    accounts_gone: Vec<AccountGoneLine>,
    balances: Vec<BalanceLine>,
    /// Cycles that end before the first row of the group.
    unplaced_cuts: Vec<Cut>,
    cuts: Vec<CutLine>,
    members: Vec<MemberLine>,
    settlements: Vec<SettlementLine>,
    settlements_moved: Vec<SettlementMovedLine>,
    payouts: Vec<PayoutLine>,
    bank_details: Vec<BankDetailsLine>,
    bank_details_in_force: Vec<BankDetailsInForceLine>,
    netting_parties: Vec<NettingPartyLine>,
    netted: Vec<NettedLine>,
    outbox: Vec<OutboxLine>,
    messages: Vec<MessageLine>,
    inbox: Vec<InboxLine>,
    inbox_done: Vec<InboxDoneLine>,
    answers: Vec<AnswerLine>,
    paid_by: Vec<PaidByLine>,
    platforms: Vec<PlatformLine>,
    keys: Vec<KeyLine>,
    pub keys_revoked: Vec<KeyRevokedLine>,
    consents: Vec<ConsentLine>,
    debt_bounds: Vec<DebtBoundLine>,
    operators: Vec<OperatorLine>,
    roles: Vec<RoleLine>,
    operator_keys: Vec<OperatorKeyLine>,
    operator_keys_revoked: Vec<OperatorKeyRevokedLine>,
    operator_acts: Vec<OperatorActLine>,
    consents_gone: Vec<ConsentGoneLine>,
    gone: Vec<GoneLine>,
    undelivered: Vec<UndeliveredLine>,
}

/// The name of a new stream, and its place in the group.
#[derive(Debug)]
pub struct Name {
    pub place: usize,
    pub stream: StreamId,
    pub platform_id: i64,
    pub merchant_order_id: Box<str>,
}

impl Batch {
    /// # Errors
    /// [`StoreError::Corrupt`] for a unit that contradicts itself.
    pub fn of(group: &Group<'_>) -> Result<Self, StoreError> {
        let lane = i64::from(group.lane.0);
        let mut batch = Batch {
            lane,
            epoch: group.epoch,
            number: group.number,
            first_place: group.first_place,
            at: group.at.0,
            ..Batch::default()
        };
        for (place, unit) in group.units.iter().enumerate() {
            match unit {
                Unit::Step(unit) => batch.take_step(place, unit)?,
                Unit::PutOff(put_off) => batch.put_off.push(PutOffLine::of(put_off, group.epoch)),
                Unit::Answer(answer) => batch.answers.push(AnswerLine::of(&answer.claim, answer.given.as_ref())),
                Unit::Inbox(row) => batch.inbox.push(InboxLine::of(row)),
                Unit::InboxDone { id } => batch.inbox_done.push(InboxDoneLine { id: *id }),
                Unit::Delivery(delivery) => batch.take_delivery(delivery),
                Unit::DeadLetter(change) => batch.take_dead_letter(change),
                Unit::Cut(cut) => batch.unplaced_cuts.push(Cut::clone(cut)),
                Unit::OperatorAct(act) => batch.operator_acts.push(OperatorActLine::of(act)),
            }
        }
        batch.sort();
        Ok(batch)
    }

    /// Goes through all rows that one statement a table writes: what is written besides are heads that are there,
    /// messages that are taken, and keys that are revoked.
    pub fn visit<V: Visitor>(&self, visitor: &mut V) -> Result<(), V::Fault> {
        visitor.visit(&self.orders)?;
        visitor.visit(&self.payers)?;
        visitor.visit(&self.journal)?;
        visitor.visit(&self.attempts)?;
        visitor.visit(&self.captures)?;
        visitor.visit(&self.refunds)?;
        visitor.visit(&self.refunds_moved)?;
        visitor.visit(&self.stuck)?;
        visitor.visit(&self.stuck_no_more)?;
        visitor.visit(&self.lines)?;
        visitor.visit(&self.accounts)?;
        visitor.visit(&self.accounts_gone)?;
        visitor.visit(&self.balances)?;
        visitor.visit(&self.cuts)?;
        visitor.visit(&self.members)?;
        visitor.visit(&self.settlements)?;
        visitor.visit(&self.settlements_moved)?;
        visitor.visit(&self.payouts)?;
        visitor.visit(&self.bank_details)?;
        visitor.visit(&self.bank_details_in_force)?;
        visitor.visit(&self.netting_parties)?;
        visitor.visit(&self.netted)?;
        visitor.visit(&self.outbox)?;
        visitor.visit(&self.messages)?;
        visitor.visit(&self.gone)?;
        visitor.visit(&self.undelivered)?;
        visitor.visit(&self.inbox)?;
        visitor.visit(&self.inbox_done)?;
        visitor.visit(&self.answers)?;
        visitor.visit(&self.paid_by)?;
        // A key's platform comes before it.
        visitor.visit(&self.platforms)?;
        visitor.visit(&self.keys)?;
        visitor.visit(&self.consents)?;
        visitor.visit(&self.consents_gone)?;
        visitor.visit(&self.debt_bounds)?;
        visitor.visit(&self.operators)?;
        visitor.visit(&self.roles)?;
        visitor.visit(&self.operator_keys)?;
        visitor.visit(&self.operator_keys_revoked)?;
        visitor.visit(&self.operator_acts)
    }

    /// The heads of new streams.
    pub fn new_heads(&self) -> &[HeadLine] {
        &self.new
    }

    fn take_step(&mut self, place: usize, unit: &StepUnit) -> Result<(), StoreError> {
        let contradiction = |what: &str| StoreError::Corrupt(format!("the unit of {} {what}", unit.stream));
        let (kind, id) = stream_key(unit.stream);
        let version = i64::from(unit.version);
        if unit.expected_version.checked_add(1) != Some(unit.version) {
            return Err(contradiction("skips a version"));
        }
        if !unit.is_in_place() {
            return Err(contradiction("lies in another partition than its name"));
        }
        let is_named = unit.rows.iter().any(|row| match row {
            Row::Order(_) => true,
            Row::Payer(_)
            | Row::Attempt(_)
            | Row::Capture(_)
            | Row::Refund(_)
            | Row::RefundMoved { .. }
            | Row::RefundsStuck { .. }
            | Row::RefundsMove
            | Row::PaidBy(_)
            | Row::Platform(_)
            | Row::Key(_)
            | Row::KeyRevoked(_)
            | Row::SharesAccepted(_)
            | Row::SharesRefused(_)
            | Row::DebtBound(_)
            | Row::Settlement(_)
            | Row::SettlementMoved(_)
            | Row::Payout(_)
            | Row::BankDetails(_)
            | Row::BankDetailsInForce(_)
            | Row::Operator(_)
            | Row::RoleChanged(_)
            | Row::OperatorKey(_)
            | Row::OperatorKeyRevoked(_)
            | Row::NettingParty(_)
            | Row::Netted(_) => false,
        });
        match (&unit.name, unit.expected_version) {
            (Some(name), 0) if is_named => self.names.push(Name::of(place, unit.stream, name)),
            (None, _) if !is_named => {}
            (Some(_), 0) => return Err(contradiction("has a name and no row that keeps it")),
            (Some(_), _) => return Err(contradiction("names what is there")),
            (None, _) => return Err(contradiction("has no name and a row that needs one")),
        }
        self.answers.extend(unit.claim.as_deref().map(|claim| AnswerLine::of(claim, None)));
        self.outbox.extend(unit.webhooks.iter().map(|webhook| OutboxLine {
            kind,
            id,
            sequence: i64::from(webhook.sequence),
            webhook_kind: webhook.kind.name(),
            at: webhook.at.0,
            next_at: webhook.at.min(unit.decided_at).0,
            platform_id: i64::from(webhook.platform.0),
            url: webhook.url.clone(),
            trace: webhook.trace.to_be_bytes(),
            body: webhook.body.clone(),
        }));
        self.messages.extend(unit.messages.iter().map(|message| MessageLine::of(unit.stream, message)));
        self.taken.extend(unit.taken.map(|taken| {
            let (from_kind, from_id) = stream_key(taken.from);
            TakenLine { to_kind: kind, to_id: id, from_kind, from_id, number: i64::from(taken.number) }
        }));
        self.take_head(unit);
        let (at, body, lane) = (unit.at.0, unit.journal.clone(), self.lane);
        self.journal.push(JournalLine { kind, id, version, at, body, lane, place: UNPLACED });
        for row in &unit.rows {
            self.take_row(id, row)?;
        }
        for (booked, entry) in unit.entries.iter().zip(0..) {
            let effective = booked.effective();
            self.unplaced.extend(booked.lines().iter().zip(0..).map(|(booked_line, line)| {
                let stub = Stub::of(booked, booked_line, unit.at);
                let drawn = LineLine {
                    kind,
                    id,
                    version,
                    entry,
                    line,
                    entry_kind: booked.kind().name(),
                    account: stub.account.clone(),
                    currency: booked.currency().code(),
                    amount_minor: booked_line.amount_minor,
                    lane,
                    place: UNPLACED,
                    at,
                    effective_at: effective.at.0,
                    bill_day: effective.bill_day.as_number(),
                    cycle: UNPLACED,
                    transaction_kind: booked_line.transaction.map(|transaction| transaction.kind.name()),
                    platform_id: booked_line.account.platform().map(|platform| i64::from(platform.0)),
                    counterparty: booked_line
                        .transaction
                        .and_then(|transaction| transaction.counterparty)
                        .map(|platform| i64::from(platform.0)),
                    refund: booked.refund().map(|ordinal| i64::from(u8::from(ordinal))),
                };
                (drawn, stub)
            }));
        }
        Ok(())
    }

    fn take_head(&mut self, unit: &StepUnit) {
        let ((kind, id), head) = (stream_key(unit.stream), &unit.head);
        let (changes_action, next_action) = match &head.next_action {
            NextActionChange::Keep => (0, None),
            NextActionChange::Store(action) => (1, Some(action.clone())),
            NextActionChange::Wipe => (1, None),
        };
        let (version, state, facet, epoch) = (i64::from(unit.version), head.state, head.facet, self.epoch);
        let (next_due_at, snapshot) = (head.next_due_at.map(|due| due.0), head.snapshot.clone());
        if unit.expected_version == 0 {
            self.new.push(HeadLine { kind, id, version, state, facet, next_due_at, epoch, next_action, snapshot });
            return;
        }
        let expected = i64::from(unit.expected_version);
        self.moved.push(MovedLine {
            kind,
            id,
            expected,
            version,
            state,
            facet,
            next_due_at,
            epoch,
            changes_action,
            next_action,
            snapshot,
        });
    }

    fn take_row(&mut self, order_id: Uuid, row: &Row) -> Result<(), StoreError> {
        match row {
            Row::Order(row) => {
                self.payers.extend(row.request.payer.as_ref().map(|payer| PayerLine {
                    order_id,
                    ordinal: CREATED_WITH,
                    payer: payer.written().into(),
                }));
                self.orders.push(OrderLine::of(order_id, row));
            }
            Row::Payer(named) => self.payers.push(PayerLine {
                order_id,
                ordinal: i64::from(named.ordinal),
                payer: named.payer.written().into(),
            }),
            Row::Attempt(row) => self.attempts.push(AttemptLine {
                order_id,
                ordinal: i64::from(row.ordinal),
                channel: row.account.channel().name(),
                account: row.account.name().into(),
                payable_minor: row.payable_minor,
                opened_at: row.opened_at.0,
                frozen: row.frozen.clone(),
            }),
            Row::Capture(row) => self.captures.push(CaptureLine::of(order_id, row)),
            Row::Refund(row) => self.refunds.push(RefundLine::of(order_id, row)),
            Row::RefundMoved { ordinal, standing } => {
                self.refunds_moved.push(RefundMovedLine::of(order_id, *ordinal, standing));
            }
            Row::RefundsStuck { since } => self.stuck.push(StuckLine { order_id, since: since.0 }),
            Row::RefundsMove => self.stuck_no_more.push(StuckGoneLine { order_id }),
            Row::PaidBy(last) => {
                self.paid_by.push(PaidByLine { payer: last.payer.0, channel: last.channel.name(), at: last.at.0 })
            }
            Row::Platform(platform) => self.platforms.push(PlatformLine::of(platform)),
            Row::Key(added) => self.keys.push(KeyLine {
                hash: added.key.hash.0,
                platform_id: i64::from(added.platform.0),
                hint: added.key.hint.clone(),
                created_at: added.created_at.0,
            }),
            Row::DebtBound(bound) => self.debt_bounds.push(DebtBoundLine {
                platform_id: i64::from(bound.platform.0),
                currency: bound.currency.code(),
                most_minor: bound.most_minor,
            }),
            Row::Operator(operator) => self.operators.push(OperatorLine {
                id: i64::from(operator.id.0),
                name: operator.name.clone(),
                role: operator.role.name(),
            }),
            Row::RoleChanged(changed) => {
                self.roles.push(RoleLine { id: i64::from(changed.operator.0), role: changed.role.name() });
            }
            Row::OperatorKey(added) => self.operator_keys.push(OperatorKeyLine {
                hash: added.key.hash.0,
                operator_id: i64::from(added.operator.0),
                hint: added.key.hint.clone(),
                created_at: added.created_at.0,
                expires_at: added.key.expires_at.map(|end| end.0),
            }),
            Row::OperatorKeyRevoked(revoked) => self.operator_keys_revoked.push(OperatorKeyRevokedLine {
                hash: revoked.hash.0,
                operator_id: i64::from(revoked.operator.0),
                revoked_at: revoked.revoked_at.0,
            }),
            Row::SharesAccepted(consent) => self
                .consents
                .push(ConsentLine { platform_id: i64::from(consent.platform.0), from_id: i64::from(consent.from.0) }),
            Row::SharesRefused(consent) => self.consents_gone.push(ConsentGoneLine {
                platform_id: i64::from(consent.platform.0),
                from_id: i64::from(consent.from.0),
            }),
            Row::Settlement(row) => {
                let (cycle, currency) = (row.cycle.as_number(), row.currency.code());
                self.accounts_gone.extend(row.closed.iter().map(|sum| AccountGoneLine {
                    lane: i64::from(sum.lane.0),
                    account: sum.account.clone(),
                    currency,
                    cycle,
                    heading: sum.heading,
                    counterparty: sum.counterparty,
                }));
                self.settlements.push(SettlementLine::of(row));
            }
            Row::Payout(row) => self.payouts.push(PayoutLine::of(row)?),
            Row::BankDetails(row) => self.bank_details.push(BankDetailsLine {
                platform_id: i64::from(row.payee.platform.0),
                currency: row.payee.currency.code(),
                number: i64::from(row.number),
                details: row.details.clone(),
                created_at: row.created_at.0,
            }),
            Row::BankDetailsInForce(row) => self.bank_details_in_force.push(BankDetailsInForceLine {
                platform_id: i64::from(row.payee.platform.0),
                currency: row.payee.currency.code(),
                number: i64::from(row.number),
                in_force_at: row.in_force_at.0,
            }),
            Row::NettingParty(party) => self.netting_parties.push(NettingPartyLine {
                platform_id: i64::from(party.platform.0),
                made_at: party.made_at.0,
                cycle: party.cycle.as_number(),
                number: i64::from(party.number),
            }),
            Row::Netted(netted) => self.netted.push(NettedLine {
                platform_id: i64::from(netted.platform.0),
                cycle: netted.cycle.as_number(),
                netted_at: netted.netted_at.0,
            }),
            Row::SettlementMoved(moved) => self.settlements_moved.push(SettlementMovedLine {
                platform_id: i64::from(moved.platform.0),
                cycle: moved.cycle.as_number(),
                state: moved.state.name(),
                payout: moved.payout.map(i64::from),
            }),
            Row::KeyRevoked(revoked) => self.keys_revoked.push(KeyRevokedLine {
                hash: revoked.hash.0,
                platform_id: i64::from(revoked.platform.0),
                revoked_at: revoked.revoked_at.0,
            }),
        }
        Ok(())
    }

    fn take_delivery(&mut self, delivery: &Delivery) {
        let (stream, sequence, tries, next_at, why) = match delivery {
            Delivery::Delivered { stream, sequence } => return self.gone.push(GoneLine::of(*stream, *sequence)),
            Delivery::Failed { stream, sequence, tries, next_at, why } => {
                (stream, sequence, tries, Some(next_at.0), why)
            }
            Delivery::Dead { stream, sequence, tries, why } => (stream, sequence, tries, None, why),
        };
        let (kind, id) = stream_key(*stream);
        self.undelivered.push(UndeliveredLine {
            kind,
            id,
            sequence: i64::from(*sequence),
            tries: i64::from(*tries),
            next_at,
            why: why.clone(),
        });
    }

    fn take_dead_letter(&mut self, change: &DeadLetterChange) {
        match change {
            DeadLetterChange::Erased { stream, sequence } => self.gone.push(GoneLine::of(*stream, *sequence)),
            DeadLetterChange::Replayed { stream, sequence, at } => {
                let (kind, id) = stream_key(*stream);
                let (sequence, next_at) = (i64::from(*sequence), Some(at.0));
                let why = Box::default();
                self.undelivered.push(UndeliveredLine { kind, id, sequence, tries: 0, next_at, why });
            }
        }
    }

    /// Takes the losers out with all their rows: new streams whose name is taken, by one that is there or by one that
    /// stands before them in the group. `taken` are names that are on record, by their index; the losers' places come
    /// back.
    pub fn leave_losers_out(&mut self, taken: &HashSet<usize>) -> Vec<usize> {
        let (mut seen, mut losers, mut places) = (HashSet::new(), HashSet::new(), Vec::new());
        for (index, name) in self.names.iter().enumerate() {
            if taken.contains(&index) || !seen.insert((name.platform_id, &name.merchant_order_id)) {
                losers.insert(stream_key(name.stream));
                places.push(name.place);
            }
        }
        if !losers.is_empty() {
            self.leave_out(&losers);
        }
        places
    }

    fn leave_out(&mut self, losers: &HashSet<(i64, Uuid)>) {
        // Only orders have names, and rows in these tables.
        let orders: HashSet<Uuid> = losers.iter().map(|(_, id)| *id).collect();
        self.new.retain(|row| !losers.contains(&(row.kind, row.id)));
        self.journal.retain(|row| !losers.contains(&(row.kind, row.id)));
        self.unplaced.retain(|(row, _)| !losers.contains(&(row.kind, row.id)));
        self.outbox.retain(|row| !losers.contains(&(row.kind, row.id)));
        self.messages.retain(|row| !losers.contains(&(row.from_kind, row.from_id)));
        self.taken.retain(|row| !losers.contains(&(row.to_kind, row.to_id)));
        self.orders.retain(|row| !orders.contains(&row.id));
        self.payers.retain(|row| !orders.contains(&row.order_id));
        self.attempts.retain(|row| !orders.contains(&row.order_id));
        self.captures.retain(|row| !orders.contains(&row.order_id));
        self.answers.retain(|row| !orders.contains(&row.order_id));
    }

    /// Cuts what is to be cut, gives each row of the journal its place, in the order of the group, and books the lines of
    /// its entries. Losers are left out before.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where a balance overflows.
    pub fn place(&mut self, companions: &Companions) -> Result<Stamped, StoreError> {
        let (mut attempt, lane) = (companions.attempt(), self.lane);
        let mut rows = Vec::with_capacity(self.unplaced_cuts.len() + self.journal.len());
        for cut in &self.unplaced_cuts {
            let Some(placed) = attempt.cut(cut) else { continue };
            rows.push(cut_row(cut, placed)?);
            match placed.news {
                News::Cut => self.cuts.push(CutLine {
                    lane,
                    calendar: i64::from(cut.calendar.0),
                    number: i64::from(cut.number),
                    place: placed.place,
                    at: cut.at.0,
                    ends_at: cut.ends_at.0,
                    schedule: cut.schedule.to_string().into(),
                }),
                News::Joins => {}
            }
            self.members.extend(cut.joins.iter().map(|join| MemberLine {
                lane,
                platform_id: i64::from(join.platform.0),
                currency: join.currency.code(),
                calendar: i64::from(join.calendar.0),
            }));
        }
        // Of several calendars that a platform joins the last one stands.
        self.members.reverse();
        self.members.sort_by_key(|row| (row.platform_id, row.currency));
        self.members.dedup_by_key(|row| (row.platform_id, row.currency));
        let mut unplaced = std::mem::take(&mut self.unplaced).into_iter().peekable();
        for row in &mut self.journal {
            row.place = attempt.place();
            while let Some((mut line, stub)) = unplaced.next_if(|(line, _)| (line.kind, line.id) == (row.kind, row.id))
            {
                line.place = row.place;
                line.cycle = attempt.book(&stub, line.amount_minor, row.place)?;
                self.lines.push(line);
            }
        }
        rows.append(&mut self.journal);
        self.journal = rows;
        let stamped = attempt.end();
        for (purse, changed) in &stamped.changed {
            let Purse { account, currency, cycle, heading, counterparty } = purse.clone();
            match changed.account {
                Known::Before | Known::Last => {}
                Known::New => {
                    let (account, currency) = (account.clone(), currency.clone());
                    self.accounts.push(AccountLine { lane, account, currency, cycle, heading, counterparty });
                }
            }
            self.balances.push(BalanceLine {
                lane,
                account,
                currency,
                cycle,
                heading,
                counterparty,
                place: changed.place,
                amount_minor: changed.amount_minor,
            });
        }
        Ok(stamped)
    }

    /// Two writers that take their locks in the same order cannot wait for each other. What has a place is in the order
    /// of places.
    fn sort(&mut self) {
        self.new.sort_by_key(|row| (row.kind, row.id));
        self.moved.sort_by_key(|row| (row.kind, row.id));
        self.orders.sort_by(|a, b| (a.platform_id, &a.merchant_order_id).cmp(&(b.platform_id, &b.merchant_order_id)));
        self.payers.sort_by_key(|row| (row.order_id, row.ordinal));
        self.attempts.sort_by_key(|row| (row.order_id, row.ordinal));
        self.captures.sort_by(|a, b| (a.channel, &a.account, &a.reference).cmp(&(b.channel, &b.account, &b.reference)));
        self.refunds
            .sort_by(|a, b| (a.platform_id, &a.merchant_refund_id).cmp(&(b.platform_id, &b.merchant_refund_id)));
        self.refunds_moved.sort_by_key(|row| (row.order_id, row.ordinal));
        self.stuck.sort_by_key(|row| row.order_id);
        self.stuck_no_more.sort_by_key(|row| row.order_id);
        self.outbox.sort_by_key(|row| (row.kind, row.id, row.sequence));
        self.messages.sort_by_key(|row| (row.to_kind, row.to_id, row.from_kind, row.from_id, row.number));
        self.taken.sort_by_key(|row| (row.to_kind, row.to_id, row.from_kind, row.from_id, row.number));
        self.gone.sort_by_key(|row| (row.kind, row.id, row.sequence));
        self.undelivered.sort_by_key(|row| (row.kind, row.id, row.sequence));
        self.platforms.sort_by(|a, b| a.name.cmp(&b.name));
        self.keys.sort_by_key(|row| row.hash);
        self.keys_revoked.sort_by_key(|row| row.hash);
        // Of several bounds of one purse the last one stands.
        self.debt_bounds.reverse();
        self.debt_bounds.sort_by_key(|row| (row.platform_id, row.currency));
        self.debt_bounds.dedup_by_key(|row| (row.platform_id, row.currency));
        self.operators.sort_by(|a, b| a.name.cmp(&b.name));
        // Of several roles of one step the last one stands, and one row cannot be changed twice in a statement.
        self.roles.reverse();
        self.roles.sort_by_key(|row| row.id);
        self.roles.dedup_by_key(|row| row.id);
        self.operator_keys.sort_by_key(|row| row.hash);
        self.operator_keys_revoked.sort_by_key(|row| row.hash);
        self.operator_acts.sort_by_key(|row| row.id);
        self.consents.sort_by_key(|row| (row.platform_id, row.from_id));
        self.settlements.sort_by_key(|row| (row.platform_id, row.cycle));
        // Of several states of one the last one stands.
        self.settlements_moved.reverse();
        self.settlements_moved.sort_by_key(|row| (row.platform_id, row.cycle));
        self.settlements_moved.dedup_by_key(|row| (row.platform_id, row.cycle));
        self.netting_parties.sort_by_key(|row| (row.platform_id, row.made_at, row.cycle, row.number));
        self.netted.sort_by_key(|row| (row.platform_id, row.cycle));
        self.payouts.reverse();
        self.payouts.sort_by_key(|row| (row.platform_id, row.currency, row.number));
        self.payouts.dedup_by_key(|row| (row.platform_id, row.currency, row.number));
        self.consents_gone.sort_by_key(|row| (row.platform_id, row.from_id));
        // The last answer given under a key is the one that stands.
        self.answers.reverse();
        self.answers.sort_by(|a, b| (a.platform_id, &a.key).cmp(&(b.platform_id, &b.key)));
        self.answers.dedup_by(|later, first| (later.platform_id, &later.key) == (first.platform_id, &first.key));
        // Of several payments of one payer the newest is the last one.
        self.paid_by.sort_by_key(|row| (row.payer, Reverse(row.at)));
        self.paid_by.dedup_by_key(|row| row.payer);
        // A step says itself when its stream is due, and one row cannot be changed twice in a statement.
        let moved: HashSet<(i64, Uuid)> = self.moved.iter().map(|row| (row.kind, row.id)).collect();
        self.put_off.retain(|row| !moved.contains(&(row.kind, row.id)));
        self.put_off.reverse();
        self.put_off.sort_by_key(|row| (row.kind, row.id));
        self.put_off.dedup_by_key(|row| (row.kind, row.id));
    }
}

/// The row of the lane's own stream that tells of a cut.
fn cut_row(cut: &Cut, placed: PlacedCut) -> Result<JournalLine, StoreError> {
    let Cut { lane, calendar, number, at, ends_at, ref schedule, ref joins, salt } = *cut;
    let title = Title::of_lane(lane, placed.version, at);
    let event = LaneEvent::Cut { calendar, number, ends_at, schedule: schedule.clone(), joins: joins.clone() };
    let body = title.write(salt, &[event]);
    let body = body.map_err(|error| StoreError::Corrupt(format!("a cut cannot be written: {error}")))?;
    let (kind, id) = stream_key(title.stream);
    let (version, place) = (i64::from(placed.version), placed.place);
    Ok(JournalLine { kind, id, version, at: at.0, body, lane: i64::from(lane.0), place })
}

impl Name {
    fn of(place: usize, stream: StreamId, name: &UniqueName) -> Self {
        let platform_id = i64::from(name.platform.0);
        Name { place, stream, platform_id, merchant_order_id: name.merchant_order_id.clone() }
    }
}
