//! Label sets: what identifies a series.
//!
//! Invariants: sorted by name (byte order), names unique and not empty, values not empty. In the data model a label
//! with an empty value and a missing label are the same thing, so an empty value is left out on construction.
//! Cloning copies a pointer; the texts are shared by the label sets derived from one another.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use opendata_core::{Error, Result};

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// The label that holds the metric's type, where types are labels.
pub const METRIC_TYPE: &str = "__type__";

/// The label that holds the metric's unit, where units are labels.
pub const METRIC_UNIT: &str = "__unit__";

/// The labels that describe the metric, not the thing that was measured. A value that was computed loses them.
pub(crate) const METADATA: [&str; 3] = [METRIC_NAME, METRIC_TYPE, METRIC_UNIT];

/// One name and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    name: Arc<str>,
    value: Arc<str>,
}

impl Label {
    /// The name; never empty.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value; never empty.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// A label set. Ordered as the reference orders series: pair by pair, name before value.
///
/// The `Hash` implementation ends every text with a byte that UTF-8 never contains, so `{a="bc"}` and `{ab="c"}`
/// do not collide; [`Labels::fingerprint`] is the same for a hash that is stable across processes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[Label]>);

impl Labels {
    /// A label set from pairs in any order. Pairs with an empty value are left out.
    ///
    /// # Errors
    /// `Invalid` when a name is empty or occurs twice.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let mut labels: Vec<Label> =
            pairs.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect();
        labels.sort_unstable();
        if labels.first().is_some_and(|label| label.name.is_empty()) {
            return Err(Error::invalid("a label name is empty"));
        }
        if let Some([twice, _]) = labels.array_windows().find(|[a, b]| a.name == b.name) {
            return Err(Error::invalid(format!("a label name occurs twice, name={}", twice.name)));
        }
        labels.retain(|label| !label.value.is_empty());
        Ok(Self(labels.into()))
    }

    /// A label set from pairs in any order, for callers that cannot fail: of pairs with one name the last wins, and a pair with an
    /// empty name or value is left out. The [`labels!`](crate::labels!) macro stands on it and refuses empty names when compiling.
    #[must_use]
    pub fn last_wins<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let mut labels: Vec<Label> =
            pairs.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect();
        labels.reverse();
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        labels.dedup_by(|later, first| later.name == first.name);
        labels.retain(|label| !label.name.is_empty() && !label.value.is_empty());
        Self(labels.into())
    }

    /// No labels at all.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::new([]))
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.label(name).map(Label::value)
    }

    /// The metric's name.
    #[must_use]
    pub fn metric_name(&self) -> Option<&str> {
        // Mostly it stands in front.
        let first = self.0.first().filter(|label| label.name() == METRIC_NAME);
        first.or_else(|| self.label(METRIC_NAME)).map(Label::value)
    }

    /// The labels, sorted by name.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set without these names. `names` need not be sorted.
    #[must_use]
    pub fn without<S: AsRef<str>>(&self, names: &[S]) -> Self {
        self.filter(|label| !names.iter().any(|name| name.as_ref() == label.name()))
    }

    /// The set of only these names. `names` need not be sorted.
    #[must_use]
    pub fn keep<S: AsRef<str>>(&self, names: &[S]) -> Self {
        self.filter(|label| names.iter().any(|name| name.as_ref() == label.name()))
    }

    /// The set without the metric's name.
    #[must_use]
    pub fn without_metric_name(&self) -> Self {
        if self.metric_name().is_none() {
            return self.clone();
        }
        self.filter(|label| label.name() != METRIC_NAME)
    }

    /// The set without the labels that describe the metric: name, type and unit.
    #[must_use]
    pub(crate) fn without_metadata(&self) -> Self {
        self.filter(|label| !METADATA.contains(&label.name()))
    }

    /// The set with one label set to a value, or without the label where the value is empty.
    ///
    /// # Errors
    /// `Invalid` when the name is empty.
    pub fn with(&self, name: &str, value: &str) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid("a label name is empty"));
        }
        let mut labels: Vec<Label> = self.iter().filter(|label| label.name() != name).cloned().collect();
        if !value.is_empty() {
            let at = labels.partition_point(|label| label.name() < name);
            labels.insert(at, Label { name: name.into(), value: value.into() });
        }
        Ok(Self(labels.into()))
    }

    /// A hash that is the same in every process and version: FNV-1a over each text with its length in front, then mixed.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = Fnv1a::default();
        for label in self.iter() {
            for text in [label.name(), label.value()] {
                hasher.write(&(text.len() as u64).to_le_bytes());
                hasher.write(text.as_bytes());
            }
        }
        hasher.finish()
    }

    /// The same labels with other copies of their texts.
    pub(crate) fn sharing(&self, mut copy: impl FnMut(&Arc<str>) -> Arc<str>) -> Self {
        Self(self.iter().map(|label| Label { name: copy(&label.name), value: copy(&label.value) }).collect())
    }

    /// Where it stands in memory: the same for clones, and for nothing else while one of them lives.
    pub(crate) fn place(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Whether there are clones.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn label(&self, name: &str) -> Option<&Label> {
        let at = self.0.binary_search_by(|label| label.name().cmp(name)).ok()?;
        self.0.get(at)
    }

    fn filter(&self, keep: impl Fn(&Label) -> bool) -> Self {
        if self.iter().all(&keep) {
            return self.clone();
        }
        Self(self.iter().filter(|label| keep(label)).cloned().collect())
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// `name{a="b", c="d"}`, in the notation that the query language reads.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name().filter(|name| is_legacy_metric_name(name));
        if let Some(name) = name {
            f.write_str(name)?;
        }
        let mut rest = self.iter().filter(|label| name.is_none() || label.name() != METRIC_NAME).peekable();
        if rest.peek().is_none() && name.is_some() {
            return Ok(());
        }
        f.write_str("{")?;
        for (index, label) in rest.enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(label.name()) {
                write!(f, "{}={}", label.name(), Quoted(label.value()))?;
            } else {
                write!(f, "{}={}", Quoted(label.name()), Quoted(label.value()))?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text in double quotes, escaped as the query language reads it.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Whether a metric name can stand in a query without quotes: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_legacy_metric_name(name: &str) -> bool {
    starts_and_goes_on(name, |c| c.is_ascii_alphabetic() || c == '_' || c == ':')
}

/// Whether a label name can stand in a query without quotes: `[a-zA-Z_][a-zA-Z0-9_]*`.
#[must_use]
pub fn is_legacy_label_name(name: &str) -> bool {
    starts_and_goes_on(name, |c| c.is_ascii_alphabetic() || c == '_')
}

fn starts_and_goes_on(name: &str, letter: impl Fn(char) -> bool) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(&letter) && chars.all(|c| letter(c) || c.is_ascii_digit())
}

/// FNV-1a with 64 bits and a last mix, because the tables that use it look at the low bits.
#[derive(Clone, Copy, Debug)]
struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv1a {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

/// Hashes what is a good hash already: for maps keyed by [`Labels::fingerprint`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FingerprintHasher(u64);

impl Hasher for FingerprintHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl BuildHasher for FingerprintHasher {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

/// A [`Labels`] in place: `labels! { "__name__" => "tokens_total", "tenant" => tenant }`.
///
/// Names are literals and must not be empty (checked when compiling); values are anything that becomes an `Arc<str>`.
/// An empty value leaves the label out; of two values for one name the last wins.
#[macro_export]
macro_rules! labels {
    () => { $crate::Labels::empty() };
    ($($name:literal => $value:expr),+ $(,)?) => {{
        $(const { assert!(!str::is_empty($name), "a label name is empty") };)+
        $crate::Labels::last_wins([
            $((::std::sync::Arc::<str>::from($name), ::std::sync::Arc::<str>::from($value))),+
        ])
    }};
}

#[cfg(test)]
mod tests;
