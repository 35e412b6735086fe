// tests/install.rs
//! Roots: install, look, verify, remove, roll back; and every way in which a root refuses.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::recipe::{one_file, plain};
use crate::support::{TestEnv, each_identity, is_root};

/// A package with every kind of entry.
const RICH: &str = r#"
cd "$DESTDIR"
mkdir -p usr/bin usr/share/rich/empty etc
printf '#!/bin/sh\necho rich\n' > usr/bin/rich
chmod 755 usr/bin/rich
ln -s rich usr/bin/poor
ln usr/bin/rich usr/bin/twin
printf 'setting = 1\n' > etc/rich.conf
chmod 640 etc/rich.conf
"#;

/// Cooks a recipe and returns its package file.
fn cooked(env: &TestEnv, name: &str, recipe: &str) -> PathBuf {
    env.write(format!("{name}/recipe.toml"), recipe);
    let json = env.cook(["cook", name, "--json"]).success().json();
    PathBuf::from(json["cooked"][0]["package"].as_str().unwrap())
}

fn install(env: &TestEnv, packages: &[&PathBuf]) -> crate::support::Run {
    let mut words = vec!["install".to_owned(), "--yes".to_owned()];
    words.extend(packages.iter().map(|package| package.to_string_lossy().into_owned()));
    env.root_command(&words)
}

/// Everything in the root but what conary keeps there.
fn content(env: &TestEnv) -> Vec<String> {
    if !env.root().exists() {
        return Vec::new();
    }
    let own = |line: &String| !line.starts_with("var");
    env.listing(&env.root()).into_iter().filter(own).collect()
}

#[test]
fn a_package_comes_and_goes_without_a_trace() {
    each_identity(|env| {
        let rich = cooked(env, "rich", &plain("rich", RICH));
        install(env, &[&rich]).success().says(&["Installed rich-1.0-1"]);
        let root = env.root();
        let bin = root.join("usr/bin");
        assert_eq!(fs::metadata(bin.join("rich")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_link(bin.join("poor")).unwrap(), PathBuf::from("rich"));
        assert_eq!(fs::metadata(bin.join("rich")).unwrap().ino(), fs::metadata(bin.join("twin")).unwrap().ino());
        assert!(root.join("usr/share/rich/empty").is_dir());
        let ran = env.run(env.command(bin.join("rich"))).success();
        assert_eq!(ran.stdout, "rich\n");

        env.root_command(["list"]).success().prints(&["rich", "1.0-1"]);
        env.root_command(["show", "rich"]).success().prints(&["rich", "1.0-1", "runtime"]);
        env.root_command(["files", "rich"]).success().prints(&["/usr/bin/rich\n", "/usr/share/rich/empty"]);
        env.root_command(["owner", "/usr/bin/poor"]).success().prints(&["rich"]);
        env.root_command(["owner", "/usr/bin/nobody"]).exits(10);
        env.root_command(["verify"]).success();
        fs::remove_file(bin.join("poor")).unwrap();
        fs::set_permissions(bin.join("rich"), fs::Permissions::from_mode(0o700)).unwrap();
        env.root_command(["verify"]).exits(7);
        env.root_command(["verify", "--repair"]).success().says(&["Repaired"]);
        assert_eq!(fs::read_link(bin.join("poor")).unwrap(), PathBuf::from("rich"));
        env.root_command(["history"]).success().prints(&["1", "rich"]);

        env.root_command(["remove", "rich", "--yes"]).success().says(&["Removed rich-1.0-1"]);
        assert_eq!(content(env), [""; 0]);
        env.root_command(["list"]).success();
        env.root_command(["rollback", "--yes"]).success();
        env.root_command(["verify"]).success();
        assert!(bin.join("rich").exists());
    });
}

#[test]
fn listings_are_json_when_asked() {
    let env = TestEnv::ordinary();
    let package = cooked(&env, "a", &one_file("a", "/usr/share/a", "one"));
    install(&env, &[&package]).success();
    let json = |words: &[&str]| {
        let mut words = words.to_vec();
        words.push("--json");
        env.root_command(words).success().json()
    };
    assert_eq!(json(&["list"])["troves"][0]["name"], "a");
    assert_eq!(json(&["show", "a"])["name"], "a");
    assert!(json(&["files", "a"])["files"].as_array().unwrap().iter().any(|file| file["path"] == "/usr/share/a"));
    assert_eq!(json(&["owner", "/usr/share/a"])["owners"][0]["path"], "/usr/share/a");
    assert_eq!(json(&["verify"])["damaged"], serde_json::json!([]));
    assert_eq!(json(&["history"])["changesets"].as_array().unwrap().len(), 1);
    assert_eq!(json(&["remove", "a", "--dry-run"])["troves"].as_array().unwrap().len(), 1);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_would_happen() {
    let env = TestEnv::ordinary();
    let package = cooked(&env, "a", &one_file("a", "/usr/share/a", "one"));
    fs::create_dir(env.root()).unwrap();
    env.give();
    let run = env.root_command(["install", "--dry-run", &package.to_string_lossy()]).success();
    run.prints(&["a", "/usr/share/a"]);
    assert_eq!(content(&env), [""; 0]);
    // Without a terminal nobody can say yes.
    env.root_command(["install", &package.to_string_lossy()]).exits(8).says(&["--yes"]);
    assert_eq!(content(&env), [""; 0]);
}

#[test]
fn a_newer_package_replaces_the_older_and_can_be_taken_back() {
    each_identity(|env| {
        let old = cooked(env, "a", &one_file("a", "/usr/share/a", "old"));
        let new = cooked(env, "a", &one_file("a", "/usr/share/a", "new").replace("\"1.0\"", "\"2.0\""));
        install(env, &[&old]).success();
        install(env, &[&new]).success();
        let file = env.root().join("usr/share/a");
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        env.root_command(["rollback", "--yes"]).success();
        assert_eq!(fs::read_to_string(&file).unwrap(), "old\n");
        env.root_command(["history"]).success().prints(&["3"]);
        let shown = ["returns to", "1", "a=2.0-1 (runtime), explicit, blake3:", "a=1.0-1 (runtime)", "rollback --yes"];
        env.root_command(["history", "show", "3"]).success().prints(&shown);
        env.root_command(["history", "show", "99"]).exits(10).says(&["there is no changeset 99"]);
        env.root_command(["history", "shwo", "3"]).exits(2);
        env.root_command(["rollback", "99", "--yes"]).exits(10).says(&["99", "conary history"]);
    });
}

#[test]
fn a_name_is_taken_from_the_store_where_it_was_cooked() {
    let env = TestEnv::ordinary();
    env.write("a/recipe.toml", one_file("a", "/usr/share/a", "one"));
    let home = |words: &[&str]| env.conary(words);
    home(&["cook", "a"]).success();
    home(&["install", "a", "--yes", "--root", "root"]).success();
    assert!(env.path("root/usr/share/a").exists());
    home(&["install", "nothing", "--yes", "--root", "root"]).exits(10).says(&["nothing", "hint:"]);
}

#[test]
fn a_file_of_two_packages_is_refused_by_name() {
    each_identity(|env| {
        let one = cooked(env, "one", &one_file("one", "/usr/share/same", "one"));
        let other = cooked(env, "other", &one_file("other", "/usr/share/same", "other"));
        install(env, &[&one]).success();
        let before = content(env);
        install(env, &[&other]).exits(8).says(&["/usr/share/same belongs to both", "one", "other", "hint: remove one"]);
        assert_eq!(content(env), before);
        env.root_command(["verify"]).success();
        env.root_command(["remove", "one", "--yes"]).success();
        install(env, &[&other]).success();
    });
}

#[test]
fn a_file_that_nobody_owns_is_not_overwritten() {
    let env = TestEnv::ordinary();
    let package = cooked(&env, "a", &one_file("a", "/usr/share/a", "packaged"));
    let mine = env.root().join("usr/share/a");
    fs::create_dir_all(mine.parent().unwrap()).unwrap();
    fs::write(&mine, "mine\n").unwrap();
    env.give();
    install(&env, &[&package]).exits(8).says(&["/usr/share/a", "--replace"]);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine\n");
    let run = env.root_command(["install", "--yes", "--replace", &package.to_string_lossy()]);
    run.success();
    assert_eq!(fs::read_to_string(&mine).unwrap(), "packaged\n");
    env.root_command(["rollback", "--yes"]).success();
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine\n");
}

#[test]
fn an_edit_is_never_lost() {
    let env = TestEnv::ordinary();
    let package = cooked(&env, "rich", &plain("rich", RICH));
    install(&env, &[&package]).success();
    fs::write(env.root().join("etc/rich.conf"), "setting = mine\n").unwrap();
    env.root_command(["verify"]).exits(7).prints(&["/etc/rich.conf"]);
    env.root_command(["remove", "rich", "--yes"]).success();
    let kept = env.run(env.shell(&format!("grep -r 'setting = mine' {}", env.root().display())));
    assert!(kept.success().stdout.contains("rich.conf"));
}

#[test]
fn a_damaged_package_is_refused_whole() {
    each_identity(|env| {
        let package = cooked(env, "a", &one_file("a", "/usr/share/a", "one"));
        let whole = fs::read(&package).unwrap();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let mut last = whole.clone();
        let at = whole.windows(8).rposition(|window| window.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])).unwrap() + 12;
        last[at] ^= 0x40;
        for bytes in [&whole[..whole.len() / 2], &flipped, &last, b"not a package", b""] {
            let broken = env.write("broken.ccs", bytes);
            install(env, &[&broken]).exits(7).says(&["broken.ccs"]);
            env.conary(["ccs", "verify", "broken.ccs"]).exits(7);
            assert_eq!(content(env), [""; 0]);
        }
        env.conary(["ccs", "verify", &package.to_string_lossy()]).success();
        install(env, &[&package]).success();
    });
}

#[test]
fn a_package_can_be_looked_into() {
    let env = TestEnv::ordinary();
    let package = cooked(&env, "rich", &plain("rich", RICH));
    let package = package.to_string_lossy();
    env.conary(["ccs", "inspect", &package]).success().prints(&["rich", "1.0-1"]);
    env.conary(["ccs", "list", &package]).success().prints(&["usr/bin/rich", "usr/bin/poor -> rich", "etc/rich.conf"]);
    let json = env.conary(["ccs", "inspect", &package, "--json"]).success().json();
    assert_eq!(json["name"], "rich");
    env.conary(["ccs", "inspect", "no-such.ccs"]).exits(10);
}

#[test]
fn a_root_that_is_held_says_by_whom() {
    let env = TestEnv::ordinary();
    let package = cooked(&env, "a", &one_file("a", "/usr/share/a", "one"));
    install(&env, &[&package]).success();
    let lock = env.root().join("var/lib/conary/root.lock");
    let script = format!("exec flock {} sh -c 'echo held; exec sleep 600'", lock.display());
    let mut holder = env.shell(&script).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut held = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();
    let busy = env.root_command(["remove", "a", "--yes"]);
    // Looking needs no lock.
    let listed = env.root_command(["list"]);
    env.run(env.shell(&format!("kill -KILL -{}", holder.id()))).success();
    holder.wait().unwrap();
    busy.exits(9).says(&["is being changed", "hint: wait"]);
    listed.success().prints(&["a"]);
    env.root_command(["remove", "a", "--yes"]).success();
}

#[test]
fn a_root_that_is_read_only_or_full_stays_as_it_is() {
    if !is_root() {
        crate::support::note("a file system of its own is mounted as root: covered by the run as root");
        return;
    }
    let env = TestEnv::new();
    let small = cooked(&env, "a", &one_file("a", "/usr/share/a", "one"));
    let big = cooked(
        &env,
        "big",
        &plain("big", "mkdir -p \"$DESTDIR/usr\"; head -c 40000000 /dev/urandom > \"$DESTDIR/usr/big\""),
    );
    fs::create_dir(env.root()).unwrap();
    let root = env.root();
    let root = root.display();
    env.run(env.shell(&format!("mount -t tmpfs -o size=24m none {root}"))).success();
    let full = install(&env, &[&big]);
    let after_full = content(&env);
    let fits = install(&env, &[&small]);
    env.run(env.shell(&format!("mount -o remount,ro {root}"))).success();
    let refused = env.root_command(["remove", "a", "--yes"]);
    let listed = env.root_command(["list"]);
    env.run(env.shell(&format!("mount -o remount,rw {root}"))).success();
    let removed = env.root_command(["remove", "a", "--yes"]);
    env.run(env.shell(&format!("umount {root}"))).success();
    full.exits(11).says(&["hint:"]);
    assert_eq!(after_full, [""; 0]);
    fits.success();
    refused.exits(11).says(&["hint:"]);
    listed.success().prints(&["a"]);
    removed.success();
}

#[test]
fn a_root_of_somebody_else_is_refused() {
    if !is_root() {
        crate::support::note("needs two users: covered by the run as root");
        return;
    }
    let env = TestEnv::ordinary();
    let package = cooked(&env, "a", &one_file("a", "/usr/share/a", "one"));
    let theirs = env.path("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).unwrap();
    let run = env.conary(["install", "--yes", &package.to_string_lossy(), "--root", "theirs"]);
    run.exits(11).says(&["hint:"]);
    assert!(env.listing(&theirs).is_empty());
}

#[test]
fn what_is_missing_is_named() {
    let env = TestEnv::ordinary();
    env.root_command(["list"]).exits(10).says(&["there is no root"]);
    env.root_command(["install", "--yes", "./no-such.ccs"]).exits(10).says(&["no-such.ccs"]);
    let package = cooked(&env, "a", &one_file("a", "/usr/share/a", "one"));
    install(&env, &[&package]).success();
    env.root_command(["remove", "b", "--yes"]).exits(10).says(&["b is not installed", "conary list"]);
    env.root_command(["show", "b"]).exits(10);
    env.root_command(["files", "b"]).exits(10);
    env.cook(["log", "b"]).exits(10).says(&["b", "hint:"]);
}

#[test]
fn requirements_by_name_are_kept() {
    let env = TestEnv::ordinary();
    let needs = one_file("needs", "/usr/share/needs", "x") + "[runtime]\nrequires = [\"given >= 1.0\"]\n";
    let needs = cooked(&env, "needs", &needs);
    let given = cooked(&env, "given", &one_file("given", "/usr/share/given", "y"));
    install(&env, &[&needs]).exits(8).says(&["needs", "given >= 1.0", "hint:"]);
    install(&env, &[&needs, &given]).success();
    env.root_command(["remove", "given", "--yes"]).exits(8).says(&["given >= 1.0"]);
    env.root_command(["remove", "given", "needs", "--yes"]).success();
    assert_eq!(content(&env), [""; 0]);
}
