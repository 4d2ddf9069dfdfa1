//! `opendata vector import`.

mod npy;
mod parquet;
mod rows;
mod sink;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use opendata_core::{Error, Position};
use serde_json::json;

use self::parquet::Parquet;
use self::rows::Rows;
use self::sink::Sink;
use super::Context;
use crate::api::vector::ask::{ImportOut, RefusedOut};
use crate::failure::Failure;
use crate::output::Progress;

const EXAMPLES: &str = "\
Examples:
  opendata vector import wiki.jsonl --progress
  opendata vector import - < wiki.jsonl
  opendata vector import glove.npy --field embedding --ids words.txt
  opendata vector import wiki.parquet --columns url=id,emb=embedding,title
  opendata vector import wiki.jsonl --report refused.jsonl

JSON lines are documents as `upsert` takes them. A NumPy file is a matrix, a row a vector; without --ids the ids are the numbers of
the rows, from 0. The columns of a Parquet file are fields of the same names, or as --columns says; lists of numbers are vectors. Files
that are compressed by Snappy, gzip or Zstandard are read.";

/// Refused rows that are shown without --report.
const SHOWN: usize = 20;

/// Write many documents, durably: JSON lines, a Parquet file or a NumPy matrix.
///
/// A wrong row is left out and reported with its number, and the others are written; the exit code is 3 then. A document
/// replaces any other with its id, so that importing a file again changes nothing.
///
/// This command is the slate's writer while it runs, which ends a running `opendata run`: use --server beside one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Import {
    /// The file; `-` is standard input.
    #[arg(value_name = "FILE")]
    source: PathBuf,
    /// Which vector database, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// What the file is; by default its name says it, and standard input is JSON lines.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// NumPy: which field the vectors are for; the only vector field by default.
    #[arg(long, value_name = "FIELD")]
    field: Option<String>,
    /// NumPy: a file with the ids, one a line.
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Parquet: the columns to read, `COLUMN` or `COLUMN=FIELD`, with commas between them; one of them is the `id`. All by default.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    columns: Vec<String>,
    /// Rows that are committed together at most.
    #[arg(long, value_name = "ROWS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
    /// Write refused rows to this file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A document a line.
    Jsonl,
    /// A NumPy matrix.
    Npy,
    /// A Parquet file.
    Parquet,
}

/// What was imported, and what not.
struct Imported {
    written: u64,
    refused: u64,
    shown: Vec<RefusedOut>,
    position: Option<Position>,
    report: Option<BufWriter<File>>,
}

impl Imported {
    fn add(&mut self, out: ImportOut) -> Result<(), Failure> {
        self.written += out.written;
        self.refused += out.refused.len() as u64;
        self.position = out.position.or(self.position);
        for refused in out.refused {
            if let Some(report) = &mut self.report {
                let failed = |error: std::io::Error| Failure::Machine("report cannot be written".to_owned(), error);
                serde_json::to_writer(&mut *report, &refused).map_err(|error| failed(error.into()))?;
                report.write_all(b"\n").map_err(failed)?;
            }
            if self.shown.len() < SHOWN {
                self.shown.push(refused);
            }
        }
        Ok(())
    }
}

impl Import {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let report = self.report.as_deref().map(|path| {
            let file = File::create(path);
            file.map_err(|error| Failure::Machine(format!("report cannot be written, file={}", path.display()), error))
        });
        let report = report.transpose()?.map(BufWriter::new);
        let mut imported = Imported { written: 0, refused: 0, shown: Vec::new(), position: None, report };
        let mut sink = Sink::open(cx, self.instance.as_deref()).await?;
        let done = self.feed(cx, &mut sink, &mut imported).await;
        let ended = sink.end().await;
        let last = match ended {
            Ok(last) => imported.add(last),
            Err(error) => Err(error),
        };
        done.and(last).map_err(|failure| match failure {
            Failure::Error(error) if imported.written > 0 => {
                Failure::Error(error.context(format_args!("after {} durable documents", imported.written)))
            }
            other => other,
        })?;
        if let Some(report) = &mut imported.report {
            report.flush().map_err(|error| Failure::Machine("report cannot be written".to_owned(), error))?;
        }
        Self::say(cx, &imported)
    }

    fn say(cx: &mut Context, imported: &Imported) -> Result<(), Failure> {
        let Imported { written, refused, shown, position, .. } = imported;
        let value = json!({"written": written, "refused": refused, "position": position, "refusals": shown});
        cx.out.say(&value, || {
            let mut text = format!("wrote {written} documents");
            for RefusedOut { row, message, .. } in shown {
                text.push_str(&format!("\nrow {row}: {message}"));
            }
            if *refused > shown.len() as u64 {
                text.push_str("\n...");
            }
            text
        })?;
        match refused {
            0 => Ok(()),
            refused => Err(Error::invalid(format!("{refused} rows were refused, and {written} written")).into()),
        }
    }

    fn format(&self) -> Result<Format, Failure> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let extension = self.source.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("jsonl" | "ndjson" | "json") => Ok(Format::Jsonl),
            Some("npy") => Ok(Format::Npy),
            Some("parquet") => Ok(Format::Parquet),
            None if self.source.as_os_str() == "-" => Ok(Format::Jsonl),
            _ => Err(Error::invalid("the name does not say what the file is: name it with --format").into()),
        }
    }

    async fn feed(&self, cx: &Context, sink: &mut Sink, imported: &mut Imported) -> Result<(), Failure> {
        let mut rows = self.rows(sink)?;
        let mut progress: Progress = cx.out.progress("import", rows.size_bytes());
        let limit = usize::try_from(self.batch).unwrap_or(1);
        while let Some(batch) = rows.batch(limit).await? {
            let (count, bytes) = (batch.rows.len() as u64, batch.read_bytes);
            imported.add(sink.send(batch.rows).await?)?;
            progress.advance(count, bytes);
        }
        progress.finish();
        Ok(())
    }

    fn rows(&self, sink: &Sink) -> Result<Rows, Failure> {
        match self.format()? {
            Format::Jsonl => Rows::lines(&self.source),
            Format::Parquet => {
                let schema = sink.schema().clone();
                Ok(Rows::parquet(Parquet::open(&self.source, schema, &self.columns)?))
            }
            Format::Npy => {
                let vectors = &sink.schema().vectors;
                let field = match (&self.field, vectors.len()) {
                    (Some(field), _) => field.clone(),
                    (None, 1) => vectors.keys().next().cloned().unwrap_or_default(),
                    (None, _) => return Err(Error::invalid("name the vector field with --field").into()),
                };
                Rows::npy(&self.source, field, self.ids.as_deref())
            }
        }
    }
}
