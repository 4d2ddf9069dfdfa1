//! Embedders: what makes vectors of texts.

use std::sync::Arc;

use async_trait::async_trait;
use opendata_core::Result;

mod hashing;
mod outside;

pub use hashing::Hashing;

use super::spec::EmbedderSpec;

/// Makes vectors of texts.
#[async_trait]
pub trait Embedder: Send + Sync + 'static {
    /// Length of its vectors.
    fn dimensions(&self) -> u32;

    /// One vector for each text, in their order.
    ///
    /// # Errors
    /// Something outside failed; the texts may be tried again.
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>>;
}

/// The embedder that a specification asks for.
///
/// # Errors
/// `Invalid` if a header's value is to be taken from an environment that does not have it.
pub fn open(spec: &EmbedderSpec) -> Result<Arc<dyn Embedder>> {
    match spec {
        EmbedderSpec::Hashing { dimensions } => Ok(Arc::new(Hashing::new(*dimensions))),
        EmbedderSpec::Command { command, dimensions, timeout_ms } => {
            Ok(Arc::new(outside::Program::new(command, *dimensions, *timeout_ms)))
        }
        EmbedderSpec::Http { url, model, dimensions, headers, timeout_ms } => {
            Ok(Arc::new(outside::Http::new(url, headers, *timeout_ms, model, *dimensions)?))
        }
    }
}
