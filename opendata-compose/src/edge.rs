//! Edges: what carries the records of one log into another instance, exactly once.
//!
//! An edge runs in the process that owns its sink. It needs no more of its source than the path of the slate; where the source is open in the same process, it
//! takes the tail that is pushed there. It reads what is durable only, in order of position.

pub mod backfill;
mod cursor;
mod deliver;
pub mod embed;
mod expr;
mod fault;
mod fields;
pub mod hold;
pub(crate) mod http;
mod item;
mod letter;
mod progress;
mod reading;
mod reset;
mod run;
pub mod schema;
mod session;
mod sink;
mod source;
pub mod spec;
mod status;
mod sum;
pub mod transform;
mod trouble;
pub mod verify;
mod window;

pub use cursor::{Counts, Cursor};
pub use fault::Fault;
pub use letter::{Letter, LetterKind};
pub(crate) use reset::over_letters;
pub use reset::{Letters, drop_letters, replay_letters, reset};
pub use run::{Barriers, Edge, EdgeParts, NoBarriers, RunningEdge};
pub use source::SourceAt;
pub(crate) use source::{check_begin, streams_of};
pub use spec::{Again, EdgeSpec, Guarantee};
pub use status::{EdgeState, EdgeStatus};
pub use trouble::{Trouble, TroubleKind};
