//! Tongbao.

pub mod actors;
pub mod channels;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod store;
