// kitchen/src/wanted.rs
//! What a failed step wanted and did not find, read from what it printed, and the troves of the store that have it.
//!
//! Compilers, linkers, shells and pkg-config say in a line of their own which file is missing. The words are matched as those programs print them in
//! the `C` locale, which steps run in; a program that says it otherwise is not understood, and nothing is guessed.

use std::collections::BTreeSet;

use recipes::TroveSpec;
use store::{Node, Store, StoreError};

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
    /// A pkg-config module.
    Module(String),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(formatter, "the header {name}"),
            Self::Program(name) => write!(formatter, "the program {name}"),
            Self::Library(name) => write!(formatter, "the library -l{name}"),
            Self::Module(name) => write!(formatter, "the pkg-config module {name}"),
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
            Self::Program(program) => match program.strip_prefix('/') {
                Some(absolute) => path == absolute,
                None => {
                    name == program
                        && ["usr/bin", "usr/sbin", "bin", "sbin"].into_iter().any(|bin| below(bin).is_some())
                }
            },
            Self::Library(library) => {
                let stem = name.strip_prefix("lib").and_then(|rest| rest.strip_prefix(library.as_str()));
                path.starts_with("usr/lib") && stem.is_some_and(|rest| rest == ".so" || rest == ".a")
            }
            Self::Module(module) => name.strip_suffix(".pc") == Some(module) && path.contains("/pkgconfig/"),
        }
    }
}

/// Reads what was missing from the last lines of a step, each thing once.
#[must_use]
pub fn in_lines(lines: &[String]) -> Vec<Wanted> {
    let found: BTreeSet<Wanted> = lines.iter().filter_map(|line| in_line(line)).collect();
    found.into_iter().take(MOST).collect()
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
    // `sh: 3: cmake: not found`, `bash: line 1: cmake: command not found`, `make: cmake: No such file or directory`
    let before = line
        .strip_suffix(": command not found")
        .or_else(|| line.strip_suffix(": not found"))
        .or_else(|| line.strip_suffix(": No such file or directory").filter(|before| before.starts_with("make")))?;
    word(before.rsplit(": ").next()?).map(Wanted::Program)
}

/// Finds the newest trove of each name in the store that has one of these, and at which path.
///
/// # Errors
/// [`StoreError`]: the store cannot be read.
pub fn holders(store: &Store, wanted: &[Wanted]) -> Result<Vec<(Wanted, TroveSpec, String)>, StoreError> {
    let mut found = Vec::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let mut seen = BTreeSet::new();
    let mut troves = store.troves()?;
    troves.sort_by_key(|row| std::cmp::Reverse(row.sequence));
    for row in troves.into_iter().filter(|row| seen.insert(row.spec.name.clone())) {
        for component in store.trove(&row.id)?.components.values() {
            for entry in store.tree(&component.tree)?.entries() {
                let (Node::File { .. } | Node::Symlink { .. }, Ok(path)) =
                    (&entry.node, std::str::from_utf8(&entry.path))
                else {
                    continue;
                };
                let fits = wanted.iter().filter(|wanted| wanted.is_at(path));
                found.extend(fits.map(|wanted| (wanted.clone(), row.spec.clone(), path.to_owned())));
            }
        }
    }
    found.sort();
    found.dedup_by(|one, other| one.0 == other.0 && one.1 == other.1);
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
        assert!(at(Wanted::Module("zlib".into()), "usr/lib/pkgconfig/zlib.pc"));
    }
}
