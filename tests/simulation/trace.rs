//! The last things that happened in a run, kept only while a failed run is being repeated.

use std::cell::RefCell;
use std::collections::VecDeque;

const KEPT: usize = 60;

thread_local! {
    static LAST: RefCell<Option<VecDeque<String>>> = const { RefCell::new(None) };
}

pub fn start() {
    LAST.with_borrow_mut(|last| *last = Some(VecDeque::new()));
}

/// Takes what was noted, oldest first.
pub fn stop() -> Vec<String> {
    LAST.with_borrow_mut(|last| last.take().map(Vec::from).unwrap_or_default())
}

pub fn note(text: impl FnOnce() -> String) {
    LAST.with_borrow_mut(|last| {
        if let Some(last) = last {
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(text());
        }
    });
}
