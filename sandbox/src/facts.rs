// sandbox/src/facts.rs
//! The fixed facts that a sandbox shows in place of the host's: its own `/etc`, and the files of `/proc`
//! that would name the machine, its kernel, its load or its time since boot.
//!
//! Everything here is constant, except the number of processors, which follows what the command may use.
//! A change to any of it is a change to what builds see: raise [`crate::POLICY_VERSION`] with it.

use std::fmt::Write as _;

/// The host name inside.
pub const HOST_NAME: &str = "kitchen";
/// The kernel release that `/proc` and, under a supervisor, `uname` tell.
pub const KERNEL_RELEASE: &str = "6.1.0";
/// The kernel version that `/proc` and, under a supervisor, `uname` tell.
pub const KERNEL_VERSION: &str = "#1 SMP PREEMPT_DYNAMIC";

const MEMORY_KIB: u64 = 16 << 20;

/// Files of `/etc`, name and content.
pub const ETC: [(&str, &str); 7] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         builder:x:1000:1000:builder:/build:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("group", "root:x:0:\ntty:x:5:\nbuilder:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost kitchen\n::1 localhost ip6-localhost kitchen\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n"),
    ("host.conf", "multi on\n"),
    ("protocols", "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6 41 IPv6\nipv6-icmp 58 IPv6-ICMP\n"),
    (
        "services",
        "echo 7/tcp\nftp 21/tcp\nssh 22/tcp\ntelnet 23/tcp\nsmtp 25/tcp\ndomain 53/tcp\ndomain 53/udp\n\
         http 80/tcp\npop3 110/tcp\nntp 123/udp\nimap2 143/tcp\nhttps 443/tcp\n",
    ),
];

/// Files of `/proc` that are replaced, name and content, where the kernel has them.
pub fn proc_files(processors: u32) -> Vec<(&'static str, String)> {
    vec![
        ("cmdline", "\n".to_owned()),
        ("version", format!("Linux version {KERNEL_RELEASE} (builder@kitchen) (cc) {KERNEL_VERSION}\n")),
        ("cpuinfo", cpuinfo(processors)),
        ("meminfo", meminfo()),
        ("uptime", "100.00 100.00\n".to_owned()),
        ("loadavg", "0.00 0.00 0.00 1/1 1\n".to_owned()),
        ("stat", stat(processors)),
        ("filesystems", "nodev\tproc\nnodev\ttmpfs\n\text4\n".to_owned()),
        ("devices", "Character devices:\n  1 mem\n  5 /dev/tty\n136 pts\n\nBlock devices:\n".to_owned()),
        ("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_owned()),
        ("partitions", "major minor  #blocks  name\n\n".to_owned()),
    ]
}

/// Files of `/proc` that are empty inside, where the kernel has them. Those that only the host's root may
/// read (`kcore`, `kmsg`, `slabinfo` …) need no cover: inside, nobody is that.
pub const PROC_EMPTY: [&str; 31] = [
    "bootconfig",
    "buddyinfo",
    "cgroups",
    "config.gz",
    "consoles",
    "crypto",
    "diskstats",
    "dma",
    "execdomains",
    "fb",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "key-users",
    "keys",
    "latency_stats",
    "locks",
    "mdstat",
    "misc",
    "modules",
    "mtrr",
    "profile",
    "sched_debug",
    "schedstat",
    "softirqs",
    "timer_stats",
    "version_signature",
    "vmcore",
    "vmstat",
    "zoneinfo",
];

/// Directories of `/proc` that are empty inside, where the kernel has them.
pub const PROC_EMPTY_DIRECTORIES: [&str; 13] =
    ["acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "mpt", "pressure", "scsi", "tty", "vz", "xen"];

/// The directories and files of `/proc/sys`, in which nothing else stands. Parents come first; a
/// directory has no content.
pub const PROC_SYS: [(&str, Option<&str>); 28] = [
    ("crypto", None),
    ("crypto/fips_enabled", Some("0\n")),
    ("fs", None),
    ("fs/file-max", Some("1048576\n")),
    ("fs/nr_open", Some("1048576\n")),
    ("fs/pipe-max-size", Some("1048576\n")),
    ("kernel", None),
    ("kernel/cap_last_cap", Some("40\n")),
    ("kernel/core_pattern", Some("core\n")),
    ("kernel/domainname", Some("(none)\n")),
    ("kernel/hostname", Some("kitchen\n")),
    ("kernel/ngroups_max", Some("65536\n")),
    ("kernel/osrelease", Some("6.1.0\n")),
    ("kernel/ostype", Some("Linux\n")),
    ("kernel/overflowgid", Some("65534\n")),
    ("kernel/overflowuid", Some("65534\n")),
    ("kernel/pid_max", Some("4194304\n")),
    ("kernel/random", None),
    ("kernel/random/boot_id", Some("00000000-0000-4000-8000-000000000000\n")),
    ("kernel/shmmax", Some("18446744073692774399\n")),
    ("kernel/threads-max", Some("65536\n")),
    ("kernel/version", Some("#1 SMP PREEMPT_DYNAMIC\n")),
    ("net", None),
    ("net/core", None),
    ("net/core/somaxconn", Some("4096\n")),
    ("vm", None),
    ("vm/max_map_count", Some("65530\n")),
    ("vm/overcommit_memory", Some("0\n")),
];

fn cpuinfo(processors: u32) -> String {
    let mut text = String::new();
    for number in 0..processors {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "processor\t: {number}\nvendor_id\t: Conary\ncpu family\t: 0\nmodel\t\t: 0\n\
             model name\t: {}\nstepping\t: 0\ncpu MHz\t\t: 1000.000\nphysical id\t: 0\n\
             siblings\t: {processors}\ncore id\t\t: {number}\ncpu cores\t: {processors}\n\
             bogomips\t: 2000.00\nflags\t\t:\n",
            std::env::consts::ARCH
        );
    }
    text
}

fn meminfo() -> String {
    let mut text = String::new();
    for (name, kib) in [
        ("MemTotal", MEMORY_KIB),
        ("MemFree", MEMORY_KIB),
        ("MemAvailable", MEMORY_KIB),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Shmem", 0),
        ("Committed_AS", 0),
    ] {
        let _ = writeln!(text, "{:<15} {kib:>8} kB", format!("{name}:"));
    }
    text
}

fn stat(processors: u32) -> String {
    let zeros = "0 0 0 0 0 0 0 0 0 0";
    let mut text = format!("cpu  {zeros}\n");
    for number in 0..processors {
        let _ = writeln!(text, "cpu{number} {zeros}");
    }
    text + "intr 0\nctxt 0\nbtime 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_has_a_line() {
        assert_eq!(cpuinfo(3).lines().filter(|line| line.starts_with("processor\t:")).count(), 3);
        assert_eq!(stat(3).lines().filter(|line| line.starts_with("cpu")).count(), 4);
    }

    #[test]
    fn parents_come_first() {
        for (index, (path, _)) in PROC_SYS.iter().enumerate() {
            if let Some((parent, _)) = path.rsplit_once('/') {
                assert!(PROC_SYS[..index].iter().any(|(known, content)| *known == parent && content.is_none()));
            }
        }
    }
}
