// recipes/src/read.rs
//! Reads a recipe: which sections and keys there are, and what they must hold.
//!
//! One module a section. Every key of the format appears in exactly one list of known keys; a key that is
//! meant but not built yet stands in a list of its own and is refused, because a key that parses and does
//! nothing is worse than an error. All that is wrong is reported in one run. After a syntax error only what stands
//! before it is judged: what follows may have been read differently than it was meant.

mod build;
mod locations;
mod names;
mod package;
mod patches;
mod relations;
mod source;

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, SourceText};
use crate::expansion::{Facts, nearest};
use crate::reader::{Key, Reader, Section};
use crate::recipe::{Origin, Recipe};
use crate::text::quote;

/// The largest recipe: a person's steps and lists are some thousand bytes, the largest known some ten thousand.
pub(crate) const RECIPE_BYTES: usize = 1 << 20;

/// Sections of the format.
const SECTIONS: [&str; 7] = [
    "package",
    "source",
    "patches",
    "build",
    "runtime",
    "components",
    "variables",
];

/// Sections that are meant but not built yet.
const LATER: [&str; 7] = [
    "outputs",
    "config",
    "hooks",
    "scripts",
    "cross",
    "flavors",
    "reproducibility",
];

/// Keys of other formats, and what takes their place.
const FOREIGN: [(&str, &str); 8] = [
    (
        "script_file",
        "write the commands as steps: `configure`, `make`, `install`",
    ),
    (
        "script",
        "write the commands as steps: `configure`, `make`, `install`",
    ),
    ("build", "the step that compiles is `make`"),
    ("prepare", "the step that prepares the source is `setup`"),
    ("sha256", "write `checksum = \"sha256:…\"`"),
    ("sha512", "write `checksum = \"sha512:…\"`"),
    (
        "depends",
        "needed to run: `requires` in [runtime]; needed to build: `makedepends` in [build]",
    ),
    ("env", "write `environment`"),
];

/// How many syntax errors are shown: the first causes most of the others.
const SYNTAX_ERRORS: usize = 10;

/// Reads a whole recipe. Without facts, text stays as written and stand-ins serve to check it.
///
/// # Errors
/// Everything that is wrong, in the order of the file. Never empty.
pub(crate) fn recipe(origin: &Origin, facts: Option<&Facts>) -> Result<Recipe, Vec<Diagnostic>> {
    if origin.text.len() > RECIPE_BYTES {
        let source = SourceText::new(&origin.file, "");
        let message = format!(
            "the recipe has {} bytes, more than {} MiB",
            origin.text.len(),
            RECIPE_BYTES >> 20
        );
        return Err(vec![source.diagnostic(
            0..0,
            message,
            Some("put data into files beside the recipe".to_owned()),
        )]);
    }
    let source = SourceText::new(&origin.file, &origin.text);
    let (document, syntax) = DeTable::parse_recoverable(&origin.text);
    let mut reader = Reader::new(&source, facts, !syntax.is_empty());
    let root = Section {
        title: String::new(),
        table: document.get_ref(),
        span: 0..0,
    };
    let recipe = sections(&mut reader, &root, origin, facts);
    let diagnostics = reader.finish();
    match recipe {
        Some(recipe) if diagnostics.is_empty() && syntax.is_empty() => Ok(recipe),
        _ if syntax.is_empty() => Err(diagnostics),
        _ => Err(with_syntax_errors(&source, diagnostics, &syntax)),
    }
}

/// Reads each section.
fn sections<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    origin: &Origin,
    facts: Option<&Facts>,
) -> Option<Recipe> {
    outside(reader, root);
    names::define(reader, root);
    let package = package::read(reader, root);
    let sources = source::read(reader, root);
    let patches = patches::read(reader, root);
    let build = build::read(reader, root);
    let runtime = relations::runtime(reader, root);
    let components = relations::components(reader, root);
    Some(Recipe {
        package: package?,
        source: sources.main,
        arch_sources: sources.by_arch,
        additional: sources.additional,
        patches,
        build,
        runtime,
        components,
        origin: origin.clone(),
        expanded_for: facts.map(|facts| facts.arch.clone()),
    })
}

/// Refuses what is not a section of the format.
fn outside<'t>(reader: &mut Reader<'t>, root: &Section<'t>) {
    for (key, value) in root.in_order() {
        let name = key.get_ref().as_ref();
        if SECTIONS.contains(&name) || reader.is_full() {
            continue;
        }
        if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) || LATER.contains(&name)
        {
            unknown(reader, root, key, &SECTIONS, &LATER);
        } else {
            let hint = format!(
                "write `[{}]` on a line above it",
                home(name).unwrap_or("package")
            );
            reader.report(
                key.span(),
                format!("{} stands outside of any section", quote(name)),
                hint,
            );
        }
    }
}

/// Refuses every key of a section that is neither known nor, as `later` says, to come.
fn known<'t>(reader: &mut Reader<'t>, section: &Section<'t>, keys: &[&str], later: &[&str]) {
    for (key, _) in section.in_order() {
        if !keys.contains(&key.get_ref().as_ref()) && !reader.is_full() {
            unknown(reader, section, key, keys, later);
        }
    }
}

/// Refuses one key or, at the root, one section.
fn unknown<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &Key<'t>,
    keys: &[&str],
    later: &[&str],
) {
    let name = key.get_ref().as_ref();
    let (what, place) = match section.title.as_str() {
        "" => ("section", String::new()),
        title => ("key", format!(" in [{title}]")),
    };
    if later.contains(&name) {
        let hint = "leave it out: a key that did nothing would be worse than none".to_owned();
        reader.report(
            key.span(),
            format!("{what} {} is not supported yet{place}", quote(name)),
            hint,
        );
        return;
    }
    let foreign = FOREIGN
        .iter()
        .find(|(foreign, _)| *foreign == name)
        .map(|(_, hint)| (*hint).to_owned());
    let near =
        nearest(name, keys.iter().copied()).map(|nearest| format!("did you mean `{nearest}`?"));
    let elsewhere = home(name).map(|home| format!("`{name}` belongs to [{home}]"));
    let hint = foreign
        .or(near)
        .or(elsewhere)
        .unwrap_or_else(|| format!("known here: {}", keys.join(", ")));
    reader.report(
        key.span(),
        format!("unknown {what} {}{place}", quote(name)),
        hint,
    );
}

/// Returns the section that has a key of this name.
pub(crate) fn home(key: &str) -> Option<&'static str> {
    let homes: [(&str, &[&str]); 6] = [
        ("package", &package::KEYS),
        ("source", &source::KEYS),
        ("build", &build::KEYS),
        ("runtime", &relations::RUNTIME_KEYS),
        ("components", &relations::COMPONENT_KEYS),
        ("patches", &patches::KEYS),
    ];
    homes
        .into_iter()
        .find(|(_, keys)| keys.contains(&key))
        .map(|(section, _)| section)
}

/// Puts syntax errors, one a line, behind what is wrong before the first of them.
fn with_syntax_errors(
    source: &SourceText<'_>,
    mut diagnostics: Vec<Diagnostic>,
    syntax: &[toml::de::Error],
) -> Vec<Diagnostic> {
    let mut places: Vec<_> = syntax
        .iter()
        .map(|error| (error.span().unwrap_or(0..0), error.message()))
        .collect();
    places.sort_by_key(|(span, _)| (span.start, span.end));
    let first = places.first().map_or(0, |(span, _)| span.start);
    diagnostics.retain(|diagnostic| diagnostic.span.end < first);
    let mut last_line = 0;
    let mut left = SYNTAX_ERRORS;
    for (span, message) in places {
        let line = source.line(span.start);
        if line == last_line || left == 0 {
            continue;
        }
        (last_line, left) = (line, left - 1);
        diagnostics.push(source.diagnostic(span, format!("not TOML: {message}"), None));
    }
    diagnostics
}
