//! Comparisons.

use std::cmp::Ordering;

use crate::rules::template::Value;

/// Whether a comparison holds. `eq` holds if the first is equal to any of the others.
pub(super) fn call(name: &str, args: &[Value]) -> Result<bool, String> {
    match (name, args) {
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            for other in others {
                if compare(first, other)? == Some(Ordering::Equal) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ("ne", [a, b]) => Ok(compare(a, b)? != Some(Ordering::Equal)),
        ("lt", [a, b]) => Ok(compare(a, b)? == Some(Ordering::Less)),
        ("le", [a, b]) => Ok(matches!(compare(a, b)?, Some(Ordering::Less | Ordering::Equal))),
        ("gt", [a, b]) => Ok(compare(a, b)? == Some(Ordering::Greater)),
        ("ge", [a, b]) => Ok(matches!(compare(a, b)?, Some(Ordering::Greater | Ordering::Equal))),
        (name, args) => Err(format!("wrong number of arguments, function={name}, arguments={}", args.len())),
    }
}

/// Numbers compare with numbers, texts with texts; nothing orders NaN.
#[expect(clippy::cast_precision_loss, reason = "templates count in floats")]
fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    Ok(match (a, b) {
        (Value::Int(a), Value::Int(b)) | (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (a, b) => return Err(format!("{} cannot be compared with {}", a.kind(), b.kind())),
    })
}
