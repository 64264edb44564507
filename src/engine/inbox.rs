//! Verified callbacks: they go to their orders, or are parked in the store until their orders can take them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::mpsc;

use super::ask::{AskError, Taken};
use super::lane::Admission;
use super::order::desk::Desk;
use super::ports::{InboxReads, Lanes, Parked, Time};
use super::unreadable::{Table, UnreadableRows};
use crate::channels::Notice;
use crate::domain::event::Refusal;
use crate::domain::id::{Account, AttemptNumber, OrderId};
use crate::store::{InboxReason, InboxRow, StoreError, Unit};

/// Orders with parked callbacks that are delivered to at once.
const AT_ONCE: u32 = 1_000;
/// Orders that came back and have not been delivered to; one more is found by the next look.
const BACK_MAX: usize = 1_024;

/// How many callbacks are parked, as far as is known, and who is told of orders that are back.
pub struct Bell {
    parked: Arc<AtomicI64>,
    back: mpsc::Sender<OrderId>,
}

/// The other end of a [`Bell`].
pub struct Rung {
    parked: Arc<AtomicI64>,
    back: mpsc::Receiver<OrderId>,
}

pub fn bell() -> (Bell, Rung) {
    let (back, rung) = mpsc::channel(BACK_MAX);
    let parked = Arc::<AtomicI64>::default();
    (Bell { parked: parked.clone(), back }, Rung { parked, back: rung })
}

impl Parked for Bell {
    fn is_back(&self, order: OrderId) {
        if self.parked.load(Ordering::Relaxed) > 0 {
            // Where there is no room, the next look finds it.
            let _ = self.back.try_send(order);
        }
    }
}

pub struct Inbox {
    time: Arc<dyn Time>,
    reads: Arc<dyn InboxReads>,
    lanes: Arc<dyn Lanes>,
    desk: Desk,
    unreadable: Arc<UnreadableRows>,
    /// How many callbacks lay there when they were last counted, and those that were put there since.
    parked: Arc<AtomicI64>,
    parked_max: i64,
    /// How far the inbox has been looked through for orders.
    looked_to: Mutex<Option<OrderId>>,
}

impl Inbox {
    pub fn new(
        time: Arc<dyn Time>,
        reads: Arc<dyn InboxReads>,
        lanes: Arc<dyn Lanes>,
        desk: Desk,
        unreadable: Arc<UnreadableRows>,
        parked_max: i64,
        rung: &Rung,
    ) -> Self {
        let parked = rung.parked.clone();
        Inbox { time, reads, lanes, desk, unreadable, parked, parked_max, looked_to: Mutex::default() }
    }

    /// Delivers to orders that come back, for as long as somebody may say so.
    pub async fn serve(&self, mut rung: Rung) {
        while let Some(order) = rung.back.recv().await {
            self.deliver(order).await;
        }
    }

    /// Takes a verified callback to its order; returns once what follows from it is durable.
    ///
    /// # Errors
    /// [`AskError`]; then it must not be acknowledged.
    pub async fn take(&self, account: &Account, notice: Notice, raw: &[u8]) -> Result<Taken, AskError> {
        let number = notice.number.parse::<AttemptNumber>();
        let taken = match number {
            Ok(number) => self.desk.notice(number, account, &notice).await,
            Err(_) => Err(AskError::NotFound),
        };
        let held = |number: AttemptNumber| self.desk.directory().quarantine().holds(number.order.as_u128());
        let reason = match taken {
            Ok(()) => return Ok(Taken::ByOrder),
            Err(AskError::NotFound | AskError::Refused(Refusal::AttemptUnknown)) => InboxReason::OrderUnknown,
            Err(AskError::Quarantined) => InboxReason::OrderQuarantined,
            // The order turned out to be unreadable by this very callback. Should it have been taken all the same, it
            // is known when it comes from the inbox.
            Err(AskError::OutcomeUnknown) if number.is_ok_and(held) => InboxReason::OrderQuarantined,
            Err(error) => return Err(error),
        };
        self.park(account.clone(), reason, number.ok(), &notice, raw).await?;
        tracing::error!(%account, number = notice.number.as_str(),
            "a verified callback of money that no order could take lies in the inbox");
        Ok(Taken::ByInbox)
    }

    async fn park(
        &self,
        account: Account,
        reason: InboxReason,
        number: Option<AttemptNumber>,
        notice: &Notice,
        raw: &[u8],
    ) -> Result<(), AskError> {
        if self.parked.load(Ordering::Relaxed) >= self.parked_max {
            tracing::error!("the inbox is full: a callback is not acknowledged");
            return Err(AskError::Overloaded);
        }
        let unwritable = |_| AskError::StoreAway;
        // By what it tells and not by its bytes, which a channel may seal anew each time it tells it.
        let told = serde_json::to_vec(&(account.channel().name(), account.name(), notice)).map_err(unwritable)?;
        let row = InboxRow {
            reason,
            account,
            number: notice.number.as_str().into(),
            order: number.map(|number| number.order),
            body: serde_json::to_vec(notice).map_err(unwritable)?,
            raw: raw.to_vec(),
            digest: digest(&SHA256, &told).as_ref().try_into().map_err(|_| AskError::StoreAway)?,
            at: self.time.now(),
        };
        self.lanes.write(Admission::Existing, Unit::Inbox(Box::new(row))).await?;
        self.parked.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("tongbao_inbox_total").increment(1);
        Ok(())
    }

    /// Counts what is parked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn measure(&self) -> Result<(), StoreError> {
        let parked = self.reads.size().await?;
        self.parked.store(parked, Ordering::Relaxed);
        metrics::gauge!("tongbao_inbox_waiting").set(parked as f64);
        Ok(())
    }

    /// Delivers parked callbacks. Each look goes on where the one before ended, so that none of them waits behind others
    /// for ever.
    pub async fn look_through(&self) {
        let after = *self.looked_to();
        let orders = match self.reads.orders(after, AT_ONCE).await {
            Ok(orders) => orders,
            Err(error) => return tracing::warn!(%error, "the inbox cannot be read"),
        };
        *self.looked_to() = orders.last().copied().filter(|_| orders.len() == AT_ONCE as usize);
        for order in orders {
            let directory = self.desk.directory();
            if directory.is_active(order.as_u128()) {
                self.deliver(order).await;
            } else {
                directory.take_up(order.as_u128());
            }
        }
    }

    fn looked_to(&self) -> MutexGuard<'_, Option<OrderId>> {
        self.looked_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an order the callbacks that came while it could not be spoken to. A row goes only once what follows from it
    /// is durable.
    async fn deliver(&self, order: OrderId) {
        let rows = match self.reads.of(order).await {
            Ok(rows) => rows,
            Err(error) => return tracing::warn!(%order, %error, "the inbox cannot be read"),
        };
        for stored in self.unreadable.pass_over(Table::Inbox, rows, ToString::to_string, self.time.now()) {
            let (number, notice) = match read_kept(&stored.row) {
                Ok(kept) => kept,
                Err(error) => {
                    self.unreadable.met(Table::Inbox, Some(stored.id.to_string()), &error, self.time.now());
                    continue;
                }
            };
            match self.desk.notice(number, &stored.row.account, &notice).await {
                Ok(()) => {
                    let done = Unit::InboxDone { id: stored.id };
                    if let Err(error) = self.lanes.write(Admission::Existing, done).await {
                        tracing::warn!(%order, ?error, "an inbox row stays and will be taken again");
                    }
                }
                Err(error) => tracing::warn!(%order, ?error, "a callback in the inbox was not taken"),
            }
        }
    }
}

/// What a callback in the inbox tells of which attempt.
///
/// # Errors
/// [`StoreError::Corrupt`].
pub fn read_kept(row: &InboxRow) -> Result<(AttemptNumber, Notice), StoreError> {
    let unreadable = |what: &str| StoreError::Corrupt(format!("the {what} of a callback in the inbox cannot be read"));
    let number = row.number.parse().map_err(|_| unreadable("number"))?;
    let notice = serde_json::from_slice(&row.body).map_err(|_| unreadable("content"))?;
    Ok((number, notice))
}
