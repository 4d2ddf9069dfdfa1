use opendata_core::Timestamp;
use opendata_tsdb::promql::{Annotations, Sample, Series, Statistics};
use opendata_tsdb::{Buckets, labels};

use super::*;

fn text(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

#[test]
fn numbers_are_written_as_the_reference_writes_them() {
    for (value, expected) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e-6, "0.000001"),
        (9.9e-7, "9.9e-07"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
    ] {
        assert_eq!(text(|out| number(out, value)), expected);
    }
}

#[test]
fn times_are_seconds_with_milliseconds_where_there_are_any() {
    for (ms, expected) in
        [(0, "0"), (1_435_781_451_781, "1435781451.781"), (1000, "1"), (1, "0.001"), (-1, "-0.001"), (-2500, "-2.500")]
    {
        assert_eq!(text(|out| seconds(out, ms)), expected);
    }
}

#[test]
fn documents_have_the_documented_shape() {
    let labels = labels! { "__name__" => "up", "path" => "a\"b\\c\nd" };
    let whole = |value| {
        answer(
            &Answer { value, annotations: Annotations::default(), statistics: Statistics::default() },
            [].into_iter(),
            Stats::Off,
            None,
        )
    };
    let at = Timestamp(1500);
    assert_eq!(
        whole(Value::Vector(vec![Sample::float(labels.clone(), at, 1.0)])),
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","path":"a\"b\\c\nd"},"value":[1.500,"1"]}]}}"#
    );
    assert_eq!(
        whole(Value::Matrix(vec![Series::floats(labels!(), vec![1000, 2000], vec![1.0, f64::NAN])])),
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"],[2,"NaN"]]}]}}"#
    );
    assert_eq!(
        whole(Value::Scalar { at, value: 2.0 }),
        r#"{"status":"success","data":{"resultType":"scalar","result":[1.500,"2"]}}"#
    );
    assert_eq!(
        whole(Value::String { at, value: "x".to_owned() }),
        r#"{"status":"success","data":{"resultType":"string","result":[1.500,"x"]}}"#
    );
    let truncated = Answer {
        value: Value::Vector(Vec::new()),
        annotations: Annotations::default(),
        statistics: Statistics::default(),
    };
    assert_eq!(
        answer(&truncated, [TRUNCATED].into_iter(), Stats::Off, None),
        r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["results truncated due to limit"]}"#
    );
}

#[test]
fn histograms_are_counts_sums_and_buckets_with_the_rule_of_their_bounds() {
    let histogram = std::sync::Arc::new(Histogram {
        zero_threshold: 0.25,
        zero_count: 1.0,
        count: 4.0,
        sum: 5.5,
        positive: Buckets::from_indexed([(1, 2.0)]),
        negative: Buckets::from_indexed([(0, 1.0)]),
        ..Default::default()
    });
    let shape = r#"{"count":"4","sum":"5.5","buckets":[[1,"-1","-0.5","1"],[3,"-0.25","0.25","1"],[0,"1","2","2"]]}"#;
    let at = Timestamp(1000);
    let vector = Value::Vector(vec![Sample::distribution(labels!(), at, histogram.clone())]);
    assert_eq!(
        text(|out| data(out, &vector)),
        format!(r#""vector","result":[{{"metric":{{}},"histogram":[1,{shape}]}}]"#)
    );
    let mixed = Series::mixed(labels!(), vec![1000, 2000], vec![3.0, 0.0], vec![(1, histogram.clone())]);
    assert_eq!(
        text(|out| data(out, &Value::Matrix(vec![mixed]))),
        format!(r#""matrix","result":[{{"metric":{{}},"values":[[1,"3"]],"histograms":[[2,{shape}]]}}]"#)
    );
    let only = Series::mixed(labels!(), vec![1000], vec![0.0], vec![(0, histogram)]);
    assert_eq!(
        text(|out| data(out, &Value::Matrix(vec![only]))),
        format!(r#""matrix","result":[{{"metric":{{}},"histograms":[[1,{shape}]]}}]"#)
    );
}

#[test]
fn what_is_written_at_once_is_what_the_types_read() {
    let histogram = std::sync::Arc::new(Histogram {
        count: 2.0,
        sum: 3.0,
        positive: Buckets::from_indexed([(1, 2.0)]),
        ..Default::default()
    });
    let mixed = Series::mixed(labels! { "a" => "b" }, vec![1000, 2500], vec![1e-7, 0.0], vec![(1, histogram)]);
    let given = Answer {
        value: Value::Matrix(vec![mixed]),
        annotations: Annotations::default(),
        statistics: Statistics::default(),
    };
    let read: serde_json::Value = serde_json::from_str(&answer(&given, [].into_iter(), Stats::Off, None)).unwrap();
    let typed = crate::api::prometheus::Response::<crate::api::prometheus::QueryData>::from(given);
    assert_eq!(serde_json::to_value(&typed).unwrap(), read);
}

#[test]
fn statistics_stand_beside_the_result_where_they_are_wanted() {
    let step = StepStatistics { at: Timestamp(1500), samples_queried: 7, samples_needed: 4 };
    let statistics = Statistics { samples_queried: 7, values_held: 3, steps: vec![step], ..Statistics::default() };
    let given = Answer { value: Value::Vector(Vec::new()), annotations: Annotations::default(), statistics };
    let read: serde_json::Value = serde_json::from_str(&answer(&given, [].into_iter(), Stats::Totals, None)).unwrap();
    let samples = serde_json::json!({"totalQueryableSamples": 7, "peakSamples": 3, "samplesRead": 0});
    assert_eq!(read["data"]["stats"]["samples"], samples);
    let read: serde_json::Value = serde_json::from_str(&answer(&given, [].into_iter(), Stats::Steps, None)).unwrap();
    let samples = &read["data"]["stats"]["samples"];
    assert_eq!(samples["totalQueryableSamplesPerStep"], serde_json::json!([[1.5, 7]]));
    assert_eq!(samples["samplesReadPerStep"], serde_json::json!([[1.5, 4]]));
    assert_eq!(read["data"]["stats"]["timings"]["execTotalTime"], 0.0);
}
