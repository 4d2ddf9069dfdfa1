use opendata_core::slate::{Ack, At, Settings, Slate, SlateReader};
use opendata_core::store::Store;

use super::*;
use crate::promql::Value;
use crate::{Config, Tsdb, labels};

const DAY: i64 = 86_400_000;

async fn one(reader: &Reader, expression: &str, at: i64) -> f64 {
    match reader.query(expression, Timestamp(at)).await.unwrap().value {
        Value::Vector(samples) if samples.len() == 1 => samples[0].value,
        other => panic!("{expression}: {other:?}"),
    }
}

#[tokio::test]
async fn a_rate_is_the_same_across_windows_buckets_and_seals() {
    let store = Store::from_url("memory:").unwrap();
    let settings = Settings { maintenance_interval_ms: 0, ..Settings::default() };
    let config = Config { seal_samples: 1, ..Config::default() };
    let slate = Slate::builder(&store, "s").settings(settings).system::<Tsdb>("m", config).open().await.unwrap();
    let metrics = slate.get::<Tsdb>("m").unwrap();
    // The same counter, restarting in the middle, around noon (inside a window) and around midnight and two o'clock.
    let middles = [19_000 * DAY + 13 * 3_600_000, 19_001 * DAY, 19_001 * DAY + 2 * 3_600_000];
    for half in 0..2 {
        let mut tx = slate.begin();
        for middle in middles {
            for step in half * 20..half * 20 + 20 {
                let at = middle + (step - 20) * 15_000 + 1000;
                tx.on(&metrics).sample(labels! { "__name__" => "c" }, Timestamp(at), (step % 23) as f64 * 3.0);
            }
        }
        tx.commit_with(Ack::Written).await.unwrap();
        if half == 0 {
            slate.maintain().await.unwrap();
        }
    }
    slate.flush().await.unwrap();
    let other = SlateReader::builder(&store, "s").register::<Tsdb>().open(At::Latest).await.unwrap();
    let readers = [slate.view().on(&metrics).unwrap(), other.view().get_reader::<Tsdb>("m").unwrap()];
    for reader in readers {
        for expression in ["rate(c[5m])", "increase(c[5m])", "count_over_time(c[5m])", "max_over_time(c[9m]) - c"] {
            let values: Vec<f64> = {
                let mut values = Vec::new();
                for middle in middles {
                    values.push(one(&reader, expression, middle + 150_000).await);
                }
                values
            };
            assert!(values[0] > 0.0, "{expression}: {values:?}");
            assert_eq!(values, [values[0]; 3], "{expression}");
        }
        let range = reader.query_range("c", Timestamp(middles[1]), Timestamp(middles[1] + 60_000), 15_000);
        assert!(matches!(range.await.unwrap().value, Value::Matrix(series) if series[0].values.len() == 5));
    }
}
