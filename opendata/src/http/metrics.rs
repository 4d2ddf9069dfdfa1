//! Whether the server is well, and its counters as Prometheus reads them.

mod edges;

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use opendata_compose::{Log, Tsdb};
use opendata_core::{DataSystem, Error};
use opendata_tsdb::WriteCounters;

use super::Server;
use super::answer::Answer;

/// The process lives.
pub(super) async fn healthy() -> &'static str {
    "healthy\n"
}

/// The slate can be written.
pub(super) async fn ready(State(server): State<Server>) -> Answer<&'static str> {
    if let Some(failure) = server.composite().slate().failure() {
        return Err(failure.into());
    }
    if *server.ending().borrow() {
        return Err(Error::closed("the server is ending").into());
    }
    Ok("ready\n")
}

pub(super) async fn metrics(State(server): State<Server>) -> Answer<Response> {
    let slate = server.composite().slate();
    let mut text = String::new();
    for (name, value) in slate.stats().iter() {
        metric(&mut text, "counter", &format!("opendata_slate_{name}_total"));
        // Writing to a string cannot fail; so below.
        let _ = writeln!(text, "opendata_slate_{name}_total {value}");
    }
    let (written, durable) = (slate.view().position(), slate.durable_view().position());
    for (name, position) in [("opendata_slate_position", written), ("opendata_slate_durable_position", durable)] {
        metric(&mut text, "gauge", name);
        let _ = writeln!(text, "{name} {position}");
    }
    logs(&server, &mut text)?;
    server.intake().metrics(&mut text);
    server.receivers().metrics(&mut text);
    let name = "opendata_federation_reduced_histograms_total";
    metric(&mut text, "counter", name);
    let _ = writeln!(text, "{name} {}", server.prometheus().reduced_histograms.load(Ordering::Relaxed));
    tsdbs(&server, &mut text)?;
    if let Some(joined) = &server.prometheus().joined {
        edges::write(joined, &mut text);
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// The counters of all logs. A metric's samples stand together, below its one heading.
fn logs(server: &Server, text: &mut String) -> Answer<()> {
    let view = server.composite().view();
    let mut counters: Vec<(&'static str, Vec<(String, u64)>)> = Vec::new();
    for instance in view.instances().filter(|instance| instance.system == Log::ID) {
        let reader = view.get_reader::<Log>(&instance.name)?;
        let Some(stats) = reader.stats() else { continue };
        for (name, value) in stats.iter() {
            let sample = (instance.name.to_string(), value);
            match counters.iter_mut().find(|(known, _)| *known == name) {
                Some((_, samples)) => samples.push(sample),
                None => counters.push((name, vec![sample])),
            }
        }
    }
    for (name, samples) in counters {
        metric(text, "counter", &format!("opendata_log_{name}_total"));
        for (instance, value) in samples {
            let _ = writeln!(text, "opendata_log_{name}_total{{instance={instance:?}}} {value}");
        }
    }
    Ok(())
}

/// What was written to all time series, and what was refused.
fn tsdbs(server: &Server, text: &mut String) -> Answer<()> {
    let view = server.composite().view();
    let mut counted = Vec::new();
    for instance in view.instances().filter(|instance| instance.system == Tsdb::ID) {
        if let Some(counters) = view.get_reader::<Tsdb>(&instance.name)?.write_counters() {
            counted.push((instance.name.to_string(), counters));
        }
    }
    type Read = fn(&WriteCounters) -> u64;
    let counters: [(&str, Read); 4] = [
        ("samples", |counters| counters.samples),
        ("histograms", |counters| counters.histograms),
        ("exemplars", |counters| counters.exemplars),
        ("new_series", |counters| counters.new_series),
    ];
    for (name, read) in counters {
        metric(text, "counter", &format!("opendata_tsdb_{name}_total"));
        for (instance, counters) in &counted {
            let _ = writeln!(text, "opendata_tsdb_{name}_total{{instance={instance:?}}} {}", read(counters));
        }
    }
    metric(text, "counter", "opendata_tsdb_refused_total");
    for (instance, counters) in &counted {
        for (reason, value) in &counters.refused {
            let _ = writeln!(text, "opendata_tsdb_refused_total{{instance={instance:?},reason=\"{reason}\"}} {value}");
        }
    }
    Ok(())
}

fn metric(text: &mut String, kind: &str, name: &str) {
    let _ = writeln!(text, "# TYPE {name} {kind}");
}
