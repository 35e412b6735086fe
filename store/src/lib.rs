// store/src/lib.rs
//! Objects, trees, packages and the databases, kept durably.

pub mod durable;
pub mod root_db;
pub mod tree;

pub use tree::{Entry, Node, Tree, TreeError};

/// Modification time of every materialised entry, in seconds since 1970: 1980-01-02 00:00 UTC.
///
/// Old enough that nothing made later looks older, and not so old that zip files (which begin
/// in 1980, in local time) or programs that take zero for "unknown" stumble over it.
pub const EPOCH_SECS: i64 = 315_619_200;
