//! A value that changes, and those who watch it.
//!
//! Whoever watches has a channel of its own and is told of a change in the order in which they came. On one channel for all, tokio
//! would wake them in an order that it draws by chance (`tokio::sync::watch` spreads them over eight lists), and in a simulation nothing could be repeated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Changes the value. When it is dropped, everyone who watches is told that the end has come.
pub struct Announcer<T>(Audience<T>);

/// Knows the value, and lets others watch it. Cheap to clone.
pub struct Audience<T>(Arc<Mutex<Inner<T>>>);

struct Inner<T> {
    now: T,
    /// None once the announcer is gone.
    watching: Option<Vec<watch::Sender<T>>>,
}

impl<T: Clone> Announcer<T> {
    /// Begins with a value.
    #[must_use]
    pub fn new(now: T) -> Self {
        Self(Audience(Arc::new(Mutex::new(Inner { now, watching: Some(Vec::new()) }))))
    }

    /// Those who may watch.
    #[must_use]
    pub fn audience(&self) -> Audience<T> {
        self.0.clone()
    }

    /// The value now.
    #[must_use]
    pub fn now(&self) -> T {
        self.0.now()
    }

    /// Announces another value.
    pub fn set(&self, value: T) {
        self.modify(|now| {
            *now = value;
            true
        });
    }

    /// Changes the value in its place. Nobody is told if `change` says that it did not.
    pub fn modify(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut inner = self.0.lock();
        let Inner { now, watching } = &mut *inner;
        if !change(now) {
            return;
        }
        if let Some(watching) = watching {
            watching.retain(|watcher| watcher.send(now.clone()).is_ok());
        }
    }
}

impl<T> Drop for Announcer<T> {
    fn drop(&mut self) {
        self.0.lock().watching = None;
    }
}

impl<T> Audience<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Audience<T> {
    /// The value now.
    #[must_use]
    pub fn now(&self) -> T {
        self.lock().now.clone()
    }

    /// Watches from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<T> {
        let mut inner = self.lock();
        let (sender, receiver) = watch::channel(inner.now.clone());
        if let Some(watching) = &mut inner.watching {
            // Whoever has gone is forgotten here as well: a value may never change again.
            watching.retain(|watcher| !watcher.is_closed());
            watching.push(sender);
        }
        receiver
    }
}

impl<T> Clone for Audience<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Default> Default for Announcer<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

#[cfg(test)]
mod tests;
