//! The flights of the first two weeks of 2013, as records of a log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::Outcome;

/// A flight, and what it must be counted as.
pub(crate) struct Flight {
    pub(crate) carrier: String,
    pub(crate) miles: u64,
    /// The record's payload.
    pub(crate) payload: Value,
}

/// What was counted of a carrier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) flights: u64,
    pub(crate) miles: u64,
}

pub(crate) type Counts = BTreeMap<String, Count>;

/// All flights in the order in which they were scheduled.
pub(crate) fn flights() -> Outcome<Vec<Flight>> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/data/flights.csv");
    let text = std::fs::read_to_string(file)?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().ok_or("no data")?.split(',').collect();
    let mut flights = Vec::new();
    for (number, line) in lines.enumerate() {
        let row: BTreeMap<&str, &str> = names.iter().copied().zip(line.split(',')).collect();
        let field = |name: &str| row.get(name).copied().ok_or_else(|| format!("a row without {name}: {line}"));
        let (carrier, miles) = (field("carrier")?.to_owned(), field("distance_miles")?.parse()?);
        let delay: Option<i64> = field("dep_delay_min")?.parse().ok();
        let (from, to) = (field("origin")?, field("dest")?);
        let how = match delay {
            None => "cancelled",
            Some(late) if late > 15 => "late",
            Some(_) => "on time",
        };
        let payload = json!({
            "id": format!("f{number:05}"), "time": field("time")?, "carrier": carrier, "miles": miles, "delay": delay, "origin": from,
            "route": format!("{carrier} {} from {from} to {to} {how}", field("flight")?),
        });
        flights.push(Flight { carrier, miles, payload });
    }
    Ok(flights)
}

/// What flights come to.
pub(crate) fn count(flights: &[Flight]) -> Counts {
    let mut counts = Counts::new();
    for flight in flights {
        let count = counts.entry(flight.carrier.clone()).or_default();
        count.flights += 1;
        count.miles += flight.miles;
    }
    counts
}
