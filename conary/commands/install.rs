// conary/commands/install.rs
//! `conary install`: packages come into a root.

use std::path::{Path, PathBuf};

use clap::Args;
use installer::{PlanOptions, Request};
use recipes::TroveSpec;
use store::{OpenError, OpenOptions, Store};

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::changes::{self, Access, ChangeArgs};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

const EXAMPLES: &str = "\
A word that ends with .ccs or has a slash is a package file; any other is a name, or a name and version
(`hello=1.0-1`), and taken from the store that `conary cook` fills. What an installed package requires
by name and the store has is installed with it.

All packages of one command come in together, or none does. An interrupted command is finished or taken
back by the next one.

Examples:
  conary install dist/hello-1.0-1.x86_64.ccs --root /srv/root
  conary install zlib sqlite --root /srv/root --yes
  conary install hello --root /srv/root --download-only
  conary install hello --root /srv/root --dry-run";

/// The arguments of `conary install`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Package files, or names
    #[arg(value_name = "FILE.ccs|NAME", required = true)]
    packages: Vec<String>,
    /// Take the place of files that no package owns; they are kept for rollback
    #[arg(long)]
    replace: bool,
    /// Bring what is needed into the root's store, and install nothing yet
    #[arg(long)]
    download_only: bool,
    /// The store that names are looked up in [default: the one that `conary cook` fills]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Installs what the command line names.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let requests = arguments.packages.iter().map(|word| request(word, context)).collect::<Result<Vec<_>, _>>()?;
    let source = source(arguments, context)?;
    let sources: Vec<&Store> = source.iter().collect();
    let access = if arguments.change.dry_run && context.environment.absolute(&arguments.root.root).exists() {
        Access::Read
    } else {
        Access::Create
    };
    let root = changes::open(&arguments.root, access, context)?;
    let options = PlanOptions { replace: arguments.replace };
    if arguments.download_only && !arguments.change.dry_run {
        return changes::download(&root, &requests, &sources, options, &arguments.change, context);
    }
    changes::change(&root, &requests, &sources, options, &arguments.change, context)
}

/// What a word of the command line asks for.
fn request(word: &str, context: &Context<'_>) -> Result<Request, Failure> {
    if word.contains('/') || Path::new(word).extension().is_some_and(|extension| extension == "ccs") {
        return Ok(Request::Install { package: context.environment.absolute(Path::new(word)) });
    }
    Ok(Request::InstallName(spec(word)?))
}

/// Reads a name, or a name and version.
pub fn spec(word: &str) -> Result<TroveSpec, Failure> {
    word.parse::<TroveSpec>().map_err(|error| {
        Failure::of(Code::Usage, &error, Some("write NAME, NAME:COMPONENT or NAME=VERSION-RELEASE".to_owned()))
    })
}

/// The store that names are looked up in. The default one need not exist: then only files can be installed.
fn source(arguments: &Arguments, context: &Context<'_>) -> Result<Option<Store>, Failure> {
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    if let Some(directory) = &arguments.from {
        return Ok(Some(Store::open(&context.environment.absolute(directory), &options)?));
    }
    let Some(directory) = context.environment.default_store() else { return Ok(None) };
    match Store::open(&directory, &options) {
        Ok(store) => Ok(Some(store)),
        Err(OpenError::NoStore { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
