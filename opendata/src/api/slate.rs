//! The slate as a whole: checkpoints, forks, rows, and what it is made of.

use opendata_compose::{Log, Tsdb, Vector};
use opendata_core::key::{KeyReader, SegmentId};
use opendata_core::slate::{Checkpoint, Inspected, Instance, Stats, View};
use opendata_core::{DataSystem, Hex, Position, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// A checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointOut {
    pub(crate) name: String,
    pub(crate) position: Position,
    pub(crate) created: Timestamp,
    pub(crate) expires: Option<Timestamp>,
}

impl From<Checkpoint> for CheckpointOut {
    fn from(checkpoint: Checkpoint) -> Self {
        let Checkpoint { name, position, created, expires, .. } = checkpoint;
        Self { name, position, created, expires }
    }
}

/// All checkpoints, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointsOut {
    pub(crate) checkpoints: Vec<CheckpointOut>,
}

/// A checkpoint to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckpointIn {
    pub(crate) name: String,
    /// Such as `7d`; none: until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime: Option<String>,
}

/// A checkpoint that was let go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReleasedOut {
    pub(crate) released: String,
}

/// A fork to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForkIn {
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<String>,
}

/// A fork that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ForkOut {
    pub(crate) path: String,
    /// The last position that the fork has in common with its parent.
    pub(crate) position: Position,
}

/// An instance of a slate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InstanceOut {
    pub(crate) id: u16,
    pub(crate) name: String,
    pub(crate) system: String,
    pub(crate) config: serde_json::Value,
    /// What is in it, as far as that is known without reading its data.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub(crate) holds: serde_json::Map<String, serde_json::Value>,
}

impl From<&Instance> for InstanceOut {
    fn from(instance: &Instance) -> Self {
        let config = serde_json::from_str(&instance.config_json)
            .unwrap_or_else(|_| serde_json::Value::String(instance.config_json.clone()));
        Self {
            id: instance.id.0,
            name: instance.name.to_string(),
            system: instance.system_name.clone(),
            config,
            holds: serde_json::Map::new(),
        }
    }
}

/// What a slate is and holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StatsOut {
    pub(crate) slate_id: String,
    pub(crate) path: String,
    pub(crate) position: Position,
    pub(crate) instances: Vec<InstanceOut>,
    /// Counters of the writer; only a running server has them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub(crate) counters: serde_json::Map<String, serde_json::Value>,
}

/// What a view shows of its slate. The size of data makes no difference.
pub(crate) async fn describe(view: &View, path: &str) -> Result<StatsOut> {
    let mut instances = Vec::new();
    for instance in view.instances() {
        let mut out = InstanceOut::from(instance);
        if out.system == Log::NAME {
            let reader = view.get_reader::<Log>(&out.name)?;
            let segments = reader.segments().await?;
            out.holds.insert("records".to_owned(), reader.count_all().await?.into());
            out.holds.insert("segments".to_owned(), segments.len().into());
            let size_bytes: u64 = segments.iter().map(opendata_log::Segment::size_bytes).sum();
            out.holds.insert("size_bytes".to_owned(), size_bytes.into());
            out.holds.insert("trim_point".to_owned(), reader.trim_point().await?.0.into());
        } else if out.system == Tsdb::NAME {
            let buckets = view.get_reader::<Tsdb>(&out.name)?.buckets().await?;
            out.holds.insert("buckets".to_owned(), buckets.len().into());
            out.holds.insert("newest_bucket_series".to_owned(), buckets.last().map_or(0, |last| last.series).into());
            let unsealed: u64 = buckets.iter().map(|bucket| bucket.unsealed_samples).sum();
            out.holds.insert("unsealed_samples".to_owned(), unsealed.into());
        } else if out.system == Vector::NAME {
            let stats = view.get_reader::<Vector>(&out.name)?.stats().await?;
            out.holds.insert("documents".to_owned(), stats.documents.into());
            out.holds.insert("cells".to_owned(), stats.fields.values().map(|field| field.cells).sum::<u64>().into());
            out.holds.insert("tail".to_owned(), stats.fields.values().map(|field| field.tail).max().into());
            out.holds.insert("dead".to_owned(), stats.dead.into());
        }
        instances.push(out);
    }
    Ok(StatsOut {
        slate_id: view.slate_id().to_string(),
        path: path.to_owned(),
        position: view.position(),
        instances,
        counters: serde_json::Map::new(),
    })
}

/// Counters by name.
pub(crate) fn counters(stats: &Stats) -> serde_json::Map<String, serde_json::Value> {
    stats.iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// A row of a slate, its key taken apart.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RowOut {
    pub(crate) system: u8,
    pub(crate) version: u8,
    pub(crate) instance: u16,
    pub(crate) segment: u32,
    pub(crate) tag: u8,
    /// What follows the tag, in hexadecimal.
    pub(crate) fields: String,
    pub(crate) key: String,
    pub(crate) position: Position,
    pub(crate) value_bytes: usize,
    pub(crate) text: String,
}

impl From<&Inspected> for RowOut {
    fn from(inspected: &Inspected) -> Self {
        let Inspected { row, text } = inspected;
        let key = Hex(&row.key).to_string();
        let (position, value_bytes, text) = (row.position, row.value.len(), text.clone());
        match KeyReader::new(&row.key) {
            Ok((prefix, tag, fields)) => Self {
                system: prefix.system.0,
                version: prefix.version,
                instance: prefix.instance.0,
                segment: prefix.segment.0,
                tag: tag.0,
                fields: Hex(fields.rest()).to_string(),
                key,
                position,
                value_bytes,
                text,
            },
            Err(error) => Self {
                system: 0,
                version: 0,
                instance: 0,
                segment: SegmentId::CONTROL.0,
                tag: 0,
                fields: String::new(),
                key,
                position,
                value_bytes,
                text: error.to_string(),
            },
        }
    }
}
