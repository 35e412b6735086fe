// kitchen/src/unpack/decode.rs
//! Finds out what a file is from its first bytes and decompresses it within bounds.
//!
//! A name is never asked: releases are misnamed, and servers rename. Frames and members that follow one
//! another are one stream, as `zstd`, `gzip`, `bzip2`, `xz` and `lzip` read them. Three bounds hold while
//! bytes come out: a total, a ratio to the bytes that went in, and the memory a decoder may ask for.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Bound, Limits};

/// What the first bytes of a file say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Lzma,
    Lzip,
    Zstd,
    Zip,
    /// Known, and not read: its name.
    Unsupported(&'static str),
}

/// Tells the format from the first bytes of a file.
pub(super) fn sniff(head: &[u8]) -> Format {
    const UNSUPPORTED: [(&[u8], &str); 7] = [
        (&[0x1f, 0x9d], "compress (.Z)"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"070701", "cpio"),
        (b"070707", "cpio"),
        (b"!<arch>\n", "ar"),
        (b"xar!", "xar"),
    ];
    let starts = |magic: &[u8]| head.starts_with(magic);
    if starts(&[0x1f, 0x8b]) {
        Format::Gzip
    } else if starts(b"BZh") && head.get(3).is_some_and(|level| (b'1'..=b'9').contains(level)) {
        Format::Bzip2
    } else if starts(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        Format::Xz
    } else if starts(b"LZIP") {
        Format::Lzip
    } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable_zstd(head) {
        Format::Zstd
    } else if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        Format::Zip
    } else if let Some((_, name)) = UNSUPPORTED.iter().find(|(magic, _)| starts(magic)) {
        Format::Unsupported(name)
    } else if starts(&[0x5d, 0, 0]) && head.get(13) == Some(&0) {
        // The old .lzma format has no magic number: the usual properties byte, then the dictionary size,
        // and after the 13 bytes of header a range coder, whose first byte is always zero.
        Format::Lzma
    } else {
        Format::Plain
    }
}

fn is_skippable_zstd(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Reads the first bytes of `file` without moving its position.
pub(super) fn head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; 512];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// Why reading was stopped by us and not by the data: travels inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Halt {
    #[error("limit reached")]
    Bound(Bound, u64),
    #[error("cancelled")]
    Cancelled,
}

impl Halt {
    fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// Finds a halt inside an error that came back through a decoder.
    pub(super) fn find(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

/// Opens the decompressed content of `input`, which starts in `format`.
///
/// # Errors
/// An I/O error when a decoder cannot be made; reading gives a [`Halt`] within an I/O error at a bound.
pub(super) fn open<'a, R: Read + 'a>(
    input: R,
    format: Format,
    limits: &Limits,
    cancel: &'a AtomicBool,
) -> io::Result<Meter<'a>> {
    let consumed = Rc::new(Cell::new(0));
    let counted = BufReader::with_capacity(1 << 16, Counting { input, consumed: Rc::clone(&consumed) });
    let lzma = |stream: Result<liblzma::stream::Stream, liblzma::stream::Error>| stream.map_err(io::Error::from);
    let memory = limits.decoder_memory_bytes;
    let flags = liblzma::stream::CONCATENATED | liblzma::stream::TELL_UNSUPPORTED_CHECK;
    let decoder: Box<dyn Read + 'a> = match format {
        Format::Gzip => Box::new(Members::Between(counted)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(counted)),
        Format::Xz => {
            let stream = lzma(liblzma::stream::Stream::new_stream_decoder(memory, flags))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(counted, stream))
        }
        Format::Lzma => {
            let stream = lzma(liblzma::stream::Stream::new_lzma_decoder(memory))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(counted, stream))
        }
        Format::Lzip => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = lzma(liblzma::stream::Stream::new_lzip_decoder(memory, flags))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(counted, stream))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(counted)?;
            decoder.window_log_max(memory.max(1 << 10).ilog2().min(31))?;
            Box::new(decoder)
        }
        Format::Plain | Format::Zip | Format::Unsupported(_) => Box::new(counted),
    };
    Ok(Meter {
        decoder,
        consumed,
        produced: 0,
        bytes: limits.bytes,
        ratio: limits.ratio,
        ratio_from: limits.ratio_from_bytes,
        memory,
        cancel,
    })
}

/// Counts the bytes that went into a decoder.
struct Counting<R> {
    input: R,
    consumed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.consumed.set(self.consumed.get() + count as u64);
        Ok(count)
    }
}

/// Decompressed bytes, counted, bounded and cancellable.
pub(super) struct Meter<'a> {
    decoder: Box<dyn Read + 'a>,
    consumed: Rc<Cell<u64>>,
    produced: u64,
    bytes: u64,
    ratio: u64,
    ratio_from: u64,
    memory: u64,
    cancel: &'a AtomicBool,
}

impl Meter<'_> {
    /// The decompressed bytes so far.
    pub(super) fn produced(&self) -> u64 {
        self.produced
    }

    fn check(&self) -> Result<(), Halt> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Halt::Cancelled);
        }
        if self.produced > self.bytes {
            return Err(Halt::Bound(Bound::Bytes, self.bytes));
        }
        let allowed = self.consumed.get().saturating_mul(self.ratio);
        if self.produced > self.ratio_from && self.produced > allowed {
            return Err(Halt::Bound(Bound::Ratio, self.ratio));
        }
        Ok(())
    }
}

impl Read for Meter<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check().map_err(Halt::into_io)?;
        match self.decoder.read(buffer) {
            Ok(count) => {
                self.produced += count as u64;
                self.check().map_err(Halt::into_io)?;
                Ok(count)
            }
            Err(error) if asks_for_too_much_memory(&error) => {
                Err(Halt::Bound(Bound::DecoderMemory, self.memory).into_io())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a decoder refused because of its memory limit: liblzma by its code, zstd by its text alone.
fn asks_for_too_much_memory(error: &io::Error) -> bool {
    let by_code = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<liblzma::stream::Error>())
        .is_some_and(|inner| *inner == liblzma::stream::Error::MemLimit);
    by_code || error.to_string().contains("requires too much memory")
}

/// The members of a gzip file as one stream.
///
/// Zero bytes behind the last member are padding, as gzip itself sees them; anything else there is damage.
enum Members<R: BufRead> {
    Between(R),
    Within(Box<flate2::bufread::GzDecoder<R>>),
    Ended,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::Between(mut input) => match input.fill_buf()?.first() {
                    None => {}
                    Some(0x1f) => *self = Self::Within(Box::new(flate2::bufread::GzDecoder::new(input))),
                    Some(0) => skip_padding(&mut input)?,
                    Some(_) => return Err(trailing()),
                },
                Self::Within(mut decoder) => {
                    let count = decoder.read(buffer)?;
                    if count > 0 || buffer.is_empty() {
                        *self = Self::Within(decoder);
                        return Ok(count);
                    }
                    *self = Self::Between(decoder.into_inner());
                }
            }
        }
    }
}

fn skip_padding(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        if buffer.iter().any(|byte| *byte != 0) {
            return Err(trailing());
        }
        let count = buffer.len();
        input.consume(count);
    }
}

fn trailing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "unknown data behind the compressed stream")
}
