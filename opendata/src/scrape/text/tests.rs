//! Both formats as their documents have them, and whatever else may come.

use proptest::prelude::*;

use super::*;

fn read(text: &str, format: Format) -> Result<Vec<Entry<'_>>, Wrong> {
    let mut parser = Parser::new(text, format);
    let mut entries = Vec::new();
    while let Some(entry) = parser.next()? {
        entries.push(entry);
    }
    Ok(entries)
}

fn shown(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Kind { metric, kind } => format!("{metric} is a {}", kind.name()),
        Entry::Help { metric, text } => format!("{metric}: {text}"),
        Entry::Unit { metric, unit } => format!("{metric} in {unit}"),
        Entry::Sample(sample) => {
            let labels = labels(sample.series, true).unwrap();
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let time = sample.time_ms.map(|time| format!(" @{time}")).unwrap_or_default();
            let exemplar = sample.exemplar.as_ref().map(|it| format!(" # {} {} {:?}", it.labels, it.value, it.time_ms));
            format!("{} {}{time}{}", labels.join(","), sample.value, exemplar.unwrap_or_default())
        }
    }
}

#[track_caller]
fn check(text: &str, format: Format, expected: &[&str]) {
    let entries = read(text, format).unwrap();
    assert_eq!(entries.iter().map(shown).collect::<Vec<_>>(), expected);
}

#[test]
fn the_text_format() {
    check(
        "# HELP http_requests_total The \\\\ total\\nnumber\n\
         # TYPE http_requests_total counter\n\
         http_requests_total{method=\"post\",code=\"200\",} 1027 1395066363000\n\
         \n\
         # Escaping, and a comment:\n\
         msdos{path=\"C:\\\\DIR\\\\F\", e=\"Cannot\\n\\\"f\\\"\"}\t1.458255915e9\n\
         no_labels 12.47\r\n\
         \x20 indented{ } +Inf -3982045\n\
         # TYPE old untyped\n\
         #TYPE is no keyword\n\
         braces{a=\"}\"}1\n\
         {\"http.requests\", \"my.label\"=\"v\", b=\"c\"} NaN\n\
         # TYPE \"http.requests\" gauge",
        Format::Text,
        &[
            "http_requests_total: The \\ total\nnumber",
            "http_requests_total is a counter",
            "__name__=http_requests_total,method=post,code=200 1027 @1395066363000",
            "__name__=msdos,path=C:\\DIR\\F,e=Cannot\n\"f\" 1458255915",
            "__name__=no_labels 12.47",
            "__name__=indented inf @-3982045",
            "old is a unknown",
            "__name__=braces,a=} 1",
            "__name__=http.requests,my.label=v,b=c NaN",
            "http.requests is a gauge",
        ],
    );
}

#[test]
fn open_metrics() {
    check(
        "# TYPE foo_seconds counter\n# UNIT foo_seconds seconds\n# HELP foo_seconds \\\"so\\\"\n\
         foo_seconds_total{a=\"b\"} 17.0 1520879607.789 # {trace_id=\"KOO5S4vxi0o\"} 0.67 1520879607.5\n\
         foo_seconds_created 1520430000.123\n\
         h_bucket{le=\"1.0\"} 11 # {} 0.2\n\
         # EOF\n",
        Format::OpenMetrics,
        &[
            "foo_seconds is a counter",
            "foo_seconds in seconds",
            "foo_seconds: \"so\"",
            "__name__=foo_seconds_total,a=b 17 @1520879607789 # {trace_id=\"KOO5S4vxi0o\"} 0.67 Some(1520879607500)",
            "__name__=foo_seconds_created 1520430000.123",
            "__name__=h_bucket,le=1.0 11 # {} 0.2 None",
        ],
    );
}

#[test]
fn errors_name_their_line() {
    for (text, format, line, what) in [
        ("a 1\nb\n", Format::Text, 2, "expected a space and a value behind the series"),
        ("a{b=\"c} 1\n", Format::Text, 1, "a text in quotes has no end"),
        ("a{b=\"c\" 1\n", Format::Text, 1, "the labels have no end"),
        ("a one\n", Format::Text, 1, "not a value, value=\"one\""),
        ("a 1 soon\n", Format::Text, 1, "not a time, time=\"soon\""),
        ("a 1 2 3\n", Format::Text, 1, "expected the end of the line, found '3'"),
        ("# TYPE a thing\n", Format::Text, 1, "unknown type of a metric, type=\"thing\""),
        ("a 0x1p-2\n", Format::Text, 1, "not a value, value=\"0x1p-2\""),
        ("a 1\n", Format::OpenMetrics, 1, "the text does not end with `# EOF`"),
        ("a 1\n# EOF\nb 1\n", Format::OpenMetrics, 3, "something stands behind `# EOF`"),
        ("a 1\n\n# EOF\n", Format::OpenMetrics, 2, "an empty line"),
        ("# hello\n# EOF\n", Format::OpenMetrics, 1, "a comment that is none of `# TYPE`, `# HELP`, `# UNIT`, `# EOF`"),
        ("a  1\n# EOF\n", Format::OpenMetrics, 1, "not a value, value=\"\""),
    ] {
        let wrong = read(text, format).expect_err(text);
        assert_eq!((wrong.line, wrong.what.as_str()), (line, what), "{text:?}");
    }
    for (series, what) in [
        ("{a=\"b\"}", "a series without the name of a metric"),
        ("a{b}", "expected `=` behind the name of a label, name=\"b\""),
        ("a{1=\"x\"}", "not the name of a label, name=\"1\""),
        ("a{b=c}", "expected a value in quotes, label=\"b\""),
        ("a{b=\"c\" d=\"e\"}", "expected `,` or `}` behind a label"),
        ("1a{}", "not a metric name, name=\"1a\""),
    ] {
        assert_eq!(labels(series, true).expect_err(series), what);
    }
}

#[test]
fn bounds_are_written_as_the_reference_writes_them() {
    for (word, expected) in [
        ("1", "1.0"),
        ("0.5", "0.5"),
        ("+Inf", "+Inf"),
        ("10", "10.0"),
        ("1000000", "1e+06"),
        ("1e-05", "1e-05"),
        ("0.0001", "0.0001"),
        ("123456789", "1.23456789e+08"),
        ("0", "0.0"),
        ("-2", "-2.0"),
        ("5e-324", "5e-324"),
    ] {
        assert_eq!(canonical(word).as_deref(), Some(expected));
    }
    assert_eq!(canonical("x"), None);
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}",
        pairs in proptest::collection::vec(("\\PC{1,6}", "[^\r]{0,9}"), 0..4),
        bits in any::<u64>(),
        time in proptest::option::of(-1_000_000_000_000_i64..1_000_000_000_000),
    ) {
        let value = f64::from_bits(bits);
        let text: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(value))).collect();
        let shown = if value.is_infinite() { if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() } } else { value.to_string() };
        let end = time.map(|time| format!(" {time}")).unwrap_or_default();
        let text = format!("{name}{{{}}} {shown}{end}\n", text.join(","));
        let entries = read(&text, Format::Text).unwrap();
        let [Entry::Sample(sample)] = entries.as_slice() else { panic!("{entries:?}") };
        prop_assert!(sample.value == value || sample.value.is_nan() && value.is_nan());
        prop_assert_eq!(sample.time_ms, time);
        let found = labels(sample.series, true).unwrap();
        let found: Vec<_> = found.iter().skip(1).map(|(name, value)| (name.to_string(), value.to_string())).collect();
        prop_assert_eq!(found, pairs);
    }

    #[test]
    fn whatever_comes_is_answered(text in "([a-z_#{}\"\\\\=, \t\n0-9.+-]|TYPE|HELP|UNIT|EOF|NaN|\\PC){0,80}") {
        for format in [Format::Text, Format::OpenMetrics] {
            let mut parser = Parser::new(&text, format);
            let mut lines = 0;
            while let Ok(Some(entry)) = parser.next() {
                if let Entry::Sample(sample) = entry {
                    let _ = labels(sample.series, true);
                }
                lines += 1;
            }
            prop_assert!(lines <= text.lines().count());
        }
    }

    #[test]
    fn a_text_with_a_few_bytes_changed_is_answered(
        changes in proptest::collection::vec((0_usize..400, any::<char>()), 1..6),
    ) {
        let text = "# HELP a help\n# TYPE a histogram\na_bucket{le=\"+Inf\",p=\"C:\\\\\"} 1027 1395066363000\n\
                    {\"x.y\",z=\"\\n\"} 1e3\na_sum 1.5 # {t=\"u\"} 1 2\n# EOF\n";
        let mut chars: Vec<char> = text.chars().collect();
        for (at, c) in changes {
            let at = at % chars.len();
            chars[at] = c;
        }
        let text: String = chars.into_iter().collect();
        for format in [Format::Text, Format::OpenMetrics] {
            let _ = read(&text, format).map(|entries| {
                for entry in entries {
                    if let Entry::Sample(sample) = entry {
                        let _ = labels(sample.series, false);
                    }
                }
            });
        }
    }
}
