//! Kept connections to one place, and how many there may be.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::endpoint::Endpoint;
use crate::wire::Connection;

/// Servers close idle connections after some seconds; younger ones are safe to use.
const IDLE_MAX: Duration = Duration::from_secs(3);

pub struct Pool {
    endpoint: Endpoint,
    sockets: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// A place for one connection, and the connection if one was kept. What is in the slot at the end is kept again.
pub struct Lease<'a> {
    pub slot: Option<Connection>,
    pool: &'a Pool,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    pub fn new(endpoint: Endpoint, sockets_max: usize) -> Self {
        Self { endpoint, sockets: Semaphore::new(sockets_max), idle: Mutex::new(Vec::new()) }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for a place. None: there will never be one.
    pub async fn lease(&self) -> Option<Lease<'_>> {
        let place = self.sockets.acquire().await.ok()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let slot = idle.filter(|connection| connection.idle_for() < IDLE_MAX);
        Some(Lease { slot, pool: self, _place: place })
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.slot.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
