use opendata_tsdb::labels;

use super::*;
use crate::proto::put_label;

fn fields(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    pairs.iter().for_each(|(name, value)| put_label(&mut out, 1, name, value));
    out
}

#[test]
fn a_label_set_is_decoded_once_and_found_again() {
    let cache = LabelCache::new(1 << 20);
    let fields = fields(&[("job", "api"), ("__name__", "up"), ("empty", "")]);
    let first = cache.get(&fields).unwrap();
    assert_eq!(first, labels! { "__name__" => "up", "job" => "api" });
    let again = cache.get(&fields).unwrap();
    assert!(std::ptr::eq(first.iter().as_slice(), again.iter().as_slice()), "shared, not decoded again");
}

#[test]
fn wrong_label_sets_say_why_each_time() {
    let cache = LabelCache::new(1 << 20);
    for _ in 0..2 {
        for (pairs, why) in [
            (vec![("job", "api")], "a series has no metric name"),
            (vec![("__name__", "")], "a series has no metric name"),
            (vec![("__name__", "up"), ("", "x")], "a label name is empty"),
            (vec![("__name__", "up"), ("a", "1"), ("a", "2")], "a label name occurs twice"),
        ] {
            let error = cache.get(&fields(&pairs)).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
        assert_eq!(cache.get(b"\x0a\x04\x0a\x02\xff\xfe").unwrap_err(), "a text is not UTF-8");
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let cache = LabelCache::new(64 << 10);
    for n in 0..20_000 {
        let name = format!("metric_{n}");
        let found = cache.get(&fields(&[("__name__", &name), ("instance", "localhost:9090")])).unwrap();
        assert_eq!(found.metric_name(), Some(name.as_str()));
    }
    let held: usize = cache
        .parts
        .iter()
        .map(|part| {
            let part = part.lock().unwrap();
            part.young.bytes + part.old.bytes
        })
        .sum();
    assert!(held <= 128 << 10, "{held}");
}
