// kitchen/src/environment.rs
//! The closed environment of a build step: these variables, those of the recipe, and no others.

use std::collections::BTreeMap;

use recipes::{Policy, Recipe};

/// Where the output of a build is collected, as the steps see it.
pub const DESTDIR: &str = "/dest";
/// Where each further output with an `install` of its own has its directory, as the steps see it.
pub const OUTPUTS: &str = "/outputs";
/// The directory below which sources are unpacked, as the steps see it.
pub const BUILD: &str = "/build";
/// Where copies lie while they are stripped, as the tools see them.
pub const STRIP: &str = "/strip";
/// Where the step scripts lie, as the steps see it.
pub const STEPS: &str = "/steps";

/// Variables that every build has and that are part of the cook key, sorted by name.
///
/// `MAKEFLAGS` and `SOURCE_DATE_EPOCH` come on top: the first holds the number of jobs, which must not
/// change a key, and the second follows from the sources, whose content is in the key already.
#[must_use]
pub fn constant(recipe: &Recipe) -> BTreeMap<String, String> {
    let mut variables = fixed();
    for (name, value) in &recipe.build.environment {
        variables.insert(name.clone(), value.clone());
    }
    if recipe.build.policies.has(Policy::Lto) {
        for name in ["CFLAGS", "CXXFLAGS", "LDFLAGS"] {
            let flags = variables.entry(name.to_owned()).or_default();
            if !flags.is_empty() {
                flags.push(' ');
            }
            flags.push_str("-flto=auto");
        }
    }
    variables
}

/// Variables of a step whose recipe sets none, and has no sources.
#[must_use]
pub fn bare(jobs: u32) -> BTreeMap<String, String> {
    let mut variables = fixed();
    variables.insert("MAKEFLAGS".to_owned(), format!("-j{jobs}"));
    variables.insert("SOURCE_DATE_EPOCH".to_owned(), store::EPOCH_SECS.to_string());
    variables
}

/// What no recipe sets.
fn fixed() -> BTreeMap<String, String> {
    let fixed = [
        ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
        ("HOME", "/build"),
        ("TMPDIR", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("TERM", "dumb"),
        ("USER", "builder"),
        ("LOGNAME", "builder"),
        ("SHELL", "/bin/sh"),
        ("DESTDIR", DESTDIR),
    ];
    fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// All variables of a step but the time of its sources: [`constant`], and the jobs, which are not in the key.
#[must_use]
pub fn before_sources(recipe: &Recipe, jobs: u32) -> BTreeMap<String, String> {
    let mut variables = constant(recipe);
    variables.entry("MAKEFLAGS".to_owned()).or_insert_with(|| format!("-j{jobs}"));
    variables
}
