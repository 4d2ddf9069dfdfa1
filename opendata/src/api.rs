//! What programs read and write: the JSON of the HTTP interface, and of the command line with `--json`.
//!
//! Positions are numbers, times are milliseconds since the Unix epoch. Bytes are a string where they are UTF-8,
//! else `{"base64": ".."}`. Sample values are numbers, or `"NaN"`, `"Infinity"`, `"-Infinity"`, which JSON has no number for.
//! A field that is not known is an error: a word that was mistyped never passes for one that was left out.

pub(crate) mod bytes;
pub(crate) mod commit;
pub(crate) mod number;
pub(crate) mod prometheus;
pub(crate) mod record;
pub(crate) mod slate;
pub(crate) mod vector;

use serde::{Deserialize, Serialize};

/// A request that failed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: ErrorText,
}

/// What to do about it, and what happened.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorText {
    pub(crate) kind: String,
    pub(crate) message: String,
}

#[cfg(test)]
mod tests;
