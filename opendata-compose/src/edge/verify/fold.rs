//! The fold of an edge over its source, once more: the same transform, windows and letters, and no cursor to commit.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use opendata_core::{Position, Result, Timestamp};
use opendata_log::{ControlRecords, Log, Record, ScanOptions, Streams};

use super::{Done, Prepared, Tell};
use crate::edge::cursor::{Counts, Cursor};
use crate::edge::letter::{Letter, LetterKind};
use crate::edge::progress::{Effects, Progress, Results};
use crate::edge::schema::{self, Schema};
use crate::edge::source::{followed_by, is_mine, streams_of};
use crate::edge::transform::{Fate, Outcome, Outcomes, Output, Outputs};
use crate::edge::window::{Windows, check_value};

/// What was made of one record, or of windows.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// The record's place in its batch.
    pub(super) index: usize,
    /// Where the record stands; none for results of windows.
    pub(super) origin: Option<Position>,
    pub(super) outputs: Vec<Output>,
}

/// What became of a record.
struct Given {
    outcome: Outcome,
    made: Vec<Output>,
}

impl Given {
    fn of(each: &mut Outcomes) -> Self {
        let mut made = Vec::new();
        Self { outcome: each.next(&mut made), made }
    }

    fn refuse(&mut self, reason: String) {
        self.outcome.fate = Fate::Refused(reason);
        self.made.clear();
    }
}

/// Takes what is made, as the sink does.
#[async_trait]
pub(super) trait Take: Send {
    /// Takes what was made at about this time. Returns the places of the records that the sink refuses, and why.
    async fn take(&mut self, at: Timestamp, made: Vec<Made>) -> Result<Vec<(usize, String)>>;
}

/// What the fold comes to.
pub(super) struct Folded {
    pub(super) records: u64,
    pub(super) counts: Counts,
    pub(super) watermark: Timestamp,
    pub(super) windows: Windows,
    /// Letters by position and part.
    pub(super) letters: BTreeMap<(Position, u16), (LetterKind, String)>,
    /// Records that the transform makes something of, and whose letter says that the sink refused them.
    pub(super) refused_then: u64,
}

pub(super) struct Fold {
    progress: Progress,
    schema: Option<Schema>,
    streams: Streams,
    folded: Folded,
    /// Positions of records that were refused, as the letters say.
    refused: BTreeSet<Position>,
}

impl Fold {
    pub(super) async fn of(edge: &Prepared<'_>) -> Result<Self> {
        let (spec, from) = (edge.spec(), &edge.from);
        let mut patient = spec.clone();
        // The edge itself stood still when there were too many.
        patient.dead_letters.limit = u64::MAX;
        let mut cursor = Cursor::begin(edge.cursor.generation, edge.cursor.source, from.next, edge.cursor.digest);
        (cursor.watermark, cursor.active) = (from.watermark, from.active);
        let progress = Progress::new(&patient, edge.transform.as_ref(), cursor);
        let schema = schema::latest(&edge.subject.source, &spec.from.instance).await?;
        let refused = edge.letters.iter().filter(|letter| letter.kind == LetterKind::Refused && letter.part == 0);
        Ok(Self {
            progress,
            schema: schema.filter(|schema| schema.version() == edge.cursor.schema_version),
            streams: streams_of(&spec.from.streams),
            refused: refused.map(|letter| letter.position).collect(),
            folded: Folded {
                records: 0,
                counts: Counts::default(),
                watermark: from.watermark,
                windows: Windows::default(),
                letters: BTreeMap::new(),
                refused_then: 0,
            },
        })
    }

    /// Folds everything up to the cursor.
    pub(super) async fn run(mut self, edge: &Prepared<'_>, sink: &mut dyn Take, tell: Tell<'_>) -> Result<Folded> {
        let spec = edge.spec();
        let followed = followed_by(spec);
        let options = ScanOptions { control: ControlRecords::Shown, ..ScanOptions::of(followed) };
        let log = edge.subject.source.get_reader::<Log>(&spec.from.instance)?;
        let mut scan = log.scan_with(options.within(edge.from.next..edge.cursor.next)).await?;
        let (mut at, end) = (edge.from.next, edge.cursor.next);
        let begun = Done { edge: &spec.id, records: 0, bytes: 0, expected: end.0.saturating_sub(at.0), passed: 0 };
        tell(begun);
        while let Some(batch) = scan.next_batch().await? {
            self.folded.records += batch.len() as u64;
            let bytes: usize = batch.iter().map(Record::size_bytes).sum();
            let behind = batch.last().map_or(at, |last| last.position.next()).max(at);
            let before = std::mem::replace(&mut at, behind);
            let (records, passed) = (batch.len() as u64, at.0 - before.0);
            tell(Done { edge: &spec.id, records, bytes: bytes as u64, expected: 0, passed });
            self.batch(edge, &batch, sink).await?;
        }
        // What stands behind the last record is not for this edge.
        tell(Done { expected: 0, passed: end.0.saturating_sub(at.0), ..begun });
        let Progress { cursor, windows, .. } = self.progress;
        Ok(Folded { counts: cursor.counts, watermark: cursor.watermark, windows, ..self.folded })
    }

    async fn batch(&mut self, edge: &Prepared<'_>, records: &[Record], sink: &mut dyn Take) -> Result<()> {
        let mine: Vec<bool> = records.iter().map(|record| is_mine(edge.spec(), &self.streams, record)).collect();
        let selected: Vec<Record> =
            records.iter().zip(&mine).filter(|(_, mine)| **mine).map(|(record, _)| record.clone()).collect();
        let mut outputs = Outputs::of(selected.len());
        edge.transform.apply(&selected, &mut outputs).await?;
        let mut each = outputs.into_outcomes();
        let mut outcomes: Vec<Given> = selected.iter().map(|_| Given::of(&mut each)).collect();
        self.refuse_misfits(&selected, &mut outcomes);
        self.offer(&selected, &mut outcomes, sink).await?;
        let at = records.last().map_or(Timestamp(0), |record| record.ingest_time);
        let (mut outcomes, mut effects) = (outcomes.into_iter(), Effects::default());
        for (record, mine) in records.iter().zip(mine) {
            match mine.then(|| outcomes.next()).flatten() {
                Some(Given { outcome, mut made }) => self.progress.pass(record, outcome, &mut made, &mut effects)?,
                None => self.progress.pass_by(record),
            }
        }
        // What was made of records directly has been taken.
        effects.outputs.clear();
        self.keep(effects.letters);
        loop {
            let mut effects = Effects::default();
            self.progress.finish(Results::Written, &mut effects);
            if !effects.outputs.is_empty() {
                let made = Made { index: 0, origin: None, outputs: effects.outputs };
                sink.take(at, vec![made]).await?;
            }
            if !self.progress.windows.is_due(self.progress.cursor.watermark) {
                return Ok(());
            }
        }
    }

    fn keep(&mut self, letters: Vec<Letter>) {
        for letter in letters {
            self.folded.letters.insert((letter.position, letter.part), (letter.kind, letter.reason));
        }
    }

    fn refuse_misfits(&self, records: &[Record], outcomes: &mut [Given]) {
        let Some(schema) = &self.schema else { return };
        for (record, outcome) in records.iter().zip(outcomes) {
            if let Err(reason) = schema.fits_bytes(&record.payload) {
                outcome.refuse(reason);
            }
        }
    }

    /// Lets the sink take what was made of each record directly, and marks the records that it refuses.
    async fn offer(&mut self, records: &[Record], outcomes: &mut [Given], sink: &mut dyn Take) -> Result<()> {
        let at = records.last().map_or(Timestamp(0), |record| record.ingest_time);
        let mut offered = Vec::new();
        for (index, (record, outcome)) in records.iter().zip(outcomes.iter()).enumerate() {
            let Given { outcome: Outcome { fate: Fate::Made, .. }, made: outputs } = outcome else { continue };
            let wrong =
                |output: &Output| matches!(output, Output::Observe(_, _, value) if check_value(*value).is_err());
            if outputs.iter().any(wrong) {
                continue;
            }
            let direct = outputs.iter().filter(|output| !matches!(output, Output::Observe(..))).cloned();
            let outputs: Vec<Output> = direct.collect();
            if !outputs.is_empty() {
                offered.push(Made { index, origin: Some(record.position), outputs });
            }
        }
        // What the sink refused then, by its clock or its limits, is not asked again.
        let refused = &self.refused;
        offered.retain(|made| {
            if !made.origin.is_some_and(|origin| refused.contains(&origin)) {
                return true;
            }
            if let Some(outcome) = outcomes.get_mut(made.index) {
                outcome.refuse("the sink refused it".to_owned());
            }
            self.folded.refused_then += 1;
            false
        });
        for (index, reason) in sink.take(at, offered).await? {
            if let Some(outcome) = outcomes.get_mut(index) {
                outcome.refuse(reason);
            }
        }
        Ok(())
    }
}
