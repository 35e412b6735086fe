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

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::SandboxError;
use crate::facts;
use crate::plan::{Bind, Plan, RootView};

/// A mount that is cloned from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub path: PathBuf,
    pub name: CString,
    pub access: Access,
}

/// What a mount allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read and execute.
    Read,
    /// The same, of a tree that the caller brings: its files belong to the build, whoever runs it.
    Layer,
    /// Read, execute and write.
    Write,
    /// Use of a device node.
    Device,
}

impl Access {
    /// The attributes of a mount with this access. None ever honours setuid bits.
    pub fn attributes(self) -> u64 {
        match self {
            Self::Read | Self::Layer => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            Self::Write => libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            Self::Device => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        }
    }
}

/// One step of making the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Makes a directory, unless it is there.
    Directory { path: CString, mode: libc::mode_t },
    /// Makes a file.
    File { path: CString, content: Vec<u8> },
    /// Makes a symbolic link.
    Link { path: CString, target: CString },
    /// Attaches a source.
    Attach { source: usize, path: CString },
    /// Mounts an empty file system for files.
    Tmpfs { path: CString, options: CString },
    /// Mounts our own terminals.
    Terminals { path: CString },
    /// Attaches our own `/proc`.
    Processes { path: CString },
    /// Makes a directory or file appear at a second place; `optional` if that place may be missing.
    Again { from: CString, path: CString, optional: bool },
    /// Mounts an overlay of layers named relative to `directory`.
    Overlay { directory: CString, options: CString, path: CString },
    /// Makes one mount read-only.
    ReadOnly { path: CString },
    /// Makes a mounted directory the root, and lets go of everything outside of it.
    Enter { path: CString },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = CStr::to_string_lossy;
        match self {
            Self::Directory { path, mode } => write!(f, "directory {} {mode:04o}", text(path)),
            Self::File { path, content } => {
                write!(f, "file {} ({} bytes)", text(path), content.len())
            }
            Self::Link { path, target } => write!(f, "link {} to {}", text(path), text(target)),
            Self::Attach { source, path } => write!(f, "attach source {source} at {}", text(path)),
            Self::Tmpfs { path, options } => write!(f, "tmpfs {} ({})", text(path), text(options)),
            Self::Terminals { path } => write!(f, "devpts {}", text(path)),
            Self::Processes { path } => write!(f, "proc {}", text(path)),
            Self::Again { from, path, .. } => write!(f, "bind {} at {}", text(from), text(path)),
            Self::Overlay { directory, options, path } => {
                write!(f, "overlay {} at {} (in {})", text(options), text(path), text(directory))
            }
            Self::ReadOnly { path } => write!(f, "read-only {}", text(path)),
            Self::Enter { path } => write!(f, "enter {}", text(path)),
        }
    }
}

/// The whole list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub sources: Vec<Source>,
    pub operations: Vec<Operation>,
    /// Where the command may write, for landlock.
    pub writable: Vec<Writable>,
}

/// A place where the command may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writable {
    pub path: CString,
    pub kind: WritableKind,
}

/// What may be written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WritableKind {
    /// Anything except device nodes.
    Tree,
    /// This one file.
    File,
    /// Files and devices that exist.
    Existing,
}

/// The command's root, while it is made.
const ROOT: &str = "/root";
/// Names at the top of a layer that a sandbox makes itself.
const OURS: [&str; 5] = ["dev", "proc", "sys", "tmp", "run"];
/// Host links or directories beside `/usr` that programs and compilers name.
pub(crate) const BESIDE_USR: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
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
pub(crate) fn of(plan: &Plan, processors: u32, scratch_bytes: u64) -> Result<Layout, SandboxError> {
    if !plan.directory.starts_with('/') {
        return Err(SandboxError::Plan { what: format!("directory {:?} is not absolute", plan.directory) });
    }
    let mut layout = Layout::default();
    layout.facts(processors)?;
    layout.directory("/layers")?;
    layout.directory(ROOT)?;
    let mut points = Points::default();
    for bind in &plan.binds {
        points.add(bind)?;
    }
    match &plan.root {
        RootView::Host { overlays } => layout.host(overlays, &points)?,
        RootView::Layers { lowers } => layout.layers(lowers, &points)?,
    }
    layout.devices(scratch_bytes)?;
    layout.processes()?;
    layout.tmpfs(&inside("/tmp"), 0o1777, scratch_bytes)?;
    layout.points(ROOT, &points, true)?;
    layout.writable("/tmp", WritableKind::Tree)?;
    for bind in &plan.binds {
        layout.bind(bind)?;
    }
    layout.operations.push(Operation::ReadOnly { path: text(ROOT)? });
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

    fn writable(&mut self, path: &str, kind: WritableKind) -> Result<(), SandboxError> {
        self.writable.push(Writable { path: text(path)?, kind });
        Ok(())
    }

    /// Makes `/facts`: everything that is later shown in `/proc`, and an empty directory and file.
    fn facts(&mut self, processors: u32) -> Result<(), SandboxError> {
        self.directory("/facts")?;
        self.tmpfs("/facts", 0o755, SMALL_BYTES)?;
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
    fn etc(&mut self, directory: &str) -> Result<(), SandboxError> {
        self.directory(directory)?;
        for (name, content) in facts::ETC {
            self.file(&format!("{directory}/{name}"), content)?;
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
        self.operations.push(Operation::Overlay { directory: text(directory)?, options, path: text(path)? });
        Ok(())
    }

    /// Attaches `sources` as numbered directories of a new area and returns their names.
    fn area(&mut self, directory: &str, sources: &[PathBuf]) -> Result<Vec<String>, SandboxError> {
        self.directory(directory)?;
        let mut names = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            let path = format!("{directory}/{number}");
            self.directory(&path)?;
            self.attach(source, layer(source), &path)?;
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
        let layers = self.area(&directory, sources)?;
        self.overlay(&directory, &layers, path)
    }

    /// The host's `/usr` and its company, under the trees of `overlays`.
    fn host(&mut self, overlays: &[PathBuf], points: &Points) -> Result<(), SandboxError> {
        let tops = tops(overlays)?;
        self.tmpfs(ROOT, 0o755, SMALL_BYTES)?;
        for name in ["usr", "dev", "proc", "tmp", "run", "etc"] {
            self.directory(&inside(&format!("/{name}")))?;
        }
        let with_host = |name: &str| {
            let mut sources: Vec<PathBuf> = tops.get(name).cloned().unwrap_or_default();
            sources.push(Path::new("/").join(name));
            sources
        };
        self.merged("usr", &with_host("usr"), &inside("/usr"))?;
        self.without_local(overlays)?;
        for name in BESIDE_USR {
            let host = Path::new("/").join(name);
            let path = inside(&format!("/{name}"));
            let brought = tops.get(name);
            match fs::symlink_metadata(&host) {
                Ok(about) if about.is_symlink() => {
                    let target = fs::read_link(&host).map_err(|source| SandboxError::Source {
                        path: host.clone(),
                        step: "readlink",
                        source,
                    })?;
                    self.link(&path, target.as_os_str().as_bytes())?;
                    if let Some(layers) = brought {
                        self.laid_over(name, layers)?;
                    }
                }
                Ok(_) => {
                    self.directory(&path)?;
                    self.merged(name, &with_host(name), &path)?;
                }
                Err(_) => {
                    if let Some(layers) = brought {
                        self.directory(&path)?;
                        self.merged(name, layers, &path)?;
                    }
                }
            }
        }
        let mut others: Vec<&str> = Vec::new();
        for (name, layers) in &tops {
            if !BESIDE_USR.contains(&name.as_str()) && !["usr", "etc"].contains(&name.as_str()) {
                let path = inside(&format!("/{name}"));
                self.directory(&path)?;
                self.merged(name, layers, &path)?;
                others.push(name);
            }
        }
        self.host_etc(tops.get("etc").map_or(&[], Vec::as_slice))?;
        if !tops.contains_key("var") {
            self.directory(&inside("/var"))?;
            self.link(&inside("/var/tmp"), "../tmp")?;
        }
        if let Some(target) = points.paths.keys().find(|path| others.iter().any(|top| path[1..] == **top)) {
            return Err(SandboxError::Plan {
                what: format!("{target} is a bind's, but a package of the build root has it too"),
            });
        }
        self.points(ROOT, points, false)
    }

    /// Hides the host's `/usr/local`, showing there only what `overlays` bring.
    fn without_local(&mut self, overlays: &[PathBuf]) -> Result<(), SandboxError> {
        let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|about| about.is_dir());
        if !is_directory(Path::new("/usr/local")) {
            return Ok(());
        }
        let brought: Vec<PathBuf> =
            overlays.iter().map(|tree| tree.join("usr/local")).filter(|path| is_directory(path)).collect();
        if brought.is_empty() {
            self.again("/facts/nothing", &inside("/usr/local"), false)
        } else {
            self.merged("local", &brought, &inside("/usr/local"))
        }
    }

    /// Lays directories such as `/bin` of a tree over the directory of `/usr` that the host's link `/bin`
    /// leads to.
    fn laid_over(&mut self, name: &str, layers: &[PathBuf]) -> Result<(), SandboxError> {
        let directory = format!("/layers/{name}");
        let below = inside(&format!("/usr/{name}"));
        let mut names = self.area(&directory, layers)?;
        let under = format!("{directory}/under");
        self.directory(&under)?;
        self.again(&below, &under, false)?;
        names.push("under".to_owned());
        self.overlay(&directory, &names, &below)
    }

    /// `/etc`: our files, the host's alternatives and loader cache, and under them the trees' `/etc`.
    fn host_etc(&mut self, layers: &[PathBuf]) -> Result<(), SandboxError> {
        let alternatives = Path::new("/etc/alternatives");
        let cache = Path::new("/etc/ld.so.cache");
        let etc = inside("/etc");
        let own = "/layers/etc/own".to_owned();
        let mut names = vec!["own".to_owned()];
        if !layers.is_empty() {
            names.extend(self.area("/layers/etc", layers)?);
        }
        let skeleton = if layers.is_empty() { &etc } else { &own };
        if layers.is_empty() {
            // The directory stands already.
            for (name, content) in facts::ETC {
                self.file(&format!("{skeleton}/{name}"), content)?;
            }
        } else {
            self.etc(skeleton)?;
        }
        if alternatives.is_dir() {
            self.directory(&format!("{skeleton}/alternatives"))?;
        }
        if cache.is_file() {
            self.file(&format!("{skeleton}/ld.so.cache"), "")?;
        }
        if !layers.is_empty() {
            self.overlay("/layers/etc", &names, &etc)?;
        }
        if alternatives.is_dir() {
            self.attach(alternatives, Access::Read, &format!("{etc}/alternatives"))?;
        }
        if cache.is_file() {
            self.attach(cache, Access::Read, &format!("{etc}/ld.so.cache"))?;
        }
        Ok(())
    }

    /// A root of nothing but `lowers`, under a skeleton with the mount points that are needed.
    fn layers(&mut self, lowers: &[PathBuf], points: &Points) -> Result<(), SandboxError> {
        if lowers.is_empty() {
            return Err(SandboxError::Plan { what: "a root needs at least one layer".to_owned() });
        }
        let directory = "/layers/root";
        let mut names = vec!["own".to_owned()];
        names.extend(self.area(directory, lowers)?);
        let own = format!("{directory}/own");
        self.directory(&own)?;
        for name in ["dev", "proc", "tmp", "run", "var"] {
            self.directory(&format!("{own}/{name}"))?;
        }
        self.link(&format!("{own}/var/tmp"), "../tmp")?;
        self.etc(&format!("{own}/etc"))?;
        self.points(&own, points, false)?;
        self.overlay(directory, &names, ROOT)
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

/// The directories at the top of `overlays`, by name: which trees have them, uppermost first.
fn tops(overlays: &[PathBuf]) -> Result<BTreeMap<String, Vec<PathBuf>>, SandboxError> {
    let mut tops: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for tree in overlays {
        let failed = |source| SandboxError::Source { path: tree.clone(), step: "read directory", source };
        for entry in fs::read_dir(tree).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Only directories can be layers; a file or link at the top of a tree is nothing a build needs.
            if !entry.file_type().map_err(failed)?.is_dir() {
                continue;
            }
            if let Ok(name) = entry.file_name().into_string()
                && !OURS.contains(&name.as_str())
            {
                tops.entry(name).or_default().push(entry.path());
            }
        }
    }
    Ok(tops)
}
