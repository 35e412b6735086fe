// conary/commands/store/bundle.rs
//! `conary store export` and `import`: a set of troves as one file.

use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use recipes::{Digest, TroveSpec};
use serde_json::json;
use store::Store;
use store::ccs::{Bundle, WriteOptions, write_bundle};

use crate::cli::{JsonArg, StoreArgs};
use crate::commands::install::spec;
use crate::commands::{Context, ccs};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

/// The arguments of `conary store export`.
#[derive(Debug, Args)]
#[command(after_long_help = super::EXAMPLES)]
pub struct ExportArguments {
    /// The troves: names, or names and versions
    #[arg(value_name = "NAME", required = true)]
    troves: Vec<String>,
    /// The bundle to write; one that is there is replaced
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

/// The arguments of `conary store import`.
#[derive(Debug, Args)]
#[command(after_long_help = super::EXAMPLES)]
pub struct ImportArguments {
    /// The bundles
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Writes troves of a store as one file.
pub fn export(arguments: &ExportArguments, context: &Context<'_>) -> Outcome {
    let store = context.read_store(&arguments.store)?;
    let _hold = store.hold()?;
    let ids = arguments.troves.iter().map(|word| find(&store, word)).collect::<Result<Vec<_>, _>>()?;
    let mut size_bytes = 0;
    ccs::put(&arguments.output, context, |out| {
        size_bytes = write_bundle(&store, &ids, out, &WriteOptions::default(), context.cancel)?.size_bytes;
        Ok(())
    })?;
    context.ui.line(&arguments.output.display().to_string())?;
    let troves = text::count(ids.len() as u64, "trove", "troves");
    context.ui.story("Exported", &format!("{troves}, {}", text::size(size_bytes)));
    Ok(Code::Success)
}

/// Finds the newest trove that a word of the command line means.
fn find(store: &Store, word: &str) -> Result<Digest, Failure> {
    let wanted = spec(word)?;
    let fits = |found: &TroveSpec| wanted.version.is_none() || wanted.version == found.version;
    let row = store.find_troves(wanted.name.as_str())?.into_iter().find(|row| fits(&row.spec));
    row.map(|row| row.id).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("the store has no {word}"))
            .hint("`conary cook` makes it, `conary store list` shows what there is")
    })
}

/// Takes all troves of bundles into a store.
pub fn import(arguments: &ImportArguments, context: &Context<'_>) -> Outcome {
    let mut bundles = Vec::with_capacity(arguments.files.len());
    for path in &arguments.files {
        let opened = File::open(context.environment.absolute(path)).map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let failure = Failure::of(if missing { Code::NotFound } else { Code::System }, &error, None);
            Failure { message: format!("cannot open {}", path.display()), causes: vec![error.to_string()], ..failure }
        })?;
        bundles.push((path, Bundle::open(opened).map_err(|error| ccs::named(path, Failure::from(error)))?));
    }
    let store = context.store(&arguments.store)?;
    let mut documents = Vec::new();
    for (path, bundle) in &bundles {
        let bar = context.ui.bar("Importing", &path.display().to_string(), None);
        let progress = |done: u64, _total: u64| bar.position(done);
        bundle.import(&store, context.cancel, &progress).map_err(|error| ccs::named(path, Failure::from(error)))?;
        drop(bar);
        for trove in bundle.troves() {
            let spec = trove.manifest.spec().to_string();
            if arguments.json.json {
                documents
                    .push(json!({ "trove": trove.id.to_string(), "spec": spec, "signatures": trove.signatures.len() }));
            } else {
                context.ui.line(&spec)?;
            }
        }
        let troves = text::count(bundle.troves().len() as u64, "trove", "troves");
        context.ui.story("Imported", &format!("{troves} from {}", path.display()));
    }
    if arguments.json.json {
        context.ui.json(&json!({ "troves": documents }))?;
    }
    Ok(Code::Success)
}
