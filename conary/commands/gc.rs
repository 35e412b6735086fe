// conary/commands/gc.rs
//! `conary gc`: what nothing needs any more leaves the store.

use clap::Args;
use serde_json::json;
use store::GcOptions;

use crate::cli::{JsonArg, StoreArgs};
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::Outcome;
use crate::ui::text;

const EXAMPLES: &str = "\
Kept are: the results of the latest cooks of each package, what installed roots refer to, and sources. \
It works beside other commands. What one of them may still use is out of sight at once, and its space is free \
after the first gc that follows that command.

Examples:
  conary gc --dry-run
  conary gc --keep 3
  conary gc --sources";

/// Remove from the store what nothing needs
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Keep the results of so many cooks of each package
    #[arg(long, value_name = "N", default_value_t = GcOptions::default().keep_actions)]
    keep: u32,
    /// Keep the logs of so many cooks of each package
    #[arg(long, value_name = "N", default_value_t = GcOptions::default().keep_logs)]
    keep_logs: u32,
    /// Remove sources too; they are fetched again when needed
    #[arg(long)]
    sources: bool,
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Collects.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let store = context.store(&arguments.store)?;
    let options = GcOptions {
        keep_actions: arguments.keep,
        keep_logs: arguments.keep_logs,
        keep_sources: !arguments.sources,
        dry_run: arguments.dry_run,
        ..GcOptions::default()
    };
    let task = context.ui.task("Collecting", &store.directory().display().to_string());
    let mut waiting = |holder: &str| context.ui.story("Waiting", &format!("for {holder}"));
    let report = store.gc(&options, &mut waiting, context.cancel)?;
    drop(task);
    let bytes = report.object_bytes + report.stray_bytes;
    if arguments.json.json {
        context.ui.json(&json!({
            "dry_run": arguments.dry_run, "kept_objects": report.kept_objects, "troves": report.troves,
            "objects": report.objects, "deferred": report.deferred, "deferred_bytes": report.deferred_bytes, "strays": report.strays, "bytes": bytes, "roots": report.roots,
            "logs": report.logs, "work": report.work,
        }))?;
        return Ok(Code::Success);
    }
    let verb = if arguments.dry_run { "Would remove" } else { "Removed" };
    let troves = text::count(report.troves, "trove", "troves");
    let objects = text::count(report.objects + report.strays, "object", "objects");
    let logs = text::count(report.logs, "log", "logs");
    context.ui.story(verb, &format!("{troves}, {objects}, {logs}: {}", text::size(bytes)));
    if report.deferred > 0 {
        let objects = text::count(report.deferred, "object", "objects");
        let size = text::size(report.deferred_bytes);
        context.ui.story("Deferred", &format!("{objects}, {size}: commands that are under way may still use them"));
    }
    Ok(Code::Success)
}
