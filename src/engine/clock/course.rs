//! What is to be believed of time. Pure.
//!
//! A wall clock that has stepped is followed only if somebody else confirms it: the store's server, or the `Date` of
//! two accounts. One account's word makes time doubtful, and never certain.

use std::collections::HashMap;

use crate::domain::id::Account;

/// `Date` has whole seconds and may be dated when the answer was begun: what is nearer than this agrees.
const AGREES_MS: i64 = 5_000;
/// A channel whose clock is further off than this contradicts ours.
const CONTRADICTS_MS: i64 = 60_000;
/// Different accounts that settle what the time is.
const WITNESSES: usize = 2;
/// What is followed of a slow drift at each look: twice what NTP slews by (500 ppm).
const SLEW_MS: i64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    Sure = 0,
    /// Nothing ends by time, and no refund takes a new number.
    InDoubt = 1,
}

/// What our clock is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Keep,
    Slew(i64),
    Follow(i64),
}

/// All differences are a clock's time minus ours.
#[derive(Debug)]
pub struct Course {
    bound_ms: i64,
    /// A step of the wall clock that stands.
    step_ms: Option<i64>,
    /// By how much the store was ahead of the start, until that is settled.
    behind_ms: Option<i64>,
    /// The newest word of each account since the last step.
    heard: HashMap<Account, i64>,
    store_ms: Option<i64>,
}

impl Course {
    pub fn new(bound_ms: i64) -> Self {
        Course { bound_ms, step_ms: None, behind_ms: None, heard: HashMap::new(), store_ms: None }
    }

    /// The store is ahead by this much; less than nothing: there was nobody for so long.
    pub fn begin(&mut self, ahead_ms: i64) {
        self.behind_ms = Some(ahead_ms).filter(|ahead_ms| *ahead_ms > self.bound_ms);
    }

    pub fn behind_ms(&self) -> Option<i64> {
        self.behind_ms
    }

    pub fn has_stepped(&self) -> bool {
        self.step_ms.is_some()
    }

    /// What people are alarmed by; nothing: 0.
    pub fn alarm_ms(&self) -> i64 {
        self.step_ms.or(self.behind_ms.map(|behind_ms| -behind_ms)).unwrap_or_default()
    }

    pub fn hear(&mut self, account: Account, off_ms: i64) {
        self.heard.insert(account, off_ms);
        self.settle();
    }

    pub fn store_says(&mut self, off_ms: i64) {
        self.store_ms = Some(off_ms);
        self.settle();
    }

    /// The wall clock is off by this much.
    pub fn look(&mut self, off_ms: i64) -> Judgement {
        if off_ms.abs() <= self.bound_ms {
            self.step_ms = None;
            return match off_ms {
                0 => Judgement::Keep,
                _ => Judgement::Slew(off_ms.signum() * SLEW_MS),
            };
        }
        let is_new = self.step_ms.is_none_or(|before| (off_ms - before).abs() > self.bound_ms);
        if is_new {
            tracing::error!(step_ms = off_ms, "the wall clock has stepped; it is not followed unless it is confirmed");
            self.heard.clear();
            self.store_ms = None;
        }
        self.step_ms = Some(off_ms);
        if self.confirms(off_ms) {
            *self = Course::new(self.bound_ms);
            return Judgement::Follow(off_ms);
        }
        Judgement::Keep
    }

    pub fn certainty(&self) -> Certainty {
        let contradicted = self.heard.values().chain(&self.store_ms).any(|off_ms| off_ms.abs() > CONTRADICTS_MS);
        let doubtful = self.step_ms.is_some() || self.behind_ms.is_some() || contradicted;
        if doubtful && !self.confirms(0) { Certainty::InDoubt } else { Certainty::Sure }
    }

    /// Whether it is certain that the true time is off by this much. The store's server decides where it has a clock.
    fn confirms(&self, off_ms: i64) -> bool {
        let agrees = |heard_ms: i64| {
            let (far, from_wall) = ((heard_ms - off_ms).abs(), self.step_ms.map(|step_ms| (heard_ms - step_ms).abs()));
            let nearest = heard_ms.abs().min(from_wall.unwrap_or(i64::MAX));
            far <= AGREES_MS && far <= nearest
        };
        match self.store_ms {
            Some(heard_ms) => agrees(heard_ms),
            None => self.heard.values().filter(|heard_ms| agrees(**heard_ms)).count() >= WITNESSES,
        }
    }

    /// A start behind the store is settled once the clock is confirmed: the store was ahead then.
    fn settle(&mut self) {
        if self.confirms(0) {
            self.behind_ms = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::channel::Channel;

    const DAY: i64 = 86_400_000;

    fn course() -> Course {
        Course::new(2_000)
    }

    #[test]
    fn report_a_step_of_the_wall_clock_is_followed_only_when_two_accounts_confirm_it() {
        for step_ms in [30 * DAY, 3_600_000, -120_000, -30 * DAY] {
            let mut course = course();
            assert_eq!((course.look(step_ms), course.certainty()), (Judgement::Keep, Certainty::InDoubt));
            let witness = Account::new(Channel::Wechat, "default");
            course.hear(witness.clone(), step_ms - 900);
            course.hear(witness, step_ms + 200);
            assert_eq!(course.look(step_ms), Judgement::Keep, "one account is never enough, however often it answers");
            course.hear(Account::new(Channel::Alipay, "default"), step_ms - 1_200);
            assert_eq!(course.look(step_ms), Judgement::Follow(step_ms));
            assert_eq!((course.look(0), course.certainty()), (Judgement::Keep, Certainty::Sure));
        }
    }

    #[test]
    fn report_a_step_that_two_accounts_deny_is_not_followed_and_ends_the_doubt() {
        let mut course = course();
        course.look(30 * DAY);
        for (account, standing) in [("default", Certainty::InDoubt), ("second", Certainty::Sure)] {
            course.hear(Account::new(Channel::Stripe, account), -700);
            assert_eq!((course.look(30 * DAY), course.certainty()), (Judgement::Keep, standing));
        }
        assert_eq!(course.alarm_ms(), 30 * DAY, "the alarm stays for as long as the wall clock is wrong");
        assert_eq!((course.look(40), course.alarm_ms()), (Judgement::Slew(1), 0));
    }

    #[test]
    fn what_was_heard_before_a_step_says_nothing_of_it() {
        let mut course = course();
        course.hear(Account::new(Channel::Wechat, "default"), 0);
        course.hear(Account::new(Channel::Alipay, "default"), 0);
        course.look(DAY);
        assert_eq!(course.certainty(), Certainty::InDoubt);
    }

    #[test]
    fn the_clock_of_the_store_decides_alone() {
        let mut course = course();
        course.look(DAY);
        course.store_says(DAY + 30);
        assert_eq!(course.look(DAY), Judgement::Follow(DAY));
        course.look(-DAY);
        course.store_says(12);
        course.hear(Account::new(Channel::Wechat, "default"), -DAY);
        course.hear(Account::new(Channel::Alipay, "default"), -DAY);
        assert_eq!((course.look(-DAY), course.certainty()), (Judgement::Keep, Certainty::Sure));
    }

    #[test]
    fn report_a_start_behind_the_store_is_in_doubt_until_the_clock_is_confirmed() {
        let mut course = course();
        course.begin(120_000);
        assert_eq!((course.certainty(), course.alarm_ms()), (Certainty::InDoubt, -120_000));
        course.hear(Account::new(Channel::Wechat, "default"), -400);
        assert_eq!(course.certainty(), Certainty::InDoubt);
        course.hear(Account::new(Channel::Alipay, "default"), -400);
        assert_eq!((course.certainty(), course.alarm_ms()), (Certainty::Sure, 0));
        for long_ago in [-DAY, 0, 1_500] {
            course.begin(long_ago);
            assert_eq!(course.certainty(), Certainty::Sure, "an outage is no step");
        }
    }

    #[test]
    fn a_channel_that_contradicts_makes_time_doubtful_unless_two_others_agree_with_us() {
        let mut course = course();
        course.hear(Account::new(Channel::Simpay, "default"), -DAY);
        assert_eq!(course.certainty(), Certainty::InDoubt);
        course.hear(Account::new(Channel::Wechat, "default"), 0);
        course.hear(Account::new(Channel::Alipay, "default"), -2_000);
        assert_eq!(course.certainty(), Certainty::Sure);
    }

    #[test]
    fn a_slow_drift_is_followed_slowly() {
        let mut course = course();
        for (off_ms, judgement) in [(700, Judgement::Slew(1)), (-1_900, Judgement::Slew(-1)), (0, Judgement::Keep)] {
            assert_eq!((course.look(off_ms), course.certainty()), (judgement, Certainty::Sure));
        }
    }
}
