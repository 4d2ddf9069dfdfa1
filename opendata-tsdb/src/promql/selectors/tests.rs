use super::*;

fn shown(selectors: &[Vec<Matcher>]) -> Vec<String> {
    selectors.iter().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_selector_is_its_matchers_and_nothing_more() {
    let matchers = parse_selector(r#"up{job="api",x!~"a.*"}"#).unwrap();
    assert_eq!(shown(&[matchers]), [r#"__name__="up" job="api" x!~"a.*""#]);
    for wrong in ["", "up offset 5m", "up[5m]", "-up", "up @ 5", "1", "{}", r#"{a=""}"#, "sum(up)", "up{"] {
        assert!(parse_selector(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_query_tells_all_its_selectors() {
    let query =
        r#"sum by (x) (rate(a{b="c"}[5m] offset 1h)) / on (x) max_over_time((d + 1)[1h:]) > topk(scalar(e), -f)"#;
    let expected = [r#"__name__="a" b="c""#, r#"__name__="d""#, r#"__name__="e""#, r#"__name__="f""#];
    assert_eq!(shown(&selectors(query).unwrap()), expected);
    assert!(selectors("a +").is_err());
}
