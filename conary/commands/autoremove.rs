// conary/commands/autoremove.rs
//! `conary autoremove`: what was installed for another package's sake goes when nothing needs it any more.

use clap::Args;
use installer::{PlanOptions, Request};

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::changes::{self, ChangeArgs};
use crate::failure::Outcome;

const EXAMPLES: &str = "\
An orphan was pulled in by another package, and nothing that somebody asked for requires or recommends it \
any more. `conary list --orphans` lists them; `conary mark` says that one is wanted.

Examples:
  conary autoremove --root /srv/root --dry-run
  conary autoremove --root /srv/root --yes";

/// Remove packages that nothing needs any more
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Removes the orphans.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let root = changes::open_to_change(&arguments.root, &arguments.change, context)?;
    changes::change(&root, &[Request::RemoveOrphans], &[], PlanOptions::default(), &arguments.change, context)
}
