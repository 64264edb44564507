//! Double entry: an entry is a set of lines that sum to zero, and none other can be made.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::Channel;
use super::id::{Account, PlatformId};
use super::money::Currency;

/// Whose money a line speaks of. Amounts owed to us are positive, what we owe is negative.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// What a channel holds for us.
    Channel(Account),
    /// What we owe a platform.
    Platform(PlatformId),
    /// What we earned by fees at a channel.
    Fees(Channel),
    /// Fees that a platform bears and that its settlement will take.
    FeesDue(PlatformId),
    /// Money that belongs back to a payer.
    Suspense(Account),
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerAccount::Channel(account) => write!(f, "channel:{account}"),
            LedgerAccount::Platform(platform) => write!(f, "platform:{}", platform.0),
            LedgerAccount::Fees(channel) => write!(f, "fees:{channel}"),
            LedgerAccount::FeesDue(platform) => write!(f, "fees_due:{}", platform.0),
            LedgerAccount::Suspense(account) => write!(f, "suspense:{account}"),
        }
    }
}

impl Serialize for LedgerAccount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LedgerAccount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let unreadable = || serde::de::Error::custom("unknown ledger account");
        let (kind, whose) = text.split_once(':').ok_or_else(unreadable)?;
        let account = || whose.parse::<Account>().map_err(|_| unreadable());
        let platform = || whose.parse().map(PlatformId).map_err(|_| unreadable());
        match kind {
            "channel" => Ok(LedgerAccount::Channel(account()?)),
            "suspense" => Ok(LedgerAccount::Suspense(account()?)),
            "platform" => Ok(LedgerAccount::Platform(platform()?)),
            "fees_due" => Ok(LedgerAccount::FeesDue(platform()?)),
            "fees" => Ok(LedgerAccount::Fees(Channel::parse(whose).ok_or_else(unreadable)?)),
            _ => Err(unreadable()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The capture that an order was paid by, with its fee.
    Payment,
    /// A capture that no order was paid by.
    Suspense,
    /// Its way back to the payer.
    SuspenseRefund,
}

impl EntryKind {
    pub const fn name(self) -> &'static str {
        match self {
            EntryKind::Payment => "payment",
            EntryKind::Suspense => "suspense",
            EntryKind::SuspenseRefund => "suspense_refund",
        }
    }
}

/// Balanced lines in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    kind: EntryKind,
    currency: Currency,
    lines: Vec<(LedgerAccount, i64)>,
}

impl Entry {
    /// # Panics
    /// When the lines do not sum to zero: our code would be wrong, and nothing may be booked by it.
    fn new(kind: EntryKind, currency: Currency, lines: Vec<(LedgerAccount, i64)>) -> Self {
        let sum = lines.iter().try_fold(0i64, |sum, (_, amount)| sum.checked_add(*amount));
        assert_eq!(sum, Some(0), "an entry's lines sum to zero");
        let lines = lines.into_iter().filter(|(_, amount)| *amount != 0).collect();
        Entry { kind, currency, lines }
    }

    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    pub fn currency(&self) -> Currency {
        self.currency
    }

    pub fn lines(&self) -> &[(LedgerAccount, i64)] {
        &self.lines
    }

    /// A payment whose payer bears the fee: the channel holds amount and fee.
    pub fn payment_by_payer(
        account: &Account,
        platform: PlatformId,
        currency: Currency,
        (amount_minor, fee_minor): (i64, i64),
    ) -> Self {
        let captured = amount_minor.checked_add(fee_minor).expect("a payable amount was checked when it was quoted");
        Entry::new(
            EntryKind::Payment,
            currency,
            vec![
                (LedgerAccount::Channel(account.clone()), captured),
                (LedgerAccount::Platform(platform), -amount_minor),
                (LedgerAccount::Fees(account.channel()), -fee_minor),
            ],
        )
    }

    /// A payment whose platform bears the fee: it is due at the platform's settlement.
    pub fn payment_by_platform(
        account: &Account,
        platform: PlatformId,
        currency: Currency,
        (amount_minor, fee_minor): (i64, i64),
    ) -> Self {
        Entry::new(
            EntryKind::Payment,
            currency,
            vec![
                (LedgerAccount::Channel(account.clone()), amount_minor),
                (LedgerAccount::Platform(platform), -amount_minor),
                (LedgerAccount::FeesDue(platform), fee_minor),
                (LedgerAccount::Fees(account.channel()), -fee_minor),
            ],
        )
    }

    /// Money taken that no order was paid by.
    pub fn suspense(account: &Account, currency: Currency, amount_minor: i64) -> Self {
        Entry::new(
            EntryKind::Suspense,
            currency,
            vec![
                (LedgerAccount::Channel(account.clone()), amount_minor),
                (LedgerAccount::Suspense(account.clone()), -amount_minor),
            ],
        )
    }

    /// Suspense money given back.
    pub fn suspense_refund(account: &Account, currency: Currency, amount_minor: i64) -> Self {
        Entry::new(
            EntryKind::SuspenseRefund,
            currency,
            vec![
                (LedgerAccount::Suspense(account.clone()), amount_minor),
                (LedgerAccount::Channel(account.clone()), -amount_minor),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_accounts_are_read_back() {
        let accounts = [
            LedgerAccount::Channel(Account::new(Channel::Simpay, "default")),
            LedgerAccount::Platform(PlatformId(7)),
            LedgerAccount::Fees(Channel::Alipay),
            LedgerAccount::FeesDue(PlatformId(7)),
            LedgerAccount::Suspense(Account::new(Channel::Stripe, "second")),
        ];
        for account in accounts {
            let text = serde_json::to_string(&account).unwrap();
            assert_eq!(serde_json::from_str::<LedgerAccount>(&text).unwrap(), account);
        }
        assert!(serde_json::from_str::<LedgerAccount>("\"platform:x\"").is_err());
        assert!(serde_json::from_str::<LedgerAccount>("\"cash\"").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_entry_sums_to_zero(amount in 1i64..=99_999_999_999_999, fee in 0i64..=1_000_000_000) {
            let currency = Currency::parse("CNY").unwrap();
            let at = &Account::new(Channel::Simpay, "default");
            for entry in [
                Entry::payment_by_payer(at, PlatformId(1), currency, (amount, fee)),
                Entry::payment_by_platform(at, PlatformId(1), currency, (amount, fee)),
                Entry::suspense(at, currency, amount),
                Entry::suspense_refund(at, currency, amount),
            ] {
                proptest::prop_assert_eq!(entry.lines().iter().map(|(_, amount)| amount).sum::<i64>(), 0);
                proptest::prop_assert!(entry.lines().len() >= 2);
            }
        }
    }
}
