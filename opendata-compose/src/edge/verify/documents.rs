//! Comparing with a vector instance: what an edge makes is written to a scratch instance with the same settings, and its documents are held against the
//! sink's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::Slate;
use opendata_vector::{Document, Reader, Select, Vector};

use super::fold::Fold;
use super::report::{Difference, Findings, Kind, Unverified};
use super::scratch::{self, Place, Scratch};
use super::{Options, Others, Prepared, Tell, state};

/// Documents that are compared at a time.
const PAGE: usize = 512;

struct Made {
    reader: Reader,
    deleted: HashSet<Bytes>,
    slate: Slate,
}

/// Compares what edges made with the vector instance that they all write to.
pub(super) async fn compare(
    edges: &mut [(Prepared<'_>, &mut Findings)],
    options: &Options,
    others: Others,
    path: &(dyn Fn(usize) -> String + Sync),
    tell: Tell<'_>,
) -> Result<()> {
    let Some((first, _)) = edges.first() else { return Ok(()) };
    let (view, name) = (first.subject.sink.clone(), first.spec().state_instance().to_owned());
    let sink = view.get_reader::<Vector>(&name)?;
    let config = view.instance::<Vector>(&name)?.config().clone();
    let mut made = Vec::new();
    for (index, (edge, findings)) in edges.iter_mut().enumerate() {
        let clock = Arc::new(ManualClock::default());
        let env = Env::seeded(Arc::clone(&clock) as _, 0);
        let builder = scratch::describe(&options.scratch, &path(index), env);
        let slate = builder.system::<Vector>(&name, config.clone()).open().await?;
        let mut scratch = Scratch::new(&slate, &name, clock)?;
        let folded = Fold::of(edge).await?.run(edge, &mut scratch, tell).await?;
        state::compare(edge, folded, findings).await?;
        let reader = slate.view().get_reader::<Vector>(&name)?;
        made.push(Made { reader, deleted: scratch.deleted, slate });
    }
    let compared = compare_all(edges, &made, &sink, others).await;
    for made in made {
        made.slate.close().await?;
    }
    compared
}

async fn compare_all(
    edges: &mut [(Prepared<'_>, &mut Findings)],
    made: &[Made],
    sink: &Reader,
    others: Others,
) -> Result<()> {
    let mut known = 0;
    for (index, ((edge, findings), one)) in edges.iter_mut().zip(made).enumerate() {
        let mut after: Option<Bytes> = None;
        loop {
            let page = one.reader.scan(after.as_deref(), PAGE, &Select::Everything).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.document.id.clone());
            let ids: Vec<Bytes> = page.iter().map(|found| found.document.id.clone()).collect();
            let there = by_id(sink, &ids).await?;
            let shared = elsewhere(made, index, &ids).await?;
            findings.shared += shared.len() as u64;
            for found in page {
                let id = found.document.id.clone();
                let is = there.get(&id);
                known += u64::from(is.is_some());
                if shared.contains(&id) {
                    continue;
                }
                findings.rows += 1;
                differ(edge, findings, &found.document, is);
            }
        }
        let gone: Vec<Bytes> = one.deleted.iter().cloned().collect();
        for ids in gone.chunks(PAGE) {
            let shared = elsewhere(made, index, ids).await?;
            for (id, _) in by_id(sink, ids).await?.into_iter().filter(|(id, _)| !shared.contains(id)) {
                known += 1;
                let place = format!("document {}, which was deleted", id.escape_ascii());
                findings.differ(Difference::new(Kind::Extra, "document", place));
            }
        }
        scratch::conclude(edge, findings).await?;
    }
    let documents = sink.stats().await?.documents;
    let Some((_, findings)) = edges.first_mut() else { return Ok(()) };
    match (others, documents.saturating_sub(known)) {
        (Others::None, foreign) if foreign > 0 => {
            let place = format!("{foreign} documents that no edge makes");
            findings.differ(Difference::new(Kind::Extra, "document", place));
        }
        (_, foreign) => findings.note(foreign, |rows| Unverified::Others { rows }),
    }
    Ok(())
}

async fn by_id(reader: &Reader, ids: &[Bytes]) -> Result<HashMap<Bytes, Document>> {
    let found = reader.get_all(ids, &Select::Everything).await?;
    Ok(found.into_iter().flatten().map(|found| (found.document.id.clone(), found.document)).collect())
}

/// Which of these ids other edges touch as well.
async fn elsewhere(made: &[Made], index: usize, ids: &[Bytes]) -> Result<HashSet<Bytes>> {
    let mut shared = HashSet::new();
    for (_, other) in made.iter().enumerate().filter(|(other, _)| *other != index) {
        shared.extend(by_id(&other.reader, ids).await?.into_keys());
        shared.extend(ids.iter().filter(|id| other.deleted.contains(*id)).cloned());
    }
    Ok(shared)
}

fn differ(edge: &Prepared<'_>, findings: &mut Findings, made: &Document, there: Option<&Document>) {
    let without = |document: &Document| {
        let mut document = document.clone();
        for field in edge.unrepeatable() {
            // That there is one is compared, and how long it is.
            if let Some(vector) = document.vectors.get_mut(field) {
                vector.fill(0.0);
            }
        }
        document
    };
    let place = format!("document {}", made.id.escape_ascii());
    let Some(there) = there else {
        note(findings, made);
        findings.differ(Difference::new(Kind::Missing, "document", place).expected(short(made)));
        return;
    };
    let (made, there) = (without(made), without(there));
    if made == there {
        return;
    }
    let mut fields = Vec::new();
    fields.extend(unlike(&made.texts, &there.texts));
    fields.extend(unlike(&made.attributes, &there.attributes));
    fields.extend(unlike(&made.vectors, &there.vectors));
    fields.extend(unlike(&made.sparse, &there.sparse));
    let (names, expected, found): (Vec<_>, Vec<_>, Vec<_>) = columns(fields);
    note(findings, &made);
    let place = format!("{place}, fields {}", names.join(", "));
    let difference = Difference::new(Kind::Changed, "document", place);
    findings.differ(difference.expected(expected.join(", ")).found(found.join(", ")));
}

fn note(findings: &mut Findings, made: &Document) {
    if findings.is_first() {
        findings.origin = Some(Place::Document(made.id.clone()));
    }
}

type Unlike = (String, String, String);

fn unlike<V: PartialEq + std::fmt::Debug>(
    made: &std::collections::BTreeMap<String, V>,
    there: &std::collections::BTreeMap<String, V>,
) -> Vec<Unlike> {
    let mut names: Vec<&String> = made.keys().chain(there.keys()).collect();
    names.sort();
    names.dedup();
    let text = |value: Option<&V>| value.map_or_else(|| "nothing".to_owned(), |value| brief(&format!("{value:?}")));
    let differs = |name: &&&String| made.get(**name) != there.get(**name);
    names.iter().filter(differs).map(|name| ((*name).clone(), text(made.get(*name)), text(there.get(*name)))).collect()
}

fn columns(fields: Vec<Unlike>) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (mut names, mut expected, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for (name, made, there) in fields {
        names.push(name);
        expected.push(made);
        found.push(there);
    }
    (names, expected, found)
}

fn short(document: &Document) -> String {
    brief(&format!("{:?} {:?}", document.texts, document.attributes))
}

fn brief(text: &str) -> String {
    let mut brief: String = text.chars().take(120).collect();
    if brief.len() < text.len() {
        brief.push_str("..");
    }
    brief
}
