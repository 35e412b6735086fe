// conary/commands/history.rs
//! `conary history`: every changeset of a root.

use clap::Args;
use installer::ChangesetRow;
use serde_json::json;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::exit::Code;
use crate::failure::Outcome;
use crate::ui::text;

const EXAMPLES: &str = "\
Examples:
  conary history --root /srv/root
  conary history --root /srv/root --json";

/// The arguments of `conary history`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints the changesets, oldest first.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let history = changes::open(&arguments.root, Access::Read, context)?.history()?;
    if arguments.json.json {
        context.ui.json(&json!({ "changesets": history }))?;
        return Ok(Code::Success);
    }
    let rows: Vec<_> = history.iter().map(row).collect();
    context.ui.lines(&text::table(&rows))?;
    Ok(Code::Success)
}

/// A changeset as a line: number, when, who, what.
fn row(changeset: &ChangesetRow) -> Vec<String> {
    let mut what: Vec<String> = changeset.changes.iter().map(changes::intention).collect();
    if let Some(number) = changeset.returns_to {
        what.insert(0, format!("rollback to {number}:"));
    }
    if what.is_empty() {
        // A decision about configuration changes no package.
        what.push(text::safe(&changeset.command_line).into_owned());
    }
    vec![changeset.number.to_string(), text::date(changeset.at_unix_secs), changeset.actor.clone(), what.join(" ")]
}
