// conary/commands/fetch.rs
//! `conary fetch`: the sources of recipes come into the store, and nothing is built.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use kitchen::Event as CookEvent;
use kitchen::fetch::{Content, Event, Fetched, How};
use recipes::Recipe;
use serde_json::json;
use store::Store;

use crate::cli::{JsonArg, SourceArgs, StoreArgs};
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::lookup;
use crate::pkgbuild::{PinArg, ProfileArg};
use crate::ui::live::Task;
use crate::ui::{Ui, text};

const EXAMPLES: &str = "\
The same as `conary cook --fetch-only`. What is in the store already is not fetched again.

Examples:
  conary fetch gnu-hello
  conary fetch zlib bzip2 --json";

/// Bring the sources of recipes into the store
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Recipes, directories of recipes, or names, found as `conary cook` does
    #[arg(value_name = "RECIPE|DIR|NAME")]
    recipes: Vec<String>,
    #[command(flatten)]
    profile: ProfileArg,
    #[command(flatten)]
    pin: PinArg,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Fetches for what the command line names.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let files = lookup::find_all(&arguments.recipes, &context.environment.directory)?;
    let recipes = super::cook::load_all(
        &files,
        &arguments.profile,
        arguments.pin.pin,
        &arguments.sources,
        &arguments.store,
        context,
    )?;
    fetch(&recipes, &arguments.sources, &arguments.store, arguments.json.json, context)
}

/// Fetches the sources of these recipes, in order.
pub fn fetch(
    recipes: &[(Recipe, PathBuf)],
    sources: &SourceArgs,
    store: &StoreArgs,
    as_json: bool,
    context: &Context<'_>,
) -> Outcome {
    let store = context.store(store)?;
    let options = context.kitchen_options(context.fetch_options(sources, &store)?);
    let mut all = Vec::new();
    for (recipe, directory) in recipes {
        for source in fetch_one(recipe, directory, &store, &options, context)? {
            let (Content::File(content) | Content::Tree(content)) = source.content;
            if !as_json {
                context.ui.line(&format!("{content} {}", source.file_name))?;
            }
            all.push(json!({
                "recipe": recipe.name().to_string(), "name": source.file_name, "content": content.to_string(),
                "size_bytes": source.size_bytes, "origin": source.origin,
            }));
        }
    }
    if as_json {
        context.ui.json(&json!({ "sources": all }))?;
    }
    Ok(Code::Success)
}

/// Fetches the sources of one recipe and tells the story.
pub fn fetch_one(
    recipe: &Recipe,
    directory: &Path,
    store: &Store,
    options: &kitchen::Options,
    context: &Context<'_>,
) -> Result<Vec<Fetched>, Failure> {
    let story = Story::new(context.ui);
    let told = |event: CookEvent<'_>| {
        if let CookEvent::Fetch(event) = event {
            story.tell(event);
        }
    };
    let fetched = kitchen::cook::fetch_only(recipe, directory, store, options, context.cancel, &told);
    story.end();
    Ok(fetched?)
}

/// Tells what comes in.
pub struct Story<'a> {
    ui: &'a Ui,
    bar: Mutex<Option<Task>>,
}

impl<'a> Story<'a> {
    /// The story of one recipe's sources.
    pub fn new(ui: &'a Ui) -> Self {
        Self { ui, bar: Mutex::default() }
    }

    /// Tells one event.
    pub fn tell(&self, event: Event) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { file, url } => {
                *bar = None;
                self.ui.detail("Asking", &format!("{url} for {file}"));
            }
            Event::Progress { file, done_bytes, total_bytes } => {
                bar.get_or_insert_with(|| self.ui.bar("Fetching", &file, total_bytes)).position(done_bytes);
            }
            Event::Resumed { file, at_bytes } => {
                self.ui.story("Resumed", &format!("{file} at {}", text::size(at_bytes)));
            }
            Event::Retrying { file, url, reason, delay } => {
                *bar = None;
                self.ui.story("Retrying", &format!("{file} from {url} in {}: {reason}", text::duration(delay)));
            }
            Event::PlaceFailed { file, url, reason } => {
                *bar = None;
                self.ui.detail("Passed", &format!("{url} for {file}: {reason}"));
            }
            Event::Unchecked { file, url, known_origin } => self.ui.warning(&format!(
                "{file}: nobody could look at {url}; the bytes that its checksum names came from {known_origin}"
            )),
            Event::Verified { file, key } => self.ui.story("Verified", &format!("{file}, signed with {key}")),
            Event::Fetched { file, origin, size_bytes, how } => {
                *bar = None;
                if how != How::Stored {
                    self.ui.story("Fetched", &format!("{file} ({}) from {origin}", text::size(size_bytes)));
                }
            }
            other => self.ui.detail("Noted", &format!("{other:?}")),
        }
    }

    /// Takes what goes on at this moment off the screen.
    pub fn end(&self) {
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
