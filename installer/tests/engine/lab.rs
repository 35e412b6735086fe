// installer/tests/engine/lab.rs
//! A laboratory: a store with packages made on the spot, and roots to change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use installer::{Changeset, CommitError, Event, Plan, PlanError, PlanOptions, Request, Rollback, Root, RootOptions};
use store::{Component, Entry, MANIFEST_FORMAT, Manifest, Node, OpenOptions, Store, Tree};

pub struct Lab {
    pub top: tempfile::TempDir,
    pub store: Store,
}

/// What a package is made of.
#[derive(Default)]
pub struct Recipe {
    name: String,
    version: String,
    components: BTreeMap<String, Vec<Entry>>,
    contents: Vec<Vec<u8>>,
    pub requires: Vec<&'static str>,
    pub scanned: Vec<&'static str>,
    pub recommends: Vec<&'static str>,
    pub provides: Vec<&'static str>,
    pub conflicts: Vec<&'static str>,
    pub replaces: Vec<&'static str>,
    pub config: store::Config,
    pub hooks: store::Hooks,
    pub scripts: recipes::Scripts,
}

pub fn package(name: &str, version: &str) -> Recipe {
    Recipe { name: name.to_owned(), version: version.to_owned(), ..Recipe::default() }
}

impl Recipe {
    pub fn entry(mut self, component: &str, entry: Entry) -> Self {
        let entries = self.components.entry(component.to_owned()).or_default();
        let mut at = 0;
        while let Some(slash) = entry.path[at..].iter().position(|byte| *byte == b'/') {
            let parent = &entry.path[..at + slash];
            if !entries.iter().any(|entry| entry.path == parent) {
                entries.push(plain(parent, 0o755, Node::Directory));
            }
            at += slash + 1;
        }
        if let Some(other) = entries.iter_mut().find(|other| other.path == entry.path) {
            *other = entry;
        } else {
            entries.push(entry);
        }
        self
    }

    pub fn file(self, path: &str, content: &str) -> Self {
        self.file_in("runtime", path, content, 0o644)
    }

    pub fn file_in(self, component: &str, path: &str, content: &str, mode: u32) -> Self {
        self.bytes_in(component, path, content.as_bytes(), mode)
    }

    pub fn bytes_in(mut self, component: &str, path: &str, content: &[u8], mode: u32) -> Self {
        self.contents.push(content.to_vec());
        let object = recipes::Digest::blake3(*blake3::hash(content).as_bytes());
        let node = Node::File { object, size: content.len() as u64 };
        self.entry(component, plain(path.as_bytes(), mode, node))
    }

    /// A file of this machine at the same place.
    pub fn host_file(mut self, path: &Path) -> Self {
        let content = fs::read(path).unwrap();
        let object = recipes::Digest::blake3(*blake3::hash(&content).as_bytes());
        let node = Node::File { object, size: content.len() as u64 };
        self.contents.push(content);
        let name = path.strip_prefix("/").unwrap().as_os_str().as_bytes().to_vec();
        self.entry("runtime", plain(&name, 0o755, node))
    }

    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry("runtime", plain(path.as_bytes(), mode, Node::Directory))
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        let node = Node::Symlink { target: target.as_bytes().to_vec() };
        self.entry("runtime", plain(path.as_bytes(), 0o777, node))
    }

    pub fn hardlink(self, path: &str, first: &str) -> Self {
        let mode = self.components["runtime"].iter().find(|entry| entry.path == first.as_bytes());
        let mut entry = mode.unwrap().clone();
        entry.path = path.as_bytes().to_vec();
        entry.node = Node::Hardlink { first: first.as_bytes().to_vec() };
        self.entry("runtime", entry)
    }

    pub fn requiring(mut self, requirements: &[&'static str]) -> Self {
        self.requires = requirements.to_vec();
        self
    }

    /// Calls files configuration: those whose edits are kept, and those that only begin as packaged.
    pub fn configure(mut self, files: &[&str], noreplace: &[&str]) -> Self {
        self.config = store::Config { files: texts(files), noreplace: texts(noreplace) };
        self
    }

    /// Changes the entry of a path.
    pub fn with(mut self, path: &str, change: impl Fn(&mut Entry)) -> Self {
        for entry in self.components.values_mut().flatten() {
            if entry.path == path.as_bytes() {
                change(entry);
            }
        }
        self
    }
}

fn plain(path: &[u8], mode: u32, node: Node) -> Entry {
    Entry {
        path: path.to_vec(),
        mode,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        xattrs: BTreeMap::new(),
        node,
    }
}

impl Lab {
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    pub fn at(top: tempfile::TempDir) -> Self {
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let store = Store::open(&top.path().join("store"), &OpenOptions::default()).unwrap();
        fs::create_dir(top.path().join("root")).unwrap();
        Self { top, store }
    }

    pub fn root(&self) -> PathBuf {
        self.top.path().join("root")
    }

    /// Makes a package: in the laboratory's store, and as a file, whose path is returned.
    pub fn cook(&self, recipe: &Recipe) -> PathBuf {
        let batch = self.store.batch().unwrap();
        for content in &recipe.contents {
            batch.add_bytes(content, 0o644).unwrap();
        }
        let mut components = BTreeMap::new();
        for (name, entries) in &recipe.components {
            let tree = Tree::new(entries.clone()).unwrap();
            let size_bytes = tree.content().1;
            let files = entries.iter().filter(|entry| entry.node != Node::Directory).count() as u64;
            let component = Component {
                tree: batch.add_tree(&tree).unwrap(),
                files,
                size_bytes,
                provides: Vec::new(),
                requires: texts(if name == "runtime" { &recipe.scanned } else { &[] }),
            };
            components.insert(name.clone(), component);
        }
        batch.commit().unwrap();
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            name: recipe.name.parse().unwrap(),
            version: recipe.version.parse().unwrap(),
            arch: "x86_64".to_owned(),
            flavor: String::new(),
            label: None,
            summary: None,
            description: None,
            homepage: None,
            license: None,
            components,
            requires: texts(&recipe.requires),
            recommends: texts(&recipe.recommends),
            provides: texts(&recipe.provides),
            conflicts: texts(&recipe.conflicts),
            replaces: texts(&recipe.replaces),
            config: recipe.config.clone(),
            groups: vec![],
            suggests: vec![],
            scripts: recipe.scripts.clone(),
            hooks: recipe.hooks.clone(),
        };
        self.store.put_trove(&manifest).unwrap();
        let path = self.top.path().join(manifest.file_name());
        let mut file = fs::File::create(&path).unwrap();
        let write_options = store::ccs::WriteOptions::default();
        let cancel = AtomicBool::new(false);
        store::ccs::write(&self.store, None, &manifest, &mut file, &write_options, &cancel).unwrap();
        path
    }

    /// Plans and commits in the laboratory's root; returns the changeset and what was told.
    pub fn run(&self, requests: &[Request]) -> Result<(Changeset, Vec<Event>), Failure> {
        self.run_with(requests, PlanOptions::default())
    }

    pub fn run_with(&self, requests: &[Request], options: PlanOptions) -> Result<(Changeset, Vec<Event>), Failure> {
        change(&self.root(), requests, &[&self.store], options)
    }

    pub fn install(&self, package: &Path) -> (Changeset, Vec<Event>) {
        self.run(&[Request::Install { package: package.to_owned() }]).unwrap()
    }

    pub fn remove(&self, names: &[&str]) -> (Changeset, Vec<Event>) {
        let requests: Vec<_> = names.iter().map(|name| remove(name)).collect();
        self.run(&requests).unwrap()
    }

    pub fn roll_back(&self, rollback: Rollback) -> (Changeset, Vec<Event>) {
        self.run(&[Request::Rollback(rollback)]).unwrap()
    }

    pub fn open(&self) -> Root {
        open(&self.root()).unwrap()
    }

    pub fn plan(&self, requests: &[Request]) -> Result<Plan, PlanError> {
        self.open().plan(requests, &[&self.store], &PlanOptions::default())
    }

    pub fn names(&self) -> Vec<String> {
        let root = Root::open(&self.root(), &options(false)).unwrap();
        root.list().unwrap().iter().map(|trove| trove.manifest.spec().to_string()).collect()
    }

    /// Asserts that everything installed is as it was installed.
    pub fn assert_verified(&self) {
        let root = Root::open(&self.root(), &options(false)).unwrap();
        let verified = root.verify(&[], &AtomicBool::new(false), &|_, _| {}).unwrap();
        assert_eq!(verified.findings, []);
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As an editor does: another inode.
        let _ = fs::remove_file(&path);
        fs::write(path, content).unwrap();
    }

    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root().join(path)).is_ok()
    }

    pub fn listing(&self) -> Vec<String> {
        listing(&self.root())
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[derive(Debug)]
pub enum Failure {
    Open(installer::RootError),
    Plan(PlanError),
    Commit(CommitError),
}

impl Failure {
    pub fn conflict(&self) -> String {
        match self {
            Failure::Plan(error) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    pub fn kind(&self) -> installer::ErrorKind {
        match self {
            Failure::Open(error) => error.kind(),
            Failure::Plan(error) => error.kind(),
            Failure::Commit(error) => error.kind(),
        }
    }
}

pub fn options(write: bool) -> RootOptions {
    RootOptions {
        write,
        create: write,
        store: None,
        uid: rustix::process::geteuid().as_raw(),
        now_unix_secs: 1_000_000,
        actor: "tester".to_owned(),
        command_line: "conary test".to_owned(),
    }
}

/// Opens a root for writing. A child that another test is just starting may hold our lock until it executes its program.
pub fn open(path: &Path) -> Result<Root, installer::RootError> {
    for _ in 0..100 {
        match Root::open(path, &options(true)) {
            Err(installer::RootError::Busy { pid, .. }) if pid == std::process::id() => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            other => return other,
        }
    }
    Root::open(path, &options(true))
}

pub fn change(
    root: &Path,
    requests: &[Request],
    sources: &[&Store],
    plan_options: PlanOptions,
) -> Result<(Changeset, Vec<Event>), Failure> {
    let root = open(root).map_err(Failure::Open)?;
    let mut plan = root.plan(requests, sources, &plan_options).map_err(Failure::Plan)?;
    let events = std::sync::Mutex::new(Vec::new());
    let note = |event| events.lock().unwrap().push(event);
    let changeset = root.commit(&mut plan, sources, &AtomicBool::new(false), &note).map_err(Failure::Commit)?;
    let mut events = events.into_inner().unwrap();
    events.extend(plan.warnings.into_iter().map(Event::Warning));
    Ok((changeset, events))
}

pub fn install(package: &Path) -> Request {
    Request::Install { package: package.to_owned() }
}

pub fn by_name(spec: &str) -> Request {
    Request::InstallName(spec.parse().unwrap())
}

pub fn remove(spec: &str) -> Request {
    Request::Remove(spec.parse().unwrap())
}

/// Lists a root, its state aside: path, kind, mode, owner, target, content; times of files only.
pub fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, root, &mut lines);
    lines.sort();
    lines
}

fn walk(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_owned();
        let found = fs::symlink_metadata(&path).unwrap();
        let kind = found.file_type();
        let what = if kind.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().escape_ascii().to_string()
        } else if kind.is_file() {
            let content = fs::read(&path).unwrap();
            if content.len() > 4096 { blake3::hash(&content).to_string() } else { content.escape_ascii().to_string() }
        } else {
            String::new()
        };
        let (mode, uid, gid) = (found.mode(), found.uid(), found.gid());
        let name_text = name.as_os_str().as_bytes().escape_ascii();
        if name != Path::new("var") && name != Path::new("var/lib") && name != Path::new("var/lib/conary") {
            lines.push(format!("{name_text} {mode:o} {uid} {gid} {what}"));
        }
        if kind.is_dir() && name != Path::new("var/lib/conary") {
            walk(root, &path, lines);
        }
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test is one for the other of the two who run the tests, root or an ordinary user. The run of that one has
/// it, so this is no skip that could be forbidden.
pub fn not_for_us(why: &str) {
    eprintln!("skipped: {why}");
}

/// Says loudly that a test could not run, and fails where that is forbidden.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CONARY_FORBID_SKIPS").is_none(), "skipping is forbidden: {why}");
    eprintln!("skipped: {why}");
}
