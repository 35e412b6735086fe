// conary/commands/cook/story.rs
//! The story of a cook: the kitchen's events as lines.

use std::path::Path;
use std::sync::Mutex;

use kitchen::Event;
use kitchen::phases::Step;
use kitchen::why::MissReason;
use recipes::{Phase, TroveSpec};

use crate::commands::{Context, fetch};
use crate::ui::live::Task;
use crate::ui::{Ui, text};

/// Tells one cook.
pub struct Story<'a> {
    ui: &'a Ui,
    directory: &'a Path,
    fetch: fetch::Story<'a>,
    now: Mutex<Now>,
}

/// What goes on at this moment.
#[derive(Debug, Default)]
struct Now {
    title: String,
    task: Option<Task>,
}

impl Now {
    /// What a step is told about: the build, or the output that it fills.
    fn title_of(&self, step: &Step) -> String {
        match step {
            Step::Output(name) => format!("{name} of {}", self.title),
            Step::Phase(_) | Step::Strip => self.title.clone(),
        }
    }
}

/// A name and version as people write them: `hello-1.0-1`.
pub fn title(spec: &TroveSpec) -> String {
    match &spec.version {
        Some(version) => format!("{}-{version}", spec.name),
        None => spec.name.to_string(),
    }
}

/// The verbs of a step: while it runs, and when it is done.
fn verbs(step: &Step) -> (&'static str, &'static str) {
    let phase = match step {
        Step::Phase(phase) => *phase,
        Step::Output(_) => Phase::Install,
        Step::Strip => return ("Stripping", "Stripped"),
    };
    match phase {
        Phase::Setup => ("Setting up", "Set up"),
        Phase::Configure => ("Configuring", "Configured"),
        Phase::Make => ("Building", "Built"),
        Phase::Check => ("Checking", "Checked"),
        Phase::Install => ("Staging", "Staged"),
        Phase::PostInstall => ("Finishing", "Finished"),
    }
}

impl<'a> Story<'a> {
    /// The story of one cook.
    pub fn new(context: &Context<'a>) -> Self {
        let Context { ui, environment, .. } = *context;
        Self { ui, directory: &environment.directory, fetch: fetch::Story::new(ui), now: Mutex::default() }
    }

    /// A path as it is shown: relative, where it lies below the current directory.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.directory).unwrap_or(path).display().to_string()
    }

    /// Tells one event.
    pub fn tell(&self, event: Event<'_>) {
        let mut now = self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Started { spec } => now.title = title(spec),
            Event::Fetch(event) => self.fetch.tell(event),
            Event::Fresh { spec } => self.ui.story("Fresh", &title(spec)),
            Event::Miss { spec, reason: MissReason::First } => self.ui.detail("New", &title(spec)),
            Event::Miss { spec, reason } => self.ui.story("Stale", &format!("{}: {reason}", title(spec))),
            Event::FromHost { requirement } => {
                self.ui.detail("Borrowed", &format!("{requirement} from what lies under the troves"));
            }
            Event::Waiting { holder } => self.ui.story("Waiting", &format!("for {holder}")),
            Event::Unpacked { file, entries, bytes } => {
                let entries = text::count(entries, "entry", "entries");
                self.ui.story("Unpacked", &format!("{file}: {entries}, {}", text::size(bytes)));
            }
            Event::Patched { file } => self.ui.story("Patched", &file),
            Event::LogOpened { path } => self.ui.detail("Logging", &format!("to {}", path.display())),
            Event::StepStarted { step } => now.task = Some(self.ui.task(verbs(step).0, &now.title_of(step))),
            Event::Output { bytes } => self.ui.output(bytes),
            Event::StepFinished { step, wall, cpu } => {
                now.task = None;
                let (wall, cpu) = (text::duration(wall), text::duration(cpu));
                self.ui.story(verbs(step).1, &format!("{} in {wall} ({cpu} processor time)", now.title_of(step)));
            }
            Event::Lowered { level, error } => {
                let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
                self.ui.warning(&format!(
                    "NOT ISOLATED: {error}{cause}; going on at level {}: the steps see this host's system, processes and names, but reach \
                     no network and no home, and write only what is theirs. `--require-isolation full` refuses",
                    level.name()
                ));
            }
            Event::Isolation { level, applied } => {
                let applied: Vec<String> = applied.iter().map(|(name, value)| format!("{name}={value}")).collect();
                self.ui.detail("Isolated", &format!("{level}: {}", applied.join(" ")));
            }
            Event::Plated { spec, files, bytes } => {
                let files = text::count(files, "file", "files");
                self.ui.story("Plated", &format!("{}: {files}, {}", title(spec), text::size(bytes)));
            }
            Event::Notice { message } => self.ui.warning(&message),
            Event::Written { path } => self.ui.story("Written", &self.shown(&path)),
            Event::Kept { path } => self.ui.story("Kept", &self.shown(&path)),
        }
    }

    /// Takes what goes on at this moment off the screen.
    pub fn end(&self) {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner).task = None;
        self.fetch.end();
    }
}
