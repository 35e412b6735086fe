// converters/src/srcinfo/sources.rs
//! Sources and what pins them.
//!
//! From a `.SRCINFO` the first archive or repository becomes the main source, everything else a further one. Steps of a PKGBUILD expect
//! makepkg's directory: there every source is a further one, under the name that makepkg gives it. What nothing pins is
//! written so that `conary source pin` finds it, and the recipe does not load before.

use std::collections::{BTreeMap, BTreeSet};

use recipes::{Algorithm, Digest};
use store::Hasher;

use super::origin::{ARCHIVES, Origin, SIGNATURES, ends_with_any, origin};
use super::text::Entry;
use super::writer::{Writer, quoted_url};
use super::{Beyond, Findings, SrcinfoError};

/// Keys of checksums that count, and how ours begin.
const STRONG: [(&str, &str); 5] = [
    ("sha256sums", "sha256"),
    ("sha512sums", "sha512"),
    ("b2sums", "blake2b"),
    ("sha384sums", "sha384"),
    ("sha224sums", "sha224"),
];

/// Keys of checksums that prove nothing, and how `conary source pin` knows them.
const WEAK: [(&str, &str); 3] = [("md5sums", "md5"), ("sha1sums", "sha1"), ("cksums", "cksum")];

/// What to do about bytes that nothing pins.
const PIN: &str = "run `conary source pin` on the recipe, or convert with `--pin`";

/// One source.
struct Item<'t> {
    line: usize,
    arch: Option<&'t str>,
    /// The name under which makepkg saves it, where it says so.
    saved_as: Option<&'t str>,
    origin: Origin<'t>,
    checksums: Vec<String>,
    /// Checksums of kinds that prove nothing.
    weak: Vec<String>,
    /// Where its detached signature is.
    signature: Option<&'t str>,
}

impl<'t> Item<'t> {
    /// Returns the name of the file as its URL ends.
    fn name(&self) -> &'t str {
        self.origin.url().rsplit('/').next().unwrap_or(self.origin.url())
    }

    /// What makepkg calls it.
    fn called(&self) -> &'t str {
        self.saved_as.unwrap_or_else(|| self.origin.called())
    }

    fn is_local(&self) -> bool {
        matches!(self.origin, Origin::File { url } if !url.contains("://"))
    }

    /// Whether it can be the main source.
    fn can_be_main(&self) -> bool {
        match self.origin {
            Origin::Git { .. } => true,
            Origin::File { .. } => !self.is_local() && ends_with_any(self.called(), &ARCHIVES),
            Origin::Foreign { .. } => false,
        }
    }
}

/// What laying out the sources takes beyond the recipe's keys.
#[derive(Debug, Default)]
pub(super) struct Laid {
    /// Files beside the PKGBUILD that the recipe names.
    pub(super) files: Vec<String>,
    /// Shell lines for what makepkg unpacks and the recipe's keys do not.
    pub(super) lines: Vec<String>,
}

/// Writes `[source]` and what belongs to it.
pub(super) fn write(
    out: &mut Writer,
    entries: &[Entry<'_>],
    version: &str,
    beyond: Option<&Beyond<'_>>,
    findings: &mut Findings,
) -> Result<Laid, SrcinfoError> {
    let items = with_signatures(items(entries, beyond.is_some(), findings)?);
    let not_unpacked: BTreeSet<&str> =
        entries.iter().filter(|entry| entry.key == "noextract").map(|entry| entry.value).collect();
    let keys: Vec<&Entry<'_>> = entries.iter().filter(|entry| entry.key == "validpgpkeys").collect();
    let is_signed =
        |item: &Item<'_>| item.signature.is_some() || matches!(item.origin, Origin::Git { signed: true, .. });
    if !items.iter().any(is_signed) {
        for entry in &keys {
            findings.add(entry.line, format!("the key {} is left out: no source has a signature", entry.value));
        }
    }
    let (common, by_arch): (Vec<Item<'_>>, Vec<Item<'_>>) = items.into_iter().partition(|item| item.arch.is_none());
    let mut writer =
        Sources { out, version, findings, not_unpacked, keys, beyond, laid: Laid::default(), named: BTreeSet::new() };
    let Some(beyond) = beyond else {
        let main = common.iter().position(Item::can_be_main);
        if let Some(main) = main {
            writer.main("[source]", &common[main]);
        }
        writer.by_arch(&by_arch, main.is_some());
        let mut further =
            common.iter().enumerate().filter(|(at, _)| Some(*at) != main).map(|(_, item)| item).peekable();
        if main.is_some() && further.peek().is_some() {
            writer.out.line("");
            writer.out.line("# These go into the directory of the main source, where makepkg puts them beside it.");
        }
        further.for_each(|item| writer.additional(item));
        return Ok(writer.laid);
    };
    for item in common.iter().chain(&by_arch) {
        writer.additional(item);
        writer.unpack(item, beyond);
    }
    Ok(writer.laid)
}

/// Reads all sources, each with the checksums at its place in the lists. makepkg prints lists of other lengths and refuses them when it
/// builds; `lenient` does without what is missing.
fn items<'t>(entries: &[Entry<'t>], lenient: bool, findings: &mut Findings) -> Result<Vec<Item<'t>>, SrcinfoError> {
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
        for (key, _) in STRONG.iter().chain(&WEAK) {
            if let Some(first) = sums(key).first().filter(|_| sums(key).len() != sources.len()) {
                if lenient {
                    let (sums, sources) = (sums(key).len(), sources.len());
                    findings
                        .add(first.line, format!("{sums} `{key}` for {sources} sources: makepkg refuses to build it"));
                    continue;
                }
                return Err(SrcinfoError::Sums {
                    line: first.line,
                    key: (*key).to_owned(),
                    sums: sums(key).len(),
                    sources: sources.len(),
                });
            }
        }
        for (at, source) in sources.iter().enumerate() {
            let sum = |key: &'static str| {
                sums(key).get(at).map(|entry| entry.value).filter(|value| !value.eq_ignore_ascii_case("skip"))
            };
            let of = |kinds: &[(&'static str, &'static str)]| -> Vec<String> {
                kinds.iter().filter_map(|(key, algorithm)| Some(format!("{algorithm}:{}", sum(key)?))).collect()
            };
            let (saved_as, origin) = origin(source.value);
            let (checksums, weak) = (of(&STRONG), of(&WEAK));
            items.push(Item { line: source.line, arch: *arch, saved_as, origin, checksums, weak, signature: None });
        }
    }
    items.sort_by_key(|item| item.line);
    Ok(items)
}

/// Gives each detached signature to the source that it is of.
fn with_signatures(items: Vec<Item<'_>>) -> Vec<Item<'_>> {
    let stem = |item: &Item<'_>| -> Option<String> {
        let is_file = matches!(item.origin, Origin::File { .. });
        let name = item.called();
        SIGNATURES.iter().find_map(|end| name.strip_suffix(end)).filter(|_| is_file).map(str::to_owned)
    };
    let (signatures, mut kept): (Vec<Item<'_>>, Vec<Item<'_>>) =
        items.into_iter().partition(|item| stem(item).is_some());
    // By what its URL ends in, and by what makepkg calls it.
    let ends = kept.iter().enumerate().map(|(at, item)| (item.name().to_owned(), at));
    let mut names: BTreeMap<String, usize> = ends.collect();
    names.extend(kept.iter().enumerate().map(|(at, item)| (item.called().to_owned(), at)));
    for signature in signatures {
        let name = stem(&signature).unwrap_or_default();
        // A kernel's signature is made over the bare tar, its archive is compressed: a beginning is enough.
        let begun = || {
            let begin = format!("{name}.");
            names.range(begin.clone()..).next().filter(|(called, _)| called.starts_with(&begin)).map(|(_, at)| at)
        };
        match names.get(&name).or_else(begun) {
            Some(at) => kept[*at].signature = Some(signature.origin.url()),
            None => kept.push(signature),
        }
    }
    kept.sort_by_key(|item| item.line);
    kept
}

/// Writes sources one after another.
struct Sources<'a, 't> {
    out: &'a mut Writer,
    version: &'a str,
    findings: &'a mut Findings,
    not_unpacked: BTreeSet<&'t str>,
    keys: Vec<&'a Entry<'t>>,
    /// What the steps expect is makepkg's directory.
    beyond: Option<&'a Beyond<'a>>,
    laid: Laid,
    /// Keys that a finding has named already.
    named: BTreeSet<&'t str>,
}

impl Sources<'_, '_> {
    /// Writes a main source under its header.
    fn main(&mut self, header: &str, item: &Item<'_>) {
        self.out.section(header);
        self.location("archive", item);
        if self.not_unpacked.contains(item.called()) {
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
                self.additional(item);
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
        if let Some(arch) = item.arch {
            self.out.text("arch", arch);
        }
        if self.not_unpacked.contains(item.called()) {
            self.out.raw("extract", "false");
        } else if self.stays(item) {
            self.out.raw("keep", "true");
        }
        if self.beyond.is_none() && item.is_local() && ends_with_any(item.name(), &[".patch", ".diff"]) {
            let what = format!(
                "{} is laid out as a file: if prepare() applies it, move it to `[[patches.files]]`",
                item.name()
            );
            self.findings.add(item.line, what);
        }
    }

    /// Whether an archive stays as a file beside what it held, as in makepkg: where a function could speak of it.
    fn stays(&self, item: &Item<'_>) -> bool {
        let Some(beyond) = self.beyond else { return false };
        if !matches!(item.origin, Origin::File { .. }) {
            return false;
        }
        let name = item.called();
        let end = name.rfind('.').map_or("", |at| &name[at..]);
        let may_be =
            ends_with_any(name, &ARCHIVES) || [".jar", ".whl", ".xpi", ".apk", ".crate", ".gem", ".crx"].contains(&end);
        may_be && beyond.steps.mention(end)
    }

    /// Unpacks what makepkg unpacks and a recipe does not: single compressed files, and archives of other kinds.
    fn unpack(&mut self, item: &Item<'_>, beyond: &Beyond<'_>) {
        let name = item.called();
        let is_file = matches!(item.origin, Origin::File { .. });
        if !is_file || self.not_unpacked.contains(name) || item.arch.is_some_and(|arch| arch != beyond.carch) {
            return;
        }
        let word = crate::shell::quoted(name);
        let command = match name.rsplit_once('.') {
            _ if ends_with_any(name, &ARCHIVES) => return,
            Some((stem, end)) => {
                let stem = crate::shell::quoted(stem);
                match end {
                    "gz" | "Z" | "z" => format!("gzip -dcf {word} > {stem}"),
                    "bz2" | "bz" => format!("bzip2 -dcf {word} > {stem}"),
                    "xz" | "lzma" => format!("xz -dcf {word} > {stem}"),
                    "zst" | "zstd" => format!("zstd -dcf {word} > {stem}"),
                    "deb" | "ar" => format!("ar x {word}"),
                    "rpm" | "7z" | "iso" | "cpio" | "cab" | "lha" | "lzh" => format!("bsdtar -xf {word}"),
                    _ => return,
                }
            }
            None => return,
        };
        self.laid.lines.push(format!("if [ -f {word} ]; then {command}; fi"));
    }

    /// Writes where a source comes from and what pins it.
    fn location(&mut self, key: &str, item: &Item<'_>) {
        let name = item.name();
        match item.origin {
            Origin::Git { url, .. } => {
                self.out.raw("git", &quoted_url(url, self.version));
                self.commit(item, key == "archive");
            }
            Origin::File { url } | Origin::Foreign { url } => {
                self.out.raw(key, &quoted_url(url, self.version));
                self.checksums(item);
                self.signature(item);
                if item.is_local() {
                    self.laid.files.push(url.to_owned());
                }
            }
        }
        // The steps start in the main source, whatever its name.
        if key != "archive" && item.called() != item.origin.laid_out_as() {
            self.out.raw("name", &quoted_url(item.called(), self.version));
        }
        if key == "archive"
            && let Some(saved_as) = item.saved_as.filter(|saved_as| *saved_as != name && item.is_local())
        {
            self.findings.add(item.line, format!("makepkg calls it {saved_as}, here it is {name}"));
        }
    }

    /// Writes the commit of a repository, or the reference that names one, and what else vouches for it.
    fn commit(&mut self, item: &Item<'_>, is_main: bool) {
        let Origin::Git { url, commit, fragment, signed } = item.origin else { return };
        let tag = fragment.strip_prefix("tag=").filter(|_| commit.is_none());
        self.commit_name(item, url, commit, fragment);
        if let Some(tag) = tag.filter(|_| is_main || signed) {
            self.out.raw("tag", &quoted_url(tag, self.version));
        }
        if commit.is_some() || tag.is_some() {
            self.archive_checksums(item);
        } else if !(item.checksums.is_empty() && item.weak.is_empty()) {
            let what = format!("{} has a checksum, but nothing fixed that it could be of", item.called());
            self.findings.add(item.line, what);
        }
        if signed {
            self.signed(item, url);
        }
    }

    /// Writes what says which commit it is.
    fn commit_name(&mut self, item: &Item<'_>, url: &str, commit: Option<&str>, fragment: &str) {
        if let Some(commit) = commit {
            self.out.text("commit", commit);
            return;
        }
        let reference = match fragment.split_once('=') {
            Some(("tag", tag)) => format!("refs/tags/{tag}"),
            Some(("branch", branch)) => format!("refs/heads/{branch}"),
            Some(("commit", short)) => {
                let what = format!("{short} is not a whole commit: write all of its digits");
                self.findings.add(item.line, what);
                short.to_owned()
            }
            Some(_) => {
                self.findings.add(item.line, format!("`#{fragment}` of {url} is not understood"));
                "HEAD".to_owned()
            }
            None => "HEAD".to_owned(),
        };
        self.out.text("commit", &reference);
        self.out.mark_unpinned();
        if reference.starts_with("refs/") || reference == "HEAD" {
            self.findings.add(item.line, format!("{} is not pinned, {reference} can move: {PIN}", item.called()));
        }
    }

    /// Writes the checksums of the archive that git makes of a commit. Without any, the commit pins it alone.
    fn archive_checksums(&mut self, item: &Item<'_>) {
        if !(item.checksums.is_empty() && item.weak.is_empty()) {
            self.checksums(item);
        }
    }

    /// Writes the keys of which one must have signed the tag or the commit, or says what is missing.
    fn signed(&mut self, item: &Item<'_>, url: &str) {
        let found = self.keys_beside();
        if found.is_empty() {
            let named: Vec<&str> = self.keys.iter().map(|entry| entry.value).collect();
            let of = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
            let what = format!(
                "{url} is to be signed, which is not verified: put the public key{of} into a file beside the recipe, and name it in `keys`"
            );
            self.findings.add(item.line, what);
        } else {
            self.out.list("keys", &found);
            self.laid.files.extend(found);
        }
        self.name_missing_keys();
    }

    /// Writes the checksums of a file, or what `conary source pin` makes one of.
    fn checksums(&mut self, item: &Item<'_>) {
        let name = item.called();
        let (sound, damaged): (Vec<&String>, Vec<&String>) =
            item.checksums.iter().partition(|sum| sum.parse::<Digest>().is_ok());
        for sum in damaged {
            self.findings.add(item.line, format!("{sum} of {name} is no checksum"));
        }
        let sound: Vec<String> = sound.into_iter().cloned().collect();
        match &sound[..] {
            [] if item.weak.is_empty() && self.is_beside(item) => {}
            [] => {
                let from = self.out.next_line();
                match &item.weak[..] {
                    [] => self.out.text("checksum", "SKIP"),
                    [one] => self.out.text("checksum", one),
                    several => self.out.list("checksum", several),
                }
                self.out.mark_unpinned_from(from);
                let why = if item.weak.is_empty() {
                    "no checksum"
                } else {
                    "only checksums that prove nothing (MD5, SHA-1 or CRC)"
                };
                self.findings.add(item.line, format!("{name} has {why}: {PIN}"));
            }
            [one] => self.out.text("checksum", one),
            several => self.out.list("checksum", several),
        }
    }

    /// Writes the checksum of a file that lies beside the PKGBUILD, if it does: what it holds is its own claim.
    fn is_beside(&mut self, item: &Item<'_>) -> bool {
        let Some(bytes) = self.beyond.filter(|_| item.is_local()).and_then(|beyond| (beyond.beside)(item.origin.url()))
        else {
            return false;
        };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&bytes);
        self.out.text("checksum", &hasher.finish().to_string());
        true
    }

    /// Writes a signature and the keys that may have made it, or says what is missing.
    fn signature(&mut self, item: &Item<'_>) {
        let Some(signature) = item.signature else { return };
        let found = self.keys_beside();
        if found.is_empty() {
            let named: Vec<&str> = self.keys.iter().map(|entry| entry.value).collect();
            let of = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
            let what = format!(
                "the signature of {} is not verified: put the public key{of} into a file beside the recipe, and write \
                 `signature = \"{signature}\"` and `keys`",
                item.called()
            );
            self.findings.add(item.line, what);
        } else {
            self.out.raw("signature", &quoted_url(signature, self.version));
            self.out.list("keys", &found);
            if !signature.contains("://") {
                self.laid.files.push(signature.to_owned());
            }
            self.laid.files.extend(found);
        }
        self.name_missing_keys();
    }

    /// The files of `validpgpkeys` that lie beside the PKGBUILD.
    fn keys_beside(&self) -> Vec<String> {
        let files = self.keys.iter().map(|entry| key_file(entry.value));
        files.filter(|file| self.beyond.is_some_and(|beyond| (beyond.beside)(file).is_some())).collect()
    }

    /// Says of each key once that it does not lie there.
    fn name_missing_keys(&mut self) {
        let beside = self.keys_beside();
        for entry in self.keys.clone() {
            if !beside.contains(&key_file(entry.value)) && self.named.insert(entry.value) {
                let what = format!(
                    "the key {} is named only: {} is not beside the PKGBUILD",
                    entry.value,
                    key_file(entry.value)
                );
                self.findings.add(entry.line, what);
            }
        }
    }
}

/// Where the public key of a fingerprint lies.
fn key_file(fingerprint: &str) -> String {
    format!("keys/pgp/{fingerprint}.asc")
}
