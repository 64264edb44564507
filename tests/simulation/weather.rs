//! What can go wrong in a run, and how often: drawn once per run, so that some runs are calm, some have one trouble
//! and some have all of them.

use tongbao::domain::channel::Channel;
use tongbao::store::Doubt;

use crate::dice::Dice;

/// A span in milliseconds, both ends included.
pub type Span = (i64, i64);

/// Chances are per thousand.
#[derive(Debug, Clone)]
pub struct Weather {
    pub latency_ms: Span,
    pub timeout_ms: i64,
    /// A call is certainly not sent.
    pub not_sent: u32,
    pub request_lost: u32,
    /// The request arrives long after its caller gave up.
    pub request_late: u32,
    /// A second copy of the request arrives some time after the first.
    pub request_twice: u32,
    pub answer_lost: u32,
    /// The gateway answers with an error after it did, or did not do, what was asked.
    pub gateway_error: u32,
    /// The gateway refuses us, not the payment.
    pub refuses_us: u32,
    pub refuses_payment: u32,
    pub payer_declined: u32,
    pub wrong_amount: u32,
    /// How long money is on its way once the payer has agreed.
    pub taking_ms: Span,
    /// A closed or expired payment is captured all the same.
    pub lies: u32,
    /// A payer pays, chooses or cancels when there is hardly any time left.
    pub last_moment: u32,
    /// The browser brings what it was given late, or again.
    pub browser_again: u32,
    /// Where a callback proves nothing, it is ahead of the money.
    pub callback_early: u32,
    /// An issuer takes hours.
    pub issuer_slow: u32,
    /// A gateway answers in its other mood: a replica lags, a close is still worked on, a refund takes its time.
    pub lags: u32,
    pub refund_refused: u32,
    /// The refusal is for good.
    pub refund_refused_for_good: u32,
    /// A refund that was taken ends without being paid.
    pub refund_fails: u32,
    /// A refund that was taken gets no further without somebody at the channel.
    pub refund_sticks: u32,
    /// A refund that was taken waits for money of ours.
    pub refund_lacks_money: u32,
    /// What was paid comes back.
    pub refund_comes_back: u32,
    pub callback_lost: u32,
    pub callback_twice: u32,
    pub callback_late: u32,
    pub acknowledgement_lost: u32,
    /// A platform's server does not take a webhook.
    pub webhook_refused: u32,
    pub commit_ms: Span,
    pub group_unavailable: u32,
    pub group_in_doubt: u32,
    pub away_ms: Span,
    /// An order's row cannot be read or written for a while.
    pub damage: u32,
    /// After each event.
    pub crash: u32,
    pub down_ms: Span,
}

impl Weather {
    /// Nothing goes wrong any more.
    pub fn calm() -> Self {
        Weather {
            latency_ms: (10, 200),
            timeout_ms: 10_000,
            not_sent: 0,
            request_lost: 0,
            request_late: 0,
            request_twice: 0,
            answer_lost: 0,
            gateway_error: 0,
            refuses_us: 0,
            refuses_payment: 0,
            payer_declined: 0,
            wrong_amount: 0,
            taking_ms: (0, 2_000),
            lies: 0,
            last_moment: 0,
            browser_again: 0,
            callback_early: 0,
            issuer_slow: 0,
            lags: 0,
            refund_refused: 0,
            refund_refused_for_good: 0,
            refund_fails: 0,
            refund_sticks: 0,
            refund_lacks_money: 0,
            refund_comes_back: 0,
            callback_lost: 0,
            callback_twice: 0,
            callback_late: 0,
            acknowledgement_lost: 0,
            webhook_refused: 0,
            commit_ms: (1, 20),
            group_unavailable: 0,
            group_in_doubt: 0,
            away_ms: (0, 0),
            damage: 0,
            crash: 0,
            down_ms: (0, 0),
        }
    }

    pub fn draw(dice: &Dice) -> Self {
        let mut weather = Weather::calm();
        let trouble = |often: u32| if dice.happens(400) { often } else { 0 };
        weather.not_sent = trouble(100);
        weather.request_lost = trouble(150);
        weather.request_late = trouble(300);
        weather.request_twice = trouble(80);
        weather.answer_lost = trouble(200);
        weather.gateway_error = trouble(150);
        weather.refuses_us = trouble(60);
        weather.refuses_payment = trouble(150);
        weather.payer_declined = trouble(200);
        weather.wrong_amount = trouble(400);
        weather.lies = trouble(400);
        weather.last_moment = trouble(400);
        weather.browser_again = trouble(400);
        weather.callback_early = trouble(400);
        weather.issuer_slow = trouble(200);
        weather.lags = trouble(300);
        weather.refund_refused = trouble(300);
        weather.refund_refused_for_good = trouble(300);
        weather.refund_fails = trouble(400);
        weather.refund_sticks = trouble(200);
        weather.refund_lacks_money = trouble(200);
        weather.refund_comes_back = trouble(200);
        weather.callback_lost = trouble(300);
        weather.callback_twice = trouble(300);
        weather.callback_late = trouble(200);
        weather.acknowledgement_lost = trouble(200);
        weather.webhook_refused = trouble(300);
        weather.group_unavailable = trouble(40);
        weather.group_in_doubt = trouble(80);
        weather.damage = trouble(400);
        weather.crash = trouble(8);
        weather.timeout_ms = dice.pick(&[1_000, 3_000, 10_000, 30_000]);
        weather.latency_ms = dice.pick(&[(1, 20), (10, 500), (50, 4_000)]);
        weather.taking_ms = dice.pick(&[(0, 500), (0, 20_000), (1_000, 900_000)]);
        weather.commit_ms = dice.pick(&[(1, 10), (5, 200), (100, 3_000)]);
        weather.away_ms = dice.pick(&[(100, 1_000), (1_000, 60_000)]);
        weather.down_ms = dice.pick(&[(100, 2_000), (1_000, 600_000)]);
        weather
    }
}

/// How the server of a run is set up, and what people there mostly do.
#[derive(Debug, Clone)]
pub struct Habits {
    pub lanes: usize,
    /// What a lane does about a commit whose outcome is open.
    pub doubt: Doubt,
    pub idle_ms: i64,
    pub in_memory_max: usize,
    pub new_orders_max: usize,
    /// Who reads the same messages at the same time.
    pub couriers: usize,
    /// How many reminders are set for an order.
    pub reminders: u32,
    /// How many refunds a platform asks for, at most.
    pub refunds: i64,
    /// The channel that payers mostly choose.
    pub favourite: Option<Channel>,
    /// Due rows that are looked at together.
    pub page: u32,
}

impl Habits {
    pub fn draw(dice: &Dice) -> Self {
        Habits {
            lanes: dice.pick(&[1, 1, 2, 3]),
            doubt: dice.pick(&[Doubt::ReadBack, Doubt::ReadBack, Doubt::Stop]),
            idle_ms: dice.pick(&[100, 2_000, 60_000, 600_000]),
            in_memory_max: dice.pick(&[2, 100, 100]),
            new_orders_max: dice.pick(&[1, 100, 100]),
            couriers: dice.pick(&[1, 2]),
            reminders: dice.pick(&[0, 0, 1, 3]),
            refunds: dice.pick(&[0, 1, 3, 6]),
            favourite: dice.happens(600).then(|| dice.pick(&Channel::ALL)),
            page: dice.pick(&[1, 2, 1_000]),
        }
    }
}
