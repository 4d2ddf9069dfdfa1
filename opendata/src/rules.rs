//! Rules: queries that are asked again and again, whose answers are recorded or are alerts, as Prometheus has them
//! (<https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/>,
//! <https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/>).
//!
//! A group is evaluated at one time, its rules in order, and written as one commit. Groups go their ways beside one another. All that
//! is to be remembered is in the instance: after a restart alerts wait on from where they were.

mod alert;
mod config;
pub(crate) mod file;
mod group;
mod monitor;
mod notify;
mod overlay;
mod status;
mod template;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::Result;
use opendata_core::slate::Handle;
use opendata_tsdb::promql::Engine;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::group::{Ground, Running};
use self::notify::Notifier;
use self::status::{Counters, GroupStatus};

pub(crate) use self::config::{Loaded, Spec};

/// The groups of an instance.
pub(crate) struct Groups {
    ground: Arc<Ground>,
    groups: Vec<Arc<GroupStatus>>,
}

impl Groups {
    /// Begins to evaluate the rules of an instance; ends when `ending` becomes true.
    ///
    /// # Errors
    /// If there is no client for HTTP.
    pub(crate) fn start(
        composite: &InternalComposite,
        handle: &Handle<Tsdb>,
        loaded: Loaded,
        ending: &watch::Receiver<bool>,
    ) -> Result<(Self, Vec<JoinHandle<()>>)> {
        let Loaded { settings, groups } = loaded;
        let (notifier, mut tasks) = Notifier::start(&settings, ending)?;
        let ground = Arc::new(Ground {
            composite: composite.clone(),
            handle: handle.clone(),
            settings,
            notifier,
            counters: Counters::default(),
            engine: Engine::default(),
        });
        let mut statuses = Vec::with_capacity(groups.len());
        for group in groups {
            let interval = group.interval.unwrap_or(ground.settings.evaluation_interval);
            let status = Arc::new(GroupStatus::new(group.clone(), interval));
            statuses.push(Arc::clone(&status));
            tasks.push(tokio::spawn(Running::new(Arc::clone(&ground), group, status).run(ending.clone())));
        }
        Ok((Self { ground, groups: statuses }, tasks))
    }

    /// All groups, and what is known of each.
    pub(crate) fn groups(&self) -> &[Arc<GroupStatus>] {
        &self.groups
    }

    /// Where alerts are sent.
    pub(crate) fn alertmanagers(&self) -> Vec<String> {
        self.ground.notifier.urls()
    }

    /// Names and values of the counters.
    pub(crate) fn counters(&self) -> Vec<(&'static str, u64)> {
        let told = self.ground.notifier.told();
        let told = [
            ("notifications", &told.sent),
            ("notification_failures", &told.failures),
            ("notifications_dropped", &told.dropped),
        ];
        let told = told.map(|(name, counter)| (name, counter.load(Ordering::Relaxed)));
        self.ground.counters.counters().into_iter().chain(told).collect()
    }
}
