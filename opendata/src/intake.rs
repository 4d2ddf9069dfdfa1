//! What flows into the time series of a running server without being a plain write: OpenTelemetry's exports, scrapes of
//! targets, and what rules record. Each instance has settings of its own, beside its `config` in the composition file:
//!
//! ```yaml
//! usage:
//!   system: tsdb
//!   otlp: {promote_resource_attributes: [host.name]}
//!   rules: [alerts.yml]
//!   scrape: [{job_name: node, static_configs: [{targets: ["127.0.0.1:9100"]}]}]
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::{Error, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::prometheus::monitor::Monitors;
use crate::cli::instance_in;
use crate::{otlp, rules, scrape};

/// The settings of one instance, as the composition file has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct IntakeSpec {
    pub(crate) otlp: Option<otlp::Config>,
    pub(crate) scrape: Option<scrape::Spec>,
    pub(crate) rules: Option<rules::Spec>,
}

/// The same, with the files that they name.
#[derive(Clone, Debug, Default)]
pub(crate) struct IntakeSettings {
    otlp: otlp::Config,
    scrape: Option<scrape::Document>,
    rules: Option<rules::Loaded>,
}

impl IntakeSpec {
    /// Whether anything is set.
    pub(crate) fn is_set(&self) -> bool {
        self.otlp.is_some() || self.scrape.is_some() || self.rules.is_some()
    }

    /// Whether the settings go together, as far as the composition file says them.
    pub(crate) fn validate(&self) -> Result<()> {
        self.otlp.as_ref().map_or(Ok(()), otlp::Config::validate)
    }

    /// The settings with the files that they name.
    ///
    /// # Errors
    /// `Invalid` when a file cannot be read, or something in it or here is wrong.
    pub(crate) fn load(&self, instance: &str, folder: &Path) -> Result<IntakeSettings> {
        let doing = |error: Error| error.context(format_args!("instance {instance}"));
        let scrape = self.scrape.as_ref().map(|spec| spec.load(folder)).transpose().map_err(doing)?;
        let rules = self.rules.as_ref().map(|spec| spec.load(folder)).transpose().map_err(doing)?;
        Ok(IntakeSettings { rules, otlp: self.otlp.clone().unwrap_or_default(), scrape })
    }
}

/// All that flows in.
pub(crate) struct Intake {
    composite: InternalComposite,
    /// The instance of requests that name none, where there are several.
    default: Option<String>,
    settings: BTreeMap<String, IntakeSettings>,
    receivers: Mutex<BTreeMap<String, Arc<otlp::Receiver>>>,
    pools: Mutex<BTreeMap<String, Arc<scrape::Pools>>>,
    groups: Mutex<BTreeMap<String, Arc<rules::Groups>>>,
}

impl Intake {
    pub(crate) fn new(
        composite: &InternalComposite,
        default: Option<String>,
        settings: BTreeMap<String, IntakeSettings>,
    ) -> Self {
        let (receivers, pools, groups) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { composite: composite.clone(), default, settings, receivers, pools, groups }
    }

    /// Begins what flows in by itself, and registers who knows how it stands. It ends when `ending` becomes true; the
    /// tasks are those to wait for.
    ///
    /// # Errors
    /// `NotFound` if an instance of the settings is not there.
    pub(crate) fn start(&self, monitors: &Monitors, ending: &watch::Receiver<bool>) -> Result<Vec<JoinHandle<()>>> {
        let mut tasks = Vec::new();
        for (instance, settings) in &self.settings {
            if let Some(document) = settings.scrape.clone() {
                let handle = self.composite.get::<Tsdb>(instance)?;
                let (pools, started) = scrape::Pools::start(&self.composite, &handle, document, ending);
                tasks.extend(started);
                let pools = Arc::new(pools);
                monitors.scrape(instance, Arc::clone(&pools) as Arc<_>);
                locked(&self.pools).insert(instance.clone(), pools);
            }
            if let Some(loaded) = settings.rules.clone() {
                let handle = self.composite.get::<Tsdb>(instance)?;
                let (groups, started) = rules::Groups::start(&self.composite, &handle, loaded, ending)?;
                tasks.extend(started);
                let groups = Arc::new(groups);
                monitors.rule(instance, Arc::clone(&groups) as Arc<_>);
                locked(&self.groups).insert(instance.clone(), groups);
            }
        }
        Ok(tasks)
    }

    /// Who takes OpenTelemetry's metrics for an instance, or for the only one.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name, `Invalid` if it is of another system or there are several.
    pub(crate) fn otlp(&self, named: Option<&str>) -> Result<Arc<otlp::Receiver>> {
        let name = match named.or(self.default.as_deref()) {
            Some(name) => name.to_owned(),
            None => instance_in::<Tsdb>(None, &self.composite.view())?,
        };
        let mut receivers = locked(&self.receivers);
        if let Some(receiver) = receivers.get(&name) {
            return Ok(Arc::clone(receiver));
        }
        let handle = self.composite.get::<Tsdb>(&name)?;
        let config = self.settings.get(&name).map(|settings| settings.otlp.clone()).unwrap_or_default();
        let receiver = Arc::new(otlp::Receiver::new(&self.composite, handle, config));
        receivers.insert(name, Arc::clone(&receiver));
        Ok(receiver)
    }

    /// The counters of everything that flows in, as Prometheus reads them.
    pub(crate) fn metrics(&self, text: &mut String) {
        let mut families: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
        let mut add = |source: &str, instance: &str, counters: &[(&'static str, u64)]| {
            for (name, value) in counters {
                let family = families.entry(format!("opendata_{source}_{name}_total")).or_default();
                family.push((instance.to_owned(), *value));
            }
        };
        for (instance, receiver) in locked(&self.receivers).iter() {
            add("otlp", instance, &receiver.counters());
        }
        for (instance, pools) in locked(&self.pools).iter() {
            add("scrape", instance, &pools.counters());
        }
        for (instance, groups) in locked(&self.groups).iter() {
            add("rules", instance, &groups.counters());
        }
        for (name, samples) in families {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# TYPE {name} counter");
            for (instance, value) in samples {
                let _ = writeln!(text, "{name}{{instance={instance:?}}} {value}");
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Settings of an instance that has none of the time series in it.
pub(crate) fn misplaced() -> Error {
    Error::invalid("otlp, scrape and rules are settings of time series: the system must be tsdb")
}
