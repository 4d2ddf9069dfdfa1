//! Tails: from commit to delivery, in the writer's process and through the write-ahead log; what an idle
//! follower costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opendata_core::env::Env;
use opendata_core::slate::{Ack, At, SlateReader};
use opendata_core::store::LocalDurability;
use opendata_core::testing::FaultStore;
use opendata_log::{FollowOptions, Follower, Log, Streams, WalFeed};

use super::{Plan, open, store};

const POLL: Duration = Duration::from_millis(5);

fn percentiles(name: &str, mut times: Vec<Duration>, goal: &str) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_micros();
    println!("  {name}: p50 {} us, p99 {} us, max {} us{goal}", at(50), at(99), at(100));
}

pub(crate) async fn tails(plan: &Plan) {
    let commits = (plan.records / 500).clamp(200, 2000);
    println!("\ntail, {commits} commits of one record");
    let dir = plan.dir.join("tail");
    let mut counts = None;
    let store = store(&dir, LocalDurability::Fsync).map(|inner| {
        let counted = FaultStore::new(inner);
        counts = Some(counted.clone());
        Arc::new(counted)
    });
    let counts = counts.unwrap();
    let slate = open(&store).await;
    let log = slate.get::<Log>("events").unwrap();
    for (name, ack) in [("written", Ack::Written), ("durable", Ack::Durable)] {
        let options = FollowOptions::of(Streams::one("s"));
        let mut follower = Follower::open(slate.watch(ack), &log, options).await.unwrap();
        let (sender, mut delivered) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            for _ in 0..commits {
                let record = follower.next().await.unwrap();
                let _ = sender.send((record.position, Instant::now()));
            }
        });
        let mut beyond = Vec::new();
        for _ in 0..commits {
            let mut tx = slate.begin();
            tx.on(&log).append("s", "a small record");
            tx.commit_with(ack).await.unwrap();
            let committed = Instant::now();
            let (_, at) = delivered.recv().await.unwrap();
            beyond.push(at.saturating_duration_since(committed));
        }
        task.await.unwrap();
        percentiles(&format!("in process, {name}, beyond the commit"), beyond, " (goal p99 1000)");
    }
    let reader = SlateReader::builder(&store, "slate").register::<Log>().open(At::Latest).await.unwrap();
    let handle = reader.get::<Log>("events").unwrap();
    let feed = WalFeed::start(Arc::new(reader), &handle, POLL, 1 << 20, &Env::system()).unwrap();
    let mut follower = feed.follow(FollowOptions::of(Streams::one("s"))).await.unwrap();
    let mut beyond = Vec::new();
    for _ in 0..commits.min(500) {
        let mut tx = slate.begin();
        tx.on(&log).append("s", "a small record");
        tx.commit().await.unwrap();
        let committed = Instant::now();
        follower.next().await.unwrap();
        beyond.push(committed.elapsed());
    }
    percentiles(&format!("through the write-ahead log, poll {} ms, beyond the commit", POLL.as_millis()), beyond, "");
    feed.stop().await;
    let options = FollowOptions::of(Streams::All);
    let mut idle = Follower::open(slate.watch(Ack::Durable), &log, options).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = counts.counts();
    let quiet = tokio::time::timeout(Duration::from_secs(2), idle.next()).await.is_err();
    let gets = counts.counts().gets - before.gets;
    println!("  idle follower for 2 s: quiet {quiet}, {gets} reads of the store by the whole process");
    slate.close().await.unwrap();
}
