//! Deleting samples.

use opendata_core::slate::Access;

use super::*;
use crate::exemplar::Exemplar;

fn room(n: i64) -> Labels {
    labels! { "__name__" => "temperature", "room" => n.to_string() }
}

fn of_room(n: i64) -> Matcher {
    matcher("room", MatchOp::Equal, &n.to_string())
}

async fn fill(bench: &Bench, value: f64) {
    bench
        .write(|op| {
            for n in 0..3 {
                let samples: Vec<_> = (0..6).map(|at| (Timestamp(NOON + at * HOUR), value)).collect();
                op.samples(room(n), &samples);
            }
        })
        .await;
}

async fn delete(bench: &Bench, matchers: Vec<Matcher>, from: i64, to: i64) -> u64 {
    let receipt = bench
        .write(|op| {
            op.delete(matchers, Timestamp(from), Timestamp(to));
        })
        .await;
    receipt.deleted_series
}

fn times(content: &Content, n: i64) -> Vec<i64> {
    let samples = content.get(&room(n).to_string());
    samples.into_iter().flatten().map(|(time, _)| (time - NOON) / HOUR).collect()
}

#[tokio::test]
async fn what_is_deleted_is_gone_at_once_and_what_comes_later_stays() {
    let mut bench = Bench::new(Config { seal_samples: 10, ..config() }).await;
    fill(&bench, 1.0).await;
    bench.slate.maintain().await.unwrap();
    // Some sealed, some not, and both hold the range.
    fill(&bench, 2.0).await;
    assert_eq!(delete(&bench, vec![of_room(1)], NOON + HOUR, NOON + 3 * HOUR).await, 1);
    let content = bench.all().await;
    assert_eq!((times(&content, 0), times(&content, 1)), (vec![0, 1, 2, 3, 4, 5], vec![0, 4, 5]));
    bench
        .write(|op| {
            op.sample(room(1), Timestamp(NOON + 2 * HOUR), 7.0);
        })
        .await;
    let content = bench.all().await;
    assert_eq!(times(&content, 1), [0, 2, 4, 5], "a later sample is not deleted");
    assert_eq!(bench.reader().pending_deletions().await.unwrap(), 1);
    bench = bench.reopen().await;
    assert_eq!(bench.all().await, content);
    bench.slate.maintain().await.unwrap();
    assert_eq!(bench.reader().pending_deletions().await.unwrap(), 0);
    assert_eq!(bench.all().await, content);
    bench = bench.reopen().await;
    assert_eq!(bench.all().await, content);
}

#[tokio::test]
async fn maintenance_leaves_no_byte_of_what_was_deleted() {
    let bench = Bench::new(Config { seal_samples: 1, seal_step_bytes: 60, ..config() }).await;
    fill(&bench, 1.0).await;
    bench.slate.maintain().await.unwrap();
    let all = matcher("__name__", MatchOp::Equal, "temperature");
    assert_eq!(delete(&bench, vec![all.clone()], NOON, NOON + 2 * HOUR).await, 3);
    delete(&bench, vec![all], NOON + 3 * HOUR, i64::MAX).await;
    assert!(bench.all().await.is_empty());
    bench.slate.maintain().await.unwrap();
    let view = bench.slate.view();
    let instance = view.instance::<Tsdb>("usage").unwrap();
    let bucket = instance.config().calendar().segment(NOON).unwrap();
    for segment in [SegmentId::CONTROL, bucket] {
        let mut rows = instance.scan(instance.prefix(segment).range(), Access::Point).await.unwrap();
        while let Some(row) = rows.next().await.unwrap() {
            let gone = matches!(Key::decode(&row.key), Ok(Key::Data { .. } | Key::Slab { .. } | Key::Deletion { .. }));
            assert!(!gone, "{:?}", Key::decode(&row.key));
        }
    }
}

#[tokio::test]
async fn a_deletion_and_its_neighbours_may_share_a_group() {
    let bench = Bench::new(config()).await;
    let mut waiting = Vec::new();
    for step in 0..6 {
        let mut tx = bench.slate.begin();
        match step {
            1 | 4 => tx.on(&bench.usage).delete([of_room(1)], Timestamp(NOON), Timestamp(NOON + step)),
            _ => tx
                .on(&bench.usage)
                .sample(room(1), Timestamp(NOON + step), 1.0)
                .sample(room(2), Timestamp(NOON + step), 1.0)
                .exemplar(
                    room(1),
                    Exemplar { labels: Labels::empty(), value: step as f64, at: Timestamp(NOON + step) },
                ),
        };
        waiting.push(tx.submit(Ack::Written).await.unwrap());
    }
    for pending in waiting {
        pending.wait().await.unwrap();
    }
    let left = [("temperature{room=\"1\"}", &[(NOON + 5, 1.0)][..])];
    let content = bench.all().await;
    assert_eq!(content.iter().next().unwrap(), expected(&left).iter().next().unwrap());
    assert_eq!(content["temperature{room=\"2\"}"].len(), 4);
    let exemplars = bench.other_process().await.exemplars(&[], i64::MIN, i64::MAX).await.unwrap();
    let values: Vec<_> = exemplars[0].1.iter().map(|one| one.value).collect();
    assert_eq!(values, [5.0]);
}

#[tokio::test]
async fn exemplars_are_deleted_with_their_series() {
    let mut bench = Bench::new(config()).await;
    let exemplar = |at: i64| Exemplar { labels: Labels::empty(), value: 1.0, at: Timestamp(NOON + at) };
    bench
        .write(|op| {
            for at in 0..4 {
                op.exemplar(room(1), exemplar(at)).exemplar(room(2), exemplar(at));
            }
        })
        .await;
    delete(&bench, vec![of_room(1)], NOON + 1, NOON + 2).await;
    delete(&bench, vec![of_room(2)], NOON, NOON + 9).await;
    bench
        .write(|op| {
            op.exemplar(room(1), exemplar(2));
        })
        .await;
    bench = bench.reopen().await;
    let left = bench.reader().exemplars(&[], i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(left, [(room(1), vec![exemplar(0), exemplar(2), exemplar(3)])]);
}

#[tokio::test]
async fn a_counter_goes_on_from_what_is_left() {
    let mut bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    let add = async |bench: &Bench, at: i64| {
        let receipt = bench
            .write(|op| {
                op.add(room(1), Timestamp(NOON + at), 1.0);
            })
            .await;
        receipt.totals[0]
    };
    assert_eq!(add(&bench, 0).await, 1.0);
    assert_eq!(add(&bench, HOUR).await, 2.0);
    bench.slate.maintain().await.unwrap();
    assert_eq!(add(&bench, 2 * HOUR).await, 3.0);
    delete(&bench, vec![of_room(1)], NOON + 1, NOON + 9 * HOUR).await;
    assert_eq!(add(&bench, 3 * HOUR).await, 2.0);
    bench = bench.reopen().await;
    assert_eq!(add(&bench, 3 * HOUR).await, 3.0);
    delete(&bench, vec![of_room(1)], i64::MIN, i64::MAX).await;
    assert_eq!(add(&bench, 4 * HOUR).await, 1.0);
}

#[tokio::test]
async fn a_deletion_goes_on_after_a_crash_at_any_step() {
    let mut bench = Bench::new(Config { seal_samples: 1, seal_step_bytes: 30, ..config() }).await;
    fill(&bench, 1.0).await;
    bench.slate.maintain().await.unwrap();
    fill(&bench, 2.0).await;
    delete(&bench, vec![matcher("room", MatchOp::NotEqual, "2")], NOON, NOON + 2 * HOUR).await;
    fill(&bench, 3.0).await;
    delete(&bench, vec![of_room(0)], NOON + 4 * HOUR, NOON + 4 * HOUR).await;
    let before = bench.all().await;
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
        steps += 1;
        assert!(steps < 100);
    }
    assert!(steps > 8, "{steps} steps");
    assert_eq!(bench.reader().pending_deletions().await.unwrap(), 0);
}

#[tokio::test]
async fn a_deletion_that_says_nothing_or_too_much_is_refused() {
    let bench = Bench::new(config()).await;
    let none = bench.try_write(|op| {
        op.delete([], Timestamp(0), Timestamp(1));
    });
    assert_eq!(none.await.unwrap_err().kind(), ErrorKind::Invalid);
    let backwards = bench.try_write(|op| {
        op.delete([of_room(1)], Timestamp(1), Timestamp(0));
    });
    assert_eq!(backwards.await.unwrap_err().kind(), ErrorKind::Invalid);
    let both = bench.try_write(|op| {
        op.sample(room(1), Timestamp(NOON), 1.0).delete([of_room(1)], Timestamp(0), Timestamp(1));
    });
    assert_eq!(both.await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(delete(&bench, vec![of_room(1)], 0, i64::MAX).await, 0, "deleting nothing is no mistake");
}
