//! Reminders that somebody sets for orders: streams of a kind of their own, each of which rings once and tells its order
//! so by a message. What is held against them by the auditor stands here too.

use std::collections::BTreeMap;

use tongbao::domain::event::Fact;
use tongbao::domain::machine::{MESSAGES_MAX, Machine};
use tongbao::domain::order::Order;
use tongbao::domain::stream::StreamId;
use tongbao::domain::time::Instant;
use tongbao::engine::cell::Cell;
use tongbao::engine::directory::Directory;
use tongbao::store::{StepUnit, TakenMessage};

use crate::life::{Heard, Life};
use crate::people;
use crate::reminder::{Event, Reminder, State};
use crate::sights::{self, Sight};
use crate::store::{Plain, Row, Store};
use crate::world::World;

/// Sets a reminder for a buyer's order.
pub fn set(world: &mut World, buyer: usize, wait_ms: i64) {
    let Some(order) = people::order_of(world, buyer) else { return };
    world.reminders += 1;
    let reminder = Reminder::new(world.reminders, order, world.now().plus_ms(wait_ms));
    let Some(life) = &mut world.life else { return };
    let reminders = life.reminders.clone();
    life.ask(async move { Heard::Set(Directory::create(&reminders, Cell::fresh(reminder, ()), Event::Set).await) });
}

/// Somebody was told that it is set.
pub fn is_set(store: &Store, reminder: &Reminder) {
    let stored = store.head(reminder.stream()).expect("a reminder that was acknowledged is stored");
    assert!(stored.version >= reminder.version(), "a reminder was acknowledged, not stored");
}

fn read(plain: &Plain) -> Reminder {
    Reminder::read(&plain.head).expect("a written reminder can be read")
}

/// An order's step has become durable: it says in its journal which message it takes.
pub fn told(step: &StepUnit, row: &Row, before: Option<&Order>) {
    let more = row.order.messages_taken - before.map_or(0, |before| before.messages_taken);
    assert_eq!(more, u32::from(step.taken.is_some()), "a message that is taken is taken out: {:?}", step.taken);
    if step.taken.is_some() {
        sights::note(Sight::MessageTaken);
    }
}

/// After everything that happens.
pub fn look(life: &Life, store: &Store, place: Option<Option<(Instant, StreamId)>>) {
    for (stream, plain) in store.plain_of(Reminder::KIND) {
        let Some(due_at) = plain.head.next_due_at else { continue };
        let is_active = life.reminders.is_active(stream.id);
        if is_active {
            let is_armed = life.reminders.armed_at(stream.id).is_some();
            assert!(is_armed || life.is_at_work(stream), "{stream} waits for nothing");
        }
        let Some(place) = place else { continue };
        let will_be_found = place.is_none_or(|reached| (due_at, stream) > reached);
        let is_kept = is_active || life.reminders.is_retried(stream.id);
        assert!(will_be_found || is_kept, "{stream} is due at {due_at:?} and nobody will look");
    }
}

/// Once all is quiet each reminder has rung once, and its order has taken its message once, and no other one.
pub fn at_the_end(store: &Store) {
    let mut sent: BTreeMap<StreamId, Vec<TakenMessage>> = BTreeMap::new();
    for (stream, plain) in store.plain_of(Reminder::KIND) {
        let reminder = read(plain);
        assert_eq!(reminder.state, State::Rung, "{stream} has never rung");
        let events = plain
            .journal
            .iter()
            .flat_map(|(title, body)| title.read::<Event>(body).expect("written events can be read").events);
        assert!(events.eq([Event::Set, Event::Rang]), "{stream} rings once");
        let message = TakenMessage { from: stream, number: reminder.version() * MESSAGES_MAX };
        sent.entry(reminder.order.into()).or_default().push(message);
    }
    assert!(store.messages.is_empty(), "what was taken leaves the store: {:?}", store.messages);
    for row in store.rows() {
        let sent = sent.remove(&row.order.id.into()).unwrap_or_default();
        if sent.is_empty() && row.order.messages_taken == 0 {
            continue;
        }
        let mut taken = taken(row);
        taken.sort_unstable_by_key(|taken| taken.from);
        assert_eq!(taken, sent, "{} takes each message once", row.order.id);
    }
    assert!(sent.is_empty(), "reminders of orders that are not there: {sent:?}");
}

/// Which messages are in an order's journal.
fn taken(row: &Row) -> Vec<TakenMessage> {
    let events = row.events();
    let taken = events.iter().filter_map(|event| match &event.fact {
        Fact::MessageTaken { from, number, .. } => Some(TakenMessage { from: *from, number: *number }),
        Fact::Created(_)
        | Fact::ChannelChosen { .. }
        | Fact::Validated { .. }
        | Fact::SendAnswered { .. }
        | Fact::QueryAnswered { .. }
        | Fact::CloseAnswered { .. }
        | Fact::CallbackVerified { .. }
        | Fact::RefundAsked { .. }
        | Fact::RefundAnswered { .. }
        | Fact::RefundNoticed { .. }
        | Fact::RefundResolved { .. }
        | Fact::CancelAsked
        | Fact::DeadlinePassed
        | Fact::TimerFired
        | Fact::OperatorResolved { .. } => None,
    });
    taken.collect()
}
