//! A process that writes until it is killed, and what must be true afterwards.
//!
//! The writer is this program, started again. It prints a line for each event that was acknowledged as durable; the parent
//! kills it with SIGKILL, which no program can catch, after so many lines. What was printed must be in the slate.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opendata_compose::Position;

use crate::Outcome;
use crate::bill::Agreed;
use crate::book::{Acknowledged, Book};
use crate::data;

/// The argument that makes this program a writer.
pub(crate) const ARGUMENT: &str = "--write-until-killed";

/// What a killed writer had been told.
pub(crate) struct Killed {
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) wrote_for: Duration,
}

/// The writer: writes up to event `until`, and then waits to be killed, or for its parent to end.
pub(crate) async fn write_until_killed(folder: &Path, until: usize) -> Outcome<()> {
    let events = data::events()?;
    let book = Book::open(folder).await?;
    let mut out = std::io::stdout().lock();
    book.write(&events, until, |event| {
        writeln!(out, "{} {}", event.number, event.position.0)?;
        Ok(out.flush()?)
    })
    .await?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Err("nobody killed the writer".into())
}

/// A process that does not outlive its owner.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the writer and kills it once it has reported `count` events. It writes none from `until` on.
pub(crate) fn write_and_kill(folder: &Path, until: usize, count: usize) -> Outcome<Killed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([ARGUMENT.as_ref(), folder.as_os_str(), until.to_string().as_ref()]);
    let mut writer = Writer(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(writer.0.stdout.take().ok_or("the writer has no output")?).lines();
    let mut acknowledged = Vec::new();
    let mut begun = None;
    while acknowledged.len() < count {
        let line = lines.next().ok_or("the writer ended before it was killed")??;
        acknowledged.push(parse(&line)?);
        begun.get_or_insert_with(Instant::now);
    }
    writer.0.kill()?;
    let wrote_for = begun.map(|begun| begun.elapsed()).unwrap_or_default();
    // What it had printed before it died counts as well; a line that was cut off does not.
    acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line).ok()));
    Ok(Killed { acknowledged, wrote_for })
}

fn parse(line: &str) -> Outcome<Acknowledged> {
    let (number, position) = line.split_once(' ').ok_or("not a report")?;
    Ok(Acknowledged { number: number.parse()?, position: Position(position.parse()?) })
}

/// Checks a slate that was reopened: it holds a beginning of all events, each once and in order, and every event
/// that the killed writer had reported is in that beginning at the position it had reported.
///
/// # Errors
/// What is missing, doubled or misplaced.
pub(crate) fn check(killed: &Killed, agreed: &Agreed, next: usize, events: &[data::Event]) -> Outcome<()> {
    let expected =
        (0..next).filter(|number| matches!(events.get(*number), Some(data::Event { what: data::What::Flight(_), .. })));
    let found: Vec<usize> = agreed.flights.iter().map(|flight| flight.number).collect();
    if !expected.eq(found.iter().copied()) {
        return Err(format!("the log is not the beginning of the events up to {next}: {} flights", found.len()).into());
    }
    for event in &killed.acknowledged {
        if event.number >= next {
            return Err(format!("event {} was acknowledged and is lost", event.number).into());
        }
        let flight = agreed.flights.binary_search_by_key(&event.number, |flight| flight.number);
        if let Some(flight) = flight.ok().and_then(|index| agreed.flights.get(index))
            && flight.position != event.position
        {
            return Err(format!(
                "event {} was acknowledged at {}, and stands at {}",
                event.number, event.position, flight.position
            )
            .into());
        }
    }
    Ok(())
}
