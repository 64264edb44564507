//! The gateway's own books: what was asked, captured and refunded. A fact is in the file before the state shows it.
//!
//! Every operation is one decision under the lock of its payment: decide, append the fact, adopt it. Payments expire
//! by themselves, without a timer: a waiting one past its `expires_at` *is* closed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use serde::Serialize;

use super::agenda::PaymentId;
use super::journal::{Created, Fact, Journal};
use super::payer::{Payer, Script};
use super::{GatewayError, alphanumeric};
use crate::domain::money::Currency;

/// Distinct callback addresses that payments share; further ones are held by each payment for itself.
const SHARED_ADDRESSES_MAX: usize = 1024;
const ADDRESS_MAX: usize = 255;
const REFERENCE_PREFIX: &str = "SP";
const REFERENCE_LENGTH: usize = 24;

/// Which account, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountId(pub usize);

/// SHA-256 of a request's business fields.
pub type Fingerprint = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Waiting,
    Paid,
    Declined,
    Closed,
}

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
    /// The file does not take facts.
    Broken,
}

/// An address for callbacks, parsed once.
#[derive(Debug)]
pub struct Address {
    pub url: url::Url,
    /// Host and port: what shares the bound on callbacks under way.
    pub host: String,
}

impl Address {
    /// The address of a text that may stand in a request: http or https, with a host, at most 255 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok().filter(|_| text.len() <= ADDRESS_MAX)?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let host = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
        Some(Address { url, host })
    }
}

/// The channel's own number of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference([u8; REFERENCE_LENGTH]);

impl Reference {
    pub fn random() -> Self {
        Reference(alphanumeric())
    }

    fn parse(text: &str) -> Option<Self> {
        text.strip_prefix(REFERENCE_PREFIX)?.as_bytes().try_into().ok().map(Reference)
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(REFERENCE_PREFIX)?;
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    pub reference: Reference,
    pub amount_minor: i64,
    pub at: i64,
}

/// What a request to create a payment asks for.
pub struct Asked<'a> {
    pub number: &'a str,
    pub fingerprint: Fingerprint,
    pub amount_minor: i64,
    pub currency: Currency,
    pub script: Script,
    pub notify_url: &'a str,
    pub expires_at: i64,
}

/// How a request to create a payment was taken.
#[derive(Debug)]
pub enum Taken {
    New(PaymentId),
    Again,
    Paid(Capture),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nothing more will come of it.
    Done,
    /// The payer's money comes nevertheless, this long afterwards.
    MoneyComes { payment: PaymentId, after_ms: i64 },
}

/// A payment as it is asked about.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    pub state: State,
    pub asked_minor: i64,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    pub currency: Currency,
    pub reference: Option<Reference>,
    pub callbacks_sent: u16,
}

/// What `/sim/orders` shows.
#[derive(Debug, Serialize)]
pub struct OrderLine {
    asked_minor: i64,
    captured_minor: i64,
    refunded_minor: i64,
    state: State,
    callbacks_sent: u16,
}

/// What a callback says and where it goes.
pub struct Notice {
    pub address: Arc<Address>,
    pub asked_minor: i64,
    pub currency: Currency,
    pub capture: Option<Capture>,
    pub acknowledged: bool,
}

/// What a restarted gateway takes up again.
pub struct Pending {
    pub payment: PaymentId,
    pub what: PendingWhat,
}

pub enum PendingWhat {
    Payer { script: Script, asked_minor: i64, created_at: i64 },
    PayerOnceClosed { script: Script, asked_minor: i64, closed_at: i64 },
    Callbacks { script: Script, sent: u16, acknowledged: bool },
}

pub struct Refund<'a> {
    pub refund_number: &'a str,
    pub number: &'a str,
    pub amount_minor: i64,
    pub currency: Currency,
}

/// A refund that was booked; refunds succeed at once.
struct Refunded {
    number: Arc<str>,
    amount_minor: i64,
    currency: Currency,
}

/// i128: a million payments of the largest amount pass an i64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    captured_minor: i128,
    refunded_minor: i128,
    captures: u64,
}

struct Payment {
    fingerprint: Fingerprint,
    script: Script,
    state: State,
    currency: Currency,
    acknowledged: bool,
    callbacks_sent: u16,
    /// Calls answered since the start; only faults ask for it.
    calls: u16,
    asked_minor: i64,
    refunded_minor: i64,
    created_at: i64,
    expires_at: i64,
    closed_at: Option<i64>,
    capture: Option<Capture>,
    address: Arc<Address>,
}

enum Record {
    /// Closed before it was ever asked for: a create that arrives later is refused.
    ClosedUnseen,
    Payment(Payment),
}

struct Account {
    name: String,
    payments: DashMap<Arc<str>, Record>,
    refunds: DashMap<Arc<str>, Refunded>,
}

/// The state that the facts add up to.
struct Accounts {
    accounts: Vec<Account>,
    totals: Mutex<BTreeMap<&'static str, Total>>,
    addresses: Mutex<HashSet<SharedAddress>>,
}

#[derive(PartialEq, Eq, Hash)]
struct SharedAddress(Arc<Address>);

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for Address {}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.url.as_str().hash(state);
    }
}

impl std::borrow::Borrow<Address> for SharedAddress {
    fn borrow(&self) -> &Address {
        &self.0
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
    pub fn open(folder: &Path, accounts: &[&str]) -> Result<Self, GatewayError> {
        let failed = |error: std::io::Error| GatewayError::Books(folder.to_path_buf(), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let account =
            |name: &&str| Account { name: (*name).to_owned(), payments: DashMap::new(), refunds: DashMap::new() };
        let state = Accounts {
            accounts: accounts.iter().map(account).collect(),
            totals: Mutex::default(),
            addresses: Mutex::default(),
        };
        let journal = Journal::open(&folder.join("books.jsonl"), |fact| state.replay(fact)).map_err(failed)?;
        Ok(Books { state, journal })
    }

    /// Ends the use of the file.
    pub fn seal(&self) {
        self.journal.seal();
    }

    fn account(&self, account: AccountId) -> &Account {
        &self.state.accounts[account.0]
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
                let created = Created {
                    account: Cow::Borrowed(&account.name),
                    number: Cow::Borrowed(asked.number),
                    fingerprint: Cow::Owned(STANDARD.encode(asked.fingerprint)),
                    asked_minor: asked.amount_minor,
                    currency: asked.currency,
                    script: asked.script,
                    notify_url: Cow::Borrowed(asked.notify_url),
                    expires_at: asked.expires_at,
                    at: now,
                };
                let payment = self.state.payment(&created, asked.fingerprint).ok_or(Refusal::Refused)?;
                self.append(&Fact::Created(created))?;
                entry.insert(Record::Payment(payment));
                Ok(Taken::New(PaymentId { account: account_id, number }))
            }
        }
    }

    /// Lets the payer of a payment do what its script says, if the payment is still open to it.
    pub fn payer_acts(&self, id: &PaymentId, now: i64) -> Result<Acted, Refusal> {
        let account = self.account(id.account);
        let Some(mut record) = account.payments.get_mut(&id.number) else { return Err(Refusal::NotExist) };
        let Record::Payment(payment) = record.value_mut() else { return Ok(Acted::Nothing) };
        match (payment.script.payer(payment.asked_minor, 0), payment.state_at(now)) {
            (Payer::Pays { .. }, State::Waiting) => {}
            // Closed by a request, that is: the money of a payment that merely expired never comes.
            (Payer::PaysOnceClosed { .. }, State::Closed) if payment.closed_at.is_some() => {}
            (Payer::Declines { .. }, State::Waiting) => {
                let fact = Fact::Declined { account: Cow::Borrowed(&account.name), number: Cow::Borrowed(&id.number) };
                self.append(&fact)?;
                payment.state = State::Declined;
                return Ok(Acted::Nothing);
            }
            (
                Payer::Pays { .. } | Payer::PaysOnceClosed { .. } | Payer::Declines { .. } | Payer::StaysAway,
                State::Waiting | State::Paid | State::Declined | State::Closed,
            ) => return Ok(Acted::Nothing),
        }
        let amount_minor = payment.script.captured_minor(payment.asked_minor);
        let capture = Capture { reference: Reference::random(), amount_minor, at: now };
        self.append(&Fact::Captured {
            account: Cow::Borrowed(&account.name),
            number: Cow::Borrowed(&id.number),
            reference: Cow::Owned(capture.reference.to_string()),
            captured_minor: capture.amount_minor,
            at: now,
        })?;
        self.state.capture(payment, capture);
        Ok(Acted::Paid(payment.script))
    }

    /// Closes a payment; a number that was never asked for is remembered as closed.
    pub fn close(&self, account_id: AccountId, number: &str, now: i64) -> Result<Closing, Refusal> {
        let account = self.account(account_id);
        let number: Arc<str> = number.into();
        let fact = Fact::Closed { account: Cow::Borrowed(&account.name), number: Cow::Borrowed(&number), at: now };
        let mut entry = match account.payments.entry(Arc::clone(&number)) {
            Entry::Vacant(entry) => {
                self.append(&fact)?;
                entry.insert(Record::ClosedUnseen);
                return Ok(Closing::Done);
            }
            Entry::Occupied(entry) => entry,
        };
        let Record::Payment(payment) = entry.get_mut() else { return Ok(Closing::Done) };
        match payment.state {
            State::Paid => return Err(Refusal::AlreadyPaid),
            State::Declined | State::Closed => return Ok(Closing::Done),
            State::Waiting => self.append(&fact)?,
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

    /// Refunds a part of a capture, once per refund number.
    pub fn refund(&self, account: AccountId, refund: &Refund<'_>) -> Result<(), Refusal> {
        let account = self.account(account);
        // Refunds are locked before payments, here and everywhere.
        let entry = match account.refunds.entry(refund.refund_number.into()) {
            Entry::Occupied(entry) => {
                return if entry.get().is(refund) { Ok(()) } else { Err(Refusal::NumberUsed) };
            }
            Entry::Vacant(entry) => entry,
        };
        let number: Arc<str> = refund.number.into();
        let Some(mut record) = account.payments.get_mut(&number) else { return Err(Refusal::NotExist) };
        let Record::Payment(payment) = record.value_mut() else { return Err(Refusal::NotExist) };
        if payment.currency != refund.currency {
            return Err(Refusal::Refused);
        }
        if refund.amount_minor > payment.captured_minor() - payment.refunded_minor {
            return Err(Refusal::RefundExceeds);
        }
        self.append(&Fact::Refunded {
            account: Cow::Borrowed(&account.name),
            refund_number: Cow::Borrowed(refund.refund_number),
            number: Cow::Borrowed(refund.number),
            amount_minor: refund.amount_minor,
            currency: refund.currency,
        })?;
        self.state.refund(payment, refund.amount_minor);
        entry.insert(Refunded { number, amount_minor: refund.amount_minor, currency: refund.currency });
        Ok(())
    }

    /// Notes that a callback was sent and whether it was acknowledged.
    pub fn callback_sent(&self, id: &PaymentId, acknowledged: bool) -> Result<(), Refusal> {
        let account = self.account(id.account);
        let Some(mut record) = account.payments.get_mut(&id.number) else { return Err(Refusal::NotExist) };
        let Record::Payment(payment) = record.value_mut() else { return Err(Refusal::NotExist) };
        self.append(&Fact::CallbackSent {
            account: Cow::Borrowed(&account.name),
            number: Cow::Borrowed(&id.number),
            acknowledged,
        })?;
        payment.callback_sent(acknowledged);
        Ok(())
    }

    pub fn notice(&self, id: &PaymentId) -> Option<Notice> {
        let record = self.account(id.account).payments.get(&id.number)?;
        let Record::Payment(payment) = record.value() else { return None };
        Some(Notice {
            address: Arc::clone(&payment.address),
            asked_minor: payment.asked_minor,
            currency: payment.currency,
            capture: payment.capture,
            acknowledged: payment.acknowledged,
        })
    }

    /// The payment of a number; none if it was never asked for.
    pub fn view(&self, account: AccountId, number: &str, now: i64) -> Option<View> {
        let record = self.account(account).payments.get(number)?;
        let Record::Payment(payment) = record.value() else { return None };
        Some(payment.view(now))
    }

    /// The payment that a refund belongs to, and the refund's amount.
    pub fn refunded(&self, account: AccountId, refund_number: &str) -> Option<(Arc<str>, i64)> {
        let refund = self.account(account).refunds.get(refund_number)?;
        Some((Arc::clone(&refund.number), refund.amount_minor))
    }

    /// Counts a call of a payment; none if there is no such payment.
    pub fn count_call(&self, account: AccountId, number: &str) -> Option<u16> {
        let mut record = self.account(account).payments.get_mut(number)?;
        let Record::Payment(payment) = record.value_mut() else { return None };
        let nth = payment.calls;
        payment.calls = nth.wrapping_add(1);
        Some(nth)
    }

    /// What the books say of a number, at whichever account it is.
    pub fn order_line(&self, number: &str, now: i64) -> Option<OrderLine> {
        self.state.accounts.iter().find_map(|account| {
            let record = account.payments.get(number)?;
            Some(match record.value() {
                Record::ClosedUnseen => OrderLine {
                    asked_minor: 0,
                    captured_minor: 0,
                    refunded_minor: 0,
                    state: State::Closed,
                    callbacks_sent: 0,
                },
                Record::Payment(payment) => OrderLine {
                    asked_minor: payment.asked_minor,
                    captured_minor: payment.captured_minor(),
                    refunded_minor: payment.refunded_minor,
                    state: payment.state_at(now),
                    callbacks_sent: payment.callbacks_sent,
                },
            })
        })
    }

    pub fn totals(&self) -> BTreeMap<&'static str, Total> {
        self.state.totals.lock().expect("no holder panics").clone()
    }

    /// What is still to happen by these books, for a gateway that starts.
    pub fn pending(&self, now: i64, mut take_up: impl FnMut(Pending)) {
        for (index, account) in self.state.accounts.iter().enumerate() {
            for record in &account.payments {
                let Record::Payment(payment) = record.value() else { continue };
                if let Some(what) = payment.pending(now) {
                    let id = PaymentId { account: AccountId(index), number: Arc::clone(record.key()) };
                    take_up(Pending { payment: id, what });
                }
            }
        }
    }
}

/// What came of the payer's act.
#[derive(Debug, PartialEq, Eq)]
pub enum Acted {
    Paid(Script),
    Nothing,
}

impl Accounts {
    /// The payment that a fact creates; none if its address is none.
    fn payment(&self, created: &Created<'_>, fingerprint: Fingerprint) -> Option<Payment> {
        self.totals.lock().expect("no holder panics").entry(created.currency.code()).or_default();
        Some(Payment {
            fingerprint,
            script: created.script,
            state: State::Waiting,
            currency: created.currency,
            acknowledged: false,
            callbacks_sent: 0,
            calls: 0,
            asked_minor: created.asked_minor,
            refunded_minor: 0,
            created_at: created.at,
            expires_at: created.expires_at,
            closed_at: None,
            capture: None,
            address: self.address(&created.notify_url)?,
        })
    }

    /// One address for all payments that name it, so that a payment holds a pointer and not a parsed URL.
    fn address(&self, text: &str) -> Option<Arc<Address>> {
        let address = Address::parse(text)?;
        let mut shared = self.addresses.lock().expect("no holder panics");
        if let Some(SharedAddress(known)) = shared.get(&address) {
            return Some(Arc::clone(known));
        }
        let address = Arc::new(address);
        if shared.len() < SHARED_ADDRESSES_MAX {
            shared.insert(SharedAddress(Arc::clone(&address)));
        }
        Some(address)
    }

    fn capture(&self, payment: &mut Payment, capture: Capture) {
        payment.state = State::Paid;
        payment.capture = Some(capture);
        self.total(payment.currency, |total| {
            total.captured_minor += i128::from(capture.amount_minor);
            total.captures += 1;
        });
    }

    fn refund(&self, payment: &mut Payment, amount_minor: i64) {
        payment.refunded_minor += amount_minor;
        self.total(payment.currency, |total| total.refunded_minor += i128::from(amount_minor));
    }

    fn total(&self, currency: Currency, change: impl FnOnce(&mut Total)) {
        change(self.totals.lock().expect("no holder panics").entry(currency.code()).or_default());
    }

    /// Adopts a fact of an earlier run.
    fn replay(&self, fact: Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Created(created) => {
                let fingerprint = STANDARD.decode(&*created.fingerprint).ok().and_then(|bytes| bytes.try_into().ok());
                let payment = self.payment(&created, fingerprint.ok_or("no fingerprint")?).ok_or("no address")?;
                let payments = &self.named(&created.account)?.payments;
                match payments.insert((*created.number).into(), Record::Payment(payment)) {
                    None => Ok(()),
                    Some(_) => Err("a second creation".to_owned()),
                }
            }
            Fact::Captured { account, number, reference, captured_minor, at } => {
                let reference = Reference::parse(&reference).ok_or("no reference")?;
                let capture = Capture { reference, amount_minor: captured_minor, at };
                self.known(&account, &number, |payment| self.capture(payment, capture))
            }
            Fact::Declined { account, number } => {
                self.known(&account, &number, |payment| payment.state = State::Declined)
            }
            Fact::Closed { account, number, at } => {
                let payments = &self.named(&account)?.payments;
                match payments.entry((*number).into()) {
                    Entry::Vacant(entry) => drop(entry.insert(Record::ClosedUnseen)),
                    Entry::Occupied(mut entry) => match entry.get_mut() {
                        Record::ClosedUnseen => {}
                        Record::Payment(payment) => payment.close(at),
                    },
                }
                Ok(())
            }
            Fact::CallbackSent { account, number, acknowledged } => {
                self.known(&account, &number, |payment| payment.callback_sent(acknowledged))
            }
            Fact::Refunded { account, refund_number, number, amount_minor, currency } => {
                self.known(&account, &number, |payment| self.refund(payment, amount_minor))?;
                let refunded = Refunded { number: (*number).into(), amount_minor, currency };
                match self.named(&account)?.refunds.insert((*refund_number).into(), refunded) {
                    None => Ok(()),
                    Some(_) => Err("a second refund of one number".to_owned()),
                }
            }
        }
    }

    fn named(&self, account: &str) -> Result<&Account, String> {
        self.accounts.iter().find(|known| known.name == account).ok_or_else(|| "an unknown account".to_owned())
    }

    fn known(&self, account: &str, number: &str, change: impl FnOnce(&mut Payment)) -> Result<(), String> {
        let mut record = self.named(account)?.payments.get_mut(number).ok_or("an unknown payment")?;
        match record.value_mut() {
            Record::ClosedUnseen => Err("a payment that was never asked for".to_owned()),
            Record::Payment(payment) => {
                change(payment);
                Ok(())
            }
        }
    }
}

impl Payment {
    fn state_at(&self, now: i64) -> State {
        match self.state {
            State::Waiting if self.expires_at <= now => State::Closed,
            State::Waiting => State::Waiting,
            State::Paid => State::Paid,
            State::Declined => State::Declined,
            State::Closed => State::Closed,
        }
    }

    fn captured_minor(&self) -> i64 {
        self.capture.map_or(0, |capture| capture.amount_minor)
    }

    /// A request to create this payment once more.
    fn repeated(&self, fingerprint: &Fingerprint, now: i64) -> Result<Taken, Refusal> {
        if self.fingerprint != *fingerprint {
            return Err(Refusal::NumberUsed);
        }
        match (self.state_at(now), self.capture) {
            (State::Waiting, _) => Ok(Taken::Again),
            (State::Paid, Some(capture)) => Ok(Taken::Paid(capture)),
            (State::Paid, None) | (State::Declined | State::Closed, _) => Err(Refusal::PaymentClosed),
        }
    }

    fn close(&mut self, at: i64) {
        self.state = State::Closed;
        self.closed_at = Some(at);
    }

    fn callback_sent(&mut self, acknowledged: bool) {
        self.callbacks_sent = self.callbacks_sent.saturating_add(1);
        self.acknowledged |= acknowledged;
    }

    fn view(&self, now: i64) -> View {
        View {
            state: self.state_at(now),
            asked_minor: self.asked_minor,
            captured_minor: self.captured_minor(),
            refunded_minor: self.refunded_minor,
            currency: self.currency,
            reference: self.capture.map(|capture| capture.reference),
            callbacks_sent: self.callbacks_sent,
        }
    }

    fn pending(&self, now: i64) -> Option<PendingWhat> {
        let (script, asked_minor) = (self.script, self.asked_minor);
        match (self.state_at(now), self.closed_at) {
            (State::Waiting, _) => Some(PendingWhat::Payer { script, asked_minor, created_at: self.created_at }),
            (State::Closed, Some(closed_at)) => Some(PendingWhat::PayerOnceClosed { script, asked_minor, closed_at }),
            (State::Paid, _) => {
                Some(PendingWhat::Callbacks { script, sent: self.callbacks_sent, acknowledged: self.acknowledged })
            }
            (State::Closed, None) | (State::Declined, _) => None,
        }
    }
}

impl Refunded {
    fn is(&self, refund: &Refund<'_>) -> bool {
        *self.number == *refund.number && self.amount_minor == refund.amount_minor && self.currency == refund.currency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_is_small_enough_to_keep_millions() {
        // Number (64 characters at most, counted) and table slot come on top, under 150 bytes.
        assert!(size_of::<Record>() <= 240, "{}", size_of::<Record>());
    }

    #[test]
    fn addresses_are_http_with_a_host_and_shared() {
        for wrong in ["", "callbacks", "ftp://host/", "file:///etc", "http://", "javascript:x"] {
            assert!(Address::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(Address::parse("https://host/x").unwrap().host, "host:443");
        assert_eq!(Address::parse("http://127.0.0.1:8080/x").unwrap().host, "127.0.0.1:8080");
        let accounts = Accounts { accounts: Vec::new(), totals: Mutex::default(), addresses: Mutex::default() };
        let [one, same, other] = ["http://host/a", "http://host/a", "http://host/b"].map(|url| accounts.address(url));
        assert!(Arc::ptr_eq(one.as_ref().unwrap(), same.as_ref().unwrap()));
        assert!(!Arc::ptr_eq(one.as_ref().unwrap(), other.as_ref().unwrap()));
    }
}
