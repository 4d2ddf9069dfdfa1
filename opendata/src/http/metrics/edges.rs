//! The edges that this process runs, and the cuts of its composition, as Prometheus reads them.
//!
//! Every node that a process serves shows all edges of the process: a node without an address has no other place.

use std::fmt::Write as _;

use opendata_compose::ExternalComposite;
use opendata_compose::control::CutPhase;
use opendata_compose::edge::EdgeState;
use opendata_compose::external::EdgeStanding;

use super::metric;

/// The states that an edge can be in, by name.
const STATES: [&str; 7] = ["starting", "running", "paused", "retrying", "resting", "failed", "stopped"];

type Read = fn(&EdgeStanding) -> f64;

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is rounded as any number of Prometheus")]
const GAUGES: [(&str, &str, Read); 6] = [
    ("opendata_edge_lag_records", "Records of its source that it has not read.", |edge| edge.status.lag_records as f64),
    ("opendata_edge_lag_seconds", "How old the newest record is that was applied while others wait.", |edge| {
        edge.status.lag_ms as f64 / 1e3
    }),
    ("opendata_edge_letters", "Dead letters that wait.", |edge| {
        edge.status.cursor.as_ref().map_or(0.0, |cursor| cursor.counts.waiting as f64)
    }),
    ("opendata_edge_windows", "Windows that are open.", |edge| edge.status.windows as f64),
    ("opendata_edge_generation", "Its generation.", |edge| edge.generation as f64),
    ("opendata_edge_position", "Everything of its source before this position has its effect.", |edge| {
        edge.status.applied.0 as f64
    }),
];

#[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is rounded as any number of Prometheus")]
const COUNTERS: [(&str, &str, Read); 5] = [
    ("opendata_edge_commits_total", "Transactions.", |edge| edge.status.totals.commits as f64),
    ("opendata_edge_bytes_total", "Bytes of records that it passed.", |edge| edge.status.totals.bytes as f64),
    ("opendata_edge_late_values_total", "Values that came too late for their window.", |edge| {
        edge.status.totals.counts.late as f64
    }),
    ("opendata_edge_retries_total", "How often it began anew after a failure.", |edge| {
        edge.status.totals.retries as f64
    }),
    (
        "opendata_edge_bisections_total",
        "How often a transaction was taken apart for a record that the sink refused.",
        |edge| edge.status.totals.bisections as f64,
    ),
];

/// Writes the edges and cuts of a composition. Counters begin when an edge is started here.
pub(super) fn write(joined: &ExternalComposite, text: &mut String) {
    let edges = joined.edges();
    // Writing to a string cannot fail; so below.
    for (kind, (name, help, read)) in
        GAUGES.iter().map(|of| ("gauge", of)).chain(COUNTERS.iter().map(|of| ("counter", of)))
    {
        let _ = writeln!(text, "# HELP {name} {help}");
        metric(text, kind, name);
        for (edge, standing) in &edges {
            let _ = writeln!(text, "{name}{{edge={edge:?}}} {}", read(standing));
        }
    }
    metric(text, "counter", "opendata_edge_records_total");
    for (edge, standing) in &edges {
        let counts = standing.status.totals.counts;
        for (outcome, value) in
            [("applied", counts.applied), ("filtered", counts.filtered), ("dead_lettered", counts.refused)]
        {
            let _ = writeln!(text, "opendata_edge_records_total{{edge={edge:?},outcome=\"{outcome}\"}} {value}");
        }
    }
    metric(text, "gauge", "opendata_edge_state");
    for (edge, standing) in &edges {
        for state in STATES {
            let is = u8::from(name(&standing.status.state) == state);
            let _ = writeln!(text, "opendata_edge_state{{edge={edge:?},state={state:?}}} {is}");
        }
    }
    cuts(joined, text);
}

fn name(state: &EdgeState) -> &'static str {
    state.name()
}

fn cuts(joined: &ExternalComposite, text: &mut String) {
    let state = joined.state();
    let of_branch = || state.cuts.values().filter(|cut| cut.branch == joined.branch());
    metric(text, "gauge", "opendata_cuts");
    for (phase, name) in [
        (CutPhase::Held, "held"),
        (CutPhase::Cut, "cut"),
        (CutPhase::Committed, "committed"),
        (CutPhase::Aborted, "aborted"),
        (CutPhase::Released, "released"),
    ] {
        let count = of_branch().filter(|cut| cut.phase == phase).count();
        let _ = writeln!(text, "opendata_cuts{{phase={name:?}}} {count}");
    }
    let last = of_branch().filter(|cut| cut.phase == CutPhase::Committed).max_by_key(|cut| cut.ended);
    if let Some((cut, ended)) = last.and_then(|cut| Some((cut, cut.ended?))) {
        #[expect(clippy::cast_precision_loss, reason = "times of this century are far below 2^53")]
        let (at, took) = (ended.0 as f64 / 1e3, (ended.0 - cut.begun.0) as f64 / 1e3);
        metric(text, "gauge", "opendata_cut_last_timestamp_seconds");
        let _ = writeln!(text, "opendata_cut_last_timestamp_seconds {at}");
        metric(text, "gauge", "opendata_cut_last_duration_seconds");
        let _ = writeln!(text, "opendata_cut_last_duration_seconds {took}");
    }
}
