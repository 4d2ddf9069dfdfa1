//! Several OpenData systems in one slate: one commit, one view, one checkpoint, one fork.
//!
//! An [`InternalComposite`] is a slate with named instances of systems. A transaction over several of them is
//! one atomic write; a view shows all of them at one position; a checkpoint and a fork take milliseconds, whatever the size.
//!
//! ```
//! use opendata_compose::{InternalComposite, Log, Store, Timestamp, Tsdb, labels, log, tsdb};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> opendata_compose::Result<()> {
//! let store = Store::from_url("memory:")?;
//! let billing = InternalComposite::builder(&store, "billing")
//!     .system::<Log>("events", log::Config::default())
//!     .system::<Tsdb>("usage", tsdb::Config::default())
//!     .open()
//!     .await?;
//! let (events, usage) = (billing.get::<Log>("events")?, billing.get::<Tsdb>("usage")?);
//!
//! let at = Timestamp(1_700_000_000_000);
//! let mut tx = billing.begin();
//! tx.on(&events).append("tenant-7", "42 tokens");
//! tx.on(&usage).add(labels! { "__name__" => "tokens_total", "tenant" => "7" }, at, 42.0);
//! let commit = tx.commit().await?; // both or neither, durable
//!
//! let view = billing.view(); // one instant over both
//! assert_eq!(view.position(), commit.position());
//! let total = view.on(&usage)?.query("sum by (tenant) (tokens_total)", at).await?;
//! let tsdb::promql::Value::Vector(samples) = total.value else { panic!("not a vector") };
//! assert_eq!((samples[0].labels.get("tenant"), samples[0].value), (Some("7"), 42.0));
//! billing.close().await?;
//! # Ok(())
//! # }
//! ```

#[macro_use]
mod planted;

pub mod branch;
pub mod control;
pub mod cut;
pub mod edge;
pub mod external;
pub mod internal;
pub mod plan;
pub mod spec;
pub mod systems;

pub use cut::{CutOptions, PastComposition};
pub use external::{ExternalComposite, Own, Token, VerifyOptions};
pub use internal::{InternalComposite, Past};
pub use opendata_core::slate::{
    Ack, At, Checkpoint, Commit, CommitError, Handle, Pending, Settings, Transaction, View,
};
pub use opendata_core::store::{LocalDurability, Store, StoreOptions};
pub use opendata_core::{DataSystem, Error, ErrorKind, Position, Result, Timestamp};
pub use opendata_log::{self as log, Log};
pub use opendata_tsdb::{self as tsdb, Tsdb, labels};
pub use opendata_vector::{self as vector, Vector};
pub use spec::{Composition, InstanceSpec, NodeSpec};
