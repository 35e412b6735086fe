// converters/src/pkgbuild.rs
//! Reads a PKGBUILD as makepkg does, without running it, and turns it into a recipe.
//!
//! ```text
//! text ─► shell::Evaluator ─► variables and functions
//!                               │ sections   makepkg's rules for what a package overrides
//!                               ▼
//!                          Description ─► srcinfo text
//!                               │ recipe     steps with the bodies as written
//!                               ▼
//!                          recipe.toml, files beside it, findings
//! ```
//!
//! What cannot be known without running something is [`ReadError::Needs`], with its line; [`sandboxed`] then asks a real bash in the
//! sandbox. Specified in docs/design/convert.md.

mod lint;
mod profile;
mod recipe;
pub mod sandboxed;
mod schema;
mod sections;
mod steps;

use std::path::Path;

use crate::shell::{Budget, Evaluator, Need, Stop, SyntaxError, Value, text_of};
pub use profile::{PROFILES, Profile};
pub(crate) use profile::{is_followed, own_policies};
pub use recipe::{Converted, convert, differences, version_step, with_version};
pub use schema::{SCALARS, is_array};
pub use steps::VERSION_FILE;

/// A PKGBUILD longer than this is refused.
const LARGEST_BYTES: usize = 8 << 20;

/// How a PKGBUILD is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// What `$CARCH` is.
    pub carch: String,
    /// What its packager's makepkg is told.
    pub profile: Profile,
    /// How much may be done before it is refused.
    pub budget: Budget,
}

impl Default for Options {
    fn default() -> Self {
        Self { carch: "x86_64".to_owned(), profile: PROFILES[0], budget: Budget::default() }
    }
}

/// What a PKGBUILD says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// What holds for the whole build.
    pub base: Section,
    /// The packages, each with what it says otherwise than the base.
    pub packages: Vec<Section>,
    /// The functions, in the order of their names.
    pub functions: Vec<Written>,
    /// Variables that are no metadata: their name, and shell that sets them.
    pub variables: Vec<(String, String)>,
    /// Variables whose value is known only when something runs: the line, and the name.
    pub unknown: Vec<Note>,
    /// What makepkg would refuse or somebody should know.
    pub notes: Vec<Note>,
}

/// A base or a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// The name of the base or package.
    pub name: String,
    /// Attributes with their values, in makepkg's order; one without a value is set to nothing.
    pub attributes: Vec<(String, Vec<String>)>,
}

/// A function as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name.
    pub name: String,
    /// The line of its name.
    pub line: usize,
    /// The whole definition.
    pub text: String,
    /// The body with its braces.
    pub body: String,
}

/// Something to know about a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// The line, from 1.
    pub line: usize,
    /// What is the matter.
    pub what: String,
}

impl Section {
    /// The values of an attribute; nothing if it is not set here.
    #[must_use]
    pub fn values(&self, attribute: &str) -> Option<&[String]> {
        self.attributes.iter().find(|(name, _)| name == attribute).map(|(_, values)| values.as_slice())
    }

    /// The value of an attribute that has one.
    #[must_use]
    pub fn value(&self, attribute: &str) -> Option<&str> {
        self.values(attribute).and_then(|values| values.first()).map(String::as_str)
    }
}

/// Why a PKGBUILD was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is too large.
    #[error("it has more than {limit_bytes} bytes")]
    Large {
        /// The largest that is read.
        limit_bytes: usize,
    },
    /// makepkg refuses carriage returns.
    #[error("line {line}: it contains carriage returns and cannot be sourced")]
    CarriageReturn {
        /// The first line that has one.
        line: usize,
    },
    /// It is not shell.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// It cannot be read without running something.
    #[error("line {}: {} cannot be known without running it", .0.line, .0.what)]
    Needs(Need),
    /// It does too much.
    #[error("line {}: {}", .0.line, .0.what)]
    Budget(Need),
    /// It ends the shell that reads it.
    #[error("it ends the shell that reads it")]
    Exits,
    /// It names no package.
    #[error("it sets no `pkgname`")]
    Nameless,
}

impl ReadError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::CarriageReturn { .. } => {
                Some("remove them, for example with `sed -i 's/\\r$//' PKGBUILD`".to_owned())
            }
            Self::Needs(_) => Some("without `--static-only` it is evaluated by bash in the sandbox".to_owned()),
            _ => None,
        }
    }

    /// The line that it is about.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::CarriageReturn { line } => Some(*line),
            Self::Syntax(error) => Some(error.line),
            Self::Needs(need) | Self::Budget(need) => Some(need.line),
            Self::Large { .. } | Self::Exits | Self::Nameless => None,
        }
    }
}

impl From<Stop> for ReadError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Unknown(need) | Stop::Run(need) => Self::Needs(need),
            Stop::Syntax(error) => Self::Syntax(error),
            Stop::Budget(need) => Self::Budget(need),
            Stop::Break(_) | Stop::Continue(_) | Stop::Return(_) | Stop::Exit(_) => Self::Exits,
        }
    }
}

/// Stack for one evaluation: matching and nested calls may use much of it.
const STACK_BYTES: usize = 64 << 20;

/// Reads a PKGBUILD without running anything. `beside` is the directory whose names a pattern such as `*.patch` may match.
///
/// # Errors
/// [`ReadError`]: where makepkg refuses it as well, where something would have to be run, and where it does too much.
pub fn read(text: &[u8], beside: Option<&Path>, options: &Options) -> Result<Description, ReadError> {
    std::thread::scope(|scope| {
        let spawned = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || read_here(text, beside, options));
        match spawned.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // No thread is to be had: the caller's own stack must do.
            Err(_) => read_here(text, beside, options),
        }
    })
}

/// Reads it on this thread, whose stack should be large.
fn read_here(bytes: &[u8], beside: Option<&Path>, options: &Options) -> Result<Description, ReadError> {
    if bytes.len() > LARGEST_BYTES {
        return Err(ReadError::Large { limit_bytes: LARGEST_BYTES });
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == b'\r') {
        let line = bytes[..at].split(|byte| *byte == b'\n').count();
        return Err(ReadError::CarriageReturn { line });
    }
    let text = text_of(bytes);
    let names = || names_in(beside);
    let mut shell = Evaluator::new(options.budget.clone(), &names);
    shell.set("CARCH", Value::Scalar(options.carch.clone()));
    shell.set("CHOST", Value::Scalar(options.profile.chost.to_owned()));
    let mut notes = Vec::new();
    // makepkg reads the file within a function, so what the file declares is gone behind it.
    match shell.within("source_safe", &[], |shell| shell.run(&text, 1)) {
        Ok(()) => {}
        Err(Stop::Return(status)) => {
            if status.is_some_and(|status| status != 0) {
                notes.push(Note { line: 0, what: "makepkg refuses it: it returns a failure".to_owned() });
            }
        }
        Err(stop) => return Err(stop.into()),
    }
    if shell.status().is_some_and(|status| status != 0) {
        notes.push(Note { line: 0, what: "makepkg refuses it: its last command fails".to_owned() });
    }
    if shell.is_nounset() {
        notes.push(lint::nounset());
        shell.forget_nounset();
    }
    let mut description = sections::describe(&mut shell, notes, beside, None)?;
    description.notes.extend(lint::notes(&description));
    Ok(description)
}

/// A description, and what has to be run for it still.
type FromState = Result<(Description, Vec<sections::Asked>), ReadError>;

/// Describes what bash printed of its state, with answers to what had to be run; the functions' texts come from the file where they
/// stand in it.
fn from_state(
    text: &[u8],
    state: &[u8],
    beside: Option<&Path>,
    options: &Options,
    known: &[sections::Answer],
) -> FromState {
    let work = || {
        let names = || Some(Vec::new());
        let mut answers = sections::Answers { known: known.to_vec(), pending: Vec::new() };
        let mut shell = Evaluator::new(options.budget.clone(), &names);
        shell.run(&text_of(state), 1)?;
        let notes = if state.starts_with(sandboxed::NOUNSET) { vec![lint::nounset()] } else { Vec::new() };
        let mut description = sections::describe(&mut shell, notes, beside, Some(&mut answers))?;
        description.notes.extend(lint::notes(&description));
        if let Ok(script) = crate::shell::parse(&text_of(text), 1) {
            for function in script.functions() {
                let found = description.functions.iter_mut().find(|written| written.name == function.name);
                if let Some(written) = found {
                    written.line = function.line;
                    written.text.clone_from(&function.text);
                    written.body.clone_from(&function.body_text);
                }
            }
        }
        Ok((description, answers.pending))
    };
    std::thread::scope(|scope| match std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        // No thread is to be had: the caller's own stack must do.
        Err(_) => work(),
    })
}

/// The names in a directory; nothing if they cannot be known.
fn names_in(directory: Option<&Path>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let directory = directory?;
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    for entry in std::fs::read_dir(directory).ok()? {
        names.push(entry.ok()?.file_name().into_string().ok()?);
    }
    Some(names)
}
