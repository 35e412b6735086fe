// tests/outputs.rs
//! Several packages of one build, and what a recipe says about them: groups, suggestions, scriptlets, options.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{TestEnv, each_identity};

/// A build with three packages: its own, one by globs, one with an install of its own.
const SPLIT: &str = r#"
[package]
name = "tool"
version = "1.2"
summary = "A tool"
license = "MIT"
groups = ["editors", "base"]

[build]
install = '''
mkdir -p "$DESTDIR/usr/bin" "$DESTDIR/usr/share/doc/tool" "$DESTDIR/usr/share/tool"
echo tool > "$DESTDIR/usr/bin/tool"
echo manual > "$DESTDIR/usr/share/doc/tool/manual"
echo data > "$DESTDIR/usr/share/tool/data"
'''

[runtime]
suggests = ["cups: printing", "groff"]

[scripts]
post-install = "touch /made-by-$1"

[[outputs]]
name = "%(name)s-doc"
summary = "Its manual"
arch = ["any"]
files = ["/usr/share/doc/**"]

[[outputs]]
name = "tool-extra"
install = '''
test "$DESTDIR" = %(destdir)s
mkdir -p "$DESTDIR/usr/share/extra"
echo %(version)s > "$DESTDIR/usr/share/extra/version"
'''
requires = ["tool = %(version)s-%(release)s"]
groups = ["editors"]
"#;

/// The names of the files in `dist/`.
fn dist(env: &TestEnv) -> BTreeSet<String> {
    let entries = fs::read_dir(env.path("dist")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap().replace("aarch64", "x86_64")).collect()
}

#[test]
fn one_build_gives_several_packages_which_install_by_themselves() {
    each_identity(|env| {
        env.write("tool/recipe.toml", SPLIT);
        let first = env.cook(["cook", "tool"]).success();
        assert_eq!(first.stdout, "tool=1.2-1\ntool-doc=1.2-1\ntool-extra=1.2-1\n");
        first.says(&["Staged tool-1.2-1", "Staged tool-extra of tool-1.2-1", "Plated tool-doc-1.2-1: 1 file"]);
        let expected = ["tool-1.2-1.x86_64.ccs", "tool-doc-1.2-1.any.ccs", "tool-extra-1.2-1.x86_64.ccs"];
        assert_eq!(dist(env), expected.map(str::to_owned).into());

        let again = env.cook(["cook", "tool"]).success();
        assert_eq!(again.stdout, "tool=1.2-1\ntool-doc=1.2-1\ntool-extra=1.2-1\n");
        again.says(&["Fresh tool-1.2-1"]).never_says("Staged").never_says("Written");
        fs::remove_file(env.path("dist/tool-doc-1.2-1.any.ccs")).unwrap();
        env.cook(["cook", "tool"]).success().says(&["Fresh", "Written dist/tool-doc-1.2-1.any.ccs"]);

        env.root_command(["install", "--yes", "--no-scripts", "dist/tool-doc-1.2-1.any.ccs"]).success();
        let listing = env.listing(&env.root()).join("\n");
        assert!(listing.contains("usr/share/doc/tool/manual") && !listing.contains("usr/bin/tool"), "{listing}");
        let mut command = env.conary_command(["install", "--yes", "--no-scripts", "tool-extra"]);
        command.arg("--root").arg(env.root()).arg("--store").arg(env.store());
        env.run(command).success();
        let editors = env.root_command(["list", "--group", "editors"]).success();
        let names: Vec<&str> = editors.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["tool", "tool-extra"]);
        env.root_command(["show", "tool"]).success().prints(&[
            "groups",
            "base editors",
            "suggests",
            "cups: printing",
            "scripts",
            "post-install",
        ]);
        let json = env.root_command(["show", "tool", "--json"]).success().json();
        assert_eq!(json["scripts"]["post-install"], "touch /made-by-$1");
    });
}

#[test]
fn a_recipe_of_outputs_alone_and_a_collection() {
    let env = TestEnv::ordinary();
    env.write(
        "suite/recipe.toml",
        "[package]\nname = \"suite\"\nversion = \"1\"\n[build]\nmake = \"echo one > one\"\n\
         [[outputs]]\nname = \"one\"\ninstall = \"mkdir $DESTDIR/usr && cp one $DESTDIR/usr/one\"\n\
         [[outputs]]\nname = \"suite\"\nrequires = [\"one\"]\n",
    );
    let cooked = env.cook(["cook", "suite"]).success();
    assert_eq!(cooked.stdout, "one=1-1\nsuite=1-1\n");
    let mut command = env.conary_command(["install", "--yes", "suite"]);
    command.arg("--root").arg(env.root()).arg("--store").arg(env.store());
    env.run(command).success();
    assert_eq!(fs::read_to_string(env.root().join("usr/one")).unwrap(), "one\n");

    env.write(
        "left/recipe.toml",
        "[package]\nname = \"left\"\nversion = \"1\"\n[build]\nmake = \"touch $DESTDIR/lost\"\n\
         [[outputs]]\nname = \"one-left\"\ninstall = \"touch $DESTDIR/a\"\n",
    );
    let left = env.cook(["cook", "left"]);
    assert_ne!(left.code, 0);
    left.says(&["left makes only its outputs, and /lost lies in the common one", "hint:"]);
    env.write(
        "none/recipe.toml",
        "[package]\nname = \"none\"\nversion = \"1\"\n[build]\ninstall = \"touch $DESTDIR/a\"\n\
         [[outputs]]\nname = \"none-doc\"\nfiles = [\"/usr/share/doc/**\"]\n",
    );
    let none = env.cook(["cook", "none"]);
    assert_ne!(none.code, 0);
    none.says(&["none-doc has no output"]);
}

#[test]
fn a_change_of_one_output_is_a_reason_for_the_build() {
    let env = TestEnv::ordinary();
    env.write("tool/recipe.toml", SPLIT);
    env.cook(["cook", "tool"]).success();
    env.write("tool/recipe.toml", SPLIT.replace("Its manual", "The manual"));
    env.cook(["why", "tool"]).success().prints(&["outputs[0].summary"]);
    env.cook(["cook", "tool"]).success().says(&["Stale tool-1.2-1: recipe outputs[0].summary changed"]);
}

#[test]
fn what_checks_need_is_there_for_checks_alone() {
    let env = TestEnv::ordinary();
    env.write("helper/recipe.toml", crate::support::recipe::one_file("helper", "/usr/bin/helper", "x"));
    env.cook(["cook", "helper"]).success();
    let recipe = "[package]\nname = \"user\"\nversion = \"1\"\n[build]\ncheckdepends = [\"helper\"]\n\
        check = \"test -e /usr/bin/helper\"\n\
        install = \"test -e /usr/bin/helper && echo yes > $DESTDIR/it || echo no > $DESTDIR/it\"\n";
    env.write("user/recipe.toml", recipe);
    let package = format!("user-1-1.{}.ccs", std::env::consts::ARCH);
    for (arguments, output, expected) in
        [(&["cook", "user"][..], "dist", "yes\n"), (&["cook", "user", "--no-check"], "other", "no\n")]
    {
        let arguments = arguments.iter().copied().chain(["--output", output]);
        env.cook(arguments).success();
        let mut command = env.conary_command(["install", "--yes", &format!("{output}/{package}"), "--root"]);
        command.arg(env.path(format!("root-{output}")));
        env.run(command).success();
        assert_eq!(fs::read_to_string(env.path(format!("root-{output}/it"))).unwrap(), expected);
    }
}
