// tests/terminal.rs
//! What a person sees on a terminal: live lines, byte counts, colours, Ctrl-C. The terminal is a real one, kept by script(1).

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::recipe::{Member, plain, sha256_of, tar_of, with_archive};
use crate::support::server::{Manner, Server};
use crate::support::{AT_ONCE, TestEnv};

/// A command on a terminal of 100 columns, not yet run: what the terminal is sent comes on stdout.
fn on_terminal(env: &TestEnv, setting: &str, line: &str) -> Command {
    let mut command = env.shell("exec script -qefc \"$0\" /dev/null");
    let store = env.store();
    command.arg(format!("stty cols 100 rows 30; {setting} exec conary {line} --store '{}'", store.display()));
    command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    command
}

/// Returns the lines that stay when everything was drawn: what a carriage return or an erasure covers is gone.
fn what_stays(transcript: &str) -> Vec<String> {
    let lines = transcript.split('\n').map(|line| {
        let line = line.trim_end_matches('\r');
        let line = line.rsplit("\u{1b}[2K").next().unwrap_or_default();
        line.rsplit('\r').next().unwrap_or_default().to_owned()
    });
    lines.filter(|line| !line.trim().is_empty()).collect()
}

#[test]
fn a_running_step_is_a_live_line_with_a_clock_that_leaves_no_trace() {
    let env = TestEnv::new();
    env.write("x/recipe.toml", plain("x", "sleep 1.3; mkdir -p \"$DESTDIR/usr\"; echo x > \"$DESTDIR/usr/x\""));
    let run = env.run(on_terminal(&env, "", "cook x")).success();
    for drawn in ["Staging\u{1b}[0m x-1.0-1", " 1s\r", "\u{1b}[1;36m"] {
        assert!(run.stdout.contains(drawn), "{drawn:?} is not in {:?}", run.stdout);
    }
    let stays = what_stays(&run.stdout).join("\n");
    assert!(stays.contains("Staged") && stays.contains("Cooked") && stays.contains("x=1.0-1"), "{stays}");
    assert!(!stays.contains("Staging"), "a live line stays: {stays}");

    let run = env.run(on_terminal(&env, "NO_COLOR=1", "cook x --force")).success();
    assert!(run.stdout.contains("Staging x-1.0-1"), "{:?}", run.stdout);
    assert!(!run.stdout.contains("\u{1b}[1;"), "a colour: {:?}", run.stdout);

    let run = env.run(on_terminal(&env, "TERM=dumb", "cook x --force")).success();
    assert!(!run.stdout.contains('\u{1b}') && !run.stdout.contains("Staging"), "{:?}", run.stdout);
    assert!(run.stdout.contains("Staged x-1.0-1"), "{:?}", run.stdout);
}

#[test]
fn a_download_counts_its_bytes() {
    let env = TestEnv::new();
    let content: Vec<u8> = (0..3 << 20).map(|number: u32| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let archive = tar_of(&[Member::file("x-1.0/data", &content)]);
    let server = Server::start(archive.clone(), Manner::Paces);
    let sum = sha256_of(&env, &archive);
    env.write("x/recipe.toml", with_archive("x", &server.url("x-1.0.tar"), &sum, "true"));
    let run = env.run(on_terminal(&env, "", "fetch x")).success();
    let total = "/3.00 MiB";
    let mut counts: Vec<f64> = Vec::new();
    for (at, _) in run.stdout.match_indices(total) {
        let before = run.stdout[..at].rsplit("] ").next().unwrap_or_default();
        let (number, unit) = before.split_once(' ').unwrap_or_else(|| panic!("{before:?} is no count"));
        let scale = match unit {
            "B" => 1.0 / 1_048_576.0,
            "KiB" => 1.0 / 1024.0,
            "MiB" => 1.0,
            other => panic!("{other:?} is no unit"),
        };
        counts.push(number.parse::<f64>().unwrap() * scale);
    }
    assert!(counts.len() > 8, "drawn {} times: {:?}", counts.len(), run.stdout);
    assert!(counts.is_sorted(), "{counts:?}");
    // Ten pieces: each tenth was seen as it was, to the hundredth that is drawn.
    let tenths = (1..10).filter(|tenth| counts.iter().any(|count| (count - 0.3 * f64::from(*tenth)).abs() < 0.011));
    assert!(tenths.count() >= 6, "{counts:?}");
    assert!(!what_stays(&run.stdout).join("\n").contains(total), "the bar stays: {:?}", run.stdout);
}

#[test]
fn without_a_terminal_lines_are_plain() {
    let env = TestEnv::new();
    env.write("x/recipe.toml", plain("x", "sleep 0.3; mkdir -p \"$DESTDIR/usr\"; echo x > \"$DESTDIR/usr/x\""));
    let run = env.cook(["cook", "x"]).success();
    assert!(!run.stderr.contains(['\u{1b}', '\r']) && !run.stderr.contains("Staging"), "{}", run.stderr);
}

#[test]
fn ctrl_c_on_a_terminal_ends_a_build_within_a_second() {
    let env = TestEnv::new();
    env.write("x/recipe.toml", plain("x", "echo begun; sleep 60"));
    let mut command = on_terminal(&env, "", "cook x --verbose");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let log = || env.run(env.shell(&format!("conary log x --store '{}' 2>&1 || true", env.store().display()))).stdout;
    let begun = Instant::now();
    while !log().contains("begun") {
        assert!(begun.elapsed() < Duration::from_mins(1), "the build does not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    let asked = Instant::now();
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    keyboard.flush().unwrap();
    let status = child.wait().unwrap();
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    assert!(!status.success());
    env.cook(["store", "verify"]).success();
}
