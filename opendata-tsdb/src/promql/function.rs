//! The functions of the language: names, types of their arguments, and which part of the engine computes them.

use super::ast::Type;
use super::calendar::Civil;

/// A function, as the evaluator tells them apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Function {
    /// Each value by itself.
    Math(fn(f64) -> f64),
    /// A part of the date that a value says in seconds.
    Date(fn(&Civil) -> i64),
    /// Each series' samples of a window.
    Over(Over),
    AbsentOverTime,
    Absent,
    Clamp,
    ClampMin,
    ClampMax,
    Round,
    Scalar,
    Vector,
    Time,
    Pi,
    /// A time of the query itself.
    Query(QueryPart),
    MinOf,
    MaxOf,
    /// Labels of info series.
    Info,
    Timestamp,
    /// Of a selector's samples the time since when they count.
    StartTimestamp,
    LabelReplace,
    LabelJoin,
    Sort(Direction),
    SortByLabel(Direction),
    HistogramQuantile,
    HistogramQuantiles,
    HistogramFraction,
    /// A number of each native histogram: floats yield nothing.
    OfHistogram(OfHistogram),
}

/// When a query begins and ends, how long that is, and its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryPart {
    Start,
    End,
    Range,
    Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfHistogram {
    Average,
    Count,
    Sum,
    Deviation,
    Variance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

/// Functions of a range vector that take one series at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
    Resets,
    Changes,
    Avg,
    Sum,
    Min,
    Max,
    Count,
    First,
    Last,
    Present,
    Stddev,
    Stdvar,
    Mad,
    Quantile,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMin,
    TimeOfMax,
}

impl Over {
    /// Whether it matters what the samples hold, and not only when they are.
    pub(crate) fn looks_at_values(self) -> bool {
        !matches!(self, Self::Count | Self::Present | Self::TimeOfFirst | Self::TimeOfLast)
    }

    /// Whether the result keeps the metric's name: it is a sample of the series itself.
    pub(crate) fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }
}

/// What a call must look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) function: Function,
    pub(crate) args: &'static [Type],
    /// How many of `args` may be missing at the end.
    pub(crate) optional: usize,
    /// Whether the last of `args` may be repeated.
    pub(crate) repeat: Repeat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    No,
    Last,
}

impl Function {
    pub(crate) fn returns(self) -> Type {
        match self {
            Self::Scalar | Self::Time | Self::Pi | Self::Query(_) | Self::MinOf | Self::MaxOf => Type::Scalar,
            _ => Type::Vector,
        }
    }
}

/// Finds a function by its name (in lower case only, as the reference has it).
pub(crate) fn find(name: &str) -> Option<Signature> {
    plain(name).or_else(|| over(name)).or_else(|| special(name))
}

const fn signature(name: &'static str, function: Function, args: &'static [Type]) -> Signature {
    Signature { name, function, args, optional: 0, repeat: Repeat::No }
}

fn plain(name: &str) -> Option<Signature> {
    let (name, function): (_, fn(f64) -> f64) = match name {
        "abs" => ("abs", f64::abs),
        "acos" => ("acos", f64::acos),
        "acosh" => ("acosh", f64::acosh),
        "asin" => ("asin", f64::asin),
        "asinh" => ("asinh", f64::asinh),
        "atan" => ("atan", f64::atan),
        "atanh" => ("atanh", f64::atanh),
        "ceil" => ("ceil", f64::ceil),
        "cos" => ("cos", f64::cos),
        "cosh" => ("cosh", f64::cosh),
        "deg" => ("deg", |x| x * 180.0 / std::f64::consts::PI),
        "exp" => ("exp", f64::exp),
        "floor" => ("floor", f64::floor),
        "ln" => ("ln", f64::ln),
        "log10" => ("log10", f64::log10),
        "log2" => ("log2", f64::log2),
        "rad" => ("rad", |x| x * std::f64::consts::PI / 180.0),
        "sgn" => ("sgn", |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        }),
        "sin" => ("sin", f64::sin),
        "sinh" => ("sinh", f64::sinh),
        "sqrt" => ("sqrt", f64::sqrt),
        "tan" => ("tan", f64::tan),
        "tanh" => ("tanh", f64::tanh),
        _ => return date(name),
    };
    Some(signature(name, Function::Math(function), &[Type::Vector]))
}

fn date(name: &str) -> Option<Signature> {
    let (name, part): (_, fn(&Civil) -> i64) = match name {
        "day_of_month" => ("day_of_month", |t| t.day),
        "day_of_week" => ("day_of_week", Civil::weekday),
        "day_of_year" => ("day_of_year", Civil::day_of_year),
        "days_in_month" => ("days_in_month", Civil::days_in_month),
        "hour" => ("hour", |t| t.hour),
        "minute" => ("minute", |t| t.minute),
        "month" => ("month", |t| t.month),
        "year" => ("year", |t| t.year),
        _ => return None,
    };
    Some(Signature { optional: 1, ..signature(name, Function::Date(part), &[Type::Vector]) })
}

fn over(name: &str) -> Option<Signature> {
    use Type::{Matrix, Scalar};
    let (name, over, args): (_, _, &'static [Type]) = match name {
        "avg_over_time" => ("avg_over_time", Over::Avg, &[Matrix]),
        "changes" => ("changes", Over::Changes, &[Matrix]),
        "count_over_time" => ("count_over_time", Over::Count, &[Matrix]),
        "delta" => ("delta", Over::Delta, &[Matrix]),
        "deriv" => ("deriv", Over::Deriv, &[Matrix]),
        "double_exponential_smoothing" | "holt_winters" => {
            ("double_exponential_smoothing", Over::DoubleExponentialSmoothing, &[Matrix, Scalar, Scalar])
        }
        "first_over_time" => ("first_over_time", Over::First, &[Matrix]),
        "idelta" => ("idelta", Over::Idelta, &[Matrix]),
        "increase" => ("increase", Over::Increase, &[Matrix]),
        "irate" => ("irate", Over::Irate, &[Matrix]),
        "last_over_time" => ("last_over_time", Over::Last, &[Matrix]),
        "mad_over_time" => ("mad_over_time", Over::Mad, &[Matrix]),
        "max_over_time" => ("max_over_time", Over::Max, &[Matrix]),
        "min_over_time" => ("min_over_time", Over::Min, &[Matrix]),
        "predict_linear" => ("predict_linear", Over::PredictLinear, &[Matrix, Scalar]),
        "present_over_time" => ("present_over_time", Over::Present, &[Matrix]),
        "quantile_over_time" => ("quantile_over_time", Over::Quantile, &[Scalar, Matrix]),
        "rate" => ("rate", Over::Rate, &[Matrix]),
        "resets" => ("resets", Over::Resets, &[Matrix]),
        "stddev_over_time" => ("stddev_over_time", Over::Stddev, &[Matrix]),
        "stdvar_over_time" => ("stdvar_over_time", Over::Stdvar, &[Matrix]),
        "sum_over_time" => ("sum_over_time", Over::Sum, &[Matrix]),
        "ts_of_first_over_time" => ("ts_of_first_over_time", Over::TimeOfFirst, &[Matrix]),
        "ts_of_last_over_time" => ("ts_of_last_over_time", Over::TimeOfLast, &[Matrix]),
        "ts_of_max_over_time" => ("ts_of_max_over_time", Over::TimeOfMax, &[Matrix]),
        "ts_of_min_over_time" => ("ts_of_min_over_time", Over::TimeOfMin, &[Matrix]),
        _ => return None,
    };
    Some(signature(name, Function::Over(over), args))
}

fn special(name: &str) -> Option<Signature> {
    use Type::{Matrix, Scalar, Text, Vector};
    Some(match name {
        "absent" => signature("absent", Function::Absent, &[Vector]),
        "absent_over_time" => signature("absent_over_time", Function::AbsentOverTime, &[Matrix]),
        "clamp" => signature("clamp", Function::Clamp, &[Vector, Scalar, Scalar]),
        "clamp_max" => signature("clamp_max", Function::ClampMax, &[Vector, Scalar]),
        "clamp_min" => signature("clamp_min", Function::ClampMin, &[Vector, Scalar]),
        "histogram_avg" => of_histogram("histogram_avg", OfHistogram::Average),
        "histogram_count" => of_histogram("histogram_count", OfHistogram::Count),
        "histogram_stddev" => of_histogram("histogram_stddev", OfHistogram::Deviation),
        "histogram_stdvar" => of_histogram("histogram_stdvar", OfHistogram::Variance),
        "histogram_sum" => of_histogram("histogram_sum", OfHistogram::Sum),
        "histogram_fraction" => signature("histogram_fraction", Function::HistogramFraction, &[Scalar, Scalar, Vector]),
        "histogram_quantile" => signature("histogram_quantile", Function::HistogramQuantile, &[Scalar, Vector]),
        "histogram_quantiles" => Signature {
            repeat: Repeat::Last,
            ..signature("histogram_quantiles", Function::HistogramQuantiles, &[Vector, Text, Scalar])
        },
        "info" => Signature { optional: 1, ..signature("info", Function::Info, &[Vector, Vector]) },
        "label_join" => Signature {
            optional: 1,
            repeat: Repeat::Last,
            ..signature("label_join", Function::LabelJoin, &[Vector, Text, Text, Text])
        },
        "label_replace" => signature("label_replace", Function::LabelReplace, &[Vector, Text, Text, Text, Text]),
        "end" => signature("end", Function::Query(QueryPart::End), &[]),
        "max_of" => signature("max_of", Function::MaxOf, &[Scalar, Scalar]),
        "min_of" => signature("min_of", Function::MinOf, &[Scalar, Scalar]),
        "range" => signature("range", Function::Query(QueryPart::Range), &[]),
        "start" => signature("start", Function::Query(QueryPart::Start), &[]),
        "step" => signature("step", Function::Query(QueryPart::Step), &[]),
        "pi" => signature("pi", Function::Pi, &[]),
        "round" => Signature { optional: 1, ..signature("round", Function::Round, &[Vector, Scalar]) },
        "scalar" => signature("scalar", Function::Scalar, &[Vector]),
        "sort" => signature("sort", Function::Sort(Direction::Ascending), &[Vector]),
        "sort_desc" => signature("sort_desc", Function::Sort(Direction::Descending), &[Vector]),
        "sort_by_label" => sort_by_label("sort_by_label", Direction::Ascending),
        "sort_by_label_desc" => sort_by_label("sort_by_label_desc", Direction::Descending),
        "time" => signature("time", Function::Time, &[]),
        "start_timestamp" => signature("start_timestamp", Function::StartTimestamp, &[Vector]),
        "timestamp" => signature("timestamp", Function::Timestamp, &[Vector]),
        "vector" => signature("vector", Function::Vector, &[Scalar]),
        _ => return None,
    })
}

const fn of_histogram(name: &'static str, of: OfHistogram) -> Signature {
    signature(name, Function::OfHistogram(of), &[Type::Vector])
}

const fn sort_by_label(name: &'static str, direction: Direction) -> Signature {
    let args = &[Type::Vector, Type::Text];
    Signature { optional: 1, repeat: Repeat::Last, ..signature(name, Function::SortByLabel(direction), args) }
}
