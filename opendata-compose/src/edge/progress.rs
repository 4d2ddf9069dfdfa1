//! What an edge remembers between records, and how a record moves it on.
//!
//! Everything here is a fold over the records in order of position. A transaction may end anywhere between two of them, and the rows come out the same.

use opendata_core::{Position, Result, Timestamp};
use opendata_log::{Control, Record};

use super::cursor::Cursor;
use super::fault::Fault;
use super::letter::{Letter, LetterKind};
use super::spec::EdgeSpec;
use super::transform::{Fate, Outcome, Output, Transform};
use super::window::{Observed, StateRows, Windows, check_value};

/// How far the edge has come in memory, ahead of what is committed.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) cursor: Cursor,
    pub(crate) windows: Windows,
    disorder_ms: i64,
    idle_ms: Option<i64>,
    letter_limit: u64,
}

/// What a transaction is to do.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) outputs: Vec<Output>,
    /// Where the records stand that the outputs were made of. Results of windows come behind them and have no place.
    pub(crate) origins: Vec<Position>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) rows: StateRows,
}

/// Whether results of windows that are due go into this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    Written,
    Held,
}

impl Progress {
    pub(crate) fn new(spec: &EdgeSpec, transform: &dyn Transform, cursor: Cursor) -> Self {
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        Self {
            cursor,
            windows: Windows::new(transform.windows(), spec.event_time.lateness_ms, spec.batch.max_windows),
            disorder_ms: ms(spec.event_time.disorder_ms),
            idle_ms: spec.event_time.idle_ms.map(ms),
            letter_limit: spec.dead_letters.limit,
        }
    }

    /// Passes a record that is not for this edge: one of another stream, or a control record.
    pub(crate) fn pass_by(&mut self, record: &Record) {
        self.moved(record);
        if let Some(Control::Watermark(time)) = &record.control {
            self.raise(*time);
        } else if let Some(idle) = self.idle_ms
            && record.ingest_time.0 >= self.cursor.active.0.saturating_add(idle)
        {
            self.raise(record.ingest_time.plus_ms(-idle));
        }
    }

    /// Passes a record of this edge, and what was made of it; takes that away.
    ///
    /// # Errors
    /// A [`Fault`] if too many letters wait; `Backpressure` if there are too many windows.
    pub(crate) fn pass(
        &mut self,
        record: &Record,
        outcome: Outcome,
        made: &mut Vec<Output>,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        self.moved(record);
        self.cursor.active = record.ingest_time;
        let event_time = outcome.event_time.unwrap_or(record.event_time);
        match outcome.fate {
            Fate::Filtered => {
                self.cursor.counts.filtered += 1;
                self.happened(event_time, record);
                return Ok(());
            }
            Fate::Refused(reason) => return self.refuse(record, reason, effects),
            Fate::Made => {}
        }
        let check = |output: &Output| match output {
            Output::Observe(_, _, value) => check_value(*value),
            _ => Ok(()),
        };
        if let Err(reason) = made.iter().try_for_each(check) {
            made.clear();
            return self.refuse(record, reason, effects);
        }
        for output in made.drain(..) {
            let Output::Observe(metric, labels, value) = output else {
                effects.outputs.push(output);
                effects.origins.push(record.position);
                continue;
            };
            let watermark = self.cursor.watermark;
            let observed = self.windows.observe(metric, &labels, event_time, value, watermark);
            if observed.map_err(Fault::Windows)? == Observed::Late {
                self.cursor.counts.late += 1;
                let reason = format!("the window of {labels} has gone, event_time={event_time}, watermark={watermark}");
                self.keep(Letter::new(record, self.cursor.generation, metric + 1, LetterKind::Late, reason), effects)?;
            }
        }
        self.cursor.counts.applied += 1;
        self.happened(event_time, record);
        Ok(())
    }

    fn refuse(&mut self, record: &Record, reason: String, effects: &mut Effects) -> Result<(), Fault> {
        self.cursor.counts.refused += 1;
        self.keep(Letter::new(record, self.cursor.generation, 0, LetterKind::Refused, reason), effects)
    }

    fn keep(&mut self, letter: Letter, effects: &mut Effects) -> Result<(), Fault> {
        if self.cursor.counts.waiting >= self.letter_limit {
            return Err(Fault::LettersFull { limit: self.letter_limit });
        }
        self.cursor.counts.waiting += 1;
        effects.letters.push(letter);
        Ok(())
    }

    /// What the windows add to a transaction.
    pub(crate) fn finish(&mut self, results: Results, effects: &mut Effects) {
        let (state, watermark) = (self.cursor.state, self.cursor.watermark);
        let rows = match results {
            Results::Written => self.windows.flush(state, watermark, &mut effects.outputs),
            Results::Held => self.windows.store(state),
        };
        effects.rows.extend(rows);
    }

    fn moved(&mut self, record: &Record) {
        self.cursor.next = record.position.next();
        self.cursor.ingested = record.ingest_time;
    }

    /// Nothing happens later than it is ingested, so that one clock that runs ahead does not close everybody's windows.
    fn happened(&mut self, event_time: Timestamp, record: &Record) {
        self.raise(event_time.min(record.ingest_time).plus_ms(-self.disorder_ms));
    }

    fn raise(&mut self, to: Timestamp) {
        if to > self.cursor.watermark {
            self.windows.advance(self.cursor.watermark, to);
            self.cursor.watermark = to;
        }
    }
}
