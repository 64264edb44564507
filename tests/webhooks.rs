//! The outbox under a backlog: one receiver's silence is nobody else's.

mod support;

use std::net::TcpListener;

use support::process::{Kind, Site};
use support::{app, seconds};
use tongbao::domain::channel::Channel;
use tongbao::domain::event::{Created, Event, Fact, Write};
use tongbao::domain::id::{Incarnation, OrderId, PlatformId};
use tongbao::domain::money::{Currency, Rate};
use tongbao::domain::order::{FeeBearer, Webhooks};
use tongbao::domain::retry::Pace;
use tongbao::domain::step;
use tongbao::domain::time::{Instant, TimeScale};
use tongbao::store::{Group, NextActionChange, OrderUnit, OutboxRow, Request, Unit};

/// More than a dispatcher looks through at once.
const BACKLOG: u32 = 12_000;
const GROUP: usize = 1_000;

/// An order that was created and cancelled at `at`, and whose webhook nobody took yet.
fn cancelled(number: u32, at: Instant, webhook_url: &str) -> OrderUnit {
    let created = Created {
        id: OrderId::from_u128(u128::from(number)),
        platform: PlatformId(1),
        currency: Currency::parse("CNY").expect("a currency"),
        amount_minor: 20_000,
        rates: [Rate::new(rust_decimal::Decimal::new(3, 3)).expect("a rate"); Channel::COUNT],
        fee_bearer: FeeBearer::Payer,
        pace: Pace::Sandbox,
        time_scale: TimeScale::TRUE,
        webhooks: Webhooks::Wanted,
        attempts_max: 5,
        expires_at: at.plus_ms(3_600_000),
    };
    let before = step::create(&created, at);
    let events = [Fact::Created(Box::new(created)), Fact::CancelAsked].map(|fact| Event {
        at,
        incarnation: Incarnation::default(),
        fact,
    });
    let step = step::decide(&before, &events).expect("an order may be cancelled");
    let told = |write: &Write| match write {
        Write::Webhook { kind, sequence } => Some(OutboxRow { kind: *kind, sequence: *sequence, at }),
        Write::OpenAttempt { .. }
        | Write::Capture { .. }
        | Write::Entry(_)
        | Write::StoreNextAction
        | Write::WipeNextAction => None,
    };
    OrderUnit {
        id: before.id,
        decided_at: at,
        expected_version: 0,
        journal: serde_json_canonicalizer::to_vec(&events).expect("events are JSON"),
        request: Some(Box::new(Request {
            merchant_order_id: format!("backlog-{number}").into(),
            body: r#"{"amount":"200.00","currency":"CNY","description":"tea","metadata":{}}"#.into(),
            webhook_url: Some(webhook_url.into()),
            payer: None,
        })),
        next_action: NextActionChange::Keep,
        attempts: Vec::new(),
        captures: Vec::new(),
        entries: Vec::new(),
        webhooks: step.writes.iter().filter_map(told).collect(),
        payer: None,
        paid_by: Vec::new(),
        claim: None,
        order: step.order,
    }
}

/// Writes these orders into the store of a server that has stopped.
async fn write(site: &Site, orders: Vec<OrderUnit>) {
    let store = support::books::open(site);
    let seen = store.owner().await.expect("there is an owner's row");
    let owner = store.take_over(&seen, "test").await.expect("the store answers").expect("nobody else is there");
    let mut number = owner.group;
    let mut orders = orders.into_iter().map(|unit| Unit::Order(Box::new(unit))).peekable();
    while orders.peek().is_some() {
        number += 1;
        let units: Vec<Unit> = orders.by_ref().take(GROUP).collect();
        store
            .commit(&Group { epoch: owner.epoch, at: Instant::EPOCH, number, units: &units })
            .await
            .expect("the group is committed");
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
    let waiting: Vec<OrderUnit> = older.chain(newer).collect();
    let told: Vec<String> = waiting[BACKLOG as usize..].iter().map(|unit| unit.id.to_string()).collect();
    write(&app.site, waiting).await;

    app.restart();
    app.ready().await;
    for id in &told {
        app.receiver.kinds_become(id, &["order.failed"], seconds(25)).await;
    }
    assert_eq!(app.receiver.faults(), Vec::<String>::new());
    app.server.stop().await;
}
