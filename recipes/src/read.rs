// recipes/src/read.rs
//! Reads a recipe: which sections and keys there are, and what they must hold.
//!
//! One module a section. Every key of the format appears in exactly one list of known keys; a key that is
//! meant but not built yet stands in a list of its own and is refused, because a key that parses and does
//! nothing is worse than an error. All that is wrong is reported in one run. After a syntax error only what stands
//! before it is judged: what follows may have been read differently than it was meant.

mod build;
mod hooks;
mod locations;
mod names;
mod outputs;
mod package;
mod patches;
mod pins;
mod relations;
mod source;

pub use package::{is_group, is_license};
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, SourceText};
use crate::expansion::{Facts, nearest};
use crate::reader::{Key, Reader, Section};
use crate::recipe::{Origin, Recipe};
use crate::text::quote;

/// The largest recipe: a person's steps and lists are some thousand bytes, the largest known some ten thousand.
pub(crate) const RECIPE_BYTES: usize = 1 << 20;

/// Sections of the format.
const SECTIONS: [&str; 11] = [
    "package",
    "source",
    "patches",
    "build",
    "runtime",
    "outputs",
    "scripts",
    "components",
    "config",
    "hooks",
    "variables",
];

/// Sections that are meant but not built yet.
const LATER: [&str; 3] = ["cross", "flavors", "reproducibility"];

/// Keys of other formats, where they might stand, and what takes their place.
const FOREIGN: [(&str, &str, &str); 10] = [
    ("build", "script_file", "write the commands as steps: `configure`, `make`, `install`"),
    ("build", "script", "write the commands as steps: `configure`, `make`, `install`"),
    ("", "build", "the step that compiles is `make`"),
    ("", "prepare", "the step that prepares the source is `setup`"),
    ("", "sha256", "write `checksum = \"sha256:…\"`"),
    ("", "sha512", "write `checksum = \"sha512:…\"`"),
    ("", "depends", "needed to run: `requires` in [runtime]; needed to build: `makedepends` in [build]"),
    ("build", "env", "write `environment`"),
    ("source.additional", "archive", "a further source is a `url`, or a `git` with its `commit`"),
    ("source", "url", "the main source is an `archive`, a `git` with its `commit`, or a `path`"),
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
        let message = format!("the recipe has {} bytes, more than {} MiB", origin.text.len(), RECIPE_BYTES >> 20);
        return Err(vec![source.diagnostic(0..0, message, "put data into files beside the recipe".to_owned())]);
    }
    let source = SourceText::new(&origin.file, &origin.text);
    let (document, syntax) = DeTable::parse_recoverable(&origin.text);
    let mut reader = Reader::new(&source, facts, !syntax.is_empty());
    let root = Section { title: String::new(), table: document.get_ref(), span: 0..0 };
    let recipe = sections(&mut reader, &root, origin, facts);
    let diagnostics = reader.finish();
    match recipe {
        Some(recipe) if diagnostics.is_empty() && syntax.is_empty() => Ok(recipe),
        _ if syntax.is_empty() => Err(diagnostics),
        _ => Err(with_syntax_errors(&source, diagnostics, &syntax)),
    }
}

/// Reads each section.
fn sections<'t>(reader: &mut Reader<'t>, root: &Section<'t>, origin: &Origin, facts: Option<&Facts>) -> Option<Recipe> {
    outside(reader, root);
    names::define(reader, root);
    let package = package::read(reader, root);
    let sources = source::read(reader, root);
    let patches = patches::read(reader, root);
    let build = build::read(reader, root);
    let runtime = relations::runtime(reader, root);
    let components = relations::components(reader, root);
    let scripts = outputs::scripts(reader, root);
    let stand_in = Facts::stand_in();
    let common = package.as_ref().map(|package| outputs::Common { package, build: &build });
    let outputs = match common {
        Some(common) => outputs::read(reader, root, &common, &facts.unwrap_or(&stand_in).outputs),
        None => Vec::new(),
    };
    let config = relations::config(reader, root);
    let hooks = hooks::read(reader, root);
    Some(Recipe {
        package: package?,
        source: sources.main,
        arch_sources: sources.by_arch,
        additional: sources.additional,
        patches,
        build,
        runtime,
        components,
        outputs,
        scripts,
        hooks,
        config,
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
        if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) || LATER.contains(&name) {
            unknown(reader, root, key, &SECTIONS, &LATER);
        } else {
            let hint = format!("write `[{}]` on a line above it", home(name).unwrap_or("package"));
            reader.report(key.span(), format!("{} stands outside of any section", quote(name)), hint);
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
fn unknown<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &Key<'t>, keys: &[&str], later: &[&str]) {
    let name = key.get_ref().as_ref();
    let (what, place) = match section.title.as_str() {
        "" => ("section", String::new()),
        title => ("key", format!(" in [{title}]")),
    };
    if later.contains(&name) {
        let hint = "leave it out: a key that did nothing would be worse than none".to_owned();
        reader.report(key.span(), format!("{what} {} is not supported yet{place}", quote(name)), hint);
        return;
    }
    let foreign = FOREIGN
        .iter()
        .find(|(place, foreign, _)| *foreign == name && section.title.starts_with(place))
        .map(|(_, _, hint)| (*hint).to_owned());
    let near = nearest(name, keys.iter().copied()).map(|nearest| format!("did you mean `{nearest}`?"));
    let elsewhere = home(name).map(|home| format!("`{name}` belongs to [{home}]"));
    let hint = foreign.or(near).or(elsewhere).unwrap_or_else(|| format!("known here: {}", keys.join(", ")));
    reader.report(key.span(), format!("unknown {what} {}{place}", quote(name)), hint);
}

/// Returns the section that has a key of this name.
pub(crate) fn home(key: &str) -> Option<&'static str> {
    let homes: [(&str, &[&str]); 10] = [
        ("package", &package::KEYS),
        ("source", &source::KEYS),
        ("build", &build::KEYS),
        ("runtime", &relations::RUNTIME_KEYS),
        ("components", &relations::COMPONENT_KEYS),
        ("config", &relations::CONFIG_KEYS),
        ("hooks", &hooks::KEYS),
        ("patches", &patches::KEYS),
        ("scripts", &outputs::SCRIPTS),
        ("outputs", &outputs::KEYS),
    ];
    homes.into_iter().find(|(_, keys)| keys.contains(&key)).map(|(section, _)| section)
}

/// Puts syntax errors, one a line, behind what is wrong before the first of them.
fn with_syntax_errors(
    source: &SourceText<'_>,
    mut diagnostics: Vec<Diagnostic>,
    syntax: &[toml::de::Error],
) -> Vec<Diagnostic> {
    let mut places: Vec<_> = syntax.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
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
        diagnostics.push(source.diagnostic(span, format!("not TOML: {message}"), syntax_hint(message).to_owned()));
    }
    diagnostics
}

/// Says what usually helps against a syntax error.
fn syntax_hint(message: &str) -> &'static str {
    if message.contains("must be quoted") || message.contains("invalid basic string") {
        "text stands in quotes, with one at either end: `\"text\"`"
    } else if message.contains("multi-line") {
        "text of several lines stands between `\"\"\"` and `\"\"\"`"
    } else if message.contains("duplicate key") {
        "keep one of the two"
    } else if message.contains("recurs") {
        "nothing in a recipe lies deeper than four levels"
    } else if message.contains("array") {
        "a list stands between `[` and `]`, with a comma after each element"
    } else {
        "write `key = value`, or `[section]` on a line of its own"
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! How the tests of the sections say what they expect.

    use crate::{Diagnostic, Recipe, parse};

    /// Three lines that every recipe needs.
    pub(crate) const PACKAGE: &str = "[package]\nname = \"x\"\nversion = \"1\"\n";

    /// A SHA-256 that is not all zeros.
    pub(crate) const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// What is refused (behind [`PACKAGE`] unless it has its own), the place, a part of the message, a part of the hint.
    pub(crate) type Refusal<'a> = (&'a str, &'a str, &'a str, &'a str);

    /// Reads a sound recipe: [`PACKAGE`] and `body`, where `SHA256` stands for a checksum.
    pub(crate) fn sound(body: &str) -> Recipe {
        let text = format!("{PACKAGE}{}", body.replace("SHA256", SHA256));
        parse(&text, "recipe.toml").unwrap_or_else(|all| panic!("{text}\n{}", join(&all)))
    }

    /// Reads what must be refused.
    pub(crate) fn refused(text: &str) -> Vec<Diagnostic> {
        parse(text, "recipe.toml").expect_err("because it must be refused")
    }

    /// Checks that each text is refused with exactly one diagnostic, as described.
    pub(crate) fn check(refusals: &[Refusal<'_>]) {
        for (body, place, message, hint) in refusals {
            let body = body.replace("SHA256", SHA256);
            let own = body.starts_with("[package]");
            let text = if own { body } else { format!("{PACKAGE}{body}") };
            let Err(diagnostics) = parse(&text, "recipe.toml") else {
                panic!("{text}\nis not refused");
            };
            let shown = join(&diagnostics);
            let [diagnostic] = &diagnostics[..] else {
                panic!("{text}\ngives {}:\n{shown}", diagnostics.len());
            };
            let found = format!("{}:{}", diagnostic.line, diagnostic.column);
            assert_eq!(found, *place, "{text}\n{shown}");
            assert!(diagnostic.message.contains(message), "{text}\n{shown}");
            let advice = diagnostic.hint.as_deref().unwrap_or_else(|| panic!("no hint\n{shown}"));
            assert!(advice.contains(hint), "{text}\n{shown}");
        }
    }

    /// Shows diagnostics as a terminal would.
    pub(crate) fn join(diagnostics: &[Diagnostic]) -> String {
        diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::testing::{PACKAGE, check, join, refused, sound};
    use super::*;
    use crate::{Phase, parse};

    fn facts() -> Facts {
        let [jobs, arch, target, destdir, outputs] = ["7", "aarch64", "t", "/d", "/o"].map(str::to_owned);
        Facts { jobs, arch, target, destdir, outputs }
    }

    #[test]
    fn unknown_keys_and_sections_are_refused_with_a_way_out() {
        check(&[
            ("[biuld]\n", "4:2", "unknown section `biuld`", "did you mean `build`?"),
            ("[zzz]\n", "4:2", "unknown section `zzz`", "known here: package, source"),
            ("[[zzz]]\na = 1\n", "4:3", "unknown section `zzz`", "known here"),
            ("[build]\nconfigre = 'x'\n", "5:1", "`configre` in [build]", "did you mean `configure`?"),
            ("[build]\narchive = 'x'\n", "5:1", "`archive` in [build]", "`archive` belongs to [source]"),
            ("[build]\nscript_file = 'x'\n", "5:1", "unknown key `script_file`", "commands as steps"),
            ("[build]\nqqqq = 'x'\n", "5:1", "unknown key `qqqq`", "known here: requires, makedepends"),
            ("[build.install]\nx = 1\n", "4:1", "`build.install` must be text, found a table", ""),
            ("sumary = 'x'\n", "4:1", "unknown key `sumary` in [package]", "did you mean `summary`?"),
            ("[source]\npath.url = 'x'\n", "5:1", "`source.path` must be text, found a table", ""),
            ("[build]\n\"a\\u001b[31m\" = 1\n", "5:1", "unknown key `a\\u{1b}[31m`", "known here"),
            ("build = 3\n", "4:1", "unknown key `build` in [package]", "the step that compiles is `make`"),
        ]);
        let top = refused("name = 'a'\n[package]\nname = 'a'\nversion = '1'\n");
        assert_eq!(top[0].message, "`name` stands outside of any section");
        assert_eq!(top[0].hint.as_deref(), Some("write `[package]` on a line above it"));
        assert_eq!(refused("package = 'a'\n")[0].message, "`package` must be a table, found text");
    }

    #[test]
    fn keys_of_later_work_are_refused() {
        for section in LATER {
            let diagnostics = refused(&format!("{PACKAGE}[{section}]\nx = 1\n"));
            assert_eq!(diagnostics[0].message, format!("section `{section}` is not supported yet"));
        }
        let lines = ["[build]\nstage = 'toolchain'", "[patches]\nfiles = [{ file = 'a', condition = 'x' }]"];
        for line in lines {
            let diagnostics = refused(&format!("{PACKAGE}{line}\n"));
            assert!(diagnostics[0].message.contains("is not supported yet in ["), "{line}");
        }
    }

    #[test]
    fn all_errors_of_a_file_are_reported_in_its_order() {
        let diagnostics = refused(
            "[package]\nname = 'Bad'\nversion = '1 0'\nlicense = 'GPL'\nsumary = ''\n\n\
             [build]\njobs = 0\nrequires = ['a b']\nmake = '%(nmae)s'\n[wat]\n",
        );
        let lines: Vec<usize> = diagnostics.iter().map(|diagnostic| diagnostic.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 8, 9, 10, 11], "{}", join(&diagnostics));
    }

    #[test]
    fn syntax_errors_are_reported_with_what_is_wrong_before_them() {
        let text = "[package]\nnaem = 'a'\nversion = \n[build]\nmake = 'x\ncheck = y\nzzz = 1\n";
        let diagnostics = refused(text);
        let shown: Vec<(usize, bool)> = diagnostics
            .iter()
            .map(|diagnostic| (diagnostic.line, diagnostic.message.starts_with("not TOML: ")))
            .collect();
        assert_eq!(shown, [(2, false), (3, true), (5, true), (6, true)], "{}", join(&diagnostics));
        let twice = refused(&format!("{PACKAGE}[package]\nname = 'y'\n"));
        assert!(twice[0].line == 4 && twice[0].message.contains("duplicate key"), "{}", twice[0]);
        assert_eq!(refused(&"=\n".repeat(500_000)).len(), SYNTAX_ERRORS);
    }

    #[test]
    fn expansion_reaches_every_string() {
        let recipe = sound(
            "[source]\narchive = 'https://e.example/%(dir)s/%(name)s-%(version)s.tar'\nchecksum = '%(sum)s'\n\
             [build]\nrequires = ['lib%(name)s >= %(version)s']\nmake = 'make -j%(jobs)s ARCH=%(arch)s %%(x)s'\n\
             [build.environment]\nA = '%(dir)s'\n[components]\nlib = ['/usr/lib/%(arch)s/*']\n\
             [variables]\ndir = 'v%(version)s'\nsum = 'SHA256'\n",
        );
        assert_eq!(recipe.build.steps[&Phase::Make], "make -j%(jobs)s ARCH=%(arch)s %%(x)s");
        assert_eq!(recipe.build.requires[0].to_string(), "libx >= 1");
        let expanded = recipe.expand(&facts()).unwrap();
        assert_eq!(expanded.build.steps[&Phase::Make], "make -j7 ARCH=aarch64 %(x)s");
        assert_eq!(expanded.build.environment["A"], "v1");
        assert_eq!(expanded.components.rules[0].1, ["/usr/lib/aarch64/*"]);
        assert_eq!(expanded.source.file_name(), Some("x-1.tar"));
        assert_eq!(expanded.expand(&facts()).unwrap(), expanded);

        let text = "[package]\nname = 'x%(major)s'\nversion = '%(major)s.2'\n[variables]\nmajor = '3'\n";
        let recipe = parse(text, "recipe.toml").unwrap();
        assert_eq!((recipe.name().as_str(), recipe.version().to_string().as_str()), ("x3", "3.2-1"));
    }

    #[test]
    fn what_cannot_be_expanded_is_pointed_at() {
        check(&[
            ("[build]\nmake = \"make %(jbos)s\"\n", "5:14", "unknown variable `jbos`", "did you mean `%(jobs)s`?"),
            ("[build]\nmake = '''\na\nb %(zz)s\n'''\n", "7:3", "unknown variable `zz`", "define it in [variables]"),
            ("[build]\nmake = '%(name) x'\n", "5:9", "`%(` begins no variable", "write `%(name)s`"),
            ("[build]\nmake = \"\\t\\u0025(zz)s\"\n", "5:8", "unknown variable `zz`", "define it"),
            (
                "[variables]\na = '%(b)s'\nb = 'x%(a)s'\n[build]\nmake = '%(a)s'\n",
                "5:6",
                "circle: a -> b -> a",
                "value of its own",
            ),
            ("[variables]\na = '%(zz)s'\n[build]\nmake = '%(a)s'\n", "5:6", "unknown variable `zz`", "define it"),
            ("[variables]\na = 3\n[build]\nmake = '%(a)s'\n", "5:5", "`variables.a` must be text", "`\"3\"`"),
            ("[variables]\nname = 'y'\n", "5:1", "`name` is built in", "another name"),
            ("[variables]\n'a b' = 'y'\n", "5:1", "`a b` can never be used", "letters"),
            ("[package]\nname = 'x'\nversion = '%(version)s'\n", "3:12", "circle: version -> version", "value"),
            (
                "[package]\nname = 'x'\nversion = '%(v)s'\n[build]\nmake = '%(version)s'\n[variables]\nv = '1-2'\n",
                "3:11",
                "'-' cannot stand",
                "`~`",
            ),
        ]);
    }

    #[test]
    fn a_published_recipe_loads_unchanged() {
        let recipe = sound(
            r#"release = "1"
summary = "HTTP server"
license = "BSD-2-Clause"
homepage = "https://nginx.org"

[source]
archive = "https://nginx.org/download/nginx-%(version)s.tar.gz"
checksum = "SHA256"

[build]
requires = ["openssl:devel", "pcre:devel", "zlib:devel>=1.2"]
makedepends = ["gcc"]
configure = """
./configure \
    --prefix=/usr
"""
make = "make -j%(jobs)s"
install = "make install DESTDIR=%(destdir)s"
environment = { CFLAGS = "-O2 -fPIC", LDFLAGS = "-Wl,-z,now" }

[patches]
files = [
    { file = "nginx-1.24-fix-headers.patch", strip = 1 },
    { file = "https://example.com/remote.patch", checksum = "SHA256", strip = 1 },
]

[components]
devel = ["/usr/include/**"]
doc = ["/usr/share/doc/**"]
lib = ["/usr/lib/*.so*"]
exclude = ["/usr/share/info/dir"]

[variables]
jobs = "$(nproc)"
ssl_version = "3.0"
"#,
        );
        let recipe = recipe.expand(&facts()).unwrap();
        assert_eq!(recipe.build.steps[&Phase::Make], "make -j$(nproc)");
        let components: Vec<&str> = recipe.components.rules.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(components, ["devel", "doc", "lib"]);
    }

    /// Writes one line for each number.
    fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
        (0..count).fold(String::new(), |mut text, at| {
            writeln!(text, "{}", line(at)).unwrap();
            text
        })
    }

    #[test]
    fn hostile_files_end_quickly_in_an_error() {
        let variables = format!("{PACKAGE}[variables]\n");
        let growing = lines(64, |at| match at {
            0 => "v0 = 'lol'".to_owned(),
            _ => format!("v{at} = '{}'", format!("%(v{})s", at - 1).repeat(10)),
        });
        let bombs = [
            ("100 MB", "#".repeat(100 << 20)),
            ("a million nested lists", format!("a = {}", "[".repeat(1_000_000))),
            ("nested tables", format!("a = {}", "{a=".repeat(1 << 18))),
            ("nested keys", format!("a{} = 1", ".a".repeat(1 << 18))),
            ("nested headers", format!("[a{}]", ".a".repeat(1 << 18))),
            ("growing variables", format!("{variables}{growing}")),
            ("a chain", format!("{variables}{}", lines(40_000, |at| format!("v{at} = '%(v{})s'", at + 1)))),
            ("unknown variables", format!("{variables}{}", lines(50_000, |at| format!("k{at} = '%(z)s'")))),
            ("unknown keys", format!("{PACKAGE}{}", lines(80_000, |at| format!("k{at} = 1")))),
            ("a long key", format!("{PACKAGE}{} = 1\n", "k".repeat(1_000_000))),
            ("wrong elements", format!("{PACKAGE}arch = [{}]\n", "1,".repeat(500_000))),
            ("parentheses", format!("{PACKAGE}license = '{}'\n", "(".repeat(1_000_000))),
            ("a long glob", format!("{PACKAGE}[components]\nlib = ['{}']\n", "{a,".repeat(300_000))),
            ("globs", format!("{PACKAGE}[components]\nlib = [{}]\n", "'[',".repeat(200_000))),
        ];
        for (name, bomb) in bombs {
            let start = Instant::now();
            let diagnostics = refused(&bomb);
            let shown = join(&diagnostics).len();
            println!("{name}: {:?}, {} diagnostics, {shown} bytes", start.elapsed(), diagnostics.len());
            assert!(start.elapsed() < Duration::from_secs(20), "{name}");
            assert!(!diagnostics.is_empty() && shown < 200_000, "{name}");
        }
    }

    /// A recipe with every key.
    const EVERYTHING: &str = include_str!("../testdata/everything.toml");

    #[test]
    fn every_key_at_once_is_sound() {
        let recipe = parse(EVERYTHING, "everything.toml").unwrap_or_else(|all| panic!("{}", join(&all)));
        assert!(recipe.expand(&facts()).is_ok());
        for key in all_keys() {
            assert!(is_written(EVERYTHING, key), "{key} is not in the file");
        }
    }

    /// Returns every key of the format.
    fn all_keys() -> Vec<&'static str> {
        let lists: [&[&'static str]; 15] = [
            &package::KEYS,
            &source::KEYS,
            &source::ADDITIONAL_KEYS,
            &patches::KEYS,
            &patches::PATCH_KEYS,
            &build::KEYS,
            &relations::RUNTIME_KEYS,
            &relations::COMPONENT_KEYS,
            &outputs::KEYS,
            &outputs::SCRIPTS,
            &hooks::KEYS,
            &hooks::USER_KEYS,
            &hooks::GROUP_KEYS,
            &hooks::DIRECTORY_KEYS,
            &hooks::ALTERNATIVE_KEYS,
        ];
        lists.concat()
    }

    /// Whether a key is used in a text, as a key or in a section's name.
    fn is_written(text: &str, key: &str) -> bool {
        let forms = [format!("\n{key} = "), format!(".{key}]"), format!(".{key}.")];
        forms.iter().any(|form| text.contains(form))
    }

    /// The user's reference.
    const REFERENCE: &str = include_str!("../../docs/recipe-format.md");

    /// Returns the fenced blocks of the reference: what stands behind the fence, and the text.
    fn blocks() -> Vec<(&'static str, &'static str)> {
        let parts: Vec<&str> = REFERENCE.split("\n```").collect();
        parts.chunks(2).filter_map(|pair| pair.get(1)?.split_once('\n')).collect()
    }

    #[test]
    fn every_example_of_the_reference_is_read() {
        let blocks = blocks();
        for (at, (language, text)) in blocks.iter().enumerate() {
            let text = format!("{text}\n");
            match *language {
                "toml" if text.contains("[package]") => {
                    parse(&text, "recipe.toml").unwrap_or_else(|all| panic!("{}", join(&all)));
                }
                "toml" => drop(sound(&text)),
                "toml,refused" => assert_eq!(join(&refused(&text)), blocks[at + 1].1),
                "text" => {}
                other => panic!("a block of {other:?}"),
            }
        }
        assert!(blocks.len() > 20);
    }

    #[test]
    fn every_key_has_an_example_in_the_reference() {
        let mut examples = String::new();
        for (_, text) in blocks().into_iter().filter(|(language, _)| *language == "toml") {
            examples.push('\n');
            examples.push_str(text);
        }
        for key in all_keys() {
            assert!(is_written(&examples, key), "{key} has no example");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(
            text in r#"([a-z\[\]{}="'.,%()0-9\n #\\-]|package|source|build|name|version|archive|checksum|\PC){0,60}"#
        ) {
            if let Err(diagnostics) = parse(&text, "recipe.toml") {
                prop_assert!(!diagnostics.is_empty() && diagnostics.iter().all(|one| one.hint.is_some()));
            }
        }

        #[test]
        fn no_damage_to_a_recipe_makes_the_reader_panic(
            at in 0..EVERYTHING.len(), length in 0..40_usize, insert in ".{0,4}"
        ) {
            let mut bytes = EVERYTHING.as_bytes().to_vec();
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, insert.bytes());
            match parse(&String::from_utf8_lossy(&bytes), "recipe.toml") {
                Ok(recipe) => prop_assert!(!recipe.fields().is_empty()),
                Err(diagnostics) => prop_assert!(!join(&diagnostics).is_empty()),
            }
        }
    }
}
