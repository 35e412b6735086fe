// sandbox/src/ready.rs
//! A sandbox that is made and waits: its root, its namespaces and its command stand, and the command has not begun.
//!
//! Whoever has several commands to run one after the other makes the next sandbox while one is at work. What a command
//! finds is what lies in its writable places when it begins, not when its sandbox was made: the last thing before
//! it becomes itself is to enter its directory.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::fs::{Gid, Uid};

use crate::cgroup::Group;
use crate::child::{self, Descriptors, Prepared};
use crate::error::SandboxError;
use crate::host::Host;
use crate::layout::{self, Layout};
use crate::owner::Owner;
use crate::owners::Owners;
use crate::plan::{Level, Plan};
use crate::prepare::{
    environment, error, foothold, gaps, open_sources, out_of_the_way, pipe, programs, resource_limits, socket_pair,
    step, strings,
};
use crate::report;
use crate::run::{failure, read_reports};
use crate::sys::{self, Cloned, PointerArray};
use crate::{filter, hint, landlock, restricted};

/// A sandbox whose command waits for [`Ready::run`]. Dropping it ends and buries it.
#[derive(Debug)]
pub struct Ready {
    pub(crate) plan: Plan,
    pub(crate) host: Host,
    pub(crate) layout: Layout,
    pub(crate) owner: Owner,
    pub(crate) recording: bool,
    pub(crate) processes: Processes,
    pub(crate) ends: CallerEnds,
}

/// The processes of a sandbox. Dropping them ends and buries whatever is left.
#[derive(Debug)]
pub(crate) struct Processes {
    pub pid: libc::pid_t,
    pub pidfd: OwnedFd,
    pub level: Level,
    pub group: Option<Group>,
    pub layers_mapped: bool,
    pub privileged: bool,
    buried: bool,
}

/// The caller's ends of pipes and sockets.
#[derive(Debug)]
pub(crate) struct CallerEnds {
    pub go: OwnedFd,
    pub output: OwnedFd,
    pub report: OwnedFd,
    pub supervisor: OwnedFd,
}

/// Makes a sandbox for a plan's command, up to the moment at which the command would begin.
///
/// With `owners`, the command may give its files away, which [`Ready::run`] then records; their accounts are known inside.
/// The sandbox dies with the calling thread.
///
/// # Errors
/// [`SandboxError`] if it cannot be made. What only the processes inside could find out, [`Ready::run`] says.
pub fn prepare(plan: Plan, owners: Option<&Owners>) -> Result<Ready, SandboxError> {
    attached(plan, owners, None)
}

/// The same as [`prepare`], for a command whose input, output and controlling terminal is `terminal`.
pub(crate) fn attached(plan: Plan, owners: Option<&Owners>, terminal: Option<&OwnedFd>) -> Result<Ready, SandboxError> {
    let owner = Owner::of_caller();
    let host = Host::look(&plan);
    let layout = match plan.level {
        Level::Full => layout::of(&plan, host.processors, host.scratch_bytes, owners)?,
        Level::Restricted if host.landlock == 0 => {
            let source = std::io::Error::from_raw_os_error(libc::ENOSYS);
            let hint =
                Some("this kernel has no landlock, and without namespaces nothing else keeps files apart".to_owned());
            return Err(SandboxError::Step { step: "landlock".to_owned(), source, hint });
        }
        Level::Restricted => restricted::layout(&plan)?,
        Level::None => Layout::default(),
    };
    let recording = owners.is_some();
    let (processes, ends) = start(&plan, &owner, &host, &layout, recording, terminal)?;
    let mut ready = Ready { plan, host, layout, owner, recording, processes, ends };
    if let Err(error) = ready.release() {
        ready.processes.bury();
        // Its own reason, where it gave one, is nearer to the cause than ours.
        let reports = read_reports(&ready.ends.report);
        let failed = reports.iter().find(|report| report.kind == report::FAILED);
        return Err(failed.map_or(error, |report| failure(&ready.plan, &ready.layout, report)));
    }
    Ok(ready)
}

/// Prepares everything and clones the first process, which waits for [`Ready::release`].
fn start(
    plan: &Plan,
    owner: &Owner,
    host: &Host,
    layout: &Layout,
    recording: bool,
    terminal: Option<&OwnedFd>,
) -> Result<(Processes, CallerEnds), SandboxError> {
    let (go_inner, go) = pipe()?;
    let (output, output_inner) = pipe()?;
    let (report, report_inner) = pipe()?;
    let (socket, socket_inner) = socket_pair()?;
    let (line_first, line_command) = socket_pair()?;
    let go_inner = out_of_the_way(&go_inner)?;
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
    let rules = if full { filter::rules() } else { filter::restricted() };
    let supervised = filter::supervised(recording);
    let (filter, supervised_filter) = (filter::program(&rules, &[]), filter::program(&rules, &supervised));
    let capabilities = match plan.level {
        Level::Full => Some(0),
        Level::Restricted => owner.privileged.then_some(restricted::KEPT),
        Level::None => None,
    };
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
        readable: &layout.readable,
        writable: &layout.writable,
        capabilities,
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
    let processes =
        Processes { pid, pidfd, level: plan.level, group, layers_mapped, privileged: owner.privileged, buried: false };
    restored.map_err(|errno| step("restore signals", error(errno)))?;
    Ok((processes, CallerEnds { go, output, report, supervisor: socket }))
}

impl Ready {
    /// Maps the ids, joins the control group, and lets the first process go.
    fn release(&self) -> Result<(), SandboxError> {
        let Self { owner, processes, .. } = self;
        if let Some(group) = &processes.group {
            group.add(processes.pid)?;
        }
        if processes.level == Level::Full {
            let write = |file: &str, text: &str| {
                fs::write(format!("/proc/{}/{file}", processes.pid), text).map_err(|source| SandboxError::Step {
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
        self.send_byte("start the first process")
    }

    /// Lets whoever waits for the next byte go on: first the first process, then the command.
    pub(crate) fn send_byte(&self, what: &str) -> Result<(), SandboxError> {
        rustix::io::write(&self.ends.go, b"g").map(drop).map_err(|errno| step(what, errno.into()))
    }
}

impl Processes {
    /// Ends the first process, and with it everything in the sandbox, and waits until that is done.
    pub fn bury(&mut self) -> Option<sys::Waited> {
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
}

impl Drop for Processes {
    fn drop(&mut self) {
        if !self.buried {
            self.bury();
        }
    }
}

/// The namespaces of the clone itself. Control groups, time and network follow inside.
const NAMESPACES: i32 =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
