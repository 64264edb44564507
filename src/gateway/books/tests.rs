use std::path::PathBuf;

use super::*;

const NAMES: [(Channel, &str); 3] =
    [(Channel::Simpay, "default"), (Channel::Wechat, "default"), (Channel::Wechat, "shop")];
const SIMPAY: AccountId = AccountId { channel: Channel::Simpay, place: 0 };
const WECHAT: AccountId = AccountId { channel: Channel::Wechat, place: 1 };
const SHOP: AccountId = AccountId { channel: Channel::Wechat, place: 2 };

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
        assert!(matches!(&first, Refunding::New(refunded) if refunded.at == 40));
        books.seal();
        (books.view(WECHAT, "number1", 50), books.view(SHOP, "number1", 50), books.totals(), first)
    };
    let books = folder.open();
    let Refunding::New(refunded) = before.3 else { panic!("the first of its number") };
    assert_eq!(books.view(WECHAT, "number1", 50), before.0);
    assert_eq!(books.view(SHOP, "number1", 50), before.1);
    assert_eq!(before.1.unwrap().data.as_deref(), Some(r#"{"openid":"o2"}"#));
    assert_eq!(books.totals(), before.2);
    let totals = serde_json::to_value(books.totals()).unwrap();
    assert_eq!(
        totals["wechat"]["CNY"],
        serde_json::json!({"captured_minor": 100, "refunded_minor": 30, "captures": 1})
    );
    assert_eq!(totals["simpay"]["CNY"]["captures"], 0);
    assert_eq!(books.refund(WECHAT, &refund("refund1", "number1", 30), 60), Ok(Refunding::Again(refunded)));
    assert_eq!(books.refund(WECHAT, &refund("refund1", "number1", 31), 60), Err(Refusal::NumberUsed));
    assert_eq!(books.refund(WECHAT, &refund("refund2", "number1", 71), 60), Err(Refusal::RefundExceeds));
    assert_eq!(
        books.refund(SHOP, &refund("refund1", "number1", 1), 60),
        Err(Refusal::RefundExceeds),
        "it was not paid"
    );
}

#[test]
fn a_refund_is_told_of_after_a_restart_until_its_merchant_heard() {
    let folder = Folder::new("refund-told");
    let owed = |books: &Books| {
        let mut owed = Vec::new();
        books.pending([WECHAT].into_iter(), 50, |pending| {
            if let PendingWhat::RefundCallback { refund_number, sent } = pending.what {
                owed.push((pending.payment.number, refund_number, sent));
            }
        });
        owed
    };
    let books = folder.open();
    books.create(WECHAT, &asked("number1", Script::Plain), 10).unwrap();
    pay(&books, WECHAT, "number1", "4200001", 20);
    books.refund(WECHAT, &refund("refund1", "number1", 1), 30).unwrap();
    books.refund(WECHAT, &Refund { notify_url: None, ..refund("refund2", "number1", 2) }, 30).unwrap();
    books.refund_told(WECHAT, "refund1", false).unwrap();
    books.seal();
    drop(books);
    let books = folder.open();
    assert_eq!(owed(&books), [("number1".into(), "refund1".into(), 1)], "nobody wants to hear of the other one");
    books.refund_told(WECHAT, "refund1", true).unwrap();
    assert_eq!(books.refund_told(WECHAT, "refund3", true), Err(Refusal::NotExist));
    assert!(owed(&books).is_empty());
    books.seal();
    drop(books);
    assert!(owed(&folder.open()).is_empty());
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
    let refunds = books.refunded_between(WECHAT, 100, 200);
    let lines: Vec<_> = refunds.iter().map(|line| (&*line.refund_number, line.payment_reference.as_deref())).collect();
    assert_eq!(lines, [("refund1", Some("a")), ("refund2", Some("a"))]);
    assert_eq!(books.refunds_of(WECHAT, "number1").len(), 2);
    assert!(books.captured_between(SHOP, 0, 1_000).is_empty() && books.refunded_between(WECHAT, 0, 150).is_empty());
}

#[test]
fn books_from_before_there_were_several_channels_are_read() {
    let folder = Folder::new("old");
    std::fs::create_dir_all(&folder.0).unwrap();
    let line = r#"{"created":{"account":"default","number":"number1","fingerprint":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","asked_minor":100,"currency":"CNY","script":"plain","notify_url":"http://127.0.0.1:1/n","expires_at":1000,"at":10}}"#;
    std::fs::write(folder.0.join("books.jsonl"), format!("{line}\n")).unwrap();
    assert_eq!(folder.open().view(SIMPAY, "number1", 20).unwrap().state, State::Waiting);
}

#[test]
fn a_fact_of_an_account_that_is_not_served_stops_the_start_by_its_name() {
    let folder = Folder::new("unserved");
    folder.open().create(SHOP, &asked("number1", Script::Plain), 10).unwrap();
    let error = Books::open(&folder.0, NAMES.into_iter().take(2)).err().unwrap();
    assert!(error.to_string().contains("wechat/shop"), "{error}");
}
