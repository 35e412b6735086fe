// conary/pkgbuild.rs
//! A PKGBUILD on the way to a recipe: read, as text or in the sandbox, converted, and pinned where that is asked for.
//!
//! `conary convert` writes what comes of it, `conary cook` cooks it: one way, so that both make the same recipe.

pub mod version;

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use converters::pkgbuild::{
    self, Converted, Description, PROFILES, Profile, ReadError,
    sandboxed::{self, Place},
};

pub use converters::pkgbuild::Options;
use kitchen::fetch::{self, PinError, Pinned};
use kitchen::plan::Machine;
use recipes::{Facts, Recipe};
use store::Store;

use crate::commands::{Context, fetch as fetching};
use crate::exit::Code;
use crate::failure::Failure;
use crate::ui::text;

/// The file name of every PKGBUILD.
pub const FILE: &str = "PKGBUILD";

/// The largest file that is read.
const LARGEST: u64 = 16 << 20;

/// The largest file beside a PKGBUILD that is looked into; a larger source is pinned when it is fetched.
const LARGEST_BESIDE: u64 = 256 << 20;

/// What PKGBUILDs are built with.
#[derive(Debug, Clone, Default, Args)]
pub struct ProfileArg {
    /// For a PKGBUILD: the flags and options that its packager's makepkg has: arch, debian or plain [default: the setting
    /// `profile`, else arch]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

/// Whether sources are pinned on the way.
#[derive(Debug, Clone, Default, Args)]
pub struct PinArg {
    /// For a PKGBUILD: bring in what nothing pins, hold its weak checksums against it, and pin it: files by their SHA-256, tags and
    /// branches by their commit
    #[arg(long)]
    pub pin: bool,
}

impl ProfileArg {
    /// The profile that is meant.
    pub fn profile(&self, setting: Option<String>) -> Result<Profile, Failure> {
        match self.profile.clone().or(setting) {
            None => Ok(PROFILES[0]),
            Some(name) => known(&name),
        }
    }
}

/// The profile of a name, or what there is instead.
pub fn known(name: &str) -> Result<Profile, Failure> {
    Profile::named(name).ok_or_else(|| {
        let all: Vec<String> = PROFILES.iter().map(|profile| format!("{} ({})", profile.name, profile.about)).collect();
        Failure::new(Code::Usage, format!("there is no profile {name}")).hint(format!("there are: {}", all.join(", ")))
    })
}

/// A PKGBUILD that was read.
#[derive(Debug)]
pub struct Reading {
    /// What it says.
    pub description: Description,
    /// Its bytes as text.
    pub text: String,
    /// `static` or `sandboxed`.
    pub how: &'static str,
}

/// What is the matter with a PKGBUILD.
#[derive(Debug)]
pub struct Said {
    /// What it is.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Of which kind it is.
    pub code: Code,
}

impl Said {
    /// Something about the file's text.
    pub fn of_text(message: String, hint: Option<String>) -> Self {
        Self { message, hint, code: Code::Recipe }
    }

    /// A file that could not be read or written; `what` is what was tried.
    pub fn of_file(what: &str, path: &Path, error: &std::io::Error) -> Self {
        let missing = error.kind() == std::io::ErrorKind::NotFound && what == "read";
        let code = if missing { Code::NotFound } else { Code::System };
        Self { message: format!("cannot {what} {}: {error}", path.display()), hint: None, code }
    }
}

/// Reads a PKGBUILD, `-` from standard input; in the sandbox only where text does not do, and never with `static_only`.
pub fn read(
    file: &Path,
    options: &pkgbuild::Options,
    static_only: bool,
    context: &Context<'_>,
) -> Result<Reading, Said> {
    let directory = directory_of(file);
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let read = std::io::stdin().lock().take(LARGEST).read_to_end(&mut bytes);
        read.map_err(|error| Said::of_file("read", Path::new("standard input"), &error))?;
    } else {
        let opened = fs::File::open(file).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
        opened.map_err(|error| Said::of_file("read", file, &error))?;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let in_sandbox = || {
        let place = if directory.is_some() { Place::File(file) } else { Place::Nowhere };
        sandboxed::read(&bytes, place, options, context.cancel)
            .map_err(|error| Said::of_text(error.to_string(), error.hint()))
    };
    let (description, how) = match pkgbuild::read(&bytes, directory, options) {
        Ok(description) if !static_only && !description.missing().is_empty() => {
            // A function speaks of a value that only running tells. Without it, it is a finding.
            in_sandbox().map_or((description, "static"), |whole| (whole, "sandboxed"))
        }
        Ok(description) => (description, "static"),
        Err(error @ ReadError::Needs(_)) if !static_only => {
            let in_the_sandbox =
                |second: Said| Said { message: format!("{error}; in the sandbox: {}", second.message), ..second };
            (in_sandbox().map_err(in_the_sandbox)?, "sandboxed")
        }
        Err(error) => return Err(Said::of_text(error.to_string(), error.hint())),
    };
    Ok(Reading { description, text, how })
}

/// Where a PKGBUILD lies; nowhere for standard input.
pub fn directory_of(file: &Path) -> Option<&Path> {
    file.parent().filter(|_| file != Path::new("-"))
}

/// Turns a PKGBUILD that was read into a recipe.
pub fn convert(read: &Reading, file: &Path, options: &pkgbuild::Options) -> Result<Converted, Said> {
    let beside = |name: &str| {
        let path = inside(directory_of(file)?, name)?;
        let about = fs::metadata(&path).ok()?;
        if about.is_file() && about.len() <= LARGEST_BESIDE { fs::read(path).ok() } else { None }
    };
    pkgbuild::convert(&read.description, &read.text, options, &beside)
        .map_err(|error| Said::of_text(error.to_string(), error.hint()))
}

/// The path of a file that a PKGBUILD names, if it cannot lead out of its directory.
pub fn inside(directory: &Path, name: &str) -> Option<PathBuf> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !name.is_empty()).then(|| directory.join(name))
}

/// Pins what nothing pins, and tells where it came from; returns the recipe's new text.
pub fn pin(
    recipe: &str,
    shown: &str,
    directory: &Path,
    store: &Store,
    options: &fetch::Options,
    context: &Context<'_>,
) -> Result<Pinned, Failure> {
    let pinned = pin_quietly(recipe, shown, directory, store, options, context)?;
    for source in &pinned.sources {
        let size = source.size_bytes.map(|bytes| format!(" ({})", text::size(bytes))).unwrap_or_default();
        context.ui.story("Pinned", &format!("{}{size} from {}", source.url, source.origin));
    }
    Ok(pinned)
}

/// The same, and tells nothing of what was pinned.
fn pin_quietly(
    recipe: &str,
    shown: &str,
    directory: &Path,
    store: &Store,
    options: &fetch::Options,
    context: &Context<'_>,
) -> Result<Pinned, Failure> {
    let machine = Machine::this();
    let facts = Facts {
        jobs: "1".to_owned(),
        arch: machine.arch,
        target: machine.triple,
        destdir: kitchen::environment::DESTDIR.to_owned(),
        outputs: kitchen::environment::OUTPUTS.to_owned(),
    };
    let story = fetching::Story::new(context.ui);
    let told = |event| story.tell(event);
    let pinned = fetch::pin(recipe, shown, directory, &facts, store, options, context.cancel, &told);
    story.end();
    match pinned {
        Ok(pinned) => Ok(pinned),
        Err(PinError::Recipe(diagnostics)) => Err(crate::commands::diagnosed(&diagnostics, context)),
        Err(error) => Err(error.into()),
    }
}

/// Shows findings, each with its place.
pub fn tell<'n>(notes: impl IntoIterator<Item = (usize, &'n str)>, file: &Path, context: &Context<'_>) {
    for (line, what) in notes {
        let place = if line == 0 { String::new() } else { format!("{line}:") };
        context.ui.warning(&format!("{}:{place} {what}", file.display()));
    }
}

/// Whether a finding is one that pinning takes care of.
pub fn is_about_pins(what: &str) -> bool {
    what.contains("--pin")
}

/// Reads the recipe that a PKGBUILD stands for; its files lie in the same directory.
pub fn load(
    file: &Path,
    shown: &Path,
    arguments: &ProfileArg,
    pinning: Option<(&Store, &fetch::Options)>,
    setting: Option<String>,
    context: &Context<'_>,
) -> Result<Recipe, Failure> {
    let options = pkgbuild::Options { profile: arguments.profile(setting)?, ..pkgbuild::Options::default() };
    let failed = |said: Said| {
        let failure = Failure::new(said.code, format!("{} is not cooked: {}", shown.display(), said.message));
        Failure { hint: said.hint, ..failure }
    };
    let mut read = read(file, &options, false, context).map_err(failed)?;
    let mut converted = convert(&read, file, &options).map_err(failed)?;
    let pins = pinning.is_some();
    let name = format!("{} (as a recipe)", shown.display());
    let mut pinned = None;
    if let Some((store, fetch)) = pinning {
        let directory = directory_of(file).unwrap_or(Path::new("/"));
        let pinning = version::Pinning { shown: &name, directory, store, fetch };
        pinned = Some(version::pinned(&mut read, &mut converted, file, &options, &pinning, context)?.text);
    }
    let notes = converted.findings.iter().filter(|note| !(pins && is_about_pins(&note.what)));
    tell(notes.map(|note| (note.line, note.what.as_str())), shown, context);
    let text = pinned.unwrap_or(converted.recipe);
    recipes::parse(&text, &name).map_err(|diagnostics| {
        let unpinned = |what: &str| is_about_pins(what) && !what.starts_with("pkgver()");
        if converted.findings.iter().any(|note| unpinned(&note.what)) && !pins {
            let message = format!("{} names sources that nothing pins", shown.display());
            return Failure::new(Code::Recipe, message).hint(
                "run it again with `--pin`: it brings them in, holds the weak checksums against them, and cooks what came",
            );
        }
        crate::commands::diagnosed(&diagnostics, context)
    })
}
