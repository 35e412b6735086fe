// sandbox/src/child.rs
//! What runs between clone and exec: pid 1 of the sandbox, and the command until it becomes itself.
//!
//! Both are copies of a process that may have had many threads, so nothing here allocates, takes a lock,
//! logs or panics: everything was prepared before, and `sys` is all that is called. A failure is a
//! [`Report`] down a pipe.
//!
//! ```text
//! caller   clone3 (user, mount, pid, ipc, uts, net) ──► pid 1     waits for one byte: ids are mapped
//!          writes the maps, joins control groups                  makes the root, drops the host
//!          writes the byte                                        clone ──► command  no privileges, exec
//!          reads output, waits, kills                             reaps until the command ends, reports, exits
//! ```
//!
//! When pid 1 exits, the kernel kills what is left in its namespace before the caller's wait returns.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use libc::sock_filter;

use crate::layout::{Access, Operation, Source, Writable};
use crate::plan::Level;
use crate::sys::{self, Errno, LandlockRules, PointerArray, Result};
use crate::{landlock, loose};

/// The id inside.
pub(crate) const INNER_ID: u32 = 1000;

/// Everything that is needed from here on, made before the clone.
pub(crate) struct Prepared<'a> {
    pub level: Level,
    pub descriptors: Descriptors,
    /// Ranges of descriptors that pid 1 closes first.
    pub close: &'a [(u32, u32)],
    /// The caller may have groups that pid 1 can and shall drop.
    pub drop_groups: bool,
    /// Clones of the host's mounts; where one is missing, pid 1 clones it by its name.
    pub mounts: &'a mut [Option<RawFd>],
    pub sources: &'a [Source],
    pub operations: &'a [Operation],
    pub writable: &'a [Writable],
    /// Where the new root may be attached for a moment.
    pub foothold: &'a CStr,
    /// Content of `timens_offsets`, where time namespaces exist.
    pub clock_offsets: Option<&'a [u8]>,
    pub limits: &'a [(i32, u64, u64)],
    pub affinity: Option<&'a [u64]>,
    pub landlock: Option<(LandlockRules, usize)>,
    pub filter: &'a [sock_filter],
    /// The same with calls that a supervisor answers.
    pub supervised_filter: &'a [sock_filter],
    pub directory: &'a CStr,
    /// Paths to try, in order.
    pub programs: &'a [CString],
    pub arguments: &'a PointerArray<'a>,
    pub environment: &'a PointerArray<'a>,
}

/// The descriptors that a sandbox starts with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    /// A byte arrives here when the ids are mapped; it hangs up when the caller has gone.
    pub go: RawFd,
    /// Stdout and stderr of the command.
    pub output: RawFd,
    /// Reports go here.
    pub report: RawFd,
    /// The listener for the supervisor goes here.
    pub supervisor: RawFd,
}

/// What was tried.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Descriptors,
    Wait,
    Identity,
    Clocks,
    ControlGroups,
    Parent,
    Names,
    Loopback,
    Propagation,
    Source,
    Proc,
    NewRoot,
    Pivot,
    Operation,
    Processes,
    Session,
    Output,
    Signals,
    Limits,
    Affinity,
    Personality,
    Keyring,
    Capabilities,
    NoNewPrivileges,
    Landlock,
    Seccomp,
    Directory,
    Execute,
}

/// Words for each stage, in order.
pub(crate) const STAGES: [&str; 28] = [
    "close inherited descriptors",
    "wait for the id maps",
    "become id 1000",
    "time namespace",
    "control group namespace",
    "die with the caller",
    "host name",
    "loopback interface",
    "private mounts",
    "clone a mount of the host",
    "mount /proc",
    "tmpfs for the root",
    "pivot_root",
    "make the root",
    "clone the command",
    "new session",
    "output pipe",
    "default signals",
    "resource limits",
    "processor affinity",
    "personality",
    "session keyring",
    "drop capabilities",
    "no_new_privs",
    "landlock",
    "seccomp",
    "enter the directory",
    "exec",
];

/// What pid 1 or the command tells the caller.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// [`FAILED`], [`ENDED`] or [`UNSUPERVISED`].
    pub kind: u32,
    /// The stage that failed.
    pub stage: u32,
    /// Which of several: the number of the operation or source.
    pub index: u32,
    /// Why it failed.
    pub errno: i32,
    /// The command's wait status.
    pub status: i32,
    /// Largest resident size of a process, in KiB.
    pub largest_kib: u32,
}

pub(crate) const FAILED: u32 = 1;
pub(crate) const ENDED: u32 = 2;
/// The kernel gave no listener, so `uname` answers as on the host.
pub(crate) const UNSUPERVISED: u32 = 3;

impl Report {
    pub const BYTES: usize = 24;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let words = [
            self.kind.to_ne_bytes(),
            self.stage.to_ne_bytes(),
            self.index.to_ne_bytes(),
            self.errno.to_ne_bytes(),
            self.status.to_ne_bytes(),
            self.largest_kib.to_ne_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(words.as_flattened()) {
            *to = *from;
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |index: usize| -> Option<[u8; 4]> { bytes.get(index * 4..index * 4 + 4)?.try_into().ok() };
        Some(Self {
            kind: u32::from_ne_bytes(word(0)?),
            stage: u32::from_ne_bytes(word(1)?),
            index: u32::from_ne_bytes(word(2)?),
            errno: i32::from_ne_bytes(word(3)?),
            status: i32::from_ne_bytes(word(4)?),
            largest_kib: u32::from_ne_bytes(word(5)?),
        })
    }

    pub fn send(self, to: RawFd) {
        // Less than a pipe takes at once. Without a reader there is nobody to tell.
        let _ = sys::write(to, &self.to_bytes());
    }
}

/// A stage that did not work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    stage: Stage,
    index: usize,
    errno: Errno,
}

/// Names the stage of an error.
trait At<T> {
    fn at(self, stage: Stage) -> std::result::Result<T, Failure>;
    fn at_index(self, stage: Stage, index: usize) -> std::result::Result<T, Failure>;
}

impl<T> At<T> for Result<T> {
    fn at(self, stage: Stage) -> std::result::Result<T, Failure> {
        self.at_index(stage, 0)
    }

    fn at_index(self, stage: Stage, index: usize) -> std::result::Result<T, Failure> {
        self.map_err(|errno| Failure { stage, index, errno })
    }
}

/// Runs as pid 1, from the clone to the end.
pub(crate) fn first_process(prepared: &mut Prepared<'_>) -> ! {
    let report = prepared.descriptors.report;
    match start(prepared) {
        Ok(Side::Command) => {
            let failure = become_command(prepared);
            fail(REPORT, failure)
        }
        Ok(Side::Reaper(command)) => {
            // Only the command and its children hold the output from here on.
            sys::close(prepared.descriptors.output);
            sys::close(prepared.descriptors.supervisor);
            match prepared.level {
                Level::Full => reap(command, report),
                Level::None => loose::reap(command, report),
            }
        }
        Err(failure) => fail(report, failure),
    }
}

/// Which of the two processes this is.
enum Side {
    Reaper(libc::pid_t),
    Command,
}

fn fail(report: RawFd, failure: Failure) -> ! {
    Report {
        kind: FAILED,
        stage: failure.stage as u32,
        #[allow(clippy::cast_possible_truncation, reason = "lists are far shorter")]
        index: failure.index as u32,
        errno: failure.errno,
        status: 0,
        largest_kib: 0,
    }
    .send(report);
    sys::exit(127)
}

/// Makes the sandbox and clones the command into it.
fn start(prepared: &mut Prepared<'_>) -> std::result::Result<Side, Failure> {
    // Without this, a caller that ignores SIGCHLD would have our children vanish unseen.
    sys::default_signals().at(Stage::Signals)?;
    for (first, last) in prepared.close {
        sys::close_range(*first, *last).at(Stage::Descriptors)?;
    }
    wait_for_caller(prepared.descriptors.go).at(Stage::Wait)?;
    if prepared.level == Level::Full {
        enter_namespaces(prepared)?;
        make_root(prepared)?;
        // Neither the environment nor the memory that pid 1 has from the caller may be looked at.
        sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).at(Stage::Identity)?;
    } else {
        loose::prepare().at(Stage::Parent)?;
        die_with_caller(prepared.descriptors.go, libc::SIGTERM)?;
    }
    sys::set_process_name(c"init");
    Ok(match sys::fork().at(Stage::Processes)? {
        0 => Side::Command,
        command => Side::Reaper(command),
    })
}

/// Blocks until the caller has mapped our ids.
fn wait_for_caller(go: RawFd) -> Result<()> {
    let mut byte = [0];
    loop {
        match sys::read(go, &mut byte) {
            Ok(1) => return Ok(()),
            // The caller has gone.
            Ok(_) => sys::exit(127),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Asks for a signal at the caller's death, and looks whether it has happened already.
fn die_with_caller(go: RawFd, signal: i32) -> std::result::Result<(), Failure> {
    #[allow(clippy::cast_sign_loss, reason = "signals are positive")]
    sys::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0).at(Stage::Parent)?;
    if sys::hung_up(go) {
        sys::exit(127)
    }
    Ok(())
}

/// Takes on the identity, the clocks and the names of the sandbox.
fn enter_namespaces(prepared: &Prepared<'_>) -> std::result::Result<(), Failure> {
    if prepared.drop_groups {
        sys::drop_groups().at(Stage::Identity)?;
    }
    sys::set_ids(INNER_ID, INNER_ID).at(Stage::Identity)?;
    // A change of ids takes away the right to write our own files in /proc, and the death signal.
    sys::prctl(libc::PR_SET_DUMPABLE, 1, 0).at(Stage::Identity)?;
    die_with_caller(prepared.descriptors.go, libc::SIGKILL)?;
    sys::new_session().at(Stage::Session)?;
    if let Some(offsets) = prepared.clock_offsets {
        set_clocks(offsets).at(Stage::Clocks)?;
    }
    sys::unshare(libc::CLONE_NEWCGROUP).at(Stage::ControlGroups)?;
    sys::set_names(crate::facts::HOST_NAME.as_bytes(), b"(none)").at(Stage::Names)?;
    sys::loopback_up().at(Stage::Loopback)
}

/// Makes a time namespace for our children whose clocks start at a fixed time.
fn set_clocks(offsets: &[u8]) -> Result<()> {
    sys::unshare(libc::CLONE_NEWTIME)?;
    let file = sys::open(c"/proc/self/timens_offsets", libc::O_WRONLY, 0)?;
    let written = sys::write(file, offsets);
    sys::close(file);
    written.map(drop)
}

/// Makes the root and leaves the host's.
fn make_root(prepared: &mut Prepared<'_>) -> std::result::Result<(), Failure> {
    sys::umask(0);
    let private = libc::MS_REC | libc::MS_PRIVATE;
    sys::mount(None, c"/", None, private, None).at(Stage::Propagation)?;
    for (index, (mount, source)) in prepared.mounts.iter_mut().zip(prepared.sources).enumerate() {
        if mount.is_none() {
            *mount = Some(open_source(&source.name, source.access, None).at_index(Stage::Source, index)?);
        }
    }
    // The kernel gives a /proc only to those who see one.
    let attributes = Access::Write.attributes() | libc::MOUNT_ATTR_NOEXEC;
    #[allow(clippy::cast_possible_truncation, reason = "these attributes are low bits")]
    let proc = sys::new_filesystem(c"proc", &[(c"hidepid", c"2")], attributes as u32).at(Stage::Proc)?;
    let root = sys::new_filesystem(c"tmpfs", &[(c"mode", c"0755")], 0).at(Stage::NewRoot)?;
    sys::move_mount(root, prepared.foothold).at(Stage::NewRoot)?;
    sys::fchdir(root).at(Stage::Pivot)?;
    sys::close(root);
    enter_here().at(Stage::Pivot)?;
    for (index, operation) in prepared.operations.iter().enumerate() {
        perform(operation, prepared.mounts, proc).at_index(Stage::Operation, index)?;
    }
    sys::close(proc);
    Ok(())
}

/// Clones one mount of the host and takes its rights away. With `ids`, its owners are mapped.
pub(crate) fn open_source(name: &CStr, access: Access, ids: Option<RawFd>) -> Result<RawFd> {
    #[allow(clippy::cast_sign_loss, reason = "a flag")]
    let mount = sys::open_tree(name, libc::AT_RECURSIVE as u32)?;
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    let taken = sys::mount_setattr(mount, c"", flags, access.attributes(), None).and_then(|()| match ids {
        Some(_) => sys::mount_setattr(mount, c"", libc::AT_EMPTY_PATH, 0, ids),
        None => Ok(()),
    });
    match taken {
        Ok(()) => Ok(mount),
        Err(errno) => {
            sys::close(mount);
            Err(errno)
        }
    }
}

/// Makes the working directory the root and lets go of the old one.
fn enter_here() -> Result<()> {
    sys::pivot_root_here()?;
    // The old root lies above the new one now.
    sys::detach(c".")?;
    sys::chdir(c"/")
}

fn perform(operation: &Operation, mounts: &[Option<RawFd>], proc: RawFd) -> Result<()> {
    match operation {
        Operation::Directory { path, mode } => match sys::mkdir(path, *mode) {
            Err(libc::EEXIST) => Ok(()),
            made => made,
        },
        Operation::File { path, content } => {
            let file = sys::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, 0o644)?;
            let written = write_all(file, content);
            sys::close(file);
            written
        }
        Operation::Link { path, target } => sys::symlink(target, path),
        Operation::Attach { source, path } => {
            let mount = mounts.get(*source).copied().flatten().ok_or(libc::EBADF)?;
            let attached = sys::move_mount(mount, path);
            sys::close(mount);
            attached
        }
        Operation::Tmpfs { path, options } => {
            let flags = libc::MS_NOSUID | libc::MS_NODEV;
            sys::mount(Some(c"tmpfs"), path, Some(c"tmpfs"), flags, Some(options))
        }
        Operation::Terminals { path } => {
            let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
            sys::mount(Some(c"devpts"), path, Some(c"devpts"), flags, Some(c"newinstance,ptmxmode=0666,mode=0620"))
        }
        Operation::Processes { path } => sys::move_mount(proc, path),
        Operation::Again { from, path, optional } => match sys::mount(Some(from), path, None, libc::MS_BIND, None) {
            Err(libc::ENOENT | libc::ENOTDIR) if *optional => Ok(()),
            bound => bound,
        },
        Operation::Overlay { directory, options, path } => {
            sys::chdir(directory)?;
            let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
            sys::mount(Some(c"overlay"), path, Some(c"overlay"), flags, Some(options))
        }
        Operation::ReadOnly { path } => {
            sys::mount_setattr(libc::AT_FDCWD, path, 0, Access::Read.attributes() & !libc::MOUNT_ATTR_NODEV, None)
        }
        Operation::Enter { path } => {
            sys::chdir(path)?;
            enter_here()
        }
    }
}

fn write_all(file: RawFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = sys::write(file, bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Waits until the command ends, burying orphans meanwhile, then reports and takes everything down.
fn reap(command: libc::pid_t, report: RawFd) -> ! {
    let mut largest = 0;
    loop {
        match sys::wait_any() {
            Ok(waited) => {
                largest = largest.max(waited.usage.ru_maxrss);
                if waited.pid == command {
                    ended(waited.status, largest, report)
                }
            }
            Err(libc::EINTR) => {}
            // There is always the command to wait for.
            Err(_) => sys::exit(127),
        }
    }
}

/// Reports the command's end.
pub(crate) fn ended(status: i32, largest_kib: i64, report: RawFd) -> ! {
    let largest_kib = u32::try_from(largest_kib).unwrap_or(u32::MAX);
    Report { kind: ENDED, stage: 0, index: 0, errno: 0, status, largest_kib }.send(report);
    sys::exit(0)
}

/// Gives up everything that pid 1 could do, and becomes the command. Returns only if that failed.
fn become_command(prepared: &Prepared<'_>) -> Failure {
    if let Err(failure) = shed(prepared) {
        return failure;
    }
    let mut failure = Failure { stage: Stage::Execute, index: 0, errno: libc::ENOENT };
    for program in prepared.programs {
        let errno = sys::execute(program, prepared.arguments, prepared.environment);
        // As a shell does: go on searching, but remember why a file that is there did not run.
        if errno != libc::ENOENT && errno != libc::ENOTDIR {
            failure.errno = errno;
            if errno != libc::EACCES {
                break;
            }
        }
    }
    failure
}

/// Sheds descriptors, signals and privileges, in the order in which they are needed last.
fn shed(prepared: &Prepared<'_>) -> std::result::Result<(), Failure> {
    let full = prepared.level == Level::Full;
    move_descriptors(prepared.descriptors).at(Stage::Output)?;
    sys::new_session().at(Stage::Session)?;
    sys::umask(0o022);
    for (resource, soft, hard) in prepared.limits {
        sys::limit(*resource, *soft, *hard).at(Stage::Limits)?;
    }
    if let Some(mask) = prepared.affinity {
        sys::set_affinity(mask).at(Stage::Affinity)?;
    }
    sys::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong).at(Stage::Personality)?;
    match sys::new_keyring() {
        // A kernel without keyrings has none to leak.
        Ok(()) | Err(libc::ENOSYS) => {}
        Err(errno) => return Err(errno).at(Stage::Keyring),
    }
    sys::chdir(prepared.directory).at(Stage::Directory)?;
    if full {
        sys::drop_capabilities().at(Stage::Capabilities)?;
    }
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).at(Stage::NoNewPrivileges)?;
    if full && let Some((rules, size)) = &prepared.landlock {
        landlock::restrict(rules, *size, prepared.writable).at(Stage::Landlock)?;
    }
    // Late: a signal that ends this process ends it as the command.
    sys::set_signal_mask(0).at(Stage::Signals)?;
    if full {
        filter_calls(prepared).at(Stage::Seccomp)?;
    }
    Ok(())
}

/// Installs the filter, with a listener for the supervisor where the kernel gives one: a container around us
/// may have the only one that a process can have.
fn filter_calls(prepared: &Prepared<'_>) -> Result<()> {
    const NEW_LISTENER: u32 = 1 << 3;
    const WAIT_KILLABLE: u32 = 1 << 5;
    let program = prepared.supervised_filter;
    let listener = sys::seccomp_filter(program, NEW_LISTENER | WAIT_KILLABLE)
        // Before 5.19, signals interrupt a waiting call, which the kernel then starts again.
        .or_else(|_| sys::seccomp_filter(program, NEW_LISTENER));
    if let Ok(listener) = listener {
        #[allow(clippy::cast_possible_truncation, reason = "descriptors are ints")]
        let listener = listener as RawFd;
        let sent = sys::send_descriptor(SUPERVISOR, listener);
        sys::close(listener);
        return sent;
    }
    Report { kind: UNSUPERVISED, stage: 0, index: 0, errno: 0, status: 0, largest_kib: 0 }.send(REPORT);
    sys::seccomp_filter(prepared.filter, 0).map(drop)
}

/// Where the report and the supervisor's socket are while the command is not yet itself.
const REPORT: RawFd = 3;
const SUPERVISOR: RawFd = 4;

/// Leaves stdin from `/dev/null`, the output twice, until exec the report and the supervisor's socket, and
/// nothing else.
///
/// The descriptors that come in are all above these places: see `run`.
fn move_descriptors(descriptors: Descriptors) -> Result<()> {
    sys::duplicate(descriptors.output, 1, 0)?;
    sys::duplicate(descriptors.output, 2, 0)?;
    sys::duplicate(descriptors.report, REPORT, libc::O_CLOEXEC)?;
    sys::duplicate(descriptors.supervisor, SUPERVISOR, libc::O_CLOEXEC)?;
    sys::close_range(5, u32::MAX)?;
    let null = sys::open(c"/dev/null", libc::O_RDONLY, 0)?;
    if null == 0 {
        return sys::keep_open(null);
    }
    sys::duplicate(null, 0, 0)?;
    sys::close(null);
    Ok(())
}
