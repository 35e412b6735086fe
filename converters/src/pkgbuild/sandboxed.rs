// converters/src/pkgbuild/sandboxed.rs
//! The second way: a real bash in the sandbox reads the file, and says which variables and functions that gave.
//!
//! There is no network, no home and nothing that can be written but an empty `/tmp`; memory, processes, time and output are limited. The file's own
//! output and errors go nowhere; what bash prints of its state comes through a descriptor that is closed while the file is read. The
//! state is then read by our own evaluator, as plain assignments, so that the rules for packages are the same.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sandbox::{Bind, Level, Limits, Plan, RootView, SandboxError, Status};

use super::sections::{Answer, Asked};
use super::{Description, Options, ReadError};
use crate::shell::quoted;

/// What a file finds when makepkg reads it: functions of makepkg's own, for those that a PKGBUILD may well call at its top level. They begin
/// with a mark, by which they are known from functions of the file with the same names.
const OWN: &str = "for __name in msg msg2 plain plainerr warning error ask; do eval \"$__name() { : makepkg; }\"; done\n\
    unset __name\n\
    in_array() { : makepkg; local item needle=$1; shift; for item; do [[ $item = \"$needle\" ]] && return 0; done; return 1; }\n\
    is_array() { : makepkg; [[ ${!1@a} = *a* ]]; }\n\
    have_function() { : makepkg; declare -f \"$1\" >/dev/null; }\n\
    check_opt_array() { : makepkg; local at option=$1 wanted=$2; shift 2\n\
      for ((at = $#; at > 0; at--)); do\n\
        [[ ${!at} = \"$option\" ]] && { [[ $wanted = y ]]; return; }\n\
        [[ ${!at} = \"!$option\" ]] && { [[ $wanted = n ]]; return; }\n\
      done; return 127; }\n\
    check_option() { : makepkg; check_opt_array \"$@\" \"${OPTIONS[@]}\" \"${options[@]}\"; }\n\
    check_buildenv() { : makepkg; check_opt_array \"$@\" \"${BUILDENV[@]}\"; }\n\
    check_buildoption() { : makepkg; check_opt_array \"$@\" \"${BUILDENV[@]}\" \"${options[@]}\"; }\n\
    get_full_version() { : makepkg; if [[ -n $epoch && $epoch != 0 ]]; then printf '%s\\n' \"$epoch:$pkgver-$pkgrel\"; else \
      printf '%s\\n' \"$pkgver-$pkgrel\"; fi; }\n";

/// What reads the file, within a function as makepkg does. `BUILDENV` is as both Arch Linux and Debian have it.
fn source(place: Place<'_>, options: &Options) -> String {
    let (startdir, file) = match place {
        Place::File(path) => {
            let name = path.file_name().map_or_else(String::new, |name| crate::shell::text_of(name.as_bytes()));
            (STARTDIR, format!("./{}", quoted(&name)))
        }
        Place::Nowhere => ("/tmp", format!("<(builtin printf %s \"${TEXT}\")")),
    };
    format!(
        "OPTIONS=({})\n{OWN}exec 7>&1 1>/dev/null 2>/dev/null\n\
         cd {startdir} || exit 1\n\
         startdir={startdir} makepkg_version=6.0.2\n\
         BUILDENV=(!distcc color !ccache check !sign)\n\
         source_safe() {{ unset {TEXT}; source \"$@\" 7>&-; }}\n\
         source_safe {file}\n\
         unset -f source_safe\n",
        options.profile.options()
    )
}

/// Where the sandbox has the file's directory.
const STARTDIR: &str = "/startdir";

/// The variable that has the text of a file that lies nowhere.
const TEXT: &str = "PKGBUILD_TEXT";

/// The longest text that a variable can have.
const LARGEST_ALONE: usize = 120 << 10;

/// Where a PKGBUILD lies.
#[derive(Debug, Clone, Copy)]
pub enum Place<'p> {
    /// In this file: the sandbox sees its directory.
    File(&'p Path),
    /// Nowhere: it came from elsewhere, and there is nothing beside it.
    Nowhere,
}

impl<'p> Place<'p> {
    fn directory(self) -> Option<&'p Path> {
        match self {
            Self::File(path) => path.parent(),
            Self::Nowhere => None,
        }
    }
}

/// Prints the state, without makepkg's own functions. `builtin` keeps a function of the file from standing in for a builtin.
const PRINT: &str = "for __name in msg msg2 plain plainerr warning error ask in_array is_array have_function check_opt_array check_option \
    check_buildenv check_buildoption get_full_version; do\n\
      [[ $(builtin declare -f $__name) == *' : makepkg'* ]] && builtin unset -f $__name\n\
    done\n\
    builtin unset __name\n\
    [[ $- = *u* ]] && builtin printf '# nounset\n' >&7\n\
    builtin declare -p >&7\n\
    builtin declare -f >&7\n\
    builtin printf '# the end\\n' >&7\n";

/// What the state begins with where `set -u` was left on.
pub(super) const NOUNSET: &[u8] = b"# nounset\n";

/// What the state ends with.
const END: &[u8] = b"# the end\n";

/// Why the sandbox gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SandboxedError {
    /// The sandbox did not start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// It is too long for a file that lies nowhere.
    #[error("it has more than {limit_bytes} bytes and comes from standard input")]
    Alone {
        /// The longest that is read.
        limit_bytes: usize,
    },
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
                status:
                    Status::TimedOut | Status::OutputLimit | Status::OutOfMemory | Status::DiskLimit | Status::ProcessLimit,
                ..
            } => Some("it does too much while it is read: look at its top level".to_owned()),
            Self::Alone { .. } => Some("write it into a file first".to_owned()),
            Self::Ended { .. } => Some("it may have ended its shell with `exit`".to_owned()),
            Self::Read(error) => error.hint(),
        }
    }
}

/// Evaluates a PKGBUILD with bash in the sandbox.
///
/// # Errors
/// [`SandboxedError`] if there is no sandbox, if bash did not come to the end, or if the result is no description.
pub fn read(
    text: &[u8],
    place: Place<'_>,
    options: &Options,
    cancel: &AtomicBool,
) -> Result<Description, SandboxedError> {
    if matches!(place, Place::Nowhere) && text.len() > LARGEST_ALONE {
        return Err(SandboxedError::Alone { limit_bytes: LARGEST_ALONE });
    }
    let reading = Reading { text, place, options, cancel };
    let state = reading.run(&[&source(place, options), PRINT].concat())?;
    let incomplete = || SandboxedError::Ended { status: Status::Exited(0) };
    let state = state.strip_suffix(END).ok_or_else(incomplete)?;
    let (description, pending) = super::from_state(text, state, place.directory(), options, &[])?;
    if pending.is_empty() {
        return Ok(description);
    }
    let printed = reading.run(&questions(&pending, &source(place, options)))?;
    let known = answered(pending, &printed).ok_or_else(incomplete)?;
    let (description, pending) = super::from_state(text, state, place.directory(), options, &known)?;
    if pending.is_empty() { Ok(description) } else { Err(incomplete()) }
}

/// One file that bash reads.
struct Reading<'r> {
    text: &'r [u8],
    place: Place<'r>,
    options: &'r Options,
    cancel: &'r AtomicBool,
}

impl Reading<'_> {
    /// Runs one driver; returns what it prints through its own descriptor.
    fn run(&self, driver: &str) -> Result<Vec<u8>, SandboxedError> {
        let variable = |name: &str, value: &str| (name.to_owned(), OsString::from(value));
        let mut environment = vec![
            variable("PATH", "/usr/bin:/bin"),
            variable("LC_ALL", "C.UTF-8"),
            variable("CARCH", &self.options.carch),
            variable("CHOST", self.options.profile.chost),
        ];
        if matches!(self.place, Place::Nowhere) {
            environment.push((TEXT.to_owned(), OsString::from_vec(self.text.to_owned())));
        }
        let bind =
            |directory: &Path| Bind { source: directory.to_owned(), target: STARTDIR.to_owned(), writable: false };
        let plan = Plan {
            root: RootView::Host { overlays: Vec::new() },
            binds: self.place.directory().map(bind).into_iter().collect(),
            command: ["/usr/bin/bash", "--noprofile", "--norc", "-c", driver, "/usr/bin/makepkg"]
                .map(OsString::from)
                .to_vec(),
            environment,
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
        let outcome = sandbox::run(&plan, &mut |piece| state.extend_from_slice(piece), self.cancel)?;
        if outcome.status == Status::Exited(0) {
            Ok(state)
        } else {
            Err(SandboxedError::Ended { status: outcome.status })
        }
    }
}

/// A driver that evaluates lines of packages' functions as makepkg does: each by itself, within a function, on top of what the base says.
/// Every value is printed with a zero byte behind it, and so is a byte of one where an answer ends.
fn questions(asked: &[Asked], source: &str) -> String {
    let mut driver = format!("{source}set +u\n");
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
            "extract_function_variable() {{\nlocal pkgname={package} pkg={package} a package_arch attrname={attribute} attr={attribute} isarray={flag} \
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
        // Its name is its owner's choice.
        let file = directory.path().join("it's a.PKGBUILD");
        std::fs::write(&file, text).unwrap();
        std::fs::write(directory.path().join("list"), "one\ntwo three\n").unwrap();
        let options = Options::default();
        let cancel = AtomicBool::new(false);
        assert!(matches!(super::super::read(text.as_bytes(), None, &options), Err(ReadError::Needs(_))));
        let description = read(text.as_bytes(), Place::File(&file), &options, &cancel).unwrap();
        let [a, b] = &description.packages[..] else { panic!("{description:?}") };
        assert_eq!(a.values("depends").unwrap(), ["base", "one", "two", "three", "of a"]);
        assert_eq!(a.value("pkgdesc"), Some("2 lines"));
        assert_eq!(a.value("provides_x86_64"), Some("Linux"));
        assert_eq!(b.values("depends").unwrap(), ["plain"]);
        // A line that ends the shell is no answer.
        let ends = text.replace("wc -l < list", "kill -9 $$");
        std::fs::write(&file, &ends).unwrap();
        assert!(matches!(
            read(ends.as_bytes(), Place::File(&file), &options, &cancel),
            Err(SandboxedError::Ended { .. })
        ));
    }

    #[test]
    fn a_file_that_lies_nowhere_and_calls_what_makepkg_has_is_read() {
        let text = "pkgname=x\npkgver=1\npkgrel=1\narch=(x86_64)\noptions=(!docs)\nsource=(a b)\nmsg 'reading'\n\
                    in_array b \"${source[@]}\" && depends+=(in)\nis_array source && depends+=(array)\n\
                    check_option docs n && depends+=(\"$(uname -s)\")\ncheck_option strip y && depends+=(strip)\n\
                    check_buildenv check y && depends+=(check)\nhave_function package || depends+=(early)\n\
                    depends+=(\"$(get_full_version)\" \"${0##*/}\")\nwarning() { :; }\npackage() {\n  :\n}\n";
        let cancel = AtomicBool::new(false);
        let description = read(text.as_bytes(), Place::Nowhere, &Options::default(), &cancel).unwrap();
        let expected = ["in", "array", "Linux", "strip", "check", "early", "1-1", "makepkg"];
        assert_eq!(description.base.values("depends").unwrap(), expected);
        let functions: Vec<&str> = description.functions.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(functions, ["package", "warning"]);
        assert!(description.variables.is_empty(), "{:?}", description.variables);
        let long = format!("{text}#{}", "x".repeat(LARGEST_ALONE));
        assert!(matches!(
            read(long.as_bytes(), Place::Nowhere, &Options::default(), &cancel),
            Err(SandboxedError::Alone { .. })
        ));
    }
}
