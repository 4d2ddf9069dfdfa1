//! Scanning: orders, bounds, times, limits.

use opendata_core::slate::Order;
use opendata_core::{ErrorKind, Position, Timestamp};
use opendata_log::{Config, NewRecord, ScanOptions, Start, Streams};

use crate::bed::{Bed, read, read_with, small_segments};

/// Ten records `0` to `9`, over streams a, b and c, in segments of their own.
async fn ten() -> (Bed, Vec<Position>) {
    let bed = Bed::new(Config::default()).await;
    let mut positions = Vec::new();
    for at in 0..10 {
        bed.later(100);
        if at % 3 == 0 {
            bed.commit(|op| _ = op.roll()).await.unwrap();
        }
        let stream = ["a", "b", "ac"][at % 3];
        let time = Timestamp(5000 - i64::try_from(at).unwrap());
        let record = NewRecord::new(at.to_string()).event_time(time);
        let receipt = bed.commit(|op| _ = op.append_record(stream, record)).await.unwrap();
        positions.push(receipt.first().unwrap());
    }
    (bed, positions)
}

#[tokio::test]
async fn streams_prefixes_and_everything_in_order_of_position() {
    let (bed, at) = ten().await;
    for reader in [bed.reader(), bed.outside().await] {
        assert_eq!(read(reader.scan("a", ..).await).await, ["0", "3", "6", "9"]);
        assert_eq!(read(reader.scan_prefix("a", ..).await).await, ["0", "2", "3", "5", "6", "8", "9"]);
        assert_eq!(read(reader.scan_all(..).await).await, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(read(reader.scan("none", ..).await).await, [""; 0]);
        assert_eq!(read(reader.scan_all(at[3]..at[5]).await).await, ["3", "4"]);
        assert_eq!(read(reader.scan_all(at[3]..=at[5]).await).await, ["3", "4", "5"]);
        assert_eq!(read(reader.scan("a", at[1]..).await).await, ["3", "6", "9"]);
        assert_eq!(read(reader.scan("a", ..at[6]).await).await, ["0", "3"]);
        assert_eq!(reader.segments().await.unwrap().len(), 4);
    }
}

#[tokio::test]
async fn backwards() {
    let (bed, at) = ten().await;
    let reader = bed.outside().await;
    let backwards = |streams| ScanOptions { order: Order::Descending, ..ScanOptions::of(streams) };
    assert_eq!(read_with(&reader, backwards(Streams::one("a"))).await, ["9", "6", "3", "0"]);
    assert_eq!(read_with(&reader, backwards(Streams::All).within(at[2]..at[5])).await, ["4", "3", "2"]);
    let limited = ScanOptions { max_records: Some(2), ..backwards(Streams::prefix("a")) };
    assert_eq!(read_with(&reader, limited).await, ["9", "8"]);
    assert_eq!(read_with(&reader, backwards(Streams::one("a")).within(at[1]..=at[6])).await, ["6", "3"]);
    let newest = reader.newest("a", 2).await.unwrap();
    assert_eq!(crate::bed::texts(&newest), ["6", "9"]);
}

#[tokio::test]
async fn from_a_time() {
    let (bed, _) = ten().await;
    let reader = bed.outside().await;
    let from = |start| ScanOptions { start, ..ScanOptions::default() };
    // The clock stood at 1,000,100 for record 0 and went on by 100 for each.
    assert_eq!(read_with(&reader, from(Start::Ingested(Timestamp(1_000_800)))).await, ["7", "8", "9"]);
    assert_eq!(read_with(&reader, from(Start::Ingested(Timestamp(1_000_801)))).await, ["8", "9"]);
    assert_eq!(read_with(&reader, from(Start::Ingested(Timestamp(2_000_000)))).await, [""; 0]);
    assert_eq!(read_with(&reader, from(Start::Ingested(Timestamp(0)))).await.len(), 10);
    // Event times go down.
    assert_eq!(read_with(&reader, from(Start::Happened(Timestamp(4998)))).await, ["0", "1", "2"]);
    let one = ScanOptions { streams: Streams::one("a"), ..from(Start::Happened(Timestamp(4997))) };
    assert_eq!(read_with(&reader, one).await, ["0", "3"]);
}

#[tokio::test]
async fn limits_of_records_and_bytes() {
    let bed = Bed::new(Config::default()).await;
    bed.commit(|op| _ = op.append_all("s", ["12345"; 10])).await.unwrap();
    let reader = bed.reader();
    let limited = |max_records, max_bytes| ScanOptions { max_records, max_bytes, ..ScanOptions::of(Streams::one("s")) };
    assert_eq!(read_with(&reader, limited(Some(0), None)).await.len(), 0);
    assert_eq!(read_with(&reader, limited(Some(3), None)).await.len(), 3);
    assert_eq!(read_with(&reader, limited(None, Some(1))).await.len(), 1, "one record at least");
    assert_eq!(read_with(&reader, limited(None, Some(10))).await.len(), 2);
    assert_eq!(read_with(&reader, limited(None, Some(11))).await.len(), 3);
    let mut scan = reader.scan_with(limited(Some(4), None)).await.unwrap();
    let mut seen = 0;
    while scan.next().await.unwrap().is_some() {
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[tokio::test]
async fn long_streams_over_many_chunks_and_segments() {
    let mut bed = Bed::new(small_segments()).await;
    let text = |at: usize| format!("{at:0>100}");
    for batch in 0..40 {
        bed.commit(|op| _ = op.append_all("long", (0..100).map(|at| text(batch * 100 + at)))).await.unwrap();
        if batch == 20 {
            bed.reopen().await;
        }
    }
    let reader = bed.outside().await;
    let expected: Vec<_> = (0..4000).map(text).collect();
    assert!(reader.segments().await.unwrap().len() >= 2);
    assert_eq!(read(reader.scan("long", ..).await).await, expected);
    assert_eq!(read(reader.scan_all(..).await).await, expected);
    assert_eq!(reader.count("long").await.unwrap(), 4000);
}

#[tokio::test]
async fn counting_without_scanning() {
    let (bed, at) = ten().await;
    for reader in [bed.reader(), bed.outside().await] {
        assert_eq!(reader.count("a").await.unwrap(), 4);
        assert_eq!(reader.count("none").await.unwrap(), 0);
        assert_eq!(reader.count_all().await.unwrap(), 10);
        for (index, from) in at.iter().enumerate() {
            assert_eq!(reader.lag_all(*from).await.unwrap(), 10 - index as u64);
            let expected = read(reader.scan("a", *from..).await).await.len() as u64;
            assert_eq!(reader.lag("a", *from).await.unwrap(), expected);
        }
        let end = reader.position().next();
        assert_eq!((reader.lag_all(end).await.unwrap(), reader.lag("a", end).await.unwrap()), (0, 0));
        assert_eq!(reader.head("a").await.unwrap(), Some(at[9]));
        assert_eq!(reader.head("none").await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_empty_log_has_nothing_to_say_and_says_so() {
    let bed = Bed::new(Config::default()).await;
    let reader = bed.outside().await;
    assert_eq!(read(reader.scan_all(..).await).await, [""; 0]);
    assert_eq!((reader.count_all().await.unwrap(), reader.segments().await.unwrap()), (0, vec![]));
    assert_eq!(reader.streams("", None, 10).await.unwrap().streams.len(), 0);
    let other = bed.slate.view().get_reader::<opendata_log::Log>("nowhere").unwrap_err();
    assert_eq!(other.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn records_that_no_edge_made_are_counted_behind_any_commit_without_being_read() {
    let mut bed = Bed::new(Config::default()).await;
    // What each commit brought: its last position, and records of either kind.
    let mut commits = vec![(Position::ZERO, 0)];
    for step in 0..24u64 {
        let (count, derived) = (step % 5 + 1, step % 3 != 0);
        let mut tx = bed.slate.begin();
        if derived {
            tx.mark_derived();
        }
        let op = tx.on(&bed.log);
        if step % 7 == 6 {
            op.roll();
        }
        (0..count).for_each(|_| _ = op.append(format!("s{}", step % 2), "x"));
        tx.commit().await.unwrap();
        commits.push((bed.slate.view().position(), if derived { 0 } else { count }));
        if step == 12 {
            bed.reopen().await;
        }
    }
    for reader in [bed.reader(), bed.outside().await] {
        for (index, (position, _)) in commits.iter().enumerate() {
            let expected: u64 = commits[index + 1..].iter().map(|(_, direct)| direct).sum();
            assert_eq!(reader.count_direct(position.next()).await.unwrap(), expected, "{position}");
        }
        let derived: u64 = reader.segments().await.unwrap().iter().map(|segment| segment.derived_records()).sum();
        assert_eq!(derived, reader.count_all().await.unwrap() - reader.count_direct(Position::ZERO).await.unwrap());
    }
    let trim = commits[20].0.next();
    bed.commit(|op| _ = op.trim_all(trim)).await.unwrap();
    let expected: u64 = commits[21..].iter().map(|(_, direct)| direct).sum();
    assert_eq!(bed.reader().count_direct(Position::ZERO).await.unwrap(), expected);
}
