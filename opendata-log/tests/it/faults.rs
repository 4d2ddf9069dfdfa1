//! What goes wrong, and what is left afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use opendata_core::env::Env;
use opendata_core::key::{KeyRange, SegmentId, SystemId, Tag};
use opendata_core::slate::{Access, Ack, ApplyContext, At, InstanceView, Order, PrepareContext, Slate, SlateReader};
use opendata_core::store::Store;
use opendata_core::testing::{Fault, FaultStore, Method};
use opendata_core::{DataSystem, ErrorKind, Operation, Position, Result, SystemWriter, Timestamp};
use opendata_log::{Config, FollowOptions, Follower, Log, ScanOptions, Start, Streams};

use crate::bed::{Bed, read, read_with, texts};

/// Writes any row into a log, which a log never would.
struct Vandal;

#[derive(Default)]
struct Damage(Vec<(SegmentId, u8, Bytes, Bytes)>);

impl Operation for Damage {
    fn size_bytes(&self) -> usize {
        1
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct VandalWriter;

#[async_trait]
impl SystemWriter for VandalWriter {
    type Op = Damage;
    type Plan = Damage;
    type Receipt = ();
    type State = ();

    async fn prepare(&mut self, op: Damage, _cx: &PrepareContext<'_>) -> Result<Damage> {
        Ok(op)
    }

    fn apply(&mut self, plan: Damage, cx: &mut ApplyContext<'_>) {
        for (segment, tag, fields, value) in plan.0 {
            cx.put(cx.prefix(segment).key(Tag(tag)).raw(&fields).build(), value);
        }
    }

    fn publish(&mut self, _position: Position) -> Arc<()> {
        Arc::new(())
    }
}

impl DataSystem for Vandal {
    const ID: SystemId = SystemId::LOG;
    const NAME: &'static str = "log";
    const VERSION: u8 = 1;
    type Config = Config;
    type Writer = VandalWriter;
    type Reader = ();

    fn validate(_config: &Config) -> Result<()> {
        Ok(())
    }

    async fn recover(_view: InstanceView<Self>, _env: Env) -> Result<VandalWriter> {
        Ok(VandalWriter)
    }

    fn reader(_view: InstanceView<Self>) {}

    fn merge(_key: &[u8], _existing: Option<&[u8]>, _operands: &[Bytes]) -> Result<Bytes> {
        Ok(Bytes::new())
    }

    fn filter_prefix_len(key: &[u8]) -> Option<usize> {
        Log::filter_prefix_len(key)
    }

    fn describe(_key: &[u8], _value: &[u8]) -> Result<String> {
        Ok(String::new())
    }
}

/// Puts a row into the log of a closed slate.
async fn damage(store: &Store, segment: SegmentId, tag: u8, fields: &[u8], value: &[u8]) {
    let slate = Slate::builder(store, "slate").system::<Vandal>("events", Config::default()).open().await.unwrap();
    let log = slate.get::<Vandal>("events").unwrap();
    let mut tx = slate.begin();
    let row = (segment, tag, Bytes::copy_from_slice(fields), Bytes::copy_from_slice(value));
    tx.on(&log).0.push(row);
    tx.commit().await.unwrap();
    slate.close().await.unwrap();
}

/// A chunk key's fields: the stream, its end, and the last position.
fn chunk_fields(stream: &str, last: Position) -> Vec<u8> {
    [stream.as_bytes(), &[0, 0], &last.0.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_damaged_chunk_is_an_error_that_names_its_key() {
    let bed = Bed::new(Config::default()).await;
    bed.append("s", "1").await;
    let at = bed.append("s", "2").await;
    bed.slate.close().await.unwrap();
    for value in [&b""[..], b"\x01", b"\x01\x40\x01\x00\x00\x05abc", b"\x07", b"\x01\x40\xff\xff\xff\xff\x0f"] {
        damage(&bed.store, SegmentId(1), 0x10, &chunk_fields("s", at), value).await;
        let reader = bed_reader(&bed.store).await;
        let log = reader.view().get_reader::<Log>("events").unwrap();
        let mut scan = log.scan("s", ..).await.unwrap();
        assert_eq!(scan.next().await.unwrap().unwrap().payload, "1");
        let error = scan.next().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error}");
        let key = opendata_core::Hex(&chunk_fields("s", at)).to_string();
        assert!(error.message().ends_with(&key), "{error}");
        for order in [Order::Ascending, Order::Descending] {
            let options = ScanOptions { order, ..ScanOptions::default() };
            let all = async { log.scan_with(options).await?.collect().await };
            assert_eq!(all.await.unwrap_err().kind(), error.kind());
        }
    }
}

#[tokio::test]
async fn damaged_rows_of_the_control_segment_are_errors_on_opening() {
    for (tag, fields) in [(0x10, &[0, 0, 0, 1][..]), (0x12, &[]), (0x13, b"cursor")] {
        let bed = Bed::new(Config::default()).await;
        bed.append("s", "1").await;
        bed.slate.close().await.unwrap();
        damage(&bed.store, SegmentId::CONTROL, tag, fields, b"\x01").await;
        let opened = Slate::builder(&bed.store, "slate").system::<Log>("events", Config::default()).open().await;
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("key=03"), "{error}");
    }
}

async fn bed_reader(store: &Store) -> SlateReader {
    SlateReader::builder(store, "slate").register::<Log>().open(At::Latest).await.unwrap()
}

#[tokio::test]
async fn a_failed_flush_acknowledges_nothing_and_the_log_goes_on_after_reopening() {
    let faults = std::sync::OnceLock::new();
    let store = Store::from_url("memory:").unwrap().map(|inner| {
        let store = FaultStore::new(inner);
        let _ = faults.set(store.clone());
        Arc::new(store)
    });
    let mut bed = Bed::on(store, Config::default()).await;
    let faults = faults.get().unwrap();
    bed.append("s", "durable").await;
    bed.slate.flush().await.unwrap();
    let views = bed.slate.watch(Ack::Durable);
    let mut follower = Follower::open(views, &bed.log, FollowOptions::of(Streams::All)).await.unwrap();
    faults.set_rule(|method, path| (method == Method::Put && path.as_ref().contains("wal")).then_some(Fault::Error));
    let mut tx = bed.slate.begin();
    tx.on(&bed.log).append("s", "in doubt");
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Closed | ErrorKind::Fenced), "{error}");
    let mut tx = bed.slate.begin();
    tx.on(&bed.log).append("s", "too late");
    tx.commit().await.unwrap_err();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), follower.next()).await.unwrap();
    assert!(ended.is_err(), "nothing that is in doubt is shown as durable");
    faults.clear_rule();
    let _ = bed.slate.close().await;
    bed = Bed::on(bed.store.clone(), Config::default()).await;
    assert_eq!(read(bed.reader().scan("s", ..).await).await[0], "durable");
    bed.append("s", "goes on").await;
    let after = read(bed.outside().await.scan("s", ..).await).await;
    assert_eq!(after.last().unwrap(), "goes on");
    assert!(!after.contains(&"too late".to_owned()), "{after:?}");
}

#[tokio::test]
async fn a_clock_that_goes_back_changes_no_order() {
    let mut bed = Bed::new(Config::default()).await;
    bed.append("s", "0").await;
    for (at, clock) in [(1, 5_000_000), (2, 10), (3, 20), (4, 5_000_100)] {
        bed.clock.set(Timestamp(clock));
        bed.append("s", &at.to_string()).await;
        if at == 2 {
            bed.reopen().await;
        }
    }
    let records = bed.reader().scan("s", ..).await.unwrap().collect().await.unwrap();
    assert!(records.is_sorted_by_key(|record| record.ingest_time), "{records:?}");
    assert_eq!(texts(&records), ["0", "1", "2", "3", "4"]);
    let from = |time| ScanOptions { start: Start::Ingested(Timestamp(time)), ..ScanOptions::default() };
    assert_eq!(read_with(&bed.reader(), from(5_000_000)).await, ["1", "2", "3", "4"]);
    assert_eq!(read_with(&bed.reader(), from(5_000_001)).await, ["4"]);
}

#[tokio::test]
async fn every_row_can_be_said_in_words() {
    let bed = Bed::new(Config::default()).await;
    bed.commit(|op| {
        op.append("s", "1").barrier("cut").producer("p", 1).set_cursor("c", Position(1), opendata_log::Hold::No);
    })
    .await
    .unwrap();
    bed.commit(|op| _ = op.roll().append("s", "2".repeat(2000)).trim("s", Position(1)).trim_all(Position(1)))
        .await
        .unwrap();
    bed.slate.maintain().await.unwrap();
    bed.commit(|op| _ = op.trim("s", Position::MAX)).await.unwrap();
    let view = bed.slate.view();
    let all = KeyRange { start: std::ops::Bound::Unbounded, end: std::ops::Bound::Unbounded };
    let mut rows = view.scan(all, Access::Bulk, Order::Ascending).await.unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    while let Some(row) = rows.next().await.unwrap() {
        if row.key[0] == 0x03 && (row.key[7] != 0 || row.key[8] >= 0x10) {
            let text = Log::describe(&row.key, &row.value).unwrap();
            kinds.insert(text.split([' ', '{', ':']).next().unwrap_or_default().to_owned());
            assert!(Log::describe(&row.key, &[]).is_err() || row.key[8] == 0x15);
        }
    }
    let expected = ["Segment", "chunk", "control", "cursor", "group", "page", "producer", "time", "to", "trim"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
}
