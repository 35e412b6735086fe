// installer/src/hash.rs
//! The digest of a file of the root, to see whether somebody edited it.

use std::fs::File;
use std::io;

use recipes::Digest;

/// Reads a file to its end and returns the digest of what it holds.
pub(crate) fn of_file(file: File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Digest::blake3(*hasher.finalize().as_bytes()))
}
