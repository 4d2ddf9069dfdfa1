//! What keeps an edge from going on, kept beside its cursor so that whoever looks sees it, in whatever process the edge runs.
//!
//! ```text
//! state `edge/<id>`, key: 03
//! value: layout 1 | kind u8 | generation varint | time signed | reason, bytes
//! ```
//!
//! Kind 1 is an edge that failed so often in a row that it rests before it tries again, kind 2 one that stands still until someone acts. The row is written when that begins
//! and removed by the first progress behind it.

use std::time::Duration;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::slate::{Ack, View};
use opendata_core::{Error, Result, Timestamp};

use super::cursor::Cursor;
use super::fault::Fault;
use super::run::Context;

const LAYOUT: u8 = 1;
const TROUBLE: u8 = 0x03;
/// How long a write of the row may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// It failed so often in a row that it rests for a while, and then tries again.
    Resting,
    /// It stands still until someone acts.
    Failed,
}

/// What keeps an edge from going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How bad it is.
    pub kind: TroubleKind,
    /// The generation that met it.
    pub generation: u64,
    /// Since when.
    pub since: Timestamp,
    /// Why, in words.
    pub reason: String,
}

impl Trouble {
    /// What keeps an edge from going on, if something does, as far as its last runner could write it down: a runner that lost its sink could not.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance; `Corrupt` if the row is damaged; what the store returned.
    pub async fn read(view: &View, instance: &str, edge: &str) -> Result<Option<Self>> {
        let value = view.state(instance, &Cursor::name(edge), &[TROUBLE]).await?;
        value.map(|value| Self::decode(&value)).transpose()
    }

    fn encode(&self) -> Bytes {
        let mut value = Encoder::new(LAYOUT);
        value.u8(if self.kind == TroubleKind::Resting { 1 } else { 2 });
        value.varint(self.generation).signed(self.since.0).bytes(self.reason.as_bytes());
        value.finish()
    }

    fn decode(value: &[u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT)?;
        let kind = match fields.u8()? {
            1 => TroubleKind::Resting,
            2 => TroubleKind::Failed,
            kind => return Err(Error::corrupt(format!("unknown kind of an edge's trouble, kind={kind}"))),
        };
        let (generation, since) = (fields.varint()?, Timestamp(fields.signed()?));
        let reason = String::from_utf8(fields.bytes()?.to_vec());
        let reason = reason.map_err(|_| Error::corrupt("the reason of an edge's trouble is no text"))?;
        fields.finish()?;
        Ok(Self { kind, generation, since, reason })
    }
}

impl Context {
    /// Reads what an earlier session left.
    pub(super) async fn recall_trouble(&mut self) -> Result<()> {
        self.trouble = Trouble::read(&self.sink.view(), self.instance.name(), &self.spec.id).await?;
        Ok(())
    }

    /// Writes down that the edge rests.
    pub(super) async fn note_rest(&mut self, error: &Error) {
        self.note(TroubleKind::Resting, error.to_string()).await;
    }

    /// Writes down that the edge stands still, unless its sink is not this runner's to write any more.
    pub(super) async fn note_fault(&mut self, fault: &Fault) {
        if !matches!(fault, Fault::Replaced | Fault::SinkEnded(_) | Fault::SourceEnded(_)) {
            self.note(TroubleKind::Failed, fault.to_string()).await;
        }
    }

    async fn note(&mut self, kind: TroubleKind, reason: String) {
        let generation = self.generation;
        let said = |known: &Trouble| (known.kind, known.generation, &known.reason) == (kind, generation, &reason);
        if self.until.is_some() || self.trouble.as_ref().is_some_and(said) {
            return;
        }
        let trouble = Trouble { kind, generation, since: self.env.now(), reason };
        if self.write(Some(trouble.encode())).await {
            self.trouble = Some(trouble);
        }
    }

    /// The edge has gone on.
    pub(super) async fn forget_trouble(&mut self) {
        if self.trouble.is_some() && self.write(None).await {
            self.trouble = None;
        }
    }

    /// Writes the row or removes it. It says only what the edge shows of itself as well, so nothing waits for long.
    async fn write(&self, value: Option<Bytes>) -> bool {
        let mut tx = self.sink.begin();
        tx.mark_derived();
        let key = Bytes::from_static(&[TROUBLE]);
        self.instance.set_state(&mut tx, &Cursor::name(&self.spec.id), key, value);
        let failure = match tokio::time::timeout(PATIENCE, tx.commit_with(Ack::Written)).await {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => Error::from(error),
            Err(_) => Error::unavailable("the slate did not take it in time"),
        };
        tracing::debug!(edge = self.spec.id, %failure, "what keeps an edge from going on could not be written down");
        false
    }
}

#[cfg(test)]
mod tests;
