// kitchen/src/unpack/tape.rs
//! Reads tar: blocks of 512 bytes, a header and then the content of each member, padded.
//!
//! The `tar` crate gives the meaning of one header's fields; the walk from block to block is our own, since it
//! is where parsers of tar disagree and archives hide members from one another. What is ambiguous is refused:
//! two sizes or two names for one member that differ, content behind a link, unknown kinds of members.

use std::io::Read;

use tar::{EntryType, Header};

use super::UnpackError;
use super::decode::Meter;
use super::sink::{Member, MemberKind, Sink};
use crate::shown::shown;

/// The unit of a tape.
pub(super) const BLOCK: usize = 512;
/// What one extension header may hold; real ones have a few hundred bytes.
const EXTENSION_BYTES: u64 = 1 << 20;
/// A header's octal size field holds less than this; only then may a pax size differ from it.
const OCTAL_LIMIT: u64 = 0o100_000_000_000;

/// What extension headers said about the member that follows them.
#[derive(Debug, Default, PartialEq)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<i64>,
}

/// Unpacks the tar that `input` holds.
pub(super) fn unpack(mut input: Meter, sink: &mut Sink) -> Result<(), UnpackError> {
    let mut block = [0; BLOCK];
    let mut global = Extension::default();
    let mut extension = Extension::default();
    let mut first = true;
    loop {
        let start = input.produced();
        let filled = fill(&mut input, &mut block).map_err(|error| sink.read_error(error))?;
        if first && (filled < BLOCK || !is_header(&block)) {
            return Err(UnpackError::NotAnArchive { file: sink.file.clone() });
        }
        first = false;
        if filled < BLOCK {
            return Err(sink.damaged("it ends without an end marker, so it was cut off"));
        }
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        if !has_checksum(&block) {
            return Err(sink.damaged(format!("a member's header is broken at byte {start}")));
        }
        let header = Header::from_byte_slice(&block);
        let stored_size =
            number(&header.as_old().size).ok_or_else(|| sink.damaged("a member's size is not a number"))?;
        match header.entry_type() {
            EntryType::XHeader => {
                let records = content(&mut input, stored_size, sink)?;
                parse_pax(&records, &mut extension).map_err(|reason| refuse_pax(sink, &reason))?;
            }
            EntryType::XGlobalHeader => {
                let records = content(&mut input, stored_size, sink)?;
                parse_pax(&records, &mut global).map_err(|reason| refuse_pax(sink, &reason))?;
                if global.path.is_some() || global.link.is_some() || global.size.is_some() {
                    return Err(sink.damaged("a global header gives one name or size to all members"));
                }
            }
            EntryType::GNULongName => {
                let name = long_name(&mut input, stored_size, sink)?;
                if extension.path.replace(name).is_some() {
                    return Err(sink.damaged("a member has two names"));
                }
            }
            EntryType::GNULongLink => {
                let name = long_name(&mut input, stored_size, sink)?;
                if extension.link.replace(name).is_some() {
                    return Err(sink.damaged("a member has two link targets"));
                }
            }
            // The label of a volume is no file.
            kind if kind.as_byte() == b'V' => skip(&mut input, stored_size, sink)?,
            kind => {
                let said = std::mem::take(&mut extension);
                let size = member_size(stored_size, said.size).ok_or_else(|| sink.damaged("a member has two sizes"))?;
                let member = member(header, kind, said, global.mtime, size, sink)?;
                sink.add(&member, &mut input)?;
                skip_padding(&mut input, size, sink)?;
            }
        }
    }
    if extension != Extension::default() {
        return Err(sink.damaged("an extension header has no member"));
    }
    drain(&mut input, sink)
}

/// Whether a block can be the first of a tar: a header with its checksum, or the end marker.
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0) || has_checksum(block)
}

/// Whether the header's checksum holds, taken over unsigned or, as ancient tars did, over signed bytes.
fn has_checksum(block: &[u8; BLOCK]) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    let Some(expected) = octal(&block[FIELD]) else {
        return false;
    };
    let summed = || block.iter().enumerate().map(|(at, byte)| if FIELD.contains(&at) { b' ' } else { *byte });
    let unsigned: u64 = summed().map(u64::from).sum();
    let signed: i64 = summed().map(|byte| i64::from(byte.cast_signed())).sum();
    expected == unsigned || i64::try_from(expected) == Ok(signed)
}

/// Puts together what a member is from its header and its extensions.
fn member(
    header: &Header,
    kind: EntryType,
    said: Extension,
    global_mtime: Option<i64>,
    size: u64,
    sink: &Sink,
) -> Result<Member, UnpackError> {
    let path = said.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let link = said.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
    let stored_mtime = number(&header.as_old().mtime).and_then(|mtime| i64::try_from(mtime).ok());
    let mtime = said.mtime.or(global_mtime).or(stored_mtime);
    let is_directory_by_name = path.ends_with(b"/");
    let kind = match kind {
        EntryType::Regular | EntryType::Continuous if is_directory_by_name => MemberKind::Directory,
        EntryType::Regular | EntryType::Continuous => {
            let mode = number(&header.as_old().mode).unwrap_or(0o644);
            MemberKind::File { size, executable: mode & 0o111 != 0 }
        }
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Symlink { target: link },
        EntryType::Link => MemberKind::HardLink { target: link },
        EntryType::Char | EntryType::Block | EntryType::Fifo => MemberKind::Special,
        EntryType::GNUSparse => return Err(sink.unsupported("a sparse file")),
        other => {
            return Err(sink.unsupported(format!("a member of kind {:?}", shown(&[other.as_byte()]))));
        }
    };
    if size != 0 && !matches!(kind, MemberKind::File { .. }) {
        return Err(sink.damaged(format!("{:?} is no file and has content", shown(&path))));
    }
    Ok(Member { path, mtime, kind })
}

/// The size of a member by its header and by its pax record; `None` when both are told and differ.
fn member_size(stored: u64, said: Option<u64>) -> Option<u64> {
    match said {
        Some(said) if said != stored && said < OCTAL_LIMIT => None,
        Some(said) => Some(said),
        None => Some(stored),
    }
}

/// Reads the records of a pax header: `LENGTH KEY=VALUE\n`, the length counting all of it.
fn parse_pax(mut records: &[u8], extension: &mut Extension) -> Result<(), PaxError> {
    while !records.is_empty() {
        let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or(PaxError::Malformed)?;
        let length = decimal(&records[..space]).ok_or(PaxError::Malformed)?;
        let length = usize::try_from(length).map_err(|_| PaxError::Malformed)?;
        if length <= space + 1 || length > records.len() || records[length - 1] != b'\n' {
            return Err(PaxError::Malformed);
        }
        let record = &records[space + 1..length - 1];
        records = &records[length..];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(PaxError::Malformed)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => set_once(&mut extension.path, value.to_vec())?,
            b"linkpath" => set_once(&mut extension.link, value.to_vec())?,
            b"size" => set_once(&mut extension.size, decimal(value).ok_or(PaxError::Malformed)?)?,
            b"mtime" => extension.mtime = seconds(value),
            key if key.starts_with(b"GNU.sparse.") => return Err(PaxError::Sparse),
            _ => {}
        }
    }
    Ok(())
}

/// Why a pax header is refused.
#[derive(Debug, PartialEq)]
enum PaxError {
    Malformed,
    Twice,
    Sparse,
}

fn refuse_pax(sink: &Sink, error: &PaxError) -> UnpackError {
    match error {
        PaxError::Malformed => sink.damaged("a pax header is malformed"),
        PaxError::Twice => sink.damaged("a member has two names or sizes"),
        PaxError::Sparse => sink.unsupported("a sparse file"),
    }
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<(), PaxError> {
    if slot.replace(value).is_some() { Err(PaxError::Twice) } else { Ok(()) }
}

/// A number of a header: octal text, or base 256 when the first bit is set. Negative ones are none.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, rest @ ..] => {
            let significant = rest.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &rest[at..]);
            (significant.len() <= 8).then(|| significant.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        }
        _ => octal(field),
    }
}

/// Octal digits between spaces and NUL bytes; an empty field is zero, as tars read it.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(digits.len());
    digits[..end].iter().try_fold(0_u64, |value, byte| {
        (b'0'..=b'7').contains(byte).then(|| value.checked_mul(8)?.checked_add(u64::from(byte - b'0')))?
    })
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        byte.is_ascii_digit().then(|| value.checked_mul(10)?.checked_add(u64::from(byte - b'0')))?
    })
}

/// The whole seconds of a pax time, rounded down; a time that is malformed is none.
fn seconds(text: &[u8]) -> Option<i64> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    Some(if negative { -whole } else { whole })
}

/// Reads a block, or as much of it as there is.
fn fill(input: &mut Meter, block: &mut [u8; BLOCK]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < BLOCK {
        match input.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The content of an extension header, which is small.
fn content(input: &mut Meter, size: u64, sink: &Sink) -> Result<Vec<u8>, UnpackError> {
    if size > EXTENSION_BYTES {
        return Err(sink.damaged("an extension header is larger than 1 MiB"));
    }
    let mut content = Vec::new();
    input.by_ref().take(size).read_to_end(&mut content).map_err(|error| sink.read_error(error))?;
    if content.len() as u64 != size {
        return Err(sink.damaged("it ends within an extension header"));
    }
    skip_padding(input, size, sink)?;
    Ok(content)
}

/// The content of a GNU long name: text that ends with one NUL byte.
fn long_name(input: &mut Meter, size: u64, sink: &Sink) -> Result<Vec<u8>, UnpackError> {
    let mut name = content(input, size, sink)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn skip(input: &mut Meter, size: u64, sink: &Sink) -> Result<(), UnpackError> {
    let skipped =
        std::io::copy(&mut input.by_ref().take(size), &mut std::io::sink()).map_err(|error| sink.read_error(error))?;
    if skipped < size {
        return Err(sink.damaged("it ends within a member"));
    }
    skip_padding(input, size, sink)
}

fn skip_padding(input: &mut Meter, size: u64, sink: &Sink) -> Result<(), UnpackError> {
    let beyond = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if beyond == 0 {
        return Ok(());
    }
    let mut padding = [0; BLOCK];
    input.read_exact(&mut padding[beyond..]).map_err(|error| sink.read_error(error))
}

/// Reads what follows the end marker, so that a compressed stream's own checksum is checked.
fn drain(input: &mut Meter, sink: &Sink) -> Result<(), UnpackError> {
    std::io::copy(input, &mut std::io::sink()).map(drop).map_err(|error| sink.read_error(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let table: [(&[u8], Option<u64>); 9] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"77777777777\0", Some(0o77_777_777_777)),
        ];
        for (field, value) in table {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn pax_records_are_read_strictly() {
        let mut good = Extension::default();
        parse_pax(b"12 path=a/b\n20 mtime=-12.500000\n10 size=7\n", &mut good).unwrap();
        assert_eq!(good, Extension { path: Some(b"a/b".to_vec()), link: None, size: Some(7), mtime: Some(-12) });
        for bad in [
            &b"12 path=a/"[..],
            b"3 \n",
            b"99 path=a\n",
            b"12 path=a/bX",
            b"0 =\n",
            b"x path=a\n",
            b"9999999999999999999999 path=a\n",
            b"11 size=-7\n",
        ] {
            assert!(parse_pax(bad, &mut Extension::default()).is_err(), "{bad:?}");
        }
        assert_eq!(parse_pax(b"9 size=1\n9 size=2\n", &mut Extension::default()), Err(PaxError::Twice));
        assert_eq!(parse_pax(b"22 GNU.sparse.major=1\n", &mut Extension::default()), Err(PaxError::Sparse));
    }
}
