// conary/commands/verify.rs
//! `conary verify`: installed files against what was installed.

use std::collections::BTreeSet;

use clap::Args;
use installer::{Difference, Finding, PlanOptions, Request, Root, show_path};
use recipes::TroveSpec;
use serde_json::json;

use crate::cli::{JsonArg, RootArgs};
use crate::commands::Context;
use crate::commands::changes::{self, Access};
use crate::commands::install;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::ui::text;

const EXAMPLES: &str = "\
Compares kind, content, permissions, owner, link target and extended attributes of every path, and \
prints those that differ. Ends with 7 if there are any.

--repair puts back what is missing or not as it was installed, from the root's own store, as a changeset:
`conary rollback` brings back what it replaced. Edited configuration is left alone; `conary config restore` \
is for that.

Examples:
  conary verify --root /srv/root
  conary verify --repair --root /srv/root
  conary verify hello zlib --root /srv/root --json";

/// Compare installed files with what was installed
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Installed packages [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Put back what is missing or not as it was installed
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Prints a line for each path that differs.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let specs = arguments.names.iter().map(|name| install::spec(name)).collect::<Result<Vec<_>, _>>()?;
    let access = if arguments.repair { Access::Write } else { Access::Read };
    let root = changes::open(&arguments.root, access, context)?;
    if arguments.repair {
        repair(&root, &specs, context)?;
    }
    let task = context.ui.task("Verifying", "");
    let progress = |done: usize, total: usize| task.words(&format!("{done} of {total} paths"));
    let verified = root.verify(&specs, context.cancel, &progress)?;
    drop(task);
    if arguments.json.json {
        let rows: Vec<_> = verified.findings.iter().map(describe).collect();
        context.ui.json(&json!({ "paths": verified.paths, "damaged": rows }))?;
    } else {
        for finding in &verified.findings {
            let note = if finding.config { " (configuration)" } else { "" };
            context.ui.line(&format!("{}: {}{note}", show_path(&finding.path), words(&finding.difference)))?;
        }
    }
    let paths = text::count(verified.paths as u64, "path", "paths");
    if verified.findings.is_empty() {
        context.ui.story("Verified", &format!("{paths}, all as installed"));
        return Ok(Code::Success);
    }
    let differ = text::count(verified.findings.len() as u64, "difference", "differences");
    context.ui.story("Verified", &format!("{paths}, {differ}"));
    Ok(Code::Damaged)
}

/// Puts back what is not as it was installed, edited configuration aside.
fn repair(root: &Root, specs: &[TroveSpec], context: &Context<'_>) -> Result<(), Failure> {
    let verified = root.verify(specs, context.cancel, &|_, _| {})?;
    let wrong = verified.findings.iter().filter(|finding| !finding.config);
    let names: BTreeSet<String> = wrong.map(|finding| finding.trove.name.to_string()).collect();
    let requests = names.iter().map(|name| install::spec(name).map(Request::Repair)).collect::<Result<Vec<_>, _>>()?;
    if requests.is_empty() {
        return Ok(());
    }
    let mut plan = root.plan(&requests, &[], &PlanOptions::default())?;
    let changeset = root.commit(&mut plan, &[], context.cancel, &|_| {})?;
    let paths = text::count(plan.paths.len() as u64, "path", "paths");
    context.ui.story("Repaired", &format!("{paths} of {}", names.into_iter().collect::<Vec<_>>().join(", ")));
    changes::degraded(&changeset.failed).map(drop)
}

/// A difference in words.
fn words(difference: &Difference) -> String {
    match difference {
        Difference::Missing => "missing".to_owned(),
        Difference::Kind { expected, actual } => {
            let actual = actual.map_or("a special file", |kind| kind.as_str());
            format!("is {actual}, was installed as {}", expected.as_str())
        }
        Difference::Content { .. } => "content differs".to_owned(),
        Difference::Target { expected, actual } => {
            format!(
                "points to {}, was installed pointing to {}",
                String::from_utf8_lossy(actual),
                String::from_utf8_lossy(expected)
            )
        }
        Difference::Mode { expected, actual } => format!("mode is {actual:04o}, was installed as {expected:04o}"),
        Difference::Owner { expected, actual } => {
            format!("owner is {}:{}, was installed as {}:{}", actual.0, actual.1, expected.0, expected.1)
        }
        Difference::Attribute { name } => format!("extended attribute {} differs", String::from_utf8_lossy(name)),
        Difference::Unreadable { error } => format!("cannot be read: {error}"),
    }
}

/// A finding as JSON.
fn describe(finding: &Finding) -> serde_json::Value {
    let kind = match &finding.difference {
        Difference::Missing => "missing",
        Difference::Kind { .. } => "kind",
        Difference::Content { .. } => "content",
        Difference::Target { .. } => "target",
        Difference::Mode { .. } => "mode",
        Difference::Owner { .. } => "owner",
        Difference::Attribute { .. } => "attribute",
        Difference::Unreadable { .. } => "unreadable",
    };
    json!({
        "path": show_path(&finding.path), "trove": finding.trove.to_string(), "component": finding.component,
        "config": finding.config, "difference": kind, "detail": words(&finding.difference),
    })
}
