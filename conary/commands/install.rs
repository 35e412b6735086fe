// conary/commands/install.rs
//! `conary install`: packages come into a root.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use installer::{PlanOptions, Request};
use kitchen::fetch::{Event, Options};
use recipes::TroveSpec;
use store::ccs::Want;
use store::{Hold, OpenError, OpenOptions, Store, durable};

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::ccs::remote::{self, OnServer};
use crate::commands::changes::{self, Access, ChangeArgs, Content};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

const EXAMPLES: &str = "\
A word that ends with .ccs or has a slash is a package file, or a URL of one: its metadata is brought for the plan, \
and after your yes the parts of its content that the root's store lacks; any other is a name, or a name and version \
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
    let tell = |event| remote::retrying(&event, context);
    let has_url = arguments.packages.iter().any(|word| remote::url(Path::new(word)).is_some());
    let options = has_url.then(|| remote::options(context)).transpose()?;
    let mut brought = Brought::default();
    let requests = arguments.packages.iter().map(|word| match (remote::url(Path::new(word)), &options) {
        (Some(url), Some(options)) => brought.begin(url, options, &tell, context),
        _ => request(word, context),
    });
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    brought.open_own(arguments, context)?;
    let options = PlanOptions { replace: arguments.replace, ..PlanOptions::default() };
    let (change, bytes) = (&arguments.change, brought.missing_bytes()?);
    let mut bring = || brought.bring(context);
    let content = (bytes > 0 || has_url).then_some(Content { bytes, bring: &mut bring });
    if arguments.download_only && !arguments.change.dry_run {
        return changes::download(&root, &requests, &sources, options, change, content, context);
    }
    changes::change_with(&root, &requests, &sources, options, change, content, context)
}

/// Packages from URLs, in files that go when the command ends: first what they say of themselves, later their content.
#[derive(Default)]
struct Brought<'o> {
    /// The root's store, and what keeps what it has until the packages are in it.
    own: Option<(Store, Hold)>,
    packages: Vec<OnServer<'o>>,
    files: Vec<PathBuf>,
}

impl<'o> Brought<'o> {
    /// Brings what a package says of itself.
    fn begin(
        &mut self,
        url: &str,
        options: &'o Options,
        tell: &'o dyn Fn(Event),
        context: &Context<'o>,
    ) -> Result<Request, Failure> {
        let name = format!("conary-{}-{}.ccs", std::process::id(), self.files.len());
        let path = context.environment.scratch.join(name);
        let cannot = |error: std::io::Error| {
            let failure = Failure::of(Code::System, &error, None);
            Failure { message: format!("cannot make {}", path.display()), causes: vec![error.to_string()], ..failure }
        };
        let directory = File::open(&context.environment.scratch).map_err(cannot)?;
        let file = durable::create(&directory, path.file_name().unwrap_or_default()).map_err(cannot)?;
        self.files.push(path.clone());
        self.packages.push(OnServer::begin(url, &file, options, tell, context)?);
        Ok(Request::Install { package: path })
    }

    /// Opens the root's store, if there is one, and keeps what it has.
    fn open_own(&mut self, arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
        if self.packages.is_empty() {
            return Ok(());
        }
        let own = arguments.root.store.clone().unwrap_or_else(|| arguments.root.root.join("var/lib/conary"));
        let options = OpenOptions { read_only: true, ..OpenOptions::default() };
        if let Ok(own) = Store::open(&context.environment.absolute(&own), &options) {
            let hold = own.hold()?;
            self.own = Some((own, hold));
        }
        Ok(())
    }

    /// Which content is brought: what the root's store lacks.
    fn want(&self) -> Want<'_> {
        self.own.as_ref().map_or(Want::All, |(own, _)| Want::Missing(own))
    }

    /// How many bytes of content are to travel.
    fn missing_bytes(&self) -> Result<u64, Failure> {
        self.packages.iter().map(|package| package.missing_bytes(self.want())).sum()
    }

    /// Brings the content.
    fn bring(&mut self, context: &Context<'_>) -> Result<(), Failure> {
        let mut packages = std::mem::take(&mut self.packages);
        packages.iter_mut().try_for_each(|package| package.bring(self.want(), context))
    }
}

impl Drop for Brought<'_> {
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
