//! What flows into the time series of a running server without being a plain write: OpenTelemetry's exports, scrapes of
//! targets, and what rules record. Each instance has settings of its own, beside its `config` in the composition file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::{Error, Result};

use crate::cli::instance_in;
use crate::otlp;

/// The settings of one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct IntakeSpec {
    pub(crate) otlp: Option<otlp::Config>,
}

impl IntakeSpec {
    /// Whether anything is set.
    pub(crate) fn is_set(&self) -> bool {
        self.otlp.is_some()
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.otlp.as_ref().map_or(Ok(()), otlp::Config::validate)
    }
}

/// All that flows in.
pub(crate) struct Intake {
    composite: InternalComposite,
    /// The instance of requests that name none, where there are several.
    default: Option<String>,
    specs: BTreeMap<String, IntakeSpec>,
    receivers: Mutex<BTreeMap<String, Arc<otlp::Receiver>>>,
}

impl Intake {
    pub(crate) fn new(
        composite: &InternalComposite,
        default: Option<String>,
        specs: BTreeMap<String, IntakeSpec>,
    ) -> Self {
        Self { composite: composite.clone(), default, specs, receivers: Mutex::default() }
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
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = receivers.get(&name) {
            return Ok(Arc::clone(receiver));
        }
        let handle = self.composite.get::<Tsdb>(&name)?;
        let config = self.specs.get(&name).and_then(|spec| spec.otlp.clone()).unwrap_or_default();
        let receiver = Arc::new(otlp::Receiver::new(&self.composite, handle, config));
        receivers.insert(name, Arc::clone(&receiver));
        Ok(receiver)
    }

    /// The counters of everything that flows in, as Prometheus reads them.
    pub(crate) fn metrics(&self, text: &mut String) {
        let receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut families: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
        for (instance, receiver) in receivers.iter() {
            for (name, value) in receiver.counters() {
                families.entry(name).or_default().push((instance, value));
            }
        }
        for (name, samples) in families {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# TYPE opendata_otlp_{name}_total counter");
            for (instance, value) in samples {
                let _ = writeln!(text, "opendata_otlp_{name}_total{{instance={instance:?}}} {value}");
            }
        }
    }
}

/// Settings of an instance that has none of the time series in it.
pub(crate) fn misplaced() -> Error {
    Error::invalid("otlp, scrape and rules are settings of time series: the system must be tsdb")
}
