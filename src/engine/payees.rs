//! The payee in the engine: what it may be told, and what its steps write. It waits for nobody and calls nobody.

use std::convert::Infallible;
use std::sync::Arc;

use super::host::{Act, Hands, Hearing, Host, Loaded, Stored, message_rows};
use super::lane::{Admission, WriteError};
use super::ports::{Lanes, Salts, StreamReads, Time};
use crate::domain::journal::{Salt, Title};
use crate::domain::machine::Machine;
use crate::domain::payee::{ClosedCycle, Event, Fact, Note, Payee, PayeeId, Refusal, Settlement, Step, Write};
use crate::domain::settlement::SettlementState;
use crate::domain::time::Instant;
use crate::store::{
    ClosedSum, Head, NextActionChange, Reply, Row, SettlementRow, StepUnit, StoreError, StoredMessage, Unit,
};

pub enum Told {
    /// A cycle's sums, and by which rows the lanes keep them.
    CycleClosed { closed: Box<ClosedCycle>, kept: Vec<ClosedSum> },
    /// A payee never is.
    Due,
}

/// What travels beside the events of a turn.
#[derive(Default)]
pub struct Beside {
    kept: Vec<ClosedSum>,
}

/// What payees need of the rest of the engine.
pub struct Payees {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub reads: Arc<dyn StreamReads>,
    pub lanes: Arc<dyn Lanes>,
}

fn unit(step: &Step, events: &[Event], salt: Salt, beside: &mut Beside) -> Result<StepUnit, WriteError> {
    let (after, at) = (&step.after, step.after.last_at);
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for write in &step.writes {
        match write {
            Write::Settlement(settlement) => rows.push(settlement_row(after.id, at, settlement, beside)?),
            Write::Entry(entry) => entries.push(entry.as_ref().clone()),
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
            next_due_at: None,
            next_action: NextActionChange::Keep,
            snapshot: serde_json::to_string(after).map_err(|error| culprit(&error))?.into(),
        },
        journal: Title::of::<Payee>(after.id(), after.version, at)
            .write(salt, events)
            .map_err(|error| culprit(&error))?,
        name: None,
        rows,
        entries,
        webhooks: Vec::new(),
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
        match told {
            Told::CycleClosed { closed, kept } => {
                Hearing::Turn { events: vec![Event { at, fact: Fact::CycleClosed(*closed) }], beside: Beside { kept } }
            }
            Told::Due => Hearing::Nothing { over: None },
        }
    }

    async fn unit(&self, step: &Step, events: &[Event], (): &(), beside: &mut Beside) -> Result<StepUnit, WriteError> {
        unit(step, events, self.salts.salt(), beside)
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, _: &Payee, (): &mut (), _: &Beside, effect: Infallible) -> Act<Told> {
        match effect {}
    }

    fn take_back(&self, (): &mut (), pending: Infallible) {
        match pending {}
    }

    fn noted(&self, _: &Payee, notes: &[Note]) {
        for note in notes {
            let Note::Settled(state) = note;
            metrics::counter!("tongbao_settlements_total", "state" => SettlementState::name(*state)).increment(1);
        }
    }

    fn ended(&self, _: &Payee, (): &mut (), _: Beside) {}

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
