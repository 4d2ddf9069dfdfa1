//! Targets as Prometheus's interface shows them.

use opendata_core::Timestamp;
use opendata_tsdb::Labels;

use super::Pools;
use super::status::Health as Last;
use super::target::Target;
use crate::api::prometheus::monitor::{
    ActiveTarget, DroppedTarget, Health, LabelMap, Scraping, TargetMetadata, Targets,
};
use crate::times;

/// The time of what never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Scraping for Pools {
    fn targets(&self) -> Targets {
        let mut all = Targets::default();
        for (job, status) in self.jobs() {
            all.pools.push(job.clone());
            for (target, last) in status.active() {
                for described in last.iter().flat_map(|last| &last.described) {
                    all.metadata.push(TargetMetadata {
                        target: label_map(&target.labels),
                        metric: Some(described.metric.clone()),
                        metric_type: described.kind.name().to_owned(),
                        help: described.help.clone(),
                        unit: described.unit.clone(),
                    });
                }
                all.active.push(active(job, target, last));
            }
            let dropped = status.dropped().into_iter();
            all.dropped
                .extend(dropped.map(|labels| DroppedTarget { discovered_labels: labels, scrape_pool: job.clone() }));
        }
        all
    }
}

fn active(job: &str, target: Target, last: Option<Last>) -> ActiveTarget {
    let health = match &last {
        None => Health::Unknown,
        Some(last) if last.error.is_some() => Health::Down,
        Some(_) => Health::Up,
    };
    ActiveTarget {
        labels: label_map(&target.labels),
        discovered_labels: target.discovered,
        scrape_pool: job.to_owned(),
        global_url: target.url.clone(),
        scrape_url: target.url,
        last_error: last.as_ref().and_then(|last| last.error.clone()).unwrap_or_default(),
        last_scrape: shown(last.as_ref().map(|last| last.at)),
        last_scrape_duration: last.as_ref().map_or(0.0, |last| last.took.as_secs_f64()),
        health,
        scrape_interval: target.interval.to_string(),
        scrape_timeout: target.timeout.to_string(),
    }
}

fn shown(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), times::show)
}

fn label_map(labels: &Labels) -> LabelMap {
    labels.iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect()
}
