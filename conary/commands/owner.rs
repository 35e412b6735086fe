// conary/commands/owner.rs
//! `conary owner`: which trove a path belongs to.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use installer::show_path;
use serde_json::json;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::changes::{self, Access};
use crate::commands::{Context, files};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

const EXAMPLES: &str = "\
Paths are those of the root, with or without a slash in front; links in their directories are followed \
inside the root. A shared directory has several owners.

Examples:
  conary owner /usr/bin/hello --root /srv/root
  conary owner /usr/share/man --root /srv/root --json";

/// Say which package a path belongs to
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Paths inside the root
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints a line for each owner; ends with 10 if a path has none.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let root = changes::open(&arguments.root, Access::Read, context)?;
    let mut rows = Vec::new();
    let mut nobodys = Vec::new();
    for path in &arguments.paths {
        let bytes = path.as_os_str().as_bytes();
        let inside = bytes.iter().position(|byte| *byte != b'/').map_or(&b""[..], |start| &bytes[start..]);
        let owners = root.owner(inside)?;
        if owners.is_empty() {
            nobodys.push(show_path(inside));
        }
        for owner in owners {
            if arguments.json.json {
                let mut row = files::describe(&owner.file);
                row["trove"] = json!(owner.trove.to_string());
                rows.push(row);
            } else {
                context.ui.line(&format!(
                    "{}: {}:{}",
                    show_path(&owner.file.path),
                    owner.trove.name,
                    owner.file.component
                ))?;
            }
        }
    }
    if arguments.json.json {
        context.ui.json(&json!({ "owners": rows, "nobodys": nobodys }))?;
    }
    if nobodys.is_empty() {
        return Ok(Code::Success);
    }
    Err(Failure::new(Code::NotFound, format!("no package owns {}", nobodys.join(", "))))
}
