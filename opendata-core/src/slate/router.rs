//! One router for all systems of a slate: each key is handed to the system that its first byte names.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use slatedb::{BloomFilterPolicy, FilterPolicy, MergeOperator, MergeOperatorError, PrefixExtractor, PrefixTarget};

use super::erased::AnySystem;
use crate::error::{Error, Result};
use crate::key::{PREFIX_LEN, SystemId};

/// The name of the segment extractor. It is stored in every slate and can never change.
pub const EXTRACTOR_NAME: &str = "opendata/1";

/// The registered systems, by id.
#[derive(Clone, Default)]
pub(crate) struct Router {
    systems: BTreeMap<SystemId, Arc<dyn AnySystem>>,
}

impl Router {
    pub(crate) fn register(&mut self, system: Arc<dyn AnySystem>) {
        self.systems.insert(system.id(), system);
    }

    /// Registers what another knows.
    pub(crate) fn take(&mut self, other: &Self) {
        self.systems.extend(other.systems.iter().map(|(id, system)| (*id, Arc::clone(system))));
    }

    pub(crate) fn system(&self, id: SystemId) -> Option<&Arc<dyn AnySystem>> {
        self.systems.get(&id)
    }

    /// The system of an instance; a slate that holds one which is not registered must not be written or compacted.
    pub(crate) fn of(&self, instance: &super::Instance) -> Result<&Arc<dyn AnySystem>> {
        let system = self.systems.get(&instance.system).ok_or_else(|| {
            Error::unsupported(format!(
                "the slate holds an instance of a system that is not registered, instance={}, system={}",
                instance.name, instance.system_name
            ))
        })?;
        if instance.version > system.version() {
            return Err(Error::unsupported(format!(
                "the instance was written by a newer version, instance={}, version={}, known={}",
                instance.name,
                instance.version,
                system.version()
            )));
        }
        Ok(system)
    }

    fn by_key(&self, key: &[u8]) -> Option<&Arc<dyn AnySystem>> {
        self.systems.get(&SystemId(*key.first()?))
    }

    pub(crate) fn merge_operator(&self) -> Arc<dyn MergeOperator + Send + Sync> {
        Arc::new(self.clone())
    }

    pub(crate) fn filter_policies(&self) -> Vec<Arc<dyn FilterPolicy>> {
        vec![Arc::new(BloomFilterPolicy::new(10).with_prefix_extractor(Arc::new(self.clone())))]
    }

    pub(crate) fn describe(&self, key: &[u8], value: &[u8]) -> Result<String> {
        match self.by_key(key) {
            Some(system) => system.describe(key, value),
            None => Ok(format!("{} bytes", value.len())),
        }
    }
}

impl MergeOperator for Router {
    fn merge(&self, key: &Bytes, existing: Option<Bytes>, value: Bytes) -> Result<Bytes, MergeOperatorError> {
        self.merge_batch(key, existing, &[value])
    }

    fn merge_batch(
        &self,
        key: &Bytes,
        existing: Option<Bytes>,
        operands: &[Bytes],
    ) -> Result<Bytes, MergeOperatorError> {
        let refused = |message: String| MergeOperatorError::Callback { message };
        let system = self.by_key(key).ok_or_else(|| refused(format!("no system for key {}", crate::Hex(key))))?;
        system.merge(key, existing.as_deref(), operands).map_err(|error| refused(error.to_string()))
    }
}

/// Lets a Bloom filter answer for the beginnings of keys that a system scans by.
impl PrefixExtractor for Router {
    fn name(&self) -> &str {
        EXTRACTOR_NAME
    }

    fn prefix_len(&self, target: &PrefixTarget) -> Option<usize> {
        let (PrefixTarget::Point(key) | PrefixTarget::Prefix(key)) = target;
        self.by_key(key)?.filter_prefix_len(key).filter(|length| *length <= key.len())
    }
}

/// Cuts every key into segments by its first eight bytes.
#[derive(Debug)]
pub(crate) struct SegmentExtractor;

impl PrefixExtractor for SegmentExtractor {
    fn name(&self) -> &str {
        EXTRACTOR_NAME
    }

    fn prefix_len(&self, target: &PrefixTarget) -> Option<usize> {
        let (PrefixTarget::Point(key) | PrefixTarget::Prefix(key)) = target;
        (key.len() >= PREFIX_LEN).then_some(PREFIX_LEN)
    }
}
