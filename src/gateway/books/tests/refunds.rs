//! The lives of refunds, as the books keep them.

use super::*;

const SCRIPTED: [(RefundScript, RefundState, RefundState); 3] = [
    (RefundScript::Plain, RefundState::Refunded, RefundState::Refunded),
    (RefundScript::End, RefundState::Ended, RefundState::Ended),
    (RefundScript::Return, RefundState::Refunded, RefundState::Returned),
];

/// What a restarted gateway would tell, of which refund and after how many tries.
pub fn owed(books: &Books, account: AccountId) -> Vec<(Arc<str>, RefundState, i64, u16)> {
    let mut owed = Vec::new();
    books.pending([account].into_iter(), 50, |pending| {
        if let PendingWhat::RefundCallback { refund_number, news, sent } = pending.what {
            owed.push((refund_number, news.state, news.at, sent));
        }
    });
    owed.sort_unstable();
    owed
}

fn scripted<'a>(script: RefundScript, refund_number: &'a str, amount_minor: i64) -> Refund<'a> {
    Refund { script, ..refund(refund_number, "number1", amount_minor) }
}

/// Books in which `number1` of every account was paid with 100.
fn paid(folder: &Folder) -> Books {
    let books = folder.open();
    for account in [SIMPAY, WECHAT, SHOP, STRIPE] {
        books.create(account, &asked("number1", Script::Plain), 10).unwrap();
        pay(&books, account, "number1", "reference", 20);
    }
    books
}

fn again(books: Books, folder: &Folder) -> Books {
    books.seal();
    drop(books);
    folder.open()
}

fn amounts(books: &Books, account: AccountId, now: i64) -> (i64, i64) {
    let view = books.view(account, "number1", now).unwrap();
    let line = books.account(account).payments.get("number1").unwrap().line(now);
    assert_eq!(line.refunded_minor, view.refunded_minor);
    (view.reserved_minor, view.refunded_minor)
}

fn total(books: &Books, channel: &str, now: i64) -> i64 {
    serde_json::to_value(books.totals(now)).unwrap()[channel]["CNY"]["refunded_minor"].as_i64().unwrap()
}

#[test]
fn a_refund_goes_its_way_by_the_clock_alone_and_over_restarts() {
    for (script, first, last) in SCRIPTED {
        let folder = Folder::new(&format!("life-{script:?}"));
        let mut books = paid(&folder);
        let taken = books.refund(SIMPAY, &scripted(script, "refund1", 40), 1_000).unwrap();
        for (now, state) in [
            (1_000, RefundState::Pending),
            (1_299, RefundState::Pending),
            (1_300, first),
            (4_299, first),
            (4_300, last),
        ] {
            books = again(books, &folder);
            let refund = books.refund_of(SIMPAY, "refund1").unwrap();
            assert_eq!(&refund, taken.booked(), "{script:?}");
            assert_eq!(refund.state_at(now), state, "{script:?} at {now}");
            let reserved = if matches!(state, RefundState::Ended | RefundState::Returned) { 0 } else { 40 };
            let refunded = if state == RefundState::Refunded { 40 } else { 0 };
            assert_eq!(amounts(&books, SIMPAY, now), (reserved, refunded), "{script:?} at {now}");
            assert_eq!(total(&books, "simpay", now), refunded, "{script:?} at {now}");
        }
    }
}

#[test]
fn what_is_reserved_is_taken_by_no_other_refund_until_it_is_free_again() {
    let folder = Folder::new("reserved");
    let books = paid(&folder);
    for (place, script) in [RefundScript::End, RefundScript::Return, RefundScript::Stuck].into_iter().enumerate() {
        let (from, name) = (10_000 * (place as i64 + 1), format!("refund{place}"));
        books.refund(SIMPAY, &scripted(script, &name, 60), from).unwrap();
        let more = scripted(RefundScript::Plain, "another", 41);
        assert_eq!(books.refund(SIMPAY, &more, from + 1), Err(Refusal::RefundExceeds), "{script:?} is under way");
    }
    // What ended and what came back are free; what is stuck is not.
    assert_eq!(amounts(&books, SIMPAY, 90_000), (60, 0));
    let books = again(books, &folder);
    assert_eq!(
        books.refund(SIMPAY, &scripted(RefundScript::Plain, "another", 41), 90_000),
        Err(Refusal::RefundExceeds)
    );
    books.refund(SIMPAY, &scripted(RefundScript::Plain, "another", 40), 90_000).unwrap();
    assert_eq!(books.refund(SIMPAY, &scripted(RefundScript::Plain, "last", 1), 99_999), Err(Refusal::RefundExceeds));
    assert_eq!((amounts(&books, SIMPAY, 99_999), total(&books, "simpay", 99_999)), ((100, 40), 40));
}

#[test]
fn of_many_at_once_no_more_is_taken_than_there_is() {
    let folder = Folder::new("at-once");
    let books = paid(&folder);
    let taken = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let (books, taken) = (&books, &taken);
            scope.spawn(move || {
                if books.refund(SIMPAY, &scripted(RefundScript::Plain, &format!("refund{n}"), 30), 1_000).is_ok() {
                    taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((taken.into_inner(), amounts(&books, SIMPAY, 1_000)), (3, (90, 0)));
}

#[test]
fn a_refund_without_money_waits_from_its_first_call_on_and_over_a_restart() {
    let folder = Folder::new("poor");
    let books = paid(&folder);
    let poor = scripted(RefundScript::Poor, "refund1", 40);
    assert_eq!(books.refund(SIMPAY, &poor, 1_000), Err(Refusal::RefundPoor));
    assert_eq!(amounts(&books, SIMPAY, 1_000), (0, 0), "nothing was taken");
    assert!(books.refund_of(SIMPAY, "refund1").is_none());
    let books = again(books, &folder);
    assert_eq!(books.refund(SIMPAY, &poor, 5_999), Err(Refusal::RefundPoor), "it is not begun anew");
    let other = scripted(RefundScript::Poor, "refund2", 40);
    assert_eq!(books.refund(SIMPAY, &other, 5_999), Err(Refusal::RefundPoor));
    assert_eq!(books.refund(SIMPAY, &poor, 6_000).unwrap().booked().fate.refunded_at(), Some(6_300));
    assert_eq!(books.refund(SIMPAY, &other, 6_001), Err(Refusal::RefundPoor), "each number has its own first call");
    assert!(matches!(books.refund(SIMPAY, &poor, 6_001), Ok(Refunding::Again(_))));
    // The channel takes it all the same, and lets it wait.
    let taken = books.refund(STRIPE, &poor, 1_000).unwrap();
    assert_eq!(taken.booked().state_at(5_999), RefundState::Pending);
    assert_eq!(taken.booked().state_at(6_000), RefundState::Refunded);
}

#[test]
fn a_refund_that_is_refused_leaves_nothing_behind() {
    let folder = Folder::new("refused");
    let books = paid(&folder);
    for _ in 0..2 {
        let refused = books.refund(WECHAT, &scripted(RefundScript::Refuse, "refund1", 40), 1_000);
        assert_eq!(refused, Err(Refusal::RefundRefused));
    }
    assert_eq!((books.refund_of(WECHAT, "refund1"), amounts(&books, WECHAT, 1_000)), (None, (0, 0)));
    assert!(books.refund(WECHAT, &scripted(RefundScript::Plain, "refund1", 40), 1_000).is_ok());
}

#[test]
fn a_channels_limits_count_what_was_taken_and_not_what_is_repeated() {
    let folder = Folder::new("limits");
    let books = paid(&folder);
    let limits = RefundLimits { refunds_max: 3, gap_ms: 3_000 };
    let limited = |name, script| Refund { limits, ..scripted(script, name, 10) };
    books.refund(WECHAT, &limited("refund1", RefundScript::End), 1_000).unwrap();
    assert_eq!(books.refund(WECHAT, &limited("refund2", RefundScript::Plain), 3_999), Err(Refusal::RefundTooSoon));
    assert!(matches!(books.refund(WECHAT, &limited("refund1", RefundScript::End), 3_999), Ok(Refunding::Again(_))));
    assert!(books.refund(SHOP, &limited("refund1", RefundScript::Plain), 3_999).is_ok(), "another payment");
    assert_eq!(books.refund(WECHAT, &limited("refund2", RefundScript::Refuse), 4_000), Err(Refusal::RefundRefused));
    books.refund(WECHAT, &limited("refund2", RefundScript::Plain), 4_000).unwrap();
    let books = again(books, &folder);
    assert_eq!(books.refund(WECHAT, &limited("refund3", RefundScript::Plain), 6_999), Err(Refusal::RefundTooSoon));
    books.refund(WECHAT, &limited("refund3", RefundScript::Plain), 7_000).unwrap();
    assert_eq!(books.refund(WECHAT, &limited("refund4", RefundScript::Plain), 99_000), Err(Refusal::TooManyRefunds));
    assert!(matches!(books.refund(WECHAT, &limited("refund3", RefundScript::Plain), 99_000), Ok(Refunding::Again(_))));
}

#[test]
fn accounts_of_one_channel_and_of_two_do_not_mix() {
    let folder = Folder::new("apart");
    let mut books = paid(&folder);
    books.refund(SIMPAY, &scripted(RefundScript::Plain, "refund1", 10), 1_000).unwrap();
    books.refund(WECHAT, &scripted(RefundScript::End, "refund1", 20), 1_000).unwrap();
    books.refund(SHOP, &scripted(RefundScript::Plain, "refund1", 30), 1_000).unwrap();
    assert_eq!(books.refund(STRIPE, &scripted(RefundScript::Refuse, "refund1", 1), 1_000), Err(Refusal::RefundRefused));
    for _ in 0..2 {
        for (account, amount_minor, state) in
            [(SIMPAY, 10, RefundState::Refunded), (WECHAT, 20, RefundState::Ended), (SHOP, 30, RefundState::Refunded)]
        {
            let refund = books.refund_of(account, "refund1").unwrap();
            assert_eq!((refund.amount_minor, refund.state_at(2_000)), (amount_minor, state), "{account:?}");
        }
        assert!(books.refund_of(STRIPE, "refund1").is_none());
        let all = [SIMPAY, WECHAT, SHOP, STRIPE].map(|account| amounts(&books, account, 2_000));
        assert_eq!(all, [(10, 10), (0, 0), (30, 30), (0, 0)]);
        let totals = ["simpay", "wechat", "stripe"].map(|channel| total(&books, channel, 2_000));
        assert_eq!(totals, [10, 30, 0]);
        books = again(books, &folder);
    }
}

#[test]
fn every_piece_of_news_is_owed_until_its_merchant_heard() {
    let folder = Folder::new("refund-told");
    let books = paid(&folder);
    books.refund(SIMPAY, &scripted(RefundScript::Return, "refund1", 1), 1_000).unwrap();
    books.refund(SIMPAY, &Refund { notify_url: None, ..scripted(RefundScript::Plain, "refund2", 2) }, 1_000).unwrap();
    books.refund(SIMPAY, &scripted(RefundScript::Late, "refund3", 3), 1_000).unwrap();
    books.refund_told(SIMPAY, "refund1", RefundState::Refunded, false).unwrap();
    let books = again(books, &folder);
    let number = || Arc::<str>::from("refund1");
    let all = [
        (number(), RefundState::Pending, 1_000, 0),
        (number(), RefundState::Refunded, 1_300, 1),
        (number(), RefundState::Returned, 4_300, 0),
    ];
    assert_eq!(owed(&books, SIMPAY), all, "nobody wants, or is, to hear of the others");
    books.refund_told(SIMPAY, "refund1", RefundState::Refunded, true).unwrap();
    assert_eq!(books.refund_told(SIMPAY, "refund9", RefundState::Refunded, true), Err(Refusal::NotExist));
    assert!(owed(&books, WECHAT).is_empty());
    for _ in 0..2 {
        assert_eq!(owed(&books, SIMPAY), [all[0].clone(), all[2].clone()]);
    }
    let notice = books.refund_notice(SIMPAY, &number(), RefundState::Returned, 9_999).unwrap();
    assert_eq!((notice.news.at, notice.refund.amount_minor, &*notice.number), (4_300, 1, "number1"));
    assert!(books.refund_notice(SIMPAY, &number(), RefundState::Ended, 9_999).is_none(), "that never happens to it");
    let books = again(books, &folder);
    assert_eq!(owed(&books, SIMPAY), [all[0].clone(), all[2].clone()]);
}
