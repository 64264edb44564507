//! Calls from the supervisors to the gateways and back, with all that can befall them on the way, and the money that
//! gateways take and tell of.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tongbao::channels::{self, NextAction, RefundAsk, RefundNotice};
use tongbao::domain::breaker::{Admission as Entry, Sign};
use tongbao::domain::channel::{Channel, Proof};
use tongbao::domain::dated::Dated;
use tongbao::domain::event::{CloseAnswer, Fact, Fault, Finding, RefundOutcome, RefundWord, Rejection, SendOutcome};
use tongbao::domain::id::{Account, AttemptNumber, OrderId};
use tongbao::domain::order::State;
use tongbao::domain::refund::Stage;
use tongbao::domain::time::Instant;
use tongbao::engine::lane::Admission;
use tongbao::engine::ports::Lanes;
use tongbao::engine::supervisor::{self, Answers};
use tongbao::store::{Delivery, Unit};

use crate::auditor;
use crate::crew::WayNumber;
use crate::gateways::{Honesty, Luck, Mood, RefundRequest, Reply, Request, is_carried};
use crate::life::{Call, Heard, Look, Notice, Question, RefundTold};
use crate::people;
use crate::ports::{Port, thaw};
use crate::scene::lock;
use crate::sights::{self, Sight};
use crate::trace;
use crate::what::{Copy, What};
use crate::world::{DAY, HOUR, MINUTE, SECOND, World};

/// Gaps before a call that was not sent is tried again.
const CALL_RETRY_MS: [i64; 3] = [100, 400, 1_600];
const CALLBACK_RETRY_MS: [i64; 10] = [1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 30_000, 30_000, 60_000, 60_000];

impl World {
    /// Puts a call into its supervisor's queue.
    pub fn call(&mut self, way: Option<WayNumber>, account: Account, call: supervisor::Call) {
        trace::note(|| format!("         → {:?} of {}", call.question, call.attempt.number));
        let (question, request, withdrawn) = match call.question {
            supervisor::Question::Submit { send, original, withdrawn } => {
                let terms = original.map(|original| Request::Submit(thaw(&original.frozen)));
                (Question::Submit { send }, terms, withdrawn)
            }
            supervisor::Question::Query => (Question::Query, Some(Request::Query), Arc::default()),
            supervisor::Question::Close => (Question::Close, Some(Request::Close), Arc::default()),
            supervisor::Question::Refund { refund, round, ask } => {
                let request = Request::Refund(refund_request(refund, ask));
                (Question::Refund { refund, round }, Some(request), Arc::default())
            }
            supervisor::Question::QueryRefund { refund, round, ask } => {
                let request = Request::QueryRefund { refund_number: ask.refund_number };
                (Question::QueryRefund { refund, round }, Some(request), Arc::default())
            }
        };
        let (number, asked_at) = (call.attempt.number, self.agenda.now);
        let call = Call { number, account, question, request, withdrawn, tries: 0, asked_at, way };
        let Some(life) = &mut self.life else { return };
        self.calls += 1;
        let id = self.calls;
        life.calls.insert(id, call);
        let queue_ms = if self.dice.happens(100) { self.dice.between((0, 5_000)) } else { self.dice.between((0, 20)) };
        self.later(queue_ms, |life| What::Depart { life, call: id });
    }

    /// The attempt's request, which the store has where the call does not bring it along.
    fn request_of(&self, call: &Call) -> Option<Request> {
        call.request.clone().or_else(|| {
            let frozen = if self.scene.is_out() { None } else { self.store().frozen(call.number) };
            frozen.map(|frozen| Request::Submit(thaw(&frozen.request)))
        })
    }

    pub fn depart(&mut self, id: u64) {
        let now = self.now();
        let Some(life) = &self.life else { return };
        let Some(call) = life.calls.get(&id).cloned() else { return };
        let ship = life.ship.clone();
        let Some(request) = self.request_of(&call).filter(|_| !call.withdrawn.load(Ordering::Acquire)) else {
            return self.tell_answer(id, held_back(call.question));
        };
        if let Request::Submit(terms) = &request
            && is_carried(call.account.channel(), terms.method)
        {
            auditor::leaves(&self.store(), &call);
            return self.tell_answer(id, Reply::Submit(SendOutcome::Accepted { reference: None }, 0));
        }
        // A create says nothing of an end to Stripe, so its adapter lets none leave after it.
        let is_over = match (&request, call.account.channel()) {
            (Request::Submit(terms), Channel::Stripe) => now >= terms.expires_at,
            (Request::Submit(_), Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay)
            | (Request::Query | Request::Close | Request::Refund(_) | Request::QueryRefund { .. }, _) => false,
        };
        if is_over {
            return self.tell_answer(id, not_sent(&request));
        }
        let is_down = ship.breaker(&call.account, |breaker| breaker.admit(now)) != Entry::Go;
        if is_down || self.dice.happens(self.weather.not_sent) {
            let Some(gap_ms) = CALL_RETRY_MS.get(call.tries) else {
                return self.tell_answer(id, not_sent(&request));
            };
            if let Some(call) = self.life.as_mut().and_then(|life| life.calls.get_mut(&id)) {
                call.tries += 1;
            }
            return self.later(*gap_ms, |life| What::Depart { life, call: id });
        }
        if let Some(call) = self.life.as_mut().and_then(|life| life.calls.get_mut(&id)) {
            (call.asked_at, call.request) = (now, Some(request.clone()));
        }
        auditor::leaves(&self.store(), &call);
        self.later(self.weather.timeout_ms, |life| What::TimeOut { life, call: id });
        if self.dice.happens(self.weather.request_lost) {
            return;
        }
        let mut way_ms = self.dice.between(self.weather.latency_ms);
        if self.dice.happens(self.weather.request_late) {
            way_ms += self.dice.between((0, 10 * MINUTE));
        }
        let Call { number, account, .. } = call;
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
                let luck = self.luck();
                self.gateways.spoil_refund(number, luck);
                let was_known = self.gateways.payment(number).is_some();
                let before = self.refund_of(number, request, now);
                let reply = self.gateways.serve((number, &whose.1), request, now, mood);
                if !was_known {
                    auditor::begun(&self.scene.store(), &self.gateways, number, now);
                }
                auditor::served(&self.scene.store(), &self.gateways, number, request);
                if let (Request::Refund(asked), None, Some(_)) = (request, before, self.refund_of(number, request, now))
                {
                    self.refund_begins((number, &whose.1), &asked.refund_number);
                }
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
            Request::Refund(_) if refuses_us => {
                let (class, code) = (Rejection::Ours, "unauthenticated".into());
                Some(Reply::Refund(RefundOutcome::Rejected { class, code }))
            }
            Request::Query | Request::Close | Request::QueryRefund { .. } if refuses_us => Some(unknown(request)),
            Request::Submit(_) if self.gateways.payment(number).is_none() => {
                self.dice.happens(self.weather.refuses_payment).then(|| rejected(Fault::Payment, "refused"))
            }
            Request::Refund(asked) => {
                let is_for_good = self.dice.happens(self.weather.refund_refused_for_good);
                let refuses = is_for_good || self.dice.happens(self.weather.refund_refused);
                let refusal = refuses.then(|| self.gateways.refuse_refund(number, asked, is_for_good));
                refusal.flatten().map(Reply::Refund)
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
        let Some(life) = &self.life else { return };
        // It has ended already: the answer comes too late, or this is the time-out of a call that was answered.
        let Some(call) = life.calls.get(&id) else { return };
        let request = call.request.as_ref().expect("it has left");
        let reply = reply.unwrap_or_else(|| unknown(request));
        life.ship.breaker(&call.account, |breaker| breaker.record(sign(&reply), now));
        self.tell_answer(id, reply);
    }

    fn tell_answer(&mut self, id: u64, reply: Reply) {
        let Some(life) = &mut self.life else { return };
        let Some(call) = life.calls.remove(&id) else { return };
        let ordinal = call.number.ordinal;
        let mut next_action = None;
        let fact = match (call.question, reply) {
            (Question::Submit { send }, Reply::Submit(outcome, code)) => {
                if let SendOutcome::Accepted { .. } = outcome {
                    let qr_code = format!("{}/{code}", call.number);
                    next_action = Some(NextAction::QrCode { qr_code, expires_at: self.agenda.now });
                }
                Fact::SendAnswered { ordinal, send, outcome }
            }
            (Question::Query, Reply::Query(finding)) => {
                Fact::QueryAnswered { ordinal, finding, asked_at: call.asked_at }
            }
            (Question::Close, Reply::Close(answer)) => Fact::CloseAnswered { ordinal, answer },
            (Question::Refund { refund, round } | Question::QueryRefund { refund, round }, Reply::Refund(outcome)) => {
                if let RefundOutcome::Rejected { class: Rejection::Refused, .. } = outcome
                    && auditor::is_in_doubt(&self.scene.store(), call.number.order, refund)
                {
                    sights::note(Sight::RefundRefusedInDoubt);
                }
                Fact::RefundAnswered { refund, round, asked_at: call.asked_at, outcome }
            }
            (question, reply) => unreachable!("{reply:?} does not answer {question:?}"),
        };
        auditor::takes(&self.scene.store(), call.number.order, &fact, self.agenda.now);
        life.directory.clone().answered(call.number, fact, next_action);
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
        auditor::taken(&self.scene.store(), &self.gateways, number);
        people::paid(self, number.order);
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
        let is_watched = self.store().row(number.order).is_some_and(|row| {
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
        let told = channels::Notice {
            number: notice.number.to_string(),
            reference: notice.reference.clone(),
            amount_minor: notice.amount_minor,
            currency: people::CURRENCY.into(),
            dated: Dated::NOT_TOLD,
        };
        let Some(life) = &mut self.life else { return };
        let inbox = life.inbox.clone();
        life.ask(async move {
            let end = inbox.take(&notice.account, told, b"as it came").await;
            Heard::Notified(notice, end)
        });
    }

    // --- refunds ---------------------------------------------------------------------------------------------------

    fn luck(&self) -> Luck {
        if self.dice.happens(self.weather.refund_fails) {
            Luck::Fails
        } else if self.dice.happens(self.weather.refund_sticks) {
            Luck::Sticks
        } else if self.dice.happens(self.weather.refund_lacks_money) {
            Luck::LacksMoney
        } else {
            Luck::Good
        }
    }

    /// How the refund stands that a request is about.
    fn refund_of(&self, number: AttemptNumber, request: &Request, now: Instant) -> Option<(i64, RefundOutcome)> {
        match request {
            Request::Refund(asked) => self.gateways.refund_stands(number, &asked.refund_number, now),
            Request::Submit(_) | Request::Query | Request::Close | Request::QueryRefund { .. } => None,
        }
    }

    /// A gateway has taken a refund: it tells of its end, and the money may come back.
    fn refund_begins(&mut self, (number, account): (AttemptNumber, &Account), refund_number: &str) {
        let Some(ends_at) = self.gateways.refund_ends_at(number, refund_number) else { return };
        let (is_told, comes_back) = match account.channel() {
            Channel::Simpay | Channel::Stripe => (true, true),
            Channel::Wechat | Channel::Unionpay => (true, false),
            Channel::Alipay => (false, true),
        };
        let notice = |is_early, tries| {
            let (account, refund_number) = (account.clone(), refund_number.to_owned());
            RefundTold { number, account, refund_number, is_early, tries }
        };
        if is_told && !self.dice.happens(self.weather.callback_lost) {
            let way_ms =
                self.dice.between((1, if self.dice.happens(self.weather.callback_late) { HOUR } else { SECOND }));
            self.agenda.at(ends_at.plus_ms(way_ms), What::NotifyRefund { notice: notice(false, 0) });
        }
        if account.channel().rules().proof == Proof::Query && self.dice.happens(self.weather.callback_early) {
            let way_ms = self.dice.between((1, MINUTE));
            // It is not repeated.
            let notice = notice(true, CALLBACK_RETRY_MS.len());
            self.agenda.after(way_ms, What::NotifyRefund { notice });
        }
        if comes_back && self.dice.happens(self.weather.refund_comes_back) {
            let reach_ms = self.dice.pick(&[MINUTE, DAY, 20 * DAY]);
            let back_at = ends_at.plus_ms(self.dice.between((1, reach_ms)));
            self.agenda.at(back_at, What::ComeBack { number, refund_number: refund_number.to_owned() });
        }
    }

    pub fn refund_comes_back(&mut self, number: AttemptNumber, refund_number: String) {
        let now = self.now();
        if !self.gateways.refund_comes_back(number, &refund_number, now) {
            return;
        }
        let Some(account) = self.gateways.payment(number).map(|payment| payment.account.clone()) else { return };
        // Where looks are taken, nobody needs to tell of it.
        let is_looked_at = account.channel() == Channel::Stripe
            && self.store().row(number.order).is_some_and(|row| {
                let refund = row.order.refund_numbered(&refund_number).map(|(index, _)| usize::from(index));
                let stage = refund.and_then(|index| row.order.refunds.get(index)).map(|refund| refund.stage);
                matches!(stage, Some(Stage::Succeeded { at, .. }) if now.since_ms(at) < 29 * DAY)
            });
        if is_looked_at && self.dice.happens(500) {
            sights::note(Sight::RefundFoundBack);
            return;
        }
        let way_ms = self.dice.between((1, MINUTE));
        let notice = RefundTold { number, account, refund_number, is_early: false, tries: 0 };
        self.agenda.after(way_ms, What::NotifyRefund { notice });
    }

    pub fn notify_refund(&mut self, notice: RefundTold) {
        let now = self.now();
        let stands = self.gateways.refund_stands(notice.number, &notice.refund_number, now);
        let Some((amount_minor, outcome)) = stands else { return };
        let outcome = match notice.is_early {
            true => RefundOutcome::Done { reference: None, dated: Dated::NOT_TOLD },
            false => outcome,
        };
        let is_back = matches!(outcome, RefundOutcome::Returned { .. });
        let heard = (notice.number, notice.refund_number.clone(), is_back);
        if self.heard_refunds.contains(&heard) {
            return;
        }
        let tries = notice.tries;
        // What nothing else would ever find is told until it is heard.
        if tries + 1 < CALLBACK_RETRY_MS.len() || is_back {
            let gap_ms = CALLBACK_RETRY_MS.get(tries).copied().unwrap_or(HOUR);
            self.agenda.after(gap_ms, What::NotifyRefund { notice: RefundTold { tries: tries + 1, ..notice.clone() } });
        }
        let is_proof = notice.account.channel().rules().proof == Proof::Callback;
        let has_word = is_proof || self.dice.happens(700);
        let word = RefundWord { amount_minor, currency: people::CURRENCY.into(), outcome };
        let told = RefundNotice { number: notice.refund_number.clone(), word: has_word.then_some(word) };
        let Some(life) = &mut self.life else { return };
        let desk = life.desk.clone();
        life.ask(async move {
            let end = desk.refund_notice(notice.number.order, &notice.account, told).await;
            Heard::RefundNotified(notice, is_back, end)
        });
    }

    // --- webhooks --------------------------------------------------------------------------------------------------

    /// A webhook that is durable is on its way to its platform.
    pub fn post(&mut self, key: (OrderId, u32)) {
        let Some(posted) = self.store().outbox.get(&key).cloned() else { return };
        let Some(life) = &mut self.life else { return };
        if !life.delivering.insert(key) {
            return;
        }
        let (order, sequence) = key;
        let is_refused = self.dice.happens(self.weather.webhook_refused);
        let delivery = if is_refused {
            let next_at = self.agenda.now.plus_ms(self.dice.between((SECOND, HOUR)));
            Delivery::Failed {
                stream: order.into(),
                sequence,
                tries: posted.tries + 1,
                next_at,
                why: "answered 500".into(),
            }
        } else {
            if posted.tries > 0 {
                sights::note(Sight::WebhookRepeated);
            }
            self.received.insert(key);
            Delivery::Delivered { stream: order.into(), sequence }
        };
        let (port, ship) = (Port(life.ship.clone()), life.ship.clone());
        life.crew.add(Box::pin(async move {
            // If this is lost the webhook goes out once more.
            let _ = port.write(Admission::Existing, Unit::Delivery(delivery)).await;
            lock(&ship.delivered).push(key);
        }));
    }

    /// Finds what is due again or was never sent.
    pub fn look_into_outbox(&mut self) {
        let now = self.now();
        let due: Vec<_> = {
            let store = self.store();
            let due = store.outbox.iter().filter(|(_, posted)| posted.next_at <= now);
            due.map(|(key, _)| *key).collect()
        };
        let next_at = self.store().outbox.values().map(|posted| posted.next_at).min();
        if let Some(life) = &mut self.life {
            life.looks_into_outbox = Look::Needless;
        }
        if let Some(next_at) = next_at {
            self.plan_outbox(next_at.since_ms(now).max(10 * SECOND));
        }
        due.into_iter().for_each(|key| self.post(key));
    }
}

fn refund_request(refund: u16, ask: RefundAsk) -> RefundRequest {
    RefundRequest {
        refund,
        is_asked_for: ask.id.is_some(),
        refund_number: ask.refund_number,
        amount_minor: ask.amount_minor,
        captured_minor: ask.captured_minor,
    }
}

/// What a reply says about the health of its channel.
fn sign(reply: &Reply) -> Sign {
    match reply {
        Reply::Submit(SendOutcome::Unknown { .. } | SendOutcome::Rejected { fault: Fault::Ours, .. }, _)
        | Reply::Query(Finding::Unknown { .. })
        | Reply::Close(CloseAnswer::Unknown { .. })
        | Reply::Refund(RefundOutcome::Unknown { .. } | RefundOutcome::Rejected { class: Rejection::Ours, .. }) => {
            Sign::Sick
        }
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
            RefundOutcome::Pending { .. }
            | RefundOutcome::Done { .. }
            | RefundOutcome::Rejected { class: Rejection::Poor | Rejection::Refused | Rejection::DeadNumber, .. }
            | RefundOutcome::Ended { .. }
            | RefundOutcome::Returned { .. }
            | RefundOutcome::Stuck { .. }
            | RefundOutcome::NotSent { .. }
            | RefundOutcome::NotExist,
        ) => Sign::Healthy,
    }
}

/// Nothing was even built of it.
fn held_back(question: Question) -> Reply {
    let why = "held back";
    match question {
        Question::Submit { .. } => Reply::Submit(SendOutcome::HeldBack { why: why.into() }, 0),
        Question::Query => Reply::Query(Finding::Unknown { why: why.into() }),
        Question::Close => Reply::Close(CloseAnswer::Unknown { why: why.into() }),
        Question::Refund { .. } => Reply::Refund(RefundOutcome::NotSent { why: why.into() }),
        Question::QueryRefund { .. } => Reply::Refund(RefundOutcome::Unknown { why: why.into() }),
    }
}

/// Nothing of it was written to the wire.
fn not_sent(request: &Request) -> Reply {
    match request {
        Request::Submit(_) => Reply::Submit(SendOutcome::NotSent { why: "not sent".into() }, 0),
        Request::Refund(_) => Reply::Refund(RefundOutcome::NotSent { why: "not sent".into() }),
        Request::Query | Request::Close | Request::QueryRefund { .. } => unknown(request),
    }
}

/// Nobody knows.
fn unknown(request: &Request) -> Reply {
    match request {
        Request::Submit(_) => Reply::Submit(SendOutcome::Unknown { why: "no answer".into() }, 0),
        Request::Query => Reply::Query(Finding::Unknown { why: "no answer".into() }),
        Request::Close => Reply::Close(CloseAnswer::Unknown { why: "no answer".into() }),
        Request::Refund(_) | Request::QueryRefund { .. } => {
            Reply::Refund(RefundOutcome::Unknown { why: "no answer".into() })
        }
    }
}
