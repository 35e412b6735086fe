// conary/commands/trigger.rs
//! `conary trigger`: caches that follow from installed files, and what makes them.

use clap::{Args, Subcommand};
use installer::{Trigger, TriggerRule};
use serde_json::json;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::exit::Code;
use crate::failure::Outcome;
use crate::ui::text;

const EXAMPLES: &str = "\
When a changeset is complete, every trigger whose patterns match a path that it touched runs once: in the \
sandbox, with the root read-only and no network. What its command writes below $OUT goes to the same place \
of the root, all or nothing. One that fails has changed nothing, stays due, and makes the root degraded.

Examples:
  conary trigger list --root /srv/root
  conary trigger run --root /srv/root
  conary trigger add words --path '/usr/share/words/*' --root /srv/root -- \\
      'mkdir -p \"$OUT/var/cache\"; cat /usr/share/words/* > \"$OUT/var/cache/words\"'
  conary trigger remove words --root /srv/root";

/// Look after the caches that follow from installed files
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with triggers.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the triggers in the order in which they run
    #[command(after_long_help = EXAMPLES)]
    List {
        #[command(flatten)]
        root: RootArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Run those that are due
    #[command(after_long_help = EXAMPLES)]
    Run {
        #[command(flatten)]
        root: RootArgs,
    },
    /// Add one, or change one that was added
    #[command(after_long_help = EXAMPLES)]
    Add {
        /// Its name
        name: String,
        /// A glob of absolute paths that set it off; may be given several times
        #[arg(long = "path", value_name = "GLOB", required = true)]
        paths: Vec<String>,
        /// A trigger that runs before it where both are due
        #[arg(long, value_name = "NAME")]
        after: Vec<String>,
        #[command(flatten)]
        root: RootArgs,
        /// Shell text, run with `sh -eu`
        #[arg(last = true, required = true)]
        command: String,
    },
    /// Remove one that was added; what it wrote stays
    #[command(after_long_help = EXAMPLES)]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        root: RootArgs,
    },
}

/// Lists, runs, adds or removes triggers.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::List { root, json } => list(&changes::open(root, Access::Read, context)?.triggers()?, json, context),
        Action::Run { root } => {
            let root = changes::open(root, Access::Write, context)?;
            let failed = root.run_triggers(context.cancel, &|_| {})?;
            if failed.is_empty() {
                context.ui.story("Run", "every trigger that was due");
            }
            changes::degraded(&failed)
        }
        Action::Add { name, paths, after, root, command } => {
            let rule = TriggerRule {
                name: name.clone(),
                patterns: paths.clone(),
                command: command.clone(),
                after: after.clone(),
            };
            // In a root where nothing is installed yet, too.
            changes::open(root, Access::Create, context)?.add_trigger(&rule)?;
            context.ui.story("Added", &format!("trigger {name}"));
            Ok(Code::Success)
        }
        Action::Remove { name, root } => {
            changes::open(root, Access::Write, context)?.remove_trigger(name)?;
            context.ui.story("Removed", &format!("trigger {name}"));
            Ok(Code::Success)
        }
    }
}

fn list(triggers: &[Trigger], json: &JsonArg, context: &Context<'_>) -> Outcome {
    if json.json {
        let row = |trigger: &Trigger| {
            json!({
                "name": trigger.rule.name, "patterns": trigger.rule.patterns, "command": trigger.rule.command,
                "after": trigger.rule.after, "builtin": trigger.builtin, "due": trigger.due.is_some(),
                "error": trigger.due.as_ref().and_then(|due| due.error.clone()),
            })
        };
        context.ui.json(&json!({ "triggers": triggers.iter().map(row).collect::<Vec<_>>() }))?;
        return Ok(Code::Success);
    }
    let row = |trigger: &Trigger| {
        let state = match &trigger.due {
            None => String::new(),
            Some(due) => match &due.error {
                None => "due".to_owned(),
                Some(error) => format!("failed: {}", text::safe(error)),
            },
        };
        vec![
            text::safe(&trigger.rule.name).into_owned(),
            text::safe(&trigger.rule.patterns.join(" ")).into_owned(),
            state,
        ]
    };
    context.ui.lines(&text::table(&triggers.iter().map(row).collect::<Vec<_>>()))?;
    Ok(Code::Success)
}
