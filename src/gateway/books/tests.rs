mod refunds;

use std::path::PathBuf;

use super::*;

const NAMES: [(Channel, &str); 4] = [
    (Channel::Simpay, "default"),
    (Channel::Wechat, "default"),
    (Channel::Wechat, "shop"),
    (Channel::Stripe, "default"),
];
const SIMPAY: AccountId = AccountId { channel: Channel::Simpay, place: 0 };
const WECHAT: AccountId = AccountId { channel: Channel::Wechat, place: 1 };
const SHOP: AccountId = AccountId { channel: Channel::Wechat, place: 2 };
const STRIPE: AccountId = AccountId { channel: Channel::Stripe, place: 3 };

/// A folder of one test, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tongbao-books-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Folder(folder)
    }

    fn open(&self) -> Books {
        Books::open(&self.0, NAMES.into_iter()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn asked(number: &str, script: Script) -> Asked<'_> {
    Asked {
        number,
        fingerprint: [1; 32],
        amount_minor: 100,
        currency: Currency::parse("CNY").unwrap(),
        script,
        notify_url: Some("http://127.0.0.1:1/n"),
        expires_at: 1_000,
        reference: None,
        data: Some(r#"{"openid":"o1"}"#),
    }
}

fn refund<'a>(refund_number: &'a str, number: &'a str, amount_minor: i64) -> Refund<'a> {
    let currency = Currency::parse("CNY").unwrap();
    Refund {
        refund_number,
        number,
        amount_minor,
        currency,
        script: RefundScript::Plain,
        limits: RefundLimits::NONE,
        reference: Some("R1"),
        notify_url: Some("http://127.0.0.1:1/r"),
        data: None,
    }
}

fn pay(books: &Books, account: AccountId, number: &str, reference: &str, now: i64) {
    let id = PaymentId { account, number: number.into() };
    let acted = books.payer_acts(&id, || reference.to_owned(), now).unwrap();
    assert!(matches!(acted, Acted::Paid(_)));
}

#[test]
fn accounts_have_books_of_their_own_and_go_on_after_a_restart() {
    let folder = Folder::new("restart");
    let before = {
        let books = folder.open();
        for account in [SIMPAY, WECHAT, SHOP] {
            assert!(matches!(books.create(account, &asked("number1", Script::Plain), 10), Ok(Taken::New(_))));
        }
        pay(&books, WECHAT, "number1", "4200001", 20);
        books.note(SHOP, "number1", r#"{"openid":"o2"}"#).unwrap();
        let first = books.refund(WECHAT, &refund("refund1", "number1", 30), 40).unwrap();
        assert!(matches!(&first, Refunding::New(booked) if booked.at == 40));
        books.seal();
        (books.view(WECHAT, "number1", 50), books.view(SHOP, "number1", 50), books.totals(1_000), first)
    };
    let books = folder.open();
    let Refunding::New(booked) = before.3 else { panic!("the first of its number") };
    assert_eq!(books.view(WECHAT, "number1", 50), before.0);
    assert_eq!(books.view(SHOP, "number1", 50), before.1);
    assert_eq!(before.1.unwrap().data.as_deref(), Some(r#"{"openid":"o2"}"#));
    assert_eq!(books.totals(1_000), before.2);
    let totals = serde_json::to_value(books.totals(1_000)).unwrap();
    assert_eq!(
        totals["wechat"]["CNY"],
        serde_json::json!({"captured_minor": 100, "refunded_minor": 30, "captures": 1})
    );
    assert_eq!(totals["simpay"]["CNY"]["captures"], 0);
    assert_eq!(books.refund(WECHAT, &refund("refund1", "number1", 30), 60), Ok(Refunding::Again(booked)));
    assert_eq!(books.refund(WECHAT, &refund("refund1", "number1", 31), 60), Err(Refusal::NumberUsed));
    assert_eq!(books.refund(WECHAT, &refund("refund2", "number1", 71), 60), Err(Refusal::RefundExceeds));
    assert_eq!(
        books.refund(SHOP, &refund("refund1", "number1", 1), 60),
        Err(Refusal::RefundExceeds),
        "it was not paid"
    );
}

#[test]
fn a_payment_is_found_by_the_channels_own_reference() {
    let folder = Folder::new("reference");
    {
        let books = folder.open();
        books.create(WECHAT, &asked("number1", Script::Plain), 10).unwrap();
        assert_eq!(books.referred(WECHAT, "4200001"), None);
        pay(&books, WECHAT, "number1", "4200001", 20);
        let early = Asked { reference: Some("pi_2"), ..asked("number2", Script::Plain) };
        books.create(WECHAT, &early, 10).unwrap();
        assert_eq!(books.referred(WECHAT, "pi_2").as_deref(), Some("number2"), "before it is paid");
        pay(&books, WECHAT, "number2", "never used", 20);
        books.seal();
    }
    let books = folder.open();
    assert_eq!(books.referred(WECHAT, "4200001").as_deref(), Some("number1"));
    assert_eq!(&*books.view(WECHAT, "number2", 30).unwrap().capture.unwrap().reference, "pi_2");
    assert_eq!((books.referred(WECHAT, "never used"), books.referred(SHOP, "4200001")), (None, None));
}

#[test]
fn a_close_means_what_the_channel_means_by_it() {
    let folder = Folder::new("close");
    let books = folder.open();
    assert_eq!(books.close(WECHAT, "number1", CloseRule::MustExist, 10), Err(Refusal::NotExist));
    assert!(matches!(books.create(WECHAT, &asked("number1", Script::Decline), 10), Ok(Taken::New(_))));
    assert_eq!(books.close(SIMPAY, "number1", CloseRule::Remembered, 10), Ok(Closing::Done));
    assert!(matches!(books.create(SIMPAY, &asked("number1", Script::Plain), 11), Err(Refusal::PaymentClosed)));

    let id = PaymentId { account: WECHAT, number: "number1".into() };
    assert_eq!(books.payer_acts(&id, || panic!("nothing is paid"), 20), Ok(Acted::Nothing));
    assert_eq!(books.close(WECHAT, "number1", CloseRule::Remembered, 30), Ok(Closing::Done));
    assert_eq!(books.view(WECHAT, "number1", 30).unwrap().state, State::Declined);
    assert_eq!(books.close(WECHAT, "number1", CloseRule::MustExist, 30), Ok(Closing::Done));
    let view = books.view(WECHAT, "number1", 30).unwrap();
    assert_eq!((view.state, view.closed_at), (State::Closed, Some(30)));
}

/// Its end may come while the gateway is away.
#[test]
fn a_payment_that_waits_for_its_end_is_taken_up_before_and_after_it() {
    let folder = Folder::new("end");
    {
        let books = folder.open();
        for (number, script) in [("late", Script::Late), ("plain", Script::Plain), ("closed", Script::Late)] {
            assert!(matches!(books.create(SIMPAY, &asked(number, script), 10), Ok(Taken::New(_))));
        }
        let closing = books.close(SIMPAY, "closed", CloseRule::Remembered, 20);
        assert!(matches!(closing, Ok(Closing::MoneyComes { .. })));
        books.seal();
    }
    let books = folder.open();
    for (now, expected) in [(30, ["closed", "end", "payer"].as_slice()), (2_000, &["closed", "end"])] {
        let mut seen = Vec::new();
        books.pending([SIMPAY].into_iter(), now, |pending| {
            seen.push(match pending.what {
                PendingWhat::Payer { .. } => "payer",
                PendingWhat::End { expires_at: 1_000, .. } => "end",
                PendingWhat::PayerOnceClosed { closed_at: 20, .. } => "closed",
                PendingWhat::End { .. }
                | PendingWhat::PayerOnceClosed { .. }
                | PendingWhat::Callbacks { .. }
                | PendingWhat::RefundCallback { .. } => "else",
            });
        });
        seen.sort_unstable();
        assert_eq!(seen, expected, "at {now}");
    }
}

#[test]
fn a_days_bill_has_its_lines_in_order() {
    let folder = Folder::new("bill");
    let books = folder.open();
    for (number, reference, at) in [("number3", "c", 300), ("number1", "a", 100), ("number2", "b", 199)] {
        books.create(WECHAT, &asked(number, Script::Plain), 10).unwrap();
        pay(&books, WECHAT, number, reference, at);
    }
    books.refund(WECHAT, &refund("refund2", "number1", 2), 150).unwrap();
    books.refund(WECHAT, &refund("refund1", "number1", 1), 150).unwrap();
    let numbers: Vec<_> = books.captured_between(WECHAT, 100, 200).into_iter().map(|line| line.number).collect();
    assert_eq!(numbers, ["number1".into(), "number2".into()] as [Arc<str>; 2]);
    let refunds = books.refunds_between(WECHAT, Moment::Taken, 100, 200);
    let lines: Vec<_> = refunds.iter().map(|line| (&*line.refund_number, line.payment_reference.as_deref())).collect();
    assert_eq!(lines, [("refund1", Some("a")), ("refund2", Some("a"))]);
    assert_eq!(books.refunds_of(WECHAT, "number1").len(), 2);
    assert!(refunds.iter().all(|line| (line.at, line.captured_minor) == (150, 100)));
    let moved = |moment, from, until| books.refunds_between(WECHAT, moment, from, until).len();
    assert_eq!((moved(Moment::Taken, 0, 150), moved(Moment::Refunded, 0, 450)), (0, 0));
    assert_eq!((moved(Moment::Refunded, 450, 451), moved(Moment::Returned, 0, i64::MAX)), (2, 0));
    assert!(books.captured_between(SHOP, 0, 1_000).is_empty());
}

#[test]
fn books_from_before_there_were_several_channels_are_read() {
    let folder = Folder::new("old");
    std::fs::create_dir_all(&folder.0).unwrap();
    let line = r#"{"created":{"account":"default","number":"number1","fingerprint":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","asked_minor":100,"currency":"CNY","script":"plain","notify_url":"http://127.0.0.1:1/n","expires_at":1000,"at":10}}"#;
    std::fs::write(folder.0.join("books.jsonl"), format!("{line}\n")).unwrap();
    assert_eq!(folder.open().view(SIMPAY, "number1", 20).unwrap().state, State::Waiting);
}

/// And from when refunds were done as soon as they were asked for, and had one callback.
#[test]
fn refunds_from_before_they_took_time_are_done() {
    let folder = Folder::new("old-refund");
    std::fs::create_dir_all(&folder.0).unwrap();
    let lines = [
        r#"{"created":{"account":"wechat/default","number":"number1","fingerprint":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","asked_minor":100,"currency":"CNY","script":"plain","notify_url":"http://127.0.0.1:1/n","expires_at":1000,"at":10}}"#,
        r#"{"captured":{"account":"wechat/default","number":"number1","reference":"a","captured_minor":100,"at":20}}"#,
        r#"{"refunded":{"account":"wechat/default","refund_number":"refund1","number":"number1","amount_minor":40,"currency":"CNY","at":30,"notify_url":"http://127.0.0.1:1/r"}}"#,
        r#"{"refund_told":{"account":"wechat/default","refund_number":"refund1","acknowledged":true}}"#,
    ];
    std::fs::write(folder.0.join("books.jsonl"), format!("{}\n", lines.join("\n"))).unwrap();
    let books = folder.open();
    let refund = books.refund_of(WECHAT, "refund1").unwrap();
    assert_eq!((refund.state_at(30), refund.history().count()), (RefundState::Refunded, 1));
    assert!(refunds::owed(&books, WECHAT).is_empty());
    assert_eq!(books.view(WECHAT, "number1", 30).unwrap().refunded_minor, 40);
}

#[test]
fn a_fact_of_an_account_that_is_not_served_stops_the_start_by_its_name() {
    let folder = Folder::new("unserved");
    folder.open().create(SHOP, &asked("number1", Script::Plain), 10).unwrap();
    let error = Books::open(&folder.0, NAMES.into_iter().take(2)).err().unwrap();
    assert!(error.to_string().contains("wechat/shop"), "{error}");
}
