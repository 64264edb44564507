//! Puts the load on: the open loop by a schedule, the closed loop by connections that ask again once answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::browser::Form;
use crate::endpoint::Endpoint;
use crate::order::Orders;
use crate::pool::Pool;
use crate::sample::Sample;
use crate::schedule::{Pacer, Schedule};
use crate::tally::{Start, Tally, is_success};
use crate::way::Carried;
use crate::wire::{Connection, Reuse};

/// After a refusal or a broken exchange a client of the closed loop pauses: else refusals alone would fill the machine.
const PAUSE: Duration = Duration::from_millis(50);

/// What happened to one order's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    Accepted(Accepted),
    Refused,
    /// Whether the order was taken is not known.
    Unsure,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub shown: Shown,
    /// The server's own id of an order that is to be refunded.
    pub id: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Identified {
    id: Box<str>,
}

/// What the answer shows to the payer, as far as the payer has to do something about it here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    NothingToCarry,
    Form(Form),
    /// The order cannot be paid without a form, and shows none.
    NoForm,
}

/// Where orders go and what came of them.
pub struct Load {
    pool: Pool,
    orders: Orders,
    tally: Mutex<Tally>,
    patience: Duration,
    accepted: Mutex<Sample>,
}

impl Load {
    pub fn new(endpoint: Endpoint, orders: Orders, tally: Tally, patience: Duration, sockets_max: usize) -> Arc<Self> {
        Arc::new(Self {
            pool: Pool::new(endpoint, sockets_max),
            orders,
            tally: Mutex::new(tally),
            patience,
            accepted: Mutex::new(Sample::default()),
        })
    }

    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    pub fn endpoint(&self) -> &Endpoint {
        self.pool.endpoint()
    }

    /// Serial numbers of some orders that were accepted.
    pub fn accepted_sample(&self) -> Vec<u64> {
        lock(&self.accepted).kept().to_vec()
    }

    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Posts one order over a connection of the pool.
    pub async fn post(&self, serial: u64, intended: Instant) -> Posted {
        let Some(mut lease) = self.pool.lease().await else {
            return Posted::Refused;
        };
        self.post_over(&mut lease.slot, &mut Vec::new(), serial, intended).await
    }

    /// Posts one order over the connection in the slot, opening one when it is empty.
    async fn post_over(
        &self,
        slot: &mut Option<Connection>,
        request: &mut Vec<u8>,
        serial: u64,
        intended: Instant,
    ) -> Posted {
        self.orders.write(serial, request);
        let sent = Instant::now();
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => match Connection::open(self.pool.endpoint()).await {
                Ok(connection) => connection,
                Err(broken) => {
                    self.tally().broke(broken);
                    return Posted::Refused;
                }
            },
        };
        let (posted, reuse) = match connection.exchange(request, self.patience).await {
            Ok(answer) => {
                self.tally().answer(Start { intended, sent }, Instant::now(), answer.status, answer.body);
                let posted = match answer.status {
                    status if is_success(status) => Posted::Accepted(Accepted {
                        shown: self.shown(serial, answer.body),
                        id: self.id(serial, answer.body),
                    }),
                    500.. => Posted::Unsure,
                    _ => Posted::Refused,
                };
                (posted, answer.reuse)
            }
            Err(broken) => {
                self.tally().broke(broken);
                (Posted::Unsure, Reuse::Close)
            }
        };
        match posted {
            Posted::Accepted(_) => lock(&self.accepted).offer(serial),
            Posted::Refused | Posted::Unsure => {}
        }
        match reuse {
            Reuse::Keep => *slot = Some(connection),
            Reuse::Close => {}
        }
        posted
    }

    fn id(&self, serial: u64, order: &[u8]) -> Option<Box<str>> {
        self.orders.kind(serial).refund?;
        serde_json::from_slice::<Identified>(order).ok().map(|order| order.id)
    }

    fn shown(&self, serial: u64, order: &[u8]) -> Shown {
        match self.orders.carried(serial) {
            Carried::ByNobody => Shown::NothingToCarry,
            Carried::ByBrowser => Form::read(order).map_or(Shown::NoForm, Shown::Form),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a closed loop ends.
#[derive(Clone, Copy)]
pub enum Until {
    Time(Instant),
    /// So many orders accepted, but no longer than the time.
    Accepted(u64, Instant),
}

impl Until {
    fn reached(self, load: &Load) -> bool {
        match self {
            Self::Time(end) => Instant::now() >= end,
            Self::Accepted(count, end) => load.tally().accepted() >= count || Instant::now() >= end,
        }
    }
}

/// Each connection asks, waits for the answer and asks again.
pub async fn closed(load: &Arc<Load>, connections: usize, until: Until) {
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let load = load.clone();
        clients.spawn(async move {
            let mut slot = None;
            let mut request = Vec::new();
            while !until.reached(&load) {
                let serial = load.orders.take_serial();
                match load.post_over(&mut slot, &mut request, serial, Instant::now()).await {
                    Posted::Accepted(_) => {}
                    Posted::Refused | Posted::Unsure => tokio::time::sleep(PAUSE).await,
                }
            }
        });
    }
    while clients.join_next().await.is_some() {}
}

/// Starts `arrival(intended start)` at each intended start, whatever became of those before, as long as fewer than
/// `in_flight_max` are under way; the others are counted as skipped. Returns when all have ended.
pub async fn open<F, Fut>(
    load: &Arc<Load>,
    schedule: Schedule,
    begin: Instant,
    in_flight_max: usize,
    arrival: F,
) -> std::io::Result<()>
where
    F: Fn(Instant) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(in_flight_max));
    let pacer = Pacer::start(schedule, begin)?;
    let mut started = 0;
    while started < schedule.arrivals() {
        let due = schedule.due(begin.elapsed());
        if started == due {
            pacer.tick().await;
        }
        while started < due {
            let intended = begin + schedule.intended(started);
            started += 1;
            match room.clone().try_acquire_owned() {
                Ok(place) => {
                    let under_way = arrival(intended);
                    tokio::spawn(async move {
                        under_way.await;
                        drop(place);
                    });
                }
                Err(_) => load.tally().skip(),
            }
        }
        // Lets the arrivals run even when the dispatcher is behind.
        tokio::task::yield_now().await;
    }
    drop(pacer);
    let all = u32::try_from(in_flight_max).unwrap_or(u32::MAX);
    drop(room.acquire_many(all).await);
    Ok(())
}
