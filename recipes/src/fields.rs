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
        let source = self
            .expanded_for
            .as_deref()
            .map_or(&self.source, |arch| self.source_for(arch));
        source_fields(&mut fields, source);
        for (at, additional) in self.additional.iter().enumerate() {
            additional_fields(&mut fields, &format!("source.additional[{at}]"), additional);
        }
        for (at, patch) in self.patches.iter().enumerate() {
            fields.insert(
                format!("patches.files[{at}].strip"),
                patch.strip.to_string(),
            );
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
        Source::Git {
            commit, submodules, ..
        } => {
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
    optional(
        fields,
        &format!("{prefix}.extract"),
        additional.extract.as_ref(),
    );
    optional(
        fields,
        &format!("{prefix}.extract_to"),
        additional.extract_to.as_ref(),
    );
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
