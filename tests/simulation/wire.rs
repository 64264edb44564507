//! Calls from the supervisors to the gateways and back, with all that can befall them on the way, and the money that
//! gateways take and tell of.

use tongbao::domain::breaker::{Admission, Sign};
use tongbao::domain::channel::Channel;
use tongbao::domain::event::{CloseAnswer, Effect, Fact, Fault, Finding, RefundOutcome, SendOutcome};
use tongbao::domain::id::{Account, AttemptNumber};
use tongbao::domain::order::{Attempt, Order, Purpose, State};

use crate::auditor;
use crate::gateways::{Honesty, Mood, Reply, Request, Shown, Terms, is_carried};
use crate::people;
use crate::process::{Asker, Call, Letter, Notice, Question};
use crate::trace;
use crate::world::{Copy, HOUR, MINUTE, SECOND, What, World};

/// Gaps before a call that was not sent is tried again.
const CALL_RETRY_MS: [i64; 3] = [100, 400, 1_600];
const CALLBACK_RETRY_MS: [i64; 10] = [1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 30_000, 30_000, 60_000, 60_000];

impl World {
    /// Puts a call into its supervisor's queue.
    pub fn call(&mut self, order: &Order, effect: Effect) {
        let Some(process) = &mut self.process else { return };
        let attempt = |ordinal| order.attempt(ordinal).expect("an attempt is there before a channel hears of it");
        let refund = |capture: u16| {
            let taken = &order.captures[usize::from(capture)];
            let Purpose::Suspense { round, .. } = taken.purpose else { panic!("{taken:?} is not to be given back") };
            (taken, round, order.refund_number(capture).expect("it goes back"))
        };
        let (ordinal, question, request) = match effect {
            Effect::ArmTimer { .. } | Effect::Choose { .. } => return,
            Effect::Submit { ordinal, send } => {
                (ordinal, Question::Submit { send }, Request::Submit(Terms::of(attempt(ordinal))))
            }
            Effect::Query { ordinal } => (ordinal, Question::Query, Request::Query),
            Effect::Close { ordinal } => (ordinal, Question::Close, Request::Close),
            Effect::Refund { capture } => {
                let (taken, round, refund_number) = refund(capture);
                let request = Request::Refund { refund_number, amount_minor: taken.amount_minor };
                (taken.ordinal, Question::Refund { capture, round }, request)
            }
            Effect::QueryRefund { capture } => {
                let (taken, round, refund_number) = refund(capture);
                (taken.ordinal, Question::QueryRefund { capture, round }, Request::QueryRefund { refund_number })
            }
        };
        let asked_at = self.agenda.now;
        let call = Call {
            number: order.number(attempt(ordinal)),
            method: attempt(ordinal).method,
            account: attempt(ordinal).account.clone(),
            question,
            request,
            withdrawn: false,
            tries: 0,
            asked_at,
        };
        self.calls += 1;
        let id = self.calls;
        process.calls.insert(id, call);
        let queue_ms = if self.dice.happens(100) { self.dice.between((0, 5_000)) } else { self.dice.between((0, 20)) };
        self.later(queue_ms, |life| What::Depart { life, call: id });
    }

    pub fn withdraw(&mut self, number: AttemptNumber) {
        let Some(process) = &mut self.process else { return };
        for call in process.calls.values_mut().filter(|call| call.number == number) {
            match call.question {
                Question::Submit { .. } => call.withdrawn = true,
                Question::Query | Question::Close | Question::Refund { .. } | Question::QueryRefund { .. } => {}
            }
        }
    }

    pub fn depart(&mut self, id: u64) {
        let now = self.now();
        let Some(process) = &mut self.process else { return };
        let Some(call) = process.calls.get(&id).cloned() else { return };
        if call.withdrawn {
            return self.tell_answer(id, not_sent(&call.request));
        }
        if let (Question::Submit { .. }, true) = (call.question, is_carried(call.account.channel(), call.method)) {
            auditor::departs(&self.store, &call);
            return self.tell_answer(id, Reply::Submit(SendOutcome::Accepted { reference: None }, 0));
        }
        // A create says nothing of an end to Stripe, so its adapter lets none leave after it.
        let is_over = match (&call.request, call.account.channel()) {
            (Request::Submit(terms), Channel::Stripe) => now >= terms.expires_at,
            (Request::Submit(_), Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay)
            | (Request::Query | Request::Close | Request::Refund { .. } | Request::QueryRefund { .. }, _) => false,
        };
        if is_over {
            return self.tell_answer(id, not_sent(&call.request));
        }
        let is_down = process.breaker(&call.account).admit(now) != Admission::Go;
        if is_down || self.dice.happens(self.weather.not_sent) {
            let Some(gap_ms) = CALL_RETRY_MS.get(call.tries) else {
                return self.tell_answer(id, not_sent(&call.request));
            };
            if let Some(call) = process.calls.get_mut(&id) {
                call.tries += 1;
            }
            return self.later(*gap_ms, |life| What::Depart { life, call: id });
        }
        if let Some(call) = process.calls.get_mut(&id) {
            call.asked_at = now;
        }
        auditor::departs(&self.store, &call);
        self.later(self.weather.timeout_ms, |life| What::TimeOut { life, call: id });
        if self.dice.happens(self.weather.request_lost) {
            return;
        }
        let mut way_ms = self.dice.between(self.weather.latency_ms);
        if self.dice.happens(self.weather.request_late) {
            way_ms += self.dice.between((0, 10 * MINUTE));
        }
        let Call { number, account, request, .. } = call;
        self.later(way_ms, |life| What::Arrive { number, account, request, copy: Copy::First { life, call: id } });
    }

    pub fn arrive(&mut self, whose: (AttemptNumber, Account), request: &Request, copy: Copy) {
        let now = self.now();
        let number = whose.0;
        let refused = match copy {
            Copy::First { .. } => self.refused_at_the_door(number, request),
            Copy::Second => None,
        };
        let fails = self.dice.happens(self.weather.gateway_error);
        let is_done = !fails || self.dice.happens(500);
        let reply = match refused {
            Some(refusal) => refusal,
            None if !is_done => {
                if let Request::Submit(_) = request {
                    self.gateways.keep_failure(number, whose.1.channel());
                }
                unknown(request)
            }
            None => {
                let mood = if self.dice.happens(self.weather.lags) { Mood::Other } else { Mood::Plain };
                if self.dice.happens(self.weather.refund_fails) {
                    self.gateways.spoil_refund(number);
                }
                let was_known = self.gateways.payment(number).is_some();
                let reply = self.gateways.serve((number, &whose.1), request, now, mood);
                if !was_known {
                    auditor::begun(&self.store, &self.gateways, number, now);
                }
                auditor::served(&self.gateways, number);
                if copy != Copy::Second && self.dice.happens(self.weather.request_twice) {
                    let later_ms = self.dice.between((1, 2 * MINUTE));
                    let (_, account) = whose;
                    let second = Copy::Second;
                    let arrival = What::Arrive { number, account, request: request.clone(), copy: second };
                    self.agenda.after(later_ms, arrival);
                }
                self.tempt(number, &reply);
                if fails { unknown(request) } else { reply }
            }
        };
        trace::note(|| format!("         gateway: {reply:?}"));
        let Copy::First { life, call } = copy else { return };
        if !self.dice.happens(self.weather.answer_lost) {
            let way_ms = self.dice.between(self.weather.latency_ms);
            self.agenda.after(way_ms, What::Answer { life, call, reply });
        }
    }

    /// Refusals before anything was looked at.
    fn refused_at_the_door(&mut self, number: AttemptNumber, request: &Request) -> Option<Reply> {
        let rejected = |fault, code: &str| Reply::Submit(SendOutcome::Rejected { fault, code: code.into() }, 0);
        let refuses_us = self.dice.happens(self.weather.refuses_us);
        match request {
            Request::Submit(_) if refuses_us => Some(rejected(Fault::Ours, "unauthenticated")),
            Request::Query | Request::Close | Request::Refund { .. } | Request::QueryRefund { .. } if refuses_us => {
                Some(unknown(request))
            }
            Request::Submit(_) if self.gateways.payment(number).is_none() => {
                self.dice.happens(self.weather.refuses_payment).then(|| rejected(Fault::Payment, "refused"))
            }
            Request::Refund { refund_number, .. } => {
                let refuses = self.dice.happens(self.weather.refund_refused);
                refuses.then(|| self.gateways.refuse_refund(number, refund_number)).flatten().map(Reply::Refund)
            }
            Request::Submit(_) | Request::Query | Request::Close | Request::QueryRefund { .. } => None,
        }
    }

    /// A gateway that said "closed" may take the money all the same, much later.
    fn tempt(&mut self, number: AttemptNumber, reply: &Reply) {
        let said_closed = [Reply::Close(CloseAnswer::Closed), Reply::Query(Finding::Closed)].contains(reply);
        let is_known = self.gateways.payment(number).is_some_and(|payment| payment.terms.is_some());
        if said_closed && is_known && self.dice.happens(self.weather.lies) {
            let reach_ms = self.dice.pick(&[SECOND, MINUTE, HOUR, 10 * HOUR]);
            let later_ms = self.dice.between((1, reach_ms));
            self.agenda.after(later_ms, What::Lie { number });
        }
    }

    /// The end of a call: an answer, or none within its time.
    pub fn answer(&mut self, id: u64, reply: Option<Reply>) {
        let now = self.now();
        let Some(process) = &mut self.process else { return };
        // It has ended already: the answer comes too late, or this is the time-out of a call that was answered.
        let Some(call) = process.calls.get(&id) else { return };
        let account = call.account.clone();
        let reply = reply.unwrap_or_else(|| unknown(&call.request));
        process.breaker(&account).record(sign(&reply), now);
        self.tell_answer(id, reply);
    }

    fn tell_answer(&mut self, id: u64, reply: Reply) {
        let Some(call) = self.process.as_mut().and_then(|process| process.calls.remove(&id)) else { return };
        let ordinal = call.number.ordinal;
        let mut shown = None;
        let fact = match (call.question, reply) {
            (Question::Submit { send }, Reply::Submit(outcome, code)) => {
                let is_accepted = matches!(outcome, SendOutcome::Accepted { .. });
                shown = is_accepted.then_some(Shown { number: call.number, code });
                Fact::SendAnswered { ordinal, send, outcome }
            }
            (Question::Query, Reply::Query(finding)) => {
                Fact::QueryAnswered { ordinal, finding, asked_at: call.asked_at }
            }
            (Question::Close, Reply::Close(answer)) => Fact::CloseAnswered { ordinal, answer },
            (
                Question::Refund { capture, round } | Question::QueryRefund { capture, round },
                Reply::Refund(outcome),
            ) => Fact::RefundAnswered { capture, round, outcome },
            (question, reply) => unreachable!("{reply:?} does not answer {question:?}"),
        };
        // An order that has left does not hear it.
        self.put(call.number.order, Letter::Fact { fact, shown, asker: Asker::Nobody });
    }

    // --- money -----------------------------------------------------------------------------------------------------

    /// What the payer agreed to arrives at the gateway.
    pub fn take(&mut self, number: AttemptNumber) {
        let Some(asked_minor) = self.asked_minor(number) else { return };
        let amount_minor = if self.dice.happens(self.weather.wrong_amount) {
            self.dice.pick(&[asked_minor - 1, asked_minor + 1, 1, asked_minor * 2])
        } else {
            asked_minor
        };
        let taken = self.gateways.take(number, amount_minor, self.agenda.now);
        trace::note(|| format!("         taken: {taken:?}"));
        if taken.is_none() {
            return;
        }
        auditor::taken(&self.store, &self.gateways, number);
        if !self.dice.happens(self.weather.callback_lost) {
            self.call_back(number);
        }
    }

    pub fn lie(&mut self, number: AttemptNumber) {
        let now = self.now();
        let Some(asked_minor) = self.asked_minor(number) else { return };
        self.gateways.begin_to_lie(number);
        if self.gateways.take(number, asked_minor, now).is_none() {
            return;
        }
        // Nothing but a watch finds a lie that is not told; watches end after a day, and only failed orders have them.
        let is_watched = self.store.row(number.order).is_some_and(|row| {
            row.order.state == State::Failed && row.order.finished_at.is_some_and(|at| now.since_ms(at) < 20 * HOUR)
        });
        if !(is_watched && self.dice.happens(500)) {
            self.call_back(number);
        }
    }

    fn asked_minor(&self, number: AttemptNumber) -> Option<i64> {
        Some(self.gateways.payment(number)?.terms?.amount_minor)
    }

    /// A callback that is ahead of the money, which may never come; only channels whose callback proves nothing do that.
    pub fn call_back_early(&mut self, number: AttemptNumber) {
        let (Some(payment), Some(amount_minor)) = (self.gateways.payment(number), self.asked_minor(number)) else {
            return;
        };
        let account = payment.account.clone();
        // It is not repeated.
        let tries = CALLBACK_RETRY_MS.len();
        let notice = Notice { number, account, reference: format!("early {number}"), amount_minor, tries };
        let way_ms = self.dice.between((1, MINUTE));
        self.agenda.after(way_ms, What::Notify { notice });
    }

    fn call_back(&mut self, number: AttemptNumber) {
        let Some(payment) = self.gateways.payment(number) else { return };
        let Some(capture) = payment.capture.clone() else { return };
        let account = payment.account.clone();
        let notice =
            Notice { number, account, reference: capture.reference, amount_minor: capture.amount_minor, tries: 0 };
        let late_ms = if self.dice.happens(self.weather.callback_late) { HOUR } else { SECOND };
        let copies = if self.dice.happens(self.weather.callback_twice) { 2 } else { 1 };
        for _ in 0..copies {
            let way_ms = self.dice.between((1, late_ms));
            self.agenda.after(way_ms, What::Notify { notice: notice.clone() });
        }
    }

    pub fn notify(&mut self, notice: Notice) {
        if notice.tries > 0 && self.heard.contains(&(notice.number, notice.reference.clone())) {
            return;
        }
        let lies = self.gateways.payment(notice.number).is_some_and(|payment| payment.honesty == Honesty::Lies);
        let tries = notice.tries;
        // What nothing else would ever find is told until it is heard.
        if tries + 1 < CALLBACK_RETRY_MS.len() || lies {
            let gap_ms = CALLBACK_RETRY_MS.get(tries).copied().unwrap_or(HOUR);
            self.agenda.after(gap_ms, What::Notify { notice: Notice { tries: tries + 1, ..notice.clone() } });
        }
        let fact = Fact::CallbackVerified {
            ordinal: notice.number.ordinal,
            opened_in: notice.number.incarnation,
            account: notice.account.clone(),
            reference: notice.reference.as_str().into(),
            amount_minor: notice.amount_minor,
            currency: people::CURRENCY.into(),
        };
        let order = notice.number.order;
        self.tell(order, Letter::Fact { fact, shown: None, asker: Asker::Gateway(notice) });
    }
}

impl Terms {
    /// What an attempt asks of its gateway.
    pub fn of(attempt: &Attempt) -> Self {
        Terms { amount_minor: attempt.payable_minor, expires_at: attempt.expires_at }
    }
}

/// What a reply says about the health of its channel.
fn sign(reply: &Reply) -> Sign {
    match reply {
        Reply::Submit(SendOutcome::Unknown { .. } | SendOutcome::Rejected { fault: Fault::Ours, .. }, _)
        | Reply::Query(Finding::Unknown { .. })
        | Reply::Close(CloseAnswer::Unknown { .. })
        | Reply::Refund(RefundOutcome::Unknown { .. }) => Sign::Sick,
        Reply::Submit(
            SendOutcome::Accepted { .. }
            | SendOutcome::Paid { .. }
            | SendOutcome::NotSent { .. }
            | SendOutcome::HeldBack { .. }
            | SendOutcome::Impossible { .. }
            | SendOutcome::Later { .. }
            | SendOutcome::Rejected { fault: Fault::Payment, .. },
            _,
        )
        | Reply::Query(
            Finding::Paid { .. } | Finding::Pending | Finding::NotExist | Finding::Declined | Finding::Closed,
        )
        | Reply::Close(CloseAnswer::Closed | CloseAnswer::AlreadyPaid | CloseAnswer::NotExist)
        | Reply::Refund(
            RefundOutcome::Done
            | RefundOutcome::Rejected { .. }
            | RefundOutcome::Spent { .. }
            | RefundOutcome::Dead { .. }
            | RefundOutcome::Stuck { .. }
            | RefundOutcome::NotSent { .. }
            | RefundOutcome::NotExist,
        ) => Sign::Healthy,
    }
}

/// Nothing of it was written to the wire.
fn not_sent(request: &Request) -> Reply {
    match request {
        Request::Submit(_) => Reply::Submit(SendOutcome::NotSent { why: "not sent".into() }, 0),
        Request::Refund { .. } | Request::QueryRefund { .. } => {
            Reply::Refund(RefundOutcome::NotSent { why: "not sent".into() })
        }
        Request::Query | Request::Close => unknown(request),
    }
}

/// Nobody knows.
fn unknown(request: &Request) -> Reply {
    match request {
        Request::Submit(_) => Reply::Submit(SendOutcome::Unknown { why: "no answer".into() }, 0),
        Request::Query => Reply::Query(Finding::Unknown { why: "no answer".into() }),
        Request::Close => Reply::Close(CloseAnswer::Unknown { why: "no answer".into() }),
        Request::Refund { .. } | Request::QueryRefund { .. } => {
            Reply::Refund(RefundOutcome::Unknown { why: "no answer".into() })
        }
    }
}
