use super::*;

#[test]
fn trouble_reads_as_it_was_written() {
    for kind in [TroubleKind::Resting, TroubleKind::Failed] {
        let trouble = Trouble { kind, generation: 3, since: Timestamp(-5), reason: "no".to_owned() };
        let value = trouble.encode();
        assert_eq!(Trouble::decode(&value).unwrap(), trouble);
        for end in 0..value.len() {
            assert!(Trouble::decode(&value[..end]).is_err(), "cut at {end}");
        }
    }
    let failed = Trouble { kind: TroubleKind::Failed, generation: 1, since: Timestamp(5), reason: "no".to_owned() };
    assert_eq!(opendata_core::Hex(&failed.encode()).to_string(), "0102010a026e6f");
    assert!(Trouble::decode(&[1, 3, 1, 2, 0]).is_err());
}
