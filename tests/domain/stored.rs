//! What is stored is read for ever: rows of an earlier time, and what their orders can do.

use serde_json::{Value, json};
use tongbao::domain::channel::Channel;
use tongbao::domain::event::{Created, Event, Fact, Verdict};
use tongbao::domain::id::Incarnation;
use tongbao::domain::merchant::Merchant;
use tongbao::domain::order::{AttemptFailure, Order};
use tongbao::domain::routing::{self, Outlook, Policy, Standing};
use tongbao::domain::step;
use tongbao::domain::success::{BasisPoints, Tally};
use tongbao::domain::validation::{self, Facts, Health};

use super::world::{START, Walk, account, chosen, creation, method_of, rate, suitable};

/// The rates of before there was Stripe.
fn four_rates() -> Value {
    json!({"alipay": "0.005", "simpay": "0.003", "unionpay": "0.006", "wechat": "0.003"})
}

fn creation_of_four() -> Created {
    let mut row = serde_json::to_value(creation()).unwrap();
    row["rates"] = four_rates();
    serde_json::from_value(row).expect("a row of four channels is read")
}

fn facts(channel: Channel) -> Facts {
    let account = Some(account(channel));
    Facts { channel, method: method_of(channel), account, merchant: Merchant::Operator, health: Health::Up, risk: None }
}

#[test]
fn rows_with_the_rates_of_four_channels_are_read() {
    let event = Event { at: START, incarnation: Incarnation::default(), fact: Fact::Created(Box::new(creation())) };
    let mut journal = serde_json::to_value([event]).unwrap();
    journal[0]["rates"] = four_rates();
    let events: Vec<Event> = serde_json::from_value(journal.clone()).expect("a journal of four channels is read");
    let Fact::Created(created) = &events[0].fact else { panic!("it is a creation") };
    assert_eq!(created.rates.of(Channel::Unionpay, method_of(Channel::Unionpay)), Some(rate("0.006")));
    assert_eq!(created.rates.of(Channel::Stripe, method_of(Channel::Stripe)), None);
    assert_eq!(serde_json::to_value(&events).unwrap(), journal, "and written as it was");

    let mut snapshot = serde_json::to_value(Walk::new().order).unwrap();
    snapshot["rates"] = four_rates();
    let order: Order = serde_json::from_value(snapshot.clone()).expect("a snapshot of four channels is read");
    assert_eq!(order.rates, created.rates);
    assert_eq!(serde_json::to_value(&order).unwrap(), snapshot);
}

#[test]
fn an_order_cannot_be_paid_by_a_channel_that_came_after_it() {
    let mut walk = Walk::of(&creation_of_four());
    let verdict = validation::validate(&walk.order, &facts(Channel::Stripe), walk.at);
    assert_eq!(verdict, Verdict::Unsuitable { failure: AttemptFailure::ChannelUnsuitable });
    let alipay = validation::validate(&walk.order, &facts(Channel::Alipay), walk.at);
    assert!(matches!(alipay, Verdict::Suitable { .. }));

    let fresh = Standing { health: Health::Up, tally: Tally::default() };
    let policy = Policy { samples_min: 20, rate_step_percent: 2, neutral_rate: BasisPoints::WHOLE };
    let outlook = Outlook { at: walk.at, policy, channels: [Some(fresh); Channel::COUNT], last_channel: None };
    let offered = routing::rank(&walk.order, &outlook).iter().map(|route| route.channel).collect::<Vec<_>>();
    assert_eq!(offered.len(), 4);
    assert!(!offered.contains(&Channel::Stripe));

    // Even a verdict that says otherwise opens nothing: without a rate there is no price.
    let expires_at = walk.order.expires_at;
    walk.tell(chosen(Channel::Stripe));
    walk.tell(suitable(Channel::Stripe, expires_at));
    assert_eq!(walk.order.last_failure, Some(AttemptFailure::ChannelUnsuitable));
    assert!(walk.order.attempts.is_empty());
}

#[test]
fn a_row_of_rules_that_are_not_known_is_refused() {
    let row = serde_json::to_value(creation()).unwrap();
    for (field, value) in [
        ("rules", json!(2)),
        ("rules", Value::Null),
        ("rates", json!({"paypal": "0.003"})),
        ("rates", json!({"wechat": "0.0030"})),
        ("colour", json!("red")),
    ] {
        let mut row = row.clone();
        row[field] = value;
        assert!(serde_json::from_value::<Created>(row).is_err(), "{field}");
    }
    let mut row = row;
    row.as_object_mut().unwrap().remove("rules");
    assert!(serde_json::from_value::<Created>(row).is_err(), "rules are always stated");
    let order = step::create(&creation(), START);
    let mut snapshot = serde_json::to_value(order).unwrap();
    snapshot["rules"] = json!(7);
    assert!(serde_json::from_value::<Order>(snapshot).is_err());
}
