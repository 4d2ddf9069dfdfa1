use super::*;

#[track_caller]
fn check(line: &str, expected: &str) {
    let found = match parse_line(line) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(line)) => match line.time {
            Some(time) => format!("{} {} {time}", line.labels, line.value),
            None => format!("{} {}", line.labels, line.value),
        },
        Err(error) => error.message().to_owned(),
    };
    assert_eq!(found, expected, "{line}");
}

#[test]
fn lines_with_samples() {
    check("up 1", "up 1");
    check("  up\t1.5e3  1700000000000 \r", "up 1500 1700000000000");
    check("up{} -0.25 -5", "up -0.25 -5");
    check(r#"a:b_c{ x = "1" , y="2",} +Inf"#, r#"a:b_c{x="1", y="2"} inf"#);
    check(r#"a{x="q\"b\\n\n}"} NaN"#, r#"a{x="q\"b\\n\n}"} NaN"#);
    check(r#"{"http.requests", "my.label"="ä"} 1"#, r#"{__name__="http.requests", "my.label"="ä"} 1"#);
    check(r#"{__name__="up"} 1"#, "up 1");
}

#[test]
fn lines_without() {
    for line in ["", "  ", "\r", "# TYPE up gauge", "#", "# EOF"] {
        check(line, "nothing");
    }
}

#[test]
fn wrong_lines_say_what_was_expected_and_where() {
    check("up", "not a value, value=\"\", line=\"up\"");
    check("up one", "not a value, value=\"one\", line=\"up one\"");
    check("up inf1", "not a value, value=\"inf1\", line=\"up inf1\"");
    check("up 1 soon", "not a time in milliseconds, time=\"soon\", line=\"up 1 soon\"");
    check("up 1 2 3", "expected the end of the line, column=8, line=\"up 1 2 3\"");
    check("up{x=\"1\" 1", "expected `,` or `}`, column=10, line=\"up{x=\\\"1\\\" 1\"");
    check("up{x=1} 1", "expected a text in double quotes, column=6, line=\"up{x=1} 1\"");
    check("up{x=\"1} 1", "expected the end of a text in double quotes, column=11, line=\"up{x=\\\"1} 1\"");
    check("up{x} 1", "expected `=`, column=5, line=\"up{x} 1\"");
    check("{x=\"1\"} 1", "a sample has no metric name, line=\"{x=\\\"1\\\"} 1\"");
    check("9up 1", "not a metric name, name=9up, line=\"9up 1\"");
    check("a{x=\"1\",x=\"2\"} 1", "a label name occurs twice, name=x");
    assert_eq!(parse("up 1\n\nup\n").unwrap_err().message(), "line 3: not a value, value=\"\", line=\"up\"");
}
