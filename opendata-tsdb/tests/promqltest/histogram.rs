//! The notation of native histograms: `{{schema:1 count:10 sum:15 buckets:[3 2 5] offset:-1}}`.

use opendata_tsdb::{Buckets, CounterReset, Histogram};

use crate::series::number;

/// A histogram from what stands between the braces.
pub(crate) fn parse(text: &str) -> Result<Histogram, String> {
    let mut histogram = Histogram::default();
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    let (mut offset, mut negative_offset) = (0, 0);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').ok_or(format!("a histogram's field has no value: {rest}"))?;
        let (value, after) = match after.strip_prefix('[') {
            Some(list) => list.split_once(']').ok_or("a list does not end")?,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        let index = || value.parse::<i32>().map_err(|_| format!("not a whole number: {value}"));
        match key.trim() {
            "schema" => histogram.schema = value.parse().map_err(|_| format!("not a schema: {value}"))?,
            "sum" => histogram.sum = number(value)?,
            "count" => histogram.count = number(value)?,
            "z_bucket" => histogram.zero_count = number(value)?,
            "z_bucket_w" => histogram.zero_threshold = number(value)?,
            "custom_values" => histogram.custom_bounds = list(value)?.into(),
            "buckets" => positive = list(value)?,
            "offset" => offset = index()?,
            "n_buckets" => negative = list(value)?,
            "n_offset" => negative_offset = index()?,
            "counter_reset_hint" => {
                histogram.counter_reset = match value {
                    "unknown" => CounterReset::Unknown,
                    "reset" => CounterReset::Reset,
                    "not_reset" => CounterReset::NotReset,
                    "gauge" => CounterReset::Gauge,
                    _ => return Err(format!("unknown hint: {value}")),
                }
            }
            key => return Err(format!("unknown field of a histogram: {key}")),
        }
        rest = after.trim_start();
    }
    histogram.positive = Buckets::from_indexed((offset..).zip(positive));
    histogram.negative = Buckets::from_indexed((negative_offset..).zip(negative));
    Ok(histogram)
}

fn list(text: &str) -> Result<Vec<f64>, String> {
    text.split_whitespace().map(number).collect()
}

/// Equal up to a millionth in every number. A hint counts where one is wanted.
pub(crate) fn same(wanted: &Histogram, got: &Histogram) -> bool {
    let close = crate::run::same;
    let buckets = |wanted: &Buckets, got: &Buckets| {
        let populated =
            |buckets: &Buckets| -> Vec<(i32, f64)> { buckets.indexed().filter(|(_, count)| *count != 0.0).collect() };
        let (wanted, got) = (populated(wanted), populated(got));
        wanted.len() == got.len() && wanted.iter().zip(&got).all(|((i, a), (j, b))| i == j && close(*a, *b))
    };
    wanted.schema == got.schema
        && close(wanted.count, got.count)
        && close(wanted.sum, got.sum)
        && close(wanted.zero_count, got.zero_count)
        && close(wanted.zero_threshold, got.zero_threshold)
        && wanted.custom_bounds.len() == got.custom_bounds.len()
        && wanted.custom_bounds.iter().zip(got.custom_bounds.iter()).all(|(a, b)| close(*a, *b))
        && buckets(&wanted.positive, &got.positive)
        && buckets(&wanted.negative, &got.negative)
        && (wanted.counter_reset == CounterReset::Unknown || wanted.counter_reset == got.counter_reset)
}
