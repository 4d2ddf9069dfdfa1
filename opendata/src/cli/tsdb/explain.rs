//! `opendata tsdb explain`.

use std::fmt::Write as _;

use clap::Args;
use opendata_core::{Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::Context;
use super::query::Query;
use crate::api::prometheus::{Cost, Explanation, Response};
use crate::failure::Failure;
use crate::times;

const EXAMPLES: &str = "\
Examples:
  opendata tsdb explain 'sum by (job) (rate(requests_total{path=~\"/v1/.*\"}[5m]))'
  opendata tsdb explain 'up == 0' --start 6h --step 1m
  opendata tsdb explain tokens_total --at before-migration --json";

/// Answer a PromQL query and tell how: its plan, what it read, what made that little, and what it cost.
///
/// The query is answered as by `tsdb query`; the answer itself is not shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Explain {
    #[command(flatten)]
    query: Query,
}

impl Explain {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let explanation = self.query.explanation(cx).await?;
        cx.out.say(&explanation, || text(&explanation).unwrap_or_else(|| "there is nothing to tell".to_owned()))
    }
}

/// What a server adds to an answer that it is to explain.
#[derive(Deserialize)]
pub(super) struct WithExplanation {
    explanation: Explanation,
}

/// The explanation out of a server's answer.
pub(super) fn of_server(answer: Response<WithExplanation>) -> Result<Explanation> {
    match answer {
        Response::Success { data, .. } => Ok(data.explanation),
        Response::Error { error, .. } => Err(Error::invalid(error)),
    }
}

/// The explanation for people.
fn text(explanation: &Explanation) -> Option<String> {
    let mut out = String::new();
    node(&mut out, &explanation.plan, 0);
    out.push('\n');
    for (number, read) in explanation.reads.as_array()?.iter().enumerate() {
        let count = |name: &str| read[name].as_u64().unwrap_or(0);
        let time = |value: &Value| times::show(opendata_core::Timestamp(value.as_i64().unwrap_or(0)));
        let (series, rows, bytes) = (count("series"), count("chunkRows"), count("chunkBytes"));
        let selector = read["selector"].as_str().unwrap_or_default();
        let (start, end) = (time(&read["startMs"]), time(&read["endMs"]));
        // Writing to a string cannot fail; so below.
        let _ = writeln!(out, "read {number}: {selector} from {start} to {end}");
        let _ = writeln!(out, "  {series} series, {rows} rows of chunks, {bytes} bytes");
        for bucket in read["narrowed"].as_array().into_iter().flatten() {
            let (matched, of) = (&bucket["matched"], &bucket["series"]);
            let _ = writeln!(out, "  bucket of {}: {matched} of {of} series", time(&bucket["startMs"]));
            for matcher in bucket["matchers"].as_array().into_iter().flatten() {
                let (what, way) = (matcher["matcher"].as_str().unwrap_or_default(), matcher["way"].as_str());
                let _ = writeln!(out, "    {what}: {} series, by {}", matcher["series"], way.unwrap_or_default());
            }
        }
    }
    let Cost { series, samples_decoded, samples_queried, values_held, chunk_rows, chunk_bytes, .. } = explanation.cost;
    let (read, evaluation) = (explanation.cost.read_seconds * 1e3, explanation.cost.evaluation_seconds * 1e3);
    let _ = writeln!(out, "\nread in {read:.2} ms: {chunk_rows} rows of chunks, {chunk_bytes} bytes");
    let _ = writeln!(out, "evaluated in {evaluation:.2} ms: {series} series, {samples_decoded} samples decoded,");
    let _ = write!(out, "  {samples_queried} samples looked at over all steps, {values_held} values held in memory");
    Some(out)
}

fn node(out: &mut String, plan: &Value, depth: usize) {
    let (what, steps) = (plan["what"].as_str().unwrap_or_default(), plan["steps"].as_u64().unwrap_or(0));
    let steps = if steps == 1 { "1 step".to_owned() } else { format!("{steps} steps") };
    let read = plan["read"].as_u64().map_or(String::new(), |read| format!(", read {read}"));
    let _ = writeln!(out, "{:width$}{what} ({steps}{read})", "", width = 2 * depth);
    for input in plan["inputs"].as_array().into_iter().flatten() {
        node(out, input, depth + 1);
    }
}
