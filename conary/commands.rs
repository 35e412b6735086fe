// conary/commands.rs
//! One file for each verb: its arguments, its help, and what it does with them.
//!
//! A command opens what it needs, calls one function of a library, and says how it went. Nothing is decided
//! here that a library should decide.

pub mod autoremove;
pub mod ccs;
pub mod changes;
pub mod completions;
pub mod config;
pub mod convert;
pub mod cook;
pub mod doctor;
pub mod enter;
pub mod fetch;
pub mod files;
pub mod gc;
pub mod history;
pub mod hold;
pub mod install;
pub mod list;
pub mod log;
pub mod man;
pub mod mark;
pub mod mirror;
pub mod owner;
pub mod rebuild;
pub mod redo;
pub mod remove;
pub mod rollback;
pub mod sandbox;
pub mod seed;
pub mod settings;
pub mod show;
pub mod source;
pub mod state;
pub mod store;
pub mod trigger;
pub mod trust;
pub mod verify;
pub mod why;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ::store::{OpenOptions, Store};
use kitchen::fetch as fetching;
use recipes::{Diagnostic, LoadError, Recipe};

use crate::cli::{SourceArgs, StoreArgs};
use crate::environment::{self, Environment};
use crate::exit::Code;
use crate::failure::Failure;
use crate::pkgbuild::{self, ProfileArg};
use crate::trust::client_config;
use crate::ui::Ui;

/// What every command is given.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The surroundings of the process.
    pub environment: &'a Environment,
    /// The only writer.
    pub ui: &'a Ui,
    /// Set by Ctrl-C.
    pub cancel: &'a AtomicBool,
}

impl Context<'_> {
    /// Opens the store of a command for changes, and makes it when it is not there.
    pub fn store(&self, arguments: &StoreArgs) -> Result<Store, Failure> {
        self.open(arguments, false)
    }

    /// Opens the store of a command for looking only.
    pub fn read_store(&self, arguments: &StoreArgs) -> Result<Store, Failure> {
        self.open(arguments, true)
    }

    /// Where the store of a command is.
    pub fn store_directory(&self, arguments: &StoreArgs) -> Result<PathBuf, Failure> {
        match &arguments.store {
            Some(directory) => Ok(self.environment.absolute(directory)),
            None => self.environment.default_store().ok_or_else(|| {
                Failure::new(Code::Usage, "there is no home directory to keep a store in")
                    .hint("name one with `--store DIR`")
            }),
        }
    }

    /// How sources are brought in: the command line's switches, the store's settings, the surroundings.
    pub fn fetch_options(&self, arguments: &SourceArgs, store: &Store) -> Result<fetching::Options, Failure> {
        self.fetch_options_of(arguments, Some(store))
    }

    /// The same, where there may be no store.
    pub fn fetch_options_of(
        &self,
        arguments: &SourceArgs,
        store: Option<&Store>,
    ) -> Result<fetching::Options, Failure> {
        let surroundings = self.environment;
        let mut distfiles: Vec<PathBuf> = arguments.distfiles.iter().map(|path| surroundings.absolute(path)).collect();
        if let Some(store) = store {
            distfiles.extend(store.setting(settings::DISTFILES)?.map(PathBuf::from));
        }
        let proxies = &surroundings.proxies;
        let tls = client_config(&surroundings.certificates);
        Ok(fetching::Options {
            distfiles,
            offline: arguments.offline,
            proxy: fetching::Proxy {
                http: proxies.http.clone().or_else(|| proxies.all.clone()),
                https: proxies.https.clone().or_else(|| proxies.all.clone()),
                except: proxies.none.clone(),
            },
            tls: Some(tls.map_err(|error| Failure::of(Code::General, &error, None))?),
            ..fetching::Options::default()
        })
    }

    /// The kitchen's options as far as they do not depend on a command.
    pub fn kitchen_options(&self, fetch: fetching::Options) -> kitchen::Options {
        kitchen::Options {
            output: self.environment.directory.join("dist"),
            jobs: None,
            cpus: None,
            with_check: true,
            level: ::sandbox::Level::Full,
            least: ::sandbox::Level::Restricted,
            force: false,
            keep_failed: false,
            allow_missing: false,
            fetch,
            foundation: kitchen::Foundation::Host(PathBuf::from("/")),
            uid: self.environment.uid,
            now_unix_secs: environment::now_unix_secs(),
        }
    }

    fn open(&self, arguments: &StoreArgs, read_only: bool) -> Result<Store, Failure> {
        let options = OpenOptions { read_only, ..OpenOptions::default() };
        Ok(Store::open(&self.store_directory(arguments)?, &options)?)
    }
}

/// Reads a recipe; returns it with its own directory.
///
/// What is wrong with it goes to stderr in full, each with its place, and the failure that comes back says no more.
pub fn load(file: &Path, context: &Context<'_>) -> Result<(Recipe, PathBuf), Failure> {
    load_with(file, &ProfileArg::default(), None, None, context)
}

/// The same, where a PKGBUILD may be read in another way than the usual one, and pinned.
pub fn load_with(
    file: &Path,
    arguments: &ProfileArg,
    pinning: Option<(&Store, &fetching::Options)>,
    setting: Option<String>,
    context: &Context<'_>,
) -> Result<(Recipe, PathBuf), Failure> {
    let directory = file.parent().unwrap_or(Path::new("/")).to_owned();
    if file.file_name().is_some_and(|name| name == pkgbuild::FILE) {
        let recipe = pkgbuild::load(file, &shown(file, context), arguments, pinning, setting, context)?;
        return Ok((recipe, directory));
    }
    match recipes::load(&shown(file, context)) {
        Ok(recipe) => Ok((recipe, directory)),
        Err(LoadError::Invalid { diagnostics, .. }) => Err(diagnosed(&diagnostics, context)),
        Err(error @ LoadError::Read { .. }) => Err(Failure::of(Code::System, &error, error.hint())),
        Err(error) => Err(Failure::of(Code::Recipe, &error, error.hint())),
    }
}

/// Shows what is wrong with a recipe, each thing with its place; the failure that comes back says no more.
pub fn diagnosed(diagnostics: &[Diagnostic], context: &Context<'_>) -> Failure {
    for diagnostic in diagnostics {
        context.ui.quote(diagnostic.to_string().as_bytes());
    }
    Failure::told(Code::Recipe)
}

/// A path as messages name it: relative, where it lies below the current directory.
fn shown(path: &Path, context: &Context<'_>) -> PathBuf {
    path.strip_prefix(&context.environment.directory).unwrap_or(path).to_owned()
}
