//! Background work: asks each open instance what there is to do, commits it as an ordinary transaction, and
//! drops the files of segments that retention has let go.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use slatedb::compactor::{CompactionSpec, SourceId};

use super::condense::Condenser;
use super::transaction::{Ack, Transaction};
use super::{Inner, Instance, Slate};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Prefix, SegmentId};
use crate::time::Position;

/// Operations of one instance that are committed in a row before the others get their turn.
const IN_A_ROW: usize = 64;

impl Slate {
    /// Does all background work there is now, of all open instances, and waits for it. Returns how many
    /// operations were committed.
    ///
    /// # Errors
    /// What planning or committing returned; a plan that found things changed is not an error.
    pub async fn maintain(&self) -> Result<usize> {
        let (mut done, mut overtaken) = (0, 0);
        loop {
            let round = maintain_once(&self.0).await?;
            done += round.done;
            // A plan that was overtaken, by a writer or by the task in the background, is made anew.
            overtaken = if round.done > 0 { 0 } else { overtaken + 1 };
            if round.done == 0 && (round.conflicts == 0 || overtaken > OVERTAKEN) {
                return Ok(done);
            }
        }
    }
}

/// How often in a row plans may be overtaken before whoever asked for maintenance is let go.
const OVERTAKEN: usize = 100;

#[derive(Default)]
struct Round {
    done: usize,
    conflicts: usize,
}

pub(crate) async fn run(slate: Weak<Inner>) {
    let (mut expired, mut condenser) = (BTreeMap::new(), Condenser::default());
    loop {
        let Some(inner) = slate.upgrade() else { return };
        let (wake, mut failure) = (Arc::clone(&inner.wake_maintenance), inner.failure.clone());
        let interval = match inner.settings.maintenance_interval_ms {
            0 => Duration::MAX,
            ms => Duration::from_millis(ms),
        };
        drop(inner);
        let ended = tokio::select! {
            biased;
            changed = failure.changed() => changed.is_err() || failure.borrow().is_some(),
            () = wake.notified() => false,
            () = sleep(interval) => false,
        };
        let Some(inner) = slate.upgrade() else { return };
        if ended || inner.failure.borrow().is_some() {
            return;
        }
        if inner.settings.maintenance_interval_ms == 0 {
            continue;
        }
        if let Err(error) = round(&inner, &mut expired, &mut condenser).await {
            inner.counters.maintenance_failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "maintenance failed and will be tried again");
        }
    }
}

async fn sleep(interval: Duration) {
    if interval == Duration::MAX {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(interval).await;
}

async fn round(inner: &Arc<Inner>, expired: &mut BTreeMap<Prefix, Expired>, condenser: &mut Condenser) -> Result<()> {
    while maintain_once(inner).await?.done > 0 {
        if inner.failure.borrow().is_some() {
            return Ok(());
        }
    }
    if inner.settings.compaction {
        drop_expired(inner, expired).await?;
        condenser.look(inner).await?;
    }
    Ok(())
}

async fn maintain_once(inner: &Arc<Inner>) -> Result<Round> {
    let mut round = Round::default();
    let instances: Vec<_> = inner.written.now().0.registry.shared().cloned().collect();
    for instance in instances {
        for _ in 0..IN_A_ROW {
            // The task in the background and whoever asks for maintenance would plan the same piece, and the slower in vain.
            let _turn = inner.maintaining.lock().await;
            let view = inner.written.now();
            if !view.0.states.contains_key(&instance.address()) {
                break;
            }
            let system = Arc::clone(inner.router.of(&instance)?);
            let Some(op) = system.maintain(&view, &instance).await? else { break };
            drop(view);
            let mut transaction = Transaction::new(inner.id, inner.queue.clone());
            transaction.push(instance.address(), op);
            transaction.mark_derived();
            match transaction.commit_with(Ack::Written).await {
                Ok(_) => {
                    inner.counters.maintenance.fetch_add(1, Ordering::Relaxed);
                    round.done += 1;
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    inner.counters.maintenance_conflicts.fetch_add(1, Ordering::Relaxed);
                    round.conflicts += 1;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Backpressure => break,
                Err(error) => return Err(Error::from(error).context(format_args!("maintain {}", instance.name))),
            }
        }
    }
    Ok(round)
}

/// A segment that retention has let go.
pub(crate) struct Expired {
    /// The first durable position at which it was seen to be let go.
    since: Position,
    /// The files whose removal the compactor was asked for.
    asked: Vec<SourceId>,
}

/// Looks at what is durable: a segment is dropped once its end is on the store, so that no crash can bring
/// back records that point into it, and once no view in this process is older than that.
async fn drop_expired(inner: &Arc<Inner>, expired: &mut BTreeMap<Prefix, Expired>) -> Result<usize> {
    let view = inner.durable.now();
    let manifest = inner.db.manifest();
    let before = expired.len();
    // What the compactor was asked to drop and is in the manifest no more, is dropped.
    expired.retain(|prefix, segment| segment.asked.is_empty() || manifest.segment(&prefix.encode()).is_some());
    let dropped = before - expired.len();
    inner.counters.segments_dropped.fetch_add(dropped as u64, Ordering::Relaxed);
    let instances: Vec<_> = view.0.registry.shared().cloned().collect();
    for instance in instances {
        let segments = data_segments(&manifest, &instance);
        if segments.is_empty() {
            continue;
        }
        let first_live = inner.router.of(&instance)?.first_live_segment(&view, &instance).await?;
        for segment in segments.into_iter().filter(|segment| *segment < first_live) {
            let prefix = instance.prefix(segment);
            let since = view.position();
            let entry = expired.entry(prefix).or_insert(Expired { since, asked: Vec::new() });
            let in_use = inner.leases.oldest().is_some_and(|oldest| oldest < entry.since);
            if !in_use {
                drain(inner, &manifest, prefix, entry).await?;
            }
        }
    }
    Ok(dropped)
}

fn data_segments(manifest: &slatedb::VersionedManifest, instance: &Instance) -> Vec<SegmentId> {
    let segments = manifest.segments().iter().filter_map(|segment| Prefix::decode(segment.prefix()).ok());
    segments
        .map(|(prefix, _)| prefix)
        .filter(|prefix| prefix.system == instance.system && prefix.instance == instance.id)
        .map(|prefix| prefix.segment)
        .filter(|segment| *segment >= SegmentId::FIRST_DATA)
        .collect()
}

/// Asks the compactor to drop a segment with all its files, unless it was asked for the same already.
async fn drain(
    inner: &Inner,
    manifest: &slatedb::VersionedManifest,
    prefix: Prefix,
    expired: &mut Expired,
) -> Result<()> {
    let key = Bytes::copy_from_slice(&prefix.encode());
    let Some(segment) = manifest.segment(&key) else { return Ok(()) };
    let files = segment.l0().iter().map(|file| SourceId::SstView(file.id));
    let runs = segment.compacted().iter().map(|run| SourceId::SortedRun(run.id));
    let sources: Vec<_> = files.chain(runs).collect();
    if sources.is_empty() || sources == expired.asked {
        return Ok(());
    }
    let admin = inner.store.admin(&inner.path, &inner.env)?;
    match admin.submit_compaction(CompactionSpec::drain_segment(key, sources.clone())).await {
        Ok(_) => expired.asked = sources,
        // It is being compacted right now, or the compactor is busy writing its state: next time.
        Err(error) => tracing::debug!(%error, ?prefix, "segment could not be dropped yet"),
    }
    Ok(())
}
