//! Aggregations that fold every row of a group into one: `sum avg min max count group stddev stdvar`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use opendata_core::Result;
use rustc_hash::{FxBuildHasher, FxHasher};

use super::{Eval, Sink};
use crate::histogram::Total;
use crate::labels::{Label, Labels, METADATA};
use crate::promql::ast::{Aggregate, AggregateOp, LabelSet};
use crate::promql::column::{Bits, Column, Grid, Row};
use crate::promql::kernel::Step;
use crate::promql::lex::Span;
use crate::promql::number::{Kahan, Mean, Variance};

/// Finds the labels by which rows are grouped or matched.
pub(super) struct Key<'a> {
    names: Vec<&'a str>,
    keep: bool,
}

impl<'a> Key<'a> {
    pub(super) fn new(set: &'a LabelSet) -> Self {
        match set {
            LabelSet::Only(names) => Self { names: names.iter().map(String::as_str).collect(), keep: true },
            LabelSet::Without(names) => {
                let names = names.iter().map(String::as_str).chain(METADATA).collect();
                Self { names, keep: false }
            }
        }
    }

    pub(super) fn of(&self, labels: &Labels) -> Labels {
        if self.keep { labels.keep(&self.names) } else { labels.without(&self.names) }
    }

    /// The labels of a row that it is grouped by, without making a label set of them. A name that was dropped is none.
    fn kept<'r>(&'r self, row: &'r Row, sees_dropped: bool) -> impl Iterator<Item = &'r Label> {
        let drops = row.drop_name && !sees_dropped;
        row.labels.iter().filter(move |label| {
            self.names.contains(&label.name()) == self.keep && !(drops && METADATA.contains(&label.name()))
        })
    }
}

/// Things by group, in the order in which the groups first came.
pub(super) struct Groups<T> {
    places: HashMap<Labels, usize>,
    all: Vec<(Labels, T)>,
}

impl<T> Groups<T> {
    pub(super) fn new() -> Self {
        Self { places: HashMap::new(), all: Vec::new() }
    }

    pub(super) fn get(&self, key: &Labels) -> Option<&T> {
        self.places.get(key).and_then(|place| self.all.get(*place)).map(|(_, group)| group)
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Changes the group of a key, which is made if it is new.
    pub(super) fn update(&mut self, key: Labels, new: impl FnOnce() -> T, change: impl FnOnce(&mut T)) {
        let place = *self.places.entry(key.clone()).or_insert(self.all.len());
        if place == self.all.len() {
            self.all.push((key, new()));
        }
        if let Some((_, group)) = self.all.get_mut(place) {
            change(group);
        }
    }

    pub(super) fn into_iter(self) -> std::vec::IntoIter<(Labels, T)> {
        self.all.into_iter()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, (Labels, T)> {
        self.all.iter()
    }
}

/// Groups of rows, found without making a label set for every row.
struct ByRow<T> {
    /// By the hash of the labels the first group with it; the next one follows from there.
    first: HashMap<u64, usize, FxBuildHasher>,
    groups: Vec<Group<T>>,
}

struct Group<T> {
    labels: Labels,
    next: Option<usize>,
    what: T,
}

impl<T> ByRow<T> {
    fn new() -> Self {
        Self { first: HashMap::default(), groups: Vec::new() }
    }

    /// The group of a row, which is made if it is new.
    fn of(&mut self, key: &Key<'_>, row: &Row, sees_dropped: bool, new: impl FnOnce() -> T) -> Option<&mut T> {
        let mut hasher = FxHasher::default();
        for label in key.kept(row, sees_dropped) {
            label.name().hash(&mut hasher);
            label.value().hash(&mut hasher);
        }
        let hash = hasher.finish();
        let first = self.first.get(&hash).copied();
        let mut at = first;
        while let Some((place, group)) = at.and_then(|place| Some((place, self.groups.get(place)?))) {
            if group.labels.iter().eq(key.kept(row, sees_dropped)) {
                return self.groups.get_mut(place).map(|group| &mut group.what);
            }
            at = group.next;
        }
        let labels = Labels::last_wins(key.kept(row, sees_dropped).map(|label| (label.name(), label.value())));
        self.first.insert(hash, self.groups.len());
        self.groups.push(Group { labels, next: first, what: new() });
        self.groups.last_mut().map(|group| &mut group.what)
    }
}

impl Eval<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        if aggregate.op.parameter().is_some() {
            return self.pick(aggregate, grid, sink);
        }
        let key = Key::new(&aggregate.by);
        let span = aggregate.expr.span;
        let mut groups: ByRow<Fold> = ByRow::new();
        let sees_dropped = self.config.delayed_name_removal;
        let input = if aggregate.op.looks_at_values() { None } else { Some(self.for_times(&aggregate.expr, grid)) };
        input.as_ref().unwrap_or(self).rows(&aggregate.expr, grid, &mut |mut row| {
            if !aggregate.op.takes_histograms() {
                self.only_floats(&mut row.column, aggregate.op, span);
            }
            let before = groups.groups.len();
            let new = || Fold::new(aggregate.op, grid.count);
            if let Some(fold) = groups.of(&key, &row, sees_dropped, new) {
                if !row.column.is_float() {
                    row = self.settled(row);
                }
                // A group's labels have no dropped name any more, unless all wait for the end with it.
                row.drop_name &= sees_dropped;
                fold.add(self, &row, span);
            }
            self.budget.hold((groups.groups.len() - before) * grid.count)
        })?;
        groups.groups.into_iter().try_for_each(|Group { labels, what: fold, .. }| {
            let drop_name = fold.drop_name;
            let column = fold.finish(self, span);
            self.emit(Row { labels, column, drop_name }, sink)
        })
    }

    /// Takes histograms away from an aggregation of floats, and says so.
    pub(super) fn only_floats(&self, column: &mut Column, op: AggregateOp, span: Span) {
        if !column.is_float() {
            column.drop_histograms();
            self.inform(span, format_args!("ignored histogram in {} aggregation", op.name()));
        }
    }
}

/// The accumulators of one group, one a step.
struct Fold {
    present: Bits,
    cells: Cells,
    /// The sums of histograms by step, with how many there were; `None` where they cannot be added.
    totals: BTreeMap<usize, Option<(Total, usize)>>,
    drop_name: bool,
}

enum Cells {
    Sum(Vec<Kahan>),
    Avg(Vec<Mean>),
    Variance(Vec<Variance>, fn(f64) -> f64),
    /// A plain value, and how another one changes it.
    Plain(Vec<f64>, fn(&mut f64, f64)),
}

impl Fold {
    fn new(op: AggregateOp, count: usize) -> Self {
        let min: fn(&mut f64, f64) = |best, value| {
            if value < *best || best.is_nan() {
                *best = value;
            }
        };
        let max: fn(&mut f64, f64) = |best, value| {
            if value > *best || best.is_nan() {
                *best = value;
            }
        };
        let cells = match op {
            AggregateOp::Avg => Cells::Avg(vec![Mean::default(); count]),
            AggregateOp::Min => Cells::Plain(vec![f64::NAN; count], min),
            AggregateOp::Max => Cells::Plain(vec![f64::NAN; count], max),
            AggregateOp::Count => Cells::Plain(vec![0.0; count], |total, _| *total += 1.0),
            AggregateOp::Group => Cells::Plain(vec![1.0; count], |_, _| ()),
            AggregateOp::Stddev => Cells::Variance(vec![Variance::default(); count], f64::sqrt),
            AggregateOp::Stdvar => Cells::Variance(vec![Variance::default(); count], |variance| variance),
            _ => Cells::Sum(vec![Kahan::default(); count]),
        };
        Self { present: Bits::none(count), cells, totals: BTreeMap::new(), drop_name: false }
    }

    fn add(&mut self, eval: &Eval<'_>, row: &Row, span: Span) {
        let column = &row.column;
        self.drop_name |= row.drop_name;
        match &mut self.cells {
            Cells::Plain(cells, f) => {
                // Either there are floats only, or what counts is that there is a value.
                self.present.or(&column.present);
                for step in column.present.iter() {
                    if let (Some(cell), Some(value)) = (cells.get_mut(step), column.values.get(step)) {
                        f(cell, *value);
                    }
                }
                return;
            }
            Cells::Sum(cells) => each(cells, column, Kahan::add),
            Cells::Avg(cells) => each(cells, column, Mean::add),
            Cells::Variance(cells, _) => each(cells, column, Variance::add),
        }
        if column.is_float() {
            self.present.or(&column.present);
            return;
        }
        column.iter().for_each(|(step, _)| self.present.set(step));
        for (step, histogram) in column.histograms() {
            match self.totals.entry(step) {
                Entry::Vacant(entry) => {
                    entry.insert(Some((Total::new(histogram), 1)));
                }
                Entry::Occupied(mut entry) => {
                    let Some((total, count)) = entry.get_mut() else { continue };
                    *count += 1;
                    if total.add(histogram).is_err() {
                        eval.warn_mixed_schemas(&row.labels, span);
                        entry.insert(None);
                    }
                }
            }
        }
    }

    fn finish(self, eval: &Eval<'_>, span: Span) -> Column {
        let mut averages = false;
        let values = match self.cells {
            Cells::Sum(cells) => cells.iter().map(Kahan::value).collect(),
            Cells::Avg(cells) => {
                averages = true;
                cells.iter().map(Mean::value).collect()
            }
            Cells::Variance(cells, f) => cells.iter().map(|cell| f(cell.value())).collect(),
            Cells::Plain(cells, _) => cells,
        };
        let mut column = Column::floats(values, self.present);
        for (step, total) in self.totals {
            if column.present.get(step) {
                eval.warn(span, "encountered a mix of histograms and floats for aggregation");
                column.present.clear(step);
                continue;
            }
            let Some((total, count)) = total else { continue };
            let (mut histogram, combined) = total.finish();
            if combined.bounds_reduced {
                eval.inform_bounds(Step::Aggregation, span);
            }
            if combined.resets_conflict {
                eval.warn_resets(Step::Aggregation, span);
            }
            if averages {
                histogram.divide(crate::promql::number::count(count));
            }
            column.set_histogram(step, Arc::new(histogram));
        }
        column
    }
}

fn each<C>(cells: &mut [C], column: &Column, f: impl Fn(&mut C, f64)) {
    for (step, value) in column.iter() {
        if let Some(cell) = cells.get_mut(step) {
            f(cell, value);
        }
    }
}
