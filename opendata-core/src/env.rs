//! Time, randomness and spawning come from one place, so that a simulation can hold them.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Tells the time of day. It may jump; whoever needs it to grow must see to that himself.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(now.0.into())
    }

    /// Moves the clock to any time, also backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

/// What code takes from outside the program: the time, chance, and tasks.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    random: Arc<Mutex<StdRng>>,
    /// Whether what gives way has a thread of its own.
    threads: bool,
}

/// By how much what gives way is nicer than other threads: next to one that wants a processor as well, it gets about a tenth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

impl Env {
    /// The machine's clock and the operating system's entropy.
    #[must_use]
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(Mutex::new(StdRng::from_os_rng())), threads: true }
    }

    /// A given clock, and chance that repeats with the seed.
    #[must_use]
    pub fn seeded(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))), threads: false }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A random number.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// A seed for the engine at a path. Where two worlds of one seed share a store, what they make at different paths has different names.
    pub(crate) fn random_seed(&self, path: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        self.random_u64() ^ hasher.finish()
    }

    /// A random (version 4) UUID.
    #[must_use]
    pub fn random_uuid(&self) -> uuid::Uuid {
        let bits = u128::from(self.random_u64()) << 64 | u128::from(self.random_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// Starts a task. Whoever starts one keeps the handle and joins it.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(task)
    }

    /// Computes something that nobody waits for, on a thread that leaves the processors to others where the operating
    /// system can tell (Linux; elsewhere it is a thread like the others). With a given clock it is computed at once.
    ///
    /// # Errors
    /// `Unavailable` if no thread can be started, or if it panicked.
    pub async fn give_way<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        if !self.threads {
            return Ok(work());
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("opendata-behind".to_owned());
        let started = thread.spawn(move || {
            #[cfg(target_os = "linux")]
            if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
                tracing::debug!(%error, "background work runs like any other");
            }
            // Whoever asked may have gone.
            let _ = reply.send(work());
        });
        started.map_err(|error| Error::unavailable("no thread can be started").with_source(error))?;
        answer.await.map_err(|_| Error::unavailable("background work panicked"))
    }
}

impl Default for Env {
    fn default() -> Self {
        Self::system()
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn what_gives_way_answers_from_its_own_thread_or_says_that_it_ended() {
        let here = std::thread::current().id();
        let there = Env::system().give_way(|| std::thread::current().id()).await.unwrap();
        assert_ne!(there, here);
        let still_here = Env::seeded(Arc::new(SystemClock), 1).give_way(|| std::thread::current().id()).await.unwrap();
        assert_eq!(still_here, here);
        let error = Env::system().give_way(|| panic!("as planned")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_gives_way_is_nicer_than_others_and_they_stay_as_they_were() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        assert_eq!(Env::system().give_way(niceness).await.unwrap(), NICENESS.max(before));
        assert_eq!(niceness(), before);
    }
}
