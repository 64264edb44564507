//! The platform's machine: which facts belong to which situation, and what is written for them.

use tongbao::domain::id::PlatformId;
use tongbao::domain::machine::Machine;
use tongbao::domain::money::Currency;
use tongbao::domain::order::FeeBearer;
use tongbao::domain::platform::{ACCEPTS_MAX, Event, Fact, KEYS_MAX, Key, KeyHash, Platform, Refusal, Terms, Write};
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::domain::time::Instant;

const AT: Instant = Instant(1_800_000_000_000);

fn cny() -> Currency {
    Currency::parse("CNY").expect("a currency")
}

fn terms() -> Terms {
    Terms { fee_bearer: FeeBearer::Payer, name: "shop".into(), webhook_url: Some("https://shop.example/hooks".into()) }
}

fn key(number: usize) -> Key {
    let number = u8::try_from(number).expect("few keys");
    Key { hash: KeyHash([number; 32]), hint: format!("sk_{number}").into() }
}

fn take(platform: &Platform, facts: Vec<Fact>) -> Result<(Platform, Vec<Write>), Refusal> {
    let events: Vec<Event> = facts.into_iter().map(|fact| Event { at: AT, fact }).collect();
    platform.decide(&events).map(|step| (step.after, step.writes))
}

fn made(keys: usize) -> Platform {
    let facts = std::iter::once(Fact::Created(terms())).chain((0..keys).map(|number| Fact::KeyAdded(key(number))));
    take(&Platform::unborn(PlatformId(7)), facts.collect()).expect("it is made").0
}

#[test]
fn each_fact_has_its_situations() {
    let revoke = |number: usize| Fact::KeyRevoked { hash: key(number).hash };
    let accept = |from| Fact::SharesAccepted { from: PlatformId(from) };
    let refuse = |from| Fact::SharesRefused { from: PlatformId(from) };
    let bound = |most_minor| Fact::DebtBounded { currency: cny(), most_minor };
    let accepting = |count: usize| {
        let froms = (8..).take(count).map(accept);
        take(&made(0), froms.collect()).expect("shares are accepted").0
    };
    let full = accepting(ACCEPTS_MAX);
    let table: [(&str, Platform, Fact, Result<Write, Refusal>); 16] = [
        ("it is made", Platform::unborn(PlatformId(7)), Fact::Created(terms()), Ok(Write::Terms)),
        ("it is made once", made(1), Fact::Created(terms()), Err(Refusal::OutOfPlace)),
        (
            "what is not there has no keys",
            Platform::unborn(PlatformId(7)),
            Fact::KeyAdded(key(1)),
            Err(Refusal::OutOfPlace),
        ),
        ("and loses none", Platform::unborn(PlatformId(7)), revoke(1), Err(Refusal::OutOfPlace)),
        ("a key more", made(1), Fact::KeyAdded(key(1)), Ok(Write::AddKey(key(1)))),
        ("the very key", made(1), Fact::KeyAdded(key(0)), Err(Refusal::KeyTaken)),
        ("a key too many", made(KEYS_MAX), Fact::KeyAdded(key(KEYS_MAX)), Err(Refusal::TooManyKeys)),
        ("a key less", made(2), revoke(1), Ok(Write::RevokeKey(key(1).hash))),
        ("a key that is not in force", made(2), revoke(2), Err(Refusal::KeyUnknown)),
        ("what is not there gets no shares", Platform::unborn(PlatformId(7)), accept(8), Err(Refusal::OutOfPlace)),
        ("shares of another", made(0), accept(8), Ok(Write::AcceptShares(PlatformId(8)))),
        ("shares of its own", made(0), accept(7), Err(Refusal::SharesUnacceptable)),
        ("shares of one too many", full, accept(7_000), Err(Refusal::SharesUnacceptable)),
        ("what is not there owes nothing", Platform::unborn(PlatformId(7)), bound(Some(1)), Err(Refusal::OutOfPlace)),
        ("a bound of its debt", made(0), bound(Some(1)), Ok(Write::BoundDebt(cny(), Some(1)))),
        ("and of another no more", accepting(2), refuse(8), Ok(Write::RefuseShares(PlatformId(8)))),
    ];
    for (what, before, fact, expected) in table {
        let taken = take(&before, vec![fact]);
        match (taken, expected) {
            (Ok((after, writes)), Ok(write)) => {
                assert_eq!(writes, [write], "{what}");
                assert_eq!(after.version, before.version + 1, "{what}");
            }
            (taken, expected) => assert_eq!(taken.map(drop), expected.map(drop), "{what}"),
        }
    }
}

/// Said twice, it is written once.
#[test]
fn what_a_platform_was_told_before_changes_nothing() {
    let accept = Fact::SharesAccepted { from: PlatformId(8) };
    let refuse = Fact::SharesRefused { from: PlatformId(8) };
    let bound = |most_minor| Fact::DebtBounded { currency: cny(), most_minor };
    let (accepting, _) = take(&made(0), vec![accept.clone()]).unwrap();
    let (bounded, _) = take(&made(0), vec![bound(Some(5))]).unwrap();
    for (before, fact) in [(accepting, accept), (made(0), refuse), (bounded, bound(Some(5))), (made(0), bound(None))] {
        let (after, writes) = take(&before, vec![fact]).unwrap();
        assert_eq!((after, writes), (before, vec![]));
    }
}

#[test]
fn a_step_is_taken_whole_or_not_at_all() {
    let before = made(1);
    let refused = take(&before, vec![Fact::KeyAdded(key(1)), Fact::KeyAdded(key(1))]);
    assert_eq!(refused, Err(Refusal::KeyTaken));
    let (after, writes) = take(&before, vec![Fact::KeyAdded(key(1)), Fact::KeyRevoked { hash: key(0).hash }]).unwrap();
    assert_eq!((after.version, writes.len()), (2, 2));
    assert_eq!(after.keys, [key(1)]);
}

/// A clock that was set back makes no step older than the one before it.
#[test]
fn time_does_not_run_backwards() {
    let events = [Event { at: AT.plus_ms(-60_000), fact: Fact::KeyAdded(key(1)) }];
    assert_eq!(made(1).decide(&events).unwrap().after.last_at, AT);
}

/// It is stored so, and never otherwise: what follows from it is the stream's partition.
#[test]
fn a_platform_is_a_stream_of_the_second_kind() {
    let platform = made(2);
    assert_eq!(platform.stream(), StreamId { kind: Kind(2), id: 7 });
    assert_eq!(platform.stream().partition().index(), 898);
    let stored = serde_json::to_string(&platform).unwrap();
    assert_eq!(serde_json::from_str::<Platform>(&stored).unwrap(), platform);
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(stored.starts_with(&format!("{{\"id\":7,\"keys\":[{{\"hash\":\"{hash}\",\"hint\":\"sk_0\"}}")), "{stored}");
    for damage in [stored.replacen('A', "", 1), stored.replace("\"version\":1", "\"versions\":1")] {
        assert!(serde_json::from_str::<Platform>(&damage).is_err(), "{damage}");
    }
}
