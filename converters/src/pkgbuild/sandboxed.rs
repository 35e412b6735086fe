// converters/src/pkgbuild/sandboxed.rs
//! The second way: a real bash in the sandbox reads the file, and says which variables and functions that gave.
//!
//! There is no network, no home and nothing that can be written but an empty `/tmp`; memory, processes, time and output are limited. The file's own
//! output and errors go nowhere; what bash prints of its state comes through a descriptor that is closed while the file is read. The
//! state is then read by our own evaluator, as plain assignments, so that the rules for packages are the same.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sandbox::{Bind, Level, Limits, Plan, RootView, SandboxError, Status};

use super::{Description, Options, ReadError};

/// Reads the file, within a function as makepkg does, and prints the state. `builtin` keeps a function of the file from standing in for a builtin.
const DRIVER: &str = "exec 7>&1 1>/dev/null 2>/dev/null\n\
    cd /startdir || exit 1\n\
    startdir=/startdir\n\
    source_safe() { source ./PKGBUILD 7>&-; }\n\
    source_safe\n\
    unset -f source_safe\n\
    builtin declare -p >&7\n\
    builtin declare -f >&7\n\
    builtin printf '# the end\\n' >&7\n";

/// What the state ends with.
const END: &[u8] = b"# the end\n";

/// Why the sandbox gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SandboxedError {
    /// The sandbox did not start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Bash did not come to the file's end.
    #[error("bash did not read it to its end ({status:?})")]
    Ended {
        /// How it ended.
        status: Status,
    },
    /// The file or what bash made of it is not understood.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl SandboxedError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sandbox(error) => error.hint(),
            Self::Ended { status: Status::TimedOut | Status::OutputLimit | Status::OutOfMemory, .. } => {
                Some("it does too much while it is read: look at its top level".to_owned())
            }
            Self::Ended { .. } => Some("it may have ended its shell with `exit`".to_owned()),
            Self::Read(error) => error.hint(),
        }
    }
}

/// Evaluates a PKGBUILD with bash in the sandbox. `directory` holds the file, under the name `PKGBUILD`, and what belongs to it.
///
/// # Errors
/// [`SandboxedError`] if there is no sandbox, if bash did not come to the end, or if the result is no description.
pub fn read(
    text: &[u8],
    directory: &Path,
    options: &Options,
    cancel: &AtomicBool,
) -> Result<Description, SandboxedError> {
    let variable = |name: &str, value: &str| (name.to_owned(), OsString::from(value));
    let plan = Plan {
        root: RootView::Host { overlays: Vec::new() },
        binds: vec![Bind { source: directory.to_owned(), target: "/startdir".to_owned(), writable: false }],
        command: ["/usr/bin/bash", "--noprofile", "--norc", "-c", DRIVER].map(OsString::from).to_vec(),
        environment: vec![
            variable("PATH", "/usr/bin:/bin"),
            variable("LC_ALL", "C.UTF-8"),
            variable("CARCH", &options.carch),
            variable("CHOST", options.profile.chost),
        ],
        directory: "/".to_owned(),
        limits: Limits {
            memory_bytes: Some(256 << 20),
            processes: Some(64),
            cpus: Some(1),
            told_cpus: None,
            wall_clock: Some(Duration::from_secs(10)),
            output_bytes: Some(16 << 20),
            file_bytes: Some(1 << 20),
        },
        level: Level::Full,
    };
    let mut state = Vec::new();
    let outcome = sandbox::run(&plan, &mut |piece| state.extend_from_slice(piece), cancel)?;
    let Some(state) = state.strip_suffix(END).filter(|_| outcome.status == Status::Exited(0)) else {
        return Err(SandboxedError::Ended { status: outcome.status });
    };
    Ok(super::from_state(text, state, options)?)
}
