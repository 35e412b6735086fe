// converters/src/srcinfo/scripts.rs
//! The file that `install` names: bash functions for the moments at which pacman calls one.
//!
//! A function that is understood whole ([`moments`]) becomes declarations under `[hooks]`; what it prints becomes a comment. Any other is a scriptlet:
//! the whole file, word for word, and behind it the call of the function with what pacman gives it, which is the version, and for an
//! upgrade the old one too. Why is in the report, with the line of the file.

use super::moments::{self, Declared};
use super::text::Entry;
use super::writer::Writer;
use super::{Beyond, Findings, values};
use crate::shell;

/// What pacman calls, and the key of `[scripts]`. What makes something stands before what takes it back.
const MOMENTS: [(&str, &str); 6] = [
    ("pre_install", "pre-install"),
    ("post_install", "post-install"),
    ("pre_upgrade", "pre-upgrade"),
    ("post_upgrade", "post-upgrade"),
    ("pre_remove", "pre-remove"),
    ("post_remove", "post-remove"),
];

/// Writes the hooks and scriptlets of one package, or says why there are none; `prefix` stands before the names of both sections.
pub(super) fn write(
    out: &mut Writer,
    prefix: &str,
    entries: &[Entry<'_>],
    beyond: Option<&Beyond<'_>>,
    findings: &mut Findings,
) {
    let Some(entry) = values(entries, "install").last() else { return };
    let mut left_out = |why: String| {
        findings.add(entry.line, format!("`install = {}` is left out: {why}", entry.value));
    };
    let Some(beyond) = beyond else {
        return left_out("its scriptlets are bash functions: move what they do to `hooks` or `scripts`".to_owned());
    };
    let Some(bytes) = (beyond.beside)(entry.value) else {
        return left_out("it is not beside the PKGBUILD".to_owned());
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return left_out("it is not UTF-8".to_owned());
    };
    let script = match shell::parse(&text, 1) {
        Ok(script) => script,
        Err(error) => return left_out(format!("it is not read: {error}")),
    };
    let names: Vec<String> = script.functions().map(|function| function.name.clone()).collect();
    let moments: Vec<&(&str, &str)> =
        MOMENTS.iter().filter(|(function, _)| names.iter().any(|name| name == function)).collect();
    if moments.is_empty() {
        return left_out("it has no function that pacman calls".to_owned());
    }
    let has_unit = |unit: &str| has_unit(unit, entries, beyond);
    let mut declared = Declared::default();
    let mut kept = Vec::new();
    for (function, key) in moments {
        let taken = moments::read(&text, function).and_then(|acts| {
            declared.take(function, acts, &has_unit).map_err(|what| moments::Unclear { line: 0, what })
        });
        if let Err(unclear) = taken {
            let line = if unclear.line == 0 { String::new() } else { format!(":{}", unclear.line) };
            let what = format!("{}{line}: {function}() stays a scriptlet: {}", entry.value, unclear.what);
            findings.add(entry.line, what);
            kept.push((function, key));
        }
    }
    says(out, entry, &declared, findings);
    for (command, why) in &declared.idle {
        findings.add(entry.line, format!("{}: `{command}` is left out: {why}", entry.value));
    }
    if !declared.is_empty() {
        out.section(&format!("[{prefix}hooks]"));
        declared.write(out);
    }
    if !kept.is_empty() {
        out.section(&format!("[{prefix}scripts]"));
    }
    for (function, key) in kept {
        out.step(key, &format!("#!/bin/bash\n{}\n\n{function} \"$@\"", text.trim_end()));
    }
}

/// Keeps what functions only print.
fn says(out: &mut Writer, entry: &Entry<'_>, declared: &Declared, findings: &mut Findings) {
    let mut last = "";
    for (function, text) in &declared.says {
        if function != last {
            out.line("");
            out.line(&format!("# What {function}() of {} prints:", entry.value));
            let what = format!(
                "{}: what {function}() prints is a comment of the recipe: an install prints nothing",
                entry.value
            );
            findings.add(entry.line, what);
        }
        last = function;
        for line in text.lines() {
            let plain: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
            out.line(format!("#   {plain}").trim_end());
        }
    }
}

/// Whether a unit lies beside the PKGBUILD, says what would start it, and is spoken of by a function.
fn has_unit(unit: &str, entries: &[Entry<'_>], beyond: &Beyond<'_>) -> bool {
    let is_source = values(entries, "source").any(|entry| entry.value == unit);
    let end = unit.rfind('.').map_or("", |at| &unit[at..]);
    let says_when = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().any(|line| line.trim() == "[Install]")
            && text.lines().any(|line| {
                ["WantedBy=", "RequiredBy=", "UpheldBy=", "Also=", "Alias="].iter().any(|key| line.starts_with(key))
            })
    };
    is_source && beyond.steps.mention(end) && (beyond.beside)(unit).is_some_and(says_when)
}
