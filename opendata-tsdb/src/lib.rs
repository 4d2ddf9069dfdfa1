//! Time series on object storage, queried with PromQL.

mod labels;
mod matcher;
pub mod promql;

pub use labels::{FingerprintHasher, Label, Labels, METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
pub use matcher::{MatchOp, Matcher};
