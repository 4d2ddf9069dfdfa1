//! Matchers of one side of an operator, asked of the other side as well.
//!
//! What is joined must agree in the matching labels, so series of one side that fail a matcher which holds of all series of the other find no partner: in
//! `rate(m{pod="p"}[5m]) / on (pod) limits`, of `limits` only those of the one pod are read. That must change neither the answer nor what is said about it:
//!
//! - Only plain selectors are narrowed, and functions that look at no values: whatever else is computed of a series may have something to say.
//! - Two series of the one side that have the same matching labels are an error, even if nothing matches them. So a join is only narrowed where the
//!   labels of its one side are distinct, which the index says without reading samples. `and` and `unless` know no such error.
//! - A selector is narrowed where it stands, and not where the same read serves another place.

use std::collections::HashSet;

use opendata_core::Result;

use super::EngineConfig;
use super::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Bounds, Expr, Fill, Group, Kind, LabelSet, Type};
use super::column::Grid;
use super::function::Function;
use super::parse::Parsed;
use super::plan::{Plan, plan};
use super::storage::Storage;
use crate::labels::METADATA;
use crate::matcher::Matcher;

/// Plans the reads of a query, as narrow as they can be.
pub(crate) async fn plan_reads(
    parsed: &Parsed,
    grid: &Grid,
    config: &EngineConfig,
    storage: &dyn Storage,
) -> Result<Plan> {
    let mut plan = plan(parsed, grid, config, storage.has_rollups())?;
    // Where points of rollups stand for samples, that is said if any series has some.
    if config.shortcuts && !storage.has_rollups() {
        let mut found = Vec::new();
        collect(&parsed.expr, &mut found);
        for narrowing in found {
            narrowing.apply(&mut plan, storage).await?;
        }
    }
    Ok(plan)
}

/// What an operator may ask of its sides.
struct Narrowing<'a> {
    on: &'a LabelSet,
    /// Whose series must have distinct matching labels, if any must.
    one: Option<&'a Expr>,
    /// Selectors, and what else their series must satisfy.
    more: Vec<(usize, Vec<Matcher>)>,
}

/// Finds the operators of an expression whose sides can be narrowed.
fn collect<'a>(expr: &'a Expr, found: &mut Vec<Narrowing<'a>>) {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Instant(_) | Kind::Range(..) => {}
        Kind::Subquery(subquery) => collect(&subquery.expr, found),
        Kind::Negate(inner) => collect(inner, found),
        Kind::Aggregate(aggregate) => {
            aggregate.parameter.iter().for_each(|parameter| collect(parameter, found));
            collect(&aggregate.expr, found);
        }
        Kind::Call(call) => call.args.iter().for_each(|arg| collect(arg, found)),
        Kind::Binary(binary) => {
            collect(&binary.left, found);
            collect(&binary.right, found);
            found.extend(of(binary).filter(|narrowing| !narrowing.more.is_empty()));
        }
    }
}

fn of(binary: &Binary) -> Option<Narrowing<'_>> {
    let (left, right, on) = (&binary.left, &binary.right, &binary.matching.on);
    let is_of_vectors = left.ty() == Type::Vector && right.ty() == Type::Vector;
    // With a name among them, what drops its name matches otherwise than its series.
    if !is_of_vectors || binary.matching.fill != Fill::default() || METADATA.iter().any(|name| has(on, name)) {
        return None;
    }
    let asked = |of: &Expr, by: &Expr| {
        let more: Vec<Matcher> = holds(by).into_iter().filter(|matcher| has(on, matcher.name())).collect();
        narrowable(of).filter(|_| !more.is_empty()).map(|selector| (selector, more))
    };
    let (one, more) = match (binary.op, &binary.matching.group) {
        (BinaryOp::Or, _) => return None,
        (BinaryOp::Unless, _) => (None, vec![asked(right, left)]),
        (BinaryOp::And, _) => (None, vec![asked(right, left), asked(left, right)]),
        (_, Group::Right(_)) => (Some(left), vec![asked(right, left), asked(left, right)]),
        (_, Group::OneToOne | Group::Left(_)) => (Some(right), vec![asked(right, left), asked(left, right)]),
    };
    Some(Narrowing { on, one, more: more.into_iter().flatten().collect() })
}

/// Whether a label is among those that must agree.
fn has(on: &LabelSet, name: &str) -> bool {
    match on {
        LabelSet::Only(names) => names.iter().any(|own| own == name),
        LabelSet::Without(names) => !METADATA.contains(&name) && names.iter().all(|own| own != name),
    }
}

/// What holds of the labels of all rows of an expression.
fn holds(expr: &Expr) -> Vec<Matcher> {
    match &expr.kind {
        Kind::Instant(selector) | Kind::Range(selector, _) => {
            selector.matchers.iter().filter(|matcher| !METADATA.contains(&matcher.name())).cloned().collect()
        }
        Kind::Subquery(subquery) => holds(&subquery.expr),
        Kind::Negate(inner) => holds(inner),
        Kind::Aggregate(aggregate) => match aggregate.op {
            AggregateOp::CountValues => Vec::new(),
            op if is_choice(op) => holds(&aggregate.expr),
            _ => holds(&aggregate.expr).into_iter().filter(|matcher| has(&aggregate.by, matcher.name())).collect(),
        },
        Kind::Call(call) if is_row_by_row(call.function) => {
            let argument = call.args.iter().find(|arg| matches!(arg.ty(), Type::Vector | Type::Matrix));
            argument.map(holds).unwrap_or_default()
        }
        Kind::Binary(binary) => match (binary.left.ty(), binary.right.ty()) {
            (Type::Scalar, _) => holds(&binary.right),
            (_, Type::Scalar) => holds(&binary.left),
            _ if matches!(binary.op, BinaryOp::And | BinaryOp::Unless) => holds(&binary.left),
            _ => Vec::new(),
        },
        Kind::Call(_) | Kind::Number(_) | Kind::Text(_) => Vec::new(),
    }
}

/// Whether an aggregation hands some of its rows on, as they are.
fn is_choice(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK | AggregateOp::LimitRatio)
}

/// Whether a function makes one row of each, with its labels.
fn is_row_by_row(function: Function) -> bool {
    matches!(
        function,
        Function::Math(_)
            | Function::Date(_)
            | Function::Over(_)
            | Function::Clamp
            | Function::ClampMin
            | Function::ClampMax
            | Function::Round
            | Function::Timestamp
            | Function::Sort(_)
            | Function::SortByLabel(_)
    )
}

/// The selector of an expression that has nothing to say of any series.
fn narrowable(expr: &Expr) -> Option<usize> {
    match &expr.kind {
        Kind::Instant(selector) if selector.bounds == Bounds::Samples => Some(selector.id),
        Kind::Call(call) => match (call.function, call.args.as_slice()) {
            (Function::Over(over), [Expr { kind: Kind::Range(selector, _), .. }])
                if selector.bounds == Bounds::Samples && !over.looks_at_values() =>
            {
                Some(selector.id)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether no two rows of a side can have the same matching labels.
enum Distinct {
    Surely,
    /// If no two series of a selector do.
    AsSeries(usize),
    Unknown,
}

fn distinct(expr: &Expr, on: &LabelSet) -> Distinct {
    match &expr.kind {
        Kind::Instant(selector) | Kind::Range(selector, _) => Distinct::AsSeries(selector.id),
        Kind::Negate(inner) => distinct(inner, on),
        Kind::Aggregate(aggregate) if !is_choice(aggregate.op) => match keeps_apart(aggregate, on) {
            true => Distinct::Surely,
            false => Distinct::Unknown,
        },
        Kind::Aggregate(aggregate) => distinct(&aggregate.expr, on),
        Kind::Call(call) if is_row_by_row(call.function) => {
            let argument = call.args.iter().find(|arg| matches!(arg.ty(), Type::Vector | Type::Matrix));
            argument.map_or(Distinct::Unknown, |argument| distinct(argument, on))
        }
        _ => Distinct::Unknown,
    }
}

/// Whether all labels by which an aggregation has groups are among those that match.
fn keeps_apart(aggregate: &Aggregate, on: &LabelSet) -> bool {
    match (&aggregate.by, on) {
        _ if aggregate.op == AggregateOp::CountValues => false,
        (LabelSet::Only(by), on) => by.iter().all(|name| has(on, name)),
        (LabelSet::Without(by), LabelSet::Without(names)) => names.iter().all(|name| by.contains(name)),
        (LabelSet::Without(_), LabelSet::Only(_)) => false,
    }
}

impl Narrowing<'_> {
    async fn apply(self, plan: &mut Plan, storage: &dyn Storage) -> Result<()> {
        let mut more = Vec::new();
        for (selector, matchers) in self.more {
            let Some(read) = plan.read_of.get(selector).copied().flatten() else { continue };
            let is_shared = plan.read_of.iter().filter(|of| **of == Some(read)).count() > 1;
            let known = plan.reads.get(read).map(|read| read.matchers.as_slice()).unwrap_or_default();
            let new: Vec<Matcher> = matchers.into_iter().filter(|matcher| !known.contains(matcher)).collect();
            if !is_shared && !new.is_empty() {
                more.push((read, new));
            }
        }
        let is_safe = match self.one {
            _ if more.is_empty() => return Ok(()),
            None => true,
            Some(one) => match distinct(one, self.on) {
                Distinct::Surely => true,
                Distinct::Unknown => false,
                Distinct::AsSeries(selector) => are_distinct(selector, self.on, plan, storage).await?,
            },
        };
        for (read, matchers) in more.into_iter().filter(|_| is_safe) {
            if let Some(read) = plan.reads.get_mut(read) {
                read.matchers.extend(matchers);
            }
        }
        Ok(())
    }
}

/// Whether no two series of a selector have the same matching labels, at any time that is read.
async fn are_distinct(selector: usize, on: &LabelSet, plan: &Plan, storage: &dyn Storage) -> Result<bool> {
    let Some(read) = plan.read_of.get(selector).copied().flatten().and_then(|read| plan.reads.get(read)) else {
        return Ok(false);
    };
    let Some(all) = storage.label_sets(&read.matchers, read.start_ms, read.end_ms).await? else { return Ok(false) };
    let mut seen = HashSet::with_capacity(all.len());
    Ok(all.iter().all(|labels| {
        let matching = match on {
            LabelSet::Only(names) => labels.keep(names),
            LabelSet::Without(names) => labels.without_metadata().without(names),
        };
        seen.insert(matching)
    }))
}
