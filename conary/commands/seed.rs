// conary/commands/seed.rs
//! `conary seed`: roots made elsewhere, which lie under hermetic build roots.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kitchen::seed::{self, Difference, Seed};
use recipes::Name;
use serde_json::json;
use store::Store;

use crate::cli::{JsonArg, StoreArgs};
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
A seed is a root with a shell and a compiler, made by a distribution's own tools, in the store. `conary cook --hermetic --seed NAME` \
builds in it, and in what the recipe requires, and sees nothing of this host. What names the machine that made it (device nodes, host \
name, machine id, keys, users, logs, caches) is left out, everything belongs to root, and its id follows from its content alone.

Examples:
  conary seed import debian /srv/roots/debian
  conary seed import debian root.tar.zst
  conary seed list
  conary seed diff debian debian-old
  conary cook hello --hermetic --seed debian";

/// Look after the roots that lie under hermetic builds
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with seeds.
#[derive(Debug, Subcommand)]
enum Action {
    /// Take in a root under a name; an earlier seed of that name loses it
    #[command(after_long_help = EXAMPLES)]
    Import {
        /// What to call it
        name: String,
        /// The top directory of a root, or a tarball of one
        #[arg(value_name = "DIR|TARBALL")]
        from: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// List the seeds
    #[command(after_long_help = EXAMPLES)]
    List {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Show one seed and what lies in it
    #[command(after_long_help = EXAMPLES)]
    Show {
        /// Its name, or the beginning of its id
        name: String,
        /// List all paths too
        #[arg(long)]
        files: bool,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// List the paths at which two seeds differ: - only the first has it, + only the second, ~ both, and not the same
    #[command(after_long_help = EXAMPLES)]
    Diff {
        /// The first
        one: String,
        /// The second
        other: String,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Take the name away; `conary gc` takes the files
    #[command(after_long_help = EXAMPLES)]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Imports, lists, shows, compares or removes seeds.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::Import { name, from, store, json } => {
            let name: Name = name.parse().map_err(|error| {
                Failure::new(Code::Usage, format!("{name:?} is no name of a seed")).hint(format!("{error}"))
            })?;
            let store = context.store(store)?;
            let seed = seed::import(&store, &name, &context.environment.absolute(from), context.cancel)?;
            if json.json {
                context.ui.json(&seed)?;
            } else {
                context.ui.story("Imported", &title(&seed));
                context.ui.line(&seed.id.to_string())?;
            }
        }
        Action::List { store, json } => list(&context.read_store(store)?, json.json, context)?,
        Action::Show { name, files, store, json } => {
            let store = context.read_store(store)?;
            show(&store, &seed::find(&store, name)?, *files, json.json, context)?;
        }
        Action::Diff { one, other, store, json } => diff(one, other, &context.read_store(store)?, json.json, context)?,
        Action::Remove { name, store } => {
            let seed = seed::remove(&context.store(store)?, name)?;
            context.ui.story("Removed", &title(&seed));
        }
    }
    Ok(Code::Success)
}

fn title(seed: &Seed) -> String {
    format!("{}: {}, {}", seed.name, text::count(seed.files, "file", "files"), text::size(seed.size_bytes))
}

fn list(store: &Store, as_json: bool, context: &Context<'_>) -> Result<(), Failure> {
    let seeds = seed::list(store)?;
    if as_json {
        return context.ui.json(&json!({ "seeds": seeds }));
    }
    let row =
        |seed: &Seed| vec![seed.name.clone(), seed.id.to_string(), seed.files.to_string(), text::size(seed.size_bytes)];
    context.ui.lines(&text::table(&seeds.iter().map(row).collect::<Vec<_>>()))
}

fn show(store: &Store, seed: &Seed, files: bool, as_json: bool, context: &Context<'_>) -> Result<(), Failure> {
    let tree = seed::tree(store, seed)?;
    let paths = || tree.entries().iter().map(|entry| format!("/{}", String::from_utf8_lossy(&entry.path)));
    if as_json {
        let paths = files.then(|| paths().collect::<Vec<_>>());
        return context.ui.json(&json!({ "seed": seed, "paths": paths }));
    }
    let rows = [
        ("name", seed.name.clone()),
        ("id", seed.id.to_string()),
        ("files", seed.files.to_string()),
        ("size", text::size(seed.size_bytes)),
    ];
    context.ui.lines(&text::table(&rows.map(|(name, value)| vec![name.to_owned(), value])))?;
    if files {
        for path in paths() {
            context.ui.line(&text::safe(&path))?;
        }
    }
    Ok(())
}

fn diff(one: &str, other: &str, store: &Store, as_json: bool, context: &Context<'_>) -> Result<(), Failure> {
    let tree = |name: &str| -> Result<_, Failure> { Ok(seed::tree(store, &seed::find(store, name)?)?) };
    let differences = seed::differences(&tree(one)?, &tree(other)?);
    if as_json {
        let lines = differences
            .iter()
            .map(|(what, path)| json!({ "change": what, "path": format!("/{}", String::from_utf8_lossy(path)) }));
        return context.ui.json(&json!({ "differences": lines.collect::<Vec<_>>() }));
    }
    for (what, path) in differences {
        let sign = match what {
            Difference::Removed => '-',
            Difference::Added => '+',
            Difference::Changed => '~',
        };
        context.ui.line(&format!("{sign} /{}", text::safe(&String::from_utf8_lossy(&path))))?;
    }
    Ok(())
}
