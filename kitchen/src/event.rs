// kitchen/src/event.rs
//! What a cook tells while it runs: plain data, never formatted text.
//!
//! Events go one way. Nothing that a listener does changes what is built.

use std::path::PathBuf;
use std::time::Duration;

use recipes::TroveSpec;
use sandbox::{Level, SandboxError};

use crate::fetch;
use crate::phases::Step;
use crate::why::MissReason;

/// One thing that happened during a cook.
#[derive(Debug)]
pub enum Event<'a> {
    /// A cook of this package begins.
    Started {
        /// What is being cooked.
        spec: &'a TroveSpec,
    },
    /// The sources are being brought in or were found.
    Fetch(fetch::Event),
    /// The cached result answers; nothing runs.
    Fresh {
        /// What was asked for.
        spec: &'a TroveSpec,
    },
    /// No cached result answers, and why.
    Miss {
        /// What was asked for.
        spec: &'a TroveSpec,
        /// Which input differs from the nearest earlier cook.
        reason: &'a MissReason,
    },
    /// A requirement that no trove gives is taken from the host's `/usr`.
    FromHost {
        /// The requirement as the recipe wrote it.
        requirement: String,
    },
    /// Another process cooks the same thing; this one waits for it.
    Waiting {
        /// Who holds the lock, in words.
        holder: String,
    },
    /// A source lies in the build directory.
    Unpacked {
        /// Its name.
        file: String,
        /// Files, directories and links.
        entries: u64,
        /// Bytes of file content.
        bytes: u64,
    },
    /// One patch applied.
    Patched {
        /// The patch file's name.
        file: String,
    },
    /// The log of this cook is written here from now on.
    LogOpened {
        /// The file that grows while the build runs.
        path: PathBuf,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: &'a Step,
    },
    /// The running step printed something.
    Output {
        /// Raw bytes, not lines.
        bytes: &'a [u8],
    },
    /// A step ended well.
    StepFinished {
        /// Which.
        step: &'a Step,
        /// Wall-clock time.
        wall: Duration,
        /// User and system time of all its processes.
        cpu: Duration,
    },
    /// The host refused the level asked for, and the cook goes on at another one.
    Lowered {
        /// The level that is tried now.
        level: Level,
        /// What the host refused.
        error: &'a SandboxError,
    },
    /// What the sandbox really applied, or that there was none.
    Isolation {
        /// The level that was reached.
        level: &'static str,
        /// Feature and value, in order.
        applied: &'a [(String, String)],
    },
    /// One package's files are in the store.
    Plated {
        /// What was made.
        spec: &'a TroveSpec,
        /// Files of all components.
        files: u64,
        /// Bytes of all files.
        bytes: u64,
    },
    /// Something in the output that a packager should look at.
    Notice {
        /// What was seen.
        message: String,
    },
    /// The package file is in place.
    Written {
        /// Where.
        path: PathBuf,
    },
    /// The tree of a failed build was kept.
    Kept {
        /// Where.
        path: PathBuf,
    },
}

/// Where events go.
pub type Listener<'a> = &'a (dyn Fn(Event<'_>) + Sync);
