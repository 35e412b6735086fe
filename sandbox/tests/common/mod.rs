// sandbox/tests/common/mod.rs
//! A sandbox for a test: a fresh build directory, the hostile program, and what came of a run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use sandbox::{Bind, Level, Limits, Outcome, Plan, RootView, SandboxError, Status};

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    pub outcome: Outcome,
    pub output: String,
}

impl Ran {
    pub fn status(&self) -> Status {
        self.outcome.status
    }

    /// The value of an `applied` name.
    pub fn applied(&self, name: &str) -> &str {
        self.outcome.applied.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// A build directory and a plan around it.
pub struct Kitchen {
    pub directory: tempfile::TempDir,
    pub plan: Plan,
}

impl Kitchen {
    /// `None` where this host gives no sandbox, having said so.
    pub fn new() -> Option<Self> {
        static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
        let refusal = REFUSAL.get_or_init(|| {
            let found = sandbox::probe();
            let isolation = found.iter().find(|probe| probe.feature == "isolation").expect("it is always tried");
            (!isolation.available).then(|| format!("{} ({:?})", isolation.detail, isolation.switch))
        });
        if let Some(why) = refusal {
            skipped(&format!("no sandbox on this host: {why}"));
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let build = directory.path().join("build");
        fs::create_dir(&build).expect("a directory");
        let (uid, gid) = sandbox::build_owner();
        std::os::unix::fs::chown(&build, Some(uid), Some(gid)).expect("chown");
        let plan = Plan {
            root: RootView::Host { overlays: Vec::new() },
            binds: vec![
                bind(&build, "/build", true),
                bind(hostile().parent().expect("it is in a directory"), "/hostile", false),
            ],
            command: Vec::new(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".into()), ("LC_ALL".to_owned(), "C".into())],
            directory: "/build".to_owned(),
            limits: Limits::default(),
            level: Level::Full,
        };
        Some(Self { directory, plan })
    }

    /// The build directory on the host.
    pub fn build(&self) -> PathBuf {
        self.directory.path().join("build")
    }

    /// A directory beside the build directory, on the host.
    pub fn beside(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    /// Runs words as a command.
    pub fn try_run<I: IntoIterator<Item = S>, S: Into<OsString>>(&self, words: I) -> Result<Ran, SandboxError> {
        let mut plan = self.plan.clone();
        plan.command = words.into_iter().map(Into::into).collect();
        let mut output = Vec::new();
        let outcome = sandbox::run(&plan, &mut |bytes| output.extend_from_slice(bytes), &AtomicBool::new(false))?;
        Ok(Ran { outcome, output: String::from_utf8_lossy(&output).into_owned() })
    }

    /// Runs words as a command, which must start.
    pub fn run<I: IntoIterator<Item = S>, S: Into<OsString>>(&self, words: I) -> Ran {
        self.try_run(words)
            .unwrap_or_else(|error| panic!("{error}: {:?}; {:?}", std::error::Error::source(&error), error.hint()))
    }

    /// Runs a shell script.
    pub fn sh(&self, script: &str) -> Ran {
        self.run(["/bin/sh", "-c", script])
    }

    /// Runs a subcommand of the hostile program.
    pub fn hostile(&self, words: &[&str]) -> Ran {
        self.run(["/hostile/hostile"].iter().chain(words).copied())
    }
}

pub fn bind(source: &Path, target: &str, writable: bool) -> Bind {
    Bind { source: source.to_owned(), target: target.to_owned(), writable }
}

/// Says that a test was skipped; fails where that is forbidden.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("CONARY_FORBID_SKIPS").is_none_or(|value| value != "1"), "skipped: {why}");
    eprintln!("skipped: {why}");
}

/// The hostile program, compiled once: `hostile`, and beside it `hostile-static` where the host can link that.
pub fn hostile() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = PROGRAM.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("hostile");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile.c");
        let compile = |options: &[&str], output: &Path| {
            Command::new("cc").args(options).arg("-O1").arg("-o").arg(output).arg(&source).output()
        };
        let compiled = compile(&[], &program).expect("a C compiler");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let _ = compile(&["-static"], &directory.path().join("hostile-static"));
        // A static is never dropped; the directory goes when the process ends, if the test runner cleans up.
        (directory, program)
    });
    program
}
