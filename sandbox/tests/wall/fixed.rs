// sandbox/tests/wall/fixed.rs
//! What a command sees is the same on every host.

use std::fs;
use std::os::unix::fs::MetadataExt;

use sandbox::{Level, SandboxError};

use crate::common::{Kitchen, bind, hostile};

#[test]
fn environment_is_closed() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    for level in [Level::Full, Level::None] {
        kitchen.plan.level = level;
        kitchen.plan.directory = "/".to_owned();
        assert_eq!(kitchen.run(["env"]).output, "PATH=/usr/bin:/bin\nLC_ALL=C\n");
    }
}

#[test]
fn identity_is_1000_and_others_are_nobody() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    let shown = kitchen.beside("shown");
    kitchen.plan.binds.push(bind(&shown, "/shown", false));
    fs::write(kitchen.build().join("given"), "").expect("a file");
    let (uid, gid) = sandbox::build_owner();
    std::os::unix::fs::chown(kitchen.build().join("given"), Some(uid), Some(gid)).expect("chown");
    let ran = kitchen
        .sh("id; touch made; stat -c '%u:%g %n' given made /usr /proc/sys/kernel; umask; hostname; whoami; pwd; \
         stat -c %a made");
    assert_eq!(
        ran.output,
        "uid=1000(builder) gid=1000(builder) groups=1000(builder)\n1000:1000 given\n1000:1000 made\n\
         65534:65534 /usr\n1000:1000 /proc/sys/kernel\n0022\nkitchen\nbuilder\n/build\n644\n"
    );
    let made = fs::metadata(kitchen.build().join("made")).expect("it is there");
    assert_eq!((made.uid(), made.gid()), (uid, gid));
    if rustix::process::geteuid().is_root() {
        assert_ne!(uid, 0);
        // Files of the host's root are nobody's, and readable only as nobody's.
        fs::write(shown.join("private"), "secret").expect("a file");
        fs::set_permissions(shown.join("private"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
        assert_eq!(
            kitchen.sh("stat -c %u /shown; cat /shown/private").output,
            "65534\ncat: /shown/private: Permission denied\n"
        );
    }
}

#[test]
fn host_facts_are_hidden() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    for file in [
        "cmdline",
        "version",
        "cpuinfo",
        "meminfo",
        "uptime",
        "loadavg",
        "stat",
        "modules",
        "interrupts",
        "diskstats",
        "vmstat",
        "zoneinfo",
        "kallsyms",
        "config.gz",
        "keys",
        "key-users",
        "partitions",
        "swaps",
        "devices",
        "filesystems",
        "iomem",
        "ioports",
        "softirqs",
        "buddyinfo",
        "cgroups",
        "consoles",
        "crypto",
        "misc",
        "locks",
        "sys/kernel/osrelease",
        "sys/kernel/version",
        "sys/kernel/random/boot_id",
        "sys/kernel/hostname",
        "sys/kernel/pid_max",
        "sys/vm/max_map_count",
        "sys/fs/file-max",
        "sys/fs/file-nr",
        "sys/fs/inode-nr",
    ] {
        let Ok(host) = fs::read(format!("/proc/{file}")) else {
            continue;
        };
        let inside = kitchen.run(["cat", &format!("/proc/{file}")]);
        // What is the same on every machine may be the same inside.
        let constant = ["swaps", "sys/kernel/pid_max", "sys/vm/max_map_count"].contains(&file) || host.is_empty();
        assert!(constant || inside.output.as_bytes() != host, "/proc/{file} is the host's");
    }
    let ran = kitchen.sh("cat /proc/sys/kernel/osrelease; cat /proc/cmdline; find /proc/sys -type f | wc -l; ls /proc/fs /proc/bus /proc/irq");
    assert_eq!(ran.output, "6.1.0\n\n21\n/proc/bus:\n\n/proc/fs:\n\n/proc/irq:\n");
    let nproc = kitchen.sh("nproc; grep -c ^processor /proc/cpuinfo").output;
    let allowed = std::thread::available_parallelism().expect("a number").get();
    assert_eq!(nproc, format!("{allowed}\n{allowed}\n"));
}

#[test]
fn kernel_names_are_fixed() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let machine = std::env::consts::ARCH;
    let expected =
        format!("uname ok\nLinux|kitchen|6.1.0|#1 SMP PREEMPT_DYNAMIC|{machine}|(none)\nuname to nowhere EFAULT\n");
    let ran = kitchen.hostile(&["kernel"]);
    assert_eq!((ran.output.as_str(), ran.applied("uname")), (expected.as_str(), "fixed"));
    // Many at once, and a static program, which no preloaded library would reach.
    let ran = kitchen.sh("for i in 1 2 3 4 5 6 7 8; do (uname -r; uname -v) & done | sort | uniq -c; wait");
    let words: Vec<&str> = ran.output.split_whitespace().collect();
    assert_eq!(words, ["8", "#1", "SMP", "PREEMPT_DYNAMIC", "8", "6.1.0"]);
    if hostile().with_file_name("hostile-static").exists() {
        assert_eq!(kitchen.run(["/hostile/hostile-static", "kernel"]).output, expected);
    }
}

#[test]
fn clocks_and_addresses_start_alike() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let first = kitchen.hostile(&["clocks"]).output;
    std::thread::sleep(std::time::Duration::from_millis(20));
    let second = kitchen.hostile(&["clocks"]).output;
    let addresses = |text: &str| text.lines().last().map(str::to_owned);
    assert_eq!(addresses(&first), addresses(&second));
    if fs::exists("/proc/self/timens_offsets").expect("a look at /proc") {
        for line in first.lines().take(2) {
            let secs: u64 = line.rsplit(' ').next().and_then(|secs| secs.parse().ok()).expect("a number");
            assert!((99..110).contains(&secs), "{first}");
        }
    }
}

#[test]
fn limits_do_not_follow_the_host() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let ran = kitchen.sh("ulimit -c; ulimit -n; ulimit -s; ulimit -Hn; cat /proc/self/personality 2>/dev/null");
    let lines: Vec<&str> = ran.output.lines().collect();
    assert_eq!(&lines[..3], ["0", "1024", "8192"]);
    assert_eq!(lines.last(), Some(&"00040000"));
}

#[test]
fn devices_are_the_few_that_programs_need() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let ran = kitchen.sh("ls /dev | tr '\\n' ' '; head -c 4 /dev/zero | wc -c; echo gone > /dev/null; \
         head -c 3 /dev/urandom | wc -c; (echo > /dev/full) 2>/dev/null || echo full; \
         echo hi | cat /dev/stdin; echo hi > /dev/stderr; echo x > /dev/shm/x && cat /dev/shm/x");
    assert_eq!(
        ran.output,
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero 4\n3\nfull\nhi\nhi\nx\n"
    );
}

#[test]
fn wrong_plans_are_refused() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let refused = |change: &dyn Fn(&mut sandbox::Plan)| {
        let Some(mut kitchen) = Kitchen::new() else { panic!("there was one") };
        change(&mut kitchen.plan);
        kitchen.try_run(["true"]).expect_err("it is wrong")
    };
    for target in ["build", "/build/../etc", "/usr/x", "/proc", "/etc/passwd", "/", "/a//b"] {
        let error = refused(&|plan| plan.binds[0].target = target.to_owned());
        assert!(matches!(error, SandboxError::Plan { .. }), "{target}: {error}");
    }
    let error = refused(&|plan| plan.binds[0].source = "/nonexistent/x".into());
    assert!(matches!(error, SandboxError::Source { .. }) && error.hint().is_some(), "{error}");
    let error = refused(&|plan| plan.environment.push(("A=B".to_owned(), "x".into())));
    assert!(matches!(error, SandboxError::Plan { .. }), "{error}");
    let error = refused(&|plan| plan.directory = "/nonexistent".to_owned());
    assert_eq!(error.to_string(), "cannot make the sandbox (step: enter the directory)");
    let error = refused(&|plan| plan.directory = ".".to_owned());
    assert!(matches!(error, SandboxError::Plan { .. }), "{error}");
    let error = kitchen.try_run(["/nonexistent/program"]).expect_err("it is wrong");
    assert!(matches!(&error, SandboxError::Command { program, .. } if program == "/nonexistent/program"));
    assert!(error.hint().is_some());
    let error = kitchen.try_run(["no-such-program"]).expect_err("it is wrong");
    assert_eq!(error.to_string(), "cannot start no-such-program in the sandbox");
    let error = kitchen.try_run(Vec::<String>::new()).expect_err("it is wrong");
    assert_eq!(error.to_string(), "the sandbox's plan is wrong: no command");
}

#[test]
fn what_names_a_machine_or_a_session_is_not_there() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    // Each line: what is looked at, and what everybody sees.
    let looks = [
        ("cat /proc/sys/kernel/random/boot_id", "00000000-0000-4000-8000-000000000000"),
        ("ls /etc/machine-id /var/lib/dbus/machine-id /etc/hostid /sys/class/dmi 2>/dev/null | wc -l", "0"),
        ("ls /etc/localtime /etc/timezone /etc/default/locale /etc/locale.conf 2>/dev/null | wc -l", "0"),
        ("date +%Z%z", "UTC+0000"),
        ("hostname; cat /proc/sys/kernel/domainname", "kitchen\n(none)"),
        ("umask", "0022"),
        ("pwd; cd -P .; pwd", "/build\n/build"),
        ("cat /proc/keys /proc/key-users 2>/dev/null | wc -l", "0"),
        // The session is the command's own, and no terminal is its.
        ("ps -o sid= -p $$ | tr -d ' ' | sed s/$$/own/; ps -o tty= -p $$", "own\n?"),
        ("cat /proc/self/personality", "00040000"),
        ("cat /proc/self/oom_score_adj", "500"),
        ("cat /dev/stdin | wc -c", "0"),
    ];
    for (look, expected) in looks {
        assert_eq!(kitchen.sh(look).output.trim_end(), expected, "{look}");
    }
}
