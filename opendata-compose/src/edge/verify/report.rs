//! What verification says.

use std::fmt;

use opendata_core::Position;
use serde::Serialize;

use super::scratch::Place;
use crate::edge::cursor::Cursor;
use crate::edge::spec::EdgeSpec;

/// What was found about an edge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EdgeReport {
    /// The edge.
    pub edge: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The first position of its source that was made something of again.
    pub from: Position,
    /// Where its cursor stands: everything before it was.
    pub until: Position,
    /// Records of the source that were made something of again.
    pub records: u64,
    /// Rows of the sink that were compared: records, samples or documents.
    pub rows: u64,
    /// Letters that were compared.
    pub letters: u64,
    /// Open windows that were compared.
    pub windows: u64,
    /// How many differences were found. After the first one in a stream of a log the rest of it is not looked at.
    pub differences: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Difference>,
    /// What could not be verified, and why.
    pub unverified: Vec<Unverified>,
}

impl EdgeReport {
    /// Of an edge that has made nothing yet.
    pub(crate) fn never_ran(edge: &EdgeSpec) -> Self {
        let mut findings = Findings::new(edge);
        findings.unverified.push(Unverified::NeverRan);
        findings.into_report()
    }
}

/// Whether the sink holds what the edge must have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does, as far as that could be verified.
    Equal,
    /// It does not.
    Differs,
    /// Nothing could be verified.
    Unverified,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "equal",
            Self::Differs => "differs",
            Self::Unverified => "unverified",
        })
    }
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The edge made it, and it is not there.
    Missing,
    /// It is there more often than the edge made it.
    Doubled,
    /// It is there, and the edge did not make it.
    Extra,
    /// Something else is there in its place.
    Changed,
}

/// A difference between what an edge must have made and what its sink holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// How it differs.
    pub kind: Kind,
    /// What: `record`, `sample`, `document`, `letter`, `window`, `counts`, `watermark` or `cursor`.
    pub what: &'static str,
    /// Where it is, or should be.
    pub place: String,
    /// The position in the source of the record that it was made of, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Position>,
    /// What the edge made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Difference {
    pub(super) fn new(kind: Kind, what: &'static str, place: impl Into<String>) -> Self {
        Self { kind, what, place: place.into(), source: None, expected: None, found: None }
    }

    pub(super) fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = Some(text.into());
        self
    }

    pub(super) fn found(mut self, text: impl Into<String>) -> Self {
        self.found = Some(text.into());
        self
    }

    pub(super) fn source(mut self, source: Option<Position>) -> Self {
        self.source = source;
        self
    }

    /// Whether it may follow from others.
    fn follows(&self) -> bool {
        matches!(self.what, "counts" | "watermark")
    }

    pub(super) fn of_cursor(cursor: &Cursor, why: String) -> Self {
        Self::new(Kind::Changed, "cursor", format!("position {}", cursor.next)).found(why)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Missing => "is missing",
            Kind::Doubled => "is there more often than it was made",
            Kind::Extra => "was not made by the edge",
            Kind::Changed => "is another one",
        };
        write!(f, "a {} {kind}: {}", self.what, self.place)?;
        if let Some(source) = self.source {
            write!(f, ", made of the record at position {source} of the source")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, ", expected {expected}")?;
        }
        if let Some(found) = &self.found {
            write!(f, ", found {found}")?;
        }
        Ok(())
    }
}

/// What could not be verified, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Unverified {
    /// The edge has no cursor: it made nothing yet.
    NeverRan,
    /// The stored cursor is of another meaning of the edge: its new generation has not begun.
    OtherMeaning,
    /// The cursor was written by a version that did not note where it began: it is taken to be the oldest record that is kept.
    UnknownBeginning,
    /// The source no longer has these records.
    Trimmed {
        /// From here.
        from: Position,
        /// Up to here, not included.
        until: Position,
    },
    /// So many records had their effect in earlier generations, which made something else or were set back: what they left is not told from
    /// what others write, and running totals that go on from there are not compared.
    Earlier {
        /// How many.
        records: u64,
    },
    /// Vectors of an embedder outside: another run need not make the same ones.
    Embedded {
        /// The field.
        field: String,
    },
    /// What was delivered to the outside cannot be read back; letters, windows and counts were compared.
    Outside,
    /// Letters that were replayed or dropped by hand.
    LettersGone {
        /// How many.
        letters: u64,
    },
    /// Records that the sink refused: that it had to, by its limits and its clock then, is believed of their letters.
    Refused {
        /// How many.
        records: u64,
    },
    /// Windows are open since before what the source still has.
    Windows,
    /// What the retention of the sink has dropped.
    DroppedInSink {
        /// How many rows of the edge.
        rows: u64,
    },
    /// Running totals that began before what can be made again, or that several edges add to.
    Totals {
        /// How many series.
        series: u64,
    },
    /// Rows of the sink that no edge makes.
    Others {
        /// How many: records, series, or documents.
        rows: u64,
    },
    /// Rows that several edges write, each of which may have been the last.
    Shared {
        /// How many.
        rows: u64,
    },
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRan => f.write_str("it never ran"),
            Self::OtherMeaning => f.write_str("its new generation has not begun"),
            Self::UnknownBeginning => f.write_str("its cursor does not say where it began"),
            Self::Trimmed { from, until } => write!(f, "the source dropped what lies from {from} to before {until}"),
            Self::Earlier { records } => write!(f, "{records} records had their effect in earlier generations"),
            Self::Embedded { field } => write!(f, "the vectors `{field}` come from outside"),
            Self::Outside => f.write_str("what was delivered outside"),
            Self::LettersGone { letters } => write!(f, "{letters} letters were replayed or dropped"),
            Self::Refused { records } => write!(f, "the sink refused {records} records, as their letters say"),
            Self::Windows => f.write_str("windows that were open where the source was trimmed"),
            Self::DroppedInSink { rows } => write!(f, "the sink's retention dropped {rows} rows"),
            Self::Totals { series } => {
                write!(f, "{series} running totals began before what can be made again, or are shared")
            }
            Self::Others { rows } => write!(f, "{rows} rows are made by no edge"),
            Self::Shared { rows } => write!(f, "{rows} rows are written by several edges"),
        }
    }
}

/// What is gathered about an edge.
pub(super) struct Findings {
    edge: String,
    pub(super) from: Position,
    pub(super) until: Position,
    pub(super) records: u64,
    pub(super) rows: u64,
    pub(super) letters: u64,
    pub(super) windows: u64,
    differences: u64,
    first: Option<Difference>,
    /// Running totals that are not compared.
    pub(super) totals: u64,
    /// Rows that the sink's retention dropped.
    pub(super) dropped: u64,
    /// Rows that several edges write.
    pub(super) shared: u64,
    /// What the record is looked for that the first difference was made of.
    pub(super) origin: Option<Place>,
    pub(super) unverified: Vec<Unverified>,
}

impl Findings {
    pub(super) fn new(spec: &EdgeSpec) -> Self {
        Self {
            edge: spec.id.clone(),
            from: Position::ZERO,
            until: Position::ZERO,
            records: 0,
            rows: 0,
            letters: 0,
            windows: 0,
            differences: 0,
            first: None,
            totals: 0,
            dropped: 0,
            shared: 0,
            origin: None,
            unverified: Vec::new(),
        }
    }

    pub(super) fn differ(&mut self, difference: Difference) {
        self.differences += 1;
        // A row says more than a count that follows from it.
        if self.first.is_none() || (self.is_first() && !difference.follows()) {
            self.first = Some(difference);
        }
    }

    /// Whether no difference was found yet that says where it is.
    pub(super) fn is_first(&self) -> bool {
        self.first.as_ref().is_none_or(Difference::follows)
    }

    /// Says that rows were not verified, if there are any.
    pub(super) fn note(&mut self, count: u64, of: impl FnOnce(u64) -> Unverified) {
        if count > 0 {
            self.unverified.push(of(count));
        }
    }

    /// Says what was counted.
    pub(super) fn gather(&mut self) {
        let (totals, dropped, shared) = (self.totals, self.dropped, self.shared);
        (self.totals, self.dropped, self.shared) = (0, 0, 0);
        self.note(totals, |series| Unverified::Totals { series });
        self.note(dropped, |rows| Unverified::DroppedInSink { rows });
        self.note(shared, |rows| Unverified::Shared { rows });
    }

    /// What the record is to be looked for that the first difference was made of.
    pub(super) fn wanted_origin(&mut self) -> Option<Place> {
        self.origin.take()
    }

    pub(super) fn set_origin(&mut self, source: Option<Position>) {
        if let Some(first) = &mut self.first {
            first.source = first.source.or(source);
        }
    }

    pub(super) fn into_report(self) -> EdgeReport {
        let nothing = [Unverified::NeverRan, Unverified::OtherMeaning];
        let verdict = match self.differences {
            0 if self.unverified.iter().any(|why| nothing.contains(why)) => Verdict::Unverified,
            0 => Verdict::Equal,
            _ => Verdict::Differs,
        };
        let Self { edge, from, until, records, rows, letters, windows, differences, first, unverified, .. } = self;
        EdgeReport { edge, verdict, from, until, records, rows, letters, windows, differences, first, unverified }
    }
}
