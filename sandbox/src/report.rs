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
