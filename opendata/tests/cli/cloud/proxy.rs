//! A proxy between a process and its object store that does what networks and busy stores do: it is late, breaks off, answers 5xx before or after the
//! request had its effect, and lets bodies trickle. One seed decides what becomes of each request.
//!
//! It understands as much HTTP/1.1 as it needs: a head, a body of a known length, and one request a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a side may say nothing.
const SILENCE: Duration = Duration::from_secs(20);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    /// It takes this long until it is passed on.
    Late(Duration),
    /// 503, and the store never saw it.
    Refused,
    /// 500, though the store did it.
    DoneAndDenied,
    /// The connection breaks before the store sees it.
    Broken,
    /// The connection breaks in the middle of the answer.
    BrokenAnswer,
    /// The answer comes in small pieces.
    Trickled,
}

/// How many requests met which fate.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) passed: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) denied: AtomicU64,
    pub(super) broken: AtomicU64,
    pub(super) trickled: AtomicU64,
}

struct Shared {
    upstream: String,
    dice: Mutex<u64>,
    stop: AtomicBool,
    counts: Counts,
}

/// A running proxy. Dropping it ends it.
pub(super) struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one in front of a server, given as `host:port`.
    pub(super) fn start(upstream: &str, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            dice: Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            stop: AtomicBool::new(false),
            counts: Counts::default(),
        });
        let mine = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if mine.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&mine)) else { continue };
                // A connection that breaks is what this is for.
                std::thread::spawn(move || drop(serve(&shared, client)));
            }
        });
        Ok(Self { shared, port, accepting: Some(accepting) })
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Whoever waits for a connection gets one.
        let _ = TcpStream::connect(self.address());
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn fate(&self) -> Fate {
        let mut dice = self.dice.lock().unwrap();
        // xorshift64 (Marsaglia 2003).
        *dice ^= *dice << 13;
        *dice ^= *dice >> 7;
        *dice ^= *dice << 17;
        let (number, more) = (*dice % 200, *dice >> 40);
        match number {
            0..4 => Fate::Refused,
            4..6 => Fate::DoneAndDenied,
            6..8 => Fate::Broken,
            8..10 => Fate::BrokenAnswer,
            10..18 => Fate::Late(Duration::from_millis(20 + more % 300)),
            18..24 => Fate::Trickled,
            _ => Fate::Passed,
        }
    }

    fn count(&self, fate: Fate) {
        let counts = &self.counts;
        let counter = match fate {
            Fate::Passed => &counts.passed,
            Fate::Late(_) => &counts.late,
            Fate::Refused => &counts.refused,
            Fate::DoneAndDenied => &counts.denied,
            Fate::Broken | Fate::BrokenAnswer => &counts.broken,
            Fate::Trickled => &counts.trickled,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Reads a head: its lines, with the line ends.
fn head(from: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            return Ok(lines);
        }
        lines.push(line);
    }
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    let named = |line: &&String| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
    head.iter().find(named).and_then(|line| Some(line.split_once(':')?.1.trim()))
}

/// The same head for a connection that ends with this exchange.
fn last(head: &[String]) -> Vec<u8> {
    let kept = head.iter().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut bytes: Vec<u8> = kept.flat_map(|line| line.bytes()).collect();
    bytes.extend_from_slice(b"Connection: close\r\n\r\n");
    bytes
}

fn serve(shared: &Shared, mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(SILENCE))?;
    let mut from = BufReader::new(client.try_clone()?);
    let asked = head(&mut from)?;
    if header(&asked, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let length = header(&asked, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let fate = shared.fate();
    shared.count(fate);
    match fate {
        Fate::Late(time) => std::thread::sleep(time),
        Fate::Broken => return client.shutdown(Shutdown::Both),
        Fate::Refused => return answer(&mut client, "503 Slow Down"),
        _ => {}
    }
    let mut store = TcpStream::connect(&shared.upstream)?;
    store.set_read_timeout(Some(SILENCE))?;
    store.write_all(&last(&asked))?;
    store.write_all(&body)?;
    let mut from = BufReader::new(store);
    let told = head(&mut from)?;
    let mut told = last(&told);
    from.read_to_end(&mut told)?;
    match fate {
        Fate::DoneAndDenied => answer(&mut client, "500 Internal Server Error"),
        Fate::BrokenAnswer => {
            client.write_all(told.get(..told.len() / 2).unwrap_or_default())?;
            client.shutdown(Shutdown::Both)
        }
        Fate::Trickled => {
            for part in told.chunks(told.len().div_ceil(8).max(1)) {
                client.write_all(part)?;
                client.flush()?;
                std::thread::sleep(Duration::from_millis(15));
            }
            client.shutdown(Shutdown::Write)
        }
        _ => {
            client.write_all(&told)?;
            client.shutdown(Shutdown::Write)
        }
    }
}

fn answer(client: &mut TcpStream, status: &str) -> io::Result<()> {
    client.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())?;
    client.shutdown(Shutdown::Write)
}
