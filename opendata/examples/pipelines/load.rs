//! Writing flights while processes are killed at random moments.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Outcome;
use crate::data::Flight;
use crate::program::{Process, Program};

/// Flights of one commit.
const BATCH: usize = 20;
/// Between two commits: the pipelines are to work for a while.
const PAUSE: Duration = Duration::from_millis(25);

pub(crate) const NODES: [&str; 3] = ["events", "metrics", "search"];

/// What was done to the processes.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    pub(crate) by_node: BTreeMap<&'static str, usize>,
    /// Commits that were sent again, because nobody answered.
    pub(crate) retries: usize,
}

fn chance(below: u64) -> u64 {
    RandomState::new().hash_one(Instant::now()) % below.max(1)
}

/// Writes flights in order. A commit that is not answered is sent again under its number, which the log takes once.
fn write(program: &Program, flights: &[Flight], written: &AtomicUsize) -> Outcome<usize> {
    let mut retries = 0;
    for (number, batch) in flights.chunks(BATCH).enumerate() {
        let records: Vec<_> = batch
            .iter()
            .map(|flight| json!({"stream": flight.carrier, "payload": flight.payload.to_string()}))
            .collect();
        let producer = json!({"id": "airport", "sequence": number});
        let commit =
            json!({"operations": [{"instance": "flights", "append": records, "producer": producer}]}).to_string();
        let begun = Instant::now();
        loop {
            match program.post("/v1/commit", &commit) {
                Ok((200, _)) => break,
                Ok((status, answer)) if (400..500).contains(&status) && status != 409 && status != 429 => {
                    return Err(format!("a commit was refused: {answer}").into());
                }
                _ if begun.elapsed() > Duration::from_secs(60) => return Err("nobody takes flights any more".into()),
                // The process was killed, or is just starting.
                _ => retries += 1,
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        written.fetch_add(batch.len(), Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
    Ok(retries)
}

/// Writes flights and kills processes until all are written. `meanwhile` is called once, when half of them are; nobody is killed while it runs.
pub(crate) fn write_and_kill(
    program: &Program,
    flights: &[Flight],
    processes: &mut BTreeMap<&'static str, Process>,
    meanwhile: impl FnOnce() -> Outcome<()>,
) -> Outcome<Kills> {
    let (done, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let retries = write(program, flights, &written);
            done.store(true, Ordering::Relaxed);
            retries
        });
        let mut kills = Kills::default();
        let mut meanwhile = Some(meanwhile);
        let killed = loop {
            std::thread::sleep(Duration::from_millis(300 + chance(1_200)));
            let over = done.load(Ordering::Relaxed);
            if (over || written.load(Ordering::Relaxed) >= flights.len() / 2)
                && let Some(meanwhile) = meanwhile.take()
                && let Err(error) = meanwhile()
            {
                break Err(error);
            }
            if over || done.load(Ordering::Relaxed) {
                break Ok(());
            }
            let index = usize::try_from(chance(NODES.len() as u64)).unwrap_or_default();
            let Some(node) = NODES.get(index).copied() else { continue };
            if let Err(error) = kill_and_start(program, node, processes) {
                break Err(error);
            }
            *kills.by_node.entry(node).or_default() += 1;
        };
        kills.retries = writing.join().map_err(|_| "the writer panicked")??;
        killed.map(|()| kills)
    })
}

fn kill_and_start(
    program: &Program,
    node: &'static str,
    processes: &mut BTreeMap<&'static str, Process>,
) -> Outcome<()> {
    if let Some(process) = processes.remove(node) {
        process.kill()?;
    }
    processes.insert(node, program.own(node, None)?);
    Ok(())
}
