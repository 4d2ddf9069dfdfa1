//! What Prometheus's clients see: its HTTP interface, its protocols, and real programs that use them.

mod api;
mod clients;
mod differential;
mod grafana;
mod message;
mod secured;
mod write;

use std::fs;

use super::harness::Place;

/// A folder with two time series databases and nothing else. `one` answers at the root.
fn two() -> Place {
    let place = Place::empty();
    let composition = "\
version: 1
store: {url: \"file:./data\", local_durability: operating_system}
nodes:
  main:
    instances:
      one: tsdb
      two: tsdb
server: {default_tsdb: one}
";
    fs::write(place.path().join("opendata.yaml"), composition).unwrap();
    place
}
