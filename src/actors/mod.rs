//! The only mutable memory: orders, the registry, channel supervisors, the writer, webhooks.

pub mod ask;
pub mod bills;
pub mod clock;
pub mod lease;
pub mod order;
pub mod quarantine;
pub mod registry;
pub mod request;
pub mod router;
pub mod supervisor;
pub mod takeup;
pub mod timers;
pub mod turn;
pub mod unreadable;
pub mod webhooks;
pub mod writer;
