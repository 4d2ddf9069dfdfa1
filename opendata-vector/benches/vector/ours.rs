//! Our side: ingest, search, space, churn.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opendata_core::key::KeyRange;
use opendata_core::slate::{Access, Ack, Compression, Handle, Order, Settings, Slate};
use opendata_core::store::Store;
use opendata_vector::{AttributeType, Config, Document, Effort, Filter, Query, Reader, Select, Vector, VectorField};

use crate::sets::{PARTS, Set, part};
use crate::{Asked, cores};

pub(crate) struct Bed {
    pub(crate) slate: Slate,
    docs: Handle<Vector>,
    folder: std::path::PathBuf,
}

/// What was measured of a kind of query.
pub(crate) struct Figures {
    pub(crate) recall: f64,
    pub(crate) per_second: f64,
}

/// Beside a peer: vectors a second, and bytes a vector.
pub(crate) struct Space {
    pub(crate) indexed_per_second: f64,
    pub(crate) disk_bytes: f64,
    pub(crate) memory_bytes: f64,
}

impl Bed {
    pub(crate) async fn open(folder: &Path, set: &Set, asked: &Asked) -> Self {
        let store = Store::from_url(&format!("file:{}", folder.display())).unwrap();
        let default = Config::default();
        let cell_rows = asked.cell_rows.unwrap_or(default.cell_rows);
        let cache_bytes = asked.cache_mib.map_or(default.cache_bytes, |mib| mib << 20);
        let config = Config { code_bits: asked.bits, cell_rows, cache_bytes, ..default }
            .vector("v", VectorField::new(set.dims as u32, set.metric))
            .attribute("part", AttributeType::I64);
        let settings = Settings {
            maintenance_interval_ms: 100,
            garbage_age_s: 2,
            compression: Compression::Zstd,
            garbage_interval_s: 2,
            ..Settings::default()
        };
        let builder = Slate::builder(&store, "bench").settings(settings).system::<Vector>("docs", config);
        let slate = builder.open().await.unwrap();
        let docs = slate.get::<Vector>("docs").unwrap();
        Self { slate, docs, folder: folder.to_owned() }
    }

    pub(crate) fn reader(&self) -> Reader {
        self.slate.view().on(&self.docs).unwrap()
    }

    pub(crate) async fn ingest(&self, set: &Set) -> f64 {
        let (started, processor) = (Instant::now(), processor());
        self.write(set, 0).await;
        let durable = started.elapsed();
        self.settle().await;
        let (indexed, processor) = (started.elapsed(), processor_since(processor));
        let rate = |time: Duration| set.count() as f64 / time.as_secs_f64();
        println!(
            "ingest: {:.0} vectors/s until durable, {:.0} until durable and indexed; {:.0} a second of processor time",
            rate(durable),
            rate(indexed),
            rate(processor)
        );
        rate(indexed)
    }

    /// Writes all rows once. `shift` says which vector a document gets: another one each time.
    async fn write(&self, set: &Set, shift: usize) {
        let mut pending = std::collections::VecDeque::new();
        for first in (0..set.count()).step_by(500) {
            let mut tx = self.slate.begin();
            for id in first..(first + 500).min(set.count()) {
                let vector = set.row((id + shift) % set.count()).to_vec();
                let document = Document::new(format!("{id:08}")).vector("v", vector);
                tx.on(&self.docs).upsert(document.attribute("part", part(id) as i64));
            }
            pending.push_back(tx.submit(Ack::Written).await.unwrap());
            if pending.len() > 16 {
                pending.pop_front().unwrap().wait().await.unwrap();
            }
        }
        for commit in pending {
            commit.wait().await.unwrap();
        }
        self.slate.flush().await.unwrap();
    }

    /// Waits until nothing is left to do for the index. Background maintenance is at work as well.
    async fn settle(&self) {
        while self.slate.maintain().await.unwrap() > 0 || self.reader().stats().await.unwrap().fields["v"].tail >= 4096
        {
        }
    }

    /// The engine keeps every file that is newer than the last it wrote before the last compaction: so a document is written once
    /// more, and what the first compaction merged away can go.
    pub(crate) async fn compact(&self, set: &Set) {
        self.compact_once().await;
        let mut tx = self.slate.begin();
        let document = Document::new(format!("{:08}", 0)).vector("v", set.row(0).to_vec());
        tx.on(&self.docs).upsert(document.attribute("part", part(0) as i64));
        tx.commit().await.unwrap();
        self.compact_once().await;
    }

    async fn compact_once(&self) {
        if let Err(error) = self.slate.compact().await {
            println!("not compacted as a whole: {error}");
        }
    }

    /// Returns the bytes a vector.
    pub(crate) async fn print_disk(&self, set: &Set, when: &str) -> f64 {
        let raw = (set.rows.len() * 4) as f64;
        // Files that were merged away go with the next collection.
        let mut bytes = size(&self.folder);
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            bytes = bytes.min(size(&self.folder));
        }
        println!(
            "disk {when}: {:.2}x the raw f32 vectors, {:.0} bytes a vector",
            bytes as f64 / raw,
            bytes as f64 / set.count() as f64
        );
        bytes as f64 / set.count() as f64
    }

    /// Where the bytes are: rows by their tag, before the engine compresses them.
    pub(crate) async fn print_rows(&self, set: &Set) {
        let view = self.slate.view();
        let mut rows = view.scan(KeyRange::prefix(&[0x02]), Access::Bulk, Order::Ascending).await.unwrap();
        let mut tags: std::collections::BTreeMap<u8, (u64, usize, usize)> = std::collections::BTreeMap::new();
        while let Some(row) = rows.next().await.unwrap() {
            let (count, keys, values) = tags.entry(row.key[8]).or_default();
            (*count, *keys, *values) = (*count + 1, *keys + row.key.len(), *values + row.value.len());
        }
        for (tag, (count, keys, values)) in tags {
            let each = |bytes: usize| bytes as f64 / set.count() as f64;
            println!(
                "  rows of tag {tag:#x}: {count}, keys {:.1} and values {:.1} bytes a vector",
                each(keys),
                each(values)
            );
        }
    }

    fn query(&self, set: &Set, at: usize, effort: Effort, thousandths: Option<usize>) -> Query {
        let query = Query::nearest("v", set.query(at)).limit(10).effort(effort).select(Select::Id);
        match thousandths {
            Some(width) => {
                let from = window(at, width) as i64;
                query.filter(Filter::ge("part", from).and(Filter::lt("part", from + width as i64)))
            }
            None => query,
        }
    }

    /// One pass that is not measured.
    pub(crate) async fn warm(&self, set: &Set) {
        let reader = self.reader();
        for at in 0..set.queries() {
            reader.search(&self.query(set, at, Effort::Recall(0.99), None)).await.unwrap();
        }
    }

    pub(crate) async fn measure(&self, set: &Set, effort: Effort, thousandths: Option<usize>) -> Figures {
        let reader = Arc::new(self.reader());
        let filtered = thousandths.map(|width| {
            set.exact(|query, row| {
                let from = window(query, width);
                (from..from + width).contains(&part(row))
            })
        });
        let truth = filtered.as_ref().unwrap_or(&set.truth);
        let queries: Arc<Vec<Query>> =
            Arc::new((0..set.queries()).map(|at| self.query(set, at, effort, thousandths)).collect());
        let (mut found, mut wanted, mut seen, mut scored) = (0, 0, 0, 0);
        for (query, truth) in queries.iter().zip(truth) {
            let results = reader.search(query).await.unwrap();
            let ids = results.hits.iter().map(|hit| String::from_utf8_lossy(&hit.document.id).parse::<u32>().unwrap());
            found += ids.filter(|id| truth.contains(id)).count();
            wanted += truth.len();
            seen += results.explain.legs[0].estimated;
            scored += results.explain.legs[0].scored;
        }
        let mut times = Vec::new();
        for query in queries.iter() {
            let started = Instant::now();
            reader.search(query).await.unwrap();
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let (started, processor) = (Instant::now(), processor());
        let rounds = 3;
        let tasks = (0..cores()).map(|core| {
            let (reader, queries) = (Arc::clone(&reader), Arc::clone(&queries));
            tokio::spawn(async move {
                for _ in 0..rounds {
                    for query in queries.iter().skip(core).step_by(cores()) {
                        reader.search(query).await.unwrap();
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let total = (queries.len() * rounds) as f64;
        let figures =
            Figures { recall: found as f64 / wanted as f64, per_second: total / started.elapsed().as_secs_f64() };
        let count = queries.len();
        println!(
            "{effort:?}{}: recall {:.4}, {:.0} queries/s, {:.3} ms processor, p50 {:.2} p99 {:.2} ms; {} codes, {} vectors a query",
            thousandths.map_or(String::new(), |width| format!(" of {}%", width as f64 * 100.0 / PARTS as f64)),
            figures.recall,
            figures.per_second,
            processor_since(processor).as_secs_f64() * 1e3 / total,
            times[count / 2],
            times[count * 99 / 100],
            seen / count as u64,
            scored / count as u64,
        );
        figures
    }

    /// Overwrites every document twice, the second time with what it had at first. `fresh` is the recall and `bytes` the space
    /// of the fresh build.
    pub(crate) async fn churn(&self, set: &Set, fresh: &Figures, bytes: f64) {
        println!("churn: every document is overwritten twice");
        for shift in [set.count() / 3, 0] {
            self.write(set, shift).await;
            self.settle().await;
        }
        self.compact(set).await;
        let churned = self.print_disk(set, "after churn and compaction").await;
        let stats = self.reader().stats().await.unwrap();
        println!("{} versions, {} dead ids; {:?}", stats.versions, stats.dead, stats.fields["v"]);
        self.warm(set).await;
        let figures = self.measure(set, Effort::Recall(0.97), None).await;
        println!(
            "after churn: recall {:+.4}, queries/s {:.2}x, space {:.2}x of the fresh build",
            figures.recall - fresh.recall,
            figures.per_second / fresh.per_second,
            churned / bytes
        );
    }
}

/// Memory of this process that is not mapped from files.
pub(crate) fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Where the window of a query's filter begins.
fn window(query: usize, width: usize) -> usize {
    query * 37 % (PARTS - width + 1)
}

/// User and system time of this process, in ticks of 10 ms.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn processor_since(before: Duration) -> Duration {
    processor().saturating_sub(before).max(Duration::from_millis(1))
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
