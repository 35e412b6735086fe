// sandbox/src/child.rs
//! What runs between clone and exec: pid 1 of the sandbox here, the command in `command`.
//!
//! Both are copies of a process that may have had many threads, so nothing in these two, in `root`,
//! `landlock`, `loose`, `report` and `sys` allocates, takes a lock, logs or panics: everything was prepared
//! before. A failure is a report down a pipe.
//!
//! ```text
//! caller    clone3 (user, mount, pid, ipc, uts) ─► pid 1    waits for one byte: ids are mapped
//!           writes the maps, joins control groups           identity, clocks, names
//!           writes the byte                                 leaves the host's root
//!           reads output, waits, kills                      clone ─► command  sheds privileges,
//!                                                           makes the root    makes the network, steps aside
//!                                                           joins the network, hides itself
//!                                                           the root ─►  enters it, exec
//!           goes on                                         reaps until nobody is left, reports, exits
//!           buries pid 1
//! ```
//!
//! Two processors thus share the work. When the command has ended, pid 1 kills what is left in its namespace and waits for
//! it, so that its report says that nobody is there any more. What remains is its own end, with which the kernel takes the mounts
//! and the network apart: that takes as long as a small command, and the caller need not wait for it.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use libc::sock_filter;

use crate::operation::{Operation, Source, Writable};
use crate::plan::Level;
use crate::report::{At, ENDED, Failure, Report, Stage, Used, fail};
use crate::sys::{self, LandlockRules, PointerArray, Result};
use crate::{command, loose, root};

/// The id inside.
pub(crate) const INNER_ID: u32 = 1000;

/// Everything that is needed from here on, made before the clone.
pub(crate) struct Prepared<'a> {
    pub level: Level,
    /// The output is a terminal, which is to be the command's own.
    pub has_terminal: bool,
    pub descriptors: Descriptors,
    /// Ranges of descriptors that pid 1 closes first.
    pub close: &'a [(u32, u32)],
    /// The caller may have groups that pid 1 can and shall drop.
    pub drop_groups: bool,
    /// Clones of the host's mounts; where one is missing, pid 1 clones it by its name.
    pub mounts: &'a mut [Option<RawFd>],
    pub sources: &'a [Source],
    pub operations: &'a [Operation],
    pub readable: &'a [CString],
    pub writable: &'a [Writable],
    /// The capabilities that the command is left with, if they are taken away at all.
    pub capabilities: Option<u64>,
    /// Where the new root may be attached for a moment.
    pub foothold: &'a CStr,
    /// Content of `timens_offsets`, where time namespaces exist.
    pub clock_offsets: Option<&'a [u8]>,
    pub limits: &'a [(i32, u64, u64)],
    pub affinity: &'a [u64],
    pub landlock: Option<(LandlockRules, usize)>,
    pub filter: &'a [sock_filter],
    /// The same with calls that a supervisor answers.
    pub supervised_filter: &'a [sock_filter],
    pub directory: &'a CStr,
    /// Paths to try, in order.
    pub programs: &'a [CString],
    pub arguments: &'a PointerArray<'a>,
    pub environment: &'a PointerArray<'a>,
}

/// The descriptors that a sandbox starts with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    /// A byte arrives here for pid 1 when the ids are mapped, and one for the command when it may begin; it hangs up when
    /// the caller has gone.
    pub go: RawFd,
    /// Stdout and stderr of the command.
    pub output: RawFd,
    /// Reports go here.
    pub report: RawFd,
    /// The listener for the supervisor goes here.
    pub supervisor: RawFd,
    /// The two ends of the line between pid 1 and the command.
    pub first: RawFd,
    pub command: RawFd,
}

/// Runs as pid 1, from the clone to the end.
pub(crate) fn first_process(prepared: &mut Prepared<'_>) -> ! {
    let report = prepared.descriptors.report;
    let (command, proc) = match start(prepared) {
        Ok((0, proc)) => command::become_itself(prepared, proc),
        Ok(started) => started,
        Err(failure) => fail(report, failure),
    };
    // Only the command and its children hold these from here on.
    sys::close(prepared.descriptors.output);
    sys::close(prepared.descriptors.supervisor);
    sys::close(prepared.descriptors.command);
    if let Err(failure) = let_go(prepared, proc) {
        fail(report, failure)
    }
    match prepared.level {
        Level::Full => reap(command, report),
        Level::Restricted | Level::None => loose::reap(command, report),
    }
}

/// Takes on the sandbox's identity, leaves the host's files, and clones the command, whose id it returns, or 0 as the command; beside it
/// the sandbox's own `/proc`.
fn start(prepared: &mut Prepared<'_>) -> std::result::Result<(libc::pid_t, Option<RawFd>), Failure> {
    // Without this, a caller that ignores SIGCHLD would have our children vanish unseen.
    sys::default_signals().at(Stage::Signals)?;
    for (first, last) in prepared.close {
        sys::close_range(*first, *last).at(Stage::Descriptors)?;
    }
    sys::wait_for_byte(prepared.descriptors.go).at(Stage::Wait)?;
    let proc = if prepared.level == Level::Full {
        // A pivot takes along who is in the old root itself, and nobody elsewhere.
        sys::chdir(c"/").at(Stage::Identity)?;
        enter_namespaces(prepared)?;
        Some(root::leave_host(prepared)?)
    } else {
        loose::prepare().at(Stage::Parent)?;
        die_with_caller(prepared.descriptors.go, libc::SIGTERM)?;
        None
    };
    sys::set_process_name(c"init");
    Ok((sys::fork().at(Stage::Processes)?, proc))
}

/// Makes the root, joins the command's network, and lets the command go.
fn let_go(prepared: &Prepared<'_>, proc: Option<RawFd>) -> std::result::Result<(), Failure> {
    let line = prepared.descriptors.first;
    if let Some(proc) = proc {
        root::make(prepared, proc, line)?;
        // The command is the second process of its namespace.
        let network = sys::open(c"/proc/2/ns/net", libc::O_RDONLY, 0).at(Stage::Network)?;
        sys::join_namespace(network, libc::CLONE_NEWNET).at(Stage::Network)?;
        sys::close(network);
        // Neither the environment nor the memory that we have from the caller may be looked at.
        sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).at(Stage::Identity)?;
    }
    let gone = if proc.is_some() {
        let root = sys::open(c"/", libc::O_PATH | libc::O_DIRECTORY, 0).at(Stage::Aside)?;
        let gone = sys::send_descriptor(line, root);
        sys::close(root);
        gone
    } else {
        sys::write(line, b"g").map(drop)
    };
    let gone = gone.at(Stage::Processes);
    sys::close(line);
    match gone {
        // It has failed already, and said why.
        Ok(()) | Err(Failure { errno: libc::EPIPE, .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Asks for a signal at the caller's death, and looks whether it has happened already.
fn die_with_caller(go: RawFd, signal: i32) -> std::result::Result<(), Failure> {
    #[allow(clippy::cast_sign_loss, reason = "signals are positive")]
    sys::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0).at(Stage::Parent)?;
    if sys::hung_up(go) {
        sys::exit(127)
    }
    Ok(())
}

/// Takes on the identity, the clocks and the names of the sandbox.
fn enter_namespaces(prepared: &Prepared<'_>) -> std::result::Result<(), Failure> {
    if prepared.drop_groups {
        sys::drop_groups().at(Stage::Identity)?;
    }
    sys::set_ids(INNER_ID, INNER_ID).at(Stage::Identity)?;
    // A change of ids takes away the right to write our own files in /proc, and the death signal.
    sys::prctl(libc::PR_SET_DUMPABLE, 1, 0).at(Stage::Identity)?;
    die_with_caller(prepared.descriptors.go, libc::SIGKILL)?;
    sys::new_session().at(Stage::Session)?;
    // The same for everybody, and the first to go where memory ends. Who is already beyond that stays there.
    let _ = sys::write_file(c"/proc/self/oom_score_adj", b"500");
    if let Some(offsets) = prepared.clock_offsets {
        set_clocks(offsets).at(Stage::Clocks)?;
    }
    sys::unshare(libc::CLONE_NEWCGROUP).at(Stage::ControlGroups)?;
    sys::set_names(crate::facts::HOST_NAME.as_bytes(), b"(none)").at(Stage::Names)
}

/// Makes a time namespace for our children whose clocks start at a fixed time.
fn set_clocks(offsets: &[u8]) -> Result<()> {
    sys::unshare(libc::CLONE_NEWTIME)?;
    let file = sys::open(c"/proc/self/timens_offsets", libc::O_WRONLY, 0)?;
    let written = sys::write(file, offsets);
    sys::close(file);
    written.map(drop)
}

/// Waits until the command ends, burying orphans meanwhile, ends everybody else, reports, and is gone.
fn reap(command: libc::pid_t, report: RawFd) -> ! {
    let mut largest = 0;
    let mut ended_as = None;
    loop {
        match sys::wait_any() {
            Ok(waited) => {
                largest = largest.max(waited.usage.ru_maxrss);
                if waited.pid == command {
                    ended_as = Some(waited.status);
                    // Everybody in this namespace but ourselves. Nobody escapes: the kernel makes no process for one that is to die.
                    let _ = sys::kill(-1, libc::SIGKILL);
                }
            }
            Err(libc::EINTR) => {}
            // Nobody is left; before the command has ended, there is the command.
            Err(_) => match ended_as {
                Some(status) => ended(status, largest, report),
                None => sys::exit(127),
            },
        }
    }
}

/// Reports the command's end, and that nobody is left.
pub(crate) fn ended(status: i32, largest_kib: i64, report: RawFd) -> ! {
    let largest_kib = u32::try_from(largest_kib).unwrap_or(u32::MAX);
    Report { status, largest_kib, used: Used::so_far(), ..Report::of(ENDED) }.send(report);
    sys::exit(0)
}
