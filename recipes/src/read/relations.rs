// recipes/src/read/relations.rs
//! `[runtime]` and `[components]`: the package among others, and its parts.

use crate::capability::{Capability, Comparison};
use crate::reader::{Reader, Section, Text};
use crate::recipe::{Components, Runtime};
use crate::text::{first_outside, quote};

use super::known;

/// Keys of `[runtime]`.
pub(super) const RUNTIME_KEYS: [&str; 5] = ["requires", "recommends", "provides", "conflicts", "replaces"];

/// Keys of `[runtime]` that are meant but not built yet.
const RUNTIME_LATER: [&str; 1] = ["suggests"];

/// Keys of `[components]`: the components, and what is dropped.
pub(super) const COMPONENT_KEYS: [&str; 7] = ["lib", "devel", "doc", "config", "debuginfo", "runtime", "exclude"];

/// Reads `[runtime]`.
pub(super) fn runtime<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Runtime {
    let Some(section) = reader.section(root, "runtime") else {
        return Runtime::default();
    };
    known(reader, &section, &RUNTIME_KEYS, &RUNTIME_LATER);
    Runtime {
        requires: reader.parsed_list(&section, "requires"),
        recommends: reader.parsed_list(&section, "recommends"),
        provides: provides(reader, &section),
        conflicts: reader.parsed_list(&section, "conflicts"),
        replaces: reader.parsed_list(&section, "replaces"),
    }
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
        let globs = reader
            .texts(&section, name)
            .into_iter()
            .filter(|text| is_glob(reader, text))
            .map(|text| text.carried)
            .collect();
        if name == "exclude" {
            components.exclude = globs;
        } else {
            components.rules.push((name.to_owned(), globs));
        }
    }
    components
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
        let runtime = sound("[runtime]\nrequires = ['bash | dash']\nprovides = ['sh = 1', 'soname(libx.so.1)']\nconflicts = ['y < 2']\n").runtime;
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
    }

    #[test]
    fn what_is_no_relation_is_refused() {
        check(&[
            ("[runtime]\nprovides = ['sh >= 1']\n", "5:13", "`sh >= 1` gives a range", "write `=`"),
            ("[runtime]\nprovides = ['a | b']\n", "5:13", "contains ' '", ""),
            ("[runtime]\nconflicts = ['a | b']\n", "5:14", "contains ' '", ""),
            ("[runtime]\nmakedepends = ['a']\n", "5:1", "unknown key `makedepends`", "belongs to [build]"),
            ("[components]\nlib = '*.so'\n", "5:7", "must be a list of texts", "`['*.so']`"),
            ("[components]\nlib = ['[a']\n", "5:8", "the glob `[a` is not one", "`**`"),
            ("[components]\nlib = ['a{b']\n", "5:8", "is not one", "`**`"),
            ("[components]\nlib = ['']\n", "5:8", "matches no file", "`**`"),
            ("[components]\nlib = ['/usr/lib/']\n", "5:8", "matches no file", "`**`"),
            ("[components]\nlibs = ['*.so']\n", "5:1", "unknown key `libs`", "did you mean `lib`?"),
        ]);
    }
}
