//! Words of texts, their posting lists, and BM25.
//!
//! ```text
//! TERM     a posting list, see `postings`
//! posting  occurrences varint | words of the text varint
//! bound    most occurrences varint | fewest words varint
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use opendata_core::Result;
use opendata_core::codec::{Decoder, Encoder};
use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

use crate::postings::{self, top::Worth};
use crate::schema::{Stemming, TextField};

/// Longest word that is told from others that begin alike, in bytes.
const WORD_LIMIT_BYTES: usize = 128;
/// How soon further occurrences of a word stop counting.
const K1: f64 = 1.2;
/// How much long texts count less.
const B: f64 = 0.75;

/// The words of a text, as they are indexed: Unicode words (UAX #29) in lower case, without stop words, stemmed if
/// the field asks for it.
pub(crate) fn words(field: &TextField, text: &str) -> Vec<String> {
    let stemmer = field.stemming.map(|language| Stemmer::create(algorithm(language)));
    let words = text.unicode_words().map(str::to_lowercase).filter(|word| !field.stop_words.contains(word));
    words
        .map(|word| {
            let mut word = match &stemmer {
                Some(stemmer) => stemmer.stem(&word).into_owned(),
                None => word,
            };
            let end = (0..=WORD_LIMIT_BYTES.min(word.len())).rev().find(|end| word.is_char_boundary(*end));
            word.truncate(end.unwrap_or(0));
            word
        })
        .collect()
}

fn algorithm(language: Stemming) -> Algorithm {
    match language {
        Stemming::Danish => Algorithm::Danish,
        Stemming::Dutch => Algorithm::Dutch,
        Stemming::English => Algorithm::English,
        Stemming::Finnish => Algorithm::Finnish,
        Stemming::French => Algorithm::French,
        Stemming::German => Algorithm::German,
        Stemming::Italian => Algorithm::Italian,
        Stemming::Norwegian => Algorithm::Norwegian,
        Stemming::Portuguese => Algorithm::Portuguese,
        Stemming::Spanish => Algorithm::Spanish,
        Stemming::Swedish => Algorithm::Swedish,
    }
}

/// How often each word occurs.
pub(crate) fn occurrences(words: &[String]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.as_str()).or_default() += 1;
    }
    counts
}

/// One text that has a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting {
    /// Low 16 bits of the id.
    pub(crate) low: u16,
    pub(crate) occurrences: u64,
    /// How many words the text has.
    pub(crate) words: u64,
}

impl postings::Posting for Posting {
    /// Most occurrences, fewest words.
    type Bound = (u64, u64);

    fn low(self) -> u16 {
        self.low
    }

    fn write(self, to: &mut Encoder) {
        to.varint(self.occurrences).varint(self.words);
    }

    fn read(low: u16, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self { low, occurrences: from.varint()?, words: from.varint()? })
    }

    fn bound(self) -> Self::Bound {
        (self.occurrences, self.words)
    }

    fn widen(one: Self::Bound, other: Self::Bound) -> Self::Bound {
        (one.0.max(other.0), one.1.min(other.1))
    }

    fn write_bound((occurrences, words): Self::Bound, to: &mut Encoder) {
        to.varint(occurrences).varint(words);
    }

    fn read_bound(from: &mut Decoder<'_>) -> Result<Self::Bound> {
        Ok((from.varint()?, from.varint()?))
    }
}

/// Postings with ascending ids as a row.
pub(crate) fn encode(postings: &[Posting]) -> Bytes {
    postings::encode(postings)
}

/// All postings of a row.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Vec<Posting>> {
    postings::decode(key, value)
}

/// Rows one after another.
pub(crate) fn merge(key: &[u8], values: &[&[u8]]) -> Result<Bytes> {
    postings::merge::<Posting>(key, values)
}

/// What a word is worth where it occurs, by BM25 with k1 = 1.2 and b = 0.75 and the idf of Lucene:
/// ln(1 + (N - n + 0.5) / (n + 0.5)).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bm25 {
    factor: f64,
    average: f64,
}

impl Bm25 {
    /// A word that `with` of `documents` have, which have `total_words` words together.
    pub(crate) fn new(with: u64, documents: u64, total_words: u64, boost: f64) -> Self {
        let (all, with) = (documents as f64, with as f64);
        let idf = ((all - with + 0.5) / (with + 0.5)).ln_1p();
        let average = (total_words as f64 / all.max(1.0)).max(f64::MIN_POSITIVE);
        Self { factor: boost * idf * (K1 + 1.0), average }
    }

    fn score(self, occurrences: u64, words: u64) -> f64 {
        let occurrences = occurrences as f64;
        let length = 1.0 - B + B * (words as f64) / self.average;
        self.factor * occurrences / (occurrences + K1 * length)
    }
}

impl Worth<Posting> for Bm25 {
    fn of(&self, posting: Posting) -> f64 {
        self.score(posting.occurrences, posting.words)
    }

    fn at_most(&self, (occurrences, words): (u64, u64)) -> (f64, f64) {
        // Grows with the occurrences and shrinks with the words.
        let best = self.score(occurrences, words);
        (best, best.abs())
    }
}

#[cfg(test)]
mod tests;
