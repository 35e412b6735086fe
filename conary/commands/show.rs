// conary/commands/show.rs
//! `conary show`: everything about one installed trove.

use clap::Args;
use serde_json::json;
use store::Manifest;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::commands::install;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
Examples:
  conary show hello --root /srv/root
  conary show hello --root /srv/root --json";

/// Show all about one installed package
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// An installed package
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints it.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let trove = changes::open(&arguments.root, Access::Read, context)?.show(&install::spec(&arguments.name)?)?;
    if arguments.json.json {
        let mut document = manifest_json(&trove.manifest)?;
        document["trove"] = json!(trove.digest.to_string());
        document["installed"] = json!(trove.components);
        document["reason"] = json!(trove.reason.as_str());
        document["changeset"] = json!(trove.changeset);
        context.ui.json(&document)?;
    } else {
        let mut rows = manifest_rows(&trove.manifest);
        rows.push(vec!["trove".to_owned(), trove.digest.to_string()]);
        rows.push(vec!["installed".to_owned(), trove.components.join(" ")]);
        rows.push(vec!["reason".to_owned(), trove.reason.as_str().to_owned()]);
        rows.push(vec!["changeset".to_owned(), trove.changeset.to_string()]);
        context.ui.lines(&text::table(&rows))?;
    }
    Ok(Code::Success)
}

/// A manifest as JSON: its own form, with the version as text too.
pub fn manifest_json(manifest: &Manifest) -> Result<serde_json::Value, Failure> {
    let mut document = serde_json::to_value(manifest).map_err(|error| Failure::of(Code::General, &error, None))?;
    document["spec"] = json!(manifest.spec().to_string());
    Ok(document)
}

/// A manifest as rows of a table: what it has nothing to say about is left out.
pub fn manifest_rows(manifest: &Manifest) -> Vec<Vec<String>> {
    let mut rows = vec![
        vec!["name".to_owned(), manifest.name.to_string()],
        vec!["version".to_owned(), manifest.version.to_string()],
        vec!["architecture".to_owned(), manifest.arch.clone()],
    ];
    let texts = [
        ("summary", &manifest.summary),
        ("description", &manifest.description),
        ("homepage", &manifest.homepage),
        ("licence", &manifest.license),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            rows.push(vec![name.to_owned(), value.replace('\n', " ")]);
        }
    }
    if !manifest.groups.is_empty() {
        rows.push(vec!["groups".to_owned(), manifest.groups.join(" ")]);
    }
    for (name, component) in &manifest.components {
        let files = text::count(component.files, "file", "files");
        rows.push(vec![format!("component {name}"), format!("{files}, {}", text::size(component.size_bytes))]);
    }
    let components = || manifest.components.values();
    let lists = [
        ("requires", manifest.requires.iter().chain(components().flat_map(|part| &part.requires)).collect::<Vec<_>>()),
        ("recommends", manifest.recommends.iter().collect()),
        ("suggests", manifest.suggests.iter().collect()),
        ("provides", manifest.provides.iter().chain(components().flat_map(|part| &part.provides)).collect()),
        ("conflicts", manifest.conflicts.iter().collect()),
        ("replaces", manifest.replaces.iter().collect()),
    ];
    for (name, values) in lists {
        for (number, value) in values.into_iter().enumerate() {
            rows.push(vec![if number == 0 { name.to_owned() } else { String::new() }, value.clone()]);
        }
    }
    let hooks = &manifest.hooks;
    let alternatives =
        hooks.alternatives.iter().map(|one| format!("{} -> {} ({})", one.link, one.target, one.priority));
    let hooks = [
        ("users", hooks.users.iter().map(|user| user.name.clone()).collect::<Vec<_>>()),
        ("groups of users", hooks.groups.iter().map(|group| group.name.clone()).collect()),
        ("services", hooks.services.keys().cloned().collect()),
        ("alternatives", alternatives.collect()),
    ];
    for (name, values) in hooks {
        for (number, value) in values.into_iter().enumerate() {
            rows.push(vec![if number == 0 { name.to_owned() } else { String::new() }, text::safe(&value).into_owned()]);
        }
    }
    if !manifest.scripts.is_empty() {
        let names: Vec<&str> = manifest.scripts.keys().map(|scriptlet| scriptlet.name()).collect();
        rows.push(vec!["scripts".to_owned(), names.join(" ")]);
    }
    rows
}
