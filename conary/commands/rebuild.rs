// conary/commands/rebuild.rs
//! `conary rebuild`: a new database for a root whose own is damaged or gone.

use clap::Args;
use installer::Root;

use crate::cli::RootArgs;
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::exit::Code;
use crate::failure::Outcome;
use crate::ui::text;

const EXAMPLES: &str = "\
Makes the database of a root anew from var/lib/conary/state.json, which every change writes, and from the \
root's own store. No installed file is changed; the old database is kept as root.db.damaged. A sound \
database is left alone. Look with `conary verify` afterwards.

Examples:
  conary rebuild --root /srv/root
  conary verify --root /srv/root";

/// Make the database of a root anew, where it is damaged or gone
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    root: RootArgs,
}

/// Rebuilds the database.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let options = changes::options(&arguments.root, Access::Write, context);
    let rebuilt = Root::rebuild(&context.environment.absolute(&arguments.root.root), &options)?;
    let troves = text::count(rebuilt.troves as u64, "package", "packages");
    context.ui.story("Rebuilt", &format!("the database: {troves}, up to changeset {}", rebuilt.changeset));
    for name in &rebuilt.lost {
        let name = text::safe(name);
        context.ui.warning(&format!(
            "the store has lost {name}: its files belong to nobody; install it again with `--replace`"
        ));
    }
    Ok(Code::Success)
}
