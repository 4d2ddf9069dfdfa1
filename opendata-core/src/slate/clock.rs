//! The slate's clock: the machine's, except that it never goes back.
//!
//! The storage engine stamps every row and refuses a write whose stamp is below the last one. A machine whose
//! clock was set back would not be able to write until the old time is reached again; here it writes on with
//! the last time it knew, which [`floor`](SlateClock::new) carries over a restart.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slatedb_common::clock::{SystemClock, SystemClockTicker};

use crate::env::Env;
use crate::time::Timestamp;

pub(crate) struct SlateClock {
    env: Env,
    last: AtomicI64,
}

impl SlateClock {
    /// A clock that shows `floor` or later.
    pub(crate) fn new(env: Env, floor: Timestamp) -> Self {
        Self { env, last: AtomicI64::new(floor.0) }
    }

    /// A clock for what writes no rows behind others.
    pub(crate) fn of(env: &Env) -> Arc<Self> {
        Arc::new(Self::new(env.clone(), Timestamp(0)))
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        let now = self.env.now().0;
        Timestamp(self.last.fetch_max(now, Ordering::SeqCst).max(now))
    }
}

impl fmt::Debug for SlateClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlateClock").finish_non_exhaustive()
    }
}

impl SystemClock for SlateClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.timestamp().0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}

/// Waits for an instant, or for ever where there is none.
pub(super) async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
