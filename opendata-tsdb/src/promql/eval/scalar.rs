//! Expressions of type scalar.

use opendata_core::Result;

use super::{Eval, binary};
use crate::promql::ast::{Call, Comparison, Expr, Kind, Type};
use crate::promql::column::{Bits, Grid, Scalar};
use crate::promql::duration::seconds;
use crate::promql::function::{Function, QueryPart};

impl Eval<'_> {
    /// A scalar at each step.
    pub(crate) fn scalar(&self, expr: &Expr, grid: &Grid) -> Result<Scalar> {
        match &expr.kind {
            Kind::Number(number) => Ok(Scalar::Constant(*number)),
            Kind::Negate(inner) => Ok(self.scalar(inner, grid)?.zip(Scalar::Constant(-1.0), |a, b| a * b)),
            Kind::Binary(both) => {
                let (left, right) = (self.scalar(&both.left, grid)?, self.scalar(&both.right, grid)?);
                Ok(left.zip(right, |a, b| match both.comparison {
                    Comparison::Filter => binary::arithmetic(both.op, a, b),
                    Comparison::Bool => f64::from(u8::from(binary::compare(both.op, a, b))),
                }))
            }
            Kind::Call(call) => match call.function {
                Function::Pi => Ok(Scalar::Constant(std::f64::consts::PI)),
                Function::Query(part) => Ok(Scalar::Constant(self.query_part(part))),
                Function::MinOf => self.extreme(call, grid, lesser),
                Function::MaxOf => self.extreme(call, grid, |a, b| -lesser(-a, -b)),
                Function::Time => Ok(Scalar::Steps((0..grid.count).map(|step| seconds(grid.time(step))).collect())),
                Function::Scalar => self.only_value(call.arg(0)?, grid),
                _ => Err(self.unexpected(expr, Type::Scalar)),
            },
            _ => Err(self.unexpected(expr, Type::Scalar)),
        }
    }

    fn extreme(&self, call: &Call, grid: &Grid, of: fn(f64, f64) -> f64) -> Result<Scalar> {
        Ok(self.scalar(call.arg(0)?, grid)?.zip(self.scalar(call.arg(1)?, grid)?, of))
    }

    fn query_part(&self, part: QueryPart) -> f64 {
        seconds(match part {
            QueryPart::Start => self.start_ms,
            QueryPart::End => self.end_ms,
            QueryPart::Range => self.end_ms.saturating_sub(self.start_ms),
            QueryPart::Step => self.step_ms,
        })
    }

    /// The value of the only series at each step; NaN where there is none or more than one.
    fn only_value(&self, expr: &Expr, grid: &Grid) -> Result<Scalar> {
        let mut values = vec![f64::NAN; grid.count];
        let mut seen = Bits::none(grid.count);
        self.rows(expr, grid, &mut |row| {
            for (step, value) in row.column.iter() {
                if let Some(slot) = values.get_mut(step) {
                    *slot = if seen.get(step) { f64::NAN } else { value };
                }
                seen.set(step);
            }
            Ok(())
        })?;
        Ok(Scalar::Steps(values))
    }
}

/// NaN where one of them is, as Go's `math.Min` has it: except that nothing is less than minus infinity.
fn lesser(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}
