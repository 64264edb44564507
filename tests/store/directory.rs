//! Orders coming into memory and leaving it, over a real store.

use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use futures_util::future::join_all;
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, query, query_scalar};
use tokio::sync::oneshot;
use tongbao::config::Config;
use tongbao::domain::event::Refusal;
use tongbao::domain::id::OrderId;
use tongbao::domain::order::State;
use tongbao::domain::pay_link::PayLinks;
use tongbao::engine::Engine;
use tongbao::engine::advice::RoutingStats;
use tongbao::engine::ask::{AskError, Command, Patience, Placed};
use tongbao::engine::directory::Directory;
use tongbao::engine::order::Orders;
use tongbao::store::{self, Store};

use super::book::Place;
use super::units::new_order;
use super::writer::{Bench, SHOP};

type Answer = Result<Placed, AskError>;

/// An engine with threads of its own, from which it is asked.
pub struct Hall {
    bench: Bench,
    pub engine: Engine,
    pub store: Arc<dyn Store>,
    threads: Vec<ArbiterHandle>,
}

impl Hall {
    pub async fn new(place: &Place) -> Self {
        let bench = Bench::new(place, 10_000).await;
        let patient = store::open(&SecretString::from(place.url.clone()), 4, Duration::from_secs(10));
        let threads: Vec<ArbiterHandle> = (0..3).map(|_| Arbiter::new().handle()).collect();
        let config = Arc::new(Config::load(&[]).expect("the defaults are right"));
        let stats = RoutingStats::new(&config.routing, &[7; 32]);
        let (store, lanes) = (patient.expect("the store opens"), bench.writer.clone());
        let links = Arc::new(PayLinks::new(&config.server.public_url, &[7; 32]));
        let engine = Engine::start(&config, store.clone(), lanes, stats, links, threads.clone());
        Hall { bench, engine, store, threads }
    }

    pub fn directory(&self) -> &Arc<Directory<Orders>> {
        self.engine.desk.directory()
    }

    /// An order that lies in the store and not in memory.
    pub async fn stored(&self, name: &str) -> OrderId {
        let order = new_order(SHOP, name);
        let id = order.id;
        self.bench.write(order).await.expect("it is written");
        id
    }

    /// Cancels from `askers` places at once.
    fn cancel(&self, id: OrderId, askers: usize) -> Vec<oneshot::Receiver<Answer>> {
        let ask = |asker: usize| {
            let (desk, (tell, told)) = (self.engine.desk.clone(), oneshot::channel());
            let asked = self.threads[asker % self.threads.len()].spawn(async move {
                let _ = tell.send(desk.ask(id, Command::Cancel, Patience::Durable, None).await);
            });
            assert!(asked, "the thread runs");
            told
        };
        (0..askers).map(ask).collect()
    }

    /// One cancelled the order, and all others were told so.
    async fn one_won(&self, id: OrderId, answers: Vec<oneshot::Receiver<Answer>>) {
        let askers = answers.len();
        let answers: Vec<Answer> = join_all(answers).await.into_iter().map(|told| told.expect("an answer")).collect();
        let won =
            answers.iter().filter(|answer| answer.as_ref().is_ok_and(|placed| placed.order.state == State::Failed));
        let late = answers.iter().filter(|answer| matches!(answer, Err(AskError::Refused(Refusal::OrderFinal))));
        assert_eq!((won.count(), late.count()), (1, askers - 1), "{answers:?}");
        let journal = self.store.journal(id.into()).await.expect("the journal is read");
        assert_eq!(journal.into_iter().map(|row| row.version).collect::<Vec<_>>(), [1, 2]);
    }

    async fn becomes_empty(&self) {
        for _ in 0..200 {
            if self.directory().active() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} orders do not leave", self.directory().active());
    }
}

/// Long enough for everything that is not held up to happen.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

async fn hold(place: &Place, statement: &'static str) -> PgConnection {
    let options: PgConnectOptions = place.url.parse().expect("the address is PostgreSQL's");
    let mut connection = options.connect().await.expect("another comes to the database");
    query("BEGIN").execute(&mut connection).await.expect("it begins");
    query(statement).execute(&mut connection).await.expect("it holds what it wants");
    connection
}

#[test]
fn rule_21_the_slot_is_reserved_before_the_order_is_loaded() {
    actix::System::new().block_on(async {
        let place = Place::postgres();
        let hall = Hall::new(&place).await;
        let id = hall.stored("wanted").await;
        let mut holder = hold(&place, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await;
        hall.directory().take_up(id.as_u128());
        assert!(hall.directory().is_active(id.as_u128()), "at once, though nothing can be loaded");
        let mut answers = hall.cancel(id, 24);
        a_while().await;
        assert_eq!(hall.directory().active(), 1);
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "nobody is answered yet");
        let loads: i64 = query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut holder)
        .await
        .expect("sessions are counted");
        assert_eq!(loads, 1, "one load for all of them");
        holder.close().await.expect("it lets go");
        hall.one_won(id, answers).await;
        hall.becomes_empty().await;
    });
}

#[test]
fn rule_21_an_actor_stays_until_its_last_step_is_durable() {
    actix::System::new().block_on(async {
        let place = Place::postgres();
        let hall = Hall::new(&place).await;
        let id = hall.stored("leaving").await;
        let holder = hold(&place, "SELECT FROM lanes FOR UPDATE").await;
        let mut answers = hall.cancel(id, 12);
        a_while().await;
        assert!(hall.directory().is_active(id.as_u128()), "its last step is not durable");
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "nobody is answered yet");
        let stored = hall.store.order(id).await.expect("the order is read").expect("it is there");
        assert_eq!(stored.order.state, State::Created);
        holder.close().await.expect("it lets go");
        hall.one_won(id, answers).await;
        hall.becomes_empty().await;
    });
}

/// A final order leaves as soon as it was spoken to, and is spoken to again at that very moment.
pub async fn rule_21_whoever_comes_to_an_order_that_is_leaving_is_answered(place: Place) {
    let hall = Hall::new(&place).await;
    let id = hall.stored("busy").await;
    hall.one_won(id, hall.cancel(id, 1)).await;
    let talks = hall.threads.iter().map(|thread| {
        let (desk, (tell, told)) = (hall.engine.desk.clone(), oneshot::channel());
        let talking = thread.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..400 {
                answers.push(desk.ask(id, Command::Cancel, Patience::Durable, None).await);
            }
            let _ = tell.send(answers);
        });
        assert!(talking, "the thread runs");
        told
    });
    for answers in join_all(talks).await {
        for answer in answers.expect("all were answered") {
            assert!(matches!(answer, Err(AskError::Refused(Refusal::OrderFinal))), "{answer:?}");
        }
    }
    hall.becomes_empty().await;
}
