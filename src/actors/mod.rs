//! The only mutable memory: orders, the registry, channel supervisors, the writer, webhooks.

pub mod ask;
pub mod clock;
pub mod registry;
