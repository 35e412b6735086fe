// conary/main.rs
//! The command line: the only place that knows a terminal, the environment, the clock and exit codes.
//!
//! `main` reads the surroundings once and hands them to one command. The algorithms are in the libraries.

mod cli;
mod codes;
mod commands;
mod environment;
mod exit;
mod failure;
mod lookup;
mod pkgbuild;
mod signal;
mod trust;
mod ui;

use std::process::ExitCode;

use commands::Context;
use environment::Environment;
use exit::Code;
use failure::{Failure, Outcome};
use ui::Ui;

fn main() -> ExitCode {
    let cli = cli::parse();
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(error) => {
            eprintln!("error: the current directory cannot be used: {error}\nhint: change to one that exists");
            return Code::System.into();
        }
    };
    let ui = Ui::new(&environment, cli.global.quiet, cli.global.verbose);
    let code = match run(cli, &environment, &ui) {
        Ok(code) => code,
        Err(failure) => {
            ui.failure(&failure);
            failure.code
        }
    };
    code.into()
}

/// Runs one command in these surroundings.
fn run(cli: cli::Cli, environment: &Environment, ui: &Ui) -> Outcome {
    if let Some(filter) = &environment.log {
        show_debug_messages(filter)?;
    }
    let cancel = signal::listen().map_err(|error| Failure::of(Code::System, &error, None))?;
    cli.command.run(&Context { environment, ui, cancel: &cancel })
}

/// Sends `tracing` messages that `filter` lets through to stderr.
fn show_debug_messages(filter: &str) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
        Failure::of(
            Code::Usage,
            &error,
            Some("CONARY_LOG is a filter like `debug` or `store=trace,kitchen=debug`".into()),
        )
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    Ok(())
}
