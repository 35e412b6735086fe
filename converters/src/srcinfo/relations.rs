// converters/src/srcinfo/relations.rs
//! How the package is built, and what it needs, gives and excludes.

use std::collections::BTreeSet;

use recipes::{Capability, Requirement};

use super::text::{Entry, Part, Srcinfo};
use super::writer::Writer;
use super::{Beyond, Findings, license, values};
use crate::pkgbuild::is_followed;

/// Steps are the one thing that a `.SRCINFO` never holds.
const NO_STEPS: [&str; 4] = [
    "# A .SRCINFO holds no steps. Write them here, from the functions of the PKGBUILD:",
    "# prepare() is `setup`, build() is `configure` and `make`, check() is `check`,",
    "# package() is `install`. They start in the directory of the main source;",
    "# \"$pkgdir\" is \"$DESTDIR\", and \"$srcdir\" is \"..\".",
];

/// Writes `[build]`, `[build.environment]`, `[runtime]` and `[config]`; `lines` are shell that unpacks further sources.
pub(super) fn write(
    out: &mut Writer,
    srcinfo: &Srcinfo<'_>,
    arches: &[&str],
    beyond: Option<&Beyond<'_>>,
    lines: &[String],
    findings: &mut Findings,
) {
    let entries = srcinfo.entries();
    let mut collect = |entries: &[Entry<'_>], key: &str, read: Reading| collect(entries, key, arches, read, findings);
    let needed = collect(&entries, "depends", requirement);
    // What only a package function asks for is not there while it is built.
    let of_base = match beyond {
        Some(_) => collect(srcinfo.base_entries(), "depends", requirement),
        None => needed.clone(),
    };
    let (requires, runtime): (Vec<String>, Vec<String>) = needed.iter().cloned().partition(|one| of_base.contains(one));
    let mut makedepends = of_base;
    makedepends.retain(|one| !requires.contains(one));
    makedepends.extend(collect(&entries, "makedepends", requirement));
    let checkdepends = collect(&entries, "checkdepends", requirement);
    let provides = collect(&entries, "provides", if beyond.is_some() { provide } else { provide_found });
    let conflicts = collect(&entries, "conflicts", capability);
    let replaces = collect(&entries, "replaces", capability);
    let suggests = collect(&entries, "optdepends", suggestion);
    let options = options(&entries, beyond, findings);
    out.section("[build]");
    out.list("requires", &requires);
    out.list("makedepends", &makedepends);
    out.list("checkdepends", &checkdepends);
    out.list("options", &options);
    match beyond {
        None => NO_STEPS.iter().for_each(|line| out.line(line)),
        Some(Beyond { steps, environment, .. }) => {
            let mut setup = vec![steps.setup.0.as_str()];
            setup.extend(lines.iter().map(String::as_str));
            if !steps.setup.1.is_empty() {
                setup.extend(["", &steps.setup.1]);
            }
            out.step("setup", &setup.join("\n"));
            for (key, text) in &steps.common {
                out.step(key, text);
            }
            if !environment.is_empty() {
                out.section("[build.environment]");
                for (name, value) in environment {
                    out.text(name, value);
                }
            }
        }
    }
    // Of several packages each has its own.
    let is_one = srcinfo.packages.len() == 1;
    let lists = [
        ("requires", &runtime),
        ("suggests", &suggests),
        ("provides", &provides),
        ("conflicts", &conflicts),
        ("replaces", &replaces),
    ];
    if is_one && lists.iter().any(|(_, list)| !list.is_empty()) {
        out.section("[runtime]");
        for (key, list) in lists {
            out.list(key, list);
        }
    }
    backup(out, srcinfo);
}

/// Writes configuration files: one list for all packages, since a path is in one of them.
fn backup(out: &mut Writer, srcinfo: &Srcinfo<'_>) {
    let mut files = BTreeSet::new();
    for package in &srcinfo.packages {
        for entry in values(&srcinfo.entries_of(package), "backup") {
            let plain: String = entry
                .value
                .chars()
                .map(|c| if "*?[]{}\\!".contains(c) { format!("\\{c}") } else { c.to_string() })
                .collect();
            files.insert(format!("/{}", plain.trim_start_matches('/')));
        }
    }
    if !files.is_empty() {
        out.section("[config]");
        out.list("files", &files.into_iter().collect::<Vec<_>>());
    }
}

/// Writes one package of several as an output of its own.
pub(super) fn write_output(
    out: &mut Writer,
    srcinfo: &Srcinfo<'_>,
    package: &Part<'_>,
    arches: &[&str],
    beyond: Option<&Beyond<'_>>,
    findings: &mut Findings,
) {
    let entries = &srcinfo.entries_of(package)[..];
    let says = |key: &'static str| values(package.entries(), key).next().is_some();
    out.section("[[outputs]]");
    let name = super::plain_name(package.name);
    if name != package.name {
        findings.add(package.line, format!("the name {} is written {name}", package.name));
    }
    out.text("name", &name);
    for (key, ours) in [("pkgdesc", "summary"), ("url", "homepage")] {
        // What the base says stands in `[package]`.
        if let Some(entry) = values(entries, key).last().filter(|_| says(key)) {
            out.text(ours, entry.value);
        }
    }
    if says("license") {
        license(out, entries, findings);
    }
    if says("arch") {
        let arch: Vec<String> = values(entries, "arch").map(|entry| entry.value.to_owned()).collect();
        out.list("arch", &arch);
    }
    let groups: Vec<String> = values(entries, "groups").map(|entry| entry.value.to_owned()).collect();
    out.list("groups", &groups);
    if says("options") {
        let options = options(entries, beyond, findings);
        out.list("options", &options);
    }
    let provides: Reading = if beyond.is_some() { provide } else { provide_found };
    let relations: [(&str, &str, Reading); 5] = [
        ("requires", "depends", requirement),
        ("suggests", "optdepends", suggestion),
        ("provides", "provides", provides),
        ("conflicts", "conflicts", capability),
        ("replaces", "replaces", capability),
    ];
    for (key, theirs, read) in relations {
        let values = collect(entries, theirs, arches, read, findings);
        out.list(key, &values);
    }
    let steps = beyond.map(|beyond| &beyond.steps.packages[..]).unwrap_or_default();
    if let Some((_, step)) = steps.iter().find(|(name, _)| name == package.name) {
        out.step("install", step);
    }
}

/// Options of makepkg in our words; what is not followed is reported.
fn options(entries: &[Entry<'_>], beyond: Option<&Beyond<'_>>, findings: &mut Findings) -> Vec<String> {
    let said: Vec<String> = values(entries, "options").map(|entry| entry.value.to_owned()).collect();
    for entry in values(entries, "options").filter(|entry| !is_followed(entry.value)) {
        findings.add(entry.line, format!("the option `{}` is left out: a recipe has none like it", entry.value));
    }
    match beyond {
        Some(beyond) => beyond.profile.policies(&said),
        None => crate::pkgbuild::own_policies(&said),
    }
}

/// Reads a suggestion: a requirement, and behind a colon what it is good for.
fn suggestion(text: &str) -> Result<Option<String>, String> {
    let (what, why) = text.split_once(": ").or_else(|| Some((text.strip_suffix(':')?, ""))).unwrap_or((text, ""));
    let what = requirement(what.trim())?.unwrap_or_default();
    let why = why.trim();
    Ok(Some(if why.is_empty() { what } else { format!("{what}: {why}") }))
}

/// Says one relation in our words: `Ok(None)` where nothing is lost without it, else why it cannot be said.
type Reading = fn(&str) -> Result<Option<String>, String>;

/// Reads all relations under one key.
fn collect(entries: &[Entry<'_>], key: &str, arches: &[&str], read: Reading, findings: &mut Findings) -> Vec<String> {
    let mut relations: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry.key == key) {
        if let Some(arch) = entry.arch.filter(|arch| arches != [*arch]) {
            findings.add(
                entry.line,
                format!("{} is left out: it is for {arch} only, and a recipe's relations are for all", entry.value),
            );
            continue;
        }
        match read(entry.value) {
            Ok(relation) => {
                let new = relation.filter(|relation| seen.insert(relation.clone()));
                relations.extend(new);
            }
            Err(why) => findings.add(entry.line, format!("{} is left out: {why}", entry.value)),
        }
    }
    relations
}

/// Reads what is needed. A library without a version is filled in when the package is plated.
fn requirement(text: &str) -> Result<Option<String>, String> {
    if let Some((name, version)) = library(text) {
        return Ok(Some(if version.is_empty() {
            format!("soname({name})")
        } else {
            format!("soname({name}.{version})")
        }));
    }
    let requirement: Requirement =
        lower_name(text).parse().map_err(|error: recipes::CapabilityError| error.to_string())?;
    Ok(Some(requirement.to_string()))
}

/// Reads what is given. A library without a version is filled in when the package is plated.
fn provide(text: &str) -> Result<Option<String>, String> {
    match library(text) {
        Some((name, "")) => Ok(Some(format!("soname({name})"))),
        Some((name, version)) => Ok(Some(format!("soname({name}.{version})"))),
        None => capability(text),
    }
}

/// The same where makepkg has filled it in already: libraries are found by scanning the files.
fn provide_found(text: &str) -> Result<Option<String>, String> {
    if library(text).is_some() { Ok(None) } else { capability(text) }
}

/// Reads what is excluded or replaced.
fn capability(text: &str) -> Result<Option<String>, String> {
    let capability: Capability =
        lower_name(text).parse().map_err(|error: recipes::CapabilityError| error.to_string())?;
    Ok(Some(capability.to_string()))
}

/// Splits `libz.so=1-64` into name and version; the version is empty where there is none.
fn library(text: &str) -> Option<(&str, &str)> {
    let (name, version) = text.split_once('=').unwrap_or((text, ""));
    let stem = name.trim().strip_suffix(".so")?;
    let version = version.trim();
    let version = version.strip_suffix("-64").or_else(|| version.strip_suffix("-32")).unwrap_or(version);
    (!stem.is_empty()).then_some((name.trim(), version))
}

/// Writes the name before a comparison in lower case.
fn lower_name(text: &str) -> String {
    let end = text.find(['<', '>', '=']).unwrap_or(text.len());
    format!("{}{}", text[..end].to_lowercase(), &text[end..])
}
