//! Platforms that post orders, payers who choose and pay, and now and then an operator. All of them act at random.

use tongbao::domain::channel::{Channel, Lapse, Method};
use tongbao::domain::dated::Dated;
use tongbao::domain::event::{Created, Finding, RefundResolution};
use tongbao::domain::id::{OrderId, PlatformId};
use tongbao::domain::money::{Currency, Rate};
use tongbao::domain::order::{Attempt, AttemptState, FeeBearer, Webhooks};
use tongbao::domain::partition::Partition;
use tongbao::domain::refund::{Attention, FeePolicy, Stage};
use tongbao::domain::request::{Asked, Request};
use tongbao::domain::retry::Pace;
use tongbao::domain::rules::RulesVersion;
use tongbao::domain::splits::{Share, Split};
use tongbao::domain::time::{Instant, TimeScale};
use tongbao::engine::ask::{
    Addressee, Command, Details, Known, NewOrder, Patience, RefundResolved, RefundWanted, Resolution,
};
use tongbao::store::UniqueName;

use crate::asked;
use crate::cycles;
use crate::gateways::{Shown, is_carried};
use crate::life::Heard;
use crate::ports::thaw;
use crate::sights::{self, Sight};
use crate::store;
use crate::what::What;
use crate::world::{DAY, HOUR, MINUTE, SECOND, World};

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
    pub seen: Vec<Shown>,
}

impl Buyer {
    /// What the platform calls the order.
    pub fn name(&self) -> UniqueName {
        UniqueName { platform: PLATFORM, merchant_order_id: format!("order-{}", self.merchant).into() }
    }
}

pub const PLATFORM: PlatformId = PlatformId(1);

/// Puts everybody's plans on the agenda; tells when trouble ends.
pub fn arrive(world: &mut World) -> Instant {
    let window_ms = world.dice.pick(&[2 * MINUTE, 30 * MINUTE, 3 * HOUR, DAY, 9 * DAY]);
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
    cycles::plan(world, window_ms);
    for round in 1..=window_ms / (2 * HOUR) {
        world.agenda.after(round * 2 * HOUR, What::Resolve { extent: Extent::Endless });
    }
    world.now().plus_ms(window_ms)
}

fn plan(world: &mut World, buyer: usize, window_ms: i64) {
    let begins_ms = world.dice.between((0, world.dice.pick(&[SECOND, window_ms / 2])));
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
    for _ in 0..world.habits.reminders {
        let at_ms = begins_ms + world.dice.between((0, hurry_ms));
        let reach_ms = world.dice.pick(&[SECOND, 5 * MINUTE, window_ms]);
        let wait_ms = world.dice.between((0, reach_ms));
        world.agenda.after(at_ms, What::Remind { buyer, wait_ms });
    }
    for _ in 0..3 {
        let at_ms = begins_ms + world.dice.between((0, hurry_ms));
        if world.dice.happens(world.weather.damage) {
            world.agenda.after(at_ms, What::Damage { buyer });
        }
    }
}

/// The platform posts the order; what is stored under its number answers a repeat.
pub fn create(world: &mut World, place: usize) {
    let buyer = world.buyers[place].clone();
    let name = buyer.name();
    if world.store().by_name(&name).is_some() || world.life.is_none() {
        return;
    }
    world.orders += 1;
    let now = world.now();
    let rate = |text: &str| Rate::new(text.parse().expect("a rate is a decimal")).expect("a rate lies between 0 and 1");
    let partition = PLATFORM.partition_of(&name.merchant_order_id);
    let facts = Created {
        id: OrderId::from_u128(world.orders << Partition::BITS).within(partition),
        platform: PLATFORM,
        currency: Currency::parse(CURRENCY).expect("CNY is a currency"),
        amount_minor: buyer.amount_minor,
        rates: ["0.003", "0.003", "0.005", "0.006", "0.029"].map(rate).into(),
        rules: RulesVersion::CURRENT,
        fee_bearer: buyer.fee_bearer,
        pace: if buyer.lives_ms <= 2 * MINUTE { Pace::Sandbox } else { Pace::Production },
        time_scale: TimeScale::TRUE,
        webhooks: Webhooks::Wanted,
        attempts_max: buyer.attempts_max,
        expires_at: now.plus_ms(buyer.lives_ms),
        splits: splits(world, buyer.amount_minor),
    };
    let webhook_url: Option<Box<str>> = Some("https://platform.test/webhooks".into());
    let request = Request {
        merchant_order_id: name.merchant_order_id,
        webhook_url: webhook_url.clone(),
        asked: Asked {
            attempts_max: buyer.attempts_max,
            webhook_url: webhook_url.map(String::from),
            ..asked::tea("0.00")
        },
        payer: None,
    };
    let known = Known { trace: request.asked.trace_of(facts.id), addressee: Addressee::of(&request), payer: [].into() };
    let details = Details::of_new(&request);
    let choice = world.dice.happens(700).then(|| any_way(world));
    let new = NewOrder { facts, request, details: details.into(), choice, known };
    if world.dice.happens(world.weather.last_moment) {
        // Somebody who chooses late: the request may arrive when its attempt has ended.
        let span = world.dice.pick(&[(100, 5 * SECOND), (SECOND, 2 * MINUTE)]);
        let early_ms = world.dice.between(span);
        world.agenda.after(buyer.lives_ms - early_ms, What::Pay { buyer: place });
    }
    let patience = patience(world);
    let Some(life) = &mut world.life else { return };
    let desk = life.desk.clone();
    life.ask(async move { Heard::Created(desk.create(new, patience).await) });
}

/// Shares of others, as some platforms give.
fn splits(world: &World, amount_minor: i64) -> Box<[Split]> {
    let count = if world.dice.happens(400) { world.dice.between((1, 3)) } else { 0 };
    (0..count)
        .map(|place| {
            let share = if world.dice.happens(500) {
                Share::AmountMinor(world.dice.between((0, amount_minor / 3)))
            } else {
                let text = world.dice.pick(&["0.1", "0.05", "0.3333", "0"]);
                Share::Rate(Rate::new(text.parse().expect("a rate is a decimal")).expect("it lies between 0 and 1"))
            };
            Split { to: PlatformId(2 + u32::try_from(place).expect("few shares")), share }
        })
        .collect()
}

/// Money was taken for an order: now and then its platform wants some of it back at the payer, in more than one part.
pub fn paid(world: &mut World, id: OrderId) {
    let Some(buyer) = (0..world.buyers.len()).find(|buyer| order_of(world, *buyer) == Some(id)) else { return };
    let count = world.dice.between((0, world.habits.refunds));
    let reach_ms = world.dice.pick(&[20 * SECOND, 10 * MINUTE, 5 * HOUR]);
    for place in 0..count {
        // Some ask twice, and some give the name of another order's refund.
        let place = if world.dice.happens(150) { 0 } else { place };
        let whose = if world.dice.happens(50) { 0 } else { buyer };
        let name = u32::try_from(whose).expect("few buyers") * 100 + u32::try_from(place).expect("few refunds");
        let at_ms = world.dice.between((0, reach_ms));
        world.agenda.after(at_ms, What::Refund { buyer, name });
    }
}

/// The platform asks for a refund: of a part, of all that is left, or of more.
pub fn refund(world: &mut World, buyer: usize, name: u32) {
    let Some(id) = order_of(world, buyer) else { return };
    let merchant_refund_id: Box<str> = format!("refund-{name}").into();
    let is_known = world.store().refund_named(PLATFORM, &merchant_refund_id).is_some();
    // The edge looks for the name first, mostly in time.
    if is_known && world.dice.happens(700) {
        return;
    }
    let fee_policy = world.dice.pick(&FeePolicy::ALL);
    let left_minor = world.store().row(id).map_or(0, |row| row.order.refundable_minor(fee_policy));
    let amount_minor = match world.dice.below(10) {
        0 => None,
        1 => Some(left_minor + world.dice.between((1, 100))),
        2 => Some(left_minor.max(1)),
        _ => Some(world.dice.between((1, (left_minor / 2).max(1)))),
    };
    // A platform's debt may be bounded.
    let seller_max_minor = world.dice.happens(100).then(|| world.dice.between((0, left_minor.max(0))));
    let wanted = RefundWanted {
        merchant_refund_id: merchant_refund_id.clone(),
        reason: None,
        amount_minor,
        fee_policy,
        seller_max_minor,
    };
    let patience = patience(world);
    let Some(life) = &mut world.life else { return };
    let desk = life.desk.clone();
    life.ask(async move {
        let end = desk.refund(id, wanted, patience, (None, || {})).await;
        Heard::Refunded(id, merchant_refund_id, end.map(|opened| opened.id()))
    });
}

fn patience(world: &World) -> Patience {
    world.dice.pick(&[Patience::Durable, Patience::FirstAnswer])
}

/// The payer chooses a channel: the first one, another one, or the same once more.
pub fn pay(world: &mut World, buyer: usize) {
    let Some(id) = order_of(world, buyer) else { return };
    let current = world.store().row(id).and_then(|row| {
        let open = row.order.open_attempt()?;
        Some((open.channel(), open.method))
    });
    let (channel, method) = match current {
        Some(current) if world.dice.happens(300) => current,
        Some(_) | None => any_way(world),
    };
    ask(world, id, Command::Pay { channel, method, payer: None });
}

pub fn cancel(world: &mut World, buyer: usize) {
    if let Some(id) = order_of(world, buyer) {
        ask(world, id, Command::Cancel);
    }
}

fn ask(world: &mut World, id: OrderId, command: Command) {
    let patience = patience(world);
    let Some(life) = &mut world.life else { return };
    let desk = life.desk.clone();
    life.ask(async move { Heard::Asked(id, desk.ask(id, command, patience, None).await) });
}

pub fn order_of(world: &World, buyer: usize) -> Option<OrderId> {
    world.store().by_name(&world.buyers[buyer].name())
}

/// A channel and one of its ways to pay.
fn any_way(world: &World) -> (Channel, Method) {
    let favourite = world.habits.favourite.filter(|_| world.dice.happens(700));
    let channel = favourite.unwrap_or_else(|| world.dice.pick(&Channel::ALL));
    (channel, world.dice.pick(channel.rules().methods))
}

/// Something can be shown from now on; what is carried may be brought by a browser from now on.
pub fn shown(world: &mut World, id: OrderId, shown: Shown) {
    let now = world.now();
    let Some(order) = world.store().row(id).map(|row| row.order.clone()) else { return };
    let Some(attempt) = order.attempt(shown.number.ordinal) else { return };
    if is_carried(attempt.channel(), attempt.method) {
        let frozen = world.store().frozen(shown.number).expect("the request of an attempt is stored");
        world.gateways.hand_out((shown.number, &attempt.account), thaw(&frozen.request), now);
    }
    if world.dice.happens(world.weather.last_moment) {
        let early_ms = world.dice.between((1, 1_500));
        world.agenda.at(attempt.expires_at.plus_ms(-early_ms), What::LastMoment { shown });
    }
    let buyer = (0..world.buyers.len()).find(|buyer| order_of(world, *buyer) == Some(id));
    let Some(buyer) = buyer else { return };
    if world.dice.happens(400) {
        let soon_ms = world.dice.between((0, MINUTE));
        world.agenda.after(soon_ms, What::Agree { buyer });
    }
    if world.dice.happens(world.weather.last_moment) {
        let span = world.dice.pick(&[(-500, 1_500), (-2 * HOUR, 0)]);
        let early_ms = world.dice.between(span);
        let what = world.dice.pick(&[Doing::Pay, Doing::Cancel]);
        world.agenda.at(
            attempt.expires_at.plus_ms(-early_ms),
            match what {
                Doing::Pay => What::Pay { buyer },
                Doing::Cancel => What::Cancel { buyer },
            },
        );
    }
}

/// What a payer does about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Pay,
    Cancel,
}

/// The payer looks at the order and agrees to pay what is shown, or something that was shown before.
pub fn agree(world: &mut World, buyer: usize) {
    let Some(id) = order_of(world, buyer) else { return };
    let shown = world.store().row(id).and_then(store::Row::shown);
    if let Some(shown) = shown
        && !world.buyers[buyer].seen.contains(&shown)
    {
        world.buyers[buyer].seen.push(shown);
    }
    let seen = &world.buyers[buyer].seen;
    let Some(latest) = seen.last().copied() else { return };
    let chosen = if world.dice.happens(200) { world.dice.pick(seen) } else { latest };
    if world.dice.happens(world.weather.browser_again) {
        let number = chosen.number;
        let (soon_ms, late_ms) = (world.dice.between((0, MINUTE)), world.dice.between((0, 3 * HOUR)));
        world.agenda.after(soon_ms, What::Browse { number });
        world.agenda.after(late_ms, What::Browse { number });
        // Some only open it and go away.
        if world.dice.happens(300) {
            return;
        }
    }
    let taking_ms = world.dice.between(world.weather.taking_ms);
    pay_by(world, chosen, taking_ms);
}

/// The payer pays in the last second, and the money comes at once or when it may hardly come any more.
pub fn hurry(world: &mut World, shown: Shown) {
    let settles_ms = world.dice.pick(&[0, 5 * MINUTE, 10 * MINUTE]);
    let short_ms = world.dice.between((0, 1_500));
    pay_by(world, shown, (settles_ms - short_ms).max(0));
}

fn pay_by(world: &mut World, shown: Shown, taking_ms: i64) {
    let (number, now) = (shown.number, world.now());
    let Some(channel) = world.gateways.payment(number).map(|payment| payment.account.channel()) else { return };
    if !world.gateways.agree(shown, now) {
        return;
    }
    let is_declined = world.dice.happens(world.weather.payer_declined);
    match channel {
        Channel::Unionpay | Channel::Stripe if world.dice.happens(world.weather.callback_early) => {
            world.call_back_early(number);
            if is_declined {
                sights::note(Sight::CallbackCameFalse);
            }
        }
        Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe => {}
    }
    let slowly_ms = match channel {
        Channel::Unionpay if world.dice.happens(world.weather.issuer_slow) => world.dice.between((0, 5 * HOUR)),
        Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe => 0,
    };
    let what = if is_declined { What::Decline { number } } else { What::Take { number } };
    world.agenda.after(taking_ms + slowly_ms, what);
}

/// Which attempts an operator looks after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    All,
    /// Those that are being closed and that time does not end, should their channel not know them.
    Endless,
}

/// An operator looks after refunds that need a person, and now and then after another one: has it paid at its channel, or
/// ends it for good, there first.
fn resolve_refunds(world: &mut World) {
    let mut seen = Vec::new();
    for row in world.store().rows() {
        for (refund, index) in row.order.refunds.iter().zip(0u16..) {
            let is_confirmed = !matches!(refund.stage, Stage::Unconfirmed { .. });
            if refund.stage.is_under_way() && is_confirmed {
                let attempt = row.order.attempt_of(refund).expect("a refund is of a capture");
                let needs_person = refund.attention == Some(Attention::Person);
                seen.push((row.order.number(attempt), index, refund.is_of_suspense(), needs_person));
            }
        }
    }
    for (number, index, is_of_suspense, needs_person) in seen {
        if !needs_person && !world.dice.happens(50) {
            continue;
        }
        if world.dice.happens(300) {
            world.gateways.push_refund(number, index);
            continue;
        }
        // Nobody ends a refund whose end they cannot tell.
        if !world.gateways.stop_refund(number, index) {
            continue;
        }
        let resolution = match world.dice.happens(500) {
            true if !is_of_suspense => RefundResolution::Failed,
            true | false => RefundResolution::PaidOtherwise,
        };
        let resolved = RefundResolved {
            refund: index,
            resolution,
            operator: "li".into(),
            evidence: "the channel's statement".into(),
        };
        let Some(life) = &mut world.life else { return };
        let (desk, id) = (life.desk.clone(), number.order);
        life.ask(async move { Heard::Resolved(id, desk.resolve_refund(id, resolved).await) });
    }
}

/// An operator asks each channel about open attempts, has them closed there for good, and records what was found.
pub fn resolve(world: &mut World, extent: Extent) {
    resolve_refunds(world);
    let now = world.now();
    let mut resolved = Vec::new();
    for row in world.store().rows() {
        let is_meant = |attempt: &&Attempt| match extent {
            Extent::All => true,
            Extent::Endless => {
                attempt.state == AttemptState::Closing && attempt.channel().rules().lapse == Lapse::Never
            }
        };
        if let Some(attempt) = row.order.open_attempt().filter(is_meant) {
            resolved.push((row.order.number(attempt), attempt.account.clone()));
        }
    }
    for (number, account) in resolved {
        world.gateways.foreclose(number, &account, now);
        let capture = world.gateways.payment(number).and_then(|payment| payment.capture.clone());
        let finding = match capture {
            Some(capture) => {
                let reference = capture.reference.as_str().into();
                Finding::Paid { reference, amount_minor: capture.amount_minor, dated: Dated::NOT_TOLD }
            }
            None => Finding::Closed,
        };
        let resolution = Resolution {
            ordinal: number.ordinal,
            finding,
            operator: "li".into(),
            evidence: "the channel's statement".into(),
        };
        let Some(life) = &mut world.life else { return };
        let (desk, id) = (life.desk.clone(), number.order);
        life.ask(async move { Heard::Resolved(id, desk.resolve(id, resolution).await) });
    }
}
