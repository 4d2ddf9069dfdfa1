//! One error for the whole workspace.
//!
//! [`ErrorKind`] tells a caller what to do next; the message tells a person what happened. Errors are
//! cheap to clone because one failed group commit is reported to everyone who waited for it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The result of every fallible call in the workspace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong; correct it. Nothing was changed.
    Invalid,
    /// A condition of the request did not hold (a position, a cursor, a version, a name already taken).
    /// Nothing was changed; read again and decide.
    Conflict,
    /// What was asked for does not exist.
    NotFound,
    /// A queue or a limit is full. Nothing was changed; try again later.
    Backpressure,
    /// Another writer owns the slate now. This one can never write again; open anew. A commit that was under
    /// way was not acknowledged: read the slate to know whether it is in.
    Fenced,
    /// The store did not answer within its retry limits. Reads may be tried again.
    Unavailable,
    /// Stored bytes are not what they should be. The message names the key.
    Corrupt,
    /// A write may or may not have happened. Reopen and read before writing again; never retry blindly.
    OutcomeUnknown,
    /// The slate was closed in order; open it again to go on.
    Closed,
    /// The data was written by a newer version, or needs a system that is not registered.
    Unsupported,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::NotFound => "not found",
            Self::Backpressure => "backpressure",
            Self::Fenced => "fenced",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::OutcomeUnknown => "outcome unknown",
            Self::Closed => "closed",
            Self::Unsupported => "unsupported",
        })
    }
}

/// An error of any OpenData crate: a kind, a message, and the error beneath it, if there is one.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync + 'static>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident,)*) => {$(
        $(#[$doc])*
        pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
            Self::new(ErrorKind::$kind, message)
        }
    )*};
}

impl Error {
    /// An error of the given kind. The message is lower case: static text first, fields last.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    constructors! {
        /// The request is wrong.
        invalid => Invalid,
        /// A condition did not hold.
        conflict => Conflict,
        /// It does not exist.
        not_found => NotFound,
        /// A queue or limit is full.
        backpressure => Backpressure,
        /// Another writer owns the slate.
        fenced => Fenced,
        /// The store did not answer.
        unavailable => Unavailable,
        /// Stored bytes are wrong.
        corrupt => Corrupt,
        /// A write may or may not have happened.
        outcome_unknown => OutcomeUnknown,
        /// The slate was closed.
        closed => Closed,
        /// A newer format or an unknown system.
        unsupported => Unsupported,
    }

    /// Corrupt bytes at a key. The key is printed in hexadecimal.
    pub fn corrupt_at(key: &[u8], what: impl fmt::Display) -> Self {
        Self::corrupt(format!("corrupt record: {what}, key={}", Hex(key)))
    }

    /// Keeps the error beneath this one.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Puts what was being done in front of the message; kind and source stay.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = Cow::Owned(format!("{doing}: {}", self.message));
        self
    }

    /// The same error under another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, without the kind and without the sources beneath.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            write!(f, "; caused by: {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// Bytes shown as hexadecimal.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Converts an error of a read. A failed write is converted where it happens, because there the outcome matters.
impl From<slatedb::Error> for Error {
    fn from(error: slatedb::Error) -> Self {
        use slatedb::{CloseReason, ErrorKind as Kind};
        let (kind, message) = match error.kind() {
            Kind::Closed(CloseReason::Fenced) => (ErrorKind::Fenced, "another writer owns the slate"),
            Kind::Closed(CloseReason::Clean) => (ErrorKind::Closed, "the slate is closed"),
            Kind::Closed(_) => (ErrorKind::Unavailable, "a background task of the slate failed"),
            Kind::Data => (ErrorKind::Corrupt, "stored data could not be read"),
            // A system refused to merge what is stored; the engine takes that for a wrong request.
            Kind::Invalid if is_merge_failure(&error) => (ErrorKind::Corrupt, "stored data could not be merged"),
            Kind::Unavailable => (ErrorKind::Unavailable, "the store did not answer"),
            Kind::Invalid => (ErrorKind::Invalid, "the slate refused the request"),
            Kind::Transaction => (ErrorKind::Conflict, "transaction conflict"),
            _ => (ErrorKind::Unavailable, "internal error of the storage engine"),
        };
        let text = format!("{message}: {error}");
        Self::new(kind, text).with_source(error)
    }
}

fn is_merge_failure(error: &slatedb::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if found.is::<slatedb::MergeOperatorError>() {
            return true;
        }
        cause = found.source();
    }
    false
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as Store;
        let kind = match &error {
            Store::NotFound { .. } => ErrorKind::NotFound,
            Store::AlreadyExists { .. } | Store::Precondition { .. } => ErrorKind::Conflict,
            Store::InvalidPath { .. } | Store::NotSupported { .. } | Store::NotImplemented { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        let text = format!("object store: {error}");
        Self::new(kind, text).with_source(error)
    }
}

#[cfg(test)]
mod tests;
