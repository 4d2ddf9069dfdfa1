//! Vectors over HTTP: the words of `opendata vector`, each with a JSON document.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{self, post};
use opendata_compose::vector::{Cursor, Reader};
use opendata_compose::{Vector, View};
use opendata_core::{Error, Position};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Server;
use super::answer::{Answer, Json};
use super::request::{Content, InstanceName, Params, PathPart, is_json_lines};
use crate::api::bytes::Text;
use crate::api::commit::{AckIn, CommitIn, CommitOut, OneOrMany, Operation};
use crate::api::vector::DocumentJson;
use crate::api::vector::ask::{
    self, CountIn, CountOut, DeleteIn, GetIn, GotOut, ImportOut, RefusedOut, ScanIn, ScanOut, StatsIn,
};
use crate::api::vector::query::{QueryIn, ResultsOut};

pub(super) fn routes() -> Router<Server> {
    let of = |word: &str| format!("/v1/vector/{{instance}}/{word}");
    Router::new()
        .route(&of("upsert"), post(upsert))
        .route(&of("patch"), post(patch))
        .route(&of("delete"), post(delete))
        .route(&of("import"), post(import))
        .route(&of("get"), post(get))
        .route(&of("scan"), post(scan))
        .route(&of("count"), post(count))
        .route(&of("search"), post(search))
        .route(&of("stats"), routing::get(stats))
        .route(&of("documents/{id}"), routing::get(document))
}

/// The options of a write.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteParams {
    #[serde(default)]
    ack: AckIn,
}

async fn commit(server: &Server, operation: Operation, ack: AckIn) -> Answer<Json<CommitOut>> {
    Ok(Json(CommitIn { operations: vec![operation], ack }.commit(server.composite()).await?))
}

/// Documents: JSON lines, a document, or a list of them.
fn documents(headers: &HeaderMap, content: &Content) -> Answer<OneOrMany<DocumentJson>> {
    if !is_json_lines(headers) {
        return content.json();
    }
    let mut documents = Vec::new();
    for (at, line) in lines(content) {
        documents.push(ask::row(line).map_err(|error| error.context(format_args!("line {at}")))?);
    }
    Ok(OneOrMany(documents))
}

/// Lines that are not empty, with their numbers.
fn lines(content: &Content) -> impl Iterator<Item = (u64, &[u8])> {
    let lines = content.0.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    (1..).zip(lines).filter(|(_, line)| !line.is_empty())
}

async fn upsert(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(params): Params<WriteParams>,
    headers: HeaderMap,
    content: Content,
) -> Answer<Json<CommitOut>> {
    let upsert = Some(documents(&headers, &content)?);
    commit(&server, Operation { instance, upsert, ..Operation::default() }, params.ack).await
}

async fn patch(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(params): Params<WriteParams>,
    headers: HeaderMap,
    content: Content,
) -> Answer<Json<CommitOut>> {
    let patch = Some(documents(&headers, &content)?);
    commit(&server, Operation { instance, patch, ..Operation::default() }, params.ack).await
}

async fn delete(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(params): Params<WriteParams>,
    content: Content,
) -> Answer<Json<CommitOut>> {
    let delete = Some(content.json::<DeleteIn>()?);
    commit(&server, Operation { instance, delete, ..Operation::default() }, params.ack).await
}

/// Writes the rows that are right, in one transaction, and reports the others.
async fn import(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(params): Params<WriteParams>,
    content: Content,
) -> Answer<Json<ImportOut>> {
    let handle = server.composite().get::<Vector>(&instance)?;
    let reader = server.composite().view().on(&handle)?;
    let schema = &reader.config().schema;
    let mut transaction = server.composite().begin();
    let op = transaction.on(&handle);
    op.skip_invalid();
    let (mut out, mut rows) = (ImportOut::default(), Vec::new());
    for (row, line) in lines(&content) {
        let document = ask::row(line);
        let id = document.as_ref().ok().map(|document| document.id.clone());
        match document.and_then(|document| document.document(schema)) {
            Ok(document) => {
                op.upsert(document);
                rows.push(row);
            }
            Err(error) => out.refused.push(RefusedOut::of(row, id, &error)),
        }
    }
    if !rows.is_empty() {
        let commit = transaction.commit_with(params.ack.into()).await.map_err(Error::from)?;
        if let Some(receipt) = commit.receipt(&handle) {
            out.add(receipt, &rows, commit.position());
        }
    }
    out.refused.sort_by_key(|refused| refused.row);
    Ok(Json(out))
}

fn reader(server: &Server, instance: &str) -> Answer<Reader> {
    Ok(server.view().get_reader::<Vector>(instance)?)
}

fn asked<T: DeserializeOwned + Default>(content: &Content) -> Answer<T> {
    if content.0.is_empty() { Ok(T::default()) } else { content.json() }
}

async fn get(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    content: Content,
) -> Answer<Json<GotOut>> {
    let asked: GetIn = content.json()?;
    Ok(Json(ask::get(&reader(&server, &instance)?, asked).await?))
}

async fn scan(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    content: Content,
) -> Answer<Json<ScanOut>> {
    let asked: ScanIn = asked(&content)?;
    Ok(Json(ask::scan(&reader(&server, &instance)?, asked).await?))
}

async fn count(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    content: Content,
) -> Answer<Json<CountOut>> {
    let asked: CountIn = asked(&content)?;
    Ok(Json(ask::count(&reader(&server, &instance)?, asked).await?))
}

async fn search(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    content: Content,
) -> Answer<Json<ResultsOut>> {
    let asked: QueryIn = content.json()?;
    let cursor: Option<Cursor> = asked.cursor.as_deref().map(str::parse).transpose()?;
    // Where the view of a cursor has been let go, the search says so.
    let kept = server.0.pages.get(cursor.map(|cursor| cursor.position()));
    let view = kept.unwrap_or_else(|| server.view());
    let (reader, is_paged) = (view.get_reader::<Vector>(&instance)?, asked.paged);
    let results = ask::search(&reader, asked).await?;
    if is_paged && results.next.is_some() {
        server.0.pages.keep(view);
    }
    Ok(Json(results))
}

/// Views that were asked to be kept for the next page: the newest [`PAGES`], each for [`PAGE_LIFE`] since its last page.
#[derive(Default)]
pub(super) struct Pages(Mutex<BTreeMap<Position, (View, Instant)>>);

/// A view holds old versions of rows alive: so many are kept.
const PAGES: usize = 16;
const PAGE_LIFE: Duration = Duration::from_secs(60);

impl Pages {
    /// The view of a position, if it is kept. Lets go of those whose time is over.
    fn get(&self, position: Option<Position>) -> Option<View> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (_, used)| used.elapsed() < PAGE_LIFE);
        kept.get(&position?).map(|(view, _)| view.clone())
    }

    fn keep(&self, view: View) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(view.position(), (view, Instant::now()));
        while kept.len() > PAGES {
            kept.pop_first();
        }
    }
}

async fn stats(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    Params(asked): Params<StatsIn>,
) -> Answer<Json<serde_json::Value>> {
    Ok(Json(ask::describe(&reader(&server, &instance)?, asked).await?))
}

/// One document, by `GET`.
async fn document(
    State(server): State<Server>,
    InstanceName(instance): InstanceName,
    PathPart(id): PathPart<4>,
) -> Answer<Json<ask::FoundOut>> {
    let asked = GetIn { ids: vec![Text(id)], select: None };
    let got = ask::get(&reader(&server, &instance)?, asked).await?;
    let found = got.documents.into_iter().flatten().next();
    Ok(Json(found.ok_or_else(|| Error::not_found("no such document"))?))
}
