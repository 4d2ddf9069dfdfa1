//! Comparing what an edge keeps beside its rows: letters, open windows, watermark and counts.

use std::collections::BTreeMap;

use opendata_core::{Position, Result};

use super::Prepared;
use super::fold::Folded;
use super::report::{Difference, Findings, Kind, Unverified};
use crate::edge::letter::{Letter, LetterKind};
use crate::edge::window::{self, Windows};

/// Compares what the fold came to with what is stored. Returns the windows whose results were not written yet.
pub(super) async fn compare(edge: &Prepared<'_>, folded: Folded, findings: &mut Findings) -> Result<Windows> {
    findings.records += folded.records;
    findings.note(folded.refused_then, |records| Unverified::Refused { records });
    letters(edge, &folded, findings);
    counts(edge, &folded, findings);
    windows(edge, folded, findings).await
}

fn letters(edge: &Prepared<'_>, folded: &Folded, findings: &mut Findings) {
    let within = |letter: &&Letter| letter.position >= edge.from.next && letter.position < edge.cursor.next;
    let stored: BTreeMap<(Position, u16), &Letter> =
        edge.letters.iter().filter(within).map(|letter| ((letter.position, letter.part), letter)).collect();
    findings.letters += folded.letters.len() as u64;
    let waiting = edge.letters.len() as u64;
    let counted = edge.cursor.counts.waiting;
    let mut gone = 0;
    for ((position, part), (kind, reason)) in &folded.letters {
        match stored.get(&(*position, *part)) {
            Some(letter) if letter.kind == *kind => {}
            Some(letter) => {
                let place = format!("letter {}", letter.id());
                let difference = Difference::new(Kind::Changed, "letter", place).source(Some(*position));
                findings.differ(difference.expected(words(*kind)).found(words(letter.kind)));
            }
            // Whoever takes a letter away by hand says so in the cursor.
            None if waiting == counted => gone += 1,
            None => {
                let place = format!("of the record at position {position}");
                findings
                    .differ(Difference::new(Kind::Missing, "letter", place).source(Some(*position)).expected(reason));
            }
        }
    }
    findings.note(gone, |letters| Unverified::LettersGone { letters });
    let extra = stored.iter().find(|(key, _)| !folded.letters.contains_key(*key));
    if let Some((_, letter)) = extra.filter(|_| edge.whole) {
        let difference = Difference::new(Kind::Extra, "letter", format!("letter {}", letter.id()));
        findings.differ(difference.source(Some(letter.position)).found(letter.reason.clone()));
    }
    if waiting != counted {
        let difference = Difference::new(Kind::Changed, "counts", "letters that wait");
        findings.differ(difference.expected(counted.to_string()).found(waiting.to_string()));
    }
}

fn words(kind: LetterKind) -> &'static str {
    match kind {
        LetterKind::Refused => "a record that does not fit",
        LetterKind::Late => "a value that came too late",
    }
}

fn counts(edge: &Prepared<'_>, folded: &Folded, findings: &mut Findings) {
    let Some(began) = edge.cursor.began.as_ref().filter(|began| began.next == edge.from.next) else { return };
    let (now, then, made) = (edge.cursor.counts, began.counts, folded.counts);
    // A letter that was replayed is one record less refused and one more applied.
    let pairs = [
        ("records", now.records().saturating_sub(then.records()), made.records()),
        ("filtered", now.filtered.saturating_sub(then.filtered), made.filtered),
        ("late", now.late.saturating_sub(then.late), made.late),
    ];
    for (name, found, expected) in pairs {
        if found != expected {
            let difference = Difference::new(Kind::Changed, "counts", name);
            findings.differ(difference.expected(expected.to_string()).found(found.to_string()));
        }
    }
    if now.applied.saturating_sub(then.applied) < made.applied {
        let difference = Difference::new(Kind::Changed, "counts", "applied");
        let found = now.applied.saturating_sub(then.applied).to_string();
        findings.differ(difference.expected(made.applied.to_string()).found(found));
    }
    if edge.cursor.watermark != folded.watermark {
        let difference = Difference::new(Kind::Changed, "watermark", "of the edge");
        let difference = difference.expected(folded.watermark.to_string());
        findings.differ(difference.found(edge.cursor.watermark.to_string()));
    }
}

async fn windows(edge: &Prepared<'_>, folded: Folded, findings: &mut Findings) -> Result<Windows> {
    let (spec, cursor) = (edge.spec(), &edge.cursor);
    let defined = edge.transform.windows();
    let mut stored = Windows::new(defined, spec.event_time.lateness_ms, u32::MAX);
    if defined.is_empty() {
        return Ok(stored);
    }
    let name = super::Cursor::name(&spec.id);
    let prefix = window::key_prefix(cursor.state);
    for (key, value) in edge.subject.sink.states(spec.state_instance(), &name, &prefix, None, usize::MAX).await? {
        stored.load(&key, &value, cursor.watermark)?;
    }
    let began = edge.cursor.began.as_ref().is_some_and(|began| began.next == edge.from.next);
    if !began {
        findings.unverified.push(Unverified::Windows);
        return Ok(stored);
    }
    let mut made = folded.windows;
    let unwritten = stored.only_unwritten(cursor.watermark);
    // The edge forgets them when it next writes something.
    made.forget_gone(cursor.watermark);
    stored.forget_gone(cursor.watermark);
    findings.windows += made.len() as u64;
    for (place, expected, found) in made.differences(&stored) {
        let kind = match (&expected, &found) {
            (Some(_), None) => Kind::Missing,
            (None, _) => Kind::Extra,
            _ => Kind::Changed,
        };
        let mut difference = Difference::new(kind, "window", place);
        (difference.expected, difference.found) = (expected, found);
        findings.differ(difference);
    }
    Ok(unwritten)
}
