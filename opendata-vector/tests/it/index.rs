//! The index finds what an exact search finds, and keeps doing so whatever happens to the documents.

use opendata_vector::{CodeBits, Config, Effort, Filter, Metric, Query, Reader, Storage, VectorField};

use crate::bed::{Bed, Clustered, doc, ids};

fn small(metric: Metric) -> Config {
    Config { tail_rows: 64, cell_rows: 32, ..Config::default() }
        .vector("v", VectorField::new(16, metric))
        .attribute("year", opendata_vector::AttributeType::I64)
}

async fn fill(bed: &Bed, vectors: &mut Clustered, range: std::ops::Range<usize>) {
    for start in range.clone().step_by(100) {
        bed.commit(|op| {
            for id in start..(start + 100).min(range.end) {
                op.upsert(doc(id, vectors.next()));
            }
        })
        .await
        .unwrap();
    }
}

/// The share of the exact ten best that a search finds.
async fn recall(reader: &Reader, filter: Option<Filter>) -> f64 {
    let mut queries = Clustered::new(1, 16);
    let (mut found, mut wanted) = (0, 0);
    for _ in 0..40 {
        let mut query = Query::nearest("v", queries.next());
        if let Some(filter) = &filter {
            query = query.filter(filter.clone());
        }
        let expected = ids(reader, &query.clone().effort(Effort::Exact)).await;
        let got = ids(reader, &query).await;
        assert_eq!(got.len(), expected.len());
        found += got.iter().filter(|id| expected.contains(id)).count();
        wanted += expected.len();
    }
    found as f64 / wanted as f64
}

#[tokio::test]
async fn recall_is_high_for_every_metric_storage_and_code() {
    for (metric, storage, code_bits) in [
        (Metric::L2, Storage::F32, CodeBits::Eight),
        (Metric::Cosine, Storage::F16, CodeBits::Four),
        (Metric::InnerProduct, Storage::Int8, CodeBits::Eight),
        (Metric::L2, Storage::F32, CodeBits::Four),
    ] {
        let mut config = Config { code_bits, ..small(metric) };
        config.schema = config.schema.vector("v", VectorField::new(16, metric).stored_as(storage));
        let bed = Bed::new(config).await;
        fill(&bed, &mut Clustered::new(1, 16), 0..3000).await;
        bed.slate.maintain().await.unwrap();
        let stats = bed.reader().stats().await.unwrap().fields["v"].clone();
        assert!(stats.cells > 40 && stats.tail < 64, "{stats:?}");
        let recall = recall(&bed.reader(), None).await;
        assert!(recall >= 0.95, "{metric:?} {storage:?} {code_bits:?}: {recall}");
    }
}

#[tokio::test]
async fn filters_do_not_cost_recall() {
    let bed = Bed::new(small(Metric::L2)).await;
    fill(&bed, &mut Clustered::new(1, 16), 0..3000).await;
    bed.slate.maintain().await.unwrap();
    for below in [500i64, 100, 20, 3] {
        let recall = recall(&bed.reader(), Some(Filter::lt("year", below))).await;
        assert!(recall >= 0.95, "year < {below}: {recall}");
    }
}

#[tokio::test]
async fn nothing_decays_when_everything_is_overwritten_and_deleted() {
    let mut bed = Bed::new(small(Metric::L2)).await;
    let mut vectors = Clustered::new(1, 16);
    for round in 0..3 {
        fill(&bed, &mut vectors, 0..2000).await;
        bed.slate.maintain().await.unwrap();
        let stats = bed.reader().stats().await.unwrap();
        let field = &stats.fields["v"];
        assert_eq!((stats.documents, field.vectors), (2000, 2000));
        assert!(field.indexed <= 2300, "round {round}: dead vectors stay in cells: {field:?}");
        assert_eq!(bed.reader().verify().await.unwrap(), 2000);
        let recall = recall(&bed.reader(), None).await;
        assert!(recall >= 0.95, "round {round}: {recall}");
    }
    let sampled = bed.reader().sampled_recall("v", 30, Effort::Normal).await.unwrap().unwrap();
    assert!(sampled >= 0.95, "{sampled}");
    bed.commit(|op| _ = op.delete_where(Filter::lt("year", 900i64))).await.unwrap();
    bed.slate.maintain().await.unwrap();
    bed.reopen().await;
    let stats = bed.reader().stats().await.unwrap();
    assert_eq!(stats.documents, 200);
    assert!(stats.fields["v"].indexed <= 230, "{stats:?}");
    assert!(recall(&bed.reader(), None).await >= 0.95);
    assert!(recall(&bed.outside().await, None).await >= 0.95);
}

/// Vectors that come cluster after cluster, as they do in life: cells that only ever split would lie badly.
#[tokio::test]
async fn cells_are_made_anew_as_a_field_grows() {
    let mut bed = Bed::new(small(Metric::L2)).await;
    let mut vectors = Clustered::new(1, 16);
    let mut sorted: Vec<Vec<f32>> = (0..2400).map(|_| vectors.next()).collect();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]));
    for (round, some) in sorted.chunks(300).enumerate() {
        bed.commit(|op| some.iter().enumerate().for_each(|(at, v)| _ = op.upsert(doc(round * 300 + at, v.clone()))))
            .await
            .unwrap();
        bed.commit(|op| (0..30).for_each(|at| _ = op.delete(format!("{:06}", round * 300 + at * 7)))).await.unwrap();
        bed.slate.maintain().await.unwrap();
        let live = (round as u64 + 1) * 270;
        assert_eq!(bed.reader().verify().await.unwrap(), live);
        let stats = bed.reader().stats().await.unwrap().fields["v"].clone();
        // Cells are made for 32 vectors, and hold up to about twice as many before all are made anew.
        assert!(stats.cells >= live / 100, "{stats:?}");
    }
    assert!(recall(&bed.reader(), None).await >= 0.95);
    bed.reopen().await;
    assert!(recall(&bed.outside().await, None).await >= 0.95);
}

#[tokio::test]
async fn a_commit_is_found_at_once_and_a_plan_that_is_late_changes_nothing() {
    let bed = Bed::new(small(Metric::L2)).await;
    let mut vectors = Clustered::new(3, 16);
    fill(&bed, &mut vectors, 0..500).await;
    // Two maintainers at once plan on the same epochs; writers go on meanwhile.
    let (one, other, ()) = tokio::join!(bed.slate.maintain(), bed.slate.maintain(), fill(&bed, &mut vectors, 500..900));
    one.unwrap();
    other.unwrap();
    bed.slate.maintain().await.unwrap();
    let vector = vectors.next();
    bed.commit(|op| _ = op.upsert(doc(7, vector.clone()))).await.unwrap();
    let reader = bed.reader();
    assert_eq!(ids(&reader, &Query::nearest("v", vector).limit(1)).await, ["000007"]);
    let stats = reader.stats().await.unwrap();
    assert_eq!(stats.documents, 900);
    let everything = Query::nearest("v", vec![0.0; 16]).limit(2000).effort(Effort::Cells(100_000));
    assert_eq!(ids(&reader, &everything).await.len(), 900, "no vector is lost or doubled");
}

#[tokio::test]
async fn two_that_maintain_at_once_do_each_piece_once() {
    let bed = Bed::new(small(Metric::L2)).await;
    fill(&bed, &mut Clustered::new(3, 16), 0..900).await;
    let (one, other) = tokio::join!(bed.slate.maintain(), bed.slate.maintain());
    assert!(one.unwrap() + other.unwrap() > 2);
    assert_eq!(bed.slate.stats().maintenance_conflicts, 0, "no piece is planned twice");
}

/// What is visited depends on the records alone: neither on what is in memory, nor on where it is read.
#[tokio::test]
async fn searches_are_the_same_in_the_writer_elsewhere_and_after_reopening() {
    let mut bed = Bed::new(small(Metric::Cosine)).await;
    let mut vectors = Clustered::new(8, 16);
    fill(&bed, &mut vectors, 0..2500).await;
    bed.slate.maintain().await.unwrap();
    fill(&bed, &mut vectors, 2400..2430).await;
    let filters = [None, Some(Filter::ge("year", 600i64)), Some(Filter::eq("year", 7i64))];
    let mut queries = Vec::new();
    for effort in [Effort::Normal, Effort::Recall(0.8), Effort::Cells(3), Effort::Exact] {
        for filter in &filters {
            let query = Query::nearest("v", vectors.next()).effort(effort);
            queries.push(match filter {
                Some(filter) => query.filter(filter.clone()),
                None => query,
            });
        }
    }
    let mut answers = Vec::new();
    for query in &queries {
        let warm = bed.reader().search(query).await.unwrap();
        assert_eq!(bed.outside().await.search(query).await.unwrap(), warm);
        answers.push(warm);
    }
    bed.reopen().await;
    for (query, before) in queries.iter().zip(answers) {
        assert_eq!(bed.reader().search(query).await.unwrap().hits, before.hits);
    }
}

#[tokio::test]
async fn vectors_that_are_all_the_same_do_not_keep_maintenance_busy() {
    let bed = Bed::new(small(Metric::L2)).await;
    bed.commit(|op| (0..1000).for_each(|id| _ = op.upsert(doc(id, vec![1.0; 16])))).await.unwrap();
    let done = tokio::time::timeout(std::time::Duration::from_secs(60), bed.slate.maintain()).await;
    done.expect("maintenance ends").unwrap();
    assert_eq!(ids(&bed.reader(), &Query::nearest("v", vec![1.0; 16]).limit(5)).await.len(), 5);
}
