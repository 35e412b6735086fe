// conary/commands/ccs/remote.rs
//! Package files wherever they are: a path, or a URL from which only the parts that are needed travel.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use kitchen::fetch::{Event, HttpError, Options, RemotePackage};
use store::OpenOptions;
use store::ccs::{self, CcsError, Head, Package, Want};

use super::named;
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::Failure;

/// The URL that a word of the command line is, if it is one.
pub fn url(word: &Path) -> Option<&str> {
    word.to_str().filter(|word| word.starts_with("http://") || word.starts_with("https://"))
}

/// Brings a package from a URL into an empty file, as much of it as is wanted.
pub fn bring(url: &str, into: &File, want: Want<'_>, context: &Context<'_>) -> Result<Package, Failure> {
    let options = options(context)?;
    let tell = |event: Event| retrying(&event, context);
    let remote = RemotePackage::new(url, &options, context.cancel, &tell);
    let again = into.try_clone().map_err(|error| cannot_keep(&error))?;
    let package = match ccs::bring(&remote, into, want, context.cancel) {
        Err(error) if gives_no_parts(&error) => {
            remote.download(&again).map_err(|error| refused(url, &error, context.cancel))?;
            Package::open(again)
        }
        other => other,
    };
    let package = package.map_err(|error| failed(url, error))?;
    let (parts, bytes) = remote.traffic();
    context.ui.detail("Fetched", &format!("{url}: {bytes} bytes in {parts} parts"));
    Ok(package)
}

/// Reads what a package at a URL says of itself.
pub fn head(url: &str, context: &Context<'_>) -> Result<Head, Failure> {
    let options = options(context)?;
    let tell = |event: Event| retrying(&event, context);
    let remote = RemotePackage::new(url, &options, context.cancel, &tell);
    let scratch = scratch(context)?;
    match ccs::head(&remote, &scratch) {
        Err(error) if gives_no_parts(&error) => {
            remote.download(&scratch).map_err(|error| refused(url, &error, context.cancel))?;
            Package::open(scratch).map(|package| package.head()).map_err(|error| failed(url, error))
        }
        other => other.map_err(|error| failed(url, error)),
    }
}

/// A file without a name, for what nobody needs later.
pub fn scratch(context: &Context<'_>) -> Result<File, Failure> {
    let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let opened = rustix::fs::open(&context.environment.scratch, flags, mode);
    opened.map(File::from).map_err(|error| cannot_keep(&error.into()))
}

/// Downloads are configured in the default store, where there is one.
fn options(context: &Context<'_>) -> Result<Options, Failure> {
    let arguments = crate::cli::SourceArgs { distfiles: Vec::new(), offline: false };
    let read_only = OpenOptions { read_only: true, ..OpenOptions::default() };
    let store = context.environment.default_store().and_then(|path| store::Store::open(&path, &read_only).ok());
    context.fetch_options_of(&arguments, store.as_ref())
}

fn retrying(event: &Event, context: &Context<'_>) {
    if let Event::Retrying { url, reason, .. } = event {
        context.ui.story("Retrying", &format!("{url}: {reason}"));
    }
}

fn gives_no_parts(error: &CcsError) -> bool {
    matches!(error, CcsError::Io { source, .. } if source.kind() == io::ErrorKind::Unsupported)
}

fn failed(url: &str, error: CcsError) -> Failure {
    if let CcsError::Io { source, .. } = &error
        && let Some(error) = source.get_ref().and_then(|inner| inner.downcast_ref::<HttpError>())
    {
        return of_http(url, error);
    }
    named(Path::new(url), Failure::from(error))
}

fn refused(url: &str, error: &HttpError, cancel: &AtomicBool) -> Failure {
    if cancel.load(std::sync::atomic::Ordering::Relaxed) {
        return Failure::new(Code::Interrupted, "interrupted");
    }
    of_http(url, error)
}

fn of_http(url: &str, error: &HttpError) -> Failure {
    let code = match error {
        HttpError::Cancelled => Code::Interrupted,
        HttpError::TooLarge { .. } => Code::Limit,
        HttpError::Status { status } if status.starts_with("404") => Code::NotFound,
        _ => Code::Source,
    };
    Failure::new(code, format!("cannot get {url}: {error}")).hint("check the address, and that the server is reachable")
}

fn cannot_keep(error: &io::Error) -> Failure {
    let failure = Failure::of(Code::System, error, None);
    Failure { message: "cannot keep what is fetched".to_owned(), causes: vec![error.to_string()], ..failure }
}
