//! Comparing with a log: each stream that an edge writes to holds what it made, in that order.
//!
//! A first run over source and sink keeps a count and a hash a stream. Only where those differ are single records looked at, of one stream.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use bytes::Bytes;
use opendata_core::{Position, Result, Timestamp};
use opendata_log::{Headers, Log, Reader, ScanOptions, Streams};
use twox_hash::XxHash3_128;

use super::fold::{Fold, Made, Take};
use super::report::{Difference, Findings, Kind, Unverified};
use super::state;
use super::{Others, Prepared, Tell};
use crate::edge::transform::Output;

/// The longest name of a stream.
const STREAM_BYTES: usize = 1_024;
/// How much of a payload is shown.
const SHOWN: usize = 160;

/// Records of a stream in short: how many, in which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    /// Depends on the order.
    chain: u128,
    /// The same without event times, which the sink gives to a record that has none.
    untimed: u128,
    /// Does not depend on the order.
    heap: u128,
    untimed_heap: u128,
    /// There was a record without an event time of its own.
    gaps: bool,
}

impl Sum {
    fn add(&mut self, record: Hashed) {
        self.count += 1;
        let step = |chain: u128, hash: u128| {
            let both = [chain.to_le_bytes(), hash.to_le_bytes()].concat();
            XxHash3_128::oneshot(&both)
        };
        self.chain = step(self.chain, record.timed.unwrap_or_default());
        self.untimed = step(self.untimed, record.untimed);
        self.heap = self.heap.wrapping_add(record.timed.unwrap_or_default());
        self.untimed_heap = self.untimed_heap.wrapping_add(record.untimed);
        self.gaps |= record.timed.is_none();
    }

    fn is_same(&self, other: &Self, order: Order) -> bool {
        self.count == other.count
            && match (order, self.gaps) {
                (Order::Kept, false) => self.chain == other.chain,
                (Order::Kept, true) => self.untimed == other.untimed,
                (Order::Any, false) => self.heap == other.heap,
                (Order::Any, true) => self.untimed_heap == other.untimed_heap,
            }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Kept,
    Any,
}

/// What identifies a record, wherever it stands: with its event time, if it has one of its own, and without.
#[derive(Clone, Copy, Debug)]
struct Hashed {
    timed: Option<u128>,
    untimed: u128,
}

impl Hashed {
    fn of(payload: &[u8], headers: &Headers, schema_id: u32, event_time: Option<Timestamp>) -> Self {
        let mut bytes = Vec::with_capacity(payload.len() + 64);
        bytes.extend_from_slice(&schema_id.to_le_bytes());
        for (name, value) in headers.iter() {
            for part in [name.as_bytes(), value] {
                bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(payload);
        let untimed = XxHash3_128::oneshot(&bytes);
        let timed = event_time.map(|time| {
            bytes.extend_from_slice(&time.0.to_le_bytes());
            XxHash3_128::oneshot(&bytes)
        });
        Self { timed, untimed }
    }

    fn of_new(record: &opendata_log::NewRecord) -> Self {
        Self::of(record.content(), &record.headers(), record.schema_id_set(), record.event_time_set())
    }

    fn of_stored(record: &opendata_log::Record) -> Self {
        Self::of(&record.payload, &record.headers, record.schema_id, Some(record.event_time))
    }
}

/// Sums up what an edge makes, without the first so many records of each stream.
#[derive(Default)]
struct Summing {
    skip: HashMap<Bytes, u64>,
    seen: HashMap<Bytes, u64>,
    sums: HashMap<Bytes, Sum>,
    /// Records of this stream are kept one by one.
    wanted: Option<Bytes>,
    kept: Vec<(Hashed, Position, String)>,
}

#[async_trait]
impl Take for Summing {
    async fn take(&mut self, _at: Timestamp, made: Vec<Made>) -> Result<Vec<(usize, String)>> {
        let mut refused = Vec::new();
        for Made { index, origin, outputs } in made {
            let fits = |output: &Output| match output {
                Output::Append(stream, _) => (1..=STREAM_BYTES).contains(&stream.len()),
                _ => true,
            };
            if !outputs.iter().all(fits) {
                refused.push((index, "the sink cannot have such a stream".to_owned()));
                continue;
            }
            for output in outputs {
                let Output::Append(stream, record) = output else { continue };
                let hashed = Hashed::of_new(&record);
                if self.wanted.as_ref() == Some(&stream) {
                    self.kept.push((hashed, origin.unwrap_or_default(), shown(record.content())));
                }
                let seen = self.seen.entry(stream.clone()).or_default();
                *seen += 1;
                if *seen > self.skip.get(&stream).copied().unwrap_or_default() {
                    self.sums.entry(stream).or_default().add(hashed);
                }
            }
        }
        Ok(refused)
    }
}

/// Sums up what a log holds, without the first so many records of each stream.
async fn sums_of(log: &Reader, skip: &HashMap<Bytes, u64>) -> Result<HashMap<Bytes, Sum>> {
    let mut sums: HashMap<Bytes, Sum> = HashMap::new();
    let mut seen: HashMap<Bytes, u64> = HashMap::new();
    let mut scan = log.scan_with(ScanOptions::of(Streams::All)).await?;
    while let Some(batch) = scan.next_batch().await? {
        for record in batch {
            if !skip.is_empty() {
                let seen = seen.entry(record.stream.clone()).or_default();
                *seen += 1;
                if *seen <= skip.get(&record.stream).copied().unwrap_or_default() {
                    continue;
                }
            }
            sums.entry(record.stream.clone()).or_default().add(Hashed::of_stored(&record));
        }
    }
    Ok(sums)
}

fn shown(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push_str("..");
    }
    short
}

/// Compares what edges made with the log that they all write to.
pub(super) async fn compare(edges: &mut [(Prepared<'_>, &mut Findings)], others: Others, tell: Tell<'_>) -> Result<()> {
    let Some((first, _)) = edges.first() else { return Ok(()) };
    let log = first.subject.sink.get_reader::<Log>(first.spec().state_instance())?;
    let sink_trim = log.trim_point().await?;
    let mut made: Vec<HashMap<Bytes, Sum>> = Vec::new();
    for (edge, findings) in edges.iter_mut() {
        let mut summing = Summing::default();
        let folded = Fold::of(edge).await?.run(edge, &mut summing, tell).await?;
        state::compare(edge, folded, findings).await?;
        made.push(summing.sums);
    }
    let mut held = sums_of(&log, &HashMap::new()).await?;
    let mut shared: HashMap<Bytes, usize> = HashMap::new();
    for stream in made.iter().flat_map(HashMap::keys) {
        *shared.entry(stream.clone()).or_default() += 1;
    }
    count_others(edges, &held, &shared, others);
    let several: HashSet<&Bytes> = shared.iter().filter(|(_, edges)| **edges > 1).map(|(stream, _)| stream).collect();
    compare_shared(edges, &made, &held, &several, sink_trim);
    for ((edge, findings), sums) in edges.iter_mut().zip(&mut made) {
        sums.retain(|stream, _| !several.contains(stream));
        let cut = align(edge, sums, &held, sink_trim, &log).await?;
        findings.note(cut.dropped, |rows| Unverified::DroppedInSink { rows });
        if !cut.is_empty() {
            // Only the ends can be compared: once more, without what lies before them.
            let mut summing = Summing { skip: cut.made, ..Summing::default() };
            Fold::of(edge).await?.run(edge, &mut summing, tell).await?;
            *sums = summing.sums;
            sums.retain(|stream, _| !several.contains(stream));
            let streams: Vec<Bytes> = cut.streams;
            let ends = sums_of(&log, &cut.held).await?;
            for stream in streams {
                let end = ends.get(&stream).copied().unwrap_or_default();
                held.insert(stream, end);
            }
        }
        let mut unlike: Vec<Bytes> = Vec::new();
        for (stream, sum) in sums.iter() {
            findings.rows += sum.count;
            if !sum.is_same(&held.get(stream).copied().unwrap_or_default(), Order::Kept) {
                unlike.push(stream.clone());
            }
        }
        unlike.sort();
        for stream in unlike {
            let difference = match findings.is_first() {
                true => locate(edge, &log, &stream, sink_trim, tell).await?,
                false => Difference::new(Kind::Changed, "record", format!("stream {}", stream.escape_ascii())),
            };
            findings.differ(difference);
        }
    }
    Ok(())
}

fn count_others(
    edges: &mut [(Prepared<'_>, &mut Findings)],
    held: &HashMap<Bytes, Sum>,
    shared: &HashMap<Bytes, usize>,
    others: Others,
) {
    let Some((_, findings)) = edges.first_mut() else { return };
    let foreign: BTreeMap<&Bytes, u64> = held
        .iter()
        .filter(|(stream, _)| !shared.contains_key(*stream))
        .map(|(stream, sum)| (stream, sum.count))
        .collect();
    match (others, foreign.first_key_value()) {
        (Others::None, Some((stream, count))) => {
            let place = format!("stream {}, {count} records", stream.escape_ascii());
            findings.differ(Difference::new(Kind::Extra, "record", place));
        }
        _ => findings.note(foreign.values().sum(), |rows| Unverified::Others { rows }),
    }
}

/// Streams that several edges write to: the same records, in whatever order they met.
fn compare_shared(
    edges: &mut [(Prepared<'_>, &mut Findings)],
    made: &[HashMap<Bytes, Sum>],
    held: &HashMap<Bytes, Sum>,
    several: &HashSet<&Bytes>,
    sink_trim: Position,
) {
    let whole = edges.iter().all(|(edge, _)| edge.whole) && sink_trim == Position::ZERO;
    let Some((_, findings)) = edges.first_mut() else { return };
    for stream in several {
        let mut sum = Sum::default();
        for of in made.iter().filter_map(|sums| sums.get(*stream)) {
            sum.count += of.count;
            sum.heap = sum.heap.wrapping_add(of.heap);
            sum.untimed_heap = sum.untimed_heap.wrapping_add(of.untimed_heap);
            sum.gaps |= of.gaps;
        }
        let there = held.get(*stream).copied().unwrap_or_default();
        if !whole {
            findings.note(there.count, |rows| Unverified::Shared { rows });
            continue;
        }
        findings.rows += sum.count;
        if !sum.is_same(&there, Order::Any) {
            let kind = match sum.count.cmp(&there.count) {
                std::cmp::Ordering::Less => Kind::Extra,
                std::cmp::Ordering::Greater => Kind::Missing,
                std::cmp::Ordering::Equal => Kind::Changed,
            };
            let place = format!("stream {}, which several edges write to", stream.escape_ascii());
            let difference = Difference::new(kind, "record", place);
            let difference = difference.expected(format!("{} records", sum.count));
            findings.differ(difference.found(format!("{} records", there.count)));
        }
    }
}

/// What lies before the ends of streams that can be compared.
#[derive(Default)]
struct Cut {
    streams: Vec<Bytes>,
    made: HashMap<Bytes, u64>,
    held: HashMap<Bytes, u64>,
    dropped: u64,
}

impl Cut {
    fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

/// Where less was made again than the edge ever made, or the sink's retention dropped some of it, only the ends are compared.
async fn align(
    edge: &Prepared<'_>,
    made: &HashMap<Bytes, Sum>,
    held: &HashMap<Bytes, Sum>,
    sink_trim: Position,
    log: &Reader,
) -> Result<Cut> {
    let mut cut = Cut::default();
    for (stream, sum) in made {
        let there = held.get(stream).map_or(0, |sum| sum.count);
        let trimmed = sink_trim > Position::ZERO || log.trim_point_of(stream).await? > Position::ZERO;
        let before_made = if trimmed { sum.count.saturating_sub(there) } else { 0 };
        let before_held = if edge.whole { 0 } else { there.saturating_sub(sum.count) };
        cut.dropped += before_made;
        if before_made > 0 || before_held > 0 {
            cut.made.insert(stream.clone(), before_made);
            cut.held.insert(stream.clone(), before_held);
            cut.streams.push(stream.clone());
        }
    }
    Ok(cut)
}

/// The first record of a stream that differs.
async fn locate(
    edge: &Prepared<'_>,
    log: &Reader,
    stream: &Bytes,
    sink_trim: Position,
    tell: Tell<'_>,
) -> Result<Difference> {
    let mut summing = Summing { wanted: Some(stream.clone()), ..Summing::default() };
    Fold::of(edge).await?.run(edge, &mut summing, tell).await?;
    let made = summing.kept;
    let gaps = made.iter().any(|(hashed, ..)| hashed.timed.is_none());
    let hash = |hashed: &Hashed| if gaps { hashed.untimed } else { hashed.timed.unwrap_or_default() };
    let mut there: Vec<(u128, Position)> = Vec::new();
    let mut scan = log.scan(stream, ..).await?;
    while let Some(batch) = scan.next_batch().await? {
        there.extend(batch.iter().map(|record| (hash(&Hashed::of_stored(record)), record.position)));
    }
    let mut made_from = if sink_trim > Position::ZERO { made.len().saturating_sub(there.len()) } else { 0 };
    let mut there_from = if edge.whole { 0 } else { there.len().saturating_sub(made.len()) };
    let (made_at, there_at) =
        (|at: usize| made.get(at).map(|(hashed, ..)| hash(hashed)), |at: usize| there.get(at).map(|(hash, _)| *hash));
    while made_at(made_from).is_some() && made_at(made_from) == there_at(there_from) {
        (made_from, there_from) = (made_from + 1, there_from + 1);
    }
    let name = stream.escape_ascii();
    let expected = made.get(made_from);
    let found = match there.get(there_from) {
        Some((_, position)) => log.scan(stream, *position..=*position).await?.next().await?,
        None => None,
    };
    let in_source = expected.map(|(_, origin, _)| *origin);
    let text = |at: Option<&(Hashed, Position, String)>| at.map(|(.., text)| text.clone()).unwrap_or_default();
    let missing =
        |place: String| Difference::new(Kind::Missing, "record", place).source(in_source).expected(text(expected));
    let Some(found) = found else { return Ok(missing(format!("stream {name}, at its end"))) };
    let place = format!("stream {name}, position {}", found.position);
    let payload = shown(&found.payload);
    let was_made = made.iter().any(|(hashed, ..)| Some(hash(hashed)) == there_at(there_from));
    let extra = if was_made { Kind::Doubled } else { Kind::Extra };
    Ok(match expected {
        None => Difference::new(extra, "record", place).found(payload),
        Some(_) if made_at(made_from + 1) == there_at(there_from) && there_at(there_from + 1) != made_at(made_from) => {
            missing(format!("stream {name}, before position {}", found.position))
        }
        Some(_) if there_at(there_from + 1) == made_at(made_from) => {
            Difference::new(extra, "record", place).found(payload)
        }
        Some(_) => {
            let difference = Difference::new(Kind::Changed, "record", place).source(in_source);
            difference.expected(text(expected)).found(payload)
        }
    })
}
