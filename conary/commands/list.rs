// conary/commands/list.rs
//! `conary list`: what is installed in a root.

use clap::Args;
use installer::Reason;
use serde_json::json;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::exit::Code;
use crate::failure::Outcome;
use crate::ui::text;

const EXAMPLES: &str = "\
Examples:
  conary list --root /srv/root
  conary list --root /srv/root --orphans
  conary list --root /srv/root --group base
  conary list --root /srv/root --json";

/// List what is installed
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Only packages that nobody asked for and nothing needs
    #[arg(long, conflicts_with = "explicit")]
    orphans: bool,
    /// Only packages that somebody asked for
    #[arg(long)]
    explicit: bool,
    /// Only packages of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints a line for each trove.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let root = changes::open(&arguments.root, Access::Read, context)?;
    let mut installed = root.list()?;
    if arguments.orphans {
        let orphans = root.orphans()?;
        installed.retain(|trove| orphans.contains(&trove.manifest.name.to_string()));
    }
    if arguments.explicit {
        installed.retain(|trove| trove.reason == Reason::Explicit);
    }
    if let Some(group) = &arguments.group {
        installed.retain(|trove| trove.manifest.groups.contains(group));
    }
    if arguments.json.json {
        let rows: Vec<_> = installed
            .iter()
            .map(|trove| {
                json!({
                    "name": trove.manifest.name.to_string(), "version": trove.manifest.version.to_string(),
                    "arch": trove.manifest.arch, "spec": trove.manifest.spec().to_string(),
                    "trove": trove.digest.to_string(), "components": trove.components,
                    "reason": trove.reason.as_str(), "changeset": trove.changeset,
                    "summary": trove.manifest.summary, "groups": trove.manifest.groups,
                })
            })
            .collect();
        context.ui.json(&json!({ "troves": rows }))?;
        return Ok(Code::Success);
    }
    let rows: Vec<_> = installed
        .iter()
        .map(|trove| {
            let manifest = &trove.manifest;
            vec![manifest.name.to_string(), manifest.version.to_string(), manifest.summary.clone().unwrap_or_default()]
        })
        .collect();
    context.ui.lines(&text::table(&rows))?;
    Ok(Code::Success)
}
