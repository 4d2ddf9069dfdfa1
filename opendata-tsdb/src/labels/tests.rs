use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[test]
fn a_label_set_is_sorted_and_leaves_empty_values_out() {
    let labels = Labels::new([("z", "1"), ("__name__", "up"), ("a", ""), ("b", "x\"y")]).unwrap();
    assert_eq!(labels.to_string(), r#"up{b="x\"y", z="1"}"#);
    assert_eq!((labels.get("a"), labels.get("z"), labels.metric_name()), (None, Some("1"), Some("up")));
}

#[test]
fn a_name_must_be_there_and_be_unique() {
    for (pairs, message) in [
        ([("", "x"), ("a", "1")], "a label name is empty"),
        ([("a", "1"), ("a", "")], "a label name occurs twice, name=a"),
    ] {
        assert_eq!(Labels::new(pairs).unwrap_err().message(), message);
    }
}

#[test]
fn the_macro_takes_the_last_of_two() {
    let tenant = String::from("7");
    let labels = labels! { "__name__" => "tokens_total", "tenant" => "6", "tenant" => tenant, "none" => "" };
    assert_eq!(labels.to_string(), r#"tokens_total{tenant="7"}"#);
    assert_eq!(labels! {}, Labels::empty());
}

#[test]
fn names_that_need_quotes_get_them() {
    let labels = labels! { "__name__" => "http.requests", "a.b" => "1" };
    assert_eq!(labels.to_string(), r#"{__name__="http.requests", "a.b"="1"}"#);
    assert_eq!(Labels::empty().to_string(), "{}");
    assert_eq!((labels! { "__name__" => "up" }).to_string(), "up");
}

#[test]
fn subsets_and_one_label_set() {
    let labels = labels! { "__name__" => "m", "a" => "1", "b" => "2" };
    assert_eq!(labels.without(&["a"]).to_string(), r#"m{b="2"}"#);
    assert_eq!(labels.keep(&["b", "a", "c"]).to_string(), r#"{a="1", b="2"}"#);
    assert_eq!(labels.without_metric_name().to_string(), r#"{a="1", b="2"}"#);
    assert_eq!(labels.with("aa", "9").unwrap().to_string(), r#"m{a="1", aa="9", b="2"}"#);
    assert_eq!(labels.with("a", "").unwrap().to_string(), r#"m{b="2"}"#);
    assert!(labels.with("", "x").is_err());
}

#[test]
fn texts_that_concatenate_alike_do_not_collide() {
    let sets = [
        labels! { "a" => "bc" },
        labels! { "ab" => "c" },
        labels! { "a" => "b", "c" => "d" },
        labels! { "a" => "bcd" },
        labels! { "abc" => "d" },
    ];
    let fingerprints: HashSet<u64> = sets.iter().map(Labels::fingerprint).collect();
    assert_eq!(fingerprints.len(), sets.len());
    let hashes: HashSet<u64> =
        sets.iter().map(|set| std::hash::BuildHasherDefault::<Fnv1a>::default().hash_one(set)).collect();
    assert_eq!(hashes.len(), sets.len());
}

/// The fingerprint may be stored one day: it must never change.
#[test]
fn the_fingerprint_is_golden() {
    assert_eq!(Labels::empty().fingerprint(), 0xefd0_1f60_ba99_2926);
    assert_eq!((labels! { "__name__" => "up", "job" => "x" }).fingerprint(), 0xe647_ac4d_18a3_8281);
}

proptest! {
    #[test]
    fn the_order_of_pairs_does_not_matter(mut pairs in prop::collection::btree_map("[a-c]{1,3}", "[a-c]{0,3}", 0..6)) {
        let forward = Labels::new(pairs.clone()).unwrap();
        let backward = Labels::new(pairs.clone().into_iter().rev()).unwrap();
        prop_assert_eq!(&forward, &backward);
        prop_assert_eq!(forward.fingerprint(), backward.fingerprint());
        pairs.retain(|_, value| !value.is_empty());
        let listed: Vec<_> = forward.iter().map(|l| (l.name().to_owned(), l.value().to_owned())).collect();
        prop_assert_eq!(listed, pairs.into_iter().collect::<Vec<_>>());
    }
}
