// conary/commands/why.rs
//! `conary why`: which inputs of a cook differ from those of the nearest earlier one.

use clap::Args;
use kitchen::why::{Difference, MissReason};
use serde_json::json;

use crate::cli::{GroundArgs, JsonArg, StoreArgs};
use crate::commands::{Context, load_with};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::lookup;
use crate::pkgbuild::ProfileArg;
use crate::ui::text;

const EXAMPLES: &str = "\
Compares what `conary cook NAME` would use now with the latest cook of that package in the store. \
Nothing is built, fetched or changed.

Examples:
  conary why hello
  conary why hello --json";

/// Say which inputs of a cook differ from the latest one
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// A recipe, the directory of one, or a name, found as `conary cook` does
    #[arg(value_name = "RECIPE|DIR|NAME", default_value = ".")]
    recipe: String,
    /// As if cooked with --no-check
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    ground: GroundArgs,
    #[command(flatten)]
    profile: ProfileArg,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints the comparison.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let file = lookup::find(&arguments.recipe, &context.environment.directory)?;
    // Asking makes no store; where there is one, what was read of local files is remembered in it.
    drop(context.read_store(&arguments.store)?);
    let store = context.store(&arguments.store)?;
    let setting = store.setting(super::settings::PROFILE)?;
    let (recipe, directory) = load_with(&file, &arguments.profile, None, setting, context)?;
    let mut options =
        context.kitchen_options(kitchen::fetch::Options { offline: true, ..kitchen::fetch::Options::default() });
    options.with_check = !arguments.no_check;
    options.foundation = arguments.ground.foundation();
    let title = format!("{}-{}", recipe.name(), recipe.version());
    let Some(plan) = kitchen::cook::plan_offline(&recipe, &directory, &store, &options)? else {
        let failure = Failure::new(Code::NotFound, format!("a source of {title} has never been in this store"));
        return Err(failure.hint(format!("run `conary fetch {}`", arguments.recipe)));
    };
    let reason = kitchen::cook::explain(&plan, &store, &options)?;
    if arguments.json.json {
        context.ui.json(&json!({
            "spec": plan.spec.to_string(), "key": plan.key.to_string(), "fresh": reason.is_none(), "reason": reason,
        }))?;
        return Ok(Code::Success);
    }
    match &reason {
        None => context.ui.line(&format!("{title} is fresh: no input differs"))?,
        Some(MissReason::Changed { differences }) => {
            let differ = text::count(differences.len() as u64, "input differs", "inputs differ");
            context.ui.line(&format!("{title} is stale: {differ} from the latest cook"))?;
            for difference in differences {
                print(difference, context)?;
            }
        }
        Some(reason) => context.ui.line(&format!("{title} is stale: {reason}"))?,
    }
    Ok(Code::Success)
}

/// Prints one difference, whole.
fn print(difference: &Difference, context: &Context<'_>) -> Result<(), Failure> {
    context.ui.line(&format!("\n{} {}", difference.kind.as_str(), difference.name))?;
    if !difference.inside.is_empty() {
        for line in &difference.inside {
            context.ui.line(&format!("  {line}"))?;
        }
        return Ok(());
    }
    for (word, value) in [("was", &difference.was), ("now", &difference.now)] {
        let shown = value.as_deref().unwrap_or("absent");
        for (number, line) in shown.lines().enumerate() {
            let word = if number == 0 { word } else { "" };
            context.ui.line(&format!("  {word:3}  {line}"))?;
        }
    }
    Ok(())
}
