// converters/src/srcinfo/sources.rs
//! Sources and their checksums.
//!
//! The first archive or repository becomes the main source, everything else a further one. What nothing pins is
//! written without its pin, so that the recipe does not load before somebody has looked.

use std::collections::{BTreeMap, BTreeSet};

use recipes::Digest;

use super::text::Entry;
use super::writer::{Writer, quoted_url};
use super::{Findings, SrcinfoError};

/// Keys of checksums that count, and how ours begin.
const STRONG: [(&str, &str); 5] = [
    ("sha256sums", "sha256"),
    ("sha512sums", "sha512"),
    ("b2sums", "blake2b"),
    ("sha384sums", "sha384"),
    ("sha224sums", "sha224"),
];

/// Keys of checksums that prove nothing.
const WEAK: [&str; 3] = ["md5sums", "sha1sums", "cksums"];

/// What to do about bytes that nothing pins.
const PIN: &str = "run `conary source pin` on the recipe";

/// Ends of the names of detached signatures.
const SIGNATURES: [&str; 4] = [".sig", ".asc", ".sign", ".minisig"];

/// Ends of the names of archives.
const ARCHIVES: [&str; 14] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tbz2",
    ".tbz",
    ".tar.xz",
    ".txz",
    ".tar.zst",
    ".tzst",
    ".tar.lz",
    ".tar.lzma",
    ".tar.Z",
    ".zip",
];

/// One source.
struct Item<'t> {
    line: usize,
    arch: Option<&'t str>,
    /// The name under which makepkg saves it, where it says so.
    saved_as: Option<&'t str>,
    origin: Origin<'t>,
    checksums: Vec<String>,
    /// Whether there is a checksum of a kind that proves nothing.
    weak: bool,
}

/// Where a source comes from.
enum Origin<'t> {
    File { url: &'t str },
    Git { url: &'t str, commit: Option<&'t str>, tag: Option<&'t str> },
    Foreign { url: &'t str },
}

impl<'t> Item<'t> {
    /// Returns the name of the file.
    fn name(&self) -> &'t str {
        match &self.origin {
            Origin::File { url } | Origin::Git { url, .. } | Origin::Foreign { url } => {
                url.rsplit('/').next().unwrap_or(url)
            }
        }
    }

    fn is_local(&self) -> bool {
        matches!(self.origin, Origin::File { url } if !url.contains("://"))
    }

    /// Whether it can be the main source.
    fn can_be_main(&self) -> bool {
        match self.origin {
            Origin::Git { .. } => true,
            Origin::File { .. } => !self.is_local() && ends_with_any(self.saved_as.unwrap_or(self.name()), &ARCHIVES),
            Origin::Foreign { .. } => false,
        }
    }
}

/// Writes `[source]` and what belongs to it.
pub(super) fn write(
    out: &mut Writer,
    entries: &[Entry<'_>],
    version: &str,
    beside: bool,
    findings: &mut Findings,
) -> Result<(), SrcinfoError> {
    let items = items(entries)?;
    let items = without_signatures(items, findings);
    let not_unpacked: BTreeSet<&str> =
        entries.iter().filter(|entry| entry.key == "noextract").map(|entry| entry.value).collect();
    for entry in entries.iter().filter(|entry| entry.key == "validpgpkeys") {
        findings.add(
            entry.line,
            format!(
                "the key {} is named only: put it into a file beside the recipe, and write `signature` and `keys`",
                entry.value
            ),
        );
    }
    let (common, by_arch): (Vec<Item<'_>>, Vec<Item<'_>>) = items.into_iter().partition(|item| item.arch.is_none());
    let mut writer = Sources { out, version, findings, not_unpacked, beside };
    // Steps as makepkg has them find every source in one directory, and each archive in its own below it.
    let main = if beside { None } else { common.iter().position(Item::can_be_main) };
    if let Some(main) = main {
        writer.main("[source]", &common[main]);
    }
    writer.by_arch(&by_arch, main.is_some());
    let mut further = common.iter().enumerate().filter(|(at, _)| Some(*at) != main).map(|(_, item)| item).peekable();
    if main.is_some() && further.peek().is_some() {
        writer.out.line("");
        writer.out.line("# These go into the directory of the main source, where makepkg puts them beside it.");
    }
    for item in further {
        writer.additional(item);
    }
    Ok(())
}

/// Reads all sources, each with the checksums at its place in the lists.
fn items<'t>(entries: &[Entry<'t>]) -> Result<Vec<Item<'t>>, SrcinfoError> {
    let mut lists: BTreeMap<(&str, Option<&str>), Vec<&Entry<'t>>> = BTreeMap::new();
    for entry in entries {
        lists.entry((entry.key, entry.arch)).or_default().push(entry);
    }
    let mut items = Vec::new();
    for ((key, arch), sources) in &lists {
        if *key != "source" {
            continue;
        }
        let sums =
            |key: &'static str| -> &[&Entry<'t>] { lists.get(&(key, *arch)).map(Vec::as_slice).unwrap_or_default() };
        for key in STRONG.iter().map(|(key, _)| *key).chain(WEAK) {
            if let Some(first) = sums(key).first().filter(|_| sums(key).len() != sources.len()) {
                return Err(SrcinfoError::Sums {
                    line: first.line,
                    key: key.to_owned(),
                    sums: sums(key).len(),
                    sources: sources.len(),
                });
            }
        }
        for (at, source) in sources.iter().enumerate() {
            let sum = |key: &'static str| {
                sums(key).get(at).map(|entry| entry.value).filter(|value| !value.eq_ignore_ascii_case("skip"))
            };
            let checksums =
                STRONG.iter().filter_map(|(key, algorithm)| Some(format!("{algorithm}:{}", sum(key)?))).collect();
            let (saved_as, origin) = origin(source.value);
            let weak = WEAK.iter().any(|key| sum(key).is_some());
            items.push(Item { line: source.line, arch: *arch, saved_as, origin, checksums, weak });
        }
    }
    items.sort_by_key(|item| item.line);
    Ok(items)
}

/// Reads `[name::][vcs+]url[#fragment][?query]`.
fn origin(value: &str) -> (Option<&str>, Origin<'_>) {
    let (saved_as, url) = match value.split_once("::") {
        Some((name, url)) => (Some(name), url),
        None => (None, value),
    };
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let vcs = scheme.split_once('+').map_or(scheme, |(vcs, _)| vcs);
    match vcs {
        "git" => {
            let url = url.strip_prefix("git+").unwrap_or(url);
            let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
            let (fragment, _) = fragment.split_once('?').unwrap_or((fragment, ""));
            let (url, _) = url.split_once('?').unwrap_or((url, ""));
            let is_commit =
                |text: &&str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let (kind, name) = fragment.split_once('=').unwrap_or(("", ""));
            let commit = Some(name).filter(is_commit);
            let tag = Some(name).filter(|_| kind == "tag" && commit.is_none());
            (saved_as, Origin::Git { url, commit, tag })
        }
        "" | "http" | "https" | "ftp" | "file" => (saved_as, Origin::File { url }),
        _ => (saved_as, Origin::Foreign { url }),
    }
}

/// Takes out the detached signatures of other sources, each with a finding.
fn without_signatures<'t>(items: Vec<Item<'t>>, findings: &mut Findings) -> Vec<Item<'t>> {
    let stem = |item: &Item<'t>| -> Option<&'t str> { SIGNATURES.iter().find_map(|end| item.name().strip_suffix(end)) };
    let signed = items.iter().filter(|item| stem(item).is_none());
    let names: BTreeSet<&str> = signed.map(Item::name).collect();
    // A kernel's signature is made over the bare tar, its archive is compressed: a beginning is enough.
    let of_another = |item: &Item<'t>| -> Option<&'t str> {
        let stem = stem(item)?;
        names.range(stem..).next().copied().filter(|name| name.starts_with(stem))
    };
    let mut kept = Vec::new();
    for item in items {
        match of_another(&item) {
            Some(other) => findings.add(
                item.line,
                format!(
                    "{} is the signature of {other}: write it as `signature`, with the public key in a file as `keys`",
                    item.name()
                ),
            ),
            None => kept.push(item),
        }
    }
    kept
}

/// Writes sources one after another.
struct Sources<'a, 't> {
    out: &'a mut Writer,
    version: &'a str,
    findings: &'a mut Findings,
    not_unpacked: BTreeSet<&'t str>,
    /// Whether the steps expect makepkg's directory.
    beside: bool,
}

impl Sources<'_, '_> {
    /// Writes a main source under its header.
    fn main(&mut self, header: &str, item: &Item<'_>) {
        self.out.section(header);
        self.location("archive", item);
        if self.not_unpacked.contains(item.saved_as.unwrap_or(item.name())) {
            self.findings.add(item.line, format!("{} is unpacked here, though `noextract` names it", item.name()));
        }
    }

    /// Writes the sources for one architecture each.
    fn by_arch(&mut self, items: &[Item<'_>], has_common: bool) {
        let mut done = BTreeSet::new();
        for item in items {
            let arch = item.arch.unwrap_or_default();
            if !has_common && item.can_be_main() && done.insert(arch) {
                self.main(&format!("[source.arch.{arch}]"), item);
            } else {
                let what = format!(
                    "{} is for {arch} only: a recipe has one main source for an architecture, and no further ones",
                    item.name()
                );
                self.findings.add(item.line, what);
            }
        }
    }

    /// Writes a further source.
    fn additional(&mut self, item: &Item<'_>) {
        if let Origin::Foreign { url } = item.origin {
            let what =
                format!("{url} is fetched in a way that recipes do not know: pack a snapshot and write it as `url`");
            self.findings.add(item.line, what);
            return;
        }
        self.out.section("[[source.additional]]");
        self.location("url", item);
        if self.not_unpacked.contains(item.saved_as.unwrap_or(item.name())) {
            self.out.raw("extract", "false");
        }
        if !self.beside && item.is_local() && ends_with_any(item.name(), &[".patch", ".diff"]) {
            let what = format!(
                "{} is laid out as a file: if prepare() applies it, move it to `[[patches.files]]`",
                item.name()
            );
            self.findings.add(item.line, what);
        }
    }

    /// Writes where a source comes from and what pins it.
    fn location(&mut self, key: &str, item: &Item<'_>) {
        let name = item.name();
        match item.origin {
            Origin::Git { url, commit, tag } => {
                self.out.raw("git", &quoted_url(url, self.version));
                match (commit, tag) {
                    (Some(commit), _) => self.out.text("commit", commit),
                    (None, tag) => {
                        self.out.mark_unpinned();
                        let hint = format!("run `git ls-remote {url}` and write the full `commit`");
                        self.findings
                            .add(item.line, format!("{name} is not pinned, branches and tags can move: {hint}"));
                        // Only a main source has room for a tag.
                        if let Some(tag) = tag.filter(|_| key == "archive") {
                            self.out.raw("tag", &quoted_url(tag, self.version));
                        }
                    }
                }
            }
            Origin::File { url } | Origin::Foreign { url } => {
                self.out.raw(key, &quoted_url(url, self.version));
                self.checksums(item);
            }
        }
        // The steps start in the main source, whatever its name.
        if let Some(saved_as) = item.saved_as.filter(|saved_as| *saved_as != name && key != "archive" && !self.beside) {
            let what = format!("makepkg calls it {saved_as}, here it is {name}: steps must use that name");
            self.findings.add(item.line, what);
        }
    }

    /// Writes the checksums of a file, or says that there is none.
    fn checksums(&mut self, item: &Item<'_>) {
        let name = item.name();
        let (sound, damaged): (Vec<&String>, Vec<&String>) =
            item.checksums.iter().partition(|sum| sum.parse::<Digest>().is_ok());
        for sum in damaged {
            self.findings.add(item.line, format!("{sum} of {name} is no checksum"));
        }
        match &sound[..] {
            [] => {
                self.out.mark_unpinned();
                let why =
                    if item.weak { "only checksums that prove nothing (MD5, SHA-1 or CRC)" } else { "no checksum" };
                self.findings.add(item.line, format!("{name} has {why}: {PIN}"));
            }
            [one] => self.out.text("checksum", one),
            several => {
                let several: Vec<String> = several.iter().map(|sum| (*sum).clone()).collect();
                self.out.list("checksum", &several);
            }
        }
    }
}

/// Whether a name ends with one of several ends, with something before it.
fn ends_with_any(name: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| name.len() > end.len() && name.ends_with(end))
}
