// conary/commands/convert.rs
//! `conary convert`: recipes from other people's descriptions of packages.

mod pkgbuild;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

const EXAMPLES: &str = "\
A PKGBUILD becomes a whole recipe, with its functions as steps. A .SRCINFO has a package's metadata and sources, and no \
steps: those are written by hand. Whatever cannot be carried over is reported with its line.

Examples:
  conary convert srcinfo .SRCINFO > recipe.toml
  makepkg --printsrcinfo | conary convert srcinfo -
  conary convert pkgbuild greeter/PKGBUILD -o recipes/greeter";

/// The largest description that is read.
const LARGEST: u64 = 16 << 20;

/// Turn other people's descriptions of packages into recipes
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    from: From,
}

/// What to convert.
#[derive(Debug, Subcommand)]
enum From {
    /// A .SRCINFO, as makepkg prints it
    #[command(after_long_help = EXAMPLES)]
    Srcinfo {
        /// The file, or - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// A PKGBUILD, or all of them below a directory
    Pkgbuild(pkgbuild::Arguments),
}

/// Prints the recipe, and on stderr what it lacks.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let file = match &arguments.from {
        From::Srcinfo { file } => file,
        From::Pkgbuild(arguments) => return pkgbuild::run(arguments, context),
    };
    let text = read(file, context)?;
    let conversion =
        converters::srcinfo::convert(&text).map_err(|error| Failure::of(Code::Recipe, &error, error.hint()))?;
    context.ui.lines(&conversion.recipe)?;
    for finding in &conversion.findings {
        context.ui.warning(&format!("{}:{}: {}", file.display(), finding.line, finding.what));
    }
    Ok(Code::Success)
}

fn read(file: &Path, context: &Context<'_>) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LARGEST).read_to_string(&mut text)
    } else {
        let opened = fs::File::open(context.environment.absolute(file));
        opened.and_then(|opened| opened.take(LARGEST).read_to_string(&mut text))
    };
    read.map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let failure = Failure::of(if missing { Code::NotFound } else { Code::System }, &error, None);
        Failure { message: format!("cannot read {}", file.display()), causes: vec![error.to_string()], ..failure }
    })?;
    Ok(text)
}
