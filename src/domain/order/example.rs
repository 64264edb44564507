//! An order for tests.

use super::*;

pub(crate) const AT: Instant = Instant(1_767_225_600_123);

/// 200.00 CNY, of which WeChat Pay was asked for 200.60.
pub(crate) fn order() -> Order {
    let rates = ["0.003", "0.003", "0.005", "0.006", "0.029"];
    Order {
        id: OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666),
        platform: PlatformId(1),
        version: 1,
        state: State::Submitted,
        currency: Currency::parse("CNY").unwrap(),
        amount_minor: 20_000,
        rates: rates.map(|rate| Rate::new(rate.parse().unwrap()).unwrap()).into(),
        rules: RulesVersion::CURRENT,
        fee_bearer: FeeBearer::Payer,
        pace: Pace::Sandbox,
        time_scale: TimeScale::TRUE,
        webhooks: Webhooks::Wanted,
        attempts_max: 5,
        created_at: AT,
        expires_at: AT.plus_ms(7_200_000),
        finished_at: None,
        watched_from: None,
        last_at: AT,
        failure: None,
        last_failure: None,
        wish: None,
        sequence: 0,
        attempts: vec![attempt(0, AttemptState::Open)],
        captures: Vec::new(),
        refunds: Vec::new(),
        splits: Box::default(),
        messages_taken: 0,
    }
}

fn attempt(ordinal: u8, state: AttemptState) -> Attempt {
    Attempt {
        ordinal,
        incarnation: Incarnation::default(),
        account: Account::new(Channel::Wechat, "default"),
        merchant: Merchant::Operator,
        method: Method::Native,
        payable_minor: 20_060,
        fee_minor: 60,
        state,
        opened_at: AT,
        expires_at: AT,
        paced_from: AT,
        sends: 1,
        answered: 1,
        reach: Reach::Shown,
        close: CloseStage::NotAsked,
        claimed_at: None,
        watched: 0,
        failure: None,
        reference: None,
    }
}
