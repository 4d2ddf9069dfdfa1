//! Counting records without reading them: from segments, groups, and the ordinals of chunks.

use opendata_core::{Error, Position, Result};

use super::Reader;
use crate::layout;
use crate::record::Segment;

impl Reader {
    /// How many records a stream has at or behind a position. At most two reads for the segment of the
    /// position, and one for each later segment.
    ///
    /// # Errors
    /// `NotFound` if the position lies below the trim point; what the store returned.
    pub async fn lag(&self, stream: impl AsRef<[u8]>, from: Position) -> Result<u64> {
        let stream = stream.as_ref();
        let trim = self.trim_point_of(stream).await?;
        check_trim(from, trim)?;
        self.count_from(stream, from).await
    }

    /// How many records of all streams stand at or behind a position: at most one read. Records of single
    /// streams that were trimmed are still counted; control records are not.
    ///
    /// # Errors
    /// `NotFound` if the position lies below the trim point; what the store returned.
    pub async fn lag_all(&self, from: Position) -> Result<u64> {
        let layout = self.layout().await?;
        check_trim(from, layout.trim)?;
        let mut count = 0;
        for segment in layout.segments().filter(|segment| segment.last >= from) {
            count += segment.records();
            if segment.first < from {
                let prefix = self.view.prefix(segment.id);
                let group = layout::group_at(self.view.view(), prefix, from).await?;
                let before = group.map_or(segment.records(), |group| group.rank(from));
                count = count.saturating_sub(before);
            }
        }
        Ok(count)
    }

    /// How many records that no edge made stand in groups that end at or behind a position: at most one read. Where the
    /// position is the first behind a commit, as that of a cut is, those are the ones at or behind it. What was
    /// trimmed is not counted.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn count_direct(&self, from: Position) -> Result<u64> {
        let layout = self.layout().await?;
        let from = from.max(layout.trim);
        let mut count = 0;
        for segment in layout.segments().filter(|segment| segment.last >= from) {
            count += segment.totals.direct();
            if segment.first < from {
                let before = layout::group_before(self.view.view(), self.view.prefix(segment.id), from).await?;
                count = count.saturating_sub(before.map_or(0, |group| group.totals.direct()));
            }
        }
        Ok(count)
    }

    /// How many records of a stream are kept.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn count(&self, stream: impl AsRef<[u8]>) -> Result<u64> {
        let stream = stream.as_ref();
        let trim = self.trim_point_of(stream).await?;
        self.count_from(stream, trim).await
    }

    /// How many records are kept of all streams, as [`lag_all`](Self::lag_all) counts them.
    ///
    /// # Errors
    /// What the store returned.
    pub async fn count_all(&self) -> Result<u64> {
        self.lag_all(self.layout().await?.trim).await
    }

    async fn count_from(&self, stream: &[u8], from: Position) -> Result<u64> {
        let layout = self.layout().await?;
        let mut count = 0;
        for segment in layout.segments().filter(|segment| !segment.is_empty() && segment.last >= from) {
            count += self.count_in(segment, stream, from).await?;
        }
        Ok(count)
    }

    async fn count_in(&self, segment: &Segment, stream: &[u8], from: Position) -> Result<u64> {
        let (view, prefix) = (self.view.view(), self.view.prefix(segment.id));
        let Some(last) = layout::last_chunk(view, prefix, stream).await? else { return Ok(0) };
        let total = last.ordinal + last.count as u64;
        if from <= segment.first {
            return Ok(total);
        }
        if from > last.last {
            return Ok(0);
        }
        let Some(chunk) = layout::chunk_at(view, prefix, stream, from).await? else { return Ok(0) };
        let before = chunk.ordinal + chunk.rank(from)?;
        Ok(total.saturating_sub(before))
    }
}

/// A read below the trim point is an error that says where the log begins.
pub(super) fn check_trim(from: Position, trim: Position) -> Result<()> {
    if from >= trim {
        return Ok(());
    }
    Err(Error::not_found(format!("the position lies below the trim point, position={from}, trim={trim}")))
}
