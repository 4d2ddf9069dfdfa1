//! The log against a list in memory: random appends, groupings, rolls, reopenings and trims; every way of
//! reading must give what the list gives, from the writer, without its memory, and from outside.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use opendata_core::conformance::{self, Subject};
use opendata_core::slate::{Ack, InstanceView, Order};
use opendata_core::{DataSystem, Position, Result, Timestamp};
use opendata_log::{
    Compression, Config, ControlRecords, FollowFrom, FollowOptions, Follower, Hold, Log, NewRecord, Op, Reader, Record,
    ScanOptions, Start, Streams,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::bed::Bed;

const STREAMS: [&str; 6] = ["", "a", "a\0", "ab", "b", "\u{ff}"];

#[derive(Default)]
struct Model {
    records: Vec<(Position, &'static str, String, i64, Timestamp)>,
    trims: BTreeMap<&'static str, Position>,
    trim: Position,
}

impl Model {
    fn trim_of(&self, stream: &str) -> Position {
        self.trims.get(stream).copied().unwrap_or_default().max(self.trim)
    }

    fn kept(&self) -> impl Iterator<Item = &(Position, &'static str, String, i64, Timestamp)> {
        self.records.iter().filter(|(position, stream, ..)| *position >= self.trim_of(stream))
    }
}

fn shown(record: &Record) -> String {
    format!("{} {} {}", record.position, record.stream.escape_ascii(), record.payload.escape_ascii())
}

async fn compare(model: &Model, reader: &Reader, random: &mut StdRng, what: &str) {
    let end = reader.position().0;
    for _ in 0..6 {
        let stream = STREAMS[random.random_range(0..STREAMS.len())];
        let streams = match random.random_range(0..3) {
            0 => Streams::All,
            1 => Streams::one(stream),
            _ => Streams::prefix(stream),
        };
        let order = if random.random() { Order::Ascending } else { Order::Descending };
        let until = random.random_bool(0.5).then(|| Position(random.random_range(0..end + 3)));
        let trim = if let Streams::One(_) = &streams { model.trim_of(stream) } else { model.trim };
        let start = match random.random_range(0..4) {
            0 => Start::Position(Position(random.random_range(trim.0..trim.0.max(end) + 3))),
            1 => Start::Ingested(Timestamp(1_000_000 + random.random_range(0..3000))),
            2 => Start::Happened(Timestamp(random.random_range(0..1000))),
            _ => Start::Oldest,
        };
        let max_records = random.random_bool(0.3).then(|| random.random_range(0..20));
        let control = if random.random() { ControlRecords::Shown } else { ControlRecords::Hidden };
        let options =
            ScanOptions { streams: streams.clone(), start, until, order, max_records, control, max_bytes: None };
        let mut expected: Vec<_> = model
            .kept()
            .filter(|(position, stream, _, event, ingest)| {
                streams.contains(stream.as_bytes())
                    && until.is_none_or(|until| *position < until)
                    && match start {
                        Start::Position(from) => *position >= from,
                        Start::Ingested(time) => *ingest >= time,
                        Start::Happened(time) => *event >= time.0,
                        Start::Oldest => true,
                    }
            })
            .map(|(position, stream, text, ..)| format!("{position} {} {text}", stream.as_bytes().escape_ascii()))
            .collect();
        if order == Order::Descending {
            expected.reverse();
        }
        let unlimited = ScanOptions { max_records: None, ..options.clone() };
        let all = reader.scan_with(unlimited).await.unwrap().collect().await.unwrap();
        let records = reader.scan_with(options.clone()).await.unwrap().collect().await.unwrap();
        let limit = max_records.map_or(all.len(), |limit| usize::try_from(limit).unwrap().min(all.len()));
        assert_eq!(records, all[..limit], "{what} {options:?}");
        let seen: Vec<_> = all.iter().filter(|record| record.control.is_none()).map(shown).collect();
        assert_eq!(seen, expected, "{what} {options:?}");
    }
    for stream in STREAMS {
        let kept: Vec<_> = model.kept().filter(|(_, other, ..)| *other == stream).map(|(at, ..)| *at).collect();
        assert_eq!(reader.count(stream).await.unwrap(), kept.len() as u64, "{what} {stream:?}");
        assert_eq!(reader.head(stream).await.unwrap(), kept.last().copied(), "{what} {stream:?}");
        let from = Position(random.random_range(model.trim_of(stream).0..end.max(model.trim_of(stream).0) + 3));
        let lag = kept.iter().filter(|at| **at >= from).count() as u64;
        assert_eq!(reader.lag(stream, from).await.unwrap(), lag, "{what} {stream:?} {from}");
    }
    let from = Position(random.random_range(model.trim.0..end.max(model.trim.0) + 3));
    let lag = model.records.iter().filter(|(at, ..)| *at >= from).count() as u64;
    assert_eq!(reader.lag_all(from).await.unwrap(), lag, "{what} {from}");
    let mut listed: Vec<_> = model.kept().map(|(_, stream, ..)| *stream).collect();
    listed.sort_unstable();
    listed.dedup();
    let limit = random.random_range(1..4);
    let (mut streams, mut after) = (Vec::new(), None);
    loop {
        let page = reader.streams("", after.as_deref(), limit).await.unwrap();
        streams.extend(page.streams);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(streams, listed, "{what}");
}

async fn write(bed: &Bed, model: &mut Model, random: &mut StdRng, serial: &mut u64) {
    let mut pending = Vec::new();
    for _ in 0..random.random_range(1..5) {
        let mut tx = bed.slate.begin();
        let op = tx.on(&bed.log);
        let mut records = Vec::new();
        for _ in 0..random.random_range(0..20) {
            if random.random_bool(0.1) {
                op.barrier("b");
                records.push(None);
                continue;
            }
            let stream = STREAMS[random.random_range(0..STREAMS.len())];
            let text = format!("{serial}{}", "x".repeat(random.random_range(0..200)));
            *serial += 1;
            let event = random.random_range(0..1000);
            op.append_record(stream, NewRecord::new(text.clone()).event_time(Timestamp(event)));
            records.push(Some((stream, text, event)));
        }
        if random.random_bool(0.1) {
            op.roll();
        }
        if records.is_empty() {
            continue;
        }
        pending.push((tx.submit(Ack::Written).await.unwrap(), records));
        if random.random() {
            tokio::task::yield_now().await;
        }
    }
    for (commit, records) in pending {
        let receipt = *commit.wait().await.unwrap().receipt(&bed.log).unwrap();
        for (index, record) in (0..).zip(records) {
            let Some((stream, text, event)) = record else { continue };
            let at = receipt.position(index).unwrap();
            model.records.push((at, stream, text, event, Timestamp(0)));
        }
    }
    // The time of a group is only known from what it wrote.
    let known = model.records.iter().position(|(.., ingest)| *ingest == Timestamp(0)).unwrap_or(model.records.len());
    for record in &mut model.records[known..] {
        let positions = record.0..=record.0;
        let read = bed.reader().scan(record.1, positions).await.unwrap().next().await.unwrap().unwrap();
        record.4 = read.ingest_time;
    }
}

async fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bed = Bed::new(Config {
        segment_bytes: 64 * 1024,
        segment_streams: 5,
        chunk_bytes: 1024,
        compression: if random.random() { Compression::Lz4 } else { Compression::None },
        ring_bytes: 2000,
        ..Config::default()
    })
    .await;
    let (mut model, mut serial) = (Model::default(), 0);
    for step in 0..12 {
        let what = format!("seed {seed} step {step}");
        write(&bed, &mut model, &mut random, &mut serial).await;
        bed.later(random.random_range(0..400));
        match random.random_range(0..6) {
            0 => bed.reopen().await,
            1 => {
                let before = Position(random.random_range(0..=bed.slate.view().position().0));
                let stream = STREAMS[random.random_range(0..STREAMS.len())];
                bed.commit(|op| _ = op.trim(stream, before)).await.unwrap();
                let trim = model.trims.entry(stream).or_default();
                *trim = before.max(*trim);
            }
            2 if step > 5 => {
                let before = Position(random.random_range(0..=bed.slate.view().position().0 / 2));
                bed.commit(|op| _ = op.trim_all(before)).await.unwrap();
                model.trim = before.max(model.trim);
            }
            3 | 4 => {
                bed.slate.maintain().await.unwrap();
                // Retention by trim drops whole segments; the trim point stays or moves to the first one kept.
                let trim = bed.reader().trim_point().await.unwrap();
                assert_eq!(trim, model.trim, "{what}");
            }
            _ => {}
        }
        compare(&model, &bed.reader(), &mut random, &what).await;
        let outside = bed.outside().await;
        compare(&model, &outside, &mut random, &what).await;
    }
}

#[tokio::test]
async fn every_way_of_reading_agrees_with_a_list_in_memory() {
    let seeds = std::env::var("LOG_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6);
    for seed in 0..seeds {
        run(seed).await;
    }
}

#[tokio::test]
async fn followers_see_what_a_scan_sees() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let bed = Bed::new(Config { ring_bytes: 3000, segment_streams: 5, ..Config::default() }).await;
        let (mut model, mut serial) = (Model::default(), 0);
        write(&bed, &mut model, &mut random, &mut serial).await;
        bed.slate.flush().await.unwrap();
        let mut followers = Vec::new();
        for ack in [Ack::Written, Ack::Durable] {
            for streams in [Streams::All, Streams::one("a"), Streams::prefix("a"), Streams::one("")] {
                let from = if random.random() { FollowFrom::Oldest } else { FollowFrom::Tail };
                let start = if from == FollowFrom::Tail { bed.slate.view().position().next() } else { Position::ZERO };
                let control = if random.random() { ControlRecords::Shown } else { ControlRecords::Hidden };
                let options = FollowOptions { streams: streams.clone(), from, control };
                let follower = Follower::open(bed.slate.watch(ack), &bed.log, options).await.unwrap();
                followers.push((follower, streams, control, start, Vec::new()));
            }
        }
        for _ in 0..10 {
            write(&bed, &mut model, &mut random, &mut serial).await;
            for (follower, .., seen) in &mut followers {
                while random.random_bool(0.4) {
                    match tokio::time::timeout(Duration::from_micros(200), follower.next()).await {
                        Ok(record) => seen.push(record.unwrap()),
                        Err(_) => break,
                    }
                }
            }
        }
        bed.slate.flush().await.unwrap();
        for (mut follower, streams, control, start, mut seen) in followers {
            let options = ScanOptions { streams, control, ..ScanOptions::default() }.within(start..);
            let options =
                if start == Position::ZERO { ScanOptions { start: Start::Oldest, ..options } } else { options };
            let expected = bed.reader().scan_with(options.clone()).await.unwrap().collect().await.unwrap();
            while seen.len() < expected.len() {
                let next = tokio::time::timeout(Duration::from_secs(10), follower.next()).await;
                seen.push(next.unwrap_or_else(|_| panic!("seed {seed} {options:?}")).unwrap());
            }
            assert_eq!(seen, expected, "seed {seed} {options:?}");
            let quiet = tokio::time::timeout(Duration::from_millis(20), follower.next()).await;
            assert!(quiet.is_err(), "seed {seed} {options:?}");
            assert!(follower.position() > bed.slate.view().position(), "seed {seed}");
        }
    }
}

struct LogSubject;

impl Subject for LogSubject {
    type System = Log;

    fn config(&self) -> Config {
        Config { segment_streams: 6, chunk_bytes: 1024, retain_bytes: Some(20_000), ..Config::default() }
    }

    fn operation(&self, random: &mut StdRng, step: u64) -> Op {
        let mut op = Op::default();
        for _ in 0..random.random_range(1..8) {
            let stream = STREAMS[random.random_range(0..STREAMS.len())];
            match random.random_range(0..12) {
                0 => _ = op.barrier("cut"),
                1 => _ = op.trim(stream, Position(random.random_range(0..step + 1))),
                2 => _ = op.set_cursor("c", Position::MAX, Hold::No).remove_cursor("d"),
                3 => _ = op.producer("p", step),
                4 => _ = op.roll(),
                5 => _ = op.append(stream, vec![7; 3000]),
                _ => _ = op.append_record(stream, NewRecord::new(step.to_string()).header("k", stream)),
            }
        }
        op
    }

    fn refused(&self, random: &mut StdRng) -> Op {
        let mut op = Op::default();
        op.append("a", "never seen");
        match random.random_range(0..4) {
            0 => _ = op.expect_position("a", Some(Position::MAX)),
            1 => _ = op.expect_cursor("c", Some(Position::MAX)),
            2 => _ = op.append("b", vec![0; 9 * 1024 * 1024]),
            _ => _ = op.append(vec![b'x'; 5000], "y"),
        }
        op
    }

    async fn dump(&self, view: InstanceView<Log>) -> Result<String> {
        let reader = Log::reader(view);
        let mut text = String::new();
        let options = ScanOptions { control: ControlRecords::Shown, ..ScanOptions::default() };
        for record in reader.scan_with(options).await?.collect().await? {
            let _ = writeln!(text, "{record:?} {:?} {}", record.headers, record.ingest_time);
        }
        for stream in reader.streams("", None, 100).await?.streams {
            let (head, count) = (reader.head(&stream).await?, reader.count(&stream).await?);
            let trim = reader.trim_point_of(&stream).await?;
            let _ = writeln!(text, "{} {head:?} {count} {trim}", stream.escape_ascii());
        }
        let _ = writeln!(text, "{:?}", reader.segments().await?);
        let _ = writeln!(
            text,
            "{:?} {} {}",
            reader.cursors().await?,
            reader.trim_point().await?,
            reader.count_all().await?
        );
        Ok(text)
    }
}

#[tokio::test]
async fn the_contract_of_a_system() {
    for seed in 0..4 {
        conformance::check(&LogSubject, seed).await;
    }
}
