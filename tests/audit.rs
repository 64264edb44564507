//! `tongbao audit` on stores that were tampered with, and against gateways that know more or less than we do.

#[path = "support/asked.rs"]
mod asked;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::process::Command;
use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::dated::Dated;
use tongbao::domain::event::{Created, Event, Fact, Finding, RefundOutcome, RowChange, SendOutcome, Verdict, Write};
use tongbao::domain::id::{Account, AttemptNumber, Incarnation, OrderId, PlatformId, Round};
use tongbao::domain::journal::{Salt, Title};
use tongbao::domain::machine::Machine;
use tongbao::domain::merchant::Merchant;
use tongbao::domain::money::{Currency, Rate};
use tongbao::domain::order::{FeeBearer, Order, Webhooks};
use tongbao::domain::partition::{LaneId, Partition};
use tongbao::domain::platform::{self, Key, KeyHash, Platform, Terms};
use tongbao::domain::refund::FeePolicy;
use tongbao::domain::request::Request;
use tongbao::domain::retry::Pace;
use tongbao::domain::rules::RulesVersion;
use tongbao::domain::step::{create, decide};
use tongbao::domain::time::{Instant, TimeScale};
use tongbao::store::{
    self, AttemptRow, Birth, CaptureRow, Group, Head, NextActionChange, OrderRow, RefundName, RefundRow,
    RefundStanding, Row, StepUnit, Store, UniqueName, Unit,
};

const START: Instant = Instant(1_760_000_000_000);
const AMOUNT: i64 = 20_000;
const PAYABLE: i64 = 20_060;
/// The fixture's orders, by the last digit of their ids before their partitions.
const PAID: u8 = 1;
const SHORT: u8 = 2;
const OPEN: u8 = 3;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let count = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tongbao-audit-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn url(&self) -> String {
        format!("sqlite://{}", self.0.join("tongbao.db").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store with one order that was paid, one that was underpaid and given back, and one that waits for its payer.
async fn fixture() -> Folder {
    fixture_of(Sold::Kept).await
}

/// What became of the paid order.
enum Sold {
    Kept,
    PartlyRefunded,
}

async fn fixture_of(sold: Sold) -> Folder {
    let folder = Folder::new();
    let url = SecretString::from(folder.url());
    let store = store::open(&url, 1, Duration::from_secs(5)).unwrap();
    store.migrate(Birth { mode: "sandbox", at: START }).await.unwrap();
    let seen = store.owner().await.unwrap();
    let owner = store.take_over(&seen, "fixture").await.unwrap().unwrap();
    let next_place = owner.lanes[0].next_place;
    let mut writing = Writing { store: store.as_ref(), epoch: owner.epoch, number: owner.group, next_place };
    let paid = |amount_minor| Finding::Paid {
        reference: format!("r{amount_minor}").into(),
        amount_minor,
        dated: Dated::NOT_TOLD,
    };
    let answered = |finding| Fact::QueryAnswered { ordinal: 0, finding, asked_at: START };

    let order = writing.submitted(PAID).await;
    let order = writing.take(&order, answered(paid(PAYABLE))).await;
    match sold {
        Sold::Kept => {}
        Sold::PartlyRefunded => {
            let back = Fact::RefundAsked { amount_minor: BACK, fee_policy: FeePolicy::Proportional };
            let order = writing.take(&order, back).await;
            writing.take(&order, refunded()).await;
        }
    }
    let order = writing.submitted(SHORT).await;
    let order = writing.take(&order, answered(paid(PAYABLE - 1))).await;
    writing.take(&order, refunded()).await;
    writing.submitted(OPEN).await;
    writing.platform().await;
    folder
}

/// The channel has paid the order's first refund.
fn refunded() -> Fact {
    let outcome = RefundOutcome::Done { reference: Some("R-1".into()), dated: Dated::NOT_TOLD };
    Fact::RefundAnswered { refund: 0, round: Round::FIRST, asked_at: START, outcome }
}

/// What of the paid order goes back.
const BACK: i64 = 2_006;

struct Writing<'a> {
    store: &'a dyn Store,
    epoch: i64,
    number: i64,
    next_place: i64,
}

impl Writing<'_> {
    async fn submitted(&mut self, digit: u8) -> Order {
        let expires_at = START.plus_ms(3_600_000);
        let facts = Created {
            id: OrderId::from_u128(u128::from(digit) << Partition::BITS)
                .within(PlatformId(1).partition_of(&format!("m{digit}"))),
            platform: PlatformId(1),
            currency: Currency::parse("CNY").unwrap(),
            amount_minor: AMOUNT,
            rates: [Rate::new("0.003".parse().unwrap()).unwrap(); Channel::COUNT].into(),
            rules: RulesVersion::CURRENT,
            fee_bearer: FeeBearer::Payer,
            pace: Pace::Sandbox,
            time_scale: TimeScale::TRUE,
            webhooks: Webhooks::NotWanted,
            attempts_max: 5,
            expires_at,
            splits: Box::default(),
        };
        let request = Request {
            merchant_order_id: format!("m{digit}").into(),
            webhook_url: None,
            asked: asked::tea("200.00"),
            payer: None,
        };
        let order = create(&facts, START);
        let (channel, method) = (Channel::Simpay, Method::Qr);
        let verdict =
            Verdict::Suitable { account: Account::new(channel, "default"), merchant: Merchant::Operator, expires_at };
        let order = self.commit(&order, vec![Fact::Created(Box::new(facts))], Some(request)).await;
        let chosen = Fact::ChannelChosen { channel, method };
        let order = self.commit(&order, vec![chosen, Fact::Validated { channel, method, verdict }], None).await;
        self.take(
            &order,
            Fact::SendAnswered { ordinal: 0, send: 1, outcome: SendOutcome::Accepted { reference: None } },
        )
        .await
    }

    async fn take(&mut self, order: &Order, fact: Fact) -> Order {
        self.commit(order, vec![fact], None).await
    }

    async fn commit(&mut self, before: &Order, facts: Vec<Fact>, request: Option<Request>) -> Order {
        let events: Vec<Event> = facts
            .into_iter()
            .map(|fact| Event { at: before.last_at.plus_ms(100), incarnation: Incarnation::default(), fact })
            .collect();
        // The first event's time is the time of the creation.
        let events = match request {
            Some(_) => events.into_iter().map(|event| Event { at: START, ..event }).collect(),
            None => events,
        };
        let step = decide(before, &events).unwrap();
        let order = &step.after;
        let mut unit = StepUnit {
            stream: order.id.into(),
            expected_version: before.version,
            version: order.version,
            at: order.last_at,
            decided_at: order.last_at,
            head: Head::of(order, NextActionChange::Keep, order.last_at).unwrap(),
            journal: Title::of::<Order>(order.id.as_u128(), order.version, order.last_at)
                .write(Salt([7; 16]), &events)
                .unwrap(),
            name: request.as_ref().map(|request| UniqueName::of(order, request)),
            rows: request.into_iter().map(|request| Row::Order(Box::new(OrderRow::of(order, request)))).collect(),
            entries: Vec::new(),
            webhooks: Vec::new(),
            messages: Vec::new(),
            taken: None,
            claim: None,
        };
        for write in step.writes {
            match write {
                Write::OpenAttempt { ordinal } => {
                    unit.rows.push(Row::Attempt(AttemptRow::of(order, ordinal, "{}".into()).unwrap()));
                }
                Write::Capture { index } => unit.rows.push(Row::Capture(CaptureRow::of(order, index).unwrap())),
                Write::Refund { index, change } => unit.rows.push(refund_row(order, index, change)),
                Write::Entry(entry) => unit.entries.push(entry),
                Write::Webhook { .. }
                | Write::StoreNextAction
                | Write::WipeNextAction
                | Write::RefundsStuck
                | Write::RefundsMove => {}
            }
        }
        self.write(unit).await;
        step.after
    }

    /// With a key in force and one that was revoked.
    async fn platform(&mut self) {
        let key = |number| Key { hash: KeyHash([number; 32]), hint: format!("sk_{number}").into() };
        let terms = Terms { fee_bearer: FeeBearer::Payer, name: "shop".into(), webhook_url: None };
        let facts = [
            (platform::Fact::Created(terms), Some("whsec_c2VjcmV0")),
            (platform::Fact::KeyAdded(key(1)), None),
            (platform::Fact::KeyAdded(key(2)), None),
            (platform::Fact::KeyRevoked { hash: KeyHash([2; 32]) }, None),
        ];
        let mut platform = Platform::unborn(PlatformId(1));
        for (fact, secret) in facts {
            let events = [platform::Event { at: START, fact }];
            let step = platform.decide(&events).unwrap();
            self.write(tongbao::engine::platform::unit(&step, &events, Salt([7; 16]), secret.map(Into::into)).unwrap())
                .await;
            platform = step.after;
        }
    }

    async fn write(&mut self, unit: StepUnit) {
        self.number += 1;
        let units = [Unit::Step(Box::new(unit))];
        let (lane, epoch, number) = (LaneId::FIRST, self.epoch, self.number);
        let group = Group { lane, epoch, at: START, number, first_place: self.next_place, units: &units };
        self.next_place = self.store.commit(&group).await.unwrap().next_place;
    }
}

fn refund_row(order: &Order, index: u16, change: RowChange) -> Row {
    let refund = &order.refunds[usize::from(index)];
    let name = RefundName { merchant_refund_id: "back".into(), reason: None, refundable_minor: PAYABLE };
    match change {
        RowChange::New => Row::Refund(Box::new(RefundRow::of(order, refund, name, order.last_at).unwrap())),
        RowChange::Changed => {
            let ordinal = refund.asked().unwrap().ordinal;
            Row::RefundMoved { ordinal, standing: RefundStanding::of(refund) }
        }
    }
}

async fn audit(folder: &Path, args: &[&str]) -> (Value, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tongbao"));
    command.args(["audit", "--json"]).args(args).env("TONGBAO_DATA__DIR", folder);
    let output = command.output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(report["ok"].as_bool(), Some(output.status.success()), "{report}");
    (report, output.status.success())
}

fn lines(report: &Value, field: &str) -> String {
    report[field].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[actix_web::test]
async fn right_books_pass() {
    let folder = fixture().await;
    let (report, passed) = audit(&folder.0, &["--no-gateway"]).await;
    assert!(passed, "{report}");
    assert_eq!(report["orders"]["replayed"], 3);
    assert_eq!(report["orders"]["by_state"], json!({ "created": 1, "submitted": 1, "succeeded": 1 }));
    assert_eq!(report["orders"]["unsettled"], 1);
    assert_eq!(report["books"]["channels"][0]["captured"], "401.19");
    assert_eq!(report["books"]["channels"][0]["refunded"], "200.59");
    assert_eq!(report["books"]["suspense"]["given_back"], 1);
    assert_eq!(report["gateway"], Value::Null);
    let people = Command::new(env!("CARGO_BIN_EXE_tongbao"))
        .args(["audit", "--no-gateway"])
        .env("TONGBAO_DATA__DIR", &folder.0)
        .output()
        .await
        .unwrap();
    assert!(String::from_utf8(people.stdout).unwrap().contains("The books are right: no fault in 3 orders"));
}

/// Every kind of damage is found, and said what it is.
#[actix_web::test]
async fn tampered_stores_are_found_out() {
    let table: [(&str, &'static str, &str); 23] = [
        (
            "webhooks that go elsewhere",
            "UPDATE platforms SET webhook_url = 'https://thief.example/'",
            "platform 1: its journal gives other terms than its row",
        ),
        (
            "a revoked key in force",
            "UPDATE keys SET revoked_at = NULL",
            "platform 1: its journal gives other keys than their rows",
        ),
        (
            "a key that nobody made",
            "INSERT INTO keys (hash, platform_id, hint, created_at) VALUES (randomblob(32), 1, 'sk_3', 0)",
            "platform 1: its journal gives other keys than their rows",
        ),
        (
            "a platform without its row",
            "DELETE FROM keys WHERE platform_id = 1; DELETE FROM platforms WHERE id = 1",
            "platform 1: its row is gone",
        ),
        ("a platform without its steps", "DELETE FROM heads WHERE kind = 2", "platform 1: it has no journal"),
        (
            "an entry out of balance",
            "UPDATE lines SET amount_minor = 20061 WHERE entry_kind = 'payment' AND amount_minor = 20060",
            "does not sum to zero",
        ),
        (
            "a balanced entry that is another",
            "UPDATE lines SET amount_minor = amount_minor + (amount_minor > 0) * 2 - 1 \
             WHERE entry_kind = 'payment' AND amount_minor IN (20060, -20000)",
            "its journal gives other entries",
        ),
        ("an entry too few", "DELETE FROM lines WHERE entry_kind = 'suspense'", "its captures make the balances"),
        (
            "an entry of nobody",
            "INSERT INTO lines SELECT kind, zeroblob(16), version, entry, line, entry_kind, account, currency, \
             amount_minor, lane, place, at, effective_at, bill_day, cycle, transaction_kind, platform_id, counterparty, \
             refund FROM lines WHERE entry_kind = 'payment'",
            "the balances are not the sums of the orders' entries",
        ),
        (
            "a balance that is another",
            "UPDATE balances SET amount_minor = amount_minor + 1 WHERE account = 'fees:simpay'",
            "the balances are not the sums of the lines",
        ),
        ("a birth that is gone", "DELETE FROM journal WHERE kind = 0", "the journal of lane 1"),
        ("a capture too few", "DELETE FROM captures WHERE amount_minor = 20060", "the channels' totals"),
        (
            "another snapshot",
            "UPDATE heads SET snapshot = json_set(snapshot, '$.state', 'failed') WHERE state = 'submitted'",
            "another order than is stored: state",
        ),
        (
            "another state beside the snapshot",
            "UPDATE heads SET state = 'failed' WHERE state = 'submitted'",
            "and beside it as",
        ),
        ("a journal with a gap", "DELETE FROM journal WHERE version = 2", "version 2 of its journal is missing"),
        ("a journal cut short", "DELETE FROM journal WHERE version = 4", "another order than is stored"),
        (
            "another fact in the journal",
            "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), '20060', '20059') AS BLOB) WHERE version = 4",
            "another order than is stored",
        ),
        ("an unreadable request", "UPDATE orders SET request = '{}' WHERE merchant_order_id = 'm3'", "cannot be read"),
        ("an unreadable journal", "UPDATE journal SET body = x'5b' WHERE version = 3", "cannot be read"),
        (
            "a row of the journal at another instant",
            "UPDATE journal SET at = at + 1 WHERE version = 3",
            "it is a row of another instant",
        ),
        (
            "a row of the journal of another order",
            "UPDATE journal SET body = (SELECT o.body FROM journal o WHERE o.kind = 1 AND o.version = 1 \
             AND o.id <> journal.id) WHERE kind = 1 AND version = 1",
            "it is a row of another stream",
        ),
        (
            "a row of the journal with something added",
            "UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), '\"form\":1', '\"fee\":1,\"form\":1') AS BLOB) \
             WHERE version = 2",
            "unknown field `fee`",
        ),
        ("an order that nobody would find", "UPDATE heads SET next_due_at = NULL", "would be found"),
    ];
    found(&fixture().await, &table).await;
}

/// Each change makes the audit fail, with its fault.
async fn found(folder: &Folder, table: &[(&str, &'static str, &str)]) {
    for (what, statement, fault) in table {
        let damaged = Folder::new();
        copy(&folder.0, &damaged.0);
        let mut connection = sqlx::SqliteConnection::connect(&damaged.url()).await.unwrap();
        let changed = sqlx::query(*statement).execute(&mut connection).await.unwrap().rows_affected();
        connection.close().await.unwrap();
        assert!(changed > 0, "{what}");
        let (report, passed) = audit(&damaged.0, &["--no-gateway"]).await;
        assert!(!passed, "{what}");
        assert!(lines(&report, "faults").contains(fault), "{what}: {report}");
    }
}

#[actix_web::test]
async fn a_refund_that_was_tampered_with_is_found() {
    let folder = fixture_of(Sold::PartlyRefunded).await;
    let (report, passed) = audit(&folder.0, &["--no-gateway"]).await;
    assert!(passed, "{report}");
    let otherwise = "its row says otherwise than the order";
    let table = [
        ("a refund without its row", "DELETE FROM refunds", "its row is gone"),
        ("a refund of another amount", "UPDATE refunds SET amount_minor = 2007", otherwise),
        ("a refund of another state", "UPDATE refunds SET state = 'failed'", otherwise),
        ("a refund of another platform", "UPDATE refunds SET platform_id = 2", "its row is gone"),
        ("a refund of other parts", "UPDATE refunds SET parts = '[[1,2001]]'", otherwise),
        ("an order that is not stuck", "INSERT INTO stuck_refunds SELECT order_id, 1 FROM refunds", "and none is"),
        (
            "a line of another kind",
            "UPDATE lines SET transaction_kind = 'fee' WHERE transaction_kind = 'refund'",
            "other entries",
        ),
        (
            "a line of another day",
            "UPDATE lines SET bill_day = bill_day + 1 WHERE entry_kind = 'refund_paid'",
            "other entries",
        ),
        (
            "a line of another instant",
            "UPDATE lines SET effective_at = 0 WHERE entry_kind = 'payment'",
            "other entries",
        ),
        (
            "a line with another platform",
            "UPDATE lines SET counterparty = 2 WHERE transaction_kind = 'refund'",
            "other entries",
        ),
        (
            "a sum of another kind",
            "UPDATE balances SET heading = 'fees' WHERE heading = 'refunds'",
            "not the sums of the lines",
        ),
        ("a refund that was paid twice", "DELETE FROM lines WHERE entry_kind = 'refund_paid'", "other entries"),
    ];
    found(&folder, &table).await;
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// What a gateway shows: captured and refunded of the three orders.
type Shown = [(i64, i64); 3];

const EQUAL: Shown = [(PAYABLE, 0), (PAYABLE - 1, PAYABLE - 1), (0, 0)];

/// A gateway that shows these books.
fn gateway(shown: Shown) -> String {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(shown))
            .route("/sim/totals", web::get().to(totals))
            .route("/sim/orders/{number}", web::get().to(order))
    });
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    url
}

async fn totals(shown: Data<Shown>) -> HttpResponse {
    let captured: i64 = shown.iter().map(|(captured, _)| captured).sum();
    let refunded: i64 = shown.iter().map(|(_, refunded)| refunded).sum();
    let captures = shown.iter().filter(|(captured, _)| *captured > 0).count();
    let sums = json!({ "captured_minor": captured, "refunded_minor": refunded, "captures": captures });
    HttpResponse::Ok().json(json!({ "simpay": { "CNY": sums } }))
}

async fn order(shown: Data<Shown>, number: web::Path<String>) -> HttpResponse {
    let number: AttemptNumber = number.parse().unwrap();
    let digit = (number.order.as_u128() >> Partition::BITS & 15) as usize;
    let (captured, refunded) = shown[digit - 1];
    HttpResponse::Ok().json(json!({
        "asked_minor": PAYABLE, "captured_minor": captured, "refunded_minor": refunded,
        "state": "paid", "callbacks_sent": 1,
    }))
}

async fn against(folder: &Folder, shown: Shown) -> Value {
    let url = gateway(shown);
    audit(&folder.0, &["--gateway", &url, "--orders", "all"]).await.0
}

#[actix_web::test]
async fn a_gateway_that_agrees_passes() {
    let folder = fixture().await;
    let report = against(&folder, EQUAL).await;
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["gateway"]["attempts_compared"], 3);
    assert_eq!(report["gateway"]["channels"], report["books"]["channels"]);
}

#[actix_web::test]
async fn money_that_is_on_its_way_to_us_is_no_fault() {
    let folder = fixture().await;
    let [paid, short, _] = EQUAL;
    let report = against(&folder, [paid, short, (PAYABLE, 0)]).await;
    assert_eq!((&report["ok"], &report["gateway"]["equal"]), (&json!(false), &json!(false)), "{report}");
    assert_eq!(report["faults_in_all"], 0, "{report}");
    assert_eq!(report["in_flight_in_all"], 2, "{report}");
}

#[actix_web::test]
async fn differences_that_nothing_explains_are_faults() {
    let folder = fixture().await;
    let [paid, short, open] = EQUAL;
    let table = [
        ("we booked what the gateway never took", [(0, 0), short, open]),
        ("we gave back what the gateway did not", [paid, (PAYABLE - 1, 0), open]),
        ("the gateway took a cent more of a paid order", [(PAYABLE + 1, 0), short, open]),
        ("the gateway gave back a payment", [(PAYABLE, PAYABLE), short, open]),
        ("the same sum, of other orders", [(0, 0), short, (PAYABLE, 0)]),
    ];
    for (what, shown) in table {
        let report = against(&folder, shown).await;
        assert_ne!(report["faults_in_all"], 0, "{what}: {report}");
    }
    let (report, _) = audit(&folder.0, &["--gateway", "http://127.0.0.1:9"]).await;
    assert!(lines(&report, "faults").contains("does not answer"), "{report}");
}

#[actix_web::test]
async fn a_store_that_is_not_there_is_no_store_without_faults() {
    let folder = Folder::new();
    let (report, passed) = audit(&folder.0, &["--no-gateway"]).await;
    assert!(!passed && lines(&report, "faults").contains("cannot be read"), "{report}");
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0, "an audit makes nothing");
}
