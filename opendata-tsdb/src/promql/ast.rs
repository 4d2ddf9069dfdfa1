//! The query as a typed tree: what the parser makes and the evaluator walks.
//!
//! Types are checked while parsing, so the evaluator may rely on them: a [`Kind::Range`] or [`Kind::Subquery`] stands only where a range
//! vector is wanted, and so on. Parentheses are gone.

use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};

use super::function::Function;
use super::lex::Span;

/// What an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Scalar,
    Vector,
    Matrix,
    Text,
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scalar => "a scalar",
            Self::Vector => "an instant vector",
            Self::Matrix => "a range vector",
            Self::Text => "a string",
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    ty: Type,
    height: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Number(f64),
    Text(String),
    /// The newest sample of each series.
    Instant(Selector),
    /// All samples of each series in a window.
    Range(Selector, i64),
    Subquery(Box<Subquery>),
    /// `-x`; `+x` is `x`.
    Negate(Box<Expr>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Call),
}

/// Where in time a selector or subquery looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shift {
    pub(crate) at: Option<At>,
    pub(crate) offset_ms: Option<i64>,
}

/// The `@` modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Start,
    End,
    Time(i64),
}

#[derive(Clone, Debug)]
pub(crate) struct Selector {
    /// Its number among the query's selectors, by which the evaluator finds its series.
    pub(crate) id: usize,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) shift: Shift,
    pub(crate) bounds: Bounds,
}

/// How the bounds of a window, or the time of an instant selector, get their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Bounds {
    /// They have none: only samples count.
    #[default]
    Samples,
    /// `anchored`: the newest sample up to them.
    Anchored,
    /// `smoothed`: the line between their neighbours.
    Smoothed,
}

impl Selector {
    /// The metric's name where the selector names exactly one.
    pub(crate) fn metric_name(&self) -> Option<&str> {
        let mut names = self.matchers.iter().filter(|m| m.name() == METRIC_NAME && m.op() == MatchOp::Equal);
        names.next().map(Matcher::value)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Subquery {
    pub(crate) expr: Expr,
    pub(crate) range_ms: i64,
    /// The engine's default where it is not given.
    pub(crate) step_ms: Option<i64>,
    pub(crate) shift: Shift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// `</`: of a histogram, the observations not above a number.
    TrimUpper,
    /// `>/`: those not below it.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub(crate) fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual)
    }

    pub(crate) fn is_trim(self) -> bool {
        matches!(self, Self::TrimUpper | Self::TrimLower)
    }

    /// The operator as queries have it.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    pub(crate) matching: Matching,
    pub(crate) comparison: Comparison,
}

/// What a comparison does with the samples for which it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Filter,
    /// `bool`: 1 or 0.
    Bool,
}

/// Which series of two vectors belong together.
#[derive(Clone, Debug)]
pub(crate) struct Matching {
    pub(crate) on: LabelSet,
    pub(crate) group: Group,
    /// The values that stand in for a missing left and right side.
    pub(crate) fill: Fill,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fill {
    pub(crate) left: Option<f64>,
    pub(crate) right: Option<f64>,
}

/// Labels that count, or all but some. The metric's name never counts in `Without`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LabelSet {
    Only(Vec<String>),
    Without(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    OneToOne,
    /// Many on the left; these labels come from the right.
    Left(Vec<String>),
    /// Many on the right; these labels come from the left.
    Right(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    Quantile,
    CountValues,
    LimitK,
    LimitRatio,
}

impl AggregateOp {
    pub(crate) fn named(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "count" => Self::Count,
            "group" => Self::Group,
            "stddev" => Self::Stddev,
            "stdvar" => Self::Stdvar,
            "topk" => Self::TopK,
            "bottomk" => Self::BottomK,
            "quantile" => Self::Quantile,
            "count_values" => Self::CountValues,
            "limitk" => Self::LimitK,
            "limit_ratio" => Self::LimitRatio,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::TopK => "topk",
            Self::BottomK => "bottomk",
            Self::Quantile => "quantile",
            Self::CountValues => "count_values",
            Self::LimitK => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// Whether native histograms count; else they are left out with a hint.
    pub(crate) fn takes_histograms(self) -> bool {
        use AggregateOp::{Avg, Count, CountValues, Group, LimitK, LimitRatio, Sum};
        matches!(self, Sum | Avg | Count | Group | CountValues | LimitK | LimitRatio)
    }

    /// The type of the argument in front of the vector.
    pub(crate) fn parameter(self) -> Option<Type> {
        match self {
            Self::TopK | Self::BottomK | Self::Quantile | Self::LimitK | Self::LimitRatio => Some(Type::Scalar),
            Self::CountValues => Some(Type::Text),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) by: LabelSet,
    pub(crate) parameter: Option<Expr>,
    pub(crate) expr: Expr,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) function: Function,
    pub(crate) args: Vec<Expr>,
}

impl Call {
    pub(crate) fn arg(&self, index: usize) -> opendata_core::Result<&Expr> {
        self.args.get(index).ok_or_else(|| {
            opendata_core::Error::invalid(format!("argument missing, function={}, argument={}", self.name, index + 1))
        })
    }
}

impl Expr {
    pub(crate) fn new(kind: Kind, span: Span) -> Self {
        let ty = match &kind {
            Kind::Number(_) => Type::Scalar,
            Kind::Text(_) => Type::Text,
            Kind::Instant(_) | Kind::Aggregate(_) => Type::Vector,
            Kind::Range(..) | Kind::Subquery(_) => Type::Matrix,
            Kind::Negate(expr) => expr.ty,
            Kind::Binary(binary) if binary.left.ty == Type::Scalar && binary.right.ty == Type::Scalar => Type::Scalar,
            Kind::Binary(_) => Type::Vector,
            Kind::Call(call) => call.function.returns(),
        };
        let below = match &kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Instant(_) | Kind::Range(..) => 0,
            Kind::Subquery(subquery) => subquery.expr.height,
            Kind::Negate(expr) => expr.height,
            Kind::Binary(binary) => binary.left.height.max(binary.right.height),
            Kind::Aggregate(aggregate) => {
                aggregate.expr.height.max(aggregate.parameter.as_ref().map_or(0, |parameter| parameter.height))
            }
            Kind::Call(call) => call.args.iter().map(|arg| arg.height).max().unwrap_or(0),
        };
        Self { kind, span, ty, height: below + 1 }
    }

    /// The same at a place that also holds a sign or parentheses.
    pub(crate) fn at(self, span: Span) -> Self {
        Self { span, ..self }
    }

    /// The first selector in the order of the text.
    pub(crate) fn first_selector(&self) -> Option<&Selector> {
        match &self.kind {
            Kind::Number(_) | Kind::Text(_) => None,
            Kind::Instant(selector) | Kind::Range(selector, _) => Some(selector),
            Kind::Subquery(subquery) => subquery.expr.first_selector(),
            Kind::Negate(expr) => expr.first_selector(),
            Kind::Binary(binary) => binary.left.first_selector().or_else(|| binary.right.first_selector()),
            Kind::Aggregate(aggregate) => aggregate.expr.first_selector(),
            Kind::Call(call) => call.args.iter().find_map(Self::first_selector),
        }
    }

    pub(crate) fn ty(&self) -> Type {
        self.ty
    }

    /// How many expressions stand inside one another: what recursion over the tree costs in stack.
    pub(crate) fn height(&self) -> usize {
        self.height
    }

    /// Whether the series that the expression yields are still distinct when their metric's name is dropped.
    ///
    /// Where this holds, nobody needs to look for equal label sets. `false` only costs time.
    pub(crate) fn is_distinct_without_name(&self) -> bool {
        match &self.kind {
            Kind::Instant(selector) | Kind::Range(selector, _) => selector.metric_name().is_some(),
            Kind::Subquery(subquery) => subquery.expr.is_distinct_without_name(),
            Kind::Negate(expr) => expr.is_distinct_without_name(),
            Kind::Call(call) => {
                !matches!(call.function, Function::LabelReplace | Function::LabelJoin | Function::Info)
                    && call.args.iter().all(|arg| arg.is_distinct_without_name())
            }
            Kind::Binary(binary) => match (binary.left.ty(), binary.right.ty()) {
                (Type::Vector, Type::Vector) => false,
                _ => binary.left.is_distinct_without_name() && binary.right.is_distinct_without_name(),
            },
            Kind::Aggregate(aggregate) => match &aggregate.by {
                _ if aggregate.op == AggregateOp::CountValues => false,
                _ if aggregate.op.keeps_labels() => aggregate.expr.is_distinct_without_name(),
                LabelSet::Only(names) => !names.iter().any(|name| name == METRIC_NAME),
                LabelSet::Without(_) => true,
            },
            Kind::Number(_) | Kind::Text(_) => true,
        }
    }
}

impl AggregateOp {
    /// Whether it matters what the values are, and not only that they are there.
    pub(crate) fn looks_at_values(self) -> bool {
        !matches!(self, Self::Count | Self::Group)
    }

    /// Whether the aggregation hands on some of its input series as they are.
    pub(crate) fn keeps_labels(self) -> bool {
        matches!(self, Self::TopK | Self::BottomK | Self::LimitK | Self::LimitRatio)
    }
}

impl Expr {
    /// Whether an instant query keeps the order in which the expression yields its series.
    pub(crate) fn is_ordered(&self) -> bool {
        use super::function::Function::{Sort, SortByLabel};
        match &self.kind {
            Kind::Call(call) => matches!(call.function, Sort(_) | SortByLabel(_)),
            Kind::Aggregate(aggregate) => matches!(aggregate.op, AggregateOp::TopK | AggregateOp::BottomK),
            _ => false,
        }
    }
}
