// conary/commands/rollback.rs
//! `conary rollback`: a root returns to an earlier state.

use clap::Args;
use installer::{PlanOptions, Request, Rollback};

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::changes::{self, ChangeArgs};
use crate::failure::Outcome;

const EXAMPLES: &str = "\
Without a number the root returns to the state before its last changeset; with one, to the state right \
after the changeset of that number, as `conary history` shows them; 0 is before the first. A rollback is a \
changeset like any other, and needs no network.

Examples:
  conary rollback --root /srv/root
  conary rollback 3 --root /srv/root --yes
  conary rollback 0 --root /srv/root --dry-run";

/// Return a root to an earlier state
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The changeset whose state to return to [default: the one before the last]
    #[arg(value_name = "N")]
    number: Option<u32>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Returns to that state.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let to = arguments.number.map_or(Rollback::Last, |number| Rollback::To(number.into()));
    let root = changes::open_to_change(&arguments.root, &arguments.change, context)?;
    changes::change(&root, &[Request::Rollback(to)], &[], PlanOptions::default(), &arguments.change, context)
}
