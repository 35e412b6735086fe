// converters/src/pkgbuild/recipe.rs
//! From a description to a recipe: the metadata by way of `.SRCINFO`, the steps with the functions as they are written.

use std::collections::BTreeMap;

use super::{Description, Note, Options, steps};
use crate::srcinfo::{self, Beyond, SrcinfoError};

/// A recipe made from a PKGBUILD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The text of `recipe.toml`.
    pub recipe: String,
    /// What could not be carried over, with the line of the PKGBUILD where its value or attribute stands.
    pub findings: Vec<Note>,
    /// Files beside the PKGBUILD that the recipe names, as paths below its directory.
    pub files: Vec<String>,
}

/// Turns a description into a recipe; `text` is the PKGBUILD, for the lines of findings, and `beside` reads a file that lies
/// beside it.
///
/// # Errors
/// [`SrcinfoError`] where its name or version is none that a recipe can have, or sources and checksums do not fit together.
pub fn convert(
    description: &Description,
    text: &str,
    options: &Options,
    beside: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Converted, SrcinfoError> {
    let srcinfo = String::from_utf8_lossy(&description.srcinfo()).into_owned();
    let beyond = Beyond {
        steps: steps::steps(description, options),
        carch: &options.carch,
        profile: options.profile,
        environment: options.profile.environment(description),
        beside,
    };
    let conversion = srcinfo::convert_with(&srcinfo, Some(&beyond))?;
    let mut findings = description.notes.clone();
    for finding in conversion.findings {
        let line = srcinfo.lines().nth(finding.line.saturating_sub(1)).map_or(0, |entry| line_of(text, entry));
        findings.push(Note { line, what: finding.what });
    }
    findings.extend(steps::notes(description));
    findings.sort();
    findings.dedup();
    let mut files = conversion.files;
    files.sort();
    files.dedup();
    Ok(Converted { recipe: conversion.recipe, findings, files })
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
