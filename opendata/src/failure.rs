//! How the program ends: its errors, and the exit codes that scripts can rely on.

use std::fmt;
use std::io;

use opendata_core::{Error, ErrorKind};

/// What is told about exit codes in `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  unexpected: a fault of this machine or of the program
   2  the command line is wrong
   3  invalid: the composition file or the request is wrong; nothing was changed
   4  not found
   5  conflict: a condition did not hold, or a name is taken; nothing was changed
   6  backpressure: a limit is full; nothing was changed, try again later
   7  fenced: another writer owns the slate now
   8  unavailable: the store, or the server, did not answer
   9  corrupt: stored bytes are not what they should be
  10  outcome unknown: a write may or may not have happened; read before writing again
  11  closed
  12  unsupported: written by a newer version, or not compiled in
  13  differs: verification found a difference";

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the slate, or of the request.
    Error(Error),
    /// Something of this machine failed: what was done, and why it failed.
    Machine(String, io::Error),
    /// Verification found differences, which have been said: in so many edges.
    Differs(usize),
    /// Whoever read our output has gone. That is no error: nothing is left to say to anyone.
    OutputClosed,
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Error(error) => exit_code(error.kind()),
            Self::Machine(..) => 1,
            Self::Differs(_) => 13,
            Self::OutputClosed => 0,
        }
    }

    /// The kind as programs read it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Error(error) => kind_name(error.kind()),
            Self::Differs(_) => "differs",
            Self::Machine(..) | Self::OutputClosed => "unexpected",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => f.write_str(error.message()),
            Self::Machine(doing, error) => write!(f, "{doing}: {error}"),
            Self::Differs(edges) => write!(f, "edges differ from what they must have made, edges={edges}"),
            Self::OutputClosed => f.write_str("output closed"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// An error of writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Machine("output cannot be written".to_owned(), error),
        }
    }
}

/// The exit code of a kind of error.
pub(crate) fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 3,
        ErrorKind::NotFound => 4,
        ErrorKind::Conflict => 5,
        ErrorKind::Backpressure => 6,
        ErrorKind::Fenced => 7,
        ErrorKind::Unavailable => 8,
        ErrorKind::Corrupt => 9,
        ErrorKind::OutcomeUnknown => 10,
        ErrorKind::Closed => 11,
        ErrorKind::Unsupported => 12,
        _ => 1,
    }
}

const KINDS: &[(ErrorKind, &str)] = &[
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::NotFound, "not_found"),
    (ErrorKind::Conflict, "conflict"),
    (ErrorKind::Backpressure, "backpressure"),
    (ErrorKind::Fenced, "fenced"),
    (ErrorKind::Unavailable, "unavailable"),
    (ErrorKind::Corrupt, "corrupt"),
    (ErrorKind::OutcomeUnknown, "outcome_unknown"),
    (ErrorKind::Closed, "closed"),
    (ErrorKind::Unsupported, "unsupported"),
];

/// A kind as it stands in JSON.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("unexpected", |(_, name)| name)
}

/// The kind of a name in JSON.
pub(crate) fn kind_of_name(name: &str) -> Option<ErrorKind> {
    KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests;
