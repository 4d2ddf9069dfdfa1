use proptest::prelude::*;

use super::*;

fn sketch(values: impl IntoIterator<Item = u32>) -> Sketch {
    let mut sketch = Sketch::default();
    values.into_iter().for_each(|value| sketch.insert(&value.to_string()));
    sketch
}

#[test]
fn golden_bytes() {
    let mut one = Sketch::default();
    one.insert("a");
    assert_eq!(one.encode().as_ref(), [1, 91, 206, 190, 169, 88, 169, 162, 130]);
}

#[test]
fn estimates_are_exact_when_small_and_near_when_large() {
    assert_eq!(sketch([]).estimate(), 0);
    assert_eq!(sketch((0..63).chain(0..63)).estimate(), 63);
    for count in [100u32, 5_000, 200_000] {
        let estimate = sketch(0..count).estimate();
        assert!(estimate.abs_diff(u64::from(count)) < u64::from(count) / 3, "{count}: {estimate}");
    }
}

proptest! {
    #[test]
    fn merging_is_associative(parts in prop::collection::vec(prop::collection::vec(0u32..500, 0..120), 1..5), cut in 0usize..5) {
        let values: Vec<Bytes> = parts.iter().map(|part| sketch(part.iter().copied()).encode()).collect();
        let cut = cut.min(values.len());
        let whole = merge(values.iter().map(AsRef::as_ref)).unwrap();
        let left = merge(values[..cut].iter().map(AsRef::as_ref)).unwrap();
        let right = merge(values[cut..].iter().map(AsRef::as_ref)).unwrap();
        prop_assert_eq!(&merge([left.as_ref(), right.as_ref()].into_iter()).unwrap(), &whole);
        prop_assert_eq!(Sketch::decode(&whole).unwrap(), sketch(parts.into_iter().flatten()));
    }
}
