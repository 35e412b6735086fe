// sandbox/src/show.rs
//! A plan for people: as the list of what will be done, and as the nearest line of bubblewrap.

use std::ffi::OsString;
use std::path::Path;

use crate::error::SandboxError;
use crate::host::Host;
use crate::layout;
use crate::plan::{Level, Plan, RootView};

impl Plan {
    /// The list of what is done to make the root, a line each: first the mounts cloned from the host, then
    /// the operations in order. Empty without isolation.
    ///
    /// # Errors
    /// [`SandboxError`] if the plan cannot be carried out, or a directory it names cannot be read.
    pub fn describe(&self) -> Result<Vec<String>, SandboxError> {
        if self.level != Level::Full {
            return Ok(Vec::new());
        }
        let host = Host::look(self);
        let layout = layout::of(self, host.processors, host.scratch_bytes, None)?;
        let sources = layout
            .sources
            .iter()
            .enumerate()
            .map(|(number, source)| format!("source {number} {} ({:?})", source.path.display(), source.access));
        let operations = layout.operations.iter().map(ToString::to_string);
        Ok(sources.chain(operations).collect())
    }

    /// The words of a `bwrap` command line that comes nearest to this plan.
    ///
    /// What bubblewrap lacks is missing: the seccomp filter, landlock, limits, the fixed files of `/proc`, the
    /// fixed `uname` and clocks. Overlays need bubblewrap 0.11.
    #[must_use]
    pub fn to_bwrap(&self) -> Vec<OsString> {
        let mut line = Line(vec!["bwrap".into()]);
        if self.level == Level::Full {
            line.add(["--unshare-all", "--die-with-parent", "--new-session", "--hostname", "kitchen"]);
            line.add(["--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"]);
            match &self.root {
                RootView::Host { overlays } => line.host(overlays),
                RootView::Layers { lowers } => line.merged(lowers, Path::new("/")),
                RootView::Caught { lower, changes } => {
                    line.add(["--overlay-src"]);
                    line.0.push(lower.into());
                    line.add(["--overlay"]);
                    line.0.extend([changes.join("upper").into(), changes.join("work").into(), "/".into()]);
                }
            }
            line.add(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]);
            for bind in &self.binds {
                let option = if bind.writable { "--bind" } else { "--ro-bind" };
                line.mount(option, &bind.source, Path::new(&bind.target));
            }
            line.add(["--remount-ro", "/"]);
        }
        line.add(["--clearenv"]);
        for (name, value) in &self.environment {
            line.add(["--setenv", name]);
            line.0.push(value.clone());
        }
        line.add(["--chdir", &self.directory, "--"]);
        line.0.extend(self.command.iter().cloned());
        line.0
    }
}

struct Line(Vec<OsString>);

impl Line {
    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.0.extend(words.map(OsString::from));
    }

    fn mount(&mut self, option: &str, source: &Path, target: &Path) {
        self.0.extend([option.into(), source.into(), target.into()]);
    }

    fn host(&mut self, overlays: &[std::path::PathBuf]) {
        let usr = Path::new("/usr");
        let mut layers: Vec<_> = overlays.iter().map(|tree| tree.join("usr")).filter(|path| path.is_dir()).collect();
        layers.push(usr.to_owned());
        self.merged(&layers, usr);
        self.add(["--tmpfs", "/usr/local"]);
        for name in layout::BESIDE_USR {
            let path = Path::new("/").join(name);
            match std::fs::read_link(&path) {
                Ok(target) => self.mount("--symlink", &target, &path),
                Err(_) if path.is_dir() => self.mount("--ro-bind", &path, &path),
                Err(_) => {}
            }
        }
        for path in ["/etc/alternatives", "/etc/ld.so.cache"] {
            self.mount("--ro-bind-try", Path::new(path), Path::new(path));
        }
    }

    /// `layers`, uppermost first, at `target`.
    fn merged(&mut self, layers: &[std::path::PathBuf], target: &Path) {
        if let [only] = layers {
            return self.mount("--ro-bind", only, target);
        }
        // bubblewrap wants the lowest layer first.
        for layer in layers.iter().rev() {
            self.0.extend(["--overlay-src".into(), layer.into()]);
        }
        self.0.extend(["--ro-overlay".into(), target.into()]);
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{Bind, Limits};

    use super::*;

    fn plan() -> Plan {
        Plan {
            root: RootView::Host { overlays: Vec::new() },
            binds: vec![Bind { source: "/tmp".into(), target: "/build".to_owned(), writable: true }],
            command: vec!["make".into(), "all".into()],
            environment: vec![("PATH".to_owned(), "/usr/bin".into())],
            directory: "/build".to_owned(),
            limits: Limits::default(),
            level: Level::Full,
        }
    }

    #[test]
    fn description_is_ordered_and_repeatable() {
        let lines = plan().describe().expect("a plan");
        assert_eq!(lines, plan().describe().expect("a plan"));
        let at = |start: &str| {
            lines.iter().position(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {lines:#?}"))
        };
        assert!(at("source 0 /usr (Read)") < at("directory /facts 0755"));
        assert!(at("proc /root/proc") < at("bind /facts/proc/cpuinfo at /root/proc/cpuinfo"));
        assert_eq!(lines.last().map(String::as_str), Some("enter /root"));
        assert!(!lines.iter().any(|line| line.contains("size=0k")), "as large as they will be: {lines:#?}");
    }

    #[test]
    fn bubblewrap_line_holds_the_plan() {
        let words: Vec<String> = plan().to_bwrap().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let line = words.join(" ");
        assert!(line.starts_with("bwrap --unshare-all --die-with-parent"), "{line}");
        assert!(line.contains("--ro-bind /usr /usr --tmpfs /usr/local"), "{line}");
        assert!(line.contains("--bind /tmp /build --remount-ro / --clearenv --setenv PATH /usr/bin"), "{line}");
        assert!(line.ends_with("--chdir /build -- make all"), "{line}");
    }
}
