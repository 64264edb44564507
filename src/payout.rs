//! Files between us and a bank: what it is to pay, and what it says became of it.
//!
//! Pure but for the bytes that go in and out: nothing here decides about a payout or books one. A file is refused as a
//! whole when anything in it is wrong, before its first byte leaves.

pub mod answers;
pub mod order;
pub mod pain001;
pub mod sheet;
