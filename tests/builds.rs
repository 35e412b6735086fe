// tests/builds.rs
//! Builds that fail, hang, fork, fill the disk, print without end, or give nothing.

use std::time::{Duration, Instant};

use crate::support::recipe::{one_file, plain};
use crate::support::{TestEnv, each_identity, is_root, note};

/// After a failure nothing of it is left, and the same recipe mended cooks.
fn mended(env: &TestEnv) {
    assert!(!env.path("dist").exists() || env.listing(&env.path("dist")).is_empty());
    assert_eq!(env.listing(&env.store().join("tmp")), [""; 0], "work was left behind");
    env.write("x/recipe.toml", one_file("x", "/usr/share/x", "mended"));
    env.cook(["cook", "x"]).success().prints(&["x=1.0-1"]);
    env.cook(["store", "verify"]).success();
}

#[test]
fn a_step_that_fails_shows_its_last_lines_and_where_the_rest_is() {
    each_identity(|env| {
        env.write("x/recipe.toml", plain("x", "seq 1 100\nprintf 'colour \\033[31mred\\033[2J\\n'\nexit 3"));
        let run = env.cook(["cook", "x"]).exits(5);
        let run =
            run.says(&["  | 100\n", "  | 80\n", "error: x: install failed: exit status 3", "conary log x", "hint:"]);
        let run = run.never_says("  | 60\n");
        assert!(!run.stderr.contains('\u{1b}'), "an escape of the build reached the terminal");
        env.cook(["log", "x"]).success().prints(&["\n1\n", "\n100\n"]);
        mended(env);
    });
}

#[test]
fn a_failed_tree_is_kept_on_request() {
    let env = TestEnv::ordinary();
    env.write("x/recipe.toml", plain("x", "echo evidence > clue; exit 1"));
    let run = env.cook(["cook", "x", "--keep-failed"]).exits(5).says(&["Kept"]);
    let kept = run.stderr.lines().find_map(|line| line.trim().strip_prefix("Kept ")).unwrap().trim().to_owned();
    let found = env.run(env.shell(&format!("grep -r evidence {kept}"))).success();
    assert!(found.stdout.contains("clue"));
}

#[test]
fn a_step_killed_by_a_signal_says_which() {
    let env = TestEnv::ordinary();
    env.write("x/recipe.toml", plain("x", "kill -SEGV $$"));
    env.cook(["cook", "x"]).exits(5).says(&["signal 11"]);
    mended(&env);
}

#[test]
fn a_step_that_hangs_ends_at_its_limit() {
    each_identity(|env| {
        env.write("x/recipe.toml", format!("{}timeout = \"1s\"\n", plain("x", "sleep 1000")));
        let started = Instant::now();
        env.cook(["cook", "x"]).exits(12).says(&["install failed", "time limit", "build.timeout"]);
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        mended(env);
    });
}

#[test]
fn a_daemon_does_not_outlive_its_step() {
    each_identity(|env| {
        let fork = "mkdir -p \"$DESTDIR/usr\"\n\
            (setsid sh -c 'sleep 4321.5; echo late > \"$DESTDIR/usr/late\"' > /dev/null 2>&1 &)\n\
            echo x > \"$DESTDIR/usr/x\"";
        env.write("x/recipe.toml", plain("x", fork));
        let started = Instant::now();
        env.cook(["cook", "x"]).success();
        assert!(started.elapsed() < Duration::from_mins(1), "the cook waited for the daemon");
        let left = env.run(env.shell("ps -eo args | grep '[s]leep 4321.5' || true")).success();
        assert_eq!(left.stdout, "", "the daemon lives");
    });
}

#[test]
fn a_step_that_prints_without_end_is_stopped() {
    let env = TestEnv::ordinary();
    // The time limit is what ends it here; what counts is that memory and log stay bounded until then.
    env.write("x/recipe.toml", format!("{}timeout = \"2s\"\n", plain("x", "exec yes")));
    env.cook(["cook", "x"]).exits(12).says(&["install failed"]);
    mended(&env);
}

#[test]
fn a_step_that_fills_the_disk_is_stopped() {
    each_identity(|env| {
        // Many files, since one is easily limited; they are never gone again.
        let fill = "i=0; while :; do head -c 1000000 /dev/zero > \"$DESTDIR/$i\"; i=$((i + 1)); done";
        let recipe = format!("{}disk = \"20MiB\"\ntimeout = \"1m\"\n", plain("x", fill));
        env.write("x/recipe.toml", recipe);
        env.cook(["cook", "x"]).exits(12).says(&["install failed", "more on disk", "build.disk"]);
        mended(env);
        // What is within it may be made.
        let fits = plain("x", "mkdir -p \"$DESTDIR/usr\"; head -c 1000000 /dev/zero > \"$DESTDIR/usr/zero\"; sleep 1");
        env.write("x/recipe.toml", format!("{fits}disk = \"20MiB\"\n"));
        env.cook(["cook", "x"]).success();
    });
}

#[test]
fn a_step_that_needs_too_much_memory_is_told_how_much_it_had() {
    if !is_root() {
        note(
            "memory of all processes together is counted where a control group can be made: covered by the run as root",
        );
        return;
    }
    let env = TestEnv::new();
    let recipe = plain("x", "head -c 400000000 /dev/zero | tail -c 400000000 > /dev/null");
    env.write("x/recipe.toml", recipe.replace("[build]\n", "[build]\nmemory = \"64 MiB\"\n"));
    let run = env.cook(["cook", "x"]).exits(12);
    run.says(&["killed for memory", "MiB at its peak", "hint: raise `build.memory`"]);
}

#[test]
fn processors_are_those_that_were_asked_for() {
    each_identity(|env| {
        env.write(
            "x/recipe.toml",
            plain(
                "x",
                "echo \"processors: $(nproc), $MAKEFLAGS\"; mkdir -p \"$DESTDIR/usr\"; touch \"$DESTDIR/usr/x\"",
            ),
        );
        env.cook(["cook", "x", "--cpus", "1"]).success();
        env.cook(["log", "x"]).success().prints(&["processors: 1, -j1"]);
        env.cook(["cook", "x", "--cpus", "2"]).success().says(&["Fresh"]);
    });
}

#[test]
fn a_build_for_this_processor_only_is_told_of() {
    let env = TestEnv::new();
    env.write(
        "x/recipe.toml",
        plain("x", "echo cc -O2 -march=native x.c; mkdir -p \"$DESTDIR/usr\"; touch \"$DESTDIR/usr/x\""),
    );
    env.cook(["cook", "x"]).success().says(&["warning", "install compiled with `-march=native`"]);
}

#[test]
fn what_a_build_did_not_find_is_named_with_the_trove_that_has_it() {
    let env = TestEnv::ordinary();
    env.write("tools/recipe.toml", plain("tools", "mkdir -p \"$DESTDIR/usr/bin\" \"$DESTDIR/usr/include/very\"; echo '#!/bin/sh' > \"$DESTDIR/usr/bin/very-rare\"; chmod 755 \"$DESTDIR/usr/bin/very-rare\"; echo > \"$DESTDIR/usr/include/very/rare.h\""));
    env.cook(["cook", "tools"]).success();
    env.write("x/recipe.toml", plain("x", "very-rare --version"));
    env.cook(["cook", "x"]).exits(5).says(&[
        "it wanted the program very-rare",
        "tools=1.0-1 has the program very-rare (/usr/bin/very-rare): `tools` in `makedepends` brings it in",
    ]);
    env.write(
        "x/recipe.toml",
        plain("x", "echo 'x.c:1:10: fatal error: very/rare.h: No such file or directory'; exit 1"),
    );
    env.cook(["cook", "x"]).exits(5).says(&["tools=1.0-1 has the header very/rare.h"]);
    // It may stand far above the end, as where others go on in parallel, and be any file.
    let above =
        "cat /usr/include/very/rare.h || true; i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i + 1)); done; exit 1";
    env.write("x/recipe.toml", plain("x", above));
    env.cook(["cook", "x"]).exits(5).says(&["it wanted the file /usr/include/very/rare.h", "tools=1.0-1 has the file"]);
    env.write("x/recipe.toml", plain("x", "no-such-program-anywhere"));
    let run = env.cook(["cook", "x"]).exits(5);
    assert!(run.stderr.contains("it wanted the program no-such-program-anywhere"), "{}", run.stderr);
    assert!(!run.stderr.contains(" has the "), "{}", run.stderr);
}

#[test]
fn a_step_that_fills_the_disk_fails_and_the_store_stays_whole() {
    if !crate::support::is_root() {
        crate::support::note("a file system of its own is mounted as root: covered by the run as root");
        return;
    }
    let env = TestEnv::new();
    env.write("x/recipe.toml", plain("x", "mkdir -p \"$DESTDIR/usr\"; cat /dev/zero > \"$DESTDIR/usr/big\""));
    env.write("y/recipe.toml", one_file("y", "/usr/share/y", "small"));
    let small = env.path("small");
    std::fs::create_dir(&small).unwrap();
    env.run(env.shell(&format!("mount -t tmpfs -o size=48m none {}", small.display()))).success();
    let run = env.conary(["cook", "x", "--store", "small/store"]);
    let next = env.conary(["cook", "y", "--store", "small/store"]);
    let verified = env.conary(["store", "verify", "--store", "small/store"]);
    env.run(env.shell(&format!("umount {}", small.display()))).success();
    assert!(run.code == 5 || run.code == 11, "{} {}", run.code, run.stderr);
    run.says(&["hint:"]);
    next.success();
    verified.success();
}

#[test]
fn an_empty_output_is_an_error() {
    each_identity(|env| {
        env.write("x/recipe.toml", plain("x", "true"));
        env.cook(["cook", "x"]).exits(5).says(&["x has no output", "DESTDIR", "hint:"]);
        mended(env);
    });
}

#[test]
fn a_step_that_forks_without_end_is_bounded() {
    each_identity(|env| {
        let bomb = "i=0; while [ $i -lt 300 ]; do sleep 5 & i=$((i + 1)); done; wait";
        env.write("x/recipe.toml", format!("{}processes = 60\ntimeout = \"1m\"\n", plain("x", bomb)));
        let failed = env.cook(["cook", "x"]);
        let has_group = env.conary(["doctor"]).stdout.lines().any(|line| line.starts_with("control groups  yes"));
        if has_group {
            failed.exits(12).says(&["install failed", "more processes at one time", "build.processes"]);
        } else {
            failed.exits(5).says(&["install failed", "fork"]);
        }
        mended(env);
    });
}

#[test]
fn a_missing_build_requirement_is_named_before_anything_runs() {
    let env = TestEnv::ordinary();
    let recipe = plain("x", "touch \"$DESTDIR/x\"").replace("[build]\n", "[build]\nrequires = [\"no-such-thing\"]\n");
    env.write("x/recipe.toml", recipe);
    env.cook(["cook", "x"]).exits(10).says(&["no-such-thing", "hint: cook it first"]).never_says("Unpacked");
    mended(&env);
}

#[test]
fn without_isolation_it_says_unsafe_and_never_answers_an_isolated_cook() {
    let env = TestEnv::ordinary();
    env.write("x/recipe.toml", one_file("x", "/usr/share/x", "same"));
    env.cook(["cook", "x", "--no-isolation"]).success().says(&["UNSAFE"]);
    env.cook(["cook", "x"]).success().says(&["Stale", "isolation"]);
    env.cook(["cook", "x", "--no-isolation"]).success().says(&["Fresh"]);
}

/// A shell in which nobody can make user namespaces.
const DENYING: &str = "unshare --user --map-current-user --keep-caps sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && \
    exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"' sh";

#[test]
fn a_host_without_namespaces_gives_a_named_lower_level_or_what_was_required() {
    let env = TestEnv::ordinary();
    env.write("x/recipe.toml", one_file("x", "/usr/share/x", "same"));
    let denied =
        |words: &str| env.run(env.shell(&format!("{DENYING} conary {words} --store {}", env.store().display())));
    denied("cook x --require-isolation full")
        .exits(11)
        .says(&["clone into new namespaces", "user.max_user_namespaces"]);
    denied("cook x").success().says(&["NOT ISOLATED", "level restricted", "Cooked x-1.0-1"]);
    let row = env.cook(["show", "x", "--cooked", "--json"]).success().json();
    assert_eq!(row["isolation"], "restricted", "{row}");
    denied("cook x").success().says(&["Fresh"]);
    denied("cook x --require-isolation restricted").success().says(&["Fresh"]);
    denied("cook x --require-isolation full").exits(11).says(&["Stale", "isolation restricted"]);
    // Where there is more, what was made with less is made again.
    env.cook(["cook", "x"]).success().says(&["Stale", "isolation restricted"]).never_says("NOT ISOLATED");
    let row = env.cook(["show", "x", "--cooked", "--json"]).success().json();
    assert_eq!(row["isolation"], "full", "{row}");
    denied("cook x").success().says(&["Fresh"]);
}

#[test]
fn a_root_made_of_troves_is_not_had_without_namespaces() {
    let env = TestEnv::ordinary();
    env.write("base/recipe.toml", one_file("base", "/usr/share/base", "base"));
    let above = one_file("above", "/usr/share/above", "above");
    env.write("above/recipe.toml", above.replace("[build]\n", "[build]\nrequires = [\"base\"]\n"));
    env.cook(["cook", "base"]).success();
    let store = env.store();
    let cook = format!("{DENYING} conary cook above --store {}", store.display());
    env.run(env.shell(&cook)).exits(11).says(&["clone into new namespaces"]).never_says("NOT ISOLATED");
}

#[test]
fn two_cooks_of_one_thing_wait_for_each_other() {
    let env = TestEnv::ordinary();
    env.write("x/recipe.toml", plain("x", "sleep 2; mkdir -p \"$DESTDIR/usr\"; touch \"$DESTDIR/usr/x\""));
    let store = env.store();
    let store = store.display();
    let script = format!(
        "conary cook x --store {store} --output one 2> first & sleep 0.7; conary cook x --store {store} --output two 2> second; wait; cat first second"
    );
    let run = env.run(env.shell(&script)).success();
    assert_eq!(run.stdout.matches("Cooked x-1.0-1").count(), 1, "{}", run.stdout);
    assert!(run.stdout.contains("Waiting") && run.stdout.contains("Fresh x-1.0-1"), "{}", run.stdout);
}
