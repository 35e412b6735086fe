// conary/commands/config.rs
//! `conary config`: configuration files of a root that were edited, and what becomes of them.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use installer::{ConfigAction, ConfigState, PlanOptions, Request, Root, show_path};
use serde_json::json;
use similar::TextDiff;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access, ChangeArgs};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
A file below /etc, and every other that its recipe calls configuration, belongs to its editor: an upgrade \
leaves an edited one as it is and puts the packaged one beside it as FILE.conary-new. Removing a package \
moves its edited files to FILE.conary-save. These commands show what waits, and decide.

accept takes FILE.conary-new in place of the edited file; keep removes what waits and keeps the edit; \
restore returns to the packaged content, or, with --from N, to what changeset N took away. Each is a \
changeset, and `conary rollback` takes it back.

Examples:
  conary config list --root /srv/root
  conary config diff /etc/hello.conf --root /srv/root
  conary config accept /etc/hello.conf --root /srv/root --yes
  conary config backups --root /srv/root
  conary config restore /etc/hello.conf --from 3 --root /srv/root";

/// Look at configuration files that were edited, and decide what becomes of them
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with configuration files.
#[derive(Debug, Subcommand)]
enum Action {
    /// List those that were edited or that wait for a decision
    #[command(after_long_help = EXAMPLES)]
    List {
        /// List the unedited ones too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        root: RootArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Show how a file differs from what waits beside it, else from the packaged one
    #[command(after_long_help = EXAMPLES)]
    Diff {
        /// The file, as a path of the root
        file: PathBuf,
        #[command(flatten)]
        root: RootArgs,
    },
    /// Take the packaged file that waits beside an edited one
    #[command(after_long_help = EXAMPLES)]
    Accept(Decision),
    /// Keep the edited file, and remove what waits beside it
    #[command(after_long_help = EXAMPLES)]
    Keep(Decision),
    /// Return to the packaged content, or to a copy that a changeset kept
    #[command(after_long_help = EXAMPLES)]
    Restore {
        /// The changeset whose copy is wanted; `conary config backups` lists them
        #[arg(long, value_name = "N")]
        from: Option<u32>,
        #[command(flatten)]
        decision: Decision,
    },
    /// List the copies that changesets kept of edited files
    #[command(after_long_help = EXAMPLES)]
    Backups {
        /// The file, as a path of the root [default: all]
        file: Option<PathBuf>,
        #[command(flatten)]
        root: RootArgs,
        #[command(flatten)]
        json: JsonArg,
    },
}

/// A decision about some files.
#[derive(Debug, Args)]
struct Decision {
    /// The files, as paths of the root
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Lists, compares, or decides.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::List { all, root, json } => list(*all, &changes::open(root, Access::Read, context)?, json, context),
        Action::Diff { file, root } => diff(file, &changes::open(root, Access::Read, context)?, context),
        Action::Accept(decision) => decide(decision, ConfigAction::Accept, "Accepted", context),
        Action::Keep(decision) => decide(decision, ConfigAction::Keep, "Kept", context),
        Action::Restore { from, decision } => {
            let action = from.map_or(ConfigAction::Restore, |number| ConfigAction::RestoreFrom(number.into()));
            decide(decision, action, "Restored", context)
        }
        Action::Backups { file, root, json } => {
            backups(file.as_deref(), &changes::open(root, Access::Read, context)?, json, context)
        }
    }
}

fn bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

fn word(state: ConfigState) -> &'static str {
    match state {
        ConfigState::Pristine => "unedited",
        ConfigState::Edited => "edited",
        ConfigState::Missing => "missing",
        ConfigState::Foreign => "not a file",
    }
}

fn list(all: bool, root: &Root, json: &JsonArg, context: &Context<'_>) -> Outcome {
    let mut files = root.configuration()?;
    files.retain(|file| all || file.state != ConfigState::Pristine || !file.beside.is_empty());
    if json.json {
        let row = |file: &installer::ConfigFile| {
            json!({
                "path": show_path(&file.path), "trove": file.trove.to_string(), "state": word(file.state),
                "noreplace": file.noreplace,
                "beside": file.beside.iter().map(|path| show_path(path)).collect::<Vec<_>>(),
            })
        };
        context.ui.json(&json!({ "files": files.iter().map(row).collect::<Vec<_>>() }))?;
        return Ok(Code::Success);
    }
    let row = |file: &installer::ConfigFile| {
        let waiting: Vec<_> = file.beside.iter().map(|path| show_path(path)).collect();
        vec![show_path(&file.path), word(file.state).to_owned(), file.trove.name.to_string(), waiting.join(" ")]
    };
    context.ui.lines(&text::table(&files.iter().map(row).collect::<Vec<_>>()))?;
    Ok(Code::Success)
}

fn diff(file: &Path, root: &Root, context: &Context<'_>) -> Outcome {
    let packaged = root.packaged_content(bytes(file))?;
    let here = root.content_of(bytes(file))?.unwrap_or_default();
    let known = root.configuration()?;
    let plain = bytes(file).strip_prefix(b"/").unwrap_or(bytes(file));
    let waiting = known.iter().find(|known| known.path == plain).and_then(|known| known.beside.first());
    let (other, title) = match waiting {
        Some(beside) => (root.content_of(beside)?.unwrap_or_default(), show_path(beside)),
        None => (packaged, format!("{} as packaged", show_path(plain))),
    };
    let (from, to) = (String::from_utf8_lossy(&here), String::from_utf8_lossy(&other));
    let difference = TextDiff::from_lines(from.as_ref(), to.as_ref());
    let unified = difference.unified_diff().context_radius(3).header(&show_path(plain), &title).to_string();
    context.ui.lines(&text::safe_lines(&unified))?;
    Ok(Code::Success)
}

fn decide(decision: &Decision, action: ConfigAction, verb: &str, context: &Context<'_>) -> Outcome {
    let root = changes::open_to_change(&decision.root, &decision.change, context)?;
    let request = |file: &PathBuf| Request::Config { path: bytes(file).to_vec(), action };
    let requests: Vec<_> = decision.files.iter().map(request).collect();
    let code = changes::change(&root, &requests, &[], PlanOptions::default(), &decision.change, context)?;
    if !decision.change.dry_run {
        for file in &decision.files {
            context.ui.story(verb, &show_path(bytes(file).strip_prefix(b"/").unwrap_or(bytes(file))));
        }
    }
    Ok(code)
}

fn backups(file: Option<&Path>, root: &Root, json: &JsonArg, context: &Context<'_>) -> Outcome {
    let backups = root.backups(file.map(bytes))?;
    if json.json {
        let row = |backup: &installer::Backup| {
            json!({
                "changeset": backup.changeset, "path": show_path(&backup.thing.path),
                "kind": backup.thing.kind.as_str(), "size_bytes": backup.thing.size,
                "content": backup.thing.object.map(|object| object.to_string()),
            })
        };
        context.ui.json(&json!({ "backups": backups.iter().map(row).collect::<Vec<_>>() }))?;
        return Ok(Code::Success);
    }
    if let (Some(file), true) = (file, backups.is_empty()) {
        return Err(Failure::new(Code::NotFound, format!("no changeset kept a copy of {}", file.display())));
    }
    let row = |backup: &installer::Backup| {
        let thing = &backup.thing;
        vec![
            backup.changeset.to_string(),
            show_path(&thing.path),
            thing.kind.as_str().to_owned(),
            text::size(thing.size),
        ]
    };
    context.ui.lines(&text::table(&backups.iter().map(row).collect::<Vec<_>>()))?;
    Ok(Code::Success)
}
