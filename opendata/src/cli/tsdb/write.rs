//! `opendata tsdb write`.

use std::collections::VecDeque;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use opendata_compose::{InternalComposite, Tsdb};
use opendata_core::slate::{Ack, Handle, Pending};
use opendata_core::{Error, Position, Result};
use serde::Serialize;

use super::Context;
use crate::api::commit::{CommitOut, ReceiptOut};
use crate::cli::context::instance_in;
use crate::cli::lines::Lines;
use crate::client::Client;
use crate::exposition;
use crate::failure::Failure;
use crate::times;

/// Transactions that are on their way at the same time.
const IN_FLIGHT: usize = 8;

const EXAMPLES: &str = "\
Examples:
  echo 'up{job=\"api\"} 1' | opendata tsdb write
  echo 'tokens_total{tenant=\"7\"} 42' | opendata tsdb write --add
  opendata tsdb write samples.txt --progress
  curl -s http://localhost:9100/metrics | opendata tsdb write

A line is NAME{LABEL=\"VALUE\", ..} VALUE [MILLISECONDS], as Prometheus exposes it; comments and empty lines are passed over.";

/// Write samples, durably: lines of a file or of standard input.
///
/// Of two samples with one series and time the later wins, so that writing a file again changes nothing (but not with
/// --add). A wrong line ends the command with its number; what was written before it stays.
///
/// This command is the slate's writer while it runs, which ends a running `opendata run`: use --server beside one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Write {
    /// The file of samples; standard input, if left out.
    samples: Option<PathBuf>,
    /// Which time series database, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// Values are amounts to add to counters.
    #[arg(long)]
    add: bool,
    /// Lines that are committed together at most.
    #[arg(long, value_name = "LINES", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
}

/// What was written.
#[derive(Debug, Default, Serialize)]
struct Written {
    samples: u64,
    new_series: u64,
    position: Option<Position>,
}

/// Where samples go.
enum Sink {
    Writer { composite: InternalComposite, tsdb: Handle<Tsdb>, in_flight: VecDeque<Pending> },
    Server { client: Client, instance: String },
}

impl Write {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let lines = Lines::open(self.samples.as_deref())?;
        let mut sink = self.sink(cx).await?;
        let mut written = Written::default();
        let done = self.feed(cx, lines, &mut sink, &mut written).await;
        let ended = sink.end(&mut written).await;
        done.and(ended).map_err(|failure| match failure {
            Failure::Error(error) if written.samples > 0 => {
                Failure::Error(error.context(format_args!("after {} durable samples", written.samples)))
            }
            other => other,
        })?;
        cx.out.say(&written, || match written.position {
            Some(position) => {
                let Written { samples, new_series, .. } = written;
                format!("wrote {samples} samples, {new_series} series were new, at position {position}")
            }
            None => "wrote nothing".to_owned(),
        })
    }

    async fn sink(&self, cx: &Context) -> Result<Sink, Failure> {
        if let Some(client) = cx.server()? {
            let instance = client.instance_of::<Tsdb>(self.instance.as_deref()).await?;
            return Ok(Sink::Server { client, instance });
        }
        let composite = cx.writer().await?;
        let name = instance_in::<Tsdb>(self.instance.as_deref(), &composite.view());
        match name.and_then(|name| composite.get::<Tsdb>(&name)) {
            Ok(tsdb) => Ok(Sink::Writer { composite, tsdb, in_flight: VecDeque::new() }),
            Err(error) => {
                composite.close().await?;
                Err(error.into())
            }
        }
    }

    async fn feed(
        &self,
        cx: &Context,
        mut lines: Lines,
        sink: &mut Sink,
        written: &mut Written,
    ) -> Result<(), Failure> {
        let mut progress = cx.out.progress("write", lines.size_bytes());
        let limit = usize::try_from(self.batch).unwrap_or(1);
        let mut line = 1;
        while let Some(batch) = lines.batch(limit).await? {
            let (count, bytes) = (batch.lines.len(), batch.read_bytes as u64);
            sink.send(&batch.lines, line, self.add, written).await?;
            line += count;
            progress.advance(count as u64, bytes);
        }
        progress.finish();
        Ok(())
    }
}

impl Sink {
    /// Sends lines, of which the first has the number `first`.
    async fn send(&mut self, lines: &[Bytes], first: usize, add: bool, written: &mut Written) -> Result<()> {
        let mut samples = Vec::with_capacity(lines.len());
        for (at, line) in lines.iter().enumerate() {
            let text = std::str::from_utf8(line).map_err(|error| Error::invalid("not UTF-8").with_source(error));
            let sample = text.and_then(exposition::parse_line);
            samples.extend(sample.map_err(|error| error.context(format_args!("line {}", first + at)))?);
        }
        if samples.is_empty() {
            return Ok(());
        }
        match self {
            Self::Writer { composite, tsdb, in_flight } => {
                let mut transaction = composite.begin();
                let op = transaction.on(tsdb);
                let now = times::now();
                for sample in samples {
                    let at = sample.time.unwrap_or(now);
                    match add {
                        true => op.add(sample.labels, at, sample.value),
                        false => op.sample(sample.labels, at, sample.value),
                    };
                }
                in_flight.push_back(transaction.submit(Ack::Durable).await?);
                if in_flight.len() >= IN_FLIGHT
                    && let Some(oldest) = in_flight.pop_front()
                {
                    settle(oldest, tsdb, written).await?;
                }
                Ok(())
            }
            Self::Server { client, instance } => {
                let text = lines.iter().map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>().join("\n");
                let query: &[(&str, &str)] = if add { &[("mode", "add")] } else { &[] };
                let answer: CommitOut = client.post_text(&["v1", "tsdb", instance, "write"], query, text).await?;
                written.position = Some(answer.position);
                if let Some(ReceiptOut::Tsdb { samples, new_series, .. }) = answer.receipts.get(instance) {
                    written.samples += samples;
                    written.new_series += new_series;
                }
                Ok(())
            }
        }
    }

    /// Waits for everything that is under way and ends in order, also after a failure.
    async fn end(self, written: &mut Written) -> Result<(), Failure> {
        let Self::Writer { composite, tsdb, in_flight } = self else { return Ok(()) };
        let mut outcome = Ok(());
        for pending in in_flight {
            let settled = settle(pending, &tsdb, written).await;
            outcome = outcome.and(settled);
        }
        let closed = composite.close().await;
        Ok(outcome.and(closed)?)
    }
}

async fn settle(pending: Pending, tsdb: &Handle<Tsdb>, written: &mut Written) -> Result<()> {
    let commit = pending.wait().await?;
    written.position = Some(commit.position());
    if let Some(receipt) = commit.receipt(tsdb) {
        written.samples += receipt.samples;
        written.new_series += receipt.new_series;
    }
    Ok(())
}
