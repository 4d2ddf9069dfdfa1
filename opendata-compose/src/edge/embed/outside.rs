//! Embedders outside this process: a program, or an HTTP endpoint.
//!
//! What they answer need not be the same each time, so an edge with one is exactly-once in its effect, and cannot be recomputed.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use opendata_core::{Error, Result};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use super::Embedder;
use crate::edge::http::Endpoint;

/// Asks an endpoint of the `/v1/embeddings` form.
pub(super) struct Http {
    endpoint: Endpoint,
    model: String,
    dimensions: u32,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: usize,
    embedding: Vec<f32>,
}

impl Http {
    pub(super) fn new(
        url: &str,
        headers: &BTreeMap<String, String>,
        timeout_ms: u64,
        model: &str,
        dimensions: u32,
    ) -> Result<Self> {
        Ok(Self { endpoint: Endpoint::new(url, headers, timeout_ms)?, model: model.to_owned(), dimensions })
    }
}

#[async_trait]
impl Embedder for Http {
    fn dimensions(&self) -> u32 {
        self.dimensions
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let body = json!({"model": self.model, "input": texts}).to_string();
        let headers = [("content-type", "application/json".to_owned())];
        // A refusal is no fault of one record that is known: the whole batch is tried again, and the edge shows it.
        let answer = self.endpoint.post(&headers, body.into()).await;
        let answer = answer.map_err(|error| error.with_kind(opendata_core::ErrorKind::Unavailable))?;
        let mut answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| Error::unavailable("the answer of the embedder cannot be read").with_source(error))?;
        answer.data.sort_by_key(|embedding| embedding.index);
        let vectors = answer.data.into_iter().map(|embedding| embedding.embedding).collect();
        check(vectors, texts.len(), self.dimensions)
    }
}

/// Asks a program: a JSON list of texts a line, answered by a JSON list of vectors a line.
pub(super) struct Program {
    command: Vec<String>,
    dimensions: u32,
    patience: Duration,
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Killed when dropped.
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(super) fn new(command: &[String], dimensions: u32, timeout_ms: u64) -> Self {
        let patience = Duration::from_millis(timeout_ms);
        Self { command: command.to_vec(), dimensions, patience, running: Mutex::new(None) }
    }

    fn start(&self) -> Result<Running> {
        let failed =
            || Error::unavailable(format!("the embedder cannot be started, command={}", self.command.join(" ")));
        let (program, arguments) = self.command.split_first().ok_or_else(failed)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed().with_source(error))?;
        let (stdin, stdout) = (child.stdin.take().ok_or_else(failed)?, child.stdout.take().ok_or_else(failed)?);
        Ok(Running { _child: child, stdin, lines: BufReader::new(stdout).lines() })
    }
}

impl Running {
    async fn ask(&mut self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let ended = || Error::unavailable("the embedder has ended");
        let mut line = json!(texts).to_string();
        line.push('\n');
        self.stdin.write_all(line.as_bytes()).await.map_err(|error| ended().with_source(error))?;
        self.stdin.flush().await.map_err(|error| ended().with_source(error))?;
        let answer = self.lines.next_line().await.map_err(|error| ended().with_source(error))?.ok_or_else(ended)?;
        serde_json::from_str(&answer)
            .map_err(|error| Error::unavailable("the answer of the embedder cannot be read").with_source(error))
    }
}

#[async_trait]
impl Embedder for Program {
    fn dimensions(&self) -> u32 {
        self.dimensions
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        // Held while it answers: one question at a time. A program that failed, or was given up on, is started anew.
        let mut place = self.running.lock().await;
        let mut running = match place.take() {
            Some(running) => running,
            None => self.start()?,
        };
        let asked = tokio::time::timeout(self.patience, running.ask(texts)).await;
        let vectors = asked.map_err(|_| Error::unavailable("the embedder takes too long"))??;
        // One that answered something else may be a line ahead or behind from here on.
        let vectors = check(vectors, texts.len(), self.dimensions)?;
        *place = Some(running);
        Ok(vectors)
    }
}

fn check(vectors: Vec<Vec<f32>>, texts: usize, dimensions: u32) -> Result<Vec<Vec<f32>>> {
    if vectors.len() != texts {
        return Err(Error::unavailable(format!("the embedder gave {} vectors for {texts} texts", vectors.len())));
    }
    let fits = |vector: &Vec<f32>| vector.len() == dimensions as usize && vector.iter().all(|x| x.is_finite());
    match vectors.iter().find(|vector| !fits(vector)) {
        Some(vector) => Err(Error::unavailable(format!(
            "the embedder gave a vector of another length or without a value, length={}, wanted={dimensions}",
            vector.len()
        ))),
        None => Ok(vectors),
    }
}
