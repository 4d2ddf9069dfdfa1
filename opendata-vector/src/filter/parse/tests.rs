use opendata_core::{ErrorKind, Result};
use proptest::prelude::*;

use crate::document::Value;
use crate::filter::{Comparison, Filter};

fn parse(text: &str) -> Result<Filter> {
    text.parse()
}

#[test]
fn filters_read_as_people_write_them() {
    let year = |year: i64| Filter::eq("year", year);
    for (text, expected) in [
        ("year = 1999", year(1999)),
        ("year==1999 ", year(1999)),
        ("price >= -1.5e-3", Filter::ge("price", -1.5e-3)),
        ("lang != 'de' AND not (year=1 or year = 2)", Filter::ne("lang", "de").and(year(1).or(year(2)).not())),
        ("a=1 or b=2 and c=3", Filter::eq("a", 1).or(Filter::And(vec![Filter::eq("b", 2), Filter::eq("c", 3)]))),
        ("lang in ('de', \"fr\")", Filter::is_in("lang", ["de", "fr"])),
        ("lang not in ()", Filter::In { attribute: "lang".into(), values: Vec::new() }.not()),
        ("year in 1990..2000", Filter::range("year", 1990, 2000)),
        ("x in 0.5..=1.5", Filter::ge("x", 0.5).and(Filter::le("x", 1.5))),
        (
            "title prefix 'a\\'b\\n' and tags contains 5",
            Filter::prefix("title", "a'b\n").and(Filter::contains("tags", 5)),
        ),
        ("not not ok = true", Filter::eq("ok", true).not().not()),
        ("`in` exists", Filter::exists("in")),
        ("all", Filter::all()),
        ("none", Filter::Or(Vec::new())),
    ] {
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn errors_say_where_they_stand() {
    let deep = format!("{}a=1{}", "(".repeat(33), ")".repeat(33));
    for (text, expected) in [
        ("", "at character 1: expected an attribute, `not` or `(`, found the end"),
        ("year = ", "at character 8: expected a string, a number, `true` or `false`, found the end"),
        ("year = 1 2", "at character 10: expected `and`, `or` or the end, found a value"),
        ("(year = 1", "at character 10: expected `and`, `or` or `)`, found the end"),
        ("größe = 1", "at character 3: a character that means nothing here: 'ö'"),
        ("a = 'ö", "at character 5: the string has no closing quote"),
        ("a = 'öö\\x'", "at character 8: unknown escape"),
        ("a = 1.2.3", "at character 5: not a number that can be stored: 1.2.3"),
        ("a = 9223372036854775808", "at character 5: not a number that can be stored"),
        ("a = 1e999", "at character 5: not a number that can be stored"),
        ("a prefix 5", "at character 10: expected a string, found a value"),
        ("a in 1", "at character 7: expected `..` or `..=`, found the end"),
        ("a in (1 2)", "at character 9: expected `,` or `)`, found a value"),
        ("a not 1", "at character 7: expected `in`, found a value"),
        ("`a", "at character 1: the name has no closing backquote"),
        ("a ~ 1", "at character 3: a character that means nothing here: '~'"),
        ("and", "at character 1: expected an attribute, `not` or `(`, found `and`"),
        (&deep, "at character 34: nested too deeply, limit=32"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let message = error.message();
        assert!(message.starts_with(&format!("in the filter, {expected}")), "{text}: {message}");
    }
}

/// Values as text has them.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Value::F64),
        any::<String>().prop_map(Value::String),
    ]
}

/// Filters of all shapes.
pub(in crate::filter) fn filters() -> impl Strategy<Value = Filter> {
    let attribute = || "[a-z_][a-z0-9_]{0,5}|in|AND";
    let comparison = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
    ];
    let leaf = prop_oneof![
        (attribute(), comparison, value()).prop_map(|(a, comparison, value)| Filter::compare(&a, comparison, value)),
        (attribute(), prop::collection::vec(value(), 0..4)).prop_map(|(a, values)| Filter::is_in(&a, values)),
        (attribute(), any::<String>()).prop_map(|(a, beginning)| Filter::prefix(&a, &beginning)),
        (attribute(), value()).prop_map(|(a, value)| Filter::contains(&a, value)),
        attribute().prop_map(|a| Filter::exists(&a)),
        Just(Filter::all()),
        Just(Filter::Or(Vec::new())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let several = || prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several().prop_map(Filter::And),
            several().prop_map(Filter::Or),
            inner.clone().prop_map(Filter::not),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_shown_reads_as_the_same(filter in filters()) {
        prop_assert_eq!(parse(&filter.to_string()).unwrap(), filter);
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_change_of_a_filter_makes_it_panic(filter in filters(), at in any::<prop::sample::Index>(), c in any::<char>()) {
        let mut text: Vec<char> = filter.to_string().chars().collect();
        let at = at.index(text.len());
        text[at] = c;
        let text: String = text.into_iter().collect();
        if let Ok(read) = parse(&text) {
            prop_assert_eq!(parse(&read.to_string()).unwrap(), read);
        }
    }
}
