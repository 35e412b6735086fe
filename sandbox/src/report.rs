// sandbox/src/report.rs
//! What the processes inside tell the caller down a pipe: which stage failed and why, or how it ended.
//!
//! Used between clone and exec: see `child`.

use std::os::fd::RawFd;

use crate::sys::{self, Errno, Result};

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
    Network,
    Propagation,
    Source,
    Proc,
    NewRoot,
    Pivot,
    Operation,
    Processes,
    Session,
    Output,
    Input,
    Signals,
    Limits,
    Affinity,
    Personality,
    Keyring,
    Capabilities,
    NoNewPrivileges,
    Landlock,
    Seccomp,
    Aside,
    Directory,
    Execute,
}

/// Words for each stage, in order.
pub(crate) const STAGES: [&str; 30] = [
    "close inherited descriptors",
    "wait for the id maps",
    "become id 1000",
    "time namespace",
    "control group namespace",
    "die with the caller",
    "host name",
    "network namespace",
    "private mounts",
    "clone a mount of the host",
    "mount /proc",
    "tmpfs for the root",
    "pivot_root",
    "make the root",
    "clone the command",
    "new session",
    "output pipe",
    "/dev/null as stdin",
    "default signals",
    "resource limits",
    "processor affinity",
    "personality",
    "session keyring",
    "drop capabilities",
    "no_new_privs",
    "landlock",
    "seccomp",
    "namespaces of the command",
    "enter the directory",
    "exec",
];

/// What pid 1 or the command tells the caller.
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
    /// What all of them used.
    pub used: Used,
}

/// What a process and those that it waited for have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Time in user mode, in microseconds.
    pub user_us: u64,
    /// Time in the kernel, in microseconds.
    pub system_us: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub written_bytes: u64,
}

impl Used {
    /// What this process and its children have used until now.
    pub fn so_far() -> Self {
        let [own, children] = sys::usage().map(|usage| Self::of(&usage));
        Self {
            user_us: own.user_us.saturating_add(children.user_us),
            system_us: own.system_us.saturating_add(children.system_us),
            read_bytes: own.read_bytes.saturating_add(children.read_bytes),
            written_bytes: own.written_bytes.saturating_add(children.written_bytes),
        }
    }

    /// In our units. The kernel counts blocks of 512 bytes.
    pub fn of(usage: &libc::rusage) -> Self {
        let time = |time: libc::timeval| {
            time.tv_sec.unsigned_abs().saturating_mul(1_000_000).saturating_add(time.tv_usec.unsigned_abs())
        };
        Self {
            user_us: time(usage.ru_utime),
            system_us: time(usage.ru_stime),
            read_bytes: usage.ru_inblock.unsigned_abs().saturating_mul(512),
            written_bytes: usage.ru_oublock.unsigned_abs().saturating_mul(512),
        }
    }
}

pub(crate) const FAILED: u32 = 1;
pub(crate) const ENDED: u32 = 2;
/// The kernel gave no listener, so `uname` answers as on the host.
pub(crate) const UNSUPERVISED: u32 = 3;

impl Report {
    pub const BYTES: usize = 56;

    /// A report of this kind that says nothing yet.
    pub fn of(kind: u32) -> Self {
        Self { kind, stage: 0, index: 0, errno: 0, status: 0, largest_kib: 0, used: Used::default() }
    }

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (small, large) = bytes.split_at_mut(24);
        let words = [
            self.kind.to_ne_bytes(),
            self.stage.to_ne_bytes(),
            self.index.to_ne_bytes(),
            self.errno.to_ne_bytes(),
            self.status.to_ne_bytes(),
            self.largest_kib.to_ne_bytes(),
        ];
        let Used { user_us, system_us, read_bytes, written_bytes } = self.used;
        let counts = [user_us, system_us, read_bytes, written_bytes].map(u64::to_ne_bytes);
        for (to, from) in small.iter_mut().zip(words.as_flattened()).chain(large.iter_mut().zip(counts.as_flattened()))
        {
            *to = *from;
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |index: usize| -> Option<[u8; 4]> { bytes.get(index * 4..index * 4 + 4)?.try_into().ok() };
        let count = |index: usize| -> Option<u64> {
            Some(u64::from_ne_bytes(bytes.get(24 + index * 8..32 + index * 8)?.try_into().ok()?))
        };
        Some(Self {
            kind: u32::from_ne_bytes(word(0)?),
            stage: u32::from_ne_bytes(word(1)?),
            index: u32::from_ne_bytes(word(2)?),
            errno: i32::from_ne_bytes(word(3)?),
            status: i32::from_ne_bytes(word(4)?),
            largest_kib: u32::from_ne_bytes(word(5)?),
            used: Used { user_us: count(0)?, system_us: count(1)?, read_bytes: count(2)?, written_bytes: count(3)? },
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
    pub stage: Stage,
    pub index: usize,
    pub errno: Errno,
}

/// Names the stage of an error.
pub(crate) trait At<T> {
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

/// Reports a failure and ends this process.
pub(crate) fn fail(report: RawFd, failure: Failure) -> ! {
    Report {
        stage: failure.stage as u32,
        #[allow(clippy::cast_possible_truncation, reason = "lists are far shorter")]
        index: failure.index as u32,
        errno: failure.errno,
        ..Report::of(FAILED)
    }
    .send(report);
    sys::exit(127)
}
