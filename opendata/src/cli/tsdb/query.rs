//! `opendata tsdb query`.

use std::time::Duration;

use clap::Args;
use opendata_compose::Tsdb;
use opendata_core::{Error, Result, Timestamp};
use opendata_tsdb::promql::Engine;
use serde::de::DeserializeOwned;

use super::Context;
use super::explain::of_server;
use crate::api::prometheus::{Explanation, Point, QueryData, Response, show_metric};
use crate::cli::context::instance_in;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Align, Table};
use crate::times;

/// Steps of a range query that names no step.
const STEPS: i64 = 60;

const EXAMPLES: &str = "\
Examples:
  opendata tsdb query 'sum by (tenant) (tokens_total)'
  opendata tsdb query 'up == 0' --time 2026-01-31T12:00:00Z
  opendata tsdb query 'rate(requests_total[5m])' --start 1h --step 1m
  opendata tsdb query tokens_total --at before-migration --json";

/// Answer a PromQL query, at one time or over a range of times.
///
/// With --json the answer has the shape of Prometheus's HTTP API. Reads the store and disturbs no writer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Query {
    /// The query.
    query: String,
    /// Which time series database, if the slate has several.
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// The time to answer for, such as 2026-01-31T12:00:00Z or 15m (ago); now, if left out.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// Where a range begins.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Where a range ends; now, if left out.
    #[arg(long, value_name = "TIME", requires = "start")]
    end: Option<String>,
    /// How far the answers of a range are apart, such as 30s; a sixtieth of the range, if left out.
    #[arg(long, value_name = "DURATION", requires = "start", value_parser = times::parse_duration)]
    step: Option<Duration>,
    /// Read the slate as it was at this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    at: Option<String>,
}

/// When a query is answered for.
enum When {
    Instant(Timestamp),
    Range { start: Timestamp, end: Timestamp, step_ms: i64 },
}

impl Query {
    pub(super) async fn execute(self, cx: &mut Context) -> Result<(), Failure> {
        let when = self.when()?;
        let answer = match cx.server()? {
            Some(server) if self.at.is_none() => self.ask(&server, &when, &[]).await?,
            _ => {
                cx.without_server("--at")?;
                let view = cx.reader(self.at.as_deref()).await?.view();
                let name = instance_in::<Tsdb>(self.instance.as_deref(), &view)?;
                let reader = view.get_reader::<Tsdb>(&name)?;
                let engine = Engine::default();
                let answer = match when {
                    When::Instant(at) => engine.instant(&reader, &self.query, at).await?,
                    When::Range { start, end, step_ms } => {
                        engine.range(&reader, &self.query, start, end, step_ms).await?
                    }
                };
                answer.into()
            }
        };
        let (data, warnings, infos) = match &answer {
            Response::Success { data, warnings, infos } => (data, warnings, infos),
            Response::Error { error, .. } => return Err(Error::invalid(error.clone()).into()),
        };
        cx.out.say_table(&answer, || table(data))?;
        for remark in warnings.iter().chain(infos) {
            cx.out.note(remark);
        }
        Ok(())
    }

    fn when(&self) -> Result<When> {
        let now = times::now();
        let time = |text: &Option<String>| text.as_deref().map_or(Ok(now), times::parse_time);
        if self.start.is_none() {
            return Ok(When::Instant(time(&self.time)?));
        }
        let (start, end) = (time(&self.start)?, time(&self.end)?);
        let step_ms = match self.step {
            Some(step) => i64::try_from(step.as_millis()).unwrap_or(i64::MAX),
            None => (end.0.saturating_sub(start.0) / STEPS).max(1),
        };
        Ok(When::Range { start, end, step_ms })
    }

    /// How the query is answered.
    pub(super) async fn explanation(&self, cx: &mut Context) -> Result<Explanation, Failure> {
        let when = self.when()?;
        if let Some(server) = cx.server()?
            && self.at.is_none()
        {
            return Ok(of_server(self.ask(&server, &when, &[("explain", "true")]).await?)?);
        }
        cx.without_server("--at")?;
        let view = cx.reader(self.at.as_deref()).await?.view();
        let name = instance_in::<Tsdb>(self.instance.as_deref(), &view)?;
        let (reader, engine) = (view.get_reader::<Tsdb>(&name)?, Engine::default());
        let explained = match when {
            When::Instant(at) => engine.explain(&reader, &self.query, at).await?,
            When::Range { start, end, step_ms } => {
                engine.explain_range(&reader, &self.query, start, end, step_ms).await?
            }
        };
        Ok(Explanation::of(explained).1)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        server: &Client,
        when: &When,
        more: &[(&str, &str)],
    ) -> Result<Response<T>> {
        let instance = server.instance_of::<Tsdb>(self.instance.as_deref()).await?;
        let base = ["v1", "tsdb", instance.as_str(), "api", "v1"];
        match when {
            When::Instant(at) => {
                let path = [&base[..], &["query"]].concat();
                let at = times::show(*at);
                let query = [("query", self.query.as_str()), ("time", &at)];
                server.query(&path, &[&query[..], more].concat()).await
            }
            When::Range { start, end, step_ms } => {
                let path = [&base[..], &["query_range"]].concat();
                let step = format!("{step_ms}ms");
                let (start, end) = (times::show(*start), times::show(*end));
                let query = [("query", self.query.as_str()), ("start", &start), ("end", &end), ("step", &step)];
                server.query(&path, &[&query[..], more].concat()).await
            }
        }
    }
}

fn table(data: &QueryData) -> Table {
    let mut table = Table::new([("series", Align::Left), ("time", Align::Left), ("value", Align::Right)]);
    let mut row = |series: &str, Point(at, value): &Point| {
        table.row([series.to_owned(), times::show(at.time()), value.clone()]);
    };
    match data {
        QueryData::Scalar(point) => row("scalar", point),
        QueryData::String((at, text)) => row("string", &Point(*at, text.clone())),
        QueryData::Vector(samples) => {
            for sample in samples {
                let name = show_metric(&sample.metric);
                sample.value.iter().for_each(|point| row(&name, point));
                sample.histogram.iter().for_each(|point| row(&name, &point.summary()));
            }
        }
        QueryData::Matrix(series) => {
            for one in series {
                let name = show_metric(&one.metric);
                one.values.iter().for_each(|point| row(&name, point));
                one.histograms.iter().for_each(|point| row(&name, &point.summary()));
            }
        }
    }
    table
}
