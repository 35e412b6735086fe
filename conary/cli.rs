// conary/cli.rs
//! The command line as data: which commands there are, what all of them share, and their help.
//!
//! The arguments of a command stand in its own file beside what it does, [`crate::commands`]. Help pages,
//! manual pages and shell completions are made from these same definitions.

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{self, Context};
use crate::exit::{self, Code};
use crate::failure::Outcome;

/// Builds packages in isolation from recipes, and installs them into a root.
#[derive(Debug, Parser)]
#[command(name = "conary", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Start with `conary cook recipes/cookbook/hello`, and `conary doctor` when something is missing.")]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Say nothing on stderr but warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more: the output of builds while they run, and every detail
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
}

/// Which store.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store [default: /var/lib/conary for root, else conary in the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// Which root.
#[derive(Debug, Args)]
pub struct RootArgs {
    /// The root directory that is changed or looked at
    #[arg(long, value_name = "DIR")]
    pub root: PathBuf,
    /// A store that several roots share [default: var/lib/conary below the root]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// Whether to print JSON.
#[derive(Debug, Args)]
pub struct JsonArg {
    /// Print one JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell what this host offers the sandbox, and which switch to flip
    Doctor(commands::doctor::Arguments),
    /// Print the completion script of a shell
    Completions(commands::completions::Arguments),
    /// Write the manual pages
    Man(commands::man::Arguments),
}

impl Command {
    /// Runs it.
    pub fn run(self, context: &Context<'_>) -> Outcome {
        match self {
            Self::Doctor(arguments) => commands::doctor::run(&arguments, context),
            Self::Completions(arguments) => commands::completions::run(&arguments, context),
            Self::Man(arguments) => commands::man::run(&arguments, context),
        }
    }
}

/// Which exit codes a command has beyond 0, 1 and 2.
const EXIT_CODES: &[(&str, &[Code])] = &[("doctor", &[Code::Sandbox]), ("completions", &[]), ("man", &[Code::System])];

/// The definitions, with the exit codes in every help page.
pub fn command() -> clap::Command {
    let mut root = Cli::command();
    for (name, codes) in EXIT_CODES {
        root = root.mut_subcommand(*name, |command| with_exit_codes(command, codes));
    }
    root
}

/// Adds the section of exit codes to a command and those below it.
fn with_exit_codes(command: clap::Command, codes: &[Code]) -> clap::Command {
    let section = exit::section(codes);
    let examples = command.get_after_long_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    let mut command = command.after_long_help(format!("{examples}{section}"));
    let below: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    for name in below {
        command = command.mut_subcommand(name, |below| with_exit_codes(below, codes));
    }
    command
}

/// Reads the command line; prints help, a version or a usage error, and ends the process, where that is the answer.
pub fn parse() -> Cli {
    let mut command = command();
    let matches = command.get_matches_mut();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        command().debug_assert();
    }

    #[test]
    fn every_command_documents_its_exit_codes_and_gives_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for below in command.get_subcommands() {
                let path = format!("{path} {}", below.get_name());
                let help = below.get_after_long_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Exit codes:"), "{path} has no exit codes");
                assert!(help.contains("Examples:") || below.has_subcommands(), "{path} has no example");
                assert!(below.get_about().is_some(), "{path} does not say what it is");
                check(below, &path);
            }
        }
        check(&command(), "conary");
    }
}
