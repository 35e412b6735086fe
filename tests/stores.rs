// tests/stores.rs
//! Stores as a whole through the command line: troves that travel between them as one file.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use crate::support::recipe::one_file;
use crate::support::{Run, TestEnv, each_identity, is_root, note, program};

/// Cooks two packages that share a content.
fn two(env: &TestEnv) {
    for (name, path) in [("one", "/usr/share/one"), ("two", "/usr/share/two")] {
        env.write(format!("{name}/recipe.toml"), one_file(name, path, "the same in both"));
        env.cook(["cook", name]).success();
    }
}

#[test]
fn troves_travel_as_one_file() {
    each_identity(|env| {
        two(env);
        let before = env.cook(["store", "list", "--json"]).success().json();
        env.cook(["store", "export", "one", "two=1.0-1", "-o", "both.bundle"]).success().prints(&["both.bundle"]);
        env.cook(["store", "export", "two", "one", "-o", "again.bundle"]).success();
        let bytes = |name: &str| std::fs::read(env.path(name)).unwrap();
        assert_eq!(bytes("both.bundle"), bytes("again.bundle"));

        let other = env.path("other");
        let other = other.to_str().unwrap();
        let run = env.conary(["store", "import", "both.bundle", "--store", other]).success();
        run.prints(&["one=1.0-1", "two=1.0-1"]);
        let after = env.conary(["store", "list", "--json", "--store", other]).success().json();
        let specs = |list: &serde_json::Value| {
            let rows = list["troves"].as_array().unwrap().iter();
            rows.map(|row| row["trove"].as_str().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(specs(&before), specs(&after));
        env.conary(["store", "verify", "--store", other]).success();
        // What was brought can be installed and exported again.
        env.root_command(["install", "one", "two", "--from", other, "--yes"]).success();
        env.conary(["store", "export", "one", "two", "-o", "third.bundle", "--store", other]).success();
        assert_eq!(bytes("both.bundle"), bytes("third.bundle"));
    });
}

#[test]
fn a_damaged_bundle_brings_nothing() {
    let env = TestEnv::ordinary();
    two(&env);
    env.cook(["store", "export", "one", "two", "-o", "both.bundle"]).success();
    let good = std::fs::read(env.path("both.bundle")).unwrap();
    // The last frame's content: behind it stand its padding and the two blocks of the end.
    let last = good.iter().rposition(|byte| *byte != 0).unwrap();
    let mut flipped = good.clone();
    flipped[last - 3] ^= 1;
    for bad in [&good[..good.len() - 512], &flipped[..], b"nothing of the kind"] {
        env.write("bad.bundle", bad);
        env.conary(["store", "import", "bad.bundle", "--store", "empty"]).exits(7).says(&["bad.bundle"]);
    }
    let list = env.conary(["store", "list", "--json", "--store", "empty"]);
    assert!(list.code != 0 || list.json()["troves"].as_array().unwrap().is_empty());
    env.cook(["store", "export", "none", "-o", "x.bundle"]).exits(10).says(&["the store has no none"]);
    env.conary(["store", "import", "none.bundle", "--store", "empty"]).exits(10);
    assert!(!env.path("x.bundle").exists());
}

#[test]
fn a_store_moves_and_is_found_where_it_was() {
    each_identity(|env| {
        two(env);
        let new = env.path("new-store");
        let place = new.to_str().unwrap();
        env.cook(["store", "move", place]).success().prints(&[place]).says(&["Moved"]);
        // The old place leads to the new one: what was cooked is still there, and cooking again is fresh.
        env.cook(["cook", "one"]).success().says(&["Fresh"]);
        env.conary(["store", "verify", "--store", place]).success();
        env.root_command(["install", "two", "--from", place, "--yes"]).success();
        // A store of a root moves with its root.
        let own = env.root().join("var/lib/conary");
        env.conary(["store", "move", "elsewhere", "--store", own.to_str().unwrap()])
            .exits(1)
            .says(&["belongs to a root"]);
        env.cook(["store", "move", env.root().to_str().unwrap()]).exits(1).says(&["something is there already"]);
        env.conary(["store", "move", "x", "--store", "nowhere"]).exits(10);
    });
}

#[test]
fn a_bundle_and_a_cook_work_beside_one_another() {
    let env = TestEnv::ordinary();
    two(&env);
    env.cook(["store", "export", "one", "two", "-o", "both.bundle"]).success();
    // Several processes at once, in one store: imports of the same bundle, collections, and a cook.
    let place = env.path("shared");
    let place = place.to_str().unwrap();
    env.write("three/recipe.toml", one_file("three", "/usr/share/three", "three"));
    env.conary(["cook", "three", "--store", place]).success();
    let commands: [&[&str]; 6] = [
        &["store", "import", "both.bundle"],
        &["gc"],
        &["store", "import", "both.bundle"],
        &["cook", "three", "--force"],
        &["gc"],
        &["store", "verify"],
    ];
    let children: Vec<_> = commands
        .map(|command| {
            let mut child = env.conary_command(command);
            child.args(["--store", place]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            child.spawn().unwrap()
        })
        .into();
    for (mut child, command) in children.into_iter().zip(commands) {
        assert!(child.wait().unwrap().success(), "{command:?}");
    }
    env.conary(["store", "verify", "--store", place]).success();
    env.conary(["store", "import", "both.bundle", "--store", place]).success().prints(&["one=1.0-1", "two=1.0-1"]);
    env.root_command(["install", "one", "two", "three", "--from", place, "--yes"]).success();
}

/// A command of root, in a world of an ordinary user.
fn as_root(env: &TestEnv, arguments: &[&str]) -> Run {
    let mut command = Command::new(program());
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").current_dir("/");
    env.run(command)
}

#[test]
fn root_believes_no_object_that_another_user_could_have_written() {
    if !is_root() {
        note("what root makes of another user's store is tried as root");
        return;
    }
    let env = TestEnv::ordinary();
    two(&env);
    let (theirs, root) = (env.store(), env.root());
    let (theirs, root) = (theirs.to_str().unwrap(), root.to_str().unwrap());
    // The owner of the store writes other bytes of the same length into an object, and puts mode and time right again.
    let good = b"the same in both\n";
    let shards = std::fs::read_dir(env.store().join("objects")).unwrap();
    let mut files = shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    let file = files.find_map(|file| Some(file.unwrap().path()).filter(|path| std::fs::read(path).unwrap() == good));
    let file = file.unwrap();
    let write = |bytes: &[u8]| {
        let time = file.metadata().unwrap().modified().unwrap();
        std::fs::write(&file, bytes).unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    };
    write(b"all are DIFFERENT");
    let install = ["install", "one", "--from", theirs, "--root", root, "--yes"];
    as_root(&env, &install).exits(7);
    assert!(!env.root().join("usr/share/one").exists());
    // Whole again, it comes in, and none of its files is one that the other user can still write to.
    write(good);
    as_root(&env, &install).success();
    let installed = env.root().join("usr/share/one");
    assert_eq!(std::fs::read(&installed).unwrap(), good);
    assert_eq!(installed.metadata().unwrap().uid(), 0);
    write(b"all are DIFFERENT");
    assert_eq!(std::fs::read(&installed).unwrap(), good);
    // Neither may write to the other's store: root to theirs, nor they to root's. Reading is free.
    as_root(&env, &["gc", "--store", theirs]).exits(11).says(&["belongs to user"]);
    let own = env.root().join("var/lib/conary");
    let own = own.to_str().unwrap();
    env.conary(["gc", "--store", own]).exits(11).says(&["belongs to user 0"]);
    env.conary(["store", "list", "--store", own]).success().prints(&["one=1.0-1"]);
    env.conary(["install", "two", "--from", theirs, "--root", root, "--yes"]).exits(11);
}
