use super::*;

/// Applies rules in YAML to `a=1,b=2`; none if the set is dropped.
fn relabelled(rules: &str, labels: &str) -> Option<String> {
    let rules: Vec<RuleIn> = serde_saphyr::from_str(rules).unwrap();
    let mut builder = Builder::default();
    for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        builder.set(name, value);
    }
    let fate = relabel(&mut builder, &check(&rules).unwrap());
    let mut pairs: Vec<_> = builder.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort();
    (fate == Fate::Kept).then(|| pairs.join(","))
}

#[test]
fn each_action_does_what_its_name_says() {
    for (rule, labels, expected) in [
        (
            "{source_labels: [a], target_label: d, regex: 'f(.*)', replacement: 'ch$1-ch$1'}",
            "a=foo",
            Some("a=foo,d=choo-choo"),
        ),
        (
            "{source_labels: [a, b], target_label: a, separator: ';', regex: 'f(.*);(.*)r', replacement: 'b${1}z$2'}",
            "a=foo,b=bar",
            Some("a=boozba,b=bar"),
        ),
        ("{source_labels: [a], target_label: b, regex: nothing}", "a=foo,b=x", Some("a=foo,b=x")),
        ("{source_labels: [a], target_label: a, replacement: ''}", "a=foo,b=x", Some("b=x")),
        ("{source_labels: [a], target_label: '$1', regex: '(.*)', replacement: v}", "a=foo", Some("a=foo,foo=v")),
        ("{source_labels: [a], target_label: '$1', regex: '(.*)', replacement: v}", "a=1-2", Some("a=1-2")),
        ("{target_label: x, replacement: y}", "a=1", Some("a=1,x=y")),
        (
            "{source_labels: [a], target_label: b, regex: '(?P<w>.)oo', replacement: '$w!$$'}",
            "a=foo",
            Some("a=foo,b=f!$"),
        ),
        ("{source_labels: [a], regex: 'f.*', action: keep}", "a=foo", Some("a=foo")),
        ("{source_labels: [a], regex: 'o', action: keep}", "a=foo", None),
        ("{source_labels: [a], regex: 'f.*', action: drop}", "a=foo", None),
        ("{source_labels: [nothing], regex: '', action: drop}", "a=foo", None),
        ("{source_labels: [a], target_label: b, action: keepequal}", "a=x,b=x", Some("a=x,b=x")),
        ("{source_labels: [a], target_label: b, action: keepequal}", "a=x,b=y", None),
        ("{source_labels: [a], target_label: b, action: dropequal}", "a=x,b=x", None),
        ("{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}", "c=baz", Some("c=baz,d=976")),
        (
            "{regex: '(b.*)', action: labelmap, replacement: 'x_$1'}",
            "a=1,b1=2,b2=3",
            Some("a=1,b1=2,b2=3,x_b1=2,x_b2=3"),
        ),
        ("{regex: '(b.*)', action: labeldrop}", "a=1,b1=2", Some("a=1")),
        ("{regex: '(b.*)', action: labelkeep}", "a=1,b1=2", Some("b1=2")),
        ("{source_labels: [a], target_label: b, action: lowercase}", "a=FOO", Some("a=FOO,b=foo")),
        ("{source_labels: [a], target_label: b, action: uppercase}", "a=bar", Some("a=bar,b=BAR")),
    ] {
        assert_eq!(relabelled(&format!("[{rule}]"), labels).as_deref(), expected, "{rule} of {labels}");
    }
}

#[test]
fn rules_follow_one_another_until_one_drops() {
    let rules = "[{source_labels: [a], target_label: b}, {source_labels: [b], regex: x, action: drop}, {target_label: c, replacement: z}]";
    assert_eq!(relabelled(rules, "a=y").as_deref(), Some("a=y,b=y,c=z"));
    assert_eq!(relabelled(rules, "a=x"), None);
}

#[test]
fn rules_that_lack_something_are_refused() {
    for (rule, expected) in [
        ("{action: replace}", "relabelling by Replace needs a target_label"),
        ("{action: hashmod, target_label: a}", "relabelling by HashMod needs a modulus"),
        ("{action: labeldrop, source_labels: [a]}", "relabelling by LabelDrop needs a regex only"),
        (
            "{action: keepequal, target_label: a, regex: x}",
            "relabelling by KeepEqual needs source_labels and target_label only",
        ),
        ("{action: keep, regex: '('}", "regular expression does not parse"),
    ] {
        let rule: RuleIn = serde_saphyr::from_str(rule).unwrap();
        assert!(rule.check().unwrap_err().message().starts_with(expected), "{rule:?}");
    }
    assert!(serde_saphyr::from_str::<RuleIn>("{action: remove}").is_err());
    assert!(serde_saphyr::from_str::<RuleIn>("{sourcelabels: [a]}").is_err());
}
