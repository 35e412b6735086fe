// conary/commands/enter.rs
//! `conary enter`: back into the room in which a step failed.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process;

use ::sandbox::{Bind, Status};
use clap::Args;
use kitchen::environment::OUTPUTS;
use kitchen::kept::Kept;

use crate::cli::StoreArgs;
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

const EXAMPLES: &str = "\
A cook with --keep-failed leaves the tree of a failed build in place. This command goes back into the same sandbox: the same root, the \
same variables, the directory in which the step began. Without a command it is a shell on a terminal of its own; its exit status, or the \
command's, is passed through.

Examples:
  conary cook hello --keep-failed
  conary enter hello
  conary enter hello -- sh -eux /steps/make";

/// Look around in the sandbox of a failed build
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The recipe's name, or the directory of a kept tree
    #[arg(value_name = "NAME|DIR")]
    name: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Run this in place of a shell
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

/// Runs the command or a shell, and ends this process as it ended.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let store = context.read_store(&arguments.store)?;
    let name = &arguments.name;
    let failed = |error: io::Error| {
        let failure = Failure::of(Code::System, &error, None);
        Failure { message: format!("cannot read what was kept of {name}"), causes: vec![failure.message], ..failure }
    };
    let kept = Kept::find(&store, name).map_err(failed)?.ok_or_else(|| {
        Failure::new(Code::NotFound, format!("nothing is kept of a failed build of {name}"))
            .hint(format!("`conary cook {name} --keep-failed` keeps it"))
    })?;
    let is_shell = arguments.command.is_empty();
    let command = if is_shell { vec!["/bin/sh".into()] } else { arguments.command.clone() };
    let mut plan = kept.room().plan(command);
    plan.binds.push(Bind { source: kept.outputs(), target: OUTPUTS.to_owned(), writable: true });
    let (input, output) = (io::stdin(), io::stdout());
    let outcome = if is_shell && input.is_terminal() && output.is_terminal() {
        context.ui.story("Entering", &format!("{name} as {} left it", kept.step));
        ::sandbox::run_on_terminal(&plan, input.as_fd(), output.as_fd(), context.cancel)?
    } else if is_shell {
        return Err(Failure::new(Code::Usage, "a shell wants a terminal, and this is none")
            .hint(format!("give it a command: `conary enter {name} -- ls`")));
    } else {
        let mut failed = None;
        let mut show = |piece: &[u8]| {
            if let Err(failure) = context.ui.log(piece) {
                failed.get_or_insert(failure);
            }
        };
        let outcome = ::sandbox::run(&plan, &mut show, context.cancel)?;
        if let Some(failure) = failed {
            return Err(failure);
        }
        outcome
    };
    Ok(ended(outcome.status))
}

/// Ends this process as a command ended, but for the ends that have a code of their own.
pub fn ended(status: Status) -> Code {
    match status {
        Status::Exited(0) => Code::Success,
        Status::Exited(status) => process::exit(status),
        Status::Signaled(signal) => process::exit(128 + signal),
        Status::Cancelled => Code::Interrupted,
        Status::TimedOut | Status::OutputLimit | Status::OutOfMemory | Status::DiskLimit | Status::ProcessLimit => {
            Code::Limit
        }
    }
}
