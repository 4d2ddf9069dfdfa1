//! Some of 65,536 ids: a sorted list while there are few, a bit for each when there are many, nothing when it is all.

use roaring::RoaringBitmap;

/// So many ids are kept as a list at most: 8 KiB, as much as a bit for each takes.
const LISTED: usize = 4096;
pub(crate) const WORDS: usize = 1024;

pub(crate) type Words = [u64; WORDS];

#[derive(Clone, Debug)]
pub(crate) enum Chunk {
    /// Ascending.
    List(Vec<u16>),
    Words(Box<Words>),
    All,
}

impl Default for Chunk {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

fn bit(low: u16) -> (usize, u64) {
    (usize::from(low) / 64, 1 << (low % 64))
}

/// Adds an id to words.
pub(crate) fn set(words: &mut Words, low: u16) {
    let (word, bit) = bit(low);
    if let Some(word) = words.get_mut(word) {
        *word |= bit;
    }
}

/// Whether an id is among words.
pub(crate) fn has(words: &Words, low: u16) -> bool {
    let (word, bit) = bit(low);
    words.get(word).is_some_and(|word| word & bit != 0)
}

impl Chunk {
    /// Of ascending ids.
    pub(crate) fn list(lows: Vec<u16>) -> Self {
        if lows.len() <= LISTED {
            return Self::List(lows);
        }
        let mut words = Box::new([0; WORDS]);
        lows.iter().for_each(|low| set(&mut words, *low));
        Self::of(words)
    }

    /// In the smallest form.
    pub(crate) fn of(words: Box<Words>) -> Self {
        let count: u32 = words.iter().map(|word| word.count_ones()).sum();
        match count as usize {
            0..=LISTED => Self::List(Self::Words(words).iter().collect()),
            65_536 => Self::All,
            _ => Self::Words(words),
        }
    }

    pub(crate) fn from_bitmap(bitmap: &RoaringBitmap) -> Self {
        Self::list(bitmap.iter().map(|low| low as u16).collect())
    }

    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        let mut bitmap: RoaringBitmap = self.iter().map(u32::from).collect();
        bitmap.optimize();
        bitmap
    }

    pub(crate) fn words(&self) -> Box<Words> {
        match self {
            Self::List(lows) => {
                let mut words = Box::new([0; WORDS]);
                lows.iter().for_each(|low| set(&mut words, *low));
                words
            }
            Self::Words(words) => words.clone(),
            Self::All => Box::new([u64::MAX; WORDS]),
        }
    }

    pub(crate) fn insert(&mut self, low: u16) -> bool {
        match self {
            Self::List(lows) => match lows.binary_search(&low) {
                Ok(_) => return false,
                Err(at) => lows.insert(at, low),
            },
            Self::Words(words) => {
                let is_new = !has(words, low);
                set(words, low);
                if !is_new || words.iter().any(|word| *word != u64::MAX) {
                    return is_new;
                }
            }
            Self::All => return false,
        }
        match std::mem::take(self) {
            Self::List(lows) => *self = Self::list(lows),
            Self::Words(_) | Self::All => *self = Self::All,
        }
        true
    }

    pub(crate) fn contains(&self, low: u16) -> bool {
        match self {
            Self::List(lows) => lows.binary_search(&low).is_ok(),
            Self::Words(words) => has(words, low),
            Self::All => true,
        }
    }

    /// The first id from `low` on.
    pub(crate) fn next(&self, low: u16) -> Option<u16> {
        match self {
            Self::List(lows) => lows.get(lows.partition_point(|own| *own < low)).copied(),
            Self::All => Some(low),
            Self::Words(words) => {
                let first = usize::from(low) / 64;
                words.iter().enumerate().skip(first).find_map(|(at, word)| {
                    let left = if at == first { word & (u64::MAX << (low % 64)) } else { *word };
                    (left != 0).then(|| (at * 64) as u16 + left.trailing_zeros() as u16)
                })
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::List(lows) => lows.len() as u64,
            Self::Words(words) => words.iter().map(|word| u64::from(word.count_ones())).sum(),
            Self::All => 65_536,
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::List(lows) => lows.len() * 2 + 32,
            Self::Words(_) => WORDS * 8 + 32,
            Self::All => 32,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        let (lows, words): (&[u16], Option<&Words>) = match self {
            Self::List(lows) => (lows, None),
            Self::Words(words) => (&[], Some(words)),
            Self::All => (&[], Some(&[u64::MAX; WORDS])),
        };
        let bits = words.into_iter().flatten().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let low = (left != 0).then(|| (at * 64) as u16 + left.trailing_zeros() as u16);
                left &= left.wrapping_sub(1);
                low
            })
        });
        lows.iter().copied().chain(bits)
    }

    fn combine(&self, other: &Self, of: impl Fn(u64, u64) -> u64) -> Self {
        let mut words = self.words();
        let mut with = |other: &Words| words.iter_mut().zip(other).for_each(|(own, other)| *own = of(*own, *other));
        match other {
            Self::Words(other) => with(other),
            Self::List(_) | Self::All => with(&other.words()),
        }
        Self::of(words)
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::List(none), some) | (some, Self::List(none)) if none.is_empty() => some.clone(),
            _ => self.combine(other, |own, other| own | other),
        }
    }

    pub(crate) fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, some) | (some, Self::All) => some.clone(),
            (Self::List(lows), other) | (other, Self::List(lows)) => {
                Self::List(lows.iter().copied().filter(|low| other.contains(*low)).collect())
            }
            _ => self.combine(other, |own, other| own & other),
        }
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        match (self, other) {
            (_, Self::All) => Self::default(),
            (own, Self::List(none)) if none.is_empty() => own.clone(),
            (Self::List(lows), other) => Self::List(lows.iter().copied().filter(|low| !other.contains(*low)).collect()),
            _ => self.combine(other, |own, other| own & !other),
        }
    }
}
