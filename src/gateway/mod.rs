//! The simulated gateway: the far end of every channel of the sandbox, with payers that follow scripts.
//!
//! Owns its books (what was asked, captured and refunded, in a file of its own) and the wire of each channel as the
//! channel's owner would speak it. It must never share code with our own channel adapters: a misreading of a protocol
//! on one side has to show on the other.
//!
//! `alipay`, `simpay`, `stripe` and `unionpay` are the far ends of one channel each; all else serves every channel. A far
//! end opens its accounts ([`roster::Roster`]), has its routes (`http`), keeps its payments in the `books`, and is a
//! [`wire::Wire`] for each account, which is how the gateway tells merchants of money.

pub mod accounts;
mod address;
mod agenda;
mod alipay;
pub mod books;
mod callbacks;
mod cost;
mod fate;
mod faults;
mod http;
mod journal;
mod nonces;
mod payer;
mod refund_script;
mod replies;
pub mod roster;
mod simpay;
mod stripe;
mod unionpay;
mod wechat;
pub mod wire;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::{App, HttpServer, web};
use rand::RngExt;
use rand::distr::Alphanumeric;
use tokio::task::JoinSet;

use crate::config::{Config, ConfigError};
use accounts::AccountId;
use agenda::{Agenda, Deed, Delivery, PaymentId};
use alipay::Alipay;
use books::{Acted, BookedRefund, Books, CloseRule, Closing, News, PendingWhat, Refunding, Refusal};
use callbacks::Sender;
use cost::Costs;
use faults::{Fault, Faults};
use payer::{Conduct, Notices, Payer, Script};
use roster::{Enlisted, Roster};
use simpay::Simpay;
use stripe::Stripe;
use unionpay::Unionpay;
use wechat::Wechat;
use wire::{EndedBy, TimeScale, Wire};

/// When the last of three callbacks follows the first two.
const LATER_COPY_MS: i64 = 1_000;
/// Longer than clients keep an idle connection, so that none runs into its closing.
const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// Requests that hang on purpose do not hold up the end.
const SHUTDOWN_S: u64 = 1;

#[derive(Debug)]
pub enum GatewayError {
    Config(ConfigError),
    /// A key or certificate of this account is malformed.
    Key(String),
    Books(PathBuf, std::io::Error),
    Client(reqwest::Error),
    Listen(SocketAddr, std::io::Error),
    Server(std::io::Error),
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatewayError::Config(error) => error.fmt(f),
            GatewayError::Key(account) => write!(f, "gateway: a key or certificate of account {account} is malformed"),
            GatewayError::Books(folder, error) => write!(f, "gateway: books in {}: {error}", folder.display()),
            GatewayError::Client(error) => write!(f, "gateway: client for callbacks: {error}"),
            GatewayError::Listen(address, error) => write!(f, "gateway: {address}: {error}"),
            GatewayError::Server(error) => write!(f, "gateway: {error}"),
        }
    }
}

impl std::error::Error for GatewayError {}

/// What requests, payers and callbacks share.
struct Gateway {
    accounts: Vec<Enlisted>,
    books: Books,
    agenda: Agenda,
    faults: Faults,
    costs: Costs,
    payer_delay_ms: i64,
    /// For spans that a protocol fixes.
    time_scale: TimeScale,
    simpay: Simpay,
    unionpay: Unionpay,
    stripe: Stripe,
    alipay: Alipay,
    wechat: Wechat,
}

/// Runs the simulated gateway until `shutdown` resolves; it is down within two seconds then.
///
/// # Errors
/// A key is missing, the books are another gateway's or unreadable, or the address is taken.
pub async fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Result<(), GatewayError> {
    let gateway = Arc::new(Gateway::open(config)?);
    gateway.take_up_pending();
    let timeout = Duration::from_millis(config.gateway.callback_timeout_ms);
    let sender = Arc::new(Sender::new(Arc::clone(&gateway), timeout)?);

    let data = web::Data::from(Arc::clone(&gateway));
    let server = HttpServer::new(move || App::new().app_data(data.clone()).configure(http::routes))
        .workers(workers(config.gateway.workers))
        .keep_alive(KEEP_ALIVE)
        // A caller that hangs up has given up: what hangs on purpose ends with it.
        .h1_allow_half_closed(false)
        .shutdown_timeout(SHUTDOWN_S)
        .disable_signals()
        .bind(config.gateway.listen)
        .map_err(|error| GatewayError::Listen(config.gateway.listen, error))?
        .run();
    tracing::info!(listen = %config.gateway.listen, "the simulated gateway answers");

    let handle = server.handle();
    let mut server = pin!(server);
    let mut senders = JoinSet::new();
    let ended = tokio::select! {
        ended = &mut server => ended,
        never = gateway.live(&sender, &mut senders) => never,
        () = shutdown => tokio::join!(handle.stop(true), &mut server).1,
    };
    senders.shutdown().await;
    gateway.books.seal();
    ended.map_err(GatewayError::Server)
}

impl Gateway {
    fn open(config: &Config) -> Result<Self, GatewayError> {
        let mut roster = Roster::default();
        let simpay = Simpay::open(config, &mut roster)?;
        let unionpay = Unionpay::open(config, &mut roster)?;
        let stripe = Stripe::open(config, &mut roster)?;
        let alipay = Alipay::open(config, &mut roster)?;
        let wechat = Wechat::open(config, &mut roster)?;
        let names = roster.accounts.iter().map(|account| (account.channel, account.name.as_str()));
        let books = Books::open(&config.gateway_dir(), names)?;
        stripe.recall(&books, now_ms());
        Ok(Gateway {
            books,
            accounts: roster.accounts,
            agenda: Agenda::default(),
            faults: Faults::new(&config.gateway.faults),
            costs: Costs::new(&config.gateway.cost_rate),
            payer_delay_ms: signed(config.gateway.payer_delay_ms),
            time_scale: TimeScale::percent(config.gateway.time_scale_percent),
            simpay,
            unionpay,
            stripe,
            alipay,
            wechat,
        })
    }

    fn wire(&self, account: AccountId) -> &dyn Wire {
        self.accounts[account.index()].wire.as_ref()
    }

    fn account_ids(&self) -> impl Iterator<Item = AccountId> {
        (0u16..).zip(&self.accounts).map(|(place, account)| AccountId { channel: account.channel, place })
    }

    /// How this call of a payment is answered: what the script says goes before what chance says.
    fn fault(&self, account: AccountId, number: &str, call: &str, scripted: Conduct) -> Fault {
        let nth = if self.faults.befall_calls() { self.books.count_call(account, number) } else { None };
        self.fault_of(nth, number, call, scripted)
    }

    /// The same for a payment that a browser brought: as no call of the merchant created it, what its script says of
    /// that call befalls the first one that there is.
    fn fault_after_browser(&self, account: AccountId, number: &str, call: &str, script: Script) -> Fault {
        let nth = self.books.count_call(account, number);
        let scripted = if nth == Some(0) { script.conduct() } else { Conduct::Answers };
        self.fault_of(nth, number, call, scripted)
    }

    fn fault_of(&self, nth: Option<u16>, number: &str, call: &str, scripted: Conduct) -> Fault {
        let drawn = nth.map_or(Fault::NONE, |nth| self.faults.of_call(number, call, nth));
        let conduct = if scripted == Conduct::Answers { drawn.conduct } else { scripted };
        Fault { conduct, ..drawn }
    }

    /// Closes a payment, and puts the money on the agenda that comes although it was closed.
    fn close(&self, account: AccountId, number: &str, rule: CloseRule, now: i64) -> Result<(), Refusal> {
        match self.books.close(account, number, rule, now)? {
            Closing::Done => {}
            Closing::MoneyComes { payment, after_ms } => {
                self.agenda.arrange(now.saturating_add(after_ms), payment, Deed::PayerActs);
            }
        }
        Ok(())
    }

    /// Puts on the agenda what will be told of a refund that was just taken, where its request named an address.
    fn arrange_refund(&self, account: AccountId, refund_number: &str, refund: &BookedRefund) {
        let payment = PaymentId { account, number: Arc::clone(&refund.number) };
        let wire = self.wire(account);
        let told = refund.history().filter(|news| refund.address.is_some() && wire.tells(news.state));
        for News { state, at } in told {
            let delivery = Delivery::Refund { refund_number: refund_number.into(), news: state, tries: 0 };
            self.agenda.arrange(at, payment.clone(), Deed::Deliver(delivery));
        }
    }

    /// How the call is answered that a refund was asked for by.
    fn fault_of_refund(&self, account: AccountId, refunding: &Refunding) -> Fault {
        self.fault(account, &refunding.booked().number, "refund", refunding.conduct())
    }

    /// Does what the agenda says, for ever.
    async fn live(&self, sender: &Arc<Sender>, senders: &mut JoinSet<()>) -> ! {
        loop {
            for (payment, deed) in self.agenda.due().await {
                match deed {
                    Deed::PayerActs => self.payer_acts(payment),
                    Deed::Ends => self.ends(&payment),
                    Deed::Deliver(delivery) => {
                        if let Some(job) = sender.admit(payment, delivery) {
                            senders.spawn(Arc::clone(sender).work(job));
                        }
                    }
                }
            }
            while senders.try_join_next().is_some() {}
            tokio::task::yield_now().await;
        }
    }

    /// Puts on the agenda what follows by itself from the creation of a payment.
    fn arrange_payment(&self, payment: PaymentId, script: Script, asked_minor: i64, created_at: i64) {
        if script == Script::Forge {
            self.agenda.arrange(created_at, payment.clone(), Deed::Deliver(Delivery::Forged));
        }
        self.arrange_payer(payment, script, asked_minor, created_at);
    }

    fn arrange_payer(&self, payment: PaymentId, script: Script, asked_minor: i64, created_at: i64) {
        match script.payer(asked_minor, self.payer_delay_ms) {
            Payer::Pays { after_ms } | Payer::Declines { after_ms } => {
                self.agenda.arrange(created_at.saturating_add(after_ms), payment, Deed::PayerActs);
            }
            Payer::PaysOnceClosed { .. } | Payer::StaysAway => {}
        }
    }

    /// Puts the end of a payment on the agenda, if its script waits for that and no merchant can bring it about.
    fn arrange_end(&self, payment: PaymentId, script: Script, asked_minor: i64, expires_at: i64) {
        match self.wire(payment.account).ended_by() {
            EndedBy::Time if script.waits_for_the_end(asked_minor) => {
                self.agenda.arrange(expires_at, payment, Deed::Ends);
            }
            EndedBy::Time | EndedBy::Merchant => {}
        }
    }

    fn payer_acts(&self, payment: PaymentId) {
        let now = now_ms();
        let fresh = || self.wire(payment.account).reference(now);
        match self.books.payer_acts(&payment, fresh, now) {
            Ok(Acted::Nothing) => {}
            Ok(Acted::Paid(script)) => self.arrange_callbacks(&payment, script, now),
            Err(refusal) => tracing::error!(number = %payment.number, ?refusal, "a payer could not act"),
        }
    }

    /// Where no merchant can close a payment, its end by time is the close that scripts speak of.
    fn ends(&self, payment: &PaymentId) {
        match self.close(payment.account, &payment.number, CloseRule::Remembered, now_ms()) {
            Ok(()) | Err(Refusal::AlreadyPaid) => {}
            Err(refusal) => tracing::error!(number = %payment.number, ?refusal, "a payment could not end"),
        }
    }

    fn arrange_callbacks(&self, payment: &PaymentId, script: Script, now: i64) {
        let notices = self.notices(script, &payment.number);
        for nth in 0..notices.total() {
            let delivery = if nth == 0 { Delivery::Assured { tries: 0 } } else { Delivery::Copy };
            let at = if nth < notices.at_once { now } else { now + LATER_COPY_MS };
            self.agenda.arrange(at, payment.clone(), Deed::Deliver(delivery));
        }
    }

    /// How many callbacks tell of a capture: by the script, or by chance where the script asks for the usual one.
    fn notices(&self, script: Script, number: &str) -> Notices {
        match script.notices() {
            Notices::ONE => self.faults.notices(number),
            notices => notices,
        }
    }

    /// Takes up what the last run left undone: payers still to pay, late money, callbacks not yet acknowledged, of
    /// captures and of refunds.
    fn take_up_pending(&self) {
        let now = now_ms();
        let mut pending_payments = 0u64;
        self.books.pending(self.account_ids(), now, |pending| {
            pending_payments += 1;
            let payment = pending.payment;
            match pending.what {
                PendingWhat::Payer { script, asked_minor, created_at } => {
                    self.arrange_payer(payment, script, asked_minor, created_at);
                }
                PendingWhat::End { script, asked_minor, expires_at } => {
                    self.arrange_end(payment, script, asked_minor, expires_at);
                }
                PendingWhat::PayerOnceClosed { script, asked_minor, closed_at } => {
                    self.arrange_late_money(payment, script, asked_minor, closed_at);
                }
                PendingWhat::Callbacks { script, sent, acknowledged } => {
                    self.arrange_rest_of_callbacks(&payment, script, sent, acknowledged, now);
                }
                PendingWhat::RefundCallback { refund_number, news, sent } => {
                    let is_told = self.wire(payment.account).tells(news.state);
                    if is_told && self.has_tries_left(payment.account, sent) {
                        let delivery = Delivery::Refund { refund_number, news: news.state, tries: sent };
                        self.agenda.arrange(now.max(news.at), payment, Deed::Deliver(delivery));
                    }
                }
            }
        });
        if pending_payments > 0 {
            tracing::info!(pending_payments, "payments of an earlier run go on");
        }
    }

    /// Puts the money on the agenda that comes although (because) the payment was closed.
    fn arrange_late_money(&self, payment: PaymentId, script: Script, asked_minor: i64, closed_at: i64) {
        match script.payer(asked_minor, self.payer_delay_ms) {
            Payer::PaysOnceClosed { after_ms } => {
                self.agenda.arrange(closed_at.saturating_add(after_ms), payment, Deed::PayerActs);
            }
            Payer::Pays { .. } | Payer::Declines { .. } | Payer::StaysAway => {}
        }
    }

    /// Whether a callback that was sent so often without success is sent once more.
    fn has_tries_left(&self, account: AccountId, sent: u16) -> bool {
        usize::from(sent) <= self.wire(account).retry_ms().len()
    }

    /// Goes on with the callbacks of a capture after a restart. The tries of copies count as tries: a few gaps less.
    fn arrange_rest_of_callbacks(&self, id: &PaymentId, script: Script, sent: u16, acknowledged: bool, now: i64) {
        let total = self.notices(script, &id.number).total();
        let assured = total > 0 && !acknowledged && self.has_tries_left(id.account, sent);
        if assured {
            self.agenda.arrange(now, id.clone(), Deed::Deliver(Delivery::Assured { tries: sent }));
        }
        for _ in sent + u16::from(assured)..total {
            self.agenda.arrange(now, id.clone(), Deed::Deliver(Delivery::Copy));
        }
    }
}

fn workers(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// Spans of the configuration, for sums with instants; none of them is near the bound.
fn signed(span_ms: u64) -> i64 {
    i64::try_from(span_ms).unwrap_or(i64::MAX)
}

/// Unix milliseconds.
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Random characters of `[0-9A-Za-z]`.
fn alphanumeric<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| rng.sample(Alphanumeric))
}
