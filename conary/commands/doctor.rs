// conary/commands/doctor.rs
//! `conary doctor`: what this host offers the sandbox, which switch to flip, and whether anything leaks in.

mod leaks;
mod observe;

use clap::Args;
use sandbox::Probe;
use serde_json::json;

use crate::cli::JsonArg;
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::Outcome;
use crate::ui::text;

const EXAMPLES: &str = "\
The first line, isolation, is what a cook needs; without the others a build is less limited, or \
measured with less precision, and no less isolated.

Examples:
  conary doctor
  conary doctor --json
  conary doctor --leaks";

/// Tell what this host offers the sandbox, and which switch to flip
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Look for differences that a build could see between hosts, users and surroundings; there should be none
    #[arg(long)]
    leaks: bool,
    /// What the leak test runs, outside and inside
    #[arg(long, hide = true, conflicts_with = "leaks")]
    leaks_step: Option<leaks::Step>,
    #[command(flatten)]
    json: JsonArg,
}

/// The feature that a cook cannot do without.
const NEEDED: &str = "isolation";

/// Tries every feature and prints what was found.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    if let Some(step) = arguments.leaks_step {
        return leaks::step(step, context);
    }
    if arguments.leaks {
        return leaks::run(arguments.json.json, context);
    }
    let probes = sandbox::probe();
    let works = probes.iter().any(|probe| probe.feature == NEEDED && probe.available);
    if arguments.json.json {
        let features: Vec<_> = probes
            .iter()
            .map(|probe| {
                json!({
                    "feature": probe.feature, "available": probe.available,
                    "detail": probe.detail, "switch": probe.switch,
                })
            })
            .collect();
        context.ui.json(&json!({ "works": works, "features": features }))?;
    } else {
        context.ui.lines(&text::table(&probes.iter().map(row).collect::<Vec<_>>()))?;
        for probe in probes.iter().filter(|probe| !probe.available) {
            if let Some(switch) = &probe.switch {
                context.ui.line(&format!("\nto get {}: {switch}", probe.feature))?;
            }
        }
    }
    Ok(if works { Code::Success } else { Code::Sandbox })
}

/// One feature as a line.
fn row(probe: &Probe) -> Vec<String> {
    let state = if probe.available { "yes" } else { "no" };
    vec![probe.feature.to_owned(), state.to_owned(), probe.detail.clone()]
}
