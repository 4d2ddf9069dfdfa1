//! Documents of vectors, attributes and texts on object storage: nearest neighbours, filters, words, and all of it at once.
//!
//! An instance lives in a slate beside other systems, and a commit may write to several of them at once. What a commit wrote is
//! found by the next search: new vectors are scanned exactly until maintenance has moved them into the index.
//!
//! ```
//! use opendata_core::{Result, slate::Slate, store::Store};
//! use opendata_vector::{AttributeType, Config, Document, Filter, Metric, Query, TextField, Vector, VectorField};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let config = Config::default()
//!     .vector("embedding", VectorField::new(3, Metric::Cosine))
//!     .attribute("lang", AttributeType::String)
//!     .text("body", TextField::default());
//! let store = Store::from_url("memory:")?;
//! let slate = Slate::builder(&store, "example").system::<Vector>("docs", config).open().await?;
//! let docs = slate.get::<Vector>("docs")?;
//!
//! let mut tx = slate.begin();
//! tx.on(&docs)
//!     .upsert(Document::new("a").vector("embedding", [1.0, 0.0, 0.1]).attribute("lang", "en").text("body", "a red fox"))
//!     .upsert(Document::new("b").vector("embedding", [0.9, 0.1, 0.0]).attribute("lang", "de").text("body", "ein roter Fuchs"));
//! tx.commit().await?;
//!
//! let reader = slate.view().on(&docs)?;
//! let query = Query::nearest("embedding", [1.0, 0.0, 0.0]).and_words([("body", 1.0)], "fox", 1.0).filter(Filter::eq("lang", "en"));
//! let results = reader.search(&query).await?;
//! assert_eq!(results.hits.len(), 1);
//! assert_eq!(results.hits[0].document.id, "a");
//! # slate.close().await
//! # }
//! ```
//!
//! - [`Config`] and [`Schema`]: the fields of documents, stored with the instance and enforced.
//! - [`Op`]: what a transaction does: upsert, patch, delete, delete by [`Filter`], conditions on [`Version`]s.
//! - [`Reader`]: documents by id, pages, counts, and [`Query`]s. [`Effort::Exact`] compares every vector; otherwise recall is what
//!   [`Effort`] buys.

mod cell;
mod config;
mod document;
mod filter;
mod idset;
pub mod kernel;
mod key;
mod maintain;
mod op;
mod postings;
mod reader;
mod record;
mod schema;
mod search;
mod sparse;
mod state;
mod system;
mod text;
mod writer;

pub use config::{CodeBits, Config};
pub use document::{Document, ID_LIMIT_BYTES, Patch, STRING_LIMIT_BYTES, Value};
pub use filter::{Comparison, FILTER_DEPTH_LIMIT, Filter};
pub use op::{DELETE_LIMIT, Op, Receipt, Refused, Version};
pub use reader::{FieldStats, Found, Reader, Select, Stats};
pub use schema::{
    AttributeType, DIMENSIONS_LIMIT, FIELD_NAME_LIMIT_BYTES, Metric, Schema, SparseField, Stemming, Storage, TextField,
    VectorField,
};
pub use search::{Cursor, Effort, Explain, Fusion, Hit, LegExplain, Query, RESULT_LIMIT, Results};
pub use sparse::{SPARSE_LIMIT, SparseVector};
pub use state::State;
pub use system::Vector;
pub use writer::{Plan, Writer};
