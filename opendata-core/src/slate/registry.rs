//! The slate's own record: who it is, where it comes from, and which instances live in it.
//!
//! ```text
//! key    | 0x7f | version 1 | instance 0 | segment 0 | tag 0x01 |
//! value  | layout 1 | SlateRecord, Protocol Buffers |
//! ```
//!
//! It is one row, so that it changes atomically, and it is read first when a slate is opened.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::error::{Error, Result};
use crate::key::{InstanceId, Prefix, SegmentId, SystemId, Tag};
use crate::system::DataSystem;
use crate::time::{Position, Timestamp};

/// The version of the slate's own format: the prefix, the extractor, and this record.
pub const FORMAT_VERSION: u32 = 1;
const LAYOUT: u8 = 1;
const RECORD: Tag = Tag(0x01);

/// The identity of a slate, given at creation. A clone gets its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlateId(pub uuid::Uuid);

impl fmt::Display for SlateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SlateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlateId({})", self.0)
    }
}

/// Where a slate was cloned from, nearest ancestor first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The slate it was cloned from.
    pub slate_id: SlateId,
    /// That slate's path when it was cloned.
    pub path: String,
    /// The last position both have in common.
    pub fork_position: Position,
}

/// Identifies an instance within a slate, as its keys do. Slates that were joined have instances of different systems with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) system: SystemId,
    pub(crate) id: InstanceId,
}

/// An instance of a system in a slate.
pub struct Instance {
    /// Its id, the third and fourth byte of its keys.
    pub id: InstanceId,
    /// Its name, unique in the slate.
    pub name: Arc<str>,
    /// Its system.
    pub system: SystemId,
    /// Its system's name.
    pub system_name: String,
    /// The version of the system's format it was created with.
    pub version: u8,
    /// Its settings as JSON.
    pub config_json: String,
    config: Option<Arc<dyn Any + Send + Sync>>,
}

impl Instance {
    pub(crate) fn address(&self) -> Address {
        Address { system: self.system, id: self.id }
    }

    /// The prefix of its keys in a segment.
    #[must_use]
    pub fn prefix(&self, segment: SegmentId) -> Prefix {
        Prefix { system: self.system, version: self.version, instance: self.id, segment }
    }

    pub(crate) fn check_system<S: DataSystem>(&self) -> Result<()> {
        if self.system == S::ID {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "instance is of another system, name={}, system={}, asked={}",
            self.name,
            self.system_name,
            S::NAME
        )))
    }

    pub(crate) fn config<S: DataSystem>(&self) -> Result<Arc<S::Config>> {
        match self.config.clone().map(Arc::downcast::<S::Config>) {
            Some(Ok(config)) => Ok(config),
            _ => parse_config::<S>(&self.name, &self.config_json).map(Arc::new),
        }
    }

    pub(crate) fn with_config(mut self, config: Arc<dyn Any + Send + Sync>) -> Self {
        self.config = Some(config);
        self
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({} {} {})", self.id.0, self.name, self.system_name)
    }
}

pub(crate) fn parse_config<S: DataSystem>(name: &str, json: &str) -> Result<S::Config> {
    serde_json::from_str(json).map_err(|error| {
        Error::unsupported(format!("settings of the instance cannot be read, instance={name}")).with_source(error)
    })
}

/// What a slate knows about itself.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    pub(crate) slate_id: SlateId,
    pub(crate) created: Timestamp,
    pub(crate) lineage: Vec<Ancestor>,
    /// Why nobody may write to it any more, if that is so.
    pub(crate) retired: Option<String>,
    /// Whether it is written down where instances were written to directly.
    pub(crate) notes_direct: bool,
    next_instance: u16,
    by_name: BTreeMap<Arc<str>, Arc<Instance>>,
}

impl Registry {
    pub(crate) fn new(slate_id: SlateId, created: Timestamp) -> Self {
        Self {
            slate_id,
            created,
            lineage: Vec::new(),
            retired: None,
            notes_direct: false,
            next_instance: 1,
            by_name: BTreeMap::new(),
        }
    }

    pub(crate) fn key() -> Bytes {
        Prefix { system: SystemId::SLATE, version: 1, instance: InstanceId(0), segment: SegmentId::CONTROL }
            .key(RECORD)
            .build()
    }

    pub(crate) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.by_name.values().map(AsRef::as_ref)
    }

    pub(crate) fn shared(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.by_name.values()
    }

    pub(crate) fn find(&self, name: &str) -> Result<&Arc<Instance>> {
        self.by_name.get(name).ok_or_else(|| {
            let names: Vec<_> = self.by_name.keys().map(AsRef::as_ref).collect();
            Error::not_found(format!("no such instance, name={name}, instances=[{}]", names.join(", ")))
        })
    }

    pub(crate) fn at(&self, address: Address) -> Option<&Arc<Instance>> {
        self.by_name.values().find(|instance| instance.address() == address)
    }

    /// Adds an instance under the next free id.
    pub(crate) fn add(
        &mut self,
        name: &str,
        system: (SystemId, &str, u8),
        config_json: String,
    ) -> Result<Arc<Instance>> {
        check_name(name)?;
        if self.by_name.contains_key(name) {
            return Err(Error::conflict(format!("an instance of this name exists, name={name}")));
        }
        let id = InstanceId(self.next_instance);
        self.next_instance = self
            .next_instance
            .checked_add(1)
            .ok_or_else(|| Error::invalid("no instance ids are left in this slate"))?;
        let (system, system_name, version) = system;
        let name: Arc<str> = name.into();
        let instance = Arc::new(Instance {
            id,
            name: Arc::clone(&name),
            system,
            system_name: system_name.to_owned(),
            version,
            config_json,
            config: None,
        });
        self.by_name.insert(name, Arc::clone(&instance));
        Ok(instance)
    }

    /// Takes an instance of another slate in, with its id and everything else.
    pub(crate) fn adopt(&mut self, instance: &Instance) -> Result<()> {
        if self.by_name.contains_key(&instance.name) {
            return Err(Error::conflict(format!("two instances have the same name, name={}", instance.name)));
        }
        let taken = |found: &&Arc<Instance>| found.address() == instance.address();
        if let Some(other) = self.by_name.values().find(taken) {
            return Err(Error::conflict(format!(
                "two instances have the same keys, and joining copies nothing, names=[{}, {}], system={}, id={}",
                other.name, instance.name, instance.system_name, instance.id.0
            )));
        }
        self.next_instance = self.next_instance.max(instance.id.0.saturating_add(1));
        self.by_name.insert(Arc::clone(&instance.name), Arc::new(copy(instance)));
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        check_name(to)?;
        if self.by_name.contains_key(to) {
            return Err(Error::conflict(format!("an instance of this name exists, name={to}")));
        }
        let old = Arc::clone(self.find(from)?);
        self.by_name.remove(from);
        let renamed = Instance { name: to.into(), ..copy(&old) };
        self.by_name.insert(to.into(), Arc::new(renamed));
        Ok(())
    }

    pub(crate) fn set_config(&mut self, name: &str, config_json: String) -> Result<()> {
        let old = Arc::clone(self.find(name)?);
        let changed = Instance { config_json, config: None, ..copy(&old) };
        self.by_name.insert(Arc::clone(&old.name), Arc::new(changed));
        Ok(())
    }

    /// Keeps parsed settings beside their JSON, so that a view does not parse.
    pub(crate) fn attach_config(&mut self, name: &str, config: Arc<dyn Any + Send + Sync>) -> Result<()> {
        let old = Arc::clone(self.find(name)?);
        self.by_name.insert(Arc::clone(&old.name), Arc::new(copy(&old).with_config(config)));
        Ok(())
    }

    /// Forgets all instances but some; their ids are not given out again.
    pub(crate) fn keep_only(&mut self, names: &[&str]) -> Result<()> {
        let kept = names.iter().map(|name| self.find(name).map(|kept| (Arc::clone(&kept.name), Arc::clone(kept))));
        self.by_name = kept.collect::<Result<_>>()?;
        Ok(())
    }

    pub(crate) fn encode(&self) -> Bytes {
        let record = SlateRecord {
            format_version: FORMAT_VERSION,
            slate_id: self.slate_id.0.as_bytes().to_vec(),
            created_ms: self.created.0,
            next_instance: u32::from(self.next_instance),
            lineage: self.lineage.iter().map(AncestorRecord::from).collect(),
            instances: self.by_name.values().map(|instance| InstanceRecord::from(instance.as_ref())).collect(),
            retired: self.retired.clone(),
            notes_direct: self.notes_direct,
        };
        let mut value = vec![LAYOUT];
        value.extend_from_slice(&record.encode_to_vec());
        value.into()
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        let corrupt = |what: &str| Error::corrupt_at(&Self::key(), what);
        let (layout, rest) = value.split_first().ok_or_else(|| corrupt("empty slate record"))?;
        if *layout != LAYOUT {
            return Err(Error::unsupported(format!("the slate was written by a newer version, layout={layout}")));
        }
        let record = SlateRecord::decode(rest).map_err(|error| corrupt("slate record").with_source(error))?;
        if record.format_version != FORMAT_VERSION {
            return Err(Error::unsupported(format!(
                "the slate was written by a newer version, format={}, known={FORMAT_VERSION}",
                record.format_version
            )));
        }
        let slate_id = uuid::Uuid::from_slice(&record.slate_id).map_err(|_| corrupt("slate id"))?;
        let mut registry = Self::new(SlateId(slate_id), Timestamp(record.created_ms));
        registry.retired = record.retired;
        registry.notes_direct = record.notes_direct;
        registry.next_instance = u16::try_from(record.next_instance).map_err(|_| corrupt("next instance id"))?;
        for ancestor in record.lineage {
            let slate_id = uuid::Uuid::from_slice(&ancestor.slate_id).map_err(|_| corrupt("lineage"))?;
            registry.lineage.push(Ancestor {
                slate_id: SlateId(slate_id),
                path: ancestor.path,
                fork_position: Position(ancestor.fork_position),
            });
        }
        for instance in record.instances {
            let narrow = |n: u32| u8::try_from(n).map_err(|_| corrupt("instance"));
            let name: Arc<str> = instance.name.into();
            let instance = Instance {
                id: InstanceId(u16::try_from(instance.id).map_err(|_| corrupt("instance id"))?),
                name: Arc::clone(&name),
                system: SystemId(narrow(instance.system)?),
                system_name: instance.system_name,
                version: narrow(instance.version)?,
                config_json: instance.config_json,
                config: None,
            };
            registry.by_name.insert(name, Arc::new(instance));
        }
        Ok(registry)
    }
}

fn copy(instance: &Instance) -> Instance {
    Instance {
        id: instance.id,
        name: Arc::clone(&instance.name),
        system: instance.system,
        system_name: instance.system_name.clone(),
        version: instance.version,
        config_json: instance.config_json.clone(),
        config: instance.config.clone(),
    }
}

/// Names become parts of paths and labels, so they are kept plain.
fn check_name(name: &str) -> Result<()> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if plain && (1..=64).contains(&name.len()) {
        Ok(())
    } else {
        Err(Error::invalid(format!("an instance name is 1 to 64 letters, digits, '-', '_' or '.', name={name:?}")))
    }
}

#[derive(Clone, PartialEq, Message)]
struct SlateRecord {
    #[prost(uint32, tag = "1")]
    format_version: u32,
    #[prost(bytes = "vec", tag = "2")]
    slate_id: Vec<u8>,
    #[prost(sint64, tag = "3")]
    created_ms: i64,
    #[prost(uint32, tag = "4")]
    next_instance: u32,
    #[prost(message, repeated, tag = "5")]
    lineage: Vec<AncestorRecord>,
    #[prost(message, repeated, tag = "6")]
    instances: Vec<InstanceRecord>,
    #[prost(string, optional, tag = "7")]
    retired: Option<String>,
    #[prost(bool, tag = "8")]
    notes_direct: bool,
}

#[derive(Clone, PartialEq, Message)]
struct AncestorRecord {
    #[prost(bytes = "vec", tag = "1")]
    slate_id: Vec<u8>,
    #[prost(string, tag = "2")]
    path: String,
    #[prost(uint64, tag = "3")]
    fork_position: u64,
}

#[derive(Clone, PartialEq, Message)]
struct InstanceRecord {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    system: u32,
    #[prost(string, tag = "4")]
    system_name: String,
    #[prost(uint32, tag = "5")]
    version: u32,
    #[prost(string, tag = "6")]
    config_json: String,
}

impl From<&Ancestor> for AncestorRecord {
    fn from(ancestor: &Ancestor) -> Self {
        Self {
            slate_id: ancestor.slate_id.0.as_bytes().to_vec(),
            path: ancestor.path.clone(),
            fork_position: ancestor.fork_position.0,
        }
    }
}

impl From<&Instance> for InstanceRecord {
    fn from(instance: &Instance) -> Self {
        Self {
            id: u32::from(instance.id.0),
            name: instance.name.to_string(),
            system: u32::from(instance.system.0),
            system_name: instance.system_name.clone(),
            version: u32::from(instance.version),
            config_json: instance.config_json.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
