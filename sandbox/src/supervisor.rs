// sandbox/src/supervisor.rs
//! Answers system calls in the kernel's place: `uname`, whose answer would tell of the host's kernel,
//! `sched_getaffinity`, whose answer would tell of its processors, and, where they are recorded, those about
//! owners (`ownership`).
//!
//! The command's filter hands such a call to a listener and holds the caller until it is answered. The
//! command itself makes the listener, between clone and exec, and sends it over a socket; from then on
//! [`run`](crate::run) looks at it beside the output. An answer is written into the caller's memory through
//! a descriptor that was opened before the kernel confirmed that the call is still waiting, so that it can
//! reach no other process that has the same number by then.
#![allow(unsafe_code, reason = "the listener is spoken to by ioctl, with structures of the kernel's")]

use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use libc::c_ulong;
use rustix::event::PollFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::facts;
use crate::host::MOST_PROCESSORS;
use crate::owners::Owners;
use crate::ownership::{self, Answer};

const RECEIVE: c_ulong = 0xc050_2100;
const SEND: c_ulong = 0xc018_2101;
const STILL_WAITING: c_ulong = 0x4008_2102;
const SET_FLAGS: c_ulong = 0x4008_2104;
/// A caller and its answerer take turns, so the one that is woken runs where the other goes to sleep.
const SYNC_WAKE_UP: u64 = 1;
/// The kernel carries the call out.
const CONTINUE: u32 = 1;

/// Length of each text in `struct utsname`.
const FIELD: usize = 65;
/// Length of the longest mask of processors, in bytes.
const PROCESSORS: usize = (MOST_PROCESSORS / 8) as usize;

/// The end of the line on the caller's side.
pub(crate) struct Supervisor<'o> {
    /// The listener comes over this.
    socket: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    /// What `uname` answers.
    names: [u8; 6 * FIELD],
    /// What `sched_getaffinity` answers.
    processors: [u8; PROCESSORS],
    /// Where owners go, if they are recorded.
    owners: Option<&'o mut Owners>,
    /// The host's uid behind the command's.
    owner: u32,
}

impl<'o> Supervisor<'o> {
    /// A supervisor to which the listener will be sent over `socket`; the command is told of `processors`, and the host
    /// knows it as `owner`.
    pub fn new(socket: OwnedFd, processors: u32, owners: Option<&'o mut Owners>, owner: u32) -> Self {
        let uname = rustix::system::uname();
        let texts: [&[u8]; 6] = [
            b"Linux",
            facts::HOST_NAME.as_bytes(),
            facts::KERNEL_RELEASE.as_bytes(),
            facts::KERNEL_VERSION.as_bytes(),
            uname.machine().to_bytes(),
            b"(none)",
        ];
        let mut names = [0; 6 * FIELD];
        for (field, text) in names.chunks_exact_mut(FIELD).zip(texts) {
            field[..text.len()].copy_from_slice(text);
        }
        let mut mask = [0; PROCESSORS];
        for number in 0..processors.min(MOST_PROCESSORS) {
            mask[(number / 8) as usize] |= 1 << (number % 8);
        }
        Self { socket: Some(socket), listener: None, names, processors: mask, owners, owner }
    }

    /// What to wait for, while there is something.
    pub fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().or(self.socket.as_ref()).map(AsFd::as_fd)
    }

    /// Does what there is to do after [`Supervisor::waits_for`] became ready; `events` says how.
    pub fn serve(&mut self, events: PollFlags) {
        if !events.contains(PollFlags::IN) {
            // Nobody is left who could call. It would stay ready, and we would never sleep again.
            (self.socket, self.listener) = (None, None);
        } else if let Some(listener) = self.listener.take() {
            if self.answer(&listener) {
                self.listener = Some(listener);
            }
        } else if let Some(socket) = self.socket.take() {
            self.listener = receive(&socket);
            if let Some(listener) = &self.listener {
                // SAFETY: the flags go by value. A kernel before 6.6 refuses them, and wakes up as it always did.
                unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS as _, SYNC_WAKE_UP) };
            }
        }
    }

    /// Answers one call. `false` when nobody is left who could call.
    fn answer(&mut self, listener: &OwnedFd) -> bool {
        // SAFETY: plain integers, for which zero is a value; the kernel asks for zeros.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one structure of this type.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut call) } != 0 {
            // ENOENT: the caller was killed before we looked. Otherwise it was an interruption, or the end.
            let error = std::io::Error::last_os_error().raw_os_error();
            return matches!(error, Some(libc::ENOENT | libc::EINTR));
        }
        let answer = match (i64::from(call.data.nr), &mut self.owners) {
            (libc::SYS_uname, _) => write(listener, &call, call.data.args[0], &self.names).map(|()| 0).into(),
            (libc::SYS_sched_getaffinity, _) => self.write_processors(listener, &call).into(),
            (_, Some(owners)) => ownership::answer(owners, self.owner, listener, &call),
            (_, None) => Answer::Error(libc::ENOSYS),
        };
        let (val, error, flags) = match answer {
            Answer::Value(value) => (value, 0, 0),
            Answer::Error(errno) => (0, -errno, 0),
            Answer::Kernel => (0, 0, CONTINUE),
        };
        let answer = libc::seccomp_notif_resp { id: call.id, val, error, flags };
        // SAFETY: the kernel reads one structure of this type. It fails if the caller is gone: so be it.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const answer) };
        true
    }

    /// Answers with the length of the mask, as the kernel does, whatever process was asked about.
    fn write_processors(&self, listener: &OwnedFd, call: &libc::seccomp_notif) -> Result<i64, i32> {
        let [_, length, place, ..] = call.data.args;
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(PROCESSORS);
        let needed = self.processors.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if length < needed || length % 8 != 0 {
            return Err(libc::EINVAL);
        }
        write(listener, call, place, &self.processors[..length])?;
        i64::try_from(length).map_err(|_| libc::EINVAL)
    }
}

/// Whether a call still waits, and the caller's number is thus still the caller's.
pub(crate) fn still_waits(listener: &OwnedFd, id: u64) -> bool {
    // SAFETY: the kernel reads 8 bytes.
    unsafe { libc::ioctl(listener.as_raw_fd(), STILL_WAITING as _, &raw const id) == 0 }
}

impl From<Result<i64, i32>> for Answer {
    fn from(result: Result<i64, i32>) -> Self {
        result.map_or_else(Self::Error, Self::Value)
    }
}

/// Writes into the memory of a process whose call waits. An errno where that cannot be.
fn write(listener: &OwnedFd, call: &libc::seccomp_notif, place: u64, bytes: &[u8]) -> Result<(), i32> {
    let memory = File::options().write(true).open(format!("/proc/{}/mem", call.pid)).map_err(|_| libc::EFAULT)?;
    if !still_waits(listener, call.id) {
        return Err(libc::EFAULT);
    }
    memory.write_all_at(bytes, place).map_err(|_| libc::EFAULT)
}

/// Takes the listener off the socket. `None` if the command had none to send.
fn receive(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut buffer = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut buffer,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )
    .ok()?;
    buffer.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}
