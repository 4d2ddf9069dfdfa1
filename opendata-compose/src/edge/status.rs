//! What an edge shows of itself while it runs.

use opendata_core::{Error, Position};

use super::cursor::{Counts, Cursor};
use super::fault::Fault;

/// What an edge is doing.
#[derive(Clone, Debug, Default)]
pub enum EdgeState {
    /// It opens its source and reads its cursor.
    #[default]
    Starting,
    /// It carries records, or waits for some.
    Running,
    /// It stands still at a committed cursor because it was told to.
    Paused,
    /// Something failed and will be tried again soon.
    Retrying(Error),
    /// It failed so often in a row that it rests for a while.
    Resting(Error),
    /// It stands still until someone acts.
    Failed(Fault),
    /// It was told to end.
    Stopped,
}

impl EdgeState {
    /// Its name, in one word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Retrying(_) => "retrying",
            Self::Resting(_) => "resting",
            Self::Failed(_) => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether its task has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Stopped)
    }

    /// Why it does not run, if something is wrong.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Retrying(error) | Self::Resting(error) => Some(error.to_string()),
            Self::Failed(fault) => Some(fault.to_string()),
            _ => None,
        }
    }
}

/// What an edge shows of itself. Everything about progress is what is durable in the sink.
#[derive(Clone, Debug, Default)]
pub struct EdgeStatus {
    /// What it is doing.
    pub state: EdgeState,
    /// How far its sink has come, once that is known.
    pub cursor: Option<Cursor>,
    /// Everything before this position of the source has its effect in the sink, durably. It goes ahead of the cursor where the
    /// source has nothing for this edge.
    pub applied: Position,
    /// Records that lie in the source behind the cursor; of an edge that reads a part of the streams, those of the other streams count as well.
    pub lag_records: u64,
    /// How old the newest record is that was applied while others wait, in milliseconds; zero if none wait.
    pub lag_ms: u64,
    /// Since it was started.
    pub totals: Totals,
    /// Windows that are open.
    pub windows: u64,
}

/// What an edge did since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Transactions of its.
    pub commits: u64,
    /// Records that it passed.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What became of them.
    pub counts: Counts,
    /// How often it began anew after something failed.
    pub retries: u64,
    /// How often it took a transaction apart to find the record that the sink refuses.
    pub bisections: u64,
}
