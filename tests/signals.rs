// tests/signals.rs
//! Two commands at once, signals at awkward moments, a clock that jumps. Nothing here depends on how fast the machine is: signals come at a
//! system call, by `strace`, and tests wait for states.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::recipe::one_file;
use crate::support::{TestEnv, skip};

/// How long a state may take to come; only a hang takes that long.
const PATIENCE: Duration = Duration::from_mins(4);

/// Makes a package of one file in two versions; the older is installed.
fn two_versions(env: &TestEnv) -> [PathBuf; 2] {
    let packages = ["1.0", "2.0"].map(|version| {
        let recipe = one_file("a", "/usr/share/a/file", version).replace("\"1.0\"", &format!("\"{version}\""));
        env.write(format!("a-{version}/recipe.toml"), recipe);
        let json = env.cook(["cook", &format!("a-{version}"), "--json"]).success().json();
        PathBuf::from(json["cooked"][0]["package"].as_str().unwrap())
    });
    env.root_command(["install", "--yes", &packages[0].to_string_lossy()]).success();
    packages
}

/// The command that brings the newer version, under `strace` with this injection.
fn upgrade(env: &TestEnv, package: &Path, log: &Path, call: &str, inject: &str) -> Command {
    let mut command = env.command("strace");
    command.args(["-f", "-qq", "-o"]).arg(log).args(["-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:{inject}")]);
    command.arg(crate::support::program()).args(["install", "--yes", "--root"]).arg(env.root()).arg(package);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn no_strace() -> bool {
    let missing = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err();
    if missing {
        skip("strace is not installed");
    }
    missing
}

fn version(env: &TestEnv) -> String {
    fs::read_to_string(env.root().join("usr/share/a/file")).unwrap().trim().to_owned()
}

#[test]
fn a_command_that_is_stopped_holds_its_root_and_goes_on() {
    if no_strace() {
        return;
    }
    let env = TestEnv::ordinary();
    let [_, newer] = two_versions(&env);
    let log = env.path("stopped.log");
    let mut stopped = upgrade(&env, &newer, &log, "renameat2", "signal=STOP:when=1").spawn().unwrap();
    let since = Instant::now();
    let pid = loop {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains("stopped by SIGSTOP")) {
            break line.split_whitespace().next().unwrap().to_owned();
        }
        assert!(since.elapsed() < PATIENCE, "it was never stopped: {text}");
        std::thread::sleep(Duration::from_millis(20));
    };
    // `CONARY_STOP_SECS` is how long it stays so.
    let seconds = std::env::var("CONARY_STOP_SECS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    std::thread::sleep(Duration::from_secs(seconds));
    let busy = env.root_command(["remove", "a", "--yes"]);
    let listed = env.root_command(["list"]);
    env.run(env.shell(&format!("kill -CONT {pid}"))).success();
    assert!(stopped.wait().unwrap().success());
    busy.exits(9).says(&["is being changed", "install", "hint: wait"]);
    listed.success().prints(&["a"]);
    assert_eq!(version(&env), "2.0");
    env.root_command(["verify"]).success();
}

#[test]
fn signals_at_any_call_leave_old_or_new() {
    if no_strace() {
        return;
    }
    let env = TestEnv::ordinary();
    let [older, newer] = two_versions(&env);
    let mut interrupted = 0;
    for (signal, times) in [("INT", 1), ("INT", 3), ("TERM", 1), ("HUP", 1)] {
        for (call, first) in [("renameat2", 1), ("pwrite64", 2), ("pwrite64", 12), ("fdatasync", 1), ("mkdirat", 1)] {
            let inject = format!("signal={signal}:when={first}..{}", first + times - 1);
            let mut command = upgrade(&env, &newer, &env.path("signals.log"), call, &inject);
            let code = command.status().unwrap().code();
            let at = format!("{times} of SIG{signal} at {call} number {first}");
            assert!(matches!(code, Some(0 | 130)), "{at}: {code:?}");
            interrupted += u32::from(code == Some(130));
            env.root_command(["verify"]).success();
            let found = version(&env);
            assert!(found == "1.0" || found == "2.0", "{at}: {found}");
            assert!(code != Some(0) || found == "2.0", "{at}: it said that it was done");
            env.root_command(["install", "--yes", &older.to_string_lossy()]).success();
            assert_eq!(version(&env), "1.0", "{at}");
        }
    }
    assert!(interrupted > 0, "no signal interrupted anything");
}

/// What a used up quota of btrfs does to a page that SQLite has mapped.
#[test]
fn a_page_that_is_refused_ends_a_command_with_words() {
    if no_strace() {
        return;
    }
    let env = TestEnv::ordinary();
    let [older, newer] = two_versions(&env);
    for (call, number) in [("pwrite64", 2), ("pwrite64", 12), ("renameat2", 1)] {
        let mut command = upgrade(&env, &newer, &env.path("bus.log"), call, &format!("signal=BUS:when={number}"));
        let ended = command.stderr(Stdio::piped()).output().unwrap();
        let (at, said) = (format!("{call} number {number}"), String::from_utf8_lossy(&ended.stderr).into_owned());
        // It may have been done by the time that another thread had spoken.
        assert!(matches!(ended.status.code(), Some(0 | 11)), "{at}: {:?} {said}", ended.status);
        assert!(said.contains("error: the system refused a page") && said.contains("hint: "), "{at}: {said}");
        env.root_command(["verify"]).success();
        let found = version(&env);
        assert!(found == "1.0" || found == "2.0", "{at}: {found}");
        env.root_command(["install", "--yes", &older.to_string_lossy()]).success();
        assert_eq!(version(&env), "1.0", "{at}");
    }
}

#[test]
fn commands_at_once_are_refused_or_done() {
    let env = TestEnv::ordinary();
    let packages: Vec<String> = (0..4)
        .map(|number| {
            let name = format!("p{number}");
            env.write(format!("{name}/recipe.toml"), one_file(&name, &format!("/usr/share/{name}"), &name));
            let json = env.cook(["cook", &name, "--json"]).success().json();
            json["cooked"][0]["package"].as_str().unwrap().to_owned()
        })
        .collect();
    std::thread::scope(|scope| {
        for package in &packages {
            let env = &env;
            scope.spawn(move || {
                let since = Instant::now();
                loop {
                    let run = env.root_command(["install", "--yes", package]);
                    if run.code == 0 {
                        break;
                    }
                    run.exits(9).says(&["is being changed"]);
                    assert!(since.elapsed() < PATIENCE, "{package} never came to its turn");
                }
            });
        }
    });
    env.root_command(["list"]).success().prints(&["p0", "p1", "p2", "p3"]);
    env.root_command(["verify"]).success();
    let history = env.root_command(["history", "--json"]).success().json();
    assert_eq!(history["changesets"].as_array().unwrap().len(), 4);
}

/// Every second question for the time is answered with one of another century.
const CLOCK: &str = r"
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int asked;
    if (clock != CLOCK_REALTIME) return syscall(SYS_clock_gettime, clock, now);
    now->tv_sec = asked++ % 2 ? 4102444800 : 978307200;
    now->tv_nsec = 0;
    return 0;
}
";

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let env = TestEnv::ordinary();
    let [older, newer] = two_versions(&env);
    let source = env.write("clock.c", CLOCK);
    let library = env.path("clock.so");
    let built = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    if !built.is_ok_and(|status| status.success()) {
        skip("gcc is not installed");
        return;
    }
    env.give();
    let root = env.root().to_string_lossy().into_owned();
    let run = |words: &[&str]| {
        let mut command = env.conary_command(words.iter().copied().chain(["--root", root.as_str()]));
        command.env("LD_PRELOAD", &library);
        env.run(command)
    };
    run(&["install", "--yes", &newer.to_string_lossy()]).success();
    assert_eq!(version(&env), "2.0");
    run(&["rollback", "--yes"]).success();
    assert_eq!(version(&env), "1.0");
    run(&["remove", "a", "--yes"]).success();
    run(&["install", "--yes", &older.to_string_lossy()]).success();
    run(&["verify"]).success();
    // History goes by number, whatever the time was.
    let history = run(&["history", "--json"]).success().json();
    let mut numbers: Vec<i64> = history["changesets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|changeset| changeset["number"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}
