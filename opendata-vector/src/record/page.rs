//! Pages: the rows of a few neighbouring ids in one, since a row of its own costs more than a small document or vector is worth.
//!
//! ```text
//! page  layout 1 | for each, in the order of the ids: low u8, the id's place in the page
//!                | size varint: 0: it is dead, else one more than the bytes that follow | bytes        (DOCS, VEC)
//! ```
//!
//! A commit merges what it adds and what it kills; the latest word on an id counts. Ids are never used twice, so what is dead
//! stays so. A document that is large has a row of its own, and no bytes in its page.

use std::collections::BTreeMap;

use bytes::Bytes;
use opendata_core::codec::{Decoder, Encoder};
use opendata_core::{Error, Result};

const LAYOUT: u8 = 1;
/// Ids of a page of documents.
pub(crate) const DOCUMENTS: u64 = 16;
/// A document of more bytes has a row of its own.
pub(crate) const LARGE_BYTES: usize = 512;

/// What a page says of an id: none if it is dead.
pub(crate) type Entry<'a> = Option<&'a [u8]>;

/// Goes through a page.
pub(crate) struct Entries<'a> {
    fields: Decoder<'a>,
    before: Option<u8>,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(key: &[u8], value: &'a [u8]) -> Result<Self> {
        let mut fields = Decoder::new(value);
        fields.layout(LAYOUT).map_err(|error| Error::corrupt_at(key, error))?;
        Ok(Self { fields, before: None })
    }

    pub(crate) fn next(&mut self, key: &[u8]) -> Result<Option<(u8, Entry<'a>)>> {
        if self.fields.rest().is_empty() {
            return Ok(None);
        }
        let entry = self.parse().map_err(|error| Error::corrupt_at(key, error))?;
        Ok(Some(entry))
    }

    fn parse(&mut self) -> Result<(u8, Entry<'a>)> {
        let low = self.fields.u8()?;
        if self.before.is_some_and(|before| before >= low) {
            return Err(Error::corrupt("page out of order"));
        }
        self.before = Some(low);
        let size = usize::try_from(self.fields.varint()?).map_err(|_| Error::corrupt("size out of range"))?;
        let entry = size.checked_sub(1).map(|size| self.fields.raw(size)).transpose()?;
        Ok((low, entry))
    }
}

/// What a page has of one id, if it is alive.
pub(crate) fn find<'a>(key: &[u8], value: &'a [u8], wanted: u8) -> Result<Entry<'a>> {
    let mut entries = Entries::new(key, value)?;
    while let Some((low, entry)) = entries.next(key)? {
        if low >= wanted {
            return Ok(entry.filter(|_| low == wanted));
        }
    }
    Ok(None)
}

/// The number of a page and the place in it.
pub(crate) fn split(id: u64, ids: u64) -> (u64, u8) {
    (id / ids.max(1), (id % ids.max(1)) as u8)
}

pub(crate) fn encode<B: AsRef<[u8]>>(entries: impl IntoIterator<Item = (u8, Option<B>)>) -> Bytes {
    let entries: Vec<_> = entries.into_iter().collect();
    let size: usize = entries.iter().map(|(_, entry)| entry.as_ref().map_or(2, |bytes| bytes.as_ref().len() + 4)).sum();
    let mut page = Encoder::with_capacity(LAYOUT, size + 1);
    for (low, entry) in entries {
        page.u8(low);
        match entry {
            None => _ = page.varint(0),
            Some(bytes) => _ = page.varint(bytes.as_ref().len() as u64 + 1).raw(bytes.as_ref()),
        }
    }
    page.finish()
}

/// The pages that some ids make, each of `ids` of them.
pub(crate) fn pages(of: &BTreeMap<u64, Option<Bytes>>, ids: u64) -> Vec<(u64, Bytes)> {
    let mut pages: BTreeMap<u64, Vec<(u8, Option<&Bytes>)>> = BTreeMap::new();
    for (id, entry) in of {
        let (page, low) = split(*id, ids);
        pages.entry(page).or_default().push((low, entry.as_ref()));
    }
    pages.into_iter().map(|(page, entries)| (page, encode(entries))).collect()
}

/// The latest word on each id.
pub(crate) fn merge(key: &[u8], values: &[&[u8]]) -> Result<Bytes> {
    let mut all: BTreeMap<u8, Entry<'_>> = BTreeMap::new();
    for value in values {
        let mut entries = Entries::new(key, value)?;
        while let Some((low, entry)) = entries.next(key)? {
            all.insert(low, entry);
        }
    }
    Ok(encode(all))
}

#[cfg(test)]
mod tests;
