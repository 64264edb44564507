//! The rules that keep the money right, one by one.

use tongbao::domain::channel::Channel;
use tongbao::domain::event::{CloseAnswer, Effect, Fact, Fault, Finding, Refusal, RefundOutcome, SendOutcome, WebhookKind};
use tongbao::domain::ledger::EntryKind;
use tongbao::domain::order::{AttemptFailure, AttemptState, OrderFailure, Purpose, Reach, RefundStage, State, SuspenseReason, Wish};
use tongbao::domain::retry;
use tongbao::domain::step;

use crate::world::*;

