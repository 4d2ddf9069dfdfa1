//! What flows into time series by itself: OpenTelemetry, scrapes, rules; with real clients where they can be installed.

mod otlp;
pub(super) mod packages;
mod real;
mod rules;
mod scrape;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::harness::{Place, Server};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a composition whose instance `usage` has these settings, and the server this section.
fn place(usage: &str, server: &str) -> Place {
    let place = Place::empty();
    let text = format!(
        "version: 1\nstore: file:./data\nnodes:\n  main:\n    instances:\n      usage:\n        system: tsdb\n{usage}\n{server}\n"
    );
    std::fs::write(place.path().join("opendata.yaml"), text).unwrap();
    place
}

/// The series of an instant query: `labels value`, with the labels in JSON.
fn query(server: &Server, query: &str) -> Vec<String> {
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    let answer = server.json("GET", &format!("/api/v1/query?query={query}"), "");
    let result = answer["data"]["result"].as_array().unwrap();
    let mut found: Vec<_> = result
        .iter()
        .map(|series| format!("{} {}", series["metric"], series["value"][1].as_str().unwrap_or("a histogram")))
        .collect();
    found.sort();
    found
}

/// Waits until something holds.
#[track_caller]
fn until<T: std::fmt::Debug>(mut look: impl FnMut() -> T, holds: impl Fn(&T) -> bool) -> T {
    let begun = Instant::now();
    loop {
        let found = look();
        if holds(&found) {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long, found {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a query gives these series.
#[track_caller]
fn until_query(server: &Server, text: &str, expected: &[&str]) {
    until(|| query(server, text), |found| found == expected);
}

/// The smallest HTTP server: answers every request alike, and keeps what was sent.
struct Peer {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    answer: Arc<Mutex<String>>,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Peer {
    fn new(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Self {
            address: listener.local_addr().unwrap(),
            status: Arc::new(AtomicU16::new(200)),
            answer: Arc::new(Mutex::new(answer.to_owned())),
            requests: Arc::default(),
        };
        let (status, answer, requests) = (peer.status.clone(), peer.answer.clone(), peer.requests.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = BufReader::new(connection.unwrap());
                let (mut head, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if connection.read_line(&mut line).unwrap_or(0) <= 2 {
                        break;
                    }
                    if let Some(count) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = count.trim().parse().unwrap();
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                if connection.read_exact(&mut body).is_err() {
                    continue;
                }
                requests.lock().unwrap().push((head, String::from_utf8_lossy(&body).into_owned()));
                let answer = answer.lock().unwrap().clone();
                let status = status.load(Ordering::Relaxed);
                let _ = write!(
                    connection.get_mut(),
                    "HTTP/1.1 {status} X\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
                    answer.len()
                );
            }
        });
        peer
    }

    fn say(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    fn fail_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// The bodies of all requests, as JSON.
    fn bodies(&self) -> Vec<Value> {
        self.requests.lock().unwrap().iter().filter_map(|(_, body)| serde_json::from_str(body).ok()).collect()
    }
}
