// conary/cli.rs
//! The command line as data: which commands there are, what all of them share, and their help.
//!
//! The arguments of a command stand in its own file beside what it does, [`crate::commands`]. Help pages,
//! manual pages and shell completions are made from these same definitions.

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{self, Context};
use crate::exit::{self, Code};
use crate::failure::Outcome;

/// Builds packages in isolation from recipes, and installs them into a root.
#[derive(Debug, Parser)]
#[command(name = "conary", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Start with `conary cook recipes/cookbook/hello`, and `conary doctor` when something is missing."
)]
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
    #[arg(short, long, global = true, display_order = 900)]
    pub quiet: bool,
    /// Say more: the output of builds while they run, and every detail
    #[arg(short, long, global = true, conflicts_with = "quiet", display_order = 901)]
    pub verbose: bool,
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    /// The store [default: /var/lib/conary for root, else conary in the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// Where sources may come from.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Look for sources in this directory first, by digest; may be given several times
    #[arg(long, value_name = "DIR")]
    pub distfiles: Vec<PathBuf>,
    /// Use no network: a source that is not at hand is an error
    #[arg(long)]
    pub offline: bool,
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

/// What lies under build roots.
#[derive(Debug, Clone, Default, Args)]
pub struct GroundArgs {
    /// Nothing of this host: the root is made of troves alone, those that the recipe requires and the seed
    #[arg(long)]
    pub hermetic: bool,
    /// The seed that lies under a hermetic root, by name or by the beginning of its id [default: the recipe's]
    #[arg(long, value_name = "NAME", requires = "hermetic")]
    pub seed: Option<String>,
}

impl GroundArgs {
    /// What the kitchen calls it.
    pub fn foundation(&self) -> kitchen::Foundation {
        if self.hermetic {
            kitchen::Foundation::Hermetic { seed: self.seed.clone() }
        } else {
            kitchen::Foundation::Host(PathBuf::from("/"))
        }
    }
}

/// Whether to print JSON.
#[derive(Debug, Args)]
pub struct JsonArg {
    /// Print one JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// The commands. What each takes is defined when it is asked for: a command line is about one of them. So what
/// help says of a command is the documentation of its arguments: that of a variant would be put aside.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    Cook(commands::cook::Arguments),
    Fetch(commands::fetch::Arguments),
    Why(commands::why::Arguments),
    Log(commands::log::Arguments),
    Enter(commands::enter::Arguments),
    Install(commands::install::Arguments),
    Remove(commands::remove::Arguments),
    Rollback(commands::rollback::Arguments),
    Redo(commands::redo::Arguments),
    State(commands::state::Arguments),
    Autoremove(commands::autoremove::Arguments),
    Mark(commands::mark::Arguments),
    Pin(commands::hold::HoldVersion),
    Protect(commands::hold::HoldPresence),
    Hold(commands::hold::HoldBoth),
    List(commands::list::Arguments),
    Show(commands::show::Arguments),
    Files(commands::files::Arguments),
    Owner(commands::owner::Arguments),
    Rebuild(commands::rebuild::Arguments),
    Verify(commands::verify::Arguments),
    Config(commands::config::Arguments),
    Trigger(commands::trigger::Arguments),
    History(commands::history::Arguments),
    Source(commands::source::Arguments),
    Convert(commands::convert::Arguments),
    Gc(commands::gc::Arguments),
    Store(commands::store::Arguments),
    Trust(commands::trust::Arguments),
    Ccs(commands::ccs::Arguments),
    Seed(commands::seed::Arguments),
    Mirror(commands::mirror::Arguments),
    Settings(commands::settings::Arguments),
    Sandbox(commands::sandbox::Arguments),
    Doctor(commands::doctor::Arguments),
    Completions(commands::completions::Arguments),
    Man(commands::man::Arguments),
}

impl Command {
    /// Runs it.
    pub fn run(self, context: &Context<'_>) -> Outcome {
        match self {
            Self::Cook(arguments) => commands::cook::run(&arguments, context),
            Self::Fetch(arguments) => commands::fetch::run(&arguments, context),
            Self::Why(arguments) => commands::why::run(&arguments, context),
            Self::Enter(arguments) => commands::enter::run(&arguments, context),
            Self::Log(arguments) => commands::log::run(&arguments, context),
            Self::Install(arguments) => commands::install::run(&arguments, context),
            Self::Remove(arguments) => commands::remove::run(&arguments, context),
            Self::Rollback(arguments) => commands::rollback::run(&arguments, context),
            Self::Redo(arguments) => commands::redo::run(&arguments, context),
            Self::State(arguments) => commands::state::run(&arguments, context),
            Self::Autoremove(arguments) => commands::autoremove::run(&arguments, context),
            Self::Mark(arguments) => commands::mark::run(&arguments, context),
            Self::Pin(arguments) => commands::hold::run(&arguments.held, commands::hold::Kind::Pin, context),
            Self::Protect(arguments) => commands::hold::run(&arguments.held, commands::hold::Kind::Protect, context),
            Self::Hold(arguments) => commands::hold::run(&arguments.held, commands::hold::Kind::Both, context),
            Self::List(arguments) => commands::list::run(&arguments, context),
            Self::Show(arguments) => commands::show::run(&arguments, context),
            Self::Files(arguments) => commands::files::run(&arguments, context),
            Self::Owner(arguments) => commands::owner::run(&arguments, context),
            Self::Rebuild(arguments) => commands::rebuild::run(&arguments, context),
            Self::Verify(arguments) => commands::verify::run(&arguments, context),
            Self::Config(arguments) => commands::config::run(&arguments, context),
            Self::Trigger(arguments) => commands::trigger::run(&arguments, context),
            Self::History(arguments) => commands::history::run(&arguments, context),
            Self::Source(arguments) => commands::source::run(&arguments, context),
            Self::Convert(arguments) => commands::convert::run(&arguments, context),
            Self::Gc(arguments) => commands::gc::run(&arguments, context),
            Self::Store(arguments) => commands::store::run(&arguments, context),
            Self::Ccs(arguments) => commands::ccs::run(&arguments, context),
            Self::Trust(arguments) => commands::trust::run(&arguments, context),
            Self::Seed(arguments) => commands::seed::run(&arguments, context),
            Self::Mirror(arguments) => commands::mirror::run(&arguments, context),
            Self::Settings(arguments) => commands::settings::run(&arguments, context),
            Self::Sandbox(arguments) => commands::sandbox::run(&arguments, context),
            Self::Doctor(arguments) => commands::doctor::run(&arguments, context),
            Self::Completions(arguments) => commands::completions::run(&arguments, context),
            Self::Man(arguments) => commands::man::run(&arguments, context),
        }
    }
}

/// Exit codes of commands that change a root.
const CHANGE: &[Code] = &[Code::Damaged, Code::Refused, Code::Busy, Code::NotFound, Code::System, Code::Interrupted];

/// Exit codes of commands that look at a root.
const LOOK: &[Code] = &[Code::Damaged, Code::NotFound, Code::System];

/// Exit codes of commands that cook.
const COOK: &[Code] = &[
    Code::Recipe,
    Code::Source,
    Code::Build,
    Code::Sandbox,
    Code::Damaged,
    Code::Busy,
    Code::NotFound,
    Code::System,
    Code::Limit,
    Code::Interrupted,
];

/// Which exit codes a command has beyond 0, 1 and 2.
const EXIT_CODES: &[(&str, &[Code])] = &[
    ("cook", COOK),
    (
        "fetch",
        &[Code::Recipe, Code::Source, Code::Damaged, Code::Busy, Code::NotFound, Code::System, Code::Interrupted],
    ),
    ("why", &[Code::Recipe, Code::Damaged, Code::NotFound, Code::System]),
    ("enter", &[Code::Sandbox, Code::NotFound, Code::System, Code::Limit, Code::Interrupted]),
    ("log", &[Code::NotFound, Code::System, Code::Interrupted]),
    ("install", CHANGE),
    ("remove", CHANGE),
    ("rollback", CHANGE),
    ("redo", CHANGE),
    ("state", CHANGE),
    ("autoremove", CHANGE),
    ("mark", CHANGE),
    ("pin", CHANGE),
    ("protect", CHANGE),
    ("hold", CHANGE),
    ("list", LOOK),
    ("show", LOOK),
    ("files", LOOK),
    ("owner", LOOK),
    ("rebuild", CHANGE),
    ("verify", CHANGE),
    ("config", CHANGE),
    ("trigger", CHANGE),
    ("history", LOOK),
    (
        "source",
        &[Code::Recipe, Code::Source, Code::Damaged, Code::Busy, Code::NotFound, Code::System, Code::Interrupted],
    ),
    ("convert", COOK),
    ("gc", &[Code::Damaged, Code::Busy, Code::System, Code::Interrupted]),
    ("store", &[Code::Damaged, Code::Busy, Code::NotFound, Code::System, Code::Interrupted]),
    ("seed", &[Code::Source, Code::Damaged, Code::Busy, Code::NotFound, Code::System, Code::Interrupted]),
    ("trust", &[Code::Damaged, Code::Busy, Code::NotFound, Code::System]),
    ("ccs", &[Code::Damaged, Code::NotFound, Code::System, Code::Limit, Code::Interrupted]),
    ("mirror", &[Code::NotFound, Code::System]),
    ("settings", &[Code::NotFound, Code::System]),
    ("sandbox", &[Code::Sandbox, Code::NotFound, Code::System, Code::Interrupted]),
    ("doctor", &[Code::Sandbox, Code::System]),
    ("completions", &[]),
    ("man", &[Code::System]),
];

/// The definitions, with the exit codes in every help page.
pub fn command() -> clap::Command {
    let mut root = Cli::command();
    // Puts off nothing any more.
    root.build();
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
    // The sections of exit codes are a third of what it takes to understand a command line: only help needs them. Taking the
    // definitions apart again is an eighth.
    let mut definitions = ManuallyDrop::new(Cli::command());
    let parsed =
        definitions.try_get_matches_from_mut(std::env::args_os()).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|_| {
        let mut command = command();
        let matches = command.get_matches_mut();
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    })
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

    #[test]
    fn help_says_what_each_command_is_for() {
        let page = command().render_help().to_string();
        assert!(page.contains("  cook         Build packages from recipes, in isolation\n"), "{page}");
        assert!(page.contains("  protect      Keep packages from being removed\n"), "{page}");
        assert!(!page.contains("arguments of"), "{page}");
    }
}
