//! Tongbao.

pub mod actors;
pub mod channels;
pub mod cli;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod store;
pub mod telemetry;
