// sandbox/src/command.rs
//! The command, from its clone until it becomes itself. Runs between clone and exec: see `child`.
//!
//! It makes the network that both will have, while pid 1 makes the root; then it steps aside, waits for the root, enters it,
//! gives up every right, and is gone.

use std::os::fd::RawFd;

use crate::child::{Descriptors, Prepared};
use crate::landlock;
use crate::plan::Level;
use crate::report::{At, Failure, Report, Stage, UNSUPERVISED, fail};
use crate::sys::{self, Result};

/// Where the report, the supervisor's socket, the line to pid 1, the caller's word and the sandbox's `/proc` are while the command is
/// not yet itself.
const REPORT: RawFd = 3;
const SUPERVISOR: RawFd = 4;
const FIRST: RawFd = 5;
const GO: RawFd = 6;
const PROC: RawFd = 7;

/// Gives up everything that pid 1 can do, and becomes the command. `proc` is the sandbox's own `/proc`, where it has one.
pub(crate) fn become_itself(prepared: &Prepared<'_>, proc: Option<RawFd>) -> ! {
    if let Err(failure) = move_descriptors(prepared.descriptors, proc).at(Stage::Output) {
        fail(prepared.descriptors.report, failure)
    }
    let failure = match shed(prepared).and_then(|()| enter(prepared)) {
        Err(failure) => failure,
        Ok(()) => execute(prepared),
    };
    fail(REPORT, failure)
}

/// Becomes the first of the plan's programs that can be run. Returns only if none can.
fn execute(prepared: &Prepared<'_>) -> Failure {
    let mut failure = Failure { stage: Stage::Execute, index: 0, errno: libc::ENOENT };
    for program in prepared.programs {
        let errno = sys::execute(program, prepared.arguments, prepared.environment);
        // As a shell does: go on searching, but remember why a file that is there did not run.
        if errno != libc::ENOENT && errno != libc::ENOTDIR {
            failure.errno = errno;
            if errno != libc::EACCES {
                break;
            }
        }
    }
    failure
}

/// Sheds what needs no root: session, limits, network.
fn shed(prepared: &Prepared<'_>) -> std::result::Result<(), Failure> {
    sys::new_session().at(Stage::Session)?;
    if prepared.has_terminal {
        sys::take_terminal(1).at(Stage::Session)?;
    }
    sys::umask(0o022);
    for (resource, soft, hard) in prepared.limits {
        sys::limit(*resource, *soft, *hard).at(Stage::Limits)?;
    }
    sys::set_affinity(prepared.affinity).at(Stage::Affinity)?;
    sys::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong).at(Stage::Personality)?;
    match sys::new_keyring() {
        // A kernel without keyrings has none to leak.
        Ok(()) | Err(libc::ENOSYS) => {}
        Err(errno) => return Err(errno).at(Stage::Keyring),
    }
    if prepared.level == Level::Full {
        // At once: what pid 1 is about to mount is not to be copied.
        sys::unshare(libc::CLONE_NEWNS).at(Stage::Aside)?;
        sys::unshare(libc::CLONE_NEWNET).at(Stage::Network)?;
        sys::loopback_up().at(Stage::Network)?;
        // Pid 1 enters the root and joins the network when both are there.
        sys::write(FIRST, b"n").at(Stage::Network)?;
        step_aside().at(Stage::Aside)?;
    }
    Ok(())
}

/// Waits until pid 1 has made the root and hidden itself, enters it, gives up every right, and waits for the caller's word.
fn enter(prepared: &Prepared<'_>) -> std::result::Result<(), Failure> {
    if prepared.level == Level::Full {
        let root = sys::receive_descriptor(FIRST).at(Stage::Wait)?;
        sys::fchdir(root).at(Stage::Aside)?;
        sys::chroot_here().at(Stage::Aside)?;
        sys::close(root);
    } else {
        sys::wait_for_byte(FIRST).at(Stage::Wait)?;
    }
    if prepared.has_terminal {
        sys::duplicate(1, 0, 0).at(Stage::Input)?;
    } else {
        open_null().at(Stage::Input)?;
    }
    if let Some(kept) = prepared.capabilities {
        sys::drop_capabilities(kept).at(Stage::Capabilities)?;
    }
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).at(Stage::NoNewPrivileges)?;
    if prepared.level != Level::None
        && let Some((rules, size)) = &prepared.landlock
    {
        landlock::restrict(rules, *size, prepared.readable, prepared.writable).at(Stage::Landlock)?;
    }
    match prepared.level {
        Level::Full => filter_calls(prepared).at(Stage::Seccomp)?,
        Level::Restricted => sys::seccomp_filter(prepared.filter, 0).map(drop).at(Stage::Seccomp)?,
        Level::None => {}
    }
    // What stood before the command begins is nobody's business: not even which directory this is.
    sys::wait_for_byte(GO).at(Stage::Wait)?;
    sys::chdir(prepared.directory).at(Stage::Directory)?;
    // Last: a signal that ends this process ends it as the command.
    sys::set_signal_mask(0).map(drop).at(Stage::Signals)
}

/// Becomes a user of a namespace of its own, in a mount namespace that has nothing to tell.
///
/// The root comes from pid 1, as a descriptor. The mounts that the kernel lists for this process are those of its own namespace, as
/// far as they can be reached from its root: none can, for that namespace has only the empty directory in which pid 1
/// began. So `mountinfo` says nothing of where things lie on the host, and no mount can ever be changed, for they are another
/// namespace's. The second user namespace maps 1000 to the 1000 of the first, so that `uid_map` says the same
/// whoever cooks.
fn step_aside() -> Result<()> {
    sys::unshare(libc::CLONE_NEWUSER)?;
    for (file, text) in
        [(c"self/setgroups", b"deny".as_slice()), (c"self/uid_map", b"1000 1000 1"), (c"self/gid_map", b"1000 1000 1")]
    {
        sys::write_file_below(PROC, file, text)?;
    }
    sys::close(PROC);
    Ok(())
}

/// Installs the filter, with a listener for the supervisor where the kernel gives one: a container around us
/// may have the only one that a process can have.
fn filter_calls(prepared: &Prepared<'_>) -> Result<()> {
    const NEW_LISTENER: u32 = 1 << 3;
    const WAIT_KILLABLE: u32 = 1 << 5;
    let program = prepared.supervised_filter;
    let listener = sys::seccomp_filter(program, NEW_LISTENER | WAIT_KILLABLE)
        // Before 5.19, signals interrupt a waiting call, which the kernel then starts again.
        .or_else(|_| sys::seccomp_filter(program, NEW_LISTENER));
    if let Ok(listener) = listener {
        #[allow(clippy::cast_possible_truncation, reason = "descriptors are ints")]
        let listener = listener as RawFd;
        let sent = sys::send_descriptor(SUPERVISOR, listener);
        sys::close(listener);
        return sent;
    }
    Report::of(UNSUPERVISED).send(REPORT);
    sys::seccomp_filter(prepared.filter, 0).map(drop)
}

/// Leaves the output twice, and until exec the report, the supervisor's socket, the line to pid 1, the caller's word and `/proc`.
///
/// All others that come in are above these places: see `ready`.
fn move_descriptors(descriptors: Descriptors, proc: Option<RawFd>) -> Result<()> {
    // First: pid 1 has made it where one of the others is going to be.
    if let Some(proc) = proc.filter(|proc| *proc != PROC) {
        sys::duplicate(proc, PROC, libc::O_CLOEXEC)?;
    }
    sys::duplicate(descriptors.output, 1, 0)?;
    sys::duplicate(descriptors.output, 2, 0)?;
    sys::duplicate(descriptors.report, REPORT, libc::O_CLOEXEC)?;
    sys::duplicate(descriptors.supervisor, SUPERVISOR, libc::O_CLOEXEC)?;
    sys::duplicate(descriptors.command, FIRST, libc::O_CLOEXEC)?;
    sys::duplicate(descriptors.go, GO, libc::O_CLOEXEC)?;
    sys::close(0);
    sys::close_range(if proc.is_some() { PROC + 1 } else { PROC }.unsigned_abs(), u32::MAX)
}

/// Makes stdin the new root's `/dev/null`.
fn open_null() -> Result<()> {
    let null = sys::open(c"/dev/null", libc::O_RDONLY, 0)?;
    if null == 0 {
        return sys::keep_open(null);
    }
    sys::duplicate(null, 0, 0)?;
    sys::close(null);
    Ok(())
}
