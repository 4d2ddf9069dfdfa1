//! What the simulated world runs on: a clock that is the runtime's, and a store that each process sees through its own faults.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opendata_core::Timestamp;
use opendata_core::env::{Clock, Env};
use opendata_core::store::Store;
use opendata_core::testing::{ClockStore, Fault, FaultStore, Method};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

/// Everything that happened, in order.
#[derive(Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0))
    }

    fn add(&self, line: String) {
        lock(&self.0).push(line);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime's time. Every run begins at the same moment, because names of files have the time in them.
struct Virtual {
    begun: Instant,
}

/// Long ago, so that whatever goes by the machine's clock takes every checkpoint for expired.
const START: Timestamp = Timestamp(1_700_000_000_000);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        START.plus_ms(i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// The machine that all processes share.
pub(super) struct Machine {
    seed: u64,
    store: Store,
    clock: Arc<Virtual>,
    trace: Trace,
    processes: u64,
}

/// How a process fares.
#[derive(Debug, Default)]
struct Fate {
    dead: bool,
    asleep_until: Option<Instant>,
    /// Calls that are still to fail, about one in so many, and whether they have their effect.
    trouble: Option<(u32, u32, bool)>,
}

/// A process's view of the store.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) name: String,
    pub(super) store: Store,
    pub(super) env: Env,
    fate: Arc<Mutex<Fate>>,
}

impl Machine {
    pub(super) fn new(seed: u64, trace: Trace) -> Self {
        let clock = Arc::new(Virtual { begun: Instant::now() });
        let store = Store::from_url("memory:").unwrap();
        let store = store.map(|inner| Arc::new(ClockStore::new(inner, Arc::clone(&clock) as _)));
        Self { seed, store, clock, trace, processes: 0 }
    }

    /// The store without faults, for whoever checks.
    pub(super) fn quiet(&self) -> &Store {
        &self.store
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Says what happened.
    pub(super) fn say(&self, what: &str) {
        self.trace.add(format!("{:>9} {what}", self.clock.begun.elapsed().as_millis()));
    }

    /// A new process.
    pub(super) fn process(&mut self, name: &str) -> Access {
        self.processes += 1;
        let fate = Arc::new(Mutex::new(Fate::default()));
        let faults = FaultStore::new(Arc::clone(self.store.object_store()));
        let seed = self.seed.wrapping_mul(1_000).wrapping_add(self.processes);
        faults.set_rule(rule(name, seed, Arc::clone(&fate), (self.trace.clone(), Arc::clone(&self.clock))));
        Access {
            name: name.to_owned(),
            store: self.store.map(|_| Arc::new(faults)),
            env: Env::seeded(Arc::clone(&self.clock) as _, seed),
            fate,
        }
    }

    /// Clock and chance for whoever looks on.
    pub(super) fn env(&self) -> Env {
        Env::seeded(Arc::clone(&self.clock) as _, self.seed)
    }
}

/// What becomes of each call of a process.
fn rule(
    name: &str,
    seed: u64,
    fate: Arc<Mutex<Fate>>,
    (trace, clock): (Trace, Arc<Virtual>),
) -> impl FnMut(Method, &object_store::path::Path) -> Option<Fault> + Send + 'static {
    let mut rng = StdRng::seed_from_u64(seed);
    let name = name.to_owned();
    move |method, path| {
        let mut fate = lock(&fate);
        let fault = decide(&mut fate, &mut rng, method);
        trace.add(format!("{:>9} {name} {method:?} {path} {fault:?}", clock.begun.elapsed().as_millis()));
        Some(fault)
    }
}

fn decide(fate: &mut Fate, rng: &mut StdRng, method: Method) -> Fault {
    if fate.dead {
        return Fault::Hang;
    }
    let most = if method == Method::Put { 30_000 } else { 10_000 };
    let slow = if rng.random_bool(0.004) { rng.random_range(0..1_500_000) } else { 0 };
    let latency = Duration::from_micros(rng.random_range(300..most) + slow);
    if let Some(until) = fate.asleep_until {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            fate.asleep_until = None;
        }
        return Fault::Slow(left + latency);
    }
    if let Some((left, every, after)) = &mut fate.trouble
        && rng.random_ratio(1, *every)
    {
        let fault = if *after { Fault::ErrorAfterEffect } else { Fault::Error };
        *left -= 1;
        if *left == 0 {
            fate.trouble = None;
        }
        return fault;
    }
    Fault::Slow(latency)
}

impl Access {
    /// The process ends where it stands: nothing it does reaches the store any more.
    pub(super) fn kill(&self) {
        lock(&self.fate).dead = true;
    }

    /// The process stands still, and goes on later as if nothing had been.
    pub(super) fn sleep(&self, time: Duration) {
        lock(&self.fate).asleep_until = Some(Instant::now() + time);
    }

    /// A few of its next calls fail.
    pub(super) fn trouble(&self, calls: u32, every: u32, after: bool) {
        lock(&self.fate).trouble = Some((calls, every, after));
    }

    pub(super) fn calm(&self) {
        lock(&self.fate).trouble = None;
    }
}
