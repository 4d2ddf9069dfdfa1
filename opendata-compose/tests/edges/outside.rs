//! Sinks outside the composition: delivered at least once, under ids that do not change.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opendata_compose::edge::spec::{HttpSink, SinkSpec};
use opendata_compose::edge::{EdgeSpec, Letter, Trouble, TroubleKind};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::bed::{PATIENCE, adding, append, caught_up, edge, memory, open, start, untroubled};

/// A request as the endpoint saw it: head and body.
type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// An endpoint that answers by what `status` says of the how-manieth request and its body.
async fn endpoint(status: impl Fn(usize, &[u8]) -> u16 + Send + 'static) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let seen = Seen::default();
    let all = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let (head, length) = loop {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                bytes.extend_from_slice(&part[..read]);
                let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                break (head, end + 4 + length.unwrap_or(0usize));
            };
            while bytes.len() < length {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                bytes.extend_from_slice(&part[..read]);
            }
            let start = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let body = bytes[start..].to_vec();
            let answer = status(all.lock().unwrap().len(), &body);
            all.lock().unwrap().push((head, body));
            let text = format!("HTTP/1.1 {answer} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    (url, seen)
}

fn webhook(url: &str) -> EdgeSpec {
    let mut spec = edge("hook", "log");
    spec.to = SinkSpec { webhook: Some(HttpSink::at(url)), ..SinkSpec::default() };
    spec
}

#[tokio::test]
async fn a_webhook_gets_each_record_under_one_id_however_often_it_fails() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let (url, seen) = endpoint(|request, _| if request % 3 == 0 { 503 } else { 200 }).await;
    let mut spec = webhook(&url);
    spec.batch.max_records = 4;
    let position = append(&source, "s", 0..20).await;
    let running = start(&spec, &source, &source);
    let status = caught_up(&running, position).await;
    assert_eq!(status.cursor.unwrap().counts.applied, 20);
    assert!(status.totals.retries >= 1);
    let (mut ids, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (head, body) in seen.lock().unwrap().iter() {
        assert!(head.contains("idempotency-key: hook/"), "{head}");
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            ids.insert(line["id"].as_str().unwrap().to_owned());
            numbers.insert(line["payload"]["n"].as_u64().unwrap());
        }
    }
    assert_eq!((ids.len(), numbers.len()), (20, 20));
    assert_eq!(
        super::bed::payloads(&store, "source").await.len(),
        20,
        "its cursor lies with the source, beside the log"
    );
}

#[tokio::test]
async fn an_edge_that_rests_says_so_beside_its_cursor_until_it_goes_on() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let up = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&up);
    let (url, _) = endpoint(move |_, _| if answers.load(Ordering::SeqCst) { 200 } else { 503 }).await;
    let mut spec = webhook(&url);
    (spec.retry.attempts, spec.retry.first_ms, spec.retry.max_ms, spec.retry.rest_ms) = (2, 1, 1, 20);
    let position = append(&source, "s", 0..5).await;
    let running = start(&spec, &source, &source);
    let noted = async {
        loop {
            match Trouble::read(&source.view(), "log", "hook").await.unwrap() {
                Some(trouble) => break trouble,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let trouble = tokio::time::timeout(PATIENCE, noted).await.unwrap();
    assert_eq!(trouble.kind, TroubleKind::Resting);
    assert!(trouble.reason.contains("503"), "{}", trouble.reason);
    up.store(true, Ordering::SeqCst);
    caught_up(&running, position).await;
    untroubled(&source, "log", "hook").await;
}

#[tokio::test]
async fn a_record_that_the_endpoint_refuses_becomes_a_letter() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let (url, _) = endpoint(|_, body| if body.windows(7).any(|part| part == b"\"n\":13}") { 422 } else { 200 }).await;
    let position = append(&source, "s", 0..20).await;
    let running = start(&webhook(&url), &source, &source);
    let counts = caught_up(&running, position).await.cursor.unwrap().counts;
    assert_eq!((counts.applied, counts.refused), (19, 1));
    let letters = Letter::list(&source.view(), "log", "hook", None, 9).await.unwrap();
    assert!(letters[0].reason.contains("status=422") && letters[0].payload.as_ref() == b"{\"n\": 13}", "{letters:?}");
}

#[tokio::test]
async fn remote_write_is_compressed_and_says_its_version() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let (url, seen) = endpoint(|_, _| 204).await;
    let mut spec = adding("write");
    spec.to = SinkSpec { remote_write: Some(HttpSink::at(&url)), ..SinkSpec::default() };
    let refused = spec.validate().unwrap_err().to_string();
    assert!(refused.contains("must not be add"), "{refused}");
    let text = serde_json::to_string(&spec.transform).unwrap().replace("\"add\"", "\"sample\"");
    spec.transform = serde_json::from_str(&text).unwrap();
    let position = append(&source, "s", 5..6).await;
    caught_up(&start(&spec, &source, &source), position).await;
    let (head, body) = seen.lock().unwrap()[0].clone();
    assert!(head.contains("x-prometheus-remote-write-version: 0.1.0") && head.contains("content-encoding: snappy"));
    let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    // Series, labels and value as the specification's protocol buffers lay them out.
    assert!(plain.windows(17).any(|part| part == b"\x0a\x08__name__\x12\x05total"), "{plain:?}");
    assert!(plain.windows(9).any(|part| part[0] == 9 && part[1..] == 5.0f64.to_le_bytes()), "{plain:?}");
}
