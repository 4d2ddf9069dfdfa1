//! The life of a job: a task that looks for targets, and one for each target that is there.
//!
//! A target is scraped at times that are spread over the interval by what the target is, the same after every start. One
//! scrape is one commit: its samples, the ends of series that are gone, and what is told of the scrape itself (`up`,
//! `scrape_duration_seconds`, ..). What cannot be written is counted, and the ends are written with the next scrape.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::slate::Handle;
use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::promql::STALE_NAN;
use opendata_tsdb::{Labels, METRIC_NAME, SeriesList};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::classic::Classic;
use super::config::{Global, ScrapeConfig};
use super::discovery::Discovery;
use super::fetch::Fetch;
use super::relabel::{self, Rule};
use super::series::{Described, Exemplar, Limits, Scraped, Series, Shape};
use super::status::{Counters, Health, JobStatus};
use super::target::{Target, targets};
use crate::times;

/// Where samples go.
#[derive(Clone)]
pub(super) struct Sink {
    pub(super) composite: InternalComposite,
    pub(super) handle: Handle<Tsdb>,
    pub(super) counters: Arc<Counters>,
}

/// Everything that a job's targets share.
struct Job {
    config: ScrapeConfig,
    global: Global,
    rules: Vec<Rule>,
    metric_rules: Vec<Rule>,
    fetch: Fetch,
    sink: Sink,
    status: Arc<JobStatus>,
}

/// The tasks of targets, and how each is told to end.
type Running = HashMap<(String, Labels), (watch::Sender<End>, JoinHandle<()>)>;

/// How a task of a target shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Not,
    /// The target is gone: its series end.
    Gone,
    /// The server ends; whoever comes next goes on.
    Stop,
}

/// Runs a job until the server ends.
pub(super) async fn run(
    config: ScrapeConfig,
    global: Global,
    sink: Sink,
    status: Arc<JobStatus>,
    mut ending: watch::Receiver<bool>,
) -> Result<()> {
    let limit = config.body_size_limit.unwrap_or(global.body_size_limit).0;
    let rules = relabel::check(&config.relabel_configs)?;
    let metric_rules = relabel::check(&config.metric_relabel_configs)?;
    let mut discovery = Discovery::new(&config);
    let fetch = Fetch::new(&config, &global, limit)?;
    let job = Arc::new(Job { config, global, rules, metric_rules, fetch, sink, status });
    let mut running = Running::new();
    loop {
        refresh(&job, &mut discovery, &mut running).await;
        let stopped = match discovery.period() {
            Some(period) => tokio::time::timeout(period, ending.wait_for(|ending| *ending)).await.is_ok(),
            None => {
                // An error means that nobody is left to tell, which is an end as well.
                let _ = ending.wait_for(|ending| *ending).await;
                true
            }
        };
        if stopped {
            break;
        }
    }
    for (end, _) in running.values() {
        end.send_replace(End::Stop);
    }
    for (_, task) in running.into_values() {
        // A task that panicked has said so.
        let _ = task.await;
    }
    Ok(())
}

/// Looks for targets; begins with those that are new and ends those that are gone.
async fn refresh(job: &Arc<Job>, discovery: &mut Discovery, running: &mut Running) {
    let groups = discovery.look();
    let mut found = targets(&groups, &job.config, &job.global, &job.rules);
    let limit = job.config.target_limit.unwrap_or(job.global.target_limit);
    let is_over = limit > 0 && found.active.len() as u64 > limit;
    if is_over {
        // All of them fail, as nobody knows which are meant.
        let why = format!("target limit exceeded, target_limit={limit}, targets={}", found.active.len());
        found.wrong.push(why);
    }
    job.status.found(&found, discovery.failures(), is_over);
    let wanted: HashMap<_, _> = found.active.into_iter().map(|target| (target.identity(), target)).collect();
    let gone: Vec<_> = running.keys().filter(|identity| !wanted.contains_key(*identity)).cloned().collect();
    for identity in gone {
        if let Some((end, task)) = running.remove(&identity) {
            end.send_replace(End::Gone);
            let _ = task.await;
            job.status.gone(&identity);
        }
    }
    for (identity, target) in wanted {
        if let Entry::Vacant(place) = running.entry(identity) {
            let (end, ended) = watch::channel(End::Not);
            let task = tokio::spawn(Cycle::new(Arc::clone(job), target).run(ended));
            place.insert((end, task));
        }
    }
}

/// One target, scraped again and again.
struct Cycle {
    job: Arc<Job>,
    target: Target,
    series: Series,
    report: SeriesList,
    /// Ends of series that could not be written yet.
    unended: Vec<Labels>,
    /// Metadata that could not be written yet.
    undescribed: Vec<Described>,
    /// Whose series these are.
    source: String,
}

/// What is told of each scrape, in this order.
const REPORT: &[&str] = &[
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
/// And with `extra_scrape_metrics` these.
const EXTRA: &[&str] = &["scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"];

impl Cycle {
    fn new(job: Arc<Job>, target: Target) -> Self {
        let config = &job.config;
        let shape = Shape {
            target: target.labels.clone(),
            honor_labels: config.honor_labels,
            honor_timestamps: config.honor_timestamps,
            track_timestamps: config.track_timestamps_staleness,
            classic: match (config.convert_classic_histograms_to_nhcb, config.always_scrape_classic_histograms) {
                (false, _) => Classic::Keep,
                (true, false) => Classic::Convert,
                (true, true) => Classic::Both,
            },
            rules: job.metric_rules.clone(),
            limits: Limits::new(config, &job.global),
        };
        let extra = if config.extra_scrape_metrics { EXTRA } else { &[] };
        let report = REPORT.iter().chain(extra).map(|name| {
            let labels = target.labels.iter().map(|label| (label.name(), label.value()));
            Labels::last_wins(labels.chain([(METRIC_NAME, *name)]))
        });
        let report = SeriesList::new(report);
        let source = format!("scrape:{}", config.job_name);
        Self { series: Series::new(shape), report, job, target, unended: Vec::new(), undescribed: Vec::new(), source }
    }

    async fn run(mut self, mut ended: watch::Receiver<End>) {
        let interval = self.target.interval.as_ms_signed().max(1);
        let offset = self.offset(interval);
        let mut last = i64::MIN;
        loop {
            let now = times::now().0;
            // A clock that was set back does not make a target be asked twice for one time.
            let next = times::next_tick(now.max(last.saturating_add(1)), interval, offset);
            let wait = Duration::from_millis(u64::try_from(next.saturating_sub(now)).unwrap_or(0));
            let told = tokio::time::timeout(wait, ended.wait_for(|end| *end != End::Not)).await;
            match told.map(|end| end.map_or(End::Stop, |end| *end)) {
                Ok(End::Gone) => return self.end().await,
                Ok(_) => return,
                Err(_) => {}
            }
            last = next;
            let scraping = self.scrape(Timestamp(next));
            tokio::select! {
                () = scraping => {}
                _ = ended.wait_for(|end| *end == End::Stop) => return,
            }
        }
    }

    /// Where in its interval the target is scraped.
    fn offset(&self, interval: i64) -> i64 {
        let url = Labels::last_wins([("url", self.target.url.as_str())]);
        let hash = url.fingerprint() ^ self.target.labels.fingerprint();
        i64::try_from(hash >> 1).unwrap_or(0).rem_euclid(interval)
    }

    async fn scrape(&mut self, planned: Timestamp) {
        let (begun, now) = (Instant::now(), times::now());
        // Samples that lie exactly one interval apart take the least room; no sample is moved by more than a hundredth.
        let tolerance = (self.target.interval.as_ms_signed() / 100).min(10);
        let at = if now.0.abs_diff(planned.0) <= tolerance.unsigned_abs() { planned } else { now };
        let fetched = self.job.fetch.fetch(&self.target).await;
        let mut bytes = 0;
        let read = fetched.and_then(|exposition| {
            bytes = exposition.bytes;
            match self.job.status.is_over() {
                true => Err(Error::invalid("target limit exceeded")),
                false => self.series.read(&exposition.text, exposition.format, exposition.natives),
            }
        });
        let took = begun.elapsed();
        let (scraped, error) = match read {
            Ok(scraped) => (scraped, None),
            Err(error) => (Scraped { ended: self.series.fail(), ..Scraped::default() }, Some(error)),
        };
        let report = self.report(&scraped, error.is_none(), took, bytes);
        let counters = &self.job.sink.counters;
        counters.scraped(&scraped, error.is_some());
        let written = self.write(at, scraped, report).await;
        let error = error.or(written.err()).map(|error| error.message().to_owned());
        if let Some(why) = &error {
            tracing::debug!(why, url = %self.target.url, "scrape failed");
        }
        let health = Health { error, at, took, described: self.series.described().cloned().collect() };
        self.job.status.scraped(&self.target, health);
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    fn report(&self, scraped: &Scraped, is_up: bool, took: Duration, bytes: u64) -> Vec<f64> {
        let mut values = vec![
            f64::from(u8::from(is_up)),
            took.as_secs_f64(),
            scraped.scraped as f64,
            scraped.kept as f64,
            scraped.added as f64,
        ];
        if self.job.config.extra_scrape_metrics {
            let limit = self.job.config.sample_limit.unwrap_or(self.job.global.sample_limit);
            values.extend([self.target.timeout.as_secs_f64(), limit as f64, bytes as f64]);
        }
        values
    }

    /// Writes what a scrape came to.
    async fn write(&mut self, at: Timestamp, scraped: Scraped, report: Vec<f64>) -> Result<()> {
        let sink = &self.job.sink;
        let mut transaction = sink.composite.begin();
        let op = transaction.on(&sink.handle);
        // One bad sample is no reason to lose the others.
        op.partial().source(self.source.as_str());
        self.unended.extend(scraped.ended);
        self.undescribed.extend(scraped.described);
        for labels in &self.unended {
            op.sample(labels.clone(), at, STALE_NAN);
        }
        for (labels, time_ms, value) in scraped.timed {
            op.sample(labels, Timestamp(time_ms), value);
        }
        if let Some(list) = &scraped.list {
            op.batch(list, at, scraped.values);
        }
        op.batch(&self.report, at, report);
        for (labels, time_ms, histogram) in scraped.histograms {
            op.histogram(labels, time_ms.map_or(at, Timestamp), histogram);
        }
        for Exemplar { series, labels, value, time_ms } in scraped.exemplars {
            let at = time_ms.map_or(at, Timestamp);
            op.exemplar(series, opendata_tsdb::Exemplar { labels, value, at });
        }
        for described in &self.undescribed {
            op.metadata(described.metric.as_str(), described.metadata());
        }
        match transaction.commit().await.map_err(Error::from) {
            Ok(commit) => {
                self.unended.clear();
                self.undescribed.clear();
                if let Some(refused) = commit.receipt(&sink.handle).map(|receipt| &receipt.refused)
                    && let Some(first) = refused.first.first()
                {
                    sink.counters.refused(refused.total());
                    let what = format!("{} samples were refused, the first: {first}", refused.total());
                    return Err(Error::invalid(what));
                }
                Ok(())
            }
            Err(error) => {
                sink.counters.unwritten(scraped.kept);
                tracing::warn!(?error, url = %self.target.url, "a scrape cannot be written");
                Err(error)
            }
        }
    }

    /// The target is gone, and so are its series.
    async fn end(mut self) {
        let report: Vec<Labels> = self.report.iter().cloned().collect();
        let mut ended = self.series.fail();
        ended.extend(report);
        ended.append(&mut self.unended);
        let sink = &self.job.sink;
        let mut transaction = sink.composite.begin();
        let op = transaction.on(&sink.handle);
        let now = times::now();
        for labels in ended {
            op.sample(labels, now, STALE_NAN);
        }
        if let Err(error) = transaction.commit().await.map_err(Error::from) {
            sink.counters.unwritten(0);
            tracing::warn!(?error, url = %self.target.url, "the end of a target cannot be written");
        }
    }
}
