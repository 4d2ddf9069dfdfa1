//! The rows of a file as documents.

use std::io::{BufRead, BufReader};
use std::path::Path;

use bytes::Bytes;
use opendata_compose::vector::Document;
use opendata_core::{Error, Result};

use super::npy::Npy;
use super::parquet::Parquet;
use crate::api::bytes::Text;
use crate::cli::lines::Lines;
use crate::failure::Failure;

/// Some rows with their numbers, from 1.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<(u64, Row)>,
    pub(super) read_bytes: u64,
}

/// A row.
pub(super) enum Row {
    /// As the file has it.
    Json(Bytes),
    Document(Document),
    /// What is wrong with it.
    Wrong(Option<Text>, Error),
}

/// The rows of a file.
pub(super) struct Rows {
    source: Source,
    next: u64,
    size_bytes: Option<u64>,
}

enum Source {
    Lines(Lines),
    Parquet(Parquet),
    Npy { npy: Npy<BufReader<std::fs::File>>, field: String, ids: Option<std::io::Lines<BufReader<std::fs::File>>> },
}

impl Rows {
    pub(super) fn lines(file: &Path) -> Result<Self, Failure> {
        let file = (file.as_os_str() != "-").then_some(file);
        let lines = Lines::open(file)?;
        Ok(Self { size_bytes: lines.size_bytes(), source: Source::Lines(lines), next: 1 })
    }

    pub(super) fn npy(file: &Path, field: String, ids: Option<&Path>) -> Result<Self, Failure> {
        let npy = Npy::open(file)?;
        let ids = ids.map(|path| {
            let opened = std::fs::File::open(path);
            opened.map_err(|error| Failure::Machine(format!("file cannot be read, file={}", path.display()), error))
        });
        let ids = ids.transpose()?.map(|file| BufReader::new(file).lines());
        let size_bytes = Some(npy.row_bytes() * npy.rows);
        Ok(Self { source: Source::Npy { npy, field, ids }, next: 1, size_bytes })
    }

    pub(super) fn parquet(parquet: Parquet) -> Self {
        Self { size_bytes: Some(parquet.size_bytes), source: Source::Parquet(parquet), next: 1 }
    }

    pub(super) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    /// The next rows, at least one. None at the end.
    pub(super) async fn batch(&mut self, limit: usize) -> Result<Option<Batch>, Failure> {
        let mut batch = Batch::default();
        match &mut self.source {
            Source::Lines(lines) => {
                let Some(found) = lines.batch(limit).await? else { return Ok(None) };
                batch.read_bytes = found.read_bytes as u64;
                for line in found.lines {
                    if !line.trim_ascii().is_empty() {
                        batch.rows.push((self.next, Row::Json(line)));
                    }
                    self.next += 1;
                }
            }
            Source::Parquet(parquet) => {
                while batch.rows.len() < limit {
                    let rows = parquet.next().await?;
                    if rows.is_empty() {
                        break;
                    }
                    let count = rows.len() as u64;
                    batch.read_bytes += parquet.row_bytes * count;
                    batch.rows.extend((self.next..).zip(rows));
                    self.next += count;
                }
                if batch.rows.is_empty() {
                    return Ok(None);
                }
            }
            Source::Npy { npy, field, ids } => {
                while batch.rows.len() < limit
                    && let Some(vector) = npy.next()?
                {
                    let row = match id(ids.as_mut(), self.next)? {
                        Some(id) => Row::Document(Document::new(id).vector(field, vector)),
                        None => Row::Wrong(None, Error::invalid("there is no id left for this row")),
                    };
                    batch.rows.push((self.next, row));
                    batch.read_bytes += npy.row_bytes();
                    self.next += 1;
                }
                if batch.rows.is_empty() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(batch))
    }
}

/// The id of a row: the next line, or its number from 0.
fn id(ids: Option<&mut std::io::Lines<BufReader<std::fs::File>>>, row: u64) -> Result<Option<String>, Failure> {
    match ids {
        None => Ok(Some((row - 1).to_string())),
        Some(ids) => {
            let line = ids.next().transpose();
            line.map_err(|error| Failure::Machine("the file of ids cannot be read".to_owned(), error))
        }
    }
}
