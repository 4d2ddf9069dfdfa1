//! The query language PromQL, as version 3 of its reference implementation speaks it.
//!
//! An [`Engine`] answers a query over any [`Storage`]: it parses the text into a typed tree, reads every selector's series
//! once, and evaluates series by series over dense columns of steps. An instant query is a range query of one step.
//!
//! It has all of the language: [native histograms](crate::Histogram) among floats in every operator and function, `info`, durations that
//! are computed, `anchored` and `smoothed` selectors, `fill`, `limitk` and `limit_ratio`, names in UTF-8, and what else the reference
//! keeps behind feature flags. All of that is on; only when a metric's name goes is a choice
//! ([`EngineConfig::delayed_name_removal`]). Warnings and hints have the reference's words.
//!
//! Windows are open on the left: a range of 5 minutes at 12:00 holds samples after 11:55 up to 12:00, both for range
//! selectors and for the lookback of instant ones.
//!
//! ```
//! use async_trait::async_trait;
//! use opendata_core::{Result, Timestamp};
//! use opendata_tsdb::promql::{Engine, Series, Storage, Value};
//! use opendata_tsdb::{Matcher, labels};
//!
//! /// 60 tokens a minute, for ever.
//! struct Steady;
//!
//! #[async_trait]
//! impl Storage for Steady {
//!     async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
//!         let labels = labels! { "__name__" => "tokens_total", "tenant" => "7" };
//!         if !matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default())) {
//!             return Ok(Vec::new());
//!         }
//!         let minutes = (start_ms + 59_999).div_euclid(60_000)..=end_ms.div_euclid(60_000);
//!         let samples = minutes.map(|minute| (minute * 60_000, 60.0 * minute as f64));
//!         let (times, values) = samples.unzip();
//!         Ok(vec![Series::floats(labels, times, values)])
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let noon = Timestamp(12 * 3_600_000);
//! let answer = Engine::default().instant(&Steady, "sum by (tenant) (rate(tokens_total[5m]))", noon).await?;
//! let Value::Vector(samples) = answer.value else { unreachable!("a sum is a vector") };
//! assert_eq!(samples[0].labels, labels! { "tenant" => "7" });
//! assert_eq!(samples[0].value, 1.0);
//!
//! let error = Engine::default().check("sum(rate(tokens_total))").unwrap_err();
//! assert!(error.message().ends_with("`rate` needs a range vector here, found an instant vector, at=1:10"));
//! # Ok(())
//! # }
//! ```

mod ast;
mod budget;
mod calendar;
mod column;
mod duration;
mod engine;
mod eval;
mod explain;
mod function;
mod kernel;
mod lex;
mod number;
mod parse;
mod plan;
mod propagate;
#[cfg(test)]
mod queries;
mod selectors;
pub(crate) mod storage;
mod value;

pub use budget::{Exceeded, Limit};
pub use engine::{Engine, EngineConfig};
pub use explain::{Explained, MatcherFacts, Narrowed, PlanNode, ReadFacts};
pub(crate) use number::Kahan;
pub use selectors::{parse_selector, selectors};
pub use storage::{Found, SampleValue, Series, Storage};
pub use value::{Annotations, Answer, Sample, Statistics, StepStatistics, Value};

/// The bits of the NaN that marks a series as ended (the value the reference writes).
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value is the stale marker. Only the bits tell: a stale marker is a NaN among many.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}
