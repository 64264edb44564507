//! Platforms that post orders, payers who choose and pay, and now and then an operator. All of them act at random.

use tongbao::domain::channel::{Channel, Lapse};
use tongbao::domain::event::{Created, Event, Fact, Finding};
use tongbao::domain::id::{AttemptNumber, OrderId, PlatformId};
use tongbao::domain::money::{Currency, Rate};
use tongbao::domain::order::{Attempt, AttemptState, FeeBearer, Webhooks};
use tongbao::domain::retry::Pace;
use tongbao::domain::step;
use tongbao::domain::time::Instant;

use crate::process::{Asker, Letter};
use crate::world::{DAY, HOUR, MINUTE, SECOND, What, World};

pub const CURRENCY: &str = "CNY";

/// A payer who was sent by a platform, with what the platform wants paid.
#[derive(Debug, Clone)]
pub struct Buyer {
    pub merchant: u32,
    pub amount_minor: i64,
    pub fee_bearer: FeeBearer,
    pub attempts_max: u8,
    pub lives_ms: i64,
    /// Everything that was ever shown to this payer.
    pub seen: Vec<AttemptNumber>,
}

/// Puts everybody's plans on the agenda; tells when trouble ends.
pub fn arrive(world: &mut World) -> Instant {
    let window_ms = world.dice.pick(&[2 * MINUTE, 30 * MINUTE, 3 * HOUR, DAY]);
    let buyers = world.dice.between((1, 5));
    for place in 0..usize::try_from(buyers).expect("few buyers") {
        let buyer = Buyer {
            merchant: u32::try_from(place).expect("few buyers"),
            amount_minor: world.dice.between((2, 100_000)),
            fee_bearer: world.dice.pick(&[FeeBearer::Payer, FeeBearer::Platform]),
            attempts_max: world.dice.pick(&[1, 2, 5]),
            lives_ms: world.dice.pick(&[2 * MINUTE, 15 * MINUTE, 2 * HOUR, DAY, 3 * DAY]),
            seen: Vec::new(),
        };
        plan(world, place, buyer.lives_ms.min(window_ms));
        world.buyers.push(buyer);
    }
    if world.dice.happens(50) {
        let at_ms = world.dice.between((0, window_ms));
        world.agenda.after(at_ms, What::Resolve { extent: Extent::All });
    }
    for round in 1..=window_ms / (2 * HOUR) {
        world.agenda.after(round * 2 * HOUR, What::Resolve { extent: Extent::Endless });
    }
    world.now().plus_ms(window_ms)
}

fn plan(world: &mut World, buyer: usize, window_ms: i64) {
    let begins_ms = world.dice.between((0, world.dice.clone().pick(&[SECOND, window_ms / 2])));
    for _ in 0..world.dice.pick(&[1, 1, 2, 3]) {
        let repeat_ms = world.dice.between((0, 2 * SECOND));
        world.agenda.after(begins_ms + repeat_ms, What::Create { buyer });
    }
    let hurry_ms = world.dice.pick(&[20 * SECOND, 5 * MINUTE, window_ms]);
    let (choices, payments) = (world.dice.between((0, 5)), world.dice.between((0, 5)));
    for _ in 0..choices {
        let at_ms = begins_ms + world.dice.between((0, hurry_ms));
        world.agenda.after(at_ms, What::Pay { buyer });
    }
    for _ in 0..payments {
        let at_ms = begins_ms + world.dice.between((0, hurry_ms));
        world.agenda.after(at_ms, What::Agree { buyer });
    }
    if world.dice.happens(200) {
        let at_ms = begins_ms + world.dice.between((0, hurry_ms));
        world.agenda.after(at_ms, What::Cancel { buyer });
    }
}

/// The platform posts the order; what is stored under its number answers a repeat.
pub fn create(world: &mut World, buyer: usize) {
    let buyer = world.buyers[buyer].clone();
    if world.store.by_merchant(buyer.merchant).is_some() || world.process.is_none() {
        return;
    }
    world.orders += 1;
    let now = world.now();
    let rate = |text: &str| Rate::new(text.parse().expect("a rate is a decimal")).expect("a rate lies between 0 and 1");
    let facts = Created {
        id: OrderId::from_u128(world.orders),
        platform: PlatformId(1),
        currency: Currency::parse(CURRENCY).expect("CNY is a currency"),
        amount_minor: buyer.amount_minor,
        rates: ["0.003", "0.003", "0.005", "0.006", "0.029"].map(rate),
        fee_bearer: buyer.fee_bearer,
        pace: if buyer.lives_ms <= 2 * MINUTE { Pace::Sandbox } else { Pace::Production },
        webhooks: Webhooks::Wanted,
        attempts_max: buyer.attempts_max,
        expires_at: now.plus_ms(buyer.lives_ms),
    };
    let order = step::create(&facts, now);
    let mut events = vec![Event { at: now, fact: Fact::Created(Box::new(facts)) }];
    if world.dice.happens(700) {
        let channel = world.dice.pick(&Channel::ALL);
        events.extend(world.choice(&order, channel, channel.rules().methods[0]));
    }
    world.open(order, events, buyer.merchant);
}

/// The payer chooses a channel: the first one, another one, or the same once more.
pub fn pay(world: &mut World, buyer: usize) {
    let Some(id) = world.store.by_merchant(world.buyers[buyer].merchant) else { return };
    let current = world.store.row(id).and_then(|row| row.order.open_attempt()).map(|attempt| attempt.channel);
    let channel = match current {
        Some(channel) if world.dice.happens(300) => channel,
        Some(_) | None => world.dice.pick(&Channel::ALL),
    };
    let method = channel.rules().methods[0];
    world.tell(id, Letter::Choice { channel, method, asker: Asker::Client });
}

pub fn cancel(world: &mut World, buyer: usize) {
    let Some(id) = world.store.by_merchant(world.buyers[buyer].merchant) else { return };
    world.tell(id, Letter::Fact { fact: Fact::CancelAsked, shown: None, asker: Asker::Client });
}

/// The payer looks at the order and agrees to pay what is shown, or something that was shown before.
pub fn agree(world: &mut World, buyer: usize) {
    let Some(id) = world.store.by_merchant(world.buyers[buyer].merchant) else { return };
    if let Some(number) = world.store.row(id).and_then(|row| row.shown)
        && !world.buyers[buyer].seen.contains(&number)
    {
        world.buyers[buyer].seen.push(number);
    }
    let seen = &world.buyers[buyer].seen;
    let Some(latest) = seen.last().copied() else { return };
    let number = if world.dice.happens(200) { world.dice.pick(seen) } else { latest };
    let now = world.now();
    if !world.gateways.agree(number, now) {
        return;
    }
    if world.dice.happens(world.weather.payer_declined) {
        world.gateways.decline(number);
    } else {
        let taking_ms = world.dice.between(world.weather.taking_ms);
        world.agenda.after(taking_ms, What::Take { number });
    }
}

/// Which attempts an operator looks after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    All,
    /// Those that are being closed and that time does not end, should their channel not know them.
    Endless,
}

/// An operator asks each channel about open attempts, has them closed there for good, and records what was found.
pub fn resolve(world: &mut World, extent: Extent) {
    let now = world.now();
    let mut resolved = Vec::new();
    for row in world.store.rows() {
        let is_meant = |attempt: &&Attempt| match extent {
            Extent::All => true,
            Extent::Endless => attempt.state == AttemptState::Closing && attempt.channel.rules().lapse == Lapse::Never,
        };
        if let Some(attempt) = row.order.open_attempt().filter(is_meant) {
            resolved.push((row.order.number(attempt.ordinal), attempt.channel, attempt.account.clone()));
        }
    }
    for (number, channel, account) in resolved {
        world.gateways.foreclose(number, channel, &account, now);
        let capture = world.gateways.payment(number).and_then(|payment| payment.capture.clone());
        let finding = match capture {
            Some(capture) => {
                Finding::Paid { reference: capture.reference.as_str().into(), amount_minor: capture.amount_minor }
            }
            None => Finding::Closed,
        };
        let fact = Fact::OperatorResolved {
            ordinal: number.ordinal,
            finding,
            operator: "li".into(),
            evidence: "the channel's statement".into(),
        };
        world.tell(number.order, Letter::Fact { fact, shown: None, asker: Asker::Client });
    }
}
