//! Aggregations that fold every row of a group into one: `sum avg min max count group stddev stdvar`.

use std::collections::HashMap;

use opendata_core::Result;

use super::{Eval, Sink};
use crate::labels::{Labels, METRIC_NAME};
use crate::promql::ast::{Aggregate, AggregateOp, LabelSet};
use crate::promql::column::{Bits, Column, Grid, Row};
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
                let names = names.iter().map(String::as_str).chain([METRIC_NAME]).collect();
                Self { names, keep: false }
            }
        }
    }

    pub(super) fn of(&self, labels: &Labels) -> Labels {
        if self.keep { labels.keep(&self.names) } else { labels.without(&self.names) }
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

impl Eval<'_> {
    pub(super) fn aggregate(&self, aggregate: &Aggregate, grid: &Grid, sink: &mut Sink<'_>) -> Result<()> {
        if aggregate.op.parameter().is_some() {
            return self.pick(aggregate, grid, sink);
        }
        let key = Key::new(&aggregate.by);
        let mut groups: Groups<Fold> = Groups::new();
        self.rows(&aggregate.expr, grid, &mut |row| {
            let before = groups.len();
            groups.update(key.of(&row.labels), || Fold::new(aggregate.op, grid.count), |fold| fold.add(&row.column));
            self.budget.hold((groups.len() - before) * grid.count)
        })?;
        groups.into_iter().try_for_each(|(labels, fold)| self.emit(Row { labels, column: fold.finish() }, sink))
    }
}

/// The accumulators of one group, one a step.
struct Fold {
    present: Bits,
    cells: Cells,
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
        Self { present: Bits::none(count), cells }
    }

    fn add(&mut self, column: &Column) {
        self.present.or(&column.present);
        match &mut self.cells {
            Cells::Sum(cells) => each(cells, column, Kahan::add),
            Cells::Avg(cells) => each(cells, column, Mean::add),
            Cells::Variance(cells, _) => each(cells, column, Variance::add),
            Cells::Plain(cells, f) => each(cells, column, *f),
        }
    }

    fn finish(self) -> Column {
        let values = match self.cells {
            Cells::Sum(cells) => cells.iter().map(Kahan::value).collect(),
            Cells::Avg(cells) => cells.iter().map(Mean::value).collect(),
            Cells::Variance(cells, f) => cells.iter().map(|cell| f(cell.value())).collect(),
            Cells::Plain(cells, _) => cells,
        };
        Column { values, present: self.present }
    }
}

fn each<C>(cells: &mut [C], column: &Column, f: impl Fn(&mut C, f64)) {
    for (step, value) in column.iter() {
        if let Some(cell) = cells.get_mut(step) {
            f(cell, value);
        }
    }
}
