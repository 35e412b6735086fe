// conary/commands/remove.rs
//! `conary remove`: packages leave a root.

use clap::Args;
use installer::{PlanOptions, Request};

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::changes::{self, ChangeArgs};
use crate::commands::install;
use crate::failure::Outcome;

const EXAMPLES: &str = "\
Edited configuration files are moved beside their place and never lost.

Examples:
  conary remove hello --root /srv/root
  conary remove zlib:devel --root /srv/root --yes
  conary remove nginx --orphans --root /srv/root
  conary remove zlib sqlite --root /srv/root --dry-run";

/// Remove packages from a root
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Installed packages, or single components of them
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Remove also what nothing needs any more then
    #[arg(long)]
    orphans: bool,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Removes what the command line names.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let specs = arguments.names.iter().map(|word| install::spec(word));
    let mut requests = specs.map(|spec| spec.map(Request::Remove)).collect::<Result<Vec<_>, _>>()?;
    requests.extend(arguments.orphans.then_some(Request::RemoveOrphans));
    let root = changes::open_to_change(&arguments.root, &arguments.change, context)?;
    changes::change(&root, &requests, &[], PlanOptions::default(), &arguments.change, context)
}
