//! `opendata inspect`.

use clap::Args;
use opendata_core::key::{KeyRange, SegmentId};
use opendata_core::slate::SlateReader;
use opendata_core::{Error, Result};

use super::context::Context;
use crate::api::slate::RowOut;
use crate::failure::Failure;
use crate::output::{Align, Table};

const EXAMPLES: &str = "\
Examples:
  opendata inspect                       the first rows of the slate
  opendata inspect events --limit 20     the rows of an instance
  opendata inspect 0301000100000001      the rows whose keys begin so, in hexadecimal
  opendata inspect usage --at before-migration --json";

/// Show the rows of the slate: each key taken apart, and what its system says about the value.
///
/// Every key begins with system, format version, instance, segment and tag; the rest are the system's own fields.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Inspect {
    /// The name of an instance, or the beginning of keys in hexadecimal (also as 0x..). Everything, if left out.
    range: Option<String>,
    /// At most so many rows.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// Read the slate as it was at this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    at: Option<String>,
}

impl Inspect {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        cx.without_server("inspect")?;
        let reader = cx.reader(self.at.as_deref()).await?;
        let range = match &self.range {
            Some(text) => range_of(text, &reader)?,
            None => KeyRange::prefix(&[]),
        };
        let found = reader.inspect(range, self.limit).await?;
        let rows: Vec<RowOut> = found.iter().map(RowOut::from).collect();
        if cx.out.is_json() {
            for row in &rows {
                cx.out.json(row)?;
            }
            return cx.out.flush();
        }
        let mut table = Table::new([
            ("instance", Align::Left),
            ("segment", Align::Right),
            ("tag", Align::Left),
            ("fields", Align::Left),
            ("position", Align::Right),
            ("bytes", Align::Right),
            ("says", Align::Left),
        ]);
        let view = reader.view();
        for row in &rows {
            let name =
                view.instances().find(|instance| instance.id.0 == row.instance).map(|found| found.name.to_string());
            table.row([
                name.unwrap_or_else(|| format!("{:02x}/{}", row.system, row.instance)),
                row.segment.to_string(),
                format!("{:#04x}", row.tag),
                row.fields.clone(),
                row.position.to_string(),
                row.value_bytes.to_string(),
                row.text.clone(),
            ]);
        }
        cx.out.rows(&mut table)?;
        if rows.len() == self.limit {
            cx.out.note(&format!("stopped after {} rows: ask for more with --limit", self.limit));
        }
        Ok(())
    }
}

/// The rows of an instance, or those whose keys begin so. A name goes before hexadecimal digits; 0x makes digits of it.
fn range_of(text: &str, reader: &SlateReader) -> Result<KeyRange> {
    let view = reader.view();
    if let Some(instance) = view.instances().find(|instance| instance.name.as_ref() == text) {
        // Everything of an instance, whatever the segment.
        let [system, version, i0, i1, ..] = instance.prefix(SegmentId::CONTROL).encode();
        return Ok(KeyRange::prefix(&[system, version, i0, i1]));
    }
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex(digits).map(|bytes| KeyRange::prefix(&bytes)).ok_or_else(|| {
        let names: Vec<_> = view.instances().map(|instance| instance.name.as_ref()).collect();
        Error::invalid(format!("neither an instance nor hexadecimal, given={text}, instances=[{}]", names.join(", ")))
    })
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}
