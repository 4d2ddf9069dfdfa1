//! How a session begins: the cursor is read, checked against the source, and taken over.

use std::collections::VecDeque;

use bytes::Bytes;
use opendata_core::slate::View;
use opendata_core::{Error, ErrorKind, Position, Result};

use super::{Draft, Ended, Session, portion};
use crate::edge::cursor::Cursor;
use crate::edge::fault::Fault;
use crate::edge::progress::Progress;
use crate::edge::reading::Reading;
use crate::edge::run::Context;
use crate::edge::schema::{self, Schema};
use crate::edge::source::{Source, followed_by, judge};
use crate::edge::window;

/// Rows of old windows that one transaction removes.
const STEP: usize = 8_192;

impl<'a> Session<'a> {
    pub(super) async fn open(cx: &'a mut Context) -> Result<Self, Ended> {
        cx.recall_trouble().await.map_err(Ended::Retry)?;
        let source = match Source::open(&cx.source, &cx.spec.from.instance, &cx.env).await {
            Ok(source) => source,
            // A source that is not there yet may come.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Ended::Retry(error)),
            Err(error) => return Err(judged(error, Position::ZERO, cx)),
        };
        let name = Cursor::name(&cx.spec.id);
        let view = cx.sink.view();
        let stored = view.cursor(cx.instance.name(), &name).await.map_err(Ended::Retry)?;
        let mut cursor = agree(cx, &source, stored.as_ref()).await?;
        // A source that does not answer now may answer later: only what it says can be a fault.
        let durable = source.newest_view().await.map_err(|error| judged(error, cursor.next, cx))?;
        Source::admit(&durable, &mut cursor).map_err(Ended::Failed)?;
        let schema = check_schema(cx, &source).await?;
        cursor.schema_version = schema.as_ref().map_or(0, Schema::version);
        cursor.runner = cx.runner;
        let staged = claim(cx, &name, &view, stored, &cursor).await?;
        cx.claimed = true;
        let progress = load(cx, &name, cursor).await?;
        let next = progress.cursor.next;
        let follower = match source.follow(followed_by(&cx.spec), next).await {
            Ok(follower) => follower,
            // The end of the log as this process has read it; the cursor was checked against the source itself.
            Err(error) if error.kind() == ErrorKind::Invalid => return Err(Ended::Retry(error)),
            Err(error) => return Err(judged(error, next, cx)),
        };
        let shown = progress.cursor.clone();
        cx.status.send_modify(|status| {
            status.applied = shown.next;
            status.cursor = Some(shown);
        });
        let reading = Reading::start(follower, portion(cx));
        let streams = cx.streams();
        let (draft, flights) = (Draft::new(&cx.sink), VecDeque::new());
        Ok(Self { cx, name, streams, source, schema, progress, reading, draft, staged, flights, idle: next })
    }
}

fn judged(error: Error, next: Position, cx: &Context) -> Ended {
    match judge(error, next, &cx.source) {
        Ok(error) => Ended::Retry(error),
        Err(fault) => Ended::Failed(fault),
    }
}

/// The cursor to go on from: the stored one, if generations agree, or a first one.
async fn agree(cx: &Context, source: &Source, stored: Option<&Bytes>) -> Result<Cursor, Ended> {
    let digest = cx.digest;
    let Some(stored) = stored else {
        if cx.claimed {
            return Err(Ended::Failed(Fault::Replaced));
        }
        let next =
            source.begin(cx.spec.start, &cx.streams()).await.map_err(|error| judged(error, Position::ZERO, cx))?;
        return Ok(Cursor::begin(cx.generation, source.view().slate_id(), next, digest));
    };
    let mut cursor = Cursor::decode(stored).map_err(Context::fault)?;
    if cursor.generation > cx.generation || (cx.claimed && cursor.runner != cx.runner) {
        return Err(Ended::Failed(Fault::Replaced));
    }
    if cursor.digest != digest {
        if cursor.generation == cx.generation {
            return Err(Ended::Failed(Fault::Changed));
        }
        // Windows of something else are nobody's.
        cursor.state += 1;
        cursor.digest = digest;
        cursor.begin_anew();
    }
    cursor.generation = cx.generation;
    Ok(cursor)
}

async fn check_schema(cx: &Context, source: &Source) -> Result<Option<Schema>, Ended> {
    let view = source.view();
    let schema = schema::latest(&view, source.log.name()).await.map_err(Ended::Retry)?;
    if let Some(schema) = &schema {
        cx.transform.check(schema).map_err(|error| Ended::Failed(Fault::Schema(error)))?;
    }
    Ok(schema)
}

/// Writes the cursor with this runner's number, so that any other one is refused from here on.
async fn claim(cx: &Context, name: &str, view: &View, stored: Option<Bytes>, cursor: &Cursor) -> Result<Bytes, Ended> {
    let next = cursor.encode();
    let mine = window::key_prefix(cursor.state);
    let rows =
        view.states(cx.instance.name(), name, &[window::WINDOW], None, usize::MAX).await.map_err(Ended::Retry)?;
    let mut old: Vec<Bytes> = rows.into_iter().map(|(key, _)| key).filter(|key| !key.starts_with(&mine)).collect();
    let mut expected = stored;
    while expected.as_ref() != Some(&next) || !old.is_empty() {
        let mut tx = cx.sink.begin();
        tx.mark_derived();
        for key in old.drain(..old.len().min(STEP)) {
            cx.instance.set_state(&mut tx, name, key, None);
        }
        cx.instance.move_cursor(&mut tx, name, expected, next.clone());
        tx.commit().await.map_err(|error| refused(error.into()))?;
        expected = Some(next.clone());
    }
    Ok(next)
}

fn refused(error: Error) -> Ended {
    match error.kind() {
        ErrorKind::OutcomeUnknown | ErrorKind::Fenced | ErrorKind::Closed => Ended::Failed(Fault::SinkEnded(error)),
        ErrorKind::Conflict | ErrorKind::Backpressure | ErrorKind::Unavailable => Ended::Retry(error),
        _ => Context::fault(error),
    }
}

/// Takes the stored windows back into memory.
async fn load(cx: &Context, name: &str, cursor: Cursor) -> Result<Progress, Ended> {
    let (state, watermark) = (cursor.state, cursor.watermark);
    let mut progress = Progress::new(&cx.spec, cx.transform.as_ref(), cursor);
    let limit = cx.spec.batch.max_windows as usize;
    let view = cx.sink.view();
    let rows = view.states(cx.instance.name(), name, &window::key_prefix(state), None, limit.saturating_add(1)).await;
    for (key, value) in rows.map_err(Ended::Retry)? {
        progress.windows.load(&key, &value, watermark).map_err(Context::fault)?;
    }
    Ok(progress)
}
