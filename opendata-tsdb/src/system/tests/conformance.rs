//! Core's suite.

use opendata_core::conformance::{Subject, check};
use opendata_core::key::Tag;
use rand::Rng;
use rand::rngs::StdRng;

use super::histograms::histogram;
use super::*;
use crate::chunk::encode_row;
use crate::columns::Columns;
use crate::exemplar::Exemplar;
use crate::key::{DATA, EXEMPLAR, FORWARD, NAME, POSTING, SOURCE};
use crate::record::forward::Entry;

struct Series;

impl Subject for Series {
    type System = Tsdb;

    fn config(&self) -> Config {
        Config { bucket_ms: 120_000, window_ms: 60_000, seal_samples: 20, seal_step_bytes: 100, ..config() }
    }

    fn operation(&self, random: &mut StdRng, step: u64) -> Op {
        let mut op = Op::default();
        if random.random_range(0..6) == 0 {
            let of = matcher("n", MatchOp::Regex, &format!("[{}-9]", random.random_range(0..9)));
            op.delete([of], Timestamp(random.random_range(-200_000..0)), Timestamp(random.random_range(0..60_000)));
            return op;
        }
        for _ in 0..random.random_range(1..5) {
            let series = labels! { "__name__" => "m", "n" => random.random_range(0..6).to_string() };
            let time = i64::try_from(step).unwrap() * 1000 - random.random_range(0..200_000);
            match random.random_range(0..4) {
                0 => op.add(series.with("add", "1").unwrap(), Timestamp(time), 1.0),
                1 => op
                    .histogram(series.clone(), Timestamp(time), histogram(random.random_range(0..9)))
                    .exemplar(series, Exemplar { labels: Labels::empty(), value: 1.0, at: Timestamp(time) })
                    .metadata("m", Metadata { help: step.to_string(), ..Metadata::default() })
                    .source("suite"),
                _ => op.sample(series, Timestamp(time), f64::from(random.random_range(0..9))),
            };
        }
        op
    }

    fn refused(&self, random: &mut StdRng) -> Op {
        let mut op = self.operation(random, 5);
        op.add(labels! { "__name__" => "m" }, Timestamp(0), f64::NAN);
        op
    }

    async fn dump(&self, view: InstanceView<Tsdb>) -> Result<String> {
        let reader = Tsdb::reader(view);
        let buckets = reader.buckets().await?;
        let statistics = reader.statistics(3).await?;
        let exemplars = reader.exemplars(&[], i64::MIN, i64::MAX).await?;
        let metadata = reader.metadata(None).await?;
        Ok(format!(
            "{:?} {:?} {buckets:?} {statistics:?} {exemplars:?} {metadata:?}",
            content_of(&reader).await,
            reader.label_names(&[], i64::MIN, i64::MAX).await?
        ))
    }

    fn merges(&self, random: &mut StdRng) -> Vec<(Vec<u8>, Vec<Bytes>)> {
        let rows = (0..6).map(|_| {
            let mut times: Vec<i64> = (0..random.random_range(1..50)).map(|_| random.random_range(0..100)).collect();
            times.sort_unstable();
            times.dedup();
            let values: Vec<f64> = times.iter().map(|_| f64::from(random.random_range(0..100))).collect();
            encode_row(Columns { times, values, ..Columns::default() }.as_samples())
        });
        let rows = rows.collect();
        let ids = (0..6)
            .map(|_| posting::encode(&(0..random.random_range(0..40)).map(|_| random.random_range(0..300)).collect()));
        let ids: Vec<Bytes> = ids.collect();
        let exemplars = (0..6).map(|n| {
            exemplar::row(vec![Exemplar { labels: labels! { "n" => n.to_string() }, value: 1.0, at: Timestamp(n % 4) }])
        });
        let exemplars = exemplars.collect();
        let blocks = (0..6u32).map(|block| {
            let entry = Entry { metric: 0, labels: labels! { "n" => "x".repeat(block as usize) } };
            forward::encode([(block * 3, &entry)].into_iter())
        });
        let names = (0..6).map(|_| {
            let mut sketch = Sketch::default();
            (0..random.random_range(0..90)).for_each(|_| sketch.insert(&random.random_range(0..200).to_string()));
            sketch.encode()
        });
        let names = names.collect();
        // The suite hands these to `merge` as they are, so they are whole keys.
        let key = |tag: Tag, rest: &[u8]| [&[1, 1, 0, 1, 0, 0, 0, 1, tag.0][..], rest].concat();
        vec![
            (key(DATA, &[0; 9]), rows),
            (key(POSTING, b"a\0\0b"), ids.clone()),
            (key(SOURCE, b"scrape"), ids),
            (key(EXEMPLAR, &[0; 4]), exemplars),
            (key(FORWARD, &[0; 4]), blocks.collect()),
            (key(NAME, b"a"), names),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_is_passed() {
    for seed in 0..3 {
        check(&Series, seed).await;
    }
}
