// conary/commands/mirror.rs
//! `conary mirror`: other places for sources whose addresses begin with a prefix.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::{JsonArg, StoreArgs};
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
Where a source's address begins with PREFIX, the mirror's URL is put in its place and tried too, \
mirrors with longer prefixes first. Every byte is checked against the recipe, wherever it is from.

Examples:
  conary mirror add https://ftp.gnu.org/gnu/ https://mirror.example.org/gnu/
  conary mirror add https:// file:///srv/distfiles/
  conary mirror list
  conary mirror remove https://ftp.gnu.org/gnu/";

/// Name other places for sources
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with mirrors.
#[derive(Debug, Subcommand)]
enum Action {
    /// Add a mirror
    #[command(after_long_help = EXAMPLES)]
    Add {
        /// What addresses begin with
        prefix: String,
        /// What to put in its place
        url: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List the mirrors in the order in which they are tried
    #[command(after_long_help = EXAMPLES)]
    List {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Remove a mirror, or all of a prefix
    #[command(after_long_help = EXAMPLES)]
    Remove {
        /// What addresses begin with
        prefix: String,
        /// The one to remove [default: all of the prefix]
        url: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Adds, lists or removes.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::Add { prefix, url, store } => {
            context.store(store)?.add_mirror(prefix, url)?;
            context.ui.story("Added", &format!("{url} for {prefix}"));
        }
        Action::List { store, json } => {
            let mirrors = context.read_store(store)?.mirrors()?;
            if json.json {
                let rows: Vec<_> = mirrors.iter().map(|row| json!({ "prefix": row.prefix, "url": row.url })).collect();
                context.ui.json(&json!({ "mirrors": rows }))?;
            } else {
                let rows: Vec<_> = mirrors.into_iter().map(|row| vec![row.prefix, row.url]).collect();
                context.ui.lines(&text::table(&rows))?;
            }
        }
        Action::Remove { prefix, url, store } => {
            let removed = context.store(store)?.remove_mirror(prefix, url.as_deref())?;
            if removed == 0 {
                let failure = Failure::new(Code::NotFound, format!("there is no such mirror for {prefix}"));
                return Err(failure.hint("`conary mirror list` shows them"));
            }
            context.ui.story("Removed", &text::count(removed as u64, "mirror", "mirrors"));
        }
    }
    Ok(Code::Success)
}
