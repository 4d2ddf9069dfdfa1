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

async fn bench(dir: &tempfile::TempDir) -> (Slate, Handle<Tsdb>) {
    let store = Store::from_url(&format!("file:{}", dir.path().display())).unwrap();
    let slate = Slate::builder(&store, "slate").system::<Tsdb>("usage", Config::default()).open().await.unwrap();
    let usage = slate.get("usage").unwrap();
    (slate, usage)
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
    (dir, slate, usage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures, checks nothing"]
async fn ingest_and_query() {
    let all = series(10_000);
    let value = |n: usize, step: usize| (n * 7 + step * 3) as f64;
    let at = |step: usize| Timestamp(NOON + step as i64 * 15_000);
    for round in 0..2 {
        let one_by_one = ingest("sample(): 10,000 series x 1 sample a write", 10_000_000, |step, op| {
            all.iter().enumerate().for_each(|(n, labels)| {
                op.sample(labels.clone(), at(step), value(n, step));
            });
            step < 1000
        });
        let (dir, slate, usage) = one_by_one.await;
        if round == 1 {
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
