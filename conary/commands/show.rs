// conary/commands/show.rs
//! `conary show`: everything about one installed trove, or about the latest cook of a package.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kitchen::phases::Usage;
use kitchen::provenance::Statement;
use serde_json::json;
use store::Manifest;

use crate::cli::{JsonArg, RootArgs, StoreArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::commands::install;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
Examples:
  conary show hello --root /srv/root
  conary show hello --root /srv/root --json
  conary show hello --cooked";

/// Show all about one installed package
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// An installed package, or with --cooked the name of a recipe
    #[arg(value_name = "NAME")]
    name: String,
    /// The root directory that is looked at
    #[arg(long, value_name = "DIR", required_unless_present = "cooked")]
    root: Option<PathBuf>,
    /// Show how it was cooked last: isolation, and what every step used
    #[arg(long, conflicts_with = "root")]
    cooked: bool,
    /// A store that several roots share [default: var/lib/conary below the root]; with --cooked the store that it was cooked in
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints it.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let Some(root) = arguments.root.clone() else {
        return cooked(arguments, context);
    };
    let root = RootArgs { root, store: arguments.store.clone() };
    let trove = changes::open(&root, Access::Read, context)?.show(&install::spec(&arguments.name)?)?;
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

/// Prints how something was cooked last.
fn cooked(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let store = context.read_store(&StoreArgs { store: arguments.store.clone() })?;
    let row = store.latest_action(&arguments.name)?.ok_or_else(|| {
        Failure::new(Code::NotFound, format!("{} was never cooked with this store", arguments.name))
            .hint("the name is that of the recipe; `--store` names another store")
    })?;
    let statement = Statement::from_json(&row.statement);
    let steps = statement.as_ref().map(|statement| statement.steps.as_slice()).unwrap_or_default();
    let troves: Vec<String> = row.troves.iter().map(ToString::to_string).collect();
    if arguments.json.json {
        context.ui.json(&json!({
            "name": row.name, "version": row.version, "key": row.key.to_string(), "troves": troves,
            "isolation": row.isolation, "made_by_uid": row.made_by_uid, "at_unix_secs": row.at_unix_secs,
            "steps": steps,
            "applied": statement.as_ref().map(|statement| &statement.applied),
        }))?;
        return Ok(Code::Success);
    }
    let pair = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        pair("name", row.name),
        pair("version", row.version),
        pair("key", row.key.to_string()),
        pair("isolation", row.isolation),
    ];
    rows.extend(troves.into_iter().map(|trove| pair("trove", trove)));
    if let Some(statement) = &statement {
        let applied: Vec<String> = statement.applied.iter().map(|(name, value)| format!("{name}={value}")).collect();
        rows.push(pair("wall", applied.join(" ")));
    }
    context.ui.lines(&text::table(&rows))?;
    let header = ["step", "time", "processor", "peak memory", "read", "written"].map(str::to_owned).to_vec();
    let row = |step: &Usage| {
        vec![
            step.phase.clone(),
            text::duration(Duration::from_millis(step.wall_ms)),
            text::duration(Duration::from_millis(step.cpu_ms)),
            text::size(step.peak_memory_bytes),
            text::size(step.read_bytes),
            text::size(step.written_bytes),
        ]
    };
    context.ui.line("")?;
    context.ui.lines(&text::table(&std::iter::once(header).chain(steps.iter().map(row)).collect::<Vec<_>>()))?;
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
