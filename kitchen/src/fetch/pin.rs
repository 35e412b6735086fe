// kitchen/src/fetch/pin.rs
//! `source pin`: fetches what has no checksum and writes its SHA-256 into the recipe; looks up the commits of branches and tags.
//!
//! A `checksum` that is missing is added, and one that proves nothing is replaced: MD5, SHA-1, zeros, `SKIP` and the like. What
//! MD5, SHA-1 and `cksum` say must hold for the bytes that came. A `commit` that is missing, or names a reference (`refs/tags/v1`, `refs/heads/main`,
//! `HEAD`), becomes the commit that it is now. The rest of the text, comments and all, stays as it was. A person is shown where
//! the bytes came from, because the first fetch trusts the place alone.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use recipes::{AdditionalFrom, Algorithm, Diagnostic, Digest, DigestError, Facts, GitProof, Recipe, Source};
use store::Store;
use toml_edit::{DocumentMut, Item, TableLike, value};

use super::error::FetchError;
use super::file::Wanted;
use super::git::Commit;
use super::weak::Weak;
use super::{Event, Fetching, Options};
use crate::shown::shown;

/// What pinning made of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The recipe's new text.
    pub text: String,
    /// What was pinned, in the recipe's order. Empty when nothing was missing.
    pub sources: Vec<PinnedSource>,
}

/// A source that was pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedSource {
    /// Its section, like `source` or `source.additional 2`.
    pub section: String,
    /// What the recipe names.
    pub url: String,
    /// Where the bytes came from, behind all redirects.
    pub origin: String,
    /// How many they are; nothing for a repository.
    pub size_bytes: Option<u64>,
    /// Their SHA-256, or the commit.
    pub pin: String,
}

/// Why a recipe was not pinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// It is wrong in another way.
    #[error("the recipe has errors{}", lines(.0))]
    Recipe(Vec<Diagnostic>),
    /// A source cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().fold(String::new(), |text, diagnostic| text + "\n" + &diagnostic.to_string())
}

impl PinError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(_) => None,
            Self::Fetch(error) => error.hint(),
        }
    }
}

/// A section without a pin.
struct Unpinned {
    /// The keys that lead to it; a number for one of a list.
    path: Vec<Step>,
    what: What,
}

/// What a section lacks.
enum What {
    /// The checksum of a file; these hold for it and prove nothing.
    Checksum { weak: Vec<Weak> },
    /// The commit that a reference of a repository names.
    Commit { reference: String },
    /// The checksum of a repository's archive; these hold for it and prove nothing.
    Archive { weak: Vec<Weak> },
}

#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

/// Fetches every file of a recipe that has no checksum and returns the recipe with their SHA-256.
///
/// `text` is that of the recipe at `file_name`, whose relative paths start at `directory`. Nothing is written but the store.
///
/// # Errors
/// [`PinError::Recipe`] when the recipe has other errors than missing checksums; [`PinError::Fetch`].
///
/// # Panics
/// Never: the digest that stands in for the unknown ones has the length of its algorithm.
#[allow(clippy::too_many_arguments)] // A recipe's text and everything that fetching takes.
pub fn pin(
    text: &str,
    file_name: &str,
    directory: &Path,
    facts: &Facts,
    store: &Store,
    options: &Options,
    cancel: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<Pinned, PinError> {
    let Ok(mut document) = text.parse::<DocumentMut>() else {
        // The recipe's own reader says it better, and where.
        return Err(PinError::Recipe(recipes::parse(text, file_name).err().unwrap_or_default()));
    };
    let unpinned = find_unpinned(&document);
    // So that the recipe can be read before its files are fetched.
    let stand_in = Digest::new(Algorithm::Sha256, &[0x5a; 32]).expect("because a SHA-256 has 32 bytes");
    for place in &unpinned {
        match place.what {
            What::Checksum { .. } | What::Archive { .. } => {
                set(&mut document, &place.path, "checksum", &stand_in.to_string(), None);
            }
            What::Commit { .. } => set(&mut document, &place.path, "commit", &"5a".repeat(20), None),
        }
    }
    let recipe = recipes::parse(&document.to_string(), file_name).and_then(|recipe| recipe.expand(facts));
    let recipe = recipe.map_err(|diagnostics| {
        // Spans are those of the text without our stand-ins where it has the same errors.
        let original = recipes::parse(text, file_name).err().unwrap_or_default();
        let real = original.into_iter().filter(|found| diagnostics.iter().any(|other| other.message == found.message));
        let real: Vec<Diagnostic> = real.collect();
        PinError::Recipe(if real.is_empty() { diagnostics } else { real })
    })?;
    let fetching = Fetching::new(store, directory, options, cancel, events)?;
    let mut sources = Vec::new();
    for place in &unpinned {
        let section = section(&place.path);
        match &place.what {
            What::Checksum { weak } => {
                let Some((url, name, mirrors)) = wanted(&recipe, &place.path) else { continue };
                let obtained = fetching
                    .unclaimed(&Wanted { url: &url, file_name: &name, checksums: &[], mirrors: &mirrors }, weak)?;
                let pin = obtained.digests[&Algorithm::Sha256].to_string();
                set(&mut document, &place.path, "checksum", &pin, None);
                let size_bytes = Some(obtained.size_bytes);
                sources.push(PinnedSource { section, url, origin: obtained.origin, size_bytes, pin });
            }
            What::Archive { weak } => {
                let Some(url) = repository(&recipe, &place.path) else { continue };
                let commit = text_at(&document, &place.path, "commit").unwrap_or_default();
                let proof = GitProof::default();
                let wanted =
                    Commit { url: &url, id: &commit, tag: None, submodules: false, mirrors: &[], proof: &proof };
                let pin = fetching.archived(&wanted, weak)?.to_string();
                set(&mut document, &place.path, "checksum", &pin, None);
                sources.push(PinnedSource {
                    section,
                    origin: format!("archive of {commit}"),
                    url,
                    size_bytes: None,
                    pin,
                });
            }
            What::Commit { reference } => {
                let Some(url) = repository(&recipe, &place.path) else { continue };
                let (pin, place_asked) = fetching.resolve(&url, reference)?;
                set(&mut document, &place.path, "commit", &pin, Some(reference));
                let origin = format!("{reference} of {place_asked}");
                sources.push(PinnedSource { section, url, origin, size_bytes: None, pin });
            }
        }
    }
    Ok(Pinned { text: if sources.is_empty() { text.to_owned() } else { document.to_string() }, sources })
}

impl Fetching<'_> {
    /// Fetches a file of which nothing is known that would prove what it is.
    fn unclaimed(&self, wanted: &Wanted, weak: &[Weak]) -> Result<super::file::Obtained, FetchError> {
        let obtained = self.find_anywhere(wanted)?;
        if !weak.is_empty() {
            let path = || Path::new(wanted.file_name).to_owned();
            let mut file = self.store.open_object(&obtained.object)?;
            let other = Weak::check(weak, &mut file).map_err(|source| FetchError::Read { path: path(), source })?;
            if let Some((expected, actual)) = other {
                let (expected, actual) = (expected.to_string(), actual.to_string());
                return Err(FetchError::Other { file: shown(wanted.file_name.as_bytes()), expected, actual });
            }
        }
        let claims = [obtained.digests[&Algorithm::Sha256]];
        self.remember(&Wanted { checksums: &claims, ..*wanted }, &obtained)?;
        Ok(obtained)
    }
}

/// Finds every section that names a file and no checksum, or a repository and no commit.
fn find_unpinned(document: &DocumentMut) -> Vec<Unpinned> {
    let mut found = Vec::new();
    let mut check = |table: &dyn TableLike, key: &str, path: Vec<Step>, local_is_fine: bool| {
        let Some(location) = table.get(key).and_then(Item::as_str) else { return };
        let is_local = !location.contains("://") && !location.starts_with("file:");
        let checksum = table.get("checksum");
        if says_nothing(checksum) && !(checksum.is_none() && local_is_fine && is_local) {
            found.push(Unpinned { path, what: What::Checksum { weak: weak_of(checksum) } });
        }
    };
    let key = |name: &str| Step::Key(name.to_owned());
    if let Some(source) = document.get("source").and_then(Item::as_table_like) {
        check(source, "archive", vec![key("source")], false);
        if let Some(arches) = source.get("arch").and_then(Item::as_table_like) {
            for (name, item) in arches.iter() {
                if let Some(table) = item.as_table_like() {
                    check(table, "archive", vec![key("source"), key("arch"), key(name)], false);
                }
            }
        }
        for (index, table) in tables(source.get("additional")).into_iter().enumerate() {
            check(table, "url", vec![key("source"), key("additional"), Step::Index(index)], false);
        }
    }
    let patches = document.get("patches").and_then(Item::as_table_like).and_then(|patches| patches.get("files"));
    for (index, table) in tables(patches).into_iter().enumerate() {
        check(table, "file", vec![key("patches"), key("files"), Step::Index(index)], true);
    }
    find_references(document, &mut found);
    found
}

/// Finds every section that names a repository and, for a commit, a reference or nothing.
fn find_references(document: &DocumentMut, found: &mut Vec<Unpinned>) {
    let mut check = |table: &dyn TableLike, path: Vec<Step>| {
        if table.get("git").and_then(Item::as_str).is_none() {
            return;
        }
        let of_tag = || table.get("tag").and_then(Item::as_str).map(|tag| format!("refs/tags/{tag}"));
        let reference = match table.get("commit") {
            None => of_tag().or(Some("HEAD".to_owned())),
            Some(commit) => {
                commit.as_str().filter(|text| text.starts_with("refs/") || *text == "HEAD").map(str::to_owned)
            }
        };
        found.extend(reference.map(|reference| Unpinned { path: path.clone(), what: What::Commit { reference } }));
        // Behind it: the archive is that of the commit.
        let checksum = table.get("checksum");
        if checksum.is_some() && says_nothing(checksum) {
            found.push(Unpinned { path, what: What::Archive { weak: weak_of(checksum) } });
        }
    };
    let key = |name: &str| Step::Key(name.to_owned());
    let Some(source) = document.get("source").and_then(Item::as_table_like) else { return };
    check(source, vec![key("source")]);
    for (name, item) in source.get("arch").and_then(Item::as_table_like).into_iter().flat_map(|arches| arches.iter()) {
        if let Some(table) = item.as_table_like() {
            check(table, vec![key("source"), key("arch"), key(name)]);
        }
    }
    for (index, table) in tables(source.get("additional")).into_iter().enumerate() {
        check(table, vec![key("source"), key("additional"), Step::Index(index)]);
    }
}

/// What a checksum says that proves nothing.
fn weak_of(checksum: Option<&Item>) -> Vec<Weak> {
    let one = checksum.and_then(Item::as_str).into_iter();
    let several = checksum.and_then(Item::as_array).into_iter().flatten().filter_map(|value| value.as_str());
    one.chain(several).filter_map(Weak::parse).collect()
}

/// Whether a checksum is missing or pins nothing. One that is merely malformed is an error for its author.
fn says_nothing(checksum: Option<&Item>) -> bool {
    let Some(checksum) = checksum else { return true };
    let is_nothing = |text: &str| match text.parse::<Digest>() {
        Ok(digest) => digest.as_bytes().iter().all(|byte| *byte == 0),
        Err(DigestError::Weak { .. }) => true,
        Err(_) => matches!(text.to_ascii_lowercase().as_str(), "" | "skip" | "none" | "fixme" | "todo"),
    };
    match checksum.as_array() {
        Some(list) => list.iter().all(|one| one.as_str().is_some_and(is_nothing)),
        None => checksum.as_str().is_some_and(is_nothing),
    }
}

/// The tables of a list, in either way of writing one.
fn tables(item: Option<&Item>) -> Vec<&dyn TableLike> {
    let Some(item) = item else { return Vec::new() };
    if let Some(list) = item.as_array_of_tables() {
        return list.iter().map(|table| table as &dyn TableLike).collect();
    }
    let inline = item.as_array().map(|array| array.iter().filter_map(|value| value.as_inline_table()));
    inline.into_iter().flatten().map(|table| table as &dyn TableLike).collect()
}

/// Sets one key of a section; what stands around a value that is there stays, and `remark` becomes a comment behind it.
fn set(document: &mut DocumentMut, path: &[Step], key: &str, text: &str, remark: Option<&str>) {
    let mut item = document.as_item_mut();
    let mut steps = path.iter().peekable();
    while let Some(step) = steps.next() {
        let Step::Key(name) = step else { return };
        let Some(next) = item.as_table_like_mut().and_then(|table| table.get_mut(name)) else { return };
        item = next;
        if let Some(Step::Index(index)) = steps.peek() {
            let table = if item.is_array_of_tables() {
                item.as_array_of_tables_mut()
                    .and_then(|list| list.get_mut(*index))
                    .map(|table| table as &mut dyn TableLike)
            } else {
                let inline = item
                    .as_array_mut()
                    .and_then(|array| array.get_mut(*index))
                    .and_then(|value| value.as_inline_table_mut());
                inline.map(|table| table as &mut dyn TableLike)
            };
            if let Some(table) = table {
                put(table, key, text, remark);
            }
            return;
        }
    }
    if let Some(table) = item.as_table_like_mut() {
        put(table, key, text, remark);
    }
}

fn put(table: &mut dyn TableLike, key: &str, text: &str, remark: Option<&str>) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let mut decor = old.decor().clone();
            let is_bare =
                decor.suffix().and_then(|suffix| suffix.as_str()).is_none_or(|suffix| suffix.trim().is_empty());
            if let Some(remark) = remark.filter(|_| is_bare) {
                decor.set_suffix(format!(" # {remark}"));
            }
            *old = text.into();
            *old.decor_mut() = decor;
        }
        None => drop(table.insert(key, value(text))),
    }
}

/// The text of a key of a section.
fn text_at(document: &DocumentMut, path: &[Step], key: &str) -> Option<String> {
    let (mut table, mut list): (Option<&dyn TableLike>, Option<&Item>) = (Some(document.as_table()), None);
    for step in path {
        match step {
            Step::Key(name) => {
                list = table?.get(name);
                table = list.and_then(Item::as_table_like);
            }
            Step::Index(index) => table = tables(list).into_iter().nth(*index),
        }
    }
    table?.get(key)?.as_str().map(str::to_owned)
}

/// The repository that a section of the expanded recipe names.
fn repository(recipe: &Recipe, path: &[Step]) -> Option<String> {
    let of = |source: &Source| match source {
        Source::Git { url, .. } => Some(url.clone()),
        _ => None,
    };
    match path {
        [Step::Key(_)] => of(&recipe.source),
        [_, Step::Key(_), Step::Key(arch)] => of(recipe.arch_sources.get(arch)?),
        [_, _, Step::Index(index)] => match &recipe.additional.get(*index)?.from {
            AdditionalFrom::Git { url, .. } => Some(url.clone()),
            AdditionalFrom::Archive { .. } => None,
        },
        _ => None,
    }
}

/// The file that a section of the expanded recipe names.
fn wanted(recipe: &Recipe, path: &[Step]) -> Option<(String, String, Vec<String>)> {
    let of = |source: &Source| match source {
        Source::Archive { url, mirrors, .. } => Some((url.clone(), source.file_name()?.to_owned(), mirrors.clone())),
        _ => None,
    };
    match path {
        [Step::Key(_)] => of(&recipe.source),
        [_, Step::Key(_), Step::Key(arch)] => of(recipe.arch_sources.get(arch)?),
        [Step::Key(section), _, Step::Index(index)] if section == "source" => {
            let additional = recipe.additional.get(*index)?;
            let AdditionalFrom::Archive { url, .. } = &additional.from else { return None };
            Some((url.clone(), additional.file_name().to_owned(), Vec::new()))
        }
        [_, _, Step::Index(index)] => {
            let file = &recipe.patches.get(*index)?.file;
            Some((file.clone(), file.rsplit('/').next().unwrap_or(file).to_owned(), Vec::new()))
        }
        _ => None,
    }
}

fn section(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(name) if text.is_empty() => text.push_str(name),
            Step::Key(name) => text.extend([".", name]),
            Step::Index(index) => text.extend([" ", &(index + 1).to_string()]),
        }
    }
    text
}
