use promql_parser::parser as oracle;
use proptest::prelude::*;

use super::*;
use crate::promql::ast::{Aggregate, AggregateOp, Selector};
use crate::promql::queries::vector;

fn parsed(query: &str) -> Result<Parsed> {
    parse(query, QueryTime { step_ms: 10_000, range_ms: 60_000 })
}

/// The tree in prefix notation, without places.
fn shape(expr: &Expr) -> String {
    match &expr.kind {
        Kind::Number(number) => format!("{number}"),
        Kind::Text(text) => format!("{text:?}"),
        Kind::Instant(selector) => shape_selector(selector),
        Kind::Range(selector, range_ms) => format!("(range {} {range_ms})", shape_selector(selector)),
        Kind::Subquery(subquery) => {
            let Subquery { expr, range_ms, step_ms, shift } = subquery.as_ref();
            format!("(subquery {} {range_ms} {step_ms:?} {})", shape(expr), shape_shift(*shift))
        }
        Kind::Negate(inner) => format!("(- {})", shape(inner)),
        Kind::Binary(binary) => {
            let Matching { on, group, .. } = &binary.matching;
            let bool = if binary.comparison == Comparison::Bool { " bool" } else { "" };
            format!(
                "({:?}{bool} {} {group:?} {} {})",
                binary.op,
                shape_set(on),
                shape(&binary.left),
                shape(&binary.right)
            )
        }
        Kind::Aggregate(aggregate) => {
            let Aggregate { op, by, parameter, expr } = aggregate.as_ref();
            let parameter = parameter.as_ref().map(|parameter| shape(parameter) + " ").unwrap_or_default();
            format!("({op:?} {} {parameter}{})", shape_set(by), shape(expr))
        }
        Kind::Call(call) => {
            let args: Vec<String> = call.args.iter().map(shape).collect();
            format!("({} {})", call.name, args.join(" "))
        }
    }
}

fn shape_set(set: &LabelSet) -> String {
    match set {
        LabelSet::Only(names) => format!("only{names:?}"),
        LabelSet::Without(names) => format!("without{names:?}"),
    }
}

fn shape_shift(shift: Shift) -> String {
    let at = shift.at.map(|at| format!("{at:?}")).unwrap_or_default();
    format!("{at}+{}", shift.offset_ms.unwrap_or(0))
}

fn shape_selector(selector: &Selector) -> String {
    let mut matchers: Vec<String> = selector.matchers.iter().map(ToString::to_string).collect();
    matchers.sort();
    format!("{{{}}}{}", matchers.join(","), shape_shift(selector.shift))
}

/// The same for the tree of the library, which grew from the reference's grammar.
fn oracle_shape(expr: &oracle::Expr) -> String {
    use oracle::{Expr as E, LabelModifier as L, VectorMatchCardinality as Card};
    let set = |modifier: Option<&L>, default: &str| match modifier {
        Some(L::Include(names)) => format!("only{:?}", names.labels),
        Some(L::Exclude(names)) => format!("without{:?}", names.labels),
        None => default.to_owned(),
    };
    match expr {
        E::NumberLiteral(number) => format!("{}", number.val),
        E::StringLiteral(text) => format!("{:?}", text.val),
        E::Paren(inner) => oracle_shape(&inner.expr),
        // Ours takes the sign into the number.
        E::Unary(inner) => match oracle_shape(&inner.expr) {
            text if text.parse::<f64>().is_ok() => format!("{}", -text.parse::<f64>().unwrap()),
            text => format!("(- {text})"),
        },
        E::VectorSelector(selector) => oracle_selector(selector),
        E::MatrixSelector(matrix) => format!("(range {} {})", oracle_selector(&matrix.vs), matrix.range.as_millis()),
        E::Subquery(s) => {
            let step = s.step.map(|step| step.as_millis());
            let shift = oracle_shift(s.at.as_ref(), s.offset.as_ref());
            format!("(subquery {} {} {step:?} {shift})", oracle_shape(&s.expr), s.range.as_millis())
        }
        E::Call(call) => {
            let args: Vec<String> = call.args.args.iter().map(|arg| oracle_shape(arg)).collect();
            format!("({} {})", call.func.name, args.join(" "))
        }
        E::Aggregate(a) => {
            let op = AggregateOp::named(&a.op.to_string()).unwrap();
            let parameter = a.param.as_ref().map(|parameter| oracle_shape(parameter) + " ").unwrap_or_default();
            format!("({op:?} {} {parameter}{})", set(a.modifier.as_ref(), "only[]"), oracle_shape(&a.expr))
        }
        E::Binary(b) => {
            let (op, _) = [TokenKind::Word(b.op.to_string()), TokenKind::Sign(sign(&b.op.to_string()))]
                .iter()
                .find_map(operator)
                .unwrap();
            let modifier = b.modifier.as_ref();
            let bool = if modifier.is_some_and(|modifier| modifier.return_bool) { " bool" } else { "" };
            let group = match modifier.map(|modifier| &modifier.card) {
                Some(Card::ManyToOne(names)) => Group::Left(names.labels.clone()),
                Some(Card::OneToMany(names)) => Group::Right(names.labels.clone()),
                _ => Group::OneToOne,
            };
            let on = set(modifier.and_then(|modifier| modifier.matching.as_ref()), "without[]");
            format!("({op:?}{bool} {on} {group:?} {} {})", oracle_shape(&b.lhs), oracle_shape(&b.rhs))
        }
        E::Extension(_) => unreachable!(),
    }
}

fn sign(text: &str) -> &'static str {
    ["==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "^"]
        .into_iter()
        .find(|sign| *sign == text)
        .unwrap_or("")
}

fn oracle_shift(at: Option<&oracle::AtModifier>, offset: Option<&oracle::Offset>) -> String {
    let at = match at {
        Some(oracle::AtModifier::Start) => "Start".to_owned(),
        Some(oracle::AtModifier::End) => "End".to_owned(),
        Some(oracle::AtModifier::At(time)) => {
            let since = time.duration_since(std::time::UNIX_EPOCH).unwrap();
            format!("Time({})", since.as_millis())
        }
        None => String::new(),
    };
    let offset = match offset {
        Some(oracle::Offset::Pos(duration)) => duration.as_millis() as i64,
        Some(oracle::Offset::Neg(duration)) => -(duration.as_millis() as i64),
        None => 0,
    };
    format!("{at}+{offset}")
}

fn oracle_selector(selector: &oracle::VectorSelector) -> String {
    use promql_parser::label::MatchOp as M;
    let mut matchers: Vec<String> = selector
        .matchers
        .matchers
        .iter()
        .map(|matcher| {
            let op = match matcher.op {
                M::Equal => "=",
                M::NotEqual => "!=",
                M::Re(_) => "=~",
                M::NotRe(_) => "!~",
            };
            format!("{}{op}{:?}", matcher.name, matcher.value)
        })
        .collect();
    matchers.extend(selector.name.as_ref().map(|name| format!("__name__={name:?}")));
    matchers.sort();
    format!("{{{}}}{}", matchers.join(","), oracle_shift(selector.at.as_ref(), selector.offset.as_ref()))
}

proptest! {
    /// Where both parsers take a query, they see the same tree.
    #[test]
    fn trees_agree_with_the_library(query in vector()) {
        let ours = parsed(&query);
        match oracle::parse(&query) {
            Ok(theirs) => prop_assert_eq!(ours.map(|parsed| shape(&parsed.expr)).map_err(|e| e.to_string()), Ok(oracle_shape(&theirs)), "{}", query),
            Err(_) => prop_assert!(ours.is_err(), "{}", query),
        }
    }

    #[test]
    fn no_text_makes_it_panic(query in "[a-z0-9(){}\\[\\]\"=~!<>+*/^%@:,. -]{0,40}") {
        let _ = parsed(&query);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (query, what) in [
        ("", "expected an expression, found the end, at=1:1"),
        ("sum(", "expected an expression, found the end, at=1:5"),
        ("m + \n  )", "expected an expression, found `)`, at=2:3"),
        ("m{a}", "expected a matching operator (`=` `!=` `=~` `!~`), found `}`, at=1:4"),
        ("m{a=1}", "expected a string, found number 1, at=1:5"),
        ("m n", "expected an operator or the end, found `n`, at=1:3"),
        ("rate(m)", "`rate` needs a range vector here, found an instant vector, at=1:6"),
        ("rate(m[5m], 1)", "wrong number of arguments, function=rate, wanted=1, got=2, at=1:1"),
        ("round()", "wrong number of arguments, function=round, wanted=1 to 2, got=0, at=1:1"),
        ("nothing(m)", "unknown function, name=nothing, at=1:1"),
        ("m[5]m", "expected an operator or the end, found `m`, at=1:5"),
        ("m[0s]", "a range must be longer than zero, at=1:3"),
        ("(m)[5m]", "a range needs a selector; a subquery has a colon, as in `[1h:]`, at=1:4"),
        ("m offset 5m[5m]", "a range stands before `offset`, `@`, `anchored` and `smoothed`, at=1:12"),
        ("m offset 1m offset 2m", "`offset` is given twice, at=1:13"),
        ("sum(m) offset 1m", "`offset` must follow a selector or a subquery, at=1:8"),
        ("{a=~\".*\"}", "a selector needs at least one matcher that does not match the empty text, at=1:1"),
        ("m{__name__=\"n\"}", "the metric's name is given twice, at=1:3"),
        ("1 == 2", "a comparison between scalars needs `bool`, at=1:3"),
        ("'a' + 1", "an operator needs scalars or instant vectors, found a string, at=1:1"),
        ("topk(m)", "wrong number of arguments, aggregation=topk, wanted=2, got=1, at=1:1"),
        ("count_values(1, m)", "`count_values` needs a string here, found a scalar, at=1:14"),
        ("sum(m[5m])", "`sum` needs an instant vector here, found a range vector, at=1:5"),
        ("on + 1", "expected an expression, found `on`, at=1:1"),
        ("m anchored smoothed", "a selector is `anchored` or `smoothed`, and once only, at=1:12"),
        ("sum(m) anchored", "`anchored` and `smoothed` must follow a selector, at=1:8"),
        ("m[1m:] smoothed", "a subquery can be neither `anchored` nor `smoothed`, at=1:8"),
        (
            "deriv(m[1m] smoothed)",
            "smoothed modifier can only be used with: delta, increase, rate - not with deriv, at=1:7",
        ),
        ("info(m, n)", "expected `{`, found `n`, at=1:9"),
        ("m + fill(x) n", "expected a number, found `x`, at=1:10"),
        ("1 </ 2", "a trim operator needs an instant vector on its left side, at=1:1"),
        ("-'a'", "a sign needs a scalar or an instant vector, found a string, at=1:2"),
    ] {
        let message = parsed(query).unwrap_err().message().to_owned();
        assert_eq!(message, format!("query does not parse: {what}"), "{query}");
    }
    let deep = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(parsed(&deep).unwrap_err().message().contains("nested too deep"));
    let long = format!("1{}", " + 1".repeat(100_000));
    assert!(parsed(&long).unwrap_err().message().contains("too many operators and calls in a row"));
    assert!(parsed("m{a=~\"(\"}").unwrap_err().message().ends_with("at=1:6"));
}

#[test]
fn keywords_can_be_names() {
    for query in [
        "sum",
        "by",
        "offset",
        "and{on=\"1\"}",
        "m{sum=\"1\", by=\"2\", inf=\"3\"}",
        "sum by (on, offset, nan) (avg)",
        "start + end",
        "anchored + smoothed + fill + fill_left + info + step",
    ] {
        assert!(parsed(query).is_ok(), "{query}");
    }
}

#[test]
fn lengths_of_time_can_be_computed() {
    for (query, range_ms) in [
        ("m[5m]", 300_000),
        ("m[90]", 90_000),
        ("m[2 * 1m + 30]", 150_000),
        ("m[-1m + 2m]", 60_000),
        ("m[2 ^ 3 ^ 0 * 1s]", 2_000),
        ("m[7m % 4m]", 180_000),
        ("m[step() * 6]", 60_000),
        ("m[range() / 4]", 15_000),
        ("m[max(step(), 1m)]", 60_000),
        ("m[min(step(), 1m)]", 10_000),
        ("m[greatest(step(), 1m)]", 60_000),
        ("m[least(step(), 1m)]", 10_000),
        ("m[max_of(step(), 1m)]", 60_000),
        ("m[min_of(step(), 1m)]", 10_000),
        ("m[(1h - 59m)]", 60_000),
    ] {
        let Kind::Range(_, ms) = parsed(query).unwrap().expr.kind else { panic!("no range") };
        assert_eq!(ms, range_ms, "{query}");
    }
    for (query, offset_ms) in
        [("m offset -(1m / 2)", -30_000), ("m offset step()", 10_000), ("m offset 1m - 2", 60_000)]
    {
        let shape = shape(&parsed(query).unwrap().expr);
        assert!(shape.contains(&format!("+{offset_ms}")), "{query}: {shape}");
    }
    for (query, what) in [
        ("m[1m - 1m]", "a range must be longer than zero, at=1:3"),
        ("m[1m / 0]", "a duration is divided by zero, at=1:6"),
        ("m[2 ^ 1000]", "a duration is out of range, at=1:3"),
        ("m[other()]", "expected a duration, found `other`, at=1:3"),
        ("m[5m:0]", "a step must be longer than zero, at=1:6"),
    ] {
        assert_eq!(parsed(query).unwrap_err().message(), format!("query does not parse: {what}"), "{query}");
    }
    assert!(parsed(&format!("m[{}1]", "-".repeat(100_000))).unwrap_err().message().contains("nested too deep"));
}
