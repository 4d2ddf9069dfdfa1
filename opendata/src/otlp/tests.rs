//! Names, attributes, points; each as the specification has it.

use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::Timestamp;
use opendata_core::store::Store;
use opendata_tsdb::promql::{Value, is_stale};
use prost::Message;
use serde_json::json;

use super::message::ExportRequest;
use super::name::{Kind, LabelNames, Strategy, metric};
use super::translate::{Measured, Translated, translate};
use super::{Config, Receiver};

const T: u64 = 1_700_000_000_000_000_000;

fn request(json: serde_json::Value) -> ExportRequest {
    serde_json::from_value(json).unwrap()
}

fn with_metrics(metrics: serde_json::Value) -> ExportRequest {
    request(json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}))
}

/// Each sample as `series value`, in order.
fn shown(translated: &Translated) -> Vec<String> {
    let show = |value: &Measured| match value {
        Measured::Number(value) if is_stale(*value) => "stale".to_owned(),
        Measured::Number(value) => value.to_string(),
        Measured::Delta(value) => format!("+{value}"),
        Measured::Histogram(native) | Measured::DeltaHistogram(native) => {
            format!("{} {:?}", native.schema, native.positive.indexed().collect::<Vec<_>>())
        }
    };
    translated.samples.iter().map(|sample| format!("{} {}", sample.labels, show(&sample.value))).collect()
}

#[track_caller]
fn check(request: &ExportRequest, config: &Config, expected: &[&str]) {
    assert_eq!(shown(&translate(request, config)), expected);
}

#[test]
fn names_carry_their_unit_and_total() {
    for (name, unit, kind, expected) in [
        ("http.server.duration", "ms", Kind::Other, "http_server_duration_milliseconds"),
        ("http.server.requests", "{request}", Kind::Counter, "http_server_requests_total"),
        ("system.cpu.time", "s", Kind::Counter, "system_cpu_time_seconds_total"),
        ("cpu_seconds_total", "s", Kind::Counter, "cpu_seconds_total"),
        ("total.requests", "", Kind::Counter, "requests_total"),
        ("memory.usage", "By", Kind::Gauge, "memory_usage_bytes"),
        ("utilization", "1", Kind::Gauge, "utilization_ratio"),
        ("network.rate", "By/s", Kind::Gauge, "network_rate_bytes_per_second"),
        ("speed", "m/s", Kind::Gauge, "speed_meters_per_second"),
        ("queue", "{item}/min", Kind::Gauge, "queue_per_min"),
        ("2xx", "", Kind::Gauge, "_2xx"),
        ("a..b--c", "", Kind::Gauge, "a_b_c"),
        ("load", "By.s", Kind::Gauge, "load_By_s"),
    ] {
        assert_eq!(metric(name, unit, kind, Strategy::UnderscoreEscapingWithSuffixes), expected);
    }
    let plain = Strategy::UnderscoreEscapingWithoutSuffixes;
    assert_eq!(metric("http.server.requests", "s", Kind::Counter, plain), "http_server_requests");
    let utf8 = Strategy::NoUTF8EscapingWithSuffixes;
    assert_eq!(metric("http.server.time", "s", Kind::Counter, utf8), "http.server.time_seconds_total");
    assert_eq!(metric("http.server.time_total", "s", Kind::Counter, utf8), "http.server.time_seconds_total");
    assert_eq!(metric("a.b", "s", Kind::Counter, Strategy::NoTranslation), "a.b");
}

#[test]
fn label_names_are_made_legal() {
    let names = LabelNames {
        strategy: Strategy::UnderscoreEscapingWithSuffixes,
        guards_underscore: true,
        keeps_underscores: true,
    };
    for (name, expected) in
        [("a.b", "a_b"), ("1st", "key_1st"), ("_x", "key_x"), ("__x", "__x"), ("a..b", "a__b"), ("ü", "key_")]
    {
        assert_eq!(names.label(name), expected);
    }
    assert_eq!(LabelNames { keeps_underscores: false, ..names }.label("a..b"), "a_b");
    assert_eq!(LabelNames { strategy: Strategy::NoTranslation, ..names }.label("a.b"), "a.b");
}

#[test]
fn a_resource_becomes_job_instance_and_target_info() {
    let request = request(json!({"resourceMetrics": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": "api"}},
            {"key": "service.namespace", "value": {"stringValue": "shop"}},
            {"key": "service.instance.id", "value": {"stringValue": "i-1"}},
            {"key": "host.name", "value": {"stringValue": "h"}},
            {"key": "process.pid", "value": {"intValue": "42"}},
        ]},
        "scopeMetrics": [{"scope": {"name": "lib", "version": "2"}, "metrics": [
            {"name": "g", "gauge": {"dataPoints": [
                {"timeUnixNano": T.to_string(), "asInt": "7", "attributes": [{"key": "a.b", "value": {"boolValue": true}}]}]}}]}],
    }]}));
    let common = r#"instance="i-1", job="shop/api""#;
    let info = r#"target_info{host_name="h", instance="i-1", job="shop/api", process_pid="42"} 1"#;
    check(&request, &Config::default(), &[&format!(r#"g{{a_b="true", {common}}} 7"#), info]);
    let config = Config {
        promote_resource_attributes: vec!["host.name".to_owned()],
        promote_scope_metadata: true,
        ..Config::default()
    };
    let series =
        format!(r#"g{{a_b="true", host_name="h", {common}, otel_scope_name="lib", otel_scope_version="2"}} 7"#);
    check(&request, &config, &[&series, info]);
}

#[test]
fn attributes_that_meet_in_one_label_are_joined() {
    let request = with_metrics(json!([{"name": "g", "gauge": {"dataPoints": [{
        "timeUnixNano": T, "asDouble": "NaN",
        "attributes": [
            {"key": "a_b", "value": {"stringValue": "2"}},
            {"key": "a.b", "value": {"arrayValue": {"values": [{"intValue": 1}, {"doubleValue": 1.5}, {"stringValue": "x"}]}}},
            {"key": "none", "value": {}}],
    }]}}]));
    check(&request, &Config::default(), &[r#"g{a_b="[1,1.5,\"x\"];2"} NaN"#]);
}

#[test]
fn histograms_are_cumulative_buckets() {
    let request =
        with_metrics(json!([{"name": "h", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [{
            "timeUnixNano": T, "count": "6", "sum": 7.5, "bucketCounts": ["1", "2", "3"], "explicitBounds": [0.5, 10],
        }]}}]));
    check(
        &request,
        &Config::default(),
        &[
            r#"h_seconds_bucket{le="0.5"} 1"#,
            r#"h_seconds_bucket{le="10"} 3"#,
            r#"h_seconds_bucket{le="+Inf"} 6"#,
            "h_seconds_sum 7.5",
            "h_seconds_count 6",
        ],
    );
    let config = Config { convert_histograms_to_nhcb: true, ..Config::default() };
    check(&request, &config, &["h_seconds -53 [(0, 1.0), (1, 2.0), (2, 3.0)]"]);
}

#[test]
fn exponential_histograms_are_native_ones() {
    let point = |scale: i32| {
        with_metrics(json!([{"name": "h", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{
            "timeUnixNano": T, "count": 10, "scale": scale, "zeroCount": 1,
            "positive": {"offset": -1, "bucketCounts": [1, 0, 2, 3]}, "negative": {"bucketCounts": [3]},
        }]}}]))
    };
    check(&point(3), &Config::default(), &["h 3 [(0, 1.0), (2, 2.0), (3, 3.0)]"]);
    // Two scales finer than can be said: four neighbours are one.
    check(&point(10), &Config::default(), &["h 8 [(0, 1.0), (1, 5.0)]"]);
    let refused = translate(&point(-5), &Config::default());
    assert_eq!((refused.samples.len(), refused.rejected.points), (0, 1));
}

#[test]
fn summaries_and_the_end_of_a_series() {
    let request = with_metrics(json!([{"name": "s", "summary": {"dataPoints": [
        {"timeUnixNano": T, "count": 3, "sum": 6, "quantileValues": [{"quantile": 0.99, "value": 2.5}]},
        {"timeUnixNano": T, "count": 0, "flags": 1, "attributes": [{"key": "a", "value": {"stringValue": "b"}}]},
    ]}}]));
    check(
        &request,
        &Config::default(),
        &[r#"s{quantile="0.99"} 2.5"#, "s_sum 6", "s_count 3", r#"s_sum{a="b"} stale"#, r#"s_count{a="b"} stale"#],
    );
}

#[test]
fn what_cannot_be_said_is_counted_with_its_reason() {
    let request = with_metrics(json!([
        {"name": "no_value", "gauge": {"dataPoints": [{"timeUnixNano": T}, {"timeUnixNano": T, "asInt": 1}]}},
        {"name": "no_temporality", "sum": {"dataPoints": [{"timeUnixNano": T, "asInt": 1}]}},
        {"name": "", "gauge": {"dataPoints": [{"timeUnixNano": T, "asInt": 1}]}},
        {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": T, "bucketCounts": [1, 2], "explicitBounds": [1, 2]},
            {"timeUnixNano": T, "bucketCounts": [1, 2, 3], "explicitBounds": [2, 1]}]}},
    ]));
    let translated = translate(&request, &Config::default());
    assert_eq!(shown(&translated), ["no_value 1"]);
    assert_eq!((translated.points, translated.rejected.points), (6, 5));
    assert_eq!(translated.rejected.reasons[0], "a point has no value, metric=no_value");
    assert_eq!(translated.rejected.reasons[1], "temporality is unspecified, metric=no_temporality");
}

#[test]
fn wrong_json_is_an_error_and_unknown_fields_are_none() {
    let parse = |text: &str| serde_json::from_str::<ExportRequest>(text);
    assert!(parse(r#"{"resourceMetrics": [], "new": {"x": 1}}"#).is_ok());
    let point = |value: &str| {
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{{"dataPoints":[{value}]}}}}]}}]}}]}}"#
        )
    };
    assert!(parse(&point(r#"{"asInt": "7", "timeUnixNano": null}"#)).is_ok());
    for wrong in [r#"{"asInt": "seven"}"#, r#"{"asInt": 1.5}"#, r#"{"timeUnixNano": -1}"#, r#"{"asDouble": []}"#] {
        assert!(parse(&point(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn bytes_are_those_of_the_protocol() {
    // resource_metrics { scope_metrics { metrics { name: "g" gauge { data_points { time_unix_nano: 1 as_int: -1 } } } } }
    let bytes = [
        0x0a, 0x1d, 0x12, 0x1b, 0x12, 0x19, 0x0a, 0x01, b'g', 0x2a, 0x14, 0x0a, 0x12, 0x19, 1, 0, 0, 0, 0, 0, 0, 0,
        0x31, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    let request = ExportRequest::decode(bytes.as_slice()).unwrap();
    assert_eq!(request.encode_to_vec(), bytes);
    check(&request, &Config::default(), &["g -1"]);
    // Whatever comes, decoding answers.
    for end in 0..bytes.len() {
        let _ = ExportRequest::decode(&bytes[..end]);
    }
}

fn delta(at: u64, value: f64) -> ExportRequest {
    with_metrics(json!([{"name": "n", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
        {"startTimeUnixNano": T, "timeUnixNano": T + at * 1_000_000, "asDouble": value}]}}]))
}

async fn total(composite: &InternalComposite, at: u64) -> f64 {
    let handle = composite.get::<Tsdb>("usage").unwrap();
    let reader = composite.view().on(&handle).unwrap();
    let at = Timestamp(i64::try_from(T / 1_000_000 + at).unwrap());
    match reader.query("n_total", at).await.unwrap().value {
        Value::Vector(samples) => samples[0].value,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_are_counted_once_however_often_they_are_sent_and_over_restarts() {
    let store = Store::from_url("memory:").unwrap();
    let open = async || {
        let builder = InternalComposite::builder(&store, "x").system::<Tsdb>("usage", Default::default());
        let composite = builder.open().await.unwrap();
        let handle = composite.get::<Tsdb>("usage").unwrap();
        let receiver = Receiver::new(&composite, handle, Config::default());
        (composite, receiver)
    };
    let (composite, receiver) = open().await;
    for (at, value) in [(1000, 2.0), (1000, 2.0), (2000, 3.0), (2000, 3.0)] {
        assert_eq!(receiver.export(&delta(at, value)).await.unwrap().partial_success, None);
    }
    assert_eq!(total(&composite, 2000).await, 5.0);
    assert_eq!(receiver.counters()[3], ("duplicate_samples", 2));
    // One that comes after a later one was counted: nobody can tell whether it was counted too.
    let late = receiver.export(&delta(1500, 1.0)).await.unwrap().partial_success.unwrap();
    assert_eq!(late.rejected_data_points, 1);
    composite.close().await.unwrap();

    let (composite, receiver) = open().await;
    for (at, value) in [(2000, 3.0), (3000, 4.0), (3000, 4.0)] {
        receiver.export(&delta(at, value)).await.unwrap();
    }
    assert_eq!(total(&composite, 3000).await, 9.0);
    composite.close().await.unwrap();
}

fn delta_histogram(at: u64, bounds: [f64; 2], counts: [u64; 3]) -> ExportRequest {
    with_metrics(json!([
        {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [
            {"timeUnixNano": T + at * 1_000_000, "count": counts.iter().sum::<u64>(), "sum": 1.5, "bucketCounts": counts,
             "explicitBounds": bounds}]}},
        {"name": "e", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [
            {"timeUnixNano": T + at * 1_000_000, "count": 3, "sum": 2.5, "scale": 0, "positive": {"bucketCounts": [1, 2]}}]}},
    ]))
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_of_deltas_add_up_over_restarts_with_what_they_are_and_their_exemplars() {
    let store = Store::from_url("memory:").unwrap();
    let open = async || {
        let builder = InternalComposite::builder(&store, "x").system::<Tsdb>("usage", Default::default());
        let composite = builder.open().await.unwrap();
        let handle = composite.get::<Tsdb>("usage").unwrap();
        let config = Config { convert_histograms_to_nhcb: true, ..Config::default() };
        let receiver = Receiver::new(&composite, handle.clone(), config);
        (composite, handle, receiver)
    };
    let (composite, _, receiver) = open().await;
    for at in [1000, 1000, 2000] {
        receiver.export(&delta_histogram(at, [1.0, 2.0], [1, 0, 2])).await.unwrap();
    }
    composite.close().await.unwrap();
    let (composite, handle, receiver) = open().await;
    for at in [2000, 3000] {
        receiver.export(&delta_histogram(at, [1.0, 2.0], [1, 0, 2])).await.unwrap();
    }
    let exemplars = with_metrics(json!([{"name": "g", "description": "a gauge", "unit": "s", "gauge": {"dataPoints": [
        {"timeUnixNano": T, "asInt": 1, "exemplars": [{"timeUnixNano": T, "asDouble": 0.5, "traceId": "0aff", "spanId": "01"}]}]}}]));
    receiver.export(&exemplars).await.unwrap();
    let reader = composite.view().on(&handle).unwrap();
    let at = Timestamp(i64::try_from(T / 1_000_000 + 3000).unwrap());
    for (query, expected) in [
        ("histogram_count(h)", 9.0),
        ("histogram_sum(h)", 4.5),
        ("histogram_fraction(-Inf, 1, h)", 1.0 / 3.0),
        ("histogram_count(e)", 9.0),
        ("histogram_sum(e)", 7.5),
    ] {
        match reader.query(query, at).await.unwrap().value {
            Value::Vector(samples) => assert_eq!(samples[0].value, expected, "{query}"),
            other => panic!("{other:?}"),
        }
    }
    let metadata = reader.metadata(None).await.unwrap();
    assert_eq!((metadata["g_seconds"].help.as_str(), metadata["h"].kind.name()), ("a gauge", "histogram"));
    let stored = reader.exemplars(&[opendata_tsdb::Matcher::metric("g_seconds")], 0, i64::MAX).await.unwrap();
    assert_eq!(stored[0].1[0].labels.to_string(), r#"{span_id="01", trace_id="0aff"}"#);
    composite.close().await.unwrap();
}
