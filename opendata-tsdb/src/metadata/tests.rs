use proptest::prelude::*;

use super::*;

#[test]
fn golden_bytes() {
    let metadata = Metadata { kind: MetricKind::Counter, unit: "seconds".into(), help: "Time.".into() };
    assert_eq!(metadata.encode(), &b"\x01\x01\x07seconds\x05Time."[..]);
}

#[test]
fn every_kind_has_one_name() {
    for (kind, name) in MetricKind::ALL {
        assert_eq!((kind.name(), MetricKind::from_name(name)), (name, Some(kind)));
    }
    assert_eq!(MetricKind::from_name("Counter"), None);
}

proptest! {
    #[test]
    fn metadata_comes_back(kind in 0usize..8, unit: String, help: String) {
        let metadata = Metadata { kind: MetricKind::ALL[kind].0, unit, help };
        prop_assert_eq!(Metadata::decode(&metadata.encode()).unwrap(), metadata);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        bytes.insert(0, LAYOUT);
        let _ = Metadata::decode(&bytes);
    }
}
