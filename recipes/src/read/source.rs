// recipes/src/read/source.rs
//! `[source]`: what the package is made of.
//!
//! There is one main source, or one for each architecture, and any number of further ones. Bytes from elsewhere
//! are pinned: a file by a checksum, a repository by its full commit.

use std::collections::BTreeMap;

use crate::reader::{Reader, Section};
use crate::recipe::{Additional, AdditionalFrom, Source};
use crate::text::quote;

use super::known;
use super::locations::{file, inner_path, mirrors, repository};
use super::package::is_arch;
use super::pins::{checksums, commit, git_proof, signature, tag};

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
pub(super) const ADDITIONAL_KEYS: [&str; 12] =
    ["url", "git", "checksum", "signature", "keys", "commit", "tag", "name", "arch", "extract", "extract_to", "keep"];

/// All sources of a recipe.
pub(super) struct Sources {
    pub(super) main: Source,
    pub(super) by_arch: BTreeMap<String, Source>,
    pub(super) additional: Vec<Additional>,
}

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Sources {
    let mut sources = Sources { main: Source::None, by_arch: BTreeMap::new(), additional: Vec::new() };
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
            reader.report(key.span(), format!("{} is not an architecture", quote(name)), hint);
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
    ["archive", "git", "path", "url"].into_iter().filter(|kind| section.has(kind)).collect()
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
    if kinds.len() == 1 { kinds.first().copied() } else { None }
}

/// Reads one main source.
fn main<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Source> {
    const ONLY_FILES: [&str; 2] = ["signature", "extract_dir"];
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
                &ONLY_FILES,
                "belongs to an archive",
                "leave it out: the signature of a tag or a commit is in the repository, and `keys` alone asks for it",
            );
            git(reader, section)
        }
        Some(_) => {
            let hint = "leave it out: every file of the directory counts as it is";
            reader.misplaced(section, &FOR_FILES, "belongs to an archive", hint);
            reader.misplaced(section, &FOR_GIT, "belongs to a git source", hint);
            reader.misplaced(section, &["mirrors"], "belongs to a source from elsewhere", hint);
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
    Some(Source::Archive { url: url?, checksums, signature, mirrors, extract_dir })
}

/// Reads a git source.
fn git<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Source> {
    let url = repository(reader, section);
    let commit = commit(reader, section);
    let tag = tag(reader, section);
    let submodules = reader.boolean(section, "submodules").unwrap_or(false);
    let mirrors = mirrors(reader, section, true);
    let proof = git_proof(reader, section);
    Some(Source::Git { url: url?, commit: commit?, tag, submodules, mirrors, proof })
}

/// Reads a further source.
fn additional<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Additional> {
    known(reader, section, &ADDITIONAL_KEYS, &[]);
    let from = match one_kind(reader, section) {
        Some("git") => {
            let keys = ["signature", "extract", "keep"];
            reader.misplaced(section, &keys, "belongs to a file", "leave it out: the commit pins the repository");
            let url = repository(reader, section);
            let commit = commit(reader, section);
            let tag = tag(reader, section);
            let proof = git_proof(reader, section);
            url.zip(commit).map(|(url, commit)| AdditionalFrom::Git { url, commit, tag, proof })
        }
        Some("url") => {
            reader.misplaced(
                section,
                &["commit", "tag"],
                "belongs to a git source",
                "leave it out: the checksum pins the file",
            );
            let url = file(reader, section, "url");
            let checksums = checksums(reader, section, "url");
            let signature = signature(reader, section);
            url.map(|url| AdditionalFrom::Archive { url, checksums, signature })
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
    let keep = reader.boolean(section, "keep").unwrap_or(false);
    if keep && extract == Some(false) {
        let message = "`keep` is about a file that is unpacked, and `extract` is false".to_owned();
        reader.report(section.key_span("keep"), message, "leave it out: the file stays as it is".to_owned());
    }
    let name = name(reader, section);
    let arch = architecture(reader, section);
    Some(Additional { from: from?, name, arch, extract, extract_to, keep })
}

/// Reads the architecture that a further source is for.
fn architecture<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let text = reader.text(section, "arch")?;
    if !is_arch(&text.full) || text.full == "any" {
        let hint = "write one as the kernel does, `x86_64`, or leave it out if it is for all".to_owned();
        reader.report(text.span, format!("{} is not an architecture", quote(&text.full)), hint);
        return None;
    }
    Some(text.full)
}

/// Reads the name under which a further source is laid out.
fn name<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let text = reader.text(section, "name")?;
    let name = &text.full;
    if matches!(name.as_str(), "" | "." | "..") || name.contains('/') || name.contains(char::is_control) {
        let hint = "write the name alone; `extract_to` says into which directory it goes".to_owned();
        reader.report(text.span, format!("{} is not the name of a file", quote(name)), hint);
        return None;
    }
    Some(text.carried)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, sound};
    use super::*;

    #[test]
    fn each_kind_of_source_is_read() {
        assert_eq!(sound("").source, Source::None);
        assert_eq!(sound("[source]\npath = '.'\n").source, Source::Path { path: ".".to_owned() });
        let Source::Archive { url, checksums, signature, mirrors, extract_dir } = sound(
            "[source]\narchive = 'https://e.example/a/x-1.tar.xz'\nchecksum = ['SHA256', 'SHA256']\n\
             signature = 'https://e.example/a/x-1.tar.xz.asc'\nkeys = ['keys/a.asc']\nmirrors = ['https://m.example/']\nextract_dir = 'a/b'\n",
        )
        .source
        else {
            panic!("an archive is an archive");
        };
        assert_eq!(url, "https://e.example/a/x-1.tar.xz");
        assert_eq!(checksums.len(), 2);
        assert_eq!(signature.unwrap().keys, ["keys/a.asc"]);
        assert_eq!(mirrors, ["https://m.example/"]);
        assert_eq!(extract_dir.as_deref(), Some("a/b"));
        for url in [
            "x.tar.gz",
            "../distfiles/x.tar",
            "/srv/x.tar",
            "file:///srv/x.tar",
            "file:x.tar",
            "ftp://e.example/x.tar",
            "./-x.tar",
        ] {
            let recipe = sound(&format!("[source]\narchive = '{url}'\nchecksum = 'SHA256'\n"));
            assert_eq!(
                recipe.source.file_name().map(|name| name.ends_with("x.tar") || name == "x.tar.gz"),
                Some(true),
                "{url}"
            );
        }
        let commit = "0123456789abcdef0123456789ABCDEF01234567";
        let Source::Git { url, commit, tag, submodules, .. } =
            sound(&format!("[source]\ngit = 'https://e.example/x.git'\ncommit = '{commit}'\ntag = 'v1'\n")).source
        else {
            panic!("git is git");
        };
        assert_eq!(
            (url.as_str(), commit.as_str()),
            ("https://e.example/x.git", "0123456789abcdef0123456789abcdef01234567")
        );
        assert_eq!((tag.as_deref(), submodules), (Some("v1"), false));
    }

    #[test]
    fn an_architecture_may_have_its_own_source() {
        let recipe = sound(
            "[source]\narchive = 'all.tar'\nchecksum = 'SHA256'\n[source.arch.aarch64]\narchive = 'arm.tar'\nchecksum = 'SHA256'\n",
        );
        assert_eq!(recipe.source_for("x86_64").file_name(), Some("all.tar"));
        assert_eq!(recipe.source_for("aarch64").file_name(), Some("arm.tar"));
        let recipe = sound("[source.arch.x86_64]\npath = 'src'\n");
        assert_eq!(recipe.source_for("aarch64"), &Source::None);
        check(&[
            ("[source.arch.any]\npath = 'a'\n", "4:14", "`any` is not an architecture", "x86_64"),
            ("[source.arch.x86_64]\n", "4:1", "[source.arch.x86_64] has no source", "add `archive`"),
            ("[source.arch]\nx86_64 = 'a'\n", "5:10", "`source.arch.x86_64` must be a table", "[source.arch.x86_64]"),
            (
                "[source.arch.x86_64]\npath = 'a'\nadditional = []\n",
                "6:1",
                "unknown key `additional`",
                "belongs to [source]",
            ),
        ]);
    }

    #[test]
    fn kinds_of_source_do_not_mix() {
        check(&[
            ("[source]\npath = 'a'\narchive = 'b'\n", "5:1", "`path` and `archive` exclude each other", "keep one"),
            (
                "[source]\npath = 'a'\nchecksum = 'SHA256'\n",
                "6:1",
                "`checksum` belongs to an archive",
                "counts as it is",
            ),
            (
                "[source]\npath = 'a'\nmirrors = ['https://e.example']\n",
                "6:1",
                "`mirrors` belongs to a source from elsewhere",
                "counts",
            ),
            ("[source]\nchecksum = 'SHA256'\n", "5:1", "`checksum` has no source", "add `archive`"),
            (
                "[source]\nurl = 'https://e.example/x.tar'\n",
                "5:1",
                "unknown key `url` in [source]",
                "the main source is an `archive`",
            ),
            (
                "[source]\narchive = 'a.tar'\nchecksum = 'SHA256'\ntag = 'v1'\n",
                "7:1",
                "`tag` belongs to a git source",
                "the checksum pins",
            ),
            (
                "[source]\ngit = 'https://e.example/x'\ncommit = '0123456789abcdef0123456789abcdef01234567'\nsignature = 'x.asc'\n",
                "7:1",
                "`signature` belongs to an archive",
                "`keys` alone",
            ),
        ]);
    }

    #[test]
    fn further_sources_are_read_in_order() {
        let recipe = sound(
            "[[source.additional]]\nurl = 'https://e.example/a.tar'\nchecksum = 'SHA256'\nextract_to = 'third/a'\n\
             [[source.additional]]\ngit = 'git@e.example:team/b.git'\ncommit = '0123456789abcdef0123456789abcdef01234567'\n\
             [[source.additional]]\nurl = 'b.conf'\nchecksum = 'SHA256'\nextract = false\n",
        );
        let names: Vec<&str> = recipe.additional.iter().map(Additional::file_name).collect();
        assert_eq!(names, ["a.tar", "b", "b.conf"]);
        assert_eq!(recipe.additional[2].extract, Some(false));
        let recipe = sound(
            "[[source.additional]]\nurl = 'https://e.example/get?file=7'\nchecksum = 'SHA256'\nname = 'a-%(version)s.tar'\n\
             [[source.additional]]\ngit = 'https://e.example/b.git'\ncommit = '0123456789abcdef0123456789abcdef01234567'\nname = 'c'\n",
        );
        let names: Vec<&str> = recipe.additional.iter().map(Additional::laid_out_as).collect();
        assert_eq!(names, ["a-%(version)s.tar", "c"]);
        let git = "git = 'https://e.example/x'\ncommit = '0123456789abcdef0123456789abcdef01234567'\n";
        check(&[
            (
                "[[source.additional]]\nextract = true\n",
                "4:1",
                "[source.additional[0]] has no source",
                "add `url` or `git`",
            ),
            (
                "[source.additional]\nurl = 'a'\n",
                "4:1",
                "`source.additional` must be a list of tables",
                "[[source.additional]]",
            ),
            (
                "[source]\nadditional = ['a']\n",
                "5:15",
                "`source.additional[0]` must be a table",
                "[[source.additional]]",
            ),
            ("[[source.additional]]\narchive = 'a'\n", "5:1", "unknown key `archive`", "a further source is a `url`"),
            (
                "[[source.additional]]\nurl = 'a'\nchecksum = 'SHA256'\nextract = 'yes'\n",
                "7:11",
                "must be true or false, found text",
                "without quotes",
            ),
            (
                "[[source.additional]]\nurl = 'a'\nchecksum = 'SHA256'\narch = 'any'\n",
                "7:8",
                "`any` is not an architecture",
                "leave it out",
            ),
            (
                "[[source.additional]]\nurl = 'a'\nchecksum = 'SHA256'\nextract = false\nkeep = true\n",
                "8:1",
                "`extract` is false",
                "leave it out",
            ),
            (
                "[[source.additional]]\nurl = 'a'\nchecksum = 'SHA256'\nname = 'x/y'\n",
                "7:8",
                "`x/y` is not the name of a file",
                "`extract_to` says into which directory",
            ),
            (
                "[[source.additional]]\nurl = 'a'\nchecksum = 'SHA256'\nextract_to = '../x'\n",
                "7:14",
                "the path `../x` contains `..`",
                "the build directory",
            ),
            (
                &format!("[[source.additional]]\n{git}extract = true\n"),
                "7:1",
                "`extract` belongs to a file",
                "the commit pins",
            ),
        ]);
    }
}
