// conary/commands/log.rs
//! `conary log`: the whole log of a build, also of one that runs.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use clap::Args;
use store::{LogOutcome, LogRow, Store};

use crate::cli::StoreArgs;
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

const EXAMPLES: &str = "\
Prints the log of the latest cook of a package, failed or not.

Examples:
  conary log hello
  conary log -f gnu-hello
  conary log hello | grep warning:";

/// How often a growing log is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Print the log of a build
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The package
    #[arg(value_name = "NAME")]
    name: String,
    /// Go on printing until the build ends
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints the log.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let store = context.read_store(&arguments.store)?;
    let name = &arguments.name;
    let Some(row) = store.latest_log(name)? else {
        let failure =
            Failure::new(Code::NotFound, format!("there is no log of {name} in {}", store.directory().display()));
        return Err(failure.hint(format!("`conary cook {name}` makes one; `--store` names another store")));
    };
    let mut file = File::open(&row.path).map_err(|error| {
        let failure = Failure::of(Code::NotFound, &error, None);
        Failure {
            message: format!("cannot read the log {}", row.path.display()),
            causes: vec![failure.message],
            ..failure
        }
    })?;
    loop {
        // Asked before the rest is read: a build that ends in between has written everything by then.
        let state = state(&store, &row)?;
        let goes_on = arguments.follow && state == State::Running;
        print_rest(&mut file, context)?;
        if context.cancel.load(Ordering::SeqCst) {
            return Ok(Code::Interrupted);
        }
        if !goes_on || context.ui.reader_gone() {
            if state == State::Abandoned {
                context.ui.warning("the log ends here: the build was killed, and did not say how it ended");
            }
            return Ok(Code::Success);
        }
        thread::sleep(LOOK);
    }
}

/// What has become of the build that writes a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    /// It never said that it ended, and nobody is at it.
    Abandoned,
}

fn state(store: &Store, row: &LogRow) -> Result<State, Failure> {
    // Asked first: a build that ends in between has said so by then.
    let made = store.is_being_made(&row.key);
    let open = store.logs(Some(&row.name))?.iter().any(|now| now.id == row.id && now.outcome == LogOutcome::Open);
    Ok(match (open, made) {
        (false, _) => State::Ended,
        (true, true) => State::Running,
        (true, false) => State::Abandoned,
    })
}

/// Prints what the file has beyond the place that was read so far.
fn print_rest(file: &mut File, context: &Context<'_>) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = file.read(&mut piece).map_err(|error| Failure::of(Code::System, &error, None))?;
        if length == 0 || context.ui.reader_gone() || context.cancel.load(Ordering::SeqCst) {
            return Ok(());
        }
        context.ui.log(&piece[..length])?;
    }
}
