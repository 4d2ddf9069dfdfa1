use opendata_core::ErrorKind;
use proptest::prelude::*;

use super::*;
use crate::config::Compression;
use crate::entry::{NewRecord, Record};

fn pending(position: u64, record: NewRecord) -> Pending {
    Pending { position: Position(position), payload: record.payload, derived: false, about: record.about }
}

fn write(records: &[Pending], compression: Compression) -> Bytes {
    let all: Vec<_> = records.iter().collect();
    encode(&all, 40, Timestamp(1000), compression).value
}

fn read(last: u64, value: Bytes) -> Result<Vec<Record>> {
    let chunk = Chunk::decode("s".into(), Position(last), value)?;
    let mut records = Vec::new();
    chunk.read(Position::ZERO..Position::MAX, &mut records)?;
    Ok(records)
}

fn hex(value: &[u8]) -> String {
    opendata_core::Hex(value).to_string()
}

#[test]
fn golden_bytes_of_a_plain_chunk() {
    let records = [pending(5, NewRecord::new("ab")), pending(6, NewRecord::new("cd"))];
    let value = write(&records, Compression::Lz4);
    // layout, uniform, count, ordinal, ingest, payload size, body
    assert_eq!(hex(&value), "01 40 02 28 d00f 02 61626364".replace(' ', ""));
}

#[test]
fn golden_bytes_of_a_chunk_with_everything() {
    let records = [
        pending(5, NewRecord::new("abc").event_time(Timestamp(990)).header("k", "v").schema_id(7)),
        pending(9, NewRecord::new("d").schema_id(8)),
    ];
    let value = write(&records, Compression::None);
    let expected = [
        "01 3e 02 04 28 d00f", // layout, flags, count, span, ordinal, ingest
        "13 0a",               // least event time, range
        "03",                  // gap
        "13 14",               // event times
        "07 08",               // schemas
        "04 00",               // header sizes
        "03 01",               // payload sizes
        "016b0176 616263 64",
    ];
    assert_eq!(hex(&value), expected.concat().replace(' ', ""));
    let read = read(9, value).unwrap();
    assert_eq!(read[0].headers.get("k"), Some(b"v".as_slice()));
    assert_eq!((read[0].event_time, read[1].event_time), (Timestamp(990), Timestamp(1000)));
}

#[test]
fn text_is_compressed_and_noise_is_not() {
    let size = |payload: &dyn Fn(u64) -> Vec<u8>| {
        let records: Vec<_> = (1..=100).map(|at| pending(at, NewRecord::new(payload(at)))).collect();
        let value = write(&records, Compression::Lz4);
        let chunk = Chunk::decode("s".into(), Position(100), value.clone()).unwrap();
        (chunk.is_compressed(), value.len())
    };
    let (compressed, bytes) = size(&|at| format!("GET /index.html?user={at} HTTP/1.1 200 OK").into_bytes());
    assert!(compressed && bytes < 2000, "{bytes} bytes");
    let (compressed, bytes) = size(&|_| (0..256).map(|_| rand::random()).collect());
    assert!(!compressed && bytes < 25_600 + 200, "{bytes} bytes");
}

#[test]
fn a_newer_layout_is_refused() {
    let mut newer = write(&[pending(1, NewRecord::new("a"))], Compression::None).to_vec();
    newer[0] |= 0x80;
    assert_eq!(read(1, newer.into()).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_size_that_cannot_be_is_not_allocated() {
    // One record of 2^60 bytes, in a compressed body of one byte.
    let mut value = opendata_core::codec::Encoder::new(LAYOUT);
    value.u8(UNIFORM | COMPRESSED).varint(1).varint(0).signed(0).varint(1 << 60).varint(1 << 60).u8(0);
    assert_eq!(read(1, value.finish()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[derive(Clone, Debug)]
struct Case {
    gap: u64,
    payload: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    event_time: Option<i64>,
    schema_id: u32,
}

fn case() -> impl Strategy<Value = Case> {
    let payload = prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), Just(vec![b'x'; 300]),];
    let headers = prop_oneof![
        3 => Just(Vec::new()),
        1 => proptest::collection::vec(("[a-z]{0,3}", proptest::collection::vec(any::<u8>(), 0..4)), 0..3),
    ];
    let event_time = prop_oneof![3 => Just(None), 1 => any::<i64>().prop_map(Some)];
    (prop_oneof![4 => Just(0u64), 1 => 0u64..1000], payload, headers, event_time, 0u32..3).prop_map(
        |(gap, payload, headers, event_time, schema_id)| Case { gap, payload, headers, event_time, schema_id },
    )
}

fn build(cases: &[Case], ingest: Timestamp, derived: bool) -> (Vec<Pending>, Vec<Record>) {
    let mut position = 0;
    let mut written = Vec::new();
    let mut expected = Vec::new();
    for case in cases {
        position += case.gap + 1;
        let mut record = NewRecord::new(case.payload.clone());
        for (name, value) in &case.headers {
            record = record.header(name, value);
        }
        if let Some(time) = case.event_time {
            record = record.event_time(Timestamp(time));
        }
        if case.schema_id != 0 {
            record = record.schema_id(case.schema_id);
        }
        let blob = record.about.headers().to_vec();
        expected.push(Record {
            stream: "s".into(),
            position: Position(position),
            ingest_time: ingest,
            event_time: case.event_time.map_or(ingest, Timestamp),
            schema_id: case.schema_id,
            headers: crate::entry::Headers::decode(blob.into()).unwrap(),
            payload: case.payload.clone().into(),
            control: None,
            derived,
        });
        written.push(Pending { derived, ..pending(position, record) });
    }
    (written, expected)
}

proptest! {
    #[test]
    fn chunks_round_trip(
        cases in proptest::collection::vec(case(), 1..30),
        ordinal in any::<u64>(),
        ingest in any::<i64>(),
        compression in prop_oneof![Just(Compression::None), Just(Compression::Lz4)],
        cut in 0u64..4000,
        derived in any::<bool>(),
    ) {
        let ingest = Timestamp(ingest);
        let (written, expected) = build(&cases, ingest, derived);
        let all: Vec<_> = written.iter().collect();
        let value = encode(&all, ordinal, ingest, compression).value;
        let last = written.last().unwrap().position;
        let chunk = Chunk::decode("s".into(), last, value).unwrap();
        prop_assert_eq!((chunk.first, chunk.last, chunk.ordinal), (expected[0].position, last, ordinal));
        let times = expected.iter().map(|record| record.event_time);
        prop_assert_eq!(chunk.event_times, (times.clone().min().unwrap(), times.max().unwrap()));

        let mut all = Vec::new();
        chunk.read(Position::ZERO..Position::MAX, &mut all).unwrap();
        prop_assert_eq!(&all, &expected);

        let cut = Position(cut);
        let mut rest = Vec::new();
        chunk.read(cut..Position::MAX, &mut rest).unwrap();
        let before = expected.iter().filter(|record| record.position < cut).count();
        prop_assert_eq!(&rest[..], &expected[before..]);
        prop_assert_eq!(chunk.rank(cut).unwrap(), before as u64);
    }

    #[test]
    fn damaged_chunks_are_errors_or_other_records_but_never_a_panic(
        cases in proptest::collection::vec(case(), 1..10),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let (written, _) = build(&cases, Timestamp(5), false);
        let mut value = write(&written, Compression::Lz4).to_vec();
        for (at, byte) in damage {
            let at = at.index(value.len());
            value[at] = byte;
        }
        let _ = read(written.last().unwrap().position.0, value.clone().into());
        value.truncate(cut.index(value.len()));
        let _ = read(written.last().unwrap().position.0, value.into());
    }
}

proptest! {
    /// However records of one commit are spread over streams, and however many are asked for at a time, they come in order of position.
    #[test]
    fn merged_chunks_give_what_is_wanted_in_order(
        records in prop::collection::vec((0_usize..6, 1_u64..4, -20_i64..20), 1..200),
        pieces in prop::collection::vec(1_usize..40, 1..20),
        from in 0_u64..300,
        happened in prop::option::of(980_i64..1020),
    ) {
        let mut streams: Vec<Vec<Pending>> = (0..6).map(|_| Vec::new()).collect();
        let (mut expected, mut position) = (Vec::new(), 0);
        for (stream, gap, time) in records {
            position += gap;
            let time = Timestamp(1000 + time);
            streams[stream].push(pending(position, NewRecord::new(position.to_string()).event_time(time)));
            if position >= from && happened.is_none_or(|least| time.0 >= least) {
                expected.push((position, format!("stream-{stream}")));
            }
        }
        let source = |(index, records): (usize, &Vec<Pending>)| {
            let last = records.last()?.position;
            let value = write(records, Compression::Lz4);
            let chunk = Chunk::decode(format!("stream-{index}").into(), last, value).unwrap();
            Some(Source { chunk, wanted: Position(from)..Position::MAX, is_control: false })
        };
        let sources = streams.iter().enumerate().filter_map(source).collect();
        let mut merge = Merge::open(sources, happened.map(Timestamp)).unwrap();
        let (mut found, mut pieces) = (Vec::new(), pieces.iter().cycle());
        while !merge.is_over() {
            let mut piece = Vec::new();
            merge.read(*pieces.next().unwrap(), &mut piece).unwrap();
            found.extend(piece);
        }
        for record in &found {
            prop_assert_eq!(&record.payload, &record.position.0.to_string());
        }
        let names = |record: &Record| (record.position.0, String::from_utf8_lossy(&record.stream).into_owned());
        prop_assert_eq!(found.iter().map(names).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_stands_before_damage_in_a_merge_is_given_and_the_damage_is_named() {
    let source = |name: &'static str, positions: &[u64], is_damaged: bool| {
        let header = |at: u64| NewRecord::new("p").header("k", at.to_string());
        let records: Vec<Pending> = positions.iter().map(|at| pending(*at, header(*at))).collect();
        let last = records.last().unwrap().position;
        let mut value = write(&records, Compression::None).to_vec();
        if is_damaged {
            // The length of the last header's name.
            let at = value.len() - positions.len() - 4;
            value[at] = 200;
        }
        let chunk = Chunk::decode(name.into(), last, value.into()).unwrap();
        Source { chunk, wanted: Position::ZERO..Position::MAX, is_control: false }
    };
    let mut merge = Merge::open(vec![source("a", &[1, 4, 6], false), source("b", &[2, 3, 5], true)], None).unwrap();
    let mut records = Vec::new();
    let damaged = merge.read(usize::MAX, &mut records).unwrap_err();
    assert_eq!(records.iter().map(|record| record.position.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(
        (damaged.error.kind(), damaged.stream.as_ref(), damaged.last),
        (ErrorKind::Corrupt, &b"b"[..], Position(5))
    );
}
