//! The pure domain, tested through its public interface: the machine as one table, the design's rules by name, and
//! properties of random walks against a small model of the gateways.

mod asked;
mod balances;
mod dead;
mod fixtures;
mod gateways;
mod notes;
mod platforms;
mod properties;
mod refunds;
mod rules;
mod stored;
mod table;
mod world;
