//! From the text of one scrape to samples: labels of the target, relabelling, limits, and which series have ended.
//!
//! Series are recognised by how they are written, so that what was worked out for one is worked out once; while a target
//! exposes the same series in the same order, they are one shared list. Invariants:
//! - A series is *live* from the scrape it is in until the first one it is not in; that one ends it with a stale marker.
//! - A scrape that fails ends all of them. What was worked out is kept.

use std::collections::{HashMap, HashSet};

use opendata_core::{Error, Result};
use opendata_tsdb::{Histogram, Labels, METRIC_NAME, Metadata, MetricKind, SeriesList};

use super::classic::{Classic, Part, Parts};
use super::config::{Global, ScrapeConfig};
use super::relabel::{Builder, Fate, Rule, relabel};
use super::text::{self, Entry, Format, Kind, Parser, Sample, canonical};
use crate::exposition::family::Native;

/// What becomes of the series of a target.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) target: Labels,
    pub(super) honor_labels: bool,
    pub(super) honor_timestamps: bool,
    pub(super) track_timestamps: bool,
    pub(super) classic: Classic,
    pub(super) rules: Vec<Rule>,
    pub(super) limits: Limits,
}

/// Limits, zero meaning none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) samples: u64,
    labels: u64,
    name_bytes: u64,
    value_bytes: u64,
}

impl Limits {
    pub(super) fn new(config: &ScrapeConfig, global: &Global) -> Self {
        Self {
            samples: config.sample_limit.unwrap_or(global.sample_limit),
            labels: config.label_limit.unwrap_or(global.label_limit),
            name_bytes: config.label_name_length_limit.unwrap_or(global.label_name_length_limit),
            value_bytes: config.label_value_length_limit.unwrap_or(global.label_value_length_limit),
        }
    }
}

/// What one scrape comes to.
#[derive(Debug, Default)]
pub(super) struct Scraped {
    /// Series that are of the time of the scrape, and their values.
    pub(super) list: Option<SeriesList>,
    pub(super) values: Vec<f64>,
    /// Native histograms, some with a time of their own.
    pub(super) histograms: Vec<(Labels, Option<i64>, Histogram)>,
    /// Samples that brought their own time, in milliseconds.
    pub(super) timed: Vec<(Labels, i64, f64)>,
    /// Series that have ended.
    pub(super) ended: Vec<Labels>,
    pub(super) exemplars: Vec<Exemplar>,
    /// What metrics are, where that has changed since it was last said.
    pub(super) described: Vec<Described>,
    /// Samples before relabelling, and after it.
    pub(super) scraped: u64,
    pub(super) kept: u64,
    /// Series that were not in the scrape before.
    pub(super) added: u64,
    /// Samples of a series that the same scrape had before.
    pub(super) duplicates: u64,
    /// Classic histograms that contradict themselves.
    pub(super) broken: u64,
}

/// One measurement among those that a sample sums up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exemplar {
    pub(super) series: Labels,
    pub(super) labels: Labels,
    pub(super) value: f64,
    /// Milliseconds; none is the time of the scrape.
    pub(super) time_ms: Option<i64>,
}

/// What a metric is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) metric: String,
    pub(crate) kind: Kind,
    pub(crate) help: String,
    pub(crate) unit: String,
}

impl Described {
    /// The same, as it is stored.
    pub(crate) fn metadata(&self) -> Metadata {
        let kind = MetricKind::from_name(self.kind.name()).unwrap_or_default();
        Metadata { kind, unit: self.unit.clone(), help: self.help.clone() }
    }
}

/// What is known of a target's series.
pub(super) struct Series {
    shape: Shape,
    known: HashMap<Box<str>, Known>,
    /// Counts scrapes; 0 is before the first.
    round: u64,
    /// The series of the scrape before, in their order.
    list: SeriesList,
    /// The native histograms of the last scrape that was written.
    histograms: HashSet<Labels>,
    described: HashMap<String, Described>,
    /// The newest exemplar of each series: one that goes on being exposed is written once.
    exemplars: HashMap<Labels, Exemplar>,
}

struct Known {
    /// None if relabelling drops it.
    labels: Option<Labels>,
    /// The native histogram that it is part of.
    part: Option<(Labels, Part)>,
    /// The last scrape it was in, also if that failed in the end.
    round: u64,
    /// Whether its absence ends it, if it is in this scrape.
    is_tracked: bool,
    /// Whether the last scrape that was written has it, and its absence ends it.
    is_live: bool,
    /// Its place in the list.
    place: usize,
}

/// How many written forms are remembered beyond those of the last scrape, before the others are forgotten.
const SURPLUS: usize = 1_000;

impl Series {
    pub(super) fn new(shape: Shape) -> Self {
        let list = SeriesList::new([]);
        let (known, described, exemplars) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { shape, known, round: 0, list, histograms: HashSet::new(), described, exemplars }
    }

    /// What metrics of the target are.
    pub(super) fn described(&self) -> impl Iterator<Item = &Described> {
        self.described.values()
    }

    /// Takes a text apart; native histograms stand beside it.
    ///
    /// # Errors
    /// `Invalid` when it cannot be read, or a limit is exceeded. All live series have ended then: see [`fail`](Self::fail).
    pub(super) fn read(&mut self, text: &str, format: Format, natives: Vec<Native>) -> Result<Scraped> {
        self.round += 1;
        let mut scraped = Scraped::default();
        let mut round = Round {
            parser: Parser::new(text, format),
            family: Described::default(),
            order: Vec::new(),
            classic: HashMap::new(),
            is_same: true,
        };
        while let Some(entry) = round.parser.next().map_err(|wrong| Error::invalid(wrong.to_string()))? {
            match entry {
                Entry::Kind { metric, kind } => {
                    self.describe(&mut round, &mut scraped, &metric, |family| family.kind = kind)
                }
                Entry::Help { metric, text } => {
                    self.describe(&mut round, &mut scraped, &metric, |family| family.help = text.into_owned());
                }
                Entry::Unit { metric, unit } => {
                    self.describe(&mut round, &mut scraped, &metric, |family| family.unit = unit.to_owned());
                }
                Entry::Sample(sample) => {
                    let line = round.parser.line();
                    self.sample(&mut round, &mut scraped, sample)
                        .map_err(|error| error.context(format_args!("line {line}")))?;
                }
            }
        }
        self.tell(&mut round.family, &mut scraped);
        self.natives(natives, &mut scraped)?;
        self.put_together(std::mem::take(&mut round.classic), &mut scraped);
        let limit = self.shape.limits.samples;
        if limit > 0 && scraped.kept > limit {
            return Err(Error::invalid(format!(
                "sample limit exceeded, sample_limit={limit}, samples={}",
                scraped.kept
            )));
        }
        if !round.is_same || round.order.len() != self.list.len() {
            self.list = SeriesList::new(round.order);
        }
        scraped.list = Some(self.list.clone());
        self.end_absent(&mut scraped);
        Ok(scraped)
    }

    /// Gathers what is said of a metric, until another one is spoken of.
    fn describe(
        &mut self,
        round: &mut Round<'_>,
        scraped: &mut Scraped,
        metric: &str,
        change: impl FnOnce(&mut Described),
    ) {
        if round.family.metric != metric {
            self.tell(&mut round.family, scraped);
            round.family = Described { metric: metric.to_owned(), ..Described::default() };
        }
        change(&mut round.family);
    }

    fn tell(&mut self, family: &mut Described, scraped: &mut Scraped) {
        let family = std::mem::take(family);
        if !family.metric.is_empty() && self.described.get(&family.metric) != Some(&family) {
            self.described.insert(family.metric.clone(), family.clone());
            scraped.described.push(family);
        }
    }

    fn sample(&mut self, round: &mut Round<'_>, scraped: &mut Scraped, sample: Sample<'_>) -> Result<()> {
        scraped.scraped += 1;
        if !self.known.contains_key(sample.series) {
            let known = self.shape.known(sample.series, &round.family)?;
            self.known.insert(sample.series.into(), known);
        }
        let Some(known) = self.known.get_mut(sample.series) else { return Ok(()) };
        if let Some((whole, part)) = &known.part {
            round.classic.entry(whole.clone()).or_default().add(*part, sample.value);
        }
        let Some(labels) = &known.labels else { return Ok(()) };
        scraped.kept += 1;
        if known.round == self.round {
            scraped.duplicates += 1;
        } else if !known.is_live {
            scraped.added += 1;
        }
        if let Some(exemplar) = &sample.exemplar {
            let exemplar = read_exemplar(labels, exemplar)?;
            if self.exemplars.get(labels) != Some(&exemplar) {
                self.exemplars.insert(labels.clone(), exemplar.clone());
                scraped.exemplars.push(exemplar);
            }
        }
        known.round = self.round;
        match sample.time_ms.filter(|_| self.shape.honor_timestamps) {
            Some(time_ms) => {
                known.is_tracked = self.shape.track_timestamps;
                scraped.timed.push((labels.clone(), time_ms, sample.value));
            }
            None => {
                known.is_tracked = true;
                round.is_same &=
                    known.place == round.order.len() && self.list.iter().as_slice().get(known.place) == Some(labels);
                known.place = round.order.len();
                round.order.push(labels.clone());
                scraped.values.push(sample.value);
            }
        }
        Ok(())
    }

    /// Gives native histograms the labels of the target.
    fn natives(&self, natives: Vec<Native>, scraped: &mut Scraped) -> Result<()> {
        for Native { labels, time_ms, histogram } in natives {
            scraped.scraped += 1;
            let mut own = Builder::default();
            labels.iter().for_each(|label| own.set(label.name(), label.value()));
            let Some(labels) = self.shape.labels(own, labels.metric_name().unwrap_or_default())? else { continue };
            scraped.kept += 1;
            scraped.added += u64::from(!self.histograms.contains(&labels));
            scraped.histograms.push((labels, time_ms.filter(|_| self.shape.honor_timestamps), histogram));
        }
        Ok(())
    }

    /// Makes native histograms of the classic ones that the target does not show as such itself.
    fn put_together(&self, classic: HashMap<Labels, Parts>, scraped: &mut Scraped) {
        let shown: HashSet<Labels> = scraped.histograms.iter().map(|(labels, ..)| labels.clone()).collect();
        for (labels, parts) in classic.into_iter().filter(|(labels, _)| !shown.contains(labels)) {
            match parts.histogram() {
                Ok(histogram) => {
                    scraped.kept += 1;
                    scraped.added += u64::from(!self.histograms.contains(&labels));
                    scraped.histograms.push((labels, None, histogram));
                }
                Err(error) => {
                    tracing::debug!(error = error.message(), %labels, "a histogram is left out");
                    scraped.broken += 1;
                }
            }
        }
    }

    /// Ends the series that were live and are not in this scrape.
    fn end_absent(&mut self, scraped: &mut Scraped) {
        let round = self.round;
        let mut absent: Vec<Labels> = Vec::new();
        for known in self.known.values_mut() {
            let is_live = known.round == round && known.is_tracked;
            if known.is_live && !is_live {
                absent.extend(known.labels.clone());
            }
            known.is_live = is_live;
        }
        if !absent.is_empty() {
            // One series may be written in two ways.
            let present: HashSet<&Labels> = self
                .known
                .values()
                .filter(|known| known.round == round)
                .filter_map(|known| known.labels.as_ref())
                .collect();
            scraped.ended = absent.into_iter().filter(|labels| !present.contains(labels)).collect();
        }
        // The absence of what brings its own time ends nothing, unless it is wished for.
        let tracked = scraped.histograms.iter().filter(|(_, time, _)| time.is_none() || self.shape.track_timestamps);
        let present: HashSet<Labels> = tracked.map(|(labels, ..)| labels.clone()).collect();
        scraped.ended.extend(self.histograms.difference(&present).cloned());
        self.histograms = present;
        let most = usize::try_from(scraped.scraped).unwrap_or(usize::MAX).saturating_add(SURPLUS);
        if self.known.len() > most {
            self.known.retain(|_, known| known.round == round);
            let present: HashSet<&Labels> = self.known.values().filter_map(|known| known.labels.as_ref()).collect();
            self.exemplars.retain(|labels, _| present.contains(labels));
        }
    }

    /// The scrape failed: all live series have ended.
    pub(super) fn fail(&mut self) -> Vec<Labels> {
        let mut ended = std::mem::take(&mut self.histograms);
        for known in self.known.values_mut().filter(|known| known.is_live) {
            ended.extend(known.labels.clone());
            known.is_live = false;
        }
        ended.into_iter().collect()
    }
}

/// A scrape under way.
struct Round<'a> {
    parser: Parser<'a>,
    family: Described,
    order: Vec<Labels>,
    /// The parts of native histograms.
    classic: HashMap<Labels, Parts>,
    /// Whether the series so far are those of the list.
    is_same: bool,
}

fn read_exemplar(series: &Labels, exemplar: &text::Exemplar<'_>) -> Result<Exemplar> {
    let pairs = text::labels(exemplar.labels, false).map_err(Error::invalid)?;
    let labels = Labels::new(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))?;
    Ok(Exemplar { series: series.clone(), labels, value: exemplar.value, time_ms: exemplar.time_ms })
}

impl Shape {
    /// What becomes of a series.
    fn known(&self, series: &str, family: &Described) -> Result<Known> {
        let pairs = text::labels(series, true).map_err(Error::invalid)?;
        let mut own = Builder::default();
        for (name, value) in &pairs {
            if own.get(name).is_some() {
                return Err(Error::invalid(format!("a label's name occurs twice, name={name}, series={series:?}")));
            }
            own.set(name.as_ref(), self.bound(name, value, family));
        }
        let mut part = None;
        if self.classic != Classic::Keep && family.kind == Kind::Histogram {
            let found = Part::of(&family.metric, own.get(METRIC_NAME).unwrap_or_default(), own.get("le"));
            if let Some(found) = found {
                let mut whole = own.clone();
                whole.set("le", "");
                whole.set(METRIC_NAME, family.metric.as_str());
                part = self.labels(whole, series)?.map(|whole| (whole, found));
            }
        }
        let is_replaced = part.is_some() && self.classic == Classic::Convert;
        let labels = if is_replaced { None } else { self.labels(own, series)? };
        Ok(Known { labels, part, round: 0, is_tracked: false, is_live: false, place: usize::MAX })
    }

    /// The labels that a series with these gets; none if relabelling drops it.
    fn labels(&self, mut labels: Builder, series: &str) -> Result<Option<Labels>> {
        self.add_target(&mut labels);
        if relabel(&mut labels, &self.rules) == Fate::Dropped || labels.is_empty() {
            return Ok(None);
        }
        if labels.get(METRIC_NAME).is_none() {
            return Err(Error::invalid(format!("a series has lost its name by relabelling, series={series:?}")));
        }
        self.check(&labels, series)?;
        Labels::new(labels.into_pairs()).map(Some)
    }

    /// Bounds of buckets and quantiles are written in one way, however the target writes them.
    fn bound<'a>(&self, name: &str, value: &'a str, family: &Described) -> std::borrow::Cow<'a, str> {
        let is_bound = match family.kind {
            Kind::Histogram | Kind::GaugeHistogram => name == "le",
            Kind::Summary => name == "quantile",
            _ => false,
        };
        match is_bound.then(|| canonical(value)).flatten() {
            Some(written) => written.into(),
            None => value.into(),
        }
    }

    /// Where target and series have a label of one name, the target's counts; or with `honor_labels` the series's.
    fn add_target(&self, labels: &mut Builder) {
        for label in &self.target {
            match labels.get(label.name()).map(str::to_owned) {
                Some(_) if self.honor_labels => {}
                Some(own) => {
                    let mut exported = format!("exported_{}", label.name());
                    while labels.get(&exported).is_some() || self.target.get(&exported).is_some() {
                        exported.insert_str(0, "exported_");
                    }
                    labels.set(exported, own);
                    labels.set(label.name(), label.value());
                }
                None => labels.set(label.name(), label.value()),
            }
        }
    }

    fn check(&self, labels: &Builder, series: &str) -> Result<()> {
        let Limits { labels: most, name_bytes, value_bytes, .. } = self.limits;
        let over = |limit: u64, found: usize| limit > 0 && found as u64 > limit;
        let exceeded = |what: &str, limit: u64| {
            Err(Error::invalid(format!("{what} limit exceeded, limit={limit}, series={series:?}")))
        };
        if over(most, labels.iter().count()) {
            return exceeded("label", most);
        }
        for (name, value) in labels.iter() {
            if over(name_bytes, name.len()) {
                return exceeded("label name length", name_bytes);
            }
            if over(value_bytes, value.len()) {
                return exceeded("label value length", value_bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
