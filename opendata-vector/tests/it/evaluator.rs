//! Random documents, random changes and random queries, held against a plain evaluation of each: in the writer, at a checkpoint, in
//! another process and after reopening.
//!
//! Components are small whole numbers, so that distances and inner products are exact and ties are real: they must fall as they
//! are documented, older versions first.

use std::collections::BTreeMap;

use opendata_core::slate::{At, SlateReader};
use opendata_vector::{
    AttributeType, Config, Document, Effort, Filter, Fusion, Hit, Metric, Patch, Query, Reader, Select, Stemming,
    Storage, TextField, Vector, VectorField,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::bed::{Bed, seeds};

fn config() -> Config {
    let english = TextField { stemming: Some(Stemming::English), stop_words: vec!["the".to_owned()] };
    Config { tail_rows: 32, tail_limit_rows: 64, cell_rows: 8, ..Config::default() }
        .vector("near", VectorField::new(4, Metric::L2))
        .vector("other", VectorField::new(3, Metric::InnerProduct).stored_as(Storage::F16))
        .attribute("kind", AttributeType::String)
        .attribute("year", AttributeType::I64)
        .attribute("tags", AttributeType::Strings)
        .text("body", english)
}

/// A document as the plain evaluation knows it.
#[derive(Clone, Default)]
struct Plain {
    version: u64,
    near: Option<Vec<f32>>,
    other: Option<Vec<f32>>,
    kind: Option<&'static str>,
    year: Option<i64>,
    /// Words as they are written, and as they are found.
    body: Option<Vec<(&'static str, Option<&'static str>)>>,
}

const KINDS: [&str; 3] = ["a", "ab", "b"];
const WORDS: [(&str, Option<&str>); 6] = [
    ("Foxes", Some("fox")),
    ("fox", Some("fox")),
    ("jumping", Some("jump")),
    ("jumps", Some("jump")),
    ("the", None),
    ("red", Some("red")),
];

fn components(random: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| f32::from(random.random_range(-6i8..7))).collect()
}

fn plain(random: &mut StdRng) -> Plain {
    Plain {
        version: 0,
        near: random.random_bool(0.9).then(|| components(random, 4)),
        other: random.random_bool(0.6).then(|| components(random, 3)),
        kind: random.random_bool(0.8).then(|| KINDS[random.random_range(0..3)]),
        year: random.random_bool(0.8).then(|| random.random_range(0..10)),
        body: random
            .random_bool(0.8)
            .then(|| (0..random.random_range(0..8)).map(|_| WORDS[random.random_range(0..6)]).collect()),
    }
}

fn text(words: &[(&str, Option<&str>)]) -> String {
    words.iter().map(|(written, _)| *written).collect::<Vec<_>>().join(" ")
}

fn document(id: &str, plain: &Plain) -> Document {
    let mut document = Document::new(id);
    if let Some(vector) = &plain.near {
        document = document.vector("near", vector.clone());
    }
    if let Some(vector) = &plain.other {
        document = document.vector("other", vector.clone());
    }
    if let Some(kind) = plain.kind {
        document = document.attribute("kind", kind).attribute("tags", vec![kind.to_owned(), "every".to_owned()]);
    }
    if let Some(year) = plain.year {
        document = document.attribute("year", year);
    }
    if let Some(words) = &plain.body {
        document = document.text("body", text(words));
    }
    document
}

type All = BTreeMap<String, Plain>;

/// One transaction of some random changes.
async fn change(bed: &Bed, random: &mut StdRng, all: &mut All) {
    if random.random_bool(0.05) {
        let year = random.random_range(0..10);
        bed.commit(|op| _ = op.delete_where(Filter::eq("year", year))).await.unwrap();
        all.retain(|_, plain| plain.year != Some(year));
        return;
    }
    let mut changed: BTreeMap<String, Option<Plain>> = BTreeMap::new();
    let mut tx = bed.slate.begin();
    for _ in 0..random.random_range(1..12) {
        let id = format!("{:03}", random.random_range(0..160));
        if changed.contains_key(&id) {
            continue;
        }
        match random.random_range(0..10) {
            0 => {
                tx.on(&bed.docs).delete(&id);
                changed.insert(id, None);
            }
            1 | 2 if all.contains_key(&id) => {
                let mut plain = all[&id].clone();
                plain.year = random.random_bool(0.7).then(|| random.random_range(0..10));
                plain.other = random.random_bool(0.5).then(|| components(random, 3));
                let patch = match plain.year {
                    Some(year) => Patch::new().attribute("year", year),
                    None => Patch::new().without_attribute("year"),
                };
                tx.on(&bed.docs).patch(&id, patch.vector("other", plain.other.clone()));
                changed.insert(id, Some(plain));
            }
            _ => {
                let plain = plain(random);
                tx.on(&bed.docs).upsert(document(&id, &plain));
                changed.insert(id, Some(plain));
            }
        }
    }
    let commit = tx.commit().await.unwrap();
    let versions = &commit.receipt(&bed.docs).unwrap().versions;
    for (id, plain) in changed {
        match plain {
            None => _ = all.remove(&id),
            Some(mut plain) => {
                let (_, version) = versions.iter().find(|(own, _)| *own == id).unwrap();
                plain.version = version.0;
                all.insert(id, plain);
            }
        }
    }
}

type Means = Box<dyn Fn(&Plain) -> bool>;

/// A filter, and what it means.
fn filter(random: &mut StdRng, depth: usize) -> (Filter, Means) {
    let (kind, year) = (KINDS[random.random_range(0..3)], random.random_range(0..10i64));
    match random.random_range(0..if depth == 0 { 6 } else { 9 }) {
        0 => (Filter::eq("kind", kind), Box::new(move |plain| plain.kind == Some(kind))),
        1 => (Filter::ne("kind", kind), Box::new(move |plain| plain.kind.is_some_and(|own| own != kind))),
        2 => (Filter::prefix("kind", "a"), Box::new(|plain| plain.kind.is_some_and(|own| own.starts_with('a')))),
        3 => (Filter::ge("year", year), Box::new(move |plain| plain.year.is_some_and(|own| own >= year))),
        4 => (Filter::contains("tags", kind), Box::new(move |plain| plain.kind == Some(kind))),
        5 => (Filter::exists("year"), Box::new(|plain| plain.year.is_some())),
        6 => {
            let (one, is) = filter(random, depth - 1);
            (one.not(), Box::new(move |plain| !is(plain)))
        }
        7 => {
            let ((one, is), (two, also)) = (filter(random, depth - 1), filter(random, depth - 1));
            (one.and(two), Box::new(move |plain| is(plain) && also(plain)))
        }
        _ => {
            let ((one, is), (two, also)) = (filter(random, depth - 1), filter(random, depth - 1));
            (one.or(two), Box::new(move |plain| is(plain) || also(plain)))
        }
    }
}

/// Score and version of each document that a ranking may have, best first.
fn ranked(mut found: Vec<(f64, u64)>) -> Vec<(f64, u64)> {
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found
}

/// BM25 of some words, over all documents that have the field.
fn bm25(all: &All, words: &[&str]) -> BTreeMap<u64, f64> {
    let texts: Vec<(u64, Vec<&str>)> = all
        .values()
        .filter_map(|plain| {
            Some((plain.version, plain.body.as_ref()?.iter().filter_map(|(_, found)| *found).collect()))
        })
        .collect();
    let count = texts.len() as f64;
    let average = texts.iter().map(|(_, words)| words.len()).sum::<usize>() as f64 / count;
    let mut scores = BTreeMap::new();
    for term in words {
        let with = texts.iter().filter(|(_, words)| words.contains(term)).count() as f64;
        let idf = (1.0 + (count - with + 0.5) / (with + 0.5)).ln();
        for (version, words) in &texts {
            let occurrences = words.iter().filter(|word| *word == term).count() as f64;
            if occurrences > 0.0 {
                let norm = 1.2 * (0.25 + 0.75 * words.len() as f64 / average);
                *scores.entry(*version).or_default() += idf * occurrences * 2.2 / (occurrences + norm);
            }
        }
    }
    scores
}

/// The three rankings that a query may fuse, each with its plain evaluation over what a filter lets through.
struct Legs {
    near: Vec<f32>,
    other: Vec<f32>,
    words: (&'static str, Vec<&'static str>),
}

impl Legs {
    fn random(random: &mut StdRng) -> Self {
        let words = [("the fox", vec!["fox"]), ("jump foxes", vec!["fox", "jump"]), ("Red red the", vec!["red"])];
        let words = words[random.random_range(0..3)].clone();
        Self { near: components(random, 4), other: components(random, 3), words }
    }

    fn query(&self, leg: usize) -> Query {
        match leg {
            0 => Query::nearest("near", self.near.clone()),
            1 => Query::nearest("other", self.other.clone()),
            _ => Query::words("body", self.words.0),
        }
    }

    fn add(&self, query: Query, leg: usize, weight: f64) -> Query {
        match leg {
            0 => query.and_nearest("near", self.near.clone(), weight),
            1 => query.and_nearest("other", self.other.clone(), weight),
            _ => query.and_words([("body", 1.0)], self.words.0, weight),
        }
    }

    fn expected(&self, leg: usize, all: &All, allows: impl Fn(&Plain) -> bool) -> Vec<(f64, u64)> {
        let scores = if leg == 2 { bm25(all, &self.words.1) } else { BTreeMap::new() };
        let found = all.values().filter(|plain| allows(plain)).filter_map(|plain| {
            let pairs = |own: &[f32], query: &[f32]| own.iter().copied().zip(query.iter().copied()).collect::<Vec<_>>();
            let score = match leg {
                0 => -pairs(plain.near.as_ref()?, &self.near)
                    .iter()
                    .map(|(a, b)| f64::from((a - b) * (a - b)))
                    .sum::<f64>(),
                1 => pairs(plain.other.as_ref()?, &self.other).iter().map(|(a, b)| f64::from(a * b)).sum(),
                _ => *scores.get(&plain.version)?,
            };
            Some((score, plain.version))
        });
        ranked(found.collect())
    }
}

fn found(hits: &[Hit]) -> Vec<(f64, u64)> {
    hits.iter().map(|hit| (hit.score, hit.version.0)).collect()
}

/// Fusion by the book, from the lists of single rankings.
fn fused(lists: &[(Vec<(f64, u64)>, f64)], fusion: Fusion) -> Vec<(f64, u64)> {
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    for (list, weight) in lists {
        let (best, worst) = (list.first().map_or(0.0, |one| one.0), list.last().map_or(0.0, |one| one.0));
        for (rank, (score, version)) in list.iter().enumerate() {
            let part = match fusion {
                Fusion::ReciprocalRank { k } => 1.0 / (k + rank as f64 + 1.0),
                Fusion::Weighted if best > worst => (score - worst) / (best - worst),
                Fusion::Weighted => 1.0,
            };
            *sums.entry(*version).or_default() += weight * part;
        }
    }
    ranked(sums.into_iter().map(|(version, score)| (score, version)).collect())
}

/// At most so many of each year, in order.
fn grouped(ranking: Vec<(f64, u64)>, all: &All, per_group: usize) -> Vec<(f64, u64)> {
    let years: BTreeMap<u64, Option<i64>> = all.values().map(|plain| (plain.version, plain.year)).collect();
    let mut taken: BTreeMap<Option<i64>, usize> = BTreeMap::new();
    let has_room = |(_, version): &(f64, u64)| {
        let taken = taken.entry(years[version]).or_default();
        *taken += 1;
        *taken <= per_group
    };
    ranking.into_iter().filter(has_room).collect()
}

async fn holds(readers: &[Reader], random: &mut StdRng, all: &All) {
    let legs = Legs::random(random);
    let (filter, allows) = filter(random, 2);
    let efforts = [Effort::Exact, Effort::Cells(10_000), Effort::Recall(1.0)];
    let effort = efforts[random.random_range(0..3)];
    let depth = random.random_range(5..40);
    let mut lists = Vec::new();
    for leg in 0..3 {
        let expected = legs.expected(leg, all, &allows);
        let query = legs.query(leg).filter(filter.clone()).effort(effort).select(Select::Id).limit(depth);
        for reader in readers {
            let results = reader.search(&query).await.unwrap();
            let matching = all.values().filter(|plain| allows(plain)).count() as u64;
            assert_eq!(results.explain.matching, Some(matching), "{filter}");
            let got = found(&results.hits);
            assert_eq!(got.len(), expected.len().min(depth), "leg {leg}, {filter}, {effort:?}");
            for ((score, version), (wanted, own)) in got.iter().zip(&expected) {
                assert!((score - wanted).abs() < 1e-9, "leg {leg}, {filter}, {effort:?}: {score} for {wanted}");
                // The order of sums of words may differ in the last bit; all else is exact.
                assert!(leg == 2 || version == own, "leg {leg}, {filter}, {effort:?}");
            }
        }
        lists.push(found(&readers[0].search(&query).await.unwrap().hits));
    }
    let weights = [1.0, 2.0, 0.5];
    let fusion = if random.random_bool(0.5) { Fusion::default() } else { Fusion::Weighted };
    let mut query = Query::new().filter(filter).effort(effort).fusion(fusion).depth(depth).limit(5).select(Select::Id);
    let first = random.random_range(0..2);
    for (leg, weight) in weights.into_iter().enumerate().skip(first) {
        query = legs.add(query, leg, weight);
    }
    let lists: Vec<_> = (first..3).map(|leg| (lists[leg].clone(), weights[leg])).collect();
    let whole = fused(&lists, fusion);
    for (query, expected) in [
        (query.clone(), whole.clone()),
        (query.clone().offset(3), whole.iter().skip(3).copied().collect()),
        (query.group_by("year", 2), grouped(whole, all, 2)),
    ] {
        for reader in readers {
            let got = found(&reader.search(&query).await.unwrap().hits);
            assert_eq!(got, expected[..expected.len().min(5)], "{query:?}");
        }
    }
}

#[tokio::test]
async fn every_query_is_what_a_plain_evaluation_says() {
    for seed in seeds(2, 20) {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut bed = Bed::new(config()).await;
        let mut all = All::new();
        for round in 0..5 {
            for _ in 0..20 {
                change(&bed, &mut random, &mut all).await;
            }
            match random.random_range(0..3) {
                0 => _ = bed.slate.maintain().await.unwrap(),
                1 => bed.reopen().await,
                _ => {}
            }
            let name = format!("at-{round}");
            bed.slate.checkpoint(&name, None).await.unwrap();
            let past = SlateReader::builder(&bed.store, "slate").register::<Vector>();
            let past = past.open(At::Checkpoint(name)).await.unwrap();
            let past = past.view().on(&past.get::<Vector>("docs").unwrap()).unwrap();
            let readers = [bed.reader(), past, bed.outside().await];
            assert_eq!(readers[0].stats().await.unwrap().documents, all.len() as u64, "seed {seed}");
            readers[0].verify().await.unwrap();
            for _ in 0..6 {
                holds(&readers, &mut random, &all).await;
            }
        }
    }
}

/// A schema may grow: fields that are new are found in what is written from then on, and nothing else changes.
#[tokio::test]
async fn fields_that_are_added_later_work_beside_documents_from_before() {
    let mut bed = Bed::new(config()).await;
    let mut random = StdRng::seed_from_u64(9);
    let before: Vec<Plain> =
        (0..200).map(|_| Plain { near: Some(components(&mut random, 4)), ..plain(&mut random) }).collect();
    bed.commit(|op| {
        for (n, plain) in before.iter().enumerate() {
            op.upsert(document(&format!("{n:03}"), plain));
        }
    })
    .await
    .unwrap();
    bed.slate.maintain().await.unwrap();
    let query = Query::nearest("near", before[7].near.clone().unwrap()).limit(20);
    let ids_before = crate::bed::ids(&bed.reader(), &query).await;
    bed.config = bed
        .config
        .clone()
        .vector("late", VectorField::new(2, Metric::Cosine).stored_as(Storage::Int8))
        .sparse("weights")
        .attribute("price", AttributeType::F64)
        .text("title", TextField::default());
    bed.reopen().await;
    assert_eq!(crate::bed::ids(&bed.reader(), &query).await, ids_before);
    assert_eq!(bed.reader().count(&Filter::exists("price")).await.unwrap(), 0);
    bed.commit(|op| {
        op.patch(
            "003",
            Patch::new().vector("late", Some(vec![1.0, 0.1])).attribute("price", 2.5).text("title", Some("new".into())),
        );
        op.patch(
            "004",
            Patch::new().vector("late", Some(vec![0.1, 1.0])).sparse("weights", Some([(7, 2.0)].into_iter().collect())),
        );
        for n in 0..100 {
            let vector = [-1.0, f32::from(n as u8) / 100.0];
            op.upsert(Document::new(format!("late-{n}")).vector("late", vector).attribute("price", f64::from(n as u8)));
        }
    })
    .await
    .unwrap();
    bed.slate.maintain().await.unwrap();
    for reader in [bed.reader(), bed.outside().await] {
        let near = |vector: [f32; 2]| Query::nearest("late", vector).limit(1);
        assert_eq!(crate::bed::ids(&reader, &near([1.0, 0.0])).await, ["003"]);
        assert_eq!(crate::bed::ids(&reader, &near([0.0, 1.0])).await, ["004"]);
        assert_eq!(crate::bed::ids(&reader, &Query::words("title", "new")).await, ["003"]);
        assert_eq!(reader.count(&Filter::ge("price", 50i64)).await.unwrap(), 50);
        let sparse = Query::sparse("weights", [(7, 1.0)].into_iter().collect());
        assert_eq!(crate::bed::ids(&reader, &sparse).await, ["004"]);
        let found = reader.get("003").await.unwrap().unwrap().document;
        assert_eq!(found.vectors["near"], before[3].near.clone().unwrap(), "what was there before stays");
        let both = near([1.0, 0.0]).and_nearest("near", before[3].near.clone().unwrap(), 1.0);
        assert_eq!(crate::bed::ids(&reader, &both).await, ["003"]);
        reader.verify().await.unwrap();
    }
    // What is there cannot be changed.
    let mut other = bed.config.clone();
    other.schema = other.schema.attribute("price", AttributeType::I64);
    bed.slate.close().await.unwrap();
    let builder = opendata_core::slate::Slate::builder(&bed.store, "slate").system::<Vector>("docs", other);
    assert_eq!(builder.open().await.err().unwrap().kind(), opendata_core::ErrorKind::Invalid);
}
