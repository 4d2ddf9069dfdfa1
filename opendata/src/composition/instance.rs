//! An instance in a composition file: `events: log`, or `events: {system: log, config: {..}}`.
//!
//! The settings are of the system's own type, so that a wrong one is found at its line. That needs the system to be
//! known first; a file that was sorted by a program has `config` before `system`, and is read as well, with
//! errors that name the instance only. Beside `config` a log has the `schema` of its records, and beside `config` an instance of time series has what flows into it by itself:
//! `otlp`, `scrape`, `rules` (see [`crate::intake`]).

use std::fmt;

use opendata_compose::edge::schema::{Schema, SchemaSpec};
use opendata_compose::{Log, Tsdb, Vector};
use opendata_core::{DataSystem, Error, Result};
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::intake::{self, IntakeSpec};

/// An instance: its system and its settings.
#[derive(Clone, Debug)]
pub(crate) struct InstanceSpec {
    pub(crate) config: SystemConfig,
    pub(crate) intake: IntakeSpec,
    /// Of a log: the fields of its records.
    pub(crate) schema: Option<SchemaSpec>,
}

/// An instance as the file has it. A short form that names no system is told by whoever knows its place.
#[derive(Clone, Debug)]
pub(super) enum InstanceIn {
    Known(Box<InstanceSpec>),
    Unknown(String),
}

/// The settings of an instance of any system.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum SystemConfig {
    Log(<Log as DataSystem>::Config),
    Tsdb(<Tsdb as DataSystem>::Config),
    Vector(<Vector as DataSystem>::Config),
}

/// The systems there are, as composition files call them.
pub(super) const SYSTEMS: &[&str] = &[Log::NAME, Tsdb::NAME, Vector::NAME];

/// A system. Its name in a file is the one above.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum System {
    Log,
    Tsdb,
    Vector,
}

/// The fields of the full form.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    System,
    Config,
    Otlp,
    Scrape,
    Rules,
    Schema,
}

impl InstanceIn {
    /// The schema of its records, if it has one that can be read.
    pub(super) fn schema(&self) -> Option<Schema> {
        match self {
            Self::Known(spec) => spec.schema.clone().and_then(|schema| Schema::new(1, schema).ok()),
            Self::Unknown(_) => None,
        }
    }

    /// The name of its system, if that is one.
    pub(super) fn system(&self) -> Option<&'static str> {
        match self {
            Self::Known(spec) => Some(spec.system()),
            Self::Unknown(_) => None,
        }
    }
}

impl InstanceSpec {
    fn new(system: System) -> Self {
        let config = match system {
            System::Log => SystemConfig::Log(Default::default()),
            System::Tsdb => SystemConfig::Tsdb(Default::default()),
            System::Vector => SystemConfig::Vector(Default::default()),
        };
        Self { config, intake: IntakeSpec::default(), schema: None }
    }

    /// The name of its system.
    pub(super) fn system(&self) -> &'static str {
        match &self.config {
            SystemConfig::Log(_) => Log::NAME,
            SystemConfig::Tsdb(_) => Tsdb::NAME,
            SystemConfig::Vector(_) => Vector::NAME,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.intake.is_set() && !matches!(self.config, SystemConfig::Tsdb(_)) {
            return Err(intake::misplaced());
        }
        self.intake.validate()?;
        if let Some(schema) = &self.schema {
            if !matches!(self.config, SystemConfig::Log(_)) {
                return Err(Error::invalid(
                    "only the records of a log have a schema; that of vectors stands in `config`",
                ));
            }
            Schema::new(1, schema.clone())?;
        }
        match &self.config {
            SystemConfig::Log(config) => Log::validate(config),
            SystemConfig::Tsdb(config) => Tsdb::validate(config),
            SystemConfig::Vector(config) => Vector::validate(config),
        }
    }

    /// Reads the settings of the system that this is of.
    fn read<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        match &mut self.config {
            SystemConfig::Log(config) => *config = Deserialize::deserialize(deserializer)?,
            SystemConfig::Tsdb(config) => *config = Deserialize::deserialize(deserializer)?,
            SystemConfig::Vector(config) => *config = Deserialize::deserialize(deserializer)?,
        }
        Ok(())
    }
}

impl<'de> de::DeserializeSeed<'de> for &mut InstanceSpec {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.read(deserializer)
    }
}

impl<'de> Deserialize<'de> for InstanceIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShortOrFull;

        impl<'de> Visitor<'de> for ShortOrFull {
            type Value = InstanceIn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a system, or an instance with its `system`")
            }

            fn visit_str<E: de::Error>(self, system: &str) -> Result<InstanceIn, E> {
                Ok(match System::deserialize(system.into_deserializer()) {
                    Ok(known) => InstanceIn::Known(Box::new(InstanceSpec::new(known))),
                    Err(de::value::Error { .. }) => InstanceIn::Unknown(system.to_owned()),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InstanceIn, A::Error> {
                full(map).map(|spec| InstanceIn::Known(Box::new(spec)))
            }
        }

        deserializer.deserialize_any(ShortOrFull)
    }
}

fn full<'de, A: MapAccess<'de>>(mut map: A) -> Result<InstanceSpec, A::Error> {
    let mut instance: Option<InstanceSpec> = None;
    let mut early: Option<serde_json::Value> = None;
    let mut intake = IntakeSpec::default();
    let mut schema = None;
    while let Some(field) = map.next_key()? {
        match (field, &mut instance) {
            (Field::System, _) => instance = Some(InstanceSpec::new(map.next_value()?)),
            (Field::Config, Some(instance)) => map.next_value_seed(instance)?,
            (Field::Config, None) => early = Some(map.next_value()?),
            (Field::Otlp, _) => intake.otlp = Some(map.next_value()?),
            (Field::Rules, _) => intake.rules = Some(map.next_value()?),
            (Field::Schema, _) => schema = Some(map.next_value()?),
            (Field::Scrape, _) => intake.scrape = Some(map.next_value()?),
        }
    }
    let mut instance = instance.ok_or_else(|| de::Error::missing_field("system"))?;
    if let Some(config) = early {
        instance.read(config).map_err(|error| de::Error::custom(format!("in `config`: {error}")))?;
    }
    instance.intake = intake;
    instance.schema = schema;
    Ok(instance)
}
