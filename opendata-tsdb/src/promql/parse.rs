//! The parser: precedence climbing over tokens, with types checked as the tree grows.
//!
//! Precedence from loose to tight: `or`; `and unless`; comparisons; `+ -`; `* / % atan2` and unary signs; `^` (from the right);
//! then the postfix `[range]`, `offset` and `@`.

use opendata_core::{Error, Result};

use super::ast::{
    At, Binary, BinaryOp, Bounds, Comparison, Expr, Fill, Group, Kind, LabelSet, Matching, Shift, Subquery, Type,
};
use super::duration;
use super::lex::{Span, Token, TokenKind, error_at, tokens};

mod call;
mod selector;
mod span;

pub(crate) use span::QueryTime;

/// How deep parentheses, calls and signs may nest: the parser recurses as deep.
const MAX_DEPTH: usize = 100;

/// How high the tree may be: the evaluator recurses as deep, and has the 2 MiB of a worker's stack.
const MAX_HEIGHT: usize = 250;

/// A query that parsed.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) expr: Expr,
    /// Selectors are numbered from 0 up to this.
    pub(crate) selectors: usize,
    pub(crate) time: QueryTime,
}

/// Parses a query and checks its types.
pub(crate) fn parse(source: &str, time: QueryTime) -> Result<Parsed> {
    let mut parser = Parser { source, tokens: tokens(source)?, at: 0, selectors: 0, depth: 0, time };
    if parser.peek() == &TokenKind::End {
        return Err(parser.unexpected("an expression"));
    }
    let expr = parser.expression(0)?;
    if parser.peek() != &TokenKind::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    Ok(Parsed { expr, selectors: parser.selectors, time })
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    at: usize,
    selectors: usize,
    depth: usize,
    time: QueryTime,
}

static END: TokenKind = TokenKind::End;

/// The operator that stands at a place, and how tight it binds.
fn operator(kind: &TokenKind) -> Option<(BinaryOp, u8)> {
    Some(match kind {
        TokenKind::Sign(sign) => match *sign {
            "==" => (BinaryOp::Equal, 3),
            "!=" => (BinaryOp::NotEqual, 3),
            "<" => (BinaryOp::Less, 3),
            "<=" => (BinaryOp::LessEqual, 3),
            ">" => (BinaryOp::Greater, 3),
            ">=" => (BinaryOp::GreaterEqual, 3),
            "</" => (BinaryOp::TrimUpper, 3),
            ">/" => (BinaryOp::TrimLower, 3),
            "+" => (BinaryOp::Add, 4),
            "-" => (BinaryOp::Sub, 4),
            "*" => (BinaryOp::Mul, 5),
            "/" => (BinaryOp::Div, 5),
            "%" => (BinaryOp::Mod, 5),
            "^" => (BinaryOp::Pow, POWER),
            _ => return None,
        },
        TokenKind::Word(word) => match word.to_ascii_lowercase().as_str() {
            "or" => (BinaryOp::Or, 1),
            "and" => (BinaryOp::And, 2),
            "unless" => (BinaryOp::Unless, 2),
            "atan2" => (BinaryOp::Atan2, 5),
            _ => return None,
        },
        _ => return None,
    })
}

const POWER: u8 = 6;

impl<'a> Parser<'a> {
    fn peek(&self) -> &TokenKind {
        self.tokens.get(self.at).map_or(&END, |token| &token.kind)
    }

    fn span(&self) -> Span {
        let end = Span { start: self.source.len(), end: self.source.len() };
        self.tokens.get(self.at).map_or(end, |token| token.span)
    }

    /// The place of the token taken last.
    fn last_span(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(Span::default(), |token| token.span)
    }

    fn next(&mut self) -> TokenKind {
        let kind = self.peek().clone();
        self.at += 1;
        kind
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), TokenKind::Sign(found) if *found == sign)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        self.at += usize::from(found);
        found
    }

    fn expect_sign(&mut self, sign: &str) -> Result<()> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), TokenKind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn error(&self, span: Span, what: impl std::fmt::Display) -> Error {
        error_at(self.source, span, what)
    }

    fn unexpected(&self, wanted: &str) -> Error {
        self.error(self.span(), format_args!("expected {wanted}, found {}", self.peek()))
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(self.span(), format_args!("nested too deep, limit={MAX_DEPTH}")));
        }
        Ok(())
    }

    /// An expression, if the tree below it is not too high. A long chain `a + b + c ...` is high without being nested.
    fn node(&self, kind: Kind, span: Span) -> Result<Expr> {
        let expr = Expr::new(kind, span);
        if expr.height() > MAX_HEIGHT {
            return Err(self.error(span, format_args!("too many operators and calls in a row, limit={MAX_HEIGHT}")));
        }
        Ok(expr)
    }

    fn expression(&mut self, loosest: u8) -> Result<Expr> {
        self.deeper()?;
        let mut left = self.unary()?;
        while let Some((op, tightness)) = operator(self.peek()) {
            if tightness < loosest {
                break;
            }
            let op_span = self.span();
            self.at += 1;
            let (comparison, matching) = self.modifiers(op, op_span)?;
            let right = self.expression(if op == BinaryOp::Pow { tightness } else { tightness + 1 })?;
            left = self.binary(op, op_span, left, right, comparison, matching)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr> {
        let start = self.span();
        if self.take_sign("+") {
            let expr = self.expression(POWER)?;
            self.check_unary(&expr)?;
            let span = start.to(expr.span);
            return Ok(expr.at(span));
        }
        if self.take_sign("-") {
            let expr = self.expression(POWER)?;
            self.check_unary(&expr)?;
            let span = start.to(expr.span);
            let kind = match expr.kind {
                Kind::Number(number) => Kind::Number(-number),
                _ => Kind::Negate(Box::new(expr)),
            };
            return self.node(kind, span);
        }
        self.postfix()
    }

    fn check_unary(&self, expr: &Expr) -> Result<()> {
        match expr.ty() {
            Type::Scalar | Type::Vector => Ok(()),
            ty => Err(self.error(expr.span, format_args!("a sign needs a scalar or an instant vector, found {ty}"))),
        }
    }

    /// After an operator: `bool`, `on(..)`, `ignoring(..)`, `group_left(..)`, `group_right(..)`, `fill(..)`.
    fn modifiers(&mut self, op: BinaryOp, op_span: Span) -> Result<(Comparison, Option<Matching>)> {
        let comparison = if self.take_word("bool") {
            if !op.is_comparison() {
                return Err(self.error(op_span, "`bool` belongs to comparisons only"));
            }
            Comparison::Bool
        } else {
            Comparison::Filter
        };
        let mut matching = None;
        if self.is_word("on") || self.is_word("ignoring") {
            let only = self.take_word("on");
            self.at += usize::from(!only);
            let names = self.label_list()?;
            let on = if only { LabelSet::Only(names) } else { LabelSet::Without(names) };
            let group = self.group(op)?;
            let fill = self.fill(op)?;
            matching = Some(Matching { on, group, fill });
        } else if self.fill_side().is_some() {
            let fill = self.fill(op)?;
            matching = Some(Matching { on: LabelSet::Without(Vec::new()), group: Group::OneToOne, fill });
        }
        Ok((comparison, matching))
    }

    fn group(&mut self, op: BinaryOp) -> Result<Group> {
        let span = self.span();
        let left = self.take_word("group_left");
        if !left && !self.take_word("group_right") {
            return Ok(Group::OneToOne);
        }
        if op.is_set() {
            return Err(self.error(span, "set operators match many to many: no `group_left` or `group_right`"));
        }
        let names = if self.is_sign("(") { self.label_list()? } else { Vec::new() };
        Ok(if left { Group::Left(names) } else { Group::Right(names) })
    }

    /// Which sides the `fill` at this place is for.
    fn fill_side(&self) -> Option<(bool, bool)> {
        if !matches!(self.tokens.get(self.at + 1), Some(Token { kind: TokenKind::Sign("("), .. })) {
            return None;
        }
        [("fill", (true, true)), ("fill_left", (true, false)), ("fill_right", (false, true))]
            .into_iter()
            .find(|(word, _)| self.is_word(word))
            .map(|(_, sides)| sides)
    }

    fn fill(&mut self, op: BinaryOp) -> Result<Fill> {
        let mut fill = Fill::default();
        while let Some((left, right)) = self.fill_side() {
            let span = self.span();
            if op.is_set() {
                return Err(self.error(span, "set operators have no `fill`"));
            }
            self.at += 1;
            self.expect_sign("(")?;
            let negative = self.take_sign("-");
            if !negative {
                self.take_sign("+");
            }
            let value = match *self.peek() {
                TokenKind::Number(value) => value,
                TokenKind::Duration(ms) => duration::seconds(ms),
                _ => return Err(self.unexpected("a number")),
            };
            self.at += 1;
            self.expect_sign(")")?;
            let value = if negative { -value } else { value };
            fill.left = if left { Some(value) } else { fill.left };
            fill.right = if right { Some(value) } else { fill.right };
        }
        Ok(fill)
    }

    fn binary(
        &self,
        op: BinaryOp,
        op_span: Span,
        left: Expr,
        right: Expr,
        comparison: Comparison,
        matching: Option<Matching>,
    ) -> Result<Expr> {
        for side in [&left, &right] {
            if !matches!(side.ty(), Type::Scalar | Type::Vector) {
                let what = format_args!("an operator needs scalars or instant vectors, found {}", side.ty());
                return Err(self.error(side.span, what));
            }
        }
        let scalars = [&left, &right].into_iter().filter(|side| side.ty() == Type::Scalar).count();
        if scalars > 0 && op.is_set() {
            return Err(self.error(op_span, "set operators need instant vectors on both sides"));
        }
        if op.is_trim() && left.ty() == Type::Scalar {
            return Err(self.error(left.span, "a trim operator needs an instant vector on its left side"));
        }
        if scalars > 0 && matching.is_some() {
            return Err(self.error(op_span, "vector matching needs instant vectors on both sides"));
        }
        if scalars == 2 && op.is_comparison() && comparison != Comparison::Bool {
            return Err(self.error(op_span, "a comparison between scalars needs `bool`"));
        }
        let matching = matching.unwrap_or(Matching {
            on: LabelSet::Without(Vec::new()),
            group: Group::OneToOne,
            fill: Fill::default(),
        });
        if let (LabelSet::Only(on), Group::Left(names) | Group::Right(names)) = (&matching.on, &matching.group)
            && let Some(name) = names.iter().find(|name| on.contains(name))
        {
            let what = format_args!("a label stands in `on` and in the group modifier, label={name}");
            return Err(self.error(op_span, what));
        }
        let span = left.span.to(right.span);
        let binary = Binary { op, left, right, matching, comparison };
        self.node(Kind::Binary(Box::new(binary)), span)
    }

    /// A primary expression and what stands behind it.
    fn postfix(&mut self) -> Result<Expr> {
        let parenthesized = self.is_sign("(");
        let mut expr = self.primary()?;
        // What stands in parentheses takes a subquery, but neither a range nor a shift.
        let mut bare = !parenthesized;
        loop {
            if self.is_sign("[") {
                expr = self.range(expr, bare)?;
                bare = true;
            } else if self.is_word("offset") {
                let span = self.span();
                self.at += 1;
                let offset = self.signed_span()?;
                let shift = self.shift(&mut expr, bare, span, "offset")?;
                if shift.offset_ms.replace(offset).is_some() {
                    return Err(self.error(span, "`offset` is given twice"));
                }
            } else if self.is_sign("@") {
                let span = self.span();
                self.at += 1;
                let at = self.at_time()?;
                let shift = self.shift(&mut expr, bare, span, "@")?;
                if shift.at.replace(at).is_some() {
                    return Err(self.error(span, "`@` is given twice"));
                }
            } else if let Some(bounds) = self.bounds() {
                self.set_bounds(&mut expr, bare, bounds)?;
            } else {
                return Ok(expr);
            }
            expr.span = expr.span.to(self.last_span());
        }
    }

    fn bounds(&self) -> Option<Bounds> {
        [("anchored", Bounds::Anchored), ("smoothed", Bounds::Smoothed)]
            .into_iter()
            .find(|(word, _)| self.is_word(word))
            .map(|(_, bounds)| bounds)
    }

    /// At `anchored` or `smoothed`.
    fn set_bounds(&mut self, expr: &mut Expr, bare: bool, bounds: Bounds) -> Result<()> {
        let span = self.span();
        self.at += 1;
        match &mut expr.kind {
            Kind::Instant(selector) | Kind::Range(selector, _) if bare => {
                if selector.bounds != Bounds::Samples {
                    return Err(self.error(span, "a selector is `anchored` or `smoothed`, and once only"));
                }
                selector.bounds = bounds;
                Ok(())
            }
            Kind::Subquery(_) => Err(self.error(span, "a subquery can be neither `anchored` nor `smoothed`")),
            _ => Err(self.error(span, "`anchored` and `smoothed` must follow a selector")),
        }
    }

    fn shift<'e>(&self, expr: &'e mut Expr, bare: bool, span: Span, what: &str) -> Result<&'e mut Shift> {
        match &mut expr.kind {
            Kind::Instant(selector) | Kind::Range(selector, _) if bare => Ok(&mut selector.shift),
            Kind::Subquery(subquery) if bare => Ok(&mut subquery.shift),
            _ => Err(self.error(span, format_args!("`{what}` must follow a selector or a subquery"))),
        }
    }

    /// At `[`: a range or a subquery.
    fn range(&mut self, expr: Expr, bare: bool) -> Result<Expr> {
        let start = self.span();
        self.expect_sign("[")?;
        let range_ms = self.positive_span("a range")?;
        if !self.take_sign(":") {
            self.expect_sign("]")?;
            return match expr.kind {
                Kind::Instant(selector)
                    if bare && selector.shift == Shift::default() && selector.bounds == Bounds::Samples =>
                {
                    self.node(Kind::Range(selector, range_ms), expr.span)
                }
                Kind::Instant(_) if bare => {
                    Err(self.error(start, "a range stands before `offset`, `@`, `anchored` and `smoothed`"))
                }
                _ => Err(self.error(start, "a range needs a selector; a subquery has a colon, as in `[1h:]`")),
            };
        }
        let step_ms = if self.is_sign("]") { None } else { Some(self.positive_span("a step")?) };
        self.expect_sign("]")?;
        if expr.ty() != Type::Vector {
            return Err(self.error(expr.span, format_args!("a subquery needs an instant vector, found {}", expr.ty())));
        }
        let span = expr.span;
        let subquery = Subquery { expr, range_ms, step_ms, shift: Shift::default() };
        self.node(Kind::Subquery(Box::new(subquery)), span)
    }

    fn at_time(&mut self) -> Result<At> {
        for (word, at) in [("start", At::Start), ("end", At::End)] {
            if self.take_word(word) {
                self.expect_sign("(")?;
                self.expect_sign(")")?;
                return Ok(at);
            }
        }
        Ok(At::Time(self.signed_span()?))
    }

    fn primary(&mut self) -> Result<Expr> {
        let start = self.span();
        let kind = match self.peek().clone() {
            TokenKind::Number(number) => Kind::Number(number),
            TokenKind::Duration(ms) => Kind::Number(duration::seconds(ms)),
            TokenKind::Text(text) => Kind::Text(text),
            TokenKind::Sign("(") => {
                self.at += 1;
                let expr = self.expression(0)?;
                self.expect_sign(")")?;
                return Ok(expr.at(start.to(self.last_span())));
            }
            TokenKind::Sign("{") => return self.selector(None),
            TokenKind::Word(word) => return self.word(&word),
            _ => return Err(self.unexpected("an expression")),
        };
        self.at += 1;
        self.node(kind, start)
    }
}

#[cfg(test)]
mod tests;
