//! What readers keep between views.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;

/// Series come, samples come late, buckets are sealed: what was read for one view must not show in another.
#[tokio::test]
async fn what_was_read_for_one_view_is_right_for_every_other() {
    let seed: u64 = std::env::var("OPENDATA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11);
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let bench = Bench::new(Config { seal_samples: 1, seal_step_bytes: 400, ..Config::default() }).await;
    let asked = [
        vec![],
        vec![Matcher::metric("m")],
        vec![Matcher::metric("m"), matcher("n", MatchOp::Regex, "1.*")],
        vec![matcher("n", MatchOp::NotRegex, ".*[05]")],
        vec![matcher("n", MatchOp::Equal, "7")],
    ];
    let mut views = Vec::new();
    for round in 0..12 {
        let known = 10 + round * 3;
        bench
            .write(|op| {
                for n in 0..known {
                    let at = Timestamp(NOON + random.random_range(0..4 * HOUR));
                    op.sample(labels! { "__name__" => "m", "n" => n.to_string() }, at, f64::from(round));
                }
            })
            .await;
        if round % 3 == 2 {
            bench.slate.maintain().await.unwrap();
        }
        if round % 3 == 1 {
            one_step_of_sealing(&bench).await;
        }
        // Another process has read nothing before.
        let fresh = bench.other_process().await;
        let mut right = Vec::new();
        for matchers in &asked {
            right.push(select(&fresh, matchers, NOON, NOON + 3 * HOUR).await);
            let now: Reader = bench.slate.view().on(&bench.usage).unwrap();
            assert_eq!(Some(&select(&now, matchers, NOON, NOON + 3 * HOUR).await), right.last(), "round {round}");
        }
        views.push((bench.slate.view(), right));
    }
    for _ in 0..3 {
        views.shuffle(&mut random);
        for (view, right) in &views {
            for (matchers, right) in asked.iter().zip(right) {
                let reader: Reader = view.on(&bench.usage).unwrap();
                assert_eq!(&select(&reader, matchers, NOON, NOON + 3 * HOUR).await, right, "{matchers:?}");
                let reader = Tsdb::reader(view.instance::<Tsdb>("usage").unwrap().without_state());
                assert_eq!(&select(&reader, matchers, NOON, NOON + 3 * HOUR).await, right, "stored, {matchers:?}");
            }
            let reader: Reader = view.on(&bench.usage).unwrap();
            let known = right.first().map_or(0, BTreeMap::len);
            assert!(reader.label_values("n", &[], NOON, NOON + DAY).await.unwrap().len() >= known);
        }
    }
}

async fn one_step_of_sealing(bench: &Bench) {
    let Some(op) = Tsdb::maintain(bench.slate.view().instance::<Tsdb>("usage").unwrap()).await.unwrap() else { return };
    let mut tx = bench.slate.begin();
    *tx.on(&bench.usage) = op;
    tx.commit_with(Ack::Written).await.unwrap();
}

/// Every step of a sealing is added to what was read before it, and read anew by nobody.
#[tokio::test]
async fn sealed_rows_are_added_to_what_was_read() {
    let bench = Bench::new(Config { seal_samples: 1, seal_step_bytes: 400, ..Config::default() }).await;
    let write = async |value: f64, last: i64| {
        bench
            .write(|op| {
                for n in 0..40 {
                    // So many that chunks say their lowest values.
                    for at in 0..last {
                        let labels = labels! { "__name__" => "m", "n" => n.to_string() };
                        op.sample(
                            labels,
                            Timestamp(NOON + at * HOUR / 60),
                            value + f64::from(i32::try_from(at).unwrap()),
                        );
                    }
                }
            })
            .await;
    };
    let all = [Matcher::metric("m")];
    // The lowest of the first are replaced by the others.
    for (value, last) in [(1.0, 170), (2.0, 100)] {
        write(value, last).await;
        let before = select(&bench.reader(), &all, NOON, NOON + 3 * HOUR).await;
        for step in 0.. {
            let unsealed = bench.reader().buckets().await.unwrap()[0].unsealed_slabs;
            if unsealed == 0 {
                assert!(step > 3, "{step} steps");
                break;
            }
            one_step_of_sealing(&bench).await;
            assert_eq!(select(&bench.reader(), &all, NOON, NOON + 3 * HOUR).await, before, "step {step}");
            let lowest = r#"min_over_time(m[3h])"#;
            let answer = bench.reader().query(lowest, Timestamp(NOON + 3 * HOUR - 1)).await.unwrap();
            let crate::promql::Value::Vector(answer) = answer.value else { panic!("a vector") };
            assert_eq!(answer.len(), 40);
            assert!(answer.iter().all(|sample| sample.value == value));
        }
    }
}

#[tokio::test]
async fn values_of_a_label_do_not_show_series_that_came_later() {
    let bench = Bench::new(Config::default()).await;
    let write = async |value: &str| {
        let labels = labels! { "__name__" => "m", "n" => value };
        bench.write(|op| _ = op.sample(labels, Timestamp(NOON), 1.0)).await;
    };
    write("a").await;
    let early = bench.slate.view();
    write("b").await;
    let values = async |view: &opendata_core::slate::View| {
        let reader: Reader = view.on(&bench.usage).unwrap();
        reader.label_values("n", &[], NOON, NOON).await.unwrap()
    };
    assert_eq!(values(&bench.slate.view()).await, ["a", "b"]);
    assert_eq!(values(&early).await, ["a"]);
}
