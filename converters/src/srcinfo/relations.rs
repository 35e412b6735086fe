// converters/src/srcinfo/relations.rs
//! What the package needs, gives and excludes.

use std::collections::BTreeSet;

use recipes::{Capability, Requirement};

use super::text::Entry;
use super::writer::Writer;
use super::{Findings, Steps};

/// Steps are the one thing that a `.SRCINFO` never holds.
const NO_STEPS: [&str; 4] = [
    "# A .SRCINFO holds no steps. Write them here, from the functions of the PKGBUILD:",
    "# prepare() is `setup`, build() is `configure` and `make`, check() is `check`,",
    "# package() is `install`. They start in the directory of the main source;",
    "# \"$pkgdir\" is \"$DESTDIR\", and \"$srcdir\" is \"..\".",
];

/// Writes `[build]` and `[runtime]`.
pub(super) fn write(
    out: &mut Writer,
    entries: &[Entry<'_>],
    arches: &[&str],
    steps: Option<&Steps>,
    findings: &mut Findings,
) {
    let mut collect = |key: &str, read: Reading| collect(entries, key, arches, read, findings);
    let requires = collect("depends", requirement);
    let makedepends = collect("makedepends", requirement);
    let checkdepends = collect("checkdepends", requirement);
    let provides = collect("provides", provide);
    let conflicts = collect("conflicts", capability);
    let replaces = collect("replaces", capability);
    let suggests = collect("optdepends", suggestion);
    let options = options(entries, findings);
    out.section("[build]");
    out.list("requires", &requires);
    out.list("makedepends", &makedepends);
    out.list("checkdepends", &checkdepends);
    out.list("options", &options);
    match steps {
        None => NO_STEPS.iter().for_each(|line| out.line(line)),
        Some(steps) => {
            for (key, text) in &steps.common {
                out.step(key, text);
            }
        }
    }
    if !(provides.is_empty() && conflicts.is_empty() && replaces.is_empty() && suggests.is_empty()) {
        out.section("[runtime]");
        out.list("suggests", &suggests);
        out.list("provides", &provides);
        out.list("conflicts", &conflicts);
        out.list("replaces", &replaces);
    }
}

/// Writes one package of several as an output of its own.
pub(super) fn write_output(
    out: &mut Writer,
    name: &str,
    entries: &[Entry<'_>],
    arches: &[&str],
    step: Option<&String>,
    findings: &mut Findings,
) {
    out.section("[[outputs]]");
    out.text("name", &name.to_lowercase());
    for entry in entries {
        match entry.key {
            "pkgdesc" => out.text("summary", entry.value),
            "url" => out.text("homepage", entry.value),
            _ => {}
        }
    }
    let groups: Vec<String> =
        entries.iter().filter(|entry| entry.key == "groups").map(|entry| entry.value.to_owned()).collect();
    out.list("groups", &groups);
    let relations: [(&str, &str, Reading); 5] = [
        ("requires", "depends", requirement),
        ("suggests", "optdepends", suggestion),
        ("provides", "provides", provide),
        ("conflicts", "conflicts", capability),
        ("replaces", "replaces", capability),
    ];
    for (key, theirs, read) in relations {
        let values = collect(entries, theirs, arches, read, findings);
        out.list(key, &values);
    }
    if let Some(step) = step {
        out.step("install", step);
    }
}

/// Options of makepkg in our words; what steps alone can honour is reported.
fn options(entries: &[Entry<'_>], findings: &mut Findings) -> Vec<String> {
    let mut options = Vec::new();
    for entry in entries.iter().filter(|entry| entry.key == "options") {
        let (off, name) = match entry.value.strip_prefix('!') {
            Some(name) => ("!", name),
            None => ("", entry.value),
        };
        let ours = match name {
            "strip" | "docs" | "staticlibs" | "libtool" | "emptydirs" | "purge" | "lto" => name,
            "zipman" => "compress-man",
            "debug" => "debuginfo",
            _ => {
                findings
                    .add(entry.line, format!("the option `{}` is left out: a recipe has none like it", entry.value));
                continue;
            }
        };
        options.push(format!("{off}{ours}"));
    }
    options
}

/// Reads a suggestion: a requirement, and behind a colon what it is good for.
fn suggestion(text: &str) -> Result<Option<String>, String> {
    let (what, why) = text.split_once(':').unwrap_or((text, ""));
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

/// Reads what is needed.
fn requirement(text: &str) -> Result<Option<String>, String> {
    if let Some(library) = library(text) {
        return match library {
            (_, "") => Err("it names a library without its version; name the package that has it".to_owned()),
            (name, version) => Ok(Some(format!("soname({name}.{version})"))),
        };
    }
    let requirement: Requirement =
        lower_name(text).parse().map_err(|error: recipes::CapabilityError| error.to_string())?;
    Ok(Some(requirement.to_string()))
}

/// Reads what is given. Libraries are found by scanning the files.
fn provide(text: &str) -> Result<Option<String>, String> {
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
