//! What moves money, whatever it is that moves it: cells that decide one step at a time, lanes that make steps durable,
//! and what both need of the world.
//!
//! The loop (`turn`, `cell`, `slot`, `directory`) and the lanes know of streams and of nothing else; `order`,
//! `platform`, `operator` and `proposal` are the kinds of streams that live in them.

pub mod accounts;
pub mod advice;
pub mod ask;
pub mod bills;
pub mod calendars;
pub mod carrier;
pub mod carry;
pub mod cell;
pub mod changes;
pub mod clock;
pub mod courier;
pub mod cover;
pub mod debtors;
pub mod directory;
pub mod finder;
pub mod homes;
pub mod host;
pub mod inbox;
pub mod lane;
pub mod lease;
pub mod letter;
pub mod nettings;
pub mod operator;
pub mod order;
pub mod outbox;
pub mod payees;
pub mod payout_desk;
pub mod platform;
pub mod ports;
pub mod proposal;
pub mod quarantine;
pub mod quiet;
pub mod slot;
pub mod start;
pub mod supervisor;
pub mod timers;
pub mod turn;
pub mod unreadable;
pub mod webhooks;

pub use start::Engine;
