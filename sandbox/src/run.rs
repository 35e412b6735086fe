// sandbox/src/run.rs
//! The caller's side: prepares everything, starts the first process, reads the output, enforces the
//! limits, and says how it ended.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Gid, Uid};

use crate::budget::Budget;
use crate::cgroup::Group;
use crate::child::{self, Descriptors, Prepared};
use crate::error::SandboxError;
use crate::host::Host;
use crate::layout::{self, Layout};
use crate::operation::Access;
use crate::owner::Owner;
use crate::owners::Owners;
use crate::plan::{Level, Limits, Outcome, Plan, Status};
use crate::prepare::{
    environment, error, foothold, gaps, open_sources, out_of_the_way, pipe, programs, resource_limits, socket_pair,
    step, strings,
};
use crate::report::{self, Report, STAGES, Stage};
use crate::supervisor::Supervisor;
use crate::sys::{self, Cloned, PointerArray};
use crate::{filter, hint, landlock};

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
    carry_out(plan, None, None, output, cancel)
}

/// The same as [`run`], for a command whose input, output and controlling terminal is `terminal`.
pub(crate) fn run_attached(plan: &Plan, terminal: &OwnedFd, cancel: &AtomicBool) -> Result<Outcome, SandboxError> {
    carry_out(plan, None, Some(terminal), &mut |_| {}, cancel)
}

/// The same as [`run`], for a command that may give its files away: what it asks for is recorded in `owners`, and answered
/// back to it when it looks. At [`Level::None`], nothing is recorded.
///
/// # Errors
/// As [`run`].
pub fn run_recording(
    plan: &Plan,
    owners: &mut Owners,
    output: &mut dyn FnMut(&[u8]),
    cancel: &AtomicBool,
) -> Result<Outcome, SandboxError> {
    carry_out(plan, Some(owners), None, output, cancel)
}

fn carry_out(
    plan: &Plan,
    owners: Option<&mut Owners>,
    terminal: Option<&OwnedFd>,
    output: &mut dyn FnMut(&[u8]),
    cancel: &AtomicBool,
) -> Result<Outcome, SandboxError> {
    let started = Instant::now();
    let owner = Owner::of_caller();
    let host = Host::look(plan);
    let layout = match plan.level {
        Level::Full => layout::of(plan, host.processors, host.scratch_bytes, owners.as_deref())?,
        Level::None => Layout::default(),
    };
    let (mut running, caller_ends) = Sandbox::start(plan, &owner, &host, &layout, owners, terminal)?;
    if let Err(error) = running.release(&owner, &caller_ends.go) {
        running.bury();
        // Its own reason, where it gave one, is nearer to the cause than ours.
        let reports = read_reports(&caller_ends.report);
        let failed = reports.iter().find(|report| report.kind == report::FAILED);
        return Err(failed.map_or(error, |report| failure(plan, &layout, report)));
    }
    let budget = Budget::default();
    let ended = thread::scope(|scope| {
        let looking = budget.keep(plan, scope);
        let ended = running.watch(&plan.limits, started, &caller_ends.output, output, (cancel, &budget));
        budget.end(looking);
        ended
    });
    let waited = running.bury();
    let reports = read_reports(&caller_ends.report);
    if let Some(report) = reports.iter().find(|report| report.kind == report::FAILED) {
        return Err(failure(plan, &layout, report));
    }
    let last = reports.iter().find(|report| report.kind == report::ENDED);
    let group = running.group.as_ref();
    let status = match (ended, last.map(|report| exit_status(report.status))) {
        (Some(status), _) | (None, Some(status @ Status::Exited(0))) => status,
        _ if group.is_some_and(Group::ran_out_of_memory) => Status::OutOfMemory,
        (None, Some(status)) => status,
        (None, None) => {
            let signal = waited.as_ref().map_or(0, |waited| waited.status & 0x7f);
            return Err(SandboxError::Killed { signal });
        }
    };
    let usage = waited.map(|waited| waited.usage);
    let largest_bytes = last.map_or(0, |report| u64::from(report.largest_kib) * 1024);
    Ok(Outcome {
        status,
        wall: started.elapsed(),
        cpu_user: usage.map_or(Duration::ZERO, |usage| duration(usage.ru_utime)),
        cpu_system: usage.map_or(Duration::ZERO, |usage| duration(usage.ru_stime)),
        read_bytes: usage.map_or(0, |usage| blocks(usage.ru_inblock)),
        written_bytes: usage.map_or(0, |usage| blocks(usage.ru_oublock)),
        peak_memory_bytes: group.and_then(Group::peak_bytes).unwrap_or(largest_bytes),
        applied: running.applied(plan, &host, &layout, &reports),
    })
}

/// A running sandbox. Dropping it ends and buries whatever is left.
struct Sandbox<'o> {
    pid: libc::pid_t,
    pidfd: OwnedFd,
    level: Level,
    group: Option<Group>,
    supervisor: Option<Supervisor<'o>>,
    layers_mapped: bool,
    privileged: bool,
    buried: bool,
}

/// The caller's ends of the pipes.
struct CallerEnds {
    go: OwnedFd,
    output: OwnedFd,
    report: OwnedFd,
}

impl<'o> Sandbox<'o> {
    /// Prepares everything and clones the first process, which waits for [`Sandbox::release`].
    fn start(
        plan: &Plan,
        owner: &Owner,
        host: &Host,
        layout: &Layout,
        owners: Option<&'o mut Owners>,
        terminal: Option<&OwnedFd>,
    ) -> Result<(Self, CallerEnds), SandboxError> {
        let (go_inner, go) = pipe()?;
        let (output, output_inner) = pipe()?;
        let (report, report_inner) = pipe()?;
        let (socket, socket_inner) = socket_pair()?;
        let (line_first, line_command) = socket_pair()?;
        let output_inner = out_of_the_way(terminal.unwrap_or(&output_inner))?;
        let report_inner = out_of_the_way(&report_inner)?;
        let socket_inner = out_of_the_way(&socket_inner)?;
        let line_command = out_of_the_way(&line_command)?;
        if plan.level == Level::Full {
            // The command may open its output again, as `/dev/stderr`.
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            rustix::fs::fchown(&output_inner, Some(uid), Some(gid))
                .map_err(|errno| step("give the output pipe away", errno.into()))?;
        }
        let group = Group::make(&plan.limits);
        let full = plan.level == Level::Full;

        let (opened, layers_mapped) =
            if full && owner.privileged { open_sources(layout, owner)? } else { (Vec::new(), false) };
        let mut mounts: Vec<Option<RawFd>> = opened.iter().map(|mount| Some(mount.as_raw_fd())).collect();
        mounts.resize(layout.sources.len(), None);

        let descriptors = Descriptors {
            go: go_inner.as_raw_fd(),
            output: output_inner.as_raw_fd(),
            report: report_inner.as_raw_fd(),
            supervisor: socket_inner.as_raw_fd(),
            first: line_first.as_raw_fd(),
            command: line_command.as_raw_fd(),
        };
        let kept = [
            descriptors.go,
            descriptors.output,
            descriptors.report,
            descriptors.supervisor,
            descriptors.first,
            descriptors.command,
        ];
        let close = gaps(kept.iter().chain(mounts.iter().flatten()).copied());
        let arguments = strings(&plan.command)?;
        let environment = environment(plan)?;
        let programs = programs(plan)?;
        let directory = layout::text(&plan.directory)?;
        let limits = resource_limits(&plan.limits, group.as_ref());
        let rules = filter::rules();
        let supervised = filter::supervised(owners.is_some());
        let (filter, supervised_filter) = (filter::program(&rules, &[]), filter::program(&rules, &supervised));
        let foothold = foothold()?;
        let mut prepared = Prepared {
            level: plan.level,
            has_terminal: terminal.is_some(),
            descriptors,
            close: &close,
            drop_groups: owner.privileged,
            mounts: &mut mounts,
            sources: &layout.sources,
            operations: &layout.operations,
            writable: &layout.writable,
            foothold: &foothold,
            clock_offsets: host.clock_offsets.as_ref().map(String::as_bytes),
            limits: &limits,
            affinity: &host.affinity,
            landlock: (host.landlock > 0).then(|| landlock::rules(host.landlock)),
            filter: &filter,
            supervised_filter: &supervised_filter,
            directory: &directory,
            programs: &programs,
            arguments: &PointerArray::new(&arguments),
            environment: &PointerArray::new(&environment),
        };
        let namespaces = if full { NAMESPACES } else { 0 };
        // No handler of the caller may run in the child's copy of its memory.
        let mask = sys::set_signal_mask(u64::MAX).map_err(|errno| step("block signals", error(errno)))?;
        let cloned = sys::clone(namespaces);
        if matches!(cloned, Ok(Cloned::Child)) {
            child::first_process(&mut prepared)
        }
        let restored = sys::set_signal_mask(mask);
        let (pid, pidfd) = match cloned {
            Ok(Cloned::Parent { pid, pidfd }) => (pid, sys::owned(pidfd)),
            Ok(Cloned::Child) => unreachable!("the child never returns"),
            Err(errno) => {
                return Err(SandboxError::Step {
                    step: "clone into new namespaces".to_owned(),
                    source: error(errno),
                    hint: hint::for_clone(errno),
                });
            }
        };
        let sandbox = Self {
            pid,
            pidfd,
            level: plan.level,
            group,
            supervisor: full.then(|| Supervisor::new(socket, host.processors, owners, owner.uid)),
            layers_mapped,
            privileged: owner.privileged,
            buried: false,
        };
        restored.map_err(|errno| step("restore signals", error(errno)))?;
        Ok((sandbox, CallerEnds { go, output, report }))
    }

    /// Maps the ids, joins the control group, and lets the first process go.
    fn release(&mut self, owner: &Owner, go: &OwnedFd) -> Result<(), SandboxError> {
        if let Some(group) = &self.group {
            group.add(self.pid)?;
        }
        if self.level == Level::Full {
            let write = |file: &str, text: &str| {
                fs::write(format!("/proc/{}/{file}", self.pid), text).map_err(|source| SandboxError::Step {
                    step: format!("write {file}"),
                    source,
                    hint: hint::for_maps(),
                })
            };
            if !owner.privileged {
                write("setgroups", "deny")?;
            }
            write("uid_map", &format!("{} {} 1", child::INNER_ID, owner.uid))?;
            write("gid_map", &format!("{} {} 1", child::INNER_ID, owner.gid))?;
        }
        rustix::io::write(go, b"g").map_err(|errno| step("start the first process", errno.into()))?;
        Ok(())
    }

    /// Hands over output and enforces the limits until the first process has ended. Returns what ended it
    /// if that was us.
    fn watch(
        &mut self,
        limits: &Limits,
        started: Instant,
        pipe: &OwnedFd,
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
            let (readable, ended) = self.wait(pipe.as_fd(), open, longest);
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

    /// Sleeps until there is output, or the first process has ended, or for `longest`, and serves the
    /// supervisor's callers.
    fn wait(&mut self, pipe: BorrowedFd<'_>, open: bool, longest: Duration) -> (bool, bool) {
        let watched =
            [Some(self.pidfd.as_fd()), open.then_some(pipe), self.supervisor.as_ref().and_then(Supervisor::waits_for)];
        let mut events: Vec<PollFd<'_>> =
            watched.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
        if rustix::event::poll(&mut events, Some(&timeout)).is_err() {
            return (false, false);
        }
        let mut ready = events.iter().map(PollFd::revents);
        let [ended, readable, called] =
            watched.map(|watched| watched.and_then(|_| ready.next()).unwrap_or(PollFlags::empty()));
        if !called.is_empty()
            && let Some(supervisor) = &mut self.supervisor
        {
            supervisor.serve(called);
        }
        (!readable.is_empty(), !ended.is_empty())
    }

    /// Ends the first process, and with it everything in the sandbox, and waits until that is done.
    fn bury(&mut self) -> Option<sys::Waited> {
        // Without namespaces it has to end the others itself, so it is asked.
        let signal = if self.level == Level::Full { libc::SIGKILL } else { libc::SIGTERM };
        // It may have ended already.
        let _ = sys::pidfd_kill(self.pidfd.as_raw_fd(), signal);
        self.buried = true;
        loop {
            match sys::wait(self.pid, 0) {
                Ok(waited) => return Some(waited),
                Err(libc::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// What the wall was made of.
    fn applied(&self, plan: &Plan, host: &Host, layout: &Layout, reports: &[Report]) -> Vec<(String, String)> {
        let mut list: Vec<(&str, String)> = Vec::new();
        let group = self.group.as_ref();
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
                let own = self.layers_mapped || !self.privileged;
                list.push(("layers", if own { "own" } else { "nobody's" }.to_owned()));
            }
        }
        list.push(("cgroup", group.map_or("none", Group::version).to_owned()));
        if plan.limits.memory_bytes.is_some() && !group.is_some_and(Group::holds_memory) {
            list.push(("memory", "each process".to_owned()));
        }
        list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        if !self.buried {
            self.bury();
        }
    }
}

/// The namespaces of the clone itself. Control groups, time and network follow inside.
const NAMESPACES: i32 =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

fn duration(time: libc::timeval) -> Duration {
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(secs) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// Bytes of so many blocks as the kernel counts.
fn blocks(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0) * 512
}

fn exit_status(status: i32) -> Status {
    if libc::WIFSIGNALED(status) {
        Status::Signaled(libc::WTERMSIG(status))
    } else {
        Status::Exited(libc::WEXITSTATUS(status))
    }
}

/// What the first process and the command before it became itself had to say.
fn read_reports(pipe: &OwnedFd) -> Vec<Report> {
    let mut bytes = [0; 8 * Report::BYTES];
    // Everybody who could write is gone, and what they wrote is in the pipe.
    let count = rustix::io::ioctl_fionbio(pipe, true).and_then(|()| rustix::io::read(pipe, &mut bytes)).unwrap_or(0);
    bytes[..count].chunks_exact(Report::BYTES).filter_map(Report::from_bytes).collect()
}

/// What a report of failure means.
fn failure(plan: &Plan, layout: &Layout, report: &Report) -> SandboxError {
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
