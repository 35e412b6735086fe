// conary/commands/doctor/leaks.rs
//! `conary doctor --leaks`: two sandboxes on hosts that could not differ more, and what their insides can tell apart.
//!
//! The observer runs three times or more: twice under the same conditions, which shows what is noise on this machine;
//! once with another environment, directory, umask, limits, processors, time zone, descriptors, parent and, for root, host
//! name; and for root once more as an ordinary user. Noise is a closed list. All else that differs is a leak.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use kitchen::environment::BUILD;
use kitchen::step::{Room, Scratch};
use sandbox::{Bind, Level, Limits, RootView, Status};
use serde_json::json;

use super::observe;
use crate::commands::Context;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

/// What differs between any two runs, and why that is no leak: the table in docs/design/sandbox.md. A `*` stands for anything.
const NOISE: &[(&str, &str)] = &[
    ("clock *", "clocks run"),
    ("inode *", "numbers of files, devices and sizes of directories are given anew"),
    ("times *", "fresh files have fresh times"),
    ("room *", "file systems fill and empty"),
    ("descriptor *", "pipes have numbers"),
    ("link /proc/self/ns/*", "namespaces have numbers"),
    ("link /proc/self/fd/*", "pipes have numbers"),
    ("file /proc/self/fdinfo/*", "mounts and files have numbers"),
    ("file /proc/self/maps", "it holds numbers of files"),
    ("file /proc/self/smaps*", "the kernel's use of memory varies"),
    ("file /proc/self/numa_maps", "the kernel's use of memory varies"),
    ("file /proc/self/auxv", "nothing but the address of random bytes"),
    ("file /proc/self/stat", "it counts time and memory"),
    ("file /proc/self/statm", "it counts memory"),
    ("file /proc/self/sched*", "it counts time"),
    ("file /proc/self/arch_status", "it counts the time since wide registers were used"),
    ("file /proc/self/io", "it counts bytes"),
    ("file /proc/self/oom_score", "it follows the machine's use of memory"),
    ("file /proc/self/autogroup", "sessions have numbers"),
    ("file /proc/self/timens_offsets", "it says how far the clocks were moved"),
    ("file /proc/self/wchan", "it says where the kernel was"),
    ("line /proc/self/status: Vm*", "the kernel's use of memory varies"),
    ("line /proc/self/status: Rss*", "the kernel's use of memory varies"),
    ("line /proc/self/status: *voluntary_ctxt_switches", "it counts"),
    ("file /proc/self/net/netlink", "sockets have numbers"),
    ("file /proc/self/net/unix", "sockets have numbers"),
    ("file /proc/self/net/sockstat", "it counts the sockets of the whole machine, and their memory"),
    ("file /proc/self/net/protocols", "it counts the sockets of the whole machine, and their memory"),
    ("file /proc/self/net/softnet_stat", "it counts packets, the whole machine's"),
    ("file /proc/self/net/stat/rt_cache", "it counts packets, the whole machine's"),
];

/// Who runs, where, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// Inside: look around and tell.
    Observe,
    /// Outside, as we were started: make the sandbox.
    Plain,
    /// Outside, on a host made to look different.
    Disguised,
}

/// Looks for leaks and tells of them.
pub fn run(as_json: bool, context: &Context<'_>) -> Outcome {
    let place = Place::create(context)?;
    let first = observed("plain", &mut place.plain()?)?;
    let again = observed("plain, again", &mut place.plain()?)?;
    let other = observed("other", &mut place.disguised(None)?)?;
    let mut runs = vec![("again", again), ("another environment, directory, umask, limits, processors, parent", other)];
    if context.environment.uid == 0 {
        runs.push(("the same as an ordinary user", observed("user", &mut place.disguised(Some(ORDINARY))?)?));
    }
    let mut leaks = Vec::new();
    for (what, run) in &runs {
        leaks.extend(differences(&first, run).into_iter().map(|name| (*what, name, run)));
    }
    let value =
        |run: &BTreeMap<String, String>, name: &str| run.get(name).cloned().unwrap_or_else(|| "absent".to_owned());
    if as_json {
        let list: Vec<_> = leaks
            .iter()
            .map(|(what, name, run)| json!({ "name": name, "conditions": what, "here": value(&first, name), "there": value(run, name) }))
            .collect();
        context.ui.json(&json!({ "facts": first.len(), "runs": runs.len() + 1, "leaks": list }))?;
    } else {
        for (what, name, run) in &leaks {
            context.ui.line(&format!("{name} differs ({what})"))?;
            for (sign, text) in [("-", value(&first, name)), ("+", value(run, name))] {
                for line in text.lines().take(20) {
                    context.ui.line(&format!("  {sign} {}", line.escape_default()))?;
                }
            }
        }
        let summary = format!(
            "{} differences in {} facts, {} runs compared with the first",
            leaks.len(),
            first.len(),
            runs.len()
        );
        context.ui.line(&summary)?;
    }
    Ok(if leaks.is_empty() { Code::Success } else { Code::Sandbox })
}

/// One of the hidden steps.
pub fn step(step: Step, context: &Context<'_>) -> Outcome {
    match step {
        Step::Observe => {
            context.ui.json(&observe::all())?;
            Ok(Code::Success)
        }
        Step::Plain => inside(context),
        Step::Disguised => {
            disguise();
            inside(context)
        }
    }
}

/// A user id that no host gives to anybody.
const ORDINARY: u32 = 65_533;

/// Names of facts that differ and are no noise.
fn differences(first: &BTreeMap<String, String>, second: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<&String> = first.keys().chain(second.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| first.get(*name) != second.get(*name) && !is_noise(name)).cloned().collect()
}

fn is_noise(name: &str) -> bool {
    NOISE.iter().any(|(pattern, _)| match pattern.split_once('*') {
        None => *pattern == name,
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
    })
}

/// Runs a step of ours and reads what the observer in it told.
fn observed(what: &str, command: &mut Command) -> Result<BTreeMap<String, String>, Failure> {
    let failed = |cause: String| {
        let mut failure = Failure::new(Code::Sandbox, format!("the observer did not come back ({what})"));
        failure.causes.push(cause);
        failure.hint("`conary doctor` says whether there is a sandbox at all")
    };
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(if said.is_empty() { output.status.to_string() } else { said }));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// Directories for the runs, and this program where everybody can read it.
struct Place {
    scratch: Scratch,
    program: PathBuf,
}

impl Place {
    fn create(context: &Context<'_>) -> Result<Self, Failure> {
        let system = |error: std::io::Error| Failure::of(Code::System, &error, None);
        let scratch = Scratch::create(&context.environment.scratch).map_err(system)?;
        let program = env::current_exe().map_err(system)?;
        Ok(Self { scratch, program })
    }

    fn plain(&self) -> Result<Command, Failure> {
        let mut command = Command::new(&self.program);
        command.args(["doctor", "--leaks-step", "plain"]).env("TMPDIR", self.directory("a", None)?);
        Ok(command)
    }

    /// The same from a shell on a host that has nothing in common with ours, where `uid` says so by another user.
    fn disguised(&self, uid: Option<u32>) -> Result<Command, Failure> {
        let name = if uid.is_some() { "somebody's longer directory name" } else { "b-is-another" };
        let directory = self.directory(name, uid)?;
        let mut command = Command::new("/bin/sh");
        let script =
            "umask 077; ulimit -S -n 300; ulimit -S -s 4096; exec 7</dev/null 9</etc/passwd; \"$@\" <&7; exit $?";
        command.args(["-c", script, "sh"]).arg(&self.program).args(["doctor", "--leaks-step", "disguised"]);
        command.env_clear().envs([
            ("LANG", "de_AT.UTF-8"),
            ("TZ", "Asia/Tokyo"),
            ("HOME", "/nonexistent"),
            ("SHELL", "/bin/false"),
        ]);
        command.envs([("A_LONG_VARIABLE", "x".repeat(5000)), ("PATH", "/usr/bin:/bin:/opt/bin".to_owned())]);
        command.env("TMPDIR", &directory).current_dir(&directory);
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        Ok(command)
    }

    /// A directory below ours. The way to it is opened for a user who is not us.
    fn directory(&self, name: &str, uid: Option<u32>) -> Result<PathBuf, Failure> {
        let system = |error: std::io::Error| Failure::of(Code::System, &error, None);
        let path = self.scratch.build().join(name);
        fs::create_dir_all(&path).map_err(system)?;
        if uid.is_some() {
            chown(&path, uid, uid).map_err(system)?;
            let top = self.scratch.build();
            for above in [top.as_path(), top.parent().unwrap_or(&top)] {
                fs::set_permissions(above, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(system)?;
            }
        }
        Ok(path)
    }
}

/// Makes this process one of another host, as far as it may.
fn disguise() {
    let mut one = rustix::thread::CpuSet::new();
    if let Ok(all) = rustix::thread::sched_getaffinity(None)
        && let Some(last) = (0..rustix::thread::CpuSet::MAX_CPU).rev().find(|cpu| all.is_set(*cpu))
    {
        one.set(last);
        // A machine with one processor has no other condition to offer.
        let _ = rustix::thread::sched_setaffinity(None, &one);
    }
    rename_host();
}

/// Gives this thread a host name of its own. Only root may.
fn rename_host() {
    #[allow(
        deprecated,
        reason = "the safe form: only this thread's host name is parted with, and it makes the sandbox"
    )]
    if rustix::thread::unshare(rustix::thread::UnshareFlags::NEWUTS).is_ok() {
        let _ = rustix::system::sethostname(b"another-host");
    }
}

/// Makes a step's sandbox, runs the observer in it, and hands on what it says.
fn inside(context: &Context<'_>) -> Outcome {
    const OBSERVER: &str = "/observer";
    let system = |error: std::io::Error| Failure::of(Code::System, &error, None);
    let scratch = Scratch::create(&context.environment.scratch).map_err(system)?;
    let room = Room {
        root: RootView::Host { overlays: Vec::new() },
        build: scratch.build(),
        dest: scratch.dest(),
        steps: scratch.steps(),
        environment: kitchen::environment::bare(1),
        directory: BUILD.to_owned(),
        limits: Limits::default(),
        level: Level::Full,
    };
    let command = [OBSERVER, "doctor", "--leaks-step", "observe"];
    let mut plan = room.plan(command.map(OsString::from).to_vec());
    let source = env::current_exe().map_err(system)?;
    plan.binds.push(Bind { source, target: OBSERVER.to_owned(), writable: false });
    let mut failed = None;
    let outcome = ::sandbox::run(
        &plan,
        &mut |piece| {
            if let Err(failure) = context.ui.bytes(piece) {
                failed.get_or_insert(failure);
            }
        },
        context.cancel,
    )?;
    match (failed, outcome.status) {
        (Some(failure), _) => Err(failure),
        (None, Status::Exited(0)) => Ok(Code::Success),
        (None, status) => Err(Failure::new(Code::Sandbox, format!("the observer ended with {status:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn noise_is_the_documented_list() {
        let document =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/design/sandbox.md")).unwrap();
        let start = document.find("## Noise").expect("there is such a chapter");
        let chapter = &document[start..];
        let end = chapter[3..].find("\n## ").map_or(chapter.len(), |end| end + 3);
        let rows: Vec<&str> = chapter[..end].lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), NOISE.len());
        for (pattern, why) in NOISE {
            assert!(rows.contains(&format!("| `{pattern}` | {why} |").as_str()), "{pattern} is not documented");
        }
    }

    #[test]
    fn only_what_is_no_noise_counts() {
        let facts = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let first = facts(&[("clock real time", "1"), ("umask", "22"), ("gone", ""), ("same", "x")]);
        let second = facts(&[("clock real time", "2"), ("umask", "77"), ("new", ""), ("same", "x")]);
        assert_eq!(differences(&first, &second), ["gone", "new", "umask"]);
        assert!(is_noise("line /proc/self/status: nonvoluntary_ctxt_switches") && !is_noise("file /proc/self/statusx"));
    }
}
