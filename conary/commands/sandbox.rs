// conary/commands/sandbox.rs
//! `conary sandbox`: any command inside exactly the wall that a step of a build gets.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process;
use std::thread;

use ::sandbox::{Bind, Level, Limits, Plan, RootView, Status};
use clap::Args;
use kitchen::environment::{BUILD, DESTDIR};
use kitchen::step::{Room, Scratch};
use serde_json::json;

use crate::cli::JsonArg;
use crate::commands::Context;
use crate::environment::quoted;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

const EXAMPLES: &str = "\
The command sees what a step of a recipe sees: the host's /usr read-only, empty directories \
/build and /dest to write to, the closed environment, no network, id 1000. Its exit status is \
passed through; 128 and the number of a signal that ended it.

Examples:
  conary sandbox -- sh -c 'id; ls /; uname -a'
  conary sandbox --rw . -- make
  conary sandbox --rw out:/srv/out -- sh -c 'date > /srv/out/now'
  conary sandbox --print -- true";

/// Run any command inside the wall that a build gets
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Show nothing of the host: the root is this directory, read-only
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Show a directory, writable, as /build or at PATH; may be given several times
    #[arg(long, value_name = "DIR[:PATH]")]
    rw: Vec<OsString>,
    /// Tell the command of this many processors, and hold it to them
    #[arg(long, value_name = "N")]
    cpus: Option<NonZeroU32>,
    /// Run nothing: print what would be done, and the nearest line of bubblewrap
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    json: JsonArg,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
}

/// Runs the command, and ends this process as it ended.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    if arguments.json.json && !arguments.print {
        return Err(Failure::new(Code::Usage, "--json says how to print, and nothing is printed without --print"));
    }
    let scratch = Scratch::create(&context.environment.scratch).map_err(|error| {
        let failure = Failure::of(Code::System, &error, None);
        Failure {
            message: format!("cannot make a directory in {}", context.environment.scratch.display()),
            causes: vec![failure.message],
            ..failure
        }
    })?;
    let plan = plan(arguments, &scratch, context)?;
    if arguments.print {
        return print(&plan, arguments.json.json, context);
    }
    let mut failed = None;
    let mut output = |piece: &[u8]| {
        if let Err(failure) = context.ui.log(piece) {
            failed.get_or_insert(failure);
        }
    };
    let ended = ::sandbox::prepare(plan, None)?.run(None, || (), &mut output, context.cancel)?;
    // Nobody is left to write there, while the sandbox is taken apart.
    drop(scratch);
    let status = ended.outcome.status;
    drop(ended);
    if let Some(failure) = failed {
        return Err(failure);
    }
    match status {
        Status::Exited(0) => Ok(Code::Success),
        Status::Exited(status) => process::exit(status),
        Status::Signaled(signal) => process::exit(128 + signal),
        Status::Cancelled => Ok(Code::Interrupted),
        Status::TimedOut | Status::OutputLimit | Status::OutOfMemory | Status::DiskLimit | Status::ProcessLimit => {
            Ok(Code::Limit)
        }
    }
}

/// The room of a step, with what the command line adds.
fn plan(arguments: &Arguments, scratch: &Scratch, context: &Context<'_>) -> Result<Plan, Failure> {
    let processors = thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    let cpus = arguments.cpus.map(NonZeroU32::get);
    let root = match &arguments.root {
        None => RootView::Host { overlays: Vec::new() },
        Some(directory) => RootView::Layers { lowers: vec![context.environment.absolute(directory)] },
    };
    let room = Room {
        root,
        build: scratch.build(),
        dest: scratch.dest(),
        steps: scratch.steps(),
        environment: kitchen::environment::bare(cpus.unwrap_or(processors)),
        directory: BUILD.to_owned(),
        limits: Limits { cpus, ..Limits::default() },
        level: Level::Full,
    };
    let mut plan = room.plan(arguments.command.clone());
    for word in &arguments.rw {
        let bind = writable(word, context)?;
        match plan.binds.iter_mut().find(|known| known.target == bind.target) {
            Some(known) if known.target == BUILD || known.target == DESTDIR => *known = bind,
            Some(known) => {
                return Err(Failure::new(Code::Usage, format!("two directories are to be {}", known.target))
                    .hint("give all but one of them a place: `--rw DIR:/srv/other`"));
            }
            None => plan.binds.push(bind),
        }
    }
    Ok(plan)
}

/// What `--rw DIR[:PATH]` means. A colon in a directory's name is meant, unless a slash follows it.
fn writable(word: &OsString, context: &Context<'_>) -> Result<Bind, Failure> {
    let bytes = word.as_bytes();
    let split = bytes.windows(2).rposition(|pair| pair == b":/");
    let (source, target) = match split {
        Some(at) => (&bytes[..at], String::from_utf8_lossy(&bytes[at + 1..]).into_owned()),
        None => (bytes, BUILD.to_owned()),
    };
    let source = context.environment.absolute(&PathBuf::from(OsString::from_vec(source.to_vec())));
    if !source.is_dir() {
        return Err(Failure::new(Code::NotFound, format!("{} is no directory", source.display()))
            .hint("`--rw` names a directory that exists"));
    }
    Ok(Bind { source, target, writable: true })
}

/// The plan as data or as lines, and the nearest line of bubblewrap.
fn print(plan: &Plan, as_json: bool, context: &Context<'_>) -> Outcome {
    let operations = plan.describe()?;
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let bwrap: Vec<String> = plan.to_bwrap().iter().map(text).collect();
    if as_json {
        let environment: Vec<_> = plan.environment.iter().map(|(name, value)| json!([name, text(value)])).collect();
        let binds: Vec<_> = plan
            .binds
            .iter()
            .map(|bind| json!({ "source": bind.source, "target": bind.target, "writable": bind.writable }))
            .collect();
        context.ui.json(&json!({
            "command": plan.command.iter().map(text).collect::<Vec<_>>(),
            "directory": plan.directory,
            "environment": environment,
            "binds": binds,
            "cpus": plan.limits.cpus,
            "policy": ::sandbox::POLICY_VERSION,
            "refused_calls": ::sandbox::rules().len(),
            "operations": operations,
            "bwrap": bwrap,
        }))?;
        return Ok(Code::Success);
    }
    for operation in operations {
        context.ui.line(&operation)?;
    }
    let words: Vec<String> = bwrap.iter().map(|word| quoted(word)).collect();
    context.ui.line(&words.join(" "))?;
    Ok(Code::Success)
}
