// conary/failure.rs
//! How a command fails: a message, its causes, a hint, and the exit code of its kind.
//!
//! Every error type of the libraries is given its exit code here or beside the command that meets it, and nowhere else.

use std::error::Error;
use std::fmt;
use std::io;

use crate::exit::Code;

/// What went wrong, ready to be shown.
#[derive(Debug)]
pub struct Failure {
    /// What the process answers.
    pub code: Code,
    /// The first line, without `error:`. Empty when everything was said already.
    pub message: String,
    /// What lies under it, outermost first.
    pub causes: Vec<String>,
    /// What else there is to know, such as where a log is.
    pub notes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What every command returns.
pub type Outcome = Result<Code, Failure>;

impl Failure {
    /// A failure in words of our own.
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), causes: Vec::new(), notes: Vec::new(), hint: None }
    }

    /// A failure whose story was already told on stderr; only the code is left to say.
    pub fn told(code: Code) -> Self {
        Self::new(code, "")
    }

    /// A failure of a library, with its chain of causes.
    ///
    /// A full or read-only disk and a missing permission are [`Code::System`] whatever the operation was.
    pub fn of(code: Code, error: &(dyn Error + 'static), hint: Option<String>) -> Self {
        let message = error.to_string();
        let mut causes: Vec<String> = Vec::new();
        let mut system = None;
        let mut next = Some(error);
        while let Some(current) = next {
            let text = current.to_string();
            // A transparent error repeats the one above it, and many sum up their cause in their own words.
            let said = message.contains(&text) || causes.iter().any(|cause| cause.contains(&text));
            if !said {
                causes.push(text);
            }
            if let Some(error) = current.downcast_ref::<io::Error>() {
                system = system.or(system_hint(error));
            }
            next = current.source();
        }
        match system {
            Some(advice) if !matches!(code, Code::Damaged) => Self {
                code: Code::System,
                message,
                causes,
                notes: Vec::new(),
                hint: hint.or_else(|| Some(advice.to_owned())),
            },
            _ => Self { code, message, causes, notes: Vec::new(), hint },
        }
    }

    /// The same failure with a hint, where it has none yet.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint.get_or_insert_with(|| hint.to_string());
        self
    }
}

/// Advice for what the system refuses for reasons of its own.
fn system_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("make room on that file system (`conary gc` frees what nothing needs), then try again")
        }
        io::ErrorKind::ReadOnlyFilesystem => Some("it is mounted read-only: remount it, or name another place"),
        io::ErrorKind::PermissionDenied => Some("run as the user who owns it, or name another place"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "cannot write the thing")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_full_disk_is_the_systems_doing() {
        let outer = Outer(io::Error::from(io::ErrorKind::StorageFull));
        let failure = Failure::of(Code::General, &outer, None);
        assert_eq!(failure.code, Code::System);
        assert_eq!(failure.causes.len(), 1);
        assert!(failure.hint.is_some_and(|hint| hint.contains("make room")));
    }

    #[test]
    fn a_hint_of_the_library_wins() {
        let outer = Outer(io::Error::from(io::ErrorKind::NotFound));
        let failure = Failure::of(Code::NotFound, &outer, Some("look elsewhere".into())).hint("never seen");
        assert_eq!((failure.code, failure.hint.as_deref()), (Code::NotFound, Some("look elsewhere")));
    }
}
