//! Everything the program says: tables for people, JSON for programs, progress and errors beside it.
//!
//! Answers go to standard output and nothing else does. Errors, progress and notes go to standard error. With
//! `--json` a command says one JSON document; commands that may go on for long (scan, tail, inspect) say one a line.

pub(crate) mod progress;
pub(crate) mod table;

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde::Serialize;
use serde_json::json;

use self::progress::End;
pub(crate) use self::progress::{Progress, When};
pub(crate) use self::table::{Align, Table};
use crate::failure::Failure;

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// People.
    Table,
    /// Programs.
    Json,
}

/// The program's voice.
pub(crate) struct Output {
    format: Format,
    progress: When,
    out: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new(format: Format, progress: When) -> Self {
        Self { format, progress, out: BufWriter::with_capacity(64 * 1024, io::stdout()) }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Says something: `text` to people, `value` to programs.
    pub(crate) fn say(&mut self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(value)?,
            Format::Table => self.line(&text())?,
        }
        self.flush()
    }

    /// Says a table to people, `value` to programs.
    pub(crate) fn say_table(&mut self, value: &impl Serialize, table: impl FnOnce() -> Table) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(value)?,
            Format::Table => table().write(&mut self.out)?,
        }
        self.flush()
    }

    /// One JSON document on one line. It is written out at the next [`flush`](Self::flush).
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// One line. It is written out at the next [`flush`](Self::flush).
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// The rows of a table that goes on: each is written as it comes, in columns as wide as the header says.
    pub(crate) fn rows(&mut self, table: &mut Table) -> Result<(), Failure> {
        table.write_rows(&mut self.out)?;
        Ok(())
    }

    /// Writes out what was said so far.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    /// Shows how far long work is.
    pub(crate) fn progress(&self, doing: &'static str, total: Option<u64>) -> Progress {
        Progress::begin(self.progress, doing, total.map_or(End::Unknown, End::Bytes))
    }

    /// Shows how far work is that is done in parts, of which there may come to be more.
    pub(crate) fn progress_in_parts(&self, doing: &'static str) -> Progress {
        Progress::begin(self.progress, doing, End::Parts)
    }

    /// A remark beside the answer.
    pub(crate) fn note(&self, text: &str) {
        if self.format == Format::Table {
            write_error(&format!("note: {text}"));
        }
    }
}

/// Says why the program failed.
pub(crate) fn report(failure: &Failure, format: Format) {
    match (failure, format) {
        (Failure::OutputClosed, _) => {}
        (failure, Format::Json) => {
            write_error(&json!({"error": {"kind": failure.kind(), "message": failure.to_string()}}).to_string());
        }
        (failure, Format::Table) => {
            let mut text = format!("error: {}: {failure}", failure.kind().replace('_', " "));
            for cause in causes(failure) {
                text.push_str(&format!("\n  caused by: {cause}"));
            }
            write_error(&text);
        }
    }
}

/// The errors beneath, without those whose text was said already.
fn causes(failure: &Failure) -> Vec<String> {
    let Failure::Error(error) = failure else { return Vec::new() };
    let mut said = error.message().to_owned();
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            said.push_str(&text);
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}

/// Whether people look at standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn write_error(text: &str) {
    // If nobody reads standard error, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
