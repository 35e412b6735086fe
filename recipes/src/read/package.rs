// recipes/src/read/package.rs
//! `[package]`: what the package is.

use std::ops::Range;

use crate::reader::{Reader, Section, Text};
use crate::recipe::Package;
use crate::text::{first_outside, is_visible, quote};
use crate::version::check_version;

use super::known;

/// Keys of the section.
pub(super) const KEYS: [&str; 9] = [
    "name",
    "version",
    "release",
    "epoch",
    "arch",
    "summary",
    "description",
    "homepage",
    "license",
];

/// Keys that are meant but not built yet.
const LATER: [&str; 1] = ["groups"];

/// Epochs that an index of packages can hold.
const EPOCHS: Range<u64> = 0..1 << 32;

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Option<Package> {
    if !root.has("package") {
        let hint = "begin with `[package]`, `name = \"…\"` and `version = \"…\"`";
        reader.missing(0..0, "the recipe has no [package]".to_owned(), hint);
    }
    let section = reader.section(root, "package")?;
    known(reader, &section, &KEYS, &LATER);
    for key in ["name", "version"] {
        if !section.has(key) {
            let hint = format!("add `{key} = \"…\"` below it");
            reader.missing(
                section.span.clone(),
                format!("[package] has no `{key}`"),
                &hint,
            );
        }
    }
    let name = reader.parsed(&section, "name");
    let version = version_text(reader, &section, "version");
    let release = if section.has("release") {
        version_text(reader, &section, "release")
    } else {
        Some("1".to_owned())
    };
    let epoch = reader.integer(&section, "epoch", EPOCHS).unwrap_or(0);
    let arch = arches(reader, &section);
    let summary = words(reader, &section, "summary", false);
    let description = words(reader, &section, "description", true);
    let homepage = words(reader, &section, "homepage", false);
    let license = license(reader, &section);
    Some(Package {
        name: name?,
        version: version?,
        release: release?,
        epoch,
        arch,
        summary,
        description,
        homepage,
        license,
    })
}

/// Reads a version or a release.
fn version_text<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Option<String> {
    let text = reader.text(section, key)?;
    match check_version(&text.full) {
        Ok(()) => Some(text.full),
        Err(error) => {
            reader.report(text.span, error.to_string(), error.hint());
            None
        }
    }
}

/// Reads text for people: without control characters, on one line or on several.
fn words<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    several_lines: bool,
) -> Option<String> {
    let text = reader.text(section, key)?;
    let allowed = |character: char| {
        is_visible(character) || several_lines && matches!(character, '\n' | '\t')
    };
    if let Some(character) = first_outside(&text.full, allowed) {
        let message = format!("`package.{key}` contains {}", character.escape_unicode());
        let hint = if character == '\n' {
            "write it on one line"
        } else {
            "it is shown on terminals: leave it out"
        };
        reader.report(text.span, message, hint.to_owned());
        return None;
    }
    Some(text.carried)
}

/// Reads the architectures, sorted and each once.
fn arches<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<String> {
    let texts = reader.texts(section, "arch");
    let mut arches = Vec::new();
    for text in &texts {
        if is_arch(&text.full) {
            arches.push(text.full.clone());
        } else {
            let hint = "write it as the kernel does: `x86_64`, `aarch64`, or `any` for files that no processor runs".to_owned();
            reader.report(
                text.span.clone(),
                format!("{} is not an architecture", quote(&text.full)),
                hint,
            );
        }
    }
    if let (Some(any), true) = (
        texts.iter().find(|text| text.full == "any"),
        arches.len() > 1,
    ) {
        reader.report(
            any.span.clone(),
            "`any` stands beside other architectures",
            "write it alone".to_owned(),
        );
    }
    arches.sort();
    arches.dedup();
    arches
}

/// Whether a text can be the name of an architecture, in a file name between dots too.
pub(super) fn is_arch(text: &str) -> bool {
    let allowed = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'
    };
    (1..=32).contains(&text.len()) && text.chars().all(allowed)
}

/// Reads the licence and checks that it is an SPDX expression.
fn license<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let text = reader.text(section, "license")?;
    let Err(error) = spdx::Expression::parse(&text.full) else {
        return Some(text.carried);
    };
    let term = text.full.get(error.span.clone()).unwrap_or_default();
    let reason = error.reason.to_string();
    let message = format!(
        "{} is not an SPDX expression: {reason} at {}",
        quote(&text.full),
        quote(term)
    );
    reader.report(text.span.clone(), message, license_hint(&text, term));
    None
}

/// Returns the identifier that was probably meant.
fn license_hint(text: &Text, term: &str) -> String {
    let term = term.trim();
    let known = |id: &str| spdx::Expression::parse(id).is_ok();
    let stem = term.trim_end_matches('+');
    let (only, later) = (format!("{stem}-only"), format!("{stem}-or-later"));
    if known(&only) && known(&later) {
        return if term.ends_with('+') {
            format!("write `{later}`")
        } else {
            format!("write `{only}` or `{later}`")
        };
    }
    if let Some((id, _)) = spdx::imprecise_license_id(term)
        .filter(|(id, length)| *length == term.len() && known(id.name))
    {
        return format!("write `{}`", id.name);
    }
    if text.full.contains(',') || text.full.contains(" and ") || text.full.contains(" or ") {
        return "join several with `AND` or `OR`".to_owned();
    }
    "the identifiers are listed at https://spdx.org/licenses; for any other licence write `LicenseRef-` and a name".to_owned()
}
