// conary/commands/cook.rs
//! `conary cook`: recipes become packages.

mod shell;
mod story;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use kitchen::phases::PhaseError;
use kitchen::wanted::{self, Holder};
use kitchen::{Artifact, CookError, Package};
use recipes::Recipe;
use sandbox::Level;
use serde::Serialize;
use store::Store;

use crate::cli::{GroundArgs, JsonArg, SourceArgs, StoreArgs};
use crate::commands::{Context, load, load_with};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::lookup;
use crate::pkgbuild::{self, PinArg, ProfileArg};
use crate::ui::text;
use story::Story;

const EXAMPLES: &str = "\
Recipes are found in this order: a file; a directory with a recipe.toml or a PKGBUILD; a name, looked up as \
recipes/NAME and recipes/cookbook/NAME here and in the directories above. Without any, the \
recipe of the current directory is cooked. Of several, \
those that another one needs to build come first. A PKGBUILD is cooked as `conary convert pkgbuild` converts it.

Examples:
  conary cook recipes/cookbook/hello
  conary cook zlib bzip2 --jobs 4 --output /srv/packages
  conary cook --fetch-only gnu-hello
  conary cook gnu-hello --offline --distfiles /srv/distfiles
  conary cook hello --hermetic --seed debian
  conary cook gnu-hello --shell
  conary cook greeter/PKGBUILD --pin --profile debian";

/// Build packages from recipes, in isolation
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Arguments {
    /// Recipes, directories of recipes, or names
    #[arg(value_name = "RECIPE|DIR|NAME")]
    recipes: Vec<String>,
    /// Bring the sources into the store, and stop there
    #[arg(long, conflicts_with_all = ["force", "keep_failed", "no_check", "no_isolation", "jobs", "cpus"])]
    fetch_only: bool,
    /// Fetch, unpack and patch, then open a shell where the first step would begin; nothing is built or recorded
    #[arg(long, conflicts_with_all = ["fetch_only", "no_isolation", "force", "keep_failed", "no_check", "json"])]
    shell: bool,
    /// UNSAFE: run the steps on the host, with all its files and its network, as the user who cooks
    #[arg(long, conflicts_with = "hermetic")]
    no_isolation: bool,
    /// The level of isolation below which nothing is built, and no earlier result taken [default: restricted]
    #[arg(long, value_name = "LEVEL", conflicts_with = "no_isolation")]
    require_isolation: Option<Required>,
    #[command(flatten)]
    ground: GroundArgs,
    /// Where the packages go
    #[arg(long, value_name = "DIR", default_value = "dist")]
    output: PathBuf,
    /// Parallel jobs of a build [default: the number of processors]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroU32>,
    /// Processors that a build is held to and told of [default: the machine's]
    #[arg(long, value_name = "N")]
    cpus: Option<NonZeroU32>,
    /// Leave the tree of a failed build in place, and say where
    #[arg(long)]
    keep_failed: bool,
    /// Cook even if the result is there
    #[arg(long)]
    force: bool,
    /// Skip the step `check`; this is part of the key
    #[arg(long)]
    no_check: bool,
    /// Go on where neither the store nor the host is known to have what a recipe needs: a package of this host may have it under another
    /// name
    #[arg(long)]
    nodeps: bool,
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

/// One line of `conary cook --json`.
#[derive(Debug, Serialize)]
struct Cooked {
    name: String,
    version: String,
    spec: String,
    trove: String,
    key: String,
    package: PathBuf,
    log: Option<PathBuf>,
    fresh: bool,
}

impl Cooked {
    fn of(artifact: &Artifact, package: &Package) -> Self {
        Self {
            name: package.spec.name.to_string(),
            version: package.spec.version.as_ref().map(ToString::to_string).unwrap_or_default(),
            spec: package.spec.to_string(),
            trove: package.trove.to_string(),
            key: artifact.key.to_string(),
            package: package.path.clone(),
            log: artifact.log.clone(),
            fresh: artifact.fresh,
        }
    }
}

/// What `conary convert pkgbuild --cook` says of its cook.
pub struct Converted {
    /// The directory of the recipe that was written, or the PKGBUILD.
    pub recipe: String,
    /// Where the packages go.
    pub dist: PathBuf,
    pub nodeps: bool,
    pub profile: ProfileArg,
    pub pin: PinArg,
    pub sources: SourceArgs,
    pub store: StoreArgs,
}

/// Levels that can be required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Required {
    /// Namespaces, a root of its own, everything
    Full,
    /// Where the host gives no namespaces: no network, no home, nothing written but what is the build's
    Restricted,
}

impl From<Converted> for Arguments {
    fn from(converted: Converted) -> Self {
        Self {
            recipes: vec![converted.recipe],
            fetch_only: false,
            shell: false,
            no_isolation: false,
            require_isolation: None,
            ground: GroundArgs::default(),
            output: converted.dist,
            jobs: None,
            cpus: None,
            keep_failed: false,
            force: false,
            no_check: false,
            nodeps: converted.nodeps,
            profile: converted.profile,
            pin: converted.pin,
            sources: converted.sources,
            store: converted.store,
            json: JsonArg { json: false },
        }
    }
}

/// Cooks what the command line names, what another of them needs first; the first that fails ends it.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let files = lookup::find_all(&arguments.recipes, &context.environment.directory)?;
    let recipes =
        load_all(&files, &arguments.profile, arguments.pin.pin, &arguments.sources, &arguments.store, context)?;
    if arguments.fetch_only {
        return super::fetch::fetch(&recipes, &arguments.sources, &arguments.store, arguments.json.json, context);
    }
    let store = context.store(&arguments.store)?;
    let options = options(arguments, &store, context)?;
    if arguments.shell {
        return shell::run(&recipes, &store, &options, context);
    }
    if arguments.no_isolation {
        context.ui.warning("UNSAFE: without isolation the steps can read and write everything that you can");
    }
    let mut cooked = Vec::new();
    let all: Vec<&Recipe> = recipes.iter().map(|(recipe, _)| recipe).collect();
    for position in kitchen::order::of(&all)? {
        let (recipe, directory) = &recipes[position];
        let artifact = cook(recipe, directory, &store, &options, context)?;
        for package in &artifact.packages {
            if arguments.json.json {
                cooked.push(Cooked::of(&artifact, package));
            } else {
                context.ui.line(&package.spec.to_string())?;
            }
        }
    }
    if arguments.json.json {
        context.ui.json(&serde_json::json!({ "cooked": cooked }))?;
    }
    Ok(Code::Success)
}

/// Reads all recipes, PKGBUILDs among them with what the store and the command line say about those.
pub fn load_all(
    files: &[PathBuf],
    profile: &ProfileArg,
    pin: bool,
    sources: &SourceArgs,
    store: &StoreArgs,
    context: &Context<'_>,
) -> Result<Vec<(Recipe, PathBuf)>, Failure> {
    if !files.iter().any(|file| file.file_name().is_some_and(|name| name == pkgbuild::FILE)) {
        return files.iter().map(|file| load(file, context)).collect();
    }
    let store = context.store(store)?;
    let setting = store.setting(super::settings::PROFILE)?;
    let options = context.fetch_options(sources, &store)?;
    let pinning = pin.then_some((&store, &options));
    files.iter().map(|file| load_with(file, profile, pinning, setting.clone(), context)).collect()
}

/// The kitchen's options of a command line.
fn options(arguments: &Arguments, store: &Store, context: &Context<'_>) -> Result<kitchen::Options, Failure> {
    let mut options = context.kitchen_options(context.fetch_options(&arguments.sources, store)?);
    options.output = context.environment.absolute(&arguments.output);
    options.jobs = arguments.jobs;
    options.cpus = arguments.cpus;
    options.with_check = !arguments.no_check;
    (options.level, options.least) = match arguments.require_isolation {
        _ if arguments.no_isolation => (Level::None, Level::None),
        Some(Required::Full) => (Level::Full, Level::Full),
        Some(Required::Restricted) | None => (Level::Full, Level::Restricted),
    };
    options.foundation = arguments.ground.foundation();
    options.force = arguments.force;
    options.keep_failed = arguments.keep_failed;
    options.allow_missing = arguments.nodeps;
    Ok(options)
}

/// Cooks one recipe and tells the story.
fn cook(
    recipe: &Recipe,
    directory: &Path,
    store: &Store,
    options: &kitchen::Options,
    context: &Context<'_>,
) -> Result<Artifact, Failure> {
    let started = Instant::now();
    let story = Story::new(context);
    let result = kitchen::cook(recipe, directory, store, options, context.cancel, &|event| story.tell(event));
    story.end();
    let artifact = result.map_err(|error| failed(recipe, error, store, context))?;
    if !artifact.fresh {
        let spent = text::duration(started.elapsed());
        let title = story::title(&artifact.spec);
        context.ui.story("Cooked", &format!("{title} in {spent}, log: conary log {}", artifact.spec.name));
    }
    Ok(artifact)
}

/// What a failed cook says: of a failed step its last lines first, then what failed, where the log is, and advice.
fn failed(recipe: &Recipe, error: CookError, store: &Store, context: &Context<'_>) -> Failure {
    let CookError::Phase(PhaseError::Failed { tail, wanted, log, .. }) = &error else {
        return Failure::from(error);
    };
    if !context.ui.is_verbose() {
        let lines = text::lines(tail.iter().map(|line| format!("  | {line}")));
        context.ui.quote(lines.as_bytes());
    }
    let log = format!("the whole log: conary log {} ({})", recipe.name(), log.display());
    let wanted = wanted.clone();
    // A store that cannot be searched is no news beside the failure itself.
    let holders = wanted::holders(store, &wanted).unwrap_or_default();
    let mut failure = Failure::from(error);
    failure.message = format!("{}: {}", recipe.name(), failure.message);
    failure.notes.push(log);
    failure.notes.extend(wanted.iter().map(|wanted| format!("it wanted {wanted}, and did not find it")));
    for (wanted, holder, path) in holders {
        let advice = match &holder {
            Holder::Trove(spec) => format!(": `{}` in `makedepends` brings it in", spec.name),
            Holder::Seed(_) => String::new(),
        };
        failure.notes.push(format!("{holder} has {wanted} (/{path}){advice}"));
    }
    failure
}
