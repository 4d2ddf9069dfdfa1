//! Upkeep keeps what grows in bounds: the tail, and the ids of what was replaced.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use opendata_core::store::Store;
use opendata_core::testing::{Fault, FaultStore, Method};
use opendata_vector::{AttributeType, Config, Document, Effort, Filter, Metric, Query, Reader, TextField, VectorField};

use crate::bed::{Bed, Clustered, doc, ids};
use crate::faults;

#[tokio::test]
async fn the_tail_stays_bounded_when_nobody_maintains() {
    let config = Config { tail_rows: 64, tail_limit_rows: 256, cell_rows: 32, ..Config::default() }
        .vector("v", VectorField::new(8, Metric::L2))
        .attribute("year", AttributeType::I64);
    let mut bed = Bed::new(config).await;
    let mut vectors = Clustered::new(4, 8);
    for first in (0..2000).step_by(100) {
        bed.commit(|op| (first..first + 100).for_each(|id| _ = op.upsert(doc(id, vectors.next())))).await.unwrap();
        let tail = bed.reader().stats().await.unwrap().fields["v"].tail;
        assert!(tail < 256 + 100, "the limit and one commit: {tail}");
    }
    let stats = bed.reader().stats().await.unwrap();
    assert!(stats.drained_by_commits >= 4, "{stats:?}");
    bed.reader().verify().await.unwrap();
    let query = Query::nearest("v", vectors.next()).limit(20);
    let exact = ids(&bed.reader(), &query.clone().effort(Effort::Exact)).await;
    assert_eq!(ids(&bed.reader(), &query.clone().effort(Effort::Cells(10_000))).await, exact);
    // A transaction that is refused drains nothing and leaves no trace.
    let before = bed.reader().stats().await.unwrap();
    bed.commit(|op| _ = op.upsert(Document::new("x").vector("v", [1.0]))).await.unwrap_err();
    assert_eq!(bed.reader().stats().await.unwrap(), before);
    bed.reopen().await;
    assert_eq!(ids(&bed.reader(), &query.effort(Effort::Cells(10_000))).await, exact);
}

/// There is no map of ids, and no document in memory: cells are a few bytes for hundreds of vectors.
#[tokio::test]
async fn an_idle_instance_takes_no_memory_for_each_document() {
    let config = Config { tail_rows: 64, ..Config::default() }
        .vector("v", VectorField::new(8, Metric::L2))
        .attribute("year", AttributeType::I64);
    let mut bed = Bed::new(config).await;
    let mut vectors = Clustered::new(8, 8);
    let mut taken = Vec::new();
    for some in [0..1000, 1000..10_000] {
        for first in some.step_by(500) {
            bed.commit(|op| (first..first + 500).for_each(|id| _ = op.upsert(doc(id, vectors.next())))).await.unwrap();
        }
        bed.slate.maintain().await.unwrap();
        bed.reopen().await;
        let stats = bed.reader().stats().await.unwrap();
        let outside = bed.outside().await.stats().await.unwrap();
        assert!(outside.state_bytes <= stats.state_bytes, "no tail is held there: {outside:?}");
        taken.push(stats.state_bytes);
    }
    // Nine thousand documents more, whose ids alone are 6 bytes each.
    assert!(taken[1] < taken[0] + 9000, "{taken:?}");
}

const DOCUMENTS: usize = 330;
/// Some that stay, so that not all ids of a chunk die.
const STAYING: usize = 30;

/// A document that lives in every index.
fn whole(id: usize, vector: Vec<f32>) -> Document {
    let document = Document::new(format!("{id:06}")).vector("v", vector).attribute("kind", kind(id));
    let document = document.attribute("year", (id % 110) as i64).text("body", "a red fox");
    document.sparse("s", [(id as u32 % 3, 1.0)].into_iter().collect())
}

fn kind(id: usize) -> &'static str {
    if id.is_multiple_of(2) { "even" } else { "odd" }
}

/// What is dead is looked for in every way there is.
async fn holds(reader: &Reader) {
    let count = DOCUMENTS as u64;
    assert_eq!(reader.verify().await.unwrap(), count);
    let odd = || Filter::eq("kind", "odd");
    for (filter, expected) in [
        (odd(), count / 2),
        (odd().not(), count / 2),
        (Filter::eq("kind", "neither").not(), count),
        (Filter::ge("year", 55i64), count / 2),
        (Filter::exists("year").not(), 0),
    ] {
        assert_eq!(reader.count(&filter).await.unwrap(), expected, "{filter}");
    }
    let third = [(1, 1.0)].into_iter().collect();
    for (query, expected) in [
        (Query::new(), DOCUMENTS),
        (Query::words("body", "fox"), DOCUMENTS),
        (Query::sparse("s", third), DOCUMENTS / 3),
        (Query::nearest("v", [0.1, 0.2, 0.3, 0.4]).effort(Effort::Exact), DOCUMENTS),
        (Query::nearest("v", [0.1, 0.2, 0.3, 0.4]).effort(Effort::Cells(10_000)), DOCUMENTS),
        (Query::nearest("v", [0.1, 0.2, 0.3, 0.4]).filter(odd().not()), DOCUMENTS / 2),
    ] {
        assert_eq!(ids(reader, &query.clone().limit(5000)).await.len(), expected, "{query:?}");
    }
}

fn config() -> Config {
    Config { tail_rows: 512, cell_rows: 64, ..Config::default() }
        .vector("v", VectorField::new(4, Metric::L2))
        .vector("never", VectorField::new(2, Metric::L2))
        .attribute("kind", AttributeType::String)
        .attribute("year", AttributeType::I64)
        .sparse("s")
        .text("body", TextField::default())
}

/// Writes more versions than a chunk of ids has: 65,536.
async fn overwrite(bed: &Bed) {
    let mut vectors = Clustered::new(6, 4);
    let all = 0..DOCUMENTS;
    bed.commit(|op| all.clone().for_each(|id| _ = op.upsert(whole(id, vectors.next())))).await.unwrap();
    bed.slate.maintain().await.unwrap();
    let changing = STAYING..DOCUMENTS;
    let short = |id: usize| Document::new(format!("{id:06}")).attribute("kind", kind(id));
    for _ in 0..225 {
        bed.commit(|op| changing.clone().for_each(|id| _ = op.upsert(short(id)))).await.unwrap();
    }
    bed.commit(|op| changing.for_each(|id| _ = op.upsert(whole(id, vectors.next())))).await.unwrap();
}

#[tokio::test]
async fn ids_of_what_was_replaced_are_forgotten_once_no_index_has_them() {
    let mut bed = Bed::new(config()).await;
    overwrite(&bed).await;
    let before = bed.reader();
    bed.slate.maintain().await.unwrap();
    let stats = bed.reader().stats().await.unwrap();
    assert!(stats.versions > 1 << 16 && stats.documents == DOCUMENTS as u64, "{stats:?}");
    assert!(stats.dead < stats.versions - (1 << 16), "only of the chunk that is open: {stats:?}");
    assert!(before.stats().await.unwrap().dead > 1 << 16);
    holds(&bed.reader()).await;
    // A view of before that still looks at what was then dead.
    assert_eq!(before.count(&Filter::eq("kind", "odd").not()).await.unwrap(), DOCUMENTS as u64 / 2);
    holds(&bed.outside().await).await;
    bed.reopen().await;
    holds(&bed.reader()).await;
    assert_eq!(bed.reader().stats().await.unwrap().dead, stats.dead);
    assert_eq!(bed.slate.maintain().await.unwrap(), 0, "nothing is left to do");
}

/// Vectors are held in memory for a while after their documents died, and longer than anything says that they are dead.
#[tokio::test]
async fn what_was_forgotten_comes_into_no_cell_again() {
    let config = Config { cell_rows: 2048, ..Config::default() }.vector("v", VectorField::new(2, Metric::L2));
    let bed = Bed::new(config).await;
    let write = async |ids: std::ops::Range<usize>| {
        for first in ids.clone().step_by(4096) {
            let some = first..(first + 4096).min(ids.end);
            let document = |id: usize| Document::new(format!("{id:06}")).vector("v", [id as f32, (id % 7) as f32]);
            bed.commit(|op| some.for_each(|id| _ = op.upsert(document(id)))).await.unwrap();
        }
        bed.slate.maintain().await.unwrap();
    };
    write(0..34_000).await;
    let made = bed.reader().stats().await.unwrap();
    write(0..7_000).await;
    // The rest of the chunk is of documents that have no vector.
    for _ in 0..250 {
        bed.commit(|op| (0..100).for_each(|id| _ = op.upsert(Document::new(format!("x{id}"))))).await.unwrap();
    }
    bed.slate.maintain().await.unwrap();
    let stats = bed.reader().stats().await.unwrap();
    assert_eq!((stats.documents, stats.versions), (34_100, 66_000));
    assert!(stats.dead < 500, "of the chunk that is open: {stats:?}");
    // As many come as there were, so that all cells are made anew: a piece has 32,768 vectors.
    write(34_000..75_000).await;
    let stats = bed.reader().stats().await.unwrap().fields["v"].clone();
    assert!(stats.cells > made.fields["v"].cells * 3 / 2 && stats.indexed + stats.tail <= 75_000, "{stats:?} {made:?}");
    assert_eq!(bed.reader().verify().await.unwrap(), 75_000);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => _ = std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap(),
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_write_while_dead_ids_are_forgotten_brings_none_of_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| Store::from_url(&format!("file:{}", folder.path().join(name).display())).unwrap();
    let bed = Bed::at(at("original"), config()).await;
    overwrite(&bed).await;
    bed.slate.close().await.unwrap();
    let mut crashed = 0;
    for survived in (0..).step_by(2) {
        let name = survived.to_string();
        copy(&folder.path().join("original"), &folder.path().join(&name));
        let faults = OnceLock::new();
        let store = at(&name).map(|inner| {
            let store = FaultStore::new(inner);
            let _ = faults.set(store.clone());
            Arc::new(store)
        });
        let slate = faults::open(&store, config()).await.unwrap();
        let faults: &FaultStore = faults.get().unwrap();
        let mut puts = 0;
        faults.set_rule(move |method, _| {
            puts += usize::from(method == Method::Put);
            let fault = if puts == survived + 1 { Fault::ErrorAfterEffect } else { Fault::Error };
            (method == Method::Put && puts > survived).then_some(fault)
        });
        let ended = async {
            slate.maintain().await?;
            slate.flush().await
        };
        let ended = ended.await;
        drop(slate); // No orderly close.
        faults.clear_rule();
        let bed = Bed::at(at(&name), config()).await;
        holds(&bed.reader()).await;
        bed.slate.maintain().await.unwrap();
        holds(&bed.reader()).await;
        assert!(bed.reader().stats().await.unwrap().dead < 1 << 16);
        bed.slate.close().await.unwrap();
        std::fs::remove_dir_all(folder.path().join(&name)).unwrap();
        if ended.is_ok() {
            break;
        }
        crashed += 1;
    }
    assert!(crashed >= 2, "it was interrupted at {crashed} places only");
}
