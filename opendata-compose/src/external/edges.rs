//! The edges that run in this process: started, paused and stopped as the control log says.
//!
//! Each is a task of its own; one that fails does not stop another, and one that fails for a passing reason goes on by itself. One that needs
//! a decision (a cursor out of range, another slate at its source) stands still until it is reset.

use std::collections::BTreeMap;
use std::sync::Arc;

use opendata_core::{ErrorKind, Result};

use super::Inner;
use crate::control::{CutMode, EdgeState, ResetTo, State};
use crate::edge::spec::StartFrom;
use crate::edge::{Cursor, Edge, EdgeParts, EdgeSpec, RunningEdge, SourceAt};
use crate::internal::InternalComposite;

/// What an edge of this process does.
#[derive(Clone, Debug)]
pub struct EdgeStanding {
    /// Its generation.
    pub generation: u64,
    /// Whether it was told to stand still.
    pub standing: bool,
    /// What its runner says.
    pub status: crate::edge::EdgeStatus,
}

struct Running {
    spec: EdgeSpec,
    generation: u64,
    source_path: String,
    sink_path: String,
    edge: Arc<RunningEdge>,
    standing: bool,
}

#[derive(Default)]
pub(super) struct Edges(std::sync::Mutex<BTreeMap<String, Running>>);

impl Edges {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Running>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(super) fn statuses(&self) -> BTreeMap<String, EdgeStanding> {
        self.with(|edges| {
            let status = |running: &Running| EdgeStanding {
                generation: running.generation,
                standing: running.standing,
                status: running.edge.status(),
            };
            edges.iter().map(|(id, running)| (id.clone(), status(running))).collect()
        })
    }
}

/// An edge as it shall run here.
pub(super) struct Wanted {
    pub(super) spec: EdgeSpec,
    pub(super) said: EdgeState,
    source_path: String,
    sink_path: String,
    standing: bool,
}

impl Inner {
    /// Starts, pauses, resumes and stops edges so that they are as the control log says.
    pub(super) async fn reconcile_edges(&self, state: &State) -> Result<()> {
        let wanted = self.wanted_edges(state);
        let stale = self.edges.with(|edges| {
            let fits = |id: &String, running: &Running| {
                wanted.get(id).is_some_and(|wanted| {
                    running.spec == wanted.spec
                        && running.generation == wanted.said.generation
                        && running.source_path == wanted.source_path
                        && running.sink_path == wanted.sink_path
                })
            };
            edges.iter().filter(|(id, running)| !fits(id, running)).map(|(id, _)| id.clone()).collect::<Vec<_>>()
        });
        for id in stale {
            self.stop_edge(&id).await;
        }
        let mut failed = None;
        for (id, wanted) in wanted {
            let outcome = match self
                .edges
                .with(|edges| edges.get(&id).map(|running| (Arc::clone(&running.edge), running.standing)))
            {
                Some((edge, standing)) => {
                    if wanted.standing && !standing {
                        edge.pause().await;
                    } else if !wanted.standing && standing {
                        edge.resume();
                    }
                    self.edges.with(|edges| {
                        if let Some(running) = edges.get_mut(&id) {
                            running.standing = wanted.standing;
                        }
                    });
                    Ok(())
                }
                None if wanted.standing => Ok(()),
                None => self.start_edge(&id, wanted).await,
            };
            if let Err(error) = outcome {
                tracing::warn!(edge = id, %error, "an edge could not be started; it will be tried again");
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn wanted_edges(&self, state: &State) -> BTreeMap<String, Wanted> {
        let Ok(branch) = state.branch(&self.branch) else { return BTreeMap::new() };
        let held: Vec<&String> = state
            .cuts
            .values()
            .filter(|cut| cut.branch == self.branch && cut.is_open() && cut.mode == CutMode::Instant)
            .flat_map(|cut| cut.held.iter())
            .collect();
        let wanted = branch.spec.edges.iter().filter_map(|edge| {
            let sink = self.nodes.get(edge.runs_on())?;
            let said = branch.edges.get(&edge.id).cloned().unwrap_or_default();
            let standing = said.paused || (said.suspended && !planted!(ForkTells)) || held.contains(&&edge.id);
            let source_path = branch.nodes.get(&edge.from.node)?.clone();
            Some((edge.id.clone(), Wanted { spec: edge.clone(), said, source_path, sink_path: sink.path, standing }))
        });
        wanted.collect()
    }

    async fn start_edge(&self, id: &str, wanted: Wanted) -> Result<()> {
        let Some(sink) = self.nodes.get(wanted.spec.runs_on()) else { return Ok(()) };
        let source = match self.nodes.get(&wanted.spec.from.node) {
            Some(owned) if owned.path == wanted.source_path => SourceAt::Open(owned.composite.slate().clone()),
            _ => SourceAt::Path(self.store.clone(), wanted.source_path.clone()),
        };
        let begun = match self.finish_backfill(&wanted, &sink.composite, &source).await {
            Ok(()) => self.begin_generation(&wanted, &sink.composite, &source).await,
            failed => failed,
        };
        if let Err(error) = begun {
            return match error.kind() {
                // The source was never opened; it will be.
                ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            };
        }
        let parts = EdgeParts {
            generation: wanted.said.generation,
            barriers: Arc::clone(&self.alignments) as _,
            env: self.env.clone(),
            ..EdgeParts::new(wanted.spec.clone(), source, sink.composite.slate().clone())
        };
        let edge = Arc::new(Edge::start(parts)?);
        let running = Running {
            spec: wanted.spec,
            generation: wanted.said.generation,
            source_path: wanted.source_path,
            sink_path: wanted.sink_path,
            edge,
            standing: false,
        };
        self.edges.with(|edges| edges.insert(id.to_owned(), running));
        Ok(())
    }

    /// Sets the stored cursor to where a generation was said to begin, unless it is there already.
    async fn begin_generation(&self, wanted: &Wanted, sink: &InternalComposite, source: &SourceAt) -> Result<()> {
        let Some(start) = wanted.said.start else { return Ok(()) };
        let stored = Cursor::read(&sink.view(), wanted.spec.state_instance(), &wanted.spec.id).await?;
        if stored.is_some_and(|stored| stored.generation >= wanted.said.generation) {
            return Ok(());
        }
        let to = match start {
            ResetTo::Start => StartFrom::Oldest,
            ResetTo::Tail => StartFrom::Tail,
            ResetTo::Position(position) => StartFrom::position(position),
            ResetTo::Time(time) => StartFrom::time(time),
        };
        crate::edge::reset(sink.slate(), &wanted.spec, None, source, to, &self.env).await?;
        Ok(())
    }

    /// Lets an edge stand still at a committed cursor.
    pub(crate) async fn stand_still(&self, id: &str) {
        let edge = self.edges.with(|edges| {
            edges.get_mut(id).map(|running| {
                running.standing = true;
                Arc::clone(&running.edge)
            })
        });
        if let Some(edge) = edge {
            edge.pause().await;
        }
    }

    pub(super) async fn stop_edge(&self, id: &str) {
        if let Some(running) = self.edges.with(|edges| edges.remove(id)) {
            // Whoever else held it was only looking.
            match Arc::try_unwrap(running.edge) {
                Ok(edge) => drop(edge.stop().await),
                Err(edge) => drop(edge.pause().await),
            }
        }
    }

    /// Stops the edges that write into a node, and those that read its slate in this process.
    pub(super) async fn stop_edges_at(&self, node: &str) {
        let ids = self.edges.with(|edges| {
            let at = |running: &Running| running.spec.runs_on() == node || running.spec.from.node == node;
            edges.iter().filter(|(_, running)| at(running)).map(|(id, _)| id.clone()).collect::<Vec<_>>()
        });
        for id in ids {
            self.stop_edge(&id).await;
        }
    }
}
