// conary/commands/state.rs
//! `conary state`: what was installed right after each changeset, and the way back to it.

use clap::{Args, Subcommand};
use installer::{ChangeRow, Held, PlanOptions, Request, Rollback, State};
use serde_json::json;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access, ChangeArgs};
use crate::commands::history;
use crate::exit::Code;
use crate::failure::Outcome;
use crate::ui::text;

const EXAMPLES: &str = "\
A state is what was installed right after a changeset, and has its number; 0 is before the first. The last \
one is now. Restoring one is a changeset like any other. Every state is kept until it is pruned: then its \
root cannot return to it, and `conary gc` frees what only it needed.

Examples:
  conary state list --root /srv/root
  conary state show 2 --root /srv/root
  conary state diff 1 2 --root /srv/root
  conary state restore 1 --root /srv/root --dry-run
  conary state prune --keep 10 --root /srv/root";

/// List states of a root, compare them, and return to one
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with states.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the states, the oldest first
    #[command(after_long_help = EXAMPLES)]
    List {
        #[command(flatten)]
        root: RootArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// List what was installed in a state
    #[command(after_long_help = EXAMPLES)]
    Show {
        /// Its number
        #[arg(value_name = "N")]
        number: u32,
        #[command(flatten)]
        root: RootArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Show how two states differ
    #[command(after_long_help = EXAMPLES)]
    Diff {
        /// The one
        #[arg(value_name = "N")]
        from: u32,
        /// The other [default: now]
        #[arg(value_name = "M")]
        to: Option<u32>,
        #[command(flatten)]
        root: RootArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Return to a state
    #[command(after_long_help = EXAMPLES)]
    Restore {
        /// Its number
        #[arg(value_name = "N")]
        number: u32,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        root: RootArgs,
    },
    /// Forget how to return to old states
    #[command(after_long_help = EXAMPLES)]
    Prune {
        /// How many of the latest states to keep, now among them
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        keep: u16,
        #[command(flatten)]
        root: RootArgs,
    },
}

/// Lists, shows, compares, restores or forgets states.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::List { root, json } => {
            let states = changes::open(root, Access::Read, context)?.states()?;
            if json.json {
                context.ui.json(&json!({ "states": states.iter().map(as_json).collect::<Vec<_>>() }))?;
            } else {
                context.ui.lines(&text::table(&states.iter().map(row).collect::<Vec<_>>()))?;
            }
        }
        Action::Show { number, root, json } => {
            let troves = changes::open(root, Access::Read, context)?.state((*number).into())?;
            if json.json {
                context.ui.json(&json!({ "state": number, "troves": troves }))?;
            } else {
                let row = |held: &Held| vec![held.spec.clone(), held.reason.as_str().to_owned()];
                context.ui.lines(&text::table(&troves.values().map(row).collect::<Vec<_>>()))?;
            }
        }
        Action::Diff { from, to, root, json } => {
            let root = changes::open(root, Access::Read, context)?;
            let now = root.states()?.last().map_or(0, |state| state.changeset.number);
            let differences = root.state_difference((*from).into(), to.map_or(now, i64::from))?;
            if json.json {
                context.ui.json(&json!({ "changes": differences }))?;
            } else {
                context.ui.lines(&text::lines(differences.iter().map(changes::intention)))?;
            }
        }
        Action::Restore { number, change, root } => {
            let root = changes::open_to_change(root, change, context)?;
            let request = Request::Rollback(Rollback::To((*number).into()));
            return changes::change(&root, &[request], &[], PlanOptions::default(), change, context);
        }
        Action::Prune { keep, root } => {
            let oldest = changes::open(root, Access::Write, context)?.prune((*keep).into())?;
            context.ui.story("Pruned", &format!("states before {oldest}; `conary gc` frees what only they needed"));
        }
    }
    Ok(Code::Success)
}

/// A state as a line: number, when, how many packages, what made it.
fn row(state: &State) -> Vec<String> {
    let packages = text::count(state.troves as u64, "package", "packages");
    let note = if state.kept { String::new() } else { "(pruned) ".to_owned() };
    vec![
        state.changeset.number.to_string(),
        text::date(state.changeset.at_unix_secs),
        packages,
        format!("{note}{}", history::what(&state.changeset)),
    ]
}

fn as_json(state: &State) -> serde_json::Value {
    let changes: &[ChangeRow] = &state.changeset.changes;
    json!({
        "state": state.changeset.number, "at_unix_secs": state.changeset.at_unix_secs, "troves": state.troves,
        "kept": state.kept, "returns_to": state.changeset.returns_to, "changes": changes,
    })
}
