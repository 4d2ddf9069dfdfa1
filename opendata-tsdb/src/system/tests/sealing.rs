//! Sealing and retention.

use super::*;

/// Small steps, so that one sealing takes several commits.
fn small_steps() -> Config {
    Config { seal_samples: 1, seal_step_bytes: 100, ..config() }
}

async fn fill(bench: &Bench, from: i64, step: f64) {
    bench
        .write(|op| {
            for n in 0..20 {
                for at in 0..5 {
                    op.sample(
                        labels! { "__name__" => "m", "n" => n.to_string() },
                        Timestamp(from + at * HOUR),
                        step + f64::from(n),
                    );
                }
            }
        })
        .await;
}

#[tokio::test]
async fn sealing_changes_no_answer() {
    let bench = Bench::new(small_steps()).await;
    fill(&bench, NOON, 0.0).await;
    fill(&bench, NOON + HOUR, 1000.0).await;
    let before = bench.all().await;
    let checkpoint = bench.slate.checkpoint("before", None).await.unwrap();
    let old = bench.slate.view();
    assert!(bench.slate.maintain().await.unwrap() > 5, "several steps");
    assert_eq!(bench.all().await, before);
    let stats = bench.reader().buckets().await.unwrap();
    assert_eq!((stats[0].unsealed_samples, stats[0].unsealed_slabs), (0, 0));
    assert_eq!(content_of(&old.on(&bench.usage).unwrap()).await, before, "a view from before");
    let past = SlateReader::builder(&bench.store, "slate")
        .register::<Tsdb>()
        .open(At::Checkpoint("before".into()))
        .await
        .unwrap();
    assert_eq!(past.view().position(), checkpoint.position);
    assert_eq!(content_of(&past.view().get_reader::<Tsdb>("usage").unwrap()).await, before, "a checkpoint from before");
    // Late samples change what is sealed, and are sealed in their turn.
    fill(&bench, NOON + 30 * 60_000, 5.0).await;
    fill(&bench, NOON, 7.0).await;
    let later = bench.all().await;
    assert_eq!(later.values().map(Vec::len).sum::<usize>(), 20 * 11);
    assert_eq!(later["m{n=\"3\"}"][0], (NOON, 10f64.to_bits()));
    bench.slate.maintain().await.unwrap();
    assert_eq!(bench.all().await, later);
    assert_eq!(bench.reopen().await.all().await, later);
}

#[tokio::test]
async fn writes_between_the_steps_of_a_sealing_are_kept() {
    let bench = Bench::new(small_steps()).await;
    fill(&bench, NOON, 0.0).await;
    fill(&bench, NOON, 100.0).await;
    for round in 0..200 {
        let view = bench.slate.view().instance::<Tsdb>("usage").unwrap();
        let Some(op) = Tsdb::maintain(view).await.unwrap() else { break };
        // Overwrites a series in the middle of those that are being sealed.
        bench
            .write(|op| {
                op.sample(labels! { "__name__" => "m", "n" => "10" }, Timestamp(NOON), f64::from(round));
            })
            .await;
        let mut tx = bench.slate.begin();
        *tx.on(&bench.usage) = op;
        tx.commit_with(Ack::Written).await.unwrap();
        let all = bench.all().await;
        assert_eq!(all["m{n=\"10\"}"][0], (NOON, f64::from(round).to_bits()), "round {round}");
        assert_eq!(all["m{n=\"9\"}"][0], (NOON, 109f64.to_bits()), "round {round}");
        assert_eq!(all.values().map(Vec::len).sum::<usize>(), 100);
        if round == 60 {
            break;
        }
    }
}

#[tokio::test]
async fn a_sealing_goes_on_after_a_crash_at_any_step() {
    let mut bench = Bench::new(small_steps()).await;
    fill(&bench, NOON, 0.0).await;
    let mut before = bench.all().await;
    let mut steps = 0;
    loop {
        let view = bench.slate.view().instance::<Tsdb>("usage").unwrap();
        let Some(op) = Tsdb::maintain(view).await.unwrap() else { break };
        let mut tx = bench.slate.begin();
        *tx.on(&bench.usage) = op;
        tx.commit().await.unwrap();
        assert_eq!(bench.all().await, before, "step {steps}");
        bench = bench.crash().await;
        assert_eq!(bench.all().await, before, "crashed after step {steps}");
        if steps == 3 {
            fill(&bench, NOON, 50.0).await;
            before = bench.all().await;
        }
        steps += 1;
        assert!(steps < 100);
    }
    assert!(steps > 5, "{steps} steps");
    assert_eq!(bench.reader().buckets().await.unwrap()[0].unsealed_samples, 0);
}

#[tokio::test]
async fn an_outdated_plan_is_a_conflict_and_changes_nothing() {
    let bench = Bench::new(small_steps()).await;
    fill(&bench, NOON, 0.0).await;
    let before = bench.all().await;
    let plan = async || Tsdb::maintain(bench.slate.view().instance::<Tsdb>("usage").unwrap()).await.unwrap().unwrap();
    let (first, same) = (plan().await, plan().await);
    let commit = async |op| {
        let mut tx = bench.slate.begin();
        *tx.on(&bench.usage) = op;
        tx.commit_with(Ack::Written).await.map_err(|error| error.kind()).map(|_| ())
    };
    assert_eq!(commit(first).await, Ok(()));
    assert_eq!(commit(same).await, Err(ErrorKind::Conflict));
    assert_eq!(bench.all().await, before);
}

#[tokio::test]
async fn what_waits_too_long_or_in_too_many_slabs_is_sealed() {
    let bench = Bench::new(Config { seal_after_ms: 1000, seal_slabs: 3, ..config() }).await;
    let unsealed = async || bench.reader().buckets().await.unwrap()[0].unsealed_slabs;
    fill(&bench, NOON, 0.0).await;
    bench.slate.maintain().await.unwrap();
    assert_eq!(unsealed().await, 1);
    bench.clock.set(Timestamp(NOON + 1001));
    bench.slate.maintain().await.unwrap();
    assert_eq!(unsealed().await, 0);
    for step in 0..3 {
        assert_eq!(unsealed().await, step);
        fill(&bench, NOON, 0.0).await;
    }
    bench.slate.maintain().await.unwrap();
    assert_eq!(unsealed().await, 0);
}

#[tokio::test]
async fn retention_drops_whole_buckets() {
    let config = Config { retention_ms: Some(2 * u64::try_from(DAY).unwrap()), ..config() };
    let bench = Bench::new(config).await;
    for day in 0..4 {
        bench.clock.set(Timestamp(NOON + day * DAY));
        bench
            .write(|op| {
                op.sample(labels! { "day" => day.to_string() }, Timestamp(NOON + day * DAY), 1.0);
            })
            .await;
    }
    assert_eq!(bench.all().await.len(), 4);
    bench.slate.maintain().await.unwrap();
    // The bucket of day 0 ended 2.5 days ago; that of day 1 ended 1.5 days ago and stays.
    let left: Vec<_> = bench.all().await.into_keys().collect();
    assert_eq!(left, ["{day=\"1\"}", "{day=\"2\"}", "{day=\"3\"}"]);
    let view = bench.slate.view().instance::<Tsdb>("usage").unwrap();
    let first_day = Config::default().calendar().segment(NOON).unwrap();
    assert_eq!(Tsdb::first_live_segment(view).await.unwrap(), SegmentId(first_day.0 + 1));
    let late = bench
        .try_write(|op| {
            op.sample(labels! { "a" => "b" }, Timestamp(NOON), 1.0);
        })
        .await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Invalid);
    let bench = bench.reopen().await;
    assert_eq!(bench.all().await.len(), 3);
}
