//! The selectors of a query, for whoever needs what a query reads and not its answer.

use opendata_core::{Error, Result};

use super::ast::{Expr, Kind};
use super::parse::{QueryTime, parse};
use crate::matcher::Matcher;

/// Any step and range do where nothing is evaluated, as long as there are some.
const TIME: QueryTime = QueryTime { step_ms: 60_000, range_ms: 3_600_000 };

/// The matchers of a selector such as `up{job="api"}`: what the parameter `match[]` of the HTTP interface holds.
///
/// # Errors
/// `Invalid` when it does not parse or is more than a selector, or when all its matchers match the empty text.
pub fn parse_selector(selector: &str) -> Result<Vec<Matcher>> {
    let parsed = parse(selector, TIME)?;
    match parsed.expr.kind {
        Kind::Instant(found) if found.shift.at.is_none() && found.shift.offset_ms.is_none() => Ok(found.matchers),
        _ => Err(Error::invalid(format!("a selector is wanted, and nothing around it, selector={selector}"))),
    }
}

/// The matchers of each selector of a query, in the order they stand in.
///
/// # Errors
/// `Invalid` when the query does not parse.
pub fn selectors(query: &str) -> Result<Vec<Vec<Matcher>>> {
    let mut found = Vec::new();
    collect(&parse(query, TIME)?.expr, &mut found);
    Ok(found)
}

fn collect(expr: &Expr, found: &mut Vec<Vec<Matcher>>) {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) => {}
        Kind::Instant(selector) | Kind::Range(selector, _) => found.push(selector.matchers.clone()),
        Kind::Subquery(subquery) => collect(&subquery.expr, found),
        Kind::Negate(inner) => collect(inner, found),
        Kind::Binary(binary) => {
            collect(&binary.left, found);
            collect(&binary.right, found);
        }
        Kind::Aggregate(aggregate) => {
            aggregate.parameter.iter().for_each(|parameter| collect(parameter, found));
            collect(&aggregate.expr, found);
        }
        Kind::Call(call) => call.args.iter().for_each(|arg| collect(arg, found)),
    }
}

#[cfg(test)]
mod tests;
