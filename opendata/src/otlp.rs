//! Metrics of OpenTelemetry, taken over HTTP and gRPC (<https://opentelemetry.io/docs/specs/otlp/>) and translated to
//! Prometheus's model (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>).
//!
//! | comes | is stored as |
//! |---|---|
//! | gauge, sum | a series |
//! | delta sum | a counter that is added to, see [`receive`] |
//! | histogram | `_bucket` by `le`, `_sum`, `_count`; or a native histogram with its bounds |
//! | exponential histogram | a native histogram |
//! | summary | a series by `quantile`, `_sum`, `_count` |
//! | resource | `job`, `instance`, and `target_info` with its attributes |
//!
//! A point without a value ends its series. Points that cannot be said are rejected, each with its reason, and the others
//! are written: one request is one commit.

mod attributes;
mod config;
mod exemplar;
mod exponential;
pub(crate) mod grpc;
mod json;
pub(crate) mod message;
mod name;
mod receive;
mod translate;

pub(crate) use self::config::Config;
pub(crate) use self::receive::Receiver;

/// A number as labels and texts have it: the shortest digits that say it, no exponent.
fn number_text(number: f64) -> String {
    if number == f64::INFINITY {
        "+Inf".to_owned()
    } else if number == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        number.to_string()
    }
}

#[cfg(test)]
mod tests;
