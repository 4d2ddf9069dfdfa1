//! What stands in the place of everything outside, in tests that run in virtual time.

use std::cell::RefCell;

use super::{Bytes, Duration, Result};

/// How long it takes, and what it says.
pub(crate) type Answer = (Duration, Result<Bytes>);
pub(crate) type Outside = Box<dyn FnMut(&[(&'static str, String)], &[u8]) -> Answer>;

thread_local! {
    // The simulation runs on one thread, so other tests beside it see nothing of it.
    static OUTSIDE: RefCell<Option<Outside>> = const { RefCell::new(None) };
}

pub(crate) fn play(outside: Outside) {
    OUTSIDE.set(Some(outside));
}

pub(super) fn take(headers: &[(&'static str, String)], body: &[u8]) -> Option<Answer> {
    OUTSIDE.with_borrow_mut(|outside| outside.as_mut().map(|outside| outside(headers, body)))
}
