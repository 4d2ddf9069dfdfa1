//! What a rule sees: the instance, and what the rules before it in its group have given, which is not written yet. So a
//! group is one commit, and its rules can build on one another.

use std::sync::Arc;

use async_trait::async_trait;
use opendata_core::Result;
use opendata_tsdb::promql::{Series, Storage};
use opendata_tsdb::{Histogram, Labels, Matcher};

/// A sample that waits to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pending {
    pub(super) labels: Labels,
    pub(super) at_ms: i64,
    pub(super) value: Given,
}

/// What a rule gives.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    Number(f64),
    Histogram(Arc<Histogram>),
}

/// A storage, and samples over it: of two for one series and time the pending one counts.
pub(super) struct Overlay<'a, S> {
    pub(super) below: &'a S,
    pub(super) pending: &'a [Pending],
}

#[async_trait]
impl<S: Storage> Storage for Overlay<'_, S> {
    async fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Vec<Series>> {
        let mut all = self.below.select(matchers, start_ms, end_ms).await?;
        for Pending { labels, at_ms, value } in self.pending {
            let fits = |matcher: &Matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default());
            if !(start_ms..=end_ms).contains(at_ms) || !matchers.iter().all(fits) {
                continue;
            }
            match all.iter_mut().find(|series| series.labels == *labels) {
                Some(series) => put(series, *at_ms, value),
                None => {
                    let mut series = Series::floats(labels.clone(), Vec::new(), Vec::new());
                    put(&mut series, *at_ms, value);
                    all.push(series);
                }
            }
        }
        Ok(all)
    }
}

fn put(series: &mut Series, at_ms: i64, given: &Given) {
    let value = match given {
        Given::Number(value) => *value,
        Given::Histogram(_) => f64::NAN,
    };
    let (at, is_there) = match series.timestamps.binary_search(&at_ms) {
        Ok(at) => (at, true),
        Err(at) => (at, false),
    };
    let place = u32::try_from(at).unwrap_or(u32::MAX);
    if is_there {
        if let Some(known) = series.values.get_mut(at) {
            *known = value;
        }
        series.histograms.retain(|(known, _)| *known != place);
    } else {
        series.timestamps.insert(at, at_ms);
        series.values.insert(at.min(series.values.len()), value);
        for (known, _) in series.histograms.iter_mut().filter(|(known, _)| *known >= place) {
            *known += 1;
        }
    }
    if let Given::Histogram(histogram) = given {
        let at = series.histograms.partition_point(|(known, _)| *known < place);
        series.histograms.insert(at, (place, Arc::clone(histogram)));
    }
}

#[cfg(test)]
mod tests {
    use opendata_tsdb::labels;

    use super::*;

    struct Below;

    #[async_trait]
    impl Storage for Below {
        async fn select(&self, _: &[Matcher], _: i64, _: i64) -> Result<Vec<Series>> {
            Ok(vec![Series::floats(labels! { "__name__" => "a" }, vec![10, 30], vec![1.0, 3.0])])
        }
    }

    #[tokio::test]
    async fn pending_samples_stand_over_those_below() {
        let sample = |name: &str, at_ms, value| {
            let labels = labels! { "__name__" => name };
            Pending { labels, at_ms, value: Given::Number(value) }
        };
        let pending = [sample("a", 20, 2.0), sample("a", 30, 4.0), sample("b", 30, 5.0), sample("a", 99, 9.0)];
        let overlay = Overlay { below: &Below, pending: &pending };
        let found = overlay.select(&[Matcher::metric("a")], 0, 50).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].timestamps.as_slice(), found[0].values.as_slice()),
            (&[10, 20, 30][..], &[1.0, 2.0, 4.0][..])
        );
    }
}
