// converters/tests/corpus.rs
//! Every PKGBUILD of `corpus` is read as its `SRCINFO` says, and its `SRCINFO` is what the real makepkg prints.
//!
//! Each construct that metadata is made of stands in one of them. `CONARY_CORPUS=all` asks makepkg about every file (it takes a second or more for
//! each); otherwise about every twentieth. `CONARY_CORPUS=write` writes the expectations anew from makepkg.
//! `CONARY_CORPUS_FROM=DIRECTORY` compares the PKGBUILDs below any other directory with makepkg in the same way, each alone in its directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use converters::pkgbuild::{Description, Options, ReadError, read};

fn corpus() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The description of a file that lies in its directory with nothing but the scripts that it names, as makepkg has it here.
fn described(text: &[u8]) -> Result<Description, ReadError> {
    let place = tempfile::tempdir().unwrap();
    let found = read(text, Some(place.path()), &Options::default())?;
    lay_out_scripts(&found, place.path());
    read(text, Some(place.path()), &Options::default())
}

/// Makes the scripts that a PKGBUILD names: makepkg wants them to be there.
fn lay_out_scripts(description: &Description, place: &Path) {
    for section in std::iter::once(&description.base).chain(&description.packages) {
        for name in ["install", "changelog"].iter().filter_map(|attribute| section.value(attribute)) {
            // One that is empty, or a directory, is makepkg's to judge.
            if !place.join(name).is_dir() {
                fs::write(place.join(name), "").unwrap();
            }
        }
    }
}

#[test]
fn every_file_is_read_as_makepkg_prints_it() {
    let files = corpus();
    assert!(files.len() >= 150, "the corpus has lost files: {}", files.len());
    let mut wrong = Vec::new();
    for directory in files {
        let text = fs::read(directory.join("PKGBUILD")).unwrap();
        let expected = fs::read_to_string(directory.join("SRCINFO")).unwrap();
        let name = directory.file_name().unwrap().to_string_lossy().into_owned();
        match described(&text) {
            Ok(description) => {
                let ours = String::from_utf8(description.srcinfo()).unwrap();
                let differs = ours.lines().zip(expected.lines()).find(|(ours, theirs)| ours != theirs);
                if let Some((ours, theirs)) = differs {
                    wrong.push(format!("{name}: makepkg prints `{theirs}`, we `{ours}`"));
                } else if ours.lines().count() != expected.lines().count() {
                    wrong.push(format!("{name}: one has more lines\n{ours}"));
                } else if !description.notes.is_empty() {
                    wrong.push(format!("{name}: {:?}", description.notes));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the real makepkg prints, or says that is wrong; nothing if there is none.
fn makepkg(text: &[u8]) -> Option<Result<String, String>> {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("PKGBUILD"), text).unwrap();
    // It wants the scripts that are named to be there, and the programs that fetch sources to be installed.
    if let Ok(found) = described(text) {
        lay_out_scripts(&found, directory.path());
    }
    fs::create_dir(at("programs")).unwrap();
    for name in ["bzr", "brz", "fossil", "git", "hg", "svn"] {
        fs::write(at("programs").join(name), "#!/bin/sh\n").unwrap();
        fs::set_permissions(at("programs").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("makepkg");
    command.arg("--printsrcinfo").current_dir(directory.path()).env_clear();
    command.env("PATH", format!("{}:/usr/bin:/bin", at("programs").display()));
    command.env("HOME", directory.path()).env("CARCH", "x86_64").env("LC_ALL", "C.UTF-8");
    if fs::metadata(directory.path()).unwrap().uid() == 0 {
        // It refuses to run as root.
        const NOBODY: u32 = 65534;
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
    }
    let output = command.output().ok()?;
    Some(if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    })
}

#[test]
fn the_expectations_are_makepkgs_own() {
    let how = std::env::var("CONARY_CORPUS").unwrap_or_default();
    let files = corpus();
    // Every twentieth where not all are asked for: it takes a second for each.
    let chosen: Vec<&PathBuf> = files.iter().step_by(if how.is_empty() { 20 } else { 1 }).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(directory) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let text = fs::read(directory.join("PKGBUILD")).unwrap();
                    let Some(theirs) = makepkg(&text) else {
                        println!("skipped: no makepkg");
                        return;
                    };
                    let theirs = theirs.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
                    if how == "write" {
                        fs::write(directory.join("SRCINFO"), &theirs).unwrap();
                        continue;
                    }
                    let expected = fs::read_to_string(directory.join("SRCINFO")).unwrap();
                    assert_eq!(expected, theirs, "{}", directory.display());
                }
            });
        }
    });
}

/// What differs between what we and what makepkg make of a text; nothing if they agree, and that it is no PKGBUILD if neither takes it.
fn difference(text: &[u8]) -> Result<&'static str, String> {
    let theirs = makepkg(text).expect("makepkg is needed to compare with it");
    match (described(text), theirs) {
        (Ok(description), Ok(theirs)) => {
            let ours = String::from_utf8_lossy(&description.srcinfo()).into_owned();
            let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
            let at = (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at));
            at.map_or(Ok("equal"), |at| Err(format!("makepkg prints {:?}, we {:?}", theirs.get(at), ours.get(at))))
        }
        (Ok(description), Err(error)) if description.notes.is_empty() => Err(format!("makepkg refuses it: {error}")),
        (Ok(_) | Err(_), Err(_)) => Ok("refused"),
        (Err(error), Ok(_)) => Err(format!("not read: {error}")),
    }
}

#[test]
fn files_from_elsewhere_are_read_as_makepkg_prints_them() {
    let Some(place) = std::env::var_os("CONARY_CORPUS_FROM") else {
        println!("skipped: CONARY_CORPUS_FROM names no directory");
        return;
    };
    let mut files: Vec<PathBuf> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (next, wrong) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let text = fs::read(if file.is_dir() { file.join("PKGBUILD") } else { file.clone() }).unwrap();
            match difference(&text) {
                Ok(how) => println!("{}: {how}", file.display()),
                Err(what) => wrong.lock().unwrap().push(format!("{}: {what}", file.display())),
            }
        }
    };
    std::thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(drop));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), files.len(), wrong.join("\n"));
}
