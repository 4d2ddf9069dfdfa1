//! The foundation that every OpenData system stands on.
//!
//! A *slate* is one SlateDB database on an object store. Several instances of several systems live in it
//! side by side; one committer writes for all of them, so that a transaction over two systems is one atomic
//! write, and a [`View`](slate::View) reads all of them at one position.
//!
//! ```
//! use opendata_core::{Result, slate::Slate, store::Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let store = Store::from_url("memory:")?;
//! let slate = Slate::builder(&store, "example").open().await?;
//! assert_eq!(slate.view().instances().count(), 0);
//! slate.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The systems themselves are crates of their own: they implement [`DataSystem`] and know nothing of each other.

pub mod announce;
pub mod codec;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod env;
mod error;
pub mod key;
pub mod slate;
pub mod store;
mod system;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;

pub use error::{Error, ErrorKind, Hex, Result};
pub use system::{Config, DataSystem, OpOf, Operation, ReceiptOf, StateOf, SystemWriter};
pub use time::{Position, Timestamp};
