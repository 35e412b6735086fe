// store/src/tests/mod.rs
//! Tests of the store as a whole, on real file systems and with real processes.

mod collect;
mod crash;
mod inject;
mod limits;
mod names;
mod round_trip;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;

use crate::{IngestOptions, OpenOptions, Store, Tree};

/// A directory that vanishes, with a store in it.
pub(crate) struct Place {
    pub(crate) top: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    pub(crate) fn at(top: tempfile::TempDir) -> Self {
        let store = open(&top.path().join("store"));
        Self { top, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    /// Makes a directory with these files; each holds its own name unless it has a content.
    pub(crate) fn directory(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        for (file, content) in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        path
    }

    pub(crate) fn ingest(&self, path: &Path) -> Tree {
        let directory = File::open(path).unwrap();
        self.store.ingest(&directory, &IngestOptions::default(), &NEVER).unwrap()
    }
}

/// A cancel flag that nobody raises.
pub(crate) static NEVER: AtomicBool = AtomicBool::new(false);

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, &OpenOptions::default()).unwrap()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Names a child's work and its store; see [`child_process`].
const WORK: &str = "STORE_TEST_WORK";
const WHERE: &str = "STORE_TEST_STORE";

/// Runs this test program again, doing `work` on the store in `path`.
pub(crate) fn spawn(work: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::child_process", "--nocapture", "--test-threads=1"])
        .env(WORK, work)
        .env(WHERE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what a process that [`spawn`] started does.
#[test]
fn child_process() {
    let (Ok(work), Some(path)) = (std::env::var(WORK), std::env::var_os(WHERE)) else { return };
    let path = PathBuf::from(path);
    match work.as_str() {
        "import" => crash::import_for_ever(&path),
        "put" => crash::put_many(&path),
        "lease" => collect::hold_lease(&path),
        "hold" => collect::hold_epoch(&path),
        other => match other.strip_prefix("inject ") {
            Some(scenario) => inject::victim(scenario, &path),
            None => panic!("unknown work {other}"),
        },
    }
}

/// Lists a directory with the system's own tool: path, kind, mode, size, target, links and time.
pub(crate) fn listing(path: &Path) -> Vec<String> {
    let format = r"%P\t%y\t%m\t%s\t%l\t%n\t%T@\0";
    let output = Command::new("find").arg(path).args(["-mindepth", "1", "-printf", format]).output().unwrap();
    assert!(output.status.success());
    let mut lines: Vec<String> = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
        .map(|line| line.escape_ascii().to_string())
        .collect();
    lines.sort();
    lines
}

/// Reads a tree with the system's own tool: everything but times and numbers of owners.
pub(crate) fn archive(path: &Path) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--format=pax", "--pax-option=delete=atime,delete=ctime", "-C"])
        .arg(path)
        .args(["-cf", "-", "."])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub(crate) fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}
