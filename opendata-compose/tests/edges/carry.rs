//! Records are carried: all of them, once, in order, from the same process or another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use opendata_compose::edge::spec::{Digest, ShardSpec, Step, StreamsSpec};
use opendata_compose::edge::transform::{Kind, Output, Outputs, Transform, each};
use opendata_compose::edge::{Cursor, Edge, EdgeParts, SourceAt};
use opendata_compose::log::{NewRecord, Record, Streams};
use opendata_compose::{Log, Timestamp};
use opendata_core::{Error, Position, Result};

use super::bed::{PATIENCE, adding, append, caught_up, counter, edge, events, memory, open, payloads, start, start_at};

#[tokio::test]
async fn a_log_is_copied_with_everything_that_is_in_its_records() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let mut tx = source.begin();
    let record = NewRecord::new("x").header("h", "v").event_time(Timestamp(77)).schema_id(5);
    let before = tx.on(&events(&source)).append_record("a", record).append("b", "y").records();
    let position = tx.commit().await.unwrap().position();
    let running = start(&edge("copy", "log"), &source, &sink);
    let status = caught_up(&running, position).await;
    let counts = status.cursor.unwrap().counts;
    assert_eq!((counts.applied, counts.records()), (before as u64, 2));
    let records = sink.view().get_reader::<Log>("log").unwrap().scan_all(..).await.unwrap().collect().await.unwrap();
    assert_eq!(
        (records[0].payload.as_ref(), records[0].event_time, records[0].schema_id),
        (&b"x"[..], Timestamp(77), 5)
    );
    assert_eq!((records[0].headers.get("h"), records[0].stream.as_ref()), (Some(&b"v"[..]), &b"a"[..]));
    assert_eq!(records[1].stream.as_ref(), b"b");
    running.stop().await;
}

#[tokio::test]
async fn an_edge_goes_on_where_it_was_stopped() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    for turn in 0..4 {
        let position = append(&source, "s", turn * 50..turn * 50 + 50).await;
        let running = start(&adding("add"), &source, &sink);
        caught_up(&running, position).await;
        running.stop().await;
    }
    assert_eq!((counter(&sink, "records").await, counter(&sink, "total").await), (200.0, (0..200).sum::<u64>() as f64));
    let cursor = Cursor::read(&sink.view(), "tsdb", "add").await.unwrap().unwrap();
    assert_eq!(cursor.counts.applied, 200);
    sink.close().await.unwrap();
    let sink = open(&store, "sink").await.unwrap();
    let running = start(&adding("add"), &source, &sink);
    let position = append(&source, "s", 200..201).await;
    caught_up(&running, position).await;
    assert_eq!(counter(&sink, "records").await, 201.0, "also after the sink was opened again");
}

#[tokio::test]
async fn a_source_in_another_process_is_read_by_its_path() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    append(&source, "s", 0..100).await;
    let running = start_at(&edge("copy", "log"), SourceAt::Path(store.clone(), "source".to_owned()), &sink);
    let position = append(&source, "s", 100..300).await;
    caught_up(&running, position).await;
    let position = append(&source, "s", 300..310).await;
    caught_up(&running, position).await;
    let expected: Vec<String> = (0..310).map(|n| format!("{{\"n\": {n}}}")).collect();
    assert_eq!(payloads(&store, "sink").await, expected);
    running.stop().await;
}

#[tokio::test]
async fn a_source_that_is_not_there_yet_is_waited_for() {
    let store = memory();
    let sink = open(&store, "sink").await.unwrap();
    let running = start_at(&edge("copy", "log"), SourceAt::Path(store.clone(), "source".to_owned()), &sink);
    let mut watch = running.watch();
    let waiting = watch.wait_for(|status| status.state.problem().is_some());
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    let source = open(&store, "source").await.unwrap();
    let position = append(&source, "s", 0..3).await;
    caught_up(&running, position).await;
    assert_eq!(payloads(&store, "sink").await.len(), 3);
}

#[tokio::test]
async fn shards_of_the_streams_are_all_of_them_and_each_once() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    for n in 0..60 {
        append(&source, &format!("s/{n}"), n..n + 1).await;
    }
    let position = append(&source, "other", 99..100).await;
    let mut all = Vec::new();
    for index in 0..3 {
        let path = format!("sink{index}");
        let sink = open(&store, &path).await.unwrap();
        let mut spec = edge("copy", "log");
        spec.from.streams = StreamsSpec::Shard(ShardSpec { index, of: 3, prefix: "s/".to_owned() });
        let running = start(&spec, &source, &sink);
        let status = caught_up(&running, position).await;
        assert!(status.cursor.unwrap().counts.applied > 5, "a shard is empty");
        let live = append(&source, &format!("s/{}", 100 + index), 100..101).await;
        caught_up(&running, live).await;
        let streams = Streams::shard("s/", index, 3);
        let records =
            sink.view().get_reader::<Log>("log").unwrap().scan_all(..).await.unwrap().collect().await.unwrap();
        assert!(records.iter().all(|record| streams.contains(&record.stream)));
        all.extend(records.iter().map(|record| record.stream.clone()).filter(|stream| stream.len() < 5));
        running.stop().await;
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 60);
}

#[tokio::test]
async fn steps_can_be_written_in_rust() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let upper = each("upper/1", Kind::Records, |record, out| {
        let text = std::str::from_utf8(&record.payload).map_err(|error| error.to_string())?;
        out.push(Output::Append(record.stream.clone(), NewRecord::new(text.to_uppercase())));
        Ok(())
    });
    let mut parts = EdgeParts::new(edge("upper", "log"), SourceAt::Open(source.clone()), sink.clone());
    parts.transform = Some(Arc::new(upper));
    let running = Edge::start(parts).unwrap();
    let position = append(&source, "s", 7..8).await;
    caught_up(&running, position).await;
    assert_eq!(payloads(&store, "sink").await, ["{\"N\": 7}"]);
}

/// Copies records, and fails once at one of them. Keeps how often it was asked for each.
struct FailsOnce {
    at: &'static [u8],
    asked: Mutex<BTreeMap<Position, usize>>,
}

#[async_trait]
impl Transform for FailsOnce {
    fn kind(&self) -> Kind {
        Kind::Records
    }

    fn digest(&self) -> Digest {
        Digest::of("fails once")
    }

    async fn apply(&self, records: &[Record], outputs: &mut Outputs) -> Result<()> {
        let mut asked = self.asked.lock().unwrap();
        records.iter().for_each(|record| *asked.entry(record.position).or_default() += 1);
        if records.iter().any(|record| record.payload.as_ref() == self.at && asked[&record.position] == 1) {
            return Err(Error::unavailable("the model sleeps"));
        }
        for (index, record) in records.iter().enumerate() {
            outputs.push(index, Output::Append(record.stream.clone(), NewRecord::new(record.payload.clone())));
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_was_made_before_a_transform_failed_is_made_once() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let mut tx = source.begin();
    for n in 0..4000 {
        tx.on(&events(&source)).append("s", n.to_string());
    }
    let position = tx.commit().await.unwrap().position();
    let transform = Arc::new(FailsOnce { at: b"2500", asked: Mutex::default() });
    let mut parts = EdgeParts::new(edge("copy", "log"), SourceAt::Open(source.clone()), sink.clone());
    parts.transform = Some(transform.clone());
    let running = Edge::start(parts).unwrap();
    caught_up(&running, position).await;
    running.stop().await;
    let expected: Vec<String> = (0..4000).map(|n| n.to_string()).collect();
    assert!(payloads(&store, "sink").await == expected, "each once, in order");
    let asked: Vec<usize> = transform.asked.lock().unwrap().values().copied().collect();
    let twice = asked.iter().filter(|asked| **asked == 2).count();
    assert!(asked[..2000].iter().all(|asked| *asked == 1) && (1..=1500).contains(&twice), "{twice} twice");
}

#[tokio::test]
async fn the_cursor_passes_over_records_of_others_and_over_filtered_ones() {
    let store = memory();
    let (source, sink) = (open(&store, "source").await.unwrap(), open(&store, "sink").await.unwrap());
    let mut spec = edge("some", "log").transform([Step::Filter("payload.n % 2 == 0".to_owned())]);
    spec.from.streams = StreamsSpec::One("mine".to_owned());
    let running = start(&spec, &source, &sink);
    append(&source, "mine", 0..5).await;
    let last = append(&source, "others", 5..40).await;
    let mut watch = running.watch();
    let moved = watch.wait_for(|status| status.cursor.as_ref().is_some_and(|cursor| cursor.next > last));
    let status =
        tokio::time::timeout(PATIENCE, moved).await.expect("the cursor holds what is not its").unwrap().clone();
    let counts = status.cursor.unwrap().counts;
    assert_eq!((counts.applied, counts.filtered), (3, 2));
}
