//! What a query does and what it costs: its plan, what it read of the storage, and what made that little.
//!
//! Nothing here is estimated. The query is answered as always, and then told about.

use opendata_core::{Result, Timestamp};
use serde::Serialize;

use super::ast::{Bounds, Call, Expr, Group, Kind, LabelSet, Selector, Shift, Subquery, Type};
use super::column::Grid;
use super::duration::Ms;
use super::engine::Engine;
use super::eval::{Shared, looks, subquery_grid, wanted_by};
use super::function::Function;
use super::parse::{QueryTime, parse};
use super::plan::Plan;
use super::propagate::plan_reads;
use super::storage::Storage;
use super::value::Answer;
use crate::chunk::Wanted;
use crate::matcher::Matcher;
use crate::rollup::Resolution;

/// A query's answer, and how it came about.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The answer, with what it cost.
    pub answer: Answer,
    /// The query as a tree.
    pub plan: PlanNode,
    /// What was read; a [`PlanNode`] names its own by place.
    pub reads: Vec<ReadFacts>,
}

/// A part of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanNode {
    /// What is done.
    pub what: String,
    /// The part of the query that asks for it.
    pub text: String,
    /// At how many steps.
    pub steps: usize,
    /// What it reads, by place among all reads. Two selectors that read the same read it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<usize>,
    /// What its own input is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<PlanNode>,
}

/// One read of the storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadFacts {
    /// The matchers, as a selector.
    pub selector: String,
    /// The first time that is read, in milliseconds.
    pub start_ms: i64,
    /// The last one.
    pub end_ms: i64,
    /// How many series there were.
    pub series: usize,
    /// The rollup that was read instead of samples, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollup: Option<Resolution>,
    /// Whether samples have expired, and others at the bounds of a rollup's intervals stand for them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stood_for: bool,
    /// Rows of chunks that were read for them.
    pub chunk_rows: usize,
    /// Their bytes.
    pub chunk_bytes: usize,
    /// What made the series few, where the storage can tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub narrowed: Vec<Narrowed>,
}

/// How the series of one part of the storage were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Narrowed {
    /// When the part begins, in milliseconds.
    pub start_ms: i64,
    /// How many series it has.
    pub series: u64,
    /// How many satisfy all matchers.
    pub matched: u64,
    /// What each matcher does by itself.
    pub matchers: Vec<MatcherFacts>,
}

/// What one matcher does by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MatcherFacts {
    /// The matcher.
    pub matcher: String,
    /// What the index offers for it.
    pub way: String,
    /// How many series satisfy it.
    pub series: u64,
}

impl MatcherFacts {
    pub(crate) fn new(matcher: &Matcher, series: u64) -> Self {
        let exact = matcher.literals().map(<[String]>::len);
        let way = match (exact, matcher.op().is_negative(), matcher.prefix()) {
            (Some(1), false, _) => "one value's list of series".to_owned(),
            (Some(values), false, _) => format!("the lists of series of {values} values"),
            (Some(values), true, _) => format!("all series without the lists of {values} values"),
            (None, false, "") => "the list of each value that matches, of all values of the label".to_owned(),
            (None, false, prefix) => {
                format!("the list of each value that matches, of those that begin with {prefix:?}")
            }
            (None, true, "") => "all series without the lists of the values that match".to_owned(),
            (None, true, prefix) => {
                format!("all series without the lists of the values that match, of those that begin with {prefix:?}")
            }
        };
        let way = if exact.is_some() { way } else { format!("{way}, tested {}", matcher.way()) };
        Self { matcher: matcher.to_string(), way, series }
    }
}

impl Engine {
    /// Answers a query at one time, and tells how.
    ///
    /// # Errors
    /// As [`Engine::instant`].
    pub async fn explain(&self, storage: &dyn Storage, query: &str, at: Timestamp) -> Result<Explained> {
        let answer = self.instant(storage, query, at).await?;
        let grid = Grid { start_ms: at.0, step_ms: 1, count: 1 };
        self.explained(storage, query, answer, grid, QueryTime::default()).await
    }

    /// Answers a query over a range of times, and tells how.
    ///
    /// # Errors
    /// As [`Engine::range`].
    pub async fn explain_range(
        &self,
        storage: &dyn Storage,
        query: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: i64,
    ) -> Result<Explained> {
        let answer = self.range(storage, query, start, end, step_ms).await?;
        let grid = Grid::new(start.0, end.0, step_ms);
        let time = QueryTime { step_ms, range_ms: end.0.saturating_sub(start.0) };
        self.explained(storage, query, answer, grid, time).await
    }

    async fn explained(
        &self,
        storage: &dyn Storage,
        query: &str,
        answer: Answer,
        grid: Grid,
        time: QueryTime,
    ) -> Result<Explained> {
        let parsed = parse(query, time)?;
        let plan = plan_reads(&parsed, &grid, self.config(), storage).await?;
        let bounds = (grid.start_ms, parsed.time.end_ms(&grid));
        let shared = match self.config().shortcuts {
            true => Shared::of(&parsed.expr, &grid, bounds, self.config()),
            false => Shared::default(),
        };
        let tell = Tell { query, engine: self, plan: &plan, shared: &shared, bounds };
        let tree = tell.node(&parsed.expr, &grid);
        let mut reads = Vec::with_capacity(plan.reads.len());
        for read in &plan.reads {
            // The query has read it before: this time it comes from memory.
            let found = read.run(storage).await?;
            let (chunk_rows, chunk_bytes) = found.stored();
            reads.push(ReadFacts {
                selector: selector_text(&read.matchers),
                start_ms: read.start_ms,
                end_ms: read.end_ms,
                series: found.len(),
                rollup: found.resolution(),
                stood_for: found.is_stood_for(),
                chunk_rows,
                chunk_bytes,
                narrowed: storage.narrowing(&read.matchers, read.start_ms, read.end_ms).await?,
            });
        }
        Ok(Explained { answer, plan: tree, reads })
    }
}

fn selector_text(matchers: &[Matcher]) -> String {
    let all: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", all.join(", "))
}

struct Tell<'a> {
    query: &'a str,
    engine: &'a Engine,
    plan: &'a Plan,
    shared: &'a Shared,
    /// When the whole query begins and ends.
    bounds: (i64, i64),
}

impl Tell<'_> {
    fn node(&self, expr: &Expr, grid: &Grid) -> PlanNode {
        let text = self.query.get(expr.span.start..expr.span.end).unwrap_or_default().to_owned();
        let (what, read, inputs) = match &expr.kind {
            Kind::Number(number) => (format!("the number {number}"), None, Vec::new()),
            Kind::Text(_) => ("a text".to_owned(), None, Vec::new()),
            Kind::Instant(selector) => (self.select(selector, None), self.read_of(selector), Vec::new()),
            Kind::Range(selector, range_ms) => {
                (self.select(selector, Some(*range_ms)), self.read_of(selector), Vec::new())
            }
            Kind::Subquery(subquery) => return self.subquery(subquery, text, grid),
            Kind::Negate(inner) => ("negate, row by row".to_owned(), None, vec![self.node(inner, grid)]),
            Kind::Binary(binary) => {
                let both = vec![self.node(&binary.left, grid), self.node(&binary.right, grid)];
                (binary_text(binary), None, both)
            }
            Kind::Aggregate(aggregate) => {
                let by = match &aggregate.by {
                    LabelSet::Only(names) if names.is_empty() => "over everything".to_owned(),
                    LabelSet::Only(names) => format!("by {}", names.join(", ")),
                    LabelSet::Without(names) => format!("without {}", names.join(", ")),
                };
                let how = match aggregate.op.parameter() {
                    None => "one accumulator a group",
                    Some(_) => "all rows are gathered first",
                };
                let inputs = aggregate.parameter.iter().chain([&aggregate.expr]);
                let inputs = inputs.map(|input| self.node(input, grid)).collect();
                let times = times_only(aggregate.op.looks_at_values(), &aggregate.expr, self.engine);
                (format!("{} {by}: {how}{times}", aggregate.op.name()), None, inputs)
            }
            Kind::Call(call) => {
                let inputs = call.args.iter().filter(|arg| !matches!(arg.kind, Kind::Number(_) | Kind::Text(_)));
                let inputs = inputs.map(|arg| self.node(arg, grid)).collect();
                let gathers = if gathers(call.name) { ": all rows are gathered first" } else { "" };
                let times = call.args.first().map_or("", |arg| times_only(looks_at_values(call), arg, self.engine));
                let times = if times.is_empty() { self.extremes_only(call, grid) } else { times };
                (format!("{}{gathers}{times}", call.name), None, inputs)
            }
        };
        let once = if self.shared.place(expr).is_some() { ", computed once for all its places" } else { "" };
        PlanNode { what: format!("{what}{once}"), text, steps: grid.count, read, inputs }
    }

    /// What is to be said of a function for which heads of chunks do.
    fn extremes_only(&self, call: &Call, grid: &Grid) -> &'static str {
        let Function::Over(over) = call.function else { return "" };
        match call.args.first().map(|arg| wanted_by(over, arg, grid, self.engine.config())) {
            Some(Wanted::Lowest | Wanted::Highest) => "; chunks inside of the range say theirs without being decoded",
            _ => "",
        }
    }

    fn subquery(&self, subquery: &Subquery, text: String, grid: &Grid) -> PlanNode {
        let looks = looks(subquery.shift, *grid, self.bounds.0, self.bounds.1);
        let inner = subquery_grid(subquery, &looks, self.engine.config());
        let (range, step) = (Ms(subquery.range_ms), Ms(inner.step_ms));
        let what = format!("the last {range} at each step, computed once every {step}{}", shift_text(subquery.shift));
        PlanNode { what, text, steps: grid.count, read: None, inputs: vec![self.node(&subquery.expr, &inner)] }
    }

    fn select(&self, selector: &Selector, range_ms: Option<i64>) -> String {
        let what = match (selector.bounds, range_ms) {
            (Bounds::Samples, None) => "the newest sample of each series".to_owned(),
            (Bounds::Samples, Some(range_ms)) => format!("the samples of each series in {}", Ms(range_ms)),
            (bounds, range_ms) => {
                let word = if bounds == Bounds::Anchored { "anchored" } else { "smoothed" };
                let range = range_ms.map_or(String::new(), |range_ms| format!(" in {}", Ms(range_ms)));
                format!("the {word} values of each series{range}")
            }
        };
        format!("{what}{}", shift_text(selector.shift))
    }

    fn read_of(&self, selector: &Selector) -> Option<usize> {
        self.plan.read_of.get(selector.id).copied().flatten()
    }
}

fn shift_text(shift: Shift) -> String {
    let offset = shift.offset_ms.map_or(String::new(), |ms| format!(", {} earlier", Ms(ms)));
    let at = if shift.at.is_some() { ", always at the same time" } else { "" };
    format!("{at}{offset}")
}

fn binary_text(binary: &super::ast::Binary) -> String {
    let sign = binary.op.sign();
    if binary.left.ty() == Type::Scalar || binary.right.ty() == Type::Scalar {
        return format!("{sign} with a number, row by row");
    }
    let on = match &binary.matching.on {
        LabelSet::Only(names) => format!("on {}", names.join(", ")),
        LabelSet::Without(names) if names.is_empty() => "on all labels".to_owned(),
        LabelSet::Without(names) => format!("on all labels but {}", names.join(", ")),
    };
    if binary.op.is_set() {
        return format!("{sign} {on}: by which steps have values");
    }
    let cardinality = match binary.matching.group {
        Group::OneToOne => "one to one",
        Group::Left(_) => "many to one",
        Group::Right(_) => "one to many",
    };
    format!("{sign} {on}, {cardinality}: both sides are gathered first")
}

/// Whether a function needs more of samples than when they are.
fn looks_at_values(call: &Call) -> bool {
    match call.function {
        Function::Over(over) => over.looks_at_values(),
        Function::Absent | Function::AbsentOverTime | Function::Timestamp => false,
        _ => true,
    }
}

/// What is to be said of a plain selector of which only the times of samples count.
fn times_only(looks_at_values: bool, expr: &Expr, engine: &Engine) -> &'static str {
    match &expr.kind {
        Kind::Instant(selector) | Kind::Range(selector, _)
            if !looks_at_values && selector.bounds == Bounds::Samples && engine.config().shortcuts =>
        {
            "; no values are decoded but those of chunks with stale markers"
        }
        _ => "",
    }
}

/// Functions that need all rows before they know the first of their own.
fn gathers(name: &str) -> bool {
    name.starts_with("sort") || name.starts_with("histogram_quantile") || name == "histogram_fraction" || name == "info"
}
