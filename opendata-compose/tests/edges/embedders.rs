//! Embedders outside: a real HTTP endpoint and a real program, which fail in every way that they can.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opendata_compose::edge::spec::{EmbedderSpec, Step};
use opendata_compose::edge::{EdgeSpec, EdgeStatus};
use opendata_compose::vector::Select;
use opendata_compose::{Ack, Store, Vector, vector};
use opendata_core::slate::Slate;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::bed::{caught_up, edge, events, memory, open, settings, start};

const DIMENSIONS: u32 = 4;
/// More than go into one question.
const DOCUMENTS: usize = 100;

/// The vector that a text gets, so that one that went to another document is found.
fn vector_of(text: &str) -> Vec<f32> {
    let number: f32 = text.rsplit(' ').next().unwrap().parse().unwrap();
    vec![number, 1.0, 2.0, 3.0]
}

async fn question(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 16_384];
        let read = stream.read(&mut part).await.unwrap();
        bytes.extend_from_slice(&part[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
        if bytes.len() >= end + 4 + length {
            return (head, serde_json::from_slice(&bytes[end + 4..end + 4 + length]).unwrap());
        }
    }
}

/// What an endpoint does wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Refuses(u16),
    Hangs,
    HangsUp,
    Babbles,
    OneTooFew,
    TooShort,
    NoNumber,
}

/// An endpoint of the `/v1/embeddings` form. It does these things wrong first, one after the other, and then answers; the order of what it answers is
/// not that of what it was asked.
async fn endpoint(faults: &'static [Fault]) -> (String, Arc<Mutex<Vec<(String, Value)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/embeddings", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let all = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (head, asked) = question(&mut stream).await;
            let fault = faults.get(all.lock().unwrap().len()).copied();
            all.lock().unwrap().push((head, asked.clone()));
            let texts: Vec<&str> =
                asked["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
            let mut data: Vec<Value> = texts
                .iter()
                .enumerate()
                .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": vector_of(text)}))
                .rev()
                .collect();
            let mut status = 200;
            match fault {
                Some(Fault::Refuses(code)) => status = code,
                Some(Fault::Hangs) => {
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                        drop(stream);
                    });
                    continue;
                }
                Some(Fault::HangsUp) => continue,
                Some(Fault::OneTooFew) => drop(data.pop()),
                Some(Fault::TooShort) => data[0]["embedding"] = json!([1.0, 2.0]),
                Some(Fault::NoNumber) => data[0]["embedding"] = json!([1.0, null, 2.0, 3.0]),
                Some(Fault::Babbles) | None => {}
            }
            let body = match fault {
                Some(Fault::Babbles) => "<html>no</html>".to_owned(),
                _ => json!({"object": "list", "data": data, "model": asked["model"]}).to_string(),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await;
        }
    });
    (url, seen)
}

fn embedding(with: &EmbedderSpec) -> EdgeSpec {
    let steps = json!([{"to_documents": {"id": "payload.id", "texts": {"body": "payload.body"},
        "vectors": {"v": {"embed": {"text": "payload.body", "with": serde_json::to_value(with).unwrap()}}}}}]);
    let mut spec = edge("docs", "docs").transform(serde_json::from_value::<Vec<Step>>(steps).unwrap());
    spec.retry.attempts = 1000;
    spec
}

/// Carries documents through an embedder, and looks at every vector.
async fn carry(store: &Store, with: &EmbedderSpec) -> EdgeStatus {
    let source = open(store, "source").await.unwrap();
    let schema = r#"{"vectors": {"v": {"dims": 4, "metric": "l2"}}, "texts": {"body": {}}}"#;
    let config = vector::Config::new(serde_json::from_str(schema).unwrap());
    let sink =
        Slate::builder(store, "sink").settings(settings()).system::<Vector>("docs", config).open().await.unwrap();
    let mut tx = source.begin();
    for n in 0..DOCUMENTS {
        tx.on(&events(&source)).append("s", format!(r#"{{"id": "d{n}", "body": "about {n}"}}"#));
    }
    let position = tx.commit_with(Ack::Durable).await.unwrap().position();
    let running = start(&embedding(with), &source, &sink);
    let status = caught_up(&running, position).await;
    running.stop().await;
    let docs = sink.view().get_reader::<Vector>("docs").unwrap();
    for n in 0..DOCUMENTS {
        let found = docs.get_selected(format!("d{n}"), &Select::Everything).await.unwrap().unwrap().document;
        assert_eq!(found.vectors["v"], vector_of(&found.texts["body"]), "d{n}");
    }
    assert_eq!(docs.stats().await.unwrap().documents, DOCUMENTS as u64);
    let counts = status.cursor.as_ref().unwrap().counts;
    assert_eq!((counts.applied, counts.refused, counts.waiting), (DOCUMENTS as u64, 0, 0), "no record is to blame");
    status
}

#[tokio::test]
async fn an_http_embedder_that_fails_in_every_way_is_asked_again_until_it_answers() {
    const FAULTS: &[Fault] = &[
        Fault::Refuses(503),
        Fault::Refuses(429),
        Fault::Refuses(400),
        Fault::Hangs,
        Fault::HangsUp,
        Fault::Babbles,
        Fault::OneTooFew,
        Fault::TooShort,
        Fault::NoNumber,
    ];
    let (url, seen) = endpoint(FAULTS).await;
    let headers = [("authorization".to_owned(), "Bearer ${CARGO_PKG_NAME}".to_owned())].into();
    let with = EmbedderSpec::Http { url, model: "small".into(), dimensions: DIMENSIONS, headers, timeout_ms: 300 };
    let status = carry(&memory(), &with).await;
    assert_eq!(status.totals.retries, FAULTS.len() as u64);
    let seen = seen.lock().unwrap();
    let asked: Vec<usize> =
        seen[FAULTS.len()..].iter().map(|(_, asked)| asked["input"].as_array().unwrap().len()).collect();
    assert_eq!(asked.iter().sum::<usize>(), DOCUMENTS, "each text once, after it answers: {asked:?}");
    assert!(asked.len() > 1 && seen[0].1["model"] == "small");
    assert!(seen[0].0.contains("authorization: bearer opendata-compose"), "{}", seen[0].0);
}

#[tokio::test]
async fn an_endpoint_that_never_answers_leaves_the_edge_at_its_place_and_says_why() {
    const REFUSES: &[Fault] = &[Fault::Refuses(500); 500];
    let (url, _) = endpoint(REFUSES).await;
    let with = EmbedderSpec::Http {
        url,
        model: "m".into(),
        dimensions: DIMENSIONS,
        headers: Default::default(),
        timeout_ms: 300,
    };
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let schema = r#"{"vectors": {"v": {"dims": 4}}, "texts": {"body": {}}}"#;
    let config = vector::Config::new(serde_json::from_str(schema).unwrap());
    let sink =
        Slate::builder(&store, "sink").settings(settings()).system::<Vector>("docs", config).open().await.unwrap();
    let mut tx = source.begin();
    tx.on(&events(&source)).append("s", r#"{"id": "d", "body": "about 1"}"#);
    tx.commit_with(Ack::Durable).await.unwrap();
    let mut spec = embedding(&with);
    spec.retry.attempts = 3;
    spec.retry.rest_ms = 60_000;
    let running = start(&spec, &source, &sink);
    let mut shown = running.watch();
    let rests = |status: &EdgeStatus| status.state.name() == "resting";
    let status = tokio::time::timeout(super::bed::PATIENCE, shown.wait_for(rests)).await.unwrap().unwrap().clone();
    let why = status.state.problem().unwrap();
    assert!(why.contains("status=500"), "{why}");
    assert_eq!(status.cursor.unwrap().counts.records(), 0);
    // It is stopped at once, also while it rests.
    tokio::time::timeout(Duration::from_secs(10), running.stop()).await.unwrap();
}

#[tokio::test]
async fn a_program_that_fails_in_every_way_is_started_again_until_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    // Each start is another fault: it ends at once, says nothing, says nonsense, says too little, says too short; then it answers.
    let script = r#"
        echo run >> "$0"
        case $(wc -l < "$0" | tr -d ' ') in
            1) exit 3 ;;
            2) read -r line; exec sleep 60 ;;
            3) read -r line; echo nonsense ;;
            4) read -r line; echo '[[1,1,2,3]]' ;;
            5) read -r line; echo "$line" | sed 's/"about [0-9]*"/[1,2]/g' ;;
        esac
        while read -r line; do
            echo "$line" | sed -E 's/"about ([0-9]+)"/[\1,1,2,3]/g'
        done"#;
    let command = ["sh", "-c", script, &runs.display().to_string()].map(str::to_owned).to_vec();
    let with = EmbedderSpec::Command { command, dimensions: DIMENSIONS, timeout_ms: 700 };
    let status = carry(&memory(), &with).await;
    assert!(status.totals.retries >= 4, "{status:?}");
    let runs = std::fs::read_to_string(&runs).unwrap().lines().count();
    assert!((5..=7).contains(&runs), "a program that answers is kept, runs={runs}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_and_nothing_is_lost() {
    let store = memory();
    let source = open(&store, "source").await.unwrap();
    let config =
        vector::Config::new(serde_json::from_str(r#"{"vectors": {"v": {"dims": 4}}, "texts": {"body": {}}}"#).unwrap());
    let sink =
        Slate::builder(&store, "sink").settings(settings()).system::<Vector>("docs", config).open().await.unwrap();
    let mut tx = source.begin();
    tx.on(&events(&source)).append("s", r#"{"id": "d", "body": "about 1"}"#);
    tx.commit_with(Ack::Durable).await.unwrap();
    let command = vec!["/no/such/program".to_owned()];
    let running =
        start(&embedding(&EmbedderSpec::Command { command, dimensions: DIMENSIONS, timeout_ms: 500 }), &source, &sink);
    let mut shown = running.watch();
    let tries = |status: &EdgeStatus| status.totals.retries >= 2 && status.state.problem().is_some();
    let status = tokio::time::timeout(super::bed::PATIENCE, shown.wait_for(tries)).await.unwrap().unwrap().clone();
    assert!(status.state.problem().unwrap().contains("cannot be started, command=/no/such/program"));
    assert_eq!(running.stop().await.cursor.unwrap().counts.records(), 0);
}
