// conary/commands/redo.rs
//! `conary redo`: what a rollback took back is done again.

use clap::Args;
use installer::{PlanOptions, Request, Rollback};

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::changes::{self, ChangeArgs};
use crate::failure::Outcome;

const EXAMPLES: &str = "\
Works right after a rollback, whatever number of changesets that took back; it needs no network.

Examples:
  conary redo --root /srv/root
  conary redo --root /srv/root --dry-run";

/// Do again what a rollback took back
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Returns to the state before the rollback.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let root = changes::open_to_change(&arguments.root, &arguments.change, context)?;
    let request = Request::Rollback(Rollback::Redo);
    changes::change(&root, &[request], &[], PlanOptions::default(), &arguments.change, context)
}
