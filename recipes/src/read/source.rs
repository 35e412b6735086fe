// recipes/src/read/source.rs
//! `[source]`: what the package is made of.
//!
//! There is one main source, or one for each architecture, and any number of further ones. Bytes from elsewhere
//! are pinned: a file by a checksum, a repository by its full commit.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::reader::{Reader, Section, Text};
use crate::recipe::{Additional, AdditionalFrom, Signature, Source};
use crate::text::quote;

use super::known;
use super::locations::{file, inner_path, is_file, is_url, mirrors, repository, stays_inside};
use super::package::is_arch;

/// Keys of a main source.
const MAIN_KEYS: [&str; 11] = [
    "archive",
    "git",
    "path",
    "checksum",
    "signature",
    "keys",
    "mirrors",
    "extract_dir",
    "commit",
    "tag",
    "submodules",
];

/// Keys of the section.
pub(super) const KEYS: [&str; 13] = [
    "archive",
    "git",
    "path",
    "checksum",
    "signature",
    "keys",
    "mirrors",
    "extract_dir",
    "commit",
    "tag",
    "submodules",
    "arch",
    "additional",
];

/// Keys of a further source.
const ADDITIONAL_KEYS: [&str; 8] = [
    "url",
    "git",
    "checksum",
    "signature",
    "keys",
    "commit",
    "extract",
    "extract_to",
];

/// What to do about bytes that nothing pins.
const PIN: &str = "run `conary source pin RECIPE`: it fetches, shows where the bytes came from and writes the SHA-256";

/// All sources of a recipe.
pub(super) struct Sources {
    pub(super) main: Source,
    pub(super) by_arch: BTreeMap<String, Source>,
    pub(super) additional: Vec<Additional>,
}

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Sources {
    let mut sources = Sources {
        main: Source::None,
        by_arch: BTreeMap::new(),
        additional: Vec::new(),
    };
    let Some(section) = reader.section(root, "source") else {
        return sources;
    };
    known(reader, &section, &KEYS, &[]);
    sources.main = main(reader, &section).unwrap_or(Source::None);
    if let Some(arches) = reader.section(&section, "arch") {
        sources.by_arch = by_arch(reader, &arches);
    }
    for further in reader.sections(&section, "additional") {
        sources.additional.extend(additional(reader, &further));
    }
    sources
}

/// Reads the sources for one architecture each.
fn by_arch<'t>(reader: &mut Reader<'t>, arches: &Section<'t>) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    for (key, _) in arches.in_order() {
        let name = key.get_ref().as_ref();
        if reader.is_full() {
            break;
        }
        if !is_arch(name) || name == "any" {
            let hint = "write it as the kernel does: `[source.arch.x86_64]`".to_owned();
            reader.report(
                key.span(),
                format!("{} is not an architecture", quote(name)),
                hint,
            );
        }
        let Some(own) = reader.section(arches, name) else {
            continue;
        };
        known(reader, &own, &MAIN_KEYS, &[]);
        if kinds(&own).is_empty() {
            reader.missing(
                own.span.clone(),
                format!("[{}] has no source", own.title),
                "add `archive`, `git` or `path`",
            );
        }
        sources.extend(main(reader, &own).map(|source| (name.to_owned(), source)));
    }
    sources
}

/// Returns the keys that say what kind of source this is.
fn kinds(section: &Section<'_>) -> Vec<&'static str> {
    ["archive", "git", "path", "url"]
        .into_iter()
        .filter(|kind| section.has(kind))
        .collect()
}

/// Refuses a section that is two kinds of source at once; returns the one that it is.
fn one_kind<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<&'static str> {
    let kinds = kinds(section);
    for other in kinds.iter().skip(1) {
        let message = format!("`{other}` and `{}` exclude each other", kinds[0]);
        reader.report(
            section.key_span(other),
            message,
            "keep one; further sources go into `[[source.additional]]`".to_owned(),
        );
    }
    if kinds.len() == 1 {
        kinds.first().copied()
    } else {
        None
    }
}

/// Reads one main source.
fn main<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Source> {
    const FOR_FILES: [&str; 4] = ["checksum", "signature", "keys", "extract_dir"];
    const FOR_GIT: [&str; 3] = ["commit", "tag", "submodules"];
    match one_kind(reader, section) {
        Some("archive") => {
            reader.misplaced(
                section,
                &FOR_GIT,
                "belongs to a git source",
                "leave it out: the checksum pins the archive",
            );
            archive(reader, section)
        }
        Some("git") => {
            reader.misplaced(
                section,
                &FOR_FILES,
                "belongs to an archive",
                "leave it out: the commit pins the repository",
            );
            git(reader, section)
        }
        Some(_) => {
            let hint = "leave it out: every file of the directory counts as it is";
            reader.misplaced(section, &FOR_FILES, "belongs to an archive", hint);
            reader.misplaced(section, &FOR_GIT, "belongs to a git source", hint);
            reader.misplaced(
                section,
                &["mirrors"],
                "belongs to a source from elsewhere",
                hint,
            );
            let path = inner_path(reader, section, "path", "the recipe's directory")?;
            Some(Source::Path { path })
        }
        None => {
            if kinds(section).is_empty() {
                for keys in [&FOR_FILES[..], &FOR_GIT[..], &["mirrors"]] {
                    reader.misplaced(
                        section,
                        keys,
                        "has no source that it could be about",
                        "add `archive`, `git` or `path`",
                    );
                }
            }
            None
        }
    }
}

/// Reads an archive.
fn archive<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Source> {
    let url = file(reader, section, "archive");
    let checksums = checksums(reader, section, "archive");
    let signature = signature(reader, section);
    let mirrors = mirrors(reader, section, false);
    let extract_dir = inner_path(reader, section, "extract_dir", "the unpacked archive");
    Some(Source::Archive {
        url: url?,
        checksums,
        signature,
        mirrors,
        extract_dir,
    })
}

/// Reads a git source.
fn git<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Source> {
    let url = repository(reader, section);
    let commit = commit(reader, section);
    let tag = tag(reader, section);
    let submodules = reader.boolean(section, "submodules").unwrap_or(false);
    let mirrors = mirrors(reader, section, true);
    Some(Source::Git {
        url: url?,
        commit: commit?,
        tag,
        submodules,
        mirrors,
    })
}

/// Reads a further source.
fn additional<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Additional> {
    known(reader, section, &ADDITIONAL_KEYS, &[]);
    let from = match one_kind(reader, section) {
        Some("git") => {
            let keys = ["checksum", "signature", "keys", "extract"];
            reader.misplaced(
                section,
                &keys,
                "belongs to a file",
                "leave it out: the commit pins the repository",
            );
            let url = repository(reader, section);
            let commit = commit(reader, section);
            url.zip(commit)
                .map(|(url, commit)| AdditionalFrom::Git { url, commit })
        }
        Some("url") => {
            reader.misplaced(
                section,
                &["commit"],
                "belongs to a git source",
                "leave it out: the checksum pins the file",
            );
            let url = file(reader, section, "url");
            let checksums = checksums(reader, section, "url");
            let signature = signature(reader, section);
            url.map(|url| AdditionalFrom::Archive {
                url,
                checksums,
                signature,
            })
        }
        _ => {
            if kinds(section).is_empty() {
                reader.missing(
                    section.span.clone(),
                    format!("[{}] has no source", section.title),
                    "add `url` or `git`",
                );
            }
            None
        }
    };
    let extract = reader.boolean(section, "extract");
    let extract_to = inner_path(reader, section, "extract_to", "the build directory");
    Some(Additional {
        from: from?,
        extract,
        extract_to,
    })
}

/// Reads the checksums of a file that must have one.
fn checksums<'t>(reader: &mut Reader<'t>, section: &Section<'t>, file: &str) -> Vec<Digest> {
    if !section.has("checksum") {
        reader.missing(
            section.key_span(file),
            format!("`{file}` has no `checksum`: nothing says what its bytes must be"),
            PIN,
        );
    }
    digests(reader, section)
}

/// Reads one checksum, or a list of which all must hold.
pub(super) fn digests<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<Digest> {
    let Some(value) = section.get("checksum") else {
        return Vec::new();
    };
    let texts = match value.get_ref().as_array() {
        Some(_) => reader.texts(section, "checksum"),
        None => reader.text(section, "checksum").into_iter().collect(),
    };
    if value
        .get_ref()
        .as_array()
        .is_some_and(|array| array.is_empty())
    {
        reader.report(
            value.span(),
            "the list of checksums is empty",
            PIN.to_owned(),
        );
    }
    texts
        .iter()
        .filter_map(|text| digest(reader, text))
        .collect()
}

/// Reads one checksum.
fn digest(reader: &mut Reader<'_>, text: &Text) -> Option<Digest> {
    if matches!(
        text.full.to_ascii_lowercase().as_str(),
        "" | "skip" | "none" | "fixme" | "todo"
    ) {
        reader.report(
            text.span.clone(),
            format!("{} is no checksum", quote(&text.full)),
            PIN.to_owned(),
        );
        return None;
    }
    let digest: Digest = reader.parse_text(text)?;
    if digest.as_bytes().iter().all(|byte| *byte == 0) {
        reader.report(
            text.span.clone(),
            "the checksum is all zeros: a place was kept and never filled",
            PIN.to_owned(),
        );
    }
    Some(digest)
}

/// Reads a full commit, in lower case.
fn commit<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let hint = "run `git ls-remote URL TAG` and write all 40 hexadecimal digits; `tag` may say which tag it is";
    if !section.has("commit") {
        let message = "`git` has no `commit`: branches and tags can move".to_owned();
        reader.missing(section.key_span("git"), message, hint);
    }
    let text = reader.text(section, "commit")?;
    let full = matches!(text.full.len(), 40 | 64)
        && text.full.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !full {
        reader.report(
            text.span.clone(),
            format!("{} is not a full commit", quote(&text.full)),
            hint.to_owned(),
        );
        return None;
    }
    Some(text.full.to_ascii_lowercase())
}

/// Reads the name of a tag.
fn tag<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let text = reader.text(section, "tag")?;
    let bad = |character: char| {
        character.is_control()
            || matches!(character, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    if text.full.is_empty()
        || text.full.starts_with(['-', '/'])
        || text.full.contains("..")
        || text.full.contains(bad)
    {
        let hint = "write the tag alone, like `v1.2`".to_owned();
        reader.report(
            text.span,
            format!("{} cannot be a tag", quote(&text.full)),
            hint,
        );
        return None;
    }
    Some(text.carried)
}

/// Reads a signature and the keys that may have made it.
fn signature<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Signature> {
    if section.has("signature") && !section.has("keys") {
        let message = "`signature` has no `keys`: anyone could have made it".to_owned();
        let hint = "add `keys = [\"upstream.asc\"]` with the public key in a file beside the recipe, or leave both out";
        reader.missing(section.key_span("signature"), message, hint);
    }
    if !section.has("signature") {
        reader.misplaced(
            section,
            &["keys"],
            "has no `signature` that it could have made",
            "add `signature`, or leave it out",
        );
        return None;
    }
    let location = reader.text(section, "signature");
    let location = location.filter(|text| {
        is_file(reader, text) && (is_url(&text.full) || stays_inside(reader, text, BESIDE))
    });
    let texts = reader.texts(section, "keys");
    if section.get("keys").is_some_and(|keys| {
        keys.get_ref()
            .as_array()
            .is_some_and(|array| array.is_empty())
    }) {
        reader.report(
            section.key_span("keys"),
            "the list of keys is empty",
            "name at least one public key".to_owned(),
        );
    }
    let keys = texts
        .into_iter()
        .filter(|text| is_key(reader, text))
        .map(|text| text.carried)
        .collect();
    Some(Signature {
        location: location?.carried,
        keys,
    })
}

/// Where files of the recipe's own lie.
const BESIDE: &str = "the recipe's directory";

/// Lengths of an `OpenPGP` fingerprint or key id in hexadecimal digits.
const FINGERPRINTS: [usize; 3] = [16, 40, 64];

/// Reports what is neither a public key nor the path of a file with one.
fn is_key(reader: &mut Reader<'_>, text: &Text) -> bool {
    let key = text.full.trim();
    if key.starts_with("ssh-")
        || key.starts_with("RW")
        || key.starts_with("untrusted comment:")
        || key.starts_with("-----BEGIN ")
    {
        return true;
    }
    let hex = key.strip_prefix("0x").unwrap_or(key);
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && FINGERPRINTS.contains(&hex.len()) {
        let hint = "export the key into a file beside the recipe: `gpg --armor --export FINGERPRINT > upstream.asc`".to_owned();
        reader.report(
            text.span.clone(),
            format!("{} names a key, but is none", quote(key)),
            hint,
        );
        return false;
    }
    stays_inside(reader, text, BESIDE)
}
