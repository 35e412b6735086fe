// conary/commands/install.rs
//! `conary install`: packages come into a root.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use installer::{PlanOptions, Request};
use recipes::TroveSpec;
use store::ccs::Want;
use store::{Hold, OpenError, OpenOptions, Store, durable};

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::ccs::remote;
use crate::commands::changes::{self, Access, ChangeArgs};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

const EXAMPLES: &str = "\
A word that ends with .ccs or has a slash is a package file, or a URL of one, of which only the parts travel \
that the root's store lacks; any other is a name, or a name and version \
(`hello=1.0-1`), and taken from the store that `conary cook` fills. What an installed package requires \
by name and the store has is installed with it.

All packages of one command come in together, or none does. An interrupted command is finished or taken \
back by the next one.

Examples:
  conary install dist/hello-1.0-1.x86_64.ccs --root /srv/root
  conary install zlib sqlite --root /srv/root --yes
  conary install hello --root /srv/root --download-only
  conary install hello --root /srv/root --dry-run";

/// Install packages into a root
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
    let source = source(arguments, context)?;
    let sources: Vec<&Store> = source.iter().collect();
    let access = if arguments.change.dry_run && context.environment.absolute(&arguments.root.root).exists() {
        Access::Read
    } else {
        Access::Create
    };
    let root = changes::open(&arguments.root, access, context)?;
    let mut brought = Brought::default();
    let requests = arguments.packages.iter().map(|word| match remote::url(Path::new(word)) {
        Some(url) => brought.bring(url, arguments, context),
        None => request(word, context),
    });
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    let options = PlanOptions { replace: arguments.replace, ..PlanOptions::default() };
    if arguments.download_only && !arguments.change.dry_run {
        return changes::download(&root, &requests, &sources, options, &arguments.change, context);
    }
    changes::change(&root, &requests, &sources, options, &arguments.change, context)
}

/// Packages from URLs, in files that go when the command ends.
#[derive(Default)]
struct Brought {
    /// Which keeps what the root's store has until the packages are in it.
    holds: Vec<Hold>,
    files: Vec<PathBuf>,
}

impl Brought {
    /// Brings of a package what the root's store lacks; for a dry run, what it says of itself.
    fn bring(&mut self, url: &str, arguments: &Arguments, context: &Context<'_>) -> Result<Request, Failure> {
        let own = arguments.root.store.clone().unwrap_or_else(|| arguments.root.root.join("var/lib/conary"));
        let options = OpenOptions { read_only: true, ..OpenOptions::default() };
        let own = Store::open(&context.environment.absolute(&own), &options).ok();
        self.holds.extend(own.as_ref().map(Store::hold).transpose()?);
        let want = match (&own, arguments.change.dry_run) {
            (_, true) => Want::Metadata,
            (Some(own), false) => Want::Missing(own),
            (None, false) => Want::All,
        };
        let name = format!("conary-{}-{}.ccs", std::process::id(), self.files.len());
        let path = context.environment.scratch.join(name);
        let cannot = |error: std::io::Error| {
            let failure = Failure::of(Code::System, &error, None);
            Failure { message: format!("cannot make {}", path.display()), causes: vec![error.to_string()], ..failure }
        };
        let directory = File::open(&context.environment.scratch).map_err(cannot)?;
        let file = durable::create(&directory, path.file_name().unwrap_or_default()).map_err(cannot)?;
        self.files.push(path.clone());
        remote::bring(url, &file, want, context)?;
        Ok(Request::Install { package: path })
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        for file in &self.files {
            // What stays is in a directory for temporary files.
            let _ = std::fs::remove_file(file);
        }
    }
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
