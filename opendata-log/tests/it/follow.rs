//! Following a log, in the writer's process and from another.

use std::sync::Arc;
use std::time::Duration;

use opendata_core::env::Env;
use opendata_core::slate::Ack;
use opendata_core::{ErrorKind, Position};
use opendata_log::{Config, ControlRecords, FollowFrom, FollowOptions, Follower, Log, Streams, WalFeed};

use crate::bed::{Bed, texts};

async fn follow(bed: &Bed, ack: Ack, options: FollowOptions) -> Follower {
    Follower::open(bed.slate.watch(ack), &bed.log, options).await.unwrap()
}

/// The next so many records.
async fn take(follower: &mut Follower, count: usize) -> Vec<String> {
    let mut records = Vec::new();
    while records.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(10), follower.next()).await;
        records.push(next.expect("a record in time").unwrap());
    }
    texts(&records)
}

/// Nothing comes for a while.
async fn is_quiet(follower: &mut Follower) -> bool {
    tokio::time::timeout(Duration::from_millis(50), follower.next()).await.is_err()
}

#[tokio::test]
async fn the_tail_shows_what_is_committed_from_now_on() {
    let bed = Bed::new(Config::default()).await;
    bed.append("a", "before").await;
    bed.slate.flush().await.unwrap();
    let mut one = follow(&bed, Ack::Written, FollowOptions::of(Streams::one("a"))).await;
    let mut prefix = follow(&bed, Ack::Written, FollowOptions::of(Streams::prefix("a"))).await;
    let mut all = follow(&bed, Ack::Durable, FollowOptions::of(Streams::All)).await;
    assert!(is_quiet(&mut one).await);
    bed.commit(|op| _ = op.append("a", "1").append("ab", "2").append("b", "3").append("a", "4")).await.unwrap();
    assert_eq!(take(&mut one, 2).await, ["1", "4"]);
    assert_eq!(take(&mut prefix, 3).await, ["1", "2", "4"]);
    bed.slate.flush().await.unwrap();
    assert_eq!(take(&mut all, 4).await, ["1", "2", "3", "4"]);
    assert!(is_quiet(&mut one).await && is_quiet(&mut prefix).await && is_quiet(&mut all).await);
}

#[tokio::test]
async fn history_and_tail_join_without_a_seam() {
    let bed = Bed::new(Config::default()).await;
    for at in 0..5 {
        bed.append("s", &at.to_string()).await;
    }
    let options = FollowOptions::of(Streams::one("s")).from(FollowFrom::Oldest);
    let mut follower = follow(&bed, Ack::Written, options).await;
    assert_eq!(take(&mut follower, 2).await, ["0", "1"]);
    for at in 5..8 {
        bed.append("s", &at.to_string()).await;
    }
    assert_eq!(take(&mut follower, 6).await, ["2", "3", "4", "5", "6", "7"]);
    let resumed = FollowOptions::of(Streams::one("s")).from(FollowFrom::Position(follower.position()));
    let mut resumed = follow(&bed, Ack::Written, resumed).await;
    bed.append("s", "8").await;
    assert_eq!(take(&mut resumed, 1).await, ["8"]);
}

#[tokio::test]
async fn a_slow_follower_falls_out_of_the_ring_and_loses_nothing() {
    let bed = Bed::new(Config { ring_bytes: 500, ..Config::default() }).await;
    let mut follower = follow(&bed, Ack::Written, FollowOptions::of(Streams::All)).await;
    for at in 0..50 {
        bed.append(&format!("s{}", at % 3), &at.to_string()).await;
    }
    assert_eq!(take(&mut follower, 20).await, (0..20).map(|at| at.to_string()).collect::<Vec<_>>());
    for at in 50..60 {
        bed.append("s", &at.to_string()).await;
    }
    assert_eq!(take(&mut follower, 40).await, (20..60).map(|at| at.to_string()).collect::<Vec<_>>());
    let stats = bed.reader().stats().unwrap();
    assert!(stats.followers_behind >= 1 && stats.ring_evictions >= 40, "{stats:?}");
}

#[tokio::test]
async fn an_idle_follower_never_falls_behind() {
    let bed = Bed::new(Config { ring_bytes: 500, ..Config::default() }).await;
    let mut follower = follow(&bed, Ack::Written, FollowOptions::of(Streams::one("quiet"))).await;
    for at in 0..100 {
        bed.append("busy", &at.to_string()).await;
    }
    let position = follower.position();
    assert_eq!(position, bed.slate.view().position().next(), "it moves on over what it never asked for");
    bed.append("quiet", "x").await;
    assert_eq!(take(&mut follower, 1).await, ["x"]);
    assert_eq!(bed.reader().stats().unwrap().followers_behind, 0);
}

#[tokio::test]
async fn only_durable_records_are_shown_where_that_was_asked_for() {
    let bed = Bed::new(Config::default()).await;
    let mut follower = follow(&bed, Ack::Durable, FollowOptions::of(Streams::All)).await;
    let position = bed.append("s", "1").await;
    assert_eq!(take(&mut follower, 1).await, ["1"]);
    assert!(bed.slate.durable_view().position() >= position);
}

#[tokio::test]
async fn control_records_come_in_their_places() {
    let bed = Bed::new(Config::default()).await;
    let options = FollowOptions { control: ControlRecords::Shown, ..FollowOptions::of(Streams::one("a")) };
    let mut shown = follow(&bed, Ack::Written, options).await;
    let mut hidden = follow(&bed, Ack::Written, FollowOptions::of(Streams::one("a"))).await;
    bed.commit(|op| _ = op.append("a", "1").barrier("cut").append("b", "x").append("a", "2")).await.unwrap();
    assert_eq!(take(&mut shown, 3).await, ["1", "", "2"]);
    assert_eq!(take(&mut hidden, 2).await, ["1", "2"]);
}

#[tokio::test]
async fn a_position_beyond_the_end_is_an_error() {
    let bed = Bed::new(Config::default()).await;
    let at = bed.append("s", "1").await;
    let from = |position| FollowOptions::of(Streams::All).from(FollowFrom::Position(position));
    let open = |options| Follower::open(bed.slate.watch(Ack::Written), &bed.log, options);
    assert_eq!(open(from(Position(at.0 + 2))).await.unwrap_err().kind(), ErrorKind::Invalid);
    open(from(at.next())).await.unwrap();
}

#[tokio::test]
async fn a_follower_ends_when_the_writer_does() {
    let bed = Bed::new(Config::default()).await;
    let mut follower = follow(&bed, Ack::Written, FollowOptions::of(Streams::All)).await;
    bed.append("s", "last").await;
    bed.slate.close().await.unwrap();
    assert_eq!(take(&mut follower, 1).await, ["last"]);
    let ended = tokio::time::timeout(Duration::from_secs(10), follower.next()).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_call_that_is_given_up_loses_nothing() {
    let bed = Arc::new(Bed::new(Config { ring_bytes: 300, ..Config::default() }).await);
    let mut follower = follow(&bed, Ack::Durable, FollowOptions::of(Streams::All)).await;
    let writer = {
        let bed = Arc::clone(&bed);
        tokio::spawn(async move {
            for at in 0..200 {
                bed.append("s", &at.to_string()).await;
                if at % 10 == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        })
    };
    let mut seen = Vec::new();
    while seen.len() < 200 {
        if let Ok(record) = tokio::time::timeout(Duration::from_micros(300), follower.next()).await {
            seen.push(record.unwrap());
        }
    }
    writer.await.unwrap();
    assert_eq!(texts(&seen), (0..200).map(|at| at.to_string()).collect::<Vec<_>>());
}

async fn feed(bed: &Bed, ring_bytes: u64) -> WalFeed {
    bed.slate.flush().await.unwrap();
    let reader = bed.slate_reader().await;
    let log = reader.get::<Log>("events").unwrap();
    WalFeed::start(reader, &log, Duration::from_millis(5), ring_bytes, &Env::system()).unwrap()
}

#[tokio::test]
async fn another_process_follows_through_the_write_ahead_log() {
    let bed = Bed::new(Config::default()).await;
    bed.append("a", "before").await;
    let feed = feed(&bed, 1 << 20).await;
    let mut tail = feed.follow(FollowOptions::of(Streams::one("a"))).await.unwrap();
    let oldest =
        FollowOptions { control: ControlRecords::Shown, ..FollowOptions::of(Streams::All).from(FollowFrom::Oldest) };
    let mut all = feed.follow(oldest).await.unwrap();
    for at in 0..20 {
        bed.commit(|op| _ = op.append("a", at.to_string()).append("b", "x")).await.unwrap();
        if at == 9 {
            bed.slate.flush().await.unwrap();
            assert_eq!(take(&mut tail, 10).await, (0..10).map(|at| at.to_string()).collect::<Vec<_>>());
        }
    }
    bed.commit(|op| _ = op.barrier("b")).await.unwrap();
    bed.slate.flush().await.unwrap();
    assert_eq!(take(&mut tail, 10).await, (10..20).map(|at| at.to_string()).collect::<Vec<_>>());
    assert_eq!(take(&mut all, 42).await.len(), 42);
    assert!(is_quiet(&mut tail).await && is_quiet(&mut all).await);
    feed.stop().await;
    assert_eq!(tail.next().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_slow_follower_in_another_process_loses_nothing_either() {
    let bed = Bed::new(Config::default()).await;
    bed.append("s", "0").await;
    let feed = feed(&bed, 300).await;
    let mut follower = feed.follow(FollowOptions::of(Streams::All)).await.unwrap();
    for at in 1..100 {
        bed.append("s", &at.to_string()).await;
        if at % 10 == 0 {
            bed.slate.flush().await.unwrap();
        }
    }
    let end = bed.slate.flush().await.unwrap();
    while feed.position() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(take(&mut follower, 99).await, (1..100).map(|at| at.to_string()).collect::<Vec<_>>());
    assert!(feed.stats().followers_behind >= 1);
    feed.stop().await;
}

#[tokio::test]
async fn cursors_that_the_slate_keeps_with_the_log_are_passed_over_by_a_follower_elsewhere() {
    let bed = Bed::new(Config::default()).await;
    let feed = feed(&bed, 1 << 20).await;
    let mut follower = feed.follow(FollowOptions::of(Streams::All)).await.unwrap();
    let log = bed.slate.get::<Log>("events").unwrap();
    let mut tx = bed.slate.begin();
    tx.on(&log).append("s", "with a cursor");
    tx.move_cursor(&log, "edge/e", None, "1".into());
    tx.commit().await.unwrap();
    assert_eq!(take(&mut follower, 1).await, ["with a cursor"]);
    feed.stop().await;
}

/// Reads up to a position, and says what there was.
async fn up_to(follower: &mut Follower, head: Position) -> Vec<String> {
    let read = async {
        let mut records = Vec::new();
        while let Some(batch) = follower.next_batch_before(head.next()).await.unwrap() {
            records.extend(batch.records);
        }
        records
    };
    let records = tokio::time::timeout(Duration::from_secs(10), read).await.expect("it ends");
    assert!(follower.position() > head);
    texts(&records)
}

/// A commit that holds nothing for whoever follows the log.
async fn commit_without_records(bed: &Bed) -> Position {
    let mut tx = bed.slate.begin();
    tx.move_cursor(&bed.log, "edge/e", None, "1".into());
    tx.commit_with(Ack::Written).await.unwrap().position()
}

#[tokio::test]
async fn a_reader_up_to_a_position_ends_whatever_the_last_commits_hold() {
    let bed = Bed::new(Config::default()).await;
    bed.append("a", "1").await;
    bed.append("b", "2").await;
    let mut before = bed.append("a", "3").await;
    bed.append("b", "4").await;
    let head = commit_without_records(&bed).await;
    for (streams, expected) in [(Streams::one("a"), vec!["1", "3"]), (Streams::All, vec!["1", "2", "3", "4"])] {
        let options = FollowOptions::of(streams.clone()).from(FollowFrom::Oldest);
        let mut follower = follow(&bed, Ack::Written, options).await;
        assert_eq!(up_to(&mut follower, head).await, expected, "{streams:?}");
    }
    let options = FollowOptions::of(Streams::one("a")).from(FollowFrom::Oldest);
    let mut follower = follow(&bed, Ack::Written, options).await;
    assert_eq!(follower.next_batch_before(before).await.unwrap().unwrap().records.len(), 1);
    before = follower.position();
    assert_eq!(follower.next_batch_before(before).await.unwrap(), None, "nothing is read that was not asked for");
    assert_eq!(up_to(&mut follower, head).await, ["3"]);
}

#[tokio::test]
async fn what_was_read_from_the_slate_passes_the_commits_behind_it_that_hold_nothing() {
    let bed = Bed::new(Config::default()).await;
    bed.append("a", "1").await;
    let head = commit_without_records(&bed).await;
    let mut follower = follow(&bed, Ack::Written, FollowOptions::default().from(FollowFrom::Oldest)).await;
    let batch = follower.next_batch().await.unwrap();
    assert_eq!((texts(&batch.records), batch.next, follower.position()), (vec!["1".into()], head.next(), head.next()));
}

#[tokio::test]
async fn a_reader_up_to_a_position_waits_until_that_is_durable() {
    let bed = Bed::new(Config::default()).await;
    let mut here = follow(&bed, Ack::Durable, FollowOptions::of(Streams::one("a"))).await;
    let feed = feed(&bed, 1 << 20).await;
    let mut elsewhere = feed.follow(FollowOptions::of(Streams::one("a"))).await.unwrap();
    bed.append("a", "1").await;
    bed.append("b", "2").await;
    let head = commit_without_records(&bed).await;
    let (here, elsewhere) = tokio::join!(up_to(&mut here, head), up_to(&mut elsewhere, head));
    assert_eq!((here, elsewhere), (vec!["1".to_owned()], vec!["1".to_owned()]));
    feed.stop().await;
}
