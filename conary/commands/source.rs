// conary/commands/source.rs
//! `conary source`: sources by hand: add a file, verify what a recipe uses, pin what has no checksum.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kitchen::fetch::{self, Content, Fetched};
use recipes::{Algorithm, Digest};
use serde_json::json;
use store::{Hasher, Node, Store};

use crate::cli::{JsonArg, SourceArgs, StoreArgs};
use crate::commands::{Context, fetch as fetching, load};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::lookup;
use crate::pkgbuild;
use crate::ui::text;

const EXAMPLES: &str = "\
Sources are recognised by their digests: a file that was added serves every recipe that names its \
checksum, whatever its URL.

Examples:
  conary source add ~/Downloads/hello-2.12.1.tar.gz
  conary source verify gnu-hello
  conary source verify gnu-hello --refetch
  conary source pin recipes/mine/recipe.toml";

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// Add, verify and pin sources
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with sources.
#[derive(Debug, Subcommand)]
enum Action {
    /// Put files into the store, for any recipe that names their checksum
    #[command(after_long_help = EXAMPLES)]
    Add {
        /// The files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Check that the store has what recipes name, byte for byte
    #[command(after_long_help = EXAMPLES)]
    Verify {
        /// Recipes, directories of recipes, or names, found as `conary cook` does
        #[arg(value_name = "RECIPE|DIR|NAME")]
        recipes: Vec<String>,
        /// Fetch everything again from where the recipe says, and compare
        #[arg(long)]
        refetch: bool,
        #[command(flatten)]
        sources: SourceArgs,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Fetch sources that have no checksum, show where they came from, and write their SHA-256 into the recipe
    #[command(after_long_help = EXAMPLES)]
    Pin {
        /// A recipe, the directory of one, or a name
        #[arg(value_name = "RECIPE|DIR|NAME")]
        recipe: String,
        #[command(flatten)]
        sources: SourceArgs,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Adds, verifies or pins.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::Add { files, store, json } => add(files, store, json.json, context),
        Action::Verify { recipes, refetch, sources, store } => verify(recipes, *refetch, sources, store, context),
        Action::Pin { recipe, sources, store } => pin(recipe, sources, store, context),
    }
}

fn add(files: &[PathBuf], store: &StoreArgs, as_json: bool, context: &Context<'_>) -> Outcome {
    let store = context.store(store)?;
    let mut rows = Vec::new();
    for file in files {
        let story = fetching::Story::new(context.ui);
        let path = context.environment.absolute(file);
        let added = fetch::add(&path, &store, context.cancel, &|event| story.tell(event))?;
        story.end();
        context.ui.story("Added", &format!("{} ({})", added.file_name, text::size(added.size_bytes)));
        let sha256 = added.digests.iter().find(|digest| digest.algorithm() == Algorithm::Sha256);
        if !as_json {
            context.ui.line(&format!("{} {}", sha256.unwrap_or(&added.object), added.file_name))?;
        }
        let digests: Vec<String> = added.digests.iter().map(ToString::to_string).collect();
        rows.push(json!({
            "name": added.file_name, "content": added.object.to_string(),
            "size_bytes": added.size_bytes, "digests": digests,
        }));
    }
    if as_json {
        context.ui.json(&json!({ "added": rows }))?;
    }
    Ok(Code::Success)
}

fn verify(words: &[String], refetch: bool, sources: &SourceArgs, store: &StoreArgs, context: &Context<'_>) -> Outcome {
    let files = lookup::find_all(words, &context.environment.directory)?;
    let recipes = files.iter().map(|file| load(file, context)).collect::<Result<Vec<_>, _>>()?;
    let store = context.store(store)?;
    let mut how = context.fetch_options(sources, &store)?;
    how.refetch = refetch;
    let options = context.kitchen_options(how);
    for (recipe, directory) in &recipes {
        for source in fetching::fetch_one(recipe, directory, &store, &options, context)? {
            let task = context.ui.task("Verifying", &source.file_name);
            check(&source, &store)?;
            drop(task);
            context.ui.story("Verified", &format!("{} from {}", source.file_name, source.origin));
        }
    }
    Ok(Code::Success)
}

/// Hashes what the store has of a source.
fn check(source: &Fetched, store: &Store) -> Result<(), Failure> {
    match source.content {
        Content::File(object) => check_object(&object, &source.file_name, store),
        Content::Tree(tree) => {
            for entry in store.tree(&tree)?.entries() {
                if let Node::File { object, .. } = &entry.node {
                    check_object(object, &String::from_utf8_lossy(&entry.path), store)?;
                }
            }
            Ok(())
        }
    }
}

fn check_object(object: &Digest, name: &str, store: &Store) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| Failure::of(Code::Damaged, &error, None);
    let mut file = store.open_object(object)?;
    let mut hasher = Hasher::new(object.algorithm());
    let mut piece = vec![0; PIECE];
    loop {
        let length = file.read(&mut piece).map_err(unreadable)?;
        if length == 0 {
            break;
        }
        hasher.update(&piece[..length]);
    }
    if hasher.finish() == *object {
        return Ok(());
    }
    let failure = Failure::new(Code::Damaged, format!("the store's copy of {name} is damaged"));
    Err(failure.hint("run `conary store verify --repair`, then fetch it again"))
}

fn pin(word: &str, sources: &SourceArgs, store: &StoreArgs, context: &Context<'_>) -> Outcome {
    let file = lookup::find(word, &context.environment.directory)?;
    let directory = file.parent().unwrap_or(Path::new("/"));
    let shown = super::shown(&file, context).display().to_string();
    if file.file_name().is_some_and(|name| name == pkgbuild::FILE) {
        let failure = Failure::new(Code::Usage, format!("{shown} is no recipe, and is left as it is"));
        return Err(failure.hint("make a recipe of it with `conary convert pkgbuild PKGBUILD -o DIR --pin`"));
    }
    let unusable = |error: std::io::Error| {
        let failure = Failure::of(Code::System, &error, None);
        Failure { message: format!("cannot use {shown}"), causes: vec![error.to_string()], ..failure }
    };
    let before = fs::read_to_string(&file).map_err(unusable)?;
    let store = context.store(store)?;
    let options = context.fetch_options(sources, &store)?;
    let pinned = pkgbuild::pin(&before, &shown, directory, &store, &options, context)?;
    for source in &pinned.sources {
        context.ui.line(&format!("{} {}", source.pin, source.url))?;
    }
    if pinned.sources.is_empty() {
        context.ui.story("Unchanged", "every source is pinned");
    } else {
        fs::write(&file, &pinned.text).map_err(unusable)?;
        context.ui.story("Written", &shown);
    }
    Ok(Code::Success)
}
