// store/src/ccs/signed.rs
//! Packages with signatures: the same package again, with another set of them.
//!
//! Neither the trove's id nor the index changes, and no frame is decoded: bytes are copied around the one member.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::signature::{self, Signature};
use super::{CcsError, Package, archive};

/// Name of the member.
pub(super) const MEMBER: &str = "signatures";

impl Package {
    /// Writes this package again with exactly these signatures, valid or not; none is allowed. Not durable.
    ///
    /// # Errors
    /// [`CcsError::Limit`] for too many, [`CcsError::Io`] when the package cannot be read or `out` not written.
    pub fn write_with(&self, signatures: &[Signature], out: &mut dyn Write) -> Result<(), CcsError> {
        let encoded = signature::encode(signatures)?;
        let mut file = self.file.try_clone().map_err(CcsError::io("open the package"))?;
        copy_range(&mut file, 0, Some(self.signatures_at), out).map_err(CcsError::io("copy the package"))?;
        if !signatures.is_empty() {
            let mut member = || {
                out.write_all(&archive::header(MEMBER, encoded.len() as u64))?;
                out.write_all(&encoded)?;
                out.write_all(&archive::END[..archive::padding(encoded.len() as u64)])
            };
            member().map_err(CcsError::io("write the package"))?;
        }
        copy_range(&mut file, self.index_at, None, out).map_err(CcsError::io("copy the package"))
    }
}

fn copy_range(file: &mut File, from: u64, to: Option<u64>, out: &mut dyn Write) -> io::Result<()> {
    file.seek(SeekFrom::Start(from))?;
    let length = to.map_or(u64::MAX, |to| to - from);
    let copied = io::copy(&mut file.take(length), out)?;
    match to {
        Some(to) if copied != to - from => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
