//! Dense columns over the steps of a query: what the evaluator computes with.
//!
//! Every row of one evaluation has one value a step and a bit that says whether the value is there. Values whose bit is not set are
//! meaningless (but never read). Native histograms are a second, sparse part of a [`Column`] beside `values`: nearly all columns have
//! none, and those pay nothing for it.

use std::sync::Arc;

use crate::histogram::Histogram;
use crate::labels::Labels;

/// The steps of an evaluation: `start`, `start + step`, ... (`count` of them), in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) start_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) count: usize,
}

impl Grid {
    /// All steps from `start_ms` to `end_ms`, both included; none where the end is before the start.
    pub(crate) fn new(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let count = match end_ms.checked_sub(start_ms) {
            Some(length) if length >= 0 && step_ms > 0 => {
                usize::try_from(length / step_ms).unwrap_or(usize::MAX - 1) + 1
            }
            Some(0) => 1,
            _ => 0,
        };
        Self { start_ms, step_ms, count }
    }

    /// The time of a step.
    pub(crate) fn time(&self, step: usize) -> i64 {
        self.start_ms.saturating_add(self.step_ms.saturating_mul(i64::try_from(step).unwrap_or(i64::MAX)))
    }
}

/// One bit a step. The first 64, which are all of most instant queries, take no memory of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    first: u64,
    more: Vec<u64>,
}

impl Bits {
    pub(crate) fn none(count: usize) -> Self {
        Self { first: 0, more: vec![0; count.saturating_sub(64).div_ceil(64)] }
    }

    pub(crate) fn all(count: usize) -> Self {
        let mut bits = Self::none(count);
        for (at, word) in bits.words_mut().enumerate() {
            *word = match count - (at * 64).min(count) {
                0 => 0,
                left @ 1..64 => (1 << left) - 1,
                _ => u64::MAX,
            };
        }
        bits
    }

    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }

    fn words_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        std::iter::once(&mut self.first).chain(&mut self.more)
    }

    fn word_mut(&mut self, step: usize) -> Option<&mut u64> {
        match (step / 64).checked_sub(1) {
            None => Some(&mut self.first),
            Some(at) => self.more.get_mut(at),
        }
    }

    pub(crate) fn get(&self, step: usize) -> bool {
        let word = match (step / 64).checked_sub(1) {
            None => self.first,
            Some(at) => self.more.get(at).copied().unwrap_or(0),
        };
        word >> (step % 64) & 1 == 1
    }

    pub(crate) fn set(&mut self, step: usize) {
        if let Some(word) = self.word_mut(step) {
            *word |= 1 << (step % 64);
        }
    }

    pub(crate) fn clear(&mut self, step: usize) {
        if let Some(word) = self.word_mut(step) {
            *word &= !(1 << (step % 64));
        }
    }

    fn zip(&mut self, other: &Self, f: impl Fn(u64, u64) -> u64) {
        for (a, b) in self.words_mut().zip(other.words()) {
            *a = f(*a, b);
        }
    }

    pub(crate) fn or(&mut self, other: &Self) {
        self.zip(other, |a, b| a | b);
    }

    pub(crate) fn and(&mut self, other: &Self) {
        self.zip(other, |a, b| a & b);
    }

    pub(crate) fn and_not(&mut self, other: &Self) {
        self.zip(other, |a, b| a & !b);
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.words().zip(other.words()).any(|(a, b)| a & b != 0)
    }

    /// How many bits are set.
    pub(crate) fn count(&self) -> usize {
        self.words().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn is_none(&self) -> bool {
        self.words().all(|word| word == 0)
    }

    /// The steps whose bit is set, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words().enumerate().flat_map(|(index, mut word)| {
            std::iter::from_fn(move || {
                if word == 0 {
                    return None;
                }
                let bit = usize::try_from(word.trailing_zeros()).unwrap_or(0);
                word &= word - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

/// A value: a number or a native histogram.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// One value a step, where there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    /// The floats; meaningless at the steps of histograms.
    pub(crate) values: Vec<f64>,
    /// The steps that have a value, of either kind.
    pub(crate) present: Bits,
    /// The histograms by step, ascending. One whose bit in `present` was taken away does not count any more.
    histograms: Vec<(usize, Arc<Histogram>)>,
}

impl Column {
    pub(crate) fn empty(count: usize) -> Self {
        Self { values: vec![0.0; count], present: Bits::none(count), histograms: Vec::new() }
    }

    /// A float at every step.
    pub(crate) fn full(values: Vec<f64>) -> Self {
        Self { present: Bits::all(values.len()), values, histograms: Vec::new() }
    }

    /// Floats at some steps.
    pub(crate) fn floats(values: Vec<f64>, present: Bits) -> Self {
        Self { values, present, histograms: Vec::new() }
    }

    /// What it takes in memory, in floats.
    pub(crate) fn weight(&self) -> usize {
        self.values.len() + self.histograms.iter().map(|(_, histogram)| histogram.size_bytes() / 8).sum::<usize>()
    }

    pub(crate) fn set(&mut self, step: usize, value: f64) {
        if let Some(slot) = self.values.get_mut(step) {
            *slot = value;
            self.present.set(step);
            if !self.histograms.is_empty()
                && let Ok(at) = self.place(step)
            {
                self.histograms.remove(at);
            }
        }
    }

    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        if step >= self.values.len() {
            return;
        }
        self.present.set(step);
        match self.place(step) {
            Ok(at) => self.histograms.get_mut(at).into_iter().for_each(|slot| slot.1 = Arc::clone(&histogram)),
            Err(at) => self.histograms.insert(at, (step, histogram)),
        }
    }

    pub(crate) fn set_cell(&mut self, step: usize, cell: Cell) {
        match cell {
            Cell::Float(value) => self.set(step, value),
            Cell::Histogram(histogram) => self.set_histogram(step, histogram),
        }
    }

    fn place(&self, step: usize) -> Result<usize, usize> {
        self.histograms.binary_search_by_key(&step, |(step, _)| *step)
    }

    /// Whether all values are floats.
    pub(crate) fn is_float(&self) -> bool {
        self.histograms.is_empty()
    }

    /// The histogram at a step.
    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        if self.histograms.is_empty() || !self.present.get(step) {
            return None;
        }
        self.place(step).ok().and_then(|at| self.histograms.get(at)).map(|(_, histogram)| histogram)
    }

    /// The float at a step.
    pub(crate) fn get(&self, step: usize) -> Option<f64> {
        if self.present.get(step) && self.histogram(step).is_none() { self.values.get(step).copied() } else { None }
    }

    /// The value at a step.
    pub(crate) fn cell(&self, step: usize) -> Option<Cell> {
        match self.histogram(step) {
            Some(histogram) => Some(Cell::Histogram(Arc::clone(histogram))),
            None => self.get(step).map(Cell::Float),
        }
    }

    /// The steps that have a float, with it, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let mut histograms = self.histograms.iter().peekable();
        self.present.iter().filter_map(move |step| {
            if histograms.peek().is_some() {
                while histograms.next_if(|(at, _)| *at < step).is_some() {}
                if histograms.next_if(|(at, _)| *at == step).is_some() {
                    return None;
                }
            }
            Some((step, *self.values.get(step)?))
        })
    }

    /// The steps that have a histogram, with it, ascending.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = (usize, &Arc<Histogram>)> + '_ {
        self.histograms.iter().filter(|(step, _)| self.present.get(*step)).map(|(step, histogram)| (*step, histogram))
    }

    /// The steps that have a value, with it, ascending.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (usize, Cell)> + '_ {
        self.present.iter().filter_map(|step| Some((step, self.cell(step)?)))
    }

    /// Takes the histograms away.
    pub(crate) fn drop_histograms(&mut self) {
        for (step, _) in std::mem::take(&mut self.histograms) {
            self.present.clear(step);
        }
    }

    /// Takes the values away of the steps that are not wanted.
    pub(crate) fn retain(&mut self, wanted: impl Fn(usize) -> bool) {
        let unwanted: Vec<usize> = self.present.iter().filter(|step| !wanted(*step)).collect();
        unwanted.into_iter().for_each(|step| self.present.clear(step));
    }

    /// Changes every float; `None` takes it away, as it is with every histogram.
    pub(crate) fn update(&mut self, mut f: impl FnMut(usize, f64) -> Option<f64>) {
        self.drop_histograms();
        let Self { values, present, .. } = self;
        for (index, word) in present.words_mut().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                let step = index * 64 + usize::try_from(bit).unwrap_or(0);
                let Some(slot) = values.get_mut(step) else { continue };
                match f(step, *slot) {
                    Some(value) => *slot = value,
                    None => *word &= !(1 << bit),
                }
            }
        }
    }

    /// Changes every value; `None` takes it away.
    pub(crate) fn update_cells(&mut self, mut f: impl FnMut(usize, Cell) -> Option<Cell>) {
        let mut changed = Self::empty(self.values.len());
        for (step, cell) in self.cells() {
            if let Some(cell) = f(step, cell) {
                changed.set_cell(step, cell);
            }
        }
        *self = changed;
    }

    /// Takes over the values of another column at steps where this one has none.
    pub(crate) fn fill_from(&mut self, other: &Self) {
        for (step, cell) in other.cells() {
            if !self.present.get(step) {
                self.set_cell(step, cell);
            }
        }
    }
}

/// A series over the steps.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    pub(crate) column: Column,
    /// Whether the metric's name (and type and unit) no longer describe the values, and go from `labels`: at once where labels are
    /// looked at, or only from the result, as [`EngineConfig::delayed_name_removal`](super::EngineConfig) says.
    pub(crate) drop_name: bool,
}

impl Row {
    pub(crate) fn new(labels: Labels, column: Column) -> Self {
        Self { labels, column, drop_name: false }
    }

    /// The same without its name.
    pub(crate) fn nameless(mut self) -> Self {
        if self.drop_name {
            self.labels = self.labels.without_metadata();
            self.drop_name = false;
        }
        self
    }
}

/// A scalar over the steps.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    Constant(f64),
    Steps(Vec<f64>),
}

impl Scalar {
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Steps(values) => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    pub(crate) fn into_values(self, count: usize) -> Vec<f64> {
        match self {
            Self::Constant(value) => vec![value; count],
            Self::Steps(values) => values,
        }
    }

    pub(crate) fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(f(a, b)),
            (Self::Constant(a), Self::Steps(b)) => Self::Steps(b.into_iter().map(|b| f(a, b)).collect()),
            (Self::Steps(a), Self::Constant(b)) => Self::Steps(a.into_iter().map(|a| f(a, b)).collect()),
            (Self::Steps(a), Self::Steps(b)) => Self::Steps(a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect()),
        }
    }
}

#[cfg(test)]
mod tests;
