// tests/stores.rs
//! Stores as a whole through the command line: troves that travel between them as one file.

use crate::support::recipe::one_file;
use crate::support::{TestEnv, each_identity};

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
