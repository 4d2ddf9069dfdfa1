//! What is written beside samples: exemplars and the metadata of metrics.

use std::sync::Arc;

use opendata_core::Result;
use opendata_core::slate::PrepareContext;

use super::Writer;
use super::draft::Draft;
use super::limits::refuse;
use crate::exemplar::{EXEMPLAR_CHARACTERS, Exemplar};
use crate::labels::{Labels, METRIC_NAME};
use crate::metadata::{METADATA_BYTES, Metadata};
use crate::op::Verb;
use crate::refused::Reason;

impl Writer {
    pub(super) async fn draft_exemplar(
        &mut self,
        draft: &mut Draft,
        series: &Labels,
        exemplar: Exemplar,
        cx: &PrepareContext<'_>,
    ) -> Result<()> {
        let time_ms = exemplar.at.0;
        let characters = exemplar.characters();
        if characters > EXEMPLAR_CHARACTERS {
            let detail = format!(
                "the labels of the exemplar are too long, characters={characters}, limit={EXEMPLAR_CHARACTERS}"
            );
            return Err(refuse(Reason::InvalidExemplar, series, time_ms, detail));
        }
        self.enter(draft, series, time_ms, cx).await?;
        let slot = self.dictionary.intern(series);
        let id = self.id_of(draft, slot, series, Verb::Set, time_ms)?;
        draft.exemplars.push((draft.bucket(), id, exemplar));
        draft.receipt.exemplars += 1;
        Ok(())
    }

    /// Takes the metadata that says something new.
    pub(super) fn draft_metadata(&self, draft: &mut Draft, all: Vec<(Arc<str>, Metadata)>) -> Result<()> {
        for (metric, metadata) in all {
            let bytes = metric.len() + metadata.size_bytes();
            let wrong = if metric.is_empty() {
                Some("metadata needs the name of a metric".to_owned())
            } else if bytes > METADATA_BYTES {
                Some(format!("the metadata is too long, size_bytes={bytes}, limit={METADATA_BYTES}"))
            } else if !self.metadata.contains_key(&metric) && self.metadata.len() >= self.config.max_series as usize {
                Some(format!("as many metrics have metadata as are allowed, limit={}", self.config.max_series))
            } else {
                None
            };
            if let Some(detail) = wrong {
                let short: String = metric.chars().take(200).collect();
                let series = Labels::last_wins([(METRIC_NAME, short)]);
                let refused = refuse(Reason::InvalidMetadata, &series, 0, detail);
                draft.tolerate::<()>(1, Err(refused))?;
                continue;
            }
            if self.metadata.get(&metric) != Some(&metadata) {
                draft.metadata.push((metric, metadata));
            }
        }
        Ok(())
    }
}
