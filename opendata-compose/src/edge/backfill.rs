//! Backfill: a second generation runs beside the first one, from another place of the source, until it has met it; then one commit puts it in its place.
//!
//! The second generation is an edge of its own, `<id>.next`, with a cursor, windows and letters of its own. It may write into the same instance (where what it writes takes
//! the place of the old, as samples and documents do) or into another one of the same slate (where it must, as for counters and records).

use opendata_core::slate::Slate;
use opendata_core::{Error, Result};

use super::cursor::Cursor;
use super::letter::LETTER;
use super::sink::Instance;
use super::spec::EdgeSpec;
use super::transform::{Transform, digest_of};
use super::window::WINDOW;

/// Rows of windows and letters that a switch takes along at most: it is one transaction.
const LIMIT: usize = 50_000;

/// The edge that runs beside `spec` until it takes its place.
#[must_use]
pub fn beside(spec: &EdgeSpec) -> EdgeSpec {
    let mut beside = spec.clone();
    beside.id = format!("{}.next", spec.id);
    beside
}

/// Puts the second generation in the place of the first, in one commit. Both must stand still ([`pause`](super::RunningEdge::pause) or stopped), the second at the first's
/// position or behind it. `old` and `new` are the edge as it was and as it shall be, under its own id; what `new` makes ran as [`beside(new)`](beside). Returns the
/// cursor that the edge goes on from: start it with its generation. `transform` is the new one if that is in Rust.
///
/// Each record was then made something of by the new generation exactly once, wherever it began; and by the old one exactly once up to where that stood.
///
/// # Errors
/// `Invalid` if the second has not met the first; `NotFound` if one of them never ran; `Conflict` if one of them moved meanwhile; what committing returned.
pub async fn switch(sink: &Slate, old: &EdgeSpec, new: &EdgeSpec, transform: Option<&dyn Transform>) -> Result<Cursor> {
    let (from, to) = (Instance::open(sink, old.state_instance())?, Instance::open(sink, new.state_instance())?);
    let (name, beside) = (Cursor::name(&old.id), Cursor::name(&beside(new).id));
    let view = sink.view();
    let missing = |name: &str| Error::not_found(format!("the edge has no cursor, cursor={name}"));
    let first = view.cursor(from.name(), &name).await?.ok_or_else(|| missing(&name))?;
    let second = view.cursor(to.name(), &beside).await?.ok_or_else(|| missing(&beside))?;
    let (met, mut cursor) = (Cursor::decode(&first)?, Cursor::decode(&second)?);
    if cursor.source != met.source || cursor.next < met.next {
        return Err(Error::invalid(format!(
            "the second generation has not met the first, first={}, second={}",
            met.next, cursor.next
        )));
    }
    cursor.generation = met.generation.max(cursor.generation) + 1;
    cursor.runner = 0;
    // The numbers of both kinds of windows were given out by different cursors.
    let state = cursor.state;
    cursor.state = met.state.max(cursor.state) + 1;
    cursor.digest = digest_of(new, transform)?;
    let same = from.name() == to.name();
    if let Some(began) = cursor.began.as_mut().filter(|_| same) {
        began.earlier += met.ever_applied();
    }
    let mut tx = sink.begin();
    let mut rows = view.states(to.name(), &beside, &[], None, LIMIT + 1).await?;
    if rows.len() > LIMIT {
        return Err(Error::backpressure(format!("too many windows and letters to take along, limit={LIMIT}")));
    }
    for (key, value) in rows.drain(..) {
        to.set_state(&mut tx, &beside, key.clone(), None);
        let renumbered = renumber(&key, state, cursor.state);
        if let Some(key) = renumbered {
            to.set_state(&mut tx, &name, key, Some(value));
        }
    }
    // Letters of the old generation stay where they are: in the same instance they go on being counted.
    if same {
        cursor.counts.waiting += met.counts.waiting;
        to.move_cursor(&mut tx, &name, Some(first), cursor.encode());
    } else {
        from.remove_cursor(&mut tx, &name, first);
        to.move_cursor(&mut tx, &name, None, cursor.encode());
    }
    to.remove_cursor(&mut tx, &beside, second);
    tx.commit().await?;
    Ok(cursor)
}

/// The key of a row under another number of windows; none for a window of a number that is out of use.
fn renumber(key: &bytes::Bytes, from: u32, to: u32) -> Option<bytes::Bytes> {
    match key.first() {
        Some(&WINDOW) => {
            let rest = key.strip_prefix(super::window::key_prefix(from).as_ref())?;
            Some([super::window::key_prefix(to).as_ref(), rest].concat().into())
        }
        Some(&LETTER) => Some(key.clone()),
        _ => None,
    }
}
