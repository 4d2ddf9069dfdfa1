//! What must hold, whatever happened.
//!
//! - What a log has shown once it shows for ever, until it is trimmed: nothing is lost, nothing changes.
//! - A record that was acknowledged as durable is there; one that was appended once is there once at most.
//! - For each edge, at every cut and now: the sink holds exactly what the edge makes of the source's records before its cursor, in their order. Each of them was
//!   applied, filtered or kept as a letter, and is counted as one of these.
//! - What an edge tells the outside has come there at least once, always under the same id, and nothing of a fork has.
//! - `trim <= next <= head + 1`, and in one slate and generation a cursor never goes back.

use std::collections::{BTreeMap, BTreeSet};

use opendata_core::slate::View;
use opendata_core::{Position, Timestamp};
use opendata_log::Log;
use opendata_tsdb::promql::Storage;
use opendata_tsdb::{Matcher, Tsdb};

use super::graph::{self, Fate, metric};
use super::outside::Outside;
use super::world::{Appended, Check};
use crate::cut::PastComposition;
use crate::edge::{Cursor, EdgeSpec, Letter};

/// A record as it was seen.
type Seen = (Vec<u8>, Vec<u8>);

/// A cut that was committed.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// What main held then of what was appended durably.
    pub(super) durable: BTreeMap<String, BTreeSet<u64>>,
    pub(super) expires: Option<Timestamp>,
    /// Where its slates lay, and at which positions.
    pub(super) members: BTreeMap<String, (String, Position)>,
}

/// What is known.
#[derive(Default)]
pub(super) struct Ledger {
    /// All that logs have shown, by the path of the slate.
    history: BTreeMap<String, BTreeMap<Position, Seen>>,
    /// What was appended to main durably, by node.
    pub(super) durable: BTreeMap<String, BTreeSet<u64>>,
    /// What was written in forks that never became main.
    pub(super) elsewhere: BTreeSet<u64>,
    pub(super) cuts: BTreeMap<String, Kept>,
    pub(super) outside: Outside,
    cursors: BTreeMap<(String, String, u64), Position>,
}

/// Which moment is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Now,
    Then,
}

/// A node as it is seen at some moment.
pub(super) struct Node {
    pub(super) path: String,
    pub(super) view: View,
}

impl Ledger {
    pub(super) fn appended(&mut self, appended: &Appended) {
        if appended.durable {
            self.durable.entry(appended.node.clone()).or_default().insert(appended.number);
        }
    }

    /// What was written in a fork belongs to main now.
    pub(super) fn forget_elsewhere(&mut self, numbers: impl Iterator<Item = u64>) {
        numbers.for_each(|number| {
            self.elsewhere.remove(&number);
        });
    }

    /// A slate began as a copy of another's view.
    pub(super) fn forked(&mut self, from: &str, position: Position, to: &str) {
        let until = self.history.get(from).map(|all| all.range(..=position).map(|(at, seen)| (*at, seen.clone())));
        let copy = until.map(Iterator::collect).unwrap_or_default();
        self.history.insert(to.to_owned(), copy);
    }

    /// Reads a log, and holds it against all it has shown before. Returns the numbers that were appended to it directly.
    pub(super) async fn collect(&mut self, node: &Node) -> Check<BTreeSet<u64>> {
        let words = |error: opendata_core::Error| format!("{} cannot be read: {error}", node.path);
        if !node.view.instances().any(|instance| &*instance.name == "l") {
            // The part of a node that has no log.
            return Ok(BTreeSet::new());
        }
        let log = node.view.get_reader::<Log>("l").map_err(words)?;
        let (trim, end) = (log.trim_point().await.map_err(words)?, node.view.position());
        let records = log.scan_all(..).await.map_err(words)?.collect().await.map_err(words)?;
        let history = self.history.entry(node.path.clone()).or_default();
        let mut shown = BTreeSet::new();
        for record in &records {
            let seen = (record.stream.to_vec(), record.payload.to_vec());
            let before = history.entry(record.position).or_insert_with(|| seen.clone());
            if *before != seen {
                return Err(format!("a record has changed, path={}, position={}", node.path, record.position));
            }
            if !shown.insert(record.position) {
                return Err(format!("a position comes twice, path={}, position={}", node.path, record.position));
            }
        }
        let lost = history.range(trim..=end).find(|(position, _)| !shown.contains(*position));
        if let Some((position, (_, payload))) = lost {
            let payload = String::from_utf8_lossy(payload);
            return Err(format!("a record was lost, path={}, position={position}, payload={payload}", node.path));
        }
        self.own_records(&node.path, end)
    }

    /// The numbers that were appended to a log directly, each once.
    fn own_records(&self, path: &str, end: Position) -> Check<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        for (_, (stream, payload)) in self.history.get(path).into_iter().flat_map(|all| all.range(..=end)) {
            if stream == b"own" && !numbers.insert(number(payload)) {
                return Err(format!("a record comes twice, path={path}, number={}", number(payload)));
            }
        }
        Ok(numbers)
    }

    /// Holds an edge against its source.
    async fn edge(&mut self, edge: &EdgeSpec, source: &Node, sink: &Node, when: When) -> Check {
        let words = |error: opendata_core::Error| format!("edge {} cannot be read: {error}", edge.id);
        let cursor = Cursor::read(&sink.view, edge.state_instance(), &edge.id).await.map_err(words)?;
        let log = source.view.get_reader::<Log>("l").map_err(words)?;
        let (trim, head) = (log.trim_point().await.map_err(words)?, source.view.position());
        let next = cursor.as_ref().map_or(Position::ZERO, |cursor| cursor.next);
        if let Some(cursor) = &cursor {
            if next > head.next() || next < trim {
                return Err(format!(
                    "edge {}: the cursor lies outside the source, trim={trim}, next={next}, head={head}",
                    edge.id
                ));
            }
            let key = (sink.path.clone(), edge.id.clone(), cursor.generation);
            let before = self.cursors.get(&key).copied().unwrap_or_default();
            // A cut may be looked at after what came behind it.
            if before > next && when == When::Now {
                return Err(format!("edge {}: the cursor went back, before={before}, next={next}", edge.id));
            }
            self.cursors.insert(key, before.max(next));
        }
        let empty = BTreeMap::new();
        let all = self.history.get(&source.path).unwrap_or(&empty);
        let fates: Vec<_> =
            all.range(..next).map(|(at, (_, payload))| (*at, payload, graph::fate(&edge.id, payload))).collect();
        let count = |wanted: fn(&Fate) -> bool| fates.iter().filter(|(_, _, fate)| wanted(fate)).count() as u64;
        let counts = cursor.as_ref().map(|cursor| cursor.counts).unwrap_or_default();
        let found = (counts.applied, counts.filtered, counts.refused);
        let expected = (
            count(|fate| matches!(fate, Fate::Applied(_))),
            count(|fate| *fate == Fate::Filtered),
            count(|fate| *fate == Fate::Refused),
        );
        if found != expected {
            return Err(format!(
                "edge {}: applied, filtered, refused are {found:?}, shall be {expected:?} before {next}",
                edge.id
            ));
        }
        let letters =
            Letter::list(&sink.view, edge.state_instance(), &edge.id, None, usize::MAX).await.map_err(words)?;
        let letters: Vec<_> = letters.iter().map(|letter| letter.position).collect();
        let refused: Vec<_> = fates.iter().filter(|(_, _, fate)| *fate == Fate::Refused).map(|(at, ..)| *at).collect();
        if letters != refused {
            return Err(format!("edge {}: the letters are {letters:?}, shall be {refused:?}", edge.id));
        }
        if edge.to.is_external() {
            let untold = fates.iter().find(|(_, payload, _)| !self.outside.has(&edge.id, number(payload)));
            return untold.map_or(Ok(()), |(at, ..)| {
                Err(format!("edge {}: a record before the cursor {next} never came outside, position={at}", edge.id))
            });
        }
        match edge.to.instance.as_deref() {
            Some("t") => {
                let sum =
                    fates.iter().map(|(_, _, fate)| if let Fate::Applied(k) = fate { *k } else { 0 }).sum::<u64>();
                let found = counter(&sink.view, &metric(&edge.id)).await.map_err(words)?;
                if found != sum as f64 {
                    return Err(format!("edge {}: the sum is {found}, shall be the fold {sum} before {next}", edge.id));
                }
            }
            _ => {
                let applied = fates.iter().filter(|(_, _, fate)| matches!(fate, Fate::Applied(_)));
                let applied: Vec<&[u8]> = applied.map(|(_, payload, _)| payload.as_slice()).collect();
                let copied = self.history.get(&sink.path).unwrap_or(&empty).range(..=sink.view.position());
                let copied = copied.filter(|(_, (stream, _))| *stream == edge.id.as_bytes());
                let copied: Vec<&[u8]> = copied.map(|(_, (_, payload))| payload.as_slice()).collect();
                if copied != applied {
                    let at = copied.iter().zip(&applied).take_while(|(a, b)| a == b).count();
                    return Err(format!(
                        "edge {}: the sink is not the fold of its source before {next}: {} records, shall be {}, first difference at {at}",
                        edge.id,
                        copied.len(),
                        applied.len()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Holds all nodes and edges of a moment against each other.
    pub(super) async fn whole(&mut self, edges: &[EdgeSpec], nodes: &BTreeMap<String, Node>, when: When) -> Check {
        for (name, node) in nodes {
            for number in self.collect(node).await? {
                if self.elsewhere.contains(&number) {
                    return Err(format!("what was written in a fork is in main, node={name}, number={number}"));
                }
            }
        }
        for edge in edges {
            if let (Some(source), Some(sink)) = (nodes.get(&edge.from.node), nodes.get(edge.runs_on())) {
                self.edge(edge, source, sink, when).await?;
            }
        }
        Ok(())
    }

    /// Whether all that was acknowledged as durable is there.
    pub(super) fn nothing_lost(&self, node: &str, path: &str) -> Check {
        let there = self.own_records(path, Position::MAX)?;
        let lost = self.durable.get(node).into_iter().flatten().find(|number| !there.contains(number));
        lost.map_or(Ok(()), |number| Err(format!("what was acknowledged is not there, node={node}, number={number}")))
    }

    /// What of the durable records of main a set of nodes holds.
    pub(super) fn durable_in(
        &self,
        members: &BTreeMap<String, (String, Position)>,
    ) -> Check<BTreeMap<String, BTreeSet<u64>>> {
        members.iter().map(|(node, (path, end))| Ok((node.clone(), self.own_records(path, *end)?))).collect()
    }
}

/// The nodes of a cut.
pub(super) fn nodes_of(past: &PastComposition) -> Check<BTreeMap<String, Node>> {
    let node = |(name, member): (&String, &crate::control::CutMember)| {
        let reader = past.node(name).map_err(|error| error.to_string())?;
        Ok((name.clone(), Node { path: member.path.clone(), view: reader.view() }))
    };
    past.cut().members.iter().map(node).collect()
}

pub(super) fn number(payload: &[u8]) -> u64 {
    let digits = payload.iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

async fn counter(view: &View, name: &str) -> opendata_core::Result<f64> {
    let metrics = view.get_reader::<Tsdb>("t")?;
    let found = metrics.select(&[Matcher::metric(name)], 0, i64::MAX / 4).await?;
    Ok(found.first().and_then(|series| series.values.last()).copied().unwrap_or(0.0))
}
