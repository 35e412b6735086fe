// sandbox/src/run.rs
//! The caller's side of a running command: reads its output, enforces the limits, and says how it ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::budget::Budget;
use crate::cgroup::Group;
use crate::error::SandboxError;
use crate::host::Host;
use crate::layout::Layout;
use crate::operation::Access;
use crate::owners::Owners;
use crate::plan::{Level, Limits, Outcome, Plan, Status};
use crate::prepare::error;
use crate::ready::{self, Processes, Ready};
use crate::report::{self, Report, STAGES, Stage, Used};
use crate::supervisor::Supervisor;
use crate::{filter, hint};

/// How long the caller sleeps before it looks at `cancel` and the clock again.
const TICK: Duration = Duration::from_millis(50);
/// Output is handed over in pieces of at most this size.
const PIECE: usize = 64 << 10;

/// Runs a plan's command to its end, in a sandbox made for it.
///
/// `output` gets stdout and stderr as they come, in bounded pieces; while it does not return, the command
/// waits once a pipe is full. When this function returns, no process of the sandbox is left, whatever the
/// command started. A `cancel` that becomes true ends everything within a tenth of a second. If the calling
/// thread or process dies, everything in the sandbox dies with it.
///
/// # Errors
/// [`SandboxError`] if the command could not be started as planned. One that ran and failed is an outcome.
pub fn run(plan: &Plan, output: &mut dyn FnMut(&[u8]), cancel: &AtomicBool) -> Result<Outcome, SandboxError> {
    Ok(ready::prepare(plan.clone(), None)?.run(None, || (), output, cancel)?.outcome)
}

/// The same as [`run`], for a command whose input, output and controlling terminal is `terminal`.
pub(crate) fn run_attached(plan: &Plan, terminal: &OwnedFd, cancel: &AtomicBool) -> Result<Outcome, SandboxError> {
    Ok(ready::attached(plan.clone(), None, Some(terminal))?.run(None, || (), &mut |_| {}, cancel)?.outcome)
}

/// A command that has ended, with every process that it started. Its sandbox is taken apart meanwhile: dropping this waits until that
/// is done.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    #[allow(dead_code, reason = "it is held for the sake of its end")]
    remains: Processes,
}

impl Ready {
    /// Lets the command begin and follows it to its end, as [`run`] does. `meanwhile` is done when it has begun: it should not
    /// take long, for nobody reads the command's output or looks at its limits before that.
    ///
    /// What the command asks for its files is recorded in `owners`, and answered back to it when it looks, if the
    /// sandbox was prepared for that. At [`Level::None`], nothing is recorded.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(
        self,
        owners: Option<&mut Owners>,
        meanwhile: impl FnOnce(),
        output: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<Ended, SandboxError> {
        let started = Instant::now();
        // Where nobody is left to begin, a report or a signal says why.
        let _ = self.send_byte("start the command");
        meanwhile();
        let Self { plan, host, layout, owner, recording, mut processes, ends } = self;
        let owners = owners.filter(|_| recording);
        let supervisor =
            (plan.level == Level::Full).then(|| Supervisor::new(ends.supervisor, host.processors, owners, owner.uid));
        let mut watch = Watch { pidfd: processes.pidfd.as_fd(), supervisor, reports: Vec::new() };
        let budget = Budget::default();
        let stopped = thread::scope(|scope| {
            let looking = budget.keep(&plan, scope);
            let stopped =
                watch.until_the_end(&plan.limits, started, (&ends.output, &ends.report), output, (cancel, &budget));
            budget.end(looking);
            stopped
        });
        let mut reports = watch.reports;
        // Who did not say that nobody is left is ended here, and waited for.
        let waited = if ended(&reports).is_none() { processes.bury() } else { None };
        reports.extend(read_reports(&ends.report));
        if let Some(report) = reports.iter().find(|report| report.kind == report::FAILED) {
            return Err(failure(&plan, &layout, report));
        }
        let last = ended(&reports);
        let group = processes.group.as_ref();
        let status = match (stopped, last.map(|report| exit_status(report.status))) {
            (Some(status), _) | (None, Some(status @ Status::Exited(0))) => status,
            _ if group.is_some_and(Group::ran_out_of_memory) => Status::OutOfMemory,
            (None, Some(_)) if group.is_some_and(Group::ran_out_of_processes) => Status::ProcessLimit,
            (None, Some(status)) => status,
            (None, None) => {
                let signal = waited.as_ref().map_or(0, |waited| waited.status & 0x7f);
                return Err(SandboxError::Killed { signal });
            }
        };
        let used = waited.map(|waited| Used::of(&waited.usage)).or(last.map(|report| report.used)).unwrap_or_default();
        let largest_bytes = last.map_or(0, |report| u64::from(report.largest_kib) * 1024);
        let outcome = Outcome {
            status,
            wall: started.elapsed(),
            cpu_user: Duration::from_micros(used.user_us),
            cpu_system: Duration::from_micros(used.system_us),
            read_bytes: used.read_bytes,
            written_bytes: used.written_bytes,
            peak_memory_bytes: group.and_then(Group::peak_bytes).unwrap_or(largest_bytes),
            applied: applied(&plan, &processes, &host, &layout, &reports),
        };
        Ok(Ended { outcome, remains: processes })
    }
}

/// The report that nobody is left.
fn ended(reports: &[Report]) -> Option<&Report> {
    reports.iter().find(|report| report.kind == report::ENDED)
}

/// Somebody who follows a command.
struct Watch<'a, 'o> {
    pidfd: BorrowedFd<'a>,
    supervisor: Option<Supervisor<'o>>,
    /// What the processes inside have said until now.
    reports: Vec<Report>,
}

impl Watch<'_, '_> {
    /// Hands over output and enforces the limits until nobody but the first process is left, or not even that one. Returns what
    /// is to end it if that is us.
    fn until_the_end(
        &mut self,
        limits: &Limits,
        started: Instant,
        (pipe, report): (&OwnedFd, &OwnedFd),
        output: &mut dyn FnMut(&[u8]),
        (cancel, budget): (&AtomicBool, &Budget),
    ) -> Option<Status> {
        let mut piece = vec![0; PIECE];
        let mut left = limits.output_bytes.unwrap_or(u64::MAX);
        let mut open = true;
        // After this many bytes once the sandbox is gone, the rest comes from somebody who was handed the pipe.
        let mut rest = 4 << 20;
        loop {
            if cancel.load(Ordering::Relaxed) {
                return Some(Status::Cancelled);
            }
            if budget.is_over() {
                return Some(Status::DiskLimit);
            }
            let elapsed = started.elapsed();
            let remaining = limits.wall_clock.map(|limit| limit.saturating_sub(elapsed));
            if remaining == Some(Duration::ZERO) {
                return Some(Status::TimedOut);
            }
            let longest = remaining.map_or(TICK, |left| left.min(TICK));
            let (readable, ended) = self.wait(pipe.as_fd(), open, report, longest);
            if readable {
                match rustix::io::read(pipe, &mut piece) {
                    Ok(0) => open = false,
                    Ok(count) => {
                        let within = usize::try_from(left).unwrap_or(usize::MAX).min(count);
                        output(&piece[..within]);
                        left -= within as u64;
                        if within < count {
                            return Some(Status::OutputLimit);
                        }
                        rest -= if ended { count } else { 0 }.min(rest);
                    }
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                    Err(_) => open = false,
                }
            }
            if ended && (!readable || !open || rest == 0) {
                return None;
            }
        }
    }

    /// Sleeps until there is output, or somebody has something to report, or the first process has ended, or for `longest`, and
    /// serves the supervisor's callers. Returns whether there is output, and whether everybody has ended.
    fn wait(&mut self, pipe: BorrowedFd<'_>, open: bool, report: &OwnedFd, longest: Duration) -> (bool, bool) {
        let told = ended(&self.reports).is_some();
        let watched = [
            (!told).then_some(self.pidfd),
            (!told).then_some(report.as_fd()),
            open.then_some(pipe),
            self.supervisor.as_ref().and_then(Supervisor::waits_for),
        ];
        let mut events: Vec<PollFd<'_>> =
            watched.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = if told { Duration::ZERO } else { longest };
        let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
        if rustix::event::poll(&mut events, Some(&timeout)).is_err() {
            return (false, false);
        }
        let mut ready = events.iter().map(PollFd::revents);
        let [gone, reported, readable, called] =
            watched.map(|watched| watched.and_then(|_| ready.next()).unwrap_or(PollFlags::empty()));
        if !called.is_empty()
            && let Some(supervisor) = &mut self.supervisor
        {
            supervisor.serve(called);
        }
        if !reported.is_empty() {
            self.reports.extend(read_reports(report));
        }
        (!readable.is_empty(), !gone.is_empty() || ended(&self.reports).is_some())
    }
}

/// What the wall was made of.
fn applied(
    plan: &Plan,
    processes: &Processes,
    host: &Host,
    layout: &Layout,
    reports: &[Report],
) -> Vec<(String, String)> {
    let mut list: Vec<(&str, String)> = Vec::new();
    let group = processes.group.as_ref();
    if plan.level == Level::Full {
        let time = if host.clock_offsets.is_some() { ",time" } else { "" };
        list.push(("namespaces", format!("user,mount,pid,ipc,uts,net,cgroup{time}")));
        list.push(("seccomp", filter::rules().len().to_string()));
        let version = host.landlock;
        list.push(("landlock", if version == 0 { "none".to_owned() } else { version.to_string() }));
        let supervised = !reports.iter().any(|report| report.kind == report::UNSUPERVISED);
        list.push(("uname", if supervised { "fixed" } else { "host" }.to_owned()));
        if layout.sources.iter().any(|source| source.access == Access::Layer) {
            // A user's layers are the user's own already.
            let own = processes.layers_mapped || !processes.privileged;
            list.push(("layers", if own { "own" } else { "nobody's" }.to_owned()));
        }
    }
    if plan.level == Level::Restricted {
        list.push(("seccomp", filter::restricted().len().to_string()));
        list.push(("landlock", host.landlock.to_string()));
    }
    list.push(("cgroup", group.map_or("none", Group::version).to_owned()));
    if plan.limits.memory_bytes.is_some() && !group.is_some_and(Group::holds_memory) {
        list.push(("memory", "each process".to_owned()));
    }
    list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn exit_status(status: i32) -> Status {
    if libc::WIFSIGNALED(status) {
        Status::Signaled(libc::WTERMSIG(status))
    } else {
        Status::Exited(libc::WEXITSTATUS(status))
    }
}

/// What the first process, and the command before it became itself, have said by now. Each report is written at once.
pub(crate) fn read_reports(pipe: &OwnedFd) -> Vec<Report> {
    let mut bytes = [0; 8 * Report::BYTES];
    let count = rustix::io::ioctl_fionbio(pipe, true).and_then(|()| rustix::io::read(pipe, &mut bytes)).unwrap_or(0);
    bytes[..count].chunks_exact(Report::BYTES).filter_map(Report::from_bytes).collect()
}

/// What a report of failure means.
pub(crate) fn failure(plan: &Plan, layout: &Layout, report: &Report) -> SandboxError {
    let source = error(report.errno);
    let index = report.index as usize;
    let name = STAGES.get(report.stage as usize).copied().unwrap_or("unknown");
    if report.stage == Stage::Execute as u32 {
        let program = plan.command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return SandboxError::Command { program, source };
    }
    if report.stage == Stage::Source as u32
        && let Some(about) = layout.sources.get(index)
    {
        return SandboxError::Source { path: about.path.clone(), step: "clone its mount", source };
    }
    let step = match layout.operations.get(index) {
        Some(operation) if report.stage == Stage::Operation as u32 => {
            format!("{name}: {operation}")
        }
        _ => name.to_owned(),
    };
    let hint = hint::for_stage(report.stage, report.errno);
    SandboxError::Step { step, source, hint }
}
