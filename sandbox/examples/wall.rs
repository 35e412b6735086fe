// sandbox/examples/wall.rs
//! Runs a command in a sandbox with the host's `/usr`: `wall [--rw HOST:INSIDE]… COMMAND…`.
//!
//! For measurements and for looking around. It prints what the outcome says on stderr when asked with `--tell`.

use std::io::Write as _;
use std::sync::atomic::AtomicBool;

use sandbox::{Bind, Level, Limits, Plan, RootView, Status};

fn main() {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let mut binds = Vec::new();
    let mut overlays = Vec::new();
    let mut tell = false;
    let mut level = Level::Full;
    while let Some(option) = arguments.next_if(|argument| argument.to_string_lossy().starts_with("--")) {
        match option.to_str() {
            Some("--tell") => tell = true,
            Some("--none") => level = Level::None,
            Some("--over") => overlays.push(arguments.next().expect("a directory").into()),
            Some("--rw") => {
                let pair = arguments.next().expect("a pair").into_string().expect("text");
                let (source, target) = pair.split_once(':').expect("HOST:INSIDE");
                binds.push(Bind { source: source.into(), target: target.to_owned(), writable: true });
            }
            _ => panic!("unknown option"),
        }
    }
    let environment = [("PATH", "/usr/bin:/bin"), ("HOME", "/build")];
    let plan = Plan {
        root: RootView::Host { overlays },
        binds,
        command: arguments.collect(),
        environment: environment.map(|(name, value)| (name.to_owned(), value.into())).to_vec(),
        directory: "/".to_owned(),
        limits: Limits::default(),
        level,
    };
    let mut output = |bytes: &[u8]| std::io::stdout().write_all(bytes).expect("stdout");
    match sandbox::run(&plan, &mut output, &AtomicBool::new(false)) {
        Ok(outcome) => {
            if tell {
                eprintln!("{outcome:?}");
            }
            std::process::exit(if let Status::Exited(status) = outcome.status { status } else { 125 });
        }
        Err(error) => {
            eprintln!("{error}: {:?}\n{:?}", std::error::Error::source(&error), error.hint());
            std::process::exit(126);
        }
    }
}
