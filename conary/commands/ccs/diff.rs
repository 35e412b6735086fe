// conary/commands/ccs/diff.rs
//! `conary ccs diff`: what differs between two packages and where.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use installer::show_path;
use serde_json::{Value, json};
use store::ccs::Package;
use store::{Entry, Node};

use super::{named, open};
use crate::cli::JsonArg;
use crate::commands::Context;
use crate::commands::show::manifest_json;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

/// The arguments of `conary ccs diff`.
#[derive(Debug, Args)]
#[command(after_long_help = super::EXAMPLES)]
pub struct Arguments {
    /// The one package file
    #[arg(value_name = "ONE.ccs")]
    one: PathBuf,
    /// The other
    #[arg(value_name = "OTHER.ccs")]
    other: PathBuf,
    #[command(flatten)]
    json: JsonArg,
}

/// One difference.
struct Difference {
    /// A field of the manifest, or a path with its component.
    subject: String,
    /// What of it.
    aspect: &'static str,
    one: String,
    other: String,
}

/// Compares manifests, then entries, then contents.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let (one, other) = (open(&arguments.one, context)?, open(&arguments.other, context)?);
    let mut found = Vec::new();
    manifests(&one, &other, &mut found)?;
    let (left, right) = (entries(&one), entries(&other));
    for (key, entry) in &left {
        match right.get(key) {
            None => found.push(difference(key, "entry", "there", "not there")),
            Some(counterpart) => compare(key, entry, counterpart, &mut found),
        }
    }
    for key in right.keys().filter(|key| !left.contains_key(*key)) {
        found.push(difference(key, "entry", "not there", "there"));
    }
    for (key, entry) in &left {
        let (Node::File { object, .. }, Some(Node::File { object: theirs, .. })) =
            (&entry.node, right.get(key).map(|entry| &entry.node))
        else {
            continue;
        };
        if object == theirs {
            continue;
        }
        let read = |package: &Package, object, file: &PathBuf| {
            package.read_object(object, context.cancel).map_err(|error| named(file, Failure::from(error)))
        };
        let mine = read(&one, object, &arguments.one)?.unwrap_or_default();
        let theirs = read(&other, theirs, &arguments.other)?.unwrap_or_default();
        let at = mine.iter().zip(&theirs).position(|(mine, theirs)| mine != theirs);
        let at = at.unwrap_or(mine.len().min(theirs.len()));
        let byte = |bytes: &[u8]| bytes.get(at).map_or("its end".to_owned(), |byte| format!("{byte:02x}"));
        found.push(Difference {
            subject: shown(key),
            aspect: "content",
            one: format!("{} bytes, {} at byte {at}", mine.len(), byte(&mine)),
            other: format!("{} bytes, {} at byte {at}", theirs.len(), byte(&theirs)),
        });
    }
    let same = found.is_empty();
    if arguments.json.json {
        let rows: Vec<Value> = found
            .iter()
            .map(|row| json!({ "subject": row.subject, "aspect": row.aspect, "one": row.one, "other": row.other }))
            .collect();
        context.ui.json(&json!({ "same": same, "differences": rows }))?;
    } else {
        for Difference { subject, aspect, one, other } in &found {
            context.ui.line(&format!("{subject}: {aspect}: {one} | {other}"))?;
        }
    }
    Ok(if same { Code::Success } else { Code::General })
}

/// Entries by path and component.
fn entries(package: &Package) -> BTreeMap<(&[u8], &str), &Entry> {
    let trees = package.trees().iter();
    trees
        .flat_map(|(component, tree)| {
            tree.entries().iter().map(move |entry| ((entry.path.as_slice(), component.as_str()), entry))
        })
        .collect()
}

fn shown((path, component): &(&[u8], &str)) -> String {
    format!("{} ({component})", show_path(path))
}

fn difference(key: &(&[u8], &str), aspect: &'static str, one: &str, other: &str) -> Difference {
    Difference { subject: shown(key), aspect, one: one.to_owned(), other: other.to_owned() }
}

/// Compares the fields of two manifests; ids of trees differ with their entries and are left out.
fn manifests(one: &Package, other: &Package, found: &mut Vec<Difference>) -> Result<(), Failure> {
    let read = |package: &Package| -> Result<Value, Failure> {
        let mut manifest = manifest_json(package.manifest())?;
        if let Some(components) = manifest["components"].as_object_mut() {
            for component in components.values_mut() {
                if let Some(component) = component.as_object_mut() {
                    component.remove("tree");
                }
            }
        }
        Ok(manifest)
    };
    let (one, other) = (read(one)?, read(other)?);
    let (Some(left), Some(right)) = (one.as_object(), other.as_object()) else { return Ok(()) };
    let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for key in keys.into_iter().filter(|key| left.get(*key) != right.get(*key)) {
        let text = |value: Option<&Value>| value.map_or("none".to_owned(), ToString::to_string);
        found.push(Difference {
            subject: "manifest".to_owned(),
            aspect: field(key),
            one: text(left.get(key)),
            other: text(right.get(key)),
        });
    }
    Ok(())
}

/// The fields of a manifest, by name.
fn field(name: &str) -> &'static str {
    const FIELDS: [&str; 18] = [
        "format",
        "name",
        "version",
        "arch",
        "flavor",
        "label",
        "summary",
        "description",
        "homepage",
        "license",
        "components",
        "requires",
        "recommends",
        "provides",
        "conflicts",
        "replaces",
        "spec",
        "suggests",
    ];
    FIELDS.into_iter().find(|field| *field == name).unwrap_or("another field")
}

/// Compares two entries at one place, all but the content of files.
fn compare(key: &(&[u8], &str), one: &Entry, other: &Entry, found: &mut Vec<Difference>) {
    let mut differ = |aspect, one: String, other: String| {
        if one != other {
            found.push(difference(key, aspect, &one, &other));
        }
    };
    differ("mode", format!("{:04o}", one.mode), format!("{:04o}", other.mode));
    differ("owner", format!("{}:{}", one.owner, one.group), format!("{}:{}", other.owner, other.group));
    let attributes = |entry: &Entry| {
        let pairs =
            entry.xattrs.iter().map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()));
        pairs.collect::<Vec<_>>().join(" ")
    };
    differ("attributes", attributes(one), attributes(other));
    let node = |entry: &Entry| match &entry.node {
        Node::Directory => "directory".to_owned(),
        Node::File { .. } => "file".to_owned(),
        Node::Hardlink { first } => format!("hard link of {}", show_path(first)),
        Node::Symlink { target } => format!("link to {}", target.escape_ascii()),
    };
    differ("kind", node(one), node(other));
}
