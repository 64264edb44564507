//! What will happen later, in one heap: payers who will pay, callbacks that are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::accounts::AccountId;
use super::fate::RefundState;
use super::now_ms;

/// Deeds handed out at once, so that one batch does not hold up everything else on its thread.
const BATCH_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaymentId {
    pub account: AccountId,
    pub number: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// The payer pays or declines, if the payment still lets it.
    PayerActs,
    /// A payment that no merchant can close is over.
    Ends,
    Deliver(Delivery),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// Repeated until acknowledged; `tries` were made.
    Assured { tries: u16 },
    /// A further copy, sent once.
    Copy,
    /// A callback that is not ours: right fields, another key.
    Forged,
    /// Of what became of a refund: repeated until acknowledged; `tries` were made.
    Refund { refund_number: Arc<str>, news: RefundState, tries: u16 },
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: i64,
    /// Of two deeds of one instant the one that was arranged first comes first.
    arranged: u64,
    payment: PaymentId,
    deed: Deed,
}

#[derive(Default)]
pub struct Agenda {
    heap: Mutex<Heap>,
    earlier: Notify,
}

#[derive(Default)]
struct Heap {
    entries: BinaryHeap<Reverse<Entry>>,
    arranged: u64,
}

impl Agenda {
    pub fn arrange(&self, at: i64, payment: PaymentId, deed: Deed) {
        let mut heap = self.heap.lock().expect("no holder panics");
        let first = heap.entries.peek().is_none_or(|Reverse(head)| at < head.at);
        heap.arranged += 1;
        let arranged = heap.arranged;
        heap.entries.push(Reverse(Entry { at, arranged, payment, deed }));
        drop(heap);
        if first {
            self.earlier.notify_one();
        }
    }

    /// Waits for the next deeds that are due.
    pub async fn due(&self) -> Vec<(PaymentId, Deed)> {
        loop {
            let wait_ms = {
                let mut heap = self.heap.lock().expect("no holder panics");
                let now = now_ms();
                let mut due = Vec::new();
                while due.len() < BATCH_MAX && heap.entries.peek().is_some_and(|Reverse(head)| head.at <= now) {
                    due.extend(heap.entries.pop().map(|Reverse(entry)| (entry.payment, entry.deed)));
                }
                if !due.is_empty() {
                    return due;
                }
                heap.entries.peek().map(|Reverse(head)| head.at.abs_diff(now))
            };
            match wait_ms {
                None => self.earlier.notified().await,
                Some(wait_ms) => tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
                    () = self.earlier.notified() => {}
                },
            }
        }
    }
}
