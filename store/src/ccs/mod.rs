// store/src/ccs/mod.rs
//! CCS packages: one file that carries one trove.
//!
//! ```text
//! manifest.json   canonical manifest; its digest is the trove's id
//! index           frame sizes, order of objects
//! trees/…         the encoded tree of each component
//! signatures      Ed25519 over the id, where it is signed
//! payload/0000.zst, 0001.zst, …   contents in zstd frames of at most 8 MiB
//! ```
//!
//! The file is an uncompressed tar that other tools open; here it is read by comparing each header with the only one that
//! could stand there. [`write()`] makes the same bytes from the same trove whatever the number of threads; a [`Package`]
//! reads metadata without touching the payload, and imports only what a store lacks. Manifest commits to trees and trees
//! to contents, so everything that is taken was checked by digest; the index only says where to look.
//!
//! The specification is docs/design/ccs.md and changes first. What a trove means, and what is done with it in a
//! root, is not here.

mod archive;
mod bundle;
mod contents;
mod error;
mod frame;
mod import;
mod index;
mod layout;
pub mod limits;
mod object;
mod pieces;
mod reader;
mod remote;
mod signature;
mod signed;
mod spool;
mod writer;

#[cfg(test)]
mod tests;

pub use bundle::{Bundle, Bundled, write_bundle};
pub use error::{CcsError, IndexError};
pub use frame::FrameError;
pub use layout::LayoutError;
pub use reader::Package;
pub use remote::{Coming, Head, ReadAt, Want, bring, head};
pub use signature::{KeyError, PublicKey, SecretKey, Signature};
pub use writer::{WriteOptions, Written, write};
