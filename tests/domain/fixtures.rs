//! The rows that are kept in `tests/fixtures`: every version reads them, and the version that wrote them writes them
//! byte for byte.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::dated::{Dated, Day};
use tongbao::domain::event::{
    CloseAnswer, Created, Event, Fact, Fault, Finding, Hold, RefundOutcome, RefundResolution, RefundWord, Rejection,
    SendOutcome, Verdict,
};
use tongbao::domain::form::Form;
use tongbao::domain::id::{Incarnation, PlatformId, Round};
use tongbao::domain::journal::{LaneEvent, Salt, Title};
use tongbao::domain::machine::Machine;
use tongbao::domain::merchant::Merchant;
use tongbao::domain::money::Currency;
use tongbao::domain::order::{AttemptFailure, FeeBearer, Order, State};
use tongbao::domain::payer::Payer;
use tongbao::domain::platform::{self, Key, KeyHash, Platform, Terms};
use tongbao::domain::refund::{FeePolicy, RefundState};
use tongbao::domain::request::{Asked, Trace};
use tongbao::domain::retry::Pace;
use tongbao::domain::splits::AskedSplit;
use tongbao::domain::splits::{Share, Split};
use tongbao::domain::step;
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::domain::time::{Instant, TimeScale};
use tongbao::domain::view::Metadata;

use super::world::{
    HOUR, MINUTE, PAYABLE, REFERENCE, SECOND, START, account, called_back, chosen, close_unclear, closed, creation,
    found, later, no_answer, not_sent, paid, rate, refund, refund_asked, refund_by_asking_at, refund_done,
    refund_ended, refund_not_sent, refund_of, refund_poor, refund_rejected, refund_resolved, refund_returned,
    refund_stuck, refund_unclear, refused, resolved, send_paid, sent, suitable, unclear,
};

/// What this version writes.
const CURRENT: &str = "rows-1";

fn folder(rows: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(rows)
}

fn read(rows: &str, name: &str) -> String {
    let path = folder(rows).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A step's row. Each has a salt of its own.
fn row(version: u32, at: Instant, events: &[Event]) -> String {
    let title = Title::of::<Order>(creation().id.as_u128(), version, at);
    let salt = Salt([u8::try_from(version).expect("few steps"); 16]);
    String::from_utf8(title.write(salt, events).expect("events are JSON")).expect("JSON is UTF-8")
}

/// What a row says, which stands under this version and under the instant of its first event.
fn events(version: u32, row: &str) -> Vec<Event> {
    let value: serde_json::Value = serde_json::from_str(row).expect("a row is JSON");
    let at = Instant(value["events"][0]["at"].as_i64().expect("an instant"));
    let title = Title::of::<Order>(creation().id.as_u128(), version, at);
    title.read(row.as_bytes()).unwrap_or_else(|error| panic!("{error}: {row}")).events
}

/// An order's life as it is stored.
struct History {
    name: &'static str,
    /// A row for each commit.
    journal: Vec<String>,
    order: Order,
}

impl History {
    fn of(name: &'static str, facts: &Created, commits: Vec<(i64, Vec<Fact>)>) -> Self {
        let mut order = step::create(facts, START);
        let creation = (0, vec![Fact::Created(Box::new(facts.clone()))]);
        let mut rows = Vec::new();
        let mut at = START;
        for (after_ms, facts) in [creation].into_iter().chain(commits) {
            at = at.plus_ms(after_ms);
            let incarnation = Incarnation::try_from(7).expect("an incarnation");
            let events: Vec<Event> = facts.into_iter().map(|fact| Event { at, incarnation, fact }).collect();
            order = step::decide(&order, &events).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}")).after;
            rows.push(row(order.version, at, &events));
        }
        History { name, journal: rows, order }
    }

    fn replay(name: &str, rows: &str) -> Order {
        let mut order: Option<Order> = None;
        for (row, version) in rows.lines().zip(1..) {
            let events = events(version, row);
            let before = order.take().unwrap_or_else(|| match &events[0].fact {
                Fact::Created(facts) => step::create(facts, events[0].at),
                other => panic!("{name}: a journal begins with its creation, not with {other:?}"),
            });
            order = Some(step::decide(&before, &events).unwrap_or_else(|why| panic!("{name}: {why:?}: {row}")).after);
        }
        order.expect("a journal has rows")
    }
}

/// The first commit's facts of a payment.
fn paying(channel: Channel) -> Vec<Fact> {
    vec![chosen(channel), suitable(channel, START.plus_ms(2 * HOUR))]
}

/// The creation of an order of which two others have a share.
fn shared() -> Created {
    let share = |to, share| Split { to: PlatformId(to), share };
    let splits = [share(8, Share::Rate(rate("0.1"))), share(9, Share::AmountMinor(500))];
    Created { splits: splits.into(), ..creation() }
}

/// What a channel tells of when money moved.
fn told() -> Dated {
    Dated { effective_at: Some(START.plus_ms(MINUTE)), bill_day: Day::parse("2027-01-15") }
}

fn accepted() -> Fact {
    sent(0, 1, SendOutcome::Accepted { reference: Some("prepay-1".into()) })
}

fn histories() -> Vec<History> {
    let creation = creation();
    let short = Created { expires_at: START.plus_ms(10 * MINUTE), ..creation.clone() };
    let sandbox = Created {
        pace: Pace::Sandbox,
        time_scale: TimeScale::percent(2).expect("a scale"),
        fee_bearer: FeeBearer::Platform,
        ..creation.clone()
    };
    vec![
        History::of("chosen", &creation, vec![(SECOND, paying(Channel::Wechat))]),
        History::of(
            "captured",
            &creation,
            vec![
                (0, paying(Channel::Wechat)),
                (SECOND, vec![accepted()]),
                (MINUTE, vec![called_back_now(Channel::Wechat, PAYABLE)]),
            ],
        ),
        History::of(
            "suspense_refunded",
            &creation,
            vec![
                (0, paying(Channel::Alipay)),
                (SECOND, vec![accepted()]),
                (MINUTE, vec![found(0, paid(REFERENCE, 20_000))]),
                (SECOND, vec![refund(0, refund_ended())]),
                (2 * MINUTE, vec![refund_of(Round(1), 0, refund_unclear())]),
                (2 * MINUTE, vec![refund_of(Round(1), 0, refund_done())]),
            ],
        ),
        History::of(
            "refunded",
            &shared(),
            vec![
                (0, paying(Channel::Wechat)),
                (SECOND, vec![accepted()]),
                (
                    MINUTE,
                    vec![found(0, Finding::Paid { reference: REFERENCE.into(), amount_minor: PAYABLE, dated: told() })],
                ),
                (HOUR, vec![refund_asked(10_030, FeePolicy::Proportional)]),
                (SECOND, vec![refund_asked(1_000, FeePolicy::Kept)]),
                (SECOND, vec![refund(0, RefundOutcome::Pending { hold: Hold::Balance })]),
                (SECOND, vec![refund(0, refund_ended())]),
                (MINUTE + 2 * SECOND, vec![Fact::TimerFired]),
                (SECOND, vec![refund(1, RefundOutcome::Done { reference: Some("50000".into()), dated: told() })]),
                (2 * MINUTE, vec![refund_of(Round(1), 0, refund_done())]),
                (HOUR, vec![refund_of(Round(1), 0, refund_returned())]),
                (HOUR, vec![refund_asked(5_000, FeePolicy::Proportional)]),
                (SECOND, vec![refund(2, refund_rejected(Rejection::Refused))]),
            ],
        ),
        History::of(
            "refund_paid_earlier",
            &creation,
            vec![
                (0, paying(Channel::Wechat)),
                (SECOND, vec![accepted()]),
                (MINUTE, vec![called_back_now(Channel::Wechat, PAYABLE)]),
                (MINUTE, vec![refund_asked(10_030, FeePolicy::Proportional)]),
                (SECOND, vec![refund(0, refund_ended())]),
                (SECOND, vec![refund(0, refund_done())]),
                (SECOND, vec![refund_of(Round(1), 0, refund_unclear())]),
            ],
        ),
        History::of(
            "failed",
            &short,
            vec![
                (0, paying(Channel::Simpay)),
                (SECOND, vec![sent(0, 1, no_answer())]),
                (10 * MINUTE, vec![Fact::DeadlinePassed]),
                (SECOND, vec![closed(0, CloseAnswer::Closed)]),
                (2 * MINUTE, vec![found(0, Finding::Closed)]),
            ],
        ),
        History::of(
            "switching",
            &sandbox,
            vec![
                (0, paying(Channel::Stripe)),
                (SECOND, vec![accepted()]),
                (SECOND, vec![called_back_now(Channel::Stripe, PAYABLE)]),
                (SECOND, vec![chosen(Channel::Unionpay)]),
                (SECOND, vec![closed(0, close_unclear())]),
            ],
        ),
    ]
}

fn called_back_now(channel: Channel, amount_minor: i64) -> Fact {
    match called_back(channel, 0, REFERENCE, amount_minor) {
        Fact::CallbackVerified { ordinal, account, reference, amount_minor, currency, dated, .. } => {
            Fact::CallbackVerified {
                ordinal,
                opened_in: Incarnation::try_from(7).expect("an incarnation"),
                account,
                reference,
                amount_minor,
                currency,
                dated,
            }
        }
        other => panic!("a callback, not {other:?}"),
    }
}

/// Every fact with every outcome that it can have.
fn facts() -> Vec<Fact> {
    let (channel, method) = (Channel::Wechat, Method::Jsapi);
    let validated = |verdict| Fact::Validated { channel, method, verdict };
    let unsuitable = |failure| validated(Verdict::Unsuitable { failure });
    let findings = || {
        [paid(REFERENCE, PAYABLE), Finding::Pending, Finding::NotExist, Finding::Declined, Finding::Closed, unclear()]
    };
    let mut facts = vec![
        Fact::Created(Box::new(creation())),
        Fact::Created(Box::new(Created { time_scale: TimeScale::percent(2).expect("a scale"), ..creation() })),
        Fact::Created(Box::new(shared())),
        Fact::ChannelChosen { channel, method },
        validated(Verdict::Suitable {
            account: account(channel),
            merchant: Merchant::Operator,
            expires_at: START.plus_ms(HOUR),
        }),
        validated(Verdict::RiskRefused { rule: "refused_payer".into() }),
        called_back(channel, 0, REFERENCE, PAYABLE),
        Fact::CancelAsked,
        Fact::DeadlinePassed,
        Fact::TimerFired,
    ];
    facts.extend(
        [
            AttemptFailure::AmountInsufficient,
            AttemptFailure::AmountMismatch,
            AttemptFailure::ChannelDeclined,
            AttemptFailure::ChannelUnsuitable,
            AttemptFailure::ChannelUnavailable,
            AttemptFailure::HeldBack,
        ]
        .map(unsuitable),
    );
    facts.extend(
        [
            SendOutcome::Accepted { reference: None },
            SendOutcome::Accepted { reference: Some(REFERENCE.into()) },
            send_paid(REFERENCE, PAYABLE),
            SendOutcome::Paid { reference: REFERENCE.into(), amount_minor: PAYABLE, dated: told() },
            refused(Fault::Payment),
            refused(Fault::Ours),
            not_sent(),
            SendOutcome::HeldBack { why: "the breaker is open".into() },
            SendOutcome::Impossible { code: "currency_unsuitable".into() },
            later(),
            no_answer(),
        ]
        .map(|outcome| sent(0, 1, outcome)),
    );
    facts.extend(findings().map(|finding| found(0, finding)));
    facts.extend(findings().map(|finding| resolved(0, finding)));
    facts.extend(
        [CloseAnswer::Closed, CloseAnswer::AlreadyPaid, CloseAnswer::NotExist, close_unclear()]
            .map(|answer| closed(0, answer)),
    );
    facts.extend(FeePolicy::ALL.map(|policy| refund_asked(10_030, policy)));
    facts.extend(refund_outcomes().map(|outcome| refund(0, outcome)));
    facts.push(refund_by_asking_at(START.plus_ms(HOUR), Round(2), 1, refund_done()));
    facts.extend(noticed());
    let ends = [RefundResolution::Failed, RefundResolution::PaidOtherwise];
    facts.extend(ends.map(|resolution| refund_resolved(0, resolution)));
    let senders = [StreamId::from(creation().id), StreamId { kind: Kind(200), id: 7 }];
    facts.extend(senders.map(|from| Fact::MessageTaken { from, number: 3, body: r#"{"reminder":"tea"}"#.into() }));
    facts
}

fn refund_outcomes() -> [RefundOutcome; 15] {
    [
        RefundOutcome::Pending { hold: Hold::Processing },
        RefundOutcome::Pending { hold: Hold::Balance },
        refund_done(),
        RefundOutcome::Done { reference: Some("50000".into()), dated: told() },
        refund_poor(),
        refund_rejected(Rejection::Ours),
        refund_rejected(Rejection::Refused),
        refund_rejected(Rejection::DeadNumber),
        refund_ended(),
        refund_returned(),
        RefundOutcome::Returned { code: "CARD_CLOSED".into(), dated: told() },
        refund_stuck(),
        refund_not_sent(),
        RefundOutcome::NotExist,
        refund_unclear(),
    ]
}

/// Callbacks about a refund, with a word and without one.
fn noticed() -> [Fact; 2] {
    let word = RefundWord { amount_minor: 10_030, currency: "CNY".into(), outcome: refund_done() };
    [Some(word), None].map(|word| Fact::RefundNoticed { number: "R0".into(), account: account(Channel::Wechat), word })
}

/// A kind of fact that is added here has no row yet.
fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Created(_) => "created",
        Fact::ChannelChosen { .. } => "channel_chosen",
        Fact::Validated { .. } => "validated",
        Fact::SendAnswered { .. } => "send_answered",
        Fact::QueryAnswered { .. } => "query_answered",
        Fact::CloseAnswered { .. } => "close_answered",
        Fact::CallbackVerified { .. } => "callback_verified",
        Fact::RefundAsked { .. } => "refund_asked",
        Fact::RefundAnswered { .. } => "refund_answered",
        Fact::RefundNoticed { .. } => "refund_noticed",
        Fact::RefundResolved { .. } => "refund_resolved",
        Fact::CancelAsked => "cancel_asked",
        Fact::DeadlinePassed => "deadline_passed",
        Fact::TimerFired => "timer_fired",
        Fact::OperatorResolved { .. } => "operator_resolved",
        Fact::MessageTaken { .. } => "message_taken",
    }
}

fn asked() -> [Asked; 2] {
    let whole = Asked {
        amount: "200.00".into(),
        attempts_max: 3,
        channel: Some(Channel::Wechat),
        currency: Currency::parse("CNY").expect("a currency"),
        description: "一本书".into(),
        expires_in: 3_600,
        form: Form,
        metadata: Metadata::from([("cart".into(), "7".into()), ("\"quoted\"".into(), "\\".into())]),
        method: Some(Method::Native),
        return_url: Some("https://shop.example/back?a=1".into()),
        splits: vec![
            AskedSplit { amount: None, rate: Some(rate("0.1")), to: "platform-8".into() },
            AskedSplit { amount: Some("5.00".into()), rate: None, to: "platform-9".into() },
        ],
        trace: Some(Trace(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736)),
        webhook_url: Some("https://shop.example/hook".into()),
    };
    let bare = Asked {
        channel: None,
        metadata: Metadata::new(),
        method: None,
        return_url: None,
        splits: Vec::new(),
        trace: None,
        webhook_url: None,
        ..whole.clone()
    };
    [whole, bare]
}

fn payers() -> [Payer; 2] {
    let whole = Payer {
        form: Form,
        id: "u-1".into(),
        ip: "192.0.2.7".parse().ok(),
        openid: Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".into()),
    };
    [whole.clone(), Payer { ip: None, openid: None, ..whole }]
}

fn cny() -> Currency {
    Currency::parse("CNY").expect("a currency")
}

fn usd() -> Currency {
    Currency::parse("USD").expect("a currency")
}

/// A platform's steps with every kind of fact, and the platform after them.
fn platform() -> (Vec<String>, Platform) {
    let key = |number| Key { hash: KeyHash([number; 32]), hint: format!("sk_{number}").into() };
    let terms = Terms {
        fee_bearer: FeeBearer::Platform,
        name: "shop".into(),
        webhook_url: Some("https://shop.example/hook".into()),
    };
    let steps = [
        vec![platform::Fact::Created(terms), platform::Fact::KeyAdded(key(1))],
        vec![platform::Fact::KeyAdded(key(2))],
        vec![platform::Fact::KeyRevoked { hash: key(1).hash }],
        vec![platform::Fact::SharesAccepted { from: PlatformId(8) }],
        vec![
            platform::Fact::SharesAccepted { from: PlatformId(9) },
            platform::Fact::SharesRefused { from: PlatformId(8) },
        ],
        vec![platform::Fact::DebtBounded { currency: cny(), most_minor: Some(100_000) }],
        vec![
            platform::Fact::DebtBounded { currency: cny(), most_minor: None },
            platform::Fact::DebtBounded { currency: usd(), most_minor: Some(0) },
        ],
    ];
    let mut platform = Platform::unborn(PlatformId(7));
    let mut rows = Vec::new();
    for (facts, version) in steps.into_iter().zip(1..) {
        let at = START.plus_ms(i64::from(version) * SECOND);
        let events: Vec<_> = facts.into_iter().map(|fact| platform::Event { at, fact }).collect();
        platform = platform.decide(&events).expect("the platform agrees").after;
        let title = Title::of::<Platform>(platform.id(), version, at);
        let salt = Salt([u8::try_from(version).expect("few steps"); 16]);
        let row = title.write(salt, &events).expect("events are JSON");
        rows.push(String::from_utf8(row).expect("JSON is UTF-8"));
    }
    (rows, platform)
}

/// Every file of the current rows and its lines.
fn written() -> Vec<(String, Vec<String>)> {
    let mut files = Vec::new();
    for history in histories() {
        let snapshot = serde_json::to_string(&history.order).expect("an order is JSON");
        files.push((format!("{}.journal.jsonl", history.name), history.journal));
        files.push((format!("{}.snapshot.json", history.name), vec![snapshot]));
    }
    let incarnation = Incarnation::try_from(7).expect("an incarnation");
    let events = facts().into_iter().map(|fact| Event { at: START, incarnation, fact });
    let rows = events.map(|event| row(1, START, &[event])).collect();
    files.push(("facts.journal.jsonl".into(), rows));
    let born = LaneEvent::Born { mode: "production".into(), store: "0123456789abcdef0123456789abcdef".into() };
    let birth = Title::of_birth(1, START).write(Salt([9; 16]), &[born]).expect("a birth is JSON");
    files.push(("birth.journal.jsonl".into(), vec![String::from_utf8(birth).expect("JSON is UTF-8")]));
    let (steps, platform) = platform();
    files.push(("platform.journal.jsonl".into(), steps));
    files.push(("platform.snapshot.json".into(), vec![serde_json::to_string(&platform).expect("a platform is JSON")]));
    files.push(("requests.jsonl".into(), asked().iter().map(Asked::written).collect()));
    files.push(("payers.jsonl".into(), payers().iter().map(Payer::written).collect()));
    files
}

#[test]
fn the_histories_are_what_their_names_say() {
    let [chosen, captured, suspense, refunded, earlier, failed, switching] =
        histories().try_into().ok().expect("seven histories");
    assert_eq!(chosen.order.state, State::Submitted);
    assert_eq!((captured.order.state, captured.order.captures.len()), (State::Succeeded, 1));
    assert_eq!((suspense.order.captures.len(), suspense.order.net_captured_minor()), (1, 0));
    let states: Vec<RefundState> = refunded.order.refunds.iter().map(|refund| refund.state()).collect();
    assert_eq!(states, [RefundState::Returned, RefundState::Succeeded, RefundState::Failed]);
    assert_eq!(refunded.order.net_captured_minor(), PAYABLE - 1_000);
    assert!(earlier.order.refunds[0].last_in_doubt().is_some());
    assert_eq!((failed.order.state, failed.order.attempts[0].watched), (State::Failed, 1));
    assert!(switching.order.wish.is_some() && switching.order.attempts[0].claimed_at.is_some());
}

#[test]
fn every_kind_of_fact_has_a_row() {
    let facts = facts();
    let kinds: BTreeSet<&str> = facts.iter().map(kind).collect();
    assert_eq!(kinds.len(), 16);
    for row in read(CURRENT, "facts.journal.jsonl").lines() {
        let name = format!(r#""type":"{}""#, kind(&events(1, row)[0].fact));
        assert!(row.contains(&name), "{row}");
    }
}

#[test]
fn the_rows_of_the_first_form_are_read_and_their_journals_lead_to_their_orders() {
    let rows = "rows-1";
    for name in ["chosen", "captured", "suspense_refunded", "refunded", "refund_paid_earlier", "failed", "switching"] {
        let order = History::replay(name, &read(rows, &format!("{name}.journal.jsonl")));
        let snapshot = read(rows, &format!("{name}.snapshot.json"));
        let stored: Order = serde_json::from_str(&snapshot).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(order, stored, "{name}");
    }
    for row in read(rows, "facts.journal.jsonl").lines() {
        assert_eq!(events(1, row).len(), 1, "{row}");
    }
    let birth = read(rows, "birth.journal.jsonl");
    match Title::of_birth(1, START).read(birth.trim_end().as_bytes()).expect("a birth is read").events.remove(0) {
        LaneEvent::Born { mode, .. } => assert_eq!(&*mode, "production"),
        other @ LaneEvent::Cut { .. } => panic!("a lane begins with its birth, not with {other:?}"),
    }
    let mut platform = Platform::unborn(PlatformId(7));
    for (row, version) in read(rows, "platform.journal.jsonl").lines().zip(1..) {
        let title = Title::of::<Platform>(7, version, START.plus_ms(i64::from(version) * SECOND));
        let events: Vec<platform::Event> = title.read(row.as_bytes()).expect("a step is read").events;
        platform = platform.decide(&events).expect("the platform agrees").after;
    }
    let snapshot = read(rows, "platform.snapshot.json");
    assert_eq!(serde_json::from_str::<Platform>(&snapshot).expect("a platform is read"), platform);
    for row in read(rows, "requests.jsonl").lines() {
        assert!(Asked::read(row).is_some(), "{row}");
    }
    for row in read(rows, "payers.jsonl").lines() {
        assert!(Payer::read(row).is_some(), "{row}");
    }
}

#[test]
fn this_version_writes_its_rows_byte_for_byte() {
    let mut expected = BTreeSet::new();
    for (name, lines) in written() {
        let path = folder(CURRENT).join(&name);
        if std::env::var_os("WRITE_ROWS").is_some() && !path.exists() {
            std::fs::write(&path, lines.join("\n") + "\n").expect("the rows are written");
        }
        let stored = read(CURRENT, &name);
        let stored: Vec<&str> = stored.lines().collect();
        assert_eq!(
            stored, lines,
            "{name}: what is stored has changed, so it needs a new form and new rows beside these"
        );
        expected.insert(name);
    }
    let files = std::fs::read_dir(folder(CURRENT)).expect("the rows are there");
    let files = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    let rows: BTreeSet<String> = files.filter(|name| name.ends_with(".json") || name.ends_with(".jsonl")).collect();
    assert_eq!(rows, expected);
}
