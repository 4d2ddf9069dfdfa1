//! The instance that an edge writes to, whichever system it is of.

use bytes::Bytes;
use opendata_core::slate::{Handle, Slate, Transaction};
use opendata_core::{DataSystem, Error, Result};
use opendata_log::Log;
use opendata_tsdb::Tsdb;
use opendata_vector::Vector;

use super::transform::{Kind, Output};

/// A handle to an instance of any system that edges know.
#[derive(Clone, Debug)]
pub(crate) enum Instance {
    Log(Handle<Log>),
    Tsdb(Handle<Tsdb>),
    Vector(Handle<Vector>),
}

macro_rules! each {
    ($instance:expr, $handle:ident => $do:expr) => {
        match $instance {
            Instance::Log($handle) => $do,
            Instance::Tsdb($handle) => $do,
            Instance::Vector($handle) => $do,
        }
    };
}

impl Instance {
    pub(crate) fn open(slate: &Slate, name: &str) -> Result<Self> {
        let view = slate.view();
        let found = view.instances().find(|instance| &*instance.name == name).map(|instance| instance.system);
        let system = found.ok_or_else(|| Error::not_found(format!("no such instance, name={name}")))?;
        match system {
            system if system == Log::ID => slate.get(name).map(Self::Log),
            system if system == Tsdb::ID => slate.get(name).map(Self::Tsdb),
            system if system == Vector::ID => slate.get(name).map(Self::Vector),
            system => Err(Error::unsupported(format!("edges know no such system, name={name}, system={}", system.0))),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Log(_) => Kind::Records,
            Self::Tsdb(_) => Kind::Samples,
            Self::Vector(_) => Kind::Documents,
        }
    }

    pub(crate) fn name(&self) -> &str {
        each!(self, handle => handle.name())
    }

    pub(crate) fn move_cursor(&self, tx: &mut Transaction, name: &str, expected: Option<Bytes>, next: Bytes) {
        each!(self, handle => tx.move_cursor(handle, name, expected, next));
    }

    pub(crate) fn remove_cursor(&self, tx: &mut Transaction, name: &str, expected: Bytes) {
        each!(self, handle => tx.remove_cursor(handle, name, expected));
    }

    /// Sets a row of state, or removes it.
    pub(crate) fn set_state(&self, tx: &mut Transaction, name: &str, key: Bytes, value: Option<Bytes>) {
        match value {
            Some(value) => each!(self, handle => tx.put_state(handle, name, key, value)),
            None => each!(self, handle => tx.delete_state(handle, name, key)),
        }
    }

    /// Moves what a transform made into a transaction.
    pub(crate) fn fill(&self, tx: &mut Transaction, outputs: &mut Vec<Output>) -> Result<()> {
        if outputs.is_empty() {
            return Ok(());
        }
        match self {
            Self::Log(handle) => {
                let op = tx.on(handle);
                for output in outputs.drain(..) {
                    match output {
                        Output::Append(stream, record) => drop(op.append_record(stream, record)),
                        other => return Err(self.misfit(&other)),
                    }
                }
            }
            Self::Tsdb(handle) => {
                let op = tx.on(handle);
                for output in outputs.drain(..) {
                    match output {
                        Output::Sample(labels, at, value) => drop(op.sample(labels, at, value)),
                        Output::Add(labels, at, value) => drop(op.add(labels, at, value)),
                        other => return Err(self.misfit(&other)),
                    }
                }
            }
            Self::Vector(handle) => {
                let op = tx.on(handle);
                for output in outputs.drain(..) {
                    match output {
                        Output::Upsert(document) => drop(op.upsert(*document)),
                        Output::Delete(id) => drop(op.delete(id)),
                        other => return Err(self.misfit(&other)),
                    }
                }
            }
        }
        Ok(())
    }

    fn misfit(&self, output: &Output) -> Error {
        let made = match output {
            Output::Append(..) => "a record",
            Output::Sample(..) | Output::Add(..) | Output::Observe(..) => "a sample",
            Output::Upsert(_) | Output::Delete(_) => "a document",
        };
        Error::invalid(format!("the sink cannot take what the transform makes, sink={}, made={made}", self.name()))
    }
}
