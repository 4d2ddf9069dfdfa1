//! The run: write, compare, be killed, go back, fork. Every step checks what it shows.

use std::path::{Path, PathBuf};
use std::time::Instant;

use opendata_compose::Timestamp;

use crate::bill::{self, Agreed};
use crate::book::Book;
use crate::data::{self, Event, What};
use crate::{Outcome, crash, show};

/// When the data ends: 15 January 2013, midnight in New York.
const END: &str = "2013-01-15T05:00:00Z";
/// The days of January on which the killed writers begin, and at whose beginning the first week ends.
const WRITERS_FROM: usize = 4;
const WEEK_ENDS: usize = 8;
/// How many events each writer reports before it is killed.
const KILLS: [usize; 3] = [900, 1, 400];
const CHECKPOINT: &str = "week-1";

/// What the steps share.
struct Run {
    events: Vec<Event>,
    end: Timestamp,
    folder: PathBuf,
    step: usize,
}

pub(crate) async fn run(folder: Option<PathBuf>) -> Outcome<()> {
    // Removed when it goes out of scope, also after a failure.
    let temporary = if folder.is_none() { Some(tempfile::tempdir()?) } else { None };
    let folder = folder.or_else(|| temporary.as_ref().map(|folder| folder.path().to_path_buf())).ok_or("no folder")?;
    std::fs::create_dir_all(&folder)?;
    if std::fs::read_dir(&folder)?.next().is_some() {
        return Err(format!("{} is not empty: name another folder", folder.display()).into());
    }
    let mut run = Run { events: data::events()?, end: data::time(END)?, folder, step: 0 };
    run.introduce();
    let begun = Instant::now();
    run.write_and_compare().await?;
    run.kill_writers().await?;
    let week = run.checkpoint().await?;
    run.go_on_and_look_back(&week).await?;
    run.fork().await?;
    run.ask_about_weather().await?;
    show::title("All answers agreed");
    show::say(format!("in {:.1} s", begun.elapsed().as_secs_f64()));
    match temporary {
        Some(_) => show::say("the folder is removed; --dir DIR keeps it"),
        None => show::say(format!("the slate is in {}", run.folder.display())),
    }
    Ok(())
}

impl Run {
    fn introduce(&self) {
        show::title("Airlines, billed by the miles they flew");
        let flights = self.events.iter().filter(|event| matches!(event.what, What::Flight(_))).count();
        show::say(format!(
            "{} real flights out of New York, 1 to 14 January 2013, and {} weather reports",
            show::count(flights),
            show::count(self.events.len() - flights)
        ));
        show::say("one slate: the log `events` (a stream a carrier) and the metrics store `usage`");
        show::say(format!("local files, fsynced, in {}", self.folder.display()));
    }

    fn section(&mut self, text: &str) {
        self.step += 1;
        show::section(self.step, text);
    }

    /// The number of the first event at or behind midnight in New York of that day of January.
    fn midnight(&self, day: usize) -> Outcome<usize> {
        let at = data::time(&format!("2013-01-{day:02}T05:00:00Z"))?;
        Ok(self.events.partition_point(|event| event.at < at))
    }

    async fn write(&self, book: &Book, until: usize) -> Outcome<()> {
        let begun = Instant::now();
        let written = book.write(&self.events, until, |_| Ok(())).await?;
        let took = begun.elapsed();
        show::say(format!(
            "{} transactions over log and metrics in {:.2} s: {} a second, each acknowledged when durable",
            show::count(written),
            took.as_secs_f64(),
            show::rate(written, took)
        ));
        Ok(())
    }

    /// Makes the bill from both sides at the newest view, and fails if they differ.
    async fn compare(&self, book: &Book) -> Outcome<Agreed> {
        let begun = Instant::now();
        let agreed = bill::make(&book.composite.view(), &book.events, &book.usage, self.end).await?;
        let took = begun.elapsed();
        if let Err(error) = agreed.check() {
            show::bill(&agreed);
            return Err(error);
        }
        show::say(format!(
            "at position {} both sides agree: {} flights read from the log, {} miles billed ({})",
            agreed.position,
            show::count(agreed.flights.len()),
            show::number(agreed.miles()),
            show::ms(took)
        ));
        Ok(agreed)
    }

    async fn write_and_compare(&mut self) -> Outcome<()> {
        self.section("Each flight is one transaction: an event in the log, and its carrier's counters");
        let book = Book::open(&self.folder).await?;
        self.write(&book, self.midnight(WRITERS_FROM)?).await?;

        self.section("One view, the same question to both sides");
        show::say("log:    read every event, add up the miles of those that flew");
        show::say(format!("PromQL: {}", bill::MILES));
        let agreed = self.compare(&book).await?;
        show::bill(&agreed);
        book.composite.close().await.map_err(Into::into)
    }

    async fn kill_writers(&mut self) -> Outcome<()> {
        self.section("The writing process is killed without warning (SIGKILL), and the slate reopened");
        let (start, end) = (self.midnight(WRITERS_FROM)?, self.midnight(WEEK_ENDS)?);
        for (round, count) in KILLS.into_iter().enumerate() {
            // Each may write its share and no more, however late the kill comes.
            let until = start + (end - start) * (round + 1) / KILLS.len();
            let killed = crash::write_and_kill(&self.folder, until, count)?;
            let begun = Instant::now();
            let book = Book::open(&self.folder).await?;
            let reopened = begun.elapsed();
            let next = book.next().await?;
            let last = killed.acknowledged.last().map_or(0, |event| event.number);
            show::say(format!(
                "killed after {} acknowledged ({} a second); reopened in {}: all of them are there, and {} more that it died too early to report",
                show::count(killed.acknowledged.len()),
                show::rate(killed.acknowledged.len(), killed.wrote_for),
                show::ms(reopened),
                next.saturating_sub(last + 1)
            ));
            let agreed = self.compare(&book).await?;
            crash::check(&killed, &agreed, next, &self.events)?;
            book.composite.close().await?;
        }
        Ok(())
    }

    /// Writes up to the end of the first week and checkpoints; returns the bill of that week.
    async fn checkpoint(&mut self) -> Outcome<Agreed> {
        self.section("A checkpoint at the end of the first week");
        let book = Book::open(&self.folder).await?;
        self.write(&book, self.midnight(WEEK_ENDS)?).await?;
        let agreed = self.compare(&book).await?;
        let begun = Instant::now();
        let checkpoint = book.composite.checkpoint(CHECKPOINT, None).await?;
        show::say(format!(
            "checkpoint {CHECKPOINT:?} at position {} in {}",
            checkpoint.position,
            show::ms(begun.elapsed())
        ));
        if checkpoint.position != agreed.position {
            return Err(
                format!("the checkpoint stands at {}, the bill at {}", checkpoint.position, agreed.position).into()
            );
        }
        book.composite.close().await?;
        Ok(agreed)
    }

    async fn go_on_and_look_back(&mut self, week: &Agreed) -> Outcome<()> {
        self.section("Writing goes on; the past stays readable");
        let book = Book::open(&self.folder).await?;
        self.write(&book, self.events.len()).await?;
        let now = self.compare(&book).await?;
        let begun = Instant::now();
        let past = book.composite.at(CHECKPOINT).await?;
        let (events, usage) = (past.get("events")?, past.get("usage")?);
        let then = bill::make(&past.view(), &events, &usage, self.end).await?;
        then.check()?;
        same("the checkpoint", week, &then)?;
        show::say(format!(
            "at {CHECKPOINT:?}, position {}: {} miles from both sides, as they were; now {} ({})",
            then.position,
            show::number(then.miles()),
            show::number(now.miles()),
            show::ms(begun.elapsed())
        ));
        book.composite.close().await?;
        Ok(())
    }

    async fn fork(&mut self) -> Outcome<()> {
        self.section("A fork: what if every carrier were billed a thousand miles more?");
        let book = Book::open(&self.folder).await?;
        let before = bill::make(&book.composite.view(), &book.events, &book.usage, self.end).await?;
        let size = size_bytes(&self.folder)?;
        let begun = Instant::now();
        let fork = Book::of(book.composite.fork("what-if").await?)?;
        show::say(format!(
            "forked and opened in {}; {} on disk before, {} after: files are shared",
            show::ms(begun.elapsed()),
            kib(size),
            kib(size_bytes(&self.folder)?)
        ));
        for carrier in before.from_log.keys() {
            fork.surcharge(carrier, 1000, self.end).await?;
        }
        let forked = bill::make(&fork.composite.view(), &fork.events, &fork.usage, self.end).await?;
        forked.check()?;
        let parent = bill::make(&book.composite.view(), &book.events, &book.usage, self.end).await?;
        parent.check()?;
        same("the parent", &before, &parent)?;
        for (carrier, line) in &before.from_log {
            let expected = bill::Line { flights: line.flights + 1.0, miles: line.miles + 1000.0 };
            if forked.from_log.get(carrier) != Some(&expected) {
                return Err(format!("the fork bills {carrier} wrongly: {:?}", forked.from_log.get(carrier)).into());
            }
        }
        show::say(format!(
            "fork: {} miles from both sides; parent: {} miles from both sides, unchanged, still at position {}",
            show::number(forked.miles()),
            show::number(parent.miles()),
            parent.position
        ));
        fork.composite.close().await?;
        book.composite.close().await?;
        Ok(())
    }

    async fn ask_about_weather(&mut self) -> Outcome<()> {
        self.section("Beside the bill: what the weather was like");
        let book = Book::open(&self.folder).await?;
        let query = "avg by (airport) (avg_over_time(weather_temperature_fahrenheit[30d]))";
        let begun = Instant::now();
        let answer = bill::by_label(&book.composite.view(), &book.usage, query, "airport", self.end).await?;
        show::say(format!("PromQL: {query} ({})", show::ms(begun.elapsed())));
        if answer.is_empty() {
            return Err("the metrics know nothing of the weather".into());
        }
        for (airport, mean) in &answer {
            let expected = self.mean_temperature(airport);
            show::say(format!("{airport} {mean:.2} F from the metrics, {expected:.2} F from the file"));
            if (mean - expected).abs() > 1e-9 {
                return Err(format!("the mean temperature of {airport} differs").into());
            }
        }
        book.composite.close().await?;
        Ok(())
    }

    fn mean_temperature(&self, airport: &str) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for event in &self.events {
            if let What::Weather(weather) = &event.what
                && weather.airport == airport
                && let Some((_, value)) =
                    weather.gauges.iter().find(|(name, _)| *name == "weather_temperature_fahrenheit")
            {
                sum += value;
                count += 1.0;
            }
        }
        sum / count
    }
}

/// # Errors
/// If two bills are not of the same position and content.
fn same(what: &str, one: &Agreed, other: &Agreed) -> Outcome<()> {
    if one.position == other.position && one.from_log == other.from_log && one.from_metrics == other.from_metrics {
        return Ok(());
    }
    Err(format!(
        "{what} changed: {} miles at {}, {} miles at {}",
        one.miles(),
        one.position,
        other.miles(),
        other.position
    )
    .into())
}

fn size_bytes(folder: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        sum += if data.is_dir() { size_bytes(&entry.path())? } else { data.len() };
    }
    Ok(sum)
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes / 1024)
}
