// tests/inject.rs
//! Errors of the system in whole commands: `conary cook` and `conary install` run under `strace`, which fails one call of each mutating kind
//! in turn, in the program and in everything that it starts. What says that it was done is done; otherwise an error says why, nothing is
//! half there, and the next command goes through.
//!
//! `CONARY_INJECT_POINTS=all` fails every call that the program makes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::calls;
use crate::support::recipe::one_file;
use crate::support::{Run, TestEnv, program, skip};

const ERRORS: [&str; 3] = ["EIO", "ENOSPC", "EINTR"];

/// A command of `conary` under `strace` with these options.
fn traced(env: &TestEnv, options: &[&str], arguments: &[&str]) -> Run {
    let mut command: Command = env.command("strace");
    command.args(["-f", "-qq"]).args(options).arg(program()).args(arguments);
    env.run(command)
}

/// Counts the calls of each kind in the thread that makes most of them.
fn count(env: &TestEnv, arguments: &[&str]) -> BTreeMap<String, usize> {
    let log = env.path("calls.log");
    let trace = format!("trace={}", calls::MUTATING);
    traced(env, &["-o", &log.to_string_lossy(), "-e", &trace], arguments).success();
    calls::count(&log)
}

/// Fails calls of a command, one in each run; `check` is told whether it said that it was done.
fn failing(env: &TestEnv, arguments: &[&str], prepare: impl Fn(), check: impl Fn(bool, &str)) {
    prepare();
    let all = std::env::var("CONARY_INJECT_POINTS").is_ok_and(|points| points == "all");
    let (mut points, mut refused) = (0, 0);
    for (kind, (call, count)) in count(env, arguments).into_iter().enumerate() {
        let numbers = if all { (1..=count).collect() } else { vec![1 + count * (kind % 4) / 4] };
        for number in numbers {
            let error = ERRORS[(kind + number) % ERRORS.len()];
            prepare();
            let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}:when={number}"));
            let run = traced(env, &["-o", "/dev/null", "-e", &trace, "-e", &inject], arguments);
            let at = format!("{} with {call} number {number} failing ({error}): {}", arguments[0], run.stderr);
            points += 1;
            refused += u32::from(run.code != 0);
            // Neither a panic nor a signal, and a reason; only who cannot write to us cannot say it.
            assert!(run.code < 100, "{at}: ended with {}", run.code);
            assert!(run.code == 0 || call == "write" || run.stderr.contains("error: "), "{at}: no reason");
            check(run.code == 0, &at);
        }
    }
    crate::support::note(&format!("{}: {points} points, {refused} refused", arguments[0]));
    assert!(points > 8 && refused > 3, "{points} points, {refused} refused");
}

fn no_strace() -> bool {
    let missing = Command::new("strace").arg("-V").output().is_err();
    if missing {
        skip("strace is not installed");
    }
    missing
}

#[test]
fn a_cook_survives_errors() {
    if no_strace() {
        return;
    }
    let env = TestEnv::ordinary();
    env.write("a/recipe.toml", one_file("a", "/usr/share/a/file", "content"));
    let (store, packages) = (env.path("store-of-it"), env.path("packages"));
    let arguments =
        ["cook", "a", "--json", "--store", &store.to_string_lossy(), "--output", &packages.to_string_lossy()]
            .map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let clear = || {
        for directory in [&store, &packages] {
            env.run(env.shell(&format!("rm -rf '{}'", directory.display()))).success();
        }
    };
    clear();
    let digest = |run: &Run| run.json()["cooked"][0]["trove"].to_string();
    let undisturbed = digest(&env.conary(&arguments).success());
    failing(&env, &arguments, clear, |_, at| {
        let again = env.conary(&arguments);
        assert_eq!(again.code, 0, "{at}: again: {}", again.stderr);
        assert_eq!(digest(&again), undisturbed, "{at}");
        let package = fs::read_dir(&packages).unwrap().next().unwrap().unwrap().path();
        env.conary(["ccs", "verify", &package.to_string_lossy()]).success();
        let verified = env.conary(["store", "verify", "--json", "--store", &store.to_string_lossy()]);
        let bad: Vec<String> = verified.json()["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .filter(|problem| !problem.contains("belongs to no object"))
            .collect();
        assert_eq!(bad, Vec::<String>::new(), "{at}");
    });
}

#[test]
fn an_install_survives_errors() {
    if no_strace() {
        return;
    }
    let env = TestEnv::ordinary();
    let packages = ["1.0", "2.0"].map(|version| {
        let recipe = one_file("a", "/usr/share/a/file", version).replace("\"1.0\"", &format!("\"{version}\""));
        env.write(format!("a-{version}/recipe.toml"), recipe);
        let json = env.cook(["cook", &format!("a-{version}"), "--json"]).success().json();
        json["cooked"][0]["package"].as_str().unwrap().to_owned()
    });
    let root = env.root().to_string_lossy().into_owned();
    let arguments = ["install", "--yes", "--root", &root, &packages[1]];
    let version = || fs::read_to_string(env.root().join("usr/share/a/file")).unwrap().trim().to_owned();
    let prepare = || {
        env.run(env.shell(&format!("rm -rf '{root}'"))).success();
        env.root_command(["install", "--yes", &packages[0]]).success();
    };
    failing(&env, &arguments, prepare, |done, at| {
        let verified = env.root_command(["verify"]);
        assert_eq!(verified.code, 0, "{at}: {}", verified.stderr);
        let found = version();
        assert!(found == "1.0" || found == "2.0", "{at}: {found}");
        assert!(!done || found == "2.0", "{at}: it said that it was done");
        let again = env.root_command(["install", "--yes", &packages[1]]);
        assert_eq!(again.code, 0, "{at}: again: {}", again.stderr);
        assert_eq!(version(), "2.0", "{at}");
    });
}
