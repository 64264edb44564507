use std::time::Duration;

use super::{
    Act, Admission, Bounds, COMMIT_PATIENCE, Lane, READ_BACK_GAP, READ_BACK_PATIENCE, Seat, Verdict, WriteError,
};
use crate::domain::id::Incarnation;
use crate::domain::partition::LaneId;
use crate::domain::time::Instant;
use crate::store::{Committed, Doubt, LaneRow, Service, StoreError};

const BEAT: Duration = Duration::from_millis(200);
const BOUNDS: Bounds = Bounds { group_max: 8, new_streams_max: 10, beat: BEAT };

/// A lane of numbers, each of which waits for itself.
struct Desk {
    lane: Lane<u32, u32>,
    now: Duration,
    seats: Vec<Seat>,
    told: Vec<(u32, Verdict)>,
}

/// What a lane asks of the store, and what it says of its process.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Commit { number: i64, units: Vec<u32> },
    Beat,
    FindLosers(Vec<u32>),
    Stop(String),
    Left,
}

fn row(group: i64) -> LaneRow {
    LaneRow {
        lane: LaneId(3),
        epoch: 7,
        beat: 1,
        group,
        incarnation: Incarnation::default(),
        holder: "test".to_owned(),
        at: Instant(0),
        next_place: 1,
        service: Service::Active,
    }
}

fn commit(number: i64, units: &[u32]) -> Vec<Asked> {
    vec![Asked::Commit { number, units: units.to_vec() }]
}

fn done() -> Result<Committed, StoreError> {
    Ok(Committed { duplicates: Vec::new(), next_place: 1 })
}

impl Desk {
    fn new(doubt: Doubt) -> Self {
        let now = Duration::from_secs(1);
        Desk { lane: Lane::new(row(0), BOUNDS, doubt, now), now, seats: Vec::new(), told: Vec::new() }
    }

    fn offer(&mut self, unit: u32) -> Verdict {
        self.offer_as(Admission::Existing, unit)
    }

    fn offer_as(&mut self, admission: Admission, unit: u32) -> Verdict {
        self.seats.push(self.lane.offer(admission, unit, unit)?);
        Ok(())
    }

    /// Offers units one after the other; the first one is a group of its own.
    fn offer_all(&mut self, units: &[u32]) {
        for unit in units {
            self.offer(*unit).expect("it is taken");
        }
        self.lane.proceed(self.now);
    }

    fn asked(&mut self) -> Vec<Asked> {
        let mut asked = Vec::new();
        while let Some(act) = self.lane.next_act() {
            asked.push(match act {
                Act::Tell(waiter, verdict) => {
                    self.told.push((waiter, verdict));
                    continue;
                }
                Act::Commit(group) => {
                    assert_eq!((group.lane, group.epoch), (LaneId(3), 7));
                    Asked::Commit { number: group.number, units: group.units().to_vec() }
                }
                Act::Beat { lane, epoch } => {
                    assert_eq!((lane, epoch), (LaneId(3), 7));
                    Asked::Beat
                }
                Act::FindLosers(group) => Asked::FindLosers(group.units().to_vec()),
                Act::Stop(why) => Asked::Stop(why),
                Act::Left => Asked::Left,
            });
        }
        asked
    }

    fn committed(&mut self, result: Result<Committed, StoreError>) -> Vec<Asked> {
        self.lane.committed(result, self.now);
        self.asked()
    }

    fn beaten(&mut self, result: Result<LaneRow, StoreError>) -> Vec<Asked> {
        self.lane.beaten(result, self.now);
        self.asked()
    }

    /// Lets time pass, with every tick that the lane wants.
    fn wait(&mut self, time: Duration) -> Vec<Asked> {
        let end = self.now + time;
        while self.lane.wakes_at() <= end {
            self.now = self.lane.wakes_at();
            self.lane.tick(0, self.now);
        }
        self.now = end;
        self.asked()
    }

    fn told(&mut self) -> Vec<(u32, Verdict)> {
        self.seats.clear();
        std::mem::take(&mut self.told)
    }
}

fn all(units: impl IntoIterator<Item = u32>, verdict: &Verdict) -> Vec<(u32, Verdict)> {
    units.into_iter().map(|unit| (unit, verdict.clone())).collect()
}

fn in_doubt() -> StoreError {
    StoreError::InDoubt("cut off".into())
}

#[test]
fn what_gathers_during_a_commit_is_the_next_group_up_to_its_bound() {
    let mut desk = Desk::new(Doubt::ReadBack);
    desk.offer_all(&[1]);
    assert_eq!(desk.asked(), commit(1, &[1]));
    desk.offer_all(&(2..=11).collect::<Vec<_>>());
    assert_eq!(desk.asked(), []);
    assert_eq!(desk.committed(done()), commit(2, &[2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(desk.committed(Ok(Committed { duplicates: vec![1], next_place: 1 })), commit(3, &[10, 11]));
    assert_eq!(desk.committed(done()), []);
    let mut expected = all(1..=11, &Ok(()));
    expected[2].1 = Err(WriteError::Duplicate);
    assert_eq!(desk.told(), expected);
}

#[test]
fn new_streams_stop_at_their_share_and_steps_do_not() {
    let mut desk = Desk::new(Doubt::ReadBack);
    for unit in 0..10 {
        assert_eq!(desk.offer_as(Admission::NewStream, unit), Ok(()));
    }
    assert_eq!(desk.offer_as(Admission::NewStream, 10), Err(WriteError::Overloaded));
    assert_eq!(desk.offer(11), Ok(()));
    assert_eq!(desk.lane.standing().pending(), 11);
    desk.seats.truncate(9);
    assert_eq!(desk.offer_as(Admission::NewStream, 12), Ok(()));
}

#[test]
fn a_culprit_is_found_by_halves_and_the_rest_is_committed() {
    let mut desk = Desk::new(Doubt::ReadBack);
    desk.offer_all(&[1, 2, 3, 4, 5]);
    assert_eq!(desk.asked(), commit(1, &[1, 2, 3, 4, 5]));
    let conflict = || Err(StoreError::Conflict("4".into()));
    assert_eq!(desk.committed(conflict()), commit(1, &[1, 2]));
    assert_eq!(desk.committed(done()), commit(2, &[3, 4, 5]));
    assert_eq!(desk.told(), all([1, 2], &Ok(())), "the innocent do not wait for the culprit");
    assert_eq!(desk.committed(conflict()), commit(2, &[3]));
    assert_eq!(desk.committed(done()), commit(3, &[4, 5]));
    assert_eq!(desk.committed(conflict()), commit(3, &[4]));
    assert_eq!(desk.committed(conflict()), commit(3, &[5]));
    assert_eq!(desk.committed(done()), []);
    assert_eq!(desk.told(), [(3, Ok(())), (4, Err(WriteError::Conflict("4".into()))), (5, Ok(()))]);
}

#[test]
fn a_lost_answer_is_read_back_and_its_losers_are_found() {
    let mut desk = Desk::new(Doubt::ReadBack);
    desk.offer_all(&[1, 2]);
    desk.asked();
    desk.offer(3).expect("it is queued");
    assert_eq!(desk.committed(Err(in_doubt())), [Asked::Beat]);
    assert_eq!(desk.offer(4), Err(WriteError::Away));
    assert_eq!(desk.beaten(Err(StoreError::Unavailable("not yet".into()))), []);
    assert_eq!(desk.wait(READ_BACK_GAP), [Asked::Beat]);
    assert_eq!(desk.beaten(Ok(row(1))), [Asked::FindLosers(vec![1, 2])]);
    assert_eq!(desk.told(), []);
    desk.lane.losers_found(Ok(vec![0]), desk.now);
    assert_eq!(desk.asked(), commit(2, &[3]));
    assert_eq!(desk.told(), [(1, Err(WriteError::Duplicate)), (2, Ok(()))]);
    assert_eq!(desk.offer(4), Ok(()), "the store is back");
}

#[test]
fn a_group_that_never_arrived_is_committed_again_under_its_number() {
    let mut desk = Desk::new(Doubt::ReadBack);
    desk.offer_all(&[1, 2]);
    desk.asked();
    assert_eq!(desk.committed(Err(in_doubt())), [Asked::Beat]);
    assert_eq!(desk.beaten(Ok(row(0))), commit(1, &[1, 2]));
    assert_eq!(desk.committed(done()), []);
    assert_eq!(desk.told(), all([1, 2], &Ok(())));
}

#[test]
fn what_cannot_be_read_back_in_time_is_unknown_and_what_was_not_tried_is_away() {
    let mut desk = Desk::new(Doubt::ReadBack);
    desk.offer_all(&[1, 2]);
    desk.asked();
    desk.offer(3).expect("it is queued");
    // Split, so that the second half was not tried.
    assert_eq!(desk.committed(Err(StoreError::Corrupt("one".into()))), commit(1, &[1]));
    assert_eq!(desk.committed(Err(in_doubt())), [Asked::Beat]);
    let begun = desk.now;
    while desk.beaten(Err(in_doubt())).is_empty() && !desk.lane.is_idle() {
        assert_eq!(desk.wait(READ_BACK_GAP), [Asked::Beat]);
    }
    assert!((READ_BACK_PATIENCE - READ_BACK_GAP * 2..=READ_BACK_PATIENCE).contains(&(desk.now - begun)));
    // Told when the store had halted for too long: of the group nobody knows anything then.
    assert_eq!(desk.told(), [(3, Err(WriteError::Away)), (1, Err(WriteError::Unknown)), (2, Err(WriteError::Unknown))]);
    assert_eq!(desk.wait(BEAT * 2), [Asked::Beat]);
    assert_eq!(desk.beaten(Ok(row(1))), []);
    desk.offer_all(&[5]);
    assert_eq!(desk.asked(), commit(2, &[5]), "groups are numbered from what was read back");
}

#[test]
fn losers_that_cannot_be_found_leave_the_group_unknown() {
    let mut desk = Desk::new(Doubt::ReadBack);
    desk.offer_all(&[1]);
    desk.asked();
    desk.committed(Err(in_doubt()));
    assert_eq!(desk.beaten(Ok(row(1))), [Asked::FindLosers(vec![1])]);
    desk.lane.losers_found(Err(StoreError::Unavailable("gone".into())), desk.now);
    assert_eq!(desk.asked(), []);
    assert_eq!(desk.told(), [(1, Err(WriteError::Unknown))]);
    assert_eq!(desk.offer(2), Err(WriteError::Away));
}

#[test]
fn whoever_waits_for_a_store_that_has_halted_is_told() {
    let mut desk = Desk::new(Doubt::ReadBack);
    desk.offer_all(&[1]);
    desk.asked();
    desk.offer(2).expect("it is queued");
    assert_eq!(desk.wait(COMMIT_PATIENCE - Duration::from_millis(1)), []);
    assert_eq!(desk.told(), []);
    assert_eq!(desk.wait(Duration::from_millis(1)), []);
    assert_eq!(desk.told(), [(2, Err(WriteError::Away)), (1, Err(WriteError::Unknown))]);
    assert_eq!(desk.offer(3), Err(WriteError::Away));
    assert_eq!(desk.wait(Duration::from_secs(60)), [], "a call of the store is never given up");
    assert_eq!(desk.committed(done()), []);
    assert_eq!(desk.told(), []);
    assert_eq!(desk.offer(3), Ok(()));
}

#[test]
fn a_store_that_is_away_is_looked_for_by_beats() {
    let mut desk = Desk::new(Doubt::Stop);
    desk.offer_all(&[1]);
    desk.asked();
    desk.offer(2).expect("it is queued");
    assert_eq!(desk.committed(Err(StoreError::Unavailable("gone".into()))), []);
    assert_eq!(desk.told(), [(1, Err(WriteError::Away)), (2, Err(WriteError::Away))]);
    assert_eq!(desk.wait(BEAT), [Asked::Beat]);
    assert_eq!(desk.beaten(Err(StoreError::Unavailable("gone".into()))), []);
    assert!(desk.lane.standing().is_away());
    assert_eq!(desk.wait(BEAT), [Asked::Beat]);
    assert_eq!(desk.beaten(Ok(row(0))), []);
    assert!(!desk.lane.standing().is_away());
}

#[test]
fn a_broken_store_refuses_some_and_is_mended_by_time() {
    let mut desk = Desk::new(Doubt::Stop);
    desk.offer_all(&[1]);
    desk.asked();
    desk.offer(2).expect("it is queued");
    assert_eq!(desk.committed(Err(StoreError::Broken("a page".into()))), commit(1, &[2]));
    assert_eq!(desk.committed(done()), []);
    assert_eq!(desk.told(), [(1, Err(WriteError::Away)), (2, Ok(()))]);
    assert!(desk.lane.standing().is_broken());
    desk.now += super::MENDED_AFTER;
    desk.offer_all(&[3]);
    desk.asked();
    desk.committed(done());
    assert!(!desk.lane.standing().is_broken());
    desk.lane.tick(1, desk.now + BEAT);
    assert!(desk.lane.standing().is_broken(), "a read was refused");
}

#[test]
fn a_lane_that_is_fenced_or_in_doubt_for_ever_stops_its_process() {
    for (doubt, error) in [(Doubt::ReadBack, StoreError::Fenced), (Doubt::Stop, in_doubt())] {
        let mut desk = Desk::new(doubt);
        desk.offer_all(&[1, 2]);
        desk.asked();
        desk.offer(3).expect("it is queued");
        assert!(matches!(&desk.committed(Err(error.clone()))[..], [Asked::Stop(_)]));
        let mut expected = all([1, 2], &Err(WriteError::Unknown));
        expected.push((3, Err(WriteError::Away)));
        assert_eq!(desk.told(), expected);
        assert_eq!(desk.offer(4), Err(WriteError::Away));
        assert_eq!(desk.wait(BEAT * 5), []);

        let mut desk = Desk::new(doubt);
        assert_eq!(desk.wait(BEAT), [Asked::Beat]);
        assert!(matches!(&desk.beaten(Err(error))[..], [Asked::Stop(_)]));
        assert!(desk.lane.standing().is_stopped());
    }
}

#[test]
fn an_idle_lane_beats_and_a_busy_one_need_not() {
    let mut desk = Desk::new(Doubt::ReadBack);
    for _ in 0..3 {
        assert_eq!(desk.wait(BEAT), [Asked::Beat]);
        desk.now += Duration::from_millis(20);
        desk.beaten(Ok(row(0)));
        desk.now -= Duration::from_millis(20);
    }
    desk.wait(BEAT * 3 / 4);
    desk.offer_all(&[1]);
    desk.asked();
    desk.committed(done());
    assert_eq!(desk.wait(BEAT / 2), [], "the group beat");
}

#[test]
fn who_leaves_commits_what_is_queued() {
    let mut desk = Desk::new(Doubt::ReadBack);
    desk.offer_all(&[1]);
    desk.asked();
    desk.offer(2).expect("it is queued");
    desk.lane.leave(desk.now);
    assert_eq!(desk.offer(3), Err(WriteError::Away));
    assert_eq!(desk.committed(done()), commit(2, &[2]));
    assert_eq!(desk.committed(done()), [Asked::Left]);
    assert_eq!(desk.told(), all([1, 2], &Ok(())));
    assert_eq!(desk.wait(BEAT * 3), []);
    desk.lane.leave(desk.now);
    assert_eq!(desk.asked(), [Asked::Left], "it has left");
}
