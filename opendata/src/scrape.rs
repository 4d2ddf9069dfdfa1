//! Scraping: targets are found, asked for their metrics, and what they say is written, as Prometheus does it.
//!
//! ```text
//! discovery --> groups --> relabelling --> targets --> fetch --> text --> relabelling --> one commit a scrape
//! ```
//!
//! Each job is a task, each target is one. Nothing about a target is stored apart from its samples: after a restart the schedule is
//! the same, and series go on.

mod classic;
mod config;
mod discovery;
mod fetch;
mod job;
mod monitor;
mod relabel;
mod series;
mod status;
mod target;
mod text;

use std::sync::Arc;

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::Result;
use opendata_core::slate::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::job::Sink;
use self::status::{Counters, JobStatus};

pub(crate) use self::config::{Authorization, BasicAuth, Document, Spec, TargetGroup};
pub(crate) use self::discovery::matching;
pub(crate) use self::fetch::credentials;

/// The jobs of an instance.
pub(crate) struct Pools {
    jobs: Vec<(String, Arc<JobStatus>)>,
    counters: Arc<Counters>,
}

impl Pools {
    /// Begins to scrape into an instance; ends when `ending` becomes true.
    pub(crate) fn start(
        composite: &InternalComposite,
        handle: &Handle<Tsdb>,
        document: Document,
        ending: &watch::Receiver<bool>,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let counters = Arc::new(Counters::default());
        let sink = Sink { composite: composite.clone(), handle: handle.clone(), counters: Arc::clone(&counters) };
        let (mut jobs, mut tasks) = (Vec::new(), Vec::new());
        for config in document.scrape_configs {
            let status = Arc::new(JobStatus::default());
            let name = config.job_name.clone();
            jobs.push((name.clone(), Arc::clone(&status)));
            let running = job::run(config, document.global.clone(), sink.clone(), status, ending.clone());
            tasks.push(tokio::spawn(async move {
                let ended: Result<()> = running.await;
                if let Err(error) = ended {
                    tracing::error!(?error, job = name, "a job does not run");
                }
            }));
        }
        (Self { jobs, counters }, tasks)
    }

    /// The names of the jobs, and what is known of each.
    pub(crate) fn jobs(&self) -> &[(String, Arc<JobStatus>)] {
        &self.jobs
    }

    /// Names and values of the counters.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let failures = self.jobs.iter().map(|(_, status)| status.failures()).sum();
        let counters = self.counters.counters().into_iter();
        counters.chain([("discovery_failures", failures)]).collect()
    }
}
