//! The label index: selectors of every kind, and the mistakes that others made.

use super::*;

/// Series over the labels that matter, in two buckets and many.
async fn filled() -> Bench {
    let bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    bench
        .write(|op| {
            for i in 0..3000 {
                let code = ["200", "404", "500"][i % 3];
                let mut series = labels! { "__name__" => "http_requests_total", "code" => code, "n" => i.to_string() };
                if i % 2 == 0 {
                    series = series.with("env", "prod").unwrap();
                }
                op.sample(series, Timestamp(NOON), 1.0);
            }
            op.sample(labels! { "__name__" => "up", "env" => "test" }, Timestamp(NOON), 1.0);
        })
        .await;
    bench
}

#[tokio::test]
async fn selectors_find_what_a_filter_over_all_series_finds() {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let bench = filled().await;
    let cases: &[&[(&str, MatchOp, &str)]] = &[
        &[("__name__", Equal, "up")],
        &[("__name__", Equal, "http_requests_total"), ("code", Equal, "404")],
        &[("__name__", Equal, "http_requests_total"), ("n", Regex, "12.*")],
        &[("n", Regex, "1|2|3"), ("code", NotEqual, "200")],
        &[("code", NotRegex, "200|500")],
        &[("env", Equal, "")],
        &[("env", NotEqual, "")],
        &[("env", NotEqual, "prod")],
        &[("env", Regex, "|test")],
        &[("env", NotRegex, ".+")],
        &[("env", NotRegex, ".*")],
        &[("env", Regex, ".*"), ("missing", Equal, "")],
        &[("missing", NotEqual, "")],
        &[("missing", Regex, "x"), ("n", Regex, ".*")],
        &[("n", Regex, "nothing"), ("code", Regex, "200")],
        &[("code", Equal, "200"), ("code", Equal, "404")],
        &[("n", Regex, ".*7"), ("env", Equal, "prod"), ("code", NotRegex, "4.*")],
        &[],
    ];
    for reader in [bench.reader(), bench.reader_without_state()] {
        let all = reader.series(&[], i64::MIN, i64::MAX).await.unwrap();
        assert_eq!(all.len(), 3001);
        for case in cases {
            let matchers: Vec<_> = case.iter().map(|(name, op, value)| matcher(name, *op, value)).collect();
            let holds = |series: &Labels| matchers.iter().all(|m| m.matches(series.get(m.name()).unwrap_or_default()));
            let wanted: Vec<_> = all.iter().filter(|series| holds(series)).cloned().collect();
            assert_eq!(reader.series(&matchers, i64::MIN, i64::MAX).await.unwrap(), wanted, "{matchers:?}");
            assert_eq!(select(&reader, &matchers, NOON, NOON).await.len(), wanted.len(), "{matchers:?}");
        }
    }
}

#[tokio::test]
async fn names_values_and_cardinality() {
    let bench = filled().await;
    for reader in [bench.reader(), bench.reader_without_state()] {
        let names = reader.label_names(&[], i64::MIN, i64::MAX).await.unwrap();
        assert_eq!(names, ["__name__", "code", "env", "n"]);
        let up = [Matcher::metric("up")];
        assert_eq!(reader.label_names(&up, i64::MIN, i64::MAX).await.unwrap(), ["__name__", "env"]);
        assert_eq!(reader.label_values("code", &[], i64::MIN, i64::MAX).await.unwrap(), ["200", "404", "500"]);
        assert_eq!(reader.label_values("env", &up, i64::MIN, i64::MAX).await.unwrap(), ["test"]);
        assert!(reader.label_values("code", &[], NOON + DAY, NOON + DAY).await.unwrap().is_empty());
        let cardinality = reader.label_cardinality(i64::MIN, i64::MAX).await.unwrap();
        assert_eq!((cardinality["code"], cardinality["env"]), (3, 2));
        assert!((2000..4000).contains(&cardinality["n"]), "{}", cardinality["n"]);
        let buckets = reader.buckets().await.unwrap();
        assert_eq!((buckets.len(), buckets[0].series, buckets[0].unsealed_samples), (1, 3001, 3001));
    }
}

#[tokio::test]
async fn a_reopened_writer_gives_out_new_ids() {
    let mut bench = Bench::new(config()).await;
    for i in 0..5 {
        bench
            .write(|op| {
                op.sample(labels! { "n" => i.to_string() }, Timestamp(NOON), f64::from(i));
            })
            .await;
        bench = bench.reopen().await;
    }
    let all = bench.all().await;
    assert_eq!(all.len(), 5);
    for i in 0..5 {
        assert_eq!(all[&format!("{{n=\"{i}\"}}")], [(NOON, f64::from(i).to_bits())]);
    }
}

#[tokio::test]
async fn concurrent_first_writes_to_a_bucket_give_one_id_a_series() {
    let bench = Bench::new(config()).await;
    let mut waiting = Vec::new();
    for i in 0..50i64 {
        let mut tx = bench.slate.begin();
        for n in 0..20 {
            tx.on(&bench.usage).sample(labels! { "n" => (n + i % 3).to_string() }, Timestamp(NOON + i), 1.0);
        }
        waiting.push(tx.submit(Ack::Written).await.unwrap());
    }
    let mut created = 0;
    for pending in waiting {
        created += pending.wait().await.unwrap().receipt(&bench.usage).unwrap().new_series;
    }
    let all = bench.all().await;
    assert_eq!((created, all.len()), (22, 22));
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), 50 * 20);
    assert_eq!(bench.reader().buckets().await.unwrap()[0].series, 22);
}

#[tokio::test]
async fn labels_with_equal_concatenations_are_two_series() {
    let bench = Bench::new(config()).await;
    bench
        .write(|op| {
            op.sample(labels! { "a" => "bc" }, Timestamp(NOON), 1.0).sample(
                labels! { "ab" => "c" },
                Timestamp(NOON),
                2.0,
            );
        })
        .await;
    assert_eq!(bench.all().await, expected(&[("{a=\"bc\"}", &[(NOON, 1.0)]), ("{ab=\"c\"}", &[(NOON, 2.0)])]));
}

#[tokio::test]
async fn dictionaries_that_were_unloaded_are_read_again() {
    let bench = Bench::new(config()).await;
    for round in 0..3 {
        for day in 0..20 {
            bench
                .write(|op| {
                    for n in 0..5 {
                        op.sample(
                            labels! { "__name__" => "m", "n" => (n + day).to_string() },
                            Timestamp(NOON + day * DAY + round),
                            1.0,
                        );
                    }
                })
                .await;
        }
    }
    let all = bench.all().await;
    assert_eq!(all.len(), 24);
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), 3 * 20 * 5);
    for bucket in bench.reader().buckets().await.unwrap() {
        assert_eq!(bucket.series, 5);
    }
}

#[tokio::test]
async fn a_refused_transaction_leaves_no_series_behind() {
    let bench = Bench::new(Config { max_series: 3, ..config() }).await;
    let series = |n: i32| labels! { "n" => n.to_string() };
    let refused = bench.try_write(|op| {
        (0..4).for_each(|n| {
            op.sample(series(n), Timestamp(NOON), 1.0);
        })
    });
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::Backpressure);
    bench
        .write(|op| {
            (4..7).for_each(|n| {
                op.sample(series(n), Timestamp(NOON), 1.0);
            })
        })
        .await;
    let names: Vec<_> = bench.all().await.into_keys().collect();
    assert_eq!(names, ["{n=\"4\"}", "{n=\"5\"}", "{n=\"6\"}"]);
}

#[tokio::test]
async fn batches_write_like_samples() {
    let bench = Bench::new(config()).await;
    let list = SeriesList::new((0..10).map(|n| labels! { "n" => n.to_string() }));
    for step in 0..6i64 {
        let values: Vec<f64> = (0..10).map(|n| f64::from(n) + step as f64).collect();
        bench
            .write(|op| {
                op.batch(&list, Timestamp(NOON + step * 6 * HOUR), values);
            })
            .await;
        if step == 3 {
            // One of them becomes a counter: samples must move its total from now on.
            bench
                .write(|op| {
                    op.add(labels! { "n" => "4" }, Timestamp(NOON), 100.0);
                })
                .await;
        }
    }
    assert_eq!(
        bench
            .write(|op| {
                op.add(labels! { "n" => "4" }, Timestamp(NOON), 1.0);
            })
            .await
            .totals,
        [4.0 + 5.0 + 1.0]
    );
    let all = bench.all().await;
    assert_eq!(all.len(), 10);
    assert_eq!(
        all["{n=\"9\"}"].iter().map(|(_, bits)| f64::from_bits(*bits)).collect::<Vec<_>>(),
        [9.0, 10.0, 11.0, 12.0, 13.0, 14.0]
    );
}
