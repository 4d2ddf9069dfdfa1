//! `opendata verify`: what edges must have made, made again and compared with what their sinks hold.

use clap::Args;
use opendata_compose::edge::verify::{Done, EdgeReport, Others, Verdict};
use opendata_compose::{Store, VerifyOptions};
use opendata_core::store::{LocalDurability, StoreOptions};
use serde_json::json;

use super::super::context::Context;
use crate::failure::Failure;
use crate::output::{Align, Table};

const EXAMPLES: &str = "\
Examples:
  opendata verify                        every edge, as it stands now; edges may run meanwhile
  opendata verify sales --progress       one edge
  opendata verify --at nightly --json    as they stood in a cut
  opendata verify --strict               nobody but edges writes into their sinks

An edge is `equal` if its sink holds what it must have made of its source: records, samples, documents, open windows, letters and
counts. It `differs` if anything is missing, doubled, changed or extra: the first difference is named, and the exit code is 13.
What cannot be verified is said: vectors from an embedder outside, what was delivered outside, what retention has dropped,
what earlier generations made, and rows that no edge makes.";

/// Make again what edges must have made of their sources, and compare it with what their sinks hold.
///
/// It reads the stores only and disturbs nobody. What is made again goes to a temporary folder.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Verify {
    /// Only these edges.
    edges: Vec<String>,
    /// As they stood in this cut.
    #[arg(long, value_name = "CUT")]
    at: Option<String>,
    /// Another branch than main.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// What no edge makes is a difference as well.
    #[arg(long)]
    strict: bool,
}

impl Verify {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let composite = super::look(cx, self.branch.as_deref()).await?;
        let failed = |error| Failure::Machine("a temporary folder cannot be made".to_owned(), error);
        let folder = tempfile::Builder::new().prefix("opendata-verify-").tempdir().map_err(failed)?;
        let options = StoreOptions { local_durability: LocalDurability::OperatingSystem, ..StoreOptions::default() };
        let scratch = Store::open(&format!("file:{}", folder.path().display()), &options)?;
        let options = VerifyOptions {
            edges: self.edges,
            at: self.at,
            others: if self.strict { Others::None } else { Others::Allowed },
            scratch: Some(scratch),
        };
        let mut progress = cx.out.progress_in_parts("verify");
        let mut advance = |done: Done<'_>| {
            progress.expect(done.expected);
            progress.advance_parts(done.records, done.passed);
        };
        let reports = composite.verify(&options, &mut advance).await;
        progress.finish();
        let reports = reports?;
        let unlike = reports.iter().filter(|report| report.verdict == Verdict::Differs).count();
        let said = json!({"equal": unlike == 0, "edges": reports});
        cx.out.say_table(&said, || table(&reports))?;
        if !cx.out.is_json() {
            for report in &reports {
                tell(cx, report)?;
            }
        }
        match unlike {
            0 => Ok(()),
            edges => Err(Failure::Differs(edges)),
        }
    }
}

fn table(reports: &[EdgeReport]) -> Table {
    let mut table = Table::new([
        ("edge", Align::Left),
        ("verdict", Align::Left),
        ("records", Align::Right),
        ("rows", Align::Right),
        ("letters", Align::Right),
        ("windows", Align::Right),
        ("differences", Align::Right),
    ]);
    for report in reports {
        table.row([
            report.edge.clone(),
            report.verdict.to_string(),
            report.records.to_string(),
            report.rows.to_string(),
            report.letters.to_string(),
            report.windows.to_string(),
            report.differences.to_string(),
        ]);
    }
    table
}

fn tell(cx: &mut Context, report: &EdgeReport) -> Result<(), Failure> {
    if let Some(first) = &report.first {
        cx.out.line(&format!("edge {}: {first}", report.edge))?;
    }
    for why in &report.unverified {
        cx.out.line(&format!("edge {}: not verified: {why}", report.edge))?;
    }
    cx.out.flush()
}
