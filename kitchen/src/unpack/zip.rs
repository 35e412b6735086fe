// kitchen/src/unpack/zip.rs
//! Reads zip: the central directory at the end says what the members are.
//!
//! Stored and deflated members are read. Modes and symlinks are taken from archives that were made on a
//! system that has them. Times in a zip have no zone and are read as UTC, so that every machine agrees.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::AtomicBool;

use zip::ZipArchive;
use zip::result::ZipError;

use super::sink::{Member, MemberKind, Sink, check_cancel};
use super::{Bound, UnpackError};
use crate::shown::shown;

/// Unpacks the zip in `archive`.
pub(super) fn unpack(archive: File, sink: &mut Sink, cancel: &AtomicBool) -> Result<(), UnpackError> {
    let packed = archive.metadata().map_err(|error| sink.read_error(error))?.len();
    let mut archive = ZipArchive::new(std::io::BufReader::new(archive)).map_err(|error| refuse(sink, error))?;
    if archive.has_duplicate_names() {
        return Err(sink.damaged("two members have one name"));
    }
    if archive.len() as u64 > sink.limits.entries {
        return Err(UnpackError::Limit {
            file: sink.file.clone(),
            bound: Bound::Entries,
            allowed: sink.limits.entries,
        });
    }
    for index in 0..archive.len() {
        check_cancel(cancel)?;
        let mut entry = archive.by_index(index).map_err(|error| refuse(sink, error))?;
        let size = entry.size();
        check_size(size, packed, sink)?;
        let path = entry.name_raw().to_vec();
        let mtime = entry.last_modified().and_then(seconds);
        let mode = entry.unix_mode();
        let kind = match mode.map(|mode| mode & 0o170_000) {
            _ if path.ends_with(b"/") => MemberKind::Directory,
            Some(0o120_000) => {
                let mut target = Vec::new();
                let limit = sink.limits.path_bytes as u64 + 1;
                entry.by_ref().take(limit).read_to_end(&mut target).map_err(|error| sink.read_error(error))?;
                MemberKind::Symlink { target }
            }
            Some(0o040_000) => MemberKind::Directory,
            None | Some(0 | 0o100_000) => MemberKind::File { size, executable: mode.unwrap_or(0) & 0o111 != 0 },
            Some(_) => MemberKind::Special,
        };
        let is_file = matches!(kind, MemberKind::File { .. });
        sink.add(&Member { path: path.clone(), mtime, kind }, &mut entry)?;
        // The checksum of a member is compared where its content ends.
        if is_file && entry.read(&mut [0]).map_err(|error| sink.read_error(error))? != 0 {
            return Err(sink.damaged(format!("{:?} is longer than its size", shown(&path))));
        }
    }
    Ok(())
}

/// Keeps the sum of all files within the limits, before the next one is written.
fn check_size(size: u64, packed: u64, sink: &Sink) -> Result<(), UnpackError> {
    let limit = |bound, allowed| UnpackError::Limit { file: sink.file.clone(), bound, allowed };
    let total = sink.done.bytes.saturating_add(size);
    if total > sink.limits.bytes {
        Err(limit(Bound::Bytes, sink.limits.bytes))
    } else if total > sink.limits.ratio_from_bytes && total > packed.saturating_mul(sink.limits.ratio) {
        Err(limit(Bound::Ratio, sink.limits.ratio))
    } else {
        Ok(())
    }
}

fn refuse(sink: &Sink, error: ZipError) -> UnpackError {
    match error {
        ZipError::Io(error) => sink.read_error(error),
        ZipError::UnsupportedArchive(what) => sink.unsupported(format!("a zip archive with a feature ({what})")),
        other => sink.damaged(shown(other.to_string().as_bytes())),
    }
}

/// Seconds since 1970 of a zip's time.
fn seconds(time: zip::DateTime) -> Option<i64> {
    // Days from civil, after Howard Hinnant's algorithm; a zip's years start at 1980.
    let (year, month, day) = (i64::from(time.year()), i64::from(time.month()), i64::from(time.day()));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_utc() {
        let time = zip::DateTime::from_date_and_time(2024, 2, 29, 12, 30, 58).unwrap();
        assert_eq!(super::seconds(time), Some(1_709_209_858));
    }
}
