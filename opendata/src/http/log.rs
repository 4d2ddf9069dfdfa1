//! Logs over HTTP: append, scan, tail, streams.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use opendata_compose::{Log, log};
use opendata_core::slate::Ack;
use opendata_core::{Error, Position};
use opendata_log::{Follower, NewRecord, Start, Streams};
use serde::Deserialize;

use super::answer::{Answer, Json};
use super::request::{Content, InstanceName, Params, PathPart, Shape, is_json_lines};
use super::{Server, feed};
use crate::api::bytes::Text;
use crate::api::commit::{AckIn, CommitOut, ReceiptOut};
use crate::api::record::{RecordIn, RecordPage, Selection, StreamPage, TailSelection};

/// Records of a page that names no limit, and the most that one may have.
const PAGE: u64 = 1000;
const MAX_PAGE: u64 = 10_000;
/// Bytes of payloads on a page, if it has more than one record.
const PAGE_BYTES: u64 = 8 * 1024 * 1024;

/// The options of an append.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppendParams {
    /// Where the stream's last record must stand, or `none`.
    expect_position: Option<String>,
    #[serde(default)]
    ack: AckIn,
}

/// Appends the body as one record, or each line of JSON lines as one, in one transaction.
pub(super) async fn append(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    PathPart(stream): PathPart<4>,
    Params(params): Params<AppendParams>,
    headers: HeaderMap,
    content: Content,
) -> Answer<Json<CommitOut>> {
    let handle = server.composite().get::<Log>(&instance)?;
    let mut transaction = server.composite().begin();
    let op = transaction.on(&handle);
    if let Some(expected) = &params.expect_position {
        op.expect_position(&stream, expected_position(expected)?);
    }
    if is_json_lines(&headers) {
        for (at, line) in content.text()?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record: RecordIn = serde_json::from_str(line)
                .map_err(|error| Error::invalid(format!("line {}: {error}", at + 1)).with_source(error))?;
            op.append_record(&stream, record.into());
        }
    } else {
        op.append_record(&stream, NewRecord::new(content.0));
    }
    let commit = transaction.commit_with(params.ack.into()).await.map_err(Error::from)?;
    let receipts = commit.receipt(&handle).map(|receipt| (instance, ReceiptOut::of_log(receipt)));
    Ok(Json(CommitOut { position: commit.position(), receipts: receipts.into_iter().collect() }))
}

fn expected_position(text: &str) -> Answer<Option<Position>> {
    match text {
        "none" => Ok(None),
        _ => match text.parse() {
            Ok(position) => Ok(Some(Position(position))),
            Err(_) => Err(Error::invalid(format!("expect_position is a position or `none`, found={text}")).into()),
        },
    }
}

pub(super) async fn scan_stream(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    PathPart(stream): PathPart<4>,
    Params(selection): Params<Selection>,
    headers: HeaderMap,
) -> Answer<Response> {
    scan(&server, &instance, Streams::One(stream), selection, Shape::of(&headers)).await
}

pub(super) async fn scan_all(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(selection): Params<Selection>,
    headers: HeaderMap,
) -> Answer<Response> {
    let streams = several(selection.prefix.as_deref());
    scan(&server, &instance, streams, selection, Shape::of(&headers)).await
}

fn several(prefix: Option<&str>) -> Streams {
    prefix.map_or(Streams::All, Streams::prefix)
}

async fn scan(
    server: &Server,
    instance: &str,
    streams: Streams,
    selection: Selection,
    shape: Shape,
) -> Answer<Response> {
    let reader = server.view().get_reader::<Log>(instance)?;
    let mut options = selection.scan_options(streams)?;
    if shape != Shape::Page {
        return Ok(feed::scan(reader.scan_with(options).await?));
    }
    let limit = options.max_records.unwrap_or(PAGE).min(MAX_PAGE);
    // One more than the page holds tells whether that is all.
    options.max_records = Some(limit.saturating_add(1));
    options.max_bytes = Some(PAGE_BYTES);
    let joins = !matches!(options.start, Start::Happened(_));
    let mut records = reader.scan_with(options).await?.collect().await?;
    let bytes: usize = records.iter().map(log::Record::size_bytes).sum();
    let is_short = records.len() as u64 <= limit && (bytes as u64) < PAGE_BYTES;
    records.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let last = records.last().map(|last| if selection.reverse { last.position } else { last.position.next() });
    let page = RecordPage {
        records: records.iter().map(Into::into).collect(),
        complete: is_short,
        next: last.filter(|_| !is_short && joins),
        position: reader.position(),
    };
    Ok(Json(page).into_response())
}

pub(super) async fn tail_stream(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    PathPart(stream): PathPart<4>,
    Params(selection): Params<TailSelection>,
    headers: HeaderMap,
) -> Answer<Response> {
    tail(&server, &instance, Streams::One(stream), selection, &headers).await
}

pub(super) async fn tail_all(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(selection): Params<TailSelection>,
    headers: HeaderMap,
) -> Answer<Response> {
    let streams = several(selection.prefix.as_deref());
    tail(&server, &instance, streams, selection, &headers).await
}

async fn tail(
    server: &Server,
    instance: &str,
    streams: Streams,
    mut selection: TailSelection,
    headers: &HeaderMap,
) -> Answer<Response> {
    // A browser that lost the connection says where it was.
    if let Some(last) = headers.get("last-event-id").and_then(|id| id.to_str().ok()) {
        selection.from = Some(last.to_owned());
    }
    let handle = server.composite().get::<Log>(instance)?;
    let views = server.composite().slate().watch(Ack::Durable);
    let follower = Follower::open(views, &handle, selection.follow_options(streams)?).await?;
    Ok(feed::follow(follower, server.ending(), Shape::of(headers)))
}

/// The options of a listing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamsParams {
    #[serde(default)]
    prefix: String,
    /// The last name of the page before, as it stands in its JSON.
    after: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn streams(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(params): Params<StreamsParams>,
) -> Answer<Json<StreamPage>> {
    let reader = server.view().get_reader::<Log>(&instance)?;
    let after: Option<Text> = params
        .after
        .map(|after| serde_json::from_str(&after))
        .transpose()
        .map_err(|error| Error::invalid(format!("after is a name as JSON: {error}")).with_source(error))?;
    let page = usize::try_from(PAGE).unwrap_or(1);
    let limit = params.limit.unwrap_or(page).clamp(1, 10 * page);
    let after = after.as_ref().map(|after| after.0.as_ref());
    Ok(Json(reader.streams(&params.prefix, after, limit).await?.into()))
}
