// recipes/src/fields.rs
//! The recipe as key and value, for the cook key.
//!
//! Every key that can change the output is here, once and in one spelling; comments, order and layout of the file
//! leave no trace. What is not here, and why:
//!
//! | key | why |
//! |---|---|
//! | URLs, `mirrors`, `git`, `tag`, `path`, patch files' names | where bytes came from changes nothing; their content is keyed by whoever has it |
//! | `checksum`, `signature`, `keys` | they say what the content must be |
//! | `build.makedepends` | the content of what answers it is keyed |
//! | `build.timeout` | it can only end a build |
//! | `[variables]` | they count where they are used |
//! | sources of other architectures | they are not used |
//!
//! `build.requires` is here, because it also becomes part of the package. So are the names of the files that are
//! sources, because a build sees them, and the commit, because the time of the sources comes from it.

use std::collections::BTreeMap;

use crate::recipe::{Additional, AdditionalFrom, Recipe, Source};

/// Values by key.
type Fields = BTreeMap<String, String>;

impl Recipe {
    /// Returns every key that can change the output, with its value in one canonical spelling.
    ///
    /// Keys that are absent or have their default are left out where both mean the same. To be called on what
    /// [`Recipe::expand`] returned: before that, text stands with its `%(name)s`.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, String> {
        let mut fields = Fields::new();
        self.package_fields(&mut fields);
        let source = self.expanded_for.as_deref().map_or(&self.source, |arch| self.source_for(arch));
        source_fields(&mut fields, source);
        for (at, additional) in self.additional.iter().enumerate() {
            additional_fields(&mut fields, &format!("source.additional[{at}]"), additional);
        }
        for (at, patch) in self.patches.iter().enumerate() {
            fields.insert(format!("patches.files[{at}].strip"), patch.strip.to_string());
            fields.insert(format!("patches.files[{at}].fuzz"), patch.fuzz.to_string());
        }
        self.build_fields(&mut fields);
        list(&mut fields, "runtime.requires", &self.runtime.requires);
        list(&mut fields, "runtime.recommends", &self.runtime.recommends);
        list(&mut fields, "runtime.provides", &self.runtime.provides);
        list(&mut fields, "runtime.conflicts", &self.runtime.conflicts);
        list(&mut fields, "runtime.replaces", &self.runtime.replaces);
        for (at, (component, globs)) in self.components.rules.iter().enumerate() {
            list(&mut fields, &format!("components[{at}].{component}"), globs);
        }
        list(&mut fields, "components.exclude", &self.components.exclude);
        fields
    }

    fn package_fields(&self, fields: &mut Fields) {
        let package = &self.package;
        fields.insert("package.name".to_owned(), package.name.to_string());
        fields.insert("package.version".to_owned(), package.version.clone());
        fields.insert("package.release".to_owned(), package.release.clone());
        fields.insert("package.epoch".to_owned(), package.epoch.to_string());
        list(fields, "package.arch", &package.arch);
        optional(fields, "package.summary", package.summary.as_ref());
        optional(fields, "package.description", package.description.as_ref());
        optional(fields, "package.homepage", package.homepage.as_ref());
        optional(fields, "package.license", package.license.as_ref());
    }

    fn build_fields(&self, fields: &mut Fields) {
        let build = &self.build;
        list(fields, "build.requires", &build.requires);
        for (phase, step) in &build.steps {
            fields.insert(format!("build.{phase}"), step.clone());
        }
        for (name, value) in &build.environment {
            fields.insert(format!("build.environment.{name}"), value.clone());
        }
        optional(fields, "build.workdir", build.workdir.as_ref());
        optional(fields, "build.jobs", build.jobs.as_ref());
        optional(fields, "build.memory", build.memory_bytes.as_ref());
    }
}

/// Adds what a build sees of the main source beside its content.
fn source_fields(fields: &mut Fields, source: &Source) {
    let mut put = |key: &str, value: String| fields.insert(format!("source.{key}"), value);
    match source {
        Source::None => {}
        Source::Archive { extract_dir, .. } => {
            put("archive", source.file_name().unwrap_or_default().to_owned());
            optional(fields, "source.extract_dir", extract_dir.as_ref());
        }
        Source::Git { commit, submodules, .. } => {
            put("commit", commit.clone());
            put("submodules", submodules.to_string());
        }
        Source::Path { .. } => {
            put("path", "a directory".to_owned());
        }
    }
}

/// Adds what a build sees of a further source beside its content.
fn additional_fields(fields: &mut Fields, prefix: &str, additional: &Additional) {
    fields.insert(format!("{prefix}.file"), additional.file_name().to_owned());
    if let AdditionalFrom::Git { commit, .. } = &additional.from {
        fields.insert(format!("{prefix}.commit"), commit.clone());
    }
    optional(fields, &format!("{prefix}.extract"), additional.extract.as_ref());
    optional(fields, &format!("{prefix}.extract_to"), additional.extract_to.as_ref());
}

/// Adds a value that is there.
fn optional(fields: &mut Fields, key: &str, value: Option<&impl ToString>) {
    if let Some(value) = value {
        fields.insert(key.to_owned(), value.to_string());
    }
}

/// Adds a list that is not empty, one element a line.
fn list(fields: &mut Fields, key: &str, elements: &[impl ToString]) {
    if !elements.is_empty() {
        let lines: Vec<String> = elements.iter().map(ToString::to_string).collect();
        fields.insert(key.to_owned(), lines.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use crate::read::testing::{PACKAGE, SHA256, sound};
    use crate::{Facts, Recipe, parse};

    fn fields(text: &str) -> super::Fields {
        let [jobs, arch, target, destdir] = ["7", "x86_64", "t", "/d"].map(str::to_owned);
        let recipe: Recipe = parse(&text.replace("SHA256", SHA256), "recipe.toml").unwrap();
        recipe.expand(&Facts { jobs, arch, target, destdir }).unwrap().fields()
    }

    /// A recipe with every key that can change the output, and some that cannot.
    const BASE: &str = r#"
[package]
name = "x"
version = "1.0"
release = "2"
epoch = 1
arch = ["x86_64"]
summary = "One line"
description = "Lines"
homepage = "https://e.example/home"
license = "MIT"
[source]
archive = "https://e.example/a/x-1.0.tar.gz"
checksum = "SHA256"
signature = "https://e.example/a/x-1.0.tar.gz.sig"
keys = ["upstream.asc"]
mirrors = ["https://m.example/"]
extract_dir = "inside"
[source.arch.aarch64]
archive = "https://e.example/a/arm-1.0.tar.gz"
checksum = "SHA256"
[[source.additional]]
url = "https://e.example/a/more.tar.gz"
checksum = "SHA256"
extract = true
extract_to = "more"
[[source.additional]]
git = "https://e.example/lib.git"
commit = "0123456789abcdef0123456789abcdef01234567"
[[patches.files]]
file = "https://e.example/fix.patch"
checksum = "SHA256"
strip = 2
fuzz = 3
[build]
requires = ["zlib"]
makedepends = ["m4"]
setup = "step one"
configure = "step two"
make = "step three -j%(jobs)s %(flag)s"
check = "step four"
install = "step five"
post_install = "step six"
workdir = "below"
jobs = 4
memory = "4GiB"
timeout = "2h"
[build.environment]
CFLAGS = "-O2"
[runtime]
requires = ["bash"]
recommends = ["man"]
provides = ["y = 1"]
conflicts = ["w"]
replaces = ["v"]
[components]
lib = ["/usr/lib/**"]
devel = ["*.h"]
exclude = ["*.la"]
[variables]
flag = "-s"
"#;

    #[test]
    fn every_key_that_can_change_the_output_changes_the_fields() {
        let cases = [
            ("package.name", "name = \"x\"", "name = \"xx\""),
            ("package.version", "version = \"1.0\"", "version = \"1.00\""),
            ("package.release", "release = \"2\"", "release = \"3\""),
            ("package.epoch", "epoch = 1", "epoch = 2"),
            ("package.arch", "arch = [\"x86_64\"]", "arch = [\"x86_64\", \"aarch64\"]"),
            ("package.summary", "One line", "Another"),
            ("package.description", "Lines", "Other lines"),
            ("package.homepage", "/home", "/elsewhere"),
            ("package.license", "MIT", "ISC"),
            ("source.archive", "x-1.0.tar.gz\"\nch", "y-1.0.tar.gz\"\nch"),
            ("source.extract_dir", "\"inside\"", "\"outside\""),
            ("source.additional[0].file", "more.tar.gz", "most.tar.gz"),
            ("source.additional[0].extract", "extract = true", "extract = false"),
            ("source.additional[0].extract_to", "\"more\"", "\"most\""),
            ("source.additional[1].file", "lib.git", "lob.git"),
            ("source.additional[1].commit", "commit = \"0", "commit = \"1"),
            ("patches.files[0].strip", "strip = 2", "strip = 1"),
            ("patches.files[0].fuzz", "fuzz = 3", "fuzz = 0"),
            ("build.requires", "zlib", "zlib-ng"),
            ("build.setup", "step one", "step 1"),
            ("build.configure", "step two", "step 2"),
            ("build.make", "step three", "step 3"),
            ("build.make", "flag = \"-s\"", "flag = \"-g\""),
            ("build.check", "step four", "step 4"),
            ("build.install", "step five", "step 5"),
            ("build.post_install", "step six", "step 6"),
            ("build.workdir", "below", "above"),
            ("build.jobs", "jobs = 4", "jobs = 1"),
            ("build.memory", "4GiB", "5GiB"),
            ("build.environment.CFLAGS", "-O2", "-O3"),
            ("runtime.requires", "bash", "dash"),
            ("runtime.recommends", "man", "info"),
            ("runtime.provides", "y = 1", "y = 2"),
            ("runtime.conflicts", "\"w\"", "\"ww\""),
            ("runtime.replaces", "\"v\"", "\"vv\""),
            ("components[0].lib", "/usr/lib/**", "/usr/lib64/**"),
            ("components[1].devel", "*.h", "*.hh"),
            ("components.exclude", "*.la", "*.a"),
        ];
        let base = fields(BASE);
        let mut covered = std::collections::BTreeSet::new();
        for (key, from, to) in cases {
            let changed = fields(&BASE.replacen(from, to, 1));
            let keys: std::collections::BTreeSet<&String> = base.keys().chain(changed.keys()).collect();
            let different: Vec<&str> =
                keys.into_iter().filter(|key| base.get(*key) != changed.get(*key)).map(String::as_str).collect();
            assert!(different.contains(&key), "{key}: {different:?}");
            assert!(different.len() == 1 || key == "package.version", "{key}: {different:?}");
            covered.insert(key);
        }
        let uncovered: Vec<&String> = base.keys().filter(|key| !covered.contains(key.as_str())).collect();
        assert!(uncovered.is_empty(), "{uncovered:?}");
    }

    #[test]
    fn what_cannot_change_the_output_changes_nothing() {
        let cases = [
            ("\n[package]\n", "\n# comment\n[package]\n\n"),
            ("https://e.example/a/x-", "http://o.example/b/x-"),
            ("checksum = \"SHA256\"", "checksum = [\"SHA256\", \"SHA256\"]"),
            ("https://m.example/", "https://n.example/"),
            ("x-1.0.tar.gz.sig", "x-1.0.tar.gz.asc"),
            ("upstream.asc", "other.asc"),
            ("arm-1.0", "arm-1.1"),
            ("https://e.example/lib.git", "https://o.example/lib.git"),
            ("e.example/fix.patch", "o.example/better.patch"),
            ("\"m4\"", "\"m4 >= 1\""),
            ("2h", "3h"),
            ("flag = \"-s\"", "flag = \"-s\"\nunused = \"x\""),
            ("-j%(jobs)s %(flag)s", "-j7 -s"),
            ("summary = \"One line\"\ndescription = \"Lines\"", "description = \"Lines\"\nsummary = 'One line'"),
        ];
        let base = fields(BASE);
        for (from, to) in cases {
            assert!(BASE.contains(from), "{from}");
            assert_eq!(fields(&BASE.replacen(from, to, 1)), base, "{from} -> {to}");
        }
    }

    #[test]
    fn sources_of_any_kind_are_told_apart() {
        let bodies = [
            "",
            "[source]\npath = 'a'\n",
            "[source]\narchive = 'a'\nchecksum = 'SHA256'\n",
            "[source]\ngit = 'a'\ncommit = '0123456789abcdef0123456789abcdef01234567'\n",
            "[source]\ngit = 'a'\ncommit = '0123456789abcdef0123456789abcdef01234567'\nsubmodules = true\n",
        ];
        let mut all: Vec<super::Fields> = bodies.iter().map(|body| sound(body).fields()).collect();
        all.dedup();
        assert_eq!(all.len(), bodies.len());
        let own = format!("{PACKAGE}[source.arch.x86_64]\narchive = 'a'\nchecksum = 'SHA256'\n");
        assert_eq!(fields(&own)["source.archive"], "a");
    }
}
