//! One session of an edge: from opening its source and reading its cursor until something fails or it is told to end.
//!
//! A transaction grows as long as more records are there, up to a portion: one record while the edge is idle, a whole portion under load, however small the
//! commits of the source were. Records are let go of as soon as they are transformed, piece by piece, so that they need no memory but the processor's cache.
//! Transactions are on their way while the next one grows: each is conditional on the cursor that the one before it leaves, so if one is
//! refused all behind it are as well, and a new session begins at the stored cursor. Nothing is ever retried without reading that first.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use opendata_core::slate::{Ack, Commit};
use opendata_core::{Error, ErrorKind, Position, Result};
use opendata_log::{Record, Streams};
use tokio::time::MissedTickBehavior;

use super::cursor::Cursor;
use super::fault::Fault;
use super::progress::{Effects, Progress, Results};
use super::reading::{Piece, Portion, Reading, TURN};
use super::run::{Context, Wanted, show};
use super::schema::Schema;
use super::source::{Source, is_mine, judge};
use super::status::EdgeState;
use super::transform::Outputs;

mod draft;
mod opening;

use draft::{Draft, Span};

/// How often the edge looks at how far it lags.
const TICK: Duration = Duration::from_millis(500);

/// How a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Stopped,
    /// Begin anew at once.
    Again,
    Retry(Error),
    Failed(Fault),
}

/// How the record that the sink refuses is looked for.
#[derive(Debug)]
pub(crate) struct Careful {
    /// Records that a transaction takes.
    limit: usize,
    /// Up to where.
    until: Position,
    /// Records that were found, and what the sink said.
    found: Vec<(Position, String)>,
}

pub(crate) struct Session<'a> {
    cx: &'a mut Context,
    name: String,
    streams: Streams,
    source: Source,
    schema: Option<Schema>,
    progress: Progress,
    reading: Reading,
    /// What was made of records since the last transaction was sent; the progress is that far.
    draft: Draft,
    /// The cursor as the last transaction on its way leaves it.
    staged: Bytes,
    flights: VecDeque<Flight>,
    /// There is nothing for this edge before this position.
    idle: Position,
}

/// A transaction on its way.
struct Flight {
    outcome: Pin<Box<dyn Future<Output = Result<Commit>> + Send>>,
    cursor: Cursor,
    span: Span,
}

pub(crate) async fn session(cx: &mut Context) -> Ended {
    show(cx, EdgeState::Starting);
    let mut session = match Session::open(cx).await {
        Ok(session) => session,
        Err(ended) => return ended,
    };
    show(session.cx, EdgeState::Running);
    let ended = match session.run().await {
        Ok(()) => Ended::Stopped,
        Err(ended) => ended,
    };
    session.drain_after(&ended).await;
    let Session { source, reading, .. } = session;
    drop(reading);
    source.close().await;
    ended
}

impl Session<'_> {
    async fn run(&mut self) -> Result<(), Ended> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.flush_windows().await?;
        loop {
            if self.cx.until.is_some_and(|until| self.progress.cursor.next >= until) {
                return self.drain().await;
            }
            let wanted = *self.cx.wanted.borrow();
            match wanted {
                Wanted::Stop => return self.drain().await,
                Wanted::Pause => {
                    self.drain().await?;
                    show(self.cx, EdgeState::Paused);
                    if self.cx.wanted.wait_for(|wanted| *wanted != Wanted::Pause).await.is_err() {
                        return Ok(());
                    }
                    show(self.cx, EdgeState::Running);
                    continue;
                }
                Wanted::Run => {}
            }
            let is_full = self.draft.span.is_full(portion(self.cx));
            // While a transaction is on its way the next one grows: many small ones would cost more than they are sooner.
            let waits = self.flights.is_empty() && !self.draft.span.is_empty() && !self.reading.has_more();
            if waits || is_full && self.flights.len() < self.in_flight() {
                self.submit().await?;
                self.flush_windows().await?;
                continue;
            }
            tokio::select! {
                biased;
                outcome = landed(&mut self.flights), if !self.flights.is_empty() => self.land(outcome).await?,
                changed = self.cx.wanted.changed() => {
                    if changed.is_err() {
                        return self.drain().await;
                    }
                }
                _ = ticks.tick() => self.tick().await?,
                piece = self.reading.next(), if !is_full => self.take(piece).await?,
            }
        }
    }

    async fn take(&mut self, piece: Piece) -> Result<(), Ended> {
        match self.before_the_end(piece) {
            Piece::Records { records, next, size_bytes } => self.stage(&records, next, size_bytes).await,
            Piece::Idle(position) => {
                self.idle = position;
                if self.cx.until == Some(position) {
                    self.progress.cursor.next = position;
                    self.submit().await?;
                }
                self.announce();
                Ok(())
            }
            Piece::Barrier { id, at } => {
                self.progress.cursor.next = at.next();
                self.submit().await?;
                self.drain().await?;
                let arrived = self.cx.barriers.arrived(&self.cx.spec.id, &id, at);
                let mut wanted = self.cx.wanted.clone();
                tokio::select! {
                    biased;
                    _ = wanted.wait_for(|wanted| *wanted == Wanted::Stop) => {}
                    () = arrived => {}
                }
                Ok(())
            }
            Piece::Failed(error) => {
                self.drain().await?;
                Err(match judge(error, self.progress.cursor.next, &self.cx.source) {
                    Ok(error) => Ended::Retry(error),
                    Err(fault) => Ended::Failed(fault),
                })
            }
        }
    }

    /// A piece without what lies behind the position where the edge is to end.
    fn before_the_end(&self, piece: Piece) -> Piece {
        let Some(until) = self.cx.until else { return piece };
        match piece {
            Piece::Records { mut records, size_bytes, .. }
                if records.last().is_some_and(|last| last.position >= until) =>
            {
                records.retain(|record| record.position < until);
                match records.is_empty() {
                    true => Piece::Idle(until),
                    false => Piece::Records { records, next: until, size_bytes },
                }
            }
            Piece::Records { records, next, size_bytes } => {
                Piece::Records { records, next: next.min(until), size_bytes }
            }
            Piece::Barrier { at, .. } if at >= until => Piece::Idle(until),
            Piece::Idle(position) => Piece::Idle(position.min(until)),
            other => other,
        }
    }

    /// Puts what is made of records into the draft. What does not go into it as well begins the next one.
    async fn stage(&mut self, records: &[Record], next: Position, size_bytes: usize) -> Result<(), Ended> {
        if !self.draft.span.has_room(records.len(), size_bytes, portion(self.cx)) {
            self.submit().await?;
            self.flush_windows().await?;
        }
        for slice in records.chunks(TURN) {
            if let Err(ended) = self.make(slice).await {
                // What was made before the transform failed need not be made again.
                if matches!(ended, Ended::Retry(_)) {
                    self.drain().await?;
                }
                return Err(ended);
            }
            self.draft.span.add(slice, size_bytes * slice.len() / records.len());
        }
        self.progress.cursor.next = next;
        Ok(())
    }

    async fn make(&mut self, records: &[Record]) -> Result<(), Ended> {
        let all_mine = records.iter().all(|record| is_mine(&self.cx.spec, &self.streams, record));
        let chosen: Vec<Record>;
        let selected: &[Record] = if all_mine {
            records
        } else {
            chosen = records.iter().filter(|record| is_mine(&self.cx.spec, &self.streams, record)).cloned().collect();
            &chosen
        };
        let mut outputs = Outputs::of(selected.len());
        self.cx.transform.apply(selected, &mut outputs).await.map_err(Ended::Retry)?;
        self.refuse_misfits(selected, &mut outputs);
        let (mut outcomes, mut made) = (outputs.into_outcomes(), Vec::new());
        let effects = &mut self.draft.effects;
        effects.outputs.reserve(selected.len());
        for record in records {
            if all_mine || is_mine(&self.cx.spec, &self.streams, record) {
                let outcome = outcomes.next(&mut made);
                self.progress.pass(record, outcome, &mut made, effects).map_err(Ended::Failed)?;
            } else {
                self.progress.pass_by(record);
            }
        }
        self.fill()
    }

    /// Puts outputs into the transaction; those for a sink outside stay until it is sent.
    fn fill(&mut self) -> Result<(), Ended> {
        if self.cx.delivery.is_some() {
            return Ok(());
        }
        let Draft { tx, effects, .. } = &mut self.draft;
        effects.origins.clear();
        let filled = self.cx.instance.fill(tx, &mut effects.outputs);
        filled.map_err(|error| Ended::Failed(Fault::Invalid(error)))
    }

    /// Records that do not fit the schema, and those that the sink was found to refuse.
    fn refuse_misfits(&self, records: &[Record], outputs: &mut Outputs) {
        if let Some(schema) = &self.schema {
            for (index, record) in records.iter().enumerate() {
                if let Err(reason) = schema.fits_bytes(&record.payload) {
                    outputs.refuse(index, reason);
                }
            }
        }
        for (position, reason) in self.cx.careful.iter().flat_map(|careful| &careful.found) {
            if let Ok(index) = records.binary_search_by_key(position, |record| record.position) {
                outputs.refuse(index, reason.clone());
            }
        }
    }

    /// Writes what windows are due without waiting for more records.
    async fn flush_windows(&mut self) -> Result<(), Ended> {
        while self.progress.windows.is_due(self.progress.cursor.watermark) {
            self.send(Results::Written).await?;
        }
        Ok(())
    }

    async fn submit(&mut self) -> Result<(), Ended> {
        // While a culprit is looked for, results of windows go apart from records: no record is to be blamed for them.
        let results = if self.cx.careful.is_some() { Results::Held } else { Results::Written };
        self.send(results).await
    }

    /// Sends the draft on its way: data, letters, windows and cursor, on the condition that the cursor stands where the one before leaves it.
    async fn send(&mut self, results: Results) -> Result<(), Ended> {
        while self.flights.len() >= self.in_flight() {
            let outcome = landed(&mut self.flights).await;
            self.land(outcome).await?;
        }
        self.progress.finish(results, &mut self.draft.effects);
        self.fill()?;
        let draft = std::mem::replace(&mut self.draft, Draft::new(&self.cx.sink));
        let Draft { mut tx, effects: Effects { outputs, origins, letters, rows }, span } = draft;
        let cursor = self.progress.cursor.clone();
        if let Some(delivery) = &self.cx.delivery {
            let delivered = delivery.deliver(cursor.source, outputs, &origins).await;
            delivered.map_err(|error| self.lost(error, span))?;
        }
        let instance = &self.cx.instance;
        for letter in letters {
            instance.set_state(&mut tx, &self.name, letter.key(), Some(letter.encode()));
        }
        for (key, value) in rows {
            instance.set_state(&mut tx, &self.name, key, value);
        }
        if planted!(CursorApart) {
            let data = std::mem::replace(&mut tx, self.cx.sink.begin());
            tx.mark_derived();
            data.commit().await.map_err(|error| self.lost(error.into(), span))?;
        }
        let instance = &self.cx.instance;
        let next = cursor.encode();
        instance.move_cursor(&mut tx, &self.name, Some(self.staged.clone()), next.clone());
        match tx.submit(Ack::Durable).await {
            Ok(pending) => {
                self.staged = next;
                self.flights.push_back(Flight { outcome: Box::pin(pending.wait()), cursor, span });
                Ok(())
            }
            Err(refused) => {
                let error = Error::from(refused);
                // What is on its way may still land; the next session reads how far that came.
                Err(self.lost(error, span))
            }
        }
    }

    /// A transaction is durable, or was refused.
    async fn land(&mut self, outcome: Result<Commit>) -> Result<(), Ended> {
        let Some(flight) = self.flights.pop_front() else { return Ok(()) };
        if let Err(error) = outcome {
            return Err(self.lost(error, flight.span));
        }
        self.cx.failures = 0;
        let (cursor, span, windows) = (flight.cursor, flight.span, self.progress.windows.len() as u64);
        let next = cursor.next;
        self.cx.status.send_modify(|status| {
            let before = status.cursor.as_ref().map(|cursor| cursor.counts).unwrap_or_default();
            status.totals.commits += 1;
            status.totals.records += span.records as u64;
            status.totals.bytes += span.size_bytes as u64;
            status.totals.counts.add(&cursor.counts, &before);
            status.windows = windows;
            status.applied = next;
            status.cursor = Some(cursor);
        });
        self.announce();
        self.cx.forget_trouble().await;
        if self.cx.careful.as_ref().is_some_and(|careful| next > careful.until) && self.flights.is_empty() {
            self.cx.careful = None;
            return Err(Ended::Again);
        }
        Ok(())
    }

    /// Says how far the sink has come, where the source has nothing more for this edge.
    fn announce(&self) {
        if !self.flights.is_empty() || !self.draft.span.is_empty() {
            return;
        }
        let idle = self.idle;
        self.cx.status.send_if_modified(|status| {
            let further = idle > status.applied;
            if further {
                status.applied = idle;
            }
            further
        });
    }

    /// What it means that a transaction did not get in.
    fn lost(&mut self, error: Error, span: Span) -> Ended {
        match error.kind() {
            ErrorKind::Invalid if span.records == 0 => Ended::Failed(Fault::SinkRefuses(error)),
            ErrorKind::Invalid => {
                self.cx.status.send_modify(|status| status.totals.bisections += 1);
                let careful = self.cx.careful.get_or_insert_with(|| Careful {
                    limit: usize::MAX,
                    until: span.last,
                    found: Vec::new(),
                });
                if span.records == 1 {
                    careful.found.push((span.first, error.message().to_owned()));
                } else {
                    careful.limit = (span.records / 2).max(1);
                }
                Ended::Again
            }
            ErrorKind::Conflict | ErrorKind::Backpressure | ErrorKind::Unavailable => Ended::Retry(error),
            ErrorKind::OutcomeUnknown | ErrorKind::Fenced | ErrorKind::Closed => Ended::Failed(Fault::SinkEnded(error)),
            _ => Ended::Failed(Fault::Invalid(error)),
        }
    }

    /// Sends what was made and waits until nothing is on its way.
    async fn drain(&mut self) -> Result<(), Ended> {
        if !self.draft.span.is_empty() {
            self.submit().await?;
        }
        while !self.flights.is_empty() {
            let outcome = landed(&mut self.flights).await;
            self.land(outcome).await?;
        }
        Ok(())
    }

    /// Waits for what is still on its way when the session has failed: the next one must not begin before.
    async fn drain_after(&mut self, ended: &Ended) {
        if matches!(ended, Ended::Stopped) {
            return;
        }
        while let Some(flight) = self.flights.pop_front() {
            let _ = flight.outcome.await;
        }
    }

    async fn tick(&mut self) -> Result<(), Ended> {
        let next = self.progress.cursor.next;
        // A look at the lag is worth no failure; reading says what is wrong with the source.
        let Ok(view) = self.source.newest_view().await else { return Ok(()) };
        let found = self.source.lag(&view, &self.streams, next).await.ok();
        let lag = found.unwrap_or_default();
        let now = self.cx.env.now();
        self.cx.status.send_modify(|status| {
            let ingested = status.cursor.as_ref().map_or(i64::MIN, |cursor| cursor.ingested.0);
            let known = lag > 0 && ingested != i64::MIN;
            status.lag_records = lag;
            status.lag_ms = if known { now.0.saturating_sub(ingested).max(0).unsigned_abs() } else { 0 };
        });
        if found == Some(0) && self.flights.is_empty() {
            self.cx.forget_trouble().await;
        }
        // Records of others were passed: the cursor follows, so that it does not hold them in the source.
        if self.flights.is_empty() && self.idle > next {
            let reader = self.source.reader(&view).map_err(Context::fault)?;
            if reader.last_record().await.ok().flatten().is_some_and(|last| last >= next) {
                self.progress.cursor.next = self.idle;
                self.submit().await?;
            }
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        // What lies outside is delivered in order, one transaction after the other.
        let one = self.cx.careful.is_some() || self.cx.delivery.is_some();
        if one { 1 } else { self.cx.spec.batch.in_flight as usize }
    }
}

/// How much goes into one transaction.
fn portion(cx: &Context) -> Portion {
    let limit = cx.careful.as_ref().map_or(usize::MAX, |careful| careful.limit);
    Portion { records: (cx.spec.batch.max_records as usize).min(limit), size_bytes: cx.spec.batch.max_bytes as usize }
}

/// The outcome of the oldest transaction on its way. A call that is given up loses nothing.
async fn landed(flights: &mut VecDeque<Flight>) -> Result<Commit> {
    match flights.front_mut() {
        Some(flight) => flight.outcome.as_mut().await,
        None => std::future::pending().await,
    }
}
