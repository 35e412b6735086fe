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
//! | `build.makedepends`, `build.checkdepends` | the content of what answers it is keyed |
//! | `build.timeout`, `build.disk` | they can only end a build |
//! | `[variables]` | they count where they are used |
//! | sources of other architectures | they are not used |
//!
//! `build.requires` is here, because it also becomes part of the package. So are the names of the files that are
//! sources, because a build sees them, and the commit, because the time of the sources comes from it.

use std::collections::BTreeMap;

use crate::hooks::{HookAlternative, HookDirectory, HookGroup, HookUser, Hooks};
use crate::output::{Output, Scripts};
use crate::policy::Policies;
use crate::recipe::{Additional, AdditionalFrom, Package, Recipe, Runtime, Source};

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
        runtime_fields(&mut fields, "runtime", &self.runtime);
        script_fields(&mut fields, "scripts", &self.scripts);
        hook_fields(&mut fields, "hooks", &self.hooks);
        for (at, output) in self.outputs.iter().enumerate() {
            self.output_fields(&mut fields, &format!("outputs[{at}]"), output);
        }
        for (at, (component, globs)) in self.components.rules.iter().enumerate() {
            list(&mut fields, &format!("components[{at}].{component}"), globs);
        }
        list(&mut fields, "components.exclude", &self.components.exclude);
        list(&mut fields, "config.files", &self.config.files);
        list(&mut fields, "config.noreplace", &self.config.noreplace);
        fields
    }

    fn package_fields(&self, fields: &mut Fields) {
        let package = &self.package;
        fields.insert("package.name".to_owned(), package.name.to_string());
        fields.insert("package.version".to_owned(), package.version.clone());
        fields.insert("package.release".to_owned(), package.release.clone());
        fields.insert("package.epoch".to_owned(), package.epoch.to_string());
        list(fields, "package.arch", &package.arch);
        about_fields(fields, "package", package);
    }

    /// Adds what an output says itself and otherwise than the recipe.
    fn output_fields(&self, fields: &mut Fields, prefix: &str, output: &Output) {
        let Output { package, files, install, runtime, policies, scripts, hooks } = output;
        let mut about = Fields::new();
        about_fields(&mut about, "", package);
        let mut general = Fields::new();
        about_fields(&mut general, "", &self.package);
        general.remove(".groups");
        fields.insert(format!("{prefix}.name"), package.name.to_string());
        if package.arch != self.package.arch {
            fields.insert(format!("{prefix}.arch"), package.arch.join("\n"));
        }
        for (key, value) in about {
            if general.get(&key) != Some(&value) {
                fields.insert(format!("{prefix}{key}"), value);
            }
        }
        list(fields, &format!("{prefix}.files"), files);
        optional(fields, &format!("{prefix}.install"), install.as_ref());
        runtime_fields(fields, prefix, runtime);
        if *policies != self.build.policies {
            fields.insert(format!("{prefix}.options"), policies.to_string());
        }
        script_fields(fields, &format!("{prefix}.scripts"), scripts);
        hook_fields(fields, &format!("{prefix}.hooks"), hooks);
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
        optional(fields, "build.processes", build.processes.as_ref());
        if build.policies != Policies::default() {
            fields.insert("build.options".to_owned(), build.policies.to_string());
        }
    }
}

/// Adds what a package says to people.
fn about_fields(fields: &mut Fields, prefix: &str, package: &Package) {
    optional(fields, &format!("{prefix}.summary"), package.summary.as_ref());
    optional(fields, &format!("{prefix}.description"), package.description.as_ref());
    optional(fields, &format!("{prefix}.homepage"), package.homepage.as_ref());
    optional(fields, &format!("{prefix}.license"), package.license.as_ref());
    list(fields, &format!("{prefix}.groups"), &package.groups);
}

/// Adds the relations of a package.
fn runtime_fields(fields: &mut Fields, prefix: &str, runtime: &Runtime) {
    list(fields, &format!("{prefix}.requires"), &runtime.requires);
    list(fields, &format!("{prefix}.recommends"), &runtime.recommends);
    list(fields, &format!("{prefix}.suggests"), &runtime.suggests);
    list(fields, &format!("{prefix}.provides"), &runtime.provides);
    list(fields, &format!("{prefix}.conflicts"), &runtime.conflicts);
    list(fields, &format!("{prefix}.replaces"), &runtime.replaces);
}

/// Adds the scriptlets of a package.
fn script_fields(fields: &mut Fields, prefix: &str, scripts: &Scripts) {
    for (scriptlet, text) in scripts {
        fields.insert(format!("{prefix}.{scriptlet}"), text.clone());
    }
}

/// Adds what the system must have for a package.
fn hook_fields(fields: &mut Fields, prefix: &str, hooks: &Hooks) {
    let Hooks { users, groups, directories, tmpfiles, sysctl, services, alternatives } = hooks;
    for (at, user) in users.iter().enumerate() {
        let HookUser { name, id, group, groups, home, shell, comment } = user;
        let prefix = format!("{prefix}.users[{at}]");
        fields.insert(format!("{prefix}.name"), name.clone());
        optional(fields, &format!("{prefix}.id"), id.as_ref());
        optional(fields, &format!("{prefix}.group"), group.as_ref());
        list(fields, &format!("{prefix}.groups"), groups);
        optional(fields, &format!("{prefix}.home"), home.as_ref());
        optional(fields, &format!("{prefix}.shell"), shell.as_ref());
        optional(fields, &format!("{prefix}.comment"), comment.as_ref());
    }
    for (at, HookGroup { name, id }) in groups.iter().enumerate() {
        fields.insert(format!("{prefix}.groups[{at}].name"), name.clone());
        optional(fields, &format!("{prefix}.groups[{at}].id"), id.as_ref());
    }
    for (at, HookDirectory { path, mode, owner, group }) in directories.iter().enumerate() {
        fields.insert(format!("{prefix}.directories[{at}]"), format!("{path}\n{mode:o}\n{owner}\n{group}"));
    }
    list(fields, &format!("{prefix}.tmpfiles"), tmpfiles);
    for (key, value) in sysctl {
        fields.insert(format!("{prefix}.sysctl.{key}"), value.clone());
    }
    list(fields, &format!("{prefix}.services"), services);
    for (at, HookAlternative { link, target, priority, also }) in alternatives.iter().enumerate() {
        let prefix = format!("{prefix}.alternatives[{at}]");
        fields.insert(prefix.clone(), format!("{link}\n{target}\n{priority}"));
        for (link, target) in also {
            fields.insert(format!("{prefix}.also.{link}"), target.clone());
        }
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
    fields.insert(format!("{prefix}.file"), additional.laid_out_as().to_owned());
    if let AdditionalFrom::Git { commit, .. } = &additional.from {
        fields.insert(format!("{prefix}.commit"), commit.clone());
    }
    optional(fields, &format!("{prefix}.arch"), additional.arch.as_ref());
    if additional.keep {
        fields.insert(format!("{prefix}.keep"), "true".to_owned());
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
        let [jobs, arch, target, destdir, outputs] = ["7", "x86_64", "t", "/d", "/o"].map(str::to_owned);
        let recipe: Recipe = parse(&text.replace("SHA256", SHA256), "recipe.toml").unwrap();
        recipe.expand(&Facts { jobs, arch, target, destdir, outputs }).unwrap().fields()
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
groups = ["base"]
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
seed = "debian"
jobs = 4
memory = "4GiB"
timeout = "2h"
disk = "20GiB"
processes = 2000
checkdepends = ["python"]
options = ["strip"]
[build.environment]
CFLAGS = "-O2"
[runtime]
requires = ["bash"]
recommends = ["man"]
suggests = ["cups: printing"]
provides = ["y = 1"]
conflicts = ["w"]
replaces = ["v"]
[components]
lib = ["/usr/lib/**"]
devel = ["*.h"]
exclude = ["*.la"]
[hooks]
tmpfiles = ["d /run/x"]
services = ["x.service"]
sysctl = { "net.a" = "1" }
groups = [{ name = "grp", id = 410 }]
directories = [{ path = "/var/lib/x", mode = "0750", owner = "usr", group = "grp" }]
alternatives = [{ link = "/usr/bin/alt", target = "/usr/bin/x", priority = 50, also = { "/a/one" = "/a/two" } }]
[[hooks.users]]
name = "usr"
id = 411
group = "grp"
groups = ["audio"]
home = "/var/lib/x"
shell = "/bin/sh"
comment = "A user"
[scripts]
post-install = "script one"
[[outputs]]
name = "x-doc"
summary = "Pages"
description = "Words"
homepage = "https://e.example/doc"
license = "CC-BY-4.0"
arch = ["any"]
groups = ["pages"]
files = ["/usr/share/doc/**"]
requires = ["yelp"]
recommends = ["less"]
suggests = ["lynx"]
provides = ["doc = 3"]
conflicts = ["old-doc"]
replaces = ["older-doc"]
options = ["purge"]
[outputs.scripts]
pre-remove = "script two"
[outputs.hooks]
tmpfiles = ["d /run/doc"]
[[outputs]]
name = "x-cli"
install = "step seven %(destdir)s"
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
            ("source.additional[0].file", "extract = true", "extract = true\nname = \"most\""),
            ("source.additional[0].arch", "extract = true", "extract = true\narch = \"aarch64\""),
            ("source.additional[0].keep", "extract = true", "extract = true\nkeep = true"),
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
            ("build.processes", "processes = 2000", "processes = 1000"),
            ("build.memory", "4GiB", "5GiB"),
            ("build.environment.CFLAGS", "-O2", "-O3"),
            ("runtime.requires", "bash", "dash"),
            ("runtime.recommends", "man", "info"),
            ("runtime.provides", "y = 1", "y = 2"),
            ("runtime.conflicts", "\"w\"", "\"ww\""),
            ("runtime.replaces", "\"v\"", "\"vv\""),
            ("package.groups", "\"base\"", "\"basis\""),
            ("build.options", "\"strip\"", "\"strip\", \"!libtool\""),
            ("runtime.suggests", "cups: printing", "cups: paper"),
            ("scripts.post-install", "script one", "script 1"),
            ("hooks.users[0].name", "name = \"usr\"", "name = \"user\""),
            ("hooks.users[0].id", "id = 411", "id = 421"),
            ("hooks.users[0].group", "group = \"grp\"\ngroups", "group = \"group\"\ngroups"),
            ("hooks.users[0].groups", "audio", "video"),
            ("hooks.users[0].home", "home = \"/var/lib/x\"", "home = \"/srv/x\""),
            ("hooks.users[0].shell", "/bin/sh", "/bin/bash"),
            ("hooks.users[0].comment", "A user", "The user"),
            ("hooks.groups[0].name", "{ name = \"grp\"", "{ name = \"group\""),
            ("hooks.groups[0].id", "id = 410", "id = 420"),
            ("hooks.directories[0]", "mode = \"0750\"", "mode = \"0700\""),
            ("hooks.directories[0]", "owner = \"usr\"", "owner = \"user\""),
            ("hooks.tmpfiles", "d /run/x", "d /run/y"),
            ("hooks.sysctl.net.a", "\"net.a\" = \"1\"", "\"net.a\" = \"2\""),
            ("hooks.services", "x.service", "y.service"),
            ("hooks.alternatives[0]", "priority = 50", "priority = 51"),
            ("hooks.alternatives[0].also./a/one", "/a/two", "/a/three"),
            ("outputs[0].hooks.tmpfiles", "/run/doc", "/run/docs"),
            ("outputs[0].name", "x-doc", "x-docs"),
            ("outputs[0].summary", "Pages", "Page"),
            ("outputs[0].description", "Words", "Word"),
            ("outputs[0].homepage", "example/doc", "example/pages"),
            ("outputs[0].license", "CC-BY-4.0", "CC-BY-3.0"),
            ("outputs[0].arch", "arch = [\"any\"]\n", ""),
            ("outputs[0].groups", "[\"pages\"]", "[]"),
            ("outputs[0].files", "share/doc", "share/docs"),
            ("outputs[0].requires", "yelp", "yelp-tools"),
            ("outputs[0].recommends", "less", "more"),
            ("outputs[0].suggests", "lynx", "links"),
            ("outputs[0].provides", "doc = 3", "doc = 4"),
            ("outputs[0].conflicts", "old-doc", "ancient-doc"),
            ("outputs[0].replaces", "older-doc", "oldest-doc"),
            ("outputs[0].options", "\"purge\"", "\"purge\", \"!docs\""),
            ("outputs[0].scripts.pre-remove", "script two", "script 2"),
            ("outputs[1].name", "x-cli", "x-cmd"),
            ("outputs[1].install", "step seven", "step 7"),
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
            // The name of an output is in its directory too.
            let alone = different.len() == 1 || matches!(key, "package.version" | "outputs[1].name");
            assert!(alone, "{key}: {different:?}");
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
            ("\"python\"", "\"python >= 3\""),
            ("2h", "3h"),
            // What counts is the seed's content, where there is one.
            ("seed = \"debian\"", "seed = \"other\""),
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
