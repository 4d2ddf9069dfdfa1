use opendata_tsdb::labels;

use super::*;
use crate::scrape::relabel::{self, RuleIn};

fn series(change: impl FnOnce(&mut Shape)) -> Series {
    let limits = Limits { samples: 0, labels: 0, name_bytes: 0, value_bytes: 0 };
    let mut shape = Shape {
        target: labels! { "job" => "j", "instance" => "i" },
        honor_labels: false,
        honor_timestamps: true,
        track_timestamps: false,
        classic: Classic::Keep,
        rules: Vec::new(),
        limits,
    };
    change(&mut shape);
    Series::new(shape)
}

fn shown(scraped: &Scraped) -> Vec<String> {
    let list = scraped.list.clone().unwrap();
    let values = list.iter().zip(&scraped.values).map(|(labels, value)| format!("{labels} {value}"));
    let timed = scraped.timed.iter().map(|(labels, at, value)| format!("{labels} {value} @{at}"));
    let mut ended: Vec<_> = scraped.ended.iter().map(|labels| format!("{labels} ended")).collect();
    ended.sort();
    values.chain(timed).chain(ended).collect()
}

#[track_caller]
fn check(series: &mut Series, text: &str, expected: &[&str]) -> Scraped {
    let scraped = series.read(text, Format::Text, Vec::new()).unwrap();
    let expected: Vec<_> = expected.iter().map(|it| it.replace("~", r#"instance="i", job="j""#)).collect();
    assert_eq!(shown(&scraped), expected);
    scraped
}

#[test]
fn a_series_that_is_gone_ends_once_and_may_come_back() {
    let mut series = series(|_| {});
    let first = check(&mut series, "a 1\nb{x=\"y\"} 2\n", &["a{~} 1", "b{~, x=\"y\"} 2"]);
    assert_eq!((first.scraped, first.kept, first.added), (2, 2, 2));
    let second = check(&mut series, "a 3\n", &["a{~} 3", "b{~, x=\"y\"} ended"]);
    assert_eq!(second.added, 0);
    check(&mut series, "a 4\n", &["a{~} 4"]);
    let fourth = check(&mut series, "a 5\nb{x=\"y\"} 6\n", &["a{~} 5", "b{~, x=\"y\"} 6"]);
    assert_eq!(fourth.added, 1);
}

#[test]
fn a_series_that_is_written_another_way_goes_on() {
    let mut series = series(|_| {});
    check(&mut series, "a{x=\"1\",y=\"2\"} 1\n", &["a{~, x=\"1\", y=\"2\"} 1"]);
    check(&mut series, "a{y=\"2\", x=\"1\"} 2\n", &["a{~, x=\"1\", y=\"2\"} 2"]);
}

#[test]
fn the_same_series_are_the_same_list() {
    let mut series = series(|_| {});
    let read = |series: &mut Series, text: &str| series.read(text, Format::Text, Vec::new()).unwrap().list.unwrap();
    let (first, second) = (read(&mut series, "a 1\nb 2\n"), read(&mut series, "a 3\nb 4\n"));
    assert!(std::ptr::eq(first.iter().as_slice(), second.iter().as_slice()));
    let third = read(&mut series, "b 3\na 4\n");
    assert_eq!(third.iter().map(Labels::metric_name).collect::<Vec<_>>(), [Some("b"), Some("a")]);
    assert_eq!(read(&mut series, "b 3\n").len(), 1);
}

#[test]
fn a_failed_scrape_ends_everything() {
    let mut series = series(|shape| shape.limits.samples = 2);
    check(&mut series, "a 1\nb 2\n", &["a{~} 1", "b{~} 2"]);
    let error = series.read("a 1\nb 2\nc 3\n", Format::Text, Vec::new()).unwrap_err();
    assert_eq!(error.message(), "sample limit exceeded, sample_limit=2, samples=3");
    let mut ended: Vec<_> = series.fail().iter().map(|labels| labels.metric_name().unwrap().to_owned()).collect();
    ended.sort();
    assert_eq!(ended, ["a", "b"]);
    assert_eq!(series.fail(), []);
    let again = check(&mut series, "a 1\n", &["a{~} 1"]);
    assert_eq!(again.added, 1);
    assert!(series.read("a 1\nb{\n", Format::Text, Vec::new()).unwrap_err().message().starts_with("line 2: "));
    assert_eq!(series.fail().len(), 1);
}

#[test]
fn labels_of_target_and_series_that_meet() {
    let text = "a{job=\"own\",exported_instance=\"e\",instance=\"own\"} 1\n";
    check(
        &mut series(|_| {}),
        text,
        &[r#"a{exported_exported_instance="own", exported_instance="e", exported_job="own", instance="i", job="j"} 1"#],
    );
    check(
        &mut series(|shape| shape.honor_labels = true),
        text,
        &[r#"a{exported_instance="e", instance="own", job="own"} 1"#],
    );
}

#[test]
fn times_of_samples_count_unless_they_shall_not() {
    let mut honoring = series(|_| {});
    check(&mut honoring, "a 1 5000\nb 2\n", &["b{~} 2", "a{~} 1 @5000"]);
    check(&mut honoring, "b 2\n", &["b{~} 2"]);
    let mut tracking = series(|shape| shape.track_timestamps = true);
    check(&mut tracking, "a 1 5000\n", &["a{~} 1 @5000"]);
    check(&mut tracking, "", &["a{~} ended"]);
    check(&mut series(|shape| shape.honor_timestamps = false), "a 1 5000\n", &["a{~} 1"]);
}

#[test]
fn rules_change_and_drop_series() {
    let rules: Vec<RuleIn> = serde_saphyr::from_str(
        "[{source_labels: [__name__], regex: 'go_.*', action: drop}, {regex: x, action: labeldrop}]",
    )
    .unwrap();
    let mut series = series(|shape| shape.rules = relabel::check(&rules).unwrap());
    let scraped = check(&mut series, "go_threads 1\na{x=\"y\"} 2\n", &["a{~} 2"]);
    assert_eq!((scraped.scraped, scraped.kept), (2, 1));
}

#[test]
fn limits_of_labels_fail_the_scrape() {
    for (change, expected) in [
        (Limits { samples: 0, labels: 3, name_bytes: 0, value_bytes: 0 }, "line 2: label limit exceeded"),
        (Limits { samples: 0, labels: 0, name_bytes: 8, value_bytes: 0 }, "line 2: label name length limit exceeded"),
        (Limits { samples: 0, labels: 0, name_bytes: 0, value_bytes: 5 }, "line 2: label value length limit exceeded"),
    ] {
        let mut series = series(|shape| shape.limits = change);
        let error = match series.read("a 1\na{name_long=\"value_long\"} 1\n", Format::Text, Vec::new()) {
            Err(error) => error,
            Ok(scraped) => panic!("{:?}", shown(&scraped)),
        };
        // `instance` is the longest name of the target's own labels, and fits.
        assert!(error.message().starts_with(expected), "{}", error.message());
    }
}

#[test]
fn bounds_are_written_in_one_way() {
    check(
        &mut series(|_| {}),
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\n# TYPE s summary\ns{quantile=\"0.50\"} 1\ng{le=\"1\"} 1\n",
        &["h_bucket{~, le=\"1.0\"} 1", "h_bucket{~, le=\"+Inf\"} 1", "s{~, quantile=\"0.5\"} 1", "g{~, le=\"1\"} 1"],
    );
}

#[test]
fn metadata_and_exemplars_are_told_when_they_change() {
    let mut series = series(|_| {});
    let text = "# TYPE a counter\n# HELP a help\n# UNIT a seconds\na_total 1 # {t=\"u\"} 0.5 3.5\n# EOF\n";
    let first = series.read(text, Format::OpenMetrics, Vec::new()).unwrap();
    let described = Described { metric: "a".into(), kind: Kind::Counter, help: "help".into(), unit: "seconds".into() };
    assert_eq!(first.described, [described]);
    assert_eq!((&first.exemplars[0].labels, first.exemplars[0].time_ms), (&labels! { "t" => "u" }, Some(3500)));
    let second = series.read(text, Format::OpenMetrics, Vec::new()).unwrap();
    // Neither is said again while it stays as it is.
    assert_eq!((second.described.len(), second.exemplars.len()), (0, 0));
    let third = series.read(&text.replace("3.5", "4.5"), Format::OpenMetrics, Vec::new()).unwrap();
    assert_eq!(third.exemplars.len(), 1);
}

#[test]
fn classic_histograms_become_native_ones_and_end_like_others() {
    let text = "# TYPE h histogram\nh_bucket{a=\"b\",le=\"1\"} 2\nh_bucket{a=\"b\",le=\"+Inf\"} 3\nh_sum{a=\"b\"} 4.5\nh_count{a=\"b\"} 3\n";
    let mut converted = series(|shape| shape.classic = Classic::Convert);
    let scraped = check(&mut converted, text, &[]);
    let (labels, _, histogram) = &scraped.histograms[0];
    assert_eq!(labels.to_string(), r#"h{a="b", instance="i", job="j"}"#);
    assert_eq!((histogram.count, histogram.sum, histogram.custom_bounds.len()), (3.0, 4.5, 1));
    assert_eq!((scraped.scraped, scraped.kept, scraped.added), (4, 1, 1));
    check(&mut converted, "", &[r#"h{a="b", ~} ended"#]);
    let mut both = series(|shape| shape.classic = Classic::Both);
    let scraped = both.read(text, Format::Text, Vec::new()).unwrap();
    assert_eq!((scraped.values.len(), scraped.histograms.len()), (4, 1));
    assert_eq!(both.fail().len(), 5);
}
