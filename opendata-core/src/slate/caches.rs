//! What systems remember between the views of one opening of a slate: decoded rows and the like.
//!
//! A cache holds what could be read again, and belongs to one instance and one opening, by the writer or by a
//! [`SlateReader`](super::SlateReader). Within one opening every view continues the one before it, so what was read at an
//! older position is a beginning of what a newer one shows; across openings that does not hold (a writer that was
//! replaced may have shown rows that never became durable), which is why nothing here is global.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::registry::Address;

type Kept = HashMap<(Address, TypeId), Arc<dyn Any + Send + Sync>>;

/// The caches of one opening.
#[derive(Default)]
pub(crate) struct Caches(Mutex<Kept>);

impl Caches {
    /// The cache of a type for an instance; made where there is none.
    pub(crate) fn get<T: Default + Send + Sync + 'static>(&self, instance: Address) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.entry((instance, TypeId::of::<T>())).or_insert_with(|| Arc::new(T::default()));
        // The key holds the type, so this cannot fail; a cache of one's own is right in any case.
        Arc::clone(known).downcast().unwrap_or_default()
    }
}
