use opendata_core::ErrorKind;
use opendata_core::key::SegmentId;
use proptest::prelude::*;

use super::*;

fn hex(value: &[u8]) -> String {
    opendata_core::Hex(value).to_string()
}

fn totals() -> Totals {
    Totals {
        records: 3,
        derived: 0,
        controls: 1,
        bytes: 300,
        streams: 2,
        ingest_times: (Timestamp(1000), Timestamp(1005)),
        event_times: (Timestamp(990), Timestamp(1004)),
    }
}

#[test]
fn golden_bytes() {
    assert_eq!(hex(&encode_position(Position(300))), "01ac02");
    let cursor = Cursor { position: Position(5), hold: Hold::Yes, set_at: Timestamp(-1) };
    assert_eq!(hex(&cursor.encode()), "01050101");
    let commits = vec![Produced { sequence: 9, first: Position(20), records: 2 }];
    let producer = ProducerState { epoch: 1, seen_at: Timestamp(4), commits };
    assert_eq!(hex(&producer.encode()), "010108 01 091402".replace(' ', ""));
    let mut segment = Segment::open(SegmentId(1), Position(7), Timestamp(1));
    assert_eq!(hex(&segment.encode()), "01 00 07 02".replace(' ', ""));
    segment = Segment { sealed: true, listed: true, last: Position(11), totals: totals(), ..segment };
    assert_eq!(hex(&segment.encode()), "01 03 07 02 0b 03 01 ac02 02 d00f 05 13 0e".replace(' ', ""));
    let group = Group {
        ingest_time: Timestamp(1),
        totals: totals(),
        first: Position(7),
        last: Position(11),
        runs: vec![(Position(7), 2), (Position(10), 1)],
        new_streams: vec!["ab".into(), "ac".into()],
    };
    let expected = "01 02 03 01 ac02 02 d00f 05 13 0e 04 02 0002 0101 02 00026162 010163";
    assert_eq!(hex(&group.encode()), expected.replace(' ', ""));
    let derived = Totals { derived: 2, ..totals() };
    let group = Group { totals: derived, ..group };
    let expected = "02 02 02 03 01 ac02 02 d00f 05 13 0e 04 02 0002 0101 02 00026162 010163";
    assert_eq!(hex(&group.encode()), expected.replace(' ', ""));
    segment.totals = derived;
    assert_eq!(hex(&segment.encode()), "02 03 07 02 0b 02 03 01 ac02 02 d00f 05 13 0e".replace(' ', ""));
    let page = Page { streams: vec!["ab".into(), "ac".into()] };
    assert_eq!(hex(&page.encode()), "01 02 00026162 010163".replace(' ', ""));
}

#[test]
fn a_group_counts_what_stands_before_a_position() {
    let group = Group {
        ingest_time: Timestamp(1),
        totals: Totals { records: 13, ..totals() },
        first: Position(7),
        last: Position(12),
        runs: vec![(Position(7), 2), (Position(10), 1)],
        new_streams: Vec::new(),
    };
    let ranks: Vec<_> = (7..=13).map(|at| group.rank(Position(at))).collect();
    assert_eq!(ranks, [10, 11, 12, 12, 13, 13, 13]);
}

#[test]
fn damaged_values_name_their_key() {
    let whole = Segment { sealed: true, totals: totals(), ..Segment::open(SegmentId(1), Position(7), Timestamp(1)) };
    let value = whole.encode();
    for len in 0..value.len() {
        let error = Segment::decode(SegmentId(1), b"\xabkey", &value[..len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "len={len}");
        assert!(error.message().ends_with("key=ab6b6579"), "{error}");
    }
    assert_eq!(Cursor::decode(b"k", &[1, 0, 7, 0]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(ProducerState::decode(b"k", &[1, 0, 0, 0]).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(decode_position(b"k", &[2, 0]).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(Page::decode(b"k", &[1, 1, 5, 0]).unwrap_err().kind(), ErrorKind::Corrupt);
}

fn any_totals() -> impl Strategy<Value = Totals> {
    let time = || any::<i64>().prop_map(Timestamp);
    let pair = move || (time(), time()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let numbers = (any::<[u64; 4]>(), prop_oneof![Just(0), any::<u64>()]);
    (numbers, pair(), pair()).prop_map(|(([records, controls, bytes, streams], derived), ingest_times, event_times)| {
        Totals { records, derived, controls, bytes, streams, ingest_times, event_times }
    })
}

fn names() -> impl Strategy<Value = Vec<Bytes>> {
    proptest::collection::btree_set(proptest::collection::vec(0u8..3, 0..6), 0..20)
        .prop_map(|names| names.into_iter().map(Bytes::from).collect())
}

proptest! {
    #[test]
    fn records_round_trip(
        totals in any_totals(),
        new_streams in names(),
        [position, span, epoch, sequence] in any::<[u32; 4]>(),
        time_ms in any::<i64>(),
        runs in proptest::collection::vec((0u64..5, 1u64..5), 0..5),
    ) {
        let first = Position(position.into());
        let segment = Segment {
            id: SegmentId(3),
            first,
            last: Position(first.0 + u64::from(span)),
            created: Timestamp(time_ms),
            sealed: true,
            listed: span % 2 == 0,
            totals,
        };
        prop_assert_eq!(Segment::decode(SegmentId(3), b"", &segment.encode()).unwrap(), segment);

        let mut end = first.0;
        let runs: Vec<_> = runs.into_iter().map(|(gap, length)| {
            let start = end + gap;
            end = start + length;
            (Position(start), length)
        }).collect();
        let last = Position(end.max(first.0 + 1) - 1);
        let group = Group { ingest_time: Timestamp(time_ms), totals, first, last, runs, new_streams: new_streams.clone() };
        prop_assert_eq!(Group::decode(last, b"", &group.encode()).unwrap(), group);

        let page = Page { streams: new_streams };
        prop_assert_eq!(Page::decode(b"", &page.encode()).unwrap(), page);

        let cursor = Cursor { position: first, hold: Hold::No, set_at: Timestamp(time_ms) };
        prop_assert_eq!(Cursor::decode(b"", &cursor.encode()).unwrap(), cursor);

        let commits = vec![Produced { sequence: sequence.into(), first, records: span.into() }];
        let producer = ProducerState { epoch: epoch.into(), seen_at: Timestamp(time_ms), commits };
        prop_assert_eq!(ProducerState::decode(b"", &producer.encode()).unwrap(), producer);
    }
}
