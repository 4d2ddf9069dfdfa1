//! Function calls and aggregations.

use opendata_core::Result;

use super::Parser;
use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::ast::{Aggregate, AggregateOp, Bounds, Call, Expr, Kind, LabelSet, Selector, Type};
use crate::promql::function::{self, Function, Repeat, Signature};
use crate::promql::lex::{Span, TokenKind};

/// How many quantiles `histogram_quantiles` computes at once.
const MAX_QUANTILES: usize = 10;

impl Parser<'_> {
    /// At a word: an aggregation, a function call, or the name of a metric.
    pub(super) fn word(&mut self, word: &str) -> Result<Expr> {
        let called = self.next_is_sign("(");
        if let Some(op) = AggregateOp::named(word)
            && (called || self.next_is_word("by") || self.next_is_word("without"))
        {
            return self.aggregate(op, word);
        }
        if called {
            return self.call(word);
        }
        let modifiers = ["bool", "on", "ignoring", "group_left", "group_right"];
        if modifiers.iter().any(|modifier| word.eq_ignore_ascii_case(modifier)) {
            return Err(self.unexpected("an expression"));
        }
        self.selector(Some(word.to_owned()))
    }

    fn next_is_sign(&self, sign: &str) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|token| matches!(token.kind, TokenKind::Sign(found) if found == sign))
    }

    fn next_is_word(&self, word: &str) -> bool {
        self.tokens
            .get(self.at + 1)
            .is_some_and(|token| matches!(&token.kind, TokenKind::Word(found) if found.eq_ignore_ascii_case(word)))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>> {
        self.expect_sign("(")?;
        let mut args = Vec::new();
        if self.take_sign(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            if !self.take_sign(",") {
                self.expect_sign(")")?;
                return Ok(args);
            }
        }
    }

    fn call(&mut self, name: &str) -> Result<Expr> {
        let start = self.span();
        let Some(signature) = function::find(name) else {
            return Err(self.error(start, format_args!("unknown function, name={name}")));
        };
        self.at += 1;
        let args =
            if matches!(signature.function, Function::Info) { self.info_arguments()? } else { self.arguments()? };
        let span = start.to(self.last_span());
        self.check_arguments(&signature, &args, span)?;
        self.check_bounds(&signature, &args)?;
        let call = Call { name: signature.name, function: signature.function, args };
        self.node(Kind::Call(call), span)
    }

    /// A vector, and what info series to look for, which a selector keeps. It looks where the vector's first selector looks.
    fn info_arguments(&mut self) -> Result<Vec<Expr>> {
        self.expect_sign("(")?;
        let vector = self.expression(0)?;
        let (mut matchers, span) =
            if self.take_sign(",") && !self.is_sign(")") { self.data_labels()? } else { (Vec::new(), vector.span) };
        self.take_sign(",");
        self.expect_sign(")")?;
        let of_names = || matchers.iter().filter(|matcher| matcher.name() == METRIC_NAME);
        if of_names().next().is_none() {
            matchers.push(Matcher::metric("target_info"));
        } else if of_names().all(|matcher| matcher.op().is_negative()) {
            // What is only excluded says nothing of what is an info metric.
            matchers.push(Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info")?);
        }
        let shift = vector.first_selector().map(|selector| selector.shift).unwrap_or_default();
        let id = self.selectors;
        self.selectors += 1;
        let selector = self.node(Kind::Instant(Selector { id, matchers, shift, bounds: Bounds::default() }), span)?;
        Ok(vec![vector, selector])
    }

    /// Only some functions know what to do with values at the bounds of a window.
    fn check_bounds(&self, signature: &Signature, args: &[Expr]) -> Result<()> {
        for arg in args {
            let Kind::Range(selector, _) = &arg.kind else { continue };
            let (word, allowed): (_, &[&str]) = match selector.bounds {
                Bounds::Samples => continue,
                Bounds::Anchored => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
                Bounds::Smoothed => ("smoothed", &["delta", "increase", "rate"]),
            };
            if !allowed.contains(&signature.name) {
                let list = allowed.join(", ");
                let what = format_args!("{word} modifier can only be used with: {list} - not with {}", signature.name);
                return Err(self.error(arg.span, what));
            }
        }
        Ok(())
    }

    fn check_arguments(&self, signature: &Signature, args: &[Expr], span: Span) -> Result<()> {
        let most = signature.args.len();
        let least = most - signature.optional;
        if args.len() < least || (args.len() > most && signature.repeat == Repeat::No) {
            let wanted = match (signature.optional, signature.repeat) {
                (_, Repeat::Last) => format!("at least {least}"),
                (0, _) => format!("{least}"),
                _ => format!("{least} to {most}"),
            };
            let what = format_args!(
                "wrong number of arguments, function={}, wanted={wanted}, got={}",
                signature.name,
                args.len()
            );
            return Err(self.error(span, what));
        }
        if matches!(signature.function, Function::HistogramQuantiles) && args.len() > most + MAX_QUANTILES - 1 {
            let what = format_args!("too many quantiles, limit={MAX_QUANTILES}, got={}", args.len() + 1 - most);
            return Err(self.error(span, what));
        }
        if matches!(signature.function, Function::StartTimestamp)
            && let Some(arg) = args.first()
            && !matches!(arg.kind, Kind::Instant(_))
        {
            return Err(self.error(arg.span, "`start_timestamp` needs a selector here: only stored samples have one"));
        }
        for (index, arg) in args.iter().enumerate() {
            let wanted = signature.args.get(index).or(signature.args.last()).copied().unwrap_or(Type::Vector);
            self.check_type(arg, wanted, signature.name)?;
        }
        Ok(())
    }

    fn check_type(&self, arg: &Expr, wanted: Type, of: &str) -> Result<()> {
        if arg.ty() == wanted {
            return Ok(());
        }
        Err(self.error(arg.span, format_args!("`{of}` needs {wanted} here, found {}", arg.ty())))
    }

    /// `by` or `without` stands before or behind the arguments.
    fn grouping(&mut self) -> Result<Option<LabelSet>> {
        if self.take_word("by") {
            return Ok(Some(LabelSet::Only(self.label_list()?)));
        }
        if self.take_word("without") {
            return Ok(Some(LabelSet::Without(self.label_list()?)));
        }
        Ok(None)
    }

    fn aggregate(&mut self, op: AggregateOp, name: &str) -> Result<Expr> {
        let start = self.span();
        self.at += 1;
        let before = self.grouping()?;
        let mut args = self.arguments()?;
        let span = start.to(self.last_span());
        let by = match before {
            Some(by) => by,
            None => self.grouping()?.unwrap_or(LabelSet::Only(Vec::new())),
        };
        let wanted = 1 + usize::from(op.parameter().is_some());
        if args.len() != wanted {
            let what =
                format_args!("wrong number of arguments, aggregation={name}, wanted={wanted}, got={}", args.len());
            return Err(self.error(span, what));
        }
        let Some(expr) = args.pop() else { return Err(self.unexpected("an expression")) };
        self.check_type(&expr, Type::Vector, name)?;
        let parameter = args.pop();
        if let (Some(parameter), Some(ty)) = (&parameter, op.parameter()) {
            self.check_type(parameter, ty, name)?;
        }
        let aggregate = Aggregate { op, by, parameter, expr };
        self.node(Kind::Aggregate(Box::new(aggregate)), start.to(self.last_span()))
    }
}
