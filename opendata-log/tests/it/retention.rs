//! Trim, and retention by age and size, against cursors that hold it.

use opendata_core::key::SegmentId;
use opendata_core::{ErrorKind, Position};
use opendata_log::{Config, FollowFrom, FollowOptions, Follower, Hold, Streams};

use crate::bed::{Bed, read};

/// One segment for each of so many records.
async fn segments(bed: &Bed, count: usize) -> Vec<Position> {
    let mut positions = Vec::new();
    for at in 0..count {
        bed.later(1000);
        positions.push(bed.append("s", &at.to_string()).await);
        bed.commit(|op| _ = op.roll()).await.unwrap();
    }
    positions
}

#[tokio::test]
async fn a_read_below_the_trim_point_is_an_error_and_never_a_jump() {
    let bed = Bed::new(Config::default()).await;
    let at = segments(&bed, 3).await;
    bed.commit(|op| _ = op.trim_all(at[1])).await.unwrap();
    for reader in [bed.reader(), bed.outside().await] {
        for streams in [Streams::one("s"), Streams::prefix("s"), Streams::All] {
            let options = opendata_log::ScanOptions::of(streams);
            let error = reader.scan_with(options.clone().within(at[0]..)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let expected = format!("position={}, trim={}", at[0], at[1]);
            assert!(error.message().ends_with(&expected), "{error}");
            assert_eq!(read(reader.scan_with(options.clone()).await).await, ["1", "2"]);
            assert_eq!(read(reader.scan_with(options.within(at[1]..)).await).await, ["1", "2"]);
        }
        assert_eq!(reader.lag("s", at[0]).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(reader.lag_all(at[0]).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!((reader.count("s").await.unwrap(), reader.count_all().await.unwrap()), (2, 2));
    }
    let options = FollowOptions::of(Streams::All).from(FollowFrom::Position(at[0]));
    let views = bed.slate.watch(opendata_core::slate::Ack::Written);
    let error = Follower::open(views, &bed.log, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn trimmed_segments_are_dropped() {
    let bed = Bed::new(Config::default()).await;
    let at = segments(&bed, 4).await;
    bed.commit(|op| _ = op.trim_all(at[2])).await.unwrap();
    bed.slate.maintain().await.unwrap();
    let ids: Vec<_> = bed.reader().segments().await.unwrap().iter().map(|segment| segment.id).collect();
    assert_eq!(ids, [SegmentId(3), SegmentId(4), SegmentId(5)]);
    assert_eq!(read(bed.outside().await.scan("s", ..).await).await, ["2", "3"]);
    let stats = bed.reader().stats().unwrap();
    assert_eq!((stats.segments_dropped, stats.records_dropped), (2, 2));
}

#[tokio::test]
async fn one_stream_is_trimmed_and_its_chunks_removed() {
    let mut bed = Bed::new(Config::default()).await;
    let mut last = Position::ZERO;
    for at in 0..6 {
        bed.append("other", "x").await;
        last = bed.append("s", &at.to_string()).await;
        if at == 2 {
            bed.commit(|op| _ = op.roll()).await.unwrap();
        }
    }
    bed.commit(|op| _ = op.trim("s", last)).await.unwrap();
    bed.reopen().await;
    for round in 0..2 {
        for reader in [bed.reader(), bed.outside().await] {
            assert_eq!(read(reader.scan("s", ..).await).await, ["5"]);
            assert_eq!(read(reader.scan_prefix("s", ..).await).await, ["5"]);
            assert_eq!(read(reader.scan_all(..).await).await.len(), 7);
            assert_eq!(reader.count("s").await.unwrap(), 1);
            assert_eq!(reader.trim_point_of("s").await.unwrap(), last);
            assert_eq!(reader.scan("s", Position(1)..).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
        bed.slate.maintain().await.unwrap();
        assert_eq!(bed.reader().stats().unwrap().chunks_pruned, 5, "round {round}");
    }
}

#[tokio::test]
async fn retention_by_age() {
    let bed = Bed::new(Config { retain_age_ms: Some(2500), ..Config::default() }).await;
    let at = segments(&bed, 5).await;
    bed.slate.maintain().await.unwrap();
    assert_eq!(read(bed.reader().scan("s", ..).await).await, ["2", "3", "4"]);
    let trim = bed.reader().trim_point().await.unwrap();
    assert!(trim > at[1] && trim <= at[2], "{trim}");
    bed.later(1_000_000);
    bed.slate.maintain().await.unwrap();
    assert_eq!(read(bed.outside().await.scan("s", ..).await).await, [""; 0]);
    assert!(bed.append("s", "5").await > at[4]);
    assert_eq!(read(bed.outside().await.scan("s", ..).await).await, ["5"]);
}

#[tokio::test]
async fn an_idle_log_still_grows_old() {
    let config = Config { retain_age_ms: Some(1000), segment_age_ms: Some(1000), ..Config::default() };
    let mut bed = Bed::new(config).await;
    bed.append("s", "1").await;
    bed.reopen().await;
    bed.later(5000);
    bed.slate.maintain().await.unwrap();
    assert_eq!(bed.reader().count_all().await.unwrap(), 0);
    assert_eq!(bed.reader().streams("", None, 10).await.unwrap().streams.len(), 0);
    // And keeps its place.
    bed.reopen().await;
    bed.append("s", "2").await;
    assert_eq!(read(bed.outside().await.scan("s", ..).await).await, ["2"]);
    assert_eq!(bed.reader().segments().await.unwrap()[0].id, SegmentId(2));
}

#[tokio::test]
async fn retention_by_size() {
    let bed = Bed::new(Config { retain_bytes: Some(250), ..Config::default() }).await;
    segments(&bed, 20).await;
    bed.slate.maintain().await.unwrap();
    let segments = bed.reader().segments().await.unwrap();
    let bytes: u64 = segments.iter().map(opendata_log::Segment::size_bytes).sum();
    assert!(bytes <= 250 && bytes > 150, "{bytes} bytes in {} segments", segments.len());
    assert_eq!(read(bed.reader().scan("s", ..).await).await.last().unwrap(), "19");
}

#[tokio::test]
async fn a_cursor_holds_retention_up_to_the_limit() {
    let mut bed = Bed::new(Config { retain_age_ms: Some(1), ..Config::default() }).await;
    let at = segments(&bed, 5).await;
    bed.commit(|op| _ = op.set_cursor("slow", at[1], Hold::Yes).set_cursor("loose", at[0], Hold::No)).await.unwrap();
    bed.slate.maintain().await.unwrap();
    assert_eq!(read(bed.reader().scan("s", ..).await).await, ["1", "2", "3", "4"]);
    assert_eq!(bed.reader().stats().unwrap().holds_overridden, 0);
    // The same with a limit: about two segments.
    bed.config.hold_limit_bytes = Some(100);
    bed.reopen().await;
    bed.slate.maintain().await.unwrap();
    let kept = read(bed.reader().scan("s", ..).await).await;
    assert!((1..4).contains(&kept.len()), "{kept:?}");
    assert_eq!(bed.reader().stats().unwrap().holds_overridden, 1);
    assert_eq!(bed.reader().scan("s", at[1]..).await.unwrap_err().kind(), ErrorKind::NotFound);
    bed.commit(|op| _ = op.remove_cursor("slow")).await.unwrap();
    bed.later(1000);
    bed.slate.maintain().await.unwrap();
    assert_eq!(bed.reader().count_all().await.unwrap(), 0);
}

#[tokio::test]
async fn a_view_keeps_what_it_shows() {
    let bed = Bed::new(Config { retain_age_ms: Some(1), ..Config::default() }).await;
    segments(&bed, 5).await;
    let before = bed.reader();
    bed.later(1000);
    bed.slate.maintain().await.unwrap();
    assert_eq!(bed.reader().count_all().await.unwrap(), 0);
    assert_eq!(read(before.scan_all(..).await).await, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn idle_producers_are_forgotten_when_a_segment_is_dropped() {
    let config = Config { retain_age_ms: Some(1), producer_idle_ms: 2500, ..Config::default() };
    let bed = Bed::new(config).await;
    bed.commit(|op| _ = op.producer("old", 1).append("s", "x")).await.unwrap();
    segments(&bed, 3).await;
    bed.commit(|op| _ = op.producer("young", 1).append("s", "x")).await.unwrap();
    bed.slate.maintain().await.unwrap();
    assert_eq!(bed.reader().stats().unwrap().producers_forgotten, 1);
    assert!(!bed.commit(|op| _ = op.producer("old", 1).append("s", "x")).await.unwrap().is_duplicate());
    assert!(bed.commit(|op| _ = op.producer("young", 1).append("s", "x")).await.unwrap().is_duplicate());
}
