// conary/commands/history.rs
//! `conary history`: every changeset of a root, or all about one.

use clap::Args;
use installer::{Backup, ChangeRow, ChangesetRow, Held, show_path};
use serde_json::json;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
Examples:
  conary history --root /srv/root
  conary history show 3 --root /srv/root
  conary history --root /srv/root --json";

/// List the changes of a root
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Show all about one changeset
    #[arg(value_names = ["show", "N"], num_args = 2)]
    show: Vec<String>,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints the changesets, oldest first.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let root = changes::open(&arguments.root, Access::Read, context)?;
    let history = root.history()?;
    if let [word, number] = &arguments.show[..] {
        let usage = || Failure::new(Code::Usage, format!("`conary history {word} {number}` asks for nothing"));
        if word != "show" {
            return Err(usage().hint("`conary history show N` shows changeset N"));
        }
        let found = number.parse().ok().and_then(|number: i64| history.iter().find(|row| row.number == number));
        let Some(changeset) = found else {
            let message = format!("there is no changeset {number}");
            return Err(Failure::new(Code::NotFound, message).hint("`conary history` shows them all"));
        };
        let mut kept = root.backups(None)?;
        kept.retain(|backup| backup.changeset == changeset.number);
        return show(changeset, &kept, &arguments.json, context);
    }
    if arguments.json.json {
        context.ui.json(&json!({ "changesets": history }))?;
        return Ok(Code::Success);
    }
    let rows: Vec<_> = history.iter().map(row).collect();
    context.ui.lines(&text::table(&rows))?;
    Ok(Code::Success)
}

/// Prints everything that is known of a changeset.
fn show(changeset: &ChangesetRow, kept: &[Backup], json: &JsonArg, context: &Context<'_>) -> Outcome {
    if json.json {
        let kept: Vec<_> = kept.iter().map(|backup| show_path(&backup.thing.path)).collect();
        context.ui.json(&json!({ "changeset": changeset, "displaced": kept }))?;
        return Ok(Code::Success);
    }
    let line = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        line("changeset", changeset.number.to_string()),
        line("when", text::date(changeset.at_unix_secs)),
        line("who", text::safe(&changeset.actor).into_owned()),
        line("command", text::safe(&changeset.command_line).into_owned()),
    ];
    rows.extend(changeset.returns_to.map(|number| line("returns to", number.to_string())));
    for change in &changeset.changes {
        rows.push(line("change", changes::intention(change)));
        let ChangeRow { before, after, .. } = change;
        rows.extend(before.iter().map(|held| line("  before", held_words(held))));
        rows.extend(after.iter().map(|held| line("  after", held_words(held))));
    }
    rows.extend(kept.iter().map(|backup| line("displaced", show_path(&backup.thing.path))));
    context.ui.lines(&text::table(&rows))?;
    Ok(Code::Success)
}

fn held_words(held: &Held) -> String {
    let components = held.components.join(" ");
    text::safe(&format!("{} ({components}), {}, {}", held.spec, held.reason.as_str(), held.digest)).into_owned()
}

/// A changeset as a line: number, when, who, what.
fn row(changeset: &ChangesetRow) -> Vec<String> {
    let (number, when) = (changeset.number.to_string(), text::date(changeset.at_unix_secs));
    vec![number, when, changeset.actor.clone(), what(changeset)]
}

/// What a changeset did, in words.
pub(super) fn what(changeset: &ChangesetRow) -> String {
    let mut what: Vec<String> = changeset.changes.iter().map(changes::intention).collect();
    if let Some(number) = changeset.returns_to {
        what.insert(0, format!("rollback to {number}:"));
    }
    if what.is_empty() {
        // A decision about configuration changes no package.
        what.push(text::safe(&changeset.command_line).into_owned());
    }
    what.join(" ")
}
