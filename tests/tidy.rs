// tests/tidy.rs
//! The house rules that a machine can see: walls between crates, dependencies, first lines, forbidden calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::checkout;

/// What each package may use: packages of ours, then packages of others. Tests may use `FOR_TESTS` as well.
const WALLS: &[(&str, &[&str], &[&str])] = &[
    ("conary-recipes", &[], &["globset", "serde", "spdx", "strsim", "thiserror", "toml"]),
    ("conary-sandbox", &[], &["libc", "rustix", "signal-hook", "thiserror"]),
    (
        "conary-store",
        &["conary-recipes"],
        &[
            "blake2",
            "blake3",
            "ed25519-dalek",
            "rayon",
            "rusqlite",
            "rustix",
            "serde",
            "serde_json",
            "sha2",
            "tar",
            "thiserror",
            "zstd",
        ],
    ),
    ("conary-converters", &["conary-recipes", "conary-sandbox", "conary-store"], &["thiserror"]),
    (
        "conary-installer",
        &["conary-converters", "conary-recipes", "conary-sandbox", "conary-store"],
        &["blake3", "globset", "rayon", "rustix", "serde", "serde_json", "thiserror"],
    ),
    (
        "conary-kitchen",
        &["conary-installer", "conary-recipes", "conary-sandbox", "conary-store"],
        &[
            "blake3",
            "bzip2",
            "flate2",
            "git2",
            "libz-sys",
            "globset",
            "ignore",
            "liblzma",
            "md-5",
            "minisign-verify",
            "object",
            "petgraph",
            "pgp",
            "reqwest",
            "rustix",
            "rustls",
            "serde",
            "serde_json",
            "sha1",
            "ssh-key",
            "tar",
            "tempfile",
            "thiserror",
            "toml_edit",
            "zip",
            "zstd",
        ],
    ),
    (
        "conary",
        &[
            "conary-converters",
            "conary-installer",
            "conary-kitchen",
            "conary-recipes",
            "conary-sandbox",
            "conary-store",
        ],
        &[
            "clap",
            "clap_complete",
            "clap_mangen",
            "indicatif",
            "rustix",
            "rustls",
            "serde",
            "serde_json",
            "similar",
            "tracing-subscriber",
        ],
    ),
];

/// What only tests may use.
const FOR_TESTS: &[&str] = &["proptest", "tar", "tempfile", "zstd"];

/// The libraries' directories.
const LIBRARIES: &[&str] = &["recipes", "sandbox", "store", "converters", "installer", "kitchen"];

/// Every text file of the checkout, without what is built, as its path from the root.
fn files() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if ["target", ".git", "dist"].iter().any(|skipped| name == *skipped) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                walk(&path, found);
            } else {
                found.push(path.strip_prefix(checkout()).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(checkout(), &mut found);
    found.sort();
    found
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| (path.clone(), fs::read_to_string(checkout().join(path)).unwrap())).collect()
}

/// The part of a library's file that is not a test, or nothing for a file of tests, benches or examples.
fn product<'a>(path: &Path, text: &'a str) -> &'a str {
    let is_library = LIBRARIES.iter().any(|library| path.starts_with(Path::new(library).join("src")));
    let is_tests = path.file_stem().is_some_and(|stem| stem == "tests") || path.iter().any(|part| part == "tests");
    if (!is_library && !path.starts_with("conary")) || is_tests {
        return "";
    }
    ["mod tests", "pub(crate) mod tests", "pub(crate) mod testing"]
        .iter()
        .fold(text, |text, tests| text.split(&format!("#[cfg(test)]\n{tests} {{")).next().unwrap_or_default())
}

/// Lines of code, without comments, that hold one of `patterns`.
fn offences(text: &str, patterns: &[&str]) -> Vec<String> {
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter(|(_, line)| patterns.iter().any(|pattern| line.contains(pattern)))
        .map(|(number, line)| format!("{}: {}", number + 1, line.trim()))
        .collect()
}

/// Asserts that no product code below `directory` holds one of `patterns`, `allowed` files aside.
fn forbid(patterns: &[&str], applies: impl Fn(&Path) -> bool, why: &str) {
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        if applies(&path) {
            let offences = offences(product(&path, &text), patterns);
            found.extend(offences.into_iter().map(|line| format!("{}:{line}", path.display())));
        }
    }
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

fn in_library(path: &Path) -> bool {
    LIBRARIES.iter().any(|library| path.starts_with(library))
}

#[test]
fn crates_keep_their_walls_and_their_dependencies() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(checkout())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let walls: BTreeMap<&str, (&[&str], &[&str])> =
        WALLS.iter().map(|(name, ours, others)| (*name, (*ours, *others))).collect();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some((ours, others)) = walls.get(name) else {
            wrong.push(format!("{name} has no row in the table"));
            continue;
        };
        seen.insert(name.to_owned());
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            let allowed = ours.contains(&used) || others.contains(&used) || (for_tests && FOR_TESTS.contains(&used));
            if !allowed {
                wrong.push(format!("{name} may not use {used}"));
            }
        }
    }
    assert_eq!(seen.len(), walls.len(), "a package of the table is gone: {seen:?}");
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let used: BTreeSet<&str> =
            package["dependencies"].as_array().unwrap().iter().filter_map(|used| used["name"].as_str()).collect();
        let unused = walls.get(name).into_iter().flat_map(|(_, others)| *others).filter(|other| !used.contains(*other));
        wrong.extend(unused.map(|other| format!("the table lets {name} use {other}, and it does not")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rust_file_begins_with_its_path() {
    let wrong: Vec<String> = rust_files()
        .into_iter()
        .filter(|(path, text)| text.lines().next() != Some(&format!("// {}", path.display())))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "first line is not the path: {wrong:?}");
}

#[test]
fn libraries_do_not_print_or_read_their_surroundings() {
    let printing = ["println!(", "eprintln!(", "print!(", "eprint!(", "dbg!(", "io::stdout", "io::stderr", "io::stdin"];
    forbid(&printing, in_library, "a library prints");
    let reading = ["env::var", "env::args", "env::current_dir", "env::temp_dir", "env::home_dir", "SystemTime::now"];
    forbid(&reading, in_library, "a library reads the environment or the clock");
    let waiting = ["std::env::set_var", "process::exit("];
    forbid(&waiting, in_library, "a library changes or ends the process");
}

#[test]
fn nothing_unwraps_outside_tests() {
    forbid(&[".unwrap()"], |_| true, "unwrap outside of tests");
}

#[test]
fn unsafe_code_is_in_the_sandbox_only() {
    let is_elsewhere = |path: &Path| !path.starts_with("sandbox");
    forbid(
        &["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code"],
        is_elsewhere,
        "unsafe outside of the sandbox",
    );
}

#[test]
fn durable_calls_are_in_one_file() {
    let is_elsewhere = |path: &Path| in_library(path) && path != Path::new("store/src/durable.rs");
    let calls = ["sync_all(", "sync_data(", "fsync(", "fdatasync(", "syncfs("];
    forbid(&calls, is_elsewhere, "a durable call outside of store/src/durable.rs");
}

#[test]
fn sql_is_in_the_store_only() {
    forbid(&["rusqlite"], |path| !path.starts_with("store"), "SQL outside of the store");
}

#[test]
fn no_registry_and_no_unfinished_work_is_in_the_tree() {
    // Put together here, so that this file does not hold them.
    let hosts = [
        ["static.crates", ".io"],
        ["index.crates", ".io"],
        ["pythonhosted", ".org"],
        ["pypi", ".org"],
        ["registry.npmjs", "."],
    ];
    let hosts: Vec<String> = hosts.iter().map(|parts| parts.concat()).collect();
    let debian = ["debian", ".org"].concat();
    let unfinished: Vec<String> = [["todo", "!("], ["unimplemented", "!("], ["#[ign", "ore]"], ["FIX", "ME"]]
        .iter()
        .map(|parts| parts.concat())
        .collect();
    let mut found = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(checkout().join(&path)) else { continue };
        if path == Path::new("Cargo.lock") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let registry = hosts.iter().any(|host| line.contains(host)) || line.contains(&format!(".{debian}"));
            let open = path.extension().is_some_and(|e| e == "rs") && unfinished.iter().any(|word| line.contains(word));
            if registry || open {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_book_has_every_page_and_every_page_exists() {
    let summary = fs::read_to_string(checkout().join("docs/SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|page| Path::new("docs").join(page.trim_start_matches("./")))
        .collect();
    let pages: BTreeSet<PathBuf> = files()
        .into_iter()
        .filter(|path| path.starts_with("docs") && path.extension().is_some_and(|extension| extension == "md"))
        .filter(|path| path != Path::new("docs/SUMMARY.md"))
        .collect();
    assert_eq!(listed, pages, "docs/SUMMARY.md and the pages below docs/ differ");
}

#[test]
fn every_hint_in_the_sources_names_pages_that_exist() {
    for (path, text) in rust_files() {
        for rest in text.split("docs/").skip(1) {
            let Some(end) = rest.find(".md") else { continue };
            let name = &rest[..end + 3];
            if name.chars().all(|c| c.is_ascii_alphanumeric() || "-_/.".contains(c)) {
                assert!(checkout().join("docs").join(name).exists(), "{} names docs/{name}", path.display());
            }
        }
    }
}
