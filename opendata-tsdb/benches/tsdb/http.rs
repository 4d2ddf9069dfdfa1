//! As much of an HTTP client as loopback needs: one request a connection or many, bodies with a length or in chunks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection that is kept.
pub(crate) struct Client {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(300)))?;
        Ok(Self { address: address.to_owned(), stream: BufReader::new(stream) })
    }

    /// Status and body.
    pub(crate) fn send(&mut self, head: &str, headers: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        let host = &self.address;
        let length = body.len();
        let mut request =
            format!("{head} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}\r\n").into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        self.answer()
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn answer(&mut self) -> std::io::Result<(u16, String)> {
        let status = self.line()?.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap_or(0),
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(_) => (),
                None => break,
            }
        }
        let mut body = Vec::new();
        if !chunked {
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
        }
        while chunked {
            let size = usize::from_str_radix(&self.line()?, 16).unwrap_or(0);
            let from = body.len();
            body.resize(from + size, 0);
            self.stream.read_exact(&mut body[from..])?;
            self.line()?;
            chunked = size > 0;
        }
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// The body of a page.
pub(crate) fn get(address: &str, path: &str) -> std::io::Result<String> {
    let (status, body) = Client::connect(address)?.send(&format!("GET {path}"), "", &[])?;
    if status / 100 == 2 { Ok(body) } else { Err(std::io::Error::other(format!("status {status}: {body}"))) }
}

/// Waits until a page is there; false after half a minute.
pub(crate) fn wait_until_ready(address: &str, path: &str) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if get(address, path).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// A text in the query part of an address.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}
