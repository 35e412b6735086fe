// recipes/src/read/package.rs
//! `[package]`: what the package is.

use std::ops::Range;

use crate::reader::{Reader, Section, Text, below};
use crate::recipe::Package;
use crate::text::{first_outside, is_visible, quote};
use crate::version::check_version;

use super::known;

/// Keys of the section.
pub(super) const KEYS: [&str; 10] =
    ["name", "version", "release", "epoch", "arch", "summary", "description", "homepage", "license", "groups"];

/// Epochs that an index of packages can hold.
const EPOCHS: Range<u64> = 0..1 << 32;

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Option<Package> {
    if !root.has("package") {
        let hint = "begin with `[package]`, `name = \"…\"` and `version = \"…\"`";
        reader.missing(0..0, "the recipe has no [package]".to_owned(), hint);
    }
    let section = reader.section(root, "package")?;
    known(reader, &section, &KEYS, &[]);
    for key in ["name", "version"] {
        if !section.has(key) {
            let hint = format!("add `{key} = \"…\"` below it");
            reader.missing(section.span.clone(), format!("[package] has no `{key}`"), &hint);
        }
    }
    let name = reader.parsed(&section, "name");
    let version = version_text(reader, &section, "version");
    let release = if section.has("release") { version_text(reader, &section, "release") } else { Some("1".to_owned()) };
    let epoch = reader.integer(&section, "epoch", EPOCHS).unwrap_or(0);
    let arch = arches(reader, &section);
    let About { summary, description, homepage, license } = about(reader, &section);
    let groups = groups(reader, &section);
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
        groups,
    })
}

/// What a package says about itself to people.
pub(super) struct About {
    pub(super) summary: Option<String>,
    pub(super) description: Option<String>,
    pub(super) homepage: Option<String>,
    pub(super) license: Option<String>,
}

/// Reads what is said to people.
pub(super) fn about<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> About {
    About {
        summary: words(reader, section, "summary", false),
        description: words(reader, section, "description", true),
        homepage: words(reader, section, "homepage", false),
        license: license(reader, section),
    }
}

/// Reads the groups, sorted and each once.
pub(super) fn groups<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<String> {
    let mut groups = Vec::new();
    for text in reader.texts(section, "groups") {
        if is_group(&text.full) {
            groups.push(text.full);
        } else {
            let hint = "a group is one word, like `base-devel`";
            reader.report(text.span, format!("{} cannot be the name of a group", quote(&text.full)), hint);
        }
    }
    groups.sort();
    groups.dedup();
    groups
}

/// Whether a text can be the name of a group: one visible word of up to 100 bytes.
#[must_use]
pub fn is_group(text: &str) -> bool {
    let allowed = |character: char| is_visible(character) && !character.is_whitespace() && character != '/';
    (1..=100).contains(&text.len()) && !text.starts_with(['-', '@']) && text.chars().all(allowed)
}

/// Reads a version or a release.
fn version_text<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Option<String> {
    let text = reader.text(section, key)?;
    match check_version(&text.full) {
        Ok(()) => Some(text.full),
        Err(error) => {
            reader.report(text.span, error.to_string(), error.hint().unwrap_or_default());
            None
        }
    }
}

/// Reads text for people: without control characters, on one line or on several.
fn words<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str, several_lines: bool) -> Option<String> {
    let text = reader.text(section, key)?;
    let allowed = |character: char| is_visible(character) || several_lines && matches!(character, '\n' | '\t');
    if let Some(character) = first_outside(&text.full, allowed) {
        let message = format!("`{}` contains {}", below(&section.title, key), character.escape_unicode());
        let hint = if character == '\n' { "write it on one line" } else { "it is shown on terminals: leave it out" };
        reader.report(text.span, message, hint);
        return None;
    }
    Some(text.carried)
}

/// Reads the architectures, sorted and each once.
pub(super) fn arches<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<String> {
    let texts = reader.texts(section, "arch");
    let mut arches = Vec::new();
    for text in &texts {
        if is_arch(&text.full) {
            arches.push(text.full.clone());
        } else {
            let hint = "write it as the kernel does: `x86_64`, `aarch64`, or `any` for files that no processor runs"
                .to_owned();
            reader.report(text.span.clone(), format!("{} is not an architecture", quote(&text.full)), hint);
        }
    }
    if let (Some(any), true) = (texts.iter().find(|text| text.full == "any"), arches.len() > 1) {
        reader.report(any.span.clone(), "`any` stands beside other architectures", "write it alone");
    }
    arches.sort();
    arches.dedup();
    arches
}

/// Whether a text can be the name of an architecture, in a file name between dots too.
pub(super) fn is_arch(text: &str) -> bool {
    let allowed = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    (1..=32).contains(&text.len()) && text.chars().all(allowed)
}

/// Reads the licence and checks that it is an SPDX expression.
fn license<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let text = reader.text(section, "license")?;
    let Err(error) = spdx::Expression::parse(&text.full) else {
        return Some(text.carried);
    };
    let mut span = error.span.clone();
    if text.full.get(span.end..).is_some_and(|behind| behind.starts_with('+')) {
        span.end += 1;
    }
    let term = text.full.get(span).unwrap_or_default();
    let reason = error.reason.to_string();
    let message = format!("{} is not an SPDX expression: {reason} at {}", quote(&text.full), quote(term));
    reader.report(text.span.clone(), message, license_hint(&text, term));
    None
}

/// Whether a text is an SPDX expression, and so can be the licence of a recipe.
#[must_use]
pub fn is_license(text: &str) -> bool {
    spdx::Expression::parse(text).is_ok()
}

/// Returns the identifier that was probably meant.
fn license_hint(text: &Text, term: &str) -> String {
    let term = term.trim();
    let known = is_license;
    let stem = term.trim_end_matches('+');
    let (only, later) = (format!("{stem}-only"), format!("{stem}-or-later"));
    if known(&only) && known(&later) {
        let either = format!("write `{only}` or `{later}`");
        return if term.ends_with('+') { format!("write `{later}`") } else { either };
    }
    let imprecise = spdx::imprecise_license_id(term).filter(|(id, length)| *length == term.len() && known(id.name));
    if let Some((id, _)) = imprecise {
        // The list of common misspellings takes the oldest version of a family, which is a guess.
        return match id.name.strip_suffix("-only") {
            Some(family) => {
                format!("say which version, like `{family}-only` or `{family}-or-later`")
            }
            None => format!("write `{}`", id.name),
        };
    }
    if text.full.contains(',') {
        return "join several with `AND` or `OR`".to_owned();
    }
    "the identifiers are listed at https://spdx.org/licenses; for any other licence write `LicenseRef-` and a name"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Refusal, check, join, refused, sound};

    const WRONG: &[Refusal<'_>] = &[
        ("[package]\nversion = '1'\n", "1:1", "[package] has no `name`", "add `name = \"…\"`"),
        ("[package]\nname = 'x'\n", "1:1", "[package] has no `version`", "add `version = \"…\"`"),
        (
            "[package]\nname = 'x'\nversion = 1.0\n",
            "3:11",
            "`package.version` must be text, found a number with a point",
            "`\"1.0\"`",
        ),
        ("[package]\nname = 'Hello'\nversion = '1'\n", "2:8", "contains 'H'", "write `hello`"),
        ("[package]\nname = ''\nversion = '1'\n", "2:8", "cannot be empty", "lower-case"),
        ("[package]\nname = '../x'\nversion = '1'\n", "2:8", "starts with '.'", "lower-case"),
        ("[package]\nname = 'x'\nversion = '1.0-rc1'\n", "3:11", "'-' cannot stand", "1.0~rc1"),
        ("[package]\nname = 'x'\nversion = ''\n", "3:11", "cannot be empty", "letters"),
        ("release = 1\n", "4:11", "`package.release` must be text, found a whole number", "put it in quotes: `\"1\"`"),
        ("release = '1-2'\n", "4:11", "'-' cannot stand", "separates"),
        ("epoch = '2'\n", "4:9", "`package.epoch` must be a whole number, found text", "without quotes: `2`"),
        ("epoch = -1\n", "4:9", "`package.epoch` must lie between 0 and 4294967295", ""),
        ("epoch = 99999999999999999999999\n", "4:9", "must lie between", ""),
        ("epoch = 1.5\n", "4:9", "must be a whole number, found a number with a point", ""),
        ("arch = 'x86_64'\n", "4:8", "`package.arch` must be a list of texts, found text", "write `['x86_64']`"),
        ("arch = ['x86-64']\n", "4:9", "`x86-64` is not an architecture", "x86_64"),
        ("arch = ['any', 'x86_64']\n", "4:9", "`any` stands beside", "alone"),
        ("arch = ['x86_64', 3]\n", "4:19", "`package.arch` must be text, found a whole number", "`\"3\"`"),
        (
            "summary = 'a\\u001b[31m'\nhomepage = \"a\\u001b\"\n",
            "5:12",
            "`package.homepage` contains \\u{1b}",
            "leave it out",
        ),
        ("summary = '''a\nb'''\n", "4:11", "`package.summary` contains \\u{a}", "on one line"),
        ("description = \"a\\u202eb\"\n", "4:15", "contains \\u{202e}", "leave it out"),
        ("groups = ['a b']\n", "4:11", "`a b` cannot be the name of a group", "one word"),
        ("groups = ['']\n", "4:11", "cannot be the name of a group", "one word"),
        ("groups = ['-x']\n", "4:11", "cannot be the name of a group", "one word"),
        ("summary = true\n", "4:11", "must be text, found true or false", "`\"true\"`"),
        ("summary = 1979-05-27\n", "4:11", "must be text, found a date", "put it in quotes"),
    ];

    #[test]
    fn a_package_says_what_it_is() {
        let package = sound(
            "release = '2.1'\nepoch = 3\narch = ['x86_64', 'aarch64', 'x86_64']\nsummary = 'S é'\n\
             description = '''\nlong\n\ttext'''\nhomepage = 'https://e.example'\nlicense = '(MIT OR Apache-2.0) AND LicenseRef-x'\n",
        )
        .package;
        assert_eq!((package.release.as_str(), package.epoch), ("2.1", 3));
        assert_eq!(package.arch, ["aarch64", "x86_64"]);
        assert_eq!(package.description.as_deref(), Some("long\n\ttext"));
        assert_eq!(sound("groups = ['x', 'base-devel', 'x']\n").package.groups, ["base-devel", "x"]);
        assert_eq!(sound("").version().to_string(), "1-1");
        assert_eq!(sound("epoch = 2\n").version().to_string(), "2:1-1");
        for license in ["MIT", "GPL-2.0-or-later WITH GCC-exception-3.1", "Zlib AND (BSD-3-Clause OR ISC)"] {
            assert_eq!(sound(&format!("license = '{license}'\n")).package.license.as_deref(), Some(license));
        }
    }

    #[test]
    fn what_a_package_cannot_be_is_refused() {
        check(WRONG);
        assert_eq!(refused("# nothing\n")[0].message, "the recipe has no [package]");
        let both = refused("[package]\n");
        assert_eq!(both.len(), 2, "{}", join(&both));
    }

    #[test]
    fn a_licence_that_is_not_spdx_is_explained() {
        check(&[
            ("license = 'GPL'\n", "4:11", "`GPL` is not an SPDX expression", "say which version, like `GPL-2.0-only`"),
            (
                "license = 'GPL-2.0'\n",
                "4:11",
                "is not an SPDX expression",
                "write `GPL-2.0-only` or `GPL-2.0-or-later`",
            ),
            ("license = 'GPL-3.0+'\n", "4:11", "is not an SPDX expression", "write `GPL-3.0-or-later`"),
            ("license = 'Apache 2.0'\n", "4:11", "is not an SPDX expression", ""),
            ("license = 'apache'\n", "4:11", "is not an SPDX expression", "write `Apache-2.0`"),
            ("license = 'MIT, ISC'\n", "4:11", "is not an SPDX expression", "join several with `AND`"),
            ("license = ''\n", "4:11", "is not an SPDX expression: empty", "https"),
            ("license = '(MIT'\n", "4:11", "unclosed parens", "https"),
            ("license = ['MIT']\n", "4:11", "`package.license` must be text, found a list", ""),
        ]);
    }
}
