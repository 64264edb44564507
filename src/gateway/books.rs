//! The gateway's own books: what was asked, captured and refunded. A fact is in the file before the state shows it.
//!
//! Every operation is one decision under the lock of its payment: decide, append the fact, adopt it. Payments expire
//! by themselves, without a timer: a waiting one past its `expires_at` *is* closed. So do refunds: a fate with its
//! instants is fixed when one is taken. Books know no protocol: numbers, references and data are texts to them.

mod parts;
mod record;
mod refund;
mod state;

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dashmap::mapref::entry::Entry;

pub use record::{Capture, OrderLine, State, View};
pub use refund::{BookedRefund, News, Told};
pub use state::{Total, Totals};

use super::GatewayError;
use super::accounts::{AccountId, Channel};
use super::address::Address;
use super::agenda::PaymentId;
use super::fate::RefundState;
use super::journal::{Created, Fact, Journal, Refunded};
use super::payer::{Conduct, Payer, Script};
use super::refund_script::{Reception, RefundScript};
use crate::domain::money::Currency;
use record::{Money, Record, Turn};
use state::{Account, Accounts};

/// SHA-256 of a request's business fields.
pub type Fingerprint = [u8; 32];

/// Why a request changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NumberUsed,
    PaymentClosed,
    Refused,
    Expired,
    NotExist,
    AlreadyPaid,
    RefundExceeds,
    /// This refund, for certain.
    RefundRefused,
    /// There is no money for it at present.
    RefundPoor,
    /// Too soon after another refund of the payment.
    RefundTooSoon,
    /// As many refunds of one payment as the channel ever takes were made.
    TooManyRefunds,
    /// The file does not take facts.
    Broken,
}

/// What a request to create a payment asks for.
pub struct Asked<'a> {
    pub number: &'a str,
    pub fingerprint: Fingerprint,
    pub amount_minor: i64,
    pub currency: Currency,
    pub script: Script,
    pub notify_url: Option<&'a str>,
    pub expires_at: i64,
    /// The channel's own name of it, where it has one before it is paid.
    pub reference: Option<&'a str>,
    /// What the wire wants to find with it again: a small JSON text.
    pub data: Option<&'a str>,
}

/// How a request to create a payment was taken.
#[derive(Debug)]
pub enum Taken {
    New(PaymentId),
    Again,
    Paid(Capture),
}

/// What the close of a payment that waits no more, or was never asked for, means at a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseRule {
    /// A number never seen stays closed for ever; what was declined stays declined.
    Remembered,
    /// A number never seen does not exist; what was declined is closed.
    MustExist,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nothing more will come of it.
    Done,
    /// The payer's money comes nevertheless, this long afterwards.
    MoneyComes { payment: PaymentId, after_ms: i64 },
}

/// What came of the payer's act.
#[derive(Debug, PartialEq, Eq)]
pub enum Acted {
    Paid(Script),
    Nothing,
}

/// What a callback says of a payment, and where it goes.
#[derive(Debug, Clone)]
pub struct Notice {
    pub number: Arc<str>,
    pub address: Arc<Address>,
    pub asked_minor: i64,
    pub currency: Currency,
    /// What is told; of a forged callback, what is claimed.
    pub capture: Capture,
    pub data: Option<Arc<str>>,
}

/// What a callback says of a refund, and where it goes.
#[derive(Debug, Clone)]
pub struct RefundNotice {
    pub refund_number: Arc<str>,
    pub number: Arc<str>,
    pub address: Arc<Address>,
    pub refund: BookedRefund,
    /// What is told of it.
    pub news: News,
    /// The payment as it is now.
    pub payment: View,
}

/// What is known of a payment before a callback of it is sent.
pub struct Standing {
    pub address: Arc<Address>,
    pub asked_minor: i64,
    pub currency: Currency,
    pub capture: Option<Capture>,
    pub data: Option<Arc<str>>,
    pub acknowledged: bool,
}

/// What a restarted gateway takes up again.
pub struct Pending {
    pub payment: PaymentId,
    pub what: PendingWhat,
}

pub enum PendingWhat {
    Payer {
        script: Script,
        asked_minor: i64,
        created_at: i64,
    },
    /// Of a payment that waits to be closed.
    End {
        script: Script,
        asked_minor: i64,
        expires_at: i64,
    },
    PayerOnceClosed {
        script: Script,
        asked_minor: i64,
        closed_at: i64,
    },
    Callbacks {
        script: Script,
        sent: u16,
        acknowledged: bool,
    },
    RefundCallback {
        refund_number: Arc<str>,
        news: News,
        sent: u16,
    },
}

/// How many refunds of one payment a channel takes, and how far apart.
#[derive(Debug, Clone, Copy)]
pub struct RefundLimits {
    pub refunds_max: usize,
    pub gap_ms: i64,
}

impl RefundLimits {
    pub const NONE: RefundLimits = RefundLimits { refunds_max: usize::MAX, gap_ms: 0 };
}

pub struct Refund<'a> {
    pub refund_number: &'a str,
    pub number: &'a str,
    pub amount_minor: i64,
    pub currency: Currency,
    pub script: RefundScript,
    pub limits: RefundLimits,
    /// The channel's own name of it.
    pub reference: Option<&'a str>,
    /// Where the refund is told of; none: nowhere.
    pub notify_url: Option<&'a str>,
    pub data: Option<&'a str>,
}

/// How a request to refund was taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refunding {
    New(BookedRefund),
    Again(BookedRefund),
}

impl Refunding {
    pub fn booked(&self) -> &BookedRefund {
        match self {
            Refunding::New(booked) | Refunding::Again(booked) => booked,
        }
    }

    /// How the call is answered: what the script says befalls only the first one.
    pub fn conduct(&self) -> Conduct {
        match self {
            Refunding::New(booked) => booked.script.conduct(),
            Refunding::Again(_) => Conduct::Answers,
        }
    }
}

/// A line of a day's bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillCapture {
    pub number: Arc<str>,
    pub currency: Currency,
    pub capture: Capture,
    pub data: Option<Arc<str>>,
}

/// A line of a day's bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillRefund {
    pub refund_number: Arc<str>,
    pub refund: BookedRefund,
    /// The moment by which it is in the bill.
    pub at: i64,
    /// Of the payment that it gives back.
    pub payment_reference: Option<Arc<str>>,
    pub captured_minor: i64,
}

/// By which of its moments a refund is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Taken,
    Refunded,
    Returned,
}

impl Moment {
    fn of(self, refund: &BookedRefund) -> Option<i64> {
        match self {
            Moment::Taken => Some(refund.at),
            Moment::Refunded => refund.fate.refunded_at(),
            Moment::Returned => refund.fate.returned_at(),
        }
    }
}

pub struct Books {
    state: Accounts,
    journal: Journal,
}

impl Books {
    /// Opens the books of these accounts in a folder and replays what is in them.
    ///
    /// # Errors
    /// Another gateway has them, they cannot be read, or a line of them is no fact that may follow the others.
    pub fn open<'a>(folder: &Path, accounts: impl Iterator<Item = (Channel, &'a str)>) -> Result<Self, GatewayError> {
        let failed = |error: std::io::Error| GatewayError::Books(folder.to_path_buf(), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let state = Accounts::new(accounts);
        let journal = Journal::open(&folder.join("books.jsonl"), |fact| state.replay(fact)).map_err(failed)?;
        Ok(Books { state, journal })
    }

    /// Ends the use of the file.
    pub fn seal(&self) {
        self.journal.seal();
    }

    fn account(&self, account: AccountId) -> &Account {
        &self.state.accounts[account.index()]
    }

    fn append(&self, fact: &Fact<'_>) -> Result<(), Refusal> {
        self.journal.append(fact).map_err(|_| Refusal::Broken)
    }

    pub fn create(&self, account_id: AccountId, asked: &Asked<'_>, now: i64) -> Result<Taken, Refusal> {
        let account = self.account(account_id);
        let number: Arc<str> = asked.number.into();
        match account.payments.entry(Arc::clone(&number)) {
            Entry::Occupied(entry) => match entry.get() {
                Record::ClosedUnseen => Err(Refusal::PaymentClosed),
                Record::Payment(payment) => payment.repeated(&asked.fingerprint, now),
            },
            Entry::Vacant(_) if asked.expires_at <= now => Err(Refusal::Expired),
            Entry::Vacant(_) if asked.script == Script::Refuse => Err(Refusal::Refused),
            Entry::Vacant(entry) => {
                let payment = self.state.payment(account.channel, asked, now).ok_or(Refusal::Refused)?;
                self.append(&Fact::Created(Created {
                    account: Cow::Borrowed(&account.label),
                    number: Cow::Borrowed(asked.number),
                    fingerprint: Cow::Owned(STANDARD.encode(asked.fingerprint)),
                    asked_minor: asked.amount_minor,
                    currency: asked.currency,
                    script: asked.script,
                    notify_url: asked.notify_url.map(Cow::Borrowed),
                    expires_at: asked.expires_at,
                    reference: asked.reference.map(Cow::Borrowed),
                    data: asked.data.map(Cow::Borrowed),
                    at: now,
                }))?;
                if let Some(reference) = &payment.reference {
                    account.refer(reference, &number);
                }
                entry.insert(Record::Payment(payment));
                Ok(Taken::New(PaymentId { account: account_id, number }))
            }
        }
    }

    /// Lets the payer of a payment do what its script says, if the payment is still open to it. A capture of a
    /// payment that has no reference yet gets a fresh one.
    pub fn payer_acts(&self, id: &PaymentId, fresh: impl FnOnce() -> String, now: i64) -> Result<Acted, Refusal> {
        let account = self.account(id.account);
        let Some(mut record) = account.payments.get_mut(&id.number) else { return Err(Refusal::NotExist) };
        let Record::Payment(payment) = record.value_mut() else { return Ok(Acted::Nothing) };
        let amount_minor = match payment.turn(now) {
            Turn::Pays { amount_minor } => amount_minor,
            Turn::Declines => {
                let fact = Fact::Declined { account: Cow::Borrowed(&account.label), number: Cow::Borrowed(&id.number) };
                self.append(&fact)?;
                payment.state = State::Declined;
                return Ok(Acted::Nothing);
            }
            Turn::Nothing => return Ok(Acted::Nothing),
        };
        let reference = payment.reference.clone().unwrap_or_else(|| Arc::from(fresh()));
        self.append(&Fact::Captured {
            account: Cow::Borrowed(&account.label),
            number: Cow::Borrowed(&id.number),
            reference: Cow::Borrowed(&reference),
            captured_minor: amount_minor,
            at: now,
        })?;
        self.state.capture(account, &id.number, payment, &reference, Money { amount_minor, at: now });
        Ok(Acted::Paid(payment.script))
    }

    /// Closes a payment.
    pub fn close(&self, account_id: AccountId, number: &str, rule: CloseRule, now: i64) -> Result<Closing, Refusal> {
        let account = self.account(account_id);
        let number: Arc<str> = number.into();
        let fact = Fact::Closed { account: Cow::Borrowed(&account.label), number: Cow::Borrowed(&number), at: now };
        let mut entry = match (account.payments.entry(Arc::clone(&number)), rule) {
            (Entry::Vacant(_), CloseRule::MustExist) => return Err(Refusal::NotExist),
            (Entry::Vacant(entry), CloseRule::Remembered) => {
                self.append(&fact)?;
                entry.insert(Record::ClosedUnseen);
                return Ok(Closing::Done);
            }
            (Entry::Occupied(entry), CloseRule::Remembered | CloseRule::MustExist) => entry,
        };
        let Record::Payment(payment) = entry.get_mut() else { return Ok(Closing::Done) };
        match (payment.state, rule) {
            (State::Paid, _) => return Err(Refusal::AlreadyPaid),
            (State::Closed, _) | (State::Declined, CloseRule::Remembered) => return Ok(Closing::Done),
            (State::Waiting, _) | (State::Declined, CloseRule::MustExist) => self.append(&fact)?,
        }
        payment.close(now);
        match payment.script.payer(payment.asked_minor, 0) {
            Payer::PaysOnceClosed { after_ms } => {
                let payment = PaymentId { account: account_id, number: Arc::clone(&number) };
                Ok(Closing::MoneyComes { payment, after_ms })
            }
            Payer::Pays { .. } | Payer::Declines { .. } | Payer::StaysAway => Ok(Closing::Done),
        }
    }

    /// Replaces what the wire keeps with a payment.
    pub fn note(&self, account: AccountId, number: &str, data: &str) -> Result<(), Refusal> {
        let account = self.account(account);
        let Some(mut record) = account.payments.get_mut(number) else { return Err(Refusal::NotExist) };
        let Record::Payment(payment) = record.value_mut() else { return Err(Refusal::NotExist) };
        self.append(&Fact::Noted {
            account: Cow::Borrowed(&account.label),
            number: Cow::Borrowed(number),
            data: Cow::Borrowed(data),
        })?;
        payment.data = Some(data.into());
        Ok(())
    }

    /// Takes a refund of a part of a capture, once per refund number. Its amount is reserved from now on.
    pub fn refund(&self, account: AccountId, refund: &Refund<'_>, now: i64) -> Result<Refunding, Refusal> {
        let account = self.account(account);
        // Refunds are locked before payments, here and everywhere.
        let entry = match account.refunds.entry(refund.refund_number.into()) {
            Entry::Occupied(entry) if entry.get().is(refund) => return Ok(Refunding::Again(entry.get().clone())),
            Entry::Occupied(_) => return Err(Refusal::NumberUsed),
            Entry::Vacant(entry) => entry,
        };
        let Some(mut record) = account.payments.get_mut(refund.number) else { return Err(Refusal::NotExist) };
        let Record::Payment(payment) = record.value_mut() else { return Err(Refusal::NotExist) };
        if payment.currency != refund.currency {
            return Err(Refusal::Refused);
        }
        let left_minor = payment.captured_minor().saturating_sub(payment.parts.reserved_minor(now));
        if refund.amount_minor > left_minor {
            return Err(Refusal::RefundExceeds);
        }
        payment.parts.admit(refund.limits, now)?;
        let script = refund.script.at(account.channel);
        match script.reception(account.channel) {
            Reception::Taken => {}
            Reception::Refused => return Err(Refusal::RefundRefused),
            Reception::Poor { for_ms } => self.wait_for_money(account, refund.refund_number, for_ms, now)?,
        }
        let fate = script.fate(account.channel, now);
        let notify_url = refund.notify_url.filter(|_| script.is_told());
        let asked = Refund { script, notify_url, ..*refund };
        let booked = self.state.booked(&asked, fate, now).ok_or(Refusal::Refused)?;
        self.append(&Fact::Refunded(Refunded {
            account: Cow::Borrowed(&account.label),
            refund_number: Cow::Borrowed(refund.refund_number),
            number: Cow::Borrowed(refund.number),
            amount_minor: refund.amount_minor,
            currency: refund.currency,
            at: now,
            script,
            fate: Some(fate),
            reference: refund.reference.map(Cow::Borrowed),
            notify_url: notify_url.map(Cow::Borrowed),
            data: refund.data.map(Cow::Borrowed),
        }))?;
        account.give_back(payment, refund.refund_number, &booked);
        entry.insert(booked.clone());
        Ok(Refunding::New(booked))
    }

    /// Refuses a refund until this long after the first call under its number.
    fn wait_for_money(&self, account: &Account, refund_number: &str, for_ms: i64, now: i64) -> Result<(), Refusal> {
        match account.waiting.entry(refund_number.into()) {
            Entry::Occupied(since) if now.saturating_sub(*since.get()) >= for_ms => Ok(()),
            Entry::Occupied(_) => Err(Refusal::RefundPoor),
            Entry::Vacant(entry) => {
                self.append(&Fact::RefundPutOff {
                    account: Cow::Borrowed(&account.label),
                    refund_number: Cow::Borrowed(refund_number),
                    at: now,
                })?;
                entry.insert(now);
                Err(Refusal::RefundPoor)
            }
        }
    }

    /// Notes that a callback was sent and whether it was acknowledged.
    pub fn callback_sent(&self, id: &PaymentId, acknowledged: bool) -> Result<(), Refusal> {
        let account = self.account(id.account);
        let Some(mut record) = account.payments.get_mut(&id.number) else { return Err(Refusal::NotExist) };
        let Record::Payment(payment) = record.value_mut() else { return Err(Refusal::NotExist) };
        self.append(&Fact::CallbackSent {
            account: Cow::Borrowed(&account.label),
            number: Cow::Borrowed(&id.number),
            acknowledged,
        })?;
        payment.callback_sent(acknowledged);
        Ok(())
    }

    /// Notes that a callback of a refund was sent and whether it was acknowledged.
    pub fn refund_told(
        &self,
        account: AccountId,
        refund_number: &str,
        news: RefundState,
        acknowledged: bool,
    ) -> Result<(), Refusal> {
        let account = self.account(account);
        let Some(mut refund) = account.refunds.get_mut(refund_number) else { return Err(Refusal::NotExist) };
        self.append(&Fact::RefundTold {
            account: Cow::Borrowed(&account.label),
            refund_number: Cow::Borrowed(refund_number),
            news,
            acknowledged,
        })?;
        refund.told.entry(news).or_default().again(acknowledged);
        Ok(())
    }

    /// What a callback of a payment would say; none if it was never asked for, or nobody wants to hear of it.
    pub fn standing(&self, id: &PaymentId) -> Option<Standing> {
        let record = self.account(id.account).payments.get(&id.number)?;
        let Record::Payment(payment) = record.value() else { return None };
        Some(Standing {
            address: Arc::clone(payment.address.as_ref()?),
            asked_minor: payment.asked_minor,
            currency: payment.currency,
            capture: payment.capture(),
            data: payment.data.clone(),
            acknowledged: payment.acknowledged,
        })
    }

    /// What a callback of a refund would say; none if nobody wants to hear of it.
    pub fn refund_notice(
        &self,
        account: AccountId,
        refund_number: &Arc<str>,
        news: RefundState,
        now: i64,
    ) -> Option<RefundNotice> {
        let refund = self.refund_of(account, refund_number)?;
        Some(RefundNotice {
            news: refund.history().find(|known| known.state == news)?,
            refund_number: Arc::clone(refund_number),
            number: Arc::clone(&refund.number),
            address: Arc::clone(refund.address.as_ref()?),
            payment: self.view(account, &refund.number, now)?,
            refund,
        })
    }

    /// The payment of a number; none if it was never asked for.
    pub fn view(&self, account: AccountId, number: &str, now: i64) -> Option<View> {
        let record = self.account(account).payments.get(number)?;
        let Record::Payment(payment) = record.value() else { return None };
        Some(payment.view(now))
    }

    /// The number of the payment that the channel calls by this reference.
    pub fn referred(&self, account: AccountId, reference: &str) -> Option<Arc<str>> {
        self.account(account).referred(reference)
    }

    pub fn refund_of(&self, account: AccountId, refund_number: &str) -> Option<BookedRefund> {
        self.account(account).refunds.get(refund_number).map(|refund| refund.clone())
    }

    /// The refunds of one payment, oldest first.
    pub fn refunds_of(&self, account: AccountId, number: &str) -> Vec<(Arc<str>, BookedRefund)> {
        let refunds = self.account(account).refunds.iter().filter(|refund| *refund.number == *number);
        let mut refunds: Vec<_> = refunds.map(|refund| (Arc::clone(refund.key()), refund.clone())).collect();
        refunds.sort_by(|(number, refund), (other_number, other)| (refund.at, number).cmp(&(other.at, other_number)));
        refunds
    }

    /// The payments that were asked for in a span, its end excluded, oldest first.
    pub fn created_between(&self, account: AccountId, span: Range<i64>, now: i64) -> Vec<(Arc<str>, View)> {
        let mut found: Vec<(Arc<str>, View)> = Vec::new();
        for record in &self.account(account).payments {
            let Record::Payment(payment) = record.value() else { continue };
            if span.contains(&payment.created_at) {
                found.push((Arc::clone(record.key()), payment.view(now)));
            }
        }
        found.sort_by(|(number, view), (other_number, other)| {
            (view.created_at, number).cmp(&(other.created_at, other_number))
        });
        found
    }

    /// The captures of a span, its end excluded, in the order in which they were made.
    pub fn captured_between(&self, account: AccountId, from: i64, until: i64) -> Vec<BillCapture> {
        let mut lines: Vec<BillCapture> = Vec::new();
        for record in &self.account(account).payments {
            let Record::Payment(payment) = record.value() else { continue };
            let Some(capture) = payment.capture().filter(|capture| (from..until).contains(&capture.at)) else {
                continue;
            };
            let (number, currency) = (Arc::clone(record.key()), payment.currency);
            lines.push(BillCapture { number, currency, capture, data: payment.data.clone() });
        }
        lines.sort_by(|one, other| (one.capture.at, &one.number).cmp(&(other.capture.at, &other.number)));
        lines
    }

    /// The refunds that have this moment within a span, its end excluded, in the order of their moments.
    pub fn refunds_between(&self, account: AccountId, moment: Moment, from: i64, until: i64) -> Vec<BillRefund> {
        let account = self.account(account);
        // Copied first: refunds are locked before payments, but a scan must not hold one while it waits for the other.
        let within = |refund: &BookedRefund| moment.of(refund).filter(|at| (from..until).contains(at));
        let refunds = account.refunds.iter();
        let refunds = refunds.filter_map(|refund| Some((within(&refund)?, Arc::clone(refund.key()), refund.clone())));
        let refunds: Vec<_> = refunds.collect();
        let mut lines: Vec<BillRefund> = Vec::with_capacity(refunds.len());
        for (at, refund_number, refund) in refunds {
            let payment = account.payments.get(&refund.number);
            let (payment_reference, captured_minor) = match payment.as_deref() {
                Some(Record::Payment(payment)) => (payment.reference.clone(), payment.captured_minor()),
                Some(Record::ClosedUnseen) | None => (None, 0),
            };
            lines.push(BillRefund { refund_number, refund, at, payment_reference, captured_minor });
        }
        lines.sort_by(|one, other| (one.at, &one.refund_number).cmp(&(other.at, &other.refund_number)));
        lines
    }

    /// Counts a call of a payment, from zero; none if there is no such payment.
    pub fn count_call(&self, account: AccountId, number: &str) -> Option<u16> {
        let mut record = self.account(account).payments.get_mut(number)?;
        let Record::Payment(payment) = record.value_mut() else { return None };
        let nth = payment.calls;
        payment.calls = nth.saturating_add(1);
        Some(nth)
    }

    /// What the books say of a number, at whichever account it is.
    pub fn order_line(&self, number: &str, now: i64) -> Option<OrderLine> {
        self.state.accounts.iter().find_map(|account| Some(account.payments.get(number)?.line(now)))
    }

    pub fn totals(&self, now: i64) -> Totals {
        self.state.totals(now)
    }

    /// What is still to happen by these books, for a gateway that starts.
    pub fn pending(&self, ids: impl Iterator<Item = AccountId>, now: i64, mut take_up: impl FnMut(Pending)) {
        for id in ids {
            for record in &self.account(id).payments {
                let Record::Payment(payment) = record.value() else { continue };
                if let Some(what) = payment.pending(now) {
                    let payment = PaymentId { account: id, number: Arc::clone(record.key()) };
                    take_up(Pending { payment, what });
                }
            }
            for refund in &self.account(id).refunds {
                for what in refund.pending(refund.key()) {
                    let payment = PaymentId { account: id, number: Arc::clone(&refund.number) };
                    take_up(Pending { payment, what });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
