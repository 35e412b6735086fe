// conary/commands/hold.rs
//! `conary pin`, `protect` and `hold`: packages that stay as they are.

use clap::Args;
use installer::Hold;

use recipes::Name;
use serde_json::json;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
A pinned package stays at its version: a command that would upgrade, downgrade or roll it back is refused. \
A protected package is not removed. A held one is both. Without names, the list of all is printed.

Examples:
  conary pin openssl --root /srv/root
  conary protect bash --root /srv/root
  conary hold linux --root /srv/root
  conary hold --release linux --root /srv/root
  conary hold --root /srv/root";

/// Keep packages at their version
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct HoldVersion {
    #[command(flatten)]
    pub held: Arguments,
}

/// Keep packages from being removed
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct HoldPresence {
    #[command(flatten)]
    pub held: Arguments,
}

/// Keep packages as they are: at their version, and from being removed
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct HoldBoth {
    #[command(flatten)]
    pub held: Arguments,
}

/// What is held.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Packages; they need not be installed yet
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Let them go again
    #[arg(long, requires = "names")]
    release: bool,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// What a command changes about a hold.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// The version.
    Pin,
    /// Removal.
    Protect,
    /// Both.
    Both,
}

/// Changes what is held, or lists it.
pub fn run(arguments: &Arguments, kind: Kind, context: &Context<'_>) -> Outcome {
    if arguments.names.is_empty() {
        return list(arguments, context);
    }
    let mut names = Vec::new();
    for name in &arguments.names {
        let name: Name = name.parse().map_err(|error| Failure::of(Code::Usage, &error, None))?;
        names.push(name.to_string());
    }
    let root = changes::open(&arguments.root, Access::Write, context)?;
    let on = !arguments.release;
    root.hold(&names, |hold| match kind {
        Kind::Pin => Hold { pinned: on, ..hold },
        Kind::Protect => Hold { protected: on, ..hold },
        Kind::Both => Hold { pinned: on, protected: on },
    })?;
    let verb = match (on, kind) {
        (false, _) => "Released",
        (true, Kind::Pin) => "Pinned",
        (true, Kind::Protect) => "Protected",
        (true, Kind::Both) => "Held",
    };
    for name in &names {
        context.ui.story(verb, name);
    }
    Ok(Code::Success)
}

fn list(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let holds = changes::open(&arguments.root, Access::Read, context)?.holds()?;
    if arguments.json.json {
        context.ui.json(&json!({ "holds": holds }))?;
        return Ok(Code::Success);
    }
    let word = |hold: &Hold| match (hold.pinned, hold.protected) {
        (true, true) => "held",
        (true, false) => "pinned",
        _ => "protected",
    };
    let rows: Vec<_> = holds.iter().map(|(name, hold)| vec![name.clone(), word(hold).to_owned()]).collect();
    context.ui.lines(&text::table(&rows))?;
    Ok(Code::Success)
}
