// kitchen/src/phases.rs
//! The steps of a recipe, run one after the other, each in the sandbox.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use recipes::{Phase, Recipe};
use sandbox::{Level, Limits, Outcome, Plan, RootView, SandboxError, Status};
use serde::{Deserialize, Serialize};

use crate::event::{Event, Listener};
use crate::log::Log;
use crate::step::Room;
use crate::workspace::{Workspace, WorkspaceError};

/// A log that grows past this is a build that prints without end.
const LONGEST_LOG: u64 = 4 << 30;

/// What a step used, for the detached statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The step.
    pub phase: String,
    /// Wall-clock time in milliseconds.
    pub wall_ms: u64,
    /// User and system time in milliseconds.
    pub cpu_ms: u64,
    /// Largest memory in bytes.
    pub peak_memory_bytes: u64,
}

/// What the steps of a build used, and what the sandbox applied.
#[derive(Debug, Default)]
pub struct Ran {
    /// One a step, in order.
    pub steps: Vec<Usage>,
    /// Feature and value, as the first step's sandbox reported them.
    pub applied: Vec<(String, String)>,
}

/// What all steps of a build share.
pub struct Kitchen<'a> {
    /// The expanded recipe.
    pub recipe: &'a Recipe,
    /// Where the build lies.
    pub workspace: &'a Workspace,
    /// What the steps' `/` is made of.
    pub root: RootView,
    /// All variables.
    pub environment: BTreeMap<String, String>,
    /// Where the steps start, as they see it.
    pub directory: String,
    /// Where their scripts lie, as they see it.
    pub scripts: String,
    /// Isolated or not.
    pub level: Level,
}

/// Why the steps did not all end well.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// A step ended with another status than 0, or was ended.
    #[error("{phase} failed: {}", describe(*status))]
    Failed {
        /// Which step.
        phase: Phase,
        /// How it ended.
        status: Status,
        /// The last lines it printed.
        tail: Vec<String>,
        /// Where the whole log is.
        log: PathBuf,
    },
    /// The sandbox could not be set up; nothing ran.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A step could not be written down.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

/// How a step ended, in words.
fn describe(status: Status) -> String {
    match status {
        Status::Exited(code) => format!("exit status {code}"),
        Status::Signaled(signal) => format!("killed by signal {signal}"),
        Status::TimedOut => "it ran into the time limit".to_owned(),
        Status::Cancelled => "interrupted".to_owned(),
        Status::OutputLimit => "it printed more than a log may hold".to_owned(),
        Status::OutOfMemory => "it ran into the memory limit".to_owned(),
    }
}

impl PhaseError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { status: Status::TimedOut, .. } => {
                Some("raise `build.timeout` in the recipe if the build is only slow".to_owned())
            }
            Self::Failed { status: Status::OutOfMemory, .. } => {
                Some("raise `build.memory` in the recipe, or cook with fewer `--jobs`".to_owned())
            }
            Self::Failed { .. } => Some("cook with `--keep-failed` to look at the tree that the step left".to_owned()),
            Self::Sandbox(error) => error.hint(),
            Self::Workspace(error) => error.hint(),
        }
    }
}

/// Runs every step that the recipe has, in order; `check` only if `with_check`.
///
/// # Errors
/// [`PhaseError::Failed`] for the first step that does not end with status 0.
pub fn run(
    kitchen: &Kitchen<'_>,
    with_check: bool,
    log: &mut Log,
    cancel: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Ran, PhaseError> {
    let mut ran = Ran::default();
    for (phase, script) in &kitchen.recipe.build.steps {
        if *phase == Phase::Check && !with_check {
            continue;
        }
        listener(Event::PhaseStarted { phase: *phase });
        log.begin(phase.name());
        let plan = kitchen.plan(*phase, script)?;
        let outcome = sandbox::run(
            &plan,
            &mut |bytes| {
                log.write(bytes);
                listener(Event::Output { bytes });
            },
            cancel,
        )?;
        if ran.steps.is_empty() {
            listener(Event::Isolation { level: level_name(kitchen.level), applied: &outcome.applied });
            ran.applied.clone_from(&outcome.applied);
        }
        if outcome.status != Status::Exited(0) {
            return Err(PhaseError::Failed {
                phase: *phase,
                status: outcome.status,
                tail: log.tail(),
                log: log.path().to_owned(),
            });
        }
        listener(Event::PhaseFinished { phase: *phase, wall: outcome.wall, cpu: cpu(&outcome) });
        ran.steps.push(Usage {
            phase: phase.name().to_owned(),
            wall_ms: millis(outcome.wall),
            cpu_ms: millis(cpu(&outcome)),
            peak_memory_bytes: outcome.peak_memory_bytes,
        });
    }
    Ok(ran)
}

/// The word for an isolation level on action rows and in statements.
#[must_use]
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Full => "full",
        Level::None => "none",
    }
}

fn cpu(outcome: &Outcome) -> Duration {
    outcome.cpu_user + outcome.cpu_system
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Kitchen<'_> {
    /// The sandbox's plan for one step.
    fn plan(&self, phase: Phase, script: &str) -> Result<Plan, WorkspaceError> {
        self.workspace.write_step(phase, script)?;
        let script = format!("{}/{phase}", self.scripts);
        let room = Room {
            root: self.root.clone(),
            build: self.workspace.build(),
            dest: self.workspace.dest(),
            steps: self.workspace.steps(),
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            limits: Limits {
                memory_bytes: self.recipe.build.memory_bytes,
                wall_clock: self.recipe.build.timeout_secs.map(Duration::from_secs),
                output_bytes: Some(LONGEST_LOG),
                ..Limits::default()
            },
            level: self.level,
        };
        Ok(room.plan(["/bin/sh", "-eu", &script].iter().map(OsString::from).collect()))
    }
}
