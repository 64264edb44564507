//! The pure core: it decides. No clock, no randomness, no I/O; it imports nothing of the other layers.
//!
//! `step` takes an order and an event and says what follows: the order as it is then, the rows to write, and once those
//! rows are durable the effects to perform and the notes of what happened. `resume` says what a resting order still owes the world.

pub mod allotment;
pub mod bank;
pub mod bank_details;
pub mod breaker;
pub mod calendar;
pub mod canonical;
pub mod channel;
pub mod closing;
pub mod cycle;
pub mod dated;
pub mod event;
pub mod form;
pub mod id;
pub mod journal;
pub mod ledger;
pub mod machine;
pub mod merchant;
pub mod money;
pub mod name;
pub mod netting;
pub mod note;
pub mod operator;
pub mod order;
pub mod partition;
pub mod pay_link;
pub mod payee;
pub mod payer;
pub mod payout;
pub mod payout_id;
pub mod platform;
pub mod proposal;
pub mod rates;
pub mod refund;
pub mod request;
pub mod retry;
pub mod routing;
pub mod rules;
pub mod settlement;
pub mod splits;
pub mod step;
pub mod stream;
pub mod success;
pub mod time;
pub mod validation;
pub mod view;
