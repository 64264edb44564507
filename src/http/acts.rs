//! What operators did and what was refused them, as it is written down.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::App;
use super::auth::Operator;
use super::problem::{ApiError, Code};
use crate::engine::clock;
use crate::engine::operator::acted;

/// Refusals that are written in a minute: whoever guesses keys must not fill the store. More are only counted.
const REFUSALS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("it is more than none");

/// How many refusals may still be written.
pub struct Refusals(DefaultDirectRateLimiter);

impl Default for Refusals {
    fn default() -> Self {
        Refusals(RateLimiter::direct(Quota::per_minute(REFUSALS_PER_MINUTE)))
    }
}

impl App {
    /// Writes that somebody was refused, beside the answer: nobody waits for it.
    pub(super) fn note_refusal(&self, operator: &str, act: &str, subject: &str, code: Code) {
        metrics::counter!("tongbao_operator_refusals_total", "code" => code.name()).increment(1);
        if self.refusals.0.check().is_err() {
            metrics::counter!("tongbao_operator_refusals_unwritten_total").increment(1);
            return;
        }
        let row = acted(clock::now(), operator, act, subject, code.name());
        let changes = self.changes.clone();
        actix_web::rt::spawn(async move {
            if let Err(error) = changes.audit(row).await {
                tracing::warn!(?error, "a refusal of an operator could not be written");
            }
        });
    }

    /// Writes what became of an act, and gives the result on. What was done stays done where the row cannot be written;
    /// the log has it then.
    pub(super) async fn noted<T>(
        &self,
        operator: &Operator,
        act: &'static str,
        subject: &str,
        done: Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        match &done {
            Ok(_) => {
                tracing::warn!(operator = operator.name(), key = operator.key_hint(), act, subject, "an operator acts");
                let row = acted(clock::now(), operator.name(), act, subject, "done");
                if let Err(error) = self.changes.audit(row).await {
                    tracing::error!(?error, operator = operator.name(), act, subject, "an act could not be written");
                }
            }
            Err(error) => self.note_refusal(operator.name(), act, subject, error.code),
        }
        done
    }
}
