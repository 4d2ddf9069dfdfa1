//! Buckets, kept in spans of neighbours.

use opendata_core::{Error, Result};

/// A stretch of buckets whose indexes follow one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// For the first span the index of its first bucket; for the others how many buckets lie between it and the span before.
    pub offset: i32,
    /// How many buckets it has.
    pub length: u32,
}

/// Counts of buckets, each absolute (not a difference to its neighbour).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Where the buckets stand.
    pub spans: Vec<Span>,
    /// Their counts, from span to span.
    pub counts: Vec<f64>,
}

/// A populated bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Whether the lower bound is part of the bucket.
    pub lower_included: bool,
    /// Whether the upper bound is part of the bucket.
    pub upper_included: bool,
    /// How many observations it holds.
    pub count: f64,
}

impl Bucket {
    /// The number by which Prometheus's HTTP interface tells which bounds belong to the bucket: 0 the upper, 1 the lower, 2 none, 3
    /// both.
    #[must_use]
    pub fn boundary_rule(&self) -> u8 {
        match (self.lower_included, self.upper_included) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }

    pub(super) fn mirrored(self) -> Self {
        Self {
            lower: -self.upper,
            upper: -self.lower,
            lower_included: self.upper_included,
            upper_included: self.lower_included,
            count: self.count,
        }
    }
}

impl Buckets {
    /// Buckets from index and count, in ascending order of distinct indexes.
    #[must_use]
    pub fn from_indexed(buckets: impl IntoIterator<Item = (i32, f64)>) -> Self {
        let mut all = Self::default();
        let mut next: Option<i32> = None;
        for (index, count) in buckets {
            match (all.spans.last_mut(), next) {
                (Some(span), Some(next)) if next == index => span.length += 1,
                (_, next) => {
                    let offset = next.map_or(index, |next| index.saturating_sub(next));
                    all.spans.push(Span { offset, length: 1 });
                }
            }
            all.counts.push(count);
            next = index.checked_add(1);
        }
        all
    }

    /// Index and count of each bucket, ascending.
    pub fn indexed(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        self.indexes().zip(self.counts.iter().copied())
    }

    pub(super) fn indexed_backward(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        let all: Vec<(i32, f64)> = self.indexed().collect();
        all.into_iter().rev()
    }

    fn indexes(&self) -> impl Iterator<Item = i32> + '_ {
        let mut next = 0_i32;
        self.spans.iter().flat_map(move |span| {
            let start = next.saturating_add(span.offset);
            next = start.saturating_add_unsigned(span.length);
            start..next
        })
    }

    pub(super) fn validate(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::invalid(format!("histogram is not valid: {what}")));
        if self.spans.iter().skip(1).any(|span| span.offset < 0) {
            return refuse("a span lies before the one it follows");
        }
        let mut end = Some(0_i32);
        for span in &self.spans {
            end =
                end.and_then(|end| end.checked_add(span.offset)).and_then(|end| end.checked_add_unsigned(span.length));
        }
        if end.is_none() {
            return refuse("an index is out of range");
        }
        let spanned: u64 = self.spans.iter().map(|span| u64::from(span.length)).sum();
        if u64::try_from(self.counts.len()) != Ok(spanned) {
            return Err(Error::invalid(format!(
                "histogram is not valid: spans and counts differ in length, spans={spanned}, counts={}",
                self.counts.len()
            )));
        }
        if self.counts.iter().any(|count| count.is_nan() || *count < 0.0) {
            return refuse("a bucket's count is negative or not a number");
        }
        Ok(())
    }

    pub(super) fn compact(&mut self) {
        let crowded = self.counts.iter().all(|count| *count != 0.0);
        let spaced =
            self.spans.iter().all(|span| span.length > 0) && self.spans.iter().skip(1).all(|span| span.offset > 0);
        if !(crowded && spaced) {
            *self = Self::from_indexed(self.indexed().filter(|(_, count)| *count != 0.0));
        }
    }

    pub(super) fn same_values(&self, other: &Self) -> bool {
        if self.spans == other.spans {
            return self.counts == other.counts;
        }
        let populated = |(_, count): &(i32, f64)| *count != 0.0;
        self.indexed().filter(populated).eq(other.indexed().filter(populated))
    }

    pub(super) fn scale(&mut self, by: impl Fn(f64) -> f64) {
        self.counts.iter_mut().for_each(|count| *count = by(*count));
    }

    /// Gives each bucket another index; counts that come to one index are added. `to` must not turn the order round.
    pub(super) fn regroup(&mut self, to: impl Fn(i32) -> i32) {
        let mut merged: Vec<(i32, f64)> = Vec::with_capacity(self.counts.len());
        for (index, count) in self.indexed() {
            let index = to(index);
            match merged.last_mut() {
                Some((last, total)) if *last == index => *total += count,
                _ => merged.push((index, count)),
            }
        }
        *self = Self::from_indexed(merged);
    }

    /// Combines two sets of buckets index by index; a missing bucket counts zero.
    pub(super) fn merge(&mut self, other: &Self, f: impl Fn(f64, f64) -> f64) {
        if self.spans == other.spans {
            for (a, b) in self.counts.iter_mut().zip(&other.counts) {
                *a = f(*a, *b);
            }
            return;
        }
        let merged: Vec<(i32, f64)> = pairs(self, other).map(|(index, a, b)| (index, f(a, b))).collect();
        *self = Self::from_indexed(merged);
    }
}

/// The buckets of two sets side by side, by index; a missing one counts zero.
pub(super) fn pairs<'a>(a: &'a Buckets, b: &'a Buckets) -> impl Iterator<Item = (i32, f64, f64)> + 'a {
    let (mut a, mut b) = (a.indexed().peekable(), b.indexed().peekable());
    std::iter::from_fn(move || match (a.peek().copied(), b.peek().copied()) {
        (Some((i, x)), Some((j, y))) if i == j => {
            a.next();
            b.next();
            Some((i, x, y))
        }
        (Some((i, x)), Some((j, _))) if i < j => {
            a.next();
            Some((i, x, 0.0))
        }
        (Some((i, x)), None) => {
            a.next();
            Some((i, x, 0.0))
        }
        (_, Some((j, y))) => {
            b.next();
            Some((j, 0.0, y))
        }
        (None, None) => None,
    })
}
