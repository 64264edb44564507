//! The pure core: it decides. No clock, no randomness, no I/O; it imports nothing of the other layers.

pub mod money;
