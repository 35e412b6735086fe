// conary/commands/completions.rs
//! `conary completions`: what a shell needs to complete this command line.

use clap::Args;
use clap_complete::Shell;

use crate::cli;
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::Outcome;

const EXAMPLES: &str = "\
Examples:
  conary completions bash > ~/.local/share/bash-completion/completions/conary
  conary completions zsh > ~/.zfunc/_conary
  conary completions fish > ~/.config/fish/completions/conary.fish";

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut cli::command(), "conary", &mut script);
    context.ui.bytes(&script)?;
    Ok(Code::Success)
}
