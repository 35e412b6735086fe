// conary/pkgbuild/version.rs
//! The version that `pkgver()` finds in the sources, asked in the sandbox once they are pinned, as makepkg asks it behind `prepare()`.

use std::path::Path;

use converters::pkgbuild::{self, Converted, Options, VERSION_FILE};
use kitchen::CookError;
use kitchen::fetch::{self, Pinned};
use kitchen::phases::PhaseError;
use recipes::Recipe;
use store::Store;

use super::{Reading, convert, directory_of, pin, pin_quietly};
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::Failure;

/// What pinning takes beyond the recipe.
pub struct Pinning<'a> {
    /// What the recipe is called in messages.
    pub shown: &'a str,
    /// Where its files lie.
    pub directory: &'a Path,
    pub store: &'a Store,
    pub fetch: &'a fetch::Options,
}

/// Pins what nothing pins; where the file has `pkgver()`, the version that it finds takes the place of the written one, in what was read
/// and converted too.
pub fn pinned(
    reading: &mut Reading,
    converted: &mut Converted,
    file: &Path,
    options: &Options,
    pinning: &Pinning<'_>,
    context: &Context<'_>,
) -> Result<Pinned, Failure> {
    let Pinning { shown, directory, store, fetch } = pinning;
    let pinned = pin(&converted.recipe, shown, directory, store, fetch, context)?;
    let Some(step) = pkgbuild::version_step(&reading.description, options) else { return Ok(pinned) };
    let recipe =
        recipes::parse(&pinned.text, shown).map_err(|diagnostics| crate::commands::diagnosed(&diagnostics, context))?;
    let version = ask(&recipe, &step, pinning, context)?;
    let written = reading.description.base.value("pkgver").unwrap_or_default().to_owned();
    if version == written {
        return Ok(pinned);
    }
    let refused = |what: String| Failure::new(Code::Recipe, format!("{}: {what}", file.display()));
    let text = pkgbuild::with_version(&reading.text, &version).map_err(refused)?;
    let by_hand = || format!("write pkgver={version} and pkgrel=1 into the file, and run it again");
    let again = pkgbuild::read(text.as_bytes(), directory_of(file), options)
        .map_err(|error| refused(format!("pkgver() gives {version}, and with that {error}")).hint(by_hand()))?;
    if again.base.value("pkgver") != Some(version.as_str()) {
        let what = format!("pkgver() gives {version}, and no line begins with `pkgver=` where that belongs");
        return Err(refused(what).hint(by_hand()));
    }
    context.ui.story("Found", &format!("version {version} by pkgver(), in place of {written}"));
    *reading = Reading { description: again, text, how: reading.how };
    *converted =
        convert(reading, file, options).map_err(|said| Failure { hint: said.hint, ..refused(said.message) })?;
    let second = pin_quietly(&converted.recipe, shown, directory, store, fetch, context)?;
    let pins = |pinned: &Pinned| pinned.sources.iter().map(|source| source.pin.clone()).collect::<Vec<_>>();
    if pins(&pinned) != pins(&second) {
        let what = "a source changed while its version was asked for".to_owned();
        return Err(refused(what).hint("run it again"));
    }
    Ok(second)
}

/// Asks for the version: sources are laid out with their history, `setup` runs, then the step.
fn ask(recipe: &Recipe, step: &str, pinning: &Pinning<'_>, context: &Context<'_>) -> Result<String, Failure> {
    let mut options = context.kitchen_options(pinning.fetch.clone());
    options.allow_missing = true;
    let Pinning { directory, store, .. } = pinning;
    let asked = kitchen::ask(recipe, directory, store, &options, context.cancel, &|_| {}, (step, VERSION_FILE));
    let bytes = asked.map_err(|error| {
        let tail = match &error {
            CookError::Phase(PhaseError::Failed { tail, .. }) => tail.clone(),
            _ => Vec::new(),
        };
        let cause = Failure::from(error);
        let notes = tail.into_iter().map(|line| format!("  | {line}")).collect();
        let message = format!("pkgver() of {} gives no version", recipe.name());
        let hint = "without `--pin` the version that the file says is taken".to_owned();
        let causes = [vec![cause.message], cause.causes].concat();
        Failure { message, causes, notes, hint: cause.hint.or(Some(hint)), ..Failure::new(cause.code, "") }
    })?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
}
