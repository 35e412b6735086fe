// converters/src/pkgbuild/sandboxed.rs
//! The second way: a real bash in the sandbox reads the file, and says which variables and functions that gave.
//!
//! There is no network, no home and nothing that can be written but an empty `/tmp`; memory, processes, time and output are limited. The file's own
//! output and errors go nowhere; what bash prints of its state comes through a descriptor that is closed while the file is read. The
//! state is then read by our own evaluator, as plain assignments, so that the rules for packages are the same.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sandbox::{Bind, Level, Limits, Plan, RootView, SandboxError, Status};

use super::sections::{Answer, Asked};
use super::{Description, Options, ReadError};
use crate::shell::quoted;

/// Reads the file, within a function as makepkg does. `BUILDENV` is as both Arch Linux and Debian have it.
const SOURCE: &str = "exec 7>&1 1>/dev/null 2>/dev/null\n\
    cd /startdir || exit 1\n\
    startdir=/startdir\n\
    BUILDENV=(!distcc color !ccache check !sign)\n\
    source_safe() { source ./PKGBUILD 7>&-; }\n\
    source_safe\n\
    unset -f source_safe\n";

/// Prints the state. `builtin` keeps a function of the file from standing in for a builtin.
const PRINT: &str = "builtin declare -p >&7\n\
    builtin declare -f >&7\n\
    builtin printf '# the end\\n' >&7\n";

/// What the state ends with.
const END: &[u8] = b"# the end\n";

/// Why the sandbox gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SandboxedError {
    /// The sandbox did not start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Bash did not come to the file's end.
    #[error("bash did not read it to its end ({status:?})")]
    Ended {
        /// How it ended.
        status: Status,
    },
    /// The file or what bash made of it is not understood.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl SandboxedError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sandbox(error) => error.hint(),
            Self::Ended {
                status: Status::TimedOut | Status::OutputLimit | Status::OutOfMemory | Status::DiskLimit,
                ..
            } => Some("it does too much while it is read: look at its top level".to_owned()),
            Self::Ended { .. } => Some("it may have ended its shell with `exit`".to_owned()),
            Self::Read(error) => error.hint(),
        }
    }
}

/// Evaluates a PKGBUILD with bash in the sandbox. `directory` holds the file, under the name `PKGBUILD`, and what belongs to it.
///
/// # Errors
/// [`SandboxedError`] if there is no sandbox, if bash did not come to the end, or if the result is no description.
pub fn read(
    text: &[u8],
    directory: &Path,
    options: &Options,
    cancel: &AtomicBool,
) -> Result<Description, SandboxedError> {
    let state = run(&[SOURCE, PRINT].concat(), directory, options, cancel)?;
    let incomplete = || SandboxedError::Ended { status: Status::Exited(0) };
    let state = state.strip_suffix(END).ok_or_else(incomplete)?;
    let (description, pending) = super::from_state(text, state, directory, options, &[])?;
    if pending.is_empty() {
        return Ok(description);
    }
    let printed = run(&questions(&pending), directory, options, cancel)?;
    let known = answered(pending, &printed).ok_or_else(incomplete)?;
    let (description, pending) = super::from_state(text, state, directory, options, &known)?;
    if pending.is_empty() { Ok(description) } else { Err(incomplete()) }
}

/// Runs one driver over the directory; returns what it prints through its own descriptor.
fn run(driver: &str, directory: &Path, options: &Options, cancel: &AtomicBool) -> Result<Vec<u8>, SandboxedError> {
    let variable = |name: &str, value: &str| (name.to_owned(), OsString::from(value));
    let plan = Plan {
        root: RootView::Host { overlays: Vec::new() },
        binds: vec![Bind { source: directory.to_owned(), target: "/startdir".to_owned(), writable: false }],
        command: ["/usr/bin/bash", "--noprofile", "--norc", "-c", driver].map(OsString::from).to_vec(),
        environment: vec![
            variable("PATH", "/usr/bin:/bin"),
            variable("LC_ALL", "C.UTF-8"),
            variable("CARCH", &options.carch),
            variable("CHOST", options.profile.chost),
        ],
        directory: "/".to_owned(),
        limits: Limits {
            memory_bytes: Some(256 << 20),
            processes: Some(64),
            cpus: Some(1),
            told_cpus: None,
            wall_clock: Some(Duration::from_secs(10)),
            output_bytes: Some(16 << 20),
            file_bytes: Some(1 << 20),
            disk_bytes: None,
        },
        level: Level::Full,
    };
    let mut state = Vec::new();
    let outcome = sandbox::run(&plan, &mut |piece| state.extend_from_slice(piece), cancel)?;
    if outcome.status == Status::Exited(0) { Ok(state) } else { Err(SandboxedError::Ended { status: outcome.status }) }
}

/// A driver that evaluates lines of packages' functions as makepkg does: each by itself, within a function, on top of what the base says.
/// Every value is printed with a zero byte behind it, and so is a byte of one where an answer ends.
fn questions(asked: &[Asked]) -> String {
    let mut driver = SOURCE.to_owned();
    for Asked { package, attribute, array, lines } in asked {
        let (base, flag) = if *array {
            (format!("outvalue=(\"${{{attribute}[@]}}\")"), 1)
        } else {
            (format!("outvalue=${attribute}"), 0)
        };
        let package = quoted(package);
        let lines: Vec<String> =
            lines.iter().map(|line| format!("eval {} 7>&-\n", quoted(&format!("outvalue{line}")))).collect();
        let _ = write!(
            driver,
            "extract_function_variable() {{\nlocal pkgname={package} attrname={attribute} attr={attribute} isarray={flag} \
             outputvar=outvalue\nlocal funcname=\"package_$pkgname\" outvalue\n{base}\nshopt -s extglob\n{}\
             builtin printf '%s\\0' \"${{outvalue[@]}}\" $'\\1' >&7\n}}\n\
             ( extract_function_variable \"package_\"{package} {attribute} {flag} outvalue )\n",
            lines.concat(),
        );
    }
    driver.push_str("exit 0\n");
    driver
}

/// Takes the answers apart; nothing if one is missing.
fn answered(asked: Vec<Asked>, printed: &[u8]) -> Option<Vec<Answer>> {
    let mut values = printed.split(|byte| *byte == 0).map(crate::shell::text_of);
    let mut known = Vec::new();
    for one in asked {
        let mut found = Vec::new();
        loop {
            let value = values.next()?;
            if value == "\u{1}" {
                break;
            }
            found.push(value);
        }
        known.push((one, found));
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_package_that_has_to_be_run_is_run() {
        let directory = tempfile::tempdir().unwrap();
        let text = "pkgbase=x\npkgname=(a b)\npkgver=1\npkgrel=1\narch=(x86_64)\ndepends=(base)\n_list() { cat \"$startdir/list\"; }\n\
                    package_a() {\n  depends+=($(_list) \"of $pkgname\")\n  pkgdesc=\"$(wc -l < list) lines\"\n  \
                    provides_x86_64=($(echo noise >&2; uname -s))\n  echo outside\n}\npackage_b() {\n  depends=(plain)\n}\n";
        std::fs::write(directory.path().join("PKGBUILD"), text).unwrap();
        std::fs::write(directory.path().join("list"), "one\ntwo three\n").unwrap();
        let options = Options::default();
        let cancel = AtomicBool::new(false);
        assert!(matches!(super::super::read(text.as_bytes(), None, &options), Err(ReadError::Needs(_))));
        let description = read(text.as_bytes(), directory.path(), &options, &cancel).unwrap();
        let [a, b] = &description.packages[..] else { panic!("{description:?}") };
        assert_eq!(a.values("depends").unwrap(), ["base", "one", "two", "three", "of a"]);
        assert_eq!(a.value("pkgdesc"), Some("2 lines"));
        assert_eq!(a.value("provides_x86_64"), Some("Linux"));
        assert_eq!(b.values("depends").unwrap(), ["plain"]);
        // A line that ends the shell is no answer.
        let ends = text.replace("wc -l < list", "kill -9 $$");
        std::fs::write(directory.path().join("PKGBUILD"), &ends).unwrap();
        assert!(matches!(
            read(ends.as_bytes(), directory.path(), &options, &cancel),
            Err(SandboxedError::Ended { .. })
        ));
    }
}
