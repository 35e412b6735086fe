// sandbox/src/filter.rs
//! The seccomp filter: system calls that a build has no use for and an attacker has.
//!
//! A deny-list with a reason per rule, because builds run anything: an allow-list would break them in ways
//! that nobody could explain. Calls younger than [`NEWEST`] are refused too, so that the list cannot be
//! outgrown by the kernel, and so is every entry but the native one. What is refused as a feature that a
//! kernel may lack answers `ENOSYS`, so that programs fall back; what is refused as a privilege answers
//! `EPERM`.
//!
//! ```text
//! architecture differs            kill the process
//! x32 bit, or number > NEWEST     ENOSYS
//! number == rule                  its answer, where its condition on the arguments holds
//! else                            allow
//! ```

use libc::{c_long, sock_filter};

/// The highest system call number that this list was written for: `file_setattr`, kernel 6.17.
pub(crate) const NEWEST: u32 = 469;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;

/// Calls that the supervisor answers for every command: the kernel's release and version are the host's, and so is the
/// number of processors.
pub(crate) const FACTS: [(c_long, Condition); 2] =
    [(libc::SYS_uname, Condition::Always), (libc::SYS_sched_getaffinity, Condition::Always)];

/// Calls that it answers beside them for a command whose owners are recorded.
#[cfg(target_arch = "x86_64")]
pub(crate) const OWNERSHIP: [(c_long, Condition); 11] = [
    (libc::SYS_fchown, Condition::Always),
    (libc::SYS_fchownat, Condition::Always),
    (libc::SYS_mknodat, Condition::AnyBit { argument: 2, bits: DEVICE }),
    (libc::SYS_fstat, Condition::Always),
    (libc::SYS_newfstatat, Condition::Always),
    (libc::SYS_statx, Condition::Always),
    (libc::SYS_chown, Condition::Always),
    (libc::SYS_lchown, Condition::Always),
    (libc::SYS_mknod, Condition::AnyBit { argument: 1, bits: DEVICE }),
    (libc::SYS_stat, Condition::Always),
    (libc::SYS_lstat, Condition::Always),
];
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const OWNERSHIP: [(c_long, Condition); 6] = [
    (libc::SYS_fchown, Condition::Always),
    (libc::SYS_fchownat, Condition::Always),
    (libc::SYS_mknodat, Condition::AnyBit { argument: 2, bits: DEVICE }),
    (libc::SYS_fstat, Condition::Always),
    (libc::SYS_newfstatat, Condition::Always),
    (libc::SYS_statx, Condition::Always),
];

/// The calls that wait for an answer, those about owners too if they are `recorded`.
pub(crate) fn supervised(recorded: bool) -> Vec<(c_long, Condition)> {
    let further: &[(c_long, Condition)] = if recorded { &OWNERSHIP } else { &[] };
    [&FACTS[..], further].concat()
}

/// The bit of a mode that character and block devices have, and nothing else.
const DEVICE: u32 = 0o020_000;

/// When a rule answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// If any of these bits is set in the low half of the argument.
    AnyBit {
        /// Which argument.
        argument: u8,
        /// The bits.
        bits: u32,
    },
    /// If the low half of the argument is one of these.
    OneOf {
        /// Which argument.
        argument: u8,
        /// The values.
        values: &'static [u32],
    },
    /// If the low half of the argument is none of these.
    NoneOf {
        /// Which argument.
        argument: u8,
        /// The values.
        values: &'static [u32],
    },
}

/// One refused system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Its number on this machine.
    pub number: c_long,
    /// When it is refused.
    pub condition: Condition,
    /// The errno that it answers; 0 is success with nothing done.
    pub answer: i32,
    /// Why it is refused.
    pub reason: &'static str,
}

/// Writes rules as `name, name => answer, reason;`.
macro_rules! rules {
    ($($($name:ident),+ => $answer:ident, $reason:literal;)+) => {
        [$($(Rule {
            name: stringify!($name),
            number: libc::$name,
            condition: Condition::Always,
            answer: libc::$answer,
            reason: $reason,
        }),+),+]
    };
}

const NAMESPACES: u32 = 0x7e02_0080;

/// Every rule, in the order of the filter.
#[must_use]
pub fn rules() -> Vec<Rule> {
    let mut all = vec![
        Rule {
            name: "SYS_ioctl",
            number: libc::SYS_ioctl,
            // The kernel looks at the low half only, and so do we (CVE-2019-10063).
            condition: Condition::OneOf { argument: 1, values: &[0x5412, 0x541c] },
            answer: libc::EPERM,
            reason: "TIOCSTI and TIOCLINUX push text into a terminal, as if its user had typed it",
        },
        Rule {
            name: "SYS_clone",
            number: libc::SYS_clone,
            condition: Condition::AnyBit { argument: 0, bits: NAMESPACES },
            answer: libc::EPERM,
            reason: "a new user namespace gives all capabilities back, and with them the kernel's widest attack surface",
        },
        Rule {
            name: "SYS_socket",
            number: libc::SYS_socket,
            // AF_UNIX, AF_INET, AF_INET6, AF_NETLINK.
            condition: Condition::NoneOf { argument: 0, values: &[1, 2, 10, 16] },
            answer: libc::EAFNOSUPPORT,
            reason: "families beside unix, inet and netlink reach out of a network namespace (vsock) or into rarely tested kernel code",
        },
        Rule {
            name: "SYS_getgroups",
            number: libc::SYS_getgroups,
            condition: Condition::Always,
            answer: 0,
            reason: "a user cannot drop supplementary groups, so the count of them would tell who cooks: it is always 0",
        },
    ];
    all.extend(common());
    #[cfg(target_arch = "x86_64")]
    all.extend(rules! {
        SYS_iopl, SYS_ioperm => EPERM, "direct access to the machine's ports";
        SYS_modify_ldt => ENOSYS, "segment tables of 16-bit programs: old kernel code with a history of holes";
        SYS_uselib, SYS__sysctl, SYS_sysfs, SYS_ustat
            => ENOSYS, "relics that no program needs; sysfs and ustat tell of the host's file systems";
    });
    all
}

fn common() -> Vec<Rule> {
    rules! {
        SYS_clone3 => ENOSYS, "its flags lie in memory, where a filter cannot see them; the C library falls back to clone";
        SYS_unshare, SYS_setns => EPERM, "new or other namespaces, see clone";
        SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig,
            SYS_fsmount, SYS_fspick, SYS_mount_setattr => EPERM, "the root is what the plan says";
        SYS_open_by_handle_at => EPERM, "opens any file of a file system by number, past every directory";
        SYS_name_to_handle_at => EOPNOTSUPP, "makes such numbers, which differ on every host";
        SYS_keyctl, SYS_add_key, SYS_request_key => ENOSYS, "keyrings belong to the host's user, not to the namespace";
        SYS_bpf => ENOSYS, "programs in the kernel";
        SYS_perf_event_open => ENOSYS, "measures other processes and the kernel; a history of holes";
        SYS_userfaultfd => ENOSYS, "holds the kernel still in the middle of a copy: a tool of exploits";
        SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register => ENOSYS, "performs calls that no filter sees";
        SYS_init_module, SYS_finit_module, SYS_delete_module => EPERM, "kernel modules";
        SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_vhangup
            => EPERM, "the machine is not the build's";
        SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex => EPERM, "the clock is the host's; even reading its correction tells of it";
        SYS_sethostname, SYS_setdomainname => EPERM, "the host name is part of the plan";
        SYS_syslog => EPERM, "the kernel's log tells of the host";
        SYS_quotactl => EPERM, "disk quotas are the host's";
        SYS_fanotify_init => EPERM, "watches whole file systems";
        SYS_lookup_dcookie => ENOSYS, "kernel profiling";
        SYS_kcmp => EPERM, "compares kernel pointers of processes";
        SYS_move_pages, SYS_migrate_pages => EPERM, "moves the memory of other processes, and tells where memory lies on this machine";
        SYS_quotactl_fd => EPERM, "disk quotas are the host's";
        SYS_memfd_secret => ENOSYS, "memory that no limit reclaims; most kernels lack it";
    }
    .into_iter()
    .chain([
        numbered("SYS_kexec_file_load", KEXEC_FILE_LOAD, libc::EPERM, "the machine is not the build's"),
        numbered("SYS_statmount", 457, libc::ENOSYS, "tells where mounts come from on the host"),
        numbered("SYS_listmount", 458, libc::ENOSYS, "tells where mounts come from on the host"),
        numbered("SYS_open_tree_attr", 467, libc::EPERM, "the root is what the plan says"),
    ])
    .collect()
}

/// The rules of a command that shares the host's network: it makes no sockets but connected pairs.
pub(crate) fn restricted() -> Vec<Rule> {
    let mut all = rules();
    // The first rule of a call is the one that counts.
    all.retain(|rule| rule.number != libc::SYS_socket);
    all.push(numbered(
        "SYS_socket",
        libc::SYS_socket,
        libc::EACCES,
        "it would lead to the network, and to the host's services",
    ));
    all
}

#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: c_long = 320;
#[cfg(not(target_arch = "x86_64"))]
const KEXEC_FILE_LOAD: c_long = 294;

/// A rule for a call that libc has no name for on every architecture.
fn numbered(name: &'static str, number: c_long, answer: i32, reason: &'static str) -> Rule {
    Rule { name, number, condition: Condition::Always, answer, reason }
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Offset of the low half of an argument in `struct seccomp_data`.
fn argument_offset(argument: u8) -> u32 {
    let low = if cfg!(target_endian = "big") { 4 } else { 0 };
    16 + 8 * u32::from(argument) + low
}

#[allow(clippy::cast_sign_loss, reason = "errnos are small and positive")]
fn refuse(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | (errno as u32 & 0xffff)
}

/// The filter as the kernel wants it. The `supervised` calls wait for an answer.
#[must_use]
pub fn program(rules: &[Rule], supervised: &[(c_long, Condition)]) -> Vec<sock_filter> {
    let mut program = vec![
        instruction(LOAD, 4, 0, 0),
        instruction(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        instruction(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        instruction(LOAD, 0, 0, 0),
        // Numbers with the x32 bit are higher than every native one.
        instruction(JUMP_GREATER, NEWEST, 0, 1),
        instruction(RETURN, refuse(libc::ENOSYS), 0, 0),
    ];
    let notify = instruction(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0);
    let supervised = supervised.iter().map(|(number, condition)| (*number, body(*condition, notify)));
    let refused = |rule: &Rule| instruction(RETURN, refuse(rule.answer), 0, 0);
    let rules = rules.iter().map(|rule| (rule.number, body(rule.condition, refused(rule))));
    for (number, body) in supervised.chain(rules) {
        let Ok(length) = u8::try_from(body.len()) else {
            continue;
        };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        program.push(instruction(JUMP_EQUAL, number, 0, length));
        program.extend(body);
    }
    program.push(instruction(RETURN, ALLOW, 0, 0));
    program
}

/// What follows when a call's number matched: `matched` where the condition holds. It always ends with an answer.
fn body(condition: Condition, matched: sock_filter) -> Vec<sock_filter> {
    let allowed = instruction(RETURN, ALLOW, 0, 0);
    let compare = |argument: u8, values: &[u32], found, not_found| {
        let mut body = vec![instruction(LOAD, argument_offset(argument), 0, 0)];
        for value in values {
            body.push(instruction(JUMP_EQUAL, *value, 0, 1));
            body.push(found);
        }
        body.push(not_found);
        body
    };
    match condition {
        Condition::Always => vec![matched],
        Condition::AnyBit { argument, bits } => vec![
            instruction(LOAD, argument_offset(argument), 0, 0),
            instruction(JUMP_ANY_BIT, bits, 0, 1),
            matched,
            allowed,
        ],
        Condition::OneOf { argument, values } => compare(argument, values, matched, allowed),
        Condition::NoneOf { argument, values } => compare(argument, values, allowed, matched),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_documented() {
        let document = include_str!("../../docs/design/sandbox.md");
        for rule in rules() {
            let name = format!("`{}`", rule.name.trim_start_matches("SYS_"));
            let found = document
                .lines()
                .any(|line| line.starts_with('|') && line.contains(&name) && line.contains(rule.reason));
            assert!(found, "{name} with its reason is not in docs/design/sandbox.md");
        }
    }

    /// What the kernel would make of a call: the few instructions that a program here is made of.
    fn answer(architecture: u32, number: u32, arguments: [u64; 3]) -> u32 {
        let program = program(&rules(), &supervised(true));
        let (mut at, mut value) = (0, 0);
        loop {
            let step = program[at];
            let jump = |taken| usize::from(if taken { step.jt } else { step.jf });
            at += 1;
            match step.code {
                LOAD if step.k == 0 => value = number,
                LOAD if step.k == 4 => value = architecture,
                LOAD => {
                    let argument = arguments[(step.k as usize - 16) / 8];
                    value = u32::try_from(argument & 0xffff_ffff).expect("it is masked");
                }
                JUMP_EQUAL => at += jump(value == step.k),
                JUMP_GREATER => at += jump(value > step.k),
                JUMP_ANY_BIT => at += jump(value & step.k != 0),
                RETURN => return step.k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn calls_get_the_answers_of_their_rules() {
        let of = |call: c_long, arguments| answer(ARCHITECTURE, u32::try_from(call).expect("small"), arguments);
        let refused = refuse;
        assert_eq!(of(libc::SYS_read, [0; 3]), ALLOW);
        assert_eq!(answer(0x4000_0003, 20, [0; 3]), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(answer(ARCHITECTURE, NEWEST + 1, [0; 3]), refused(libc::ENOSYS));
        assert_eq!(answer(ARCHITECTURE, NEWEST, [0; 3]), ALLOW);
        // x32: the same numbers with a bit, and 512 to 547 of its own.
        assert_eq!(answer(ARCHITECTURE, 0x4000_0000, [0; 3]), refused(libc::ENOSYS));
        assert_eq!(answer(ARCHITECTURE, 0x4000_0208, [0; 3]), refused(libc::ENOSYS));
        assert_eq!(answer(ARCHITECTURE, u32::MAX, [0; 3]), refused(libc::ENOSYS));
        assert_eq!(of(libc::SYS_clone3, [0; 3]), refused(libc::ENOSYS));
        assert_eq!(of(libc::SYS_clone, [17, 0, 0]), ALLOW);
        assert_eq!(of(libc::SYS_clone, [0x003d_0f00, 0, 0]), ALLOW, "a thread");
        for namespace in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(of(libc::SYS_clone, [namespace | 0x11, 0, 0]), refused(libc::EPERM), "{namespace:#x}");
        }
        assert_eq!(of(libc::SYS_ioctl, [0, 0x5412, 0]), refused(libc::EPERM));
        assert_eq!(of(libc::SYS_ioctl, [0, 0xffff_ffff_0000_541c, 0]), refused(libc::EPERM));
        assert_eq!(of(libc::SYS_ioctl, [0, 0x5413, 0]), ALLOW);
        for family in 0..64 {
            let expected = if [1, 2, 10, 16].contains(&family) { ALLOW } else { refused(libc::EAFNOSUPPORT) };
            assert_eq!(of(libc::SYS_socket, [family, 0, 0]), expected, "{family}");
        }
        assert_eq!(of(libc::SYS_uname, [0; 3]), libc::SECCOMP_RET_USER_NOTIF);
        assert_eq!(of(libc::SYS_fchownat, [0; 3]), libc::SECCOMP_RET_USER_NOTIF);
        for (mode, answer) in
            [(0o020_600, true), (0o060_600, true), (0o100_600, false), (0o010_600, false), (0o140_600, false)]
        {
            let expected = if answer { libc::SECCOMP_RET_USER_NOTIF } else { ALLOW };
            assert_eq!(of(libc::SYS_mknodat, [0, 0, mode]), expected, "{mode:o}");
        }
        for rule in rules().iter().filter(|rule| rule.condition == Condition::Always) {
            assert_eq!(of(rule.number, [0; 3]), refused(rule.answer), "{}", rule.name);
        }
    }

    #[test]
    fn every_jump_lands_in_the_program() {
        for supervised in [Vec::new(), supervised(false), supervised(true)] {
            let program = program(&rules(), &supervised);
            assert!(program.len() < 4096);
            for (index, instruction) in program.iter().enumerate() {
                let jumps = [JUMP_EQUAL, JUMP_GREATER, JUMP_ANY_BIT].contains(&instruction.code);
                let furthest = usize::from(instruction.jt.max(instruction.jf));
                assert!(!jumps || index + 1 + furthest < program.len(), "instruction {index}");
            }
            assert_eq!(program.last().map(|last| (last.code, last.k)), Some((RETURN, ALLOW)));
        }
    }

    #[test]
    fn no_call_has_two_rules() {
        let supervised = FACTS.iter().chain(&OWNERSHIP).map(|(number, _)| *number);
        let mut numbers: Vec<c_long> = rules().iter().map(|rule| rule.number).chain(supervised).collect();
        numbers.sort_unstable();
        let count = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
