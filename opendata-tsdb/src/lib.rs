//! Time series on object storage, queried with PromQL.
//!
//! A *series* is a set of labels, its *samples* are times in milliseconds and 64-bit floats, as in Prometheus. A
//! [`Tsdb`] is one of the systems that live in a slate: its samples are committed in one transaction with whatever
//! else the application writes, and read at the same instant.
//!
//! ```
//! use opendata_core::{Result, Timestamp, slate::Slate, store::Store};
//! use opendata_tsdb::{Config, Tsdb, labels, promql::Value};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let store = Store::from_url("memory:")?;
//! let slate = Slate::builder(&store, "billing").system::<Tsdb>("usage", Config::default()).open().await?;
//! let usage = slate.get::<Tsdb>("usage")?;
//! let noon = Timestamp(1_700_000_000_000);
//!
//! let mut tx = slate.begin();
//! tx.on(&usage)
//!     .sample(labels! { "__name__" => "temperature", "room" => "lab" }, noon, 21.5)
//!     .add(labels! { "__name__" => "tokens_total", "tenant" => "7", "model" => "a" }, noon, 40.0)
//!     .add(labels! { "__name__" => "tokens_total", "tenant" => "7", "model" => "b" }, noon, 2.0);
//! let commit = tx.commit().await?; // durable
//! assert_eq!(commit.receipt(&usage).map(|receipt| receipt.totals.clone()), Some(vec![40.0, 2.0]));
//!
//! let view = slate.view(); // one instant
//! let answer = view.on(&usage)?.query("sum by (tenant) (tokens_total)", noon).await?;
//! assert!(matches!(&answer.value, Value::Vector(totals) if totals[0].value == 42.0));
//! slate.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it is stored
//!
//! Time is cut into *buckets* of a day, each with dense series ids and a label index of its own, and buckets into
//! *windows* of two hours. Nothing is stored a sample at a time: a group of commits writes one columnar *slab* for each
//! bucket it touches, and background work *seals* slabs into compressed *chunks*, one row for a series and window. A
//! query reads the posting lists it needs, then scans the windows it needs: one metric, one window, many series lie
//! side by side. Samples that are not sealed yet are kept in memory by the writer's process and decoded from the slabs
//! by every other; both give the same answer.
//!
//! Of two samples with the same series and time the one written last wins, so repeating a write is harmless;
//! [`Op::add`] makes true counters. Late samples are taken as long as [retention](Config::retention_ms) has not dropped
//! their bucket. Retention drops whole buckets, files and all.

mod chunk;
mod columns;
mod config;
mod counts;
mod dictionary;
mod exemplar;
mod head;
mod histogram;
mod index;
mod key;
mod labels;
mod maintain;
mod matcher;
mod metadata;
mod op;
pub mod promql;
mod query;
mod reader;
mod record;
mod refused;
mod rollup;
mod state;
mod system;
mod writer;

pub use config::Config;
pub use counts::WriteCounters;
pub use exemplar::Exemplar;
pub use histogram::{
    Bucket, Buckets, CUSTOM_BOUNDS, Combined, CounterReset, EXPONENTIAL_SCHEMAS, Histogram, Incompatible, Span,
};
pub use labels::{
    FingerprintHasher, Label, Labels, METRIC_NAME, METRIC_TYPE, METRIC_UNIT, is_legacy_label_name,
    is_legacy_metric_name,
};
pub use matcher::{MatchOp, Matcher, whole_value_regex};
pub use metadata::{Metadata, MetricKind};
pub use op::{Op, Receipt, SeriesList};
pub use reader::{Breakdown, BucketStats, Reader, Records, RollupSeries, Statistics, Top, UseRollups};
pub use refused::{Reason, Refusal, Refused};
pub use rollup::{Resolution, Rollup, RollupPoint};
pub use state::State;
pub use system::Tsdb;
pub use writer::{Plan, Writer};
