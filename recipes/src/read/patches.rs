// recipes/src/read/patches.rs
//! `[[patches.files]]`: changes to the source, in order.

use crate::reader::{Reader, Section};
use crate::recipe::Patch;

use super::known;
use super::locations::{is_file, is_url, stays_inside};
use super::source::digests;

/// Keys of the section.
pub(super) const KEYS: [&str; 1] = ["files"];

/// Keys of one patch.
const PATCH_KEYS: [&str; 4] = ["file", "checksum", "strip", "fuzz"];

/// Keys that are meant but not built yet.
const LATER: [&str; 1] = ["condition"];

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Vec<Patch> {
    let Some(section) = reader.section(root, "patches") else {
        return Vec::new();
    };
    known(reader, &section, &KEYS, &[]);
    let files = reader.sections(&section, "files");
    files
        .iter()
        .filter_map(|section| patch(reader, section))
        .collect()
}

/// Reads one patch.
fn patch<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Patch> {
    known(reader, section, &PATCH_KEYS, &LATER);
    if !section.has("file") {
        reader.missing(
            section.span.clone(),
            format!("[{}] has no `file`", section.title),
            "add `file = \"fix.patch\"`",
        );
    }
    let checksum = digests(reader, section);
    let strip = small(reader, section, "strip").unwrap_or(1);
    let fuzz = small(reader, section, "fuzz").unwrap_or(0);
    let file = reader.text(section, "file")?;
    if !is_file(reader, &file) {
        return None;
    }
    if is_url(&file.full) {
        if !section.has("checksum") {
            let hint = "add its SHA-256, or keep the patch in a file beside the recipe";
            reader.missing(
                file.span,
                "a patch from elsewhere needs a `checksum`".to_owned(),
                hint,
            );
        }
    } else if !stays_inside(reader, &file, "the recipe's directory") {
        return None;
    }
    Some(Patch {
        file: file.carried,
        checksum,
        strip,
        fuzz,
    })
}

/// Reads a number of lines or of parts of a path.
fn small<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Option<u32> {
    reader
        .integer(section, key, 0..100)
        .and_then(|number| u32::try_from(number).ok())
}
