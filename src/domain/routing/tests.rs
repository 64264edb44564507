//! The order of channels by examples, and its laws over random outlooks.

use proptest::prelude::*;

use super::super::id::Account;
use super::super::money::{Currency, Rate};
use super::super::order::example::order;
use super::super::order::{AttemptFailure, AttemptState, State};
use super::*;

const POLICY: Policy =
    Policy { samples_min: 20, rate_step_percent: 2, neutral_rate: BasisPoints::percent(95).unwrap() };

/// An order of 200.00 CNY whose payer may choose.
fn undecided() -> Order {
    let mut order = order();
    order.attempts.clear();
    order.state = State::Created;
    order
}

/// All channels up and nothing known of them.
fn outlook(order: &Order) -> Outlook {
    let fresh = Standing { health: Health::Up, tally: Tally::default() };
    Outlook { at: order.last_at, policy: POLICY, channels: [Some(fresh); Channel::COUNT], last_channel: None }
}

fn told(order: &Order, outlook: &Outlook) -> Vec<(Channel, Reason)> {
    rank(order, outlook).into_iter().map(|route| (route.channel, route.reason)).collect()
}

const fn tally(succeeded: u32, failed: u32) -> Tally {
    Tally { succeeded, failed }
}

impl Outlook {
    fn with(mut self, channel: Channel, tally: Tally) -> Self {
        self.channels[channel.index()] = Some(Standing { health: Health::Up, tally });
        self
    }

    fn down(mut self, channel: Channel) -> Self {
        self.channels[channel.index()] = Some(Standing { health: Health::Down, tally: Tally::default() });
        self
    }
}

#[test]
fn with_nothing_known_the_fee_decides() {
    let order = undecided();
    assert_eq!(
        told(&order, &outlook(&order)),
        [
            (Channel::Simpay, Reason::Available),
            (Channel::Wechat, Reason::LowerFee),
            (Channel::Alipay, Reason::LowerFee),
            (Channel::Unionpay, Reason::LowerFee),
            (Channel::Stripe, Reason::HigherFee),
        ]
    );
}

#[test]
fn the_success_rate_decides_before_the_fee() {
    let order = undecided();
    let outlook = outlook(&order).with(Channel::Stripe, tally(100, 0)).with(Channel::Simpay, tally(60, 40));
    // What nothing is known of stands between.
    assert_eq!(
        told(&order, &outlook),
        [
            (Channel::Stripe, Reason::HigherSuccessRate),
            (Channel::Wechat, Reason::LowerFee),
            (Channel::Alipay, Reason::LowerFee),
            (Channel::Unionpay, Reason::Available),
            (Channel::Simpay, Reason::LowerSuccessRate),
        ]
    );
    let rates: Vec<Option<String>> =
        rank(&order, &outlook).iter().map(|route| route.success_rate.map(|rate| rate.to_string())).collect();
    assert_eq!(rates, [Some("1.0000".into()), None, None, None, Some("0.6000".into())]);
}

#[test]
fn report_a_channel_without_figures_is_not_said_to_succeed_more_or_less_often() {
    let order = undecided();
    let told_of = |outlook: &Outlook, wanted| {
        let found = told(&order, outlook).into_iter().find(|(channel, _)| *channel == wanted);
        found.map(|(_, reason)| reason)
    };
    let others_fail = outlook(&order).with(Channel::Wechat, tally(2, 25)).with(Channel::Alipay, tally(2, 25));
    let of_unionpay = told_of(&others_fail, Channel::Unionpay);
    assert_eq!(of_unionpay, Some(Reason::LowerFee), "its neighbour is Stripe, of which nothing is known either");
    assert_eq!(told_of(&others_fail, Channel::Stripe), Some(Reason::Available), "it does not succeed more often");
    let mut others_do_well = outlook(&order);
    for channel in [Channel::Simpay, Channel::Wechat, Channel::Alipay, Channel::Unionpay] {
        others_do_well = others_do_well.with(channel, tally(1_000, 0));
    }
    assert_eq!(told_of(&others_do_well, Channel::Stripe), Some(Reason::Available), "it does not succeed less often");
}

#[test]
fn few_samples_and_small_differences_are_chance() {
    let order = undecided();
    let few = outlook(&order).with(Channel::Simpay, tally(0, 19));
    assert_eq!(rank(&order, &few)[0].channel, Channel::Simpay);
    assert_eq!(rank(&order, &few.with(Channel::Simpay, tally(0, 20)))[0].channel, Channel::Wechat);
    // 98.1 % and 99.9 % lie within one step, 97.9 % in the next.
    let near = outlook(&order).with(Channel::Alipay, tally(999, 1)).with(Channel::Wechat, tally(981, 19));
    let place = |outlook: &Outlook, channel| rank(&order, outlook).iter().position(|route| route.channel == channel);
    assert!(place(&near, Channel::Wechat) < place(&near, Channel::Alipay));
    let far = near.with(Channel::Wechat, tally(979, 21));
    assert!(place(&far, Channel::Wechat) > place(&far, Channel::Alipay));
}

#[test]
fn what_the_payer_used_last_leads_where_it_can() {
    let mut order = undecided();
    let mut outlook = outlook(&order).with(Channel::Stripe, tally(50, 50)).with(Channel::Simpay, tally(100, 0));
    outlook.last_channel = Some(Channel::Stripe);
    assert_eq!(
        told(&order, &outlook)[..2],
        [(Channel::Stripe, Reason::UsedBefore), (Channel::Simpay, Reason::HigherSuccessRate)]
    );
    let down = outlook.clone().down(Channel::Stripe);
    assert_eq!(told(&order, &down).last(), Some(&(Channel::Stripe, Reason::Down)));
    assert_eq!(told(&order, &down)[0].0, Channel::Simpay);
    // It has just refused this very order.
    order.attempts = super::super::order::example::order().attempts;
    let attempt = &mut order.attempts[0];
    (attempt.account, attempt.state) = (Account::new(Channel::Stripe, "default"), AttemptState::Dead);
    attempt.failure = Some(AttemptFailure::ChannelDeclined);
    assert_eq!(told(&order, &outlook)[0].0, Channel::Simpay);
    assert_eq!(
        alternatives(&rank(&order, &outlook)).last(),
        Some(&Channel::Stripe),
        "it may be tried again all the same"
    );
}

#[test]
fn what_cannot_take_the_order_comes_last_and_says_why() {
    let mut order = undecided();
    let unsuited = |order: &Order, outlook: &Outlook| -> Vec<(Channel, Unsuited)> {
        let why = |route: Route| route.price.err().map(|why| (route.channel, why));
        rank(order, outlook).into_iter().filter_map(why).collect()
    };
    order.amount_minor = 10_000_000_000;
    let outlook = outlook(&order);
    let above = [(Channel::Alipay, Unsuited::AboveMaximum), (Channel::Stripe, Unsuited::AboveMaximum)];
    assert_eq!(unsuited(&order, &outlook), above, "with its fee it passes 100000000.00");
    order.amount_minor = 9_900_000_000;
    assert_eq!(unsuited(&order, &outlook), above[1..]);
    order.amount_minor = 388;
    assert_eq!(unsuited(&order, &outlook), [(Channel::Stripe, Unsuited::BelowMinimum)]);
    order.amount_minor = 389;
    assert_eq!(unsuited(&order, &outlook), [], "389 and 11 of fee are the least");
    order.currency = Currency::parse("JPY").unwrap();
    order.amount_minor = 48;
    assert_eq!(alternatives(&rank(&order, &outlook)), [Channel::Simpay]);
    order.amount_minor = 49;
    assert_eq!(alternatives(&rank(&order, &outlook)), [Channel::Simpay, Channel::Stripe]);
    order.expires_at = outlook.at.plus_ms(59_999);
    assert_eq!(told(&order, &outlook)[0], (Channel::Simpay, Reason::OnlyOne));
    assert_eq!(told(&order, &outlook).last(), Some(&(Channel::Stripe, Reason::Unsuited(Unsuited::TooLate))));
}

#[test]
fn what_is_not_enabled_or_being_paid_by_is_no_alternative() {
    let mut order = order();
    let mut outlook = outlook(&order);
    outlook.channels[Channel::Simpay.index()] = None;
    assert_eq!(alternatives(&rank(&order, &outlook)), [Channel::Alipay, Channel::Unionpay, Channel::Stripe]);
    assert!(!awaits_choice(&order));
    order.state = State::Failed;
    assert_eq!(alternatives(&rank(&order, &outlook)), []);
}

fn standings() -> impl Strategy<Value = [Option<Standing>; Channel::COUNT]> {
    let health = prop_oneof![4 => Just(Health::Up), 1 => Just(Health::Down)];
    let counts = prop_oneof![(0u32..40, 0u32..40), (0u32..2_000, 0u32..100), (any::<u32>(), any::<u32>())];
    let standing = (health, counts)
        .prop_map(|(health, (succeeded, failed))| Standing { health, tally: Tally { succeeded, failed } });
    proptest::array::uniform5(proptest::option::weighted(0.9, standing))
}

prop_compose! {
    fn situations()(
        channels in standings(),
        last in proptest::option::of(0..Channel::COUNT),
        rates in proptest::array::uniform5(0i64..30_000_000),
        amount_minor in prop_oneof![1i64..1_000, 1i64..200_000_000, 1i64..20_000_000_000],
        currency in prop_oneof![Just("CNY"), Just("USD"), Just("JPY"), Just("BHD")],
        left_ms in prop_oneof![0i64..120_000, 120_000i64..7_200_000],
        samples_min in 0u32..50,
        rate_step_percent in 1u16..=100,
        neutral_percent in 0u8..=100,
    ) -> (Order, Outlook) {
        let mut order = undecided();
        order.rates = rates.map(|rate| Rate::new(rust_decimal::Decimal::new(rate, 9)).unwrap()).into();
        order.amount_minor = amount_minor;
        order.currency = Currency::parse(currency).unwrap();
        order.expires_at = order.last_at.plus_ms(left_ms);
        let neutral_rate = BasisPoints::percent(neutral_percent).unwrap();
        let policy = Policy { samples_min, rate_step_percent, neutral_rate };
        let last_channel = last.map(|place| Channel::ALL[place]);
        let outlook = Outlook { at: order.last_at, policy, channels, last_channel };
        (order, outlook)
    }
}

proptest! {
    #[test]
    fn every_enabled_channel_has_one_place_and_the_usable_ones_come_first((order, outlook) in situations()) {
        let routes = rank(&order, &outlook);
        let mut ranked: Vec<Channel> = routes.iter().map(|route| route.channel).collect();
        ranked.sort();
        let enabled: Vec<Channel> =
            Channel::ALL.into_iter().filter(|channel| outlook.channels[channel.index()].is_some()).collect();
        prop_assert_eq!(ranked, enabled);
        prop_assert!(routes.is_sorted_by_key(|route| !route.is_usable()));
        for route in &routes {
            let of_rate = matches!(route.reason, Reason::HigherSuccessRate | Reason::LowerSuccessRate);
            prop_assert!(!of_rate || route.success_rate.is_some(), "{:?}", route);
            let told_usable = !matches!(route.reason, Reason::Down | Reason::Unsuited(_));
            prop_assert_eq!(route.is_usable(), told_usable);
            prop_assert_eq!(Some(route.price), price(&order, (route.channel, route.channel.rules().methods[0]), outlook.at));
        }
        prop_assert_eq!(rank(&order, &outlook), routes, "the same facts, the same order");
    }

    /// Of any two usable channels, the earlier one is the payer's own, or has the better rate, or as good a one and no
    /// higher a fee.
    #[test]
    fn no_two_usable_channels_stand_the_wrong_way_round((order, outlook) in situations()) {
        let Policy { rate_step_percent, neutral_rate, .. } = outlook.policy;
        let lost = |route: &Route| route.success_rate.unwrap_or(neutral_rate).steps_lost(rate_step_percent);
        let routes: Vec<Route> = rank(&order, &outlook).into_iter().filter(Route::is_usable).collect();
        for (place, earlier) in routes.iter().enumerate() {
            for later in &routes[place + 1..] {
                prop_assert_ne!(outlook.last_channel, Some(later.channel));
                if outlook.last_channel == Some(earlier.channel) {
                    prop_assert_eq!(earlier.reason, Reason::UsedBefore);
                    continue;
                }
                let fee = |route: &Route| route.price.map(|quote| quote.fee_minor).unwrap();
                let (fees, steps) = ((fee(earlier), fee(later)), (lost(earlier), lost(later)));
                prop_assert!(steps.0 < steps.1 || (steps.0 == steps.1 && fees.0 <= fees.1), "{:?} {:?}", earlier, later);
            }
        }
    }

    /// A channel that does better loses no place by it, nor does one that becomes cheaper.
    #[test]
    fn who_does_better_loses_no_place(
        (mut order, mut outlook) in situations(),
        channel in 0..Channel::COUNT,
        more in 1u32..500,
    ) {
        let channel = Channel::ALL[channel];
        let usable_place = |order: &Order, outlook: &Outlook| {
            rank(order, outlook).iter().position(|route| route.channel == channel && route.is_usable())
        };
        let Some(before) = usable_place(&order, &outlook) else { return Ok(()) };
        let Some(Standing { health, tally }) = outlook.channels[channel.index()] else { return Ok(()) };
        if let Some(rate) = tally.rate(outlook.policy.samples_min) {
            let better = Tally { succeeded: tally.succeeded.saturating_add(more), failed: tally.failed };
            prop_assert!(better.rate(outlook.policy.samples_min) >= Some(rate));
            outlook.channels[channel.index()] = Some(Standing { health, tally: better });
        }
        let better = usable_place(&order, &outlook).expect("it stays usable");
        prop_assert!(better <= before);
        order.rates = order.rates.with(channel, Rate::new(rust_decimal::Decimal::ZERO).unwrap());
        // Without a fee the payable may be below the channel's minimum.
        if let Some(cheaper) = usable_place(&order, &outlook) {
            prop_assert!(cheaper <= better);
        }
    }
}
