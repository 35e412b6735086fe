// tests/recipes.rs
//! Recipes that are wrong: every refusal has its place, its reason, a hint and exit code 3, and changes nothing.

use crate::support::recipe::{one_file, plain};
use crate::support::{TestEnv, each_identity};

const HEAD: &str = "[package]\nname = \"x\"\nversion = \"1.0\"\n";

/// Cooks a recipe that must be refused, then a sound one.
fn refused(env: &TestEnv, recipe: &str, texts: &[&str]) {
    env.write("x/recipe.toml", recipe);
    let run = env.cook(["cook", "x"]).exits(3).says(texts).says(&["x/recipe.toml:", "hint: "]);
    assert!(run.stdout.is_empty());
    assert!(!env.path("dist").exists(), "a refused recipe left something");
}

#[test]
fn wrong_recipes_are_refused_with_their_place() {
    each_identity(|env| {
        let source = |text: &str| format!("{HEAD}[source]\n{text}\n");
        for (recipe, texts) in [
            (format!("{HEAD}sumary = \"x\"\n"), &[":4:1:", "unknown key", "sumary", "summary"][..]),
            (format!("{HEAD}release = 1\n"), &[":4:", "release"]),
            (format!("{HEAD}[bild]\nmake = \"make\"\n"), &["bild", "build"]),
            (format!("{HEAD}[variables]\na = \"%(b)s\"\nb = \"%(a)s\"\n[build]\nmake = \"%(a)s\"\n"), &["%(", "a"]),
            (format!("{HEAD}[build]\nmake = \"%(nme)s\"\n"), &["nme", "name"]),
            (source("archive = \"https://example.org/x-1.tar.gz\""), &["checksum", "conary source pin"]),
            (
                source(
                    "archive = \"https://example.org/x-1.tar.gz\"\nchecksum = \"md5:d41d8cd98f00b204e9800998ecf8427e\"",
                ),
                &["md5", "conary source pin"],
            ),
            (
                source(
                    "archive = \"https://example.org/x-1.tar.gz\"\nchecksum = \"sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709\"",
                ),
                &["sha1", "conary source pin"],
            ),
            (source("path = \"../outside\""), &["path"]),
            (source("git = \"https://example.org/x.git\"\ncommit = \"main\""), &["commit"]),
            (format!("{HEAD}[flavors]\nssl = {{ default = true }}\n"), &["flavors", "not supported yet"]),
            ("[package]\nname = \"X!\"\nversion = \"1\"\n".to_owned(), &["name"]),
            ("[package\n".to_owned(), &[":1:"]),
            (String::new(), &["package"]),
        ] {
            refused(env, &recipe, texts);
        }
        env.write("x/recipe.toml", one_file("x", "/usr/share/x", "sound"));
        env.cook(["cook", "x"]).success().prints(&["x=1.0-1"]);
    });
}

#[test]
fn a_recipe_that_is_not_there_is_not_found() {
    let env = TestEnv::new();
    env.write("empty/readme", "");
    env.cook(["cook", "no-such-recipe"]).exits(10).says(&["no recipe is called no-such-recipe", "recipes/cookbook"]);
    env.cook(["cook", "./empty"]).exits(10).says(&["recipe.toml", "hint:"]);
    env.cook(["cook"]).exits(10).says(&["recipe.toml"]);
}

#[test]
fn what_a_recipe_says_cannot_move_the_cursor() {
    let env = TestEnv::new();
    env.write("x/recipe.toml", format!("{HEAD}\"\\u001b]0;owned\\u0007\" = \"x\"\n"));
    let run = env.cook(["cook", "x"]).exits(3);
    assert!(!run.stderr.contains('\u{1b}'), "{:?}", run.stderr);
}

#[test]
fn all_recipes_are_read_before_the_first_is_cooked() {
    let env = TestEnv::new();
    env.write("good/recipe.toml", plain("good", "mkdir -p \"$DESTDIR/usr\"; touch \"$DESTDIR/usr/x\""));
    env.write("bad/recipe.toml", format!("{HEAD}what = \"x\"\n"));
    env.cook(["cook", "good", "bad"]).exits(3).never_says("Cooked");
}
