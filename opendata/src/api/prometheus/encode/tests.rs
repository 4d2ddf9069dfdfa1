use opendata_core::Timestamp;
use opendata_tsdb::labels;
use opendata_tsdb::promql::{Annotations, Sample, Series};

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
    let whole = |value| answer(&Answer { value, annotations: Annotations::default() }, None);
    let at = Timestamp(1500);
    assert_eq!(
        whole(Value::Vector(vec![Sample { labels: labels.clone(), at, value: 1.0 }])),
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
    let truncated = Answer { value: Value::Vector(Vec::new()), annotations: Annotations::default() };
    assert_eq!(
        answer(&truncated, Some(TRUNCATED)),
        r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["results truncated due to limit"]}"#
    );
}
