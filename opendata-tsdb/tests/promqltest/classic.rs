//! Classic histograms as native ones with custom bounds, as `load_with_nhcb` makes them of what it loads.

use std::collections::BTreeMap;

use opendata_tsdb::promql::STALE_NAN;
use opendata_tsdb::{Buckets, CUSTOM_BOUNDS, Histogram, Labels, METRIC_NAME};

use crate::series::Item;

/// What belongs to one histogram at one time.
#[derive(Default)]
struct Parts {
    /// Upper bounds with the observations up to them.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
    stale: bool,
}

/// The native histograms that the classic ones among some series come to, by labels and step.
pub(crate) fn to_native(series: &[(Labels, Vec<Item>)]) -> Vec<(Labels, BTreeMap<usize, Item>)> {
    let mut all: BTreeMap<Labels, BTreeMap<usize, Parts>> = BTreeMap::new();
    for (labels, items) in series {
        let name = labels.metric_name().unwrap_or_default();
        let bound = labels.get("le").and_then(|bound| bound.parse::<f64>().ok());
        let (base, what) = match (name.strip_suffix("_bucket"), name.strip_suffix("_count"), name.strip_suffix("_sum"))
        {
            (Some(base), _, _) if bound.is_some() => (base, "bucket"),
            (_, Some(base), _) => (base, "count"),
            (_, _, Some(base)) => (base, "sum"),
            _ => continue,
        };
        let labels = labels.without(&["le"]).with(METRIC_NAME, base).unwrap();
        let steps = all.entry(labels).or_default();
        for (step, item) in items.iter().enumerate() {
            let Item::Float(value) = item else { continue };
            let parts = steps.entry(step).or_default();
            parts.stale |= value.to_bits() == STALE_NAN.to_bits();
            match (what, bound) {
                ("bucket", Some(bound)) => parts.buckets.push((bound, *value)),
                ("count", _) => parts.count = Some(*value),
                _ => parts.sum = Some(*value),
            }
        }
    }
    all.retain(|_, steps| steps.values().any(|parts| !parts.buckets.is_empty()));
    let native = |(labels, steps): (Labels, BTreeMap<usize, Parts>)| {
        let items = steps.into_iter().filter(|(_, parts)| !parts.buckets.is_empty());
        (labels, items.map(|(step, parts)| (step, histogram(parts))).collect())
    };
    all.into_iter().map(native).collect()
}

fn histogram(mut parts: Parts) -> Item {
    if parts.stale {
        return Item::Float(STALE_NAN);
    }
    parts.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    parts.buckets.dedup_by(|(later, _), (first, _)| later == first);
    let bounds: Vec<f64> = parts.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
    let highest = parts.buckets.last().map_or(0.0, |(_, count)| *count);
    let count = parts.count.unwrap_or(highest);
    let mut below = 0.0;
    let mut counts = Vec::new();
    for (_, up_to) in parts.buckets.iter().filter(|(bound, _)| bound.is_finite()) {
        counts.push(up_to - below);
        below = *up_to;
    }
    counts.push(count - below);
    let positive = Buckets::from_indexed((0..).zip(counts));
    let sum = parts.sum.unwrap_or(0.0);
    let histogram = Histogram { schema: CUSTOM_BOUNDS, count, sum, positive, ..Histogram::default() };
    Item::Histogram(Histogram { custom_bounds: bounds.into(), ..histogram })
}
