//! Random queries, for tests.

use proptest::prelude::*;

fn scalar() -> BoxedStrategy<String> {
    prop_oneof![Just("1"), Just("2.5"), Just("time()"), Just("(3)"), Just("-4")].prop_map(str::to_owned).boxed()
}

fn selector() -> BoxedStrategy<String> {
    let name = prop_oneof![Just("m"), Just("a:b"), Just("sum"), Just("offset"), Just("on"), Just("by")];
    let matchers =
        prop_oneof![Just(""), Just("{}"), Just(r#"{a="1"}"#), Just(r#"{a!="1",b=~"x.*",}"#), Just(r#"{c!~'y|z'}"#)];
    (name, matchers).prop_map(|(name, matchers)| format!("{name}{matchers}")).boxed()
}

fn shift() -> BoxedStrategy<String> {
    prop_oneof![
        4 => Just(""), 1 => Just(" offset 5m"), 1 => Just(" offset -1h30m"), 1 => Just(" @ 100"), 1 => Just(" @ start()"),
        1 => Just(" @ 1.5 offset 2s"),
    ]
    .prop_map(str::to_owned)
    .boxed()
}

/// Queries that should parse, of type instant vector.
pub(crate) fn vector() -> impl Strategy<Value = String> {
    let leaf = (selector(), shift()).prop_map(|(selector, shift)| selector + &shift);
    leaf.prop_recursive(4, 40, 3, |inner| {
        let op = prop_oneof![
            Just("+"),
            Just("-"),
            Just("*"),
            Just("/"),
            Just("%"),
            Just("^"),
            Just("=="),
            Just("!="),
            Just("<"),
            Just(">="),
            Just("> bool"),
            Just("and"),
            Just("or"),
            Just("unless"),
            Just("atan2"),
            Just("+ on(a)"),
            Just("* ignoring(a, b)"),
            Just("/ on(a) group_left(b)"),
            Just("< bool ignoring(c) group_right"),
            Just("and on()"),
        ];
        let arithmetic =
            prop_oneof![Just("+"), Just("-"), Just("*"), Just("^"), Just("% "), Just("> "), Just("<= bool")];
        let aggregation =
            prop_oneof![Just("sum"), Just("avg by (a)"), Just("COUNT WITHOUT (a, b)"), Just("group by ()")];
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (inner.clone(), arithmetic, scalar()).prop_map(|(a, op, b)| format!("{b} {op} {a} {op} {b}")),
            (aggregation, inner.clone()).prop_map(|(of, inner)| format!("{of}({inner})")),
            inner.clone().prop_map(|inner| format!("topk(2, {inner}) by (x)")),
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!("-{inner}")),
            inner.clone().prop_map(|inner| format!("abs({inner})")),
            inner.clone().prop_map(|inner| format!("histogram_quantile(0.9, {inner})")),
            inner.clone().prop_map(|inner| format!("histogram_count({inner})")),
            inner.clone().prop_map(|inner| format!("avg_over_time({inner}[1m:10s])")),
            (inner, shift()).prop_map(|(inner, shift)| format!("max_over_time(({inner})[5m:30s]{shift})")),
            (selector(), shift()).prop_map(|(selector, shift)| format!("rate({selector}[5m]{shift})")),
        ]
    })
}
