// conary/commands/ccs.rs
//! `conary ccs`: a look into package files, without a store or a root.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use installer::show_path;
use serde_json::{Value, json};
use store::ccs::Package;
use store::{Entry, Node};

use crate::cli::JsonArg;
use crate::commands::Context;
use crate::commands::show::{manifest_json, manifest_rows};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
A package is an ordinary tar file: `tar -tf` lists its members too. These commands read what is inside,
and check it against its digests.

Examples:
  conary ccs inspect dist/hello-1.0-1.x86_64.ccs
  conary ccs list dist/hello-1.0-1.x86_64.ccs
  conary ccs verify dist/hello-1.0-1.x86_64.ccs";

/// The arguments of `conary ccs`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do with a package file.
#[derive(Debug, Subcommand)]
enum Action {
    /// Print what a package says of itself
    #[command(after_long_help = EXAMPLES)]
    Inspect {
        /// The package file
        #[arg(value_name = "FILE.ccs")]
        file: PathBuf,
        #[command(flatten)]
        json: JsonArg,
    },
    /// List the entries of a package
    #[command(after_long_help = EXAMPLES)]
    List {
        /// The package file
        #[arg(value_name = "FILE.ccs")]
        file: PathBuf,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Check every byte of packages against its digest
    #[command(after_long_help = EXAMPLES)]
    Verify {
        /// The package files
        #[arg(value_name = "FILE.ccs", required = true)]
        files: Vec<PathBuf>,
    },
}

/// Looks into packages.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    match &arguments.action {
        Action::Inspect { file, json } => inspect(file, json.json, context),
        Action::List { file, json } => list(file, json.json, context),
        Action::Verify { files } => {
            for file in files {
                verify(file, context)?;
            }
            Ok(Code::Success)
        }
    }
}

/// Opens a package file.
fn open(file: &Path, context: &Context<'_>) -> Result<Package, Failure> {
    let opened = File::open(context.environment.absolute(file)).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let failure = Failure::of(if missing { Code::NotFound } else { Code::System }, &error, None);
        Failure { message: format!("cannot open {}", file.display()), causes: vec![error.to_string()], ..failure }
    })?;
    Package::open(opened).map_err(|error| named(file, Failure::from(error)))
}

/// The same failure, with the file that it is about in front.
fn named(file: &Path, mut failure: Failure) -> Failure {
    failure.message = format!("{}: {}", file.display(), failure.message);
    failure
}

fn inspect(file: &Path, as_json: bool, context: &Context<'_>) -> Outcome {
    let package = open(file, context)?;
    let (content, stored) = package.payload_bytes();
    if as_json {
        let mut document = manifest_json(package.manifest())?;
        document["trove"] = json!(package.id().to_string());
        document["content_bytes"] = json!(content);
        document["stored_bytes"] = json!(stored);
        context.ui.json(&document)?;
    } else {
        let mut rows = manifest_rows(package.manifest());
        rows.push(vec!["trove".to_owned(), package.id().to_string()]);
        rows.push(vec!["payload".to_owned(), format!("{}, stored as {}", text::size(content), text::size(stored))]);
        context.ui.lines(&text::table(&rows))?;
    }
    Ok(Code::Success)
}

fn list(file: &Path, as_json: bool, context: &Context<'_>) -> Outcome {
    let package = open(file, context)?;
    let mut entries: Vec<(&str, &Entry)> = package
        .trees()
        .iter()
        .flat_map(|(component, tree)| tree.entries().iter().map(move |entry| (component.as_str(), entry)))
        .collect();
    entries.sort_by(|(_, one), (_, other)| one.path.cmp(&other.path));
    if as_json {
        let rows: Vec<Value> = entries.iter().map(|(component, entry)| describe(component, entry)).collect();
        context.ui.json(&json!({ "entries": rows }))?;
    } else {
        let rows: Vec<_> = entries.iter().map(|(component, entry)| row(component, entry)).collect();
        context.ui.lines(&text::table(&rows))?;
    }
    Ok(Code::Success)
}

/// An entry as a line: mode, owner, size, component, path.
fn row(component: &str, entry: &Entry) -> Vec<String> {
    let path = show_path(&entry.path);
    let (kind, size, path) = match &entry.node {
        Node::Directory => ('d', String::new(), format!("{path}/")),
        Node::File { size, .. } => ('-', size.to_string(), path),
        Node::Hardlink { first } => ('h', String::new(), format!("{path} = {}", show_path(first))),
        Node::Symlink { target } => ('l', String::new(), format!("{path} -> {}", String::from_utf8_lossy(target))),
    };
    vec![
        format!("{kind}{:04o}", entry.mode),
        format!("{}:{}", entry.owner, entry.group),
        size,
        component.to_owned(),
        path,
    ]
}

/// An entry as JSON.
fn describe(component: &str, entry: &Entry) -> Value {
    let mut row = json!({
        "path": show_path(&entry.path), "component": component, "mode": format!("{:04o}", entry.mode),
        "owner": entry.owner, "group": entry.group,
    });
    match &entry.node {
        Node::Directory => row["kind"] = json!("directory"),
        Node::File { object, size } => {
            row["kind"] = json!("file");
            row["content"] = json!(object.to_string());
            row["size_bytes"] = json!(size);
        }
        Node::Hardlink { first } => {
            row["kind"] = json!("hardlink");
            row["first"] = json!(show_path(first));
        }
        Node::Symlink { target } => {
            row["kind"] = json!("symlink");
            row["target"] = json!(String::from_utf8_lossy(target));
        }
    }
    row
}

fn verify(file: &Path, context: &Context<'_>) -> Result<(), Failure> {
    let package = open(file, context)?;
    let (content, _) = package.payload_bytes();
    let bar = context.ui.bar("Verifying", &file.display().to_string(), Some(content));
    let progress = |done: u64, _total: u64| bar.position(done);
    package.verify(context.cancel, &progress).map_err(|error| named(file, Failure::from(error)))?;
    drop(bar);
    context.ui.story("Verified", &format!("{}: {}", file.display(), package.manifest().spec()));
    Ok(())
}
