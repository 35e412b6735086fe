// sandbox/src/terminal.rs
//! A command on a terminal of its own: for somebody who wants to look around inside.
//!
//! The command gets a new pseudo-terminal, never the caller's, so that nothing inside can type into that. What is typed goes in and what is
//! shown comes out through the other end, which the caller holds.
#![allow(unsafe_code, reason = "the C library opens pseudo-terminals and changes the modes of terminals")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::error::SandboxError;
use crate::plan::{Outcome, Plan};
use crate::prepare::step;
use crate::{run, sys};

/// How long the relay sleeps before it looks whether the command has ended.
const TICK: Duration = Duration::from_millis(50);

/// Runs a plan's command on a terminal of its own, between `input` and `output`, which are the caller's terminal. While it
/// runs, the caller's terminal hands every key on as it is.
///
/// # Errors
/// As [`crate::run`], and when there is no pseudo-terminal to be had.
pub fn run_on_terminal(
    plan: &Plan,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
    cancel: &AtomicBool,
) -> Result<Outcome, SandboxError> {
    let (master, inner) = open().map_err(|source| step("open a pseudo-terminal", source))?;
    let mut size = Size::default();
    size.follow(input, &master);
    let _raw = Raw::enter(input);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let relay = scope.spawn(|| relay(&master, input, output, &ended, &mut size));
        let outcome = run::run_attached(plan, &inner, cancel);
        drop(inner);
        ended.store(true, Ordering::Relaxed);
        // What it could not hand on is for nobody: the caller's terminal is gone.
        let _ = relay.join();
        outcome
    })
}

/// Opens both ends of a new pseudo-terminal.
fn open() -> io::Result<(File, OwnedFd)> {
    const PEER: libc::c_ulong = 0x5441;
    // SAFETY: takes integers only; the descriptor is taken over at once.
    let master = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    if master < 0 {
        return Err(io::Error::last_os_error());
    }
    let master = sys::owned(master);
    // SAFETY: both take a descriptor that we hold.
    if unsafe { libc::grantpt(master.as_raw_fd()) != 0 || libc::unlockpt(master.as_raw_fd()) != 0 } {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes integers only. The peer is opened without a name, so it is the right one in any mount namespace.
    let peer = unsafe { libc::ioctl(master.as_raw_fd(), PEER as _, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    if peer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((File::from(master), sys::owned(peer)))
}

/// The size that the caller's terminal had last: rows, columns, and both in pixels.
#[derive(Default)]
struct Size([libc::c_ushort; 4]);

impl Size {
    /// Gives the new terminal the size of the caller's when that has changed, and the kernel tells the command. One that has no size keeps the
    /// default; what the command sets itself stays until the caller's changes.
    fn follow(&mut self, from: BorrowedFd<'_>, to: &File) {
        let mut size = MaybeUninit::<libc::winsize>::zeroed();
        // SAFETY: the kernel writes one structure of this type, which is integers only, or fails.
        let found = unsafe {
            if libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) != 0 {
                return;
            }
            size.assume_init()
        };
        let now = [found.ws_row, found.ws_col, found.ws_xpixel, found.ws_ypixel];
        if std::mem::replace(&mut self.0, now) != now {
            // SAFETY: the kernel reads one structure of this type.
            unsafe { libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, &raw const found) };
        }
    }
}

/// Hands over what is typed and what is shown, until the command has ended and all that it showed is out.
fn relay(
    master: &File,
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
    ended: &AtomicBool,
    size: &mut Size,
) -> io::Result<()> {
    let mut keyboard = File::from(input.try_clone_to_owned()?);
    let mut screen = File::from(output.try_clone_to_owned()?);
    let (mut typing, mut piece) = (true, [0; 4096]);
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
    loop {
        let mut watched = vec![PollFd::new(master, PollFlags::IN)];
        if typing {
            watched.push(PollFd::from_borrowed_fd(keyboard.as_fd(), PollFlags::IN));
        }
        match rustix::event::poll(&mut watched, Some(&tick)) {
            Ok(0) if ended.load(Ordering::Relaxed) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        size.follow(input, master);
        let shown = watched[0].revents();
        let typed = watched.get(1).is_some_and(|keyboard| !keyboard.revents().is_empty());
        drop(watched);
        if shown.contains(PollFlags::IN) {
            let count = (&*master).read(&mut piece)?;
            screen.write_all(&piece[..count])?;
        } else if !shown.is_empty() {
            // Nobody holds the other end: it was never opened inside, or the command has ended.
            if ended.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep(TICK);
        }
        if typed {
            let count = keyboard.read(&mut piece)?;
            typing = count > 0;
            // The end of a file is what Ctrl-D stands for.
            (&*master).write_all(if typing { &piece[..count] } else { b"\x04" })?;
        }
    }
}

/// A terminal that hands every key on, until this is dropped.
struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: libc::termios,
}

impl<'a> Raw<'a> {
    /// `None` for what is no terminal.
    fn enter(terminal: BorrowedFd<'a>) -> Option<Self> {
        let mut modes = MaybeUninit::<libc::termios>::zeroed();
        // SAFETY: the C library writes one structure of this type, which is integers only, or fails.
        let before = unsafe {
            if libc::tcgetattr(terminal.as_raw_fd(), modes.as_mut_ptr()) != 0 {
                return None;
            }
            modes.assume_init()
        };
        let mut raw = before;
        // SAFETY: both work on one structure of this type, which is ours.
        unsafe {
            libc::cfmakeraw(&raw mut raw);
            libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const raw);
        }
        Some(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // SAFETY: reads one structure of this type.
        unsafe { libc::tcsetattr(self.terminal.as_raw_fd(), libc::TCSANOW, &raw const self.before) };
    }
}
