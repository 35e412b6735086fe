// converters/src/pkgbuild/recipe.rs
//! From a description to a recipe: the metadata by way of `.SRCINFO`, the steps with the functions as they are written.
//!
//! `build.setup` writes the surroundings that makepkg gives to functions (`srcdir`, `pkgdir`, `CARCH`, flags, the variables and helper
//! functions of the file) beside the source; each step reads them and calls its function in bash, with `set -e` as makepkg has it.
//! The script comes through a descriptor of its own, so that a command which reads its input does not read the script.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Description, Note, Options, Written};
use crate::shell::quoted;
use crate::srcinfo::{self, SrcinfoError, Steps};

/// A recipe made from a PKGBUILD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The text of `recipe.toml`.
    pub recipe: String,
    /// What could not be carried over, with the line of the PKGBUILD where its value or attribute stands.
    pub findings: Vec<Note>,
}

/// Where the surroundings are written: beside the source, in the build's own directory.
const SURROUNDINGS: &str = "../surroundings.bash";

/// Turns a description into a recipe; `text` is the PKGBUILD, for the lines of findings.
///
/// # Errors
/// [`SrcinfoError`] where its name or version is none that a recipe can have, or sources and checksums do not fit together.
pub fn convert(description: &Description, text: &str, options: &Options) -> Result<Converted, SrcinfoError> {
    let srcinfo = String::from_utf8_lossy(&description.srcinfo()).into_owned();
    let steps = steps(description, options);
    let conversion = srcinfo::convert_with(&srcinfo, Some(&steps))?;
    let mut findings = description.notes.clone();
    for finding in conversion.findings {
        let line = srcinfo.lines().nth(finding.line.saturating_sub(1)).map_or(0, |entry| line_of(text, entry));
        findings.push(Note { line, what: finding.what });
    }
    if let Some(function) = description.functions.iter().find(|function| function.name == "pkgver") {
        let what = "pkgver() is left out: a recipe's version is written, not made".to_owned();
        findings.push(Note { line: function.line, what });
    }
    findings.sort();
    Ok(Converted { recipe: conversion.recipe, findings })
}

/// The line where an entry of the `.SRCINFO` comes from, as near as its value or its name tells.
fn line_of(text: &str, entry: &str) -> usize {
    let (key, value) = entry.trim().split_once('=').unwrap_or((entry, ""));
    let (key, value) = (key.trim(), value.trim());
    let by_value = text.lines().position(|line| value.len() > 2 && line.contains(value));
    let by_key = || {
        text.lines()
            .position(|line| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with(['=', '+'])))
    };
    by_value.or_else(by_key).map_or(0, |at| at + 1)
}

/// The files beside the PKGBUILD that it names: local sources, install scripts and changelogs.
#[must_use]
pub fn local_files(description: &Description) -> Vec<String> {
    let mut names = Vec::new();
    for section in std::iter::once(&description.base).chain(&description.packages) {
        for (attribute, values) in &section.attributes {
            let plain = attribute.split_once('_').map_or(attribute.as_str(), |(plain, _)| plain);
            if matches!(plain, "source" | "install" | "changelog") {
                names.extend(values.iter().filter(|name| is_file_name(name)).cloned());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Whether a source is the name of a file beside the PKGBUILD, and of nothing elsewhere.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains("::") && !name.contains('/') && name != "." && name != ".."
}

/// Each attribute in which a description and a `.SRCINFO` differ, with the line of the latter.
#[must_use]
pub fn differences(description: &Description, theirs: &str) -> Vec<Note> {
    let ours = String::from_utf8_lossy(&description.srcinfo()).into_owned();
    let (ours, theirs) = (attributes(&ours), attributes(theirs));
    let mut notes = Vec::new();
    for (place, (line, values)) in &theirs {
        match ours.get(place) {
            Some((_, same)) if same == values => {}
            Some((_, other)) => notes.push(Note {
                line: *line,
                what: format!(
                    "{}: the .SRCINFO has `{}`, the PKGBUILD gives `{}`",
                    place.1,
                    values.join(" "),
                    other.join(" ")
                ),
            }),
            None => notes.push(Note {
                line: *line,
                what: format!("{}: the .SRCINFO has `{}`, the PKGBUILD gives none", place.1, values.join(" ")),
            }),
        }
    }
    for (place, (_, values)) in ours.iter().filter(|(place, _)| !theirs.contains_key(*place)) {
        let what =
            format!("{}: the .SRCINFO of {} has none, the PKGBUILD gives `{}`", place.1, place.0, values.join(" "));
        notes.push(Note { line: 0, what });
    }
    notes.sort();
    notes
}

/// Values by section and attribute, with the line of the first.
type Attributes = BTreeMap<(String, String), (usize, Vec<String>)>;

fn attributes(srcinfo: &str) -> Attributes {
    let mut section = String::new();
    let mut found = Attributes::new();
    for (at, line) in srcinfo.lines().enumerate() {
        let line = line.trim();
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        if key == "pkgbase" || key == "pkgname" {
            section = format!("{key} {value}");
        }
        found.entry((section.clone(), key)).or_insert_with(|| (at + 1, Vec::new())).1.push(value);
    }
    found
}

/// The functions that makepkg calls.
fn is_step(name: &str) -> bool {
    matches!(name, "pkgver" | "prepare" | "build" | "check" | "package" | "verify") || name.starts_with("package_")
}

fn steps(description: &Description, options: &Options) -> Steps {
    let find = |name: &str| description.functions.iter().find(|function| function.name == name);
    let mut steps = Steps::default();
    let mut setup = surroundings(description, options);
    if let Some(prepare) = find("prepare") {
        setup.push_str("\n\n");
        setup.push_str(&call(prepare, ""));
    }
    steps.common.push(("setup", setup));
    for (key, name) in [("make", "build"), ("check", "check")] {
        if let Some(function) = find(name) {
            steps.common.push((key, call(function, "")));
        }
    }
    if let [package] = &description.packages[..] {
        let function = find(&format!("package_{}", package.name)).or_else(|| find("package"));
        if let Some(function) = function {
            steps.common.push(("install", call(function, "")));
        }
        return steps;
    }
    for package in &description.packages {
        if let Some(function) = find(&format!("package_{}", package.name)) {
            let named = format!("pkgname={}\n", quoted(&package.name));
            steps.packages.push((package.name.clone(), call(function, &named)));
        }
    }
    steps
}

/// A step that calls one function.
fn call(function: &Written, before: &str) -> String {
    let text = &function.text;
    let name = &function.name;
    let end = delimiter(text);
    format!("bash /dev/fd/3 3<<'{end}'\n. {SURROUNDINGS}\n{before}{text}\n\n{name}\n{end}")
}

/// A word that is no line of the text.
fn delimiter(text: &str) -> String {
    let mut word = "STEP".to_owned();
    while text.lines().any(|line| line == word) {
        word.push('_');
    }
    word
}

/// The step that writes what makepkg sets before it calls a function.
fn surroundings(description: &Description, options: &Options) -> String {
    let base = &description.base;
    let mut out = String::new();
    let _ = writeln!(out, "set -e\nshopt -s extglob\numask 022");
    let _ = writeln!(out, "srcdir=$PWD startdir=${{PWD%/*}} pkgdir=$DESTDIR");
    let _ = writeln!(out, "export CARCH={} CHOST={}", quoted(&options.carch), quoted(&options.chost));
    let _ = writeln!(out, "pkgbase={}", quoted(&base.name));
    let names: Vec<String> = description.packages.iter().map(|package| quoted(&package.name)).collect();
    let _ = writeln!(out, "pkgname=({})", names.join(" "));
    for (attribute, values) in &base.attributes {
        if super::SCALARS.contains(&attribute.as_str()) {
            let _ = writeln!(out, "{attribute}={}", quoted(values.first().map_or("", String::as_str)));
        } else {
            let words: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            let _ = writeln!(out, "{attribute}=({})", words.join(" "));
        }
    }
    for (name, value) in &description.variables {
        let _ = writeln!(out, "{name}={value}");
    }
    for function in description.functions.iter().filter(|function| !is_step(&function.name)) {
        let _ = writeln!(out, "{}", function.text);
    }
    let end = delimiter(&out);
    format!("cat > {SURROUNDINGS} <<'{end}'\n{out}{end}")
}
