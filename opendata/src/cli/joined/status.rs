//! `opendata status | lag`: where every edge stands, as the slates and the control log say.

use std::time::Duration;

use clap::Args;
use opendata_compose::control::{EdgeState as EdgeSaid, MAIN, State};
use opendata_compose::edge::{Cursor, Trouble, TroubleKind};
use opendata_compose::{ExternalComposite, Log};
use opendata_core::{ErrorKind, Result, Timestamp};
use serde::Serialize;
use serde_json::json;

use super::super::context::Context;
use crate::failure::Failure;
use crate::output::{Align, Table};
use crate::times;

/// Show nodes and edges: who owns them, how far they are, and what waits.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  opendata status\n  opendata status --watch\n  opendata status --branch trial --json"
)]
pub(in crate::cli) struct Status {
    /// Show it again every so often.
    #[arg(long, value_name = "EVERY", num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    watch: Option<String>,
    /// Another branch than main.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
}

/// Show how far each edge is behind its source, in records and in time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  opendata lag\n  opendata lag --json")]
pub(in crate::cli) struct Lag {
    /// Another branch than main.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
}

/// Where an edge stands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) edge: String,
    from: String,
    to: String,
    state: &'static str,
    generation: u64,
    next: Option<u64>,
    /// Records of its source behind its cursor; none if its cursor is not within its source.
    lag_records: Option<u64>,
    /// How long ago the oldest of them was taken in.
    lag_ms: Option<i64>,
    applied: u64,
    filtered: u64,
    letters: u64,
    /// Why it rests or has failed.
    problem: Option<String>,
    /// Since when.
    problem_since: Option<i64>,
}

/// Reads where the edges of a branch stand.
pub(super) async fn rows(composite: &ExternalComposite) -> Result<Vec<Row>> {
    let state = composite.control().refresh().await?;
    let branch = state.branch(composite.branch())?;
    let mut rows = Vec::new();
    for edge in &branch.spec.edges {
        let said = branch.edges.get(&edge.id).cloned().unwrap_or_default();
        let (cursor, trouble) = match composite.reader(edge.runs_on()).await {
            Ok(reader) => {
                let (view, instance) = (reader.view(), edge.state_instance());
                let trouble = Trouble::read(&view, instance, &edge.id).await?;
                let trouble = trouble.filter(|trouble| trouble.generation == said.generation);
                (Cursor::read(&view, instance, &edge.id).await?, trouble)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => (None, None),
            Err(error) => return Err(error),
        };
        let (lag_records, lag_ms) = match composite.reader(&edge.from.node).await {
            Ok(source) => behind(&source.view().get_reader::<Log>(&edge.from.instance)?, cursor.as_ref()).await?,
            Err(error) if error.kind() == ErrorKind::NotFound => (Some(0), None),
            Err(error) => return Err(error),
        };
        let to = match (&edge.to.node, &edge.to.instance) {
            (Some(node), Some(instance)) => format!("{node}/{instance}"),
            _ => "outside".to_owned(),
        };
        rows.push(Row {
            edge: edge.id.clone(),
            from: format!("{}/{}", edge.from.node, edge.from.instance),
            to,
            state: state_of(&said, trouble.as_ref(), cursor.as_ref(), branch.owners.contains_key(edge.runs_on())),
            generation: said.generation,
            next: cursor.as_ref().map(|cursor| cursor.next.0),
            lag_records,
            lag_ms,
            applied: cursor.as_ref().map_or(0, |cursor| cursor.counts.applied),
            filtered: cursor.as_ref().map_or(0, |cursor| cursor.counts.filtered),
            letters: cursor.as_ref().map_or(0, |cursor| cursor.counts.waiting),
            problem_since: trouble.as_ref().map(|trouble| trouble.since.0),
            problem: trouble.map(|trouble| trouble.reason),
        });
    }
    Ok(rows)
}

/// What an edge is doing, as far as the control log and its sink say.
fn state_of(said: &EdgeSaid, trouble: Option<&Trouble>, cursor: Option<&Cursor>, is_owned: bool) -> &'static str {
    match (said, trouble.map(|trouble| trouble.kind)) {
        (EdgeSaid { paused: true, .. }, _) => "paused",
        (EdgeSaid { suspended: true, .. }, _) => "suspended",
        (_, Some(TroubleKind::Failed)) => "failed",
        _ if !is_owned => "stopped",
        (_, Some(TroubleKind::Resting)) => "resting",
        // It was reset, or changed, and whoever owns its node has not begun it anew yet.
        _ if cursor.is_some_and(|cursor| cursor.generation < said.generation) => "starting",
        _ => "running",
    }
}

async fn behind(source: &opendata_compose::log::Reader, cursor: Option<&Cursor>) -> Result<(Option<u64>, Option<i64>)> {
    let from = match cursor {
        Some(cursor) => cursor.next,
        None => source.trim_point().await?,
    };
    let records = match source.lag_all(from).await {
        Ok(records) => records,
        Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) => return Ok((None, None)),
        Err(error) => return Err(error),
    };
    let oldest = match records {
        0 => None,
        _ => source.scan_all(from..).await?.next().await?,
    };
    Ok((Some(records), oldest.map(|record| (times::now().0 - record.ingest_time.0).max(0))))
}

impl Status {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let every = self.watch.as_deref().map(times::parse_duration).transpose()?;
        let composite = super::look(cx, self.branch.as_deref()).await?;
        loop {
            show(cx, &composite).await?;
            let Some(every) = every else { return Ok(()) };
            tokio::time::sleep(every.max(Duration::from_millis(100))).await;
        }
    }
}

/// What has nodes stand still until it is decided.
#[derive(Debug, Serialize)]
struct UnderWay {
    what: String,
    nodes: Vec<String>,
    /// Milliseconds since 1970; after this it is given up.
    until: i64,
}

fn under_way(state: &State) -> Option<UnderWay> {
    if let Some(promotion) = &state.promotion {
        let nodes = state.branch(MAIN).map(|main| main.nodes.keys().cloned().collect()).unwrap_or_default();
        return Some(UnderWay { what: promotion.to_string(), nodes, until: promotion.deadline.0 });
    }
    let reshaping = state.reshaping.as_ref()?;
    let nodes = reshaping.from.iter().cloned().collect();
    Some(UnderWay { what: reshaping.to_string(), nodes, until: reshaping.deadline.0 })
}

async fn show(cx: &mut Context, composite: &ExternalComposite) -> Result<(), Failure> {
    let rows = rows(composite).await?;
    let state = composite.state();
    let branch = state.branch(composite.branch())?;
    let nodes: Vec<_> = branch
        .nodes
        .iter()
        .map(|(node, path)| json!({"node": node, "path": path, "owner": branch.owners.get(node)}))
        .collect();
    let under_way = under_way(&state);
    let said = json!({"branch": composite.branch(), "nodes": nodes, "edges": rows, "under_way": under_way});
    if cx.out.is_json() {
        return cx.out.say(&said, String::new);
    }
    for (node, path) in &branch.nodes {
        let owner = branch.owners.get(node).map_or("nobody", String::as_str);
        cx.out.line(&format!("node {node} at {path}, owner {owner}"))?;
    }
    if let Some(UnderWay { what, until, .. }) = &under_way {
        let until = times::show(Timestamp(*until));
        cx.out.line(&format!(
            "{what} under way, until {until}; if whoever does it is gone, `opendata promote --cancel` gives it up at once"
        ))?;
    }
    for row in &rows {
        if let (Some(problem), Some(since)) = (&row.problem, row.problem_since) {
            let since = times::show(Timestamp(since));
            cx.out.line(&format!("edge {} {} since {since}: {problem}", row.edge, row.state))?;
        }
    }
    cx.out.say_table(&said, || {
        let mut table = Table::new([
            ("edge", Align::Left),
            ("from", Align::Left),
            ("to", Align::Left),
            ("state", Align::Left),
            ("generation", Align::Right),
            ("lag", Align::Right),
            ("applied", Align::Right),
            ("letters", Align::Right),
        ]);
        for row in &rows {
            table.row([
                row.edge.clone(),
                row.from.clone(),
                row.to.clone(),
                row.state.to_owned(),
                row.generation.to_string(),
                row.lag_records.map_or_else(|| "out of range".to_owned(), |lag| lag.to_string()),
                row.applied.to_string(),
                row.letters.to_string(),
            ]);
        }
        table
    })
}

impl Lag {
    pub(in crate::cli) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let composite = super::look(cx, self.branch.as_deref()).await?;
        let rows = rows(&composite).await?;
        cx.out.say_table(&json!({"edges": rows}), || {
            let mut table = Table::new([("edge", Align::Left), ("records", Align::Right), ("time", Align::Right)]);
            for row in &rows {
                let ms = row.lag_ms.map_or_else(|| "0s".to_owned(), |ms| format!("{:.1}s", ms as f64 / 1000.0));
                let records = row.lag_records.map_or_else(|| "out of range".to_owned(), |lag| lag.to_string());
                table.row([row.edge.clone(), records, ms]);
            }
            table
        })
    }
}
