//! Verifying edges: what an edge must have made of its source is made again, and compared with what its sink holds.
//!
//! The records between where the edge's present meaning began and its cursor are folded once more, through the same transform, windows and letters. What comes
//! out is held against the sink: streams of a log record by record, series of a TSDB sample by sample, documents field by field; windows, letters and
//! counts of the edge as well. Rows that no edge makes are somebody else's and are left alone.
//!
//! Nothing is written but a scratch slate. Everything is read at one view of the sink and one of the source.

mod documents;
mod fold;
mod records;
mod report;
mod samples;
mod scratch;
mod state;

use std::sync::Arc;

use async_trait::async_trait;
use opendata_core::slate::View;
use opendata_core::store::Store;
use opendata_core::{ErrorKind, Result, Timestamp};
use opendata_log::Log;

pub use self::report::{Difference, EdgeReport, Kind, Unverified, Verdict};

use self::fold::Fold;
use self::report::Findings;
use super::cursor::{Began, Cursor};
use super::embed::{self, Embedder};
use super::letter::Letter;
use super::source::Source;
use super::spec::{EdgeSpec, EmbedderSpec, StreamsSpec};
use super::transform::{self, Pipeline, SharedTransform, digest_of};

/// An edge that is to be verified, and the views to do it at. The sink's view must not be newer than the source's.
pub struct Subject {
    /// The edge.
    pub spec: EdgeSpec,
    /// Its transform, if that is in Rust.
    pub transform: Option<SharedTransform>,
    /// The slate it reads.
    pub source: View,
    /// The slate that its cursor lies in.
    pub sink: View,
}

/// Who may write into the instances that edges write to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// Streams, series and documents that no edge makes are counted and left alone.
    #[default]
    Allowed,
    /// They are differences.
    None,
}

/// How it is verified.
pub struct Options {
    /// Who else may write.
    pub others: Others,
    /// Where scratch slates are made. They are not deleted.
    pub scratch: Store,
}

impl Options {
    /// Scratch slates in memory, and others may write.
    ///
    /// # Errors
    /// What opening a store in memory returned.
    pub fn in_memory() -> Result<Self> {
        Ok(Self { others: Others::default(), scratch: Store::from_url("memory:")? })
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// The edge.
    pub edge: &'a str,
    /// Records of its source that were made something of again, since the last time this was told.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How many positions of the source are now to be looked at, beyond those that were told before: more than none when an edge is begun with.
    pub expected: u64,
    /// How many of all expected positions are done with, since the last time this was told.
    pub passed: u64,
}

/// Is told how far verification is.
pub type Tell<'a> = &'a mut (dyn FnMut(Done<'_>) + Send);

/// Verifies edges. Those that write into one instance are looked at together. The reports come in the order of the edges.
///
/// # Errors
/// What the stores returned; `Corrupt` if stored bytes are damaged; `Invalid` if an edge cannot run as it is described.
pub async fn verify(subjects: &[Subject], options: &Options, tell: Tell<'_>) -> Result<Vec<EdgeReport>> {
    let mut reports: Vec<Option<EdgeReport>> = subjects.iter().map(|_| None).collect();
    for (first, subject) in subjects.iter().enumerate() {
        if reports.get(first).is_some_and(Option::is_some) {
            continue;
        }
        let together = |other: &Subject| {
            subject.spec.to == other.spec.to && !subject.spec.to.is_external() || std::ptr::eq(subject, other)
        };
        let group: Vec<(usize, &Subject)> = subjects.iter().enumerate().filter(|(_, other)| together(other)).collect();
        let edges: Vec<&Subject> = group.iter().map(|(_, subject)| *subject).collect();
        let found = group_of(&edges, options, first, tell).await?;
        for ((index, _), report) in group.iter().zip(found) {
            if let Some(place) = reports.get_mut(*index) {
                *place = Some(report);
            }
        }
    }
    Ok(reports.into_iter().flatten().collect())
}

/// An edge with everything that is known of it before its source is read.
struct Prepared<'a> {
    subject: &'a Subject,
    transform: SharedTransform,
    cursor: Cursor,
    /// Where it is made again from.
    from: Began,
    /// Everything that the edge ever made of its source is made again.
    whole: bool,
    /// Its letters, all of them.
    letters: Vec<Letter>,
}

impl Prepared<'_> {
    fn spec(&self) -> &EdgeSpec {
        &self.subject.spec
    }

    /// The fields of documents that no second run need make the same.
    fn unrepeatable(&self) -> Vec<&str> {
        self.subject.spec.unrepeatable_vectors()
    }
}

async fn group_of(group: &[&Subject], options: &Options, number: usize, tell: Tell<'_>) -> Result<Vec<EdgeReport>> {
    let mut findings: Vec<Findings> = group.iter().map(|subject| Findings::new(&subject.spec)).collect();
    let mut prepared: Vec<Option<Prepared<'_>>> = Vec::new();
    for (subject, findings) in group.iter().zip(&mut findings) {
        prepared.push(prepare(subject, findings).await?);
    }
    let Some(first) = group.first() else { return Ok(Vec::new()) };
    // Where one of several cannot be made again, nothing can be said about rows that only it may have made.
    let all = prepared.iter().all(Option::is_some);
    let others = if all { options.others } else { Others::Allowed };
    let mut edges: Vec<(Prepared<'_>, &mut Findings)> =
        prepared.into_iter().zip(&mut findings).filter_map(|(edge, findings)| Some((edge?, findings))).collect();
    if first.spec.to.is_external() {
        for (edge, findings) in &mut edges {
            let mut nowhere = Nowhere;
            let folded = Fold::of(edge).await?.run(edge, &mut nowhere, tell).await?;
            findings.unverified.push(Unverified::Outside);
            state::compare(edge, folded, findings).await?;
        }
    } else {
        let scratch = |index: usize| format!("verify-{number}-{index}");
        match edges.first().map(|(edge, _)| edge.transform.kind()) {
            Some(transform::Kind::Records) => records::compare(&mut edges, others, tell).await?,
            Some(transform::Kind::Samples) => samples::compare(&mut edges, options, others, &scratch, tell).await?,
            Some(transform::Kind::Documents) => documents::compare(&mut edges, options, others, &scratch, tell).await?,
            None => {}
        }
    }
    Ok(findings.into_iter().map(Findings::into_report).collect())
}

/// Reads where an edge stands; none if there is nothing to verify, and then the findings say why.
async fn prepare<'a>(subject: &'a Subject, findings: &mut Findings) -> Result<Option<Prepared<'a>>> {
    let spec = &subject.spec;
    let stored = match Cursor::read(&subject.sink, spec.state_instance(), &spec.id).await {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        stored => stored?,
    };
    let Some(mut cursor) = stored else {
        findings.unverified.push(Unverified::NeverRan);
        return Ok(None);
    };
    findings.until = cursor.next;
    if cursor.digest != digest_of(spec, subject.transform.as_deref())? {
        findings.unverified.push(Unverified::OtherMeaning);
        return Ok(None);
    }
    if let Err(fault) = Source::admit(&subject.source, &mut cursor) {
        findings.differ(Difference::of_cursor(&cursor, fault.to_string()));
        return Ok(None);
    }
    let log = subject.source.get_reader::<Log>(&spec.from.instance)?;
    let trim = match &spec.from.streams {
        StreamsSpec::One(stream) => log.trim_point_of(stream).await?,
        _ => log.trim_point().await?,
    };
    let known = cursor.began.is_some();
    let mut from = cursor.began.clone().unwrap_or(Began {
        next: trim,
        watermark: Timestamp(i64::MIN),
        active: Timestamp(i64::MIN),
        counts: super::cursor::Counts::default(),
        earlier: 0,
    });
    let trimmed = from.next < trim;
    if trimmed {
        findings.unverified.push(Unverified::Trimmed { from: from.next, until: trim.min(cursor.next) });
        from.next = trim;
    }
    if !known {
        findings.unverified.push(Unverified::UnknownBeginning);
    }
    if from.earlier > 0 {
        findings.unverified.push(Unverified::Earlier { records: from.earlier });
    }
    if from.next > cursor.next {
        return Ok(None);
    }
    findings.from = from.next;
    let letters = Letter::list(&subject.sink, spec.state_instance(), &spec.id, None, usize::MAX).await?;
    let transform: SharedTransform = match &subject.transform {
        Some(transform) => Arc::clone(transform),
        None => Arc::new(Pipeline::with_embedders(spec, &stand_in)?),
    };
    for field in spec.unrepeatable_vectors() {
        findings.unverified.push(Unverified::Embedded { field: field.to_owned() });
    }
    let whole = known && !trimmed && from.earlier == 0;
    Ok(Some(Prepared { subject, transform, cursor, from, whole, letters }))
}

/// Vectors of an embedder outside are not made again: they would cost, and need not be the same.
fn stand_in(spec: &EmbedderSpec) -> Result<Arc<dyn Embedder>> {
    match spec {
        EmbedderSpec::Hashing { .. } => embed::open(spec),
        EmbedderSpec::Command { dimensions, .. } | EmbedderSpec::Http { dimensions, .. } => {
            Ok(Arc::new(StandIn(*dimensions)))
        }
    }
}

struct StandIn(u32);

#[async_trait]
impl Embedder for StandIn {
    fn dimensions(&self) -> u32 {
        self.0
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        // Not zero: a direction is wanted of every vector.
        Ok(vec![vec![1.0; self.0 as usize]; texts.len()])
    }
}

/// Takes what goes outside.
struct Nowhere;

#[async_trait]
impl fold::Take for Nowhere {
    async fn take(&mut self, _at: Timestamp, _made: Vec<fold::Made>) -> Result<Vec<(usize, String)>> {
        Ok(Vec::new())
    }
}
