// recipes/src/read/relations.rs
//! `[runtime]`, `[components]` and `[config]`: the package among others, its parts, and what its users edit.

use crate::capability::{Capability, Comparison};
use crate::output::Suggestion;
use crate::reader::{Reader, Section, Text};
use crate::recipe::{Components, Config, Runtime};
use crate::text::{first_outside, is_visible, quote};

use super::known;

/// Keys of `[runtime]`.
pub(super) const RUNTIME_KEYS: [&str; 6] = ["requires", "recommends", "suggests", "provides", "conflicts", "replaces"];

/// Keys of `[components]`: the components, and what is dropped.
pub(super) const COMPONENT_KEYS: [&str; 7] = ["lib", "devel", "doc", "config", "debuginfo", "runtime", "exclude"];

/// Keys of `[config]`.
pub(super) const CONFIG_KEYS: [&str; 2] = ["files", "noreplace"];

/// Reads `[runtime]`.
pub(super) fn runtime<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Runtime {
    let Some(section) = reader.section(root, "runtime") else {
        return Runtime::default();
    };
    known(reader, &section, &RUNTIME_KEYS, &[]);
    of_package(reader, &section)
}

/// Reads the relations of one package, whose keys `[runtime]` and an output share.
pub(super) fn of_package<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Runtime {
    Runtime {
        requires: reader.parsed_list(section, "requires"),
        recommends: reader.parsed_list(section, "recommends"),
        suggests: suggests(reader, section),
        provides: provides(reader, section),
        conflicts: reader.parsed_list(section, "conflicts"),
        replaces: reader.parsed_list(section, "replaces"),
    }
}

/// Reads what the package can make use of, each with a reason or without.
fn suggests<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<Suggestion> {
    let mut suggests = Vec::new();
    for text in reader.texts(section, "suggests") {
        if let Some(character) = first_outside(&text.full, is_visible) {
            let message = format!("{} contains {}", quote(&text.full), character.escape_unicode());
            reader.report(text.span, message, "write it on one line, like `cups: printing`");
        } else {
            suggests.extend(reader.parse_text(&text));
        }
    }
    suggests
}

/// Reads what the package gives: with one version or none.
fn provides<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<Capability> {
    let mut provides = Vec::new();
    for text in reader.texts(section, "provides") {
        let Some(capability) = reader.parse_text::<Capability>(&text) else {
            continue;
        };
        match capability.constraint() {
            None | Some((Comparison::Equal, _)) => provides.push(capability),
            Some(_) => {
                let hint = "what a package gives has one version: write `=`, or none".to_owned();
                reader.report(text.span, format!("{} gives a range of versions", quote(&text.full)), hint);
            }
        }
    }
    provides
}

/// Reads `[components]`.
pub(super) fn components<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Components {
    let mut components = Components::default();
    let Some(section) = reader.section(root, "components") else {
        return components;
    };
    known(reader, &section, &COMPONENT_KEYS, &[]);
    for (key, _) in section.in_order() {
        let name = key.get_ref().as_ref();
        if !COMPONENT_KEYS.contains(&name) {
            continue;
        }
        let globs = globs(reader, &section, name);
        if name == "exclude" {
            components.exclude = globs;
        } else {
            components.rules.push((name.to_owned(), globs));
        }
    }
    components
}

/// Reads `[config]`.
pub(super) fn config<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Config {
    let Some(section) = reader.section(root, "config") else {
        return Config::default();
    };
    known(reader, &section, &CONFIG_KEYS, &[]);
    Config { files: globs(reader, &section, "files"), noreplace: globs(reader, &section, "noreplace") }
}

/// Reads a list of globs, which is not empty where it stands.
pub(super) fn globs<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Vec<String> {
    let texts = reader.texts(section, key);
    texts.into_iter().filter(|text| is_glob(reader, text)).map(|text| text.carried).collect()
}

/// Reports a text that is not a glob.
fn is_glob(reader: &mut Reader<'_>, text: &Text) -> bool {
    let glob = &text.full;
    let hint = "write it like `/usr/include/**` or `*.la`: `*` stays within a directory, `**` does not".to_owned();
    if glob.is_empty() || glob.ends_with('/') || first_outside(glob, |character| !character.is_control()).is_some() {
        reader.report(text.span.clone(), format!("the glob {} matches no file", quote(glob)), hint);
        return false;
    }
    if let Err(error) = globset::GlobBuilder::new(glob).literal_separator(true).build() {
        reader.report(text.span.clone(), format!("the glob {} is not one: {}", quote(glob), error.kind()), hint);
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, sound};

    #[test]
    fn relations_are_read() {
        let runtime = sound("[runtime]\nrequires = ['bash | dash']\nprovides = ['sh = 1', 'soname(libx.so.1)']\nconflicts = ['y < 2']\nsuggests = ['a | b: for c', 'd']\n").runtime;
        assert_eq!(runtime.suggests[0].reason.as_deref(), Some("for c"));
        assert_eq!(runtime.suggests[1].to_string(), "d");
        assert_eq!(runtime.requires[0].alternatives.len(), 2);
        assert_eq!(runtime.provides[1].to_string(), "soname(libx.so.1)");
        assert_eq!(runtime.conflicts[0].to_string(), "y < 2");
        let components = sound(
            "[components]\nruntime = ['/usr/bin/*']\ndevel = ['*.{h,hpp}', '/usr/lib/[a-z]*']\nexclude = ['*.la']\n",
        )
        .components;
        assert_eq!(components.rules[0].0, "runtime");
        assert_eq!(components.rules[1].1.len(), 2);
        assert_eq!(components.exclude, ["*.la"]);
        let config = sound("[config]\nfiles = ['/usr/share/x/*.conf']\nnoreplace = ['/var/lib/x/**']\n").config;
        assert_eq!((config.files.len(), config.noreplace.len()), (1, 1));
    }

    #[test]
    fn what_is_no_relation_is_refused() {
        check(&[
            ("[runtime]\nsuggests = ['a b: c']\n", "5:13", "contains ' '", ""),
            ("[runtime]\nsuggests = [\"a: b\\nc\"]\n", "5:13", "contains \\u{a}", "on one line"),
            ("[runtime]\nprovides = ['sh >= 1']\n", "5:13", "`sh >= 1` gives a range", "write `=`"),
            ("[runtime]\nprovides = ['a | b']\n", "5:13", "contains ' '", ""),
            ("[runtime]\nconflicts = ['a | b']\n", "5:14", "contains ' '", ""),
            ("[runtime]\nmakedepends = ['a']\n", "5:1", "unknown key `makedepends`", "belongs to [build]"),
            ("[components]\nlib = '*.so'\n", "5:7", "must be a list of texts", "`['*.so']`"),
            ("[components]\nlib = ['[a']\n", "5:8", "the glob `[a` is not one", "`**`"),
            ("[components]\nlib = ['a{b']\n", "5:8", "is not one", "`**`"),
            ("[components]\nlib = ['']\n", "5:8", "matches no file", "`**`"),
            ("[components]\nlib = ['/usr/lib/']\n", "5:8", "matches no file", "`**`"),
            ("[config]\nfiles = ['[a']\n", "5:10", "the glob `[a` is not one", "`**`"),
            ("[config]\nfile = ['a']\n", "5:1", "unknown key `file`", "did you mean `files`?"),
            ("[components]\nlibs = ['*.so']\n", "5:1", "unknown key `libs`", "did you mean `lib`?"),
        ]);
    }
}
