// store/src/lib.rs
//! Objects, trees, packages and the databases, kept durably.
//!
//! ```text
//! directory → ingest → Tree → put_tree ┐
//!                       └ objects      ├→ put_trove → Manifest → ccs::write → one file
//! directory ← checkout ← Tree ←────────┘
//! ```
//!
//! Here and nowhere else stand SQL, fsync, rename and link ([`durable`] alone has the last three). Never here: how things are
//! built, what a root is, the terminal, the environment. Formats and guarantees: docs/design/store.md.

pub mod ccs;
pub mod durable;
pub mod place;
pub mod root_db;

mod actions;
mod batch;
mod cas;
mod checkout;
mod condemned;
mod copy;
mod database;
mod error;
mod event;
mod gc;
mod hold;
mod ingest;
mod lock;
mod logs;
mod manifest;
mod need;
mod object_writer;
mod pool;
mod refs;
mod relocate;
mod settings;
mod shards;
mod sources;
mod stat_cache;
mod stats;
mod store;
mod tree;
mod troves;
mod trust;
mod verify;
mod work;

#[cfg(test)]
mod tests;

pub use actions::{ActionRow, Input};
pub use batch::{Batch, Committed};
pub use checkout::{CheckoutError, CheckoutOptions, CheckoutReport, LookUp, OwnerName};
pub use error::{ErrorKind, OpenError, StoreError};
pub use event::{Event, Listener};
pub use gc::{GcOptions, GcReport};
pub use hold::Hold;
pub use ingest::{Decide, Decision, Found, IngestError, IngestOptions};
pub use lock::{ActionLock, Flock};
pub use logs::{LogOutcome, LogRow};
pub use manifest::{Component, Config, Hooks, MANIFEST_FORMAT, MAX_MANIFEST_BYTES, Manifest, ManifestError};
pub use object_writer::ObjectWriter;
pub use place::LinkMode;
pub use refs::Reference;
pub use settings::MirrorRow;
pub use sources::{Hasher, SourceKind, SourceRow};
pub use stat_cache::StatFingerprint;
pub use stats::StoreStats;
pub use store::{OpenOptions, Still, Store, Waiting};
pub use tree::{
    Entry, MAX_ENTRIES, MAX_NAME_BYTES, MAX_OWNER_BYTES, MAX_PATH_BYTES, MAX_XATTR_BYTES, Node, Rule, Tree, TreeError,
};
pub use troves::{ProviderRow, TroveRow};
pub use trust::{Policy, TrustError, TrustedKey};
pub use verify::{Problem, Rescue, VerifyOptions, VerifyReport};
pub use work::Work;

/// Modification time of every materialised entry, in seconds since 1970: 1980-01-02 00:00 UTC.
///
/// Old enough that nothing made later looks older, and not so old that zip files (which begin
/// in 1980, in local time) or programs that take zero for "unknown" stumble over it.
pub const EPOCH_SECS: i64 = 315_619_200;
