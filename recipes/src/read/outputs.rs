// recipes/src/read/outputs.rs
//! `[[outputs]]`: further packages of the same build. `[scripts]`, and that of an output.

use std::collections::BTreeSet;

use crate::name::Name;
use crate::output::{Output, Scriptlet, Scripts};
use crate::reader::{Reader, Section};
use crate::recipe::{Build, Package, Phase};
use crate::text::quote;

use super::{build, hooks, known, package, relations};

/// Keys of an output.
pub(super) const KEYS: [&str; 18] = [
    "name",
    "summary",
    "description",
    "homepage",
    "license",
    "arch",
    "groups",
    "files",
    "install",
    "requires",
    "recommends",
    "suggests",
    "provides",
    "conflicts",
    "replaces",
    "options",
    "scripts",
    "hooks",
];

/// Keys of `[scripts]`.
pub(super) const SCRIPTS: [&str; 6] =
    ["pre-install", "post-install", "pre-upgrade", "post-upgrade", "pre-remove", "post-remove"];

/// How many packages one build may make: the largest known recipes make some hundred.
const OUTPUTS: usize = 1000;

/// What an output does not say itself comes from the recipe.
pub(super) struct Common<'r> {
    pub(super) package: &'r Package,
    pub(super) build: &'r Build,
}

/// Reads all outputs. `directory` holds one directory for each output with an `install`.
pub(super) fn read<'t>(
    reader: &mut Reader<'t>,
    root: &Section<'t>,
    common: &Common<'_>,
    directory: &str,
) -> Vec<Output> {
    let sections = reader.sections(root, "outputs");
    if let Some(section) = sections.get(OUTPUTS) {
        let hint = "divide the recipe";
        reader.report(section.span.clone(), format!("a recipe may have {OUTPUTS} outputs"), hint);
        return Vec::new();
    }
    let fills_common = [Phase::Install, Phase::PostInstall].iter().any(|phase| common.build.steps.contains_key(phase));
    let mut names = BTreeSet::new();
    if fills_common {
        names.insert(common.package.name.clone());
    }
    let mut outputs = Vec::new();
    for section in &sections {
        if reader.is_full() {
            break;
        }
        known(reader, section, &KEYS, &[]);
        let name = name(reader, section, &mut names);
        // `%(destdir)s` names the directory of this output, in the variables that its texts use too.
        reader.expander.replace("destdir", format!("{directory}/{}", name.as_ref().map_or("", Name::as_str)));
        if let Some(output) = output(reader, section, common, fills_common, name) {
            outputs.push(output);
        }
    }
    outputs
}

/// Reads the name of an output, which no other package of the recipe has.
fn name<'t>(reader: &mut Reader<'t>, section: &Section<'t>, names: &mut BTreeSet<Name>) -> Option<Name> {
    if !section.has("name") {
        let message = format!("[{}] has no `name`", section.title);
        reader.missing(section.span.clone(), message, "add `name = \"…\"` below it");
    }
    let text = reader.text(section, "name")?;
    let name: Name = reader.parse_text(&text)?;
    if !names.insert(name.clone()) {
        let message = format!("two packages of this recipe have the name {}", quote(name.as_str()));
        let hint = "give each output a name of its own; one may have the recipe's where [build] has no `install`";
        reader.report(text.span, message, hint);
        return None;
    }
    Some(name)
}

/// Reads the rest of an output.
fn output<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    common: &Common<'_>,
    fills_common: bool,
    name: Option<Name>,
) -> Option<Output> {
    let facts = package::about(reader, section);
    let arch = package::arches(reader, section);
    let groups = package::groups(reader, section);
    let files = relations::globs(reader, section, "files");
    let install = build::step(reader, section, "install");
    let runtime = relations::of_package(reader, section);
    let policies = build::policies(reader, section);
    let scripts = scripts(reader, section);
    let hooks = hooks::read(reader, section);
    if section.has("files") && reader.texts(section, "files").is_empty() {
        let hint = "write globs like `/usr/share/doc/**`, or leave it out";
        reader.missing(section.key_span("files"), "`files` names no path".to_owned(), hint);
    } else if section.has("files") && !fills_common {
        let message = "`files` takes paths out of the common output, and no step fills that";
        let hint = "add an `install` step to [build], or give the output an `install` of its own";
        reader.missing(section.key_span("files"), message.to_owned(), hint);
    }
    let brings = ["requires", "recommends", "suggests", "provides", "conflicts", "replaces", "scripts", "hooks"];
    if !section.has("files") && install.is_none() && !brings.iter().any(|key| section.has(key)) {
        let message = format!("[{}] has neither `files` nor `install`, and brings nothing", section.title);
        let hint = "name its `files`, fill it with an `install`, or let it bring others with `requires`";
        reader.missing(section.span.clone(), message, hint);
    }
    let general = common.package;
    let package = Package {
        name: name?,
        arch: if section.has("arch") { arch } else { general.arch.clone() },
        summary: facts.summary.or_else(|| general.summary.clone()),
        description: facts.description.or_else(|| general.description.clone()),
        homepage: facts.homepage.or_else(|| general.homepage.clone()),
        license: facts.license.or_else(|| general.license.clone()),
        groups,
        ..general.clone()
    };
    let policies = policies.unwrap_or_else(|| common.build.policies.clone());
    Some(Output { package, files, install, runtime, policies, scripts, hooks })
}

/// Reads the scriptlets below a section. An empty one is none.
pub(super) fn scripts<'t>(reader: &mut Reader<'t>, parent: &Section<'t>) -> Scripts {
    let Some(section) = reader.section(parent, "scripts") else {
        return Scripts::new();
    };
    known(reader, &section, &SCRIPTS, &[]);
    let read = |scriptlet: Scriptlet| Some((scriptlet, build::step(reader, &section, scriptlet.name())?));
    Scriptlet::ALL.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, sound};
    use super::*;
    use crate::{Facts, Policy, parse};

    fn facts() -> Facts {
        Facts { destdir: "/d".to_owned(), outputs: "/o".to_owned(), ..Facts::stand_in() }
    }

    const SPLIT: &str = "summary = 'S'\nlicense = 'MIT'\n[build]\ninstall = 'make DESTDIR=%(destdir)s %(flags)s'\noptions = ['strip']\n\
        [runtime]\nrequires = ['zlib']\n\
        [[outputs]]\nname = '%(name)s-doc'\nsummary = 'D'\narch = ['any']\nfiles = ['/usr/share/doc/**']\n\
        [[outputs]]\nname = 'x-cli'\ninstall = 'cp a %(destdir)s/b %(flags)s'\nrequires = ['x']\ngroups = ['g']\n\
        options = ['!docs']\n[outputs.scripts]\npost-install = 'ldconfig'\npre-remove = ''\n\
        [variables]\nflags = '--root=%(destdir)s'\n";

    #[test]
    fn outputs_are_read_over_what_the_recipe_says() {
        let recipe = sound(SPLIT).expand(&facts()).unwrap();
        let [doc, cli] = &recipe.outputs[..] else { panic!("{:?}", recipe.outputs) };
        assert_eq!((doc.package.name.as_str(), doc.package.summary.as_deref()), ("x-doc", Some("D")));
        assert_eq!((&doc.package.arch[..], doc.package.license.as_deref()), (&["any".to_owned()][..], Some("MIT")));
        assert_eq!(doc.files, ["/usr/share/doc/**"]);
        assert!(doc.policies.has(Policy::Strip) && doc.runtime.requires.is_empty());
        assert_eq!(cli.package.summary.as_deref(), Some("S"));
        assert!(!cli.policies.has(Policy::Docs) && !cli.policies.has(Policy::Strip));
        assert_eq!(cli.package.groups, ["g"]);
        assert_eq!(cli.scripts, Scripts::from([(Scriptlet::PostInstall, "ldconfig".to_owned())]));
        let names: Vec<&str> = recipe.products().iter().map(|product| product.package.name.as_str()).collect();
        assert_eq!(names, ["x", "x-doc", "x-cli"]);
    }

    #[test]
    fn the_output_directory_is_each_ones_own() {
        let recipe = sound(SPLIT).expand(&facts()).unwrap();
        assert_eq!(recipe.build.steps[&Phase::Install], "make DESTDIR=/d --root=/d");
        assert_eq!(recipe.outputs[1].install.as_deref(), Some("cp a /o/x-cli/b --root=/o/x-cli"));
        assert_eq!(sound(SPLIT).outputs[1].install.as_deref(), Some("cp a %(destdir)s/b %(flags)s"));
    }

    #[test]
    fn a_recipe_may_consist_of_outputs() {
        let recipe = sound("[[outputs]]\nname = 'x'\ninstall = 'true'\n[[outputs]]\nname = 'all'\nrequires = ['x']\n");
        let products = recipe.products();
        let shown: Vec<_> =
            products.iter().map(|product| (product.package.name.as_str(), product.is_collection)).collect();
        assert_eq!(shown, [("x", false), ("all", true)]);
        assert!(!recipe.makes_package());
        let alone = sound("[runtime]\nrequires = ['y']\n");
        assert!(alone.makes_package() && alone.products()[0].is_collection);
        assert!(!sound("").products()[0].is_collection);
    }

    #[test]
    fn what_is_no_output_is_refused() {
        let build = "[build]\ninstall = 'i'\n";
        let with = |text: &str| format!("{build}[[outputs]]\n{text}\n");
        let many = format!("{build}{}", "[[outputs]]\n".repeat(OUTPUTS + 1));
        check(&[
            (&with("files = ['/a']"), "6:1", "[outputs[0]] has no `name`", "add `name"),
            (&with("name = 'x'\nfiles = ['/a']"), "7:8", "two packages of this recipe have the name `x`", "of its own"),
            (&with("name = 'A'\nfiles = ['/a']"), "7:8", "contains 'A'", "write `a`"),
            (&with("name = 'a'"), "6:1", "neither `files` nor `install`", "with `requires`"),
            (&with("name = 'a'\nfiles = []"), "8:1", "`files` names no path", "`/usr/share/doc/**`"),
            (
                &with("name = 'a'\nfile = ['/a']\nrequires = ['b']"),
                "8:1",
                "unknown key `file`",
                "did you mean `files`?",
            ),
            (&with("name = 'a'\nfiles = ['[']"), "8:10", "the glob `[` is not one", "`**`"),
            (&with("name = 'a'\ninstall = '%(nme)s'\nrequires = ['b']"), "8:12", "unknown variable `nme`", ""),
            (
                &with("name = 'a'\nversion = '2'\nrequires = ['b']"),
                "8:1",
                "unknown key `version`",
                "belongs to [package]",
            ),
            (&with("name = 'a'\nprovides = ['b > 1']"), "8:13", "gives a range", "write `=`"),
            ("[[outputs]]\nname = 'a'\nfiles = ['/a']\n", "6:1", "no step fills that", "`install` step"),
            ("[outputs]\nname = 'a'\n", "4:1", "must be a list of tables", "[[outputs]]"),
            (&many, "1006:1", "may have 1000 outputs", "divide"),
        ]);
        let two = "[[outputs]]\nname = 'a'\nrequires = ['b']\n".repeat(2);
        check(&[(&two, "8:8", "have the name `a`", "of its own")]);
    }

    #[test]
    fn scripts_are_read_and_unknown_ones_refused() {
        let recipe = sound("[scripts]\npost-upgrade = '''\n#!/bin/bash\ntrue %(version)s\n'''\npre-install = ' '\n");
        assert_eq!(recipe.scripts[&Scriptlet::PostUpgrade], "#!/bin/bash\ntrue %(version)s\n");
        assert_eq!(recipe.scripts.len(), 1);
        check(&[
            ("[scripts]\npost_install = 'x'\n", "5:1", "unknown key `post_install`", "did you mean `post-install`?"),
            ("[scripts]\npre-install = \"a\\u0000\"\n", "5:15", "contains a NUL", "leave"),
            ("[scripts]\npre-install = ['a']\n", "5:15", "must be text", ""),
        ]);
        assert!(parse("[package]\nname = 'a'\nversion = '1'\n[scripts]\n", "r").is_ok());
    }
}
