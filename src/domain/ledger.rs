//! Double entry: an entry is a set of lines that sum to zero, and none other can be made.
//!
//! What is owed to us is positive, what we owe is negative.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bank::BankName;
use super::channel::Channel;
use super::cycle::CycleId;
use super::dated::Effective;
use super::id::{Account, PlatformId, RefundOrdinal};
use super::merchant::Merchant;
use super::money::Currency;
use super::time::Instant;

/// Whose money a line speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// What a channel holds for us and has not settled yet. Normally positive.
    Channel(Account),
    /// What we owe a platform of its open cycle. Normally negative.
    Platform(PlatformId),
    /// What we earned by fees at a channel. Normally negative.
    Fees(Channel),
    /// Fees that a platform bears and that its settlement will take. Normally positive.
    FeesDue(PlatformId),
    /// Money of refunds under way: it is the payers', and the channel has not paid it yet. Normally negative.
    RefundPending(Account),
    /// Money that belongs back to a payer and for which no refund is under way. Normally negative.
    Suspense(Account),
    /// What a channel has settled into our own balance there. Normally positive.
    Wallet(Account),
    /// Money on its way between a channel and a bank. Normally positive.
    Transit(Account),
    /// Money that a channel took and that belongs to nobody we know. Normally negative.
    Unclaimed(Account),
    /// Money that a channel took back while a payer disputes a payment. Normally positive.
    Dispute(Account),
    /// What a channel charged us. Normally positive.
    Cost(Account),
    /// What banks charged us. Normally positive.
    BankCost,
    /// Our own money at a bank. Normally positive.
    Bank(BankName),
    /// Payouts that were approved and that the bank has not carried out yet. Normally negative.
    Payout(BankName),
    /// What we owe a platform of its closed cycles, until a payout is approved. Normally negative.
    Settlement(PlatformId),
    /// What we hold back of a platform's. Normally negative.
    Held(PlatformId),
    /// What the operator put in. Normally negative.
    Equity,
    /// What was owed to us and is given up. Normally positive.
    WrittenOff,
    /// What a platform owes other platforms of money that it took itself, less what they owe it: of its open cycle. Of
    /// either sign; those of all platforms sum to zero.
    Position(PlatformId),
    /// The same of closed cycles, until they have paid each other.
    Netting(PlatformId),
}

/// The kinds of accounts, as their names begin.
mod kind {
    pub const CHANNEL: &str = "channel";
    pub const PLATFORM: &str = "platform";
    pub const FEES: &str = "fees";
    pub const FEES_DUE: &str = "fees_due";
    pub const REFUND_PENDING: &str = "refund_pending";
    pub const SUSPENSE: &str = "suspense";
    pub const WALLET: &str = "wallet";
    pub const TRANSIT: &str = "transit";
    pub const UNCLAIMED: &str = "unclaimed";
    pub const DISPUTE: &str = "dispute";
    pub const COST: &str = "cost";
    pub const BANK_COST: &str = "bank_cost";
    pub const BANK: &str = "bank";
    pub const PAYOUT: &str = "payout";
    pub const SETTLEMENT: &str = "settlement";
    pub const HELD: &str = "held";
    pub const EQUITY: &str = "equity";
    pub const WRITTEN_OFF: &str = "written_off";
    pub const POSITION: &str = "position";
    pub const NETTING: &str = "netting";
}

impl LedgerAccount {
    /// Whose it is, where it is a platform's.
    pub const fn platform(&self) -> Option<PlatformId> {
        match self {
            LedgerAccount::Platform(platform)
            | LedgerAccount::FeesDue(platform)
            | LedgerAccount::Settlement(platform)
            | LedgerAccount::Held(platform)
            | LedgerAccount::Position(platform)
            | LedgerAccount::Netting(platform) => Some(*platform),
            LedgerAccount::Channel(_)
            | LedgerAccount::Fees(_)
            | LedgerAccount::RefundPending(_)
            | LedgerAccount::Suspense(_)
            | LedgerAccount::Wallet(_)
            | LedgerAccount::Transit(_)
            | LedgerAccount::Unclaimed(_)
            | LedgerAccount::Dispute(_)
            | LedgerAccount::Cost(_)
            | LedgerAccount::BankCost
            | LedgerAccount::Bank(_)
            | LedgerAccount::Payout(_)
            | LedgerAccount::Equity
            | LedgerAccount::WrittenOff => None,
        }
    }

    /// Whether its lines belong to cycles: what is closed with a cycle, and no more booked on in it.
    pub const fn is_of_cycles(&self) -> bool {
        match self {
            LedgerAccount::Platform(_) | LedgerAccount::FeesDue(_) | LedgerAccount::Position(_) => true,
            LedgerAccount::Settlement(_)
            | LedgerAccount::Held(_)
            | LedgerAccount::Netting(_)
            | LedgerAccount::Channel(_)
            | LedgerAccount::Fees(_)
            | LedgerAccount::RefundPending(_)
            | LedgerAccount::Suspense(_)
            | LedgerAccount::Wallet(_)
            | LedgerAccount::Transit(_)
            | LedgerAccount::Unclaimed(_)
            | LedgerAccount::Dispute(_)
            | LedgerAccount::Cost(_)
            | LedgerAccount::BankCost
            | LedgerAccount::Bank(_)
            | LedgerAccount::Payout(_)
            | LedgerAccount::Equity
            | LedgerAccount::WrittenOff => false,
        }
    }

    /// The account of its name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            kind::BANK_COST => return Some(LedgerAccount::BankCost),
            kind::EQUITY => return Some(LedgerAccount::Equity),
            kind::WRITTEN_OFF => return Some(LedgerAccount::WrittenOff),
            _ => {}
        }
        let (kind, whose) = text.split_once(':')?;
        let account = || whose.parse::<Account>().ok();
        let platform = || whose.parse().ok().map(PlatformId);
        match kind {
            kind::CHANNEL => account().map(LedgerAccount::Channel),
            kind::REFUND_PENDING => account().map(LedgerAccount::RefundPending),
            kind::SUSPENSE => account().map(LedgerAccount::Suspense),
            kind::WALLET => account().map(LedgerAccount::Wallet),
            kind::TRANSIT => account().map(LedgerAccount::Transit),
            kind::UNCLAIMED => account().map(LedgerAccount::Unclaimed),
            kind::DISPUTE => account().map(LedgerAccount::Dispute),
            kind::COST => account().map(LedgerAccount::Cost),
            kind::BANK => BankName::parse(whose).map(LedgerAccount::Bank),
            kind::PAYOUT => BankName::parse(whose).map(LedgerAccount::Payout),
            kind::SETTLEMENT => platform().map(LedgerAccount::Settlement),
            kind::HELD => platform().map(LedgerAccount::Held),
            kind::PLATFORM => platform().map(LedgerAccount::Platform),
            kind::FEES_DUE => platform().map(LedgerAccount::FeesDue),
            kind::POSITION => platform().map(LedgerAccount::Position),
            kind::NETTING => platform().map(LedgerAccount::Netting),
            kind::FEES => Channel::parse(whose).map(LedgerAccount::Fees),
            _ => None,
        }
    }
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerAccount::Channel(account) => write!(f, "{}:{account}", kind::CHANNEL),
            LedgerAccount::Platform(platform) => write!(f, "{}:{}", kind::PLATFORM, platform.0),
            LedgerAccount::Fees(channel) => write!(f, "{}:{channel}", kind::FEES),
            LedgerAccount::FeesDue(platform) => write!(f, "{}:{}", kind::FEES_DUE, platform.0),
            LedgerAccount::RefundPending(account) => write!(f, "{}:{account}", kind::REFUND_PENDING),
            LedgerAccount::Suspense(account) => write!(f, "{}:{account}", kind::SUSPENSE),
            LedgerAccount::Wallet(account) => write!(f, "{}:{account}", kind::WALLET),
            LedgerAccount::Transit(account) => write!(f, "{}:{account}", kind::TRANSIT),
            LedgerAccount::Unclaimed(account) => write!(f, "{}:{account}", kind::UNCLAIMED),
            LedgerAccount::Dispute(account) => write!(f, "{}:{account}", kind::DISPUTE),
            LedgerAccount::Cost(account) => write!(f, "{}:{account}", kind::COST),
            LedgerAccount::BankCost => f.write_str(kind::BANK_COST),
            LedgerAccount::Bank(bank) => write!(f, "{}:{bank}", kind::BANK),
            LedgerAccount::Payout(bank) => write!(f, "{}:{bank}", kind::PAYOUT),
            LedgerAccount::Settlement(platform) => write!(f, "{}:{}", kind::SETTLEMENT, platform.0),
            LedgerAccount::Held(platform) => write!(f, "{}:{}", kind::HELD, platform.0),
            LedgerAccount::Equity => f.write_str(kind::EQUITY),
            LedgerAccount::WrittenOff => f.write_str(kind::WRITTEN_OFF),
            LedgerAccount::Position(platform) => write!(f, "{}:{}", kind::POSITION, platform.0),
            LedgerAccount::Netting(platform) => write!(f, "{}:{}", kind::NETTING, platform.0),
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
        LedgerAccount::parse(&text).ok_or_else(|| serde::de::Error::custom("unknown ledger account"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The capture that an order was paid by, with its fee and its shares.
    Payment,
    /// A capture that no order was paid by.
    Suspense,
    /// A refund was created: its parties have given their parts.
    Refund,
    /// The channel has paid a refund.
    RefundPaid,
    /// A person has paid a refund by other means.
    RefundPaidOtherwise,
    /// A refund came to nothing: the parties have their parts again.
    RefundFailed,
    /// The money of a refund came back to the channel: the parties have their parts again.
    RefundReturned,
    /// A cycle was closed: what a platform has of it is settled.
    Closing,
    /// What two persons booked by hand.
    Adjustment,
    /// A payout was approved.
    Payout,
    /// The bank has carried a payout out.
    PayoutPaid,
    /// A payout came to nothing: it was refused by the bank, or cancelled.
    PayoutFailed,
    /// The bank sent a payout's money back.
    PayoutReturned,
    /// A platform has paid what it owed us.
    PaymentReceived,
    /// What a platform owes us is given up.
    WriteOff,
    /// Platforms have paid each other what they owed.
    Netting,
}

impl EntryKind {
    pub const ALL: [EntryKind; 16] = [
        EntryKind::Payment,
        EntryKind::Suspense,
        EntryKind::Refund,
        EntryKind::RefundPaid,
        EntryKind::RefundPaidOtherwise,
        EntryKind::RefundFailed,
        EntryKind::RefundReturned,
        EntryKind::Closing,
        EntryKind::Adjustment,
        EntryKind::Payout,
        EntryKind::PayoutPaid,
        EntryKind::PayoutFailed,
        EntryKind::PayoutReturned,
        EntryKind::PaymentReceived,
        EntryKind::WriteOff,
        EntryKind::Netting,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            EntryKind::Payment => "payment",
            EntryKind::Suspense => "suspense",
            EntryKind::Refund => "refund",
            EntryKind::RefundPaid => "refund_paid",
            EntryKind::RefundPaidOtherwise => "refund_paid_otherwise",
            EntryKind::RefundFailed => "refund_failed",
            EntryKind::RefundReturned => "refund_returned",
            EntryKind::Closing => "closing",
            EntryKind::Adjustment => "adjustment",
            EntryKind::Payout => "payout",
            EntryKind::PayoutPaid => "payout_paid",
            EntryKind::PayoutFailed => "payout_failed",
            EntryKind::PayoutReturned => "payout_returned",
            EntryKind::PaymentReceived => "payment_received",
            EntryKind::WriteOff => "write_off",
            EntryKind::Netting => "netting",
        }
    }
}

/// What a line is to its platform: the type of its balance transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionKind {
    Payment,
    Fee,
    ShareOut,
    ShareIn,
    Refund,
    ShareBack,
    FeeReturned,
    RefundFailed,
    RefundReturned,
    Adjustment,
    Payout,
    PayoutFailed,
    PayoutReturned,
    PaymentReceived,
}

impl TransactionKind {
    pub const ALL: [TransactionKind; 14] = [
        TransactionKind::Payment,
        TransactionKind::Fee,
        TransactionKind::ShareOut,
        TransactionKind::ShareIn,
        TransactionKind::Refund,
        TransactionKind::ShareBack,
        TransactionKind::FeeReturned,
        TransactionKind::RefundFailed,
        TransactionKind::RefundReturned,
        TransactionKind::Adjustment,
        TransactionKind::Payout,
        TransactionKind::PayoutFailed,
        TransactionKind::PayoutReturned,
        TransactionKind::PaymentReceived,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            TransactionKind::Payment => "payment",
            TransactionKind::Fee => "fee",
            TransactionKind::ShareOut => "share_out",
            TransactionKind::ShareIn => "share_in",
            TransactionKind::Refund => "refund",
            TransactionKind::ShareBack => "share_back",
            TransactionKind::FeeReturned => "fee_returned",
            TransactionKind::RefundFailed => "refund_failed",
            TransactionKind::RefundReturned => "refund_returned",
            TransactionKind::Adjustment => "adjustment",
            TransactionKind::Payout => "payout",
            TransactionKind::PayoutFailed => "payout_failed",
            TransactionKind::PayoutReturned => "payout_returned",
            TransactionKind::PaymentReceived => "payment_received",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        TransactionKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which total of a settlement a line adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heading {
    /// What payers paid the platform, with the shares that it gives.
    Gross,
    Refunds,
    /// Those that it bears.
    Fees,
    /// What other platforms give it, less what it gave back.
    SharesIn,
    /// What it gives other platforms, less what it got back.
    SharesOut,
    Adjustments,
    /// Shares of money that a platform took itself, of either direction.
    Positions,
}

impl Heading {
    pub const ALL: [Heading; 7] = [
        Heading::Gross,
        Heading::Refunds,
        Heading::Fees,
        Heading::SharesIn,
        Heading::SharesOut,
        Heading::Adjustments,
        Heading::Positions,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Heading::Gross => "gross",
            Heading::Refunds => "refunds",
            Heading::Fees => "fees",
            Heading::SharesIn => "shares_in",
            Heading::SharesOut => "shares_out",
            Heading::Adjustments => "adjustments",
            Heading::Positions => "positions",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Heading::ALL.into_iter().find(|heading| heading.name() == name)
    }

    /// The other platform of a line, where sums under this heading are kept by it.
    pub const fn counterparty(self, of: Transaction) -> Option<PlatformId> {
        match self {
            Heading::Positions => of.counterparty,
            Heading::Gross
            | Heading::Refunds
            | Heading::Fees
            | Heading::SharesIn
            | Heading::SharesOut
            | Heading::Adjustments => None,
        }
    }

    /// Of a line with this transaction. None where its account is settled by no cycle.
    pub fn of(account: &LedgerAccount, transaction: Transaction, amount_minor: i64) -> Option<Self> {
        if !account.is_of_cycles() {
            return None;
        }
        if matches!(account, LedgerAccount::Position(_)) {
            return Some(Heading::Positions);
        }
        // Positive is what the platform gives: a share of its own, or one that it had got.
        let given_again = if amount_minor > 0 { Heading::SharesOut } else { Heading::SharesIn };
        let given_back = if amount_minor > 0 { Heading::SharesIn } else { Heading::SharesOut };
        let is_fee = matches!(account, LedgerAccount::FeesDue(_));
        Some(match (transaction.kind, transaction.counterparty) {
            (TransactionKind::Payment, _) => Heading::Gross,
            (TransactionKind::Fee | TransactionKind::FeeReturned, _) => Heading::Fees,
            (TransactionKind::RefundFailed | TransactionKind::RefundReturned, _) if is_fee => Heading::Fees,
            (TransactionKind::Refund, _) | (TransactionKind::RefundFailed | TransactionKind::RefundReturned, None) => {
                Heading::Refunds
            }
            (TransactionKind::RefundFailed | TransactionKind::RefundReturned, Some(_)) => given_again,
            (TransactionKind::ShareIn, _) => Heading::SharesIn,
            (TransactionKind::ShareOut, _) => Heading::SharesOut,
            (TransactionKind::ShareBack, _) => given_back,
            (
                TransactionKind::Adjustment
                | TransactionKind::Payout
                | TransactionKind::PayoutFailed
                | TransactionKind::PayoutReturned
                | TransactionKind::PaymentReceived,
                _,
            ) => Heading::Adjustments,
        })
    }
}

/// An amount on an account. A platform's line is its balance transaction: it has a kind, and a counterparty where the
/// money came from another platform or went to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub account: LedgerAccount,
    pub amount_minor: i64,
    pub transaction: Option<Transaction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction {
    pub kind: TransactionKind,
    pub counterparty: Option<PlatformId>,
}

impl Line {
    /// Which total of a settlement it adds to.
    pub fn heading(&self) -> Option<Heading> {
        Heading::of(&self.account, self.transaction?, self.amount_minor)
    }

    fn ours(account: LedgerAccount, amount_minor: i64) -> Self {
        Line { account, amount_minor, transaction: None }
    }

    fn platforms(
        account: LedgerAccount,
        amount_minor: i64,
        kind: TransactionKind,
        counterparty: Option<PlatformId>,
    ) -> Self {
        Line { account, amount_minor, transaction: Some(Transaction { kind, counterparty }) }
    }
}

/// Balanced lines in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    kind: EntryKind,
    currency: Currency,
    effective: Effective,
    /// The refund that it is about, where a platform asked for one.
    refund: Option<RefundOrdinal>,
    /// The cycle that it closes: its lines are that cycle's last. All other entries belong to the cycle that is open.
    closes: Option<CycleId>,
    lines: Vec<Line>,
}

/// Where money of a payment was taken and by whom, who sold, and when.
#[derive(Debug, Clone, Copy)]
pub struct Booking<'a> {
    pub account: &'a Account,
    pub merchant: Merchant,
    pub seller: PlatformId,
    pub currency: Currency,
    pub effective: Effective,
}

/// The fee of a payment or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fee {
    /// Taken from the payer beside the amount.
    OfPayer(i64),
    /// Due at the seller's settlement.
    OfPlatform(i64),
}

impl Fee {
    /// What of it is a part of what the payer pays.
    pub const fn paid_minor(self) -> i64 {
        match self {
            Fee::OfPayer(fee) => fee,
            Fee::OfPlatform(_) => 0,
        }
    }

    const fn minor(self) -> i64 {
        match self {
            Fee::OfPayer(fee) | Fee::OfPlatform(fee) => fee,
        }
    }
}

/// Who gets what: the seller's own part, and those of others.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub seller_minor: i64,
    pub others: &'a [(PlatformId, i64)],
}

impl Parts<'_> {
    fn sum(&self) -> i64 {
        self.others.iter().fold(self.seller_minor, |sum, (_, part)| sum.checked_add(*part).expect(BOUNDED))
    }
}

/// What a platform's lines of a cycle sum to, by account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CycleSums {
    pub fees_due_minor: i64,
    pub platform_minor: i64,
    pub position_minor: i64,
}

impl CycleSums {
    /// What the platform owes us of the cycle; negative where we owe it. None where that is no number.
    pub fn owed_to_us_minor(&self) -> Option<i64> {
        self.platform_minor.checked_add(self.fees_due_minor)
    }

    /// Adds to one of them; none where the account is of no cycles, or the sum no number.
    pub fn add(&mut self, account: &LedgerAccount, amount_minor: i64) -> Option<()> {
        let sum = match account {
            LedgerAccount::Platform(_) => &mut self.platform_minor,
            LedgerAccount::FeesDue(_) => &mut self.fees_due_minor,
            LedgerAccount::Position(_) => &mut self.position_minor,
            LedgerAccount::Settlement(_)
            | LedgerAccount::Held(_)
            | LedgerAccount::Netting(_)
            | LedgerAccount::Channel(_)
            | LedgerAccount::Fees(_)
            | LedgerAccount::RefundPending(_)
            | LedgerAccount::Suspense(_)
            | LedgerAccount::Wallet(_)
            | LedgerAccount::Transit(_)
            | LedgerAccount::Unclaimed(_)
            | LedgerAccount::Dispute(_)
            | LedgerAccount::Cost(_)
            | LedgerAccount::BankCost
            | LedgerAccount::Bank(_)
            | LedgerAccount::Payout(_)
            | LedgerAccount::Equity
            | LedgerAccount::WrittenOff => return None,
        };
        *sum = sum.checked_add(amount_minor)?;
        Some(())
    }
}

/// The lines that say something.
///
/// # Panics
/// When they do not sum to zero: our code would be wrong, and nothing may be booked by it.
fn balanced(mut lines: Vec<Line>) -> Vec<Line> {
    let sum = lines.iter().try_fold(0i64, |sum, line| sum.checked_add(line.amount_minor));
    assert_eq!(sum, Some(0), "an entry's lines sum to zero");
    lines.retain(|line| line.amount_minor != 0);
    lines
}

/// Lines that do not sum to zero, or are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbalanced;

const BOUNDED: &str = "amounts were bounded when they were taken";

impl Entry {
    /// # Panics
    /// When the lines do not sum to zero: our code would be wrong, and nothing may be booked by it.
    fn new(kind: EntryKind, of: &Booking<'_>, lines: Vec<Line>) -> Self {
        let (currency, effective) = (of.currency, of.effective);
        Entry { kind, currency, effective, refund: None, closes: None, lines: balanced(lines) }
    }

    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    pub fn currency(&self) -> Currency {
        self.currency
    }

    pub fn effective(&self) -> Effective {
        self.effective
    }

    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The refund that it is about, where a platform asked for one.
    pub fn refund(&self) -> Option<RefundOrdinal> {
        self.refund
    }

    /// The cycle that it closes.
    pub fn closes(&self) -> Option<CycleId> {
        self.closes
    }

    /// The same, about a refund.
    #[must_use]
    pub fn about(self, refund: Option<RefundOrdinal>) -> Self {
        Entry { refund, ..self }
    }

    /// What an order was paid by.
    pub fn payment(of: &Booking<'_>, parts: Parts<'_>, fee: Fee) -> Self {
        let kinds = Kinds {
            seller: TransactionKind::Payment,
            share_out: TransactionKind::ShareOut,
            share_in: TransactionKind::ShareIn,
            fee: TransactionKind::Fee,
        };
        Entry::new(EntryKind::Payment, of, given(of, parts, fee, LedgerAccount::Channel, kinds))
    }

    /// A refund was created: what goes back to the payer waits for the channel.
    pub fn refund_created(of: &Booking<'_>, parts: Parts<'_>, fee: Fee) -> Self {
        let kinds = Kinds {
            seller: TransactionKind::Refund,
            share_out: TransactionKind::ShareBack,
            share_in: TransactionKind::ShareBack,
            fee: TransactionKind::FeeReturned,
        };
        let mut lines = given(of, parts, fee, LedgerAccount::RefundPending, kinds);
        for line in &mut lines {
            line.amount_minor = -line.amount_minor;
        }
        Entry::new(EntryKind::Refund, of, lines)
    }

    /// A refund came to nothing: its creation is reversed.
    pub fn refund_failed(of: &Booking<'_>, parts: Parts<'_>, fee: Fee) -> Self {
        let kinds = Kinds::all(TransactionKind::RefundFailed);
        Entry::new(EntryKind::RefundFailed, of, given(of, parts, fee, LedgerAccount::RefundPending, kinds))
    }

    /// What a refund gave to the payer is at the channel again.
    pub fn refund_returned(of: &Booking<'_>, parts: Parts<'_>, fee: Fee) -> Self {
        let kinds = Kinds::all(TransactionKind::RefundReturned);
        Entry::new(EntryKind::RefundReturned, of, given(of, parts, fee, LedgerAccount::Channel, kinds))
    }

    /// The channel has paid a refund.
    pub fn refund_paid(of: &Booking<'_>, amount_minor: i64) -> Self {
        Entry::moved(EntryKind::RefundPaid, of, (of.pending(), of.channel()), amount_minor)
    }

    /// A person has paid a refund from our own money.
    pub fn refund_paid_otherwise(of: &Booking<'_>, amount_minor: i64) -> Self {
        Entry::moved(
            EntryKind::RefundPaidOtherwise,
            of,
            (of.pending(), LedgerAccount::Bank(BankName::main())),
            amount_minor,
        )
    }

    /// Money taken that no order was paid by.
    pub fn suspense(of: &Booking<'_>, amount_minor: i64) -> Self {
        Entry::moved(EntryKind::Suspense, of, (of.channel(), of.suspense()), amount_minor)
    }

    /// Suspense money is to go back.
    pub fn suspense_refund(of: &Booking<'_>, amount_minor: i64) -> Self {
        Entry::moved(EntryKind::Refund, of, (of.suspense(), of.pending()), amount_minor)
    }

    /// What went back to a payer is suspense again.
    pub fn suspense_returned(of: &Booking<'_>, amount_minor: i64) -> Self {
        Entry::moved(EntryKind::RefundReturned, of, (of.channel(), of.suspense()), amount_minor)
    }

    /// What two persons booked by hand. A platform's line is a transaction of its own.
    ///
    /// # Errors
    /// The lines do not sum to zero, or are none.
    pub fn adjustment(currency: Currency, at: Instant, amounts: &[(LedgerAccount, i64)]) -> Result<Self, Unbalanced> {
        let sum = amounts.iter().try_fold(0i64, |sum, (_, amount)| sum.checked_add(*amount));
        if sum != Some(0) || amounts.iter().all(|(_, amount)| *amount == 0) {
            return Err(Unbalanced);
        }
        let line = |(account, amount_minor): &(LedgerAccount, i64)| match account.platform() {
            Some(_) => Line::platforms(account.clone(), *amount_minor, TransactionKind::Adjustment, None),
            None => Line::ours(account.clone(), *amount_minor),
        };
        let lines = amounts.iter().filter(|(_, amount)| *amount != 0).map(line).collect();
        Ok(Entry::unbilled(EntryKind::Adjustment, (currency, at), lines))
    }

    /// Of what stands in no channel's bill.
    fn unbilled(kind: EntryKind, (currency, at): (Currency, Instant), lines: Vec<Line>) -> Self {
        let effective = Effective::unbilled(at);
        Entry { kind, currency, effective, refund: None, closes: None, lines: balanced(lines) }
    }

    /// A platform's cycle is closed: what it has of it is settled, and its position is to be netted.
    ///
    /// # Panics
    /// For sums that are no numbers: they were added before.
    pub fn closing(cycle: CycleId, platform: PlatformId, of: (Currency, Instant), sums: &CycleSums) -> Self {
        let lines = vec![
            Line::ours(LedgerAccount::Platform(platform), -sums.platform_minor),
            Line::ours(LedgerAccount::FeesDue(platform), -sums.fees_due_minor),
            Line::ours(LedgerAccount::Settlement(platform), sums.owed_to_us_minor().expect(BOUNDED)),
            Line::ours(LedgerAccount::Position(platform), -sums.position_minor),
            Line::ours(LedgerAccount::Netting(platform), sums.position_minor),
        ];
        Entry { closes: Some(cycle), ..Entry::unbilled(EntryKind::Closing, of, lines) }
    }

    /// A payout was approved: what was settled is on its way to the bank.
    pub fn payout(payee: PlatformId, of: (Currency, Instant), bank: &BankName, amount_minor: i64) -> Self {
        let (settlement, on_its_way) = (LedgerAccount::Settlement(payee), LedgerAccount::Payout(bank.clone()));
        let lines = vec![
            Line::platforms(settlement, amount_minor, TransactionKind::Payout, None),
            Line::ours(on_its_way, -amount_minor),
        ];
        Entry::unbilled(EntryKind::Payout, of, lines)
    }

    /// The bank has carried a payout out.
    pub fn payout_paid(of: (Currency, Instant), bank: &BankName, amount_minor: i64) -> Self {
        let lines = vec![
            Line::ours(LedgerAccount::Payout(bank.clone()), amount_minor),
            Line::ours(LedgerAccount::Bank(bank.clone()), -amount_minor),
        ];
        Entry::unbilled(EntryKind::PayoutPaid, of, lines)
    }

    /// An approved payout came to nothing.
    pub fn payout_failed(payee: PlatformId, of: (Currency, Instant), bank: &BankName, amount_minor: i64) -> Self {
        let (settlement, on_its_way) = (LedgerAccount::Settlement(payee), LedgerAccount::Payout(bank.clone()));
        let lines = vec![
            Line::platforms(settlement, -amount_minor, TransactionKind::PayoutFailed, None),
            Line::ours(on_its_way, amount_minor),
        ];
        Entry::unbilled(EntryKind::PayoutFailed, of, lines)
    }

    /// The bank sent the money of a payout back.
    pub fn payout_returned(payee: PlatformId, of: (Currency, Instant), bank: &BankName, amount_minor: i64) -> Self {
        let lines = vec![
            Line::ours(LedgerAccount::Bank(bank.clone()), amount_minor),
            Line::platforms(LedgerAccount::Settlement(payee), -amount_minor, TransactionKind::PayoutReturned, None),
        ];
        Entry::unbilled(EntryKind::PayoutReturned, of, lines)
    }

    /// A platform has paid what it owed us.
    pub fn payment_received(payer: PlatformId, of: (Currency, Instant), bank: &BankName, amount_minor: i64) -> Self {
        let lines = vec![
            Line::ours(LedgerAccount::Bank(bank.clone()), amount_minor),
            Line::platforms(LedgerAccount::Settlement(payer), -amount_minor, TransactionKind::PaymentReceived, None),
        ];
        Entry::unbilled(EntryKind::PaymentReceived, of, lines)
    }

    /// What a platform owes us is given up.
    pub fn write_off(debtor: PlatformId, of: (Currency, Instant), amount_minor: i64) -> Self {
        let lines = vec![
            Line::ours(LedgerAccount::WrittenOff, amount_minor),
            Line::platforms(LedgerAccount::Settlement(debtor), -amount_minor, TransactionKind::Adjustment, None),
        ];
        Entry::unbilled(EntryKind::WriteOff, of, lines)
    }

    /// One platform has paid another one what it owed it of closed cycles.
    pub fn netting((payer, payee): (PlatformId, PlatformId), of: (Currency, Instant), amount_minor: i64) -> Self {
        let lines = vec![
            Line::ours(LedgerAccount::Netting(payer), -amount_minor),
            Line::ours(LedgerAccount::Netting(payee), amount_minor),
        ];
        Entry::unbilled(EntryKind::Netting, of, lines)
    }

    /// Money of the operator's moves between two accounts. What moves in a seller's own account is not in these books.
    fn moved(kind: EntryKind, of: &Booking<'_>, (to, from): (LedgerAccount, LedgerAccount), amount_minor: i64) -> Self {
        let lines = match of.merchant {
            Merchant::Operator => vec![Line::ours(to, amount_minor), Line::ours(from, -amount_minor)],
            Merchant::Seller => Vec::new(),
        };
        Entry::new(kind, of, lines)
    }
}

impl Booking<'_> {
    fn channel(&self) -> LedgerAccount {
        LedgerAccount::Channel(self.account.clone())
    }

    fn pending(&self) -> LedgerAccount {
        LedgerAccount::RefundPending(self.account.clone())
    }

    fn suspense(&self) -> LedgerAccount {
        LedgerAccount::Suspense(self.account.clone())
    }

    /// Where a share that one platform gives another is booked.
    fn shares_of(&self, platform: PlatformId) -> LedgerAccount {
        match self.merchant {
            Merchant::Operator => LedgerAccount::Platform(platform),
            Merchant::Seller => LedgerAccount::Position(platform),
        }
    }

    /// What of a fee the seller owes us. Of money that it took itself, all of it: the payer's part too is there.
    const fn due_minor(&self, fee: Fee) -> i64 {
        match (self.merchant, fee) {
            (Merchant::Operator, Fee::OfPayer(_)) => 0,
            (Merchant::Operator, Fee::OfPlatform(fee))
            | (Merchant::Seller, Fee::OfPayer(fee) | Fee::OfPlatform(fee)) => fee,
        }
    }
}

/// What the lines of parties are to them.
struct Kinds {
    seller: TransactionKind,
    share_out: TransactionKind,
    share_in: TransactionKind,
    fee: TransactionKind,
}

impl Kinds {
    const fn all(kind: TransactionKind) -> Self {
        Kinds { seller: kind, share_out: kind, share_in: kind, fee: kind }
    }
}

/// The lines by which parties are given their parts of what `held_in` holds.
fn given(
    of: &Booking<'_>,
    parts: Parts<'_>,
    fee: Fee,
    held_in: fn(Account) -> LedgerAccount,
    kinds: Kinds,
) -> Vec<Line> {
    let mut lines = Vec::with_capacity(4 + 2 * parts.others.len());
    match of.merchant {
        Merchant::Operator => {
            let amount = parts.sum();
            let held = amount.checked_add(fee.paid_minor()).expect(BOUNDED);
            lines.push(Line::ours(held_in(of.account.clone()), held));
            lines.push(Line::platforms(LedgerAccount::Platform(of.seller), -amount, kinds.seller, None));
        }
        // That money is the seller's, and not in our books.
        Merchant::Seller => {}
    }
    for (other, part) in parts.others {
        lines.push(Line::platforms(of.shares_of(of.seller), *part, kinds.share_out, Some(*other)));
        lines.push(Line::platforms(of.shares_of(*other), -part, kinds.share_in, Some(of.seller)));
    }
    lines.push(Line::platforms(LedgerAccount::FeesDue(of.seller), of.due_minor(fee), kinds.fee, None));
    lines.push(Line::ours(LedgerAccount::Fees(of.account.channel()), -fee.minor()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dated::Day;

    fn at(channel: Channel) -> Account {
        Account::new(channel, "default")
    }

    fn booking(account: &Account) -> Booking<'_> {
        Booking {
            account,
            merchant: Merchant::Operator,
            seller: PlatformId(1),
            currency: Currency::parse("CNY").unwrap(),
            effective: Effective { at: Instant(0), bill_day: Day::parse("1970-01-01").unwrap() },
        }
    }

    fn lines(entry: &Entry) -> Vec<(String, i64, Option<&'static str>, Option<u32>)> {
        let told = |line: &Line| {
            let kind = line.transaction.map(|transaction| transaction.kind.name());
            let counterparty = line.transaction.and_then(|transaction| transaction.counterparty);
            (line.account.to_string(), line.amount_minor, kind, counterparty.map(|platform| platform.0))
        };
        entry.lines().iter().map(told).collect()
    }

    #[test]
    fn ledger_accounts_are_read_back() {
        let accounts = [
            LedgerAccount::Channel(at(Channel::Simpay)),
            LedgerAccount::Platform(PlatformId(7)),
            LedgerAccount::Fees(Channel::Alipay),
            LedgerAccount::FeesDue(PlatformId(7)),
            LedgerAccount::RefundPending(Account::new(Channel::Stripe, "second")),
            LedgerAccount::Suspense(Account::new(Channel::Stripe, "second")),
            LedgerAccount::Wallet(Account::new(Channel::Wechat, "second")),
            LedgerAccount::Transit(at(Channel::Wechat)),
            LedgerAccount::Unclaimed(at(Channel::Wechat)),
            LedgerAccount::Dispute(at(Channel::Stripe)),
            LedgerAccount::Cost(at(Channel::Alipay)),
            LedgerAccount::BankCost,
            LedgerAccount::Bank(BankName::main()),
            LedgerAccount::Payout(BankName::parse("cmb-2").unwrap()),
            LedgerAccount::Settlement(PlatformId(7)),
            LedgerAccount::Held(PlatformId(7)),
            LedgerAccount::Equity,
            LedgerAccount::WrittenOff,
            LedgerAccount::Position(PlatformId(7)),
            LedgerAccount::Netting(PlatformId(7)),
        ];
        for account in accounts {
            let text = serde_json::to_string(&account).unwrap();
            assert_eq!(serde_json::from_str::<LedgerAccount>(&text).unwrap(), account);
        }
        for text in ["\"platform:x\"", "\"cash\"", "\"bank\"", "\"bank:\"", "\"bank:A\"", "\"channel:bank\""] {
            assert!(serde_json::from_str::<LedgerAccount>(text).is_err(), "{text}");
        }
        for kind in TransactionKind::ALL {
            assert_eq!(TransactionKind::parse(kind.name()), Some(kind));
        }
    }

    /// Entries 1 and 5 of the worked example in the documents.
    #[test]
    fn a_shared_payment_and_its_refund_name_every_party() {
        let account = at(Channel::Wechat);
        let of = booking(&account);
        let (b, c) = (PlatformId(2), PlatformId(3));
        let paid =
            Entry::payment(&of, Parts { seller_minor: 17_500, others: &[(b, 2_000), (c, 500)] }, Fee::OfPayer(60));
        assert_eq!(
            lines(&paid),
            [
                ("channel:wechat:default".to_owned(), 20_060, None, None),
                ("platform:1".to_owned(), -20_000, Some("payment"), None),
                ("platform:1".to_owned(), 2_000, Some("share_out"), Some(2)),
                ("platform:2".to_owned(), -2_000, Some("share_in"), Some(1)),
                ("platform:1".to_owned(), 500, Some("share_out"), Some(3)),
                ("platform:3".to_owned(), -500, Some("share_in"), Some(1)),
                ("fees:wechat".to_owned(), -60, None, None),
            ]
        );
        let parts = Parts { seller_minor: 8_750, others: &[(b, 1_000), (c, 250)] };
        let back = Entry::refund_created(&of, parts, Fee::OfPayer(30));
        assert_eq!(
            lines(&back),
            [
                ("refund_pending:wechat:default".to_owned(), -10_030, None, None),
                ("platform:1".to_owned(), 10_000, Some("refund"), None),
                ("platform:1".to_owned(), -1_000, Some("share_back"), Some(2)),
                ("platform:2".to_owned(), 1_000, Some("share_back"), Some(1)),
                ("platform:1".to_owned(), -250, Some("share_back"), Some(3)),
                ("platform:3".to_owned(), 250, Some("share_back"), Some(1)),
                ("fees:wechat".to_owned(), 30, None, None),
            ]
        );
    }

    /// Entries 16 and 17 of the worked example in the documents.
    #[test]
    fn of_money_that_a_seller_took_itself_only_shares_and_fees_are_booked() {
        let account = Account::new(Channel::Wechat, "shop-a");
        let of = Booking { merchant: Merchant::Seller, ..booking(&account) };
        let (b, c) = (PlatformId(2), PlatformId(3));
        for fee in [Fee::OfPayer(60), Fee::OfPlatform(60)] {
            let paid = Entry::payment(&of, Parts { seller_minor: 17_500, others: &[(b, 2_000), (c, 500)] }, fee);
            assert_eq!(
                lines(&paid),
                [
                    ("position:1".to_owned(), 2_000, Some("share_out"), Some(2)),
                    ("position:2".to_owned(), -2_000, Some("share_in"), Some(1)),
                    ("position:1".to_owned(), 500, Some("share_out"), Some(3)),
                    ("position:3".to_owned(), -500, Some("share_in"), Some(1)),
                    ("fees_due:1".to_owned(), 60, Some("fee"), None),
                    ("fees:wechat".to_owned(), -60, None, None),
                ]
            );
        }
        let parts = Parts { seller_minor: 8_750, others: &[(b, 1_000), (c, 250)] };
        let back = Entry::refund_created(&of, parts, Fee::OfPayer(30));
        assert_eq!(
            lines(&back),
            [
                ("position:1".to_owned(), -1_000, Some("share_back"), Some(2)),
                ("position:2".to_owned(), 1_000, Some("share_back"), Some(1)),
                ("position:1".to_owned(), -250, Some("share_back"), Some(3)),
                ("position:3".to_owned(), 250, Some("share_back"), Some(1)),
                ("fees_due:1".to_owned(), -30, Some("fee_returned"), None),
                ("fees:wechat".to_owned(), 30, None, None),
            ]
        );
        for entry in [
            Entry::refund_paid(&of, 10_030),
            Entry::refund_paid_otherwise(&of, 10_030),
            Entry::suspense(&of, 100),
            Entry::suspense_refund(&of, 100),
            Entry::suspense_returned(&of, 100),
        ] {
            assert_eq!(lines(&entry), []);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_entry_sums_to_zero_and_a_reversal_undoes_it(
            seller in 0i64..=99_999_999_999_999, shares in proptest::collection::vec(0i64..=1_000_000, 0..=20),
            fee in 0i64..=1_000_000_000, is_own in proptest::bool::ANY,
        ) {
            let account = at(Channel::Simpay);
            let merchant = if is_own { Merchant::Seller } else { Merchant::Operator };
            let of = Booking { merchant, ..booking(&account) };
            let others: Vec<_> = shares.iter().zip(2..).map(|(part, to)| (PlatformId(to), *part)).collect();
            let parts = Parts { seller_minor: seller, others: &others };
            for fee in [Fee::OfPayer(fee), Fee::OfPlatform(fee)] {
                let (created, failed) = (Entry::refund_created(&of, parts, fee), Entry::refund_failed(&of, parts, fee));
                let amount = seller + shares.iter().sum::<i64>() + fee.paid_minor();
                let (paid, returned) = (Entry::refund_paid(&of, amount), Entry::refund_returned(&of, parts, fee));
                for entry in [
                    &Entry::payment(&of, parts, fee), &created, &failed, &paid, &returned,
                    &Entry::suspense(&of, amount), &Entry::suspense_refund(&of, amount),
                    &Entry::suspense_returned(&of, amount), &Entry::refund_paid_otherwise(&of, amount),
                ] {
                    proptest::prop_assert_eq!(entry.lines().iter().map(|line| line.amount_minor).sum::<i64>(), 0);
                }
                let balances = |entries: &[&Entry]| {
                    let mut sums = std::collections::BTreeMap::<LedgerAccount, i64>::new();
                    for line in entries.iter().flat_map(|entry| entry.lines()) {
                        *sums.entry(line.account.clone()).or_default() += line.amount_minor;
                    }
                    sums.retain(|_, sum| *sum != 0);
                    sums
                };
                proptest::prop_assert_eq!(balances(&[&created, &failed]).len(), 0);
                proptest::prop_assert_eq!(balances(&[&created, &paid, &returned]).len(), 0);
            }
        }
    }
}
