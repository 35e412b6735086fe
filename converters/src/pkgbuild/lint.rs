// converters/src/pkgbuild/lint.rs
//! What makepkg refuses a PKGBUILD for, in its own words: names, versions, options and functions that are none.

use std::collections::BTreeSet;
use std::path::Path;

use super::schema::{BY_ARCHITECTURE, PACKAGE_ARRAYS, PACKAGE_SCALARS, SUMS, is_array};
use super::sections::Line;
use super::{Description, Note, Section};
use crate::shell::{Evaluator, Value, print_function};

/// Options that makepkg knows; `!` in front of one switches it off.
const OPTIONS: [&str; 14] = [
    "strip",
    "docs",
    "libtool",
    "staticlibs",
    "emptydirs",
    "zipman",
    "purge",
    "debug",
    "lto",
    "autodeps",
    "ccache",
    "distcc",
    "buildflags",
    "makeflags",
];

/// Attributes with one value that makepkg looks at.
const STRINGS: [&str; 8] = ["changelog", "epoch", "install", "pkgbase", "pkgdesc", "pkgrel", "pkgver", "url"];

fn note(what: &str) -> Note {
    Note { line: 0, what: format!("makepkg refuses it: {what}") }
}

/// What becomes of a file that leaves `set -u` on.
pub(super) fn nounset() -> Note {
    note("`set -u` stays on behind its end, and makepkg reads variables that are not set")
}

/// Refusals about what only the shell knows: kinds of variables, gaps in `source`, and files that are not beside.
pub(super) fn variables(shell: &Evaluator<'_>, beside: Option<&Path>) -> Vec<Note> {
    let is_list = |value: &Value| matches!(value, Value::Indexed(_));
    let architectures = shell.variable("arch").map(|arch| arch.value.elements()).unwrap_or_default();
    let is_by_architecture = |name: &str| {
        architectures.iter().filter(|arch| *arch != "any").any(|arch| {
            let stem = name.strip_suffix(arch.as_str()).and_then(|stem| stem.strip_suffix('_'));
            stem.is_some_and(|stem| BY_ARCHITECTURE.contains(&stem) || SUMS.contains(&stem))
        })
    };
    let should_be_list = |name: &str| is_array(name) || is_by_architecture(name);
    let mut found = Vec::new();
    let mut wrong = |name: &str, is_list: bool| {
        if is_list && STRINGS.contains(&name) {
            found.push(note(&format!("{name} should not be an array")));
        } else if !is_list && should_be_list(name) {
            found.push(note(&format!("{name} should be an array")));
        }
    };
    for (name, variable) in shell.variables().filter(|(_, variable)| !matches!(variable.value, Value::Unknown(_))) {
        wrong(name, is_list(&variable.value));
    }
    let packages = shell.variable("pkgname").map(|names| names.value.elements()).unwrap_or_default();
    // makepkg's own list of what a package may say otherwise has no `checkdepends`.
    let own =
        |name: &str| name != "checkdepends" && (PACKAGE_SCALARS.contains(&name) || PACKAGE_ARRAYS.contains(&name));
    let is_fixed = |name: &str| {
        let by = |arch: &String| name.strip_suffix(arch.as_str()).and_then(|stem| stem.strip_suffix('_'));
        let stem = architectures.iter().filter(|arch| *arch != "any").find_map(by).unwrap_or(name);
        (STRINGS.contains(&stem) || is_array(stem)) && !own(stem)
    };
    let mut fixed = BTreeSet::new();
    for package in &packages {
        let Some(function) = shell.function(&format!("package_{package}")).or_else(|| shell.function("package")) else {
            continue;
        };
        let text = print_function(function);
        text.lines().filter_map(Line::of).for_each(|line| wrong(line.name, line.array));
        fixed.extend(text.lines().filter_map(Line::of).map(|line| line.name.to_owned()).filter(|name| is_fixed(name)));
    }
    found.extend(fixed.iter().map(|name| note(&format!("{name} can not be set inside a package function"))));
    if let Some(Value::Indexed(sources)) = shell.variable("source").map(|source| &source.value) {
        let last = sources.keys().next_back().map_or(0, |last| last + 1);
        if usize::try_from(last).is_ok_and(|end| end != sources.len()) {
            found.push(note("Sparse arrays are not allowed for source"));
        }
    }
    let mut files: Vec<(&str, String)> = Vec::new();
    for kind in ["install", "changelog"] {
        let value = shell.variable(kind).map(|variable| variable.value.elements()).unwrap_or_default();
        files.extend(value.into_iter().map(|file| (kind, file)));
    }
    found.extend(missing(&files, beside));
    found
}

/// The files that are not beside.
fn missing(files: &[(&str, String)], beside: Option<&Path>) -> Vec<Note> {
    let Some(directory) = beside else { return Vec::new() };
    let is_missing = |file: &str| !file.is_empty() && !directory.join(file).is_file();
    let about =
        |(kind, file): &(&str, String)| note(&format!("{kind} file ({file}) does not exist or is not a regular file."));
    files.iter().filter(|(_, file)| is_missing(file)).map(about).collect()
}

/// The same of what a package's function names, once its lines were evaluated.
pub(super) fn files_of(packages: &[Section], beside: Option<&Path>) -> Vec<Note> {
    let of = |package: &Section| {
        ["install", "changelog"]
            .map(|kind| package.value(kind).map(|file| (kind, file.to_owned())))
            .into_iter()
            .flatten()
    };
    let files: Vec<(&str, String)> = packages.iter().flat_map(|package| of(package).collect::<Vec<_>>()).collect();
    missing(&files, beside)
}

/// Each refusal, without a line.
pub(super) fn notes(description: &Description) -> Vec<Note> {
    let mut found = Vec::new();
    let base = &description.base;
    let sections = || std::iter::once(base).chain(&description.packages);
    found.extend(name("pkgbase", &base.name));
    for package in &description.packages {
        found.extend(name("pkgname", &package.name));
    }
    found.extend(version("pkgver", base.value("pkgver").unwrap_or_default()));
    found.extend(release("pkgrel", base.value("pkgrel").unwrap_or_default()));
    if let Some(epoch) = base.value("epoch").filter(|epoch| !epoch.bytes().all(|byte| byte.is_ascii_digit())) {
        found.push(format!("epoch must be an integer, not {epoch}."));
    }
    let arches = base.values("arch").unwrap_or_default();
    if arches.len() > 1 && arches.iter().any(|arch| arch == "any") {
        found.push("Can not use 'any' architecture with other architectures".to_owned());
    } else {
        for arch in arches {
            found.extend(strange("arch", arch, "_"));
        }
    }
    for section in sections() {
        for (attribute, values) in &section.attributes {
            let plain = attribute.split_once('_').map_or(attribute.as_str(), |(plain, _)| plain);
            for value in values {
                match plain {
                    "optdepends" => {
                        let end = value.find(": ").or_else(|| value.strip_suffix(':').map(str::len));
                        found.extend(relation(plain, &value[..end.unwrap_or(value.len())]));
                    }
                    "provides" if value.contains(['<', '>']) => {
                        found.push("provides array cannot contain comparison (< or >) operators.".to_owned());
                    }
                    "depends" | "makedepends" | "checkdepends" | "conflicts" | "provides" => {
                        found.extend(relation(plain, value));
                    }
                    "backup" if value.starts_with('/') => {
                        found.push(format!("backup entry should not contain leading slash : {value}"));
                    }
                    "options" if !OPTIONS.contains(&value.strip_prefix('!').unwrap_or(value)) => {
                        found.push(format!("options array contains unknown option '{value}'"));
                    }
                    _ => {}
                }
            }
        }
    }
    found.extend(functions(description));
    let mut notes: Vec<Note> =
        found.into_iter().map(|what| Note { line: 0, what: format!("makepkg refuses it: {what}") }).collect();
    notes.sort();
    notes.dedup();
    notes
}

/// What is wrong with a name.
fn name(attribute: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if text.is_empty() {
        return vec![format!("{attribute} is not allowed to be empty.")];
    }
    if text.starts_with('-') {
        found.push(format!("{attribute} is not allowed to start with a hyphen."));
    }
    if text.starts_with('.') {
        found.push(format!("{attribute} is not allowed to start with a dot."));
    }
    if !text.is_ascii() {
        return vec![format!("{attribute} may only contain ascii characters.")];
    }
    found.extend(strange(attribute, text, "+_.@-"));
    found
}

/// The characters of a text that are neither letters, digits nor these.
fn strange(attribute: &str, text: &str, also: &str) -> Option<String> {
    let left: String = text.chars().filter(|c| !c.is_alphanumeric() && !also.contains(*c)).collect();
    (!left.is_empty()).then(|| format!("{attribute} contains invalid characters: '{left}'"))
}

pub(super) fn version(attribute: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(format!("{attribute} is not allowed to be empty."));
    }
    if text.contains(|c: char| c.is_whitespace() || "/:-".contains(c)) {
        let kinds = "colons, forward slashes, hyphens or whitespace";
        return Some(format!("{attribute} is not allowed to contain {kinds}."));
    }
    (!text.is_ascii()).then(|| format!("{attribute} may only contain ascii characters."))
}

fn release(attribute: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(format!("{attribute} is not allowed to be empty."));
    }
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, rest) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    (!digits(whole) || !rest.is_none_or(digits))
        .then(|| format!("{attribute} must be of the form 'integer[.integer]', not {text}."))
}

/// What is wrong with `name`, or `name` with a version behind an operator.
fn relation(attribute: &str, text: &str) -> Vec<String> {
    let Some(at) = text.find(['<', '>', '=']) else { return name(attribute, text) };
    let mut found = name(attribute, &text[..at]);
    let mut full = text[at..].trim_start_matches(['<', '>', '=']);
    if full.is_empty() {
        return found;
    }
    if let Some((epoch, rest)) = full.split_once(':') {
        if !epoch.bytes().all(|byte| byte.is_ascii_digit()) {
            found.push(format!("epoch in {attribute} must be an integer, not {epoch}."));
        }
        full = rest;
    }
    if let Some((rest, of)) = full.rsplit_once('-').filter(|(rest, _)| !rest.is_empty()) {
        found.extend(release(&format!("pkgrel in {attribute}"), of));
        full = rest;
    }
    found.extend(version(&format!("pkgver in {attribute}"), full));
    found
}

/// Whether the functions that makepkg calls are there, and no others.
fn functions(description: &Description) -> Vec<String> {
    let has = |name: &str| description.functions.iter().any(|function| function.name == name);
    let base = &description.base.name;
    let own = |package: &Section| format!("package_{}", package.name);
    if let [package] = &description.packages[..] {
        let (general, own_name) = (has("package"), own(package));
        if general && has(&own_name) {
            return vec![format!("Conflicting package() and {own_name}() functions in PKGBUILD")];
        }
        let missing = has("build") && !general && !has(&own_name);
        return missing.then(|| "Missing package() function in PKGBUILD".to_owned()).into_iter().collect();
    }
    let mut found = Vec::new();
    if has("package") {
        found.push(format!("Extra package() function for split package '{base}'"));
    }
    for package in description.packages.iter().filter(|package| !has(&own(package))) {
        found.push(format!("Missing {}() function for split package '{}'", own(package), package.name));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::pkgbuild::{Options, read};

    /// Texts, and what makepkg 6.0.2 says of them.
    const REFUSED: &[(&str, &str)] = &[
        ("pkgname=a\nset -u", "`set -u` stays on behind its end, and makepkg reads variables that are not set"),
        ("pkgname=a pkgver=1-2", "pkgver is not allowed to contain colons, forward slashes, hyphens or whitespace."),
        ("pkgname=a pkgver=", "pkgver is not allowed to be empty."),
        ("pkgname=-a", "pkgname is not allowed to start with a hyphen."),
        ("pkgname='a b'", "pkgname contains invalid characters: ' '"),
        ("pkgname=\u{e9}", "pkgname may only contain ascii characters."),
        ("pkgname=a pkgrel=1a", "pkgrel must be of the form 'integer[.integer]', not 1a."),
        ("pkgname=a epoch=x", "epoch must be an integer, not x."),
        ("pkgname=a arch=(any x86_64)", "Can not use 'any' architecture with other architectures"),
        ("pkgname=a depends=('b c')", "depends contains invalid characters: ' '"),
        ("pkgname=a depends=('b>=1:2-x')", "pkgrel in depends must be of the form 'integer[.integer]', not x."),
        ("pkgname=a optdepends=('b:no blank')", "optdepends contains invalid characters: ': '"),
        ("pkgname=a provides=('b>1')", "provides array cannot contain comparison (< or >) operators."),
        ("pkgname=a backup=(/etc/a)", "backup entry should not contain leading slash : /etc/a"),
        ("pkgname=a options=(fast)", "options array contains unknown option 'fast'"),
        ("pkgname=(a b) pkgbase=c; package_a() { :; }", "Missing package_b() function for split package 'b'"),
        ("pkgname=a; build() { :; }", "Missing package() function in PKGBUILD"),
        ("pkgname=a depends=b", "depends should be an array"),
        ("pkgname=a arch=(x86_64) source_x86_64=b", "source_x86_64 should be an array"),
        ("pkgname=a url=(b)", "url should not be an array"),
        ("pkgname=a; package() {\n depends=b\n}", "depends should be an array"),
        ("pkgname=a; package() {\n pkgdesc=(b)\n}", "pkgdesc should not be an array"),
        ("pkgname=a; package() {\n pkgver=2\n}", "pkgver can not be set inside a package function"),
        ("pkgname=a; package() {\n source+=(b)\n}", "source can not be set inside a package function"),
        ("pkgname=a; package() {\n checkdepends=(b)\n}", "checkdepends can not be set inside a package function"),
        (
            "pkgname=(a b) arch=(x86_64); package_a() { :; }\npackage_b() {\n makedepends_x86_64=(c)\n}",
            "makedepends_x86_64 can not be set inside a package function",
        ),
        ("pkgname=a source=([0]=b [2]=c)", "Sparse arrays are not allowed for source"),
    ];

    #[test]
    fn files_that_are_not_beside_are_missed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("there"), "").unwrap();
        let text = "pkgbase=x\npkgname=(a b)\npkgver=1\npkgrel=1\narch=(any)\ninstall=there\nchangelog=News\npackage_a() {\n \
                    install=$pkgname.install\n}\npackage_b() {\n :\n}\n";
        let read = |beside| read(text.as_bytes(), beside, &Options::default()).unwrap().notes;
        let said: Vec<String> = read(Some(directory.path())).into_iter().map(|note| note.what).collect();
        let missing = |what: &str| format!("makepkg refuses it: {what} does not exist or is not a regular file.");
        assert_eq!(said, [missing("changelog file (News)"), missing("install file (a.install)")]);
        assert_eq!(read(None), []);
    }

    #[test]
    fn what_makepkg_refuses_is_said_in_its_words() {
        for (text, what) in REFUSED {
            let whole = format!("pkgver=1\npkgrel=1\narch=(any)\n{text}\n");
            let notes = read(whole.as_bytes(), None, &Options::default()).unwrap().notes;
            assert!(notes.iter().any(|note| note.what == format!("makepkg refuses it: {what}")), "{text}: {notes:?}");
        }
        let right = "pkgname=a pkgver=1.0_b~2 pkgrel=1.1 epoch=2 arch=(x86_64 i686)\ndepends=('b>=1:2-3' 'c.so=1-64' d=)\n\
                     optdepends=('e: f g' h) provides=(i=1) backup=(etc/a) options=(!strip lto)\npackage() { :; }\n";
        assert_eq!(read(right.as_bytes(), None, &Options::default()).unwrap().notes, []);
    }
}
