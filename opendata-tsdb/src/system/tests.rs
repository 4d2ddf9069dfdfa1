use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::{Ack, At, Handle, Settings, Slate, SlateReader};
use opendata_core::store::Store;
use opendata_core::testing::FaultStore;
use opendata_core::{ErrorKind, Timestamp};

use super::*;
use crate::labels::Labels;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{STALE_NAN, SampleValue, Storage};
use crate::{SeriesList, labels};

mod ahead;
mod beside;
mod cache;
mod conformance;
mod counters;
mod deletions;
mod faults;
mod histograms;
mod index;
mod limits;
mod model;
mod opening;
mod reads;
mod rollups;
mod sealing;
mod speed;
mod starts;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// Noon of some day.
const NOON: i64 = 19_000 * DAY + 12 * HOUR;

/// Settings under which a sample may have any time.
fn config() -> Config {
    Config { future_limit_ms: None, ..Config::default() }
}

/// A store in memory, and what makes its calls fail.
fn faulty() -> (Store, FaultStore) {
    let mut faults = None;
    let store = Store::from_url("memory:").unwrap().map(|inner| {
        let store = FaultStore::new(inner);
        faults = Some(store.clone());
        Arc::new(store)
    });
    (store, faults.unwrap())
}

/// A slate with one TSDB in it, whose background work is done when asked.
struct Bench {
    store: Store,
    config: Config,
    clock: Arc<ManualClock>,
    slate: Slate,
    usage: Handle<Tsdb>,
}

impl Bench {
    async fn new(config: Config) -> Self {
        let store = Store::from_url("memory:").unwrap();
        Self::open(store, config, Arc::new(ManualClock::at(Timestamp(NOON)))).await
    }

    async fn open(store: Store, config: Config, clock: Arc<ManualClock>) -> Self {
        let settings =
            Settings { maintenance_interval_ms: 0, flush_interval_ms: 5, store_retries: 1, ..Settings::default() };
        let builder = Slate::builder(&store, "slate").settings(settings);
        // File names come from the clock and from chance: with one seed two openings would give out the same.
        static OPENED: AtomicU64 = AtomicU64::new(1);
        let seed = OPENED.fetch_add(1, Ordering::Relaxed);
        let builder = builder.env(Env::seeded(Arc::<ManualClock>::clone(&clock), seed));
        let slate = builder.system::<Tsdb>("usage", config.clone()).open().await.unwrap();
        let usage = slate.get("usage").unwrap();
        Self { store, config, clock, slate, usage }
    }

    async fn reopen(self) -> Self {
        self.slate.close().await.unwrap();
        Self::open(self.store, self.config, self.clock).await
    }

    /// Opens the slate again without having closed it, as after a crash.
    async fn crash(self) -> Self {
        let slate = Self::open(self.store.clone(), self.config.clone(), Arc::clone(&self.clock)).await;
        drop(self);
        slate
    }

    async fn write(&self, fill: impl FnOnce(&mut Op)) -> crate::Receipt {
        self.try_write(fill).await.unwrap()
    }

    async fn try_write(&self, fill: impl FnOnce(&mut Op)) -> Result<crate::Receipt> {
        let mut tx = self.slate.begin();
        fill(tx.on(&self.usage));
        let commit = tx.commit_with(Ack::Written).await?;
        Ok(commit.receipt(&self.usage).unwrap().clone())
    }

    fn reader(&self) -> Reader {
        self.slate.view().on(&self.usage).unwrap()
    }

    fn reader_without_state(&self) -> Reader {
        Tsdb::reader(self.slate.view().instance::<Tsdb>("usage").unwrap().without_state())
    }

    async fn other_process(&self) -> Reader {
        self.slate.flush().await.unwrap();
        let reader = SlateReader::builder(&self.store, "slate").register::<Tsdb>().open(At::Latest).await.unwrap();
        reader.view().get_reader::<Tsdb>("usage").unwrap()
    }

    /// Every sample there is, read in every way there is.
    async fn all(&self) -> Content {
        let content = content(&self.reader()).await;
        assert_eq!(content, content_of(&self.reader_without_state()).await, "without the writer's state");
        assert_eq!(content, content_of(&self.other_process().await).await, "from another process");
        content
    }
}

/// Series to samples, values as bits, histograms as a hash of all they say.
type Content = BTreeMap<String, Vec<(i64, u64)>>;

async fn content(reader: &Reader) -> Content {
    content_of(reader).await
}

async fn content_of(reader: &Reader) -> Content {
    select(reader, &[], i64::MIN, i64::MAX).await
}

async fn select(reader: &Reader, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Content {
    by_name(reader.select(matchers, start_ms, end_ms).await.unwrap())
}

fn by_name(series: Vec<crate::promql::Series>) -> Content {
    let count = series.len();
    let content: Content = series
        .into_iter()
        .map(|series| {
            assert!(series.timestamps.is_sorted_by(|a, b| a < b), "{}: {:?}", series.labels, series.timestamps);
            let bits = |value: SampleValue<'_>| match value {
                SampleValue::Float(value) => value.to_bits(),
                SampleValue::Histogram(one) => histograms::mark(one),
            };
            (series.labels.to_string(), series.samples().map(|(time, value)| (time, bits(value))).collect())
        })
        .collect();
    assert_eq!(content.len(), count, "a series came twice");
    content
}

fn expected(series: &[(&str, &[(i64, f64)])]) -> Content {
    let samples = |samples: &[(i64, f64)]| samples.iter().map(|(time, value)| (*time, value.to_bits())).collect();
    series.iter().map(|(labels, of)| ((*labels).to_owned(), samples(of))).collect()
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap()
}

#[tokio::test]
async fn what_is_written_is_read() {
    let bench = Bench::new(config()).await;
    let receipt = bench
        .write(|op| {
            op.sample(labels! { "__name__" => "up", "job" => "api" }, Timestamp(NOON), 1.0);
            op.samples(labels! { "__name__" => "load" }, &[(Timestamp(NOON), 0.5), (Timestamp(NOON + 1), STALE_NAN)]);
        })
        .await;
    assert_eq!(receipt, crate::Receipt { samples: 3, new_series: 2, ..crate::Receipt::default() });
    let all = bench.all().await;
    let written = [("load", &[(NOON, 0.5), (NOON + 1, STALE_NAN)][..]), ("up{job=\"api\"}", &[(NOON, 1.0)])];
    assert_eq!(all, expected(&written));
    assert_eq!(bench.reopen().await.all().await, expected(&written));
}

#[tokio::test]
async fn bounds_of_a_selection_are_included() {
    let bench = Bench::new(config()).await;
    let times = [NOON - 13 * HOUR, NOON - 1, NOON, NOON + HOUR, NOON + 13 * HOUR];
    bench
        .write(|op| {
            times.iter().for_each(|time| {
                op.sample(labels! { "a" => "b" }, Timestamp(*time), 1.0);
            })
        })
        .await;
    let found = select(&bench.reader(), &[], NOON, NOON + HOUR).await;
    assert_eq!(found, expected(&[("{a=\"b\"}", &[(NOON, 1.0), (NOON + HOUR, 1.0)])]));
    let across = select(&bench.reader(), &[], NOON - 13 * HOUR, NOON - 1).await;
    assert_eq!(across, expected(&[("{a=\"b\"}", &[(NOON - 13 * HOUR, 1.0), (NOON - 1, 1.0)])]));
    assert!(select(&bench.reader(), &[], NOON + 1, NOON + 2).await.is_empty());
    assert!(select(&bench.reader(), &[], NOON + 2, NOON + 1).await.is_empty());
}

#[tokio::test]
async fn of_equal_times_the_last_written_wins() {
    let limited = Config { seal_samples: 1, ..config() };
    let bench = Bench::new(limited).await;
    let series = || labels! { "a" => "b" };
    bench
        .write(|op| {
            op.sample(series(), Timestamp(NOON), 1.0).sample(series(), Timestamp(NOON), 2.0);
        })
        .await;
    assert_eq!(bench.all().await, expected(&[("{a=\"b\"}", &[(NOON, 2.0)])]));
    bench
        .write(|op| {
            op.sample(series(), Timestamp(NOON), 3.0);
        })
        .await;
    assert_eq!(bench.all().await, expected(&[("{a=\"b\"}", &[(NOON, 3.0)])]));
    bench.slate.maintain().await.unwrap();
    bench
        .write(|op| {
            op.sample(series(), Timestamp(NOON), 4.0);
        })
        .await;
    assert_eq!(bench.all().await, expected(&[("{a=\"b\"}", &[(NOON, 4.0)])]));
    bench.slate.maintain().await.unwrap();
    assert_eq!(bench.all().await, expected(&[("{a=\"b\"}", &[(NOON, 4.0)])]));
}

#[tokio::test]
async fn samples_outside_the_limits_are_refused_without_a_trace() {
    let day = u64::try_from(DAY).unwrap();
    let limited = Config {
        retention_ms: Some(3 * day),
        late_limit_ms: Some(2 * day),
        future_limit_ms: Some(1000),
        max_series: 2,
        ..config()
    };
    let bench = Bench::new(limited).await;
    let write = async |time, name: &'static str| {
        let written = bench.try_write(|op| {
            op.sample(labels! { "a" => "x" }, Timestamp(NOON), 1.0).sample(
                labels! { "a" => name },
                Timestamp(time),
                1.0,
            );
        });
        written.await.map_err(|error| error.kind()).map(|receipt| receipt.samples)
    };
    assert_eq!(write(NOON - 2 * DAY - 1, "x").await, Err(ErrorKind::Invalid));
    assert_eq!(write(NOON + 1001, "x").await, Err(ErrorKind::Invalid));
    assert_eq!(write(NOON, "").await, Err(ErrorKind::Invalid), "no labels at all");
    assert!(bench.all().await.is_empty());
    assert_eq!(write(NOON + 1000, "y").await, Ok(2));
    assert_eq!(write(NOON, "z").await, Err(ErrorKind::Backpressure));
    assert_eq!(bench.all().await.len(), 2);
    let misfit = bench.try_write(|op| {
        op.batch(&SeriesList::new([labels! { "a" => "x" }]), Timestamp(NOON), [1.0, 2.0]);
    });
    assert_eq!(misfit.await.unwrap_err().kind(), ErrorKind::Invalid);
    let unbounded = Bench::new(config()).await;
    let extreme = unbounded.try_write(|op| {
        op.sample(labels! { "a" => "x" }, Timestamp(i64::MAX), 1.0);
    });
    assert_eq!(extreme.await.unwrap_err().kind(), ErrorKind::Invalid);
    let before_1970 = unbounded
        .write(|op| {
            op.sample(labels! { "a" => "x" }, Timestamp(-5), 1.0);
        })
        .await;
    assert_eq!((before_1970.samples, unbounded.all().await), (1, expected(&[("{a=\"x\"}", &[(-5, 1.0)])])));
}

#[tokio::test]
async fn every_record_is_described() {
    let bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    bench
        .write(|op| {
            op.add(labels! { "__name__" => "x" }, Timestamp(NOON), 1.0).sample(
                labels! { "__name__" => "y" },
                Timestamp(NOON),
                1.0,
            );
        })
        .await;
    bench.slate.maintain().await.unwrap();
    bench
        .write(|op| {
            op.add(labels! { "__name__" => "x" }, Timestamp(NOON), 1.0);
        })
        .await;
    let view = bench.slate.view();
    let instance = view.instance::<Tsdb>("usage").unwrap();
    let mut texts = String::new();
    for segment in [SegmentId::CONTROL, SegmentId((1 << 31) + 19_000)] {
        let mut rows =
            instance.scan(instance.prefix(segment).range(), opendata_core::slate::Access::Point).await.unwrap();
        while let Some(row) = rows.next().await.unwrap() {
            if row.key[8] >= 0x10 {
                texts.push_str(&Tsdb::describe(&row.key, &row.value).unwrap());
                texts.push('\n');
            }
        }
    }
    for part in [
        "slab ",
        ": 1 samples",
        "bucket 2147502648: 86400000 ms from 1641600000000 ms on",
        "counter x: stands in bucket",
        "metric y:",
        "0=x 1=y",
        "__name__=\"x\": 1",
        "label __name__ of bucket 2147502648: about 2 values",
        "window 6: 1 samples from",
    ] {
        assert!(texts.contains(part), "{part:?} in:\n{texts}");
    }
}
