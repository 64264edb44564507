//! The payee in the engine: what it may be told, and what its steps write. It calls nobody; it wakes to let lapse what
//! nobody has approved.

use std::sync::Arc;

use super::host::{Act, Hands, Hearing, Host, Loaded, Stored, message_rows};
use super::lane::{Admission, WriteError};
use super::ports::{Addressees, Lanes, Outbox, Salts, StreamReads, Time};
use super::webhooks::Letter;
use crate::domain::id::PlatformId;
use crate::domain::journal::{Salt, Title};
use crate::domain::machine::Machine;
use crate::domain::payee::{
    ClosedCycle, Event, Fact, News, Note, Payee, PayeeId, Refusal, Settlement, Step, Wake, Write,
};
use crate::domain::platform::KeyHash;
use crate::domain::settlement::SettlementId;
use crate::domain::time::Instant;
use crate::domain::view::{self, PayoutView};
use crate::store::{
    BankDetailsInForce, BankDetailsRow, ClosedSum, Head, NextActionChange, OutboxRow, PayoutRow, Reply, Row,
    SettlementMoved, SettlementRow, StepUnit, StoreError, StoredMessage, Unit,
};

pub enum Told {
    /// A cycle's sums, and by which rows the lanes keep them.
    CycleClosed {
        closed: Box<ClosedCycle>,
        kept: Vec<ClosedSum>,
    },
    /// Something that its machine knows by itself.
    Fact(Fact),
    /// Where somebody wants it paid to, as JSON. The journal has its hash only.
    ProposeDetails {
        details: Box<str>,
        operator: Box<str>,
    },
    Due,
}

/// What travels beside the events of a turn.
#[derive(Default)]
pub struct Beside {
    kept: Vec<ClosedSum>,
    details: Option<Box<str>>,
    /// What this turn tells the platform.
    webhooks: Vec<OutboxRow>,
}

/// What payees need of the rest of the engine.
pub struct Payees {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub reads: Arc<dyn StreamReads>,
    pub addressees: Arc<dyn Addressees>,
    pub lanes: Arc<dyn Lanes>,
    pub outbox: Arc<dyn Outbox>,
}

impl Payees {
    /// What a step tells the platform, as it goes out; nothing where the platform has no address.
    async fn render(&self, step: &Step) -> Result<Vec<OutboxRow>, WriteError> {
        let mut rows = Vec::new();
        let payee = step.after.id;
        for write in &step.writes {
            let (sequence, news) = match write {
                Write::Webhook { sequence, news } => (*sequence, news),
                Write::Settlement(_)
                | Write::SettlementMoved { .. }
                | Write::Payout(_)
                | Write::DetailsProposed { .. }
                | Write::DetailsInForce(_)
                | Write::Entry(_) => continue,
            };
            let url = self.addressees.webhook_url(payee.platform).await.map_err(|error| unread(&error))?;
            let Some(url) = url else { continue };
            let at = step.after.last_at;
            rows.push(OutboxRow {
                kind: news.kind(),
                sequence,
                at,
                platform: payee.platform,
                url: url.into(),
                trace: payee.as_u128() << 32 | u128::from(sequence),
                body: self.body(payee, (sequence, at), news).await?.into(),
            });
        }
        Ok(rows)
    }

    async fn body(&self, payee: PayeeId, (sequence, at): (u32, Instant), news: &News) -> Result<Vec<u8>, WriteError> {
        let body = match news {
            News::Settled(settlement) => {
                let mut names = Vec::with_capacity(settlement.totals.sums.positions.len());
                for (platform, _) in &settlement.totals.sums.positions {
                    names.push(self.name(*platform).await?);
                }
                let id = SettlementId { platform: payee.platform, cycle: settlement.cycle };
                view::settlement_webhook_body((sequence, at), (id, payee.currency), settlement, names)
            }
            News::PayoutEnded(kind, payout) => {
                let shown = PayoutView::of(payee, payout, self.name(payee.platform).await?);
                view::payout_webhook_body(*kind, (sequence, at), shown)
            }
        };
        body.map_err(|error| culprit(&error))
    }

    async fn name(&self, platform: PlatformId) -> Result<String, WriteError> {
        Ok(self.addressees.name(platform).await.map_err(|error| unread(&error))?.into())
    }
}

/// A row that cannot be read holds its payee back, as the payee's own would.
fn unread(error: &StoreError) -> WriteError {
    error.corruption().map_or(WriteError::Away, |why| WriteError::Culprit(why.to_owned()))
}

fn unit(step: &Step, events: &[Event], salt: Salt, beside: &mut Beside) -> Result<StepUnit, WriteError> {
    let (after, at) = (&step.after, step.after.last_at);
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for write in &step.writes {
        match write {
            Write::Settlement(settlement) => rows.push(settlement_row(after.id, at, settlement, beside)?),
            Write::Entry(entry) => entries.push(entry.as_ref().clone()),
            Write::SettlementMoved { cycle, state, payout } => rows.push(Row::SettlementMoved(SettlementMoved {
                platform: after.id.platform,
                cycle: *cycle,
                state: *state,
                payout: *payout,
            })),
            Write::Payout(payout) => {
                rows.push(Row::Payout(Box::new(PayoutRow { payee: after.id, payout: payout.as_ref().clone() })));
            }
            Write::DetailsProposed { number } => {
                let details = beside.details.take();
                rows.push(Row::BankDetails(Box::new(BankDetailsRow {
                    payee: after.id,
                    number: *number,
                    details: details.ok_or_else(|| WriteError::Culprit("bank details without any".to_owned()))?,
                    created_at: at,
                })));
            }
            // Rendered before.
            Write::Webhook { .. } => {}
            Write::DetailsInForce(details) => rows.push(Row::BankDetailsInForce(BankDetailsInForce {
                payee: after.id,
                number: details.number,
                in_force_at: details.in_force_at,
            })),
        }
    }
    Ok(StepUnit {
        stream: after.stream(),
        expected_version: after.version - 1,
        version: after.version,
        at,
        decided_at: events.last().map_or(at, |event| event.at),
        head: Head {
            state: "active",
            facet: None,
            next_due_at: after.next_due_at(at),
            next_action: NextActionChange::Keep,
            snapshot: serde_json::to_string(after).map_err(|error| culprit(&error))?.into(),
        },
        journal: Title::of::<Payee>(after.id(), after.version, at)
            .write(salt, events)
            .map_err(|error| culprit(&error))?,
        name: None,
        rows,
        entries,
        webhooks: beside.webhooks.clone(),
        messages: message_rows(step, at)?,
        taken: None,
        claim: None,
    })
}

fn settlement_row(
    payee: PayeeId,
    closed_at: Instant,
    settlement: &Settlement,
    beside: &mut Beside,
) -> Result<Row, WriteError> {
    Ok(Row::Settlement(Box::new(SettlementRow {
        platform: payee.platform,
        cycle: settlement.cycle,
        currency: payee.currency,
        number: settlement.number,
        starts_at: settlement.from,
        ends_at: settlement.to,
        closed_at,
        totals: serde_json::to_string(&settlement.totals).map_err(|error| culprit(&error))?.into(),
        state: settlement.state,
        closed: std::mem::take(&mut beside.kept),
    })))
}

fn culprit(error: &serde_json::Error) -> WriteError {
    WriteError::Culprit(format!("a payee's step cannot be written: {error}"))
}

impl Host for Payees {
    type Machine = Payee;
    type Told = Told;
    type Beside = Beside;
    type Memory = ();

    fn now(&self) -> Instant {
        self.time.now()
    }

    /// One of which nothing was settled yet is there all the same: its first cycle makes it.
    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>> {
        Box::pin(async move {
            let Some(payee) = PayeeId::from_u128(id) else { return Ok(None) };
            let Some(head) = self.reads.head(payee.into()).await? else {
                let stored = Stored { due_at: None, hands: Hands::Ours };
                return Ok(Some(Loaded { machine: Payee::unborn(payee), memory: (), stored }));
            };
            let machine = read(payee, &head.snapshot)?;
            let hands = if self.lanes.is_ours(payee.into(), head.epoch) { Hands::Ours } else { Hands::Others };
            Ok(Some(Loaded { machine, memory: (), stored: Stored { due_at: head.next_due_at, hands } }))
        })
    }

    fn woken(&self) -> Told {
        Told::Due
    }

    fn activated(&self, _: u128) {}

    fn received(&self, _: &StoredMessage) -> Option<Told> {
        None
    }

    fn hear(&self, _: &Payee, (): &mut (), told: Told) -> Hearing<Self> {
        let at = self.time.now();
        let (fact, beside) = match told {
            Told::CycleClosed { closed, kept } => (Fact::CycleClosed(*closed), Beside { kept, ..Beside::default() }),
            Told::Fact(fact) => (fact, Beside::default()),
            Told::ProposeDetails { details, operator } => {
                let fact = Fact::DetailsProposed { hash: KeyHash::of(&details), operator };
                (fact, Beside { details: Some(details), ..Beside::default() })
            }
            Told::Due => (Fact::TimerFired, Beside::default()),
        };
        Hearing::Turn { events: vec![Event { at, fact }], beside }
    }

    async fn unit(&self, step: &Step, events: &[Event], (): &(), beside: &mut Beside) -> Result<StepUnit, WriteError> {
        beside.webhooks = self.render(step).await?;
        unit(step, events, self.salts.salt(), beside)
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, _: &Payee, (): &mut (), _: &Beside, Wake(at): Wake) -> Act<Told> {
        Act::Wake(at)
    }

    fn take_back(&self, (): &mut (), _: Wake) {}

    fn noted(&self, _: &Payee, notes: &[Note]) {
        for note in notes {
            match note {
                Note::Settled(state) => {
                    metrics::counter!("tongbao_settlements_total", "state" => state.name()).increment(1);
                }
                Note::PayoutMoved(state) => {
                    metrics::counter!("tongbao_payouts_total", "state" => state.name()).increment(1);
                }
            }
        }
    }

    fn ended(&self, payee: &Payee, (): &mut (), beside: Beside) {
        for row in beside.webhooks {
            self.outbox.written(Letter { stream: payee.id.into(), row });
        }
    }

    fn refused_by_store(&self, _: u128) -> Option<Refusal> {
        None
    }

    fn is_followed(&self, (): &()) -> bool {
        false
    }
}

/// Reads a payee from its snapshot.
///
/// # Errors
/// [`StoreError::Corrupt`] where it is damaged, or another's.
pub fn read(id: PayeeId, snapshot: &str) -> Result<Payee, StoreError> {
    let read = serde_json::from_str::<Payee>(snapshot).ok().filter(|payee| payee.id == id);
    let (platform, currency) = (id.platform.0, id.currency.code());
    read.ok_or_else(|| StoreError::Corrupt(format!("the stored payee {platform} in {currency} cannot be read")))
}
