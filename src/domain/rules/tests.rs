use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;

/// [`V2`] as orders name it.
pub(in crate::domain) const NEXT: RulesVersion = RulesVersion(&V2);
const MINUTE: i64 = 60_000;

/// A version that might come: every table differs from version 1.
static V2: Tables = Tables {
    number: 2,
    channel: |channel| &V2_RULES[channel.index()],
    queries: |_, _| &[7_000],
    refunds: |_| &[8_000],
    refund_rounds: |_| &[9_000, 9_000],
    watches: &[11_000],
    claim_stands_ms: 60 * MINUTE,
};
static V2_RULES: LazyLock<[Rules; Channel::COUNT]> =
    LazyLock::new(|| Channel::ALL.map(|channel| Rules { grace_ms: 30 * MINUTE, ..*channel::rules_1(channel) }));

#[test]
fn a_version_is_stored_as_its_number_and_an_unknown_one_is_refused() {
    assert_eq!(serde_json::to_value(RulesVersion::CURRENT).unwrap(), json!(1));
    let known: RulesVersion = serde_json::from_value(json!(1)).unwrap();
    assert_eq!(known, RulesVersion::CURRENT);
    for unknown in [json!(0), json!(2), json!("1"), Value::Null] {
        assert!(serde_json::from_value::<RulesVersion>(unknown.clone()).is_err(), "{unknown}");
    }
    let numbers = RulesVersion::KNOWN.map(RulesVersion::number);
    assert!(numbers.is_sorted_by(|one, other| one < other) && numbers.last() == Some(&RulesVersion::CURRENT.number()));
}
