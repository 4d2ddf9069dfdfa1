//! Operators between two expressions: with a scalar row by row, between vectors as a join on labels.
//!
//! A join works on whole rows: a pair of rows with matching labels yields a row at the steps where both have a value. That two
//! series of one side match the same series is an error only at steps where it happens, as if each step were evaluated alone.

use std::sync::Arc;

use opendata_core::{Error, Result};

use super::aggregate::{Groups, Key};
use super::{Eval, Merged, Sink, drops_name};
use crate::histogram::{CounterReset, Histogram, TrimSide};
use crate::labels::{Labels, METRIC_NAME, Quoted};
use crate::promql::ast::{Binary, BinaryOp, Comparison, Expr, Fill, Group, LabelSet, Type};
use crate::promql::column::{Bits, Cell, Column, Grid, Row};
use crate::promql::kernel::Step;
use crate::promql::lex::Span;

/// An arithmetic operator.
pub(crate) fn arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

/// A comparison.
#[expect(clippy::float_cmp, reason = "the language compares exactly")]
pub(crate) fn compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Equal => a == b,
        BinaryOp::NotEqual => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessEqual => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterEqual => a >= b,
        _ => false,
    }
}

/// The result of an operator between floats; `kept` is what a comparison that holds hands on.
fn apply(op: BinaryOp, comparison: Comparison, a: f64, b: f64, kept: f64) -> Option<f64> {
    if !op.is_comparison() {
        return Some(arithmetic(op, a, b));
    }
    let holds = compare(op, a, b);
    match comparison {
        Comparison::Bool => Some(f64::from(u8::from(holds))),
        Comparison::Filter => holds.then_some(kept),
    }
}

/// Operators between values of any kind, with what is to be said about them.
struct Cells<'a> {
    eval: &'a Eval<'a>,
    binary: &'a Binary,
    span: Span,
}

impl Eval<'_> {
    pub(super) fn binary(&self, binary: &Binary, span: Span, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        match (binary.left.ty(), binary.right.ty()) {
            (Type::Scalar, _) => self.with_scalar(binary, span, true, grid, sink),
            (_, Type::Scalar) => self.with_scalar(binary, span, false, grid, sink),
            _ if binary.op.is_set() => self.set(binary, grid, sink),
            _ => self.join(binary, span, grid, sink),
        }
    }

    fn with_scalar(
        &self,
        binary: &Binary,
        span: Span,
        scalar_is_left: bool,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let (scalar, vector) =
            if scalar_is_left { (&binary.left, &binary.right) } else { (&binary.right, &binary.left) };
        let scalar = self.scalar(scalar, grid)?;
        let (op, comparison) = (binary.op, binary.comparison);
        let cells = Cells { eval: self, binary, span };
        let change = |column: &mut Column| {
            if !column.is_float() || op.is_trim() {
                return column.update_cells(|step, cell| {
                    let other = Cell::Float(scalar.at(step));
                    let (a, b) = if scalar_is_left { (&other, &cell) } else { (&cell, &other) };
                    cells.apply(a, b, &cell)
                });
            }
            column.update(|step, value| {
                let other = scalar.at(step);
                let (a, b) = if scalar_is_left { (other, value) } else { (value, other) };
                apply(op, comparison, a, b, value)
            });
        };
        if drops_name(op, comparison) {
            return self.renamed(
                vector,
                grid,
                &|mut row| {
                    change(&mut row.column);
                    Ok(Some(row))
                },
                sink,
            );
        }
        self.rows(vector, grid, &mut |mut row| {
            change(&mut row.column);
            self.emit(row, sink)
        })
    }

    /// `and`, `or`, `unless`.
    fn set(&self, binary: &Binary, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let key = Key::new(&binary.matching.on);
        let presence = |expr: &Expr, rows: &mut dyn FnMut(Row) -> Result<()>| {
            let mut groups: Groups<Bits> = Groups::new();
            self.rows(expr, grid, &mut |row| {
                let row = self.settled(row);
                let new = || Bits::none(grid.count);
                groups.update(key.of(&row.labels), new, |bits| bits.or(&row.column.present));
                rows(row)
            })?;
            Ok::<_, Error>(groups)
        };
        if binary.op == BinaryOp::Or {
            let mut merged = Merged::new(self.budget);
            let left = presence(&binary.left, &mut |row| merged.push(row))?;
            self.rows(&binary.right, grid, &mut |row| {
                let mut row = self.settled(row);
                if let Some(bits) = left.get(&key.of(&row.labels)) {
                    row.column.present.and_not(bits);
                }
                self.emit(row, &mut |row| merged.push(row))
            })?;
            return merged.emit(sink);
        }
        let right = presence(&binary.right, &mut |_| Ok(()))?;
        let unless = binary.op == BinaryOp::Unless;
        self.rows(&binary.left, grid, &mut |row| {
            let mut row = self.settled(row);
            match right.get(&key.of(&row.labels)) {
                Some(bits) if unless => row.column.present.and_not(bits),
                Some(bits) => row.column.present.and(bits),
                None if unless => (),
                None => return Ok(()),
            }
            self.emit(row, sink)
        })
    }

    fn join(&self, binary: &Binary, span: Span, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let left = self.gather(&binary.left, grid)?;
        let right = self.gather(&binary.right, grid)?;
        let many_is_left = !matches!(binary.matching.group, Group::Right(_));
        let (many, one) = if many_is_left { (left, right) } else { (right, left) };
        let fill = binary.matching.fill;
        let cells = Cells { eval: self, binary, span };
        let join = Join { binary, cells, many_is_left, grid };
        let anything = union(&many, grid);
        let one = join.one_side(one, &anything, fill != Fill::default())?;
        let mut out = Groups::new();
        let mut taken: Groups<Bits> = Groups::new();
        for row in many {
            self.budget.compute(grid.count)?;
            self.budget.hold(grid.count)?;
            join.many_row(row, &one, &mut taken, &mut out)?;
        }
        let fill_many = if many_is_left { fill.left } else { fill.right };
        if let Some(value) = fill_many {
            join.fill_many(value, &one, &taken, &mut out)?;
        }
        out.into_iter().try_for_each(|(labels, joined)| {
            let row = Row { labels, column: joined.column, drop_name: joined.drop_name };
            self.emit(row, sink)
        })
    }
}

fn union(rows: &[Row], grid: &Grid) -> Bits {
    let mut bits = Bits::none(grid.count);
    rows.iter().for_each(|row| bits.or(&row.column.present));
    bits
}

/// The rows of the side where labels must be unique, by the labels that match.
type OneSide = Groups<Vec<Row>>;

/// A row of the result, and the steps at which a pair matched, whether a comparison kept it or not.
struct Joined {
    column: Column,
    matched: Bits,
    drop_name: bool,
}

struct Join<'a> {
    binary: &'a Binary,
    cells: Cells<'a>,
    many_is_left: bool,
    grid: &'a Grid,
}

impl Cells<'_> {
    /// The result; `kept` is what a comparison that holds hands on.
    fn apply(&self, a: &Cell, b: &Cell, kept: &Cell) -> Option<Cell> {
        let (op, comparison) = (self.binary.op, self.binary.comparison);
        match (a, b) {
            (Cell::Float(a), Cell::Float(b)) if !op.is_trim() => {
                let kept = if let Cell::Float(kept) = kept { *kept } else { *a };
                apply(op, comparison, *a, *b, kept).map(Cell::Float)
            }
            (Cell::Histogram(histogram), Cell::Float(number)) => match op {
                BinaryOp::Mul => changed(histogram, |histogram| histogram.scale(*number)),
                BinaryOp::Div => changed(histogram, |histogram| histogram.divide(*number)),
                BinaryOp::TrimUpper => changed(histogram, |histogram| histogram.trim(TrimSide::Below, *number)),
                BinaryOp::TrimLower => changed(histogram, |histogram| histogram.trim(TrimSide::Above, *number)),
                _ => self.unfit("histogram", "float"),
            },
            (Cell::Float(number), Cell::Histogram(histogram)) if op == BinaryOp::Mul => {
                changed(histogram, |histogram| histogram.scale(*number))
            }
            (Cell::Histogram(a), Cell::Histogram(b)) => match op {
                BinaryOp::Add => self.combined(Histogram::clone(a), b, Step::Addition),
                BinaryOp::Sub => self.combined(Histogram::clone(a), b, Step::Subtraction),
                BinaryOp::Equal | BinaryOp::NotEqual => {
                    let holds = a.same_values(b) == (op == BinaryOp::Equal);
                    match comparison {
                        Comparison::Bool => Some(Cell::Float(f64::from(u8::from(holds)))),
                        Comparison::Filter => holds.then(|| kept.clone()),
                    }
                }
                _ => self.unfit("histogram", "histogram"),
            },
            (Cell::Float(_), Cell::Float(_)) => self.unfit("float", "float"),
            (Cell::Float(_), Cell::Histogram(_)) => self.unfit("float", "histogram"),
        }
    }

    fn combined(&self, mut a: Histogram, b: &Histogram, step: Step) -> Option<Cell> {
        let combined = if step == Step::Addition { a.add(b) } else { a.sub(b) };
        let Ok(combined) = combined else {
            let what = "incompatible bucket layout encountered for binary operator";
            self.eval.warn(self.span, format_args!("{what} {}", self.binary.op.sign()));
            return None;
        };
        if combined.bounds_reduced {
            self.eval.inform_bounds(step, self.span);
        }
        if combined.resets_conflict {
            self.eval.warn_resets(step, self.span);
        }
        if step == Step::Subtraction {
            a.counter_reset = CounterReset::Gauge;
        }
        a.compact();
        Some(Cell::Histogram(Arc::new(a)))
    }

    /// Nothing, and a hint why.
    fn unfit(&self, a: &str, b: &str) -> Option<Cell> {
        let sign = self.binary.op.sign();
        let what = "incompatible sample types encountered for binary operator";
        self.eval.inform(self.span, format_args!("{what} \"{sign}\": {a} {sign} {b}"));
        None
    }
}

/// Labels all in braces, the name among them: as the reference lists series in errors.
struct Braced<'a>(&'a Labels);

impl std::fmt::Display for Braced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{")?;
        for (index, label) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{}={}", label.name(), Quoted(label.value()))?;
        }
        f.write_str("}")
    }
}

fn changed(histogram: &Arc<Histogram>, change: impl Fn(&mut Histogram)) -> Option<Cell> {
    let mut histogram = Histogram::clone(histogram);
    change(&mut histogram);
    Some(Cell::Histogram(Arc::new(histogram)))
}

impl Join<'_> {
    /// Groups the one side; refuses two of its series with the same matching labels where the other side has anything.
    fn one_side(&self, rows: Vec<Row>, anything: &Bits, filled: bool) -> Result<OneSide> {
        let key = Key::new(&self.binary.matching.on);
        let mut one: OneSide = Groups::new();
        for row in rows {
            let group = key.of(&row.labels);
            for other in one.get(&group).into_iter().flatten() {
                let mut both = other.column.present.clone();
                both.and(&row.column.present);
                if both.overlaps(anything) || (filled && !both.is_none()) {
                    let side = if self.many_is_left { "right" } else { "left" };
                    let what = format!("found duplicate series for the match group {}", Braced(&group));
                    let (a, b) = if other.labels < row.labels {
                        (&other.labels, &row.labels)
                    } else {
                        (&row.labels, &other.labels)
                    };
                    let (a, b) = (Braced(a), Braced(b));
                    let text = format!(
                        "{what} on the {side} hand-side of the operation: [{a}, {b}];many-to-many matching not allowed: \
                        matching labels must be unique on one side"
                    );
                    return Err(Error::invalid(text));
                }
            }
            one.update(group, Vec::new, |rows| rows.push(row));
        }
        Ok(one)
    }

    fn many_row(&self, row: Row, one: &OneSide, taken: &mut Groups<Bits>, out: &mut Groups<Joined>) -> Result<()> {
        let group = Key::new(&self.binary.matching.on).of(&row.labels);
        let mut left_over = row.column.present.clone();
        for other in one.get(&group).into_iter().flatten() {
            let mut both = other.column.present.clone();
            both.and(&row.column.present);
            if both.is_none() {
                continue;
            }
            left_over.and_not(&both);
            self.take(&group, &both, &row.labels, taken)?;
            let labels = self.labels(&row.labels, &other.labels)?;
            let value = |step: usize| Some((row.column.cell(step)?, other.column.cell(step)?));
            self.pair(labels, row.drop_name, both, value, out)?;
        }
        let Fill { left, right } = self.binary.matching.fill;
        if let Some(fill) = if self.many_is_left { right } else { left }
            && !left_over.is_none()
        {
            self.take(&group, &left_over, &row.labels, taken)?;
            let labels = self.labels(&row.labels, &Labels::empty())?;
            let value = |step: usize| Some((row.column.cell(step)?, Cell::Float(fill)));
            self.pair(labels, row.drop_name, left_over, value, out)?;
        }
        Ok(())
    }

    /// Values of the one side that nothing matched, against the fill value.
    fn fill_many(&self, fill: f64, one: &OneSide, taken: &Groups<Bits>, out: &mut Groups<Joined>) -> Result<()> {
        for (group, rows) in one.iter() {
            for row in rows {
                let mut left_over = row.column.present.clone();
                taken.get(group).into_iter().for_each(|bits| left_over.and_not(bits));
                let labels = self.labels(group, &row.labels)?;
                let value = |step: usize| Some((Cell::Float(fill), row.column.cell(step)?));
                self.pair(labels, row.drop_name, left_over, value, out)?;
            }
        }
        Ok(())
    }

    /// Notes the steps at which a group has matched; one to one, twice is an error.
    fn take(&self, group: &Labels, steps: &Bits, labels: &Labels, taken: &mut Groups<Bits>) -> Result<()> {
        let twice = taken.get(group).is_some_and(|bits| bits.overlaps(steps));
        if twice && self.binary.matching.group == Group::OneToOne {
            let what = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
            return Err(Error::invalid(format!("{what}, group={group}, series={labels}")));
        }
        taken.update(group.clone(), || Bits::none(self.grid.count), |bits| bits.or(steps));
        Ok(())
    }

    fn pair(
        &self,
        labels: Labels,
        drop_name: bool,
        steps: Bits,
        values: impl Fn(usize) -> Option<(Cell, Cell)>,
        out: &mut Groups<Joined>,
    ) -> Result<()> {
        if out.get(&labels).is_some_and(|joined| joined.matched.overlaps(&steps)) {
            let what = "multiple matches for labels: grouping labels must ensure unique matches";
            return Err(Error::invalid(format!("{what}, labels={labels}")));
        }
        let drop_name = drop_name || drops_name(self.binary.op, self.binary.comparison);
        let count = self.grid.count;
        let new = || Joined { column: Column::empty(count), matched: Bits::none(count), drop_name };
        out.update(labels, new, |joined| {
            for step in steps.iter() {
                let Some((many, one)) = values(step) else { continue };
                let (a, b) = if self.many_is_left { (&many, &one) } else { (&one, &many) };
                if let Some(value) = self.cells.apply(a, b, a) {
                    joined.column.set_cell(step, value);
                }
            }
            joined.matched.or(&steps);
        });
        Ok(())
    }

    /// The labels of a pair's result.
    fn labels(&self, many: &Labels, one: &Labels) -> Result<Labels> {
        let drop_name = drops_name(self.binary.op, self.binary.comparison);
        // With delayed removal the name stays, and the row knows that it goes.
        let now = drop_name && !self.cells.eval.config.delayed_name_removal;
        let labels = if now { many.without_metadata() } else { many.clone() };
        match (&self.binary.matching.group, &self.binary.matching.on) {
            (Group::OneToOne, LabelSet::Only(names)) if drop_name => Ok(labels.without_metadata().keep(names)),
            (Group::OneToOne, LabelSet::Only(names)) => Ok(labels.keep(names)),
            (Group::OneToOne, LabelSet::Without(names)) => Ok(labels.without(names)),
            (Group::Left(names) | Group::Right(names), _) => names
                .iter()
                .filter(|name| !drop_name || *name != METRIC_NAME)
                .try_fold(labels, |labels, name| labels.with(name, one.get(name).unwrap_or_default())),
        }
    }
}
