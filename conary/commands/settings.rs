// conary/commands/settings.rs
//! `conary settings`: the settings that a store keeps. There are no configuration files.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::{JsonArg, StoreArgs};
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::pkgbuild;
use crate::ui::text;

/// A directory of source archives that every fetch looks into.
pub const DISTFILES: &str = "distfiles";

/// The flags and options of PKGBUILDs.
pub const PROFILE: &str = "profile";

/// Every setting and what it is for.
const SETTINGS: [(&str, &str); 2] = [
    (DISTFILES, "a directory of source archives that every fetch looks into, whatever their names"),
    (PROFILE, "the flags and options that the makepkg of a PKGBUILD's packager has: arch, debian or plain"),
];

const EXAMPLES: &str = "\
Settings:
  distfiles  a directory of source archives that every fetch looks into, whatever their names
  profile    the flags and options that the makepkg of a PKGBUILD's packager has: arch, debian or plain

Examples:
  conary settings set distfiles /srv/distfiles
  conary settings get distfiles
  conary settings list
  conary settings unset distfiles";

/// Look at and change the settings of a store
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
enum Action {
    /// List the settings that are set
    #[command(after_long_help = EXAMPLES)]
    List {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Print one setting
    #[command(after_long_help = EXAMPLES)]
    Get {
        /// Its name
        name: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Set one
    #[command(after_long_help = EXAMPLES)]
    Set {
        /// Its name
        name: String,
        /// Its value
        value: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Return one to its default
    #[command(after_long_help = EXAMPLES)]
    Unset {
        /// Its name
        name: String,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Lists, prints or changes settings.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::List { store, json } => {
            let settings = context.read_store(store)?.settings()?;
            if json.json {
                let map: serde_json::Map<_, _> =
                    settings.into_iter().map(|(name, value)| (name, value.into())).collect();
                context.ui.json(&json!({ "settings": map }))?;
            } else {
                let rows: Vec<_> = settings.into_iter().map(|(name, value)| vec![name, value]).collect();
                context.ui.lines(&text::table(&rows))?;
            }
        }
        Action::Get { name, store } => {
            known(name)?;
            let Some(value) = context.read_store(store)?.setting(name)? else {
                return Err(Failure::new(Code::NotFound, format!("{name} is not set")));
            };
            context.ui.line(&value)?;
        }
        Action::Set { name, value, store } => {
            known(name)?;
            let value = if name == PROFILE {
                pkgbuild::known(value)?.name.to_owned()
            } else {
                let value = context.environment.absolute(Path::new(value));
                if !value.is_dir() {
                    return Err(Failure::new(Code::NotFound, format!("{} is not a directory", value.display())));
                }
                value.to_string_lossy().into_owned()
            };
            context.store(store)?.set_setting(name, Some(&value))?;
            context.ui.story("Set", &format!("{name} to {value}"));
        }
        Action::Unset { name, store } => {
            known(name)?;
            context.store(store)?.set_setting(name, None)?;
            context.ui.story("Unset", name);
        }
    }
    Ok(Code::Success)
}

/// Refuses a setting that does nothing.
fn known(name: &str) -> Result<(), Failure> {
    if SETTINGS.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    let names: Vec<&str> = SETTINGS.iter().map(|(known, _)| *known).collect();
    Err(Failure::new(Code::Usage, format!("there is no setting {name}"))
        .hint(format!("there is: {}", names.join(", "))))
}
