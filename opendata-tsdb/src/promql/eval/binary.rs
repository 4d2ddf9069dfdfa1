//! Operators between two expressions: with a scalar row by row, between vectors as a join on labels.
//!
//! A join works on whole rows: a pair of rows with matching labels yields a row at the steps where both have a value. That two
//! series of one side match the same series is an error only at steps where it happens, as if each step were evaluated alone.

use opendata_core::{Error, Result};

use super::aggregate::{Groups, Key};
use super::{Eval, Merged, Sink, drops_name};
use crate::labels::{Labels, METRIC_NAME};
use crate::promql::ast::{Binary, BinaryOp, Comparison, Expr, Fill, Group, LabelSet, Type};
use crate::promql::column::{Bits, Column, Grid, Row};

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

/// The result of an operator; `kept` is what a comparison that holds hands on.
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

impl Eval<'_> {
    pub(super) fn binary(&self, binary: &Binary, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        match (binary.left.ty(), binary.right.ty()) {
            (Type::Scalar, _) => self.with_scalar(binary, &binary.left, &binary.right, true, grid, sink),
            (_, Type::Scalar) => self.with_scalar(binary, &binary.right, &binary.left, false, grid, sink),
            _ if binary.op.is_set() => self.set(binary, grid, sink),
            _ => self.join(binary, grid, sink),
        }
    }

    fn with_scalar(
        &self,
        binary: &Binary,
        scalar: &Expr,
        vector: &Expr,
        scalar_is_left: bool,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        let scalar = self.scalar(scalar, grid)?;
        let (op, comparison) = (binary.op, binary.comparison);
        let change = |column: &mut Column| {
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
                let new = || Bits::none(grid.count);
                groups.update(key.of(&row.labels), new, |bits| bits.or(&row.column.present));
                rows(row)
            })?;
            Ok::<_, Error>(groups)
        };
        if binary.op == BinaryOp::Or {
            let mut merged = Merged::new(&self.budget);
            let left = presence(&binary.left, &mut |row| merged.push(row))?;
            self.rows(&binary.right, grid, &mut |mut row| {
                if let Some(bits) = left.get(&key.of(&row.labels)) {
                    row.column.present.and_not(bits);
                }
                self.emit(row, &mut |row| merged.push(row))
            })?;
            return merged.emit(sink);
        }
        let right = presence(&binary.right, &mut |_| Ok(()))?;
        let unless = binary.op == BinaryOp::Unless;
        self.rows(&binary.left, grid, &mut |mut row| {
            match right.get(&key.of(&row.labels)) {
                Some(bits) if unless => row.column.present.and_not(bits),
                Some(bits) => row.column.present.and(bits),
                None if unless => (),
                None => return Ok(()),
            }
            self.emit(row, sink)
        })
    }

    fn join(&self, binary: &Binary, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let left = self.gather(&binary.left, grid)?;
        let right = self.gather(&binary.right, grid)?;
        let many_is_left = !matches!(binary.matching.group, Group::Right(_));
        let (many, one) = if many_is_left { (left, right) } else { (right, left) };
        let fill = binary.matching.fill;
        let join = Join { binary, many_is_left, grid };
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
        out.into_iter().try_for_each(|(labels, joined)| self.emit(Row { labels, column: joined.column }, sink))
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
}

struct Join<'a> {
    binary: &'a Binary,
    many_is_left: bool,
    grid: &'a Grid,
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
                    let what = "several series match on the side where they must be unique";
                    let (a, b) = if other.labels < row.labels {
                        (&other.labels, &row.labels)
                    } else {
                        (&row.labels, &other.labels)
                    };
                    let text = format!("{what}, side={side}, group={group}, series={a} and {b}");
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
            let value = |step: usize| Some((row.column.get(step)?, other.column.get(step)?));
            self.pair(labels, both, value, out)?;
        }
        let Fill { left, right } = self.binary.matching.fill;
        if let Some(fill) = if self.many_is_left { right } else { left }
            && !left_over.is_none()
        {
            self.take(&group, &left_over, &row.labels, taken)?;
            let labels = self.labels(&row.labels, &Labels::empty())?;
            self.pair(labels, left_over, |step| Some((row.column.get(step)?, fill)), out)?;
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
                self.pair(labels, left_over, |step| Some((fill, row.column.get(step)?)), out)?;
            }
        }
        Ok(())
    }

    /// Notes the steps at which a group has matched; one to one, twice is an error.
    fn take(&self, group: &Labels, steps: &Bits, labels: &Labels, taken: &mut Groups<Bits>) -> Result<()> {
        let twice = taken.get(group).is_some_and(|bits| bits.overlaps(steps));
        if twice && self.binary.matching.group == Group::OneToOne {
            let what = "several series match one: `group_left` or `group_right` allows that";
            return Err(Error::invalid(format!("{what}, group={group}, series={labels}")));
        }
        taken.update(group.clone(), || Bits::none(self.grid.count), |bits| bits.or(steps));
        Ok(())
    }

    fn pair(
        &self,
        labels: Labels,
        steps: Bits,
        values: impl Fn(usize) -> Option<(f64, f64)>,
        out: &mut Groups<Joined>,
    ) -> Result<()> {
        if out.get(&labels).is_some_and(|joined| joined.matched.overlaps(&steps)) {
            let what = "several series of the result have the same labels: the group modifier must keep them apart";
            return Err(Error::invalid(format!("{what}, labels={labels}")));
        }
        let new = || Joined { column: Column::empty(self.grid.count), matched: Bits::none(self.grid.count) };
        out.update(labels, new, |joined| {
            for step in steps.iter() {
                let Some((many, one)) = values(step) else { continue };
                let (a, b) = if self.many_is_left { (many, one) } else { (one, many) };
                if let Some(value) = apply(self.binary.op, self.binary.comparison, a, b, a) {
                    joined.column.set(step, value);
                }
            }
            joined.matched.or(&steps);
        });
        Ok(())
    }

    /// The labels of a pair's result.
    fn labels(&self, many: &Labels, one: &Labels) -> Result<Labels> {
        let drop_name = drops_name(self.binary.op, self.binary.comparison);
        let labels = if drop_name { many.without_metric_name() } else { many.clone() };
        match (&self.binary.matching.group, &self.binary.matching.on) {
            (Group::OneToOne, LabelSet::Only(names)) => Ok(labels.keep(names)),
            (Group::OneToOne, LabelSet::Without(names)) => Ok(labels.without(names)),
            (Group::Left(names) | Group::Right(names), _) => names
                .iter()
                .filter(|name| !drop_name || *name != METRIC_NAME)
                .try_fold(labels, |labels, name| labels.with(name, one.get(name).unwrap_or_default())),
        }
    }
}
