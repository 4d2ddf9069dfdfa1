//! Sparse vectors, wholes made of parts, and pages of results: against plain evaluations, in every kind of reader.

use std::collections::BTreeMap;

use opendata_core::ErrorKind;
use opendata_core::slate::{At, SlateReader};
use opendata_vector::{
    AttributeType, Config, Cursor, Document, Effort, Filter, Fusion, Metric, Patch, Query, Reader, SparseVector,
    Vector, VectorField,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::bed::{Bed, ids};

fn config() -> Config {
    Config::default()
        .vector("v", VectorField::new(3, Metric::InnerProduct))
        .sparse("s")
        .attribute("year", AttributeType::I64)
        .attribute("parent", AttributeType::String)
        .text("body", opendata_vector::TextField::default())
}

fn weights(random: &mut StdRng) -> BTreeMap<u32, f32> {
    let count = random.random_range(0..8);
    (0..count).map(|_| (random.random_range(0..30) * 1_000_003, random.random_range(-1f32..3.0))).collect()
}

fn id(hit: &opendata_vector::Hit) -> String {
    String::from_utf8_lossy(&hit.document.id).into_owned()
}

/// Readers of the writer's process, of a checkpoint and of another process.
async fn readers(bed: &Bed) -> Vec<Reader> {
    bed.slate.checkpoint("now", None).await.unwrap();
    let at = At::Checkpoint("now".to_owned());
    let past = SlateReader::builder(&bed.store, "slate").register::<Vector>().open(at).await.unwrap();
    let past = past.view().on(&past.get::<Vector>("docs").unwrap()).unwrap();
    vec![bed.reader(), past, bed.outside().await]
}

#[tokio::test]
async fn sparse_results_are_the_greatest_inner_products_through_updates_and_deletions() {
    let mut random = StdRng::seed_from_u64(11);
    let bed = Bed::new(config()).await;
    let mut all: BTreeMap<String, (BTreeMap<u32, f32>, i64)> = BTreeMap::new();
    for round in 0..400 {
        let name = format!("{:03}", random.random_range(0..150));
        match random.random_range(0..10) {
            0 => {
                bed.commit(|op| _ = op.delete(&name)).await.unwrap();
                all.remove(&name);
            }
            1 if all.contains_key(&name) => {
                // A patch of something else keeps the sparse vector.
                bed.commit(|op| _ = op.patch(&name, Patch::new().attribute("year", round))).await.unwrap();
                all.get_mut(&name).unwrap().1 = round;
            }
            _ => {
                let sparse = weights(&mut random);
                let document = Document::new(&name).sparse("s", sparse.clone().into_iter().collect());
                bed.commit(|op| _ = op.upsert(document.attribute("year", round))).await.unwrap();
                all.insert(name, (sparse, round));
            }
        }
    }
    for reader in readers(&bed).await {
        for below in [None, Some(300), Some(30)] {
            let query = weights(&mut random);
            let mut expected: Vec<(f64, &String)> = Vec::new();
            for (name, (sparse, year)) in &all {
                let shared = query.iter().filter_map(|(index, q)| Some(f64::from(*q) * f64::from(*sparse.get(index)?)));
                let shared: Vec<f64> = shared.collect();
                if !shared.is_empty() && below.is_none_or(|below| *year < below) {
                    expected.push((shared.iter().sum(), name));
                }
            }
            expected.sort_by(|a, b| b.0.total_cmp(&a.0));
            let mut search = Query::sparse("s", query.into_iter().collect()).limit(7);
            if let Some(below) = below {
                search = search.filter(Filter::lt("year", below));
            }
            let found = reader.search(&search).await.unwrap().hits;
            assert_eq!(found.len(), expected.len().min(7));
            for (hit, (score, _)) in found.iter().zip(&expected) {
                assert_eq!(hit.score, *score, "to the last bit");
                assert!(expected.iter().any(|(s, name)| s == score && **name == id(hit)));
            }
        }
    }
    let found = bed.reader().get(all.keys().next().unwrap()).await.unwrap().unwrap();
    let stored = &found.document.sparse["s"];
    assert!(stored.indices.is_sorted());
    let wrong = Document::new("x").sparse("s", SparseVector { indices: vec![1, 1], values: vec![1.0, 1.0] });
    let error = bed.commit(|op| _ = op.upsert(wrong)).await.unwrap_err();
    assert!(error.message().contains("document x: field s: sparse vector has a dimension twice, index=1"), "{error}");
}

#[tokio::test]
async fn a_whole_is_as_good_as_the_best_parts_for_each_query_vector() {
    let mut random = StdRng::seed_from_u64(12);
    let bed = Bed::new(config()).await;
    let mut parts: Vec<(String, Option<String>, [f32; 3])> = Vec::new();
    for n in 0..300 {
        let parent = random.random_bool(0.9).then(|| format!("whole-{}", random.random_range(0..40)));
        parts.push((format!("{n:03}"), parent, [(); 3].map(|()| random.random_range(-1f32..1.0))));
    }
    bed.commit(|op| {
        for (name, parent, vector) in &parts {
            let mut document = Document::new(name).vector("v", *vector);
            if let Some(parent) = parent {
                document = document.attribute("parent", parent.as_str());
            }
            op.upsert(document);
        }
    })
    .await
    .unwrap();
    let queries = [[1f32, 0.0, 0.2], [0.0, 1.0, -0.5], [-0.3, 0.0, 1.0]];
    let dot = |a: &[f32; 3], b: &[f32; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let mut wholes: BTreeMap<String, [f32; 3]> = BTreeMap::new();
    for (name, parent, vector) in &parts {
        let best = wholes.entry(parent.clone().unwrap_or_else(|| name.clone())).or_insert([f32::MIN; 3]);
        for (best, query) in best.iter_mut().zip(&queries) {
            *best = best.max(dot(query, vector));
        }
    }
    let mut expected: Vec<(f32, String)> = wholes.into_iter().map(|(name, best)| (best.iter().sum(), name)).collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    let query = Query::max_sim("v", queries.map(Vec::from), "parent").limit(10);
    for reader in readers(&bed).await {
        for effort in [Effort::Exact, Effort::Cells(1000)] {
            let hits = reader.search(&query.clone().effort(effort)).await.unwrap().hits;
            assert_eq!(hits.len(), 10);
            for (hit, (score, name)) in hits.iter().zip(&expected) {
                let whole =
                    parts.iter().find(|(part, ..)| *part == id(hit)).unwrap().1.clone().unwrap_or_else(|| id(hit));
                assert_eq!(whole, *name);
                assert!((hit.score - f64::from(*score)).abs() < 1e-5);
            }
        }
    }
    for wrong in [
        Query::max_sim("v", [vec![1.0]], "parent"),
        Query::max_sim("v", [], "parent"),
        Query::max_sim("v", [vec![1.0, 0.0, 0.0]], "nothing"),
        Query::max_sim("s", [vec![1.0, 0.0, 0.0]], "parent"),
    ] {
        for effort in [Effort::Exact, Effort::Normal] {
            let error = bed.reader().search(&wrong.clone().effort(effort)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong:?}");
        }
    }
}

#[tokio::test]
async fn pages_of_one_view_hold_every_result_once() {
    let mut random = StdRng::seed_from_u64(13);
    let bed = Bed::new(config()).await;
    bed.commit(|op| {
        for n in 0..200i64 {
            let vector = [(); 3].map(|()| random.random_range(-1f32..1.0));
            let text = if n % 3 == 0 { "fox dog" } else { "dog" };
            op.upsert(
                Document::new(format!("{n:03}")).vector("v", vector).attribute("year", n % 50).text("body", text),
            );
        }
    })
    .await
    .unwrap();
    let near = Query::nearest("v", [0.3, 0.2, 0.1]).effort(Effort::Exact);
    let fused = near.clone().and_words([("body", 1.0)], "fox", 1.0).depth(60);
    for query in [
        Query::new(),
        near.clone(),
        near.clone().filter(Filter::lt("year", 20i64)),
        near.clone().group_by("year", 1),
        fused.clone(),
        fused.fusion(Fusion::Weighted).group_by("year", 1),
        Query::words("body", "fox"),
    ] {
        let view = bed.reader();
        let whole = ids(&view, &query.clone().limit(60)).await;
        let mut pages = Vec::new();
        let mut next: Option<Cursor> = None;
        loop {
            let mut page = query.clone().limit(9);
            if let Some(cursor) = next {
                page = page.after(cursor.to_string().parse().unwrap());
            }
            let results = view.search(&page).await.unwrap();
            pages.extend(results.hits.iter().map(id));
            next = results.next;
            // What is written meanwhile is not in this view.
            bed.commit(|op| _ = op.upsert(Document::new("000").vector("v", [9.0, 9.0, 9.0]))).await.unwrap();
            if next.is_none() || pages.len() >= 60 {
                break;
            }
        }
        pages.truncate(60);
        assert_eq!(pages[..whole.len().min(pages.len())], whole[..whole.len().min(pages.len())], "{query:?}");
        assert!(pages.len() >= whole.len().min(60), "{query:?}");
        if let Some(cursor) = next {
            let error = bed.reader().search(&query.clone().after(cursor)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    }
    for text in ["", "1.2.3", "1.2.3.x", "1.2.7ff8000000000000.4"] {
        assert_eq!(text.parse::<Cursor>().unwrap_err().kind(), ErrorKind::Invalid);
    }
}
