// recipes/src/read/patches.rs
//! `[[patches.files]]`: changes to the source, in order.

use crate::reader::{Reader, Section};
use crate::recipe::Patch;

use super::known;
use super::locations::{is_file, is_url, stays_inside};
use super::pins::digests;

/// Keys of the section.
pub(super) const KEYS: [&str; 1] = ["files"];

/// Keys of one patch.
pub(super) const PATCH_KEYS: [&str; 4] = ["file", "checksum", "strip", "fuzz"];

/// Keys that are meant but not built yet.
const LATER: [&str; 1] = ["condition"];

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Vec<Patch> {
    let Some(section) = reader.section(root, "patches") else {
        return Vec::new();
    };
    known(reader, &section, &KEYS, &[]);
    let files = reader.sections(&section, "files");
    files.iter().filter_map(|section| patch(reader, section)).collect()
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
            reader.missing(file.span, "a patch from elsewhere needs a `checksum`".to_owned(), hint);
        }
    } else if !stays_inside(reader, &file, "the recipe's directory") {
        return None;
    }
    Some(Patch { file: file.carried, checksum, strip, fuzz })
}

/// Reads a number of lines or of parts of a path.
fn small<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Option<u32> {
    reader.integer(section, key, 0..100).and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, sound};

    #[test]
    fn patches_are_read_in_order() {
        let recipe = sound(
            "[[patches.files]]\nfile = 'b.patch'\n[[patches.files]]\nfile = 'https://e.example/a.patch'\nchecksum = 'SHA256'\nstrip = 0\nfuzz = 2\n",
        );
        let patches: Vec<_> =
            recipe.patches.iter().map(|patch| (patch.file.as_str(), patch.strip, patch.fuzz)).collect();
        assert_eq!(patches, [("b.patch", 1, 0), ("https://e.example/a.patch", 0, 2)]);
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        check(&[
            ("[[patches.files]]\nstrip = 1\n", "4:1", "[patches.files[0]] has no `file`", "add `file"),
            ("[patches]\nfiles = 'a.patch'\n", "5:9", "must be a list of tables, found text", "[[patches.files]]"),
            ("[patches]\nfile = 'a.patch'\n", "5:1", "unknown key `file` in [patches]", "did you mean `files`?"),
            ("[[patches.files]]\nfile = '../a.patch'\n", "5:8", "contains `..`", "stays inside"),
            ("[[patches.files]]\nfile = '/a.patch'\n", "5:8", "starts at the root", "stays inside"),
            ("[[patches.files]]\nfile = 'a/'\n", "5:8", "", ""),
            ("[[patches.files]]\nfile = 'https://e.example/a.patch'\n", "5:8", "needs a `checksum`", "SHA-256"),
            ("[[patches.files]]\nfile = 'a.patch'\nstrip = -1\n", "6:9", "must lie between 0 and 99", ""),
            ("[[patches.files]]\nfile = 'a.patch'\nfuzz = 'x'\n", "6:8", "must be a whole number, found text", ""),
        ]);
    }
}
