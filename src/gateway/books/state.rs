//! What the facts add up to: the payments and refunds of every account, and the totals of every channel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use serde::Serialize;

use super::parts::Part;
use super::record::{Money, Payment, Record, State};
use super::refund::BookedRefund;
use super::{Asked, Refund, RefundLimits};
use crate::domain::money::Currency;
use crate::gateway::accounts::{Channel, Lookup};
use crate::gateway::address::{Address, Addresses};
use crate::gateway::fate::{Fate, RefundState};
use crate::gateway::journal::{Created, Fact, Refunded};

/// i128: a million payments of the largest amount pass an i64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    captured_minor: i128,
    refunded_minor: i128,
    captures: u64,
}

/// Totals by channel and currency.
pub type Totals = BTreeMap<Channel, BTreeMap<&'static str, Total>>;

pub struct Account {
    pub channel: Channel,
    /// As the file names it: `wechat/default`.
    pub label: String,
    pub payments: DashMap<Arc<str>, Record>,
    pub refunds: DashMap<Arc<str>, BookedRefund>,
    /// Refunds that there is no money for yet, and since when. It is locked after refunds and payments.
    pub waiting: DashMap<Arc<str>, i64>,
    /// From the channel's own references to numbers.
    references: Option<DashMap<Arc<str>, Arc<str>>>,
}

impl Account {
    fn new(channel: Channel, name: &str) -> Self {
        let references = match channel.looks_up() {
            Lookup::ByNumber => None,
            Lookup::ByNumberAndReference => Some(DashMap::new()),
        };
        let label = format!("{}/{name}", channel.name());
        Account {
            channel,
            label,
            payments: DashMap::new(),
            refunds: DashMap::new(),
            waiting: DashMap::new(),
            references,
        }
    }

    pub fn refer(&self, reference: &Arc<str>, number: &Arc<str>) {
        if let Some(references) = &self.references {
            references.insert(Arc::clone(reference), Arc::clone(number));
        }
    }

    /// Adopts that a refund was taken.
    pub fn give_back(&self, payment: &mut Payment, refund_number: &str, booked: &BookedRefund) {
        let BookedRefund { amount_minor, at, fate, .. } = *booked;
        payment.parts.add(Part { amount_minor, taken_at: at, fate });
        self.waiting.remove(refund_number);
    }

    pub fn referred(&self, reference: &str) -> Option<Arc<str>> {
        self.references.as_ref()?.get(reference).map(|number| Arc::clone(&number))
    }
}

pub struct Accounts {
    pub accounts: Vec<Account>,
    pub addresses: Addresses,
    totals: Mutex<Totals>,
}

impl Accounts {
    pub fn new<'a>(accounts: impl Iterator<Item = (Channel, &'a str)>) -> Self {
        let accounts: Vec<Account> = accounts.map(|(channel, name)| Account::new(channel, name)).collect();
        let totals = accounts.iter().map(|account| (account.channel, BTreeMap::new())).collect();
        Accounts { accounts, addresses: Addresses::default(), totals: Mutex::new(totals) }
    }

    /// What was captured is counted as it comes; what payers have back depends on the time, and is summed up.
    pub fn totals(&self, now: i64) -> Totals {
        let mut totals = self.totals.lock().expect("no holder panics").clone();
        for account in &self.accounts {
            let of_channel = totals.entry(account.channel).or_default();
            for refund in account.refunds.iter().filter(|refund| refund.state_at(now) == RefundState::Refunded) {
                let total = of_channel.entry(refund.currency.code()).or_default();
                total.refunded_minor += i128::from(refund.amount_minor);
            }
        }
        totals
    }

    /// The payment that a request creates; none if its address is none.
    pub fn payment(&self, channel: Channel, asked: &Asked<'_>, now: i64) -> Option<Payment> {
        self.total(channel, asked.currency, |_| {});
        Some(Payment::new(asked, self.address(asked.notify_url)?, now))
    }

    /// The refund that a request books; none if its address is none.
    pub fn booked(&self, refund: &Refund<'_>, fate: Fate, at: i64) -> Option<BookedRefund> {
        let address = self.address(refund.notify_url)?;
        Some(BookedRefund {
            number: refund.number.into(),
            amount_minor: refund.amount_minor,
            currency: refund.currency,
            at,
            script: refund.script,
            fate,
            reference: refund.reference.map(Arc::from),
            data: refund.data.map(Arc::from),
            address,
            told: BTreeMap::new(),
        })
    }

    /// Where callbacks go, if anywhere; none if that is no address.
    fn address(&self, notify_url: Option<&str>) -> Option<Option<Arc<Address>>> {
        match notify_url {
            Some(notify_url) => Some(Some(self.addresses.share(notify_url)?)),
            None => Some(None),
        }
    }

    pub fn capture(&self, account: &Account, number: &Arc<str>, payment: &mut Payment, reference: &Arc<str>, m: Money) {
        account.refer(reference, number);
        payment.pay(Arc::clone(reference), m);
        self.total(account.channel, payment.currency, |total| {
            total.captured_minor += i128::from(m.amount_minor);
            total.captures += 1;
        });
    }

    fn total(&self, channel: Channel, currency: Currency, change: impl FnOnce(&mut Total)) {
        let mut totals = self.totals.lock().expect("no holder panics");
        change(totals.entry(channel).or_default().entry(currency.code()).or_default());
    }

    /// Adopts a fact of an earlier run.
    pub fn replay(&self, fact: Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Created(created) => self.replay_created(&created),
            Fact::Captured { account, number, reference, captured_minor, at } => {
                let account = self.named(&account)?;
                let (number, reference) = (Arc::from(&*number), Arc::from(&*reference));
                let money = Money { amount_minor: captured_minor, at };
                known(account, &number, |payment| self.capture(account, &number, payment, &reference, money))
            }
            Fact::Declined { account, number } => {
                known(self.named(&account)?, &number, |payment| payment.state = State::Declined)
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
            Fact::Noted { account, number, data } => {
                known(self.named(&account)?, &number, |payment| payment.data = Some((*data).into()))
            }
            Fact::CallbackSent { account, number, acknowledged } => {
                known(self.named(&account)?, &number, |payment| payment.callback_sent(acknowledged))
            }
            Fact::Refunded(refunded) => self.replay_refunded(&refunded),
            Fact::RefundPutOff { account, refund_number, at } => {
                self.named(&account)?.waiting.insert((*refund_number).into(), at);
                Ok(())
            }
            Fact::RefundTold { account, refund_number, news, acknowledged } => {
                let mut refund = self.named(&account)?.refunds.get_mut(&*refund_number).ok_or("an unknown refund")?;
                refund.told.entry(news).or_default().again(acknowledged);
                Ok(())
            }
        }
    }

    fn replay_created(&self, created: &Created<'_>) -> Result<(), String> {
        let account = self.named(&created.account)?;
        let fingerprint = STANDARD.decode(&*created.fingerprint).ok().and_then(|bytes| bytes.try_into().ok());
        let asked = Asked {
            number: &created.number,
            fingerprint: fingerprint.ok_or("no fingerprint")?,
            amount_minor: created.asked_minor,
            currency: created.currency,
            script: created.script,
            notify_url: created.notify_url.as_deref(),
            expires_at: created.expires_at,
            reference: created.reference.as_deref(),
            data: created.data.as_deref(),
        };
        let payment = self.payment(account.channel, &asked, created.at).ok_or("no address")?;
        let number = Arc::from(&*created.number);
        if let Some(reference) = &payment.reference {
            account.refer(reference, &number);
        }
        match account.payments.insert(number, Record::Payment(payment)) {
            None => Ok(()),
            Some(_) => Err("a second creation".to_owned()),
        }
    }

    fn replay_refunded(&self, refunded: &Refunded<'_>) -> Result<(), String> {
        let account = self.named(&refunded.account)?;
        let refund = Refund {
            refund_number: &refunded.refund_number,
            number: &refunded.number,
            amount_minor: refunded.amount_minor,
            currency: refunded.currency,
            script: refunded.script,
            limits: RefundLimits::NONE,
            reference: refunded.reference.as_deref(),
            notify_url: refunded.notify_url.as_deref(),
            data: refunded.data.as_deref(),
        };
        let booked = self.booked(&refund, refunded.fate(), refunded.at).ok_or("no address")?;
        known(account, &refunded.number, |payment| account.give_back(payment, &refunded.refund_number, &booked))?;
        match account.refunds.insert((*refunded.refund_number).into(), booked) {
            None => Ok(()),
            Some(_) => Err("a second refund of one number".to_owned()),
        }
    }

    /// The account of a label. Books that were begun when simpay was the only channel name its account alone.
    fn named(&self, label: &str) -> Result<&Account, String> {
        let simpay = self.accounts.iter().filter(|account| account.channel == Channel::Simpay);
        self.accounts
            .iter()
            .find(|known| known.label == label)
            .or_else(|| simpay.into_iter().find(|known| known.label.strip_prefix("simpay/") == Some(label)))
            .ok_or_else(|| format!("the account {label:?} is not configured"))
    }
}

fn known(account: &Account, number: &str, change: impl FnOnce(&mut Payment)) -> Result<(), String> {
    let mut record = account.payments.get_mut(number).ok_or("an unknown payment")?;
    match record.value_mut() {
        Record::ClosedUnseen => Err("a payment that was never asked for".to_owned()),
        Record::Payment(payment) => {
            change(payment);
            Ok(())
        }
    }
}
