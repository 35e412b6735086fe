// kitchen/src/wanted.rs
//! What a failed step wanted and did not find, read from what it printed, and the troves of the store that have it.
//!
//! Compilers, linkers, the loader, shells, `env`, pkg-config, Python and Perl say in a line of their own which file is missing. The words are matched as those
//! programs print them in the `C` locale, which steps run in; a program that says it otherwise is not understood, and nothing is guessed.
//! What the kernel is asked for says less: a compiler tries every directory for every header, and a search that fails is no want.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use recipes::{Digest, TroveSpec};
use store::{Node, Store, StoreError};

use crate::seed;

/// How many different things one failure is searched for.
const MOST: usize = 8;

/// Something that was not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A header, as the source names it: `zlib.h`, `openssl/ssl.h`.
    Header(String),
    /// A program, by its name or path.
    Program(String),
    /// A library, as the linker is told of it: `z` for `-lz`.
    Library(String),
    /// A library, as the loader asks for it: `libz.so.1`.
    SharedLibrary(String),
    /// A pkg-config module.
    Module(String),
    /// A module of Python, with its dots.
    PythonModule(String),
    /// A module of Perl, as a path: `Foo/Bar.pm`.
    PerlModule(String),
    /// Any other file, by its path.
    File(String),
}

/// Who has something that was not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A trove that a recipe may require.
    Trove(TroveSpec),
    /// A seed of this name.
    Seed(String),
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trove(spec) => spec.fmt(formatter),
            Self::Seed(name) => write!(formatter, "the seed {name}"),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "the header {name}"),
            Self::Program(name) => write!(formatter, "the program {name}"),
            Self::Library(name) => write!(formatter, "the library -l{name}"),
            Self::SharedLibrary(name) => write!(formatter, "the library {name}"),
            Self::Module(name) => write!(formatter, "the pkg-config module {name}"),
            Self::PythonModule(name) => write!(formatter, "the Python module {name}"),
            Self::PerlModule(path) => write!(formatter, "the Perl module {path}"),
            Self::File(path) => write!(formatter, "the file {path}"),
        }
    }
}

impl Wanted {
    /// Whether a file of a package, by its path without the leading slash, is it.
    fn is_at(&self, path: &str) -> bool {
        let below = |directory: &str| path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
        let name = path.rsplit('/').next().unwrap_or(path);
        match self {
            Self::Header(header) => below("usr/include").is_some_and(|rest| {
                rest == header || rest.strip_suffix(header.as_str()).is_some_and(|before| before.ends_with('/'))
            }),
            Self::Program(program) if program.starts_with('/') => is_path(program, path),
            Self::Program(program) => {
                name == program && ["usr/bin", "usr/sbin", "bin", "sbin"].into_iter().any(|bin| below(bin).is_some())
            }
            Self::Library(library) => {
                let stem = name.strip_prefix("lib").and_then(|rest| rest.strip_prefix(library.as_str()));
                path.starts_with("usr/lib") && stem.is_some_and(|rest| rest == ".so" || rest == ".a")
            }
            Self::SharedLibrary(library) => {
                name == library && ["usr/lib", "lib"].into_iter().any(|directory| path.starts_with(directory))
            }
            Self::Module(module) => name.strip_suffix(".pc") == Some(module) && path.contains("/pkgconfig/"),
            Self::PythonModule(module) => {
                let module = module.replace('.', "/");
                let ends = |end: &str| path.strip_suffix(end).and_then(|rest| rest.strip_suffix(module.as_str()));
                path.contains("/python")
                    && [".py", "/__init__.py"].into_iter().any(|end| ends(end).is_some_and(|rest| rest.ends_with('/')))
            }
            Self::PerlModule(module) => {
                path.contains("/perl") && path.strip_suffix(module.as_str()).is_some_and(|rest| rest.ends_with('/'))
            }
            Self::File(wanted) => is_path(wanted, path),
        }
    }
}

/// Whether an absolute path is a file of a package; what lies in `/bin` may lie in `/usr/bin`.
fn is_path(wanted: &str, path: &str) -> bool {
    let wanted = wanted.trim_start_matches('/');
    path == wanted || path.strip_prefix("usr/") == Some(wanted)
}

/// Reads what was missing from what a step printed: each thing once, the latest first.
#[must_use]
pub fn in_lines<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> Vec<Wanted> {
    let mut seen = BTreeSet::new();
    lines.rev().filter_map(in_line).filter(|wanted| seen.insert(wanted.clone())).take(MOST).collect()
}

fn in_line(line: &str) -> Option<Wanted> {
    let word = |text: &str| {
        let plain = |character: char| character.is_ascii_alphanumeric() || "._+-/".contains(character);
        (!text.is_empty() && text.len() < 256 && text.chars().all(plain)).then(|| text.to_owned())
    };
    // `x.c:1:10: fatal error: zlib.h: No such file or directory`; clang: `fatal error: 'zlib.h' file not found`
    if let Some((_, rest)) = line.split_once("fatal error: ") {
        let header = rest
            .strip_suffix(": No such file or directory")
            .or_else(|| rest.strip_suffix(" file not found")?.strip_prefix('\'')?.strip_suffix('\''))?;
        return word(header).map(Wanted::Header);
    }
    // `/usr/bin/ld: cannot find -lz: No such file or directory`
    if let Some((_, rest)) = line.split_once("cannot find -l") {
        return word(rest.split(':').next()?.trim()).map(Wanted::Library);
    }
    // `No package 'zlib' found`, `Package 'zlib', required by 'virtual:world', not found`
    if let Some((_, rest)) = line.split_once("ackage '") {
        let (name, after) = rest.split_once('\'')?;
        let missing = after.ends_with("not found") || line.contains("No package '") && after.starts_with(" found");
        return missing.then(|| word(name)).flatten().map(Wanted::Module);
    }
    // `x: error while loading shared libraries: libz.so.1: cannot open shared object file: No such file or directory`
    if let Some((_, rest)) = line.split_once("error while loading shared libraries: ") {
        let (library, after) = rest.split_once(": ")?;
        return after.starts_with("cannot open").then(|| word(library)).flatten().map(Wanted::SharedLibrary);
    }
    // `ModuleNotFoundError: No module named 'a.b'`
    if let Some(name) = line.strip_prefix("ModuleNotFoundError: No module named ") {
        return word(unquoted(name)).map(Wanted::PythonModule);
    }
    // `Can't locate Foo/Bar.pm in @INC (you may need to install …)`
    if let Some((_, rest)) = line.split_once("Can't locate ") {
        return word(rest.split_once(" in @INC")?.0).map(Wanted::PerlModule);
    }
    // `configure: error: no acceptable C compiler found in $PATH`
    if line.contains("no acceptable C compiler found in $PATH") {
        return Some(Wanted::Program("cc".to_owned()));
    }
    // `sh: 3: cmake: not found`, `bash: line 1: cmake: command not found`
    if let Some(before) = line.strip_suffix(": command not found").or_else(|| line.strip_suffix(": not found")) {
        return word(last(before)).map(Wanted::Program);
    }
    let before = line.strip_suffix(": No such file or directory")?;
    // `bash: ./x: /usr/bin/perl: bad interpreter: No such file or directory`
    if let Some(before) = before.strip_suffix(": bad interpreter") {
        return word(last(before)).map(Wanted::Program);
    }
    // `make: cmake: No such file or directory`, `/usr/bin/env: 'python3': No such file or directory`
    let mut parts = before.split(": ");
    let speaker = parts.next()?;
    let name = last(before);
    if speaker.starts_with("make") || speaker == "env" || speaker.ends_with("/env") {
        return if name == speaker { None } else { word(name).map(Wanted::Program) };
    }
    // `cat: /usr/share/x: No such file or directory`, `cp: cannot stat '/usr/share/x': No such file or directory`
    let path = word(name.rsplit(' ').next().map(unquoted)?)?;
    let of_a_package = ["/usr/", "/etc/", "/opt/", "/bin/", "/sbin/", "/lib"].iter().any(|top| path.starts_with(top));
    (of_a_package && parts.next().is_some()).then_some(Wanted::File(path))
}

/// What stands behind the last colon, without quotes.
fn last(text: &str) -> &str {
    unquoted(text.rsplit(": ").next().unwrap_or(text))
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['\'', '"'])
}

/// Finds the newest trove of each name in the store that has one of these, and at which path; where none has it, the seeds.
///
/// # Errors
/// [`StoreError`]: the store cannot be read.
pub fn holders(store: &Store, wanted: &[Wanted]) -> Result<Vec<(Wanted, Holder, String)>, StoreError> {
    let mut found = Vec::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let seeds: BTreeMap<Digest, String> = seed::list(store)?.into_iter().map(|seed| (seed.id, seed.name)).collect();
    let mut names = BTreeSet::new();
    let mut troves = store.troves()?;
    troves.sort_by_key(|row| std::cmp::Reverse(row.sequence));
    for row in troves {
        let holder = match seeds.get(&row.id) {
            Some(name) => Holder::Seed(name.clone()),
            None if names.insert(row.spec.name.clone()) => Holder::Trove(row.spec),
            None => continue,
        };
        for component in store.trove(&row.id)?.components.values() {
            for entry in store.tree(&component.tree)?.entries() {
                let (Node::File { .. } | Node::Symlink { .. }, Ok(path)) =
                    (&entry.node, std::str::from_utf8(&entry.path))
                else {
                    continue;
                };
                let fits = wanted.iter().filter(|wanted| wanted.is_at(path));
                found.extend(fits.map(|wanted| (wanted.clone(), holder.clone(), path.to_owned())));
            }
        }
    }
    // Troves come before seeds, and one path for each is enough.
    found.sort();
    found.dedup_by(|one, other| (&one.0, &one.1) == (&other.0, &other.1));
    let in_troves: BTreeSet<Wanted> =
        found.iter().filter(|one| matches!(one.1, Holder::Trove(_))).map(|one| one.0.clone()).collect();
    found.retain(|(wanted, holder, _)| matches!(holder, Holder::Trove(_)) || !in_troves.contains(wanted));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_is_understood() {
        let header = |name: &str| Some(Wanted::Header(name.to_owned()));
        let program = |name: &str| Some(Wanted::Program(name.to_owned()));
        for (line, wanted) in [
            ("x.c:1:10: fatal error: zlib.h: No such file or directory", header("zlib.h")),
            ("x.c:1:10: fatal error: 'openssl/ssl.h' file not found", header("openssl/ssl.h")),
            ("/usr/bin/ld: cannot find -lz: No such file or directory", Some(Wanted::Library("z".to_owned()))),
            ("/usr/bin/ld: cannot find -lfoo-2.0", Some(Wanted::Library("foo-2.0".to_owned()))),
            ("No package 'libxml-2.0' found", Some(Wanted::Module("libxml-2.0".to_owned()))),
            ("Package 'zlib', required by 'virtual:world', not found", Some(Wanted::Module("zlib".to_owned()))),
            ("/steps/configure: 3: cmake: not found", program("cmake")),
            ("/steps/make: line 1: meson: command not found", program("meson")),
            ("make: bison: No such file or directory", program("bison")),
            ("sh: 1: /usr/bin/perl: not found", program("/usr/bin/perl")),
            ("/usr/bin/env: 'python3': No such file or directory", program("python3")),
            ("env: python3: No such file or directory", program("python3")),
            ("bash: ./x: /usr/bin/perl: bad interpreter: No such file or directory", program("/usr/bin/perl")),
            (
                "x: error while loading shared libraries: libz.so.1: cannot open shared object file: No such file or directory",
                Some(Wanted::SharedLibrary("libz.so.1".to_owned())),
            ),
            ("configure: error: no acceptable C compiler found in $PATH", program("cc")),
            ("ModuleNotFoundError: No module named 'a.b'", Some(Wanted::PythonModule("a.b".to_owned()))),
            (
                "Can't locate Foo/Bar.pm in @INC (you may need to install the Foo::Bar module) at x line 1.",
                Some(Wanted::PerlModule("Foo/Bar.pm".to_owned())),
            ),
            ("cat: /usr/share/x/y: No such file or directory", Some(Wanted::File("/usr/share/x/y".to_owned()))),
            ("cp: cannot stat '/etc/x': No such file or directory", Some(Wanted::File("/etc/x".to_owned()))),
            ("sh: 1: cannot open /usr/lib/x: No such file or directory", Some(Wanted::File("/usr/lib/x".to_owned()))),
            ("cat: src/x: No such file or directory", None),
            ("cat: /build/x-1/y: No such file or directory", None),
            ("/usr/lib/x: No such file or directory", None),
            ("env: No such file or directory", None),
            ("fatal error: \u{1b}[0m: No such file or directory", None),
            ("fatal error: out of memory", None),
            ("checking for zlib.h... no", None),
        ] {
            assert_eq!(in_line(line), wanted, "{line}");
        }
    }

    #[test]
    fn files_are_known_by_where_they_lie() {
        let at = |wanted: Wanted, path: &str| wanted.is_at(path);
        assert!(at(Wanted::Header("zlib.h".into()), "usr/include/zlib.h"));
        assert!(at(Wanted::Header("ssl.h".into()), "usr/include/openssl/ssl.h"));
        assert!(!at(Wanted::Header("lib.h".into()), "usr/include/zlib.h"));
        assert!(at(Wanted::Program("bison".into()), "usr/bin/bison"));
        assert!(!at(Wanted::Program("bison".into()), "usr/share/doc/bison"));
        assert!(at(Wanted::Program("/usr/bin/perl".into()), "usr/bin/perl"));
        assert!(at(Wanted::Library("z".into()), "usr/lib/x86_64-linux-gnu/libz.so"));
        assert!(!at(Wanted::Library("z".into()), "usr/lib/libzstd.so"));
        assert!(at(Wanted::Program("/bin/perl".into()), "usr/bin/perl"));
        assert!(!at(Wanted::Program("/usr/bin/perl".into()), "usr/share/usr/bin/perl"));
        assert!(at(Wanted::SharedLibrary("libz.so.1".into()), "usr/lib/x86_64-linux-gnu/libz.so.1"));
        assert!(!at(Wanted::SharedLibrary("libz.so.1".into()), "usr/lib/x86_64-linux-gnu/libz.so.1.2"));
        assert!(at(Wanted::Module("zlib".into()), "usr/lib/pkgconfig/zlib.pc"));
        assert!(at(Wanted::PythonModule("a.b".into()), "usr/lib/python3/dist-packages/a/b.py"));
        assert!(at(Wanted::PythonModule("a".into()), "usr/lib/python3.11/a/__init__.py"));
        assert!(!at(Wanted::PythonModule("a".into()), "usr/lib/python3.11/aa.py"));
        assert!(at(Wanted::PerlModule("Foo/Bar.pm".into()), "usr/share/perl5/Foo/Bar.pm"));
        assert!(!at(Wanted::PerlModule("Foo/Bar.pm".into()), "usr/share/perl5/OtherFoo/Bar.pm"));
        assert!(at(Wanted::File("/usr/share/x".into()), "usr/share/x"));
        assert!(!at(Wanted::File("/usr/share/x".into()), "usr/share/x/y"));
    }
}
