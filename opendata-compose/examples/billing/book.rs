//! Writes events, each as one transaction over the log and the metrics, and knows where it stands.
//!
//! The number of the next event is a cursor in the slate, moved in the same commit on the condition that it stands where it
//! is believed to stand: an event is written once, however often the writer dies and whoever takes over.

use std::collections::VecDeque;
use std::path::Path;

use opendata_compose::log::NewRecord;
use opendata_compose::{Ack, Handle, InternalComposite, Log, Position, Store, Timestamp, Tsdb, labels, log, tsdb};
use opendata_core::slate::Pending;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::data::{Event, Flight, What};

/// Transactions on their way at once. Each is acknowledged on its own; those that wait together share a flush.
const IN_FLIGHT: usize = 256;
const CURSOR: &str = "import";

/// The slate, with handles to what is in it.
pub(crate) struct Book {
    pub(crate) composite: InternalComposite,
    pub(crate) events: Handle<Log>,
    pub(crate) usage: Handle<Tsdb>,
}

/// What the log keeps of a flight.
#[derive(Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) number: usize,
    pub(crate) flight: String,
    pub(crate) tail: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) miles: u32,
    /// None: the flight was cancelled, and is not billed.
    pub(crate) delay_min: Option<i32>,
}

/// An event that is durable.
pub(crate) struct Acknowledged {
    pub(crate) number: usize,
    /// Of its record in the log; of the commit, if it has none there.
    pub(crate) position: Position,
}

impl Book {
    /// Opens the slate in a folder, or creates it; whoever had it open before can no longer write.
    pub(crate) async fn open(folder: &Path) -> Outcome<Self> {
        let store = Store::from_url(&format!("file:{}", folder.display()))?;
        let composite = InternalComposite::builder(&store, "billing")
            .system::<Log>("events", log::Config::default())
            .system::<Tsdb>("usage", tsdb::Config::default())
            .open()
            .await?;
        Self::of(composite)
    }

    pub(crate) fn of(composite: InternalComposite) -> Outcome<Self> {
        let (events, usage) = (composite.get("events")?, composite.get("usage")?);
        Ok(Self { composite, events, usage })
    }

    /// The number of the next event to write.
    pub(crate) async fn next(&self) -> Outcome<usize> {
        let cursor = self.composite.view().cursor("events", CURSOR).await?;
        Ok(match cursor {
            Some(bytes) => usize::try_from(u64::from_be_bytes(bytes.as_ref().try_into()?))?,
            None => 0,
        })
    }

    /// Writes the events from the next one up to `until`, and tells of each when it is durable.
    pub(crate) async fn write(
        &self,
        events: &[Event],
        until: usize,
        mut tell: impl FnMut(Acknowledged) -> Outcome<()>,
    ) -> Outcome<usize> {
        let next = self.next().await?;
        let mut waiting = VecDeque::with_capacity(IN_FLIGHT);
        for (number, event) in events.iter().enumerate().take(until).skip(next) {
            if waiting.len() == IN_FLIGHT
                && let Some((number, pending)) = waiting.pop_front()
            {
                tell(self.acknowledged(number, pending).await?)?;
            }
            waiting.push_back((number, self.submit(number, event).await?));
        }
        for (number, pending) in waiting {
            tell(self.acknowledged(number, pending).await?)?;
        }
        Ok(until.saturating_sub(next))
    }

    async fn submit(&self, number: usize, event: &Event) -> Outcome<Pending> {
        let mut tx = self.composite.begin();
        match &event.what {
            What::Flight(flight) => {
                let entry = serde_json::to_vec(&Entry::of(number, flight))?;
                tx.on(&self.events).append_record(&flight.carrier, NewRecord::new(entry).event_time(event.at));
                let carrier = flight.carrier.as_str();
                let status = if flight.delay_min.is_some() { "flown" } else { "cancelled" };
                let flights = labels! { "__name__" => "flights_total", "carrier" => carrier, "status" => status };
                let usage = tx.on(&self.usage);
                usage.add(flights, event.at, 1.0);
                if flight.delay_min.is_some() {
                    usage.add(billed_miles(carrier), event.at, f64::from(flight.miles));
                }
            }
            What::Weather(weather) => {
                for (metric, value) in &weather.gauges {
                    let gauge = labels! { "__name__" => *metric, "airport" => weather.airport.as_str() };
                    tx.on(&self.usage).sample(gauge, event.at, *value);
                }
            }
        }
        let expected = (number > 0).then(|| cursor(number).into());
        tx.move_cursor(&self.events, CURSOR, expected, cursor(number + 1).into());
        Ok(tx.submit(Ack::Durable).await?)
    }

    async fn acknowledged(&self, number: usize, pending: Pending) -> Outcome<Acknowledged> {
        let commit = pending.wait().await?;
        let record = commit.receipt(&self.events).and_then(log::Receipt::first);
        Ok(Acknowledged { number, position: record.unwrap_or(commit.position()) })
    }

    /// Bills a carrier for miles it did not fly: what a fork is for trying out.
    pub(crate) async fn surcharge(&self, carrier: &str, miles: u32, at: Timestamp) -> Outcome<()> {
        let entry = Entry {
            number: usize::MAX,
            flight: "surcharge".to_owned(),
            tail: String::new(),
            from: String::new(),
            to: String::new(),
            miles,
            delay_min: Some(0),
        };
        let mut tx = self.composite.begin();
        let record = NewRecord::new(serde_json::to_vec(&entry)?).event_time(at);
        tx.on(&self.events).append_record(carrier, record);
        let usage = tx.on(&self.usage);
        usage.add(labels! { "__name__" => "flights_total", "carrier" => carrier, "status" => "flown" }, at, 1.0);
        usage.add(billed_miles(carrier), at, f64::from(miles));
        tx.commit().await?;
        Ok(())
    }
}

impl Entry {
    fn of(number: usize, flight: &Flight) -> Self {
        Self {
            number,
            flight: flight.flight.clone(),
            tail: flight.tail.clone(),
            from: flight.from.clone(),
            to: flight.to.clone(),
            miles: flight.miles,
            delay_min: flight.delay_min,
        }
    }
}

fn billed_miles(carrier: &str) -> tsdb::Labels {
    labels! { "__name__" => "billed_miles_total", "carrier" => carrier }
}

fn cursor(number: usize) -> Vec<u8> {
    (number as u64).to_be_bytes().to_vec()
}
