//! Appending: positions, conditions, producers, limits.

use opendata_core::{Error, ErrorKind, Position};
use opendata_log::{Config, Control, ControlRecords, NewRecord, OnDuplicate, Op, Producer, ScanOptions, Streams};

use crate::bed::{Bed, read};

async fn refused(bed: &Bed, kind: ErrorKind, ask: impl FnOnce(&mut Op)) -> Error {
    let before = bed.slate.view().position();
    let error = bed.commit(ask).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(bed.slate.view().position(), before, "a refused transaction leaves no trace");
    error
}

#[tokio::test]
async fn records_get_positions_in_the_order_of_the_calls() {
    let bed = Bed::new(Config::default()).await;
    let receipt = bed.commit(|op| _ = op.append("a", "1").append("b", "2").append("a", "3")).await.unwrap();
    let first = receipt.first().unwrap();
    assert_eq!(receipt.records(), 3);
    assert_eq!((receipt.position(1), receipt.last()), (Some(Position(first.0 + 1)), Some(Position(first.0 + 2))));
    let records = bed.reader().scan_all(..).await.unwrap().collect().await.unwrap();
    let seen: Vec<_> = records.iter().map(|record| (record.position.0 - first.0, &record.stream[..])).collect();
    assert_eq!(seen, [(0, &b"a"[..]), (1, b"b"), (2, b"a")]);
}

#[tokio::test]
async fn everything_about_a_record_comes_back() {
    let bed = Bed::new(Config::default()).await;
    let at = opendata_core::Timestamp(5);
    bed.commit(|op| {
        op.append_record("s", NewRecord::new("x").header("k", "v").event_time(at).schema_id(9));
    })
    .await
    .unwrap();
    let record = bed.reader().newest("s", 1).await.unwrap().remove(0);
    assert_eq!((record.event_time, record.schema_id, record.headers.get("k")), (at, 9, Some(&b"v"[..])));
    assert_eq!(record.ingest_time, opendata_core::Timestamp(1_000_000));
}

#[tokio::test]
async fn the_end_of_a_stream_can_be_demanded() {
    let mut bed = Bed::new(Config::default()).await;
    let end = bed.commit(|op| _ = op.expect_position("s", None).append("s", "1")).await.unwrap().last();
    let error = refused(&bed, ErrorKind::Conflict, |op| _ = op.expect_position("s", None).append("s", "2")).await;
    assert!(error.message().starts_with("the stream ends elsewhere, stream=s, expected=none, found="), "{error}");
    bed.append("other", "x").await;
    // Neither a reopening nor a new segment makes it forget.
    for step in 0..3 {
        match step {
            1 => bed.reopen().await,
            2 => drop(bed.commit(|op| _ = op.roll().append("other", "y")).await.unwrap()),
            _ => {}
        }
        refused(&bed, ErrorKind::Conflict, |op| _ = op.expect_position("s", Some(Position(999_999)))).await;
        bed.commit(|op| _ = op.expect_position("s", end)).await.unwrap();
    }
    bed.commit(|op| _ = op.expect_position("s", end).append("s", "2")).await.unwrap();
    assert_eq!(read(bed.reader().scan("s", ..).await).await, ["1", "2"]);
}

#[tokio::test]
async fn transactions_of_one_group_see_each_other() {
    let bed = Bed::new(Config::default()).await;
    let submit = async |ask: fn(&mut Op)| {
        let mut tx = bed.slate.begin();
        ask(tx.on(&bed.log));
        tx.submit(opendata_core::slate::Ack::Written).await.unwrap()
    };
    // All of them wait together before the committer runs: a current-thread runtime.
    let first = submit(|op| _ = op.expect_position("s", None).producer("p", 7).append("s", "1")).await;
    let second = submit(|op| _ = op.expect_position("s", None).append("s", "lost")).await;
    let third = submit(|op| _ = op.producer("p", 7).append("s", "again")).await;
    let first = *first.wait().await.unwrap().receipt(&bed.log).unwrap();
    assert_eq!(second.wait().await.unwrap_err().kind(), ErrorKind::Conflict);
    let third = *third.wait().await.unwrap().receipt(&bed.log).unwrap();
    assert!(third.is_duplicate());
    assert_eq!(third.first(), first.first());
    assert_eq!(read(bed.reader().scan("s", ..).await).await, ["1"]);
}

#[tokio::test]
async fn a_repeated_sequence_writes_nothing_and_returns_the_first_positions() {
    let mut bed = Bed::new(Config::default()).await;
    let send = |sequence| move |op: &mut Op| _ = op.producer("p", sequence).append_all("s", ["a", "b"]);
    let first = bed.commit(send(3)).await.unwrap();
    assert!(!first.is_duplicate());
    bed.reopen().await;
    let again = bed.commit(send(3)).await.unwrap();
    assert!(again.is_duplicate());
    assert_eq!((again.first(), again.records()), (first.first(), 2));
    let error = refused(&bed, ErrorKind::Conflict, send(5)).await;
    assert_eq!(error.message(), "gap in a producer's sequence, id=p, sequence=5, last=3");
    for sequence in 4..14 {
        bed.commit(send(sequence)).await.unwrap();
    }
    let forgotten = bed.commit(send(3)).await.unwrap();
    assert!(forgotten.is_duplicate());
    assert_eq!(forgotten.first(), None, "too long ago to be remembered, but still not written");
    assert_eq!(bed.reader().count("s").await.unwrap(), 22);
    assert_eq!(bed.reader().stats().unwrap().duplicates, 2);
}

#[tokio::test]
async fn an_older_epoch_is_fenced_off_and_a_duplicate_can_be_refused() {
    let bed = Bed::new(Config::default()).await;
    let producer = |epoch, sequence, on_duplicate| Producer { id: "p".into(), epoch, sequence, on_duplicate };
    let send = |producer: Producer| move |op: &mut Op| _ = op.producer_with(producer).append("s", "x");
    bed.commit(send(producer(1, 50, OnDuplicate::Skip))).await.unwrap();
    bed.commit(send(producer(2, 0, OnDuplicate::Skip))).await.unwrap();
    let error = refused(&bed, ErrorKind::Conflict, send(producer(1, 51, OnDuplicate::Skip))).await;
    assert_eq!(error.message(), "a newer producer took over, id=p, epoch=1, known=2");
    let error = refused(&bed, ErrorKind::Conflict, send(producer(2, 0, OnDuplicate::Refuse))).await;
    assert_eq!(error.message(), "committed before, id=p, sequence=0, last=0");
}

#[tokio::test]
async fn what_is_too_large_is_named() {
    let bed = Bed::new(Config { max_record_bytes: 10, ..Config::default() }).await;
    let error = refused(&bed, ErrorKind::Invalid, |op| _ = op.append("a", "small").append("b", "eleven bytes")).await;
    assert_eq!(error.message(), "record too large, record=1, stream=b, size_bytes=12, limit=10");
    let record = NewRecord::new("12345").header("12345", "");
    refused(&bed, ErrorKind::Invalid, |op| _ = op.append_record("a", record)).await;
    refused(&bed, ErrorKind::Invalid, |op| _ = op.append(vec![b'x'; 1025], "x")).await;
    refused(&bed, ErrorKind::Invalid, |op| _ = op.producer("", 1)).await;
    bed.commit(|op| _ = op.append(vec![0; 1024], "0123456789").append("", "ten and one")).await.unwrap_err();
    bed.commit(|op| _ = op.append(vec![0; 1024], "0123456789").append("", "short")).await.unwrap();
    assert_eq!(read(bed.reader().scan(vec![0; 1024], ..).await).await, ["0123456789"]);
    assert_eq!(read(bed.reader().scan("", ..).await).await, ["short"], "the empty name is one stream, not all");
}

#[tokio::test]
async fn a_large_record_is_a_chunk_of_its_own() {
    let bed = Bed::new(Config::default()).await;
    let large = "x".repeat(300_000);
    bed.commit(|op| _ = op.append("s", "a").append("s", large.clone()).append("s", "b")).await.unwrap();
    assert_eq!(read(bed.outside().await.scan("s", ..).await).await, ["a", &large, "b"]);
    assert_eq!(bed.reader().stats().unwrap().chunks, 3);
}

#[tokio::test]
async fn control_records_are_hidden_from_ordinary_readers() {
    let bed = Bed::new(Config::default()).await;
    bed.commit(|op| _ = op.append("a", "1").barrier("cut").append("b", "2")).await.unwrap();
    bed.commit(|op| _ = op.watermark(opendata_core::Timestamp(77))).await.unwrap();
    let reader = bed.outside().await;
    assert_eq!(read(reader.scan_all(..).await).await, ["1", "2"]);
    assert_eq!(reader.count_all().await.unwrap(), 2);
    for streams in [Streams::All, Streams::prefix("a"), Streams::one("a")] {
        let shown = ScanOptions { control: ControlRecords::Shown, ..ScanOptions::of(streams.clone()) };
        let records = reader.scan_with(shown).await.unwrap().collect().await.unwrap();
        let controls: Vec<_> = records.iter().filter_map(|record| record.control.clone()).collect();
        assert_eq!(controls, [Control::Barrier("cut".into()), Control::Watermark(opendata_core::Timestamp(77))]);
        assert!(records.is_sorted_by_key(|record| record.position), "{streams:?}");
    }
}
