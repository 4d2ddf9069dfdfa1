//! What a transaction asks of a vector instance.
//!
//! The verbs only collect. What is wrong with a document is found when the transaction is committed, and then
//! refuses the whole of it. Verbs on one id take effect in the order of the calls.

use bytes::Bytes;
use opendata_core::{ErrorKind, Operation};

use crate::document::{Document, Patch};
use crate::filter::Filter;
use crate::maintain::Upkeep;

/// Most documents that one [`delete_where`](Op::delete_where) may delete.
pub const DELETE_LIMIT: u64 = 10_000;

/// The version of a document: another one after each write to it, never used twice in an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

/// Writes and conditions of a transaction.
#[derive(Debug, Default)]
pub struct Op {
    pub(crate) steps: Vec<Step>,
    pub(crate) upkeep: Option<Upkeep>,
    pub(crate) skips_invalid: bool,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) enum Step {
    Upsert(Document),
    Patch(Bytes, Patch),
    Delete(Bytes),
    DeleteWhere(Filter),
    IfVersion(Bytes, Option<Version>),
}

impl Op {
    /// Writes a document in place of any other with its id.
    pub fn upsert(&mut self, document: Document) -> &mut Self {
        self.bytes += document.size_bytes();
        self.push(Step::Upsert(document))
    }

    /// Changes a document. The transaction fails with `NotFound` if there is none with this id.
    pub fn patch(&mut self, id: impl AsRef<[u8]>, patch: Patch) -> &mut Self {
        self.bytes += patch.size_bytes();
        self.push(Step::Patch(Bytes::copy_from_slice(id.as_ref()), patch))
    }

    /// Deletes a document, if it is there.
    pub fn delete(&mut self, id: impl AsRef<[u8]>) -> &mut Self {
        self.push(Step::Delete(Bytes::copy_from_slice(id.as_ref())))
    }

    /// Deletes all documents that match, as they are at the transaction's turn. The transaction fails with
    /// `Invalid` if there are more than [`DELETE_LIMIT`].
    pub fn delete_where(&mut self, filter: Filter) -> &mut Self {
        self.push(Step::DeleteWhere(filter))
    }

    /// Demands that a document has this version, or is not there. Else the transaction fails with `Conflict`.
    pub fn if_version(&mut self, id: impl AsRef<[u8]>, version: Option<Version>) -> &mut Self {
        self.push(Step::IfVersion(Bytes::copy_from_slice(id.as_ref()), version))
    }

    /// Leaves out upserts and patches that are wrong, and reports them in [`Receipt::refused`], instead of refusing the
    /// transaction. Everything else is as ever.
    pub fn skip_invalid(&mut self) -> &mut Self {
        self.skips_invalid = true;
        self
    }

    fn push(&mut self, step: Step) -> &mut Self {
        self.bytes += 128;
        self.steps.push(step);
        self
    }

    pub(crate) fn upkeep(upkeep: Upkeep) -> Self {
        let bytes = upkeep.size_bytes();
        Self { upkeep: Some(upkeep), bytes, ..Self::default() }
    }
}

impl Operation for Op {
    fn size_bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.upkeep.is_none()
    }
}

/// An upsert or a patch that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The how-manieth call it was, of all of the operation, from 0.
    pub call: usize,
    /// The document's id.
    pub id: Bytes,
    /// What to do about it.
    pub kind: ErrorKind,
    /// What is wrong with it.
    pub message: String,
}

/// What a vector instance did for a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The version of each document that was upserted or patched, in the order of the calls.
    pub versions: Vec<(Bytes, Version)>,
    /// How many documents were deleted.
    pub deleted: u64,
    /// Upserts and patches that were left out, see [`Op::skip_invalid`].
    pub refused: Vec<Refused>,
}
