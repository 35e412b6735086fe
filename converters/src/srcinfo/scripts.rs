// converters/src/srcinfo/scripts.rs
//! The file that `install` names: bash functions for the moments at which pacman calls one.
//!
//! Each moment's scriptlet is the whole file, word for word, and behind it the call of the function with what pacman gives it: the
//! version, and for an upgrade the old one too.

use super::text::Entry;
use super::writer::Writer;
use super::{Beyond, Findings, values};
use crate::shell;

/// What pacman calls, and the key of `[scripts]`.
const MOMENTS: [(&str, &str); 6] = [
    ("pre_install", "pre-install"),
    ("post_install", "post-install"),
    ("pre_upgrade", "pre-upgrade"),
    ("post_upgrade", "post-upgrade"),
    ("pre_remove", "pre-remove"),
    ("post_remove", "post-remove"),
];

/// Writes the scriptlets of one package under `header`, or says why there are none.
pub(super) fn write(
    out: &mut Writer,
    header: &str,
    entries: &[Entry<'_>],
    beyond: Option<&Beyond<'_>>,
    findings: &mut Findings,
) {
    let Some(entry) = values(entries, "install").last() else { return };
    let mut left_out = |why: String| {
        findings.add(entry.line, format!("`install = {}` is left out: {why}", entry.value));
    };
    let Some(beyond) = beyond else {
        return left_out("its scriptlets are bash functions: move what they do to `scripts`".to_owned());
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
    out.section(header);
    for (function, key) in moments {
        out.step(key, &format!("#!/bin/bash\n{}\n\n{function} \"$@\"", text.trim_end()));
    }
}
