use opendata_tsdb::labels;

use super::*;

#[test]
fn what_is_told_is_what_our_own_reader_of_text_reads() {
    let odd = labels! { "__name__" => "http.requests", "a b" => "x\"y\\z\n" };
    let up = labels! { "__name__" => "up", "job" => "api" };
    let plain = labels! { "__name__" => "up" };
    let samples = [(&odd, 1500, 1e-9), (&plain, 2, f64::NAN), (&up, -5, f64::NEG_INFINITY)];
    let counter = Metadata { kind: MetricKind::Counter, unit: String::new(), help: String::new() };
    let known = BTreeMap::from([("up".to_owned(), counter)]);
    let text = exposition(&samples, &known, Format::Plain);
    assert_eq!(
        text,
        "# TYPE \"http.requests\" untyped\n{\"http.requests\",\"a b\"=\"x\\\"y\\\\z\\n\"} 1e-09 1500\n# TYPE up counter\nup NaN 2\nup{job=\"api\"} -Inf -5\n"
    );
    let lines = crate::exposition::parse(&text).unwrap();
    let read: Vec<_> = lines.iter().map(|line| (&line.labels, line.time.unwrap().0, line.value.to_bits())).collect();
    assert_eq!(read, samples.map(|(labels, at, value)| (labels, at, value.to_bits())));
}

#[test]
fn open_metrics_has_seconds_and_an_end() {
    let up = labels! { "__name__" => "up" };
    assert_eq!(
        exposition(&[(&up, 1500, 1.0)], &BTreeMap::new(), Format::OpenMetrics),
        "# TYPE up unknown\nup 1 1.500\n# EOF\n"
    );
}
