//! Taking a store over from an owner that was killed, whose last write may still land.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, query};
use tongbao::domain::id::{OrderId, PlatformId};
use tongbao::domain::partition::LaneId;
use tongbao::engine::lease::{self, LeaseError};
use tongbao::store::{Claim, GivenAnswer, KeptAnswer, Owner, Store, StoreError, Unit};

use super::book::{Book, Place};
use super::units::{START, group, new_order};
use super::writer::{Bench, SHOP};

const BEAT: Duration = Duration::from_millis(60);
const MISSED: u32 = 4;

async fn inherit(place: &Place) -> (std::sync::Arc<dyn Store>, Result<Owner, LeaseError>) {
    let store = place.open();
    let owner = lease::acquire(store.as_ref(), "heir", BEAT, MISSED).await;
    (store, owner)
}

/// The heir writes, and the dead owner does not any more.
async fn is_inherited(mut dead: Book, (store, owner): (std::sync::Arc<dyn Store>, Result<Owner, LeaseError>)) {
    let owner = owner.expect("the store is taken over");
    assert_eq!((owner.epoch, owner.group), (dead.epoch + 1, dead.number));
    let late = new_order(SHOP, "late");
    let id = late.id;
    assert_eq!(dead.commit(group(vec![late])).await, Err(StoreError::Fenced));
    assert_eq!(dead.store.beat(LaneId::FIRST, dead.epoch, START).await, Err(StoreError::Fenced));
    assert_eq!(store.order(id).await, Ok(None));
    let next_place = owner.lanes[0].next_place;
    let mut heir = Book { store, epoch: owner.epoch, number: owner.group, next_place };
    heir.write(vec![new_order(SHOP, "inherited")]).await;
}

pub async fn rule_20_an_owner_that_is_silent_is_taken_over(place: Place) {
    let dead = place.book().await;
    let inherited = inherit(&place).await;
    is_inherited(dead, inherited).await;
}

pub async fn rule_20_an_owner_that_was_killed_may_still_have_its_last_word(place: Place) {
    let mut dead = place.book().await;
    let last_word = async {
        tokio::time::sleep(BEAT + BEAT / 2).await;
        dead.write(vec![new_order(SHOP, "last")]).await;
    };
    let (inherited, ()) = tokio::join!(inherit(&place), last_word);
    is_inherited(dead, inherited).await;
}

pub async fn rule_20_an_owner_that_is_heard_twice_is_alive(place: Place) {
    let owner = place.book().await;
    let beats = async {
        loop {
            tokio::time::sleep(BEAT).await;
            owner.store.beat(LaneId::FIRST, owner.epoch, START).await.expect("nobody has taken the store");
        }
    };
    let refused = tokio::select! {
        (_, refused) = inherit(&place) => refused,
        () = beats => unreachable!("it beats for ever"),
    };
    let why = refused.expect_err("the owner is alive").to_string();
    assert_eq!(why, "the store is held by test");
}

pub async fn rule_20_a_store_that_was_given_back_is_taken_at_once(place: Place) {
    let owner = place.book().await;
    owner.store.release(owner.epoch).await.expect("it is given back");
    let store = place.open();
    let taken = lease::acquire(store.as_ref(), "heir", Duration::from_secs(3_600), MISSED).await;
    assert_eq!(taken.map(|taken| taken.epoch).ok(), Some(owner.epoch + 1));
}

/// An owner that beats only every other time would be half as far from being taken for dead as the configuration says.
pub async fn rule_20_an_idle_owner_beats_in_every_span(place: Place) {
    let bench = Bench::new(&place, 10_000).await;
    let mut most = 0;
    for _ in 0..4 {
        let before = bench.store.owner().await.expect("the owner is read").beat;
        tokio::time::sleep(Bench::BEAT * 10).await;
        most = most.max(bench.store.owner().await.expect("the owner is read").beat - before);
    }
    assert!(most > 6, "at most {most} beats in ten spans");
}

/// A session that stands in the way of another one until it is closed.
async fn in_the_way(place: &Place, statements: &[&'static str]) -> PgConnection {
    let options: PgConnectOptions = place.url.parse().expect("the address is PostgreSQL's");
    let mut connection = options.connect().await.expect("another comes to the database");
    for statement in statements {
        query(*statement).execute(&mut connection).await.expect("it gets in the way");
    }
    connection
}

async fn goes_away(session: PgConnection) {
    sqlx::Connection::close(session).await.expect("the session ends");
}

/// PostgreSQL finishes the statement of a client that is gone. Here it has written the owner's row when the heir comes,
/// and ends only while the heir waits for that row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_20_a_last_group_that_holds_the_owner_s_row_is_waited_for() {
    let place = Place::postgres();
    let mut dead = place.book().await;
    let begin = ["BEGIN", "INSERT INTO answers VALUES (1, 'key', sha256(''), gen_random_uuid(), 200, '', 0)"];
    let obstacle = in_the_way(&place, &begin).await;
    let (platform, key, order) = (PlatformId(1), "key".into(), OrderId::from_u128(7));
    let claim = Claim { platform, key, fingerprint: [0; 32], order, at: START };
    let answer = KeptAnswer { claim, given: Some(GivenAnswer { status: 200, body: "last".into() }) };
    let way = async {
        tokio::time::sleep(BEAT * (MISSED + 3)).await;
        goes_away(obstacle).await;
    };
    let last_word = dead.commit(vec![Unit::Answer(Box::new(answer))]);
    let (written, inherited, ()) = tokio::join!(last_word, inherit(&place), way);
    written.expect("the last group was committed");
    is_inherited(dead, inherited).await;
}

/// The statement has not come to the owner's row when the store is taken over: it is fenced, and only it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_20_a_last_group_that_comes_after_the_heir_writes_nothing() {
    let place = Place::postgres();
    let mut dead = place.book().await;
    let obstacle = in_the_way(&place, &["BEGIN", "LOCK TABLE journal IN SHARE MODE"]).await;
    let late = new_order(SHOP, "after");
    let id = late.id;
    let heir = async {
        let inherited = inherit(&place).await;
        goes_away(obstacle).await;
        inherited
    };
    let (written, inherited) = tokio::join!(dead.commit(group(vec![late])), heir);
    assert_eq!(written, Err(StoreError::Fenced));
    assert_eq!(inherited.0.order(id).await, Ok(None));
    is_inherited(dead, inherited).await;
}
