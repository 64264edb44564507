//! Tongbao takes payments for many platforms through payment channels. This page is the map; ARCHITECTURE.md is the tour.
//!
//! # Layers
//!
//! Imports run downwards only, and `tests/layers.rs` fails when one does not:
//!
//! ```text
//! cli                     start, stop, commands
//! ├─ http                 translation: a request becomes a question to the engine or a read of the store
//! │  └─ engine            the only mutable memory: cells of orders, lanes, accounts, webhooks
//! │     ├─ store          SQL and nothing but SQL: one trait, SQLite and PostgreSQL
//! │     ├─ channels       messages of channels, built and read purely, and one sender
//! │     └─ domain         pure: money, orders, the step function, ledger, schedules
//! └─ gateway              the simulated far side; it shares no protocol code with `channels` (feature `sandbox`)
//! config, telemetry       for all but `domain`
//! payout                  files of payouts for banks and their answers: bytes in and out, and nothing of the engine
//! ```
//!
//! # One order's walk
//!
//! `POST /v1/orders` → [`http`] checks and prices it → the desk of orders ([`engine::order::desk`]) puts it into the
//! mailbox of a cell ([`engine::cell`]), which lets [`domain::step::decide`] decide, hands the step to a lane
//! ([`engine::lane`]), which commits it with others as one group ([`store`]), and only then acts: a supervisor
//! ([`engine::supervisor`]) submits the attempt by its channel's adapter ([`channels`]). The answer comes back as an
//! event, takes the same way, and the platform has its `next_action`. The gateway's callback is verified, becomes an
//! event, and one commit makes the order `succeeded`, with capture, entry and webhook. The dispatcher
//! ([`engine::webhooks`]) delivers it, and the cell leaves memory. It leaves while it only waits, too: the finder
//! ([`engine::finder`]) reads from the store what is due, and whatever comes for an order brings it back.
//!
//! # Invariants
//!
//! - Decide, commit, act: nothing is answered, sent or readable before its step is durable.
//! - An order takes one event at a time; its mailbox waits during the commit.
//! - What waits is in the store: coming back into memory does what is due and asks the channel nothing more.
//! - A message between streams is a row of its sender's commit, delivered until it is taken, and taken once.
//! - An outcome is certain or unknown. What is unknown is asked about until it is certain, and no attempt dies of a guess.
//! - An order is paid once. Any further money is booked to suspense and goes back.
//! - Entries sum to zero; a capture (channel, account, reference) is booked once.
//! - One process writes to a store; every commit proves that by its lane's row.
//! - A final state never changes.
//! - Whatever can grow has a bound.

pub mod channels;
pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
#[cfg(feature = "sandbox")]
pub mod gateway;
pub mod http;
pub mod payout;
pub mod store;
pub mod telemetry;
