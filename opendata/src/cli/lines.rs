//! Lines of a file or of standard input, in batches: as many as are there, so that a slow source is written at
//! once and a fast one in large transactions.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::failure::Failure;

/// Bytes of lines that a batch holds at most, if it has more than one line.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Lines that are read ahead.
const READ_AHEAD: usize = 4096;

/// Lines that are being read. Line ends, `\n` or `\r\n`, are taken off.
pub(super) struct Lines {
    lines: mpsc::Receiver<io::Result<Vec<u8>>>,
    early: Option<Vec<u8>>,
    size_bytes: Option<u64>,
}

impl Lines {
    /// Begins to read a file, or standard input.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        match file {
            None => Ok(Self::start(io::stdin(), stdin_size())),
            Some(path) => {
                let failed = |error| Failure::Machine(format!("file cannot be read, file={}", path.display()), error);
                let file = File::open(path).map_err(failed)?;
                let size_bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|known| known.len());
                Ok(Self::start(file, size_bytes))
            }
        }
    }

    /// Reading standard input cannot be given up, so that it is done by a thread that nobody waits for.
    fn start(source: impl Read + Send + 'static, size_bytes: Option<u64>) -> Self {
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        std::thread::spawn(move || {
            let mut source = BufReader::with_capacity(256 * 1024, source);
            loop {
                let mut line = Vec::new();
                let sent = match source.read_until(b'\n', &mut line) {
                    Ok(0) => return,
                    Ok(_) => sender.blocking_send(Ok(line)),
                    Err(error) => sender.blocking_send(Err(error)),
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        Self { lines, early: None, size_bytes }
    }

    /// How many bytes there are in all, if that is known.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    /// The next lines: at least one, waiting for it, and as many more as are there. None at the end.
    pub(super) async fn batch(&mut self, limit: usize) -> Result<Option<Batch>, Failure> {
        let first = match self.early.take() {
            Some(line) => line,
            None => match self.lines.recv().await {
                Some(line) => line.map_err(failed)?,
                None => return Ok(None),
            },
        };
        let mut batch = Batch::default();
        batch.push(first);
        while batch.lines.len() < limit {
            let Ok(line) = self.lines.try_recv() else { break };
            let line = line.map_err(failed)?;
            if batch.read_bytes + line.len() > BATCH_BYTES {
                self.early = Some(line);
                break;
            }
            batch.push(line);
        }
        Ok(Some(batch))
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::Machine("input cannot be read".to_owned(), error)
}

/// Some lines.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<Bytes>,
    /// How many bytes were read for them, line ends included.
    pub(super) read_bytes: usize,
}

impl Batch {
    fn push(&mut self, mut line: Vec<u8>) {
        self.read_bytes += line.len();
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        self.lines.push(line.into());
    }
}

#[cfg(unix)]
fn stdin_size() -> Option<u64> {
    use std::os::fd::AsFd;
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file).map(|known| known.len())
}

#[cfg(not(unix))]
fn stdin_size() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests;
