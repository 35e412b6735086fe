// converters/tests/corpus.rs
//! Every PKGBUILD of `corpus` is read as its `SRCINFO` says, and its `SRCINFO` is what the real makepkg prints.
//!
//! Each construct that metadata is made of stands in one of them. `CORPUS_ORACLE=all` asks makepkg about every file (it takes some seconds for
//! each); otherwise about one. `CORPUS_ORACLE=write` writes the expectations anew from makepkg.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use converters::pkgbuild::{Options, read};

fn corpus() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_file_is_read_as_makepkg_prints_it() {
    for directory in corpus() {
        let text = fs::read(directory.join("PKGBUILD")).unwrap();
        let expected = fs::read_to_string(directory.join("SRCINFO")).unwrap();
        // makepkg has the file alone in its directory.
        let alone = tempfile::tempdir().unwrap();
        let description = read(&text, Some(alone.path()), &Options::default())
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let ours = String::from_utf8(description.srcinfo()).unwrap();
        assert_eq!(ours.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>(), "{}", directory.display());
    }
}

/// What the real makepkg prints; nothing if there is none.
fn makepkg(text: &[u8]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("PKGBUILD"), text).unwrap();
    let mut command = Command::new("makepkg");
    command.arg("--printsrcinfo").current_dir(directory.path()).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("HOME", directory.path()).env("CARCH", "x86_64");
    if fs::metadata(directory.path()).unwrap().uid() == 0 {
        // It refuses to run as root.
        const NOBODY: u32 = 65534;
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
    }
    let output = command.output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_expectations_are_makepkgs_own() {
    let how = std::env::var("CORPUS_ORACLE").unwrap_or_default();
    for directory in corpus() {
        if how.is_empty() && !directory.ends_with("overrides") {
            continue;
        }
        let text = fs::read(directory.join("PKGBUILD")).unwrap();
        let Some(theirs) = makepkg(&text) else {
            println!("skipped: no makepkg");
            return;
        };
        if how == "write" {
            fs::write(directory.join("SRCINFO"), &theirs).unwrap();
            continue;
        }
        assert_eq!(fs::read_to_string(directory.join("SRCINFO")).unwrap(), theirs, "{}", directory.display());
    }
}
