// sandbox/src/error.rs
//! Why a command could not be run, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why [`crate::run`] could not run a command. A command that ran and failed is an outcome, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The plan cannot be carried out on any machine.
    #[error("the sandbox's plan is wrong: {what}")]
    Plan {
        /// What is wrong.
        what: String,
    },
    /// A directory or file that the plan names could not be used.
    #[error("cannot put {path} into the sandbox (step: {step})")]
    Source {
        /// Which one.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a step.
    #[error("cannot make the sandbox (step: {step})")]
    Step {
        /// What was tried.
        step: String,
        /// What the kernel said.
        source: io::Error,
        /// What on this host is known to refuse it.
        hint: Option<String>,
    },
    /// The program to run could not be started inside.
    #[error("cannot start {program} in the sandbox")]
    Command {
        /// Its name, as in the plan.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The first process inside ended without a report.
    #[error("the sandbox's first process was killed by signal {signal} before the command ran")]
    Killed {
        /// The signal.
        signal: i32,
    },
}

impl SandboxError {
    /// Whether the host refused what a sandbox is made of, so that a lower level might be had.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        const REFUSALS: [i32; 6] = [libc::EPERM, libc::EACCES, libc::ENOSPC, libc::EUSERS, libc::ENOSYS, libc::EINVAL];
        matches!(self, Self::Step { source, .. } if source.raw_os_error().is_some_and(|errno| REFUSALS.contains(&errno)))
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("it must exist before the sandbox starts".to_owned())
            }
            Self::Source { .. } => Some("it must be readable for the user who runs this".to_owned()),
            Self::Step { hint, .. } => Some(
                hint.clone().unwrap_or_else(|| "run `conary doctor`: it tries every feature of the sandbox".to_owned()),
            ),
            Self::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("the program, or the interpreter it names, is not in the build root".to_owned())
            }
            Self::Plan { .. } | Self::Command { .. } => None,
            Self::Killed { .. } => Some("the machine may be out of memory; the kernel's log says so".to_owned()),
        }
    }
}
