// kitchen/src/patch/tests.rs
//! GNU patch and git are the oracles: what they apply, applies here with the same result.

#![allow(clippy::disallowed_methods, clippy::similar_names, clippy::items_after_statements)] // Tests move files about as they please.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::*;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    place
}

fn apply_to(directory: &Path, patch: &[u8], strip: u32, fuzz: u32) -> Result<Vec<Vec<u8>>, PatchError> {
    apply(File::open(directory).unwrap().as_fd(), patch, &Options { strip, fuzz })
}

/// Every file below, with its content and whether it can be executed.
fn listing(directory: &Path) -> Vec<(String, Vec<u8>, bool)> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            if metadata.is_dir() {
                if name != ".git" {
                    found.push((name + "/", Vec::new(), false));
                    pending.push(path);
                }
            } else if metadata.is_symlink() {
                found.push((
                    name + "@",
                    std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                    false,
                ));
            } else {
                found.push((name, std::fs::read(&path).unwrap(), metadata.permissions().mode() & 0o111 != 0));
            }
        }
    }
    found.sort();
    found
}

/// Whether GNU patch and we agree on a patch of `files`, and what the tree is then; `None` when both refuse it.
fn with_oracle(files: &[(&str, &str)], patch: &str, strip: u32, fuzz: u32) -> Option<Vec<(String, Vec<u8>, bool)>> {
    let (theirs, ours) = (tree(files), tree(files));
    let input = theirs.path().parent().unwrap().join(format!("{}.patch", theirs.path().file_name().unwrap().display()));
    std::fs::write(&input, patch).unwrap();
    let output = Command::new("patch")
        .args(["--batch", "--forward", "--no-backup-if-mismatch", &format!("-p{strip}"), &format!("-F{fuzz}"), "-i"])
        .arg(&input)
        .current_dir(theirs.path())
        .output()
        .unwrap();
    std::fs::remove_file(input).unwrap();
    let before = listing(ours.path());
    let result = apply_to(ours.path(), patch.as_bytes(), strip, fuzz);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.success(), result.is_ok(), "GNU patch says {told}, we say {result:?} of\n{patch}");
    if result.is_err() {
        assert_eq!(listing(ours.path()), before, "a patch that does not apply changes nothing");
        return None;
    }
    assert_eq!(listing(ours.path()), listing(theirs.path()), "{told}\n{patch}");
    Some(listing(ours.path()))
}

fn numbers(range: std::ops::RangeInclusive<u32>) -> String {
    range.fold(String::new(), |text, number| text + "line " + &number.to_string() + "\n")
}

const CHANGE_10: &str =
    "--- a/f\n+++ b/f\n@@ -7,7 +7,7 @@\n line 7\n line 8\n line 9\n-line 10\n+changed\n line 11\n line 12\n line 13\n";

#[test]
fn hunks_land_where_gnu_patch_puts_them() {
    let plain = numbers(1..=20);
    let shifted = format!("new\nnew\nnew\n{plain}");
    let earlier = numbers(5..=20);
    let twice = format!("{plain}{plain}");
    let far = format!("{}{plain}", "other\n".repeat(500));
    for file in [&plain, &shifted, &earlier, &twice, &far] {
        assert!(with_oracle(&[("f", file)], CHANGE_10, 1, 0).is_some());
    }
    let worn = plain.replace("line 7\n", "seven\n").replace("line 13\n", "thirteen\n");
    assert!(with_oracle(&[("f", &worn)], CHANGE_10, 1, 0).is_none());
    assert!(with_oracle(&[("f", &worn)], CHANGE_10, 1, 1).is_some());
    let worse = worn.replace("line 8\n", "eight\n");
    assert!(with_oracle(&[("f", &worse)], CHANGE_10, 1, 1).is_none());
    assert!(with_oracle(&[("f", &worse)], CHANGE_10, 1, 2).is_some());
    assert!(with_oracle(&[("f", &worse.replace("line 10", "ten"))], CHANGE_10, 1, 3).is_none());
    assert!(with_oracle(&[("f", "")], CHANGE_10, 1, 0).is_none());
}

#[test]
fn the_ends_of_a_file_are_ends() {
    let start = "--- a/f\n+++ b/f\n@@ -1,3 +1,4 @@\n+first\n line 1\n line 2\n line 3\n";
    let end = "--- a/f\n+++ b/f\n@@ -18,3 +18,4 @@\n line 18\n line 19\n line 20\n+last\n";
    let plain = numbers(1..=20);
    let before = format!("zero\n{plain}");
    let after = format!("{plain}more\n");
    for patch in [start, end] {
        assert!(with_oracle(&[("f", &plain)], patch, 1, 0).is_some());
        with_oracle(&[("f", &before)], patch, 1, 0);
        with_oracle(&[("f", &after)], patch, 1, 0);
        with_oracle(&[("f", &before)], patch, 1, 3);
        with_oracle(&[("f", &after)], patch, 1, 3);
    }
    let no_context = "--- a/f\n+++ b/f\n@@ -5 +5 @@\n-line 5\n+five\n@@ -9,0 +10,2 @@\n+nine a\n+nine b\n@@ -15,2 +17,0 @@\n-line 15\n-line 16\n";
    assert!(with_oracle(&[("f", &plain)], no_context, 1, 0).is_some());
    assert!(with_oracle(&[("f", &before)], no_context, 1, 0).is_some());
    let whole = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n-b\n+c\n+d\n";
    assert!(with_oracle(&[("f", "a\nb\n")], whole, 1, 0).is_some());
}

#[test]
fn a_missing_newline_is_kept_or_made() {
    let cases = [
        ("a\nb", "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"),
        ("a\nb\n", "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+b\n\\ No newline at end of file\n"),
        ("a\nb", "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n-a\n+A\n b\n\\ No newline at end of file\n"),
    ];
    for (file, patch) in cases {
        assert!(with_oracle(&[("f", file)], patch, 1, 0).is_some());
    }
    assert!(with_oracle(&[("f", "a\nb\n")], cases[0].1, 1, 0).is_none());
}

#[test]
fn carriage_returns_are_kept_in_the_file_and_dropped_from_a_converted_patch() {
    let dos = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n";
    assert_eq!(with_oracle(&[("f", "a\r\nb\r\n")], dos, 1, 0).unwrap()[0].1, b"a\r\nc\r\n");
    let converted = "--- a/f\r\n+++ b/f\r\n@@ -1,2 +1,2 @@\r\n a\r\n-b\r\n+c\r\n";
    assert_eq!(with_oracle(&[("f", "a\nb\n")], converted, 1, 0).unwrap()[0].1, b"a\nc\n");
    assert!(with_oracle(&[("f", "a\nb\n")], dos, 1, 0).is_none());
}

#[test]
fn files_come_and_go() {
    let create = "--- /dev/null\n+++ b/new/deep/f\n@@ -0,0 +1,2 @@\n+a\n+b\n";
    assert!(with_oracle(&[], create, 1, 0).is_some());
    assert!(with_oracle(&[("new/deep/f", "there")], create, 1, 0).is_none());
    let delete = "--- a/old/deep/f\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n";
    assert_eq!(with_oracle(&[("old/deep/f", "a\nb\n"), ("x", "")], delete, 1, 0).unwrap().len(), 1);
    assert_eq!(with_oracle(&[("old/deep/f", "a\nb\n"), ("old/x", "")], delete, 1, 0).unwrap().len(), 2);
    let by_time =
        "--- a/f\t1970-01-01 01:00:00.000000000 +0100\n+++ b/f\t2024-01-01 00:00:00 +0000\n@@ -0,0 +1 @@\n+a\n";
    assert!(with_oracle(&[], by_time, 1, 0).is_some());
    let gone = "--- a/f\t2024-01-01 00:00:00 +0000\n+++ b/f\t1969-12-31 19:00:00.000000000 -0500\n@@ -1 +0,0 @@\n-a\n";
    assert_eq!(with_oracle(&[("f", "a\n")], gone, 1, 0).unwrap(), []);
    let emptied = "--- a/f\t2024-01-01 00:00:00 +0000\n+++ b/f\t2024-01-01 00:00:00 +0000\n@@ -1 +0,0 @@\n-a\n";
    assert_eq!(with_oracle(&[("f", "a\n")], emptied, 1, 0).unwrap().len(), 1);
    // GNU patch keeps what is left of such a file and fails; so do we, and keep all of it.
    assert!(with_oracle(&[("f", "a\nb\n")], "--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", 1, 0).is_none());
}

#[test]
fn names_are_chosen_and_stripped_as_gnu_patch_does() {
    let patch = |old: &str, new: &str| format!("--- {old}\n+++ {new}\n@@ -1 +1 @@\n-a\n+b\n");
    type Case<'c> = (&'c [(&'c str, &'c str)], String, u32);
    let cases: [Case; 8] = [
        (&[("f", "a\n")], patch("f.orig", "f"), 0),
        (&[("f.orig", "a\n"), ("f", "a\n")], patch("f.orig", "f"), 0),
        (&[("d/f", "a\n")], patch("x/d/f", "y/d/f"), 1),
        (&[("f", "a\n")], patch("x/d/f", "y/d/f"), 2),
        (&[("f", "a\n")], patch("x//d///f", "y/d/f"), 2),
        (&[("d/f", "a\n")], patch("pkg-1.0/d/f\t2020-01-01", "pkg-1.1/d/f\t2020-01-02"), 1),
        (&[("with space", "a\n")], patch("a/with space\t", "b/with space\t"), 1),
        (&[("ü", "a\n")], patch("\"a/\\303\\274\"", "\"b/\\303\\274\""), 1),
    ];
    for (files, patch, strip) in cases {
        assert!(with_oracle(files, &patch, strip, 0).is_some(), "{patch}");
    }
    assert!(with_oracle(&[("f", "a\n")], &patch("a/g", "b/g"), 1, 0).is_none());
    assert!(with_oracle(&[("f", "a\n")], &patch("f", "f"), 1, 0).is_none());
}

#[test]
fn no_name_leads_out() {
    let outer = tree(&[("secret", "a\n"), ("in/f", "a\n")]);
    let inside = outer.path().join("in");
    std::os::unix::fs::symlink("..", inside.join("up")).unwrap();
    std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
    let absolute = outer.path().join("secret").display().to_string();
    let change = |old: &str, new: &str| format!("--- {old}\n+++ {new}\n@@ -1 +1 @@\n-a\n+b\n");
    for patch in [
        change("../secret", "../secret"),
        change("x/../../secret", "x/../../secret"),
        change(&absolute, &absolute),
        change("up/secret", "up/secret"),
        change("link", "link"),
        "--- /dev/null\n+++ up/new\n@@ -0,0 +1 @@\n+x\n".to_owned(),
        "--- /dev/null\n+++ ../new\n@@ -0,0 +1 @@\n+x\n".to_owned(),
        "--- up/secret\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n".to_owned(),
        "diff --git f ../stolen\nsimilarity index 100%\nrename from f\nrename to ../stolen\n".to_owned(),
        "diff --git up/secret mine\nsimilarity index 100%\ncopy from up/secret\ncopy to mine\n".to_owned(),
        // A link that the patch makes itself is not a way out either.
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ l\n@@ -0,0 +1 @@\n+..\n\\ No newline at end of file\n--- /dev/null\n+++ l/new\n@@ -0,0 +1 @@\n+x\n".to_owned(),
    ] {
        let result = apply_to(&inside, patch.as_bytes(), 0, 0);
        assert!(result.is_err(), "{patch}");
        assert_eq!(std::fs::read_to_string(outer.path().join("secret")).unwrap(), "a\n", "{patch}");
        assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 2, "{patch}");
    }
    // A sound name beside one that leads out is used, as in GNU patch: bash's own patches are made so.
    assert!(apply_to(&inside, change("../bash/f", "f").as_bytes(), 0, 0).is_ok());
}

#[test]
fn context_diffs_are_read() {
    let old = tree(&[("f", &numbers(1..=30)), ("gone", "x\ny\n")]);
    let mut text = numbers(1..=30)
        .replace("line 5\n", "")
        .replace("line 12\n", "twelve\n")
        .replace("line 20\n", "line 20\nadded\n");
    text.push_str("no newline");
    let new = tree(&[("f", &text), ("made", "m\n")]);
    let output =
        Command::new("diff").args(["-rcN", "old", "new"]).current_dir(link_pair(&old, &new).path()).output().unwrap();
    let patch = String::from_utf8(output.stdout).unwrap();
    let files: Vec<(&str, String)> = vec![("f", numbers(1..=30)), ("gone", "x\ny\n".to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let after = with_oracle(&files, &patch, 1, 0).unwrap();
    assert_eq!(after, listing(new.path()));
}

/// A directory with links `old` and `new` to two trees, so that diff names them so.
fn link_pair(old: &tempfile::TempDir, new: &tempfile::TempDir) -> tempfile::TempDir {
    let pair = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(old.path(), pair.path().join("old")).unwrap();
    std::os::unix::fs::symlink(new.path(), pair.path().join("new")).unwrap();
    pair
}

fn git(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A repository with two commits beyond its first, and a tree of that first one.
fn repository() -> (tempfile::TempDir, tempfile::TempDir) {
    let first: [(&str, &str); 6] = [
        ("moved", &numbers(1..=40)),
        ("script", "#!/bin/sh\n"),
        ("one", "1\n1\n1\n"),
        ("two", "2\n2\n2\n"),
        ("with space", "s\n"),
        ("dir/old", "o\n"),
    ];
    let repository = tree(&first);
    let path = repository.path();
    git(path, &["init", "-q"]);
    git(path, &["add", "."]);
    git(path, &["commit", "-qm", "first"]);
    std::fs::create_dir(path.join("sub")).unwrap();
    std::fs::write(path.join("sub/moved"), numbers(1..=40).replace("line 9\n", "nine\n")).unwrap();
    std::fs::remove_file(path.join("moved")).unwrap();
    std::fs::set_permissions(path.join("script"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(path.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("script", path.join("link")).unwrap();
    std::fs::rename(path.join("with space"), path.join("other space")).unwrap();
    std::fs::remove_dir_all(path.join("dir")).unwrap();
    git(path, &["add", "-A"]);
    git(path, &["commit", "-qm", "second"]);
    // Two files change places.
    std::fs::rename(path.join("one"), path.join("three")).unwrap();
    std::fs::rename(path.join("two"), path.join("one")).unwrap();
    std::fs::rename(path.join("three"), path.join("two")).unwrap();
    std::fs::write(path.join("sub/moved"), numbers(1..=40).replace("line 9\n", "nine again\n")).unwrap();
    std::fs::remove_file(path.join("link")).unwrap();
    std::os::unix::fs::symlink("empty", path.join("link")).unwrap();
    git(path, &["add", "-A"]);
    git(path, &["commit", "-qm", "third"]);
    (repository, tree(&first))
}

#[test]
fn git_diffs_rename_copy_and_change_modes() {
    let (repository, before) = repository();
    let diff = git(repository.path(), &["diff", "-M", "-C", "HEAD~2", "HEAD"]);
    apply_to(before.path(), &diff, 1, 0).unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&diff)));
    assert_eq!(listing(before.path()), listing(repository.path()));
}

#[test]
fn a_series_of_commits_applies_in_order() {
    let (repository, before) = repository();
    let series = git(repository.path(), &["format-patch", "-M", "-B", "--stdout", "HEAD~2"]);
    apply_to(before.path(), &series, 1, 0)
        .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&series)));
    assert_eq!(listing(before.path()), listing(repository.path()));
}

#[test]
fn what_git_says_about_binaries_and_submodules_is_refused() {
    let place = tree(&[("f", "a\n")]);
    for patch in [
        "diff --git a/f b/f\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcmZQz\n\n",
        "diff --git a/f b/f\nindex 1..2 100644\nBinary files a/f and b/f differ\n",
        "diff --git a/m b/m\nnew file mode 160000\n--- /dev/null\n+++ b/m\n@@ -0,0 +1 @@\n+Subproject commit 1\n",
    ] {
        assert!(
            matches!(apply_to(place.path(), patch.as_bytes(), 1, 0), Err(PatchError::Unsupported { .. })),
            "{patch}"
        );
    }
}

#[test]
fn malformed_patches_are_named_by_their_line() {
    let place = tree(&[("f", "a\nb\n")]);
    let table = [
        ("--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n", 6),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\nxb\n+c\n", 5),
        ("--- a/f\n+++ b/f\n@@ -1,1 +1,1 @@\n a\n@@ -x +1 @@\n", 5),
        ("--- a/f\n+++ b/f\n@@ -99999999999999999999,1 +1 @@\n-a\n", 3),
        ("--- a/f\n+++ b/f\n@@ -1,1 +1,0 @@\n a\n", 4),
        ("--- a/f\n+++ b/f\n@@ -1,0 +1,0 @@\n", 4),
        ("@@ -1 +1 @@\n-a\n+b\n", 1),
        ("--- \"a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n", 1),
    ];
    for (patch, expected) in table {
        match apply_to(place.path(), patch.as_bytes(), 1, 0) {
            Err(PatchError::Malformed { line, .. }) => assert_eq!(line, expected, "{patch}"),
            other => panic!("{other:?} for {patch}"),
        }
    }
    for empty in ["", "hello\n", "From here on\n"] {
        assert!(matches!(apply_to(place.path(), empty.as_bytes(), 1, 0), Err(PatchError::Empty)));
    }
}

#[test]
fn a_patch_that_is_there_already_is_recognised() {
    let place = tree(&[("f", &numbers(1..=20).replace("line 10\n", "changed\n"))]);
    match apply_to(place.path(), CHANGE_10.as_bytes(), 1, 0).unwrap_err() {
        error @ PatchError::HunkFailed { hunk: 1, line: 7, already_applied: true, .. } => {
            assert!(error.hint().unwrap().contains("already"));
        }
        other => panic!("{other:?}"),
    }
    let worn = tree(&[("f", &numbers(1..=20).replace("line 7\n", "seven\n"))]);
    let error = apply_to(worn.path(), CHANGE_10.as_bytes(), 1, 0).unwrap_err();
    assert!(matches!(error, PatchError::HunkFailed { fuzz_needed: Some(1), .. }), "{error:?}");
}

#[test]
fn all_or_nothing() {
    let place = tree(&[("f", "a\n"), ("g", "other\n")]);
    let patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n--- a/g\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n";
    let before = listing(place.path());
    assert!(apply_to(place.path(), patch.as_bytes(), 1, 0).is_err());
    assert_eq!(listing(place.path()), before);
}

#[test]
fn one_file_twice_in_a_patch_is_patched_twice() {
    let patch = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-b\n+c\n";
    assert_eq!(with_oracle(&[("f", "a\n")], patch, 1, 0).unwrap()[0].1, b"c\n");
}

#[test]
fn random_edits_apply_as_gnu_patch_applies_them() {
    // A small linear congruential generator: the cases are many and the same in every run.
    let mut state = 12_345_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut applied = 0;
    for _ in 0..60 {
        let lines =
            |random: &mut dyn FnMut(u64) -> u64| (0..40).map(|_| format!("{}\n", random(7))).collect::<Vec<_>>();
        let old = lines(&mut random);
        let mut new = old.clone();
        let mut upstream = old.clone();
        for _ in 0..3 {
            let at = usize::try_from(random(38)).unwrap();
            new[at] = format!("new {}\n", random(9));
            let at = usize::try_from(random(38)).unwrap();
            if random(2) == 0 { upstream.insert(at, "up\n".to_owned()) } else { upstream[at] = "changed\n".to_owned() }
        }
        let pair = tree(&[("old/f", &old.concat()), ("new/f", &new.concat())]);
        let format = ["-u", "-c", "-U0", "-U1"][usize::try_from(random(4)).unwrap()];
        let output = Command::new("diff").args(["-r", format, "old", "new"]).current_dir(pair.path()).output().unwrap();
        let patch = String::from_utf8(output.stdout).unwrap();
        if patch.is_empty() {
            continue;
        }
        assert!(with_oracle(&[("f", &old.concat())], &patch, 1, 0).is_some());
        applied += u32::from(
            with_oracle(&[("f", &upstream.concat())], &patch, 1, u32::try_from(random(3)).unwrap()).is_some(),
        );
    }
    assert!(applied > 10, "{applied} applied to a changed file");
}
