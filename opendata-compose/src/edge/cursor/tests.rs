use opendata_core::Hex;

use super::*;

#[test]
fn a_cursor_reads_as_it_was_written_and_its_bytes_do_not_change() {
    let mut cursor = Cursor::begin(3, SlateId(uuid::Uuid::from_bytes([7; 16])), Position(300), Digest([9; 16]));
    (cursor.runner, cursor.state, cursor.schema_version) = (0x0102, 2, 5);
    (cursor.watermark, cursor.active, cursor.ingested) = (Timestamp(-1), Timestamp(1), Timestamp(2));
    cursor.counts = Counts { applied: 1, filtered: 2, refused: 3, late: 4, waiting: 5 };
    let bytes = cursor.encode();
    assert_eq!(Cursor::decode(&bytes).unwrap(), cursor);
    let first = format!("03020100000000000002{}ac02{}050102040102030405", "07".repeat(16), "09".repeat(16));
    let least = "ffffffffffffffffff01";
    assert_eq!(Hex(&bytes).to_string(), format!("02{first}01ac02{least}{least}0000000000"));
    // Layout 1 does not say where it began.
    let mut old = bytes[..=first.len() / 2].to_vec();
    old[0] = 1;
    assert_eq!(Cursor::decode(&old).unwrap(), Cursor { began: None, ..cursor.clone() });
    cursor.begin_anew();
    assert_eq!(cursor.began.as_ref().map(|began| (began.earlier, began.counts.late)), Some((1, 4)));
    assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
    for end in 0..bytes.len() {
        assert!(Cursor::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(Cursor::decode(&[&bytes[..], &[0]].concat()).is_err());
}
