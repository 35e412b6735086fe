// installer/src/trigger.rs
//! Triggers: caches that follow from installed files, made anew once a changeset is complete.
//!
//! A changeset that touches a path which a trigger's patterns match puts it into a durable queue, in the same commit as everything else. Then each is run
//! once: its command sees the root read-only in the sandbox, without network, and writes to an empty directory. What it leaves there goes into the
//! root as a transaction of its own, so that a trigger which fails, or is killed, has changed nothing. It stays due, the root is
//! *degraded*, and the next changeset or `conary trigger run` tries again. What no trigger writes any more, and what belonged to one whose paths are all gone, is removed.

mod builtin;
mod output;

pub(crate) use output::{digest, list};

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use sandbox::{Bind, Level, Limits, RootView, Status};
use store::Store;
use store::root_db::{DueTrigger, RootDb, TriggerDone, TriggerRule};

use crate::beneath::Beneath;
use crate::error::{CommitError, QueryError};
use crate::event::Event;
use crate::paths;
use crate::plan::Work;
use crate::root::Root;
use crate::script;

/// Where a command finds the directory that it writes to.
const OUTPUT: &str = "/out";
/// How long a command may run.
const TIME_LIMIT: Duration = Duration::from_mins(5);
/// How much it may say.
const OUTPUT_BYTES: u64 = 1 << 20;
/// How much of that is kept.
const TAIL_BYTES: usize = 2000;

/// A trigger as a root has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The rule.
    pub rule: TriggerRule,
    /// Whether Conary brings it; otherwise somebody added it.
    pub builtin: bool,
    /// The program that it runs, where it has nothing to do in a root without.
    pub program: Option<&'static str>,
    /// Set when it has to run, and how it failed.
    pub due: Option<DueTrigger>,
}

/// Why a trigger did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// The sandbox could not be made.
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
    /// The command failed.
    #[error("its command {how}{}{tail}", if tail.is_empty() { "" } else { ": " })]
    Failed {
        /// How it ended.
        how: String,
        /// The end of what it said.
        tail: String,
    },
    /// What it wrote cannot go into the root.
    #[error("it wrote {}, {why}", paths::show(path))]
    Output {
        /// Where.
        path: Vec<u8>,
        /// Why not.
        why: String,
    },
    /// Its directory failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Putting its output in place failed.
    #[error(transparent)]
    Commit(#[from] Box<CommitError>),
}

impl Root {
    /// Returns every trigger in the order in which they run.
    ///
    /// # Errors
    /// [`QueryError::Database`].
    pub fn triggers(&self) -> Result<Vec<Trigger>, QueryError> {
        self.ask(builtin::all(), |db| Ok(triggers(db)?))
    }

    /// Adds a trigger, or changes the one of that name that was added before.
    ///
    /// # Errors
    /// [`CommitError::Trigger`] for a glob that is none, or a name that Conary's own has.
    pub fn add_trigger(&self, rule: &TriggerRule) -> Result<(), CommitError> {
        let refused = |why: String| CommitError::Trigger { name: rule.name.clone(), why };
        if builtin::all().iter().any(|known| known.rule.name == rule.name) {
            return Err(refused("Conary has one of that name itself".to_owned()));
        }
        matcher(&rule.patterns).map_err(|error| refused(error.to_string()))?;
        self.with_db(|db| {
            db.put_trigger_rule(rule)?;
            self.export(db, &|_| {});
            Ok(())
        })
    }

    /// Removes a trigger that was added; what it wrote stays.
    ///
    /// # Errors
    /// [`CommitError::Trigger`] when there is none.
    pub fn remove_trigger(&self, name: &str) -> Result<(), CommitError> {
        let removed = self.with_db(|db| {
            let removed = db.remove_trigger_rule(name)?;
            self.export(db, &|_| {});
            Ok(removed)
        })?;
        if removed {
            return Ok(());
        }
        Err(CommitError::Trigger { name: name.to_owned(), why: "no such trigger was added".to_owned() })
    }

    /// Runs the scriptlets and triggers that are due; returns those that failed, with the reason.
    ///
    /// # Errors
    /// Trouble with the database; a trigger that fails is no error of this.
    pub fn run_triggers(
        &self,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<Vec<(String, String)>, CommitError> {
        self.with_db(|db| self.run_due(db, false, cancel, events))
    }

    fn with_db<T>(&self, work: impl FnOnce(&mut RootDb) -> Result<T, CommitError>) -> Result<T, CommitError> {
        let mut db = self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (db.as_mut(), self.options.write) {
            (Some(db), true) => work(db),
            _ => Err(CommitError::ReadOnly),
        }
    }

    /// Runs everything that is due, each once, scriptlets first; returns what failed, with the reason.
    ///
    /// The export is written before anything runs, where something `changed`, and afterwards.
    pub(crate) fn run_due(
        &self,
        db: &mut RootDb,
        changed: bool,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<Vec<(String, String)>, CommitError> {
        let mut failed = Vec::new();
        if changed {
            self.export(db, events);
        }
        let scripts = db.due_scripts()?;
        if scripts.is_empty() && db.due_triggers()?.is_empty() {
            return Ok(failed);
        }
        for due in scripts {
            let script = script::title(&due.script);
            events(Event::Script { script: script.clone() });
            if let Err(error) = self.run_script(db, &due, cancel, events) {
                let why = chain(&error);
                db.script_failed(&due, &why)?;
                failed.push((script, why));
            }
        }
        // Those that scriptlets set off are due by now.
        for trigger in triggers(db)?.into_iter().filter(|trigger| trigger.due.is_some()) {
            let name = trigger.rule.name.clone();
            events(Event::Trigger { name: name.clone() });
            if let Err(error) = self.run_one(db, &trigger, cancel, events) {
                let why = chain(&error);
                db.trigger_failed(&name, &why)?;
                failed.push((name, why));
            }
        }
        self.export(db, events);
        Ok(failed)
    }

    fn run_one(
        &self,
        db: &mut RootDb,
        trigger: &Trigger,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), TriggerError> {
        let boxed = |error: CommitError| TriggerError::Commit(Box::new(error));
        let own = self.store.as_ref().ok_or_else(|| boxed(CommitError::ReadOnly))?;
        let _hold = own.hold().map_err(|error| boxed(error.into()))?;
        let number = db.last_changeset().map_err(|error| boxed(error.into()))? + 1;
        let before = db.trigger_outputs(&trigger.rule.name).map_err(|error| boxed(error.into()))?;
        let mut work = Work { number, ..Work::default() };
        let outputs = if has_work(&self.beneath, db, trigger).map_err(boxed)? {
            let room = Scratch::make(own)?;
            self.execute(&trigger.rule, &room.path, cancel)?;
            output::take_in(self, db, own, &room.path, &trigger.rule.name, &before, &mut work)?
        } else {
            Vec::new()
        };
        output::remove_stale(self, &before, &outputs, &mut work)?;
        let done = TriggerDone { name: trigger.rule.name.clone(), outputs };
        self.settle_trigger(db, own, &work, done, cancel, events).map_err(boxed)
    }

    fn execute(&self, rule: &TriggerRule, room: &Path, cancel: &AtomicBool) -> Result<(), TriggerError> {
        let word = |text: &str| OsString::from(text);
        let variables = [
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/tmp"),
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
            ("OUT", OUTPUT),
        ];
        let plan = sandbox::Plan {
            root: RootView::Layers { lowers: vec![self.path.clone()] },
            binds: vec![Bind { source: room.to_owned(), target: OUTPUT.to_owned(), writable: true }],
            command: vec![word("/bin/sh"), word("-eu"), word("-c"), word(&rule.command)],
            environment: variables.iter().map(|(name, value)| ((*name).to_owned(), word(value))).collect(),
            directory: OUTPUT.to_owned(),
            limits: Limits { wall_clock: Some(TIME_LIMIT), output_bytes: Some(OUTPUT_BYTES), ..Limits::default() },
            level: Level::Full,
        };
        outcome(&plan, TIME_LIMIT, cancel)
    }
}

/// Returns the triggers that are due, have nothing to look at, and wrote nothing earlier; none while scriptlets are due, which may change that.
pub(crate) fn idle(root: &Beneath, db: &RootDb) -> Result<Vec<String>, CommitError> {
    let mut idle = Vec::new();
    if db.due_triggers()?.is_empty() || !db.due_scripts()?.is_empty() {
        return Ok(idle);
    }
    for trigger in triggers(db)?.into_iter().filter(|trigger| trigger.due.is_some()) {
        if db.trigger_outputs(&trigger.rule.name)?.is_empty() && !has_work(root, db, &trigger)? {
            idle.push(trigger.rule.name);
        }
    }
    Ok(idle)
}

/// Whether there is anything to run a trigger for: a path that it looks at, and the program.
fn has_work(root: &Beneath, db: &RootDb, trigger: &Trigger) -> Result<bool, CommitError> {
    if let Some(program) = trigger.program {
        let places = ["usr/sbin", "usr/bin", "sbin", "bin"];
        let there = places.iter().any(|place| root.exists_inside(format!("{place}/{program}").as_bytes()));
        if !there || !root.exists_inside(b"bin/sh") {
            return Ok(false);
        }
    }
    let Ok(matcher) = matcher(&trigger.rule.patterns) else {
        return Ok(false);
    };
    Ok(db.any_path(|path| matches(&matcher, path))?)
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    why
}

/// Runs a command, and says how it failed.
pub(crate) fn outcome(plan: &sandbox::Plan, limit: Duration, cancel: &AtomicBool) -> Result<(), TriggerError> {
    let mut tail: Vec<u8> = Vec::new();
    let outcome = sandbox::run(
        plan,
        &mut |piece| {
            tail.extend_from_slice(piece);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
        },
        cancel,
    )?;
    let how = match outcome.status {
        Status::Exited(0) => return Ok(()),
        Status::Exited(status) => format!("ended with {status}"),
        Status::Signaled(signal) => format!("was ended by signal {signal}"),
        Status::TimedOut => format!("took longer than {} minutes", limit.as_secs() / 60),
        Status::Cancelled => "was interrupted".to_owned(),
        Status::OutputLimit => "said too much".to_owned(),
        Status::DiskLimit => "wrote too much".to_owned(),
        Status::ProcessLimit => "started too much".to_owned(),
        Status::OutOfMemory => "ran out of memory".to_owned(),
    };
    let tail = String::from_utf8_lossy(&tail).trim().to_owned();
    Err(TriggerError::Failed { how, tail })
}

/// A directory for a command to write to, gone when this is dropped.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make(own: &Store) -> Result<Self, TriggerError> {
        let path = own.directory().join("trigger");
        let fail = |action| {
            let path = path.clone();
            move |source| TriggerError::Io { action, path, source }
        };
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail("empty")(error)),
            _ => {}
        }
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(fail("make"))?;
        let (uid, gid) = sandbox::build_owner();
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(fail("give away"))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is emptied by the next one.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Returns every trigger with what is due, each behind those that it follows.
fn triggers(db: &RootDb) -> Result<Vec<Trigger>, store::root_db::RootDbError> {
    let mut left = builtin::all();
    let added = db.trigger_rules()?.into_iter();
    left.extend(added.map(|rule| Trigger { rule, builtin: false, program: None, due: None }));
    let due = db.due_triggers()?;
    for trigger in &mut left {
        trigger.due = due.iter().find(|due| due.name == trigger.rule.name).cloned();
    }
    let mut ordered: Vec<Trigger> = Vec::new();
    while !left.is_empty() {
        let waits = |trigger: &Trigger| {
            left.iter()
                .any(|other| other.rule.name != trigger.rule.name && trigger.rule.after.contains(&other.rule.name))
        };
        // In a circle, the first goes first.
        let next = left.iter().position(|trigger| !waits(trigger)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    Ok(ordered)
}

/// Returns the names of the triggers that a change of these paths sets off.
pub(crate) fn set_off(db: &RootDb, work: &Work) -> Result<Vec<String>, store::root_db::RootDbError> {
    let mut triggers = triggers(db)?;
    let mut waiting = Vec::new();
    for (number, trigger) in triggers.iter().enumerate() {
        for pattern in &trigger.rule.patterns {
            // A glob was checked when its rule was added.
            if let Ok(glob) = glob(pattern) {
                // Most paths differ from most patterns before the first thing that is not itself.
                let plain = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
                waiting.push((number, &pattern.as_bytes()[..plain], glob.compile_matcher()));
            }
        }
    }
    let mut is_set_off = vec![false; triggers.len()];
    let mut absolute = Vec::new();
    let put = work.puts.iter().map(|put| put.path.as_slice());
    for path in put.chain(work.takes.iter().map(crate::plan::Take::path)) {
        let absolute = absolute_path(path, &mut absolute);
        let hit = |(_, plain, glob): &&(usize, &[u8], GlobMatcher)| {
            absolute.as_os_str().as_bytes().starts_with(plain) && glob.is_match(absolute)
        };
        if let Some((number, ..)) = waiting.iter().find(hit) {
            let number = *number;
            is_set_off[number] = true;
            waiting.retain(|(other, ..)| *other != number);
        }
    }
    let mut is_set_off = is_set_off.into_iter();
    triggers.retain(|_| is_set_off.next() == Some(true));
    Ok(triggers.into_iter().map(|trigger| trigger.rule.name).collect())
}

fn matcher(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        globs.add(glob(pattern)?);
    }
    globs.build()
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).empty_alternates(true).build()
}

fn matches(matcher: &GlobSet, path: &[u8]) -> bool {
    matcher.is_match(absolute_path(path, &mut Vec::new()))
}

/// Returns a path of the root as patterns see it.
fn absolute_path<'b>(path: &[u8], buffer: &'b mut Vec<u8>) -> &'b Path {
    buffer.clear();
    buffer.push(b'/');
    buffer.extend_from_slice(path);
    Path::new(std::ffi::OsStr::from_bytes(buffer))
}
