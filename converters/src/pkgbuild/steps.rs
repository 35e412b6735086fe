// converters/src/pkgbuild/steps.rs
//! The functions of a PKGBUILD as steps of a recipe, word for word.
//!
//! `build.setup` writes the surroundings that makepkg gives to functions (`srcdir`, `pkgdir`, `CARCH`, the metadata, variables and helper
//! functions of the file) beside the source; each step reads them and calls its function in bash, with `set -e` as makepkg has it.
//! The script comes through a descriptor of its own, so that a command which reads its input does not read the script.
//! What no function speaks of is left out of the surroundings.

use std::fmt::Write as _;

use super::{Description, Note, Options, Written};
use crate::shell::quoted;
use crate::srcinfo::Steps;

/// Where the surroundings are written: beside the source, in the build's own directory.
const SURROUNDINGS: &str = "../surroundings.bash";

/// Where the step that asks for the version writes it.
pub const VERSION_FILE: &str = "version";

/// What makepkg has for functions to print with.
const MESSAGES: [(&str, &str); 5] = [
    ("msg", "msg() { local format=$1; shift; printf \"==> $format\\n\" \"$@\"; }"),
    ("msg2", "msg2() { local format=$1; shift; printf \"  -> $format\\n\" \"$@\"; }"),
    ("plain", "plain() { local format=$1; shift; printf \"    $format\\n\" \"$@\"; }"),
    ("warning", "warning() { local format=$1; shift; printf \"==> WARNING: $format\\n\" \"$@\" >&2; }"),
    ("error", "error() { local format=$1; shift; printf \"==> ERROR: $format\\n\" \"$@\" >&2; }"),
];

/// The functions that makepkg calls.
fn is_step(name: &str) -> bool {
    matches!(name, "pkgver" | "prepare" | "build" | "check" | "package" | "verify") || name.starts_with("package_")
}

/// Whether a text holds a word by itself.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(is_part)
            && !text[at + word.len()..].chars().next().is_some_and(is_part)
    })
}

/// What the functions that run, and those that help them, speak of.
struct Spoken<'d> {
    texts: Vec<&'d str>,
    /// Whether they take names from values, so that any may be meant.
    any: bool,
}

impl<'d> Spoken<'d> {
    fn of(description: &'d Description, with_version: bool) -> Self {
        let runs = |function: &&Written| match function.name.as_str() {
            "pkgver" => with_version,
            name => name != "verify",
        };
        let texts: Vec<&str> =
            description.functions.iter().filter(runs).map(|function| function.text.as_str()).collect();
        let any = texts.iter().any(|text| text.contains("${!") || has_word(text, "eval") || has_word(text, "declare"));
        Self { texts, any }
    }

    fn of_word(&self, word: &str) -> bool {
        self.any || self.texts.iter().any(|text| has_word(text, word))
    }
}

impl Description {
    /// Variables that a function speaks of and whose value is known only when something runs.
    #[must_use]
    pub fn missing(&self) -> Vec<&Note> {
        let spoken = Spoken::of(self, false);
        self.unknown.iter().filter(|note| spoken.of_word(&note.what)).collect()
    }
}

/// All steps of a recipe.
pub(super) fn steps(description: &Description, options: &Options) -> Steps {
    let find = |name: &str| description.functions.iter().find(|function| function.name == name);
    let prepare = find("prepare").map(|prepare| call(prepare, "")).unwrap_or_default();
    let mut steps = Steps { setup: (surroundings(description, options, false), prepare), ..Steps::default() };
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

/// A step that calls `pkgver()` behind `setup`, as makepkg does behind `prepare()`, and writes what it prints into the file
/// [`VERSION_FILE`] of the output.
pub(super) fn version(description: &Description, options: &Options) -> Option<String> {
    let function = description.functions.iter().find(|function| function.name == "pkgver")?;
    let call = call(function, "");
    let (first, rest) = call.split_once('\n')?;
    Some(format!("{}\n{first} > \"$DESTDIR/{VERSION_FILE}\"\n{rest}", surroundings(description, options, true)))
}

/// What about the functions cannot be as it is under makepkg.
pub(super) fn notes(description: &Description) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |line: usize, what: String| notes.push(Note { line, what });
    let base = &description.base;
    let has_git = base
        .attributes
        .iter()
        .filter(|(name, _)| name.split('_').next() == Some("source"))
        .flat_map(|(_, values)| values)
        .any(|value| value.contains("git+") || value.contains("git://"));
    for function in &description.functions {
        let Written { name, line, body, .. } = function;
        match name.as_str() {
            "pkgver" => {
                let version = base.value("pkgver").unwrap_or_default();
                note(*line, format!("pkgver() is asked with `--pin` only: the version stays {version}"));
                continue;
            }
            "verify" => {
                note(*line, "verify() is left out: checksums and signatures are what is verified".to_owned());
                continue;
            }
            _ => {}
        }
        let at = |word: &str| line + body.lines().position(|text| has_word(text, word)).unwrap_or_default();
        if has_git && has_word(body, "git") {
            let what = format!("{name}() calls git, and a repository is laid out without its history");
            note(at("git"), what);
        }
        if has_word(body, "startdir") {
            note(at("startdir"), format!("{name}() uses $startdir, where here nothing lies but the sources"));
        }
    }
    for missing in description.missing() {
        note(
            missing.line,
            format!("`{}` is not set in the steps: its value is known only when something runs", missing.what),
        );
    }
    notes
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
fn surroundings(description: &Description, options: &Options, with_version: bool) -> String {
    let base = &description.base;
    let spoken = Spoken::of(description, with_version);
    let mut out = String::new();
    let _ = writeln!(out, "set -e\nshopt -s extglob\numask 022");
    let _ = writeln!(out, "srcdir=$PWD startdir=${{PWD%/*}} pkgdir=$DESTDIR\nunset DESTDIR");
    let _ = writeln!(out, "CARCH={}\nexport CHOST={}", quoted(&options.carch), quoted(options.profile.chost));
    let _ = writeln!(out, "pkgbase={}", quoted(&base.name));
    let names: Vec<String> = description.packages.iter().map(|package| quoted(&package.name)).collect();
    let _ = writeln!(out, "pkgname=({})", names.join(" "));
    for (attribute, values) in &base.attributes {
        if !spoken.of_word(attribute) && !matches!(attribute.as_str(), "pkgver" | "pkgrel" | "epoch") {
            continue;
        }
        if super::SCALARS.contains(&attribute.as_str()) {
            let _ = writeln!(out, "{attribute}={}", quoted(values.first().map_or("", String::as_str)));
        } else {
            let words: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            let _ = writeln!(out, "{attribute}=({})", words.join(" "));
        }
    }
    for (name, text) in &description.variables {
        // An exported one is for programs, and no function need speak of it.
        if spoken.of_word(name) || text.ends_with(&format!("\nexport {name}")) {
            let _ = writeln!(out, "{text}");
        }
    }
    for (name, text) in MESSAGES.iter().filter(|(name, _)| spoken.texts.iter().any(|text| has_word(text, name))) {
        if !description.functions.iter().any(|function| function.name == *name) {
            let _ = writeln!(out, "{text}");
        }
    }
    for function in description.functions.iter().filter(|function| !is_step(&function.name)) {
        let _ = writeln!(out, "{}", function.text);
    }
    let end = delimiter(&out);
    format!("cat > {SURROUNDINGS} <<'{end}'\n{out}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_by_themselves() {
        for (text, word, found) in [
            ("cd $_dir", "_dir", true),
            ("cd ${_dir}/x", "_dir", true),
            ("cd $_directory", "_dir", false),
            ("x_dir=1; echo _dir", "_dir", true),
            ("", "x", false),
        ] {
            assert_eq!(has_word(text, word), found, "{text}");
        }
    }

    #[test]
    fn what_no_function_speaks_of_is_left_out() {
        let text = b"pkgname=x\npkgver=1\npkgrel=1\narch=(any)\n_used=1\n_idle=2\nexport _out=3\ndeclare -gA _table=([a]='b c')\n\
                     _run=$(date)\n_never=$(date)\nhelp() { echo $_used; }\npackage() { msg2 'to %s' \"${_table[a]}\"; help $_run; }\n";
        let description = super::super::read(text, None, &Options::default()).unwrap();
        let setup = steps(&description, &Options::default()).setup.0;
        for part in ["_used=1\n", "export _out\n", "declare -A _table=([a]='b c')\n", "help() {", "msg2() {"] {
            assert!(setup.contains(part), "{part}\n{setup}");
        }
        assert!(!setup.contains("_idle") && !setup.contains("msg() {"), "{setup}");
        let missing: Vec<(usize, &str)> =
            description.missing().iter().map(|note| (note.line, note.what.as_str())).collect();
        assert_eq!(missing, [(9, "_run")]);
    }
}
