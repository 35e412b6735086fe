// kitchen/src/fetch/tests.rs
//! Fetching from real servers on the loopback, which lie, stall, break and redirect.

#![allow(clippy::disallowed_methods, clippy::similar_names, clippy::items_after_statements)] // Tests move files about as they please.

mod files;
mod http;
mod pins;
mod repositories;
mod server;
mod signatures;
mod trees;
mod vouched;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use recipes::Facts;
use store::{Hasher, OpenOptions};

use super::*;

/// A store, a recipe's directory, and what happened.
struct Bench {
    place: tempfile::TempDir,
    store: Store,
    options: Options,
    events: Mutex<Vec<Event>>,
    cancel: AtomicBool,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("recipe")).unwrap();
        let store = Store::open(&place.path().join("store"), &OpenOptions::default()).unwrap();
        let options = Options {
            attempts: 3,
            retry_delay: Duration::from_millis(10),
            connect_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_millis(600),
            max_bytes: 4 << 20,
            max_entries: 2000,
            ..Options::default()
        };
        Self { place, store, options, events: Mutex::default(), cancel: AtomicBool::new(false) }
    }

    fn directory(&self) -> PathBuf {
        self.place.path().join("recipe")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn recipe(source: &str) -> Recipe {
        let text = format!("[package]\nname = \"hello\"\nversion = \"1.0\"\n\n{source}\n");
        let recipe = recipes::parse(&text, "recipe.toml").unwrap_or_else(|errors| panic!("{errors:?}"));
        recipe.expand(&facts()).unwrap()
    }

    /// Whether the main source is known without looking.
    fn knows(&self, source: &str) -> bool {
        let known = Known { store: &self.store, directory: &self.directory() };
        known.main(&Self::recipe(source).source).unwrap().is_some()
    }

    fn fetch(&self, source: &str) -> Result<Vec<Fetched>, FetchError> {
        let recipe = Self::recipe(source);
        let listen = |event| self.events.lock().unwrap().push(event);
        all(&recipe, &self.directory(), "x86_64", &self.store, &self.options, &self.cancel, &listen)
    }

    fn archive(&self, url: &str, checksum: &str) -> Result<Fetched, FetchError> {
        let fetched = self.fetch(&format!("[source]\narchive = \"{url}\"\nchecksum = \"{checksum}\""))?;
        Ok(fetched.into_iter().next().unwrap())
    }

    fn content(&self, fetched: &Fetched) -> Vec<u8> {
        self.store.read(&fetched.content.digest()).unwrap()
    }

    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// The paths, modes and contents of a fetched tree, to be compared with text.
    fn tree(&self, fetched: &Fetched) -> Vec<String> {
        let Content::Tree(id) = fetched.content else { panic!("not a tree") };
        let tree = self.store.tree(&id).unwrap();
        let line = |entry: &store::Entry| {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            match &entry.node {
                store::Node::Directory => format!("{path}/"),
                store::Node::Symlink { target } => format!("{path} -> {}", String::from_utf8_lossy(target)),
                store::Node::File { object, .. } => {
                    format!(
                        "{path} {:o} {}",
                        entry.mode,
                        String::from_utf8_lossy(&self.store.read(object).unwrap()).trim_end()
                    )
                }
                store::Node::Hardlink { .. } => format!("{path} is a hard link"),
            }
        };
        tree.entries().iter().map(line).collect()
    }
}

fn facts() -> Facts {
    Facts {
        jobs: "1".to_owned(),
        arch: "x86_64".to_owned(),
        target: "x86_64-unknown-linux-gnu".to_owned(),
        destdir: "/dest".to_owned(),
        outputs: "/outputs".to_owned(),
    }
}

fn digest(algorithm: recipes::Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish().to_string()
}

fn sha256(bytes: &[u8]) -> String {
    digest(recipes::Algorithm::Sha256, bytes)
}

/// Bytes that do not repeat, so that a piece in the wrong place shows.
fn noise(length: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(b"noise").finalize_xof();
    let mut bytes = vec![0; length];
    reader.fill(&mut bytes);
    bytes
}

/// Whether a program that a test needs is here. A machine without it skips loudly, and may be told not to.
fn has(program: &str, arguments: &[&str]) -> bool {
    let found = Command::new(program).args(arguments).arg0(program).stdin(std::process::Stdio::null()).output().is_ok();
    if !found {
        assert!(std::env::var_os("CONARY_FORBID_SKIPS").is_none(), "{program} is needed by this test");
        eprintln!("skipped: no {program}");
    }
    found
}
