// sandbox/src/sys.rs
//! The kernel, one thin function per call: for the calls that rustix does not have, and for everything
//! that runs between clone and exec.
//!
//! Nothing here allocates, locks or panics, so every function may be called in a child that shares its
//! memory's history with a parent of many threads. Errors are bare `errno` numbers.
#![allow(unsafe_code, reason = "the raw calls of the kernel live here, one per function")]

mod rights;
mod stat;

use std::ffi::CStr;
use std::os::fd::RawFd;

use libc::{c_int, c_long, c_uint, c_ulong, c_void};

pub use rights::{
    LandlockRules, drop_capabilities, effective_capabilities, landlock_allow, landlock_create, landlock_restrict,
    landlock_version, seccomp_filter,
};
pub use stat::{file_mark, raw_stat, raw_statx};

/// An errno.
pub type Errno = c_int;

/// What a call returns.
pub type Result<T> = std::result::Result<T, Errno>;

pub const CAP_CHOWN: u32 = 0;
pub const CAP_SETGID: u32 = 6;
pub const CAP_SETUID: u32 = 7;
pub const CAP_SYS_ADMIN: u32 = 21;

/// The errno of the last call that failed in this thread.
fn errno() -> Errno {
    // SAFETY: glibc and musl both return a valid pointer to the thread's own errno.
    unsafe { *libc::__errno_location() }
}

/// Turns the kernel's -1 into the errno.
fn check(value: c_long) -> Result<c_long> {
    if value == -1 { Err(errno()) } else { Ok(value) }
}

/// A count of bytes that a call returned.
#[allow(clippy::cast_possible_truncation, reason = "no longer than a slice in memory")]
fn count(value: c_long) -> Result<usize> {
    check(value).map(|count| count.unsigned_abs() as usize)
}

/// A descriptor that a call returned.
#[allow(clippy::cast_possible_truncation, reason = "descriptors are ints")]
fn descriptor(value: c_long) -> Result<RawFd> {
    check(value).map(|value| value as RawFd)
}

/// What clone3 made, seen from the parent or the child.
pub enum Cloned {
    Child,
    Parent { pid: libc::pid_t, pidfd: RawFd },
}

/// Copies this process into the namespaces of `flags`; the child has default signal handlers.
///
/// The child may call only functions of this module until it execs or exits.
pub fn clone(flags: c_int) -> Result<Cloned> {
    #[repr(C)]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    const CLEAR_SIGHAND: u64 = 1 << 32;
    let mut pidfd: c_int = -1;
    #[allow(clippy::cast_sign_loss, reason = "flags and descriptors are not negative")]
    let arguments = Arguments {
        flags: u64::from(flags as c_uint) | libc::CLONE_PIDFD as u64 | CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd).addr() as u64,
        // No exit signal: the caller's own waiting and its SIGCHLD handling see nothing of us.
        ..Arguments::default()
    };
    // SAFETY: without CLONE_VM the child has its own copy of all memory and continues here on its copy of
    // the stack; the arguments outlive the call and have the size that is passed.
    let value = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>()) };
    match check(value)? {
        0 => Ok(Cloned::Child),
        #[allow(clippy::cast_possible_truncation, reason = "process ids are ints")]
        pid => Ok(Cloned::Parent { pid: pid as libc::pid_t, pidfd }),
    }
}

/// Copies this process, as `fork` does; the parent gets the child's id, the child 0.
pub fn fork() -> Result<libc::pid_t> {
    #[repr(C)]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    #[allow(clippy::cast_sign_loss, reason = "SIGCHLD is positive")]
    let arguments = Arguments { exit_signal: libc::SIGCHLD as u64, ..Arguments::default() };
    // SAFETY: as in `clone`.
    let value = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<Arguments>()) };
    #[allow(clippy::cast_possible_truncation, reason = "process ids are ints")]
    check(value).map(|pid| pid as libc::pid_t)
}

/// Ends this process at once.
pub fn exit(status: c_int) -> ! {
    // SAFETY: no destructor or handler of the parent's copy runs.
    unsafe { libc::_exit(status) }
}

/// How a process ended, and what it and the children it waited for had used.
pub struct Waited {
    pub pid: libc::pid_t,
    pub status: c_int,
    pub usage: libc::rusage,
}

/// What this process, and the children that it has waited for, have used so far.
pub fn usage() -> [libc::rusage; 2] {
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].map(|who| {
        // SAFETY: rusage is plain integers, for which zero is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a local that outlives the call, which fails for no valid `who`.
        unsafe { libc::getrusage(who, &raw mut usage) };
        usage
    })
}

/// Waits for any child.
pub fn wait_any() -> Result<Waited> {
    wait(-1, 0)
}

/// Waits for one child, or for any with -1.
pub fn wait(pid: libc::pid_t, options: c_int) -> Result<Waited> {
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals that outlive the call.
    let value = unsafe { libc::syscall(libc::SYS_wait4, pid, &raw mut status, libc::__WALL | options, &raw mut usage) };
    #[allow(clippy::cast_possible_truncation, reason = "process ids are ints")]
    check(value).map(|pid| Waited { pid: pid as libc::pid_t, status, usage })
}

/// Reads once.
pub fn read(fd: RawFd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the pointer and length are one slice's.
    let value = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    count(value as c_long)
}

/// Waits for a byte from the other end of a pipe or socket; if that goes away, so does this process.
pub fn wait_for_byte(fd: RawFd) -> Result<()> {
    loop {
        match read(fd, &mut [0]) {
            Ok(1) => return Ok(()),
            Ok(_) | Err(libc::ECONNRESET) => exit(127),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes once.
pub fn write(fd: RawFd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the pointer and length are one slice's.
    let value = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    count(value as c_long)
}

/// Opens a path.
pub fn open(path: &CStr, flags: c_int, mode: libc::mode_t) -> Result<RawFd> {
    open_below(libc::AT_FDCWD, path, flags, mode)
}

/// Opens a path below an open directory.
pub fn open_below(directory: RawFd, path: &CStr, flags: c_int, mode: libc::mode_t) -> Result<RawFd> {
    // SAFETY: the path is a valid C string.
    descriptor(unsafe { libc::openat(directory, path.as_ptr(), flags | libc::O_CLOEXEC, mode) }.into())
}

/// Closes a descriptor; nothing can be done about an error.
pub fn close(fd: RawFd) {
    // SAFETY: closing a number is memory-safe; callers own it.
    unsafe { libc::close(fd) };
}

/// Closes the descriptors `first..=last`.
pub fn close_range(first: c_uint, last: c_uint) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Makes `to` the same file as `from`; `to` stays open across exec unless `flags` says otherwise.
pub fn duplicate(from: RawFd, to: RawFd, flags: c_int) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_dup3, from, to, flags) }).map(drop)
}

/// Lets a descriptor stay open across exec.
pub fn keep_open(fd: RawFd) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }.into()).map(drop)
}

/// Whether the other end of a pipe has gone.
pub fn hung_up(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLHUP != 0 }
}

/// Writes all of `bytes` to a file that exists, in one call.
pub fn write_file(path: &CStr, bytes: &[u8]) -> Result<()> {
    write_file_below(libc::AT_FDCWD, path, bytes)
}

/// The same, below an open directory.
pub fn write_file_below(directory: RawFd, path: &CStr, bytes: &[u8]) -> Result<()> {
    let file = open_below(directory, path, libc::O_WRONLY, 0)?;
    let written = write(file, bytes);
    close(file);
    written.map(drop)
}

/// Makes a directory.
pub fn mkdir(path: &CStr, mode: libc::mode_t) -> Result<()> {
    // SAFETY: the path is a valid C string.
    check(unsafe { libc::mkdir(path.as_ptr(), mode) }.into()).map(drop)
}

/// Makes a symbolic link.
pub fn symlink(target: &CStr, path: &CStr) -> Result<()> {
    // SAFETY: both are valid C strings.
    check(unsafe { libc::symlink(target.as_ptr(), path.as_ptr()) }.into()).map(drop)
}

/// Changes the working directory.
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the path is a valid C string.
    check(unsafe { libc::chdir(path.as_ptr()) }.into()).map(drop)
}

/// Changes the working directory to an open one.
pub fn fchdir(fd: RawFd) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::fchdir(fd) }.into()).map(drop)
}

/// Sets the file creation mask.
pub fn umask(mask: libc::mode_t) {
    // SAFETY: takes integers only and cannot fail.
    unsafe { libc::umask(mask) };
}

/// Clones the mount at `path`, or the part below it, into a detached one.
pub fn open_tree(path: &CStr, flags: c_uint) -> Result<RawFd> {
    const OPEN_TREE_CLONE: c_uint = 1;
    // SAFETY: the path is a valid C string.
    descriptor(unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            path.as_ptr(),
            OPEN_TREE_CLONE | flags | libc::O_CLOEXEC.cast_unsigned(),
        )
    })
}

/// Attaches a detached mount at `path`, whose last component is not followed.
pub fn move_mount(mount: RawFd, path: &CStr) -> Result<()> {
    const F_EMPTY_PATH: c_uint = 4;
    // SAFETY: both paths are valid C strings.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), libc::AT_FDCWD, path.as_ptr(), F_EMPTY_PATH)
    })
    .map(drop)
}

/// Sets attributes of the mount `fd` (or at `path` below it) and makes it private. With `ids`, a user
/// namespace, its owners are mapped by that.
pub fn mount_setattr(fd: RawFd, path: &CStr, flags: c_int, set: u64, ids: Option<RawFd>) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set | if ids.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: ids.map_or(0, |fd| u64::from(fd.unsigned_abs())),
    };
    // SAFETY: the path is a valid C string, the attributes outlive the call and have the size passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Makes a detached mount of a new file system with `options`, each `(key, value)`.
pub fn new_filesystem(kind: &CStr, options: &[(&CStr, &CStr)], attributes: c_uint) -> Result<RawFd> {
    const FSCONFIG_SET_STRING: c_uint = 1;
    const FSCONFIG_CMD_CREATE: c_uint = 6;
    const CLOEXEC: c_uint = 1;
    // SAFETY: the name is a valid C string.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOEXEC) })?;
    let configured = options
        .iter()
        .try_for_each(|(key, value)| {
            // SAFETY: both are valid C strings.
            check(unsafe {
                libc::syscall(libc::SYS_fsconfig, context, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0)
            })
            .map(drop)
        })
        .and_then(|()| {
            // SAFETY: this command takes no pointers.
            check(unsafe {
                libc::syscall(
                    libc::SYS_fsconfig,
                    context,
                    FSCONFIG_CMD_CREATE,
                    std::ptr::null::<c_void>(),
                    std::ptr::null::<c_void>(),
                    0,
                )
            })
        })
        // SAFETY: takes integers only.
        .and_then(|_| descriptor(unsafe { libc::syscall(libc::SYS_fsmount, context, CLOEXEC, attributes) }));
    close(context);
    configured
}

/// The old mount call, for what the new ones cannot say on every kernel that has them.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: c_ulong,
    options: Option<&CStr>,
) -> Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or a valid C string.
    check(
        unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(kind), flags, pointer(options).cast()) }.into(),
    )
    .map(drop)
}

/// Takes the mount at `path` out of the tree.
pub fn detach(path: &CStr) -> Result<()> {
    // SAFETY: the path is a valid C string.
    check(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }.into()).map(drop)
}

/// Makes the working directory, a mount point, the root, and puts the old root above it.
pub fn pivot_root_here() -> Result<()> {
    // SAFETY: both paths are valid C strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// Moves this process into new namespaces.
pub fn unshare(flags: c_int) -> Result<()> {
    // SAFETY: takes integers only; no memory is shared between threads of a single-threaded child.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Moves this process into the namespace of an open file.
pub fn join_namespace(fd: RawFd, kind: c_int) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::setns(fd, kind) }.into()).map(drop)
}

/// Sets the host name and the domain name.
pub fn set_names(host: &[u8], domain: &[u8]) -> Result<()> {
    // SAFETY: pointer and length are one slice's.
    check(unsafe { libc::sethostname(host.as_ptr().cast(), host.len()) }.into())?;
    // SAFETY: pointer and length are one slice's.
    check(unsafe { libc::setdomainname(domain.as_ptr().cast(), domain.len()) }.into()).map(drop)
}

/// Brings the loopback interface up.
pub fn loopback_up() -> Result<()> {
    // SAFETY: takes integers only.
    let socket = descriptor(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: ifreq is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    #[allow(clippy::cast_possible_truncation, reason = "both flags are below 2^15")]
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    let set = check(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request) }.into());
    close(socket);
    set.map(drop)
}

/// Makes the working directory the root of this process.
pub fn chroot_here() -> Result<()> {
    // SAFETY: a valid C string.
    check(unsafe { libc::chroot(c".".as_ptr()) }.into()).map(drop)
}

/// One prctl with integer arguments.
pub fn prctl(option: c_int, first: c_ulong, second: c_ulong) -> Result<c_long> {
    // SAFETY: every option used here takes integers, or ignores them.
    check(unsafe { libc::prctl(option, first, second, 0, 0) }.into())
}

/// Names this thread.
pub fn set_process_name(name: &CStr) {
    // SAFETY: the kernel reads at most 16 bytes of a valid C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Drops all supplementary groups.
pub fn drop_groups() -> Result<()> {
    // SAFETY: an empty list needs no memory. The raw call concerns this thread only.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) }).map(drop)
}

/// Takes the ids, of which there are no others left.
pub fn set_ids(uid: libc::uid_t, gid: libc::gid_t) -> Result<()> {
    // SAFETY: takes integers only. The raw calls concern this thread only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Starts a session of our own.
pub fn new_session() -> Result<()> {
    // SAFETY: takes nothing.
    check(unsafe { libc::setsid() }.into()).map(drop)
}

/// Makes an open terminal the controlling one of this session, which has none.
pub fn take_terminal(fd: RawFd) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::TIOCSCTTY, 0) }).map(drop)
}

/// Joins a new, empty session keyring.
pub fn new_keyring() -> Result<()> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<c_void>()) }).map(drop)
}

/// Sets the execution domain.
pub fn personality(persona: c_ulong) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::personality(persona) }.into()).map(drop)
}

/// Sets both values of a limit, each lowered to what the hard limit allows.
pub fn limit(resource: c_int, soft: u64, hard: u64) -> Result<()> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let none = std::ptr::null::<libc::rlimit64>();
    // SAFETY: the kernel writes one rlimit64.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, none, &raw mut old) })?;
    let hard = hard.min(old.rlim_max);
    let new = libc::rlimit64 { rlim_cur: soft.min(hard), rlim_max: hard };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the kernel reads one rlimit64.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const new, none) }).map(drop)
}

/// The processors that this thread may use, as a bit mask.
pub fn affinity(mask: &mut [u64]) -> Result<usize> {
    // SAFETY: the kernel writes at most the length that is passed.
    count(unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(mask), mask.as_mut_ptr()) })
}

/// Holds this thread to the processors of a bit mask.
pub fn set_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads the length that is passed.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) }).map(drop)
}

/// Gives every signal its default action.
pub fn default_signals() -> Result<()> {
    const ALL: c_int = 64;
    (1..=ALL).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)).try_for_each(default_signal)
}

/// Gives one signal its default action.
pub fn default_signal(signal: c_int) -> Result<()> {
    let action = [0_u64; 4];
    // SAFETY: the kernel's sigaction is 32 bytes; all zero means the default action.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), std::ptr::null::<c_void>(), size_of::<u64>())
    })
    .map(drop)
}

/// Blocks exactly the signals of `mask` and returns what was blocked before.
pub fn set_signal_mask(mask: u64) -> Result<u64> {
    let mut old = 0_u64;
    // SAFETY: both are 8 bytes, the size that is passed.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut old, size_of::<u64>())
    })
    .map(|_| old)
}

/// Sends a signal to one process, or with a negative id to a group.
pub fn kill(pid: libc::pid_t, signal: c_int) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Sends a signal through a pidfd.
pub fn pidfd_kill(pidfd: RawFd, signal: c_int) -> Result<()> {
    // SAFETY: a null siginfo asks for the usual one.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, std::ptr::null::<c_void>(), 0) }).map(drop)
}

/// Sends a descriptor over a socket.
pub fn send_descriptor(socket: RawFd, fd: RawFd) -> Result<()> {
    pass_descriptor(libc::SYS_sendmsg, socket, fd).map(drop)
}

/// Waits for a descriptor from the other end of a socket; if that goes away, so does this process.
pub fn receive_descriptor(socket: RawFd) -> Result<RawFd> {
    loop {
        match pass_descriptor(libc::SYS_recvmsg, socket, -1) {
            Ok((1, fd)) if fd >= 0 => return Ok(fd),
            Ok(_) | Err(libc::ECONNRESET) => exit(127),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Sends or receives a byte with a descriptor; returns the count of bytes and the descriptor.
fn pass_descriptor(call: c_long, socket: RawFd, fd: RawFd) -> Result<(usize, RawFd)> {
    // A control message with one descriptor, as the kernel lays it out: header, then the number.
    #[repr(C)]
    struct Message {
        header: libc::cmsghdr,
        fd: c_int,
        padding: c_int,
    }
    // SAFETY: plain integers and pointers, for which zero is a value.
    let mut message: Message = unsafe { std::mem::zeroed() };
    message.header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<c_int>()) as _;
    message.header.cmsg_level = libc::SOL_SOCKET;
    message.header.cmsg_type = libc::SCM_RIGHTS;
    message.fd = fd;
    let mut byte = 0_u8;
    let mut piece = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: as above.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut message).cast();
    header.msg_controllen = size_of::<Message>() as _;
    // SAFETY: every pointer in the header is to a local that outlives the call.
    let passed = count(unsafe { libc::syscall(call, socket, &raw mut header, libc::MSG_CMSG_CLOEXEC) })?;
    Ok((passed, message.fd))
}

/// Becomes another program. Both arrays end with a null pointer and point to C strings.
///
/// Returns only if that failed.
pub fn execute(program: &CStr, arguments: &PointerArray, environment: &PointerArray) -> Errno {
    // SAFETY: `PointerArray` upholds that both arrays are null-terminated and their strings alive.
    unsafe { libc::execve(program.as_ptr(), arguments.0.as_ptr(), environment.0.as_ptr()) };
    errno()
}

/// A null-terminated array of C strings that live as long as the strings it was made of.
pub struct PointerArray<'a>(Vec<*const libc::c_char>, std::marker::PhantomData<&'a CStr>);

impl<'a> PointerArray<'a> {
    /// Points at each of `strings`, in order.
    pub fn new(strings: &'a [std::ffi::CString]) -> Self {
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self(pointers, std::marker::PhantomData)
    }
}

/// Takes over a descriptor that a call above returned.
pub fn owned(fd: RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: callers pass a descriptor that they have just been given and hold nowhere else.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}

/// Takes the next of these blocked signals out of the queue, waiting for it.
pub fn wait_signal(mask: u64) -> Result<c_int> {
    // SAFETY: the mask has the size that is passed; no information and no timeout are asked for.
    let value = check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const mask,
            std::ptr::null::<c_void>(),
            std::ptr::null::<c_void>(),
            size_of::<u64>(),
        )
    });
    #[allow(clippy::cast_possible_truncation, reason = "signals are small")]
    value.map(|signal| signal as c_int)
}
