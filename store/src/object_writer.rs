// store/src/object_writer.rs
//! Content that comes in pieces: hashed and written as it comes, an object of a batch at its end.

use std::collections::BTreeMap;
use std::io::{self, Write};

use recipes::Digest;

use crate::batch::{Batch, Temporary};
use crate::cas::Variant;
use crate::copy;
use crate::error::StoreError;

/// How much of a content in pieces is gathered before it is hashed and written.
const PIECE_BYTES: usize = 256 << 10;

/// Content of a batch that comes in pieces; dropped before [`ObjectWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct ObjectWriter<'b, 's> {
    batch: &'b Batch<'s>,
    mode: u32,
    hasher: blake3::Hasher,
    /// Not yet hashed, at most [`PIECE_BYTES`].
    buffer: Vec<u8>,
    /// Where everything hashed so far is, once there is any.
    temporary: Option<Temporary<'b, 's>>,
    /// How much of it was hashed and written.
    spilled: u64,
    size: u64,
}

impl<'b, 's> ObjectWriter<'b, 's> {
    /// Begins a content; `mode` as in [`Batch::add_bytes`].
    pub(crate) fn new(batch: &'b Batch<'s>, mode: u32) -> Self {
        Self { batch, mode, hasher: blake3::Hasher::new(), buffer: Vec::new(), temporary: None, spilled: 0, size: 0 }
    }

    /// Ends the content and adds it to the batch; returns its digest and size.
    ///
    /// # Errors
    /// As [`Batch::add_bytes`].
    pub fn finish(mut self) -> Result<(Digest, u64), StoreError> {
        self.hasher.update(&self.buffer);
        let object = Digest::blake3(*self.hasher.finalize().as_bytes());
        let Some(temporary) = self.temporary.take() else {
            self.batch.add_hashed(&object, &self.buffer, self.mode)?;
            return Ok((object, self.size));
        };
        if !self.batch.is_here(&object, self.size)? {
            copy::write_at(&temporary.file, &self.buffer, self.spilled)
                .and_then(|()| temporary.file.set_len(self.size))
                .map_err(self.batch.failed("write"))?;
            let variant = Variant::of_mode(self.mode);
            self.batch.keep(temporary, object, variant, self.size, &BTreeMap::new())?;
        }
        Ok((object, self.size))
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// As [`Batch::add_bytes`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == PIECE_BYTES {
                self.spill()?;
            }
        }
        Ok(())
    }

    /// Hashes and writes what was gathered.
    fn spill(&mut self) -> Result<(), StoreError> {
        self.hasher.update(&self.buffer);
        let temporary = match &self.temporary {
            Some(temporary) => temporary,
            None => self.temporary.insert(self.batch.temporary()?),
        };
        copy::write_at(&temporary.file, &self.buffer, self.spilled).map_err(self.batch.failed("write"))?;
        self.spilled += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for ObjectWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
