//! How fast vectors are found, how well, and at what price, against comparing every one of them in memory.
//!
//! `cargo bench -p opendata-vector -- [rows] [dims]` runs on a clustered synthetic set (100,000 of 128 dimensions by
//! default). With `OPENDATA_GLOVE` naming a file of GloVe vectors (a word and its components a line), these are used.
//! Files are local and fsynced. All figures are of this run.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opendata_core::slate::{Ack, Settings, Slate};
use opendata_core::store::Store;
use opendata_vector::{
    AttributeType, Config, Document, Effort, Filter, Metric, Query, Reader, Select, Vector, VectorField, kernel,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const QUERIES: usize = 500;
const NEIGHBOURS: usize = 10;

struct Set {
    name: String,
    metric: Metric,
    rows: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
}

#[tokio::main]
async fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let set = match std::env::var("OPENDATA_GLOVE") {
        Ok(path) => glove(Path::new(&path)),
        Err(_) => clustered(numbers.first().copied().unwrap_or(100_000), numbers.get(1).copied().unwrap_or(128)),
    };
    let dims = set.rows[0].len();
    println!("{}: {} x {dims}, {:?}, kernels {}", set.name, set.rows.len(), set.metric, kernel::name());
    let truth = floor(&set);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::from_url(&format!("file:{}", folder.path().display())).unwrap();
    let config =
        Config::default().vector("v", VectorField::new(dims as u32, set.metric)).attribute("part", AttributeType::I64);
    let settings = Settings { maintenance_interval_ms: 100, ..Settings::default() };
    let builder = Slate::builder(&store, "bench").settings(settings).system::<Vector>("docs", config);
    let slate = builder.open().await.unwrap();
    ingest(&slate, &set).await;
    slate.flush_files().await.unwrap();
    let docs = slate.get::<Vector>("docs").unwrap();
    let raw = set.rows.len() * dims * 4;
    println!("files: {:.2}x the raw vectors, before garbage is collected", size(folder.path()) as f64 / raw as f64);
    let reader = Arc::new(slate.view().on(&docs).unwrap());
    println!("{:?}", reader.stats().await.unwrap());
    for effort in [Effort::Cells(8), Effort::Cells(16), Effort::Cells(32), Effort::Normal, Effort::Cells(128)] {
        run(&reader, &set, &truth, effort, None).await;
    }
    for thousandth in [500, 100, 10, 1] {
        run(&reader, &set, &truth, Effort::Normal, Some(thousandth)).await;
    }
    cold(&store, &set).await;
    slate.close().await.unwrap();
}

fn clustered(count: usize, dims: usize) -> Set {
    let mut random = StdRng::seed_from_u64(42);
    // The sum of three uniform numbers is near enough to a normal one.
    let normal = |random: &mut StdRng| (0..3).map(|_| random.random_range(-1f32..1.0)).sum::<f32>();
    let centres: Vec<Vec<f32>> = (0..1000).map(|_| (0..dims).map(|_| normal(&mut random)).collect()).collect();
    let next = |random: &mut StdRng| -> Vec<f32> {
        let centre = &centres[random.random_range(0..centres.len())];
        centre.iter().map(|c| c + 0.6 * normal(random)).collect()
    };
    let rows = (0..count).map(|_| next(&mut random)).collect();
    let queries = (0..QUERIES).map(|_| next(&mut random)).collect();
    Set { name: "clustered".to_owned(), metric: Metric::L2, rows, queries }
}

fn glove(path: &Path) -> Set {
    let lines = std::io::BufReader::new(std::fs::File::open(path).unwrap()).lines();
    let parse = |line: std::io::Result<String>| -> Vec<f32> {
        line.unwrap().split_ascii_whitespace().skip(1).filter_map(|number| number.parse().ok()).collect()
    };
    let mut rows: Vec<Vec<f32>> = lines.map(parse).collect();
    let dims = rows[0].len();
    rows.retain(|row| row.len() == dims && kernel::dot(row, row) > 0.0);
    let step = rows.len() / QUERIES;
    let queries = (0..QUERIES).map(|at| rows[at * step].clone()).collect();
    let rows =
        rows.into_iter().enumerate().filter(|(at, _)| at % step != 0 || at / step >= QUERIES).map(|(_, row)| row);
    Set { name: "GloVe".to_owned(), metric: Metric::Cosine, rows: rows.collect(), queries }
}

/// Scores of everything for each query, computed as an index-free program would: one matrix in memory.
struct Truth {
    matrix: Vec<f32>,
    dims: usize,
    metric: Metric,
}

impl Truth {
    fn best(&self, query: &[f32], part: Option<usize>) -> Vec<usize> {
        let mut query = query.to_vec();
        unit(self.metric, &mut query);
        let mut best: Vec<(f32, usize)> = Vec::new();
        for (row, vector) in self.matrix.chunks_exact(self.dims).enumerate() {
            if part.is_some_and(|part| row % 1000 >= part) {
                continue;
            }
            let score = kernel::score(self.metric, &query, vector);
            if best.len() < NEIGHBOURS || score > best[NEIGHBOURS - 1].0 {
                let at = best.partition_point(|(other, _)| *other >= score);
                best.insert(at, (score, row));
                best.truncate(NEIGHBOURS);
            }
        }
        best.into_iter().map(|(_, row)| row).collect()
    }
}

fn unit(metric: Metric, vector: &mut [f32]) {
    if metric == Metric::Cosine {
        let length = kernel::dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|v| *v /= length);
    }
}

fn floor(set: &Set) -> Truth {
    let dims = set.rows[0].len();
    let mut matrix: Vec<f32> = set.rows.concat();
    matrix.chunks_exact_mut(dims).for_each(|row| unit(set.metric, row));
    let truth = Truth { matrix, dims, metric: set.metric };
    let started = Instant::now();
    for query in set.queries.iter().take(100) {
        std::hint::black_box(truth.best(query, None));
    }
    println!("floor: brute force in memory, one core: {:.2} ms a query", started.elapsed().as_secs_f64() * 10.0);
    truth
}

async fn ingest(slate: &Slate, set: &Set) {
    let docs = slate.get::<Vector>("docs").unwrap();
    let started = Instant::now();
    let mut pending = Vec::new();
    for (batch, rows) in set.rows.chunks(500).enumerate() {
        let mut tx = slate.begin();
        for (at, row) in rows.iter().enumerate() {
            let id = batch * 500 + at;
            let document = Document::new(format!("{id:08}")).vector("v", row.clone());
            tx.on(&docs).upsert(document.attribute("part", (id % 1000) as i64));
        }
        pending.push(tx.submit(Ack::Written).await.unwrap());
    }
    for commit in pending {
        commit.wait().await.unwrap();
    }
    slate.flush().await.unwrap();
    let durable = started.elapsed();
    // Background maintenance is at work as well, and whoever comes second finds its plan out of date.
    while slate.view().on(&docs).unwrap().stats().await.unwrap().fields["v"].tail >= 4096 {
        slate.maintain().await.unwrap();
    }
    let indexed = started.elapsed();
    let rate = |time: Duration| set.rows.len() as f64 / time.as_secs_f64();
    println!("ingest: {:.0} vectors/s until durable, {:.0} until durable and indexed", rate(durable), rate(indexed));
}

async fn run(reader: &Arc<Reader>, set: &Set, truth: &Truth, effort: Effort, thousandth: Option<i64>) {
    let query = |vector: &Vec<f32>| {
        let query = Query::nearest("v", vector.clone()).limit(NEIGHBOURS).effort(effort).select(Select::Id);
        match thousandth {
            Some(part) => query.filter(Filter::lt("part", part)),
            None => query,
        }
    };
    let (mut found, mut wanted, mut probed, mut scored) = (0, 0, 0, 0);
    for vector in &set.queries {
        let results = reader.search(&query(vector)).await.unwrap();
        let expected = truth.best(vector, thousandth.map(|part| part as usize));
        let ids = results.hits.iter().map(|hit| String::from_utf8_lossy(&hit.document.id).parse::<usize>().unwrap());
        found += ids.filter(|id| expected.contains(id)).count();
        wanted += expected.len();
        probed += results.explain.legs[0].probed;
        scored += results.explain.legs[0].scored;
    }
    let mut times = Vec::new();
    for vector in &set.queries {
        let query = query(vector);
        let started = Instant::now();
        reader.search(&query).await.unwrap();
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let queries: Arc<Vec<Query>> = Arc::new(set.queries.iter().map(query).collect());
    let started = Instant::now();
    let tasks = (0..cores).map(|core| {
        let (reader, queries) = (Arc::clone(reader), Arc::clone(&queries));
        tokio::spawn(async move {
            for query in queries.iter().skip(core).step_by(cores) {
                reader.search(query).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    println!(
        "{effort:?}{}: recall@{NEIGHBOURS} {:.4}, {:.0} queries/s on {cores} cores, p50 {:.2} ms, p99 {:.2} ms, {} cells and {} full vectors a query",
        thousandth.map_or(String::new(), |part| format!(" of {}%", part as f64 / 10.0)),
        f64::from(found as u32) / f64::from(wanted as u32),
        QUERIES as f64 / started.elapsed().as_secs_f64(),
        times[QUERIES / 2],
        times[QUERIES * 99 / 100],
        probed / QUERIES as u64,
        scored / QUERIES as u64,
    );
}

async fn cold(store: &Store, set: &Set) {
    use opendata_core::slate::{At, SlateReader};
    let started = Instant::now();
    let reader = SlateReader::builder(store, "bench").register::<Vector>().open(At::Latest).await.unwrap();
    let docs = reader.view().on(&reader.get::<Vector>("docs").unwrap()).unwrap();
    docs.search(&Query::nearest("v", set.queries[0].clone())).await.unwrap();
    println!("another process: open and first query in {:.1} ms, local files", started.elapsed().as_secs_f64() * 1e3);
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
