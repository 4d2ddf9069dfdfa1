//! What the owner of a source does about its retention for the edges that read it.
//!
//! An edge runs with its sink and cannot write to its source. So whoever owns the source reads the edges' cursors where they lie (from any view of their sinks) and
//! holds the log at them, by named cursors of the log.

use opendata_core::slate::{Handle, Slate};
use opendata_core::{Position, Result};
use opendata_log::{Hold, Log};

use super::cursor::Cursor;
use super::spec::{EdgeSpec, OnHold};

/// How an edge stands towards the retention of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing at or behind this position is dropped.
    At(Position),
    /// The edge lags further than it may: retention goes on without it.
    Detached {
        /// Where the edge stands.
        at: Position,
        /// Bytes of the log behind it.
        behind_bytes: u64,
    },
}

/// Holds a log at the cursors of the edges that read it; an edge that never ran holds all there is. To be called now and then by the owner of the source. Says how each
/// edge stands, in the order given.
///
/// # Errors
/// What reading and committing returned.
pub async fn hold(source: &Slate, log: &Handle<Log>, edges: &[(&EdgeSpec, Option<&Cursor>)]) -> Result<Vec<Held>> {
    let reader = source.view().on(log)?;
    let (trim, segments) = (reader.trim_point().await?, reader.segments().await?);
    let (mut tx, mut all) = (source.begin(), Vec::with_capacity(edges.len()));
    tx.mark_derived();
    for (spec, cursor) in edges {
        let at = cursor.map_or(trim, |cursor| cursor.next).max(trim);
        let behind = segments.iter().filter(|segment| !segment.is_empty() && segment.last >= at);
        let behind_bytes = behind.map(opendata_log::Segment::size_bytes).sum();
        let name = Cursor::name(&spec.id);
        let stored = reader.cursor(&name).await?;
        let held = match spec.on_hold {
            OnHold::Detach(detach) if behind_bytes > detach.after_bytes => Held::Detached { at, behind_bytes },
            _ => Held::At(at),
        };
        match (held, stored) {
            (Held::At(at), stored) if stored.is_none_or(|stored| stored.position != at) => {
                tx.on(log).set_cursor(&name, at, Hold::Yes);
            }
            (Held::Detached { .. }, Some(_)) => {
                tracing::warn!(
                    edge = spec.id,
                    at = at.0,
                    behind_bytes,
                    "retention goes on without an edge that lags too far"
                );
                tx.on(log).remove_cursor(&name);
            }
            _ => {}
        }
        all.push(held);
    }
    if !tx.is_empty() {
        tx.commit().await?;
    }
    Ok(all)
}

/// Lets go of what an edge holds, because it is no longer there.
///
/// # Errors
/// What committing returned.
pub async fn release(source: &Slate, log: &Handle<Log>, edge: &str) -> Result<()> {
    let mut tx = source.begin();
    tx.mark_derived();
    tx.on(log).remove_cursor(Cursor::name(edge));
    tx.commit().await?;
    Ok(())
}
