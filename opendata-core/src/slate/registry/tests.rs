use super::*;

fn registry() -> Registry {
    let mut registry = Registry::new(SlateId(uuid::Uuid::from_u128(7)), Timestamp(5));
    registry.add("events", (SystemId::LOG, "log", 1), "{}".into()).unwrap();
    registry.lineage.push(Ancestor {
        slate_id: SlateId(uuid::Uuid::from_u128(9)),
        path: "p".into(),
        fork_position: Position(3),
    });
    registry
}

#[test]
fn a_record_round_trips_and_its_bytes_do_not_change() {
    let encoded = registry().encode();
    let decoded = Registry::decode(&encoded).unwrap();
    assert_eq!(decoded.encode(), encoded);
    assert_eq!(decoded.find("events").unwrap().id, InstanceId(1));
    let hex = crate::Hex(&encoded).to_string();
    assert_eq!(
        hex,
        "010801121000000000000000000000000000000007180a20022a170a10000000000000000000000000000000091201701803\
         3217080112066576656e7473180322036c6f67280132027b7d"
    );
}

#[test]
fn an_id_is_never_given_out_twice() {
    let mut registry = registry();
    registry.add("two", (SystemId::LOG, "log", 1), "{}".into()).unwrap();
    registry.keep_only(&["events"]).unwrap();
    let third = registry.add("three", (SystemId::LOG, "log", 1), "{}".into()).unwrap();
    assert_eq!(third.id, InstanceId(3));
}

#[test]
fn names_are_plain_and_unique() {
    let mut registry = registry();
    for name in ["", "a/b", "a b", &"x".repeat(65)] {
        assert!(registry.add(name, (SystemId::LOG, "log", 1), String::new()).is_err(), "{name}");
    }
    assert!(registry.add("events", (SystemId::LOG, "log", 1), String::new()).is_err());
    assert!(registry.rename("events", "e").is_ok() && registry.find("events").is_err());
}

#[test]
fn a_newer_or_broken_record_is_refused() {
    assert_eq!(Registry::decode(&[2]).unwrap_err().kind(), crate::ErrorKind::Unsupported);
    assert_eq!(Registry::decode(&[]).unwrap_err().kind(), crate::ErrorKind::Corrupt);
    assert_eq!(Registry::decode(&[1, 0xff, 0xff]).unwrap_err().kind(), crate::ErrorKind::Corrupt);
}
