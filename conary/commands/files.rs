// conary/commands/files.rs
//! `conary files`: the paths of one installed trove.

use clap::Args;
use installer::{FileRow, Kind, show_path};
use serde_json::{Value, json};

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::commands::install;
use crate::exit::Code;
use crate::failure::Outcome;
use crate::ui::text;

const EXAMPLES: &str = "\
Examples:
  conary files hello --root /srv/root
  conary files zlib:devel --root /srv/root
  conary files hello --root /srv/root --json";

/// List the files of an installed package
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// An installed package, or one component of it
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints a line for each path.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let root = changes::open(&arguments.root, Access::Read, context)?;
    let files = root.files(&install::spec(&arguments.name)?)?;
    if arguments.json.json {
        context.ui.json(&json!({ "files": files.iter().map(describe).collect::<Vec<_>>() }))?;
    } else {
        context.ui.lines(&text::lines(files.iter().map(|file| show_path(&file.path))))?;
    }
    Ok(Code::Success)
}

/// A path as JSON. Bytes that are not UTF-8 are escaped in `path`, and `path_hex` has them all.
pub fn describe(file: &FileRow) -> Value {
    let mut row = json!({
        "path": show_path(&file.path), "component": file.component, "kind": file.kind.as_str(),
        "mode": format!("{:04o}", file.applied_mode), "owner": file.owner, "group": file.group,
        "config": file.has(store::root_db::FLAG_CONFIG),
    });
    if std::str::from_utf8(&file.path).is_err() {
        row["path_hex"] = json!(file.path.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat());
    }
    match file.kind {
        Kind::File => {
            row["size_bytes"] = json!(file.size);
            row["content"] = json!(file.object.map(|object| object.to_string()));
        }
        Kind::Symlink => row["target"] = json!(file.target.as_deref().map(String::from_utf8_lossy)),
        Kind::Directory => {}
    }
    row
}
