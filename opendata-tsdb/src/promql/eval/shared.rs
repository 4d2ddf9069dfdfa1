//! Parts of a query that stand in it more than once are computed once.
//!
//! Two parts are the same if they read the same at the same steps: their text does not matter, but `offset`, `@` and the steps of the
//! subquery around them do. What a part says about itself (warnings, hints) names its place in the query, so a part that says anything is
//! computed at each of its places. Rows are kept up to a bound, and given away at the last place.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use opendata_core::Result;

use super::{Eval, Sink, looks, subquery_grid};
use crate::promql::EngineConfig;
use crate::promql::ast::{Expr, Kind, Selector, Type};
use crate::promql::column::{Grid, Row};

/// Rows are kept for others up to this part of what a query may hold, which is not counted as held.
const PART_OF_HELD: usize = 8;

/// The parts of a query that stand in it more than once.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// By the address of an expression, which stays where it is while the query is evaluated.
    places: HashMap<usize, usize>,
    parts: Vec<Mutex<Part>>,
    kept: AtomicUsize,
    room: usize,
}

#[derive(Debug)]
struct Part {
    /// At how many places it is still to be used.
    uses: usize,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    NotYet,
    Kept(Vec<Row>),
    /// It says something, or is too large.
    AtEachPlace,
}

impl Shared {
    /// Finds the parts of a query with these bounds.
    pub(crate) fn of(expr: &Expr, grid: &Grid, bounds: (i64, i64), config: &EngineConfig) -> Self {
        let mut walk = Walk { bounds, config, known: HashMap::new(), uses: Vec::new() };
        walk.expr(expr, grid);
        let mut shared = Self { room: config.max_held / PART_OF_HELD, ..Self::default() };
        for (first, others) in walk.uses.into_iter().filter(|(_, others)| !others.is_empty()) {
            let place = shared.parts.len();
            shared.parts.push(Mutex::new(Part { uses: others.len() + 1, rows: Rows::NotYet }));
            shared.places.extend(others.into_iter().chain([first]).map(|address| (address, place)));
        }
        shared
    }

    /// Which part an expression is.
    pub(crate) fn place(&self, expr: &Expr) -> Option<usize> {
        if self.places.is_empty() { None } else { self.places.get(&address(expr)).copied() }
    }

    fn part(&self, place: usize) -> Option<MutexGuard<'_, Part>> {
        self.parts.get(place).map(|part| part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is room for so many more values, which are taken then.
    fn takes(&self, values: usize) -> bool {
        self.kept.fetch_add(values, Ordering::Relaxed).saturating_add(values) <= self.room
    }

    /// What is left to be used of a part. The last place gets the rows themselves.
    fn rows(&self, place: usize) -> Option<Vec<Row>> {
        let mut part = self.part(place)?;
        part.uses = part.uses.saturating_sub(1);
        let is_last = part.uses == 0;
        match &mut part.rows {
            Rows::Kept(rows) if is_last => {
                let rows = std::mem::take(rows);
                let weight = rows.iter().map(|row| row.column.weight()).sum();
                self.kept.fetch_sub(weight, Ordering::Relaxed);
                Some(rows)
            }
            Rows::Kept(rows) => Some(rows.clone()),
            Rows::NotYet | Rows::AtEachPlace => None,
        }
    }
}

fn address(expr: &Expr) -> usize {
    std::ptr::from_ref(expr).addr()
}

struct Walk<'a> {
    bounds: (i64, i64),
    config: &'a EngineConfig,
    /// By what identifies a part, its place in `uses`.
    known: HashMap<(String, (i64, i64, usize)), usize>,
    /// The first place of each part, and the others.
    uses: Vec<(usize, Vec<usize>)>,
}

impl Walk<'_> {
    fn expr(&mut self, expr: &Expr, grid: &Grid) {
        if expr.ty() == Type::Vector && expr.first_selector().is_some() {
            let mut identity = String::new();
            write_identity(expr, &mut identity);
            let next = self.uses.len();
            let known = self.known.entry((identity, (grid.start_ms, grid.step_ms, grid.count)));
            let place = *known.or_insert(next);
            if let Some((_, others)) = self.uses.get_mut(place) {
                // What stands in it is known from its first place.
                others.push(address(expr));
                return;
            }
            self.uses.push((address(expr), Vec::new()));
        }
        match &expr.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Instant(_) | Kind::Range(..) => {}
            Kind::Subquery(subquery) => {
                let looks = looks(subquery.shift, *grid, self.bounds.0, self.bounds.1);
                self.expr(&subquery.expr, &subquery_grid(subquery, &looks, self.config));
            }
            Kind::Negate(inner) => self.expr(inner, grid),
            Kind::Binary(binary) => {
                self.expr(&binary.left, grid);
                self.expr(&binary.right, grid);
            }
            Kind::Aggregate(aggregate) => {
                aggregate.parameter.iter().for_each(|parameter| self.expr(parameter, grid));
                self.expr(&aggregate.expr, grid);
            }
            Kind::Call(call) => call.args.iter().for_each(|arg| self.expr(arg, grid)),
        }
    }
}

/// Writes what makes an expression the same as another, in a form that is read back by nobody.
fn write_identity(expr: &Expr, out: &mut String) {
    // Writing to a text does not fail.
    let _ = match &expr.kind {
        Kind::Number(number) => write!(out, "{:x} ", number.to_bits()),
        Kind::Text(text) => write!(out, "{text:?} "),
        Kind::Instant(selector) => write_selector(selector, out),
        Kind::Range(selector, range_ms) => {
            let _ = write!(out, "[{range_ms}] ");
            write_selector(selector, out)
        }
        Kind::Subquery(subquery) => {
            let _ = write!(out, "[{} {:?} {:?}](", subquery.range_ms, subquery.step_ms, subquery.shift);
            write_identity(&subquery.expr, out);
            out.write_char(')')
        }
        Kind::Negate(inner) => {
            out.push_str("-(");
            write_identity(inner, out);
            out.write_char(')')
        }
        Kind::Binary(binary) => {
            let _ = write!(out, "{:?} {:?} {:?}(", binary.op, binary.comparison, binary.matching);
            write_identity(&binary.left, out);
            out.push(',');
            write_identity(&binary.right, out);
            out.write_char(')')
        }
        Kind::Aggregate(aggregate) => {
            let _ = write!(out, "{:?} {:?}(", aggregate.op, aggregate.by);
            for part in aggregate.parameter.iter().chain([&aggregate.expr]) {
                write_identity(part, out);
                out.push(',');
            }
            out.write_char(')')
        }
        Kind::Call(call) => {
            let _ = write!(out, "{}(", call.name);
            for arg in &call.args {
                write_identity(arg, out);
                out.push(',');
            }
            out.write_char(')')
        }
    };
}

fn write_selector(selector: &Selector, out: &mut String) -> std::fmt::Result {
    write!(out, "{:?} {:?} {:?} ", selector.matchers, selector.shift, selector.bounds)
}

impl Eval<'_> {
    /// The rows of a part that stands in the query more than once.
    pub(super) fn rows_once(&self, place: usize, expr: &Expr, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let Some(is_new) = self.shared.part(place).map(|part| matches!(part.rows, Rows::NotYet)) else {
            return self.rows_anew(expr, grid, sink);
        };
        if let Some(rows) = self.shared.rows(place) {
            return rows.into_iter().try_for_each(sink);
        }
        if !is_new {
            return self.rows_anew(expr, grid, sink);
        }
        let said = self.notes().said();
        let (mut kept, mut weight, mut fits) = (Vec::new(), 0, true);
        let evaluated = self.rows_anew(expr, grid, &mut |row| {
            if fits {
                weight += row.column.weight();
                fits = self.shared.takes(row.column.weight());
                kept.push(row.clone());
            }
            if !fits {
                kept = Vec::new();
            }
            sink(row)
        });
        let says_nothing = self.notes().said() == said;
        let keeps = evaluated.is_ok() && fits && says_nothing;
        if !keeps {
            self.shared.kept.fetch_sub(weight, Ordering::Relaxed);
        }
        if let Some(mut part) = self.shared.part(place) {
            part.rows = if keeps { Rows::Kept(kept) } else { Rows::AtEachPlace };
        }
        evaluated
    }
}
