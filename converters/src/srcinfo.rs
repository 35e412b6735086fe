// converters/src/srcinfo.rs
//! Turns a `.SRCINFO`, the data that makepkg prints of a PKGBUILD, into a recipe.
//!
//! Nothing of the PKGBUILD runs: a `.SRCINFO` is plain text. It has everything but the steps, and a few things that a
//! recipe cannot say or will not take. Each of those is a [`Finding`] with its line, and where a recipe would be
//! wrong without it (a source that nothing pins) the recipe does not load until somebody has written it.
//!
//! | `.SRCINFO` | recipe |
//! |---|---|
//! | `pkgname`, `pkgver`, `pkgrel`, `epoch`, `arch`, `pkgdesc`, `url` | `package.name`, `version`, `release`, `epoch`, `arch`, `summary`, `homepage` |
//! | `license` | `package.license`, several joined by `AND`, where they are SPDX |
//! | `source`, `source_ARCH`, `noextract` | `[source]`, `[source.arch.ARCH]`, `[[source.additional]]` |
//! | `sha256sums` and other strong sums | `checksum` |
//! | `validpgpkeys`, sources that are signatures | `signature`, `keys` |
//! | `depends`, `makedepends`, `checkdepends` | `build.requires`, `makedepends`, `checkdepends` |
//! | `optdepends`, `provides`, `conflicts`, `replaces` | `runtime.suggests`, `provides`, `conflicts`, `replaces` |
//! | `options` | `build.options` |
//! | `backup` | `config.files` |
//! | `install` | `[hooks]` and `[scripts]`, where its file is at hand |

mod moments;
mod origin;
mod relations;
mod scripts;
mod sources;
mod text;
mod writer;

use std::cmp::Ordering;

use recipes::{Name, NameError, Version, VersionError};

use crate::pkgbuild::Profile;
use crate::vercmp;
use text::{Entry, Srcinfo};
use writer::Writer;

/// Something that could not be carried over as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The line of the `.SRCINFO`, from 1.
    pub line: usize,
    /// What it is and what to do about it.
    pub what: String,
}

/// A recipe, and what it lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversion {
    /// The text of `recipe.toml`.
    pub recipe: String,
    /// Everything that could not be carried over, in the order of the lines.
    pub findings: Vec<Finding>,
    /// Files beside the description that the recipe names.
    pub files: Vec<String>,
}

/// Findings while they are collected.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, line: usize, what: String) {
        self.0.push(Finding { line, what });
    }
}

/// Turns the text of a `.SRCINFO` into a recipe.
///
/// # Errors
/// The text is not a `.SRCINFO`, or its name or version is none that a recipe can have.
pub fn convert(text: &str) -> Result<Conversion, SrcinfoError> {
    convert_with(text, None)
}

/// What a PKGBUILD has beyond its metadata.
pub(crate) struct Beyond<'a> {
    /// Its functions, as steps.
    pub(crate) steps: Steps,
    /// The architecture that it was read for.
    pub(crate) carch: &'a str,
    /// What its packager's makepkg is told.
    pub(crate) profile: Profile,
    /// Variables of the build.
    pub(crate) environment: Vec<(String, String)>,
    /// Reads a file beside it.
    pub(crate) beside: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

/// Steps that a PKGBUILD has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Steps {
    /// The begin and the end of `setup`: what makepkg sets, and the call of `prepare`.
    pub(crate) setup: (String, String),
    /// The keys of `[build]` with their texts, in order.
    pub(crate) common: Vec<(&'static str, String)>,
    /// The step of each of several packages, by name.
    pub(crate) packages: Vec<(String, String)>,
}

impl Steps {
    /// Whether a function holds this text.
    fn mention(&self, text: &str) -> bool {
        let common = self.common.iter().map(|(_, step)| step);
        let packages = self.packages.iter().map(|(_, step)| step);
        common.chain(packages).chain([&self.setup.1]).any(|step| step.contains(text))
    }
}

/// The same with what else a PKGBUILD has, where it is at hand.
pub(crate) fn convert_with(text: &str, beyond: Option<&Beyond<'_>>) -> Result<Conversion, SrcinfoError> {
    let srcinfo = Srcinfo::parse(text)?;
    let entries = srcinfo.entries();
    let mut findings = Findings::default();
    let mut out = Writer::default();
    out.line(if beyond.is_some() { "# Converted from a PKGBUILD." } else { "# Converted from a .SRCINFO." });
    let version = package(&mut out, &srcinfo, &entries, beyond.is_some(), &mut findings)?;
    let laid = sources::write(&mut out, &entries, &version, beyond, &mut findings)?;
    let arches = match beyond {
        Some(beyond) => vec![beyond.carch],
        None => values(&entries, "arch").map(|entry| entry.value).collect(),
    };
    relations::write(&mut out, &srcinfo, &arches, beyond, &laid.lines, &mut findings);
    if let [package] = &srcinfo.packages[..] {
        scripts::write(&mut out, "", &srcinfo.entries_of(package), beyond, &mut findings);
    }
    if srcinfo.packages.len() > 1 {
        for package in &srcinfo.packages {
            relations::write_output(&mut out, &srcinfo, package, &arches, beyond, &mut findings);
            scripts::write(&mut out, "outputs.", &srcinfo.entries_of(package), beyond, &mut findings);
        }
    }
    left_out(&srcinfo, beyond.is_some(), &mut findings);
    let unpinned = std::mem::take(&mut out.unpinned);
    let recipe = out.finish();
    if let Err(diagnostics) = recipes::parse(&recipe, "recipe.toml") {
        for diagnostic in diagnostics.iter().filter(|diagnostic| !unpinned.contains(&diagnostic.line)) {
            let what = format!("line {} of the recipe needs a hand: {}", diagnostic.line, diagnostic.message);
            findings.add(srcinfo.base.line, what);
        }
    }
    findings.0.sort();
    findings.0.dedup();
    Ok(Conversion { recipe, findings: findings.0, files: laid.files })
}

/// Returns the entries under one key.
fn values<'e, 't>(entries: &'e [Entry<'t>], key: &'static str) -> impl Iterator<Item = &'e Entry<'t>> {
    entries.iter().filter(move |entry| entry.key == key)
}

/// Returns the one entry under a key.
fn single<'t>(entries: &[Entry<'t>], key: &'static str) -> Result<Option<Entry<'t>>, SrcinfoError> {
    let mut found = values(entries, key).copied();
    match (found.next(), found.next()) {
        (_, Some(second)) => Err(SrcinfoError::Twice { line: second.line, key: key.to_owned() }),
        (first, None) => Ok(first),
    }
}

/// A name that a recipe can have, nearest to one that makepkg takes.
fn plain_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-._".contains(c);
    let plain: String = name.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let begun = plain.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if begun.is_empty() { "package".to_owned() } else { begun.to_owned() }
}

/// A version that a recipe can have, nearest to one that makepkg takes. What makepkg refuses is left as it is.
fn plain_version(version: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".+_~^:/-".contains(c) || c.is_whitespace();
    let plain: String = version.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if plain.starts_with(|c: char| ".+_~^".contains(c)) { format!("0{plain}") } else { plain }
}

/// Writes `[package]` and returns the version's text. A PKGBUILD is read leniently: what makepkg takes and a recipe does not is written
/// otherwise, with a finding.
fn package(
    out: &mut Writer,
    srcinfo: &Srcinfo<'_>,
    entries: &[Entry<'_>],
    lenient: bool,
    findings: &mut Findings,
) -> Result<String, SrcinfoError> {
    let named = if let [package] = &srcinfo.packages[..] { package } else { &srcinfo.base };
    let written = if lenient { plain_name(named.name) } else { named.name.to_lowercase() };
    let name: Name = written.parse().map_err(|source| SrcinfoError::Name { line: named.line, source })?;
    if name.as_str() != named.name {
        findings.add(named.line, format!("the name {} is written {name}", named.name));
    }
    let version = single(entries, "pkgver")?.ok_or(SrcinfoError::Missing { key: "pkgver" })?;
    let release = single(entries, "pkgrel")?.ok_or(SrcinfoError::Missing { key: "pkgrel" })?;
    let epoch = single(entries, "epoch")?;
    let written = if lenient { plain_version(version.value) } else { version.value.to_owned() };
    if written != version.value {
        findings.add(version.line, format!("the version {} is written {written}", version.value));
    }
    let whole = format!("{}:{written}-{}", epoch.map_or("0", |epoch| epoch.value), release.value);
    let whole: Version = whole.parse().map_err(|source| SrcinfoError::Version { line: version.line, source })?;
    note_order(&version, findings);
    out.section("[package]");
    out.text("name", name.as_str());
    out.text("version", &whole.version);
    out.text("release", &whole.release);
    if whole.epoch > 0 {
        out.raw("epoch", &whole.epoch.to_string());
    }
    let arches: Vec<String> = values(entries, "arch").map(|entry| entry.value.to_owned()).collect();
    out.list("arch", &arches);
    let groups: Vec<String> = values(entries, "groups").map(|entry| entry.value.to_owned()).collect();
    out.list("groups", &groups);
    for (key, ours) in [("pkgdesc", "summary"), ("url", "homepage")] {
        if let Some(entry) = single(entries, key)? {
            out.text(ours, entry.value);
        }
    }
    license(out, entries, findings);
    Ok(whole.version)
}

/// Notes a version that pacman takes for a pre-release and we do not.
fn note_order(version: &Entry<'_>, findings: &mut Findings) {
    let text = version.value;
    let bytes = text.as_bytes();
    let border = |at: &usize| bytes[at - 1].is_ascii_digit() && bytes[*at].is_ascii_alphabetic();
    let Some(at) = (1..bytes.len()).find(border) else {
        return;
    };
    let (stem, rest) = text.split_at(at);
    let older_there = vercmp::compare(text, stem) == Ordering::Less;
    if older_there && recipes::compare_versions(text, stem) == Ordering::Greater {
        let what = format!(
            "for pacman {text} is older than {stem}, for Conary it is newer: write {stem}~{rest} if it is a pre-release"
        );
        findings.add(version.line, what);
    }
}

/// Writes the licences; one that is not SPDX gets a name of its own.
fn license(out: &mut Writer, entries: &[Entry<'_>], findings: &mut Findings) {
    let expressions: Vec<String> = values(entries, "license").map(|entry| expression(entry, findings)).collect();
    let several = expressions.len() > 1;
    let expression: Vec<String> = expressions
        .into_iter()
        .map(|expression| if several && expression.contains(" OR ") { format!("({expression})") } else { expression })
        .collect();
    let expression = expression.join(" AND ");
    if recipes::is_license(&expression) {
        out.text("license", &expression);
    }
}

/// A licence as SPDX writes it.
fn expression(entry: &Entry<'_>, findings: &mut Findings) -> String {
    if recipes::is_license(entry.value) {
        return entry.value.to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = entry.value.chars().map(plain).collect();
    let reference = format!("LicenseRef-{}", name.trim_matches('-'));
    let what = format!("the licence `{}` is no SPDX expression: it is written as {reference}", entry.value);
    findings.add(entry.line, what);
    reference
}

/// Notes what has no place in a recipe.
fn left_out(srcinfo: &Srcinfo<'_>, has_steps: bool, findings: &mut Findings) {
    if !has_steps {
        findings.add(
            srcinfo.base.line,
            "the steps are missing: write them into [build], from the functions of the PKGBUILD".to_owned(),
        );
    }
    let mut entries = srcinfo.base_entries().to_vec();
    for package in &srcinfo.packages {
        entries.extend(package.entries().iter().filter(|entry| !entry.value.is_empty()));
    }
    for entry in entries {
        let why = match entry.key {
            "changelog" => "a recipe has no changelog",
            "xdata" => "it is for other programs",
            "pkgver" | "pkgrel" | "epoch" | "arch" | "groups" | "options" | "pkgdesc" | "url" | "license"
            | "source" | "noextract" | "validpgpkeys" | "depends" | "makedepends" | "checkdepends" | "optdepends"
            | "provides" | "conflicts" | "replaces" | "md5sums" | "sha1sums" | "sha224sums" | "sha256sums"
            | "sha384sums" | "sha512sums" | "b2sums" | "cksums" | "backup" | "install" => {
                continue;
            }
            _ => "nothing is known of it",
        };
        findings.add(entry.line, format!("`{} = {}` is left out: {why}", entry.key, entry.value));
    }
}

/// Why a text is not converted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SrcinfoError {
    /// More than a `.SRCINFO` can be.
    #[error("the .SRCINFO has more than {limit_bytes} bytes")]
    Large {
        /// The largest that is read.
        limit_bytes: usize,
    },
    /// Something other than `key = value`.
    #[error("line {line} of the .SRCINFO is not `key = value`")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// A control character.
    #[error("line {line} of the .SRCINFO contains a control character")]
    Control {
        /// The line, from 1.
        line: usize,
    },
    /// A key before `pkgbase`.
    #[error("line {line} of the .SRCINFO stands before `pkgbase`")]
    NoBase {
        /// The line, from 1.
        line: usize,
    },
    /// A key that must be there.
    #[error("the .SRCINFO has no `{key}`")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key that can have one value only.
    #[error("line {line} of the .SRCINFO gives `{key}` a second time")]
    Twice {
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// A name that no package of ours can have.
    #[error("line {line} of the .SRCINFO names the package")]
    Name {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: NameError,
    },
    /// A version that no package of ours can have.
    #[error("line {line} of the .SRCINFO gives the version")]
    Version {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: VersionError,
    },
    /// Lists that should be of one length.
    #[error("line {line} of the .SRCINFO begins {sums} `{key}` for {sources} sources")]
    Sums {
        /// The line of the first, from 1.
        line: usize,
        /// The key of the checksums.
        key: String,
        /// How many checksums there are.
        sums: usize,
        /// How many sources there are.
        sources: usize,
    },
}

impl SrcinfoError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            SrcinfoError::Name { source, .. } => source.hint(),
            SrcinfoError::Version { source, .. } => source.hint(),
            SrcinfoError::Large { .. } => None,
            _ => Some("write it anew with `makepkg --printsrcinfo > .SRCINFO`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use recipes::{Phase, Recipe, Source};

    use super::*;

    fn converted(text: &str) -> Conversion {
        convert(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn parsed(conversion: &Conversion) -> Recipe {
        recipes::parse(&conversion.recipe, "recipe.toml").unwrap_or_else(|diagnostics| {
            let shown: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("{}\n{}", conversion.recipe, shown.join("\n"))
        })
    }

    /// The lines with findings, and what the first of each line says.
    fn said(conversion: &Conversion) -> Vec<(usize, &str)> {
        conversion.findings.iter().map(|finding| (finding.line, finding.what.as_str())).collect()
    }

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A whole package with one archive.
    const HELLO: &str = "\
pkgbase = hello
\tpkgdesc = Prints \"Hello, world!\"
\tpkgver = 2.12.1
\tpkgrel = 3
\tepoch = 1
\turl = https://www.gnu.org/software/hello/
\tarch = x86_64
\tarch = aarch64
\tlicense = GPL-3.0-or-later
\tlicense = GFDL-1.3-or-later
\tmakedepends = help2man
\tdepends = glibc>=2.38
\tdepends = libz.so=1-64
\tprovides = greeter=2.12
\tprovides = libhello.so=1-64
\tconflicts = hello-git
\tsource = https://ftp.gnu.org/gnu/hello/hello-2.12.1.tar.gz
\tsha256sums = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

pkgname = hello
";

    #[test]
    fn a_package_becomes_a_recipe_that_loads() {
        let conversion = converted(HELLO);
        let recipe = parsed(&conversion);
        assert_eq!((recipe.name().as_str(), recipe.version().to_string().as_str()), ("hello", "1:2.12.1-3"));
        assert_eq!(recipe.package.arch, ["aarch64", "x86_64"]);
        assert_eq!(recipe.package.summary.as_deref(), Some("Prints \"Hello, world!\""));
        assert_eq!(recipe.package.license.as_deref(), Some("GPL-3.0-or-later AND GFDL-1.3-or-later"));
        assert_eq!(recipe.source.file_name(), Some("hello-%(version)s.tar.gz"));
        let requires: Vec<String> = recipe.build.requires.iter().map(ToString::to_string).collect();
        assert_eq!(requires, ["glibc >= 2.38", "soname(libz.so.1)"]);
        assert_eq!(recipe.build.makedepends[0].to_string(), "help2man");
        assert_eq!(recipe.runtime.provides.len(), 1);
        assert_eq!(recipe.runtime.provides[0].to_string(), "greeter = 2.12");
        assert!(!recipe.build.steps.contains_key(&Phase::Install));
        assert!(conversion.recipe.contains("package() is `install`"));
        assert_eq!(said(&conversion).len(), 1, "{:?}", conversion.findings);
        assert_eq!(conversion.findings[0].line, 1);
        assert!(conversion.findings[0].what.starts_with("the steps are missing"));
    }

    #[test]
    fn what_a_recipe_cannot_say_is_found() {
        let text = "pkgbase = X-Tool\n\tpkgver = 1.0rc1\n\tpkgrel = 1\n\tarch = any\n\tlicense = GPL\n\tlicense = MIT\n\tgroups = base\n\
                    \tdepends = libass.so\n\tdepends = Foo\n\tdepends_x86_64 = bar\n\tdepends = a b\n\tcheckdepends = python\n\
                    \toptdepends = man: to read\n\toptions = !lto\n\tinstall = x.install\n\tbackup = etc/x.conf\n\
                    \tchangelog = ChangeLog\n\tfrobnicate = yes\n\npkgname = X-Tool\n";
        let conversion = converted(text);
        let recipe = parsed(&conversion);
        assert_eq!(recipe.name().as_str(), "x-tool");
        let requires: Vec<String> = recipe.build.requires.iter().map(ToString::to_string).collect();
        assert_eq!(requires, ["soname(libass.so)", "foo"]);
        assert_eq!(recipe.config.files, ["/etc/x.conf"]);
        assert_eq!(recipe.build.checkdepends[0].to_string(), "python");
        assert!(conversion.recipe.contains("suggests = [\"man: to read\"]"), "{}", conversion.recipe);
        assert!(conversion.recipe.contains("options = [\"!lto\"]"), "{}", conversion.recipe);
        assert!(conversion.recipe.contains("groups = [\"base\"]"), "{}", conversion.recipe);
        let expected = [
            (1, "the steps are missing"),
            (2, "for pacman 1.0rc1 is older than 1.0"),
            (5, "the licence `GPL` is no SPDX"),
            (10, "bar is left out: it is for x86_64 only"),
            (11, "a b is left out"),
            (15, "`install = x.install` is left out"),
            (17, "`changelog = ChangeLog` is left out"),
            (18, "`frobnicate = yes` is left out"),
            (20, "the name X-Tool is written x-tool"),
        ];
        let said = said(&conversion);
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for ((line, what), (expected_line, start)) in said.iter().zip(expected) {
            assert!(*line == expected_line && what.starts_with(start), "{line}: {what}");
        }
        assert_eq!(recipe.package.license.as_deref(), Some("LicenseRef-GPL AND MIT"));
    }

    fn with_sources(lines: &str) -> Conversion {
        converted(&format!(
            "pkgbase = x\npkgver = 1.0\npkgrel = 1\narch = x86_64\n{}\npkgname = x\n",
            lines.replace("SHA256", SHA256)
        ))
    }

    #[test]
    fn sources_without_a_pin_keep_the_recipe_from_loading() {
        let cases = [
            (
                "source = https://e.example/x.tar.gz\nmd5sums = d41d8cd98f00b204e9800998ecf8427e",
                "only checksums that prove nothing",
            ),
            ("source = https://e.example/x.tar.gz\nsha256sums = SKIP", "has no checksum"),
            ("source = https://e.example/x.tar.gz", "has no checksum"),
            ("source = x.service\nsha256sums = SKIP", "has no checksum"),
            ("source = git+https://e.example/x.git", "is not pinned"),
            ("source = x::git+https://e.example/x.git#branch=main\nsha256sums = SKIP", "is not pinned"),
            ("source = git+https://e.example/x.git?signed#tag=v1.0?signed\nsha256sums = SKIP", "is not pinned"),
        ];
        for (lines, what) in cases {
            let conversion = with_sources(lines);
            assert_eq!(recipes::parse(&conversion.recipe, "r").unwrap_err().len(), 1, "{}", conversion.recipe);
            let about: Vec<_> = conversion.findings.iter().filter(|finding| finding.line == 5).collect();
            assert!(about.iter().any(|finding| finding.what.contains(what)), "{about:?}");
        }
        let strong = with_sources(
            "source = https://e.example/x.tar.gz\nmd5sums = d41d8cd98f00b204e9800998ecf8427e\nsha256sums = SHA256",
        );
        assert_eq!(strong.findings.len(), 1);
        parsed(&strong);
    }

    #[test]
    fn every_kind_of_source_finds_its_place() {
        let conversion = with_sources(
            "source = fix.patch\nsource = x-1.0.tgz::https://e.example/archive/v1.0.tar.gz\nsource = https://e.example/v1.0.tar.gz.sig\n\
             source = x.service\nsource = data.zip::https://e.example/d.bin\nsource = svn+https://e.example/svn\n\
             source = git+https://e.example/lib.git#commit=0123456789abcdef0123456789abcdef01234567\nnoextract = x.service\n\
             validpgpkeys = 0123456789ABCDEF0123456789ABCDEF01234567\n\
             sha256sums = SHA256\nsha256sums = SHA256\nsha256sums = SKIP\nsha256sums = SHA256\nsha256sums = SHA256\nsha256sums = SKIP\nsha256sums = SKIP\n",
        );
        let recipe = parsed(&conversion);
        assert_eq!(recipe.source.file_name(), Some("v%(version)s.tar.gz"));
        let names: Vec<&str> = recipe.additional.iter().map(recipes::Additional::file_name).collect();
        assert_eq!(names, ["fix.patch", "x.service", "d.bin", "lib"]);
        assert_eq!(recipe.additional[2].laid_out_as(), "data.zip");
        assert_eq!(recipe.additional[1].extract, Some(false));
        let lines: BTreeSet<usize> = conversion.findings.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, BTreeSet::from([1, 5, 6, 10, 13]), "{:#?}", conversion.findings);
    }

    #[test]
    fn architectures_have_their_own_sources() {
        let conversion = with_sources(
            "arch = aarch64\nsource_x86_64 = https://e.example/x-amd64.tar.xz\nsha256sums_x86_64 = SHA256\n\
             source_aarch64 = https://e.example/x-arm64.tar.xz\nsource_aarch64 = https://e.example/more.tar.xz\n\
             sha256sums_aarch64 = SHA256\nsha256sums_aarch64 = SHA256\n",
        );
        let recipe = parsed(&conversion);
        assert_eq!(recipe.source, Source::None);
        assert_eq!(recipe.source_for("aarch64").file_name(), Some("x-arm64.tar.xz"));
        assert_eq!(recipe.source_for("x86_64").file_name(), Some("x-amd64.tar.xz"));
        assert_eq!(recipe.additional[0].arch.as_deref(), Some("aarch64"));
    }

    #[test]
    fn a_package_overrides_its_base_and_several_are_found() {
        let one = "pkgbase = x-base\npkgver = 1\npkgrel = 1\narch = any\ndepends = a\ndepends = b\nprovides = c\n\npkgname = x\ndepends = d\nprovides =\n";
        let recipe = parsed(&converted(one));
        assert_eq!(recipe.name().as_str(), "x");
        assert_eq!(recipe.build.requires.len(), 1);
        assert!(recipe.runtime.provides.is_empty());
        let two = converted(&format!("{one}\npkgname = y\ndepends = e\n"));
        assert_eq!(parsed(&two).name().as_str(), "x-base");
        assert_eq!(two.recipe.matches("[[outputs]]").count(), 2);
    }

    #[test]
    fn what_is_no_srcinfo_is_refused_with_its_line() {
        let base = "pkgbase = x\npkgver = 1\npkgrel = 1\n";
        let cases = [
            (String::new(), "has no `pkgbase`"),
            ("pkgname = x\n".to_owned(), "line 1 of the .SRCINFO stands before"),
            (base.to_owned(), "has no `pkgname`"),
            ("pkgbase = x\npkgname = x\n".to_owned(), "has no `pkgver`"),
            ("# c\n\npkgbase = x\nnonsense\n".to_owned(), "line 4 of the .SRCINFO is not `key = value`"),
            ("pkgbase = x\na b = c\n".to_owned(), "line 2 of the .SRCINFO is not"),
            ("pkgbase = x\npkgdesc = a\u{1b}[31m\n".to_owned(), "line 2 of the .SRCINFO contains a control"),
            (format!("{base}pkgver = 2\npkgname = x\n"), "line 4 of the .SRCINFO gives `pkgver` a second time"),
            (format!("{base}pkgbase = y\n"), "line 4 of the .SRCINFO gives `pkgbase` a second"),
            (format!("{base}pkgname = @x\n"), "line 4 of the .SRCINFO names the package"),
            (
                "pkgbase = x\npkgver = a:b\npkgrel = 1\npkgname = x\n".to_owned(),
                "line 2 of the .SRCINFO gives the version",
            ),
            (
                format!("{base}source = a\nsource = b\nsha256sums = SKIP\npkgname = x\n"),
                "line 6 of the .SRCINFO begins 1 `sha256sums` for 2",
            ),
            ("#".repeat((1 << 20) + 1), "more than 1048576 bytes"),
        ];
        for (text, part) in cases {
            let error = convert(&text).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(convert(&format!("{base}pkgname = @x\n")).unwrap_err().hint().unwrap().contains("lower-case"));
    }

    #[test]
    fn hostile_texts_end_quickly() {
        let base = "pkgbase = x\npkgver = 1.0\npkgrel = 1\narch = any\n";
        let many = |line: &dyn Fn(usize) -> String| (0..40_000).map(line).collect::<String>();
        let bombs = [
            many(&|at| format!("depends = a{at}\n")),
            many(&|at| format!("source = https://e.example/{at}\n")),
            many(&|at| format!("source = a{at}.sig\n")),
            many(&|at| format!("k{at} = \n")),
            format!("source = https://e.example/{}\n", "1.0".repeat(300_000)),
            format!("pkgdesc = {}\n", "%(".repeat(500_000)),
        ];
        for bomb in bombs {
            let start = Instant::now();
            let text = format!(
                "{base}{bomb}pkgname = x\n{}",
                &bomb[..bomb.len().min(1000)].rsplit_once('\n').map_or("", |(whole, _)| whole)
            );
            if let Err(error) = convert(&text) {
                assert!(matches!(error, SrcinfoError::Large { .. }), "{error}");
            }
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            lines in proptest::collection::vec(
                "(pkgname|pkgver|pkgrel|epoch|arch|license|depends|source|source_x|sha256sums|provides|pkgdesc|noextract) = \\PC{0,30}",
                0..12,
            )
        ) {
            let text = format!("pkgbase = x\npkgver = 1.0\npkgrel = 1\n{}\npkgname = x\n", lines.join("\n"));
            if let Ok(conversion) = convert(&text) {
                proptest::prop_assert!(!conversion.findings.is_empty());
            }
        }
    }

    #[test]
    fn what_makepkg_prints_is_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("PKGBUILD"),
            "pkgname=greeter\npkgver=1.2\npkgrel=1\npkgdesc=\"A 'greeter' = \\\"good\\\"\"\narch=(x86_64)\nlicense=(MIT)\n\
             depends=('glibc>=2.3' sh)\nmakedepends=(make)\nsource=(\"https://e.example/greeter-$pkgver.tar.gz\" \"greeter.conf\")\n\
             sha256sums=('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' 'SKIP')\npackage() { :; }\n",
        )
        .unwrap();
        let mut makepkg = Command::new("makepkg");
        makepkg.arg("--printsrcinfo").current_dir(directory.path()).env("HOME", directory.path());
        if std::fs::metadata(directory.path()).unwrap().uid() == 0 {
            // It refuses to run as root.
            const NOBODY: u32 = 65534;
            std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            makepkg.uid(NOBODY).gid(NOBODY);
        }
        let Ok(output) = makepkg.output() else {
            println!("skipped: no makepkg");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let conversion = converted(&String::from_utf8(output.stdout).unwrap());
        assert!(
            conversion.recipe.contains("archive = \"https://e.example/greeter-%(version)s.tar.gz\""),
            "{}",
            conversion.recipe
        );
        assert!(conversion.recipe.contains("summary = \"A 'greeter' = \\\"good\\\"\""), "{}", conversion.recipe);
        let pinned = conversion.recipe.replace("checksum = \"SKIP\"", &format!("checksum = \"sha256:{SHA256}\""));
        parsed(&Conversion { recipe: pinned, findings: Vec::new(), files: Vec::new() });
    }
}
