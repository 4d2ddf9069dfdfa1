//! Comparing with a TSDB: what an edge makes is written to a scratch instance with the same settings, and its series are held against the sink's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use opendata_core::env::{Env, ManualClock};
use opendata_core::slate::Slate;
use opendata_core::{Result, Timestamp};
use opendata_tsdb::promql::{Series, Storage};
use opendata_tsdb::{Labels, MatchOp, Matcher, Reader, Tsdb, UseRollups};

use super::fold::Fold;
use super::report::{Difference, Findings, Kind, Unverified};
use super::scratch::{self, Place, Scratch};
use super::{Options, Others, Prepared, Tell, state};
use crate::edge::window::Windows;

/// All times there are, with room for sums.
const TIMES: (i64, i64) = (i64::MIN / 4, i64::MAX / 4);

/// What one edge made.
struct Made {
    reader: Reader,
    /// Series that were added to.
    totals: HashSet<Labels>,
    unwritten: Windows,
    slate: Slate,
}

/// Compares what edges made with the TSDB that they all write to.
pub(super) async fn compare(
    edges: &mut [(Prepared<'_>, &mut Findings)],
    options: &Options,
    others: Others,
    path: &(dyn Fn(usize) -> String + Sync),
    tell: Tell<'_>,
) -> Result<()> {
    let Some((first, _)) = edges.first() else { return Ok(()) };
    let (view, name) = (first.subject.sink.clone(), first.spec().state_instance().to_owned());
    let sink = view.get_reader::<Tsdb>(&name)?.with_rollups(UseRollups::Never);
    let config = view.instance::<Tsdb>(&name)?.config().clone();
    let kept_from = match config.retention_ms {
        Some(_) => sink.buckets().await?.iter().map(|bucket| bucket.start_ms).min().unwrap_or(i64::MAX),
        None => i64::MIN,
    };
    let mut made = Vec::new();
    for (index, (edge, findings)) in edges.iter_mut().enumerate() {
        let clock = Arc::new(ManualClock::default());
        let env = Env::seeded(Arc::clone(&clock) as _, 0);
        let builder = scratch::describe(&options.scratch, &path(index), env);
        let slate = builder.system::<Tsdb>(&name, config.clone()).open().await?;
        let mut scratch = Scratch::new(&slate, &name, clock)?;
        let folded = Fold::of(edge).await?.run(edge, &mut scratch, tell).await?;
        let unwritten = state::compare(edge, folded, findings).await?;
        let reader = slate.view().get_reader::<Tsdb>(&name)?.with_rollups(UseRollups::Never);
        made.push(Made { reader, totals: scratch.totals, unwritten, slate });
    }
    let compared = compare_metrics(edges, &made, (&sink, kept_from), others).await;
    for made in made {
        made.slate.close().await?;
    }
    compared
}

async fn compare_metrics(
    edges: &mut [(Prepared<'_>, &mut Findings)],
    made: &[Made],
    (sink, kept_from): (&Reader, i64),
    others: Others,
) -> Result<()> {
    let mut metrics = BTreeSet::new();
    for made in made {
        metrics.extend(made.reader.label_values("__name__", &[], TIMES.0, TIMES.1).await?);
    }
    let mut foreign = 0;
    let mut stranger = None;
    for metric in &metrics {
        let there = series_of(sink, metric).await?;
        let mut by_edge = Vec::new();
        for made in made {
            by_edge.push(series_of(&made.reader, metric).await?);
        }
        let mut writers: HashMap<&Labels, usize> = HashMap::new();
        for labels in by_edge.iter().flat_map(BTreeMap::keys) {
            *writers.entry(labels).or_default() += 1;
        }
        for labels in there.keys().filter(|labels| !writers.contains_key(labels)) {
            foreign += 1;
            stranger.get_or_insert_with(|| labels.to_string());
        }
        for (((edge, findings), made), series) in edges.iter_mut().zip(made).zip(&by_edge) {
            let one = One { edge, made, kept_from };
            for (labels, series) in series {
                match writers.get(labels) {
                    Some(1) => one.compare(series, there.get(labels), findings),
                    _ => findings.shared += 1,
                }
            }
        }
    }
    for (edge, findings) in edges.iter_mut() {
        scratch::conclude(edge, findings).await?;
    }
    let Some((_, findings)) = edges.first_mut() else { return Ok(()) };
    let unknown = sink.label_values("__name__", &[], TIMES.0, TIMES.1).await?;
    let unknown: Vec<&String> = unknown.iter().filter(|metric| !metrics.contains(*metric)).collect();
    if let (Others::None, Some(place)) = (others, stranger.or_else(|| unknown.first().map(|name| (*name).clone()))) {
        findings.differ(Difference::new(Kind::Extra, "sample", place));
        return Ok(());
    }
    findings.note(foreign + unknown.len() as u64, |rows| Unverified::Others { rows });
    Ok(())
}

async fn series_of(reader: &Reader, metric: &str) -> Result<BTreeMap<Labels, Series>> {
    let matcher = Matcher::new("__name__", MatchOp::Equal, metric)?;
    let found = reader.select(&[matcher], TIMES.0, TIMES.1).await?;
    Ok(found.into_iter().map(|series| (series.labels.clone(), series)).collect())
}

/// The series of one edge.
struct One<'a> {
    edge: &'a Prepared<'a>,
    made: &'a Made,
    kept_from: i64,
}

impl One<'_> {
    fn compare(&self, made: &Series, there: Option<&Series>, findings: &mut Findings) {
        if !self.edge.whole && self.made.totals.contains(&made.labels) {
            findings.totals += 1;
            return;
        }
        let samples = |series: &Series| -> BTreeMap<i64, f64> {
            series.timestamps.iter().copied().zip(series.values.iter().copied()).collect()
        };
        let (expected, found) = (samples(made), there.map(samples).unwrap_or_default());
        let unwritten = self.made.unwritten.ends_of(&made.labels);
        let times: BTreeSet<i64> = expected.keys().chain(found.keys()).copied().collect();
        for at in times {
            let (wanted, is) = (expected.get(&at), found.get(&at));
            if at < self.kept_from {
                findings.dropped += u64::from(wanted.is_some());
                continue;
            }
            if unwritten.contains(&at) {
                continue;
            }
            let kind = match (wanted, is) {
                (Some(wanted), Some(is)) => {
                    findings.rows += 1;
                    if wanted.to_bits() == is.to_bits() || wanted == is {
                        continue;
                    }
                    Kind::Changed
                }
                (Some(_), None) => Kind::Missing,
                // An earlier generation may have left it.
                (None, _) if !self.edge.whole => continue,
                (None, _) => Kind::Extra,
            };
            let place = format!("{} at {}", made.labels, Timestamp(at));
            let mut difference = Difference::new(kind, "sample", place);
            (difference.expected, difference.found) = (wanted.map(f64::to_string), is.map(f64::to_string));
            if findings.is_first() {
                findings.origin = Some(Place::Sample(made.labels.clone(), at));
            }
            findings.differ(difference);
        }
    }
}
