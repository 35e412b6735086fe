// tests/key.rs
//! The cook key: each input, changed alone, is a miss that is named; what is not an input is a hit.

use crate::support::TestEnv;
use crate::support::recipe::{Member, sha256_of, tar_of, zstd_of};

/// A world with a recipe that has an input of every kind.
fn kitchen() -> TestEnv {
    let env = TestEnv::ordinary();
    env.write("pot/src/a.txt", "one\n");
    env.write("pot/extra.txt", "extra\n");
    env.write("pot/fix.patch", "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n");
    env.write("pot/recipe.toml", RECIPE.replace("EXTRA", &sha256_of(&env, b"extra\n")));
    env.cook(["cook", "pot"]).success();
    env.cook(["cook", "pot"]).success().says(&["Fresh pot-1.0-1"]);
    env
}

const RECIPE: &str = r#"
[package]
name = "pot"
version = "1.0"
summary = "A pot"

[source]
path = "src"

[[source.additional]]
url = "extra.txt"
checksum = "sha256:EXTRA"

[[patches.files]]
file = "fix.patch"

[build]
install = 'mkdir -p "$DESTDIR/usr/share"; cat a.txt extra.txt > "$DESTDIR/usr/share/pot"; echo "$TASTE" >> "$DESTDIR/usr/share/pot"'
check = 'test -s a.txt'

[build.environment]
TASTE = "salt"

[components]
doc = ["/usr/share/doc/**"]
"#;

/// Changes the recipe's text.
fn edit(env: &TestEnv, from: &str, to: &str) {
    let recipe = std::fs::read_to_string(env.path("pot/recipe.toml")).unwrap();
    assert!(recipe.contains(from), "{from}");
    env.write("pot/recipe.toml", recipe.replace(from, to));
}

#[test]
fn a_source_file_is_an_input() {
    let env = kitchen();
    env.write("pot/src/b.txt", "new\n");
    env.cook(["cook", "pot"]).success().says(&["Stale pot-1.0-1: source", "b.txt is new"]);
    env.write("pot/src/b.txt", "newer\n");
    env.cook(["cook", "pot"]).success().says(&["Stale", "b.txt changed"]);
}

#[test]
fn an_additional_source_is_an_input() {
    let env = kitchen();
    edit(&env, &sha256_of(&env, b"extra\n"), &sha256_of(&env, b"other\n"));
    env.write("pot/extra.txt", "other\n");
    env.cook(["cook", "pot"]).success().says(&["Stale", "extra.txt changed"]);
}

#[test]
fn a_patch_is_an_input_by_its_content() {
    let env = kitchen();
    env.write("pot/fix.patch", "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+three\n");
    env.cook(["cook", "pot"]).success().says(&["Stale", "fix.patch changed"]);
}

#[test]
fn each_part_of_the_recipe_is_an_input() {
    for (from, to, reason) in [
        ("version = \"1.0\"", "version = \"1.1\"", "version"),
        ("A pot", "A big pot", "summary"),
        ("test -s a.txt", "test -f a.txt", "check"),
        ("\"/usr/share/doc/**\"", "\"/usr/share/docs/**\"", "components"),
        ("file = \"fix.patch\"", "file = \"fix.patch\"\nfuzz = 1", "fuzz"),
    ] {
        let env = kitchen();
        edit(&env, from, to);
        env.cook(["cook", "pot"]).success().says(&["Stale", reason]);
    }
}

#[test]
fn the_environment_is_an_input() {
    let env = kitchen();
    edit(&env, "\"salt\"", "\"pepper\"");
    env.cook(["cook", "pot"]).success().says(&["Stale", "environment TASTE changed from \"salt\" to \"pepper\""]);
}

#[test]
fn skipping_the_check_is_an_input() {
    let env = kitchen();
    env.cook(["cook", "pot", "--no-check"]).success().says(&["Stale"]);
    env.cook(["cook", "pot"]).success().says(&["Fresh"]);
}

#[test]
fn a_dependency_is_an_input_by_its_content() {
    let env = kitchen();
    let spice = |content: &str| crate::support::recipe::one_file("spice", "/usr/share/spice", content);
    env.write("spice/recipe.toml", spice("one"));
    env.cook(["cook", "spice"]).success();
    edit(&env, "[build]", "[build]\nmakedepends = [\"spice\"]");
    env.cook(["cook", "pot"]).success();
    env.cook(["cook", "pot"]).success().says(&["Fresh"]);
    // The same content again, by another recipe: the wave stops here.
    env.write("spice/recipe.toml", format!("# a comment\n{}", spice("one")));
    env.cook(["cook", "spice", "--force"]).success();
    env.cook(["cook", "pot"]).success().says(&["Fresh"]);
    env.write("spice/recipe.toml", spice("two"));
    env.cook(["cook", "spice"]).success();
    env.cook(["cook", "pot"]).success().says(&["Stale", "spice changed"]);
}

#[test]
fn the_reason_is_explained_in_full() {
    let env = kitchen();
    edit(&env, "\"salt\"", "\"pepper\"");
    env.write("pot/src/a.txt", "one\n\n");
    let run = env.cook(["why", "pot"]).success();
    run.clone().prints(&["environment TASTE", "source"]);
    let json = env.cook(["why", "pot", "--json"]).success().json();
    assert_eq!(json["reason"]["reason"], "changed");
    assert!(json["reason"]["differences"].as_array().unwrap().len() >= 2, "{json}");
    // Asking changes nothing.
    env.cook(["why", "pot"]).success().prints(&["environment TASTE"]);
}

#[test]
fn comments_places_jobs_users_and_names_are_no_inputs() {
    let env = kitchen();
    edit(&env, "[package]", "# a comment\n\n[package]");
    env.cook(["cook", "pot"]).success().says(&["Fresh"]);
    env.run(env.shell("mv pot elsewhere; touch elsewhere/src/a.txt elsewhere/fix.patch")).success();
    env.cook(["cook", "elsewhere", "--jobs", "7"]).success().says(&["Fresh"]);
    env.cook(["cook", "elsewhere", "--output", "other"]).success().says(&["Fresh"]);
    let mut command = env.conary_command(["cook", "elsewhere", "--store"]);
    command
        .arg(env.store())
        .env("USER", "somebody")
        .env("HOSTNAME", "somewhere")
        .env("LC_ALL", "C")
        .env("CFLAGS", "-O9")
        .env("TZ", "Asia/Tokyo");
    env.run(command).success().says(&["Fresh"]);
    let other = env.run(
        env.shell(&format!("unshare --user --uts sh -c 'conary cook elsewhere --store {}'", env.store().display())),
    );
    other.success().says(&["Fresh"]);
}

#[test]
fn where_a_source_came_from_is_no_input() {
    let env = TestEnv::ordinary();
    let archive = zstd_of(&tar_of(&[Member::file("p-1.0/a", b"a\n")]));
    let sum = sha256_of(&env, &archive);
    let recipe = |url: &str| {
        crate::support::recipe::with_archive("p", url, &sum, "mkdir -p \"$DESTDIR/usr\"; cp a \"$DESTDIR/usr/a\"")
    };
    env.write("p/p-1.0.tar.zst", &archive);
    env.write("p/recipe.toml", recipe("p-1.0.tar.zst"));
    env.cook(["cook", "p"]).success();
    env.write("p/other/p-1.0.tar.zst", &archive);
    env.write("p/recipe.toml", recipe("other/p-1.0.tar.zst"));
    env.cook(["cook", "p"]).success().says(&["Fresh"]);
}
