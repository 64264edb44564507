//! The outbox: one receiver's silence is nobody else's, and what is told stays as it was at its fact.

#[path = "support/asked.rs"]
mod asked;
mod support;

use std::net::TcpListener;

use serde_json::json;
use support::app::{self, App};
use support::beside::Beside;
use support::client::{an_order, text, with};
use support::process::{Kind, Site};
use support::{books, eventually, seconds};
use tongbao::domain::channel::Channel;
use tongbao::domain::event::{Created, Event, Fact, Write};
use tongbao::domain::id::{Incarnation, OrderId, PlatformId};
use tongbao::domain::journal::{Salt, Title};
use tongbao::domain::money::{Currency, Rate};
use tongbao::domain::order::{FeeBearer, Order, Webhooks};
use tongbao::domain::partition::{LaneId, Partition};
use tongbao::domain::request::Request;
use tongbao::domain::retry::Pace;
use tongbao::domain::rules::RulesVersion;
use tongbao::domain::step;
use tongbao::domain::time::{Instant, TimeScale};
use tongbao::store::{Group, Head, NextActionChange, OrderRow, OutboxRow, Row, StepUnit, UniqueName, Unit};

/// More than a dispatcher looks through at once.
const BACKLOG: u32 = 12_000;
const GROUP: usize = 1_000;

/// An order that was created and cancelled at `at`, and whose webhook nobody took yet.
fn cancelled(number: u32, at: Instant, webhook_url: &str) -> StepUnit {
    let name = format!("backlog-{number}");
    let partition = PlatformId(1).partition_of(&name);
    let created = Created {
        id: OrderId::from_u128(u128::from(number) << Partition::BITS).within(partition),
        platform: PlatformId(1),
        currency: Currency::parse("CNY").expect("a currency"),
        amount_minor: 20_000,
        rates: [Rate::new(rust_decimal::Decimal::new(3, 3)).expect("a rate"); Channel::COUNT].into(),
        rules: RulesVersion::CURRENT,
        fee_bearer: FeeBearer::Payer,
        pace: Pace::Sandbox,
        time_scale: TimeScale::TRUE,
        webhooks: Webhooks::Wanted,
        attempts_max: 5,
        expires_at: at.plus_ms(3_600_000),
        splits: Box::default(),
    };
    let before = step::create(&created, at);
    let events = [Fact::Created(Box::new(created)), Fact::CancelAsked].map(|fact| Event {
        at,
        incarnation: Incarnation::default(),
        fact,
    });
    let step = step::decide(&before, &events).expect("an order may be cancelled");
    let data = json!({ "id": before.id.to_string(), "sequence": 1, "metadata": {} });
    let body = json!({ "type": "order.failed", "timestamp": at.rfc3339(), "data": data }).to_string();
    let told = |write: &Write| match write {
        Write::Webhook { kind, sequence, .. } => Some(OutboxRow {
            kind: *kind,
            sequence: *sequence,
            at,
            platform: PlatformId(1),
            url: webhook_url.into(),
            trace: before.id.as_u128(),
            body: body.as_bytes().into(),
        }),
        Write::OpenAttempt { .. }
        | Write::Capture { .. }
        | Write::Entry(_)
        | Write::Refund { .. }
        | Write::StoreNextAction
        | Write::WipeNextAction
        | Write::RefundsStuck
        | Write::RefundsMove => None,
    };
    let request = Request {
        merchant_order_id: name.into(),
        webhook_url: Some(webhook_url.into()),
        asked: asked::tea("200.00"),
        payer: None,
    };
    let order = &step.after;
    StepUnit {
        stream: order.id.into(),
        expected_version: 0,
        version: order.version,
        at,
        decided_at: at,
        head: Head::of(order, NextActionChange::Keep, at).expect("an order is JSON"),
        journal: Title::of::<Order>(order.id.as_u128(), order.version, at).write(Salt([7; 16]), &events).expect("JSON"),
        name: Some(UniqueName::of(order, &request)),
        rows: vec![Row::Order(Box::new(OrderRow::of(order, request)))],
        entries: Vec::new(),
        webhooks: step.writes.iter().filter_map(told).collect(),
        messages: Vec::new(),
        taken: None,
        claim: None,
    }
}

/// Writes these orders into the store of a server that has stopped.
async fn write(site: &Site, orders: Vec<StepUnit>) {
    let store = support::books::open(site);
    let seen = store.owner().await.expect("there is an owner's row");
    let owner = store.take_over(&seen, "test").await.expect("the store answers").expect("nobody else is there");
    let (mut number, mut first_place) = (owner.group, owner.lanes[0].next_place);
    let mut orders = orders.into_iter().map(|unit| Unit::Step(Box::new(unit))).peekable();
    while orders.peek().is_some() {
        number += 1;
        let units: Vec<Unit> = orders.by_ref().take(GROUP).collect();
        let (lane, epoch, at) = (LaneId::FIRST, owner.epoch, Instant::EPOCH);
        let group = Group { lane, epoch, at, number, first_place, units: &units };
        first_place = store.commit(&group).await.expect("the group is committed").next_place;
    }
    store.release(owner.epoch).await.expect("the store is given back");
}

/// More webhooks of a receiver that never answers are due than the dispatcher looks through at once, and they are
/// older than everybody else's: the others are delivered all the same.
#[actix_web::test]
async fn a_silent_host_with_a_long_backlog_holds_nobody_back() {
    let mut app = app::start_with(Kind::Sqlite, "").await;
    app.server.stop().await;
    // Connections are made by the kernel and never taken up.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let nowhere = format!("http://{}/", silent.local_addr().expect("an address"));
    let here = app.receiver.url("platform-a");
    let now = Instant(support::gateway::now_s() * 1_000);
    let older = (1..=BACKLOG).map(|number| cancelled(number, now.plus_ms(-3_600_000), &nowhere));
    let newer = (BACKLOG + 1..=BACKLOG + 5).map(|number| cancelled(number, now.plus_ms(-60_000), &here));
    let waiting: Vec<StepUnit> = older.chain(newer).collect();
    let told: Vec<String> = waiting[BACKLOG as usize..].iter().map(|unit| unit.stream.to_string()).collect();
    write(&app.site, waiting).await;

    app.restart();
    app.ready().await;
    for id in &told {
        app.receiver.kinds_become(id, &["order.failed"], seconds(25)).await;
    }
    assert_eq!(app.receiver.faults(), Vec::<String>::new());
    app.server.stop().await;
}

/// What a webhook says was true at its fact. Rates and health have changed by its second try; its bytes have not.
async fn every_try_sends_the_same_bytes(kind: Kind) {
    let settings = "[routing]\nsamples_min = 1\n[webhooks]\nretry_ms = [5000, 1, 1, 1, 1, 1, 1, 1, 86400000]\n\
        [channels]\nwechat.enabled = false\nalipay.enabled = false\nunionpay.enabled = false\nstripe.enabled = false\n\
        [channels.simpay]\nbreaker_failures = 2\nbreaker_open_ms = 60000\ncall_retry_ms = [10]\n\
        [gateway]\nembedded = false\n";
    let mut app = App::start_beside_gateway(Site::new(kind, settings)).await;
    let client = app.client();
    app.receiver.refuse(1);
    let payer = json!({ "id": "wang-xiaoming", "openid": "oUpF8uMuAJO", "ip": "203.0.113.77" });
    let asked = json!({
        "webhook_url": app.receiver.url("platform-a"),
        "payer": payer,
        "metadata": { "n": "\"茶\"/\\", "cart": "7" },
    });
    let order = client.create(&with(an_order("sim:decline"), asked)).await.order(201);
    let id = text(&order, "id");
    eventually("the first try is refused", seconds(10), || async { (app.receiver.refused().len() == 1).then_some(()) })
        .await;
    let at_first = client.order(id).await;
    assert_eq!(at_first["routing"][0]["success_rate"], "0.0000");
    let mut beside = Beside::of(&app.site).await;
    let kept = beside.column::<Vec<u8>>("SELECT body FROM outbox").await;
    assert_eq!(kept, app.receiver.tries(&app.receiver.refused()[0]), "it lies in the store as it is sent");
    for (table, values) in beside.contents().await.iter().filter(|(table, _)| table == "outbox") {
        for personal in ["wang-xiaoming", "oUpF8uMuAJO", "203.0.113.77"] {
            assert!(!values.contains(personal), "{personal} in {table}: {values}");
        }
    }

    let paid = client.create(&an_order("tea")).await.order(201);
    client.reaches(text(&paid, "id"), "succeeded", seconds(10)).await;
    app.stop_gateway().await;
    for _ in 0..2 {
        client.create(&an_order("tea")).await.order(201);
    }
    client.until(id, "its channel is down", seconds(10), |order| order["routing"][0]["health"] == "down").await;
    assert_ne!(client.order(id).await["routing"][0]["success_rate"], "0.0000");

    app.receiver.kinds_become(id, &["order.attempt_failed"], seconds(15)).await;
    let told = app.receiver.of(id).remove(0);
    assert_eq!(app.receiver.tries(&told.id), [kept[0].clone(), kept[0].clone()]);
    assert_eq!(told.data["routing"], at_first["routing"]);
    assert_eq!(told.data["metadata"], order["metadata"]);
    eventually("what was delivered is gone", seconds(10), || async {
        (books::counts(&app.site).await["outbox"] == 0).then_some(())
    })
    .await;
    beside.close().await;
    app.server.stop().await;
}

#[actix_web::test]
async fn every_try_sends_the_same_bytes_on_sqlite() {
    every_try_sends_the_same_bytes(Kind::Sqlite).await;
}

#[actix_web::test]
async fn every_try_sends_the_same_bytes_on_postgres() {
    every_try_sends_the_same_bytes(Kind::Postgres).await;
}

/// Dead letters are erased: one order's, those before a time, and all of them only when that was confirmed.
#[actix_web::test]
async fn dead_letters_are_erased_by_order_by_time_and_all() {
    let mut app = app::start().await;
    app.receiver.refuse(u32::MAX);
    let client = app.client();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let noted = with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
        ids.push(text(&client.create(&noted).await.order(201), "id").to_owned());
    }
    let tries = async || Beside::of(&app.site).await.column::<i64>("SELECT tries FROM outbox").await;
    let once = || async { (tries().await == [1, 1, 1, 1]).then_some(()) };
    eventually("each was tried once", seconds(15), once).await;
    let mut beside = Beside::of(&app.site).await;
    beside.run("UPDATE outbox SET tries = 11, next_at = 0").await;
    beside.close().await;
    let dead = || async { (app.metric("tongbao_webhooks_total", "dead").await == 4.0).then_some(()) };
    eventually("all are given up", seconds(15), dead).await;
    app.server.stop().await;
    let erase = async |arguments: &[&str], input: &str| {
        let output = app.site.run_with_input(&[&["webhook", "erase"], arguments].concat(), input).await;
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let help = app.site.run(&["webhook", "--help"]).await;
    assert!(String::from_utf8_lossy(&help.stdout).contains("erase"));
    assert_eq!(erase(&["--order", &ids[0]], "").await, (true, "1 webhooks are erased\n".to_owned()));
    assert_eq!(erase(&["--order", &ids[0]], "").await, (true, "0 webhooks are erased\n".to_owned()));
    assert_eq!(erase(&["--before", "2026-01-01T00:00:00Z"], "").await, (true, "0 webhooks are erased\n".to_owned()));
    let future = ["--before", "2100-01-01T00:00:00+08:00", "--order", &ids[1]];
    assert_eq!(erase(&future, "").await, (true, "1 webhooks are erased\n".to_owned()));
    assert!(!erase(&["--before", "tomorrow"], "").await.0);
    for unsure in ["", "y\n", "no\n"] {
        assert_eq!(erase(&[], unsure).await, (false, String::new()));
    }
    assert_eq!(books::counts(&app.site).await["outbox"], 2);
    assert_eq!(erase(&[], "yes\n").await, (true, "2 webhooks are erased\n".to_owned()));
    assert_eq!(books::counts(&app.site).await["outbox"], 0);
}
