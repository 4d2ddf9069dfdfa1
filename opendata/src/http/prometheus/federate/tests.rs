use opendata_tsdb::labels;

use super::*;

#[test]
fn what_is_told_is_what_our_own_reader_of_text_reads() {
    let odd = labels! { "__name__" => "http.requests", "a b" => "x\"y\\z\n" };
    let up = labels! { "__name__" => "up", "job" => "api" };
    let plain = labels! { "__name__" => "up" };
    let values = [1e-9, f64::NAN, f64::NEG_INFINITY].map(Newest::Float);
    let samples: Samples<'_> = vec![(&odd, 1500, &values[0]), (&plain, 2, &values[1]), (&up, -5, &values[2])];
    let counter = Metadata { kind: MetricKind::Counter, unit: String::new(), help: String::new() };
    let known = BTreeMap::from([("up".to_owned(), counter)]);
    let text = exposition(&samples, &known, Format::Plain);
    assert_eq!(
        text,
        "# TYPE \"http.requests\" untyped\n{\"http.requests\",\"a b\"=\"x\\\"y\\\\z\\n\"} 1e-09 1500\n# TYPE up counter\nup NaN 2\nup{job=\"api\"} -Inf -5\n"
    );
    let lines = crate::exposition::parse(&text).unwrap();
    let read: Vec<_> = lines.iter().map(|line| (&line.labels, line.time.unwrap().0, line.value.to_bits())).collect();
    let bits = |value: &Newest| if let Newest::Float(value) = value { value.to_bits() } else { 0 };
    let told: Vec<_> = samples.iter().map(|(labels, at, value)| (*labels, *at, bits(value))).collect();
    assert_eq!(read, told);
}

#[test]
fn open_metrics_has_seconds_and_an_end() {
    let up = labels! { "__name__" => "up" };
    assert_eq!(
        exposition(&vec![(&up, 1500, &Newest::Float(1.0))], &BTreeMap::new(), Format::OpenMetrics),
        "# TYPE up unknown\nup 1 1.500\n# EOF\n"
    );
}

/// A histogram with a zero bucket, and one with bounds of its own.
fn histograms() -> [Histogram; 2] {
    let buckets = |counts: &[f64]| opendata_tsdb::Buckets::from_indexed((0..).zip(counts.iter().copied()));
    let native = Histogram {
        schema: 1,
        count: 9.0,
        sum: 4.5,
        zero_threshold: 0.01,
        zero_count: 2.0,
        positive: buckets(&[3.0, 0.0, 1.0]),
        negative: buckets(&[3.0]),
        ..Histogram::default()
    };
    let own = Histogram {
        schema: opendata_tsdb::CUSTOM_BOUNDS,
        count: 6.0,
        sum: 3.0,
        positive: buckets(&[1.0, 0.0, 5.0]),
        custom_bounds: [0.5, 2.0].into(),
        ..Histogram::default()
    };
    [native, own]
}

#[test]
fn histograms_are_told_whole_in_protocol_buffers_and_as_far_as_there_is_a_form_in_text() {
    let [native, own] = histograms();
    let (took, bounded) = (labels! { "__name__" => "took", "job" => "a" }, labels! { "__name__" => "bounded" });
    let values = [Newest::Histogram(Arc::new(native.clone())), Newest::Histogram(Arc::new(own)), Newest::Float(2.0)];
    let up = labels! { "__name__" => "up" };
    let samples: Samples<'_> = vec![(&bounded, 1000, &values[1]), (&took, 1500, &values[0]), (&up, 7, &values[2])];
    let text = exposition(&samples, &BTreeMap::new(), Format::Plain);
    let wanted = "# TYPE bounded histogram\nbounded_bucket{le=\"0.5\"} 1 1000\nbounded_bucket{le=\"2\"} 1 1000\n\
        bounded_bucket{le=\"+Inf\"} 6 1000\nbounded_sum 3 1000\nbounded_count 6 1000\n# TYPE took histogram\n\
        took_bucket{job=\"a\",le=\"+Inf\"} 9 1500\ntook_sum{job=\"a\"} 4.5 1500\ntook_count{job=\"a\"} 9 1500\n\
        # TYPE up untyped\nup 2 7\n";
    assert_eq!(text, wanted);
    assert_eq!(samples.iter().filter(|(_, _, value)| is_reduced(value)).count(), 1);

    let read = family::read(&families(&samples, &BTreeMap::new()), family::Wanted::Native).unwrap();
    let [one] = read.natives.as_slice() else { panic!("{read:?}") };
    assert_eq!((&one.labels, one.time_ms), (&took, Some(1500)));
    assert!(one.histogram.same_values(&native), "{} {native}", one.histogram);
    assert!(
        read.text.contains("bounded_bucket{le=\"0.5\"} 1 1\n") && read.text.contains("up 2 0.007\n"),
        "{}",
        read.text
    );
}

#[test]
fn clients_get_what_they_want_most() {
    let families = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    assert_eq!(format(""), Format::Plain);
    assert_eq!(format("*/*"), Format::Plain);
    assert_eq!(format("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4"), Format::OpenMetrics);
    assert_eq!(format(&format!("{families};q=0.6,application/openmetrics-text;q=0.5")), Format::Families);
    assert_eq!(format(&format!("{families};q=0.2,text/plain;q=0.5")), Format::Plain);
    assert_eq!(format("application/vnd.google.protobuf;proto=other;encoding=delimited"), Format::Plain);
}
