//! Selectors and label lists.

use opendata_core::Result;

use super::Parser;
use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::ast::{Bounds, Expr, Kind, Selector, Shift};
use crate::promql::lex::{Span, Token, TokenKind};

impl Parser<'_> {
    /// At the name or at `{`.
    pub(super) fn selector(&mut self, name: Option<String>) -> Result<Expr> {
        let start = self.span();
        let mut matchers = Vec::new();
        if let Some(name) = &name {
            self.at += 1;
            matchers.push(Matcher::metric(name));
        }
        if self.take_sign("{") {
            self.matchers(&mut matchers)?;
        }
        let span = start.to(self.last_span());
        if matchers.iter().all(Matcher::matches_empty) {
            return Err(self.error(span, "a selector needs at least one matcher that does not match the empty text"));
        }
        let id = self.selectors;
        self.selectors += 1;
        self.node(Kind::Instant(Selector { id, matchers, shift: Shift::default(), bounds: Bounds::default() }), span)
    }

    /// The second argument of `info`: braces with any matchers, which may match the empty text too.
    pub(super) fn data_labels(&mut self) -> Result<(Vec<Matcher>, Span)> {
        let start = self.span();
        let mut matchers = Vec::new();
        self.expect_sign("{")?;
        self.matchers(&mut matchers)?;
        Ok((matchers, start.to(self.last_span())))
    }

    /// Behind `{`, up to and with `}`.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<()> {
        while !self.take_sign("}") {
            let matcher = self.matcher(matchers)?;
            matchers.push(matcher);
            if !self.take_sign(",") {
                return self.expect_sign("}");
            }
        }
        Ok(())
    }

    fn matcher(&mut self, before: &[Matcher]) -> Result<Matcher> {
        let span = self.span();
        let (name, quoted) = match self.next() {
            TokenKind::Word(name) if !name.contains(':') => (name, false),
            TokenKind::Text(name) => (name, true),
            // `inf` and `nan` are numbers everywhere else.
            TokenKind::Number(_) => (self.source.get(span.start..span.end).unwrap_or_default().to_owned(), false),
            _ => {
                self.at -= 1;
                return Err(self.unexpected("a label name or `}`"));
            }
        };
        let op = match self.peek() {
            TokenKind::Sign("=") => MatchOp::Equal,
            TokenKind::Sign("!=") => MatchOp::NotEqual,
            TokenKind::Sign("=~") => MatchOp::Regex,
            TokenKind::Sign("!~") => MatchOp::NotRegex,
            TokenKind::Sign("," | "}") if quoted => {
                if before.iter().any(|matcher| matcher.name() == METRIC_NAME) {
                    return Err(self.error(span, "the metric's name is given twice"));
                }
                return Ok(Matcher::metric(&name));
            }
            _ => return Err(self.unexpected("a matching operator (`=` `!=` `=~` `!~`)")),
        };
        self.at += 1;
        if op == MatchOp::Equal
            && name == METRIC_NAME
            && before.first().is_some_and(|first| first.name() == METRIC_NAME)
        {
            return Err(self.error(span, "the metric's name is given twice"));
        }
        let value_span = self.span();
        let TokenKind::Text(value) = self.next() else {
            self.at -= 1;
            return Err(self.unexpected("a string"));
        };
        Matcher::new(&name, op, &value).map_err(|error| {
            let place = value_span.place(self.source);
            opendata_core::Error::invalid(format!("{}, at={place}", error.message())).with_source(error)
        })
    }

    /// `(a, b, "c.d")`, also empty and with a comma at the end.
    pub(super) fn label_list(&mut self) -> Result<Vec<String>> {
        self.expect_sign("(")?;
        let mut names = Vec::new();
        while !self.take_sign(")") {
            match self.tokens.get(self.at) {
                Some(Token { kind: TokenKind::Word(name), .. }) if !name.contains(':') => names.push(name.clone()),
                Some(Token { kind: TokenKind::Text(name), .. }) if !name.is_empty() => names.push(name.clone()),
                Some(Token { kind: TokenKind::Number(_), span }) => {
                    let text = self.source.get(span.start..span.end).unwrap_or_default();
                    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
                        return Err(self.unexpected("a label name"));
                    }
                    names.push(text.to_owned());
                }
                _ => return Err(self.unexpected("a label name")),
            }
            self.at += 1;
            if !self.take_sign(",") {
                self.expect_sign(")")?;
                break;
            }
        }
        Ok(names)
    }
}
