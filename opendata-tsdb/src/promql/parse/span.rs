//! Lengths of time where the grammar wants one: literals, and arithmetic over them.
//!
//! `[5m]`, `[1h30m + 2 * step()]`, `offset -(1h / 2)`, `[max(step(), 1m):]`. Numbers are seconds; `step()` is the query's step (zero for an
//! instant query) and `range()` the time from its start to its end. Computed while parsing, so the tree holds plain milliseconds.

use opendata_core::Result;

use super::Parser;
use crate::promql::column::Grid;
use crate::promql::duration;
use crate::promql::lex::TokenKind;

/// What `step()` and `range()` mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QueryTime {
    pub(crate) step_ms: i64,
    pub(crate) range_ms: i64,
}

impl QueryTime {
    /// The end of the query as it was asked for, which the last step need not reach.
    pub(crate) fn end_ms(&self, grid: &Grid) -> i64 {
        grid.start_ms.saturating_add(self.range_ms)
    }
}

impl Parser<'_> {
    /// A range or a subquery's step, up to `]` or `:`.
    pub(super) fn positive_span(&mut self, what: &str) -> Result<i64> {
        let start = self.span();
        let seconds = self.span_sum()?;
        match self.milliseconds(seconds, start)? {
            ms if ms > 0 => Ok(ms),
            _ => Err(self.error(start, format_args!("{what} must be longer than zero"))),
        }
    }

    /// After `offset` or `@`: one literal, call or parenthesis, with a sign.
    pub(super) fn signed_span(&mut self) -> Result<i64> {
        let start = self.span();
        let seconds = self.span_signed()?;
        self.milliseconds(seconds, start)
    }

    fn milliseconds(&self, seconds: f64, start: crate::promql::lex::Span) -> Result<i64> {
        duration::from_seconds(seconds).ok_or_else(|| self.error(start, "a duration is out of range"))
    }

    fn span_sum(&mut self) -> Result<f64> {
        let mut total = self.span_product()?;
        loop {
            if self.take_sign("+") {
                total += self.span_product()?;
            } else if self.take_sign("-") {
                total -= self.span_product()?;
            } else {
                return Ok(total);
            }
        }
    }

    fn span_product(&mut self) -> Result<f64> {
        let mut total = self.span_power()?;
        loop {
            let place = self.span();
            if self.take_sign("*") {
                total *= self.span_power()?;
            } else if self.is_sign("/") || self.is_sign("%") {
                let divide = self.take_sign("/");
                self.at += usize::from(!divide);
                let by = self.span_power()?;
                if by == 0.0 {
                    return Err(self.error(place, "a duration is divided by zero"));
                }
                total = if divide { total / by } else { total % by };
            } else {
                return Ok(total);
            }
        }
    }

    /// A sign binds looser than a power, as in the rest of the language.
    fn span_power(&mut self) -> Result<f64> {
        if self.take_sign("-") {
            return Ok(-self.nested(Self::span_power)?);
        }
        if self.take_sign("+") {
            return self.nested(Self::span_power);
        }
        let base = self.span_atom()?;
        if self.take_sign("^") { Ok(base.powf(self.nested(Self::span_power)?)) } else { Ok(base) }
    }

    fn span_signed(&mut self) -> Result<f64> {
        if self.take_sign("-") {
            return Ok(-self.span_atom()?);
        }
        self.take_sign("+");
        self.span_atom()
    }

    fn span_atom(&mut self) -> Result<f64> {
        let seconds = match self.peek().clone() {
            TokenKind::Number(seconds) => seconds,
            TokenKind::Duration(ms) => duration::seconds(ms),
            TokenKind::Sign("(") => {
                self.at += 1;
                let seconds = self.nested(Self::span_sum)?;
                self.expect_sign(")")?;
                return Ok(seconds);
            }
            TokenKind::Word(word) => return self.span_call(&word.to_ascii_lowercase()),
            _ => return Err(self.unexpected("a duration")),
        };
        self.at += 1;
        Ok(seconds)
    }

    fn span_call(&mut self, word: &str) -> Result<f64> {
        let fold: fn(f64, f64) -> f64 = match word {
            "step" | "range" => {
                self.at += 1;
                self.expect_sign("(")?;
                self.expect_sign(")")?;
                let QueryTime { step_ms, range_ms } = self.time;
                return Ok(duration::seconds(if word == "step" { step_ms } else { range_ms }));
            }
            "min" | "min_of" | "least" => f64::min,
            "max" | "max_of" | "greatest" => f64::max,
            _ => return Err(self.unexpected("a duration")),
        };
        self.at += 1;
        self.expect_sign("(")?;
        let first = self.nested(Self::span_sum)?;
        self.expect_sign(",")?;
        let second = self.nested(Self::span_sum)?;
        self.expect_sign(")")?;
        Ok(fold(first, second))
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Result<f64>) -> Result<f64> {
        self.deeper()?;
        let result = inner(self)?;
        self.depth -= 1;
        Ok(result)
    }
}
