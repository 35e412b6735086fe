// conary/commands/ccs/remote.rs
//! Package files wherever they are: a path, or a URL from which only the parts that are needed travel.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use kitchen::fetch::{Event, HttpError, Options, RemotePackage};
use store::OpenOptions;
use store::ccs::{self, CcsError, Coming, Head, Package, Want};

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
    let mut package = OnServer::begin(url, into, &options, &tell, context)?;
    package.bring(want, context)?;
    Package::open(into.try_clone().map_err(|error| cannot_keep(&error))?).map_err(|error| failed(url, error))
}

/// A package on a server, whose metadata is here.
pub struct OnServer<'o> {
    url: String,
    remote: RemotePackage<'o>,
    /// None where the server gives no parts, so that all of it came.
    coming: Option<Coming>,
}

impl<'o> OnServer<'o> {
    /// Brings everything but content into an empty file; all of it, where the server gives no parts.
    pub fn begin(
        url: &str,
        into: &File,
        options: &'o Options,
        tell: &'o dyn Fn(Event),
        context: &Context<'o>,
    ) -> Result<Self, Failure> {
        let remote = RemotePackage::new(url, options, context.cancel, tell);
        let coming = match Coming::begin(&remote, into) {
            Err(error) if gives_no_parts(&error) => {
                remote.download(into).map_err(|error| refused(url, &error, context.cancel))?;
                None
            }
            other => Some(other.map_err(|error| failed(url, error))?),
        };
        Ok(Self { url: url.to_owned(), remote, coming })
    }

    /// How many bytes [`OnServer::bring`] would have sent.
    pub fn missing_bytes(&self, want: Want<'_>) -> Result<u64, Failure> {
        let bytes = self.coming.as_ref().map(|coming| coming.missing_bytes(want)).transpose();
        bytes.map(Option::unwrap_or_default).map_err(|error| failed(&self.url, error))
    }

    /// Brings content.
    pub fn bring(&mut self, want: Want<'_>, context: &Context<'_>) -> Result<(), Failure> {
        if let Some(coming) = &mut self.coming {
            coming.bring(&self.remote, want, context.cancel).map_err(|error| failed(&self.url, error))?;
        }
        let (parts, bytes) = self.remote.traffic();
        context.ui.detail("Fetched", &format!("{}: {bytes} bytes in {parts} parts", self.url));
        Ok(())
    }
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
pub fn options(context: &Context<'_>) -> Result<Options, Failure> {
    let arguments = crate::cli::SourceArgs { distfiles: Vec::new(), offline: false };
    let read_only = OpenOptions { read_only: true, ..OpenOptions::default() };
    let store = context.environment.default_store().and_then(|path| store::Store::open(&path, &read_only).ok());
    context.fetch_options_of(&arguments, store.as_ref())
}

/// Tells that a server is asked again.
pub fn retrying(event: &Event, context: &Context<'_>) {
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
