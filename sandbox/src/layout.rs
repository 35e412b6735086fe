// sandbox/src/layout.rs
//! The root of a sandbox as an ordered list of operations, made from a [`Plan`] before anything runs.
//!
//! The list is plain data: it can be compared and printed, and `child.rs` only carries it out. Two parts:
//!
//! ```text
//! sources     mounts cloned from the host, detached and already read-only, each with a number
//! operations  what is done in a fresh, empty root that the host's root has already left:
//!             /facts       files that stand in for the host's in /proc
//!             /layers      overlay layers, as <area>/<number>
//!             /root        the root that the command will see:
//!               /usr …       from the sources, or overlays of them
//!               /etc         our own files, below them what the overlays bring
//!               /dev /proc   our own
//!               /tmp, binds  writable
//!             enter /root  and with that, everything above is gone
//! ```
//!
//! Because the host's root is gone before the first operation, no name in any layer can lead to it.
//! Overlay layers are named relative to their area, so that mount options say the same on every host.

mod host_view;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::SandboxError;
use crate::facts;
use crate::operation::{Access, Operation, Source, Writable, WritableKind};
use crate::owners::Owners;
use crate::plan::{Bind, Plan, RootView};

pub(crate) use host_view::BESIDE_USR;

/// The whole list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub sources: Vec<Source>,
    pub operations: Vec<Operation>,
    /// Where the command may read and execute, for landlock.
    pub readable: Vec<CString>,
    /// Where it may write besides.
    pub writable: Vec<Writable>,
}

/// The command's root, while it is made.
const ROOT: &str = "/root";
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links of `/dev`, name and target.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// Size of tmpfs mounts that hold only what we put there.
const SMALL_BYTES: u64 = 16 << 20;

/// Makes the list for a plan. `processors` is what the command may use, `scratch_bytes` the size of `/tmp`.
/// With `owners`, their names are in `/etc`.
pub(crate) fn of(
    plan: &Plan,
    processors: u32,
    scratch_bytes: u64,
    owners: Option<&Owners>,
) -> Result<Layout, SandboxError> {
    if !plan.directory.starts_with('/') {
        return Err(SandboxError::Plan { what: format!("directory {:?} is not absolute", plan.directory) });
    }
    // Nothing lies in the root that is not meant to be read.
    let mut layout = Layout { readable: vec![c"/".to_owned()], ..Layout::default() };
    layout.facts(processors)?;
    layout.directory("/layers")?;
    layout.directory(ROOT)?;
    let mut points = Points::default();
    for bind in &plan.binds {
        points.add(bind)?;
    }
    match &plan.root {
        RootView::Host { overlays } => layout.host(overlays, &points, owners)?,
        RootView::Layers { lowers } => layout.layers(lowers, &points, owners)?,
        RootView::Caught { lower, changes } => layout.caught(lower, changes, &points)?,
    }
    layout.devices(scratch_bytes)?;
    layout.processes()?;
    layout.tmpfs(&inside("/tmp"), 0o1777, scratch_bytes)?;
    layout.points(ROOT, &points, true)?;
    layout.writable("/tmp", WritableKind::Tree)?;
    for bind in &plan.binds {
        layout.bind(bind)?;
    }
    if matches!(plan.root, RootView::Caught { .. }) {
        layout.writable("/", WritableKind::Tree)?;
    } else {
        layout.operations.push(Operation::ReadOnly { path: text(ROOT)? });
    }
    layout.operations.push(Operation::Enter { path: text(ROOT)? });
    Ok(layout)
}

/// A C string of ours or of the caller's.
pub(crate) fn text(value: impl AsRef<[u8]>) -> Result<CString, SandboxError> {
    CString::new(value.as_ref()).map_err(|_| SandboxError::Plan {
        what: format!("{:?} contains a NUL byte", String::from_utf8_lossy(value.as_ref())),
    })
}

/// A path of the command's root, while it is made.
fn inside(path: &str) -> String {
    format!("{ROOT}{path}")
}

/// Mount points that binds need: directories with their parents, and files.
#[derive(Debug, Default)]
struct Points {
    /// Each path, parents first, and whether it is a directory.
    paths: BTreeMap<String, bool>,
}

impl Points {
    fn add(&mut self, bind: &Bind) -> Result<(), SandboxError> {
        let wrong = |why: &str| SandboxError::Plan { what: format!("bind target {:?} {why}", bind.target) };
        let Some(relative) = bind.target.strip_prefix('/') else {
            return Err(wrong("is not absolute"));
        };
        if relative.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(wrong("must be a plain path below /"));
        }
        let top = relative.split('/').next().unwrap_or_default();
        if ["dev", "proc", "sys", "usr", "etc"].contains(&top) || BESIDE_USR.contains(&top) {
            return Err(wrong("lies in a directory that the sandbox makes itself"));
        }
        let about = fs::metadata(&bind.source).map_err(|source| SandboxError::Source {
            path: bind.source.clone(),
            step: "stat",
            source,
        })?;
        for (index, _) in bind.target.match_indices('/').skip(1) {
            self.paths.entry(bind.target[..index].to_owned()).or_insert(true);
        }
        self.paths.insert(bind.target.clone(), about.is_dir());
        Ok(())
    }
}

impl Layout {
    fn directory(&mut self, path: &str) -> Result<(), SandboxError> {
        self.operations.push(Operation::Directory { path: text(path)?, mode: 0o755 });
        Ok(())
    }

    fn file(&mut self, path: &str, content: &str) -> Result<(), SandboxError> {
        self.operations.push(Operation::File { path: text(path)?, content: content.into() });
        Ok(())
    }

    fn link(&mut self, path: &str, target: impl AsRef<[u8]>) -> Result<(), SandboxError> {
        self.operations.push(Operation::Link { path: text(path)?, target: text(target)? });
        Ok(())
    }

    fn again(&mut self, from: &str, path: &str, optional: bool) -> Result<(), SandboxError> {
        self.operations.push(Operation::Again { from: text(from)?, path: text(path)?, optional });
        Ok(())
    }

    /// Numbers a source and attaches it.
    fn attach(&mut self, source: &Path, access: Access, path: &str) -> Result<(), SandboxError> {
        let number = self.sources.len();
        let name = text(source.as_os_str().as_bytes())?;
        self.sources.push(Source { path: source.to_owned(), name, access });
        self.operations.push(Operation::Attach { source: number, path: text(path)? });
        Ok(())
    }

    fn tmpfs(&mut self, path: &str, mode: u32, bytes: u64) -> Result<(), SandboxError> {
        // The number of files is fixed: its default follows the machine's memory.
        let options = text(format!("mode={mode:04o},size={}k,nr_inodes=1000000", bytes.div_ceil(1024)))?;
        self.operations.push(Operation::Tmpfs { path: text(path)?, options });
        Ok(())
    }

    pub(crate) fn writable(&mut self, path: &str, kind: WritableKind) -> Result<(), SandboxError> {
        self.writable.push(Writable { path: text(path)?, kind });
        Ok(())
    }

    /// Makes `/facts`: everything that is later shown in `/proc`, and an empty directory and file.
    fn facts(&mut self, processors: u32) -> Result<(), SandboxError> {
        self.directory("/facts")?;
        self.again("/facts", "/facts", false)?;
        self.directory("/facts/proc")?;
        for (name, content) in facts::proc_files(processors) {
            self.file(&format!("/facts/proc/{name}"), &content)?;
        }
        self.directory("/facts/sys")?;
        for (name, content) in facts::PROC_SYS {
            let path = format!("/facts/sys/{name}");
            match content {
                Some(content) => self.file(&path, content)?,
                None => self.directory(&path)?,
            }
        }
        self.directory("/facts/nothing")?;
        self.file("/facts/empty", "")?;
        // Whatever is shown from here is read-only, because a bind takes over the flags of its origin.
        self.operations.push(Operation::ReadOnly { path: text("/facts")? });
        Ok(())
    }

    /// The skeleton of `/etc` in `directory`.
    fn etc(&mut self, directory: &str, owners: Option<&Owners>) -> Result<(), SandboxError> {
        self.directory(directory)?;
        self.etc_files(directory, owners)
    }

    /// The files of `/etc`, in a directory that is there.
    fn etc_files(&mut self, directory: &str, owners: Option<&Owners>) -> Result<(), SandboxError> {
        for (name, content) in facts::ETC {
            let further = owners.map(|owners| owners.lines(name)).unwrap_or_default();
            self.file(&format!("{directory}/{name}"), &format!("{content}{further}"))?;
        }
        Ok(())
    }

    /// Makes the mount points in `directory`: those in `/tmp`, which is mounted late, or all others.
    fn points(&mut self, directory: &str, points: &Points, in_scratch: bool) -> Result<(), SandboxError> {
        for (path, is_directory) in &points.paths {
            if (path.split('/').nth(1) == Some("tmp")) != in_scratch {
                continue;
            }
            let path = format!("{directory}{path}");
            if *is_directory {
                self.directory(&path)?;
            } else {
                self.file(&path, "")?;
            }
        }
        Ok(())
    }

    /// An overlay of `layers`, names below `directory`, at `path`.
    fn overlay(&mut self, directory: &str, layers: &[String], path: &str) -> Result<(), SandboxError> {
        let options = text(format!("lowerdir={}", layers.join(":")))?;
        // The kernel takes one page of options and 500 layers.
        if layers.len() > 500 || options.as_bytes().len() > 4000 {
            return Err(SandboxError::Plan { what: format!("{path} has more than 500 layers") });
        }
        self.operations.push(Operation::Overlay {
            directory: text(directory)?,
            options,
            path: text(path)?,
            writable: false,
        });
        Ok(())
    }

    /// Attaches `sources` as numbered directories of a new area and returns their names.
    fn area(
        &mut self,
        directory: &str,
        sources: &[PathBuf],
        access: impl Fn(&Path) -> Access,
    ) -> Result<Vec<String>, SandboxError> {
        self.directory(directory)?;
        let mut names = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            let path = format!("{directory}/{number}");
            self.directory(&path)?;
            self.attach(source, access(source), &path)?;
            names.push(number.to_string());
        }
        Ok(names)
    }

    /// Shows `sources` merged at `path`, which exists.
    fn merged(&mut self, area: &str, sources: &[PathBuf], path: &str) -> Result<(), SandboxError> {
        if let [only] = sources {
            return self.attach(only, layer(only), path);
        }
        let directory = format!("/layers/{area}");
        let layers = self.area(&directory, sources, layer)?;
        self.overlay(&directory, &layers, path)
    }

    /// A root of nothing but `lowers`, under a skeleton with the mount points that are needed.
    fn layers(&mut self, lowers: &[PathBuf], points: &Points, owners: Option<&Owners>) -> Result<(), SandboxError> {
        if lowers.is_empty() {
            return Err(SandboxError::Plan { what: "a root needs at least one layer".to_owned() });
        }
        let directory = "/layers/root";
        let mut names = vec!["own".to_owned()];
        names.extend(self.area(directory, lowers, |_| Access::Layer)?);
        let own = format!("{directory}/own");
        self.directory(&own)?;
        for name in ["dev", "proc", "tmp", "run", "var"] {
            self.directory(&format!("{own}/{name}"))?;
        }
        self.link(&format!("{own}/var/tmp"), "../tmp")?;
        self.etc(&format!("{own}/etc"), owners)?;
        self.points(&own, points, false)?;
        self.overlay(directory, &names, ROOT)
    }

    /// A root that is `lower`, with mount points below it where it lacks them, and all changes caught above it.
    fn caught(&mut self, lower: &Path, changes: &Path, points: &Points) -> Result<(), SandboxError> {
        let directory = "/layers/root";
        let names = self.area(directory, std::slice::from_ref(&lower.to_owned()), |_| Access::Layer)?;
        let own = format!("{directory}/own");
        self.directory(&own)?;
        for name in ["dev", "proc", "tmp"] {
            self.directory(&format!("{own}/{name}"))?;
        }
        self.points(&own, points, false)?;
        let caught = format!("{directory}/changes");
        self.directory(&caught)?;
        self.attach(changes, Access::Write, &caught)?;
        let options = format!("userxattr,upperdir=changes/upper,workdir=changes/work,lowerdir={}:own", names.join(":"));
        let (directory, options, path) = (text(directory)?, text(options)?, text(ROOT)?);
        self.operations.push(Operation::Overlay { directory, options, path, writable: true });
        Ok(())
    }

    /// `/dev`: a tmpfs with the few devices that programs need, terminals and shared memory of our own.
    fn devices(&mut self, scratch_bytes: u64) -> Result<(), SandboxError> {
        let dev = inside("/dev");
        self.tmpfs(&dev, 0o755, SMALL_BYTES)?;
        for name in DEVICES {
            let host = Path::new("/dev").join(name);
            // A container may have no terminal to offer.
            if name == "tty" && !host.exists() {
                continue;
            }
            let path = format!("{dev}/{name}");
            self.file(&path, "")?;
            self.attach(&host, Access::Device, &path)?;
        }
        for (name, target) in DEVICE_LINKS {
            self.link(&format!("{dev}/{name}"), target)?;
        }
        self.directory(&format!("{dev}/pts"))?;
        self.operations.push(Operation::Terminals { path: text(format!("{dev}/pts"))? });
        self.directory(&format!("{dev}/shm"))?;
        self.tmpfs(&format!("{dev}/shm"), 0o1777, scratch_bytes)?;
        self.operations.push(Operation::ReadOnly { path: text(&dev)? });
        self.writable("/dev", WritableKind::Existing)?;
        self.writable("/dev/shm", WritableKind::Tree)
    }

    /// `/proc`: our own, with the files that tell of the host covered.
    fn processes(&mut self) -> Result<(), SandboxError> {
        let proc = inside("/proc");
        self.operations.push(Operation::Processes { path: text(&proc)? });
        for (name, _) in facts::proc_files(1) {
            self.again(&format!("/facts/proc/{name}"), &format!("{proc}/{name}"), true)?;
        }
        for name in facts::PROC_EMPTY {
            self.again("/facts/empty", &format!("{proc}/{name}"), true)?;
        }
        for name in facts::PROC_EMPTY_DIRECTORIES {
            self.again("/facts/nothing", &format!("{proc}/{name}"), true)?;
        }
        self.again("/facts/sys", &format!("{proc}/sys"), true)?;
        self.writable("/proc", WritableKind::Existing)
    }

    fn bind(&mut self, bind: &Bind) -> Result<(), SandboxError> {
        let access = if bind.writable { Access::Write } else { Access::Read };
        self.attach(&bind.source, access, &inside(&bind.target))?;
        if bind.writable {
            let kind = if bind.source.is_dir() { WritableKind::Tree } else { WritableKind::File };
            self.writable(&bind.target, kind)?;
        }
        Ok(())
    }
}

/// How a layer is mounted: as a tree of the caller's, except where it is a directory of the host itself.
fn layer(source: &Path) -> Access {
    let of_host = source.components().count() <= 2;
    if of_host { Access::Read } else { Access::Layer }
}
