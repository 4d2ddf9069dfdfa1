use super::*;

#[test]
fn a_letter_reads_as_it_was_written_and_letters_stand_in_order() {
    let letter = Letter {
        position: Position(7),
        generation: 2,
        part: 1,
        kind: LetterKind::Late,
        reason: "late".to_owned(),
        stream: Bytes::from_static(b"s"),
        ingest_time: Timestamp(5),
        event_time: Timestamp(-5),
        schema_id: 3,
        headers: vec![("h".to_owned(), Bytes::from_static(b"v"))],
        payload: Bytes::from_static(b"p"),
    };
    let value = letter.encode();
    assert_eq!(Letter::decode(&letter.key(), &value).unwrap(), letter);
    assert_eq!(opendata_core::Hex(&value).to_string(), "0102046c6174650a0903017301016801760170");
    assert_eq!(opendata_core::Hex(&letter.key()).to_string(), "02000000000000000700000000000000020001");
    for end in 0..value.len() {
        assert!(Letter::decode(&letter.key(), &value[..end]).is_err(), "cut at {end}");
    }
    let later = Letter { position: Position(8), generation: 1, ..letter.clone() };
    assert!(letter.key() < later.key());
    assert_eq!(letter.id(), "7.2.1");
}
