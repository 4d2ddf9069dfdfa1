//! Words of texts, their posting lists, and BM25.
//!
//! ```text
//! TERM  layout 1 | blocks; block = count varint, for each posting:
//!       low 16 bits of the id: from the one before, varint (the first as it is) | occurrences varint | words of the text varint
//! ```
//!
//! Operands are concatenated: each commit adds a block, and ids only grow.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};
use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

use crate::schema::{Stemming, TextField};

const LAYOUT: u8 = 1;
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

/// Postings with ascending ids as one block.
pub(crate) fn encode(postings: &[Posting]) -> Bytes {
    let mut value = Encoder::new(LAYOUT);
    value.varint(postings.len() as u64);
    let mut before = 0;
    for posting in postings {
        value.varint(u64::from(posting.low - before)).varint(posting.occurrences).varint(posting.words);
        before = posting.low;
    }
    value.finish()
}

/// All postings of a row.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Vec<Posting>> {
    let mut fields = Decoder::new(value);
    let mut parse = || {
        fields.layout(LAYOUT)?;
        let mut postings = Vec::new();
        while !fields.rest().is_empty() {
            let mut before = 0u64;
            for _ in 0..fields.count()? {
                before = before.saturating_add(fields.varint()?);
                let low = u16::try_from(before).map_err(|_| Error::corrupt("id outside its chunk"))?;
                postings.push(Posting { low, occurrences: fields.varint()?, words: fields.varint()? });
            }
        }
        Ok(postings)
    };
    parse().map_err(|error: Error| Error::corrupt_at(key, error))
}

/// Rows one after another.
pub(crate) fn merge(key: &[u8], values: &[&[u8]]) -> Result<Bytes> {
    let mut merged = vec![LAYOUT];
    for value in values {
        match value.split_first() {
            Some((&LAYOUT, blocks)) => merged.extend_from_slice(blocks),
            _ => return Err(Error::corrupt_at(key, "unknown layout of postings")),
        }
    }
    Ok(merged.into())
}

/// Live postings of one word: id, occurrences, words of the text.
pub(crate) type Postings = Vec<(u64, u64, u64)>;

/// Adds to each document what one word is worth there, by BM25 with k1 = 1.2 and b = 0.75 and the idf of Lucene:
/// ln(1 + (N - n + 0.5) / (n + 0.5)).
pub(crate) fn score(scores: &mut HashMap<u64, f64>, postings: &Postings, documents: u64, total_words: u64, boost: f64) {
    let (all, with) = (documents as f64, postings.len() as f64);
    let idf = ((all - with + 0.5) / (with + 0.5)).ln_1p();
    let average = (total_words as f64 / all.max(1.0)).max(f64::MIN_POSITIVE);
    for (id, occurrences, words) in postings {
        let occurrences = *occurrences as f64;
        let length = 1.0 - B + B * (*words as f64) / average;
        *scores.entry(*id).or_default() += boost * idf * occurrences * (K1 + 1.0) / (occurrences + K1 * length);
    }
}

#[cfg(test)]
mod tests;
