//! Figures, for orientation: run with `--run-ignored only --no-capture`, in release.

use std::time::Instant;

use super::*;

fn series(count: usize) -> Vec<Labels> {
    let one = |n: usize| {
        labels! {
            "__name__" => format!("metric_{}", n / 100), "instance" => format!("host-{}:9100", n % 100), "job" => "node",
            "cluster" => "eu-west-1", "core" => (n % 7).to_string(), "mode" => "idle"
        }
    };
    (0..count).map(one).collect()
}

/// What the values look like. A straight line over the series would pack to nothing and flatter every figure.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// Integers of 20 bits without a pattern.
    Integers,
    /// All 52 bits of the fraction without a pattern: nothing to pack.
    Noise,
}

impl Values {
    fn at(self, n: usize, step: usize) -> f64 {
        let mut mixed = (n as u64) << 32 | step as u64;
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^= mixed >> 33;
        match self {
            Self::Integers => (mixed >> 44) as f64,
            Self::Noise => f64::from_bits((mixed >> 12) | 0x3ff0_0000_0000_0000),
        }
    }
}

async fn bench(dir: &tempfile::TempDir) -> (Slate, Handle<Tsdb>) {
    let store = Store::from_url(&format!("file:{}", dir.path().display())).unwrap();
    let slate = Slate::builder(&store, "slate").system::<Tsdb>("usage", Config::default()).open().await.unwrap();
    let usage = slate.get("usage").unwrap();
    (slate, usage)
}

/// Bytes of all files under a folder.
fn walk(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { walk(&entry.path()) } else { entry.metadata().map_or(0, |data| data.len()) }
            },
        )
        .sum()
}

async fn ingest(
    name: &str,
    samples: usize,
    mut fill: impl FnMut(usize, &mut Op) -> bool,
) -> (tempfile::TempDir, Slate, Handle<Tsdb>) {
    let dir = tempfile::tempdir().unwrap();
    let (slate, usage) = bench(&dir).await;
    let begin = Instant::now();
    let mut waiting = std::collections::VecDeque::new();
    for step in 0.. {
        let mut tx = slate.begin();
        if !fill(step, tx.on(&usage)) {
            break;
        }
        waiting.push_back(tx.submit(Ack::Written).await.unwrap());
        if waiting.len() > 32 {
            waiting.pop_front().unwrap().wait().await.unwrap();
        }
    }
    for pending in waiting {
        pending.wait().await.unwrap();
    }
    slate.flush().await.unwrap();
    let took = begin.elapsed().as_secs_f64();
    println!("{name}: {samples} samples in {took:.2} s, {:.0} samples/s, durable at the end", samples as f64 / took);
    let bytes = walk(dir.path());
    println!(
        "  {bytes} bytes in files, not compacted and not collected, {:.2} a sample",
        bytes as f64 / samples as f64
    );
    (dir, slate, usage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures, checks nothing"]
async fn ingest_and_query() {
    let all = series(10_000);
    let at = |step: usize| Timestamp(NOON + step as i64 * 15_000);
    for values in [Values::Integers, Values::Noise] {
        println!("{values:?}");
        let value = |n: usize, step: usize| values.at(n, step);
        let one_by_one = ingest("sample(): 10,000 series x 1 sample a write", 10_000_000, |step, op| {
            all.iter().enumerate().for_each(|(n, labels)| {
                op.sample(labels.clone(), at(step), value(n, step));
            });
            step < 1000
        });
        let (dir, slate, usage) = one_by_one.await;
        {
            query(&slate, &usage).await;
            let begin = Instant::now();
            let steps = slate.maintain().await.unwrap();
            println!("sealed the rest in {steps} steps, {:.2} s", begin.elapsed().as_secs_f64());
            query(&slate, &usage).await;
            let begin = Instant::now();
            slate.close().await.unwrap();
            let closed = begin.elapsed().as_secs_f64();
            let begin = Instant::now();
            let (slate, usage) = bench(&dir).await;
            println!("closed in {closed:.2} s, opened in {:.3} s", begin.elapsed().as_secs_f64());
            query(&slate, &usage).await;
        }
        let list = SeriesList::new(all.iter().cloned());
        ingest("batch(): 10,000 series x 1 sample a write", 10_000_000, |step, op| {
            op.batch(&list, at(step), (0..10_000).map(|n| value(n, step)).collect::<Vec<_>>());
            step < 1000
        })
        .await;
        ingest("samples(): 10,000 series x 60 samples a write", 12_000_000, |step, op| {
            for (n, labels) in all.iter().enumerate() {
                let samples: Vec<_> = (0..60).map(|i| (at(step * 60 + i), value(n, step * 60 + i))).collect();
                op.samples(labels.clone(), &samples);
            }
            step < 20
        })
        .await;
    }
}

async fn query(slate: &Slate, usage: &Handle<Tsdb>) {
    let end = NOON + 999 * 15_000;
    for (name, matchers) in [
        ("10,000 series", vec![matcher("job", MatchOp::Equal, "node")]),
        ("one metric, 100 series", vec![Matcher::metric("metric_7")]),
        ("one series", vec![Matcher::metric("metric_7"), matcher("instance", MatchOp::Equal, "host-3:9100")]),
    ] {
        for (range, start) in [("5 m", end - 300_000), ("all", 0)] {
            let mut best = f64::MAX;
            let mut samples = 0;
            for _ in 0..5 {
                let begin = Instant::now();
                let reader: Reader = slate.view().on(usage).unwrap();
                let series = reader.select(&matchers, start, end).await.unwrap();
                best = best.min(begin.elapsed().as_secs_f64() * 1e3);
                samples = series.iter().map(|series| series.values.len()).sum();
            }
            println!("  select {name}, {range}: {samples} samples, {best:.3} ms");
        }
    }
}
