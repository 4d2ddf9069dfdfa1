//! What is done to an edge from outside: setting it back, and looking after its letters.
//!
//! Each of these moves the stored cursor by compare-and-set. A runner that is at work meanwhile is refused once, reads the cursor again, and goes on; after a
//! reset it finds a newer generation and ends.

use opendata_core::slate::{Ack, Slate};
use opendata_core::{Error, Result};
use opendata_log::Record;

use super::cursor::Cursor;
use super::deliver::Delivery;
use super::letter::{Letter, LetterKind};
use super::progress::{Effects, Progress, Results};
use super::sink::Instance;
use super::source::{Source, SourceAt, streams_of};
use super::spec::{EdgeSpec, StartFrom};
use super::transform::{Outputs, Pipeline, Transform, digest_of};
use super::window;

/// Letters that are made durable at once.
const STEP: usize = 256;

/// Sets an edge to another place of its source, as a new generation: its open windows are forgotten, its letters stay. What it wrote before stays as well, so
/// records that it meets again have their effect again. Returns the new cursor; start the edge with its generation, and with the transform in Rust that
/// is given here, if it has one.
///
/// # Errors
/// `Invalid` if the place lies outside the source; `Conflict` if the edge moved meanwhile; what the stores returned.
pub async fn reset(
    sink: &Slate,
    spec: &EdgeSpec,
    transform: Option<&dyn Transform>,
    source: &SourceAt,
    to: StartFrom,
    env: &opendata_core::env::Env,
) -> Result<Cursor> {
    let instance = Instance::open(sink, spec.state_instance())?;
    let source = Source::open(source, &spec.from.instance, env).await?;
    let next = source.begin(to, &streams_of(&spec.from.streams)).await;
    let slate_id = source.view().slate_id();
    source.close().await;
    let name = Cursor::name(&spec.id);
    let stored = sink.view().cursor(instance.name(), &name).await?;
    let before = stored.as_ref().map(|stored| Cursor::decode(stored)).transpose()?;
    let (generation, state) = before.as_ref().map_or((1, 0), |before| (before.generation + 1, before.state + 1));
    let mut cursor = Cursor::begin(generation, slate_id, next?, digest_of(spec, transform)?);
    cursor.state = state;
    if let Some(began) = &mut cursor.began {
        began.earlier = before.as_ref().map_or(0, Cursor::ever_applied);
    }
    cursor.counts.waiting = before.map_or(0, |before| before.counts.waiting);
    let mut tx = sink.begin();
    instance.move_cursor(&mut tx, &name, stored, cursor.encode());
    tx.commit().await?;
    Ok(cursor)
}

/// What became of letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Letters that were removed: they were dropped, or their record now has its effect.
    pub removed: u64,
    /// Letters that stay, because their record still does not fit.
    pub kept: u64,
}

/// Forgets letters.
///
/// # Errors
/// `Conflict` if the edge moved in between again and again; what committing returned.
pub async fn drop_letters(sink: &Slate, spec: &EdgeSpec, choose: impl Fn(&Letter) -> bool) -> Result<Letters> {
    let mut total = Letters::default();
    over_letters(sink, spec, &choose, None, &mut total).await?;
    Ok(total)
}

/// Passes the records of letters through the edge's transform again, as it is now. Those that fit have their effect in the transaction that removes
/// their letter; the others stay. A value that was late for its window stays late.
///
/// # Errors
/// `Conflict` if the edge moved in between again and again; what transforming and committing returned.
pub async fn replay_letters(
    sink: &Slate,
    spec: &EdgeSpec,
    transform: Option<&dyn Transform>,
    choose: impl Fn(&Letter) -> bool,
) -> Result<Letters> {
    let own;
    let transform = match transform {
        Some(transform) => transform,
        None => {
            own = Pipeline::new(spec)?;
            &own
        }
    };
    let mut total = Letters::default();
    over_letters(sink, spec, &choose, Some(transform), &mut total).await?;
    Ok(total)
}

/// Adds to `total` what is durable, also if it then fails.
pub(crate) async fn over_letters(
    sink: &Slate,
    spec: &EdgeSpec,
    choose: impl Fn(&Letter) -> bool,
    replay: Option<&dyn Transform>,
    total: &mut Letters,
) -> Result<()> {
    let instance = Instance::open(sink, spec.state_instance())?;
    let delivery = Delivery::of(spec)?;
    let mut behind: Option<Letter> = None;
    loop {
        let letters = Letter::list(&sink.view(), instance.name(), &spec.id, behind.as_ref(), STEP).await?;
        let Some(last) = letters.last().cloned() else { return Ok(()) };
        let mut step = Letters::default();
        for letter in letters.into_iter().filter(&choose) {
            let removed = retry(sink, spec, (&instance, delivery.as_ref()), &letter, replay).await?;
            *(if removed { &mut step.removed } else { &mut step.kept }) += 1;
        }
        if step.removed > 0 {
            sink.flush().await?;
        }
        total.removed += step.removed;
        total.kept += step.kept;
        behind = Some(last);
    }
}

/// Looks after one letter, again if the edge moved in between.
async fn retry(
    sink: &Slate,
    spec: &EdgeSpec,
    into: (&Instance, Option<&Delivery>),
    letter: &Letter,
    replay: Option<&dyn Transform>,
) -> Result<bool> {
    let mut last = None;
    for attempt in 0..64 {
        match one(sink, spec, into, letter, replay).await {
            Err(error) if error.kind() == opendata_core::ErrorKind::Conflict => last = Some(error),
            outcome => return outcome,
        }
        tokio::time::sleep(std::time::Duration::from_millis(attempt)).await;
    }
    Err(last.unwrap_or_else(|| Error::conflict("the edge moves too fast")))
}

async fn one(
    sink: &Slate,
    spec: &EdgeSpec,
    (instance, delivery): (&Instance, Option<&Delivery>),
    letter: &Letter,
    replay: Option<&dyn Transform>,
) -> Result<bool> {
    let (name, view) = (Cursor::name(&spec.id), sink.view());
    let stored = view.cursor(instance.name(), &name).await?;
    let stored = stored.ok_or_else(|| Error::not_found(format!("the edge has no cursor, edge={}", spec.id)))?;
    if view.state(instance.name(), &name, &letter.key()).await?.is_none() {
        return Ok(false);
    }
    let mut cursor = Cursor::decode(&stored)?;
    let mut effects = Effects::default();
    if let Some(transform) = replay {
        let Some(moved) = again(spec, transform, &view, &cursor, letter, &mut effects).await? else { return Ok(false) };
        cursor = moved;
    }
    cursor.counts.waiting = cursor.counts.waiting.saturating_sub(1);
    let mut tx = sink.begin();
    tx.mark_derived();
    let ack = match delivery {
        Some(delivery) => {
            delivery.deliver(cursor.source, effects.outputs, &effects.origins).await?;
            Ack::Durable
        }
        None => {
            instance.fill(&mut tx, &mut effects.outputs)?;
            // Made durable for many letters at once.
            Ack::Written
        }
    };
    for (key, value) in effects.rows {
        instance.set_state(&mut tx, &name, key, value);
    }
    instance.set_state(&mut tx, &name, letter.key(), None);
    instance.move_cursor(&mut tx, &name, Some(stored), cursor.encode());
    tx.commit_with(ack).await?;
    Ok(true)
}

/// Passes the record of a letter through the transform again; none if it still does not fit.
async fn again(
    spec: &EdgeSpec,
    transform: &dyn Transform,
    view: &opendata_core::slate::View,
    cursor: &Cursor,
    letter: &Letter,
    effects: &mut Effects,
) -> Result<Option<Cursor>> {
    if letter.kind == LetterKind::Late {
        return Ok(None);
    }
    let record = record_of(letter);
    let mut outputs = Outputs::of(1);
    transform.apply(std::slice::from_ref(&record), &mut outputs).await?;
    let mut made = Vec::new();
    let outcome = outputs.into_outcomes().next(&mut made);
    let mut progress = Progress::new(spec, transform, cursor.clone());
    let name = Cursor::name(&spec.id);
    let prefix = window::key_prefix(cursor.state);
    for (key, value) in view.states(spec.state_instance(), &name, &prefix, None, usize::MAX).await? {
        progress.windows.load(&key, &value, cursor.watermark)?;
    }
    progress.pass(&record, outcome, &mut made, effects)?;
    if !effects.letters.is_empty() {
        return Ok(None);
    }
    progress.finish(Results::Written, effects);
    // The edge itself stays where it is: only what the record did is new.
    let mut moved = progress.cursor;
    moved.next = cursor.next;
    moved.watermark = cursor.watermark;
    moved.active = cursor.active;
    moved.ingested = cursor.ingested;
    moved.counts.refused = moved.counts.refused.saturating_sub(1);
    Ok(Some(moved))
}

fn record_of(letter: &Letter) -> Record {
    Record {
        stream: letter.stream.clone(),
        position: letter.position,
        ingest_time: letter.ingest_time,
        event_time: letter.event_time,
        schema_id: letter.schema_id,
        headers: opendata_log::Headers::of(letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref()))),
        payload: letter.payload.clone(),
        control: None,
        derived: false,
    }
}
