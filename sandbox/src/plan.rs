// sandbox/src/plan.rs
//! What is to be run, and how it ended: plain values that can be compared and printed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// One command and everything that it can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What `/` is made of.
    pub root: RootView,
    /// Directories and files of the host that appear in the root.
    pub binds: Vec<Bind>,
    /// The program and its arguments. A program without a slash is searched in the plan's own `PATH`.
    pub command: Vec<OsString>,
    /// The whole environment: exactly these variables, in this order.
    pub environment: Vec<(String, OsString)>,
    /// Where the command starts, absolute, as it sees it.
    pub directory: String,
    /// What it may use.
    pub limits: Limits,
    /// Isolated or not.
    pub level: Level,
}

/// What the root directory of a sandbox is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootView {
    /// The host's `/usr` and the links into it, read-only, without `/usr/local`; with `/etc/alternatives`
    /// and `/etc/ld.so.cache`, and nothing else of the host.
    Host {
        /// Directories whose trees lie above the host's, the first one uppermost.
        overlays: Vec<PathBuf>,
    },
    /// Nothing of the host: only these directories, the first one uppermost.
    Layers {
        /// The directories.
        lowers: Vec<PathBuf>,
    },
    /// One directory that the command may change, though nothing of it is: what it does is caught in another one.
    Caught {
        /// The directory.
        lower: PathBuf,
        /// A directory of [`crate::build_owner`] with two empty ones, `upper` and `work`. In `upper` lies afterwards what the kernel's
        /// overlay says that was changed: new and changed things, and a character device 0:0 for each that is gone.
        changes: PathBuf,
    },
}

/// A directory or file of the host that appears inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Where it is on the host.
    pub source: PathBuf,
    /// Where it appears: absolute, without `.` and `..`.
    pub target: String,
    /// Whether the command may write there. It then belongs to [`crate::build_owner`], or its owner is mapped to
    /// id 1000 inside where root runs this.
    pub writable: bool,
}

/// What the command and its descendants may use. `None` is no limit beyond the fixed ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all processes together, where a control group can be made; else of each process.
    pub memory_bytes: Option<u64>,
    /// Processes and threads at one time.
    pub processes: Option<u64>,
    /// Processors: the command is held to the first so many of those that the caller may use. Without this
    /// limit it may use all that the machine gives, whatever the caller holds itself to.
    pub cpus: Option<u32>,
    /// Processors that the command is told of by every way there is. `None`: as many as `cpus`, else as the machine has.
    pub told_cpus: Option<u32>,
    /// Time until everything is killed.
    pub wall_clock: Option<Duration>,
    /// Bytes on stdout and stderr together until everything is killed.
    pub output_bytes: Option<u64>,
    /// Size of a single file.
    pub file_bytes: Option<u64>,
    /// Bytes on disk below the writable binds until everything is killed. It is looked at twice a second, and less often where a look
    /// takes long.
    pub disk_bytes: Option<u64>,
}

/// How far the command is kept apart from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not at all: it runs on the host, with the host's files and the caller's identity. It still has its
    /// own session, the closed environment and no inherited descriptors, and nothing of it survives.
    None,
    /// Where the host gives no namespaces. It runs on the host, and sees the host's processes, names and numbers; but it makes no
    /// sockets, writes only in the plan's writable places, reads only those that the plan names and the system's programs, libraries
    /// and settings, and gains no privilege. This is no isolation.
    Restricted,
    /// Everything that this crate knows.
    Full,
}

impl Level {
    /// Its name in messages, on action rows and in statements.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restricted => "restricted",
            Self::Full => "full",
        }
    }

    /// The level of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Restricted, Self::Full].into_iter().find(|level| level.name() == name)
    }
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It ended itself with this exit status.
    Exited(i32),
    /// A signal that was not ours ended it.
    Signaled(i32),
    /// The wall-clock limit was reached.
    TimedOut,
    /// The caller asked for the end.
    Cancelled,
    /// It printed more than allowed.
    OutputLimit,
    /// It failed after the kernel had killed one of its processes for memory.
    OutOfMemory,
    /// It had more on disk than allowed.
    DiskLimit,
    /// It failed after the kernel had refused it a process for its limit.
    ProcessLimit,
}

/// What a finished command did and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// From start to the end of its last process.
    pub wall: Duration,
    /// Processor time of all its processes in user mode.
    pub cpu_user: Duration,
    /// Processor time of all its processes in the kernel.
    pub cpu_system: Duration,
    /// Most memory at one time: of all processes together where a control group counted it, else of the
    /// largest process.
    pub peak_memory_bytes: u64,
    /// Bytes that its processes had read from disks.
    pub read_bytes: u64,
    /// Bytes that its processes had written to disks.
    pub written_bytes: u64,
    /// What the wall was really made of, as name and value: `("landlock", "7")`.
    pub applied: Vec<(String, String)>,
}
