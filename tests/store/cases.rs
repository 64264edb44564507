//! What either store must do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Waker};

use tongbao::domain::channel::Channel;
use tongbao::domain::event::{Event, WebhookKind};
use tongbao::domain::id::{Account, Incarnation, OrderId, PlatformId};
use tongbao::domain::journal::{LaneEvent, Title};
use tongbao::domain::order::{FeeBearer, Order, State};
use tongbao::domain::partition::{LaneId, Partition};
use tongbao::domain::payer::PayerMark;
use tongbao::domain::platform::{Fact, KeyHash};
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::domain::time::Instant;
use tongbao::store::{
    Birth, Claim, DeadLetterChange, Delivery, GivenAnswer, Group, Head, InboxReason, InboxRow, KeptAnswer, LastChannel,
    MessageRow, NextActionChange, OrderFilter, Owner, Places, PutOff, StepUnit, Store, StoreError, StoredPlatform,
    TakenMessage, Unit, whole,
};

use super::book::{Book, again, cancel};
use super::units::{self, HOUR_MS, OrderUnit, START, group, new_order, new_order_of, paid, payer, request, submit};

const SHOP: PlatformId = PlatformId(1);
const NONE: [usize; 0] = [];

/// Opaque in a message, exact in a comparison.
fn kind<T>(result: Result<T, StoreError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(StoreError::Conflict(_)) => "conflict",
        Err(StoreError::Unavailable(_)) => "unavailable",
        Err(StoreError::ReferenceTaken(_)) => "reference taken",
        Err(StoreError::NameTaken(_)) => "name taken",
        Err(StoreError::InDoubt(_)) => "in doubt",
        Err(StoreError::Corrupt(_)) => "corrupt",
        Err(StoreError::Broken(_)) => "broken",
        Err(StoreError::Fenced) => "fenced",
    }
}

pub fn platform(name: &str) -> StoredPlatform {
    StoredPlatform {
        id: PlatformId(0),
        name: name.to_owned(),
        fee_bearer: FeeBearer::Platform,
        webhook_secret: "whsec_c2VjcmV0".to_owned(),
        webhook_url: Some("https://shop.example/hooks".to_owned()),
    }
}

pub async fn a_new_order_is_read_back_as_it_was_written(mut book: Book) {
    let mut wanted = request("order-1");
    wanted.webhook_url = Some("https://shop.example/this-order".into());
    wanted.payer = Some(payer("王小明"));
    let unit = new_order_of(SHOP, wanted.clone());
    let order = unit.order.clone();
    let journal = unit.journal.clone();
    book.write(vec![unit]).await;

    let stored = book.store.order(order.id).await.unwrap().expect("it is there");
    assert_eq!(stored.order, order);
    assert_eq!(stored.request, wanted);
    assert_eq!(stored.next_action, None);
    assert_eq!(book.store.order_by_merchant_id(SHOP, "order-1").await.unwrap(), Some(stored));
    assert_eq!(book.store.order_by_merchant_id(PlatformId(2), "order-1").await.unwrap(), None);
    assert_eq!(book.store.order(units::new_id()).await.unwrap(), None);
    let rows = book.store.journal(order.id.into()).await.unwrap();
    assert_eq!((rows.len(), rows[0].version, rows[0].at), (1, 1, START));
    assert_eq!(rows[0].body, journal, "the journal holds the bytes that were written");
}

pub async fn every_step_of_a_payment_is_kept(mut book: Book) {
    let created = new_order(SHOP, "order-1");
    let id = created.id;
    let submitted = submit(&created.order);
    let accepted = units::accepted(&submitted.order);
    let paid = paid(&accepted.order, "T-1");
    let frozen = submitted.attempts[0].frozen.clone();
    let payer = created.request.as_ref().unwrap().payer.clone();
    let journal: Vec<_> = [&created, &submitted, &accepted, &paid].iter().map(|unit| unit.journal.clone()).collect();
    let last = paid.order.clone();

    book.write(vec![created]).await;
    assert_eq!(book.store.frozen(id, 0).await.unwrap(), None);
    book.write(vec![submitted]).await;
    let stored = book.store.frozen(id, 0).await.unwrap().unwrap();
    assert_eq!((stored.request, stored.payer.map(Arc::new)), (frozen, payer));
    assert_eq!(book.store.frozen(id, 1).await.unwrap(), None);
    let NextActionChange::Store(action) = accepted.next_action.clone() else { panic!("it has a next action") };
    book.write(vec![accepted]).await;
    assert_eq!(book.store.order(id).await.unwrap().unwrap().next_action, Some(action));
    book.write(vec![paid]).await;

    let stored = book.store.order(id).await.unwrap().unwrap();
    assert_eq!(stored.order, last);
    assert_eq!(stored.order.state, State::Succeeded);
    assert_eq!(stored.next_action, None, "it is wiped when the order is final");
    let rows = book.store.journal(id.into()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(rows.into_iter().map(|row| row.body).collect::<Vec<_>>(), journal);
    let entries = book.store.entries(id.into()).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].kind.as_str(), entries[0].currency.as_str()), ("payment", "CNY"));
    assert_eq!(
        entries[0].lines.iter().map(|line| (line.account.clone(), line.amount_minor)).collect::<Vec<_>>(),
        [
            ("channel:simpay:default".to_owned(), 1_241),
            ("platform:1".to_owned(), -1_234),
            ("fees:simpay".to_owned(), -7)
        ]
    );
}

pub async fn an_epoch_of_the_past_is_fenced_off(mut book: Book) {
    book.write(vec![new_order(SHOP, "before")]).await;
    let newer = Book::take(book.store.clone()).await;
    assert_eq!(newer.epoch, book.epoch + 1);
    let before = book.picture().await;
    assert_eq!(book.commit(group(vec![new_order(SHOP, "after")])).await, Err(StoreError::Fenced));
    assert_eq!(book.commit(Vec::new()).await, Err(StoreError::Fenced));
    assert_eq!(book.store.beat(LaneId::FIRST, book.epoch, START).await, Err(StoreError::Fenced));
    assert_eq!(book.store.release(book.epoch).await, Err(StoreError::Fenced));
    assert_eq!(book.picture().await, before);
    assert_eq!(book.store.order_by_merchant_id(SHOP, "after").await.unwrap(), None);
    newer.store.beat(LaneId::FIRST, newer.epoch, START).await.expect("the newer one goes on");
}

pub async fn a_store_is_taken_over_only_as_it_was_seen(book: Book) {
    let seen = book.store.owner().await.unwrap();
    assert_eq!((seen.epoch, seen.holder.as_str()), (book.epoch, "test"));
    book.store.beat(LaneId::FIRST, book.epoch, START).await.unwrap();
    assert_eq!(book.store.take_over(&seen, "other").await.unwrap(), None, "it beat meanwhile");
    let seen = book.store.owner().await.unwrap();
    let taken = book.store.take_over(&seen, "other").await.unwrap().expect("nothing moved");
    assert_eq!((taken.epoch, taken.holder.as_str(), taken.group), (seen.epoch + 1, "other", seen.group));
    assert_ne!(taken.incarnation, seen.incarnation, "another life, another incarnation");
    assert_eq!(book.store.beat(LaneId::FIRST, taken.epoch, START).await.unwrap().incarnation, taken.incarnation);
    assert_eq!(book.store.take_over(&seen, "third").await.unwrap(), None, "another was first");
    book.store.release(taken.epoch).await.unwrap();
    let free = book.store.owner().await.unwrap();
    assert_eq!((free.epoch, free.holder.as_str()), (taken.epoch, ""));
}

pub async fn a_beat_tells_the_last_group(mut book: Book) {
    let first = book.store.beat(LaneId::FIRST, book.epoch, START).await.unwrap();
    let second = book.store.beat(LaneId::FIRST, book.epoch, START).await.unwrap();
    assert_eq!(second.beat, first.beat + 1);
    book.write(vec![new_order(SHOP, "order-1")]).await;
    let third = book.store.beat(LaneId::FIRST, book.epoch, START).await.unwrap();
    assert_eq!((third.group, third.beat), (book.number, second.beat + 2), "a group beats too");
    assert_eq!(book.store.owner().await.unwrap().lanes, [third]);
}

pub async fn report_the_owner_s_row_tells_the_last_instant(mut book: Book) {
    let later = START.plus_ms(7_001);
    assert_eq!(book.store.beat(LaneId::FIRST, book.epoch, later).await.unwrap().at, later);
    book.write(vec![new_order(SHOP, "order-1")]).await;
    assert_eq!(book.store.owner().await.unwrap().at, START, "a group tells it too, and it is its owner's word");
    book.store.release(book.epoch).await.unwrap();
    let taken = Book::take(book.store.clone()).await;
    assert_eq!(taken.store.owner().await.unwrap().at, START, "whoever takes it over reads it");
}

/// An order that lies ahead of now is due by now, and not by its own last instant.
pub async fn report_an_order_dated_by_a_clock_that_ran_ahead_is_due_now(mut book: Book) {
    let created = new_order(SHOP, "ahead");
    let submitted = submit(&created.order);
    let (id, now) = (created.id, submitted.order.last_at.plus_ms(-30 * 24 * HOUR_MS));
    book.write(vec![created]).await;
    book.write(vec![OrderUnit { decided_at: now, ..submitted }]).await;
    let due = book.store.due(None, now, 10).await.unwrap();
    assert_eq!(due.iter().map(|due| due.stream).collect::<Vec<_>>(), [id.into()]);
}

pub async fn partitions_are_divided_anew_and_a_lane_s_number_is_given_once(mut book: Book) {
    let store = book.store.clone();
    let shares = || async {
        let mut shares: BTreeMap<u32, usize> = BTreeMap::new();
        let map = store.partitions().await.unwrap();
        assert!(map.iter().map(|(partition, _)| *partition).eq(Partition::all()), "every partition has one lane");
        map.into_iter().for_each(|(_, lane)| *shares.entry(lane.0).or_default() += 1);
        shares.into_iter().collect::<Vec<_>>()
    };
    let active = |owner: &Owner| owner.active().map(|row| row.lane.0).collect::<Vec<_>>();
    assert_eq!(shares().await, [(1, 1_024)]);
    book.write(vec![new_order(SHOP, "before")]).await;

    let four = store.divide(book.epoch, 4).await.unwrap();
    assert_eq!((active(&four), four.group), (vec![1, 2, 3, 4], book.number));
    assert_eq!(shares().await, [(1, 256), (2, 256), (3, 256), (4, 256)]);
    assert!(four.lanes.iter().all(|row| (row.epoch, row.incarnation) == (book.epoch, four.incarnation)));
    for row in &four.lanes {
        assert_eq!(store.beat(row.lane, book.epoch, START).await.unwrap().beat, row.beat + 1);
    }
    assert_eq!(active(&store.divide(book.epoch, 2).await.unwrap()), [1, 2]);
    assert_eq!(shares().await, [(1, 512), (2, 512)]);
    let three = store.divide(book.epoch, 3).await.unwrap();
    assert_eq!((active(&three), three.lanes.len()), (vec![1, 2, 5], 5));
    assert_eq!(shares().await, [(1, 341), (2, 341), (5, 342)]);

    let seen = store.owner().await.unwrap();
    store.beat(LaneId(5), book.epoch, START).await.unwrap();
    assert_eq!(store.take_over(&seen, "other").await.unwrap(), None, "one lane beat meanwhile");
    let taken = Book::take(store.clone()).await;
    for row in &three.lanes {
        assert_eq!(store.beat(row.lane, book.epoch, START).await, Err(StoreError::Fenced), "all lanes or none");
    }
    assert_eq!(store.divide(book.epoch, 1).await, Err(StoreError::Fenced));
    assert_eq!(active(&store.owner().await.unwrap()), [1, 2, 5]);
    store.release(taken.epoch).await.unwrap();
    assert!(store.owner().await.unwrap().lanes.iter().all(|row| row.holder.is_empty()));
}

pub async fn a_group_makes_its_number_durable(mut book: Book) {
    book.commit(Vec::new()).await.expect("an empty group is one");
    book.commit(Vec::new()).await.unwrap();
    assert_eq!(book.store.owner().await.unwrap().group, 2);
}

pub async fn a_taken_merchant_order_id_writes_nothing(mut book: Book) {
    let first = new_order(SHOP, "taken");
    let (id, order) = (first.id, first.order.clone());
    book.write(vec![first]).await;
    let mut loser = request("taken");
    loser.payer = Some(payer("x"));
    // The loser brings a row for every table.
    let loser = with_everything(new_order_of(SHOP, loser), "L");
    let loser_id = loser.id;
    let other = new_order(SHOP, "free");
    let other_platform = new_order(PlatformId(2), "taken");
    let (other_id, other_platform_id) = (other.id, other_platform.id);
    let committed = book.commit(group(vec![other, loser, other_platform])).await.unwrap();
    assert_eq!(committed.duplicates, [1]);
    assert_eq!(book.store.order(loser_id).await.unwrap(), None);
    assert_eq!(book.store.journal(loser_id.into()).await.unwrap(), []);
    assert_eq!(book.store.frozen(loser_id, 0).await.unwrap(), None);
    assert_eq!(book.store.entries(loser_id.into()).await.unwrap(), []);
    assert_eq!(book.store.outbox_size().await.unwrap(), 0);
    assert_eq!(book.store.channel_totals().await.unwrap(), []);
    assert_eq!(book.store.order_by_merchant_id(SHOP, "taken").await.unwrap().unwrap().order, order);
    for id in [id, other_id, other_platform_id] {
        assert_eq!(book.store.journal(id.into()).await.unwrap().len(), 1);
    }
}

/// A creation that carries, in one step, what a whole payment writes.
fn with_everything(created: OrderUnit, reference: &str) -> OrderUnit {
    let submitted = submit(&created.order);
    let mut unit = paid(&submitted.order, reference);
    unit.attempts = submitted.attempts;
    unit.expected_version = 0;
    unit.order.version = 1;
    unit.request = created.request;
    unit
}

pub async fn the_first_of_two_in_one_group_wins(mut book: Book) {
    // The later one has the smaller id, so that the order of the group decides and not the order of ids.
    let (later, first) = (new_order(SHOP, "same"), new_order(SHOP, "same"));
    let (later_id, first_id) = (later.id, first.id);
    let committed = book.commit(group(vec![new_order(SHOP, "else"), first, later])).await.unwrap();
    assert_eq!(committed.duplicates, [2]);
    assert_eq!(book.store.order_by_merchant_id(SHOP, "same").await.unwrap().unwrap().order.id, first_id);
    assert_eq!(book.store.journal(later_id.into()).await.unwrap(), []);
}

pub async fn another_version_rolls_the_whole_group_back(mut book: Book) {
    let (one, two) = (new_order(SHOP, "one"), new_order(SHOP, "two"));
    let (late, fine) = (submit(&one.order), submit(&two.order));
    let id = one.id;
    let moved = cancel(&one.order);
    book.write(vec![one, two]).await;
    book.write(vec![moved]).await;
    let before = book.picture().await;
    let new = new_order(SHOP, "three");
    let new_id = new.id;
    let mut units = group(vec![fine, late, new]);
    units.push(Unit::Inbox(Box::new(inbox_row(None, 1))));
    match book.commit(units).await {
        Err(StoreError::Conflict(why)) => assert!(why.contains(&id.to_string()), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(book.picture().await, before);
    assert_eq!(book.store.journal(id.into()).await.unwrap().len(), 2);
    assert_eq!(book.store.order(new_id).await.unwrap(), None);
    book.write(vec![new_order(SHOP, "three")]).await;
}

pub async fn an_order_that_is_there_is_not_made_again(mut book: Book) {
    let unit = new_order(SHOP, "one");
    let mut twin = again(&unit);
    // Another name of the same partition.
    let mut names = (0..).map(|number| format!("another-{number}"));
    let name = names.find(|name| SHOP.partition_of(name) == unit.id.partition()).expect("there are many");
    if let Some(request) = &mut twin.request {
        request.merchant_order_id = name.into();
    }
    book.write(vec![unit]).await;
    let before = book.picture().await;
    assert_eq!(kind(book.commit(group(vec![twin])).await), "conflict");
    assert_eq!(kind(book.commit(group(vec![submit(&new_order(SHOP, "nowhere").order)])).await), "conflict");
    assert_eq!(book.picture().await, before);
}

pub async fn two_steps_of_one_order_in_a_group_are_refused(mut book: Book) {
    let unit = new_order(SHOP, "one");
    let (submitted, cancelled) = (submit(&unit.order), cancel(&unit.order));
    book.write(vec![unit]).await;
    let before = book.picture().await;
    assert_ne!(kind(book.commit(group(vec![submitted, cancelled])).await), "done");
    assert_eq!(book.picture().await, before);
}

pub async fn a_capture_is_booked_once_and_for_all(mut book: Book) {
    book.pay(new_order(SHOP, "one"), "T-1").await;
    let two = new_order(SHOP, "two");
    let submitted = submit(&two.order);
    let stolen = paid(&submitted.order, "T-1");
    let id = two.id;
    book.write(vec![two]).await;
    book.write(vec![submitted]).await;
    let before = book.picture().await;
    assert_eq!(kind(book.commit(group(vec![new_order(SHOP, "beside"), stolen])).await), "reference taken");
    assert_eq!(book.picture().await, before);
    assert_eq!(book.order(id).await.state, State::Submitted);
    assert_eq!(book.store.order_by_merchant_id(SHOP, "beside").await.unwrap(), None);
    // The same reference at another account is another capture.
    let three = new_order(SHOP, "three");
    let submitted = units::submit_to(&three.order, "second");
    let same_reference = paid(&submitted.order, "T-1");
    book.write(vec![three]).await;
    book.write(vec![submitted]).await;
    book.write(vec![same_reference]).await;
}

pub async fn a_unit_that_contradicts_itself_is_corrupt(mut book: Book) {
    let mut without_request = new_order(SHOP, "one").step();
    without_request.rows.clear();
    let created = new_order(SHOP, "two");
    let mut with_request = submit(&created.order);
    with_request.request = Some(Box::new(request("two")));
    let mut without_name = new_order(SHOP, "three").step();
    without_name.name = None;
    let mut skipping = new_order(SHOP, "four").step();
    skipping.version += 1;
    let astray = units::misplaced(SHOP, "five").step();
    for unit in [without_request, with_request.step(), without_name, skipping, astray] {
        assert_eq!(kind(book.commit(vec![Unit::Step(Box::new(unit))]).await), "corrupt");
    }
    assert_eq!(whole(book.store.scan(None, 10).await.unwrap()).unwrap(), []);
}

pub async fn lists_are_filtered_and_turn_pages(mut book: Book) {
    let mut steps: Vec<OrderUnit> = (0..10).map(|n| new_order(SHOP, &format!("order-{n}"))).collect();
    for (n, step) in steps.iter_mut().enumerate() {
        step.order.created_at = START.plus_ms(n as i64 * 1_000);
    }
    let ids: Vec<OrderId> = steps.iter().map(|step| step.id).collect();
    let submitted: Vec<OrderUnit> = steps[6..].iter().map(|step| submit(&step.order)).collect();
    steps.push(new_order(PlatformId(2), "order-0"));
    book.write(steps).await;
    book.write(submitted).await;
    let all = OrderFilter {
        platform: SHOP,
        merchant_order_id: None,
        state: None,
        channel: None,
        created_after: None,
        created_before: None,
        before: None,
        limit: 100,
    };
    let found = async |filter: &OrderFilter| -> Vec<usize> {
        let rows = whole(book.store.orders(filter).await.unwrap()).unwrap();
        rows.iter().map(|row| ids.iter().position(|id| *id == row.order.id).expect("it is one of these")).collect()
    };
    assert_eq!(found(&all).await, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "newest first");
    assert_eq!(found(&OrderFilter { limit: 4, ..all.clone() }).await, [9, 8, 7, 6]);
    assert_eq!(found(&OrderFilter { limit: 4, before: Some(ids[6]), ..all.clone() }).await, [5, 4, 3, 2]);
    assert_eq!(found(&OrderFilter { before: Some(ids[0]), ..all.clone() }).await, NONE);
    assert_eq!(found(&OrderFilter { state: Some(State::Submitted), ..all.clone() }).await, [9, 8, 7, 6]);
    assert_eq!(found(&OrderFilter { channel: Some(Channel::Simpay), ..all.clone() }).await, [9, 8, 7, 6]);
    assert_eq!(found(&OrderFilter { channel: Some(Channel::Wechat), ..all.clone() }).await, NONE);
    assert_eq!(found(&OrderFilter { merchant_order_id: Some("order-3".to_owned()), ..all.clone() }).await, [3]);
    let between = OrderFilter {
        created_after: Some(START.plus_ms(2_000)),
        created_before: Some(START.plus_ms(5_000)),
        ..all.clone()
    };
    assert_eq!(found(&between).await, [4, 3], "neither end is in");
    assert_eq!(found(&OrderFilter { state: Some(State::Created), limit: 1, ..all }).await, [5]);
}

pub async fn due_orders_come_in_pages(mut book: Book) {
    let mut steps: Vec<OrderUnit> = (0..9).map(|n| new_order(SHOP, &format!("order-{n}"))).collect();
    for (n, step) in steps.iter_mut().enumerate() {
        step.order.expires_at = START.plus_ms(1_000 * (n as i64 / 3));
    }
    let mut expected: Vec<(i64, OrderId)> = steps.iter().map(|step| (step.order.expires_at.0, step.id)).collect();
    expected.sort_unstable();
    book.write(steps).await;
    // A final order that owes nothing is never due.
    let done = new_order(SHOP, "done");
    book.pay(done, "T-1").await;

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = book.store.due(after, START.plus_ms(1_000), 4).await.unwrap();
        seen.extend(page.iter().map(|due| (due.due_at.0, due.stream.order().expect("an order"))));
        after = page.last().copied();
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(seen, expected[..6]);
    assert_eq!(book.store.due(None, Instant(i64::MAX), 100).await.unwrap().len(), 9);
    assert_eq!(book.store.due(None, START.plus_ms(-1), 100).await.unwrap(), []);
}

/// A stream of a kind that no table but the common ones knows.
const TOY: Kind = Kind(200);

fn toy(id: u128, version: u32) -> StepUnit {
    StepUnit {
        stream: StreamId { kind: TOY, id },
        expected_version: version - 1,
        version,
        at: START,
        decided_at: START,
        head: Head {
            state: "open",
            facet: Some("left"),
            next_due_at: Some(START.plus_ms(i64::from(version))),
            next_action: NextActionChange::Keep,
            snapshot: format!(r#"{{"version":{version}}}"#).into(),
        },
        journal: format!("[{version}]").into(),
        name: None,
        rows: Vec::new(),
        entries: Vec::new(),
        webhooks: Vec::new(),
        messages: Vec::new(),
        taken: None,
        claim: None,
    }
}

fn step(unit: StepUnit) -> Unit {
    Unit::Step(Box::new(unit))
}

pub async fn a_stream_of_any_kind_is_kept_like_an_order(mut book: Book) {
    let order = new_order(SHOP, "beside");
    let stream = StreamId { kind: TOY, id: order.id.as_u128() };
    book.commit(vec![order.unit(), step(toy(stream.id, 1))]).await.unwrap();
    book.commit(vec![step(toy(stream.id, 2))]).await.unwrap();
    let head = book.store.head(stream).await.unwrap().unwrap();
    assert_eq!((head.version, head.epoch, head.state.as_ref()), (2, book.epoch, "open"));
    assert_eq!((head.facet.as_deref(), head.snapshot.as_ref()), (Some("left"), r#"{"version":2}"#));
    let journal = book.store.journal(stream).await.unwrap();
    assert_eq!(journal.iter().map(|row| row.body.as_slice()).collect::<Vec<_>>(), [b"[1]", b"[2]"]);
    assert_eq!(book.store.journal_page(stream, 1, 10).await.unwrap(), journal[1..]);
    assert_eq!(book.store.head(StreamId { kind: Kind(201), id: stream.id }).await.unwrap(), None);
    assert_eq!(whole(book.store.scan(None, 10).await.unwrap()).unwrap().len(), 1, "orders are scanned");
    assert_eq!(kind(book.commit(vec![step(toy(stream.id, 2))]).await), "conflict");
    assert_eq!(kind(book.commit(vec![step(toy(stream.id, 1))]).await), "conflict");
    assert_eq!(book.store.head(stream).await.unwrap().unwrap(), head);
}

/// Whoever does what is due without a step moves it on; a step that came between has the last word.
pub async fn what_is_due_is_put_off_without_a_step(mut book: Book) {
    let (one, two) = (StreamId { kind: TOY, id: 1 }, StreamId { kind: TOY, id: 2 });
    book.commit(vec![step(toy(1, 1)), step(toy(2, 1))]).await.unwrap();
    let put_off = |stream, version, ms| Unit::PutOff(PutOff { stream, version, next_due_at: START.plus_ms(ms) });
    let store = book.store.clone();
    let due = async |until_ms| {
        let due = store.due(None, START.plus_ms(until_ms), 10).await.unwrap();
        due.into_iter().map(|due| (due.due_at.0 - START.0, due.stream)).collect::<Vec<_>>()
    };
    assert_eq!(due(1).await, [(1, one), (1, two)]);
    book.commit(vec![put_off(one, 1, 70), put_off(two, 1, 60), put_off(two, 1, 50)]).await.unwrap();
    assert_eq!(due(100).await, [(50, two), (70, one)], "the last word in a group counts");
    assert_eq!(book.store.journal(one).await.unwrap().len(), 1);
    assert_eq!(book.store.head(one).await.unwrap().unwrap().version, 1);
    // Of a version that is past, or beside a step.
    book.commit(vec![put_off(one, 2, 90), step(toy(1, 2))]).await.unwrap();
    book.commit(vec![put_off(one, 1, 95), put_off(two, 1, 50)]).await.unwrap();
    assert_eq!(due(100).await, [(2, one), (50, two)]);
    assert_eq!(due(1).await, []);
}

pub async fn a_message_is_delivered_until_it_is_taken_and_taken_once(mut book: Book) {
    let [one, two, three] = [1, 2, 3].map(|id| StreamId { kind: TOY, id });
    let message = |number, to| MessageRow { number, to, at: START, body: (*b"{}").into() };
    let mut sender = toy(1, 1);
    sender.messages = vec![message(1, two), message(2, three), message(3, two)];
    book.commit(vec![step(sender), step(toy(2, 1)), step(toy(3, 1))]).await.unwrap();
    let store = book.store.clone();
    let waiting = async |stream| {
        let messages = whole(store.messages_to(stream).await.unwrap()).unwrap();
        messages.into_iter().map(|message| message.key.number).collect::<Vec<_>>()
    };
    assert_eq!((waiting(two).await, waiting(three).await, waiting(one).await), (vec![1, 3], vec![2], vec![]));
    let page = whole(book.store.messages_due(None, 2).await.unwrap()).unwrap();
    assert_eq!(page.iter().map(|message| message.key.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!((page[0].key.from, page[0].at, page[0].body.as_ref()), (one, START, b"{}".as_slice()));
    let rest = whole(book.store.messages_due(Some(page[1].key), 2).await.unwrap()).unwrap();
    assert_eq!(rest.iter().map(|message| (message.key.to, message.key.number)).collect::<Vec<_>>(), [(three, 2)]);

    let take = |number, version| StepUnit { taken: Some(TakenMessage { from: one, number }), ..toy(2, version) };
    book.commit(vec![step(take(1, 2))]).await.unwrap();
    assert_eq!(waiting(two).await, [3]);
    // Again, or one that is somebody else's: nothing of the step is written.
    for number in [1, 2] {
        assert_eq!(kind(book.commit(vec![step(take(number, 3)), step(toy(3, 2))]).await), "conflict");
    }
    assert_eq!((book.store.head(two).await.unwrap().unwrap().version, waiting(three).await), (2, vec![2]));
    book.commit(vec![step(take(3, 3))]).await.unwrap();
    assert!(waiting(two).await.is_empty());
}

/// Places are dense and in the order of groups and their units, and whatever was not written has none.
pub async fn a_place_is_given_once(mut book: Book) {
    let stored = book.store.clone();
    let place = async |stream| {
        let journal = stored.journal(stream).await.unwrap();
        journal.iter().map(|row| (row.lane, row.place)).collect::<Vec<_>>()
    };
    let here = |places: &[i64]| places.iter().map(|place| (LaneId::FIRST, *place)).collect::<Vec<_>>();
    let birth = StreamId { kind: Kind::LANE, id: 1 };
    assert_eq!((place(birth).await, book.next_place), (here(&[0]), 1), "a lane is born with its first row");
    let told = book.store.journal(birth).await.unwrap().remove(0);
    let events = Title::of_birth(1, told.at).read::<LaneEvent>(&told.body).unwrap().events;
    let id = book.store.kept_setting("store_id").await.unwrap();
    assert_eq!(events, [LaneEvent::Born { mode: "sandbox".into(), store: id.unwrap().into() }]);

    let [one, two, three] = [1, 2, 3].map(|id| StreamId { kind: TOY, id });
    // The order of units counts, and neither ids nor kinds.
    book.commit(vec![step(toy(2, 1)), Unit::InboxDone { id: 7 }, step(toy(1, 1))]).await.unwrap();
    assert_eq!((place(two).await, place(one).await, book.next_place), (here(&[1]), here(&[2]), 3));
    // Neither a group that fails nor a loser uses one up; what has no row in the journal needs none.
    assert_eq!(kind(book.commit(vec![step(toy(3, 1)), step(toy(1, 9))]).await), "conflict");
    let twins = [new_order(SHOP, "twin"), new_order(SHOP, "twin")];
    let winner = StreamId::from(twins[0].id);
    let mut units = group(twins.into());
    units.push(step(toy(3, 1)));
    let committed = book.commit(units).await.unwrap();
    assert_eq!((committed.duplicates, committed.next_place), (vec![1], 5));
    assert_eq!((place(winner).await, place(three).await), (here(&[3]), here(&[4])));
    book.commit(vec![Unit::InboxDone { id: 7 }]).await.unwrap();
    assert_eq!(book.store.beat(LaneId::FIRST, book.epoch, START).await.unwrap().next_place, 5);
    assert_eq!(book.store.places().await.unwrap(), [Places { lane: 1, count: 5, first: 0, last: 4 }]);

    // Whoever believes that the lane is elsewhere has not seen all of it, and writes nothing.
    for place in [4, 6] {
        let next_place = std::mem::replace(&mut book.next_place, place);
        assert_eq!(kind(book.commit(vec![step(toy(1, 2))]).await), "fenced");
        book.next_place = next_place;
    }
    book.commit(vec![step(toy(1, 2))]).await.unwrap();
    assert_eq!(place(one).await, here(&[2, 5]));
}

/// A balance is what the lines make it, whatever was tried in between, and whoever goes on.
pub async fn balances_run_along_with_the_lines(mut book: Book) {
    let proven = async |store: &dyn Store| {
        let mut sums: BTreeMap<(i64, String, String), i64> = BTreeMap::new();
        for sum in store.sums_of_lines().await.unwrap() {
            *sums.entry((sum.lane, sum.account, sum.currency)).or_default() += sum.amount_minor;
        }
        let balances = store.balances_by_lane().await.unwrap().into_iter();
        let balances: BTreeMap<_, _> =
            balances.map(|row| ((row.lane, row.account, row.currency), row.amount_minor)).collect();
        assert_eq!(balances, sums);
        balances.get(&(1, "channel:simpay:default".to_owned(), "CNY".to_owned())).copied().unwrap_or_default()
    };
    book.pay(new_order(SHOP, "first"), "T-1").await;
    assert_eq!(proven(book.store.as_ref()).await, 1_241);
    let created: Vec<OrderUnit> = (0..4).map(|n| new_order(PlatformId(1 + n % 2), &format!("order-{n}"))).collect();
    let submitted: Vec<OrderUnit> = created.iter().map(|unit| submit(&unit.order)).collect();
    let paid_by = |number: usize| paid(&submitted[number].order, &format!("R-{number}"));
    let steps = submitted.iter().map(again).collect();
    book.write(created).await;
    book.write(steps).await;
    // A group that fails at its last unit has booked nothing.
    let stolen = paid(&submitted[2].order, "T-1");
    assert_eq!(kind(book.commit(group(vec![paid_by(0), paid_by(1), stolen])).await), "reference taken");
    assert_eq!(proven(book.store.as_ref()).await, 1_241);
    book.write(vec![paid_by(0), paid_by(1)]).await;
    assert_eq!(proven(book.store.as_ref()).await, 3 * 1_241);
    let mut newer = Book::take(book.store.clone()).await;
    assert_eq!(kind(book.commit(group(vec![paid_by(2)])).await), "fenced");
    newer.write(vec![paid_by(3)]).await;
    newer.write(vec![paid_by(2)]).await;
    assert_eq!(proven(newer.store.as_ref()).await, 5 * 1_241);
    let balances = newer.store.balances().await.unwrap();
    assert_eq!(balances.iter().map(|row| row.amount_minor).sum::<i64>(), 0);
}

/// A read of an order neither hides what was committed since, nor keeps the file from being closed and moved.
pub async fn an_order_is_read_as_it_was_committed_last(mut book: Book) {
    let created = new_order(SHOP, "order-1");
    let (id, submitted) = (created.id, submit(&created.order));
    assert_eq!(book.store.order(id).await.unwrap(), None);
    book.write(vec![created]).await;
    for version in 1..=2 {
        assert_eq!(book.order(id).await.version, version);
        assert_eq!(book.store.frozen(id, 0).await.unwrap().is_some(), version == 2);
        if version == 1 {
            book.write(vec![again(&submitted)]).await;
        }
    }
    book.store.close().await.unwrap();
    if let Some(file) = book.store.file() {
        let log = std::fs::metadata(file.with_extension("db-wal")).map_or(0, |log| log.len());
        assert_eq!(log, 0, "the file is whole");
    }
    assert_eq!(book.order(id).await.version, 2, "it opens again");
}

/// Names that are taken are found before anything is written: the rest of the group is as it would be without them.
pub async fn losers_are_found_before_the_group(mut book: Book) {
    book.write(vec![new_order(SHOP, "taken")]).await;
    let names = ["free", "taken", "twin", "twin", "taken", "other"];
    let orders = names.map(|name| new_order(SHOP, name));
    let streams = orders.each_ref().map(|order| StreamId::from(order.id));
    let committed = book.commit(group(orders.into())).await.unwrap();
    assert_eq!(committed.duplicates, [1, 3, 4]);
    for (place, stream) in streams.into_iter().enumerate() {
        let is_there = book.store.head(stream).await.unwrap().is_some();
        assert_eq!(is_there, !committed.duplicates.contains(&place), "{}", names[place]);
    }
    assert_eq!(book.store.due(None, Instant(i64::MAX), 10).await.unwrap().len(), 4, "nobody looks for a loser");
}

pub async fn webhooks_live_and_die_in_the_outbox(mut book: Book) {
    let platform_id = book.platform(&platform("shop"), &[]).await;
    let steps = book.pay(new_order(platform_id, "order-1"), "T-1").await;
    let order = steps[3].order.clone();
    let now = order.last_at;

    assert_eq!(whole(book.store.outbox(now.plus_ms(-1), None, 10).await.unwrap()).unwrap(), []);
    let items = whole(book.store.outbox(now, None, 10).await.unwrap()).unwrap();
    assert_eq!(items.len(), 1);
    let item = &items[0];
    assert_eq!((item.stream, item.row.sequence, item.row.kind), (order.id.into(), 1, WebhookKind::OrderSucceeded));
    assert_eq!((item.row.at, item.tries, item.next_at), (now, 0, now));
    assert_eq!((&item.row, item.row.platform), (&steps[3].webhooks[0], platform_id));
    assert_eq!(*item.secret, *platform("shop").webhook_secret);
    assert_eq!(book.store.outbox_size().await.unwrap(), 1);

    let later = now.plus_ms(60_000);
    let failed =
        Delivery::Failed { stream: order.id.into(), sequence: 1, tries: 1, next_at: later, why: "status 500".into() };
    book.commit(vec![Unit::Delivery(failed)]).await.unwrap();
    assert_eq!(whole(book.store.outbox(now, None, 10).await.unwrap()).unwrap(), []);
    let items = whole(book.store.outbox(later, None, 10).await.unwrap()).unwrap();
    assert_eq!((items[0].tries, items[0].next_at, &items[0].row), (1, later, &item.row), "byte for byte");

    let dead = Delivery::Dead { stream: order.id.into(), sequence: 1, tries: 2, why: "gave up".into() };
    book.commit(vec![Unit::Delivery(dead)]).await.unwrap();
    assert_eq!(whole(book.store.outbox(Instant(i64::MAX), None, 10).await.unwrap()).unwrap(), []);
    let letters = whole(book.store.dead_letters(None, 10).await.unwrap()).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].stream, letters[0].sequence, letters[0].tries), (order.id.into(), 1, 2));
    assert_eq!((letters[0].kind, letters[0].at, letters[0].why.as_str()), (item.row.kind, now, "gave up"));
    assert_eq!(book.store.outbox_size().await.unwrap(), 1);

    let replayed = DeadLetterChange::Replayed { stream: order.id.into(), sequence: 1, at: later };
    book.commit(vec![Unit::DeadLetter(replayed)]).await.unwrap();
    assert_eq!(whole(book.store.dead_letters(None, 10).await.unwrap()).unwrap(), []);
    let items = whole(book.store.outbox(later, None, 10).await.unwrap()).unwrap();
    assert_eq!((items[0].tries, items[0].next_at), (0, later));

    book.commit(vec![Unit::Delivery(Delivery::Delivered { stream: order.id.into(), sequence: 1 })]).await.unwrap();
    assert_eq!(book.store.outbox_size().await.unwrap(), 0);
    // What is delivered already is no fault.
    book.commit(vec![Unit::Delivery(Delivery::Delivered { stream: order.id.into(), sequence: 1 })]).await.unwrap();
}

pub async fn dead_letters_are_erased(mut book: Book) {
    let platform_id = book.platform(&platform("shop"), &[]).await;
    let mut orders = Vec::new();
    for n in 0..4 {
        let steps = book.pay(new_order(platform_id, &format!("order-{n}")), &format!("T-{n}")).await;
        orders.push(steps[3].order.clone());
    }
    let dead = |order: &Order| {
        Unit::Delivery(Delivery::Dead { stream: order.id.into(), sequence: 1, tries: 12, why: "gave up".into() })
    };
    book.commit(orders[..3].iter().map(dead).collect()).await.unwrap();
    let erased = |order: &Order| Unit::DeadLetter(DeadLetterChange::Erased { stream: order.id.into(), sequence: 1 });
    book.commit(orders[..3].iter().map(erased).collect()).await.unwrap();
    assert_eq!(book.store.outbox_size().await.unwrap(), 1);
    assert_eq!(whole(book.store.dead_letters(None, 10).await.unwrap()).unwrap(), []);
}

/// An order's last instant may lie ahead of the clock; its webhook does not wait for it.
pub async fn a_webhook_of_a_fact_ahead_is_due_now(mut book: Book) {
    let platform_id = book.platform(&platform("shop"), &[]).await;
    let created = new_order(platform_id, "order-1");
    let submitted = submit(&created.order);
    let mut paid = paid(&submitted.order, "T-1");
    let (at, decided_at) = (paid.order.last_at, paid.order.last_at.plus_ms(-60_000));
    paid.decided_at = decided_at;
    for step in [created, submitted, paid] {
        book.write(vec![step]).await;
    }
    let items = whole(book.store.outbox(decided_at, None, 10).await.unwrap()).unwrap();
    assert_eq!(items.iter().map(|item| (item.next_at, item.row.at)).collect::<Vec<_>>(), [(decided_at, at)]);
}

/// Two streams of one id and one sequence.
pub async fn webhooks_of_streams_of_two_kinds_are_kept_apart(mut book: Book) {
    let platform_id = book.platform(&platform("shop"), &[]).await;
    let steps = book.pay(new_order(platform_id, "order-1"), "T-1").await;
    let (order, row) = (&steps[3].order, steps[3].webhooks[0].clone());
    let (one, other) = (StreamId::from(order.id), StreamId { kind: TOY, id: order.id.as_u128() });
    book.commit(vec![step(StepUnit { webhooks: vec![row.clone()], ..toy(other.id, 1) })]).await.unwrap();
    let store = book.store.clone();
    let due = async || {
        let items = whole(store.outbox(Instant(i64::MAX), None, 10).await.unwrap()).unwrap();
        items.into_iter().map(|item| (item.stream, item.tries)).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(due().await, [(one, 0), (other, 0)].into());
    let dead = |stream| Unit::Delivery(Delivery::Dead { stream, sequence: 1, tries: 12, why: "gave up".into() });
    book.commit(vec![dead(other)]).await.unwrap();
    assert_eq!(due().await, [(one, 0)].into());
    book.commit(vec![dead(one)]).await.unwrap();
    let mut after = None;
    for stream in [one, other] {
        let letter = whole(store.dead_letters(after, 1).await.unwrap()).unwrap().remove(0);
        assert_eq!((letter.stream, letter.sequence, letter.kind), (stream, 1, row.kind));
        after = Some((letter.stream, letter.sequence));
    }
    assert_eq!(store.dead_letters(after, 1).await.unwrap(), []);
    let replayed = DeadLetterChange::Replayed { stream: other, sequence: 1, at: order.last_at };
    book.commit(vec![Unit::DeadLetter(replayed)]).await.unwrap();
    assert_eq!(due().await, [(other, 0)].into());
    book.commit(vec![Unit::DeadLetter(DeadLetterChange::Erased { stream: one, sequence: 1 })]).await.unwrap();
    assert_eq!(whole(store.dead_letters(None, 10).await.unwrap()).unwrap(), []);
    book.commit(vec![Unit::Delivery(Delivery::Delivered { stream: other, sequence: 1 })]).await.unwrap();
    assert_eq!(store.outbox_size().await.unwrap(), 0);
}

pub async fn the_outbox_turns_pages(mut book: Book) {
    let platform_id = book.platform(&platform("shop"), &[]).await;
    let created: Vec<OrderUnit> = (0..7).map(|n| new_order(platform_id, &format!("order-{n}"))).collect();
    let submitted: Vec<OrderUnit> = created.iter().map(|unit| submit(&unit.order)).collect();
    let paid: Vec<OrderUnit> = submitted.iter().map(|unit| paid(&unit.order, &unit.id.to_string())).collect();
    let ids: Vec<StreamId> = created.iter().map(|unit| unit.id.into()).collect();
    for steps in [created, submitted, paid] {
        book.write(steps).await;
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = whole(book.store.outbox(Instant(i64::MAX), after, 3).await.unwrap()).unwrap();
        assert!(page.len() <= 3);
        seen.extend(page.iter().map(|item| item.stream));
        let Some(last) = page.last() else { break };
        after = Some((last.next_at, last.stream, last.row.sequence));
    }
    assert_eq!(seen, ids);
}

fn inbox_row(order: Option<OrderId>, digest: u8) -> InboxRow {
    InboxRow {
        reason: if order.is_some() { InboxReason::OrderQuarantined } else { InboxReason::OrderUnknown },
        account: Account::new(Channel::Wechat, "default"),
        number: "01JB0000000000000000000000".into(),
        order,
        body: b"{}".to_vec(),
        raw: vec![0, 159, 146, 150],
        digest: [digest; 32],
        at: START,
    }
}

pub async fn the_inbox_keeps_what_no_order_could_take(mut book: Book) {
    let id = units::new_id();
    let rows = [inbox_row(Some(id), 1), inbox_row(None, 2), inbox_row(Some(id), 3)];
    // The same again is kept once, in one group as in another.
    for _ in 0..2 {
        let twice = rows.iter().chain(&rows);
        book.commit(twice.map(|row| Unit::Inbox(Box::new(row.clone()))).collect()).await.unwrap();
    }
    assert_eq!(book.store.inbox_size().await.unwrap(), 3);
    let stored = whole(book.store.inbox(id).await.unwrap()).unwrap();
    assert_eq!(stored.iter().map(|stored| stored.row.clone()).collect::<Vec<_>>(), [rows[0].clone(), rows[2].clone()]);
    book.commit(vec![Unit::InboxDone { id: stored[1].id }]).await.unwrap();
    assert_eq!(whole(book.store.inbox(id).await.unwrap()).unwrap(), stored[..1]);
    book.commit(vec![Unit::Inbox(Box::new(inbox_row(Some(id), 4)))]).await.unwrap();
    let numbers: Vec<i64> = whole(book.store.inbox(id).await.unwrap()).unwrap().iter().map(|kept| kept.id).collect();
    assert!(numbers[1] > stored[1].id, "a number is never used again: {numbers:?} after {}", stored[1].id);
    assert_eq!(whole(book.store.inbox(units::new_id()).await.unwrap()).unwrap(), []);
    assert_eq!(book.store.inbox_rows(stored[0].id, 1).await.unwrap().len(), 1, "by number, a page at a time");
}

/// Each look goes on behind the one before, so that none waits behind others for ever.
pub async fn the_inbox_turns_pages_of_orders(mut book: Book) {
    let mut ids: Vec<OrderId> = (0..5).map(|_| units::new_id()).collect();
    ids.sort_unstable();
    let row = |(id, digest): (&OrderId, u8)| Unit::Inbox(Box::new(inbox_row(Some(*id), digest)));
    book.commit(ids.iter().zip(1..).map(row).collect()).await.unwrap();
    assert_eq!(book.store.inbox_orders(None, 2).await.unwrap(), ids[..2]);
    assert_eq!(book.store.inbox_orders(Some(ids[1]), 2).await.unwrap(), ids[2..4]);
    assert_eq!(book.store.inbox_orders(Some(ids[3]), 2).await.unwrap(), ids[4..]);
    assert_eq!(book.store.inbox_orders(Some(ids[4]), 2).await.unwrap(), []);
}

fn claim(key: &str, order: OrderId, at: Instant) -> Claim {
    Claim { platform: SHOP, key: key.into(), fingerprint: [7; 32], order, at }
}

fn answer(key: &str, at: Instant, body: &str) -> KeptAnswer {
    let given = GivenAnswer { status: 201, body: body.into() };
    KeptAnswer { claim: claim(key, OrderId::from_u128(1), at), given: Some(given) }
}

pub async fn answers_are_kept_and_forgotten(mut book: Book) {
    let kept: Vec<KeptAnswer> =
        (0..5).map(|n| answer(&format!("key-{n}"), START.plus_ms(n), r#"{"id":"ord_1"}"#)).collect();
    book.commit(kept.iter().map(|answer| Unit::Answer(Box::new(answer.clone()))).collect()).await.unwrap();
    assert_eq!(book.store.answer(SHOP, "key-3").await.unwrap(), Some(kept[3].clone()));
    assert_eq!(book.store.answer(PlatformId(2), "key-3").await.unwrap(), None);
    assert_eq!(book.store.answer(SHOP, "key-9").await.unwrap(), None);

    assert_eq!(book.store.forget_answers(START.plus_ms(3), 2).await.unwrap(), 2);
    assert_eq!(book.store.answer(SHOP, "key-1").await.unwrap(), None);
    assert!(book.store.answer(SHOP, "key-2").await.unwrap().is_some());
    assert_eq!(book.store.forget_answers(START.plus_ms(3), 2).await.unwrap(), 1);
    assert_eq!(book.store.forget_answers(START.plus_ms(3), 2).await.unwrap(), 0);

    // A key that is used anew after its time has the newer answer; so has one that is twice in a group.
    let newer = answer("key-3", START.plus_ms(90_000), "{}");
    let twice = [answer("key-8", START, "first"), answer("key-8", START, "last")];
    let units = [newer.clone(), twice[0].clone(), twice[1].clone()].map(|answer| Unit::Answer(Box::new(answer)));
    book.commit(units.into()).await.unwrap();
    assert_eq!(book.store.answer(SHOP, "key-3").await.unwrap(), Some(newer));
    assert_eq!(book.store.answer(SHOP, "key-8").await.unwrap(), Some(twice[1].clone()));
}

/// What a request did and that it did it are durable together or not at all.
pub async fn a_claim_lives_and_dies_with_its_step(mut book: Book) {
    let created = new_order(SHOP, "order-1");
    let mut cancelled = cancel(&created.order);
    let claim = claim("key-1", created.id, START);
    cancelled.claim = Some(Box::new(claim.clone()));
    assert_eq!(kind(book.commit(group(vec![again(&cancelled)])).await), "conflict");
    assert_eq!(book.store.answer(SHOP, "key-1").await.unwrap(), None, "the step was not written, so its claim was not");

    book.write(vec![created]).await;
    book.write(vec![cancelled]).await;
    let unanswered = KeptAnswer { claim: claim.clone(), given: None };
    assert_eq!(book.store.answer(SHOP, "key-1").await.unwrap(), Some(unanswered));

    let answered = KeptAnswer { claim, given: Some(GivenAnswer { status: 200, body: "{}".into() }) };
    book.commit(vec![Unit::Answer(Box::new(answered.clone()))]).await.unwrap();
    assert_eq!(book.store.answer(SHOP, "key-1").await.unwrap(), Some(answered));
}

pub async fn platforms_and_their_keys(mut book: Book) {
    let shop = book.platform(&platform("shop"), &[units::key(3)]).await;
    let mut books = platform("books");
    books.fee_bearer = FeeBearer::Payer;
    books.webhook_url = None;
    let books_id = book.platform(&books, &[units::key(1)]).await;
    books.id = books_id;
    assert_ne!(shop, books_id);
    let store = book.store.clone();
    assert_eq!(store.platform_by_name("books").await.unwrap(), Some(books.clone()));
    assert_eq!(store.platform_by_name("nobody").await.unwrap(), None);
    assert_eq!(store.last_platform().await.unwrap(), Some(books_id));
    let names: Vec<String> =
        whole(store.platforms().await.unwrap()).unwrap().into_iter().map(|platform| platform.name).collect();
    assert_eq!(names, ["shop", "books"]);

    let head = store.head(books_id.into()).await.unwrap().unwrap();
    let read = tongbao::engine::platform::read(books_id, &head.snapshot).unwrap();
    let added = [Fact::KeyAdded(units::key(2))];
    let (two_keys, step) = units::platform_step(&read, added, START.plus_ms(1), None);
    book.commit(vec![Unit::Step(Box::new(step))]).await.unwrap();
    assert_eq!(store.platform_by_key(&[2; 32]).await.unwrap(), Some(books));
    assert_eq!(store.platform_by_key(&[4; 32]).await.unwrap(), None);

    let revoked = [Fact::KeyRevoked { hash: KeyHash([2; 32]) }];
    let (one_key, step) = units::platform_step(&two_keys, revoked, START.plus_ms(5), None);
    book.commit(vec![Unit::Step(Box::new(step))]).await.unwrap();
    assert_eq!(store.platform_by_key(&[2; 32]).await.unwrap(), None);
    assert!(store.platform_by_key(&[1; 32]).await.unwrap().is_some());
    assert_eq!(store.key_owner(&[2; 32]).await.unwrap(), Some(books_id), "it is known for ever");
    let keys = store.keys(books_id).await.unwrap();
    let seen: Vec<_> = keys.iter().map(|key| (key.hint.as_str(), key.created_at, key.revoked_at)).collect();
    assert_eq!(seen, [("sk_1", START, None), ("sk_2", START.plus_ms(1), Some(START.plus_ms(5)))]);
    assert!(store.platform_by_key(&[3; 32]).await.unwrap().is_some(), "another platform's key stays");
    assert_eq!(one_key.keys, [units::key(1)]);
    let journal = store.journal(books_id.into()).await.unwrap();
    assert_eq!(journal.iter().map(|row| row.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(journal.iter().all(|row| !String::from_utf8_lossy(&row.body).contains("whsec_")), "a secret in a journal");
}

/// The owner looks before it writes; where two have not, the second one's group fails, and nothing of it is written.
pub async fn a_name_a_number_and_a_key_have_one_platform(mut book: Book) {
    book.platform(&platform("shop"), &[units::key(1)]).await;
    let twins = [
        units::new_platform(PlatformId(7), &platform("shop"), &[units::key(2)]),
        units::new_platform(PlatformId(1), &platform("books"), &[units::key(2)]),
        units::new_platform(PlatformId(7), &platform("books"), &[units::key(1)]),
    ];
    let picture = book.picture().await;
    for twin in twins {
        assert_eq!(kind(book.commit(vec![Unit::Step(Box::new(twin))]).await), "conflict");
    }
    assert_eq!(book.picture().await, picture);
    assert_eq!(whole(book.store.platforms().await.unwrap()).unwrap().len(), 1);
    assert_eq!(book.store.key_owner(&[2; 32]).await.unwrap(), None);

    // What is not there cannot be revoked, whatever the platform knows of it.
    let head = book.store.head(PlatformId(1).into()).await.unwrap().unwrap();
    let shop = tongbao::engine::platform::read(PlatformId(1), &head.snapshot).unwrap();
    let facts = [Fact::KeyAdded(units::key(2)), Fact::KeyRevoked { hash: KeyHash([2; 32]) }];
    let (_, step) = units::platform_step(&shop, facts, START, None);
    assert_eq!(kind(book.commit(vec![Unit::Step(Box::new(step))]).await), "conflict");
    assert_eq!(book.picture().await, picture);
}

pub async fn a_setting_is_kept_as_it_was_first(book: Book) {
    assert_eq!(book.store.setting("link_secret", "one").await.unwrap(), "one");
    assert_eq!(book.store.setting("link_secret", "two").await.unwrap(), "one");
    assert_eq!(book.store.setting("other", "two").await.unwrap(), "two");
}

pub async fn the_books_add_up(mut book: Book) {
    book.pay(new_order(SHOP, "paid"), "T-1").await;
    book.pay(new_order(PlatformId(2), "paid"), "T-2").await;
    // Another amount than was asked goes to suspense and back.
    let odd = new_order(SHOP, "odd");
    let submitted = submit(&odd.order);
    let found = units::found(&submitted.order, "T-3", 1_000);
    let refunded = units::unit(
        &found.order,
        &[Event { at: START.plus_ms(9_000), incarnation: Incarnation::default(), fact: units::refunded(0) }],
        None,
    );
    for step in [odd, submitted, found] {
        book.write(vec![step]).await;
    }
    let totals = book.store.channel_totals().await.unwrap();
    assert_eq!((totals[0].captured_minor, totals[0].refunded_minor), (1_241 * 2 + 1_000, 0));
    book.write(vec![refunded]).await;

    let totals = book.store.channel_totals().await.unwrap();
    assert_eq!(totals.len(), 1);
    assert_eq!((totals[0].channel.as_str(), totals[0].currency.as_str()), ("simpay", "CNY"));
    assert_eq!((totals[0].captures, totals[0].captured_minor, totals[0].refunded_minor), (3, 3_482, 1_000));

    let balances = book.store.balances().await.unwrap();
    let sums: BTreeMap<&str, i64> = balances.iter().map(|row| (row.account.as_str(), row.amount_minor)).collect();
    let expected = [
        ("channel:simpay:default", 2_482),
        ("fees:simpay", -14),
        ("platform:1", -1_234),
        ("platform:2", -1_234),
        ("refund_pending:simpay:default", 0),
        ("suspense:simpay:default", 0),
    ];
    assert_eq!(sums, BTreeMap::from(expected));
    assert_eq!(balances.iter().map(|row| row.amount_minor).sum::<i64>(), 0);
    assert!(balances.iter().all(|row| row.currency == "CNY"));

    let counts = book.store.counts_by_state().await.unwrap();
    let counts: Vec<(&str, i64)> = counts.iter().map(|count| (count.name.as_str(), count.count)).collect();
    assert_eq!(counts, [("created", 1), ("succeeded", 2)]);
}

pub async fn a_group_of_two_thousand_units_is_one_commit(mut book: Book) {
    let created: Vec<OrderUnit> = (0..2_000).map(|n| new_order(SHOP, &format!("order-{n}"))).collect();
    let submitted: Vec<OrderUnit> = created.iter().map(|unit| submit(&unit.order)).collect();
    let paid: Vec<OrderUnit> = submitted.iter().map(|unit| paid(&unit.order, &unit.id.to_string())).collect();
    let delivered = created.iter().map(|unit| Delivery::Delivered { stream: unit.id.into(), sequence: 1 });
    let delivered: Vec<Unit> = delivered.map(Unit::Delivery).collect();
    let last: Vec<_> = paid.iter().map(|unit| unit.order.clone()).collect();
    book.write(created).await;
    book.write(submitted).await;
    book.write(paid).await;
    assert_eq!(book.store.outbox_size().await.unwrap(), 2_000);
    book.commit(delivered).await.unwrap();
    assert_eq!(book.store.outbox_size().await.unwrap(), 0);
    assert_eq!(book.number, 4);

    let mut stored = whole(book.store.scan(None, 1_500).await.unwrap()).unwrap();
    assert_eq!(stored.len(), 1_500);
    let last_id = stored.last().map(|order| order.id);
    stored.extend(whole(book.store.scan(last_id, 1_500).await.unwrap()).unwrap());
    assert_eq!(stored, last);
    assert_eq!(book.store.channel_totals().await.unwrap()[0].captures, 2_000);
}

pub async fn a_write_ends_though_nobody_waits_for_it(mut book: Book) {
    let unit = new_order(SHOP, "left alone");
    let id = unit.id;
    let units = group(vec![unit]);
    {
        let (lane, number, first_place) = (LaneId::FIRST, book.number + 1, book.next_place);
        let group = Group { lane, epoch: book.epoch, at: START, number, first_place, units: &units };
        let mut commit = book.store.commit(&group);
        let waiting = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(waiting.is_pending(), "it has begun and not ended");
    }
    book.number += 1;
    book.next_place += 1;
    let owner = book.store.beat(LaneId::FIRST, book.epoch, START).await.unwrap();
    assert_eq!(owner.group, book.number, "what comes after it waits for it");
    assert_eq!(book.order(id).await.version, 1);
}

pub async fn payers_lie_apart(mut book: Book) {
    let mut wanted = request("order-1");
    wanted.payer = Some(payer("王小明 13800000000"));
    let unit = new_order_of(SHOP, wanted);
    let id = unit.id;
    book.write(vec![unit]).await;
    let stored = book.store.order(id).await.unwrap().unwrap();
    assert!(stored.request.payer.is_some());
    let elsewhere = format!("{:?} {}", stored.order, stored.request.asked.written());
    let journal = book.store.journal(id.into()).await.unwrap();
    for text in [elsewhere, String::from_utf8(journal[0].body.clone()).unwrap()] {
        assert!(!text.contains("13800000000") && !text.contains("王小明"), "{text}");
    }
}

pub async fn what_payers_paid_by_is_kept_and_forgotten(mut book: Book) {
    let (wang, li, nobody) = (PayerMark([1; 16]), PayerMark([2; 16]), PayerMark([3; 16]));
    let last = |payer, channel, after_ms| LastChannel { payer, channel, at: START.plus_ms(after_ms) };
    let mut orders = Vec::new();
    for name in ["order-1", "order-2", "order-3"] {
        let created = new_order(SHOP, name);
        let submitted = submit(&created.order);
        orders.push(submitted.order.clone());
        book.write(vec![created]).await;
        book.write(vec![submitted]).await;
    }
    let mut units: Vec<OrderUnit> = orders.iter().map(|order| paid(order, &order.id.to_string())).collect();
    let third = units.pop().unwrap();
    // Two payments of one payer in one group: the newer one stands, wherever it is in the group.
    units[0].paid_by = vec![last(wang, Channel::Alipay, 20), last(li, Channel::Simpay, 9)];
    units[1].paid_by = vec![last(wang, Channel::Wechat, 10), last(li, Channel::Stripe, 10)];
    book.write(units).await;
    let store = book.store.clone();
    let known = async |payers: Vec<PayerMark>| {
        let mut known = store.last_channels(&payers).await.unwrap();
        known.sort_by_key(|last| last.payer);
        known
    };
    assert_eq!(
        known(vec![li, nobody, wang, wang]).await,
        [last(wang, Channel::Alipay, 20), last(li, Channel::Stripe, 10)]
    );
    assert_eq!(known(vec![nobody]).await, []);
    assert_eq!(known(Vec::new()).await, []);

    // An older payment that is only now committed changes nothing; a newer one does.
    let third = OrderUnit { paid_by: vec![last(wang, Channel::Simpay, 19), last(li, Channel::Unionpay, 11)], ..third };
    book.write(vec![third]).await;
    let both = [last(wang, Channel::Alipay, 20), last(li, Channel::Unionpay, 11)];
    assert_eq!(known(vec![wang, li]).await, both);
    assert_eq!(book.store.forget_last_channels(START.plus_ms(11), 10).await.unwrap(), 0);
    assert_eq!(book.store.forget_last_channels(START.plus_ms(30), 1).await.unwrap(), 1, "the oldest first");
    assert_eq!(known(vec![wang, li]).await, both[..1]);
    assert_eq!(book.store.forget_last_channels(START.plus_ms(30), 10).await.unwrap(), 1);
    assert_eq!(known(vec![wang, li]).await, []);
}

pub async fn migrating_twice_changes_nothing(mut book: Book) {
    book.write(vec![new_order(SHOP, "order-1")]).await;
    let before = book.picture().await;
    book.store.migrate(Birth { mode: "sandbox", at: START }).await.expect("there is nothing to do");
    assert_eq!(book.picture().await, before);
}
