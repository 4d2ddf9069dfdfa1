//! Templates as the documents have them.

use opendata_core::Error;

use super::*;

struct Answers;

impl Ask for Answers {
    fn query(&self, query: &str) -> Result<Vec<(BTreeMap<String, String>, f64)>> {
        let sample = |instance: &str, value| (BTreeMap::from([("instance".to_owned(), instance.to_owned())]), value);
        match query {
            "metric" => Ok(vec![sample("b", 21.0), sample("a", 11.0)]),
            "none" => Ok(Vec::new()),
            _ => Err(Error::invalid("no such query")),
        }
    }
}

fn expand(template: &str) -> Result<String, String> {
    let labels = || Value::texts([("job", "api"), ("instance", "h:80")]);
    let data = Value::Map(std::rc::Rc::new(
        [("Labels".to_owned(), labels()), ("Value".to_owned(), Value::Float(0.5))].into_iter().collect(),
    ));
    let scope = Scope {
        ask: &Answers,
        data,
        variables: vec![("$labels", labels()), ("$value", Value::Float(0.5))],
        now: Timestamp(1_435_065_584_128),
        external_url: "https://p.example/prom",
    };
    Template::parse(template)?.expand(&scope)
}

#[track_caller]
fn check(template: &str, expected: &str) {
    assert_eq!(expand(template).as_deref(), Ok(expected), "{template}");
}

#[track_caller]
fn refused(template: &str, expected: &str) {
    let error = expand(template).expect_err(template);
    assert!(error.contains(expected), "{template}: {error}");
}

#[test]
fn values_of_the_alert() {
    check("plain text", "plain text");
    check("{{ $labels.job }} at {{ $value }}", "api at 0.5");
    check("{{.Labels.instance}}{{.Labels.nothing}} {{ .Value | printf \"%.2f\" }}", "h:80 0.50");
    check("{{ with .Labels }}{{ .job }}{{ $.Value }}{{ end }}", "api0.5");
    check("{{ $labels }}", "map[instance:h:80 job:api]");
    check("{{- /* nothing */ -}}\n  x", "x");
    check("a  {{- 1 -}}  b {{ 2 }} c", "a1b 2 c");
}

#[test]
fn control_flow() {
    check("{{ if gt $value 0.4 }}high{{ else }}low{{ end }}", "high");
    check("{{ if eq $labels.job \"x\" \"api\" }}1{{ else if true }}2{{ end }}", "1");
    check("{{ if false }}1{{ else if and true 1 }}2{{ else }}3{{ end }}", "2");
    check("{{ if not (or false \"\") }}none{{ end }}", "none");
    check(
        "{{ range $i, $s := query \"metric\" }}{{ $i }}={{ $s.Labels.instance }}:{{ $s.Value }};{{ end }}",
        "0=b:21;1=a:11;",
    );
    check("{{ range query \"metric\" | sortByLabel \"instance\" }}{{ .Labels.instance }}{{ end }}", "ab");
    check("{{ range query \"none\" }}x{{ else }}nobody{{ end }}", "nobody");
    check("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 3 }}{{ end }}{{ $x }}", "2");
    check(
        "{{ range $k, $v := $labels }}{{ $k }}{{ if eq $k \"instance\" }}{{ continue }}{{ end }}!{{ end }}",
        "instancejob!",
    );
    check("{{ define \"t\" }}[{{ . }}]{{ end }}{{ template \"t\" \"a\" }}{{ tmpl \"t\" 2 }}", "[a][2]");
    check("{{ with $x := query \"metric\" }}{{ len $x }} {{ ($x | first).Value }}{{ end }}", "2 21");
}

#[test]
fn numbers_for_people() {
    for (call, expected) in [
        ("humanize 0.0", "0"),
        ("humanize 1234567.0", "1.235M"),
        ("humanize .12", "120m"),
        ("humanize \"10000\"", "10k"),
        ("humanize -999", "-999"),
        ("humanize1024 1048576.0", "1Mi"),
        ("humanize1024 0.5", "0.5"),
        ("humanizeDuration 0", "0s"),
        ("humanizeDuration 1", "1s"),
        ("humanizeDuration 61.5", "1m 1s"),
        ("humanizeDuration 3661", "1h 1m 1s"),
        ("humanizeDuration 86400", "1d 0h 0m 0s"),
        ("humanizeDuration .12345", "123.5ms"),
        ("humanizeDuration -12093", "-3h 21m 33s"),
        ("humanizePercentage 0.5678", "56.78%"),
        ("humanizePercentage 1234.5", "1.234e+05%"),
        ("humanizeTimestamp 1435065584.128", "2015-06-23 13:19:44.128 +0000 UTC"),
        ("parseDuration \"1h2m10ms\"", "3720.01"),
        ("now", "1.435065584128e+09"),
    ] {
        check(&format!("{{{{ {call} }}}}"), expected);
    }
}

#[test]
fn texts() {
    for (call, expected) in [
        ("title \"aa bB CC\"", "Aa BB CC"),
        ("toUpper \"aa bB\"", "AA BB"),
        ("toLower \"aA\"", "aa"),
        ("match \"a+\" \"caat\"", "true"),
        ("match \"^a+$\" \"caat\"", "false"),
        ("reReplaceAll \"(a)b\" \"x$1\" \"ababc\"", "xaxac"),
        ("stripPort \"[::1]:80\"", "::1"),
        ("stripPort \"h.example:80\"", "h.example"),
        ("stripPort \"h\"", "h"),
        ("stripDomain \"h.example:80\"", "h:80"),
        ("stripDomain \"10.0.0.1:80\"", "10.0.0.1:80"),
        ("graphLink \"up == 0\"", "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
        ("tableLink \"up\"", "/graph?g0.expr=up&g0.tab=1"),
        ("externalURL", "https://p.example/prom"),
        ("pathPrefix", "/prom"),
        ("html \"<a>\"", "&lt;a&gt;"),
        ("urlquery \"a b\"", "a+b"),
        (
            "printf \"%s %d %5.1f|%-4s|%03d %v %q %%\" \"a\" 7 1.25 \"b\" 5 true \"c\"",
            "a 7   1.2|b   |005 true \"c\" %",
        ),
        ("print 1 2 \"a\" 3", "1 2a3"),
        ("index $labels \"job\"", "api"),
        ("slice \"abc\" 1 2", "b"),
        ("len \"abc\"", "3"),
        ("(args 1 \"x\").arg1", "x"),
        ("query \"metric\" | first | value", "21"),
        ("query \"metric\" | first | label \"instance\"", "b"),
        ("1000000.0", "1e+06"),
        ("21.5", "21.5"),
        ("`raw\\n`", "raw\\n"),
        ("\"\\u00e9\\x41\\n\"", "éA\n"),
        ("0x10", "16"),
        ("'a'", "97"),
    ] {
        check(&format!("{{{{ {call} }}}}"), expected);
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (template, expected) in [
        ("{{ $value", "line 1: an action has no end"),
        ("a\n{{ nothing }}", "line 2: there is no function of this name, function=nothing"),
        ("{{ if true }}", "`if` has no end"),
        ("{{ end }}", "nothing is open"),
        ("{{ \"a }}", "a text in quotes has no end"),
        ("{{ (1 }}", "a parenthesis is not closed"),
        ("{{ 1) }}", "a parenthesis is closed that was not opened"),
        ("{{ }}", "an action is empty"),
        ("{{ | }}", "nothing stands before `|`"),
        ("{{ $nothing }}", "undefined variable $nothing"),
        ("{{ query \"other\" }}", "no such query"),
        ("{{ query \"none\" | first }}", "no elements"),
        ("{{ humanize \"x\" }}", "not a number"),
        ("{{ $value.x }}", "has no field"),
        ("{{ template \"t\" }}", "there is no template"),
        ("{{ define \"t\" }}{{ template \"t\" . }}{{ end }}{{ template \"t\" 1 }}", "too deep"),
        ("{{ range 1000000 }}{{ range 1000000 }}x{{ end }}{{ end }}", "too long"),
        ("{{ eq 1 \"a\" }}", "cannot be compared"),
        ("{{ else }}", "nothing is open"),
        ("{{ break }}", "no function of this name"),
    ] {
        refused(template, expected);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_comes_is_answered(template in "(\\{\\{|\\}\\}|-|if|end|range|\\$x|:=|\\.|[a-z\"` ()|0-9\\\\]|\\PC){0,60}") {
        let _ = expand(&template);
    }
}
