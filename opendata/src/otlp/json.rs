//! What is special about the protocol's JSON form: whole numbers may stand in quotes, so do the floats that JSON cannot say,
//! ids are hexadecimal, and `null` is as good as absent.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serializer};

use super::message::Temporality;

/// A number as JSON may have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    Nothing(()),
}

/// A whole number, in quotes or not.
fn whole<T: FromStr + TryFrom<u64> + TryFrom<i64>, E: de::Error>(written: Written) -> Result<Option<T>, E> {
    let found = match written {
        Written::Nothing(()) => return Ok(None),
        Written::Unsigned(number) => T::try_from(number).ok(),
        Written::Signed(number) => T::try_from(number).ok(),
        Written::Text(text) => return text.parse().map(Some).map_err(|_| not_whole(&text)),
        Written::Float(number) => return Err(not_whole(&number)),
    };
    found.map(Some).ok_or_else(|| E::custom("the whole number is out of range"))
}

fn not_whole<E: de::Error>(found: &dyn fmt::Debug) -> E {
    E::custom(format!("expected a whole number, found {found:?}"))
}

#[expect(clippy::cast_precision_loss, reason = "a whole number where a float is meant is a float")]
fn real<E: de::Error>(written: Written) -> Result<Option<f64>, E> {
    Ok(Some(match written {
        Written::Nothing(()) => return Ok(None),
        Written::Float(number) => number,
        Written::Unsigned(number) => number as f64,
        Written::Signed(number) => number as f64,
        Written::Text(text) => match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ => text.parse().map_err(|_| E::custom(format!("expected a number, found {text:?}")))?,
        },
    }))
}

pub(super) fn number<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr + TryFrom<u64> + TryFrom<i64> + Default,
    D: Deserializer<'de>,
{
    Ok(whole(Written::deserialize(deserializer)?)?.unwrap_or_default())
}

pub(super) fn optional_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    whole(Written::deserialize(deserializer)?)
}

pub(super) fn float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(real(Written::deserialize(deserializer)?)?.unwrap_or_default())
}

pub(super) fn optional_float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    real(Written::deserialize(deserializer)?)
}

pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    let written: Option<Vec<Written>> = Deserialize::deserialize(deserializer)?;
    written.into_iter().flatten().map(|number| Ok(whole(number)?.unwrap_or_default())).collect()
}

pub(super) fn floats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let written: Option<Vec<Written>> = Deserialize::deserialize(deserializer)?;
    written.into_iter().flatten().map(|number| Ok(real(number)?.unwrap_or_default())).collect()
}

/// The number of a temporality, or its name.
pub(super) fn temporality<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Text(text) => match text.as_str() {
            "AGGREGATION_TEMPORALITY_UNSPECIFIED" => Ok(Temporality::Unspecified as i32),
            "AGGREGATION_TEMPORALITY_DELTA" => Ok(Temporality::Delta as i32),
            "AGGREGATION_TEMPORALITY_CUMULATIVE" => Ok(Temporality::Cumulative as i32),
            _ => Ok(whole(Written::Text(text))?.unwrap_or_default()),
        },
        written => Ok(whole(written)?.unwrap_or_default()),
    }
}

pub(super) fn hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    let text = text.unwrap_or_default();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect::<Option<_>>().ok_or_else(|| de::Error::custom(format!("expected a hexadecimal id, found {text:?}")))
}

pub(super) fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(de::Error::custom)).transpose()
}

/// 64-bit numbers go out as texts.
pub(super) fn as_text<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}
