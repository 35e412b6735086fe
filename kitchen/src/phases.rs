// kitchen/src/phases.rs
//! The steps of a recipe, run one after the other, each in the sandbox.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use recipes::{Name, Phase, Recipe};
use sandbox::{Bind, Ended, Level, Limits, Outcome, Owners, Plan, Ready, RootView, SandboxError, Status};
use serde::{Deserialize, Serialize};

use crate::environment::{OUTPUTS, STRIP};
use crate::event::{Event, Listener};
use crate::kept::Kept;
use crate::lint::Lint;
use crate::log::Log;
use crate::shown::shown;
use crate::step::Room;
use crate::wanted::{self, Wanted};
use crate::workspace::{Workspace, WorkspaceError};

/// A log that grows past this is a build that prints without end.
const LONGEST_LOG: u64 = 4 << 30;

/// One thing that runs during a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A step of `[build]`.
    Phase(Phase),
    /// The `install` of an output.
    Output(Name),
    /// The tools that strip programs and libraries.
    Strip,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phase(phase) => phase.fmt(formatter),
            Self::Output(name) => write!(formatter, "install of {name}"),
            Self::Strip => formatter.write_str("strip"),
        }
    }
}

impl Step {
    /// Whether it may choose owners, which are recorded: what fills the output may, and pays for it whenever it looks at a file.
    fn gives_files_away(&self) -> bool {
        matches!(self, Self::Phase(Phase::Install | Phase::PostInstall) | Self::Output(_))
    }

    /// The name of the file that holds its script.
    fn file_name(&self) -> String {
        match self {
            Self::Output(name) => format!("install.{name}"),
            Self::Phase(_) | Self::Strip => self.to_string(),
        }
    }
}

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
    /// Bytes read from disks.
    #[serde(default)]
    pub read_bytes: u64,
    /// Bytes written to disks.
    #[serde(default)]
    pub written_bytes: u64,
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
pub struct Kitchen {
    /// The expanded recipe.
    pub recipe: Recipe,
    /// Where the build lies.
    pub workspace: Workspace,
    /// What the steps' `/` is made of.
    pub root: RootView,
    /// All variables.
    pub environment: BTreeMap<String, String>,
    /// Where the steps start, as they see it.
    pub directory: String,
    /// Where their scripts lie, as they see it.
    pub scripts: String,
    /// Where outputs with an `install` of their own have their directories, as the steps see it.
    pub outputs: String,
    /// Isolated or not.
    pub level: Level,
    /// How many jobs the steps are told to run at one time.
    pub jobs: u32,
    /// Processors that the steps are held to and told of; as many as the machine has where none is given.
    pub cpus: Option<u32>,
    /// Owners that the steps asked for.
    pub owners: Mutex<Owners>,
}

/// An empty record of owners for the steps of a recipe: they know the accounts that it declares.
#[must_use]
pub fn owners(recipe: &Recipe) -> Owners {
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for product in recipe.products() {
        users.extend(product.hooks.users.iter().map(|user| (user.name.clone(), user.id)));
        // A user has a group of its own name, unless it is declared to have another.
        groups.extend(product.hooks.users.iter().map(|user| (user.name.clone(), None)));
        groups.extend(product.hooks.groups.iter().map(|group| (group.name.clone(), group.id)));
    }
    // The declaration with a number is the one that counts.
    groups.sort_by_key(|(name, id)| (name.clone(), id.is_none()));
    groups.dedup_by(|later, first| later.0 == first.0);
    Owners::new(&users, &groups)
}

/// Why the steps did not all end well.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// A step ended with another status than 0, or was ended.
    #[error("{step} failed: {}", describe(*status, *peak_memory_bytes))]
    Failed {
        /// Which step.
        step: Step,
        /// How it ended.
        status: Status,
        /// The most memory that it had at one time.
        peak_memory_bytes: u64,
        /// The last lines it printed.
        tail: Vec<String>,
        /// What it wanted and did not find, as far as it said so.
        wanted: Vec<Wanted>,
        /// Where the whole log is.
        log: PathBuf,
    },
    /// The sandbox could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The host refused the first sandbox; nothing ran.
    #[error(transparent)]
    Refused(SandboxError),
    /// A step could not be written down.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

/// How a step ended, in words.
fn describe(status: Status, peak_memory_bytes: u64) -> String {
    match status {
        Status::Exited(code) => format!("exit status {code}"),
        Status::Signaled(signal) => format!("killed by signal {signal}"),
        Status::TimedOut => "it ran into the time limit".to_owned(),
        Status::Cancelled => "interrupted".to_owned(),
        Status::OutputLimit => "it printed more than a log may hold".to_owned(),
        Status::DiskLimit => "it had more on disk than it may".to_owned(),
        Status::ProcessLimit => "it wanted more processes at one time than it may have".to_owned(),
        Status::OutOfMemory => {
            format!("it was killed for memory, of which it had {} MiB at its peak", peak_memory_bytes >> 20)
        }
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
            Self::Failed { status: Status::DiskLimit, .. } => {
                Some("raise `build.disk` in the recipe if the build needs that much".to_owned())
            }
            Self::Failed { status: Status::ProcessLimit, .. } => {
                Some("raise `build.processes` in the recipe, or cook with fewer `--jobs`".to_owned())
            }
            Self::Failed { status: Status::OutOfMemory, .. } => {
                Some("raise `build.memory` in the recipe, or cook with fewer `--jobs`".to_owned())
            }
            Self::Failed { .. } => {
                Some("cook with `--keep-failed`, and look at what the step left with `conary enter NAME`".to_owned())
            }
            Self::Sandbox(error) | Self::Refused(error) => error.hint(),
            Self::Workspace(error) => error.hint(),
        }
    }
}

/// Runs every step that the recipe has, in order, those of its outputs last; `check` only if `with_check`.
///
/// # Errors
/// [`PhaseError::Failed`] for the first step that does not end with status 0.
pub fn run(
    kitchen: &Kitchen,
    with_check: bool,
    log: &mut Log,
    cancel: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Ran, PhaseError> {
    for (step, script) in kitchen.steps(with_check) {
        kitchen.workspace.write_step(&step.file_name(), script)?;
    }
    let mut following = kitchen.steps(with_check).map(|(step, _)| step).peekable();
    let mut ran = Ran::default();
    let mut made = None;
    let mut before: Option<Ended> = None;
    while let Some(step) = following.next() {
        let ready = made.take().unwrap_or_else(|| kitchen.ready(&step));
        // A sandbox takes longer to make than many a step: the next one is made while this step is at work, and the one before is
        // taken apart.
        let meanwhile = || {
            made = following.peek().map(|step| kitchen.ready(step));
            before = None;
        };
        let ended = one(kitchen, &step, ready, meanwhile, log, cancel, listener);
        let ended = ended.map_err(|error| match error {
            PhaseError::Sandbox(error) if ran.steps.is_empty() && error.is_refusal() => PhaseError::Refused(error),
            error => error,
        })?;
        let outcome = &ended.outcome;
        if ran.steps.is_empty() {
            listener(Event::Isolation { level: kitchen.level.name(), applied: &outcome.applied });
            ran.applied.clone_from(&outcome.applied);
        }
        ran.steps.push(Usage {
            phase: step.to_string(),
            wall_ms: millis(outcome.wall),
            cpu_ms: millis(cpu(outcome)),
            peak_memory_bytes: outcome.peak_memory_bytes,
            read_bytes: outcome.read_bytes,
            written_bytes: outcome.written_bytes,
        });
        before = Some(ended);
    }
    Ok(ran)
}

/// Runs a step that stands alone.
///
/// # Errors
/// [`PhaseError::Failed`] if it does not end with status 0.
pub(crate) fn alone(
    kitchen: &Kitchen,
    step: &Step,
    script: &str,
    log: &mut Log,
    cancel: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Outcome, PhaseError> {
    kitchen.workspace.write_step(&step.file_name(), script)?;
    Ok(one(kitchen, step, kitchen.ready(step), || (), log, cancel, listener)?.outcome)
}

/// Runs one step in the sandbox that was made for it, and does something `meanwhile`.
fn one(
    kitchen: &Kitchen,
    step: &Step,
    ready: Result<Ready, PhaseError>,
    meanwhile: impl FnOnce(),
    log: &mut Log,
    cancel: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Ended, PhaseError> {
    listener(Event::StepStarted { step });
    log.begin(&step.to_string());
    let mut lint = Lint::default();
    let mut output = |bytes: &[u8]| {
        log.write(bytes);
        lint.read(bytes);
        listener(Event::Output { bytes });
    };
    let mut owners = kitchen.owners.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = ready?.run(Some(&mut owners), meanwhile, &mut output, cancel)?;
    let outcome = &ended.outcome;
    for path in owners.take_nodes() {
        let message = format!(
            "{step} wanted the device node {}: a package holds none, and `hooks.tmpfiles` has one made when the system starts",
            shown(&path)
        );
        listener(Event::Notice { message });
    }
    drop(owners);
    if outcome.status != Status::Exited(0) {
        return Err(PhaseError::Failed {
            step: step.clone(),
            status: outcome.status,
            peak_memory_bytes: outcome.peak_memory_bytes,
            tail: log.tail(),
            wanted: wanted::in_lines(log.end().lines()),
            log: log.path().to_owned(),
        });
    }
    listener(Event::StepFinished { step, wall: outcome.wall, cpu: cpu(outcome) });
    if let Some(flag) = lint.found() {
        let message = format!(
            "{step} compiled with `{flag}`: what comes out depends on this machine's processor, which the key does not hold"
        );
        listener(Event::Notice { message });
    }
    Ok(ended)
}

fn cpu(outcome: &Outcome) -> Duration {
    outcome.cpu_user + outcome.cpu_system
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Kitchen {
    /// Where files lie while they are stripped, as the tools see it.
    pub(crate) fn strip_place(&self) -> String {
        match self.level {
            Level::Full => STRIP.to_owned(),
            Level::Restricted | Level::None => self.workspace.strip().to_string_lossy().into_owned(),
        }
    }

    /// What a step sees, but its command and its directory of a further output.
    fn room(&self, step: &Step) -> Room {
        let mut environment = self.environment.clone();
        if let Step::Output(name) = step {
            environment.insert("DESTDIR".to_owned(), format!("{}/{name}", self.outputs));
        }
        Room {
            root: self.root.clone(),
            build: self.workspace.build(),
            dest: self.workspace.dest(),
            steps: self.workspace.steps(),
            environment,
            directory: self.directory.clone(),
            limits: Limits {
                memory_bytes: self.recipe.build.memory_bytes,
                wall_clock: self.recipe.build.timeout_secs.map(Duration::from_secs),
                disk_bytes: self.recipe.build.disk_bytes,
                processes: self.recipe.build.processes,
                output_bytes: Some(LONGEST_LOG),
                cpus: self.cpus,
                ..Limits::default()
            },
            level: self.level,
        }
    }

    /// Writes beside the tree what somebody needs to go back into the room of a step.
    pub(crate) fn write_room(&self, name: &str, step: &Step) -> Result<(), WorkspaceError> {
        match Kept::new(name, &step.to_string(), &self.room(step)) {
            Some(kept) => self.workspace.write_room(&kept),
            None => Ok(()),
        }
    }

    /// The sandbox's plan for a shell where the first step would begin, with all steps written down and no limit on time.
    pub(crate) fn shell(&self) -> Result<Plan, WorkspaceError> {
        for (step, script) in self.steps(true) {
            self.workspace.write_step(&step.file_name(), script)?;
        }
        let mut room = self.room(&Step::Phase(Phase::Setup));
        room.limits = Limits { wall_clock: None, output_bytes: None, disk_bytes: None, ..room.limits };
        let mut plan = room.plan(vec!["/bin/sh".into()]);
        plan.binds.push(Bind { source: self.workspace.outputs(), target: OUTPUTS.to_owned(), writable: true });
        Ok(plan)
    }

    /// The steps in their order, those of the outputs last, with their scripts.
    fn steps(&self, with_check: bool) -> impl Iterator<Item = (Step, &String)> {
        let phases = self.recipe.build.steps.iter().map(|(phase, script)| (Step::Phase(*phase), script));
        let outputs = self.recipe.outputs.iter();
        let outputs =
            outputs.filter_map(|output| Some((Step::Output(output.package.name.clone()), output.install.as_ref()?)));
        phases.chain(outputs).filter(move |(step, _)| with_check || *step != Step::Phase(Phase::Check))
    }

    /// The sandbox of one step, whose script is written down, up to where its command begins.
    fn ready(&self, step: &Step) -> Result<Ready, PhaseError> {
        let owners = step.gives_files_away().then(|| owners(&self.recipe));
        Ok(sandbox::prepare(self.plan(step), owners.as_ref())?)
    }

    /// The sandbox's plan for one step.
    fn plan(&self, step: &Step) -> Plan {
        let script = format!("{}/{}", self.scripts, step.file_name());
        let room = self.room(step);
        let mut plan = room.plan(["/bin/sh", "-eu", &script].iter().map(OsString::from).collect());
        let further = match step {
            Step::Phase(_) => None,
            Step::Output(_) => Some((self.workspace.outputs(), OUTPUTS)),
            Step::Strip => Some((self.workspace.strip(), STRIP)),
        };
        plan.binds.extend(further.map(|(source, target)| Bind { source, target: target.to_owned(), writable: true }));
        plan
    }
}
