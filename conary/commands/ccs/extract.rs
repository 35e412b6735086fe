// conary/commands/ccs/extract.rs
//! `conary ccs extract`: the files of a package in a directory, without a root.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use store::{CheckoutOptions, OpenOptions, Store, Tree};

use super::{named, open};
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

/// The arguments of `conary ccs extract`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Everything belongs to the user who extracts it, and set-id bits of other owners' files are \
dropped. The directory must not be there yet. No script runs, and nothing is recorded: use `conary install` for that.\n\n\
Examples:\n  conary ccs extract dist/hello-1.0-1.x86_64.ccs hello\n  \
conary ccs extract dist/hello-1.0-1.x86_64.ccs hello --component runtime"
)]
pub struct Arguments {
    /// The package file
    #[arg(value_name = "FILE.ccs")]
    file: PathBuf,
    /// The directory to make
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Only this component; may be given several times
    #[arg(long, value_name = "NAME")]
    component: Vec<String>,
}

/// Takes the package into a store beside the directory, lays its files out by links, and lets the store go.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let package = open(&arguments.file, context)?;
    let mut trees = Vec::new();
    for name in &arguments.component {
        let Some(tree) = package.tree(name) else {
            let known: Vec<&str> = package.trees().keys().map(String::as_str).collect();
            let message = format!("{} has no component {name}", arguments.file.display());
            return Err(Failure::new(Code::NotFound, message).hint(format!("it has {}", known.join(", "))));
        };
        trees.push(tree);
    }
    if arguments.component.is_empty() {
        trees.extend(package.trees().values());
    }
    let tree = Tree::merge(trees).map_err(|error| Failure::of(Code::Damaged, &error, None))?;
    let directory = context.environment.absolute(&arguments.directory);
    let cannot = |error: io::Error| {
        let failure = Failure::of(Code::System, &error, None);
        let message = format!("cannot make {}", arguments.directory.display());
        Failure { message, causes: vec![error.to_string()], ..failure }
    };
    fs::create_dir(&directory).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Code::Usage, format!("{} is there already", arguments.directory.display()))
                .hint("name a directory that does not exist yet")
        }
        _ => cannot(error),
    })?;
    let parent = directory.parent().unwrap_or(Path::new("/"));
    let scratch = parent.join(format!(".conary-extract-{}", std::process::id()));
    let extracted = || -> Result<u64, Failure> {
        let store = Store::open(&scratch, &OpenOptions::default())?;
        let imported = package.import(&store, context.cancel, &|_, _| {});
        imported.map_err(|error| named(&arguments.file, Failure::from(error)))?;
        let into = File::open(&directory).map_err(cannot)?;
        let report = store.checkout(&tree, &into, &CheckoutOptions::default(), context.cancel);
        let report = report.map_err(|error| Failure::of(crate::codes::of_kind(error.kind()), &error, error.hint()))?;
        store::durable::sync_file_system(&into).map_err(cannot)?;
        Ok(report.disarmed)
    }();
    // A store of our own beside the directory: what cannot be removed is space, and its name says whose it was.
    let _ = fs::remove_dir_all(&scratch);
    let disarmed = extracted?;
    if disarmed > 0 {
        let files = text::count(disarmed, "file", "files");
        context.ui.warning(&format!("set-id bits or capabilities of {files} were dropped"));
    }
    let entries = text::count(tree.entries().len() as u64, "entry", "entries");
    context
        .ui
        .story("Extracted", &format!("{} to {}: {entries}", arguments.file.display(), arguments.directory.display()));
    Ok(Code::Success)
}
