//! All lanes of a process: a unit is written by the lane of its stream's partition.

use std::sync::Arc;

use futures_util::future::join_all;

use super::carrier::{Clock, LaneEnd, Stop};
use super::{Admission, Bounds, Standing, Verdict, WriteError};
use crate::domain::id::Incarnation;
use crate::domain::partition::{LaneId, Partition};
use crate::domain::stream::StreamId;
use crate::store::{Address, Owner, Store, StoreError, Unit};

/// The way to the lanes, for everybody. A lane that is fenced, or whose store is in doubt for ever, stops the process.
#[derive(Clone)]
pub struct Lanes(Arc<All>);

struct All {
    /// In the order of `ends`.
    active: Vec<LaneId>,
    ends: Vec<LaneEnd>,
    /// By partition, the place of its lane in `ends`.
    routes: Vec<usize>,
    store: Arc<dyn Store>,
    epoch: i64,
    incarnation: Incarnation,
}

impl Lanes {
    /// Starts every lane of a store that this process has taken. `bounds` are those of all lanes together, but for a
    /// group's.
    ///
    /// # Errors
    /// The map of partitions cannot be read, or names a lane that does not write.
    ///
    /// # Panics
    /// If the system gives no threads.
    pub async fn start(
        store: Arc<dyn Store>,
        owner: &Owner,
        bounds: Bounds,
        clock: Clock,
        stop: Stop,
    ) -> Result<Self, StoreError> {
        let active: Vec<LaneId> = owner.active().map(|row| row.lane).collect();
        let routes = routes(&store.partitions().await?, &active)?;
        let bounds = Bounds { new_streams_max: bounds.new_streams_max.div_ceil(active.len()), ..bounds };
        let start = |row| LaneEnd::start(store.clone(), row, bounds, clock, stop.clone());
        let ends = owner.active().cloned().map(start).collect();
        Ok(Lanes(Arc::new(All { active, ends, routes, epoch: owner.epoch, incarnation: owner.incarnation, store })))
    }

    /// Of the store since this process took it over: what is opened from now on is numbered by it.
    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// The epoch under which a stream's lane is owned: all lanes are taken together.
    pub fn epoch_of(&self, _: StreamId) -> i64 {
        self.0.epoch
    }

    /// Makes a unit durable.
    ///
    /// # Errors
    /// [`WriteError`]; only [`WriteError::Unknown`] leaves open whether it was written.
    pub async fn write(&self, admission: Admission, unit: Unit) -> Verdict {
        if let Unit::Step(step) = &unit
            && !step.is_in_place()
        {
            return Err(WriteError::Culprit(format!("{} lies in another partition than its name", step.stream)));
        }
        let lane = match unit.address() {
            Address::Partition(partition) => self.0.routes[usize::from(partition.index())],
            Address::Lane(lane) => {
                let place = self.0.active.iter().position(|active| *active == lane);
                place.ok_or_else(|| WriteError::Culprit(format!("lane {lane} does not write")))?
            }
        };
        self.0.ends[lane].write(admission, unit).await
    }

    /// Those that write.
    pub fn active(&self) -> &[LaneId] {
        &self.0.active
    }

    fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.0.ends.iter().map(LaneEnd::standing)
    }

    /// Whether a lane has no store, or does not know what became of a group: nothing may be decided by what is read.
    pub fn is_away(&self) -> bool {
        self.standings().any(|standing| standing.is_away() || standing.is_stopped())
    }

    /// Whether the store refused lately what it should take.
    pub fn is_broken(&self) -> bool {
        self.standings().any(Standing::is_broken)
    }

    pub fn pending(&self) -> usize {
        self.standings().map(Standing::pending).sum()
    }

    /// Commits what is pending and gives the store back, if every lane has come to its end well.
    pub async fn stop(&self) {
        let left = join_all(self.0.ends.iter().map(LaneEnd::leave)).await;
        if left.contains(&false) {
            return;
        }
        if let Err(error) = self.0.store.release(self.0.epoch).await {
            tracing::warn!(%error, "the store's lease was not given back; it will be taken over");
        }
    }
}

/// By partition, the place of its lane among the active ones.
fn routes(map: &[(Partition, LaneId)], active: &[LaneId]) -> Result<Vec<usize>, StoreError> {
    let corrupt = || StoreError::Corrupt("a partition has no lane that writes".to_owned());
    let lane_of = |partition: Partition| {
        let (_, lane) = map.iter().find(|(known, _)| *known == partition)?;
        active.iter().position(|known| known == lane)
    };
    Partition::all().map(|partition| lane_of(partition).ok_or_else(corrupt)).collect()
}
