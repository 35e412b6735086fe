// kitchen/src/fetch/tests/trees.rs
//! Directories beside a recipe, with git's own listing as the oracle.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

fn local(bench: &Bench) -> Result<Fetched, FetchError> {
    bench.fetch("[source]\npath = \"src\"").map(|mut fetched| fetched.remove(0))
}

#[test]
fn every_file_counts_outside_of_a_repository() {
    let bench = Bench::new();
    bench.write("src/b.c", "b");
    bench.write("src/a/run.sh", "run");
    bench.write("src/.gitignore", "*.c\n");
    std::fs::create_dir(bench.directory().join("src/empty")).unwrap();
    symlink("../b.c", bench.directory().join("src/a/link")).unwrap();
    std::fs::set_permissions(bench.directory().join("src/a/run.sh"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::set_permissions(bench.directory().join("src/b.c"), PermissionsExt::from_mode(0o600)).unwrap();
    let fetched = local(&bench).unwrap();
    assert_eq!(bench.tree(&fetched), [".gitignore 644 *.c", "a/", "a/link -> ../b.c", "a/run.sh 755 run", "b.c 644 b"]);
    assert_eq!(fetched.size_bytes, 8);
    // The umask of a checkout and the directory's name do not show.
    std::fs::set_permissions(bench.directory().join("src/b.c"), PermissionsExt::from_mode(0o664)).unwrap();
    assert_eq!(local(&bench).unwrap().content, fetched.content);
    std::fs::rename(bench.directory().join("src"), bench.directory().join("other")).unwrap();
    let tree = local_tree(&bench.directory().join("other"), &bench.store, &bench.cancel).unwrap();
    assert_eq!((Content::Tree(tree.tree), tree.files), (fetched.content, 3));
}

#[test]
fn any_change_is_seen() {
    let bench = Bench::new();
    let path = bench.write("src/a", "one");
    let seen = |bench: &Bench| local(bench).unwrap().content;
    let first = seen(&bench);
    assert_eq!(seen(&bench), first);
    // Of the same size and with the old time put back: the time of the change still tells.
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, "two").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let second = seen(&bench);
    assert_ne!(second, first);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let third = seen(&bench);
    assert_ne!(third, second);
    bench.write("src/b", "");
    assert_ne!(seen(&bench), third);
    std::fs::remove_file(bench.directory().join("src/b")).unwrap();
    assert_eq!(seen(&bench), third);
    // Written to again and again within one tick of the clock.
    for round in 0..10 {
        std::fs::write(&path, format!("{round:03}")).unwrap();
        let fetched = local(&bench).unwrap();
        assert_eq!(bench.tree(&fetched), [format!("a 755 {round:03}")]);
    }
}

#[test]
fn what_is_unchanged_is_not_read() {
    let bench = Bench::new();
    for number in 0..100 {
        let path = bench.write(&format!("src/{number}"), number.to_string());
        let old = std::time::SystemTime::now() - Duration::from_secs(1000);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    // The time of a change cannot be set back: a record counts when it is old enough.
    std::thread::sleep(Duration::from_millis(2200));
    let first = local(&bench).unwrap();
    // A file that cannot be opened is not opened. (Root opens anything, and sees the same result.)
    for number in 0..100 {
        let path = bench.directory().join(format!("src/{number}"));
        assert!(
            bench
                .store
                .cached_stat(&path, &store::StatFingerprint::of(&std::fs::metadata(&path).unwrap()))
                .unwrap()
                .is_some()
        );
    }
    let started = std::time::Instant::now();
    assert_eq!(local(&bench).unwrap().content, first.content);
    eprintln!("100 unchanged files took {:?}", started.elapsed());
}

#[test]
fn what_is_no_source_is_refused() {
    let bench = Bench::new();
    let missing = local(&bench).unwrap_err();
    assert!(matches!(missing, FetchError::Missing { .. }), "{missing:?}");
    bench.write("src", "a file");
    assert!(matches!(local(&bench), Err(FetchError::Kind { .. })));
    std::fs::remove_file(bench.directory().join("src")).unwrap();
    // A link may lead about within the recipe's directory, and not out of it.
    bench.write("real/a", "a");
    symlink("real", bench.directory().join("src")).unwrap();
    assert!(local(&bench).is_ok());
    std::fs::remove_file(bench.directory().join("src")).unwrap();
    for out in ["/etc", "../store"] {
        symlink(out, bench.directory().join("src")).unwrap();
        assert!(matches!(local(&bench), Err(FetchError::Kind { .. })), "{out}");
        std::fs::remove_file(bench.directory().join("src")).unwrap();
    }
    bench.write("src/a", "a");
    assert!(Command::new("mkfifo").arg(bench.directory().join("src/fifo")).status().unwrap().success());
    assert!(matches!(local(&bench), Err(FetchError::Kind { .. })));
    std::fs::remove_file(bench.directory().join("src/fifo")).unwrap();
    bench.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(local(&bench), Err(FetchError::Cancelled)));
}

fn git(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn git_decides_what_is_ignored() {
    if !has("git", &["--version"]) {
        return;
    }
    let bench = Bench::new();
    let top = bench.place.path().to_owned();
    git(&top, &["init", "-q"]);
    std::fs::write(
        top.join(".gitignore"),
        "*.o\n/store/\n!kept.o\nbuild/\n# comment\n\\#odd\n/recipe/src/anchored\ntrailing   \n",
    )
    .unwrap();
    bench.write(".gitignore", "*.log\n");
    bench.write("src/.gitignore", "deep/**/x\n!important.log\n[ab].txt\nnested/*\n!nested/back\n");
    for name in [
        "a.o",
        "kept.o",
        "main.c",
        "x.log",
        "important.log",
        "build/out",
        "sub/build/out",
        "sub/a.o",
        "#odd",
        "anchored",
        "sub/anchored",
        "trailing",
        "deep/x",
        "deep/1/2/x",
        "deep/y",
        "a.txt",
        "c.txt",
        "nested/gone",
        "nested/back",
        "sub/.gitignore",
        "sub/only",
        "tracked.o",
        "excluded",
        "tracked-build/build/kept",
        "spaß",
        "sp ace",
    ] {
        bench.write(&format!("src/{name}"), name);
    }
    bench.write("src/sub/.gitignore", "only\n!a.o\n");
    std::fs::write(top.join(".git/info/exclude"), "excluded\n").unwrap();
    git(&top, &["add", "-f", "recipe/src/tracked.o", "recipe/src/tracked-build/build/kept"]);
    let source = bench.directory().join("src");
    let mut expected: Vec<String> = git(&source, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8(name.to_vec()).unwrap())
        .collect();
    expected.sort();
    let files = |bench: &Bench| -> Vec<String> {
        let fetched = local(bench).unwrap();
        let Content::Tree(id) = fetched.content else { panic!() };
        let tree = bench.store.tree(&id).unwrap();
        let files = tree.entries().iter().filter(|entry| !matches!(entry.node, store::Node::Directory));
        files.map(|entry| String::from_utf8(entry.path.clone()).unwrap()).collect()
    };
    assert_eq!(files(&bench), expected);
    assert!(expected.contains(&"tracked.o".to_owned()) && !expected.contains(&"a.o".to_owned()));
    // In a linked working tree too.
    git(&top, &["add", "."]);
    git(&top, &["commit", "-qm", "x"]);
    let linked = bench.place.path().join("store/linked");
    git(&top, &["worktree", "add", "-q", &linked.display().to_string()]);
    let tree = local_tree(&linked.join("recipe/src"), &bench.store, &bench.cancel).unwrap();
    let Content::Tree(first) = local(&bench).unwrap().content else { panic!() };
    let names = |id: &Digest| {
        bench.store.tree(id).unwrap().entries().iter().map(|entry| entry.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&tree.tree), names(&first));
}
