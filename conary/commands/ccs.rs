// conary/commands/ccs.rs
//! `conary ccs`: package files: looked into, checked, compared, signed, taken apart and written.

mod diff;
mod extract;
pub mod remote;
mod sign;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use installer::show_path;
use rustix::fs::Mode;
use serde_json::{Value, json};
use store::ccs::{CcsError, Head, Package, Want};
use store::{Entry, Node, durable};

use crate::cli::JsonArg;
use crate::commands::Context;
use crate::commands::show::{manifest_json, manifest_rows};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
A package is an ordinary tar file: `tar -tf` lists its members too. These commands read what is inside, \
and check it against its digests. Where a package is only read, a URL will do: of a server that gives parts \
of files, only those that are needed travel.

Examples:
  conary ccs inspect dist/hello-1.0-1.x86_64.ccs
  conary ccs list dist/hello-1.0-1.x86_64.ccs
  conary ccs verify dist/hello-1.0-1.x86_64.ccs
  conary ccs diff old/hello-1.0-1.x86_64.ccs new/hello-1.0-1.x86_64.ccs
  conary ccs extract dist/hello-1.0-1.x86_64.ccs hello
  conary ccs keygen builder
  conary ccs sign --key builder.key dist/hello-1.0-1.x86_64.ccs
  conary ccs export hello --output mirror";

/// Look into package files, compare, sign and write them
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
    /// Say what differs between two packages and where; exits with 1 when something does
    Diff(diff::Arguments),
    /// Lay out the files of a package in a new directory
    Extract(extract::Arguments),
    /// Sign packages, in place
    Sign(sign::Arguments),
    /// Make a pair of keys for signing
    Keygen(sign::KeygenArguments),
    /// Write the package of a trove that a store has
    Export(sign::ExportArguments),
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
        Action::Diff(arguments) => diff::run(arguments, context),
        Action::Extract(arguments) => extract::run(arguments, context),
        Action::Sign(arguments) => sign::sign(arguments, context),
        Action::Keygen(arguments) => sign::keygen(arguments, context),
        Action::Export(arguments) => sign::export(arguments, context),
    }
}

/// Writes a package file, or replaces it, at once and durably.
pub fn put(
    path: &Path,
    context: &Context<'_>,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), CcsError>,
) -> Result<(), Failure> {
    let whole = context.environment.absolute(path);
    let cannot = |error: io::Error| {
        let failure = Failure::of(Code::System, &error, None);
        Failure { message: format!("cannot write {}", path.display()), causes: vec![error.to_string()], ..failure }
    };
    let name = whole.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::new(Code::Usage, format!("{} is no name of a file", path.display())))?;
    let directory = File::open(whole.parent().unwrap_or(Path::new("/"))).map_err(cannot)?;
    let mut refused = None;
    let placed = durable::place(&directory, name, Mode::from_raw_mode(0o644), |out| {
        fill(out).map_err(|error| {
            let told = io::Error::other(error.to_string());
            refused = Some(error);
            told
        })
    });
    match (placed, refused) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(error)) => Err(named(path, Failure::from(error))),
        (Err(error), None) => Err(cannot(error)),
    }
}

/// Opens a package file, or brings all of it from a URL.
pub fn open(file: &Path, context: &Context<'_>) -> Result<Package, Failure> {
    open_as(file, Want::All, context)
}

/// Opens a package file, or brings what is wanted of it from a URL.
fn open_as(file: &Path, want: Want<'_>, context: &Context<'_>) -> Result<Package, Failure> {
    if let Some(url) = remote::url(file) {
        return remote::bring(url, &remote::scratch(context)?, want, context);
    }
    let opened = File::open(context.environment.absolute(file)).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let failure = Failure::of(if missing { Code::NotFound } else { Code::System }, &error, None);
        Failure { message: format!("cannot open {}", file.display()), causes: vec![error.to_string()], ..failure }
    })?;
    Package::open(opened).map_err(|error| named(file, Failure::from(error)))
}

/// The same failure, with the file that it is about in front.
pub fn named(file: &Path, mut failure: Failure) -> Failure {
    failure.message = format!("{}: {}", file.display(), failure.message);
    failure
}

fn inspect(file: &Path, as_json: bool, context: &Context<'_>) -> Outcome {
    let package = match remote::url(file) {
        Some(url) => remote::head(url, context)?,
        None => open(file, context)?.head(),
    };
    let (content, stored) = (package.content_bytes, package.stored_bytes);
    if as_json {
        let mut document = manifest_json(&package.manifest)?;
        document["trove"] = json!(package.id.to_string());
        document["file_bytes"] = json!(package.size_bytes);
        document["content_bytes"] = json!(content);
        document["stored_bytes"] = json!(stored);
        document["signatures"] =
            signatures(&package).into_iter().map(|(key, valid)| json!({ "key": key, "valid": valid })).collect();
        context.ui.json(&document)?;
    } else {
        let mut rows = manifest_rows(&package.manifest);
        rows.push(vec!["trove".to_owned(), package.id.to_string()]);
        rows.push(vec!["payload".to_owned(), format!("{}, stored as {}", text::size(content), text::size(stored))]);
        for (key, valid) in signatures(&package) {
            rows.push(vec![if valid { "signed by" } else { "not signed by" }.to_owned(), key]);
        }
        context.ui.lines(&text::table(&rows))?;
    }
    Ok(Code::Success)
}

/// The keys that a package says it is signed by, and whether it is.
fn signatures(package: &Head) -> Vec<(String, bool)> {
    let id = package.id;
    package.signatures.iter().map(|signature| (signature.key.to_string(), signature.verify(&id))).collect()
}

fn list(file: &Path, as_json: bool, context: &Context<'_>) -> Outcome {
    let package = open_as(file, Want::Metadata, context)?;
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
    if let Some((key, _)) = signatures(&package.head()).into_iter().find(|(_, valid)| !valid) {
        let message = format!("the signature by {key} is not valid");
        return Err(named(file, Failure::new(Code::Damaged, message)).hint("do not use this package; get it again"));
    }
    let signed = match package.signatures().len() {
        0 => String::new(),
        number => format!(", {}", text::count(number as u64, "signature", "signatures")),
    };
    context.ui.story("Verified", &format!("{}: {}{signed}", file.display(), package.manifest().spec()));
    Ok(())
}
