//! The log: streams of records on object storage, ordered by position.
//!
//! A log is an instance in a [slate](opendata_core::slate). Its *streams* are named by any bytes and need not be
//! created; there may be millions. A *record* has a payload, headers, the time it happened, and the time it was
//! committed, and stands at a *position* in the one order of the whole slate. So a stream, all streams with some
//! prefix, and the whole log can each be read in the same order, and one transaction can append to
//! many streams and to other systems in the slate at once.
//!
//! ```
//! use opendata_core::{Result, slate::{Ack, Slate}, store::Store};
//! use opendata_log::{Config, FollowOptions, Follower, Log, NewRecord, Streams};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let store = Store::from_url("memory:")?;
//! let slate = Slate::builder(&store, "shop").system::<Log>("events", Config::default()).open().await?;
//! let events = slate.get::<Log>("events")?;
//!
//! // Follow the orders of all customers, as they become durable.
//! let options = FollowOptions::of(Streams::prefix("order/"));
//! let mut orders = Follower::open(slate.watch(Ack::Durable), &events, options).await?;
//!
//! // Append to two streams in one commit; the second only if nobody was faster.
//! let mut tx = slate.begin();
//! tx.on(&events)
//!     .append("order/7", "two apples")
//!     .expect_position("stock/apple", None)
//!     .append_record("stock/apple", NewRecord::new("-2").header("reason", "order"));
//! let commit = tx.commit().await?;
//! let first = commit.receipt(&events).and_then(|receipt| receipt.first());
//!
//! // Read a stream at one view, and take what was pushed.
//! let view = slate.view();
//! let stock = view.on(&events)?.scan("stock/apple", ..).await?.collect().await?;
//! assert_eq!(stock[0].payload, "-2");
//! let order = orders.next().await?;
//! assert_eq!((Some(order.position), order.payload.as_ref()), (first, b"two apples".as_slice()));
//! # slate.close().await
//! # }
//! ```
//!
//! What to ask for:
//! - [`Op`], through [`Transaction::on`](opendata_core::slate::Transaction::on): append, demand where a stream ends,
//!   be idempotent, put barriers and watermarks, trim, set cursors.
//! - [`Reader`], through [`View::on`](opendata_core::slate::View::on): scan, count, measure lag, list streams and segments.
//! - [`Follower`]: history and tail in one, pushed from the committer; [`WalFeed`] does the same in another process.
//! - [`Config`]: the size of segments, retention by age and size.
//!
//! How it lies on the store: the records that one batch brings to a stream share chunks, keyed by stream and last
//! position inside a *segment*; segments partition positions, and are what retention drops. One stream is a range of
//! keys; everything in order of position is one sequential read of a segment, sorted in memory. Nothing is kept in
//! memory, or recovered when a log is opened, for a stream that nobody writes to.

mod chunk;
mod config;
mod entry;
mod key;
mod layout;
mod maintain;
mod op;
mod reader;
mod record;
mod stats;
mod system;
mod tail;
mod writer;

pub use config::{Compression, Config, RECORD_LIMIT_BYTES, STREAM_NAME_LIMIT_BYTES};
pub use entry::{Control, Headers, NewRecord, Record};
pub use op::{NAME_LIMIT_BYTES, OnDuplicate, Op, Producer, Receipt};
pub use reader::{ControlRecords, Reader, Scan, ScanOptions, Start, StreamPage, Streams};
pub use record::{Cursor, Hold, Segment};
pub use stats::Stats;
pub use system::Log;
pub use tail::{Batch, FollowFrom, FollowOptions, Follower, WalFeed};
pub use writer::{Plan, State, Writer};
