//! What a person sees: sections, sentences with times and rates, small tables.

use std::error::Error;
use std::time::Duration;

use crate::bill::Agreed;

pub(crate) fn title(text: &str) {
    println!("\n{text}\n{}", "=".repeat(text.chars().count()));
}

pub(crate) fn section(number: usize, text: &str) {
    println!("\n{number}. {text}");
}

pub(crate) fn say(text: impl AsRef<str>) {
    println!("   {}", text.as_ref());
}

pub(crate) fn failure(error: &(dyn Error + Send + Sync)) {
    eprintln!("\nFAILED: {error}");
    let mut source = error.source();
    while let Some(beneath) = source {
        eprintln!("  caused by: {beneath}");
        source = beneath.source();
    }
}

/// The bill from both sides.
pub(crate) fn bill(agreed: &Agreed) {
    println!("   {:<9} {:>10} {:>10} {:>14} {:>14}", "", "flights", "flights", "miles", "miles");
    println!("   {:<9} {:>10} {:>10} {:>14} {:>14}", "carrier", "(log)", "(PromQL)", "(log)", "(PromQL)");
    for (carrier, log) in &agreed.from_log {
        let metrics = agreed.from_metrics.get(carrier).copied().unwrap_or_default();
        println!(
            "   {carrier:<9} {:>10} {:>10} {:>14} {:>14}  {}",
            number(log.flights),
            number(metrics.flights),
            number(log.miles),
            number(metrics.miles),
            if *log == metrics { "agree" } else { "DISAGREE" }
        );
    }
}

/// A whole number with its thousands apart.
pub(crate) fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its thousands apart.
pub(crate) fn count(value: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "counts of a demonstration are small")]
    number(value as f64)
}

/// How many a second.
pub(crate) fn rate(count: usize, took: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a rate is read, not computed with")]
    number(count as f64 / took.as_secs_f64().max(1e-9))
}

pub(crate) fn ms(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}
