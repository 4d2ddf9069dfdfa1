//! Following a log as it grows: pushed from the committer in the writer's process, and from the
//! write-ahead log in any other.

mod follower;
pub(crate) mod ring;
mod wal;

pub use follower::{Batch, FollowFrom, FollowOptions, Follower};
pub use wal::WalFeed;
pub(crate) use wal::instance_prefix;
