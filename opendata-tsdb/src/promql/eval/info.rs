//! `info`: labels that another metric knows of the same target.
//!
//! An info series says of an instance and job what does not change with a measurement: a version, a cluster. Where an old and a new
//! one overlap, because nobody marked the old one as ended, the one with the newer sample holds.

use std::collections::HashMap;

use opendata_core::{Error, Result};

use super::{Eval, Instant, Merged, Sink};
use crate::labels::{Labels, METRIC_NAME};
use crate::matcher::Matcher;
use crate::promql::ast::{Call, Kind};
use crate::promql::column::{Column, Grid, Row};

/// The labels that say whom an info series is about.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// An info metric's series about one target, with the times of their samples.
type Versions = Vec<Row>;

struct Infos<'a> {
    /// By target, one entry an info metric.
    by_target: HashMap<Labels, HashMap<String, Versions>>,
    /// What the caller asks of the data labels.
    wanted: Vec<&'a Matcher>,
    /// What says which metrics are info metrics.
    names: Vec<&'a Matcher>,
}

impl Infos<'_> {
    fn is_info(&self, labels: &Labels) -> bool {
        let name = labels.metric_name().unwrap_or_default();
        self.names.iter().all(|matcher| matcher.matches(name))
    }

    /// Whether a label of an info series is asked for.
    fn is_wanted(&self, name: &str) -> bool {
        name != METRIC_NAME
            && !IDENTIFYING.contains(&name)
            && (self.wanted.is_empty() || self.wanted.iter().any(|matcher| matcher.name() == name))
    }

    /// The series of each info metric that holds at a step.
    fn at<'i>(&'i self, target: &Labels, step: usize) -> Result<Vec<&'i Row>> {
        let mut found = Vec::new();
        for versions in self.by_target.get(target).into_iter().flat_map(HashMap::values) {
            let mut newest: Option<(&Row, f64)> = None;
            for row in versions {
                let Some(time) = row.column.get(step) else { continue };
                match newest {
                    Some((other, at)) if at == time => {
                        let what = "two info series tell of one target at the same time";
                        return Err(Error::invalid(format!("{what}, series={} and {}", other.labels, row.labels)));
                    }
                    Some((_, at)) if at > time => {}
                    _ => newest = Some((row, time)),
                }
            }
            found.extend(newest.map(|(row, _)| row));
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }

    /// The labels with what the info series add; nothing where there is no info series and something of one is asked for.
    fn enriched(&self, labels: &Labels, infos: &[&Row]) -> Result<Option<Labels>> {
        let mut added: Vec<(&str, &str)> = Vec::new();
        for label in infos.iter().flat_map(|info| info.labels.iter()) {
            if !self.is_wanted(label.name()) || labels.get(label.name()).is_some() {
                continue;
            }
            match added.iter().find(|(name, _)| *name == label.name()) {
                Some((_, value)) if *value == label.value() => {}
                Some((name, _)) => {
                    return Err(Error::invalid(format!("info series contradict one another, label={name}")));
                }
                None => added.push((label.name(), label.value())),
            }
        }
        if infos.is_empty() && self.wanted.iter().any(|matcher| !matcher.matches("")) {
            return Ok(None);
        }
        let with = |labels: Labels, (name, value): (&str, &str)| labels.with(name, value);
        added.into_iter().try_fold(labels.clone(), with).map(Some)
    }
}

impl Eval<'_> {
    pub(super) fn info(&self, call: &Call, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        let Kind::Instant(selector) = &call.arg(1)?.kind else {
            return Err(Error::invalid("argument missing, function=info"));
        };
        let (names, wanted) = selector.matchers.iter().partition(|matcher| matcher.name() == METRIC_NAME);
        let mut infos = Infos { by_target: HashMap::new(), wanted, names };
        self.instant(selector, call.arg(1)?.span, grid, Instant::Time, &mut |row| {
            let target = row.labels.keep(&IDENTIFYING);
            if !target.is_empty() {
                self.budget.hold(row.column.weight())?;
                let name = row.labels.metric_name().unwrap_or_default().to_owned();
                infos.by_target.entry(target).or_default().entry(name).or_default().push(row);
            }
            Ok(())
        })?;
        let mut merged = Merged::new(self.budget);
        self.rows(call.arg(0)?, grid, &mut |row| {
            let row = self.settled(row);
            if infos.is_info(&row.labels) {
                return merged.push(row);
            }
            self.enrich(&infos, &row, grid, &mut merged)
        })?;
        merged.emit(sink)
    }

    /// A row for each set of labels that the row's values get over the steps.
    fn enrich(&self, infos: &Infos<'_>, row: &Row, grid: &Grid, merged: &mut Merged<'_>) -> Result<()> {
        let target = row.labels.keep(&IDENTIFYING);
        let mut rows: Vec<(Labels, Column)> = Vec::new();
        let mut last: Option<(Vec<*const Row>, Option<usize>)> = None;
        for (step, cell) in row.column.cells() {
            let found = infos.at(&target, step)?;
            // Info series change seldom: the labels are made once a run of the same ones.
            let key: Vec<*const Row> = found.iter().map(|row| std::ptr::from_ref(*row)).collect();
            let place = match &last {
                Some((before, place)) if *before == key => *place,
                _ => infos.enriched(&row.labels, &found)?.map(|labels| {
                    let known = rows.iter().position(|(other, _)| *other == labels);
                    known.unwrap_or_else(|| {
                        rows.push((labels, Column::empty(grid.count)));
                        rows.len() - 1
                    })
                }),
            };
            last = Some((key, place));
            if let Some((_, column)) = place.and_then(|place| rows.get_mut(place)) {
                column.set_cell(step, cell);
            }
        }
        for (labels, column) in rows {
            let row = Row { labels, column, drop_name: row.drop_name };
            self.emit(row, &mut |row| merged.push(row))?;
        }
        Ok(())
    }
}
