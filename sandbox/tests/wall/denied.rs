// sandbox/tests/wall/denied.rs
//! What a command must not be able to do.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use sandbox::Status;

use crate::common::{Kitchen, bind, hostile};

#[test]
fn network_is_out_of_reach() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let name = format!("conary-test-{}", std::process::id());
    let address = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name)
        .expect("a name");
    let _abstract = UnixListener::bind_addr(&address).expect("an abstract socket");
    let path = kitchen.directory.path().join("socket");
    let _path = UnixListener::bind(&path).expect("a socket");
    let path = path.to_str().expect("text");

    // On the host all three answer.
    let outside = Command::new(hostile()).args(["reach", &port, &name, path]).output().expect("it runs");
    let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
    assert!(
        outside
            .starts_with("connect to the host ok\nconnect to the abstract socket ok\nconnect to the path socket ok\n")
    );

    let ran = kitchen.hostile(&["reach", &port, &name, path]);
    assert_eq!(
        ran.output,
        "connect to the host ECONNREFUSED\nconnect to the abstract socket ECONNREFUSED\n\
         connect to the path socket ENOENT\nconnect to the world ENETUNREACH\nconnect to ourselves ok\n"
    );
    assert_eq!(
        kitchen.sh("cat /proc/net/dev | sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p'; cat /etc/resolv.conf").output,
        "lo\ncat: /etc/resolv.conf: No such file or directory\n"
    );
}

#[test]
fn host_files_are_not_there() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let secret = kitchen.directory.path().join("secret");
    fs::write(&secret, "secret").expect("a file");
    let ran = kitchen.sh(&format!(
        "for path in /root /home /sys /mnt /opt /srv /boot /etc/shadow /etc/machine-id /etc/resolv.conf /etc/ssl \
         /var/lib /run/lock /.dockerenv {}; do test -e $path && echo $path; done; \
         ls /usr/local /run /tmp; ls -A /; ls -A /etc",
        secret.display()
    ));
    let expected_links = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];
    let lines: Vec<&str> =
        ran.output.lines().filter(|line| !line.is_empty() && !expected_links.contains(line)).collect();
    assert_eq!(
        lines,
        [
            "/run:",
            "/tmp:",
            "/usr/local:",
            "build",
            "dev",
            "etc",
            "hostile",
            "proc",
            "run",
            "tmp",
            "usr",
            "var",
            "alternatives",
            "group",
            "host.conf",
            "hosts",
            "ld.so.cache",
            "nsswitch.conf",
            "passwd",
            "protocols",
            "services",
        ]
    );
}

#[test]
fn only_build_and_scratch_are_writable() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    let shown = kitchen.beside("shown");
    fs::write(shown.join("file"), "as it was").expect("a file");
    kitchen.plan.binds.push(bind(&shown, "/shown", false));
    let ran = kitchen.sh(
        "for place in / /usr /usr/bin /usr/local /etc /etc/alternatives /dev /dev/pts /proc /proc/sys /var /run \
         /hostile /shown /build /tmp /dev/shm /var/tmp; do \
         if (echo > $place/new) 2>/dev/null; then echo $place; fi; done; \
         (echo > /shown/file) 2>/dev/null && echo over; (: >> /usr/bin/env) 2>/dev/null && echo appended; \
         (echo > /etc/passwd) 2>/dev/null && echo passwd; (echo > /proc/cpuinfo) 2>/dev/null && echo cpuinfo; \
         rm -rf /shown/file /usr/share/doc 2>/dev/null; chmod 777 / 2>/dev/null && echo chmod; \
         mount -o remount,rw /usr 2>/dev/null && echo remounted; true",
    );
    assert_eq!(ran.output, "/build\n/tmp\n/dev/shm\n/var/tmp\n");
    assert!(kitchen.build().join("new").exists());
    assert_eq!(fs::read_to_string(shown.join("file")).expect("it is there"), "as it was");
}

#[test]
fn other_processes_are_out_of_reach() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let mut victim = Command::new("sleep").arg("1000").spawn().expect("it runs");
    let ran = kitchen.hostile(&["outsiders", &victim.id().to_string()]);
    victim.kill().expect("it lives");
    victim.wait().expect("it ends");
    let expected = "kill ESRCH\nptrace ESRCH\nprocess_vm_readv ESRCH\npidfd_open ESRCH\n\
        ptrace 1 EPERM\nprocess_vm_readv 1 EPERM\nopen /proc/1/environ ENOENT\nopen /proc/1/root ENOENT\n\
        open /proc/1/exe ENOENT\nopen /proc/1/fd ENOENT\nopen /proc/self/exe for writing EACCES\n";
    // The kernel may look at the running program before it looks at the rights.
    let output = ran.output.replace("ETXTBSY", "EACCES").replace("EROFS", "EACCES");
    let (before, after) = output.split_at(expected.len().min(output.len()));
    assert_eq!(before, expected);
    // Landlock scopes signals from version 6 on.
    assert!(
        ["pid 1 is alive EPERM", "pid 1 is alive ok"].contains(&after.lines().next().unwrap_or_default().trim()),
        "{after}"
    );
    assert!(after.ends_with("ptrace of a child ok\n"));
    let numbers = kitchen.sh("ls /proc | grep -c '^[0-9]'; ls /proc | grep -x 1").output;
    assert!(numbers.trim().parse::<u32>().expect("no process 1 in it") <= 4, "{numbers}");
}

#[test]
fn dangerous_calls_are_refused() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let expected = "keyctl ENOSYS\nadd_key ENOSYS\nrequest_key ENOSYS\nbpf ENOSYS\nperf_event_open ENOSYS\n\
        userfaultfd ENOSYS\nio_uring_setup ENOSYS\nio_uring_enter ENOSYS\nio_uring_register ENOSYS\nclone3 ENOSYS\n\
        clone(newuser) EPERM\nclone(newnet) EPERM\nunshare EPERM\nsetns EPERM\nmount EPERM\numount2 EPERM\n\
        pivot_root EPERM\nchroot EPERM\nopen_tree EPERM\nmove_mount EPERM\nfsopen EPERM\nfspick EPERM\n\
        mount_setattr EPERM\nstatmount ENOSYS\nlistmount ENOSYS\nopen_tree_attr EPERM\ncall 500 ENOSYS\n\
        open_by_handle_at EPERM\nname_to_handle_at EOPNOTSUPP\ninit_module EPERM\nkexec_load EPERM\nreboot EPERM\n\
        swapon EPERM\nacct EPERM\nsettimeofday EPERM\nclock_settime EPERM\nadjtimex EPERM\nsethostname EPERM\n\
        setdomainname EPERM\nsyslog EPERM\nquotactl EPERM\nfanotify_init EPERM\nkcmp EPERM\nmove_pages EPERM\n\
        setuid EINVAL\nsetgid EINVAL\ngroups 0\nfamily 1\nfamily 2\nfamily 10\nfamily 16\n";
    assert_eq!(kitchen.hostile(&["calls"]).output.replace("family 10\n", ""), expected.replace("family 10\n", ""));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn foreign_entries_are_closed() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    assert_eq!(kitchen.hostile(&["x32"]).output, "x32 getpid ENOSYS\n");
    let ran = kitchen.hostile(&["i386"]);
    assert_eq!((ran.status(), ran.output.as_str()), (Status::Signaled(31), ""));
}

#[test]
fn terminals_cannot_be_typed_into() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    assert_eq!(
        kitchen.hostile(&["terminal"]).output,
        "openpt ok\nopen line ok\nTIOCSTI EPERM\nTIOCSTI with high bits EPERM\nTIOCLINUX EPERM\nTIOCGWINSZ ok\n\
         open tty ok\n"
    );
    assert_eq!(kitchen.sh("tty; (: < /dev/tty) 2>/dev/null || echo none").output, "not a tty\nnone\n");
}

#[test]
fn device_nodes_cannot_be_made() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let ran = kitchen.hostile(&["nodes"]);
    let whiteout = if ran.applied("landlock") == "none" { "ok" } else { "EACCES" };
    let refusal = if ran.applied("landlock") == "none" { "EPERM" } else { "EACCES" };
    assert_eq!(
        ran.output,
        format!("character device {refusal}\nblock device {refusal}\nwhiteout {whiteout}\nfifo ok\n")
    );
}

#[test]
fn no_descriptor_is_inherited() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    // A descriptor that would stay open across exec, as a careless program has them.
    let file = fs::File::open("/").expect("a directory");
    let leaked = leak(&file);
    let ran =
        kitchen.sh("ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> \\(.*\\)/\\1 \\2/p' | sed 's/:.*//; s/fd$/fd/'");
    drop(leaked);
    let lines: Vec<&str> = ran.output.lines().collect();
    assert_eq!(lines.len(), 4, "{}", ran.output);
    assert_eq!(lines[0], "0 /dev/null");
    assert!(lines[1].starts_with("1 pipe") && lines[2].starts_with("2 pipe"), "{}", ran.output);
    assert!(lines[3].starts_with("3 /proc/"), "{}", ran.output);
}

/// A copy of a descriptor that stays open across exec.
#[allow(unsafe_code, reason = "the standard library makes only descriptors that close at exec")]
fn leak(file: &fs::File) -> OwnedFd {
    // SAFETY: the number is fresh and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(libc::dup(file.as_raw_fd())) }
}

#[test]
fn no_privilege_is_left() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let ran = kitchen.sh("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status");
    let none = "0000000000000000";
    assert_eq!(
        ran.output,
        format!(
            "CapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\nCapAmb:\t{none}\nNoNewPrivs:\t1\n\
             Seccomp:\t2\n"
        )
    );
    let places = ["/", "/usr", "/etc", "/proc", "/dev", "/dev/null", "/dev/pts", "/dev/shm", "/tmp", "/build"];
    let words: Vec<&str> = ["mounts"].iter().chain(&places).copied().collect();
    let expected = places.map(|place| format!("{place} nosuid\n")).concat();
    assert_eq!(kitchen.hostile(&words).output, expected);
}

#[test]
fn mounts_cannot_be_listed_or_reached() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    let shown = kitchen.beside("a-telling-name");
    kitchen.plan.binds.push(bind(&shown, "/shown", true));
    let ran = kitchen.sh("cat /proc/self/mountinfo /proc/self/mounts /proc/self/mountstats /proc/1/mountinfo 2>/dev/null | wc -l; \
         cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups | tr -s ' '; ls /; cd /shown/..; pwd -P; ls -d shown");
    let lines: Vec<&str> = ran.output.lines().map(str::trim).collect();
    assert_eq!(lines[..4], ["0", "1000 1000 1", "1000 1000 1", "deny"], "{}", ran.output);
    assert_eq!(lines[lines.len() - 2..], ["/", "shown"], "{}", ran.output);
    assert!(!lines.contains(&"work") && lines.contains(&"build"), "{}", ran.output);
}

#[test]
fn secrets_of_the_caller_do_not_show() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    // Pid 1 is a copy of this process, whose command line and memory stay its own.
    let mut own = String::new();
    fs::File::open("/proc/self/comm").expect("it is there").read_to_string(&mut own).expect("text");
    let ran = kitchen.sh("cat /proc/1/comm /proc/1/cmdline /proc/1/environ /proc/1/maps 2>/dev/null; ps -e -o pid= 2>/dev/null | grep -x ' *1'");
    assert_eq!(ran.output, "");
}

#[test]
fn an_open_file_cannot_be_handed_out() {
    let (Some(kitchen), Some(other)) = (Kitchen::new(), Kitchen::new()) else {
        return;
    };
    let name = format!("conary-test-{}", std::process::id());
    thread::scope(|scope| {
        let holder = scope.spawn(|| kitchen.hostile(&["hand-out", &name, "/build/socket"]));
        for _ in 0..500 {
            if kitchen.build().join("socket").exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Not to the host, and not to another build, each of which knows the names.
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let refused = UnixStream::connect_addr(&address).expect_err("nobody listens here");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let reached = other.hostile(&["reach", "1", &name, "/build/socket"]).output;
        for line in ["connect to the abstract socket ECONNREFUSED\n", "connect to the path socket ENOENT\n"] {
            assert!(reached.contains(line), "{reached}");
        }
        fs::write(kitchen.build().join("enough"), "").expect("a file");
        let said = holder.join().expect("it ran").output;
        assert_eq!(said, "listen at an abstract name ok\nlisten at a path ok\nend\n");
    });
}

#[test]
fn set_id_bits_and_file_capabilities_give_nothing() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    assert_eq!(
        kitchen.hostile(&["privileges"]).output,
        "fchmodat2 ok\nchmod ok\nfchmod ok\nfchmodat ok\nsecurity.capability EPERM\n\
         security.capability by descriptor EPERM\ntrusted.x EPERM\nagain 1000 1000 1000 1000, secure 0, capabilities 0\n"
    );
}

#[test]
fn a_directory_that_is_a_descriptor_leads_nowhere() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    // Descriptors of the host's directories, as a careless caller has them open.
    let held: Vec<_> = (0..8).map(|_| leak(&fs::File::open("/").expect("a directory"))).collect();
    let top = kitchen.sh("stat -c %d:%i /").output;
    for number in 3..40 {
        for above in ["", "/../../../.."] {
            kitchen.plan.directory = format!("/proc/self/fd/{number}{above}");
            let script = "i=0; while [ $i -lt 40 ]; do cd -P ..; i=$((i + 1)); done; stat -c %d:%i .";
            match kitchen.try_run(["/bin/sh", "-c", script]) {
                // Wherever it leads, above it is our own root.
                Ok(ran) => assert_eq!(ran.output, top, "{}", kitchen.plan.directory),
                Err(error) => assert!(error.to_string().contains("enter the directory"), "{error}"),
            }
        }
    }
    drop(held);
}

#[test]
fn there_is_no_way_to_another_control_group() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    kitchen.plan.limits.memory_bytes = Some(256 << 20);
    let ran =
        kitchen.sh("ls -d /sys /sys/fs/cgroup 2>/dev/null; (echo 1 > /proc/self/cgroup) 2>/dev/null && echo written; \
         mkdir /tmp/group; mount -t cgroup2 none /tmp/group 2>/dev/null && echo mounted; \
         mount -t cgroup -o memory none /tmp/group 2>/dev/null && echo mounted; true");
    assert_eq!(ran.output, "");
}
