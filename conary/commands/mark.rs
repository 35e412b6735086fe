// conary/commands/mark.rs
//! `conary mark`: says why packages are installed.

use clap::{Args, ValueEnum};
use installer::{PlanOptions, Reason, Request};

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::changes::{self, ChangeArgs};
use crate::commands::install;
use crate::failure::Outcome;

const EXAMPLES: &str = "\
`conary autoremove` removes packages with the reason `dependency` once nothing needs them, and leaves \
those with the reason `explicit` alone.

Examples:
  conary mark explicit zlib --root /srv/root --yes
  conary mark dependency zlib --root /srv/root --yes";

/// Say why packages are installed
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The reason
    reason: Word,
    /// Installed packages
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// A reason on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Word {
    /// Somebody asked for it
    Explicit,
    /// Another package needs it
    Dependency,
}

/// Marks the packages.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let reason = match arguments.reason {
        Word::Explicit => Reason::Explicit,
        Word::Dependency => Reason::Dependency,
    };
    let specs = arguments.names.iter().map(|word| install::spec(word));
    let requests = specs.map(|spec| spec.map(|spec| Request::Mark { spec, reason })).collect::<Result<Vec<_>, _>>()?;
    let root = changes::open_to_change(&arguments.root, &arguments.change, context)?;
    changes::change(&root, &requests, &[], PlanOptions::default(), &arguments.change, context)
}
