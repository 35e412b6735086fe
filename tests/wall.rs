// tests/wall.rs
//! `conary sandbox`: the wall of a build around any command, and what it tells.

use std::fs;

use crate::support::{TestEnv, each_identity};

#[test]
fn a_command_sees_what_a_step_sees() {
    each_identity(|env| {
        let look = "id; pwd; ls /; env | sort; cat /proc/self/uid_map | tr -s ' '; stat -c '%u %a %n' /build /dest /steps; umask";
        let recipe = format!(
            "[package]\nname = \"x\"\nversion = \"1.0\"\n\n[build]\ninstall = '''\nmkdir -p \"$DESTDIR/usr\"\ntouch \"$DESTDIR/usr/seen\"\ncd /build; {look}\n'''\n"
        );
        env.write("x/recipe.toml", recipe);
        env.cook(["cook", "x", "--jobs", "2"]).success();
        let cooked = env.cook(["log", "x"]).success().stdout;
        let ran = env.conary(["sandbox", "--cpus", "2", "--", "sh", "-c", look]).success().stdout;
        // What a shell adds for itself when it changes its directory.
        let of_shell = |text: &str| {
            text.lines()
                .filter(|line| !line.starts_with("OLDPWD=") && !line.starts_with("==> "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(of_shell(&cooked), of_shell(&ran));
        assert!(ran.contains("uid=1000(builder)") && ran.contains("1000 1000 1"), "{ran}");
    });
}

#[test]
fn the_exit_status_is_passed_through() {
    each_identity(|env| {
        env.conary(["sandbox", "--", "sh", "-c", "echo out; echo err >&2; exit 42"])
            .exits(42)
            .prints(&["out\n", "err\n"]);
        env.conary(["sandbox", "--", "sh", "-c", "kill -KILL $$"]).exits(137);
        env.conary(["sandbox", "--", "no-such-program"]).exits(6).says(&["cannot start no-such-program", "hint:"]);
        env.conary(["sandbox"]).exits(2);
        env.conary(["sandbox", "--json", "--", "true"]).exits(2).says(&["--print"]);
    });
}

#[test]
fn a_writable_directory_keeps_its_owner() {
    each_identity(|env| {
        fs::create_dir_all(env.path("own/below")).unwrap();
        env.give();
        let run = env.conary([
            "sandbox",
            "--rw",
            "own",
            "--rw",
            "own/below:/srv/below",
            "--",
            "sh",
            "-c",
            "echo 1 > made; echo 2 > /srv/below/two; stat -c %u . made below/two",
        ]);
        assert_eq!(run.success().stdout, "1000\n1000\n1000\n");
        let owners = env.run(env.shell("stat -c %u own own/made own/below/two | uniq | wc -l")).success().stdout;
        assert_eq!(owners.trim(), "1", "what was made is its owner's");
        env.conary(["sandbox", "--rw", "own", "--rw", "own/below", "--", "true"]).success();
        env.conary(["sandbox", "--rw", "missing", "--", "true"]).exits(10).says(&["is no directory"]);
        env.conary(["sandbox", "--rw", "own:/usr/x", "--", "true"]).exits(6).says(&["/usr/x"]);
    });
}

#[test]
fn nothing_is_left_of_an_empty_room() {
    each_identity(|env| {
        let script = "mkdir -p /build/a/b /dest/c; touch /build/a/b/x; chmod 000 /build/a/b /build/a /dest/c";
        env.conary(["sandbox", "--", "sh", "-c", script]).success();
        let left = env.run(env.shell("ls -A \"$TMPDIR\"")).success().stdout;
        assert_eq!(left, "");
    });
}

#[test]
fn a_plan_is_printed_as_lines_and_as_data() {
    let env = TestEnv::ordinary();
    let lines = env.conary(["sandbox", "--print", "--", "sh", "-c", "it's"]).success();
    lines.prints(&["source 0 /usr (Read)\n", "enter /root\nbwrap --unshare-all", "-- sh -c 'it'\\''s'\n"]);
    let data = env.conary(["sandbox", "--print", "--json", "--cpus", "3", "--", "true"]).success().json();
    assert_eq!(data["command"][0], "true");
    assert_eq!((&data["cpus"], &data["directory"]), (&3.into(), &"/build".into()));
    assert!(data["operations"].as_array().is_some_and(|list| list.len() > 50));
    assert!(data["bwrap"].as_array().is_some_and(|list| list.contains(&"--unshare-all".into())));
}

#[test]
fn processors_are_told_as_asked() {
    each_identity(|env| {
        let look = "nproc; grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat; echo $MAKEFLAGS";
        let run = env.conary(["sandbox", "--cpus", "1", "--", "sh", "-c", look]).success();
        assert_eq!(run.stdout, "1\n1\n1\n-j1\n");
    });
}

#[test]
fn nothing_of_the_host_leaks_in() {
    each_identity(|env| {
        let run = env.conary(["doctor", "--leaks"]).success();
        assert!(run.stdout.starts_with("0 differences in "), "{}", run.stdout);
        let report = env.conary(["doctor", "--leaks", "--json"]).success().json();
        assert_eq!(report["leaks"].as_array().map(Vec::len), Some(0));
        assert!(report["facts"].as_u64().is_some_and(|facts| facts > 1000), "{report}");
    });
}

#[test]
fn the_umask_of_the_cook_does_not_reach_the_build() {
    let env = TestEnv::ordinary();
    let recipe = crate::support::recipe::plain(
        "x",
        "mkdir -p \"$DESTDIR/usr\"; touch \"$DESTDIR/usr/x\"; stat -c '%a' . .. /build /dest /steps",
    );
    env.write("x/recipe.toml", recipe);
    let script = format!("umask 077; conary cook x --store {0}; conary log x --store {0}", env.store().display());
    env.run(env.shell(&script)).success().prints(&["==> install\n755\n755\n755\n755\n755\n"]);
}

#[test]
fn every_step_finds_all_scripts() {
    let env = TestEnv::ordinary();
    let recipe = crate::support::recipe::plain("x", "ls /steps; mkdir -p \"$DESTDIR/usr\"; touch \"$DESTDIR/usr/x\"");
    let further = "[build]\nmake = \"ls /steps\"\npost_install = \"ls /steps\"";
    env.write("x/recipe.toml", recipe.replace("[build]", further));
    env.cook(["cook", "x"]).success();
    let all = "install\nmake\npost_install\n";
    let log = env.cook(["log", "x"]).success();
    assert_eq!(log.stdout.matches(all).count(), 3, "{}", log.stdout);
}
