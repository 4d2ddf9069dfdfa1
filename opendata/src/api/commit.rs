//! One atomic transaction over several instances, as JSON.
//!
//! ```json
//! {"operations": [
//!   {"instance": "events", "append": {"stream": "tenant-7", "payload": "42 tokens"}},
//!   {"instance": "usage", "add": {"labels": {"__name__": "tokens_total", "tenant": "7"}, "value": 42}},
//!   {"instance": "docs", "upsert": {"id": "a", "embedding": [0.1, 0.2], "lang": "en"}}
//! ]}
//! ```

use std::collections::BTreeMap;

use opendata_compose::{Commit, Handle, InternalComposite, Log, Transaction, Tsdb, Vector, vector};
use opendata_core::slate::Ack;
use opendata_core::{Error, Position, Result, Timestamp};
use opendata_log::{NewRecord, OnDuplicate};
use opendata_tsdb::Labels;
use serde::{Deserialize, Serialize};

use super::bytes::Text;
use super::number::Number;
use super::record::RecordIn;
use super::vector::DocumentJson;
use super::vector::ask::{DeleteIn, VersionIn, VersionOut};
use crate::times;

/// A transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommitIn {
    pub(crate) operations: Vec<Operation>,
    /// When to answer.
    #[serde(default)]
    pub(crate) ack: AckIn,
}

/// When a commit is answered.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AckIn {
    #[default]
    Durable,
    Written,
}

/// What is asked of one instance. Each verb may stand alone or beside others; lists are done in their order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operation {
    pub(crate) instance: String,
    /// Log: records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) append: Option<OneOrMany<AppendIn>>,
    /// Log: conditions on the last record of streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expect_position: Option<OneOrMany<ExpectIn>>,
    /// Log: makes the transaction idempotent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) producer: Option<ProducerIn>,
    /// TSDB: samples to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sample: Option<OneOrMany<SampleIn>>,
    /// TSDB: amounts to add to counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) add: Option<OneOrMany<SampleIn>>,
    /// Vector: conditions on the versions of documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) if_version: Option<OneOrMany<VersionIn>>,
    /// Vector: documents to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upsert: Option<OneOrMany<DocumentJson>>,
    /// Vector: documents to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patch: Option<OneOrMany<DocumentJson>>,
    /// Vector: documents to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delete: Option<DeleteIn>,
}

/// A value, or a list of them.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

/// A record and its stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppendIn {
    pub(crate) stream: Text,
    #[serde(default)]
    pub(crate) payload: Text,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, Text)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_time: Option<Timestamp>,
    #[serde(default)]
    pub(crate) schema_id: u32,
}

/// A stream, and where its last record must stand; `null`: it must have none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectIn {
    pub(crate) stream: Text,
    pub(crate) position: Option<Position>,
}

/// Who sends, and the how-manieth of its transactions this is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProducerIn {
    pub(crate) id: Text,
    #[serde(default)]
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

/// A value of a series; at the time of the request, if none is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleIn {
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<Timestamp>,
    pub(crate) value: Number,
}

/// A commit, and what each instance says about its part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CommitOut {
    pub(crate) position: Position,
    pub(crate) receipts: BTreeMap<String, ReceiptOut>,
}

/// What an instance says about its part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ReceiptOut {
    Log { records: u64, first: Option<Position>, last: Option<Position>, duplicate: bool },
    Tsdb { samples: u64, new_series: u64, totals: Vec<Number> },
    Vector { versions: Vec<VersionOut>, deleted: u64 },
}

impl From<AckIn> for Ack {
    fn from(ack: AckIn) -> Self {
        match ack {
            AckIn::Durable => Self::Durable,
            AckIn::Written => Self::Written,
        }
    }
}

/// The instances that a transaction asked something of.
#[derive(Default)]
struct Touched {
    logs: Vec<Handle<Log>>,
    tsdbs: Vec<Handle<Tsdb>>,
    vectors: Vec<Handle<Vector>>,
}

impl CommitIn {
    /// Commits it.
    pub(crate) async fn commit(self, composite: &InternalComposite) -> Result<CommitOut> {
        let mut transaction = composite.begin();
        let mut touched = Touched::default();
        let now = times::now();
        // A repeated transaction may be skipped by the log, but not by the others: with them it is refused as a whole.
        let first = self.operations.first().map(|operation| operation.instance.clone());
        let alone = self.operations.iter().all(|operation| Some(&operation.instance) == first.as_ref());
        let on_duplicate = if alone { OnDuplicate::Skip } else { OnDuplicate::Refuse };
        for operation in self.operations {
            operation.stage(composite, &mut transaction, &mut touched, now, on_duplicate)?;
        }
        let commit = transaction.commit_with(self.ack.into()).await?;
        Ok(touched.answer(&commit))
    }
}

impl Operation {
    fn stage(
        self,
        composite: &InternalComposite,
        transaction: &mut Transaction,
        touched: &mut Touched,
        now: Timestamp,
        on_duplicate: OnDuplicate,
    ) -> Result<()> {
        let of_log = self.append.is_some() || self.expect_position.is_some() || self.producer.is_some();
        let of_tsdb = self.sample.is_some() || self.add.is_some();
        let of_vector = self.is_of_vector();
        if !of_log && !of_tsdb && !of_vector {
            return Err(Error::invalid(format!("an operation asks for nothing, instance={}", self.instance)));
        }
        if of_vector && (of_log || of_tsdb) {
            return Err(Error::invalid(format!("verbs of several systems, instance={}", self.instance)));
        }
        if of_vector {
            touched.vectors.push(self.stage_documents(composite, transaction)?);
            return Ok(());
        }
        if of_log {
            let handle = composite.get::<Log>(&self.instance)?;
            let op = transaction.on(&handle);
            for expected in self.expect_position.into_iter().flat_map(|list| list.0) {
                op.expect_position(&expected.stream.0, expected.position);
            }
            if let Some(producer) = self.producer {
                op.producer_with(opendata_log::Producer {
                    id: producer.id.0,
                    epoch: producer.epoch,
                    sequence: producer.sequence,
                    on_duplicate,
                });
            }
            for record in self.append.into_iter().flat_map(|list| list.0) {
                let (stream, record) = record.into_parts();
                op.append_record(&stream.0, record);
            }
            touched.logs.push(handle);
        }
        if of_tsdb {
            let handle = composite.get::<Tsdb>(&self.instance)?;
            let op = transaction.on(&handle);
            for sample in self.sample.into_iter().flat_map(|list| list.0) {
                op.sample(Labels::new(sample.labels)?, sample.time.unwrap_or(now), sample.value.0);
            }
            for sample in self.add.into_iter().flat_map(|list| list.0) {
                op.add(Labels::new(sample.labels)?, sample.time.unwrap_or(now), sample.value.0);
            }
            touched.tsdbs.push(handle);
        }
        Ok(())
    }
}

impl Operation {
    fn is_of_vector(&self) -> bool {
        self.if_version.is_some() || self.upsert.is_some() || self.patch.is_some() || self.delete.is_some()
    }

    /// Conditions first; then upserts, patches and deletions in this order.
    fn stage_documents(self, composite: &InternalComposite, transaction: &mut Transaction) -> Result<Handle<Vector>> {
        let handle = composite.get::<Vector>(&self.instance)?;
        let reader = composite.view().on(&handle)?;
        let schema = &reader.config().schema;
        let op = transaction.on(&handle);
        for expected in self.if_version.into_iter().flat_map(|list| list.0) {
            expected.stage(op);
        }
        for document in self.upsert.into_iter().flat_map(|list| list.0) {
            op.upsert(document.document(schema)?);
        }
        for change in self.patch.into_iter().flat_map(|list| list.0) {
            op.patch(&change.id.0, change.patch(schema)?);
        }
        self.delete.map_or(Ok(()), |delete| delete.stage(op))?;
        Ok(handle)
    }
}

impl AppendIn {
    fn into_parts(self) -> (Text, NewRecord) {
        let Self { stream, payload, headers, event_time, schema_id } = self;
        (stream, RecordIn { payload, headers, event_time, schema_id }.into())
    }
}

impl Touched {
    fn answer(&self, commit: &Commit) -> CommitOut {
        let mut receipts = BTreeMap::new();
        for handle in &self.logs {
            if let Some(receipt) = commit.receipt(handle) {
                receipts.insert(handle.name().to_owned(), ReceiptOut::of_log(receipt));
            }
        }
        for handle in &self.tsdbs {
            if let Some(receipt) = commit.receipt(handle) {
                receipts.insert(handle.name().to_owned(), ReceiptOut::of_tsdb(receipt));
            }
        }
        for handle in &self.vectors {
            if let Some(receipt) = commit.receipt(handle) {
                receipts.insert(handle.name().to_owned(), ReceiptOut::of_vector(receipt));
            }
        }
        CommitOut { position: commit.position(), receipts }
    }
}

impl ReceiptOut {
    pub(crate) fn of_log(receipt: &opendata_log::Receipt) -> Self {
        Self::Log {
            records: receipt.records(),
            first: receipt.first(),
            last: receipt.last(),
            duplicate: receipt.is_duplicate(),
        }
    }

    pub(crate) fn of_vector(receipt: &vector::Receipt) -> Self {
        let version =
            |(id, version): &(bytes::Bytes, vector::Version)| VersionOut { id: id.into(), version: version.0 };
        Self::Vector { versions: receipt.versions.iter().map(version).collect(), deleted: receipt.deleted }
    }

    pub(crate) fn of_tsdb(receipt: &opendata_tsdb::Receipt) -> Self {
        Self::Tsdb {
            samples: receipt.samples,
            new_series: receipt.new_series,
            totals: receipt.totals.iter().copied().map(Number).collect(),
        }
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    /// Reads a list where there is one, else the one value, with the errors of that value.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
        use serde::de::{MapAccess, SeqAccess, Visitor};

        struct Either<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object or a list of objects")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list))
            }
        }

        deserializer.deserialize_any(Either(std::marker::PhantomData)).map(Self)
    }
}
