//! The bill, from both sides of one view.

use std::collections::BTreeMap;

use opendata_compose::log::Log;
use opendata_compose::tsdb::promql::Value;
use opendata_compose::{Handle, Position, Timestamp, Tsdb, View};

use crate::Outcome;
use crate::book::Entry;

/// What a carrier owes for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Line {
    pub(crate) flights: f64,
    pub(crate) miles: f64,
}

/// A line a carrier.
pub(crate) type Bill = BTreeMap<String, Line>;

/// A flight as the log has it.
pub(crate) struct Flown {
    pub(crate) number: usize,
    pub(crate) position: Position,
}

/// The bill of one view, once it was found to be the same from both sides.
pub(crate) struct Agreed {
    pub(crate) position: Position,
    pub(crate) from_log: Bill,
    pub(crate) from_metrics: Bill,
    /// All flights in the log, cancelled ones too, in order of position.
    pub(crate) flights: Vec<Flown>,
}

/// Makes the bill from both sides of one view.
pub(crate) async fn make(view: &View, events: &Handle<Log>, usage: &Handle<Tsdb>, at: Timestamp) -> Outcome<Agreed> {
    let (from_log, flights) = recount(view, events).await?;
    let from_metrics = query(view, usage, at).await?;
    Ok(Agreed { position: view.position(), from_log, from_metrics, flights })
}

impl Agreed {
    /// # Errors
    /// The first line that differs.
    pub(crate) fn check(&self) -> Outcome<()> {
        let carriers = self.from_log.keys().chain(self.from_metrics.keys());
        for carrier in carriers {
            let (log, metrics) = (self.from_log.get(carrier), self.from_metrics.get(carrier));
            if log != metrics {
                return Err(format!("the sides disagree about {carrier}: log {log:?}, metrics {metrics:?}").into());
            }
        }
        if self.from_log.is_empty() { Err("there is nothing to agree on".into()) } else { Ok(()) }
    }

    pub(crate) fn miles(&self) -> f64 {
        self.from_log.values().map(|line| line.miles).sum()
    }
}

/// Reads every flight in the log and adds up.
async fn recount(view: &View, events: &Handle<Log>) -> Outcome<(Bill, Vec<Flown>)> {
    let (mut bill, mut flights) = (Bill::new(), Vec::new());
    let mut records = view.on(events)?.scan_all(..).await?;
    while let Some(record) = records.next().await? {
        let entry: Entry = serde_json::from_slice(&record.payload)?;
        flights.push(Flown { number: entry.number, position: record.position });
        if entry.delay_min.is_some() {
            let line = bill.entry(String::from_utf8(record.stream.to_vec())?).or_default();
            line.flights += 1.0;
            line.miles += f64::from(entry.miles);
        }
    }
    Ok((bill, flights))
}

/// Asks the metrics. A counter keeps its last value while its carrier does not fly, hence the range.
async fn query(view: &View, usage: &Handle<Tsdb>, at: Timestamp) -> Outcome<Bill> {
    let mut bill = Bill::new();
    let flights = by_carrier(view, usage, FLIGHTS, at).await?;
    let miles = by_carrier(view, usage, MILES, at).await?;
    for (carrier, value) in flights {
        bill.entry(carrier).or_default().flights = value;
    }
    for (carrier, value) in miles {
        bill.entry(carrier).or_default().miles = value;
    }
    Ok(bill)
}

pub(crate) const FLIGHTS: &str = r#"sum by (carrier) (last_over_time(flights_total{status="flown"}[30d]))"#;
pub(crate) const MILES: &str = "sum by (carrier) (last_over_time(billed_miles_total[30d]))";

async fn by_carrier(view: &View, usage: &Handle<Tsdb>, query: &str, at: Timestamp) -> Outcome<Vec<(String, f64)>> {
    by_label(view, usage, query, "carrier", at).await
}

/// The answer to a query that has one value for each value of a label.
pub(crate) async fn by_label(
    view: &View,
    usage: &Handle<Tsdb>,
    query: &str,
    label: &str,
    at: Timestamp,
) -> Outcome<Vec<(String, f64)>> {
    let answer = view.on(usage)?.query(query, at).await?;
    let Value::Vector(samples) = answer.value else { return Err(format!("not a vector: {query}").into()) };
    let rows = samples.iter().map(|sample| (sample.labels.get(label).unwrap_or_default().to_owned(), sample.value));
    Ok(rows.collect())
}
