//! Why an edge stands still until someone acts.

use std::fmt;

use opendata_core::slate::SlateId;
use opendata_core::{Error, ErrorKind, Position};

/// What only a person, or whoever runs the composition, can put right. Nothing is skipped and nothing jumps meanwhile.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The cursor lies beyond the source's end: the source lost what the sink has seen, or is another one.
    BeyondHead {
        /// The next position to read.
        cursor: Position,
        /// The last position of the source.
        head: Position,
    },
    /// What comes next was dropped by the source's retention or trimmed.
    BelowTrim {
        /// The next position to read.
        cursor: Position,
        /// What the source says.
        error: Error,
    },
    /// The source is a slate that the cursor knows nothing of.
    OtherLineage {
        /// Whose positions the cursor counts in.
        cursor: SlateId,
        /// Which slate is there.
        source: SlateId,
    },
    /// The source was forked from the slate that the cursor counts in, before the position where the cursor stands.
    BehindFork {
        /// The next position to read.
        cursor: Position,
        /// The last position that both have in common.
        fork: Position,
    },
    /// The edge makes something else than when its generation began. A change needs a new generation.
    Changed,
    /// The source's schema no longer fits the transform.
    Schema(Error),
    /// Another runner, or a newer generation, has taken over.
    Replaced,
    /// Too many letters wait.
    LettersFull {
        /// How many may.
        limit: u64,
    },
    /// Too many windows are open.
    Windows(Error),
    /// The sink refuses a window's result, which no record can be blamed for.
    SinkRefuses(Error),
    /// The sink's writer has ended: it must be opened again.
    SinkEnded(Error),
    /// The source's writer in this process has ended.
    SourceEnded(Error),
    /// The edge cannot run as it is described.
    Invalid(Error),
}

impl Fault {
    /// The kind of the error that it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BeyondHead { .. } | Self::OtherLineage { .. } | Self::BehindFork { .. } => ErrorKind::Invalid,
            Self::BelowTrim { .. } => ErrorKind::NotFound,
            Self::Changed => ErrorKind::Conflict,
            Self::Replaced => ErrorKind::Fenced,
            Self::LettersFull { .. } => ErrorKind::Backpressure,
            Self::Schema(error)
            | Self::Windows(error)
            | Self::SinkRefuses(error)
            | Self::SinkEnded(error)
            | Self::SourceEnded(error)
            | Self::Invalid(error) => error.kind(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondHead { cursor, head } => {
                write!(f, "the cursor lies beyond the end of the source; reset the edge, cursor={cursor}, head={head}")
            }
            Self::BelowTrim { cursor, error } => {
                write!(
                    f,
                    "the source no longer has what comes next; reset the edge, cursor={cursor}: {}",
                    error.message()
                )
            }
            Self::OtherLineage { cursor, source } => {
                write!(f, "the source is another slate; reset the edge, cursor={cursor}, source={source}")
            }
            Self::BehindFork { cursor, fork } => {
                write!(f, "the source was forked before the cursor; reset the edge, cursor={cursor}, fork={fork}")
            }
            Self::Changed => f.write_str("the edge makes something else than its generation; give it a new one"),
            Self::Schema(error) => write!(f, "the schema of the source does not fit: {}", error.message()),
            Self::Replaced => f.write_str("another runner has taken the edge over"),
            Self::LettersFull { limit } => write!(f, "too many letters wait; replay or drop them, limit={limit}"),
            Self::Windows(error) => write!(f, "{}", error.message()),
            Self::SinkRefuses(error) => write!(f, "the sink refuses the result of a window: {}", error.message()),
            Self::SinkEnded(error) => write!(f, "the sink's writer has ended: {}", error.message()),
            Self::SourceEnded(error) => write!(f, "the source's writer has ended: {}", error.message()),
            Self::Invalid(error) => write!(f, "{}", error.message()),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind(), fault.to_string())
    }
}
