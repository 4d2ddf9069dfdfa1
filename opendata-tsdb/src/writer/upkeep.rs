//! Applying what maintenance planned, after checking that what it was planned on still stands.

use std::sync::Arc;

use bytes::Bytes;
use opendata_core::key::SegmentId;
use opendata_core::slate::{ApplyContext, PrepareContext};
use opendata_core::{Error, Result};

use super::Writer;
use super::draft::Draft;
use super::rolling::Rolling;
use crate::head::Head;
use crate::key::{Key, Keys};
use crate::op::{Clean, Expire, Forget, Prepare, Receipt, Seal, SealEnd, Upkeep, Verb};
use crate::record::{self, Sealing};

/// A planned operation that still holds.
pub(super) enum Checked {
    /// With the head that is left of the bucket, once all its series are sealed.
    Seal(Seal, Option<Head>),
    Expire(Expire),
    Clean(Clean),
    Roll(Rolling),
    Forget(Forget),
    Prepare(Box<Draft>),
}

impl Writer {
    pub(super) async fn check_upkeep(&mut self, upkeep: Upkeep, cx: &PrepareContext<'_>) -> Result<Checked> {
        match upkeep {
            Upkeep::Seal(seal) => self.check_seal(seal, cx).await,
            Upkeep::Expire(expire) => self.check_expire(expire, cx).await,
            Upkeep::Clean(clean) => self.check_clean(clean).map(Checked::Clean),
            Upkeep::Roll(roll) => self.check_roll(roll, cx).await.map(Checked::Roll),
            Upkeep::Forget(forget) => self.check_forget(forget).map(Checked::Forget),
            Upkeep::Prepare(prepare) => self.check_prepare(&prepare, cx).await,
        }
    }

    /// Series that have no id in the next bucket yet.
    async fn check_prepare(&mut self, prepare: &Prepare, cx: &PrepareContext<'_>) -> Result<Checked> {
        if prepare.from < self.live {
            return Err(Error::conflict(format!("the bucket has expired, bucket={}", prepare.from.0)));
        }
        self.load(prepare.from, cx).await?;
        self.load(prepare.into, cx).await?;
        let mut draft = Box::new(Draft::in_bucket(prepare.into));
        for id in &prepare.ids {
            let entry = self.buckets.get(&prepare.from).and_then(|loaded| loaded.bucket.entry(*id));
            let Some(labels) = entry.map(|entry| entry.labels.clone()) else { continue };
            let slot = self.dictionary.intern(&labels);
            // Where a limit is met, whoever writes the series is told, not this.
            if self.id_of(&mut draft, slot, &labels, Verb::Add, 0).is_err() {
                break;
            }
        }
        Ok(Checked::Prepare(draft))
    }

    pub(super) async fn check_seal(&mut self, seal: Seal, cx: &PrepareContext<'_>) -> Result<Checked> {
        let slabs = self.heads.get(&seal.bucket).and_then(|head| head.slabs);
        let stands = slabs.is_some_and(|slabs| slabs.first == seal.first_slab && seal.through <= slabs.last);
        let deleted = self.deletions.get(&seal.bucket).and_then(|of_bucket| of_bucket.first());
        let stands = stands && deleted.is_none_or(|deletion| seal.through < deletion.slab);
        if !stands || self.sealing.get(&seal.bucket).copied() != seal.after || seal.bucket < self.live {
            return Err(Error::conflict(format!("the bucket was sealed meanwhile, bucket={}", seal.bucket.0)));
        }
        if matches!(seal.end, SealEnd::Next(_)) {
            return Ok(Checked::Seal(seal, None));
        }
        // What was committed since the plan stays.
        let head = match self.heads.get(&seal.bucket).and_then(|head| head.behind(seal.through)) {
            Some(head) => head,
            // Recovered in the middle of a sealing: read again from the slabs, which are few.
            None => {
                let first = self.keys.slab(seal.bucket, seal.through + 1);
                let rest = self.keys.slabs_of(seal.bucket).starting_at(first);
                self.index(cx).heads(rest, &self.deletions).await?.pop().map(|(_, head)| head).unwrap_or_default()
            }
        };
        Ok(Checked::Seal(seal, Some(head)))
    }

    pub(super) async fn check_expire(&mut self, expire: Expire, cx: &PrepareContext<'_>) -> Result<Checked> {
        let Some(retention_ms) = self.config.retention_ms else {
            return Err(Error::conflict("retention was switched off meanwhile"));
        };
        let oldest_ms = cx.now().0.saturating_sub_unsigned(retention_ms);
        let last_ms = self.calendar.last_ms(SegmentId(expire.live.0.saturating_sub(1)));
        if last_ms >= oldest_ms || expire.live < self.live {
            return Err(Error::conflict(format!("the bucket has not expired, bucket={}", expire.live.0)));
        }
        let mut checked = expire;
        let mut totals = Vec::with_capacity(checked.totals.len());
        for key in checked.totals {
            // A counter that was added to again stands in a live bucket now.
            if let Some(value) = cx.get(&key).await?
                && record::decode_segment(&value)? < checked.live
            {
                totals.push(key);
            }
        }
        checked.totals = totals;
        Ok(Checked::Expire(checked))
    }

    pub(super) fn apply_upkeep(&mut self, upkeep: Checked, cx: &mut ApplyContext<'_>) -> Receipt {
        match upkeep {
            Checked::Seal(seal, head) => self.apply_seal(seal, head, cx),
            Checked::Expire(expire) => self.apply_expire(&expire, cx),
            Checked::Clean(clean) => self.apply_clean(clean, cx),
            Checked::Roll(rolling) => self.apply_roll(rolling, cx),
            Checked::Forget(forget) => self.apply_forget(forget, cx),
            Checked::Prepare(draft) => drop(self.apply_draft(*draft, cx)),
        }
        Receipt::default()
    }

    fn apply_seal(&mut self, seal: Seal, head: Option<Head>, cx: &mut ApplyContext<'_>) {
        let keys: Vec<Bytes> = seal.chunks.iter().map(|(key, _)| key.clone()).collect();
        Arc::make_mut(&mut self.edits).seal(&seal.chunks);
        self.make_due(seal.bucket, &keys, cx);
        for (key, chunks) in seal.chunks {
            cx.merge(key, chunks);
        }
        let sealing = Arc::make_mut(&mut self.sealing);
        match seal.end {
            SealEnd::Next(next_series) => {
                let progress = Sealing { through: seal.through, next_series };
                sealing.insert(seal.bucket, progress);
                cx.put(self.keys.sealing(seal.bucket), progress.encode());
            }
            SealEnd::Done(slabs) => {
                if sealing.remove(&seal.bucket).is_some() {
                    cx.delete(self.keys.sealing(seal.bucket));
                }
                for slab in slabs {
                    cx.delete(self.keys.slab(seal.bucket, slab));
                }
                self.bench.set(None);
                let heads = Arc::make_mut(&mut self.heads);
                match head.filter(|head| head.slabs.is_some()) {
                    Some(head) => heads.insert(seal.bucket, Arc::new(head)),
                    None => heads.remove(&seal.bucket),
                };
            }
        }
    }

    fn apply_expire(&mut self, expire: &Expire, cx: &mut ApplyContext<'_>) {
        self.live = expire.live;
        cx.put(self.keys.live(), record::encode_segment(expire.live));
        for bucket in &expire.buckets {
            cx.delete(self.keys.bucket(*bucket));
            cx.delete(self.keys.sealing(*bucket));
        }
        for (bucket, slab) in &expire.slabs {
            cx.delete(self.keys.slab(*bucket, *slab));
        }
        for (bucket, of_bucket) in self.deletions.range(..expire.live) {
            of_bucket.iter().for_each(|deletion| cx.delete(self.keys.deletion(*bucket, deletion.slab)));
        }
        for bucket in self.due.range(..expire.live).map(|(bucket, _)| *bucket) {
            cx.delete(self.keys.due(bucket));
        }
        for key in &expire.totals {
            cx.delete_visible(key.clone());
        }
        let live = expire.live;
        Arc::make_mut(&mut self.existing).retain(|bucket| *bucket >= live);
        Arc::make_mut(&mut self.heads).retain(|bucket, _| *bucket >= live);
        Arc::make_mut(&mut self.due).retain(|bucket, _| *bucket >= live);
        Arc::make_mut(&mut self.deletions).retain(|bucket, _| *bucket >= live);
        Arc::make_mut(&mut self.edits).forget_before(live);
        Arc::make_mut(&mut self.sealing).retain(|bucket, _| *bucket >= live);
        self.buckets.retain(|bucket, _| *bucket >= live);
        self.lists.retain(|list| list.bucket >= live);
        let keys = self.keys;
        let dictionary = &self.dictionary;
        self.totals.retain(|slot, total| {
            let stands = total.row.is_none_or(|bucket| bucket >= live);
            stands && dictionary.labels(*slot).is_some_and(|labels| !expire.totals.contains(&keys.total(labels)))
        });
    }
}

/// The slabs of buckets below `live`, at most `limit` of them.
pub(crate) async fn slabs_below(
    index: &crate::index::Index,
    keys: Keys,
    live: SegmentId,
    limit: usize,
) -> Result<Vec<(SegmentId, u64)>> {
    let mut found = Vec::new();
    let mut rows = index.rows(keys.slabs(), opendata_core::slate::Access::Bulk).await?;
    while let Some(row) = rows.next().await? {
        match Key::decode(&row.key)? {
            Key::Slab { bucket, slab } if bucket < live && found.len() < limit => found.push((bucket, slab)),
            _ => break,
        }
    }
    Ok(found)
}
