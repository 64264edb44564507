//! Refunds beside their orders, and platforms' lines as their transactions.

use std::collections::BTreeMap;

use tongbao::domain::cycle::CycleId;
use tongbao::domain::event::{Event, Fact, RefundOutcome, Rejection};
use tongbao::domain::id::{Incarnation, OrderId, PlatformId, RefundId, Round};
use tongbao::domain::ledger::TransactionKind;
use tongbao::domain::money::Rate;
use tongbao::domain::order::Order;
use tongbao::domain::refund::{Attention, RefundState};
use tongbao::domain::splits::{Share, Split};
use tongbao::domain::step;
use tongbao::store::{OrderTerms, RefundFilter, StoreError, TransactionFilter, last_key, whole};

use super::book::{Book, again};
use super::units::{self, START, new_order};

const SHOP: PlatformId = PlatformId(1);
const OTHER: PlatformId = PlatformId(2);

fn of(platform: PlatformId, limit: u32) -> RefundFilter {
    RefundFilter {
        platform,
        merchant_refund_id: None,
        order: None,
        state: None,
        created_after: None,
        created_before: None,
        before: None,
        limit,
    }
}

fn lines_of(platform: PlatformId, limit: u32) -> TransactionFilter {
    TransactionFilter {
        platform,
        kind: None,
        order: None,
        refund: None,
        cycle: None,
        created_after: None,
        created_before: None,
        before: None,
        limit,
    }
}

async fn paid(book: &mut Book, platform: PlatformId, name: &str) -> Order {
    let steps = book.pay(new_order(platform, name), &format!("T-{}-{name}", platform.0)).await;
    steps.last().unwrap().order.clone()
}

async fn refund(book: &mut Book, order: &Order, name: &str, amount_minor: i64) -> (Order, RefundId) {
    let step = units::refund(order, name, amount_minor);
    let after = step.order.clone();
    book.write(vec![step]).await;
    let id = after.refund_id(after.refunds.last().unwrap()).unwrap();
    (after, id)
}

fn told(order: &Order, fact: Fact) -> units::OrderUnit {
    let event = Event { at: order.last_at.plus_ms(10), incarnation: Incarnation::default(), fact };
    units::unit(order, &[event], None)
}

pub async fn a_refund_is_found_by_its_id_and_by_its_name_until_it_ends(mut book: Book) {
    let order = paid(&mut book, SHOP, "a").await;
    let terms = book.store.order_terms(order.id).await.unwrap().expect("it is there");
    let bare = OrderTerms {
        platform: SHOP,
        currency: order.currency,
        amount_minor: order.amount_minor,
        debt_bound_minor: None,
    };
    assert_eq!(terms, bare);
    assert_eq!(book.store.order_terms(OrderId::from_u128(1)).await, Ok(None));
    let (order, id) = refund(&mut book, &order, "r-1", 241).await;
    let stored = book.store.refund(id).await.unwrap().expect("it is there");
    assert_eq!((stored.id(), stored.row.platform, &*stored.row.merchant_refund_id), (id, SHOP, "r-1"));
    assert_eq!((stored.row.amount_minor, stored.row.reason.as_deref()), (241, Some("不想要了")));
    assert_eq!(stored.row.parts.iter().map(|(_, part)| part).sum::<i64>() + stored.row.fee_minor, 241);
    assert_eq!((stored.row.standing.state, stored.row.standing.finished_at), (RefundState::Submitted, None));
    assert_eq!(book.store.refund_by_merchant_id(SHOP, "r-1").await.unwrap().as_ref(), Some(&stored));
    assert_eq!(book.store.refund_by_merchant_id(OTHER, "r-1").await.unwrap(), None);
    let another_life = RefundId { incarnation: Incarnation::default().another(1), ..id };
    assert_eq!(book.store.refund(another_life).await.unwrap(), None, "another life of the store gave that id");

    book.write(vec![told(&order, units::refunded(0))]).await;
    let ended = book.store.refund(id).await.unwrap().unwrap();
    assert_eq!(
        (ended.row.standing.state, ended.row.standing.reference.as_deref()),
        (RefundState::Succeeded, Some("R-1"))
    );
    assert!(ended.row.standing.finished_at.is_some());
    let unchanged = |row: &tongbao::store::RefundRow| {
        (row.merchant_refund_id.clone(), row.amount_minor, row.parts.clone(), row.created_at)
    };
    assert_eq!(unchanged(&ended.row), unchanged(&stored.row));
}

pub async fn a_name_is_one_refunds_and_another_platform_may_give_it_too(mut book: Book) {
    let (mine, second) = (paid(&mut book, SHOP, "a").await, paid(&mut book, SHOP, "b").await);
    let theirs = paid(&mut book, OTHER, "a").await;
    refund(&mut book, &mine, "r-1", 100).await;
    refund(&mut book, &theirs, "r-1", 100).await;
    let before = book.picture().await;
    let taken = book.commit(units::group(vec![units::refund(&second, "r-1", 100)])).await;
    assert!(matches!(taken, Err(StoreError::NameTaken(_))), "{taken:?}");
    assert_eq!(book.picture().await, before, "nothing of it was written");
    refund(&mut book, &second, "r-2", 100).await;
}

pub async fn refunds_turn_pages_newest_first(mut book: Book) {
    let (first, second) = (paid(&mut book, SHOP, "a").await, paid(&mut book, SHOP, "b").await);
    let (first, _) = refund(&mut book, &first, "r-0", 10).await;
    let (first, ended) = refund(&mut book, &first, "r-1", 10).await;
    let (second, _) = refund(&mut book, &second, "r-2", 10).await;
    let other = paid(&mut book, OTHER, "c").await;
    refund(&mut book, &other, "r-3", 10).await;
    book.write(vec![told(&first, units::refunded(1))]).await;

    let mut filter = of(SHOP, 2);
    let mut names = Vec::new();
    loop {
        let page = book.store.refunds(&filter).await.unwrap();
        let last = last_key(&page);
        let page = whole(page).unwrap();
        names.extend(page.iter().map(|stored| (stored.row.created_at, stored.order, stored.row.ordinal)));
        if page.len() < 2 {
            break;
        }
        filter.before = last;
    }
    assert_eq!(names.len(), 3);
    assert!(names.is_sorted_by(|one, next| one > next), "{names:?}");

    let count = async |filter: RefundFilter| book.store.refunds(&filter).await.unwrap().len();
    assert_eq!(count(RefundFilter { order: Some(first.id), ..of(SHOP, 10) }).await, 2);
    assert_eq!(count(RefundFilter { order: Some(second.id), ..of(OTHER, 10) }).await, 0);
    assert_eq!(count(RefundFilter { state: Some(RefundState::Succeeded), ..of(SHOP, 10) }).await, 1);
    assert_eq!(count(RefundFilter { merchant_refund_id: Some("r-3".into()), ..of(SHOP, 10) }).await, 0);
    let created_at = book.store.refund(ended).await.unwrap().unwrap().row.created_at;
    assert_eq!(count(RefundFilter { created_before: Some(created_at), ..of(SHOP, 10) }).await, 2);
    assert_eq!(count(RefundFilter { created_after: Some(created_at.plus_ms(60_000)), ..of(SHOP, 10) }).await, 0);
}

pub async fn every_line_of_a_platform_is_its_transaction(mut book: Book) {
    let order = paid(&mut book, SHOP, "a").await;
    let (order, id) = refund(&mut book, &order, "r-1", 241).await;
    let (_, second) = refund(&mut book, &order, "r-2", 500).await;
    paid(&mut book, SHOP, "b").await;
    paid(&mut book, OTHER, "a").await;

    let mut filter = lines_of(SHOP, 2);
    let mut seen = Vec::new();
    loop {
        let page = book.store.transactions(&filter).await.unwrap();
        let last = last_key(&page);
        let page = whole(page).unwrap();
        let is_last = page.len() < 2;
        seen.extend(page);
        if is_last {
            break;
        }
        filter.before = last;
    }
    let mut keys: Vec<_> = seen.iter().map(|line| line.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4, "two payments and two refunds, each once: {seen:?}");
    assert!(seen.is_sorted_by(|one, next| (one.at, one.key) > (next.at, next.key)));
    let sum: i64 = seen.iter().map(|line| line.amount_minor).sum();
    let balance = book.store.balances_of_platform(SHOP).await.unwrap();
    assert_eq!(balance.iter().map(|line| line.amount_minor).sum::<i64>(), sum);

    let only = async |filter: TransactionFilter| whole(book.store.transactions(&filter).await.unwrap()).unwrap();
    let refunds = only(TransactionFilter { kind: Some(TransactionKind::Refund), ..lines_of(SHOP, 10) }).await;
    assert_eq!(refunds.len(), 2);
    let of_first = only(TransactionFilter { refund: Some(id), ..lines_of(SHOP, 10) }).await;
    assert_eq!(of_first.iter().map(|line| line.refund).collect::<Vec<_>>(), [Some(id)]);
    assert_ne!(id, second);
    assert_eq!(only(TransactionFilter { order: Some(order.id), ..lines_of(SHOP, 10) }).await.len(), 3);
    assert_eq!(only(TransactionFilter { order: Some(order.id), ..lines_of(OTHER, 10) }).await, []);
}

pub async fn sums_are_kept_by_the_totals_that_lines_add_to(mut book: Book) {
    let mut facts = units::created(SHOP, 20_000);
    facts.id = facts.id.within(SHOP.partition_of("shared"));
    let share = Share::Rate(Rate::new("0.1".parse().unwrap()).unwrap());
    facts.splits = Box::from([Split { to: OTHER, share }, Split { to: PlatformId(3), share: Share::AmountMinor(500) }]);
    let event = Event { at: START, incarnation: Incarnation::default(), fact: Fact::Created(Box::new(facts.clone())) };
    let created = units::unit(&step::create(&facts, START), &[event], Some(units::request("shared")));
    let steps = book.pay(created, "T-1").await;
    let order = steps.last().unwrap().order.clone();
    refund(&mut book, &order, "r-1", 10_060).await;

    let mut sums = BTreeMap::new();
    for row in book.store.balances_by_lane().await.unwrap() {
        let of_cycle = CycleId::from_number(row.cycle).map(|cycle| cycle.number);
        assert_eq!(of_cycle, row.account.starts_with("platform:").then_some(1), "{}", row.account);
        sums.insert((row.account, row.heading), row.amount_minor);
    }
    let expected = [
        ("channel:simpay:default", "", 20_120),
        ("fees:simpay", "", -60),
        ("platform:1", "gross", -20_000),
        ("platform:1", "refunds", 10_000),
        ("platform:1", "shares_out", 1_250),
        ("platform:2", "shares_in", -1_000),
        ("platform:3", "shares_in", -250),
        ("refund_pending:simpay:default", "", -10_060),
    ];
    let expected = expected.map(|(account, heading, sum)| ((account.to_owned(), heading.to_owned()), sum));
    assert_eq!(sums, BTreeMap::from(expected));
    // What a lane keeps it builds anew from the store, where another has written since.
    let mut again_taken = Book::take(book.store.clone()).await;
    let cancelled = units::refund(&again_taken.order(order.id).await, "r-2", 10_060);
    again_taken.write(vec![again(&cancelled)]).await;
    let mut sums = BTreeMap::new();
    for row in again_taken.store.sums_of_lines().await.unwrap() {
        let (heading, _) = row.sum_key().unwrap();
        *sums.entry((row.account, heading.to_owned())).or_insert(0) += row.amount_minor;
    }
    let mut kept = BTreeMap::new();
    for row in again_taken.store.balances_by_lane().await.unwrap() {
        *kept.entry((row.account, row.heading)).or_insert(0) += row.amount_minor;
    }
    assert_eq!(sums, kept);
    assert_eq!(sums[&("platform:1".to_owned(), "refunds".to_owned())], 20_000);
}

pub async fn an_order_is_listed_while_a_refund_of_it_is_stuck(mut book: Book) {
    let order = paid(&mut book, SHOP, "a").await;
    let moving = paid(&mut book, SHOP, "b").await;
    refund(&mut book, &moving, "r-2", 10).await;
    let (order, _) = refund(&mut book, &order, "r-1", 100).await;
    assert_eq!(book.store.stuck_refunds(None, 10).await.unwrap(), [], "both were just asked for");
    let poor = answered(&order, 0, no_money());
    let since = poor.order.last_at;
    book.write(vec![again(&poor)]).await;
    let still = answered(&poor.order, 0, no_money());
    let asked = still.order.clone();
    book.write(vec![still]).await;

    // Money that no order was owed, which its channel does not take back.
    let suspense = units::found(&book.order(moving.id).await, "T-twice", 1_234);
    let (index, suspended) = (suspense.order.refunds.len() as u16 - 1, suspense.order.clone());
    book.write(vec![suspense]).await;
    let refused = answered(&suspended, index, RefundOutcome::Stuck { code: "ABNORMAL".into() });
    assert_eq!(refused.order.refunds[usize::from(index)].attention, Some(Attention::Person), "{:?}", refused.order);
    book.write(vec![again(&refused)]).await;

    let listed = whole(book.store.stuck_refunds(None, 10).await.unwrap()).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.is_sorted_by(|(_, one), (_, next)| one.id < next.id));
    assert!(listed.contains(&(since, asked.clone())), "since the first time: {listed:?}");
    let page = book.store.stuck_refunds(None, 1).await.unwrap();
    let rest = whole(book.store.stuck_refunds(last_key(&page), 10).await.unwrap()).unwrap();
    assert_eq!(rest, listed[1..], "pages go on where they end");

    book.write(vec![told(&asked, units::refunded(0))]).await;
    let left = whole(book.store.stuck_refunds(None, 10).await.unwrap()).unwrap();
    assert_eq!(left.iter().map(|(_, order)| order.id).collect::<Vec<_>>(), [refused.order.id], "it is paid");
}

fn answered(order: &Order, refund: u16, outcome: RefundOutcome) -> units::OrderUnit {
    told(order, Fact::RefundAnswered { refund, round: Round::FIRST, asked_at: order.last_at, outcome })
}

/// There is no money of ours at the channel.
fn no_money() -> RefundOutcome {
    RefundOutcome::Rejected { class: Rejection::Poor, code: "NOT_ENOUGH".into() }
}
