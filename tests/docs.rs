// tests/docs.rs
//! Every command that the documentation shows is run.
//!
//! A fenced block marked `console` holds commands behind `$ ` and, below them, what they print; the
//! commands of one page run in order, in one private directory with a copy of `recipes/`, as an ordinary user. A command that
//! ends with `# exit N` must end with that code, every other with 0. Lines below a command that begin with a
//! word of the story must be in what it said, times and sizes aside.
//!
//! A block marked `console ci` is run by `.ci/run` instead, because it builds conary itself. No other block may hold a
//! command.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{TestEnv, checkout, normalise};

/// One command of a page.
struct Shown {
    line: usize,
    command: String,
    code: i32,
    output: Vec<String>,
}

/// The commands of a page by kind of block: run here, run by CI.
fn commands(page: &str) -> (Vec<Shown>, Vec<String>) {
    let (mut here, mut ci) = (Vec::<Shown>::new(), Vec::new());
    let mut fence: Option<String> = None;
    for (number, line) in page.lines().enumerate() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(info.trim().to_owned()) };
            continue;
        }
        let command = line.strip_prefix("$ ");
        match (fence.as_deref(), command) {
            (Some("console"), Some(command)) => {
                let (command, code) = match command.rsplit_once("# exit ") {
                    Some((command, code)) => (command, code.trim().parse().unwrap()),
                    None => (command, 0),
                };
                here.push(Shown { line: number + 1, command: command.trim().to_owned(), code, output: Vec::new() });
            }
            (Some("console"), None) => {
                if let Some(shown) = here.last_mut() {
                    shown.output.push(line.to_owned());
                }
            }
            (Some("console ci"), Some(command)) => ci.push(command.to_owned()),
            (_, Some(_)) => panic!("line {}: a command outside of a console block", number + 1),
            _ => {}
        }
    }
    (here, ci)
}

fn pages() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            } else if entry.path().extension().is_some_and(|extension| extension == "md") {
                found.push(entry.path());
            }
        }
    }
    let mut found = vec![checkout().join("README.md")];
    walk(&checkout().join("docs"), &mut found);
    found.sort();
    found
}

#[test]
fn every_command_of_the_book_does_what_it_shows() {
    let ci_script = fs::read_to_string(checkout().join(".ci/run")).unwrap();
    let mut ran = 0;
    for page in pages() {
        let name = page.strip_prefix(checkout()).unwrap().display().to_string();
        let (here, ci) = commands(&fs::read_to_string(&page).unwrap());
        for command in ci {
            assert!(ci_script.contains(&command), "{name} shows `{command}`, and .ci/run does not run it");
        }
        if here.is_empty() {
            continue;
        }
        let env = TestEnv::ordinary();
        env.copy_in("recipes/cookbook", "recipes/cookbook");
        for shown in here {
            let place = format!("{name}:{}: {}", shown.line, shown.command);
            let mut shell = env.shell(&shown.command);
            shell.env("LC_ALL", "C.UTF-8");
            let run = env.run(shell);
            assert_eq!(run.code, shown.code, "{place}\n{}{}", run.stdout, run.stderr);
            let said = normalise(&format!("{}{}", run.stdout, run.stderr));
            for line in shown.output.iter().filter(|line| !line.trim().is_empty() && line.trim() != "...") {
                assert!(said.contains(normalise(line).trim()), "{place}\nshows: {line}\nsaid:\n{said}");
            }
            ran += 1;
        }
    }
    assert!(ran > 10, "only {ran} commands were found");
}
