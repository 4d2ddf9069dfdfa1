//! Time series on object storage, queried with PromQL.

mod chunk;
mod columns;
mod config;
mod dictionary;
mod head;
mod index;
mod key;
mod labels;
mod maintain;
mod matcher;
mod op;
pub mod promql;
mod query;
mod reader;
mod record;
mod state;
mod system;
mod writer;

pub use config::Config;
pub use labels::{FingerprintHasher, Label, Labels, METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
pub use matcher::{MatchOp, Matcher};
pub use op::{Op, Receipt, SeriesList};
pub use reader::{BucketStats, Reader};
pub use state::State;
pub use system::Tsdb;
pub use writer::{Plan, Writer};
