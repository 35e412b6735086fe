// conary/commands/convert/pkgbuild.rs
//! `conary convert pkgbuild`: one file, or all below a directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use clap::Args;
use converters::pkgbuild::{Converted, Description, Note, Section};
use serde::Serialize;

use crate::cli::{JsonArg, SourceArgs, StoreArgs};
use crate::commands::{Context, cook, settings};
use crate::exit::Code;
use crate::failure::{Failure, Outcome};
use crate::pkgbuild::version::{self, Pinning};
use crate::pkgbuild::{self, PinArg, ProfileArg, Said};

const EXAMPLES: &str = "\
The file is read as text, and nothing of it is run. Where that is not enough, because it asks a program for a value, bash evaluates it \
in the sandbox: without network, home or anything that can be written. With `--static-only` it is refused instead, with the line \
that asks. Whatever cannot be carried over is reported with its line.

The recipe carries the flags and options that a packager's makepkg has: those of --profile. With --pin everything that nothing pins is brought in \
and pinned. With --cook the recipe is cooked as `conary cook` would.

Examples:
  conary convert pkgbuild PKGBUILD > recipe.toml
  conary convert pkgbuild greeter/PKGBUILD -o recipes/greeter
  conary convert pkgbuild packages -o recipes
  conary convert pkgbuild PKGBUILD --check-srcinfo
  conary convert pkgbuild PKGBUILD --json
  conary convert pkgbuild greeter -o recipes/greeter --profile debian --pin --cook";

/// The arguments of `conary convert pkgbuild`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Arguments {
    /// The file, a directory below which every PKGBUILD is converted, or - for standard input
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,
    /// Write recipe.toml here, with the files that belong to it; for a directory, each into a directory of the same name below it
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Run nothing at all, not even in the sandbox
    #[arg(long)]
    static_only: bool,
    /// Compare with the .SRCINFO beside the file and name each difference; a recipe is written only with --output, and only if there is none
    #[arg(long)]
    check_srcinfo: bool,
    /// Cook the recipe that was made
    #[arg(long, conflicts_with_all = ["check_srcinfo", "json", "static_only"])]
    cook: bool,
    /// With --cook: where the packages go
    #[arg(long, value_name = "DIR", default_value = "dist", requires = "cook")]
    dist: PathBuf,
    /// With --cook: go on where neither the store nor the host is known to have what the recipe needs
    #[arg(long, requires = "cook")]
    nodeps: bool,
    #[command(flatten)]
    profile: ProfileArg,
    #[command(flatten)]
    pin: PinArg,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// What came of one file.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    /// `static`, `sandboxed`, or nothing if it was not read.
    read: Option<&'static str>,
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Described>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packages: Vec<Described>,
    findings: Vec<Finding>,
    /// Whether the findings are differences from the .SRCINFO.
    differs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipe: Option<String>,
    /// Of which kind the error is.
    #[serde(skip)]
    code: Code,
    /// What it came from.
    #[serde(skip)]
    made: Option<(pkgbuild::Reading, Converted)>,
}

/// A base or a package.
#[derive(Debug, Serialize)]
struct Described {
    name: String,
    attributes: Vec<(String, Vec<String>)>,
}

#[derive(Debug, Serialize)]
struct Finding {
    line: usize,
    what: String,
}

/// All files of one run.
#[derive(Debug, Serialize)]
struct Whole {
    files: usize,
    read_static: usize,
    read_sandboxed: usize,
    failed: usize,
    reports: Vec<Report>,
}

/// Converts what the command line names.
pub fn run(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let path = context.environment.absolute(&arguments.path);
    let is_one = !path.is_dir() || path.join(pkgbuild::FILE).is_file();
    if !is_one && (arguments.cook || arguments.pin.pin) {
        let failure = Failure::new(Code::Usage, "`--cook` and `--pin` take one PKGBUILD, not a directory of several");
        return Err(
            failure.hint("convert the directory first, then run `conary cook` or `conary source pin` on a recipe")
        );
    }
    let job = Job::of(arguments, context)?;
    if !is_one {
        return tree(&path, &job, context);
    }
    let file = if path.is_dir() { path.join(pkgbuild::FILE) } else { path };
    let standard_input = arguments.path == Path::new("-");
    let file = if standard_input { PathBuf::from("-") } else { file };
    let output = arguments.output.as_ref().map(|output| context.environment.absolute(output));
    if arguments.cook && output.is_none() {
        return cook(file.to_string_lossy().into_owned(), arguments, context);
    }
    let mut report = one(&file, output.as_deref(), &job, context);
    if let (true, None, Some((mut reading, mut converted))) = (arguments.pin.pin, &report.error, report.made.take()) {
        let store = context.store(&arguments.store)?;
        let fetch = context.fetch_options(&arguments.sources, &store)?;
        let directory = pkgbuild::directory_of(&file).unwrap_or(&context.environment.directory).to_owned();
        let pinning = Pinning { shown: "the recipe", directory: &directory, store: &store, fetch: &fetch };
        let pinned = version::pinned(&mut reading, &mut converted, &file, &job.options, &pinning, context)?;
        if let Some(output) = &output {
            let place = output.join("recipe.toml");
            fs::write(&place, &pinned.text).map_err(|error| unwritten(&place, &error))?;
        }
        report.recipe = Some(pinned.text);
        report.findings.retain(|finding| finding.what.ends_with("is not beside the PKGBUILD"));
        report.findings.extend(findings(converted.findings));
        describe(&mut report, &reading.description);
        report.findings.retain(|finding| !pkgbuild::is_about_pins(&finding.what));
    }
    let failed = report.error.is_some();
    if arguments.json.json {
        context.ui.json(&report)?;
    } else {
        if let (Some(recipe), None, false) = (&report.recipe, &output, arguments.check_srcinfo) {
            context.ui.lines(recipe)?;
        }
        tell(&report, context);
        if let (Some(output), false) = (&output, failed || report.differs) {
            context.ui.story("Converted", &format!("{} to {}", file.display(), output.join("recipe.toml").display()));
        }
    }
    let differs = report.differs;
    match report.error {
        Some(error) if arguments.json.json => Err(Failure::new(report.code, error)),
        Some(error) => {
            let failure = Failure::new(report.code, format!("{} was not converted: {error}", file.display()));
            Err(match report.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
        None if arguments.cook => {
            let recipe = output.unwrap_or_default().to_string_lossy().into_owned();
            cook(recipe, arguments, context)
        }
        None if differs => Err(Failure::new(Code::Recipe, format!("{} and its .SRCINFO differ", file.display()))),
        None => Ok(Code::Success),
    }
}

/// Cooks a recipe that was written, or the PKGBUILD itself.
fn cook(recipe: String, arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let converted = cook::Converted {
        recipe,
        dist: arguments.dist.clone(),
        nodeps: arguments.nodeps,
        profile: arguments.profile.clone(),
        pin: arguments.pin.clone(),
        sources: arguments.sources.clone(),
        store: arguments.store.clone(),
    };
    cook::run(&converted.into(), context)
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::new(Code::System, format!("cannot write {}", path.display()));
    Failure { causes: vec![error.to_string()], ..failure }
}

/// What all files of one run have in common.
struct Job<'a> {
    arguments: &'a Arguments,
    options: pkgbuild::Options,
}

impl<'a> Job<'a> {
    fn of(arguments: &'a Arguments, context: &Context<'_>) -> Result<Self, Failure> {
        // Converting makes no store; where there is one, its setting counts.
        let setting = match context.read_store(&arguments.store) {
            Ok(store) if arguments.profile.profile.is_none() => store.setting(settings::PROFILE)?,
            _ => None,
        };
        let profile = arguments.profile.profile(setting)?;
        Ok(Self { arguments, options: pkgbuild::Options { profile, ..pkgbuild::Options::default() } })
    }
}

/// Shows findings, each with its place.
fn tell(report: &Report, context: &Context<'_>) {
    let findings = report.findings.iter().map(|finding| (finding.line, finding.what.as_str()));
    pkgbuild::tell(findings, &report.file, context);
}

/// Converts every PKGBUILD below a directory, on all processors.
fn tree(directory: &Path, job: &Job<'_>, context: &Context<'_>) -> Outcome {
    let arguments = job.arguments;
    let mut files = Vec::new();
    find(directory, &mut files).map_err(|error| unreadable(directory, &error))?;
    files.sort();
    if files.is_empty() {
        return Err(Failure::new(Code::NotFound, format!("there is no PKGBUILD below {}", directory.display())));
    }
    let next = AtomicUsize::new(0);
    let done = AtomicU64::new(0);
    let reports = Mutex::new(Vec::with_capacity(files.len()));
    let bar = context.ui.bar("Converting", &directory.display().to_string(), Some(files.len() as u64));
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if context.cancel.load(Ordering::Relaxed) {
                        break;
                    }
                    let below = file.parent().and_then(|parent| parent.strip_prefix(directory).ok());
                    let output = match (&arguments.output, below) {
                        (Some(output), Some(below)) => Some(context.environment.absolute(output).join(below)),
                        _ => None,
                    };
                    let mut report = one(file, output.as_deref(), job, context);
                    if !arguments.json.json {
                        report.base = None;
                        report.packages.clear();
                    }
                    report.recipe = None;
                    report.made = None;
                    bar.position(done.fetch_add(1, Ordering::Relaxed) + 1);
                    reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(report);
                }
            });
        }
    });
    drop(bar);
    let mut reports = reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if reports.len() < files.len() {
        return Err(Failure::new(Code::Interrupted, "interrupted"));
    }
    reports.sort_by(|left, right| left.file.cmp(&right.file));
    let count = |how: Option<&'static str>| reports.iter().filter(|report| report.read == how).count();
    let whole = Whole {
        files: reports.len(),
        read_static: count(Some("static")),
        read_sandboxed: count(Some("sandboxed")),
        failed: reports.iter().filter(|report| report.error.is_some()).count(),
        reports,
    };
    if arguments.json.json {
        context.ui.json(&whole)?;
    } else {
        for report in &whole.reports {
            tell(report, context);
            if let Some(error) = &report.error {
                context.ui.warning(&format!("{} was not converted: {error}", report.file.display()));
            }
        }
        let (files, read, sandboxed) = (whole.files, whole.read_static, whole.read_sandboxed);
        context.ui.story(
            "Converted",
            &format!("{} of {files} files ({read} as text, {sandboxed} in the sandbox)", files - whole.failed),
        );
    }
    let differ = whole.reports.iter().any(|report| report.differs);
    if whole.failed > 0 || differ { Err(Failure::told(Code::Recipe)) } else { Ok(Code::Success) }
}

/// Finds files named PKGBUILD, following no link.
fn find(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            find(&entry.path(), files)?;
        } else if kind.is_file() && entry.file_name() == "PKGBUILD" {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::System };
    let failure = Failure::new(code, format!("cannot read {}", path.display()));
    Failure { causes: vec![error.to_string()], ..failure }
}

/// Converts one file; whatever happens is in the report.
fn one(file: &Path, output: Option<&Path>, job: &Job<'_>, context: &Context<'_>) -> Report {
    let mut report = Report {
        file: file.to_owned(),
        read: None,
        error: None,
        hint: None,
        base: None,
        packages: Vec::new(),
        findings: Vec::new(),
        differs: false,
        recipe: None,
        code: Code::Success,
        made: None,
    };
    if let Err(said) = fill(&mut report, output, job, context) {
        report.error = Some(said.message);
        report.hint = said.hint;
        report.code = said.code;
    }
    report
}

fn fill(report: &mut Report, output: Option<&Path>, job: &Job<'_>, context: &Context<'_>) -> Result<(), Said> {
    let arguments = job.arguments;
    let file = report.file.clone();
    let directory = pkgbuild::directory_of(&file);
    let reading = pkgbuild::read(&file, &job.options, arguments.static_only, context)?;
    report.read = Some(reading.how);
    let description = &reading.description;
    if arguments.check_srcinfo {
        let beside = directory.unwrap_or(Path::new(".")).join(".SRCINFO");
        let theirs = fs::read(&beside).map_err(|error| {
            let hint = Some("make it with `makepkg --printsrcinfo`".to_owned());
            Said { hint, ..Said::of_file("read", &beside, &error) }
        })?;
        let differences = findings(converters::pkgbuild::differences(description, &theirs));
        report.differs = !differences.is_empty();
        if report.differs || output.is_none() {
            report.findings = differences;
            describe(report, description);
            return Ok(());
        }
    }
    let converted = pkgbuild::convert(&reading, &file, &job.options)?;
    report.findings = findings(converted.findings.clone());
    describe(report, description);
    if let Some(output) = output {
        let place = output.join("recipe.toml");
        let written = fs::create_dir_all(output).and_then(|()| fs::write(&place, &converted.recipe));
        written.map_err(|error| Said::of_file("write", &place, &error))?;
        for name in converted.files.iter().filter(|_| directory.is_some_and(|directory| directory != output)) {
            let from = directory.and_then(|directory| pkgbuild::inside(directory, name));
            let from = from.filter(|from| fs::symlink_metadata(from).is_ok_and(|about| about.is_file()));
            let (Some(from), Some(to)) = (from, pkgbuild::inside(output, name)) else {
                report.findings.push(Finding { line: 0, what: format!("{name} is not beside the PKGBUILD") });
                continue;
            };
            let made = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(&from, &to));
            made.map_err(|error| Said::of_file("write", &to, &error))?;
        }
    }
    report.recipe = Some(converted.recipe.clone());
    report.made = Some((reading, converted));
    Ok(())
}

fn describe(report: &mut Report, description: &Description) {
    // Bytes that are no UTF-8 are shown as what they are in JSON: replaced.
    let plain = |text: &String| String::from_utf8_lossy(&converters::shell::bytes_of(text)).into_owned();
    let described = |section: &Section| Described {
        name: plain(&section.name),
        attributes: section
            .attributes
            .iter()
            .map(|(attribute, values)| (attribute.clone(), values.iter().map(plain).collect()))
            .collect(),
    };
    report.base = Some(described(&description.base));
    report.packages = description.packages.iter().map(described).collect();
}

fn findings(notes: Vec<Note>) -> Vec<Finding> {
    notes.into_iter().map(|note| Finding { line: note.line, what: note.what }).collect()
}
