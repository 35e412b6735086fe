// kitchen/src/cook/seen.rs
//! What the steps of a build call its directories.

use std::collections::BTreeMap;

use sandbox::Level;

use crate::environment;
use crate::workspace::Workspace;

/// Where the build's directories are as its steps see them: constant in a sandbox, the workspace's own
/// without one.
pub(super) struct SeenPaths {
    pub build: String,
    pub destdir: String,
    pub outputs: String,
    pub scripts: String,
    /// For temporary files, where `/tmp` is not the build's.
    scratch: Option<String>,
}

impl SeenPaths {
    pub fn of(workspace: &Workspace, level: Level) -> Self {
        match level {
            Level::Full => Self {
                build: environment::BUILD.to_owned(),
                destdir: environment::DESTDIR.to_owned(),
                outputs: environment::OUTPUTS.to_owned(),
                scripts: environment::STEPS.to_owned(),
                scratch: None,
            },
            Level::Restricted | Level::None => Self {
                scratch: (level == Level::Restricted).then(|| workspace.build().to_string_lossy().into_owned()),
                build: workspace.build().to_string_lossy().into_owned(),
                destdir: workspace.dest().to_string_lossy().into_owned(),
                outputs: workspace.outputs().to_string_lossy().into_owned(),
                scripts: workspace.steps().to_string_lossy().into_owned(),
            },
        }
    }

    /// Puts the paths into the variables that hold them.
    pub fn apply(&self, environment: &mut BTreeMap<String, String>) {
        environment.insert("DESTDIR".to_owned(), self.destdir.clone());
        environment.extend(self.scratch.iter().map(|scratch| ("TMPDIR".to_owned(), scratch.clone())));
        if environment.get("HOME").is_some_and(|home| home == environment::BUILD) {
            environment.insert("HOME".to_owned(), self.build.clone());
        }
    }
}
