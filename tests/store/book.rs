//! A store in a place of its own, and its writer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use tongbao::domain::event::{Event, Fact};
use tongbao::domain::id::{Incarnation, OrderId, PlatformId};
use tongbao::domain::order::Order;
use tongbao::domain::partition::LaneId;
use tongbao::domain::platform::Key;
use tongbao::store::{self, Balance, Birth, Committed, Group, Store, StoreError, StoredPlatform, Unit, whole};

use super::postgres;
use super::units::{self, OrderUnit, START};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// Where a store lies; a folder goes when this does.
pub struct Place {
    pub url: String,
    folder: Option<PathBuf>,
}

impl Place {
    pub fn sqlite() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tongbao-store-{}-{number}", std::process::id()));
        Place { url: format!("sqlite://{}/deeper/store.db", folder.display()), folder: Some(folder) }
    }

    pub fn postgres() -> Self {
        Place::at(postgres::shared().database())
    }

    pub fn at(url: String) -> Self {
        Place { url, folder: None }
    }

    pub fn open(&self) -> Arc<dyn Store> {
        let url = SecretString::from(self.url.clone());
        store::open(&url, 2, Duration::from_millis(300)).expect("the store opens")
    }

    /// A store with a schema, owned.
    pub async fn book(&self) -> Book {
        let store = self.open();
        store.migrate(Birth { mode: "sandbox", at: START }).await.expect("the schema is made");
        Book::take(store).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

pub struct Book {
    pub store: Arc<dyn Store>,
    pub epoch: i64,
    /// The last group's number.
    pub number: i64,
    /// The place of the next journal row.
    pub next_place: i64,
}

impl Book {
    pub async fn take(store: Arc<dyn Store>) -> Self {
        let seen = store.owner().await.expect("there is an owner's row");
        let owner = store.take_over(&seen, "test").await.expect("the store answers").expect("nobody else is there");
        let next_place = owner.lanes[0].next_place;
        Book { store, epoch: owner.epoch, number: owner.group, next_place }
    }

    pub async fn commit(&mut self, units: Vec<Unit>) -> Result<Committed, StoreError> {
        let (lane, number) = (LaneId::FIRST, self.number + 1);
        let (epoch, first_place) = (self.epoch, self.next_place);
        let group = Group { lane, epoch, at: START, number, first_place, units: &units };
        let committed = self.store.commit(&group).await?;
        self.number += 1;
        self.next_place = committed.next_place;
        Ok(committed)
    }

    /// Commits steps that nothing stands in the way of.
    pub async fn write(&mut self, steps: Vec<OrderUnit>) {
        let committed = self.commit(units::group(steps)).await.expect("the group is committed");
        assert_eq!(committed.duplicates, Vec::<usize>::new());
    }

    /// Makes a platform with these keys; the number of what is made is the next one.
    pub async fn platform(&mut self, wanted: &StoredPlatform, keys: &[Key]) -> PlatformId {
        let last = self.store.last_platform().await.expect("platforms are read").map_or(0, |last| last.0);
        let step = units::new_platform(PlatformId(last + 1), wanted, keys);
        self.commit(vec![Unit::Step(Box::new(step))]).await.expect("the platform is made");
        PlatformId(last + 1)
    }

    pub async fn order(&self, id: OrderId) -> Order {
        self.store.order(id).await.expect("the order can be read").expect("the order is there").order
    }

    /// Takes an order to its payment; the steps it took.
    pub async fn pay(&mut self, created: OrderUnit, reference: &str) -> Vec<OrderUnit> {
        let submitted = units::submit(&created.order);
        let accepted = units::accepted(&submitted.order);
        let paid = units::paid(&accepted.order, reference);
        let steps = vec![created, submitted, accepted, paid];
        for step in &steps {
            self.write(vec![again(step)]).await;
        }
        steps
    }

    /// All that can be counted, to see that nothing changed.
    pub async fn picture(&self) -> (Vec<Order>, Vec<Balance>, i64, i64, i64) {
        let store = &self.store;
        (
            store.scan(None, 10_000).await.and_then(whole).expect("orders can be read"),
            store.balances().await.expect("balances can be read"),
            store.outbox_size().await.expect("the outbox can be counted"),
            store.inbox_size().await.expect("the inbox can be counted"),
            store.owner().await.expect("the owner can be read").group,
        )
    }
}

/// The same unit once more.
pub fn again(unit: &OrderUnit) -> OrderUnit {
    OrderUnit {
        id: unit.id,
        decided_at: unit.decided_at,
        expected_version: unit.expected_version,
        order: unit.order.clone(),
        journal: unit.journal.clone(),
        request: unit.request.clone(),
        next_action: unit.next_action.clone(),
        attempts: unit.attempts.clone(),
        captures: unit.captures.clone(),
        refunds: unit.refunds.clone(),
        stuck: unit.stuck.clone(),
        entries: unit.entries.clone(),
        webhooks: unit.webhooks.clone(),
        payer: None,
        paid_by: Vec::new(),
        claim: unit.claim.clone(),
    }
}

/// A step that changes hardly anything, to be taken any number of times.
pub fn cancel(order: &Order) -> OrderUnit {
    units::unit(
        order,
        &[Event { at: units::START.plus_ms(5_000), incarnation: Incarnation::default(), fact: Fact::CancelAsked }],
        None,
    )
}
