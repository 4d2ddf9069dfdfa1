//! Random transactions against a simple model in memory.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::histograms::{histogram, mark};
use super::*;

#[derive(Default)]
struct Model(BTreeMap<Labels, BTreeMap<i64, u64>>);

impl Model {
    fn set(&mut self, series: &Labels, time: i64, value: f64) {
        self.0.entry(series.clone()).or_default().insert(time, value.to_bits());
    }

    fn add(&mut self, series: &Labels, time: i64, delta: f64) -> f64 {
        let samples = self.0.entry(series.clone()).or_default();
        let newest = samples.last_key_value().map_or(i64::MIN, |(time, _)| *time);
        let number =
            samples.values().rev().map(|bits| f64::from_bits(*bits)).find(|value| !value.is_nan()).unwrap_or(0.0);
        samples.insert(newest.max(time), (number + delta).to_bits());
        number + delta
    }

    fn delete(&mut self, matchers: &[Matcher], start: i64, end: i64) {
        let holds = |series: &Labels| matchers.iter().all(|m| m.matches(series.get(m.name()).unwrap_or_default()));
        for (_, samples) in self.0.iter_mut().filter(|(series, _)| holds(series)) {
            samples.retain(|time, _| !(start..=end).contains(time));
        }
    }

    fn content(&self, matchers: &[Matcher], start: i64, end: i64) -> Content {
        let holds = |series: &Labels| matchers.iter().all(|m| m.matches(series.get(m.name()).unwrap_or_default()));
        let of_range =
            |samples: &BTreeMap<i64, u64>| samples.range(start..=end).map(|(time, bits)| (*time, *bits)).collect();
        let series = self.0.iter().filter(|(series, _)| holds(series));
        series
            .map(|(series, samples)| (series.to_string(), of_range(samples)))
            .filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty())
            .collect()
    }
}

fn random_series(random: &mut StdRng) -> Labels {
    let metric = ["x", "y", ""][random.random_range(0..3)];
    let tenant = random.random_range(0..4).to_string();
    let zone = ["", "a", "ab", "b"][random.random_range(0..4)];
    labels! { "__name__" => metric, "tenant" => tenant, "zone" => zone }
}

fn random_time(random: &mut StdRng) -> i64 {
    let spread = [10, HOUR, 10 * DAY][random.random_range(0..3)];
    // Coarse, so that times meet.
    NOON + random.random_range(-spread..=spread) / 5 * 5
}

fn random_value(random: &mut StdRng) -> f64 {
    match random.random_range(0..12) {
        0 => STALE_NAN,
        1 => f64::NAN,
        2 => f64::from_bits(random.random()),
        3 => -0.0,
        _ => f64::from(random.random_range(-1000..1000)) / 4.0,
    }
}

fn random_operation(random: &mut StdRng, op: &mut Op, model: &mut Model) -> Vec<f64> {
    let mut totals = Vec::new();
    for _ in 0..random.random_range(1..6) {
        let series = random_series(random);
        match random.random_range(0..6) {
            5 => {
                let (time, one) = (random_time(random), histogram(random.random_range(0..40)));
                model.0.entry(series.clone()).or_default().insert(time, mark(&one));
                op.histogram(series, Timestamp(time), one);
            }
            0 | 1 => {
                let (time, value) = (random_time(random), random_value(random));
                op.sample(series.clone(), Timestamp(time), value);
                model.set(&series, time, value);
            }
            2 => {
                let samples: Vec<_> = (0..random.random_range(0..8))
                    .map(|_| (Timestamp(random_time(random)), random_value(random)))
                    .collect();
                op.samples(series.clone(), &samples);
                samples.iter().for_each(|(time, value)| model.set(&series, time.0, *value));
            }
            3 => {
                // Counters of their own, so that they stay finite.
                let series = series.with("counter", "yes").unwrap();
                let (time, delta) = (random_time(random), f64::from(random.random_range(0..100)));
                op.add(series.clone(), Timestamp(time), delta);
                totals.push(model.add(&series, time, delta));
            }
            _ => {
                let series: BTreeSet<_> = (0..3).map(|_| random_series(random)).collect();
                let list = SeriesList::new(series.iter().cloned());
                let (time, values) =
                    (random_time(random), (0..list.len()).map(|_| random_value(random)).collect::<Vec<_>>());
                series.iter().zip(&values).for_each(|(series, value)| model.set(series, time, *value));
                op.batch(&list, Timestamp(time), values);
            }
        }
    }
    totals
}

fn random_matchers(random: &mut StdRng) -> Vec<Matcher> {
    let names = ["__name__", "tenant", "zone", "counter", "missing"];
    let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
    let values = ["", "x", "0|1", "a.*", ".+", ".*", "yes", "a|"];
    (0..random.random_range(0..3))
        .map(|_| {
            matcher(names[random.random_range(0..5)], ops[random.random_range(0..4)], values[random.random_range(0..8)])
        })
        .collect()
}

async fn compare(bench: &Bench, model: &Model, random: &mut StdRng, what: &str) {
    let other = bench.other_process().await;
    for reader in [bench.reader(), bench.reader_without_state(), other] {
        assert_eq!(content_of(&reader).await, model.content(&[], i64::MIN, i64::MAX), "{what}");
        for _ in 0..3 {
            let matchers = random_matchers(random);
            let (start, length) = (random_time(random), random.random_range(0..DAY));
            let found = select(&reader, &matchers, start, start + length).await;
            assert_eq!(found, model.content(&matchers, start, start + length), "{what} {matchers:?} {start} {length}");
        }
    }
}

async fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let config = Config {
        bucket_ms: [86_400_000, 7_200_000][random.random_range(0..2)],
        window_ms: [7_200_000, 3_600_000][random.random_range(0..2)],
        seal_samples: [1, 30, 1000][random.random_range(0..3)],
        seal_step_bytes: [50, 1 << 20][random.random_range(0..2)],
        ..config()
    };
    let mut bench = Bench::new(config).await;
    let mut model = Model::default();
    for step in 0..40 {
        let what = format!("seed {seed}, step {step}");
        match random.random_range(0..10) {
            0 => bench = bench.reopen().await,
            1 => {
                bench.slate.flush().await.unwrap();
                bench = bench.crash().await;
            }
            2 => drop(bench.slate.maintain().await.unwrap()),
            3 => {
                // One step only.
                let view = bench.slate.view().instance::<Tsdb>("usage").unwrap();
                if let Some(op) = Tsdb::maintain(view).await.unwrap() {
                    let mut tx = bench.slate.begin();
                    *tx.on(&bench.usage) = op;
                    tx.commit_with(Ack::Written).await.unwrap();
                }
            }
            4 => compare(&bench, &model, &mut random, &what).await,
            _ => {
                let mut waiting = Vec::new();
                for _ in 0..random.random_range(1..5) {
                    let mut tx = bench.slate.begin();
                    let matchers = random_matchers(&mut random);
                    if random.random_range(0..5) == 0 && !matchers.is_empty() {
                        let (start, length) = (random_time(&mut random), random.random_range(0..2 * DAY));
                        model.delete(&matchers, start, start + length);
                        tx.on(&bench.usage).delete(matchers, Timestamp(start), Timestamp(start + length));
                        waiting.push((tx.submit(Ack::Written).await.unwrap(), Vec::new()));
                        continue;
                    }
                    let totals = random_operation(&mut random, tx.on(&bench.usage), &mut model);
                    waiting.push((tx.submit(Ack::Written).await.unwrap(), totals));
                }
                for (pending, totals) in waiting {
                    let commit = pending.wait().await.unwrap();
                    let given = commit.receipt(&bench.usage).map(|receipt| receipt.totals.clone()).unwrap_or_default();
                    assert_eq!(given, totals, "{what}");
                }
            }
        }
    }
    compare(&bench, &model, &mut random, &format!("seed {seed}, end")).await;
    bench.slate.close().await.unwrap();
}

/// `TSDB_SEED` replays one seed, `TSDB_SEEDS` sets how many are run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_equal_the_model() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("TSDB_SEED") {
        return run(seed).await;
    }
    for seed in 0..number("TSDB_SEEDS").unwrap_or(20) {
        run(seed).await;
    }
}
