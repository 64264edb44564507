//! What users of payment systems reported, held against the real binary: each test is named after a report.

mod availability;
mod checkout;
mod clock;
mod configuration;
mod connections;
mod credentials;
mod identity;
mod numbers;
mod pipes;
mod store;
mod strangers;
mod supervision;
#[path = "../support/mod.rs"]
mod support;
