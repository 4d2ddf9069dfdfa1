//! Exemplars: single measurements, with the trace that they come from.

use opendata_core::Timestamp;
use opendata_tsdb::{Exemplar, Labels};

use super::attributes::merged;
use super::message;
use super::name::LabelNames;

/// The most characters that the labels of an exemplar may have.
const MOST_CHARACTERS: usize = 128;

/// The exemplar of a point; none if it has no value. Where its labels are too long, those of its trace are left.
pub(super) fn exemplar(from: &message::Exemplar, names: LabelNames) -> Option<Exemplar> {
    #[expect(clippy::cast_precision_loss, reason = "samples are floats")]
    let value = from.as_double.or(from.as_int.map(|value| value as f64))?;
    let at = Timestamp(i64::try_from(from.time_unix_nano / 1_000_000).unwrap_or(i64::MAX));
    let trace = [("trace_id", hex(&from.trace_id)), ("span_id", hex(&from.span_id))];
    let trace = trace.into_iter().map(|(name, value)| (name.into(), value.into()));
    let labels = Labels::last_wins(merged(from.filtered_attributes.iter(), names).into_iter().chain(trace.clone()));
    let characters = |labels: &Labels| -> usize {
        labels.iter().map(|label| label.name().chars().count() + label.value().chars().count()).sum()
    };
    let labels = if characters(&labels) > MOST_CHARACTERS { Labels::last_wins(trace) } else { labels };
    Some(Exemplar { labels, value, at })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
