//! Questions: expressions of the whole language, put together at random.

use super::data::Dice;

/// What the questions must know of the samples.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// The first sample, in seconds.
    pub(super) start: i64,
    /// Whether the peer knows native histograms and the experimental functions.
    pub(super) is_recent: bool,
}

fn selector(dice: &mut Dice) -> String {
    let metrics = [
        "counter_total",
        "gauge",
        "stale",
        "late",
        "odd",
        "counter_total",
        "node_cpu_seconds_total",
        "node_load1",
        "node_network_receive_bytes_total",
        "node_memory_MemFree_bytes",
        "{__name__=~\"gauge|late\"}",
    ];
    let metric = dice.one(&metrics);
    let matchers =
        ["", "", "{job=\"a\"}", "{job!=\"a\"}", "{instance=~\"i[0-2]\"}", "{instance=\"\"}", "{job=~\"a|x\"}"];
    let matcher = if metric.starts_with('{') { "" } else { dice.one(&matchers) };
    format!("{metric}{matcher}")
}

/// Where in time a selector or a subquery looks.
fn shift(dice: &mut Dice, times: Times) -> String {
    let at = times.start + i64::try_from(dice.below(2400)).unwrap();
    match dice.below(12) {
        0 => " offset 2m".to_owned(),
        1 => " offset -1m".to_owned(),
        2 => format!(" @ {at}"),
        3 => format!(" @ {at}.5 offset 30s"),
        4 => " @ start()".to_owned(),
        5 => " @ end() offset -7s".to_owned(),
        _ => String::new(),
    }
}

/// A function of a window of floats.
fn over(dice: &mut Dice, times: Times) -> String {
    let mut functions = vec![
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "deriv",
        "changes",
        "resets",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "sum_over_time",
        "count_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "last_over_time",
        "present_over_time",
        "absent_over_time",
    ];
    if times.is_recent {
        functions.extend(["ts_of_min_over_time", "ts_of_max_over_time", "ts_of_last_over_time"]);
    }
    let (function, name) = (dice.one(&functions), selector(dice));
    let name = if name.starts_with('{') { "gauge".to_owned() } else { name };
    let range = dice.one(&["20s", "1m", "5m", "7m30s", "31s"]);
    let shift = shift(dice, times);
    match dice.below(11) {
        0 => format!("quantile_over_time(0.3, {name}[{range}]{shift})"),
        1 => format!("predict_linear({name}[{range}]{shift}, 60)"),
        2 | 3 => format!("{function}({name}[{range}:20s]{shift})"),
        4 if times.is_recent => format!("double_exponential_smoothing({name}[{range}]{shift}, 0.3, 0.6)"),
        _ => format!("{function}({name}[{range}]{shift})"),
    }
}

/// A vector of floats.
pub(super) fn vector(dice: &mut Dice, depth: u64, times: Times) -> String {
    let pick = if depth == 0 { dice.below(5) } else { dice.below(if times.is_recent { 24 } else { 20 }) };
    let inner = |dice: &mut Dice| vector(dice, depth.saturating_sub(1), times);
    match pick {
        0 => selector(dice),
        1 => format!("{}{}", selector(dice), shift(dice, times)),
        2..=4 => over(dice, times),
        5..=7 => {
            let aggregation = dice.one(&["sum", "avg", "min", "max", "count", "stddev", "stdvar", "group", "quantile"]);
            let by = dice.one(&["", " by (job)", " without (instance)", " by (instance, mode)", " by (missing)"]);
            let parameter = if aggregation == "quantile" { "0.7, " } else { "" };
            format!("{aggregation}{by} ({parameter}{})", inner(dice))
        }
        8 => {
            let op = dice.one(&["+", "-", "*", "/", "%", "> bool", "< bool", ">=", "!=", "==", "^", "atan2"]);
            let other = dice.one(&["2", "0", "-1.5", "scalar(sum(gauge))", "time()", "Inf", "NaN"]);
            match dice.below(4) {
                0 => format!("{other} {op} ({})", inner(dice)),
                _ => format!("({}) {op} {other}", inner(dice)),
            }
        }
        9 => {
            let op = dice.one(&["+", "-", "*", "/", ">", "<=", "and", "or", "unless", "== bool", "atan2"]);
            let name = dice.one(&["gauge", "late", "counter_total", "stale", "odd"]);
            let other = dice.one(&["gauge", "late", "counter_total"]);
            let on = dice.one(&["on (job, instance)", "ignoring (missing)", "", "on (instance)"]);
            format!("{name} {op} {on} {other}")
        }
        10 => {
            let op = dice.one(&["+", "-", "*", "/", ">", "== bool"]);
            let other = dice.one(&["late", "stale", "counter_total"]);
            match dice.below(3) {
                0 => format!("sum by (job) ({other}) {op} on (job) group_right gauge"),
                1 => format!(
                    "gauge {op} on (job) group_left (other) label_replace(sum by (job) ({other}), \"other\", \"$1\", \"job\", \"(.*)\")"
                ),
                _ => format!("gauge {op} on (job) group_left sum by (job) ({other})"),
            }
        }
        11 => {
            let functions = [
                "abs",
                "ceil",
                "floor",
                "exp",
                "sqrt",
                "sgn",
                "round",
                "timestamp",
                "absent",
                "-",
                "ln",
                "log2",
                "log10",
            ];
            format!("{}({})", dice.one(&functions), inner(dice))
        }
        12 => format!("clamp({}, -3, 40)", inner(dice)),
        13 => format!("max_over_time(({})[4m:30s]{})", inner(dice), shift(dice, times)),
        _ => more(dice, depth, pick, times),
    }
}

/// The rest of what vectors come from.
fn more(dice: &mut Dice, depth: u64, pick: u64, times: Times) -> String {
    let inner = |dice: &mut Dice| vector(dice, depth.saturating_sub(1), times);
    match pick {
        14 => {
            // Of averages hardly two are the same, so that it is clear which are the largest.
            let pick = dice.one(&["topk", "bottomk"]);
            let by = dice.one(&["", " by (job)", " without (instance)"]);
            let k = dice.one(&["1", "3", "0", "100", "2.7", "-1"]);
            format!(
                "{pick}{by} ({k}, avg_over_time({}[{}]))",
                dice.one(&["late", "gauge", "stale"]),
                dice.one(&["3m", "50s"])
            )
        }
        15 => {
            let op = dice.one(&["and", "or", "unless"]);
            let on = dice.one(&["", "on (job)", "ignoring (instance)", "on ()"]);
            format!("({}) {op} {on} ({})", inner(dice), inner(dice))
        }
        16 => {
            let (a, b) = (dice.one(&["job", "instance", "missing"]), dice.one(&["job", "instance", "new", "__name__"]));
            match dice.below(2) {
                0 => format!("label_replace({}, \"{b}\", \"$1-x\", \"{a}\", \"(.).*\")", inner(dice)),
                _ => format!("label_join({}, \"{b}\", \"/\", \"{a}\", \"job\")", inner(dice)),
            }
        }
        17 => format!("count_values{} (\"value\", round({} / 10))", dice.one(&["", " by (job)"]), inner(dice)),
        18 => {
            let functions =
                ["hour", "minute", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"];
            // Of a number that is no time, the reference says what the processor makes of it.
            format!("{}({} * 1e5)", dice.one(&functions), dice.one(&["gauge", "late", "counter_total"]))
        }
        19 => {
            let phi = dice.one(&["0.5", "0.9", "0", "1", "1.5", "-1", "NaN", "0.01"]);
            match dice.below(3) {
                0 => format!("histogram_quantile({phi}, took_bucket)"),
                1 => format!("histogram_quantile({phi}, sum by (le) (rate(took_bucket[2m])))"),
                _ => format!("histogram_quantile({phi}, rate(took_bucket[2m]))"),
            }
        }
        20..=22 => distribution(dice, times),
        _ => match dice.below(3) {
            0 => "info(counter_total)".to_owned(),
            1 => format!("info(rate(counter_total[2m]), {{version=~\"{}\"}})", dice.one(&[".+", ".*", "1"])),
            // From inside the lowest bucket on, version 3.5 has no number.
            _ => {
                format!(
                    "histogram_fraction({}, rate(took_bucket[2m]))",
                    dice.one(&["0.1, 0.7", "-Inf, 2", "0.3, +Inf"])
                )
            }
        },
    }
}

/// A vector that comes from native histograms: histograms, or numbers of them.
fn distribution(dice: &mut Dice, times: Times) -> String {
    let metric = dice.one(&["took", "spread", "bounded", "mixture", "finer", "took{job=\"a\"}"]);
    let range = dice.one(&["1m", "5m", "47s"]);
    let shift = shift(dice, times);
    let base = match dice.below(9) {
        0 | 1 => format!("{metric}{shift}"),
        2 | 3 => format!("{}({metric}[{range}]{shift})", dice.one(&["rate", "increase", "delta", "irate", "idelta"])),
        4 => format!("{}({metric}[{range}]{shift})", dice.one(&["sum_over_time", "avg_over_time", "last_over_time"])),
        5 => {
            let functions =
                ["count_over_time", "resets", "changes", "present_over_time", "max_over_time", "stddev_over_time"];
            format!("{}({metric}[{range}]{shift})", dice.one(&functions))
        }
        6 => format!("rate({metric}[{range}:20s]{shift})"),
        7 => format!(
            "{metric} {} {}",
            dice.one(&["+", "-", "*", "/", "==", "!="]),
            dice.one(&["took", "spread", "2", "-0.5", "gauge"])
        ),
        _ => format!(
            "{} ({metric})",
            dice.one(&["sum", "avg", "sum by (job)", "avg by (instance)", "count", "group", "-", "max", "stddev"])
        ),
    };
    match dice.below(10) {
        0 => format!("histogram_quantile({}, {base})", dice.one(&["0.5", "0.99", "0", "1", "0.02", "2"])),
        1 => format!("histogram_fraction({}, {base})", dice.one(&["0, 1", "-Inf, 0.7", "-1, +Inf", "1, 1"])),
        2 => format!("{}({base})", dice.one(&["histogram_count", "histogram_sum", "histogram_avg"])),
        // Observations in buckets without end have no spread that two programs would agree on.
        3 if metric != "bounded" && metric != "mixture" => {
            format!("{}({base})", dice.one(&["histogram_stddev", "histogram_stdvar"]))
        }
        4 => format!("{} ({base})", dice.one(&["sum", "sum by (job)", "avg", "count"])),
        _ => base,
    }
}
