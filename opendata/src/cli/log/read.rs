//! `opendata log scan | tail | streams | segments`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use opendata_compose::{Log, log};
use opendata_core::env::Env;
use opendata_log::{Follower, Reader, WalFeed};
use serde::Serialize;
use serde_json::json;

use super::{Context, Which};
use crate::api::bytes::Text;
use crate::api::record::{RecordOut, Selection, StreamPage, TailSelection};
use crate::cli::context::instance_in;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Align, Output, Table};
use crate::times;

/// Bytes of recent records that `tail` keeps while it writes.
const RING_BYTES: u64 = 16 * 1024 * 1024;
/// Streams that are asked for at once.
const PAGE: usize = 1000;

const SCAN_EXAMPLES: &str = "\
Examples:
  opendata log scan tenant-7
  opendata log scan tenant-7 --reverse --limit 10    the newest ten, newest first
  opendata log scan --prefix tenant- --since 1h
  opendata log scan --all --from 1000 --until 2000 --json
  opendata log scan tenant-7 --at before-migration   the past";

/// Show records in the order of their positions.
///
/// Reads the store and disturbs no writer. A start below what retention or a trim left is an error, never a silent jump.
#[derive(Debug, Args)]
#[command(after_help = SCAN_EXAMPLES)]
pub(in crate::cli) struct Scan {
    #[command(flatten)]
    which: Which,
    /// Which log, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// From this position on.
    #[arg(long, value_name = "POSITION", group = "start")]
    from: Option<u64>,
    /// From what was ingested at this time on, such as 1h (ago) or 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", group = "start")]
    since: Option<String>,
    /// Only what happened at this time or later.
    #[arg(long, value_name = "TIME", group = "start")]
    happened_since: Option<String>,
    /// Up to this position, not included.
    #[arg(long, value_name = "POSITION")]
    until: Option<u64>,
    /// Newest first.
    #[arg(long)]
    reverse: bool,
    /// At most so many records.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Barriers and watermarks too.
    #[arg(long)]
    control: bool,
    /// Read the slate as it was at this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    at: Option<String>,
}

const TAIL_EXAMPLES: &str = "\
Examples:
  opendata log tail tenant-7
  opendata log tail --prefix tenant- --json
  opendata log tail --all --from 1000
  opendata log tail tenant-7 --oldest --limit 100";

/// Follow streams: show each record once it is durable, until interrupted.
///
/// Reads the writer's log files from the store and disturbs no writer; with --server, records are pushed.
#[derive(Debug, Args)]
#[command(after_help = TAIL_EXAMPLES)]
pub(in crate::cli) struct Tail {
    #[command(flatten)]
    which: Which,
    /// Which log, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// Begin at this position instead of at the end.
    #[arg(long, value_name = "POSITION", group = "start")]
    from: Option<u64>,
    /// Begin at the oldest record that is kept.
    #[arg(long, group = "start")]
    oldest: bool,
    /// Barriers and watermarks too.
    #[arg(long)]
    control: bool,
    /// End after so many records.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How often the store is looked at for news.
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = times::parse_duration)]
    poll: Duration,
}

/// Show the names of streams, sorted.
#[derive(Debug, Args)]
pub(in crate::cli) struct Streams {
    /// Only those whose names begin so.
    prefix: Option<String>,
    /// Which log, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Read the slate as it was at this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    at: Option<String>,
}

/// Show the segments that a log is kept in, oldest first: what retention drops as a whole.
#[derive(Debug, Args)]
pub(in crate::cli) struct Segments {
    /// Which log, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// Read the slate as it was at this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    at: Option<String>,
}

impl Which {
    fn streams(&self) -> log::Streams {
        match (&self.stream, &self.prefix) {
            (Some(stream), _) => log::Streams::one(stream),
            (None, Some(prefix)) => log::Streams::prefix(prefix),
            (None, None) => log::Streams::All,
        }
    }

    /// The place of these streams in the server's interface.
    fn path<'a>(&'a self, instance: &'a str, end: Option<&'a str>) -> Vec<&'a str> {
        let mut path = vec!["v1", "log", instance];
        match &self.stream {
            Some(stream) => path.extend(["streams", stream].into_iter().chain(end)),
            None => path.push(end.unwrap_or("records")),
        }
        path
    }
}

/// Shows records as they come.
struct Records<'a> {
    out: &'a mut Output,
    table: Table,
}

impl<'a> Records<'a> {
    fn new(out: &'a mut Output) -> Self {
        let table = Table::new([
            ("position", Align::Right),
            ("time", Align::Left),
            ("stream", Align::Left),
            ("payload", Align::Left),
        ]);
        Self { out, table }
    }

    fn show(&mut self, record: &RecordOut) -> Result<(), Failure> {
        if self.out.is_json() {
            return self.out.json(record);
        }
        let position = record.position.to_string();
        self.table.row([position, times::show(record.event_time), record.stream.show(), record.content()]);
        if self.table.waiting() >= PAGE {
            self.out.rows(&mut self.table)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.out.is_json() {
            self.out.rows(&mut self.table)?;
        }
        self.out.flush()
    }
}

impl Scan {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let selection = Selection {
            prefix: self.which.prefix.clone(),
            from: self.from,
            since: self.since.clone(),
            happened_since: self.happened_since.clone(),
            until: self.until,
            reverse: self.reverse,
            limit: self.limit,
            control: self.control,
        };
        let options = selection.scan_options(self.which.streams())?;
        if let Some(server) = cx.server()? {
            if self.at.is_some() {
                cx.without_server("--at")?;
            }
            let instance = server.instance_of::<Log>(self.instance.as_deref()).await?;
            let path = self.which.path(&instance, None);
            return show_lines(&server, &path, &selection, None, &mut Records::new(&mut cx.out)).await;
        }
        let reader = log_reader(cx, self.instance.as_deref(), self.at.as_deref()).await?;
        let mut scan = reader.scan_with(options).await?;
        let mut records = Records::new(&mut cx.out);
        while let Some(batch) = scan.next_batch().await? {
            for record in &batch {
                records.show(&record.into())?;
            }
        }
        records.flush()
    }
}

/// Shows the records that a server sends as JSON lines, until it ends or there were enough.
async fn show_lines(
    server: &Client,
    path: &[&str],
    selection: &impl Serialize,
    limit: Option<u64>,
    records: &mut Records<'_>,
) -> Result<(), Failure> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut lines = server.lines(path, selection).await?;
    while left > 0
        && let Some(batch) = lines.next::<RecordOut>().await?
    {
        for record in batch.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            records.show(record)?;
        }
        left = left.saturating_sub(batch.len() as u64);
        records.flush()?;
    }
    records.flush()
}

async fn log_reader(cx: &Context, named: Option<&str>, at: Option<&str>) -> Result<Reader, Failure> {
    let view = cx.reader(at).await?.view();
    let name = instance_in::<Log>(named, &view)?;
    Ok(view.get_reader::<Log>(&name)?)
}

impl Tail {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        if let Some(server) = cx.server()? {
            let instance = server.instance_of::<Log>(self.instance.as_deref()).await?;
            let selection = self.selection();
            let path = self.which.path(&instance, Some("tail"));
            return show_lines(&server, &path, &selection, self.limit, &mut Records::new(&mut cx.out)).await;
        }
        let reader = Arc::new(cx.reader(None).await?);
        let name = instance_in::<Log>(self.instance.as_deref(), &reader.view())?;
        let handle = reader.get::<Log>(&name)?;
        let feed = WalFeed::start(reader, &handle, self.poll, RING_BYTES, &Env::system())?;
        let follower = feed.follow(self.selection().follow_options(self.which.streams())?).await?;
        let shown = follow(follower, self.limit, &mut Records::new(&mut cx.out)).await;
        feed.stop().await;
        shown
    }

    fn selection(&self) -> TailSelection {
        let from = self.from.map(|position| position.to_string()).or(self.oldest.then(|| "oldest".to_owned()));
        TailSelection { prefix: self.which.prefix.clone(), from, control: self.control }
    }
}

async fn follow(mut follower: Follower, limit: Option<u64>, records: &mut Records<'_>) -> Result<(), Failure> {
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0 {
        let batch = follower.next_batch().await?;
        for record in batch.records.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            records.show(&record.into())?;
        }
        left = left.saturating_sub(batch.records.len() as u64);
        records.flush()?;
    }
    Ok(())
}

impl Streams {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let prefix = self.prefix.clone().unwrap_or_default();
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut after: Option<Text> = None;
        let server = cx.server()?;
        let (reader, instance) = match &server {
            Some(server) if self.at.is_none() => (None, server.instance_of::<Log>(self.instance.as_deref()).await?),
            _ => {
                cx.without_server("--at")?;
                (Some(log_reader(cx, self.instance.as_deref(), self.at.as_deref()).await?), String::new())
            }
        };
        while left > 0 {
            let page: StreamPage = match (&reader, &server) {
                (Some(reader), _) => {
                    let after = after.as_ref().map(|after| after.0.as_ref());
                    reader.streams(&prefix, after, PAGE.min(left)).await?.into()
                }
                (None, Some(server)) => {
                    let limit = PAGE.min(left).to_string();
                    let after = after.as_ref().map(|after| serde_json::to_string(after).unwrap_or_default());
                    let mut query = vec![("prefix", prefix.as_str()), ("limit", &limit)];
                    query.extend(after.as_deref().map(|after| ("after", after)));
                    server.query(&["v1", "log", &instance, "streams"], &query).await?
                }
                (None, None) => return Ok(()),
            };
            left -= page.streams.len().min(left);
            for stream in &page.streams {
                match cx.out.is_json() {
                    true => cx.out.json(&json!({"stream": stream}))?,
                    false => cx.out.line(&stream.show())?,
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        cx.out.flush()
    }
}

impl Segments {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        cx.without_server("log segments")?;
        let reader = log_reader(cx, self.instance.as_deref(), self.at.as_deref()).await?;
        let segments = reader.segments().await?;
        let rows: Vec<_> = segments
            .iter()
            .map(|segment| {
                json!({
                    "segment": segment.id.0, "first": segment.first, "last": segment.last, "sealed": segment.sealed,
                    "records": segment.records(), "streams": segment.streams(), "size_bytes": segment.size_bytes(),
                    "created": segment.created,
                })
            })
            .collect();
        cx.out.say_table(&json!({"segments": rows}), || {
            let mut table = Table::new([
                ("segment", Align::Right),
                ("first", Align::Right),
                ("last", Align::Right),
                ("records", Align::Right),
                ("streams", Align::Right),
                ("bytes", Align::Right),
                ("created", Align::Left),
                ("state", Align::Left),
            ]);
            for segment in &segments {
                table.row([
                    segment.id.0.to_string(),
                    segment.first.to_string(),
                    segment.last.to_string(),
                    segment.records().to_string(),
                    segment.streams().to_string(),
                    segment.size_bytes().to_string(),
                    times::show(segment.created),
                    if segment.sealed { "sealed" } else { "open" }.to_owned(),
                ]);
            }
            table
        })
    }
}
