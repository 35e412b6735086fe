// installer/src/script.rs
//! Scriptlets of foreign packages: run in the sandbox over the root, all or nothing.
//!
//! A scriptlet sees the root and may change all of it, but what it does is caught in a directory of the store. Only when it ends well, that goes into
//! the root, as a transaction like any other; one that fails, hangs or is killed has changed nothing. Scriptlets that run before a
//! changeset are caught together, and one that fails refuses the changeset. Those that run after it are in a durable queue until they end well.

mod caught;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use recipes::Scriptlet;
use sandbox::{Bind, Level, Limits, RootView};
use store::Store;
use store::root_db::{ChangeRow, DueScript, RootDb, ScriptDone, ScriptRow};

use crate::error::{CommitError, QueryError};
use crate::event::Event;
use crate::plan::Work;
use crate::root::Root;
use crate::solve::{Member, Solution};
use crate::trigger::{TriggerError, outcome};

/// Where a scriptlet finds its own text.
const SCRIPT: &str = "/conary-scriptlet";
/// How long it may run.
const TIME_LIMIT: Duration = Duration::from_mins(5);
/// How much it may say, and how much of that is kept.
const OUTPUT_BYTES: u64 = 1 << 20;
/// The largest file that it may write.
const FILE_BYTES: u64 = 1 << 30;
/// How many processes it may have.
const PROCESSES: u64 = 1024;

/// The scriptlets of a changeset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Scripts {
    pub before: Vec<ScriptRow>,
    pub after: Vec<ScriptRow>,
}

impl Scripts {
    /// Returns what a solution's changes call for, by package.
    pub fn of(solution: &Solution, changes: &[ChangeRow]) -> Self {
        let mut scripts = Scripts::default();
        for change in changes {
            let old = change.before.as_ref().and_then(|_| solution.installed.get(&change.name));
            let (old, new) = (old.map(|(_, member)| member), solution.members.get(&change.name));
            let version = |member: &Member| member.manifest.version.to_string();
            let (member, before, after, arguments) = match (old, new) {
                (None, Some(new)) => (new, Scriptlet::PreInstall, Scriptlet::PostInstall, vec![version(new)]),
                (Some(old), Some(new)) if old.digest != new.digest => {
                    (new, Scriptlet::PreUpgrade, Scriptlet::PostUpgrade, vec![version(new), version(old)])
                }
                (Some(old), None) => (old, Scriptlet::PreRemove, Scriptlet::PostRemove, vec![version(old)]),
                _ => continue,
            };
            let row = |scriptlet: Scriptlet| {
                let text = member.manifest.scripts.get(&scriptlet)?.clone();
                let (name, arguments) = (change.name.clone(), arguments.clone());
                Some(ScriptRow { name, scriptlet: scriptlet.name().to_owned(), text, arguments })
            };
            scripts.before.extend(row(before));
            scripts.after.extend(row(after));
        }
        scripts
    }
}

/// Names a scriptlet in messages.
pub(crate) fn title(script: &ScriptRow) -> String {
    format!("scriptlet {} of {}", script.scriptlet, script.name)
}

impl Root {
    /// Returns the scriptlets that have to run, in their order.
    ///
    /// # Errors
    /// [`QueryError::Database`].
    pub fn due_scripts(&self) -> Result<Vec<DueScript>, QueryError> {
        self.ask(Vec::new(), |db| Ok(db.due_scripts()?))
    }

    /// Runs the scriptlets that go before a changeset; only when all of them end well, the root is changed.
    pub(crate) fn run_before(
        &self,
        db: &mut RootDb,
        own: &Store,
        number: i64,
        scripts: &[ScriptRow],
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), CommitError> {
        let Some(first) = scripts.first() else {
            return Ok(());
        };
        let refused =
            |script: &ScriptRow, source| CommitError::Script { script: title(script), source: Box::new(source) };
        let room = Room::make(own).map_err(|source| refused(first, source))?;
        for script in scripts {
            events(Event::Script { script: title(script) });
            self.execute_script(script, &room, cancel).map_err(|source| refused(script, source))?;
        }
        let done = ScriptDone { changeset: number, place: None };
        self.take_over(db, own, &room, done, cancel, events).map_err(|source| refused(first, source))
    }

    /// Runs one that is due, and takes over what it did.
    pub(crate) fn run_script(
        &self,
        db: &mut RootDb,
        due: &DueScript,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), TriggerError> {
        let own = self.store.as_ref().ok_or_else(|| Box::new(CommitError::ReadOnly))?;
        let room = Room::make(own)?;
        self.execute_script(&due.script, &room, cancel)?;
        let done = ScriptDone { changeset: due.changeset, place: Some(due.place) };
        self.take_over(db, own, &room, done, cancel, events)
    }

    /// Brings what was caught into the root.
    fn take_over(
        &self,
        db: &mut RootDb,
        own: &Store,
        room: &Room,
        done: ScriptDone,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), TriggerError> {
        let boxed = |error: CommitError| TriggerError::Commit(Box::new(error));
        let number = db.last_changeset().map_err(|error| boxed(error.into()))? + 1;
        let mut work = Work { number, ..Work::default() };
        let batch = own.batch().map_err(|error| boxed(error.into()))?;
        caught::take_in(self, db, &batch, &room.path.join("upper"), &mut work)?;
        self.settle_script(db, own, batch, &work, done, cancel, events).map_err(boxed)
    }

    fn execute_script(&self, script: &ScriptRow, room: &Room, cancel: &AtomicBool) -> Result<(), TriggerError> {
        let word = |text: &str| OsString::from(text);
        let file = room.path.join("script");
        let fail = |source| TriggerError::Io { action: "write", path: file.clone(), source };
        fs::write(&file, &script.text).map_err(fail)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(fail)?;
        // The kernel would look for the interpreter, too; but not for text without one.
        let first = script.text.lines().next().unwrap_or_default();
        let mut command: Vec<OsString> = match first.strip_prefix("#!") {
            Some(line) => line.split_ascii_whitespace().map(word).collect(),
            None => vec![word("/bin/sh")],
        };
        command.push(word(SCRIPT));
        command.extend(script.arguments.iter().map(|argument| word(argument)));
        let variables = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/tmp"),
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
        ];
        let plan = sandbox::Plan {
            root: RootView::Caught { lower: self.path.clone(), changes: room.path.clone() },
            binds: vec![Bind { source: file, target: SCRIPT.to_owned(), writable: false }],
            command,
            environment: variables.iter().map(|(name, value)| ((*name).to_owned(), word(value))).collect(),
            directory: "/".to_owned(),
            limits: Limits {
                wall_clock: Some(TIME_LIMIT),
                output_bytes: Some(OUTPUT_BYTES),
                file_bytes: Some(FILE_BYTES),
                processes: Some(PROCESSES),
                ..Limits::default()
            },
            level: Level::Full,
        };
        outcome(&plan, TIME_LIMIT, cancel)
    }
}

/// A directory in which changes are caught, gone when this is dropped.
struct Room {
    path: PathBuf,
    _work: store::Work,
}

impl Room {
    fn make(own: &Store) -> Result<Self, TriggerError> {
        let work = own.work().map_err(|error| Box::new(CommitError::from(error)))?;
        let path = work.path().join("caught");
        for directory in [path.clone(), path.join("upper"), path.join("work")] {
            let fail = |action| {
                let path = directory.clone();
                move |source| TriggerError::Io { action, path, source }
            };
            fs::DirBuilder::new().mode(0o755).create(&directory).map_err(fail("make"))?;
            let (uid, gid) = sandbox::build_owner();
            std::os::unix::fs::chown(&directory, Some(uid), Some(gid)).map_err(fail("give away"))?;
        }
        Ok(Self { path, _work: work })
    }
}
