//! `opendata log append`.

use std::collections::VecDeque;

use bytes::Bytes;
use clap::Args;
use opendata_compose::{InternalComposite, Log};
use opendata_core::slate::{Ack, Handle, Pending};
use opendata_core::{Position, Result};
use serde::Serialize;

use super::Context;
use crate::api::bytes::Text;
use crate::api::commit::{AckIn, AppendIn, CommitIn, CommitOut, ExpectIn, OneOrMany, Operation, ReceiptOut};
use crate::api::record::RecordIn;
use crate::cli::context::instance_in;
use crate::cli::lines::Lines;
use crate::client::Client;
use crate::failure::Failure;
use crate::times;

/// Transactions that are on their way at the same time.
const IN_FLIGHT: usize = 8;

const EXAMPLES: &str = "\
Examples:
  opendata log append tenant-7 '42 tokens'
  opendata log append tenant-7 '{\"tokens\": 42}' --header source=api --event-time 2026-01-31T12:00:00Z
  opendata log append tenant-7 'only if nobody was faster' --expect-position 1234
  opendata log append tenant-7 'only if the stream is empty' --expect-position none
  opendata log append tenant-7 --progress < events.txt";

/// Append records to a stream, durably.
///
/// With a payload, that is one record; without, each line of standard input is one. Lines are committed as they come, as many
/// together as are there; what was acknowledged before a failure stays, and the failure says how many that were.
///
/// This command is the slate's writer while it runs, which ends a running `opendata run`: use --server beside one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Append {
    /// The stream.
    stream: String,
    /// The payload; without it, the lines of standard input.
    payload: Option<String>,
    /// Which log, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// A header for each record; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// When it happened, such as 2026-01-31T12:00:00Z or 15m (ago).
    #[arg(long, value_name = "TIME")]
    event_time: Option<String>,
    /// The schema that the payload follows.
    #[arg(long, value_name = "ID", default_value_t = 0)]
    schema_id: u32,
    /// Append only if the stream's last record stands there; `none`: only if the stream has no record.
    #[arg(long, value_name = "POSITION", requires = "payload", value_parser = expected_position)]
    expect_position: Option<Expected>,
    /// Lines that are committed together at most.
    #[arg(long, value_name = "LINES", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
}

/// Where the last record must stand.
#[derive(Clone, Copy, Debug)]
struct Expected(Option<Position>);

fn expected_position(text: &str) -> Result<Expected, String> {
    match text {
        "none" => Ok(Expected(None)),
        _ => text.parse().map(|at| Expected(Some(Position(at)))).map_err(|_| "a position, or `none`".to_owned()),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is NAME=VALUE".to_owned()),
    }
}

/// What was appended.
#[derive(Debug, Default, Serialize)]
struct Appended {
    records: u64,
    first: Option<Position>,
    last: Option<Position>,
}

impl Appended {
    fn add(&mut self, records: u64, first: Option<Position>, last: Option<Position>) {
        self.records += records;
        self.first = self.first.or(first);
        self.last = last.or(self.last);
    }

    fn say(&self) -> String {
        match (self.first, self.last) {
            (Some(first), Some(last)) if first == last => format!("appended 1 record at position {first}"),
            (Some(first), Some(last)) => format!("appended {} records, positions {first} to {last}", self.records),
            _ => "appended nothing".to_owned(),
        }
    }
}

/// Where records go.
enum Sink {
    Writer { composite: InternalComposite, log: Handle<Log>, in_flight: VecDeque<Pending> },
    Server { client: Client, instance: String },
}

impl Append {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let template = RecordIn {
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
            event_time: self.event_time.as_deref().map(times::parse_time).transpose()?,
            schema_id: self.schema_id,
            payload: Text::default(),
        };
        let mut sink = self.sink(cx).await?;
        let mut appended = Appended::default();
        let done = self.feed(cx, &mut sink, &template, &mut appended).await;
        let ended = sink.end(&mut appended).await;
        done.and(ended).map_err(|failure| so_far(failure, appended.records))?;
        cx.out.say(&appended, || appended.say())
    }

    async fn sink(&self, cx: &Context) -> Result<Sink, Failure> {
        if let Some(client) = cx.server()? {
            let instance = client.instance_of::<Log>(self.instance.as_deref()).await?;
            return Ok(Sink::Server { client, instance });
        }
        let composite = cx.writer().await?;
        let name = instance_in::<Log>(self.instance.as_deref(), &composite.view());
        match name.and_then(|name| composite.get::<Log>(&name)) {
            Ok(log) => Ok(Sink::Writer { composite, log, in_flight: VecDeque::new() }),
            Err(error) => {
                composite.close().await?;
                Err(error.into())
            }
        }
    }

    async fn feed(
        &self,
        cx: &Context,
        sink: &mut Sink,
        template: &RecordIn,
        appended: &mut Appended,
    ) -> Result<(), Failure> {
        if let Some(payload) = &self.payload {
            let payload = Bytes::copy_from_slice(payload.as_bytes());
            return Ok(sink.send(&self.stream, template, vec![payload], self.expect_position, appended).await?);
        }
        let mut lines = Lines::open(None)?;
        let mut progress = cx.out.progress("append", lines.size_bytes());
        let limit = usize::try_from(self.batch).unwrap_or(1);
        while let Some(batch) = lines.batch(limit).await? {
            let (records, bytes) = (batch.lines.len() as u64, batch.read_bytes as u64);
            sink.send(&self.stream, template, batch.lines, None, appended).await?;
            progress.advance(records, bytes);
        }
        progress.finish();
        Ok(())
    }
}

impl Sink {
    async fn send(
        &mut self,
        stream: &str,
        template: &RecordIn,
        payloads: Vec<Bytes>,
        expected: Option<Expected>,
        appended: &mut Appended,
    ) -> Result<()> {
        match self {
            Self::Writer { composite, log, in_flight } => {
                let mut transaction = composite.begin();
                let op = transaction.on(log);
                if let Some(Expected(position)) = expected {
                    op.expect_position(stream, position);
                }
                for payload in payloads {
                    op.append_record(stream, RecordIn { payload: Text(payload), ..template.clone() }.into());
                }
                in_flight.push_back(transaction.submit(Ack::Durable).await?);
                if in_flight.len() >= IN_FLIGHT
                    && let Some(oldest) = in_flight.pop_front()
                {
                    settle(oldest, log, appended).await?;
                }
                Ok(())
            }
            Self::Server { client, instance } => {
                let commit = request(instance, stream, template, payloads, expected);
                let answer: CommitOut = client.post("/v1/commit", &commit).await?;
                if let Some(ReceiptOut::Log { records, first, last, .. }) = answer.receipts.get(instance) {
                    appended.add(*records, *first, *last);
                }
                Ok(())
            }
        }
    }

    /// Waits for everything that is under way and ends in order, also after a failure.
    async fn end(self, appended: &mut Appended) -> Result<(), Failure> {
        let Self::Writer { composite, log, in_flight } = self else { return Ok(()) };
        let mut outcome = Ok(());
        for pending in in_flight {
            let settled = settle(pending, &log, appended).await;
            outcome = outcome.and(settled);
        }
        let closed = composite.close().await;
        Ok(outcome.and(closed)?)
    }
}

async fn settle(pending: Pending, log: &Handle<Log>, appended: &mut Appended) -> Result<()> {
    let commit = pending.wait().await?;
    if let Some(receipt) = commit.receipt(log) {
        appended.add(receipt.records(), receipt.first(), receipt.last());
    }
    Ok(())
}

fn request(
    instance: &str,
    stream: &str,
    template: &RecordIn,
    payloads: Vec<Bytes>,
    expected: Option<Expected>,
) -> CommitIn {
    let append = payloads.into_iter().map(|payload| AppendIn {
        stream: stream.into(),
        payload: Text(payload),
        headers: template.headers.clone(),
        event_time: template.event_time,
        schema_id: template.schema_id,
    });
    let expect = expected.map(|Expected(position)| OneOrMany(vec![ExpectIn { stream: stream.into(), position }]));
    let operation = Operation {
        instance: instance.to_owned(),
        append: Some(OneOrMany(append.collect())),
        expect_position: expect,
        ..Operation::default()
    };
    CommitIn { operations: vec![operation], ack: AckIn::Durable }
}

/// A failure in the middle says what is in already.
fn so_far(failure: Failure, records: u64) -> Failure {
    match failure {
        Failure::Error(error) if records > 0 => {
            Failure::Error(error.context(format_args!("after {records} durable records")))
        }
        other => other,
    }
}
