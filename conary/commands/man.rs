// conary/commands/man.rs
//! `conary man`: the manual pages, one for each command.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::cli;
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
Examples:
  conary man ~/.local/share/man/man1";

/// Write the manual pages
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The directory to write to; it is made when missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Writes the pages.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let directory = &arguments.directory;
    let write = || -> std::io::Result<u64> {
        fs::create_dir_all(directory)?;
        clap_mangen::generate_to(cli::command(), directory)?;
        Ok(fs::read_dir(directory)?.count() as u64)
    };
    let pages = write().map_err(|error| {
        let mut failure = Failure::new(Code::System, format!("cannot write manual pages to {}", directory.display()));
        failure.causes.push(error.to_string());
        failure.hint("name a directory that you may write to")
    })?;
    context.ui.story("Written", &format!("{} in {}", text::count(pages, "page", "pages"), directory.display()));
    Ok(Code::Success)
}
