//! Metadata, exemplars and statistics.

use super::*;
use crate::exemplar::Exemplar;
use crate::metadata::{Metadata, MetricKind};
use crate::{Reason, Top};

fn requests(code: &str) -> Labels {
    labels! { "__name__" => "requests_total", "code" => code }
}

#[tokio::test]
async fn the_metadata_written_last_wins() {
    let mut bench = Bench::new(config()).await;
    let about = |help: &str| Metadata { kind: MetricKind::Counter, unit: "1".into(), help: help.into() };
    let receipt = bench
        .write(|op| {
            op.partial()
                .metadata("requests_total", about("Requests."))
                .metadata("", about("Nobody."))
                .metadata("x", about(&"long".repeat(5000)));
        })
        .await;
    assert_eq!(receipt.refused.count(Reason::InvalidMetadata), 2);
    bench
        .write(|op| {
            op.metadata("requests_total", about("Requests served.")).metadata("up", Metadata::default());
        })
        .await;
    bench = bench.reopen().await;
    for reader in [bench.reader(), bench.reader_without_state(), bench.other_process().await] {
        let all = reader.metadata(None).await.unwrap();
        let helps: Vec<_> = all.iter().map(|(metric, metadata)| (metric.as_str(), metadata.help.as_str())).collect();
        assert_eq!(helps, [("requests_total", "Requests served."), ("up", "")]);
        assert_eq!(reader.metadata(Some("up")).await.unwrap().len(), 1);
        assert!(reader.metadata(Some("down")).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn exemplars_are_found_by_series_and_time() {
    let mut bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    let exemplar = |at: i64, trace: &str| Exemplar {
        labels: labels! { "trace_id" => trace },
        value: 0.5,
        at: Timestamp(NOON + at),
    };
    let receipt = bench
        .write(|op| {
            op.partial()
                .sample(requests("200"), Timestamp(NOON), 1.0)
                .exemplar(requests("200"), exemplar(2, "b"))
                .exemplar(requests("200"), exemplar(1, "a"))
                .exemplar(requests("200"), exemplar(1, "a"))
                .exemplar(requests("500"), exemplar(DAY, "c"))
                .exemplar(requests("500"), exemplar(0, &"long".repeat(40)));
        })
        .await;
    assert_eq!((receipt.samples, receipt.exemplars, receipt.new_series), (1, 4, 2));
    assert_eq!(receipt.refused.count(Reason::InvalidExemplar), 1);
    bench.slate.maintain().await.unwrap();
    bench = bench.reopen().await;
    for reader in [bench.reader(), bench.reader_without_state(), bench.other_process().await] {
        let found = async |matchers: &[Matcher], from: i64, to: i64| {
            let all = reader.exemplars(matchers, NOON + from, NOON + to).await.unwrap();
            let traces = |of: Vec<Exemplar>| -> Vec<String> {
                of.iter().map(|one| one.labels.get("trace_id").unwrap().to_owned()).collect()
            };
            all.into_iter().map(|(series, of)| (series, traces(of))).collect::<Vec<_>>()
        };
        let both = [(requests("200"), vec!["a".to_owned(), "b".to_owned()]), (requests("500"), vec!["c".to_owned()])];
        assert_eq!(found(&[], 0, 2 * DAY).await, both);
        assert_eq!(found(&[matcher("code", MatchOp::Equal, "500")], 0, 2 * DAY).await, both[1..]);
        assert_eq!(found(&[], 2, 3).await, [(requests("200"), vec!["b".to_owned()])]);
    }
}

#[tokio::test]
async fn statistics_name_the_largest() {
    let bench = Bench::new(Config { seal_samples: 1, ..config() }).await;
    bench
        .write(|op| {
            for n in 0..20 {
                op.sample(labels! { "__name__" => "many", "instance" => format!("host-{n:02}") }, Timestamp(NOON), 1.0);
            }
            op.sample(requests("200"), Timestamp(NOON), 1.0).sample(requests("500"), Timestamp(NOON), 1.0);
        })
        .await;
    let top = |name: &str, value: u64| Top { name: name.into(), value };
    for reader in [bench.reader(), bench.other_process().await] {
        let found = reader.statistics(2).await.unwrap();
        assert_eq!((found.series, found.label_pairs, found.unsealed_samples), (22, 24, 22));
        assert_eq!(found.series_by_metric, [top("many", 20), top("requests_total", 2)]);
        assert_eq!(found.values_by_label, [top("instance", 20), top("__name__", 2)]);
        assert_eq!(found.bytes_by_label, [top("instance", 140), top("__name__", 108)]);
        assert_eq!(found.series_by_pair, [top("__name__=many", 20), top("__name__=requests_total", 2)]);
    }
}
