// conary/commands/store.rs
//! `conary store`: what a store holds, and whether it is whole.

mod bundle;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, Subcommand};
use installer::Root;
use recipes::Digest;
use serde_json::json;
use store::ccs::Package;
use store::{Event, OpenOptions, Store, VerifyOptions};

use crate::cli::{JsonArg, RootArgs, StoreArgs};
use crate::commands::changes::{self, Access};
use crate::commands::{Context, ccs};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
Examples:
  conary store stats
  conary store list
  conary store verify
  conary store verify --repair --store /srv/store
  conary store verify --repair --from dist/hello-1.0-1.x86_64.ccs --from /srv/root
  conary store move /srv/store
  conary store export hello zlib --output two.bundle
  conary store import two.bundle --store /srv/store";

/// Look at the store, and verify it
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with a store.
#[derive(Debug, Subcommand)]
enum Action {
    /// Say what the store holds
    #[command(after_long_help = EXAMPLES)]
    Stats {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// List the troves, of each name the newest first: NAME=VERSION[FLAVOR]@LABEL, architecture, components
    #[command(after_long_help = EXAMPLES)]
    List {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Compare every object with its name and every trove with its objects
    #[command(after_long_help = EXAMPLES)]
    Verify {
        /// Drop what is damaged, so that it is made or fetched anew
        #[arg(long)]
        repair: bool,
        /// Before dropping a content, look for it in this package, URL, root or store; may be given several times
        #[arg(long, value_name = "FILE.ccs|URL|DIR", requires = "repair")]
        from: Vec<PathBuf>,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Move the store to another place, and leave a link to it where it was
    #[command(after_long_help = EXAMPLES)]
    Move {
        /// The new place, which must not exist yet
        #[arg(value_name = "DIR")]
        target: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Write troves, with their signatures, as one file in which each content stands once
    Export(bundle::ExportArguments),
    /// Take all troves of such files into the store, of each file all or none
    Import(bundle::ImportArguments),
}

/// Counts, lists, verifies, or moves troves between stores.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::Stats { store, json } => stats(store, json.json, context),
        Action::List { store, json } => list(store, json.json, context),
        Action::Verify { repair, from, store, json } => verify(*repair, from, store, json.json, context),
        Action::Move { target, store } => relocate(target, store, context),
        Action::Export(arguments) => bundle::export(arguments, context),
        Action::Import(arguments) => bundle::import(arguments, context),
    }
}

fn stats(store: &StoreArgs, as_json: bool, context: &Context<'_>) -> Outcome {
    let store = context.read_store(store)?;
    let stats = store.stats()?;
    if as_json {
        context.ui.json(&json!({
            "directory": store.directory(), "troves": stats.troves, "objects": stats.objects,
            "content_bytes": stats.content_bytes, "files": stats.files, "disk_bytes": stats.disk_bytes,
            "linked_bytes": stats.linked_bytes, "links": stats.links, "sources": stats.sources,
            "actions": stats.actions, "roots": stats.roots, "database_bytes": stats.database_bytes,
        }))?;
        return Ok(Code::Success);
    }
    let rows = [
        ("directory", store.directory().display().to_string()),
        ("troves", stats.troves.to_string()),
        ("objects", format!("{}, {}", stats.objects, text::size(stats.content_bytes))),
        ("on disk", format!("{} in {} files", text::size(stats.disk_bytes), stats.files)),
        ("shared", format!("{} by {} links of roots", text::size(stats.linked_bytes), stats.links)),
        ("sources", stats.sources.to_string()),
        ("cooks", stats.actions.to_string()),
        ("roots", stats.roots.to_string()),
        ("database", text::size(stats.database_bytes)),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    context.ui.lines(&text::table(&rows))?;
    Ok(Code::Success)
}

fn list(store: &StoreArgs, as_json: bool, context: &Context<'_>) -> Outcome {
    let store = context.read_store(store)?;
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for row in store.troves()? {
        let manifest = store.trove(&row.id)?;
        let components: Vec<&str> = manifest.components.keys().map(String::as_str).collect();
        if as_json {
            let signatures: Vec<String> =
                store.signatures(&row.id)?.iter().map(|signature| signature.key.to_string()).collect();
            documents.push(json!({
                "trove": row.id.to_string(), "spec": row.spec.to_string(), "name": manifest.name.as_str(),
                "version": manifest.version.to_string(), "flavor": manifest.flavor, "label": manifest.label,
                "arch": row.arch, "components": components, "signatures": signatures,
            }));
        } else {
            rows.push(vec![row.spec.to_string(), row.arch, components.join(",")]);
        }
    }
    if as_json {
        context.ui.json(&json!({ "troves": documents }))?;
    } else {
        context.ui.lines(&text::table(&rows))?;
    }
    Ok(Code::Success)
}

/// How long a move waits for commands that use the store.
const MOVE_TIMEOUT_SECS: u32 = 60;

fn relocate(target: &Path, store: &StoreArgs, context: &Context<'_>) -> Outcome {
    let directory = context.store_directory(store)?;
    if !directory.is_dir() {
        return Err(Failure::new(Code::NotFound, format!("there is no store in {}", directory.display())));
    }
    let store = context.store(store)?;
    let target = context.environment.absolute(target);
    let task = context.ui.task("Moving", &directory.display().to_string());
    let mut waiting = |holder: &str| context.ui.story("Waiting", &format!("for {holder}"));
    store.move_to(&target, MOVE_TIMEOUT_SECS, &mut waiting, context.cancel)?;
    drop(task);
    context.ui.line(&target.display().to_string())?;
    context.ui.story("Moved", &format!("{} to {}", directory.display(), target.display()));
    Ok(Code::Success)
}

/// Where a content may still be.
enum Source {
    Package(Box<Package>),
    Store(Box<Store>),
    /// The files that are installed, and the store in it.
    Root(Box<Root>),
}

impl Source {
    fn read(&self, object: &Digest, context: &Context<'_>) -> Option<Vec<u8>> {
        match self {
            Source::Package(package) => package.read_object(object, context.cancel).ok().flatten(),
            Source::Store(store) => store.read(object).ok(),
            Source::Root(root) => {
                let own = root.store().and_then(|store| store.read(object).ok());
                own.or_else(|| root.content(object).ok().flatten())
            }
        }
    }
}

/// Opens what `--from` names: a package, a root, or a store.
fn source(path: &Path, context: &Context<'_>) -> Result<Source, Failure> {
    let whole = context.environment.absolute(path);
    if !whole.is_dir() {
        return Ok(Source::Package(Box::new(ccs::open(path, context)?)));
    }
    if whole.join("var/lib/conary").is_dir() {
        let arguments = RootArgs { root: whole, store: None };
        let options = changes::options(&arguments, Access::Read, context);
        return Ok(Source::Root(Box::new(Root::open(&arguments.root, &options)?)));
    }
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    Ok(Source::Store(Box::new(Store::open(&whole, &options)?)))
}

fn verify(repair: bool, from: &[PathBuf], store: &StoreArgs, as_json: bool, context: &Context<'_>) -> Outcome {
    let store = if repair { context.store(store)? } else { context.read_store(store)? };
    let bar = context.ui.bar("Verifying", &store.directory().display().to_string(), None);
    let done = AtomicU64::new(0);
    let events = |event: Event| {
        if let Event::Verified { bytes } = event {
            bar.position(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
        }
    };
    let sources = from.iter().map(|path| source(path, context)).collect::<Result<Vec<_>, _>>()?;
    let rescue = |object: &Digest| sources.iter().find_map(|source| source.read(object, context));
    let options = VerifyOptions { repair, rescue: &rescue, events: &events, ..VerifyOptions::default() };
    let mut waiting = |holder: &str| context.ui.story("Waiting", &format!("for {holder}"));
    let report = store.verify(&options, &mut waiting, context.cancel)?;
    drop(bar);
    if as_json {
        let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
        let lost: Vec<String> = report.lost.iter().map(ToString::to_string).collect();
        context.ui.json(&json!({
            "files": report.files, "bytes": report.bytes, "problems": problems,
            "repaired": report.repaired, "rescued": report.rescued, "lost": lost,
        }))?;
    } else {
        for problem in &report.problems {
            context.ui.line(&problem.to_string())?;
        }
    }
    let found = report.problems.len() as u64;
    let files = text::count(report.files, "file", "files");
    let problems = text::count(found, "problem", "problems");
    let summary = format!("{files}, {}: {problems}, {} repaired", text::size(report.bytes), report.repaired);
    context.ui.story("Verified", &summary);
    let is_whole = found == 0 || (repair && report.repaired >= found && report.lost.is_empty());
    Ok(if is_whole { Code::Success } else { Code::Damaged })
}
