// converters/src/pkgbuild/recipe.rs
//! From a description to a recipe: the metadata by way of `.SRCINFO`, the steps with the functions as they are written.

use std::collections::BTreeMap;

use super::{Description, Note, Options, steps};
use crate::srcinfo::{self, Beyond, SrcinfoError};

/// A recipe made from a PKGBUILD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The text of `recipe.toml`.
    pub recipe: String,
    /// What could not be carried over, with the line of the PKGBUILD where its value or attribute stands.
    pub findings: Vec<Note>,
    /// Files beside the PKGBUILD that the recipe names, as paths below its directory.
    pub files: Vec<String>,
}

/// Turns a description into a recipe; `text` is the PKGBUILD, for the lines of findings, and `beside` reads a file that lies
/// beside it.
///
/// # Errors
/// [`SrcinfoError`] where its version is one that makepkg refuses as well, or there is none.
pub fn convert(
    description: &Description,
    text: &str,
    options: &Options,
    beside: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Converted, SrcinfoError> {
    let srcinfo = String::from_utf8_lossy(&description.srcinfo()).into_owned();
    // A control character has no place in a recipe.
    let srcinfo = srcinfo.replace(|c: char| c.is_control() && c != '\n' && c != '\t', " ");
    let beyond = Beyond {
        steps: steps::steps(description, options),
        carch: &options.carch,
        profile: options.profile,
        environment: options.profile.environment(description),
        beside,
    };
    let conversion = srcinfo::convert_with(&srcinfo, Some(&beyond))?;
    let version = description.base.value("pkgver").unwrap_or_default();
    let mut findings = description.notes.clone();
    for finding in conversion.findings {
        let line = srcinfo.lines().nth(finding.line.saturating_sub(1)).map_or(0, |entry| line_of(text, entry, version));
        findings.push(Note { line, what: finding.what });
    }
    findings.extend(steps::notes(description));
    findings.sort();
    findings.dedup();
    let mut files = conversion.files;
    files.sort();
    files.dedup();
    Ok(Converted { recipe: conversion.recipe, findings, files })
}

/// The step that asks a PKGBUILD's `pkgver()` for the version, behind `setup`; nothing if it has none. What it prints goes into the file
/// [`steps::VERSION_FILE`] of the output.
#[must_use]
pub fn version_step(description: &Description, options: &Options) -> Option<String> {
    steps::version(description, options)
}

/// The text of a PKGBUILD with another version, written as makepkg writes it: every line that begins with `pkgver=`, and the release 1.
///
/// # Errors
/// What makepkg says of a version that is none.
pub fn with_version(text: &str, version: &str) -> Result<String, String> {
    if let Some(what) = super::lint::version("pkgver", version) {
        return Err(format!("pkgver() generated an invalid version: {version} ({what})"));
    }
    let replaced = |line: &str| {
        for (key, value) in [("pkgver=", version), ("pkgrel=", "1")] {
            if let Some(rest) = line.strip_prefix(key) {
                let word = rest.find(' ').unwrap_or(rest.len());
                return format!("{key}{value}{}", &rest[word..]);
            }
        }
        line.to_owned()
    };
    Ok(text.split('\n').map(replaced).collect::<Vec<_>>().join("\n"))
}

/// The line where an entry of the `.SRCINFO` comes from, as near as its value or its name tells.
fn line_of(text: &str, entry: &str, version: &str) -> usize {
    let (key, value) = entry.trim().split_once('=').unwrap_or((entry, ""));
    let (key, value) = (key.trim(), value.trim());
    let by_value = || text.lines().position(|line| value.len() > 2 && line.contains(value));
    // The version seldom stands there in digits.
    let around = || {
        let parts: Vec<&str> = value.split(version).filter(|part| part.len() > 2).collect();
        let is_whole = version.is_empty() || parts.is_empty();
        text.lines().position(|line| !is_whole && parts.iter().all(|part| line.contains(part)))
    };
    let by_key = || {
        text.lines()
            .position(|line| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with(['=', '+'])))
    };
    by_value().or_else(around).or_else(by_key).map_or(0, |at| at + 1)
}

/// Each attribute in which a description and a `.SRCINFO` differ, with the line of the latter.
#[must_use]
pub fn differences(description: &Description, theirs: &[u8]) -> Vec<Note> {
    let (ours, theirs) = (description.srcinfo(), String::from_utf8_lossy(theirs));
    let (ours, theirs) = (attributes(&String::from_utf8_lossy(&ours)), attributes(&theirs));
    let mut notes = Vec::new();
    for (place, (line, values)) in &theirs {
        match ours.get(place) {
            Some((_, same)) if same == values => {}
            Some((_, other)) => notes.push(Note {
                line: *line,
                what: format!(
                    "{}: the .SRCINFO has `{}`, the PKGBUILD gives `{}`",
                    place.1,
                    values.join(" "),
                    other.join(" ")
                ),
            }),
            None => notes.push(Note {
                line: *line,
                what: format!("{}: the .SRCINFO has `{}`, the PKGBUILD gives none", place.1, values.join(" ")),
            }),
        }
    }
    for (place, (_, values)) in ours.iter().filter(|(place, _)| !theirs.contains_key(*place)) {
        let what =
            format!("{}: the .SRCINFO of {} has none, the PKGBUILD gives `{}`", place.1, place.0, values.join(" "));
        notes.push(Note { line: 0, what });
    }
    notes.sort();
    notes
}

/// Values by section and attribute, with the line of the first.
type Attributes = BTreeMap<(String, String), (usize, Vec<String>)>;

fn attributes(srcinfo: &str) -> Attributes {
    let mut section = String::new();
    let mut found = Attributes::new();
    for (at, line) in srcinfo.lines().enumerate() {
        let line = line.trim();
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            // What the PKGBUILD itself printed while makepkg read it, as `==> …` is.
            continue;
        }
        if key == "pkgbase" || key == "pkgname" {
            section = format!("{key} {value}");
        }
        found.entry((section.clone(), key)).or_insert_with(|| (at + 1, Vec::new())).1.push(value);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    /// Every field, with values that can be told apart.
    const EVERYTHING: &str = r#"pkgbase=whole
pkgname=(first second)
pkgver=1.2
pkgrel=3
epoch=4
pkgdesc="What all are"
url="https://e.example/home"
arch=(x86_64 aarch64)
license=(MIT custom:odd)
groups=(all-group)
depends=(need-run 'need-version>=2' libneed.so libold.so=5-64)
depends_aarch64=(need-arm)
makedepends=(need-make)
makedepends_x86_64=(need-here)
checkdepends=(need-check)
optdepends=('need-maybe: for fun')
provides=(gives=1.2 libgive.so)
conflicts=(hates)
replaces=(older)
backup=(etc/kept.conf)
options=(!strip upx !ccache)
install=whole.install
changelog=ChangeLog
noextract=(raw.zip)
source=(https://e.example/main-$pkgver.tar.gz
        https://e.example/main-$pkgver.tar.gz.sig
        other.tgz::https://e.example/get?id=7
        raw.zip::https://e.example/raw
        local.patch
        git+https://e.example/tagged.git#tag=v$pkgver
        git+https://e.example/branched.git?signed#branch=devel
        dir::git+https://e.example/pinned.git#commit=0123456789abcdef0123456789abcdef01234567
        git+https://e.example/short.git#commit=0123456
        git+https://e.example/plain.git
        hg+https://e.example/mercurial
        svn+https://e.example/subversion
        bzr+https://e.example/bazaar
        fossil+https://e.example/fossil)
source_aarch64=(https://e.example/arm.tar)
sha256sums_aarch64=(e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855)
md5sums=(d41d8cd98f00b204e9800998ecf8427e SKIP SKIP SKIP SKIP SKIP SKIP SKIP SKIP SKIP SKIP SKIP SKIP SKIP)
validpgpkeys=(0123456789ABCDEF0123456789ABCDEF01234567)
_helper=value
_later=$(command-of-nobody)
help_me() { echo "$_helper $_later"; }
verify() { :; }
prepare() { help_me; cd branched && git log; }
pkgver() { echo 2; }
build() { make -C "$startdir"; }
check() { make check; }
package_first() {
  pkgdesc="What the first is"
  depends+=(need-first)
  backup=(etc/first.conf)
  make install; chown daemon "$pkgdir/x"
}
package_second() {
  groups=(second-group)
  license=(ISC)
  url=https://e.example/second
  arch=(any)
  options=(strip)
  install=second.install
  install -o daemon x "$pkgdir/x"
}
"#;

    fn beside(name: &str) -> Option<Vec<u8>> {
        match name {
            "whole.install" => Some(
                b"post_install() { useradd -r made; echo installed; }\npost_upgrade() { systemctl daemon-reload; }\n\
                  pre_remove() {\n  rm -f /x\n}\n"
                    .to_vec(),
            ),
            "local.patch" => Some(b"patch".to_vec()),
            _ => None,
        }
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table of every field")]
    fn everything_is_in_the_recipe_or_in_the_report() {
        let options = Options::default();
        let description = read(EVERYTHING.as_bytes(), None, &options).unwrap();
        let converted = convert(&description, EVERYTHING, &options, &beside).unwrap();
        let recipe = &converted.recipe;
        let in_recipe = [
            "name = \"whole\"",
            "name = \"first\"",
            "name = \"second\"",
            "version = \"1.2\"",
            "release = \"3\"",
            "epoch = 4",
            "summary = \"What all are\"",
            "summary = \"What the first is\"",
            "homepage = \"https://e.example/home\"",
            "homepage = \"https://e.example/second\"",
            "arch = [\"x86_64\", \"aarch64\"]",
            "arch = [\"any\"]",
            "MIT AND LicenseRef-custom-odd",
            "license = \"ISC\"",
            "\"all-group\"",
            "\"second-group\"",
            "\"need-run\"",
            "\"need-version >= 2\"",
            "soname(libneed.so)",
            "soname(libold.so.5)",
            "\"need-make\"",
            "\"need-here\"",
            "\"need-check\"",
            "\"need-maybe: for fun\"",
            "\"gives = 1.2\"",
            "soname(libgive.so)",
            "\"hates\"",
            "\"older\"",
            "\"/etc/kept.conf\"",
            "\"/etc/first.conf\"",
            "#   installed",
            "[outputs.hooks]\nusers = [{ name = \"made\"",
            "[outputs.scripts]\npre-remove = '''\n#!/bin/bash\n",
            "\"need-first\"",
            "main-%(version)s.tar.gz\"",
            "checksum = \"md5:d41d8cd98f00b204e9800998ecf8427e\"",
            "name = \"other.tgz\"",
            "name = \"raw.zip\"",
            "extract = false",
            "url = \"local.patch\"",
            "refs/tags/v1.2",
            "refs/heads/devel",
            "name = \"dir\"",
            "0123456789abcdef0123456789abcdef01234567",
            "commit = \"0123456\"",
            "plain.git",
            "commit = \"HEAD\"",
            "url = \"https://e.example/arm.tar\"",
            "arch = \"aarch64\"",
            "_helper=value",
            "help_me() {",
            "prepare() {",
            "build() {",
            "check() {",
            "package_first() {",
            "package_second() {",
        ];
        for text in in_recipe {
            assert!(recipe.contains(text), "{text} is not in\n{recipe}");
        }
        let reported = [
            (9, "custom:odd"),
            (12, "need-arm is left out"),
            (21, "`upx`"),
            (22, "what post_install() prints is a comment"),
            (22, "`systemctl daemon-reload` is left out"),
            (22, "whole.install:4: pre_remove() stays a scriptlet: `rm -f /x` has no declaration"),
            (23, "ChangeLog"),
            (25, "main-1.2.tar.gz is not verified"),
            (25, "only checksums that prove nothing"),
            (27, "other.tgz has no checksum"),
            (28, "raw.zip has no checksum"),
            (30, "refs/tags/v1.2 can move"),
            (31, "refs/heads/devel can move"),
            (31, "signed"),
            (33, "0123456 is not a whole commit"),
            (34, "HEAD can move"),
            (35, "mercurial"),
            (36, "subversion"),
            (37, "bazaar"),
            (38, "fossil"),
            (42, "0123456789ABCDEF"),
            (44, "`_later` is not set"),
            (46, "verify() is left out"),
            (47, "prepare() calls git"),
            (48, "pkgver() is asked with `--pin` only"),
            (49, "build() uses $startdir"),
            (63, "second.install"),
        ];
        for (line, text) in reported {
            let found = converted.findings.iter().any(|note| note.line == line && note.what.contains(text));
            assert!(found, "{line}: {text} is not in\n{:#?}", converted.findings);
        }
        assert_eq!(converted.files, ["local.patch"]);
        // Nothing of it is a surprise: pinned, it loads.
        assert!(!converted.findings.iter().any(|note| note.what.contains("needs a hand")), "{:#?}", converted.findings);
    }

    #[test]
    fn keys_that_lie_beside_verify_signatures() {
        let text = "pkgname=x\npkgver=1\npkgrel=1\narch=(any)\nsource=(https://e.example/x.tar.gz{,.sig})\nsha256sums=(SKIP SKIP)\n\
                    validpgpkeys=(0123456789ABCDEF0123456789ABCDEF01234567)\npackage() { :; }\n";
        let options = Options::default();
        let description = read(text.as_bytes(), None, &options).unwrap();
        let key = "keys/pgp/0123456789ABCDEF0123456789ABCDEF01234567.asc";
        let beside = |name: &str| (name == key).then(|| b"key".to_vec());
        let converted = convert(&description, text, &options, &beside).unwrap();
        assert!(
            converted.recipe.contains(&format!("signature = \"https://e.example/x.tar.gz.sig\"\nkeys = [\"{key}\"]"))
        );
        assert_eq!(converted.files, [key]);
        assert_eq!(converted.findings.len(), 1, "{:#?}", converted.findings);
    }

    #[test]
    fn what_makepkg_takes_and_a_recipe_does_not_is_written_otherwise() {
        let text = "pkgbase=_Odd@base\npkgname=(@one Two)\npkgver=.5@2\npkgrel=1\narch=(any)\npkgdesc=$'a\\ebell\\a'\nsource=(a b)\n\
                    sha256sums=(SKIP)\nmd5sums=(SKIP SKIP SKIP)\npackage_@one() { :; }\npackage_Two() { :; }\n";
        let options = Options::default();
        let description = read(text.as_bytes(), None, &options).unwrap();
        assert_eq!(description.base.value("pkgver"), Some(".5@2"));
        let converted = convert(&description, text, &options, &|_| None).unwrap();
        for part in
            ["name = \"odd-base\"", "name = \"one\"", "name = \"two\"", "version = \"0.5_2\"", "summary = \"a bell\""]
        {
            assert!(converted.recipe.contains(part), "{part} is not in\n{}", converted.recipe);
        }
        let said: Vec<&str> = converted.findings.iter().map(|note| note.what.as_str()).collect();
        for part in
            ["_Odd@base is written odd-base", ".5@2 is written 0.5_2", "1 `sha256sums` for 2", "3 `md5sums` for 2"]
        {
            assert!(said.iter().any(|what| what.contains(part)), "{part} is not in\n{said:#?}");
        }
    }
}
