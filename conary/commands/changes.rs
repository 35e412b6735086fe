// conary/commands/changes.rs
//! A changeset on the terminal: the plan, the question, the story. Install, remove and rollback share it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use clap::Args;
use installer::{
    ChangeRow, Event, PathAction, PathChange, Plan, PlanOptions, Request, Root, RootOptions, Warning, show_path,
};
use serde_json::{Value, json};
use store::Store;

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::environment;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::live::Task;
use crate::ui::{Ui, text};

/// What every command takes that changes a root.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct ChangeArgs {
    /// Show what would happen, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Run no scriptlet of any package
    #[arg(long)]
    pub no_scripts: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Print one JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// How a root is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To look; takes no lock.
    Read,
    /// To change what is there.
    Write,
    /// To change it, and make it when it is not there.
    Create,
}

/// Opens the root of a command line, and tells what an earlier, interrupted command left.
pub fn open(arguments: &RootArgs, access: Access, context: &Context<'_>) -> Result<Root, Failure> {
    let surroundings = context.environment;
    let options = options(arguments, access, context);
    let root = Root::open(&surroundings.absolute(&arguments.root), &options)?;
    let story = Story::new(context.ui);
    for note in root.notes() {
        story.tell(note);
    }
    Ok(root)
}

/// Opens it to change it, or only to look where `--dry-run` was said.
pub fn open_to_change(arguments: &RootArgs, change: &ChangeArgs, context: &Context<'_>) -> Result<Root, Failure> {
    open(arguments, if change.dry_run { Access::Read } else { Access::Write }, context)
}

/// How the root of a command line is opened.
pub fn options(arguments: &RootArgs, access: Access, context: &Context<'_>) -> RootOptions {
    let surroundings = context.environment;
    RootOptions {
        write: access != Access::Read,
        create: access == Access::Create,
        store: arguments.store.as_deref().map(|store| surroundings.absolute(store)),
        uid: surroundings.uid,
        now_unix_secs: environment::now_unix_secs(),
        actor: surroundings.user_name(),
        command_line: surroundings.command_line.clone(),
    }
}

/// Content that is brought after the yes, and not before.
pub struct Content<'a> {
    /// Bytes that are to travel.
    pub bytes: u64,
    /// Brings it.
    pub bring: &'a mut dyn FnMut() -> Result<(), Failure>,
}

/// Plans, shows, asks, and carries out.
pub fn change(
    root: &Root,
    requests: &[Request],
    sources: &[&Store],
    options: PlanOptions,
    arguments: &ChangeArgs,
    context: &Context<'_>,
) -> Outcome {
    change_with(root, requests, sources, options, arguments, None, context)
}

/// The same for packages whose content is somewhere else yet.
pub fn change_with(
    root: &Root,
    requests: &[Request],
    sources: &[&Store],
    options: PlanOptions,
    arguments: &ChangeArgs,
    content: Option<Content<'_>>,
    context: &Context<'_>,
) -> Outcome {
    let options = PlanOptions { no_scripts: arguments.no_scripts, ..options };
    let mut plan = root.plan(requests, sources, &options)?;
    let story = Story::new(context.ui);
    let (unmet, others): (Vec<_>, Vec<_>) =
        plan.warnings.iter().partition(|warning| matches!(warning, Warning::Unmet { .. }));
    for warning in others {
        story.warn(warning);
    }
    for line in unmet_lines(&unmet, context.ui.is_verbose()) {
        context.ui.warning(&line);
    }
    let bytes = content.as_ref().map(|content| content.bytes);
    if arguments.dry_run {
        if arguments.json {
            context.ui.json(&describe(&plan, None, bytes))?;
        } else {
            context.ui.lines(&(outline(&plan) + &travels(bytes)))?;
        }
        return Ok(Code::Success);
    }
    if plan.is_empty() {
        context.ui.story("Unchanged", "there is nothing to do");
        if arguments.json {
            context.ui.json(&describe(&plan, None, bytes))?;
        }
        return Ok(Code::Success);
    }
    if !arguments.yes {
        confirm(&plan, bytes, context)?;
    }
    if let Some(content) = content {
        (content.bring)()?;
    }
    let changeset = root.commit(&mut plan, sources, context.cancel, &|event| story.tell(&event))?;
    story.end();
    for change in &plan.troves {
        let (verb, what) = sentence(change);
        context.ui.story(verb, &what);
    }
    if arguments.json {
        context.ui.json(&describe(&plan, changeset.number, bytes))?;
    }
    if touches_units(&plan) && is_run_by_systemd(root) {
        context
            .ui
            .warning("units changed, and the systemd that runs here knows the old ones: run `systemctl daemon-reload`");
    }
    // The command ends here: giving back the memory of each path would only take time.
    std::mem::forget(plan);
    degraded(&changeset.failed)
}

/// Whether units of systemd come, change or go.
fn touches_units(plan: &Plan) -> bool {
    let places = [&b"usr/lib/systemd/system/"[..], b"lib/systemd/system/", b"etc/systemd/system/"];
    plan.paths.iter().any(|change| places.iter().any(|place| change.path.starts_with(place)))
}

/// Whether a root is the running system, and systemd runs it (as `sd_booted(3)` looks).
fn is_run_by_systemd(root: &Root) -> bool {
    root.path() == Path::new("/") && Path::new("/run/systemd/system").is_dir()
}

/// What a command ends with after triggers have run.
pub fn degraded(failed: &[(String, String)]) -> Outcome {
    let Some((name, why)) = failed.first() else {
        return Ok(Code::Success);
    };
    let rest = if failed.len() > 1 { format!(", and {} more failed", failed.len() - 1) } else { String::new() };
    let what = if name.starts_with("scriptlet ") { name.clone() } else { format!("trigger {name}") };
    let message = format!("the root is degraded: {what} failed, {why}{rest}");
    Err(Failure::new(Code::General, message)
        .hint("the changeset itself is complete; mend the cause, then `conary trigger run` tries again"))
}

/// Plans, and brings what the plan needs into the root's store.
pub fn download(
    root: &Root,
    requests: &[Request],
    sources: &[&Store],
    options: PlanOptions,
    arguments: &ChangeArgs,
    content: Option<Content<'_>>,
    context: &Context<'_>,
) -> Outcome {
    let plan = root.plan(requests, sources, &options)?;
    let bytes = content.as_ref().map(|content| content.bytes);
    if let Some(content) = content {
        (content.bring)()?;
    }
    let story = Story::new(context.ui);
    let troves = root.download(&plan, sources, context.cancel, &|event| story.tell(&event))?;
    story.end();
    let what = text::count(troves as u64, "package", "packages");
    context.ui.story("Downloaded", &format!("{what} into the root's store; nothing is installed yet"));
    if arguments.json {
        context.ui.json(&describe(&plan, None, bytes))?;
    }
    Ok(Code::Success)
}

/// Shows the plan and asks whether to go on.
fn confirm(plan: &Plan, bytes: Option<u64>, context: &Context<'_>) -> Result<(), Failure> {
    let refused = || Failure::new(Code::Refused, "not confirmed: nothing was changed");
    context.ui.quote((summary(plan) + &travels(bytes)).as_bytes());
    match context.ui.confirm("Go on?") {
        Some(true) => Ok(()),
        Some(false) => Err(refused()),
        None => Err(refused().hint("there is no terminal to ask on: say `--yes`, or look with `--dry-run`")),
    }
}

/// How much content is to travel, as a line.
fn travels(bytes: Option<u64>) -> String {
    bytes.map(|bytes| format!("fetch {} of content\n", text::size(bytes))).unwrap_or_default()
}

/// One line for each trove.
fn summary(plan: &Plan) -> String {
    text::lines(plan.troves.iter().map(intention))
}

/// One line for each trove and each path.
fn outline(plan: &Plan) -> String {
    let paths = plan.paths.iter().map(|change| {
        let (word, more) = path_words(&change.action);
        let more = more.map(|more| format!(" ({more})")).unwrap_or_default();
        format!("  {word:8} {}{more}", show_path(&change.path))
    });
    let scripts = plan.scripts();
    let scripts = scripts.iter().map(|script| format!("  run      {script}"));
    summary(plan) + &text::lines(paths) + &text::lines(scripts)
}

/// A trove as people write it: `hello-1.0-1`.
fn title(spec: &str) -> String {
    spec.replacen('=', "-", 1)
}

/// What is done to one trove: the word, and the trove.
fn words(change: &ChangeRow) -> (&'static str, &'static str, String) {
    match (&change.before, &change.after) {
        (None, Some(after)) => ("install", "Installed", title(&after.spec)),
        (Some(before), None) => ("remove", "Removed", title(&before.spec)),
        (Some(before), Some(after)) if before.digest == after.digest && before.components == after.components => {
            ("mark", "Marked", format!("{} as {}", title(&after.spec), after.reason.as_str()))
        }
        (Some(before), Some(after)) if before.spec == after.spec => ("reinstall", "Reinstalled", title(&after.spec)),
        (Some(before), Some(after)) => {
            ("replace", "Replaced", format!("{} by {}", title(&before.spec), title(&after.spec)))
        }
        (None, None) => ("keep", "Kept", change.name.clone()),
    }
}

/// What is to be done to one trove, in words: `install hello-1.0-1`.
pub fn intention(change: &ChangeRow) -> String {
    let (word, _, what) = words(change);
    format!("{word} {what}")
}

fn sentence(change: &ChangeRow) -> (&'static str, String) {
    let (_, verb, what) = words(change);
    (verb, what)
}

/// What happens to a path: the word, and what else there is to say.
fn path_words(action: &PathAction) -> (&'static str, Option<String>) {
    let kept = |displaces: &bool| displaces.then(|| "what is there is kept for rollback".to_owned());
    match action {
        PathAction::Add => ("add", None),
        PathAction::Replace { displaces } => ("replace", kept(displaces)),
        PathAction::Change => ("change", None),
        PathAction::Remove { displaces } => ("remove", kept(displaces)),
        PathAction::Keep { beside: None } => ("keep", Some("edited".to_owned())),
        PathAction::Keep { beside: Some(beside) } => {
            ("keep", Some(format!("edited; the packaged one goes to {}", show_path(beside))))
        }
        PathAction::Adopt => ("adopt", Some("identical".to_owned())),
        PathAction::Save { to } => ("move", Some(format!("edited; to {}", show_path(to)))),
    }
}

/// The plan as JSON.
fn describe(plan: &Plan, number: Option<i64>, bytes: Option<u64>) -> Value {
    let path = |change: &PathChange| {
        let (word, more) = path_words(&change.action);
        json!({ "path": show_path(&change.path), "owner": change.owner, "action": word, "note": more })
    };
    json!({
        "changeset": number,
        "fetch_bytes": bytes,
        "troves": plan.troves,
        "paths": plan.paths.iter().map(path).collect::<Vec<_>>(),
        "scripts": plan.scripts(),
        "warnings": plan.warnings.iter().map(warning_words).collect::<Vec<_>>(),
    })
}

/// How many requirements without anybody who gives them are told one by one, where nobody asks for all.
const UNMET_TOLD: usize = 8;

/// What is used and nobody gives, once for each thing and not for each of its users; only how many, where these are many.
fn unmet_lines(warnings: &[&Warning], all: bool) -> Vec<String> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for warning in warnings {
        if let Warning::Unmet { trove, requirement } = warning {
            users.entry(requirement.clone()).or_default().push(trove.clone());
        }
    }
    if users.len() > UNMET_TOLD && !all {
        let most = users.iter().max_by_key(|(_, users)| users.len()).map_or("", |(requirement, _)| requirement);
        return vec![format!(
            "{} things that these packages use are not known to be here, first of all {most}; `-v` lists them",
            users.len()
        )];
    }
    users
        .into_iter()
        .map(|(requirement, users)| {
            let first = &users[0];
            let who = match users.len() {
                1 => format!("{first} uses"),
                2 => format!("{first} and another use"),
                count => format!("{first} and {} others use", count - 1),
            };
            format!("nothing here is known to give {requirement}, which {who}")
        })
        .collect()
}

/// A warning in words.
fn warning_words(warning: &Warning) -> String {
    match warning {
        Warning::Unmet { trove, requirement } => {
            format!("nothing here is known to give {requirement}, which {trove} uses")
        }
        Warning::Recommended { trove, requirement } => {
            format!("{trove} recommends {requirement}, which is not installed")
        }
        Warning::UnknownOwner { name, group } => {
            let what = if *group { "group" } else { "user" };
            format!("the root has no {what} {name}: its files go to 0")
        }
        Warning::NotApplied { path, what } => {
            format!("{}: {what} left off, because only root can set them", show_path(path))
        }
        Warning::MovedAside { path, to } => {
            format!("{} changed meanwhile and was moved to {}", show_path(path), show_path(to))
        }
        Warning::LeftAlone { path } => format!("{} changed meanwhile and was left alone", show_path(path)),
        Warning::DirectoryKept { path } => format!("{} stays: others use it", show_path(path)),
        Warning::Lost { path } => format!("{} was deleted by somebody while it was installed", show_path(path)),
        Warning::NoExchange { path } => {
            format!("{}: this file system cannot exchange two names, so one was moved over the other", show_path(path))
        }
        Warning::NotExported { why } => format!("var/lib/conary/state.json was not written: {why}"),
        Warning::ScriptSkipped { script } => format!("{script} is not run"),
        Warning::IdTaken { name, id } => {
            format!("{id}, which {name} wants, belongs to somebody else: {name} gets another number")
        }
        Warning::AccountKept { name } => {
            format!("the account {name} stays: it was edited, or owns something that stays")
        }
        Warning::Degraded { names } => {
            format!("the root is degraded: {} failed earlier; `conary trigger run` tries again", names.join(", "))
        }
        Warning::Unfinished { number } => {
            format!(
                "transaction {number} of an interrupted command is unfinished; the next command that may write finishes it"
            )
        }
        other => format!("{other:?}"),
    }
}

/// Tells a changeset while it happens.
struct Story<'a> {
    ui: &'a Ui,
    task: Mutex<Option<Task>>,
}

impl<'a> Story<'a> {
    fn new(ui: &'a Ui) -> Self {
        Self { ui, task: Mutex::default() }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Recovered { number, forward } => {
                let how = if *forward { "completed" } else { "taken back" };
                self.ui.story("Recovered", &format!("changeset {number} of an interrupted command was {how}"));
            }
            Event::Importing { spec, others: 0 } => self.now(Some(self.ui.task("Importing", spec))),
            Event::Importing { spec, others } => {
                self.now(Some(self.ui.task("Importing", &format!("{spec} and {others} more"))));
            }
            Event::Ingested { troves } => {
                self.now(None);
                self.ui.detail("Imported", &text::count(*troves as u64, "trove", "troves"));
            }
            Event::Staging { done, total } => {
                let words = format!("{done} of {total}");
                let mut task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                task.get_or_insert_with(|| self.ui.task("Staging", &words)).words(&words);
            }
            Event::Committed { number } => {
                self.now(None);
                self.ui.detail("Committed", &format!("changeset {number}"));
            }
            Event::Settled { number } => self.ui.detail("Settled", &format!("changeset {number}")),
            Event::Script { script } => self.now(Some(self.ui.task("Running", script))),
            Event::Trigger { name } => self.now(Some(self.ui.task("Running", &format!("trigger {name}")))),
            Event::Warning(warning) => self.warn(warning),
            other => self.ui.detail("Noted", &format!("{other:?}")),
        }
    }

    fn warn(&self, warning: &Warning) {
        self.ui.warning(&warning_words(warning));
    }

    fn end(&self) {
        self.now(None);
    }

    fn now(&self, task: Option<Task>) {
        *self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = task;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmet(count: usize, users: usize) -> Vec<Warning> {
        let of = |user| (0..count).map(move |thing| (user, thing));
        (0..users)
            .flat_map(of)
            .map(|(user, thing)| Warning::Unmet {
                trove: format!("t{user}=1-1"),
                requirement: format!("soname({thing})"),
            })
            .collect()
    }

    #[test]
    fn what_nobody_gives_is_told_once() {
        let lines = |warnings: &[Warning], all| unmet_lines(&warnings.iter().collect::<Vec<_>>(), all);
        assert_eq!(lines(&unmet(1, 1), false), ["nothing here is known to give soname(0), which t0=1-1 uses"]);
        assert_eq!(
            lines(&unmet(1, 2), false),
            ["nothing here is known to give soname(0), which t0=1-1 and another use"]
        );
        assert_eq!(
            lines(&unmet(1, 9), false),
            ["nothing here is known to give soname(0), which t0=1-1 and 8 others use"]
        );
        assert_eq!(lines(&unmet(8, 3), false).len(), 8);
        let many = lines(&unmet(9, 3), false);
        assert_eq!(many.len(), 1, "{many:?}");
        assert!(many[0].starts_with("9 things that these packages use are not known to be here"), "{many:?}");
        assert_eq!(lines(&unmet(9, 3), true).len(), 9);
    }
}
