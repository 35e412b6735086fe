// tests/cli.rs
//! The command line itself: help, usage errors, completions, manual pages.

use std::fs;

use crate::support::{TestEnv, checkout};

/// Every command, with those below it, as its help lists them.
fn commands(env: &TestEnv, path: &[&str]) -> Vec<Vec<String>> {
    let mut words: Vec<&str> = path.to_vec();
    words.push("--help");
    let help = env.conary(&words).success().stdout;
    let mut found = Vec::new();
    let listed = help.split("Commands:\n").nth(1).map(|rest| rest.split("\n\n").next().unwrap_or_default());
    for line in listed.unwrap_or_default().lines() {
        let is_entry = line.starts_with("  ") && !line.starts_with("   ");
        let Some(name) = line.split_whitespace().next().filter(|_| is_entry) else { continue };
        let mut below: Vec<&str> = path.to_vec();
        below.push(name);
        found.push(below.iter().map(|word| (*word).to_owned()).collect());
        found.extend(commands(env, &below));
    }
    found
}

#[test]
fn every_command_has_help_with_examples_and_exit_codes() {
    let env = TestEnv::new();
    let all = commands(&env, &[]);
    for name in ["cook", "why", "fetch", "install", "remove", "list", "doctor", "completions"] {
        assert!(all.iter().any(|command| command == &[name]), "{name} is missing: {all:?}");
    }
    for command in &all {
        let mut words = command.clone();
        words.push("--help".to_owned());
        let help = env.conary(&words).success().stdout;
        assert!(help.contains("Usage: conary"), "{command:?}");
        assert!(help.contains("Exit codes:\n    0  done"), "{command:?}\n{help}");
        assert!(help.contains("Examples:") || help.contains("Commands:"), "{command:?}\n{help}");
    }
}

#[test]
fn the_exit_codes_of_the_book_are_those_of_the_program() {
    let page = fs::read_to_string(checkout().join("docs/exit-codes.md")).unwrap();
    let source = fs::read_to_string(checkout().join("conary/exit.rs")).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .skip(1)
        .map(|(_, words)| words.trim_end_matches(" |"))
        .collect();
    assert_eq!(rows.len(), 14);
    for words in rows {
        assert!(source.contains(&format!("\"{words}\"")), "the program does not say {words:?}");
    }
}

#[test]
fn usage_errors_are_2_and_on_stderr() {
    let env = TestEnv::new();
    for words in [&["coook", "hello"][..], &["cook", "--no-such-flag"], &["install"], &["cook", "--jobs", "0"], &[]] {
        let run = env.conary(words).exits(2);
        assert!(run.stdout.is_empty(), "{words:?}");
        assert!(run.stderr.contains("Usage:") || run.stderr.contains("error:"), "{words:?}: {}", run.stderr);
    }
    env.conary(["coook"]).says(&["similar", "cook"]);
}

#[test]
fn completions_are_made_for_every_shell() {
    let env = TestEnv::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = env.conary(["completions", shell]).success();
        assert!(run.stdout.contains("rollback") && run.stdout.contains("keep-failed"), "{shell}");
        assert!(run.stderr.is_empty());
    }
    let script = env.write("conary.bash", env.conary(["completions", "bash"]).stdout);
    let mut bash = env.command("bash");
    bash.arg("-n").arg(script);
    env.run(bash).success();
}

#[test]
fn manual_pages_are_made_for_every_command() {
    let env = TestEnv::new();
    env.conary(["man", "pages"]).success().says(&["Written"]);
    for command in commands(&env, &[]) {
        let page = env.path("pages").join(format!("conary-{}.1", command.join("-")));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains(".SH SYNOPSIS"), "{command:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let env = TestEnv::new();
    let run = env.run(env.shell("conary completions bash | head -n 1; conary --help | true"));
    assert!(run.success().stderr.is_empty());
    env.run(env.shell("conary completions bash > /dev/full || exit $?"))
        .exits(11)
        .says(&["cannot write to standard output"]);
}

#[test]
fn quiet_says_nothing_and_debug_messages_are_asked_for() {
    let env = TestEnv::new();
    assert!(env.conary(["--quiet", "man", "pages"]).success().stderr.is_empty());
    env.conary(["--quiet", "--verbose", "man", "pages"]).exits(2);
    let mut command = env.conary_command(["man", "pages"]);
    command.env("CONARY_LOG", "no[such{filter");
    env.run(command).exits(2).says(&["hint: CONARY_LOG"]);
}
