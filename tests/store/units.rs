//! Units as the actors make them: decided by the order machine, nothing invented.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::dated::Dated;
use tongbao::domain::event::{Created, Event, Fact, Finding, RefundOutcome, RowChange, SendOutcome, Verdict, Write};
use tongbao::domain::form::Form;
use tongbao::domain::id::{Account, Incarnation, OrderId, PlatformId, Round};
use tongbao::domain::journal::{Salt, Title};
use tongbao::domain::ledger::Entry;
use tongbao::domain::machine::Machine;
use tongbao::domain::merchant::Merchant;
use tongbao::domain::money::{Currency, Rate};
use tongbao::domain::order::{FeeBearer, Order, Webhooks};
use tongbao::domain::partition::Partition;
use tongbao::domain::payer::Payer;
use tongbao::domain::platform::{self, Key, KeyHash, Platform, Terms};
use tongbao::domain::refund::FeePolicy;
use tongbao::domain::request::{Asked, Request};
use tongbao::domain::retry::Pace;
use tongbao::domain::rules::RulesVersion;
use tongbao::domain::step;
use tongbao::domain::time::{Instant, TimeScale};
use tongbao::store::{
    AttemptRow, CaptureRow, Claim, Head, LastChannel, NamedPayer, NextActionChange, OrderRow, OutboxRow, RefundName,
    RefundRow, RefundStanding, Row, StepUnit, StoredPlatform, UniqueName, Unit,
};

use crate::asked;

/// An order's step, before it is made a unit: the tests change what it says.
pub struct OrderUnit {
    pub decided_at: Instant,
    pub id: OrderId,
    pub expected_version: u32,
    pub order: Order,
    pub journal: Vec<u8>,
    pub request: Option<Box<Request>>,
    pub next_action: NextActionChange,
    pub attempts: Vec<AttemptRow>,
    /// Indices into `order.captures`.
    pub captures: Vec<u16>,
    /// Rows of refunds that were asked for.
    pub refunds: Vec<Row>,
    pub stuck: Option<Row>,
    pub entries: Vec<Entry>,
    pub webhooks: Vec<OutboxRow>,
    /// Who is named to pay from an attempt on.
    pub payer: Option<NamedPayer>,
    pub paid_by: Vec<LastChannel>,
    pub claim: Option<Box<Claim>>,
}

impl OrderUnit {
    pub fn step(self) -> StepUnit {
        let order = &self.order;
        let name = self.request.as_ref().map(|request| UniqueName::of(order, request));
        let created = self.request.map(|request| Row::Order(Box::new(OrderRow::of(order, *request))));
        let capture = |index: &u16| CaptureRow::of(order, *index).expect("the order has this capture");
        StepUnit {
            stream: self.id.into(),
            expected_version: self.expected_version,
            version: order.version,
            at: order.last_at,
            decided_at: self.decided_at,
            head: Head::of(order, self.next_action, self.decided_at).expect("an order is JSON"),
            journal: self.journal,
            name,
            rows: created
                .into_iter()
                .chain(self.payer.map(Row::Payer))
                .chain(self.attempts.into_iter().map(Row::Attempt))
                .chain(self.captures.iter().map(|index| Row::Capture(capture(index))))
                .chain(self.refunds)
                .chain(self.stuck)
                .chain(self.paid_by.into_iter().map(Row::PaidBy))
                .collect(),
            entries: self.entries,
            webhooks: self.webhooks,
            messages: Vec::new(),
            taken: None,
            claim: self.claim,
        }
    }

    pub fn unit(self) -> Unit {
        Unit::Step(Box::new(self.step()))
    }
}

/// When everything begins here.
pub const START: Instant = Instant(1_760_000_000_000);
pub const HOUR_MS: i64 = 3_600_000;

static IDS: AtomicU64 = AtomicU64::new(1);

/// Ids that grow, with bits that are spread, as those of version 7 do.
pub fn new_id() -> OrderId {
    let count = IDS.fetch_add(1, Ordering::Relaxed);
    let random = count.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 2;
    OrderId::from_u128(
        (START.0 as u128 + u128::from(count / 40)) << 80 | u128::from(count % 40) << 64 | u128::from(random),
    )
}

/// A platform's key of this number.
pub fn key(number: u8) -> Key {
    Key { hash: KeyHash([number; 32]), hint: format!("sk_{number}").into() }
}

/// The step that makes a platform.
pub fn new_platform(id: PlatformId, wanted: &StoredPlatform, keys: &[Key]) -> StepUnit {
    let terms = Terms {
        fee_bearer: wanted.fee_bearer,
        name: wanted.name.as_str().into(),
        webhook_url: wanted.webhook_url.as_deref().map(Into::into),
    };
    let facts =
        std::iter::once(platform::Fact::Created(terms)).chain(keys.iter().cloned().map(platform::Fact::KeyAdded));
    platform_step(&Platform::unborn(id), facts, START, Some(wanted.webhook_secret.as_str().into())).1
}

/// A further step of a platform, and the platform as it is then.
pub fn platform_step(
    before: &Platform,
    facts: impl IntoIterator<Item = platform::Fact>,
    at: Instant,
    webhook_secret: Option<Box<str>>,
) -> (Platform, StepUnit) {
    let events: Vec<_> = facts.into_iter().map(|fact| platform::Event { at, fact }).collect();
    let step = before.decide(&events).expect("the platform agrees");
    let unit = tongbao::engine::platform::unit(&step, &events, Salt([7; 16]), webhook_secret)
        .expect("the step can be written");
    (step.after, unit)
}

pub fn rate(billionths: i64) -> Rate {
    Rate::new(rust_decimal::Decimal::new(billionths, 9)).expect("a rate below one")
}

pub fn created(platform: PlatformId, amount_minor: i64) -> Created {
    Created {
        id: new_id(),
        platform,
        currency: Currency::parse("CNY").expect("a currency"),
        amount_minor,
        rates: [rate(6_000_000); Channel::COUNT].into(),
        rules: RulesVersion::CURRENT,
        fee_bearer: FeeBearer::Payer,
        pace: Pace::Production,
        time_scale: TimeScale::TRUE,
        webhooks: Webhooks::Wanted,
        attempts_max: 5,
        expires_at: START.plus_ms(HOUR_MS),
        splits: Box::default(),
    }
}

pub fn request(merchant_order_id: &str) -> Request {
    Request {
        merchant_order_id: merchant_order_id.into(),
        webhook_url: None,
        asked: Asked {
            description: "A year of reading, 1 of 2".into(),
            metadata: [("n".to_owned(), merchant_order_id.to_owned())].into(),
            return_url: Some("https://shop.example/back".into()),
            ..asked::tea("12.34")
        },
        payer: None,
    }
}

/// A payer of that name at its platform.
pub fn payer(id: &str) -> Arc<Payer> {
    Arc::new(Payer { form: Form, id: id.into(), ip: None, openid: None })
}

/// The row of the step that has led to this order.
fn journal(after: &Order, events: &[Event]) -> Vec<u8> {
    let title = Title::of::<Order>(after.id.as_u128(), after.version, after.last_at);
    title.write(Salt([7; 16]), events).expect("events are JSON")
}

/// A step of `before`, as a unit.
pub fn unit(before: &Order, events: &[Event], request: Option<Request>) -> OrderUnit {
    named_unit(before, events, request, None)
}

/// The same; `name` is what the platform calls the refund that it opens.
fn named_unit(before: &Order, events: &[Event], request: Option<Request>, name: Option<&str>) -> OrderUnit {
    let step = step::decide(before, events).expect("the events are allowed");
    let mut unit = OrderUnit {
        id: before.id,
        decided_at: step.after.last_at,
        expected_version: before.version,
        journal: journal(&step.after, events),
        request: request.map(Box::new),
        next_action: NextActionChange::Keep,
        attempts: Vec::new(),
        captures: Vec::new(),
        refunds: Vec::new(),
        stuck: None,
        entries: Vec::new(),
        webhooks: Vec::new(),
        payer: None,
        paid_by: Vec::new(),
        claim: None,
        order: step.after,
    };
    for write in step.writes {
        match write {
            Write::OpenAttempt { ordinal } => {
                let number = unit.order.number(unit.order.attempt(ordinal).expect("it was opened"));
                let frozen = format!(r#"{{"amount":"12.41","number":"{}"}}"#, number);
                let row = AttemptRow::of(&unit.order, ordinal, frozen.into());
                unit.attempts.push(row.expect("it was opened"));
            }
            Write::Capture { index } => unit.captures.push(index),
            Write::Entry(entry) => unit.entries.push(entry),
            Write::Refund { index, change } => {
                unit.refunds.push(refund_row(&unit.order, index, change, name));
            }
            Write::Webhook { kind, sequence, .. } => {
                let body = format!(r#"{{"type":"{}","data":{{"sequence":{sequence}}}}}"#, kind.name());
                unit.webhooks.push(OutboxRow {
                    kind,
                    sequence,
                    at: unit.order.last_at,
                    platform: unit.order.platform,
                    url: "https://shop.example/hook".into(),
                    trace: unit.id.as_u128(),
                    body: body.into_bytes().into(),
                });
            }
            Write::StoreNextAction => {
                unit.next_action = NextActionChange::Store(r#"{"type":"qr","url":"simpay://pay/1"}"#.into());
            }
            Write::WipeNextAction => unit.next_action = NextActionChange::Wipe,
            Write::RefundsStuck => unit.stuck = Some(Row::RefundsStuck { since: unit.order.last_at }),
            Write::RefundsMove => unit.stuck = Some(Row::RefundsMove),
        }
    }
    unit
}

/// The row of a refund that is new, or that has changed.
fn refund_row(order: &Order, index: u16, change: RowChange, name: Option<&str>) -> Row {
    let refund = &order.refunds[usize::from(index)];
    match change {
        RowChange::New => {
            let name = RefundName {
                merchant_refund_id: name.expect("a refund has a name").into(),
                reason: Some("不想要了".into()),
                refundable_minor: refund.amount_minor,
            };
            Row::Refund(Box::new(RefundRow::of(order, refund, name, order.last_at).expect("it was asked for")))
        }
        RowChange::Changed => {
            let ordinal = refund.asked().expect("it was asked for").ordinal;
            Row::RefundMoved { ordinal, standing: RefundStanding::of(refund) }
        }
    }
}

/// The step that opens a refund under this name.
pub fn refund(order: &Order, name: &str, amount_minor: i64) -> OrderUnit {
    let fact = Fact::RefundAsked { amount_minor, fee_policy: FeePolicy::Proportional };
    let event = Event { at: order.last_at.plus_ms(10), incarnation: Incarnation::default(), fact };
    named_unit(order, &[event], None, Some(name))
}

/// The channel has paid a refund.
pub fn refunded(refund: u16) -> Fact {
    let outcome = RefundOutcome::Done { reference: Some("R-1".into()), dated: Dated::NOT_TOLD };
    Fact::RefundAnswered { refund, round: Round::FIRST, asked_at: START, outcome }
}

/// A new order.
pub fn new_order(platform: PlatformId, merchant_order_id: &str) -> OrderUnit {
    new_order_of(platform, request(merchant_order_id))
}

pub fn new_order_of(platform: PlatformId, request: Request) -> OrderUnit {
    let mut facts = created(platform, 1_234);
    facts.id = facts.id.within(platform.partition_of(&request.merchant_order_id));
    new_order_by(facts, request)
}

fn new_order_by(facts: Created, request: Request) -> OrderUnit {
    let order = step::create(&facts, START);
    unit(
        &order,
        &[Event { at: START, incarnation: Incarnation::default(), fact: Fact::Created(Box::new(facts)) }],
        Some(request),
    )
}

/// A new order that lies in another partition than its name does.
pub fn misplaced(platform: PlatformId, merchant_order_id: &str) -> OrderUnit {
    let mut facts = created(platform, 1_234);
    let mut elsewhere = Partition::all().filter(|partition| *partition != platform.partition_of(merchant_order_id));
    facts.id = facts.id.within(elsewhere.next().expect("there are many"));
    new_order_by(facts, request(merchant_order_id))
}

/// The step that chooses a channel and opens an attempt there.
pub fn submit(order: &Order) -> OrderUnit {
    submit_to(order, "default")
}

pub fn submit_to(order: &Order, account: &str) -> OrderUnit {
    let at = START.plus_ms(1_000);
    let (channel, method) = (Channel::Simpay, Method::Qr);
    let verdict = Verdict::Suitable {
        account: Account::new(channel, account),
        merchant: Merchant::Operator,
        expires_at: START.plus_ms(HOUR_MS / 2),
    };
    let chosen = Event { at, incarnation: Incarnation::default(), fact: Fact::ChannelChosen { channel, method } };
    let validated =
        Event { at, incarnation: Incarnation::default(), fact: Fact::Validated { channel, method, verdict } };
    unit(order, &[chosen, validated], None)
}

/// The step that stores what the payer has to do.
pub fn accepted(order: &Order) -> OrderUnit {
    let fact = Fact::SendAnswered { ordinal: 0, send: 1, outcome: SendOutcome::Accepted { reference: None } };
    unit(order, &[Event { at: START.plus_ms(1_100), incarnation: Incarnation::default(), fact }], None)
}

/// The step that takes the money.
pub fn paid(order: &Order, reference: &str) -> OrderUnit {
    let amount_minor = order.attempts[0].payable_minor;
    found(order, reference, amount_minor)
}

/// A query found this capture of the first attempt.
pub fn found(order: &Order, reference: &str, amount_minor: i64) -> OrderUnit {
    let finding = Finding::Paid { reference: reference.into(), amount_minor, dated: Dated::NOT_TOLD };
    let fact = Fact::QueryAnswered { ordinal: 0, finding, asked_at: START };
    unit(order, &[Event { at: START.plus_ms(2_000), incarnation: Incarnation::default(), fact }], None)
}

pub fn group(units: Vec<OrderUnit>) -> Vec<Unit> {
    units.into_iter().map(OrderUnit::unit).collect()
}
