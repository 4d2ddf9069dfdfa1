//! What happened in the first two weeks of 2013: flights and weather, in one order of time.

use std::collections::HashMap;
use std::path::PathBuf;

use opendata_compose::Timestamp;

use crate::Outcome;

/// One thing that happened.
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

pub(crate) enum What {
    Flight(Flight),
    Weather(Weather),
}

/// A scheduled flight.
pub(crate) struct Flight {
    pub(crate) carrier: String,
    pub(crate) flight: String,
    pub(crate) tail: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) miles: u32,
    /// How late it left, in minutes; none if it was cancelled.
    pub(crate) delay_min: Option<i32>,
}

/// What one airport observed in one hour.
pub(crate) struct Weather {
    pub(crate) airport: String,
    /// Name of the metric, and its value.
    pub(crate) gauges: Vec<(&'static str, f64)>,
}

/// Columns of `weather.csv` and the metrics they become.
const GAUGES: [(&str, &str); 6] = [
    ("temperature_f", "weather_temperature_fahrenheit"),
    ("humidity_percent", "weather_humidity_percent"),
    ("wind_mph", "weather_wind_miles_per_hour"),
    ("precipitation_in", "weather_precipitation_inches"),
    ("pressure_mbar", "weather_pressure_millibars"),
    ("visibility_miles", "weather_visibility_miles"),
];

/// All events in order of time. The order is the same in every process: what was written can be told by a number.
pub(crate) fn events() -> Outcome<Vec<Event>> {
    let mut events = rows("flights.csv", flight)?;
    events.extend(rows("weather.csv", weather)?);
    // A stable sort: events of one minute stay in the order of the files.
    events.sort_by_key(|event| event.at);
    Ok(events)
}

type Row<'a> = HashMap<&'a str, &'a str>;

fn rows(name: &str, parse: fn(&Row<'_>) -> Outcome<Event>) -> Outcome<Vec<Event>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/data").join(name);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    // No field of these files holds a comma or a quotation mark.
    lines.map(|line| parse(&header.iter().copied().zip(line.split(',')).collect())).collect()
}

fn field<'a>(row: &Row<'a>, name: &str) -> Outcome<&'a str> {
    row.get(name).copied().ok_or_else(|| format!("no column {name}").into())
}

fn flight(row: &Row<'_>) -> Outcome<Event> {
    let text = |name| field(row, name).map(str::to_owned);
    let delay = field(row, "dep_delay_min")?;
    let flight = Flight {
        carrier: text("carrier")?,
        flight: text("flight")?,
        tail: text("tailnum")?,
        from: text("origin")?,
        to: text("dest")?,
        miles: field(row, "distance_miles")?.parse()?,
        delay_min: if delay.is_empty() { None } else { Some(delay.parse()?) },
    };
    Ok(Event { at: time(field(row, "time")?)?, what: What::Flight(flight) })
}

fn weather(row: &Row<'_>) -> Outcome<Event> {
    let mut gauges = Vec::new();
    for (column, metric) in GAUGES {
        let value = field(row, column)?;
        if !value.is_empty() {
            gauges.push((metric, value.parse()?));
        }
    }
    let weather = Weather { airport: field(row, "airport")?.to_owned(), gauges };
    Ok(Event { at: time(field(row, "time")?)?, what: What::Weather(weather) })
}

/// The time of a text such as `2013-01-01T10:17:00Z`. The files hold January 2013 only.
pub(crate) fn time(text: &str) -> Outcome<Timestamp> {
    const JANUARY_2013: i64 = 1_356_998_400_000;
    let wrong = || format!("not a time of January 2013: {text}");
    let rest = text.strip_prefix("2013-01-").and_then(|rest| rest.strip_suffix('Z')).ok_or_else(wrong)?;
    let numbers: Vec<i64> = rest.split(['T', ':']).map(str::parse).collect::<Result<_, _>>()?;
    let [day, hour, minute, second] = numbers.as_slice() else { return Err(wrong().into()) };
    let seconds = (((day - 1) * 24 + hour) * 60 + minute) * 60 + second;
    Ok(Timestamp(JANUARY_2013 + seconds * 1000))
}
