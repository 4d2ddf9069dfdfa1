use proptest::prelude::*;

use super::*;

fn regex(source: &str) -> Matcher {
    Matcher::new("l", MatchOp::Regex, source).unwrap()
}

#[test]
fn each_operator_compares_its_way() {
    for (op, yes, no) in [
        (MatchOp::Equal, "a", "b"),
        (MatchOp::NotEqual, "b", "a"),
        (MatchOp::Regex, "a", "ab"),
        (MatchOp::NotRegex, "ab", "a"),
    ] {
        let matcher = Matcher::new("l", op, "a").unwrap();
        assert!(matcher.matches(yes) && !matcher.matches(no), "{matcher}");
    }
}

#[test]
fn expressions_match_the_whole_value() {
    for (source, yes, no) in [
        ("a|b", &["a", "b"][..], &["ab", "xa", "", "aa"][..]),
        ("a|ab", &["a", "ab"], &["abb"]),
        (".*", &["", "x", "x\ny"], &[]),
        (".+", &["x\ny"], &[""]),
        ("(?i:PRO).*", &["production", "PROx"], &["xpro"]),
        ("", &[""], &["a"]),
        ("^a$", &["a"], &["aa"]),
        ("é.", &["éa", "é√"], &["éab"]),
    ] {
        let matcher = regex(source);
        for value in yes {
            assert!(matcher.matches(value), "{source} should match {value:?}");
        }
        for value in no {
            assert!(!matcher.matches(value), "{source} should not match {value:?}");
        }
    }
}

#[test]
fn expressions_mean_what_re2_means() {
    for (source, yes, no) in [
        (r"\d+", "12", "١٢"),
        (r"\w", "a", "é"),
        (r"\W", "é", "a"),
        (r"[\d]", "1", "١"),
        (r"[^\D]", "1", "a"),
        (r"[[a]", "[", "b"),
        (r"[a&&b]", "&", "c"),
        (r"[]a]", "]", "b"),
        (r"[a-]", "-", "b"),
        (r"[+--]", "-", "."),
        (r"[[:alpha:]]", "x", "1"),
        (r"{a}", "{a}", "a"),
        (r"a{2}", "aa", "a{2}"),
        (r"a{,2}", "a{,2}", "aa"),
        (r"\Qa.b\E.", "a.bc", "axbc"),
        (r"a\b b", "a b", "ab"),
        (r"\pL", "é", "1"),
    ] {
        let matcher = regex(source);
        assert!(matcher.matches(yes), "{source} should match {yes:?}");
        assert!(!matcher.matches(no), "{source} should not match {no:?}");
    }
}

#[test]
fn finite_expressions_know_their_values() {
    for (source, literals) in [
        ("b|a", vec!["a", "b"]),
        ("x[12]|y?", vec!["", "x1", "x2", "y"]),
        ("", vec![""]),
        ("a(b|c)d", vec!["abd", "acd"]),
    ] {
        assert_eq!(regex(source).literals().unwrap(), literals, "{source}");
    }
    for source in ["a.*", "^a$", "(?i:abc)d*", "a+"] {
        assert_eq!(regex(source).literals(), None, "{source}");
    }
}

#[test]
fn a_prefix_narrows() {
    for (source, prefix) in
        [("api-.+", "api-"), ("abc|abd", "ab"), ("(foo|fob).*", "fo"), (".*x", ""), ("é.*", "é"), ("(?i:a).*", "")]
    {
        assert_eq!(regex(source).prefix(), prefix, "{source}");
    }
    assert_eq!(Matcher::metric("up").prefix(), "up");
}

#[test]
fn what_does_not_parse_is_refused_with_its_reason() {
    for (source, message) in [
        ("(", r#"regular expression does not parse: unclosed group, expression="(""#),
        ("[a", r#"regular expression does not parse: missing closing `]`, expression="[a""#),
        ("a(?=b)", r#"regular expression does not parse: look-around is not supported, expression="a(?=b)""#),
        ("(?x: a)", r#"regular expression does not parse: unknown flag `x`, expression="(?x: a)""#),
    ] {
        assert_eq!(Matcher::new("l", MatchOp::Regex, source).unwrap_err().message(), message);
    }
    assert!(Matcher::new("l", MatchOp::Regex, "(a{1000}){1000}").is_err());
    assert!(Matcher::new("", MatchOp::Equal, "").is_err());
}

#[test]
fn a_matcher_is_written_as_in_a_query() {
    assert_eq!(Matcher::new("a.b", MatchOp::NotRegex, "x\\d\"").unwrap().to_string(), r#""a.b"!~"x\\d\"""#);
}

#[test]
fn texts_stand_for_an_expression_where_they_say_all_of_it() {
    for (source, way) in [
        (".*foo.*", "by looking for the texts in it"),
        ("(api|web)-.+[12]", "by looking for the texts in it"),
        ("a.*b?c.*", "by looking for the texts in it"),
        (r"host-\d+:9100", "by the expression where it has the texts in it"),
        ("(?-s:.*)foo", "by the expression where it has the texts in it"),
        ("(?i:foo).*[a-z]+", "by the expression where it has the texts in it"),
        (r"\d+", "by the expression"),
    ] {
        assert_eq!(regex(source).way(), way, "{source}");
    }
    assert!(!regex("(?-s:.*)foo").matches("\nfoo"));
}

/// Expressions, those of selectors among them.
fn expression() -> impl Strategy<Value = String> {
    let parts = [
        "a",
        "b",
        "é",
        "ab",
        ".*",
        ".+",
        ".",
        ".{2}",
        ".{1,2}",
        "(a|b)",
        "(ab|é.*)",
        "[ab]",
        "[^a]",
        "a?",
        "(ab)+",
        "^",
        "$",
        "(?i:B)",
    ];
    let pieces = prop::collection::vec(prop::sample::select(parts.to_vec()), 0..7).prop_map(|parts| parts.concat());
    prop_oneof![
        "[ab|(){}.*?\\[\\]^$+é-]{0,8}",
        pieces.clone(),
        (pieces.clone(), pieces).prop_map(|(a, b)| format!("{a}|{b}"))
    ]
}

proptest! {
    /// What the index is told never hides a value that matches.
    #[test]
    fn literals_and_prefix_agree_with_the_expression(source in expression(), values in prop::collection::vec("[abéB\n]{0,7}", 8)) {
        if let Ok(matcher) = Matcher::new("l", MatchOp::Regex, &source) {
            let plain = Regex::builder()
                .syntax(regex_automata::util::syntax::Config::new().dot_matches_new_line(true))
                .build(&format!(r"\A(?:{})\z", re2::translate(&source).unwrap()));
            let plain = plain.unwrap();
            for value in &values {
                prop_assert_eq!(matcher.matches(value), plain.is_match(value.as_str()), "{} on {}", source, value);
                if plain.is_match(value.as_str()) {
                    prop_assert!(value.starts_with(matcher.prefix()));
                }
            }
        }
    }
}
