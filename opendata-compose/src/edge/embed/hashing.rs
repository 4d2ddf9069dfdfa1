//! An embedder without a model: words and pairs of neighbouring words are hashed to places of a vector and summed with signs, and the sum
//! is brought to length one. It gives the same vector everywhere and for ever, so that what it made can be recomputed and compared.

use async_trait::async_trait;
use opendata_core::Result;
use twox_hash::XxHash64;

use super::Embedder;

/// The built-in embedder.
#[derive(Clone, Copy, Debug)]
pub struct Hashing {
    dimensions: u32,
}

impl Hashing {
    /// An embedder whose vectors have this length.
    #[must_use]
    pub fn new(dimensions: u32) -> Self {
        Self { dimensions: dimensions.max(1) }
    }

    /// The vector of one text. A text without words has the first unit vector.
    #[must_use]
    pub fn vector(&self, text: &str) -> Vec<f32> {
        let mut sums = vec![0.0f32; self.dimensions as usize];
        let text = text.to_lowercase();
        let mut previous: Option<&str> = None;
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            add(&mut sums, word.as_bytes(), 1.0);
            if let Some(previous) = previous {
                add(&mut sums, format!("{previous} {word}").as_bytes(), 0.5);
            }
            previous = Some(word);
        }
        let length = sums.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 0.0 {
            sums.iter_mut().for_each(|x| *x /= length);
        } else if let Some(first) = sums.first_mut() {
            *first = 1.0;
        }
        sums
    }
}

fn add(sums: &mut [f32], feature: &[u8], weight: f32) {
    let hash = XxHash64::oneshot(0, feature);
    let length = sums.len() as u64;
    let sign = if hash >> 63 == 0 { weight } else { -weight };
    let place = usize::try_from((hash & (u64::MAX >> 1)) % length).unwrap_or_default();
    if let Some(sum) = sums.get_mut(place) {
        *sum += sign;
    }
}

#[async_trait]
impl Embedder for Hashing {
    fn dimensions(&self) -> u32 {
        self.dimensions
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }
}
