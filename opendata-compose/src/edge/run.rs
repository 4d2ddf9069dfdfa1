//! Running an edge: one supervised task, which nothing that happens to another edge can stop.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opendata_core::env::Env;
use opendata_core::slate::Slate;
use opendata_core::{Error, Position, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::deliver::Delivery;
use super::fault::Fault;
use super::session::{Careful, Ended, session};
use super::sink::Instance;
use super::source::{SourceAt, streams_of};
use super::spec::{Digest, EdgeSpec};
use super::status::{EdgeState, EdgeStatus};
use super::transform::{Pipeline, SharedTransform, digest_of};
use super::trouble::Trouble;

/// Whoever takes cuts, as an edge knows him.
#[async_trait]
pub trait Barriers: Send + Sync + 'static {
    /// The edge met a barrier in its source. Everything before it is durable in the sink, with a cursor behind the barrier. The edge applies nothing
    /// of what follows until this returns.
    async fn arrived(&self, edge: &str, barrier: &[u8], at: Position);
}

/// Lets every barrier pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBarriers;

#[async_trait]
impl Barriers for NoBarriers {
    async fn arrived(&self, _edge: &str, _barrier: &[u8], _at: Position) {}
}

/// What an edge is started with.
pub struct EdgeParts {
    /// What it is.
    pub spec: EdgeSpec,
    /// Its generation, as the composition says. One that is older than the stored cursor's ends at once; a newer one takes the cursor over where it stands.
    pub generation: u64,
    /// Where its source is.
    pub source: SourceAt,
    /// The slate of its sink, open in this process; for a sink outside, the slate of its source.
    pub sink: Slate,
    /// A transform in Rust instead of the steps of the specification.
    pub transform: Option<SharedTransform>,
    /// Whoever takes cuts.
    pub barriers: Arc<dyn Barriers>,
    /// Clock and chance.
    pub env: Env,
    /// Where it ends by itself: once everything before this position has its effect, and nothing behind it.
    pub until: Option<Position>,
}

impl EdgeParts {
    /// An edge of generation 1 with the steps of its specification, and nobody who takes cuts.
    #[must_use]
    pub fn new(spec: EdgeSpec, source: SourceAt, sink: Slate) -> Self {
        let (generation, transform, barriers) = (1, None, Arc::new(NoBarriers));
        Self { spec, generation, source, sink, transform, barriers, env: Env::system(), until: None }
    }
}

/// What its owner wants of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Run,
    Pause,
    Stop,
}

/// Everything that the sessions of one edge share.
pub(crate) struct Context {
    pub(crate) spec: EdgeSpec,
    pub(crate) generation: u64,
    pub(crate) source: SourceAt,
    pub(crate) sink: Slate,
    pub(crate) instance: Instance,
    pub(crate) transform: SharedTransform,
    pub(crate) digest: Digest,
    /// Where outputs go, if that is outside.
    pub(crate) delivery: Option<Delivery>,
    pub(crate) until: Option<Position>,
    pub(crate) barriers: Arc<dyn Barriers>,
    pub(crate) env: Env,
    pub(crate) runner: u64,
    pub(crate) wanted: watch::Receiver<Wanted>,
    pub(crate) status: watch::Sender<EdgeStatus>,
    /// Whether the cursor was taken over by this runner before.
    pub(crate) claimed: bool,
    /// The sink refused a transaction, and the record that it minds is looked for.
    pub(crate) careful: Option<Careful>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// What is written down in the sink as keeping the edge from going on.
    pub(crate) trouble: Option<Trouble>,
}

/// Starts edges.
#[derive(Debug)]
pub struct Edge;

impl Edge {
    /// Starts an edge.
    ///
    /// # Errors
    /// `Invalid` if it cannot be run as it is described, `NotFound` if the sink has no such instance. What comes up later shows in its status.
    pub fn start(parts: EdgeParts) -> Result<RunningEdge> {
        let EdgeParts { spec, generation, source, sink, transform, barriers, env, until } = parts;
        spec.validate()?;
        let digest = digest_of(&spec, transform.as_deref())?;
        let transform: SharedTransform = match transform {
            Some(transform) => transform,
            None => Arc::new(Pipeline::new(&spec)?),
        };
        let instance = Instance::open(&sink, spec.state_instance())?;
        if !spec.to.is_external() && instance.kind() != transform.kind() {
            return Err(Error::invalid(format!(
                "the transform does not make what the sink takes, edge={}, makes={}, sink={}",
                spec.id,
                transform.kind().system(),
                instance.kind().system()
            )));
        }
        let (want, wanted) = watch::channel(Wanted::Run);
        let (status, shown) = watch::channel(EdgeStatus::default());
        let (id, delivery) = (spec.id.clone(), Delivery::of(&spec)?);
        let context = Context {
            runner: env.random_u64().max(1),
            spec,
            generation,
            source,
            sink,
            instance,
            transform,
            digest,
            delivery,
            until,
            barriers,
            env: env.clone(),
            wanted,
            status,
            claimed: false,
            careful: None,
            failures: 0,
            trouble: None,
        };
        let task = env.spawn(supervise(context));
        Ok(RunningEdge { id, want, shown, task })
    }

    /// Runs an edge until everything before a position has its effect. With an empty slate as its sink, this recomputes what an edge has made of its source,
    /// to be compared with what its own sink holds.
    ///
    /// # Errors
    /// Those of [`start`](Self::start); the [`Fault`] that the edge stands still at.
    pub async fn run_until(mut parts: EdgeParts, until: Position) -> Result<EdgeStatus> {
        parts.until = Some(until);
        let running = Self::start(parts)?;
        let status = running.until(|status| status.state.is_over()).await;
        running.stop().await;
        match status.state {
            EdgeState::Failed(fault) => Err(fault.into()),
            _ => Ok(status),
        }
    }
}

/// An edge that runs. Dropping it lets it end by itself at the next commit; [`stop`](Self::stop) waits for that.
#[derive(Debug)]
pub struct RunningEdge {
    id: String,
    want: watch::Sender<Wanted>,
    shown: watch::Receiver<EdgeStatus>,
    task: JoinHandle<()>,
}

impl RunningEdge {
    /// The edge's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it shows of itself now.
    #[must_use]
    pub fn status(&self) -> EdgeStatus {
        self.shown.borrow().clone()
    }

    /// Follows what it shows.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<EdgeStatus> {
        self.shown.clone()
    }

    /// Lets it stand still, and returns once it does: at a committed cursor, with nothing on its way. An edge that is over stands still already.
    pub async fn pause(&self) -> EdgeStatus {
        self.want.send_replace(Wanted::Pause);
        self.until(|status| matches!(status.state, EdgeState::Paused) || status.state.is_over()).await
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.want.send_if_modified(|wanted| {
            let paused = *wanted == Wanted::Pause;
            if paused {
                *wanted = Wanted::Run;
            }
            paused
        });
    }

    /// Waits until everything of the source before `position` has its effect in the sink, durably.
    ///
    /// # Errors
    /// The [`Fault`] that the edge stands still at, or `Closed` if it was stopped.
    pub async fn wait_for(&self, position: Position) -> Result<EdgeStatus> {
        let status = self.until(|status| status.applied >= position || status.state.is_over()).await;
        if status.applied >= position {
            return Ok(status);
        }
        match status.state {
            EdgeState::Failed(fault) => Err(Error::from(fault).context(format_args!("edge {}", self.id))),
            _ => Err(Error::closed(format!("the edge was stopped, edge={}", self.id))),
        }
    }

    /// Ends it at a committed cursor.
    pub async fn stop(self) -> EdgeStatus {
        self.want.send_replace(Wanted::Stop);
        if self.task.await.is_err() {
            tracing::warn!(edge = self.id, "the task of an edge did not end in order");
        }
        self.shown.borrow().clone()
    }

    async fn until(&self, mut holds: impl FnMut(&EdgeStatus) -> bool) -> EdgeStatus {
        let mut shown = self.shown.clone();
        match shown.wait_for(|status| holds(status)).await {
            Ok(status) => status.clone(),
            // The task is gone; its last word stands.
            Err(_) => self.shown.borrow().clone(),
        }
    }
}

/// Runs session after session until the edge is told to stop or cannot go on.
async fn supervise(mut context: Context) {
    let edge = context.spec.id.clone();
    loop {
        let ended = session(&mut context).await;
        match ended {
            Ended::Stopped => return show(&context, EdgeState::Stopped),
            Ended::Again => {}
            Ended::Failed(fault) => {
                tracing::error!(edge, %fault, "an edge stands still");
                context.note_fault(&fault).await;
                return show(&context, EdgeState::Failed(fault));
            }
            Ended::Retry(error) => {
                context.failures += 1;
                context.status.send_modify(|status| status.totals.retries += 1);
                let pause = backoff(&mut context, &error).await;
                tracing::warn!(edge, %error, failures = context.failures, ?pause, "an edge will try again");
                if stopped_within(&mut context, pause).await {
                    return show(&context, EdgeState::Stopped);
                }
            }
        }
    }
}

/// How long to wait before the next attempt.
async fn backoff(context: &mut Context, error: &Error) -> Duration {
    let retry = context.spec.retry.clone();
    if context.failures >= retry.attempts {
        let pause = Duration::from_millis(retry.rest_ms);
        context.failures = 0;
        show(context, EdgeState::Resting(error.clone()));
        context.note_rest(error).await;
        return pause;
    }
    let doubled = retry.first_ms.saturating_mul(1 << context.failures.saturating_sub(1).min(20));
    let longest = doubled.min(retry.max_ms);
    // Up to half of it is left to chance, so that edges that failed together do not come back together.
    let chance = context.env.random_u64() % (longest / 2 + 1);
    show(context, EdgeState::Retrying(error.clone()));
    Duration::from_millis(longest - chance)
}

async fn stopped_within(context: &mut Context, pause: Duration) -> bool {
    let stop = context.wanted.wait_for(|wanted| *wanted == Wanted::Stop);
    tokio::select! {
        biased;
        // An edge whose handle was dropped ends as well.
        _ = stop => true,
        () = tokio::time::sleep(pause) => false,
    }
}

pub(crate) fn show(context: &Context, state: EdgeState) {
    context.status.send_modify(|status| status.state = state);
}

impl Context {
    pub(crate) fn streams(&self) -> opendata_log::Streams {
        streams_of(&self.spec.from.streams)
    }

    pub(crate) fn fault(error: Error) -> Ended {
        Ended::Failed(Fault::Invalid(error))
    }
}
