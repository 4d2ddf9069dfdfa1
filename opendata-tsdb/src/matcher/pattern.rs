//! What every match of an expression must look like: texts that stand in a certain order, with gaps between them.
//!
//! Most expressions of selectors are little more than that: `.*foo.*`, `(api|web)-.+`, `host-[12]\..*`. Such a pattern is tested by
//! looking for its texts. Where it says all that the expression says, the expression need not run at all; where it says less, it runs only
//! on the few values that have the texts.

use regex_syntax::hir::{Class, Hir, HirKind};

/// More ways to match than this are not told apart: what differs becomes a gap.
const MOST_WAYS: usize = 32;
/// A class of more characters than that is a gap.
const MOST_CHARACTERS: u32 = 8;

/// The ways in which a value can match, any of which will do.
#[derive(Debug)]
pub(super) struct Pattern {
    ways: Vec<Way>,
    /// Whether every value that looks like this matches, so that nothing else need be asked.
    pub(super) is_whole: bool,
}

/// A text, then gaps and texts in turn.
#[derive(Clone, Debug, Default)]
struct Way {
    head: String,
    /// The fewest characters of a gap, and the text behind it.
    rest: Vec<(usize, String)>,
    is_whole: bool,
}

impl Pattern {
    /// The pattern of an expression over a whole value; none where it would say nothing.
    pub(super) fn of(hir: &Hir) -> Option<Self> {
        let ways = ways(hir);
        let says_nothing =
            |way: &Way| !way.is_whole && way.head.is_empty() && way.rest.iter().all(|(_, text)| text.is_empty());
        if ways.iter().any(says_nothing) {
            return None;
        }
        let is_whole = ways.iter().all(|way| way.is_whole);
        Some(Self { ways, is_whole })
    }

    /// Whether a value has the texts of one way in their order.
    pub(super) fn fits(&self, value: &str) -> bool {
        self.ways.iter().any(|way| way.fits(value))
    }
}

impl Way {
    fn text(text: &str) -> Self {
        Self { head: text.to_owned(), rest: Vec::new(), is_whole: true }
    }

    fn gap(fewest: usize, is_whole: bool) -> Self {
        Self { head: String::new(), rest: vec![(fewest, String::new())], is_whole }
    }

    /// This, and then the other.
    fn then(&self, other: &Self) -> Self {
        let mut way = self.clone();
        way.is_whole &= other.is_whole;
        match way.rest.last_mut() {
            Some((_, last)) => last.push_str(&other.head),
            None => way.head.push_str(&other.head),
        }
        for (fewest, text) in &other.rest {
            match way.rest.last_mut() {
                // Two gaps side by side are one.
                Some((before, last)) if last.is_empty() => {
                    *before += fewest;
                    last.push_str(text);
                }
                _ => way.rest.push((*fewest, text.clone())),
            }
        }
        way
    }

    /// Each text is taken where it comes first: what is behind it then has the most room.
    fn fits(&self, value: &str) -> bool {
        let Some(mut value) = value.strip_prefix(self.head.as_str()) else { return false };
        let Some(((last_gap, last), middle)) = self.rest.split_last() else { return value.is_empty() };
        for (fewest, text) in middle {
            let Some(found) = behind(value, *fewest).and_then(|value| value.split_once(text.as_str())) else {
                return false;
            };
            value = found.1;
        }
        behind(value, *last_gap).is_some_and(|value| value.ends_with(last.as_str()))
    }
}

/// What is left behind so many characters.
fn behind(value: &str, characters: usize) -> Option<&str> {
    match characters {
        0 => Some(value),
        _ => value.char_indices().map(|(at, _)| at).chain([value.len()]).nth(characters).and_then(|at| value.get(at..)),
    }
}

fn ways(hir: &Hir) -> Vec<Way> {
    match hir.kind() {
        HirKind::Empty => vec![Way::text("")],
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => vec![Way::text(text)],
            Err(_) => vec![Way::gap(0, false)],
        },
        HirKind::Class(class) => of_class(class),
        HirKind::Look(_) => vec![Way::gap(0, false)],
        HirKind::Capture(capture) => ways(&capture.sub),
        HirKind::Repetition(repetition) => {
            let fewest = usize::try_from(repetition.min).unwrap_or(usize::MAX);
            if is_any(&repetition.sub) {
                return vec![Way::gap(fewest, repetition.max.is_none())];
            }
            match (repetition.min, repetition.max) {
                (0, Some(1)) => [vec![Way::text("")], ways(&repetition.sub)].concat(),
                (0, _) => vec![Way::gap(0, false)],
                _ => all_of(&ways(&repetition.sub), &[Way::gap(0, false)]),
            }
        }
        HirKind::Concat(parts) => {
            parts.iter().fold(vec![Way::text("")], |so_far, part| all_of(&so_far, &bounded(ways(part))))
        }
        HirKind::Alternation(parts) => bounded(parts.iter().flat_map(ways).collect()),
    }
}

/// Each of the first, followed by each of the second.
fn all_of(first: &[Way], second: &[Way]) -> Vec<Way> {
    if first.len() * second.len() > MOST_WAYS {
        let gap = Way::gap(0, false);
        return first.iter().map(|way| way.then(&gap)).collect();
    }
    first.iter().flat_map(|way| second.iter().map(|next| way.then(next))).collect()
}

fn bounded(ways: Vec<Way>) -> Vec<Way> {
    if ways.len() > MOST_WAYS { vec![Way::gap(0, false)] } else { ways }
}

/// A class of few characters is each of them.
fn of_class(class: &Class) -> Vec<Way> {
    let characters = |class: &regex_syntax::hir::ClassUnicode| -> Option<Vec<Way>> {
        let count: u32 = class.ranges().iter().map(|range| range.end() as u32 - range.start() as u32 + 1).sum();
        let each = class.ranges().iter().flat_map(|range| range.start()..=range.end());
        (count <= MOST_CHARACTERS).then(|| each.map(|c| Way::text(c.encode_utf8(&mut [0; 4]))).collect())
    };
    match class {
        // Any character, or one of many.
        Class::Unicode(class) => characters(class).unwrap_or_else(|| vec![Way::gap(1, false)]),
        Class::Bytes(_) => vec![Way::gap(0, false)],
    }
}

/// Whether it is any character at all.
fn is_any(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            matches!(class.ranges(), [all] if (all.start(), all.end()) == ('\0', char::MAX))
        }
        HirKind::Capture(capture) => is_any(&capture.sub),
        _ => false,
    }
}
