//! Money on its way back: under more than one number, because a channel may end a refund for good without paying it,
//! and to whom a refund that was asked for belongs.

use tongbao::domain::event::{
    Effect, Event, Fact, RefundOutcome, RefundResolution, Refusal, Rejection, Step, WebhookKind,
};
use tongbao::domain::id::{Incarnation, Round};
use tongbao::domain::ledger::EntryKind;
use tongbao::domain::note::Note;
use tongbao::domain::order::Order;
use tongbao::domain::refund::{Refund, RefundState, Stage};
use tongbao::domain::{retry, step};

use crate::world::*;

/// The order's only refund.
const REFUND: u16 = 0;
const SECOND_ROUND: Round = Round(1);

/// An order that was paid twice; the second capture is to go back.
fn owing() -> Walk {
    let mut walk = Walk::succeeded();
    walk.tell(found(0, paid("another", PAYABLE)));
    walk
}

fn only(walk: &Walk) -> &Refund {
    &walk.order.refunds[usize::from(REFUND)]
}

fn stands(walk: &Walk) -> (Round, Stage) {
    (only(walk).round, only(walk).stage)
}

fn number_of(walk: &Walk) -> String {
    walk.order.refund_number(only(walk), only(walk).round).expect("it goes back").to_string()
}

fn is_stuck(step: &Step) -> bool {
    step.notes.contains(&Note::RefundStuck { refund: REFUND })
}

fn rounds(walk: &Walk) -> u8 {
    u8::try_from(retry::refund_rounds(walk.order.pace).len()).expect("few rounds")
}

#[test]
fn a_refund_that_is_dead_for_certain_is_sent_under_another_number_after_its_gap() {
    let mut walk = owing();
    let first = number_of(&walk);
    assert_eq!(proposed(&walk.tell(refund(REFUND, refund_ended()))), [], "not at once");
    let (since, (round, _)) = (walk.at, stands(&walk));
    assert_ne!(number_of(&walk), first);
    assert_eq!(proposed(&walk.wake()), [Effect::Refund { refund: REFUND }]);
    assert_eq!(walk.at.since_ms(since), retry::refund_rounds(walk.order.pace)[0]);
    let step = walk.tell(refund_of(round, REFUND, refund_done()));
    assert_eq!(
        (entries(&step), webhooks(&step)),
        (vec![EntryKind::RefundPaid], vec![WebhookKind::OrderSuspenseRefunded])
    );
    assert!(walk.order.is_quiet());
}

/// Under another number, whatever may still be paid under the first would be paid twice.
#[test]
fn rule_02_nothing_but_a_certain_word_gives_a_refund_another_number() {
    let uncertain = [refund_poor(), refund_stuck(), refund_not_sent(), RefundOutcome::NotExist, refund_unclear()];
    for outcome in &uncertain {
        for next in &uncertain {
            let mut walk = owing();
            walk.tell(refund(REFUND, outcome.clone()));
            walk.wake();
            walk.tell(refund(REFUND, next.clone()));
            walk.wait(1_000 * HOUR).wake();
            assert_eq!(stands(&walk).0, Round::FIRST, "{outcome:?}, then {next:?}");
        }
    }
}

#[test]
fn an_answer_about_a_number_that_was_given_up_says_nothing_of_the_next_one() {
    let mut walk = owing();
    walk.tell(refund(REFUND, refund_ended()));
    walk.wake();
    walk.tell(refund_of(SECOND_ROUND, REFUND, refund_unclear()));
    let before = walk.order.clone();
    for late in [refund_ended(), RefundOutcome::NotExist, refund_unclear(), refund_poor()] {
        assert_eq!(proposed(&walk.tell(refund(REFUND, late))), []);
        assert_eq!(walk.order, before, "a second copy of the first number's end is no end of the second number");
    }
    assert_eq!(walk.refusal(refund_of(SECOND_ROUND.next(), REFUND, refund_ended())), Refusal::OutOfPlace);
}

/// An order whose refund was paid under its first number, which its channel had ended, while the second may be under way.
fn paid_by_the_first_number() -> Walk {
    let mut walk = owing();
    walk.tell(refund(REFUND, refund_ended()));
    walk.wake();
    walk.tell(refund_of(SECOND_ROUND, REFUND, refund_unclear()));
    let step = walk.tell(refund(REFUND, refund_done()));
    assert_eq!(entries(&step), [EntryKind::RefundPaid], "that money went back is true of any number");
    assert_eq!(webhooks(&step), [WebhookKind::OrderSuspenseRefunded]);
    assert!(step.notes.contains(&Note::RefundContradicted { refund: REFUND }), "its channel had ended it");
    walk
}

#[test]
fn a_number_that_was_ended_and_paid_all_the_same_is_kept_beside_the_last_one() {
    let walk = paid_by_the_first_number();
    assert_eq!((only(&walk).paying_round(), only(&walk).round), (Round::FIRST, SECOND_ROUND));
    let numbers = [Round::FIRST, SECOND_ROUND].map(|round| {
        let number = walk.order.refund_number(only(&walk), round).expect("it has a number").to_string();
        walk.order.refund_numbered(&number)
    });
    assert_eq!(numbers, [Some((REFUND, Round::FIRST)), Some((REFUND, SECOND_ROUND))], "both are known");
    assert_eq!(only(&walk).numbers_used(), 2);
    let stored = serde_json::to_string(&walk.order).unwrap();
    assert_eq!(serde_json::from_str::<Order>(&stored).unwrap(), walk.order);
}

/// If it was paid too, that money is lost to us, and a person must see to it.
#[test]
fn a_last_number_that_may_be_paid_beside_an_earlier_one_is_asked_about_and_never_sent_again() {
    let uncertain = [refund_unclear(), RefundOutcome::NotExist, refund_stuck(), refund_poor(), refund_not_sent()];
    let mut walk = paid_by_the_first_number();
    for outcome in &uncertain {
        assert!(!walk.order.is_quiet() && !walk.order.may_leave(walk.at), "{outcome:?}");
        assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: REFUND }], "{outcome:?}");
        assert_eq!(only(&walk).asked_round(), SECOND_ROUND, "{outcome:?}");
        let step = walk.tell(refund_of(SECOND_ROUND, REFUND, outcome.clone()));
        assert_eq!((proposed(&step), step.notes), (vec![], vec![]), "{outcome:?}");
    }
    let mut paid_twice = walk.clone();
    let step = paid_twice.tell(refund_of(SECOND_ROUND, REFUND, refund_done()));
    assert_eq!((step.writes, step.notes), (vec![], vec![Note::RefundContradicted { refund: REFUND }]));
    assert!(paid_twice.order.is_quiet(), "what became of it is certain");
    let mut ended = walk.clone();
    let step = ended.tell(refund_of(SECOND_ROUND, REFUND, refund_ended()));
    assert_eq!((step.writes, step.notes), (vec![], vec![]));
    assert!(ended.order.is_quiet() && ended.order.next_due_at(ended.at).is_none());
    // It had the time to arrive, and is not there.
    walk.wait(HOUR);
    walk.tell(refund_by_asking_at(walk.at, SECOND_ROUND, REFUND, RefundOutcome::NotExist));
    assert!(walk.order.is_quiet());
    for walk in [&mut paid_twice, &mut ended, &mut walk] {
        assert_eq!(stands(walk).1.state(), RefundState::Succeeded);
        let step = walk.tell(refund_of(SECOND_ROUND, REFUND, refund_done()));
        assert_eq!(step.notes, [Note::RefundContradicted { refund: REFUND }], "whenever it is told");
        assert_eq!(walk.tell(refund(REFUND, refund_done())).notes, [], "by its own number it was paid");
        let step = walk.tell(refund(REFUND, refund_returned()));
        assert_eq!(entries(&step), [EntryKind::RefundReturned]);
        let step = walk.tell(refund_of(SECOND_ROUND, REFUND, refund_done()));
        assert_eq!(step.notes, [Note::RefundContradicted { refund: REFUND }], "the other one did not come back");
    }
}

/// Whatever becomes of the payment meanwhile.
#[test]
fn a_last_number_in_doubt_is_asked_about_also_when_the_payment_came_back_and_a_person_found_a_way() {
    let mut walk = paid_by_the_first_number();
    walk.tell(refund(REFUND, refund_returned()));
    assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: REFUND }]);
    walk.tell(refund_resolved(REFUND, RefundResolution::PaidOtherwise));
    let since = walk.at;
    walk.tell(refund_of(SECOND_ROUND, REFUND, refund_unclear()));
    assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: REFUND }]);
    assert!(walk.at > since, "at its pace");
    walk.tell(refund_of(SECOND_ROUND, REFUND, refund_ended()));
    assert!(walk.order.is_quiet() && walk.order.next_due_at(walk.at).is_none());
}

/// A number that has not left by now, for all that is known, may be in a call that is under way.
#[test]
fn a_number_that_waits_for_its_turn_is_not_sent_once_an_earlier_one_was_paid() {
    let mut walk = owing();
    walk.tell(refund(REFUND, refund_ended()));
    walk.tell(refund(REFUND, refund_done()));
    for _ in 0..8 {
        assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: REFUND }]);
        walk.tell(refund_by_asking_at(walk.at, SECOND_ROUND, REFUND, RefundOutcome::NotExist));
        if walk.order.is_quiet() {
            return;
        }
    }
    panic!("it is asked about for ever: {:?}", walk.order);
}

#[test]
fn a_refund_that_no_number_could_pay_is_asked_about_and_waits_for_a_person() {
    let mut walk = owing();
    let mut numbers = vec![number_of(&walk)];
    for round in 0..rounds(&walk) {
        assert!(!is_stuck(&walk.tell(refund_of(Round(round), REFUND, refund_ended()))));
        assert_eq!(proposed(&walk.wake()), [Effect::Refund { refund: REFUND }]);
        numbers.push(number_of(&walk));
    }
    let last = Round(rounds(&walk));
    numbers.dedup();
    assert_eq!((numbers.len(), stands(&walk).0), (usize::from(rounds(&walk)) + 1, last));
    for _ in 0..3 {
        assert!(is_stuck(&walk.tell(refund_of(last, REFUND, refund_ended()))));
        assert_eq!(stands(&walk).0, last);
        assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: REFUND }], "nothing is sent any more");
    }
    assert!(!walk.order.is_quiet(), "the money is still owed");
    walk.tell(refund_of(last, REFUND, refund_done()));
    assert!(walk.order.is_quiet());
}

/// UnionPay knows a refund by its date too, and takes no number again that it refused.
#[test]
fn a_number_keeps_its_date_and_is_given_up_once_it_was_refused_where_nothing_else_can_have_arrived() {
    let dated = |walk: &Walk| only(walk).dated_at;
    let spent = || refund_rejected(Rejection::DeadNumber);
    let uncertain = [refund_not_sent(), refund_poor(), refund_unclear(), RefundOutcome::NotExist, spent()];
    let mut walk = owing();
    let first = walk.at;
    for outcome in &uncertain {
        walk.tell(refund(REFUND, outcome.clone()));
        assert_eq!((stands(&walk).0, dated(&walk)), (Round::FIRST, first), "{outcome:?}");
        walk.wake();
    }
    let mut walk = owing();
    walk.tell(refund(REFUND, spent()));
    let second = walk.at.plus_ms(retry::refund_rounds(walk.order.pace)[0]);
    assert_eq!((stands(&walk).0, dated(&walk)), (SECOND_ROUND, second));
    assert_eq!(proposed(&walk.wake()), [Effect::Refund { refund: REFUND }]);
    for round in 1..=rounds(&walk) {
        let step = walk.tell(refund_of(Round(round), REFUND, spent()));
        assert_eq!(is_stuck(&step), round == rounds(&walk));
        walk.wake();
    }
    assert_eq!(stands(&walk).0, Round(rounds(&walk)), "a person must see to it");
}

#[test]
fn a_refund_that_needs_a_person_is_asked_about_and_not_sent_again() {
    let mut walk = owing();
    let stuck = refund_stuck();
    for _ in 0..3 {
        assert!(is_stuck(&walk.tell(refund(REFUND, stuck.clone()))));
        assert_eq!(proposed(&walk.wake()), [Effect::QueryRefund { refund: REFUND }]);
    }
    assert!(!is_stuck(&walk.tell(refund(REFUND, refund_unclear()))));
}

/// What was stored before there were rounds is of the first one, and what is of the first one is stored as it was.
#[test]
fn a_first_round_is_stored_as_if_there_were_no_others() {
    let mut walk = owing();
    let stored = serde_json::to_string(&walk.order).unwrap();
    assert!(!stored.contains("round"));
    assert_eq!(serde_json::from_str::<Order>(&stored).unwrap(), walk.order);
    let event = |fact: Fact| Event { at: walk.at, incarnation: Incarnation::default(), fact };
    let written = |fact| serde_json::to_string(&event(fact)).unwrap();
    let plain = written(refund(REFUND, refund_done()));
    assert!(!plain.contains("round"));
    let further = written(refund_of(SECOND_ROUND, REFUND, refund_ended()));
    for (text, fact) in
        [(plain, refund(REFUND, refund_done())), (further, refund_of(SECOND_ROUND, REFUND, refund_ended()))]
    {
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event(fact));
    }
    walk.tell(refund(REFUND, refund_ended()));
    let stored = serde_json::to_string(&walk.order).unwrap();
    assert_eq!(serde_json::from_str::<Order>(&stored).unwrap(), walk.order);
}

/// Copies of a store that know the same refund send it under the same numbers, so that the channel pays it once; a
/// refund that is opened in another life has another number.
#[test]
fn report_numbers_repeat_after_a_restore_a_refund_is_numbered_by_the_life_it_was_opened_in() {
    let (mut first, mut second) = (Walk::succeeded(), Walk::succeeded());
    let lives = [Incarnation::default().another(0), Incarnation::default().another(1)];
    for (walk, incarnation) in [(&mut first, lives[0]), (&mut second, lives[1])] {
        let event = Event { at: walk.at, incarnation, fact: found(0, paid("another", PAYABLE)) };
        walk.order = step::decide(&walk.order, &[event]).unwrap().after;
    }
    assert_eq!(first.order.attempts, second.order.attempts);
    let number = number_of(&first);
    assert_ne!(number, number_of(&second));
    let dead = Event { at: first.at, incarnation: lives[1], fact: refund(REFUND, refund_ended()) };
    first.order = step::decide(&first.order, &[dead]).unwrap().after;
    assert_eq!(number_of(&first), format!("{number}N1"), "whoever owns the store by then");
}
