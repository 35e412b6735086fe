// sandbox/tests/wall/contained.rs
//! What a command may try, and what it then meets: limits, ends, and nothing that stays behind.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sandbox::{Level, Limits, Status};

use crate::common::{Kitchen, bind};

#[test]
fn status_and_output_come_back() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let ran = kitchen.sh("echo one; echo two >&2; exit 3");
    assert_eq!((ran.status(), ran.output.as_str()), (Status::Exited(3), "one\ntwo\n"));
    assert_eq!(kitchen.sh("kill -TERM $$").status(), Status::Signaled(15));
    assert_eq!(kitchen.sh("kill -KILL $$").status(), Status::Signaled(9));
    let busy = kitchen.sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done");
    assert!(busy.outcome.cpu_user > Duration::from_millis(20), "{:?}", busy.outcome);
    assert!(busy.outcome.peak_memory_bytes > 500_000, "{:?}", busy.outcome);
}

#[test]
fn nothing_survives_the_step() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    for level in [Level::Full, Level::None] {
        kitchen.plan.level = level;
        let (program, file) = paths(&mut kitchen, level);
        let started = Instant::now();
        let ran = kitchen.run([program.as_str(), "daemon", &file]);
        assert!(started.elapsed() < Duration::from_secs(15));
        assert_eq!((ran.status(), ran.output.as_str()), (Status::Exited(0), "daemon started\n"));
        let written = kitchen.build().join("ticks");
        let size = fs::metadata(&written).expect("it wrote").len();
        assert!(size > 0);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(fs::metadata(&written).expect("it is there").len(), size, "{level:?}");
        fs::remove_file(&written).expect("it is there");
    }
}

/// Where the hostile program and a file of the build directory are at a level.
fn paths(kitchen: &mut Kitchen, level: Level) -> (String, String) {
    if level == Level::Full {
        "/build".clone_into(&mut kitchen.plan.directory);
        return ("/hostile/hostile".to_owned(), "/build/ticks".to_owned());
    }
    "/".clone_into(&mut kitchen.plan.directory);
    let program = crate::common::hostile().to_str().expect("text").to_owned();
    (program, kitchen.build().join("ticks").to_str().expect("text").to_owned())
}

#[test]
fn sandbox_dies_with_its_caller() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    drop(kitchen);
    for level in ["full", "none"] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut caller = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "contained::caller_that_is_killed", "--ignored", "--nocapture"])
            .env("CONARY_TEST_DIRECTORY", directory.path())
            .env("CONARY_TEST_LEVEL", level)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let ticks = directory.path().join("build/ticks");
        let started = Instant::now();
        while fs::metadata(&ticks).map_or(0, |about| about.len()) < 3 {
            assert!(started.elapsed() < Duration::from_secs(50), "the sandbox never ran");
            std::thread::sleep(Duration::from_millis(10));
        }
        // SIGKILL: the caller cannot clean up.
        caller.kill().expect("it lives");
        caller.wait().expect("it ends");
        std::thread::sleep(Duration::from_millis(500));
        let size = fs::metadata(&ticks).expect("it is there").len();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(fs::metadata(&ticks).expect("it is there").len(), size, "{level}");
    }
}

/// Not a test: the caller of [`sandbox_dies_with_its_caller`], in a process of its own.
#[test]
#[ignore = "runs only as the child of sandbox_dies_with_its_caller"]
fn caller_that_is_killed() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    let Some(directory) = std::env::var_os("CONARY_TEST_DIRECTORY") else {
        return;
    };
    let build = std::path::Path::new(&directory).join("build");
    fs::create_dir(&build).expect("a directory");
    let (uid, gid) = sandbox::build_owner();
    std::os::unix::fs::chown(&build, Some(uid), Some(gid)).expect("chown");
    let loop_ = "while :; do echo >> \"$1/ticks\"; sleep 0.02; done";
    if std::env::var_os("CONARY_TEST_LEVEL").is_some_and(|level| level == "none") {
        kitchen.plan.level = Level::None;
        kitchen.plan.directory = "/".to_owned();
        kitchen.run(["/bin/sh", "-c", loop_, "sh", build.to_str().expect("text")]);
    } else {
        kitchen.plan.binds = vec![bind(&build, "/build", true)];
        kitchen.run(["/bin/sh", "-c", loop_, "sh", "/build"]);
    }
}

#[test]
fn fork_bomb_is_bounded() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    kitchen.plan.limits.processes = Some(40);
    let ran = kitchen.hostile(&["forks"]);
    let count: u32 = ran
        .output
        .split(' ')
        .nth(1)
        .and_then(|count| count.trim_end_matches(',').parse().ok())
        .unwrap_or_else(|| panic!("{ran:?}"));
    assert!((10..=40).contains(&count), "{}", ran.output);
    assert!(ran.output.ends_with("then EAGAIN\n"), "{}", ran.output);
}

#[test]
fn memory_bomb_is_bounded() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    assert_eq!(kitchen.hostile(&["eat", "200"]).output, "ate it\n");
    kitchen.plan.limits.memory_bytes = Some(64 << 20);
    let ran = kitchen.hostile(&["eat", "200"]);
    assert_eq!(ran.output, "");
    let found = sandbox::probe();
    let offered = found.iter().any(|probe| probe.feature == "control groups" && probe.available);
    assert_eq!(offered, ran.applied("cgroup") != "none");
    if offered {
        assert_eq!(ran.status(), Status::OutOfMemory);
        assert!((32 << 20..=64 << 20).contains(&ran.outcome.peak_memory_bytes), "{:?}", ran.outcome);
        // A process that is not the first one, under a shell that goes on.
        assert_eq!(kitchen.sh("/hostile/hostile eat 200; exit 9").status(), Status::OutOfMemory);
        // What lies in a tmpfs is memory too.
        let scratch = kitchen.sh("head -c 200000000 /dev/zero > /tmp/big; wc -c < /tmp/big");
        assert_ne!(scratch.output.trim(), "200000000");
    } else {
        // The allocation failed, and the program said so.
        assert_eq!((ran.status(), ran.applied("memory")), (Status::Exited(3), "each process"));
    }
}

#[test]
fn scratch_is_bounded() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    kitchen.plan.limits.memory_bytes = Some(64 << 20);
    let ran = kitchen.sh("stat -f -c '%b %S' /tmp /dev/shm");
    assert_eq!(ran.output, "16384 4096\n16384 4096\n");
}

#[test]
fn file_size_is_bounded() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    kitchen.plan.limits.file_bytes = Some(1 << 20);
    let ran = kitchen.sh("trap '' XFSZ; head -c 5000000 /dev/zero > big; wc -c < big");
    assert!(ran.output.ends_with("1048576\n"), "{}", ran.output);
}

#[test]
fn endless_output_neither_blocks_nor_fills_memory() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    let before = resident_peak_kib();
    kitchen.plan.command = ["head", "-c", "200000000", "/dev/zero"].map(Into::into).to_vec();
    let (mut total, mut largest) = (0, 0);
    let outcome = sandbox::run(
        &kitchen.plan,
        &mut |bytes| {
            total += bytes.len();
            largest = largest.max(bytes.len());
        },
        &AtomicBool::new(false),
    )
    .expect("it runs");
    assert_eq!((outcome.status, total), (Status::Exited(0), 200_000_000));
    assert!(largest <= 64 << 10);
    // Other tests run in this process too, but none holds as much.
    assert!(resident_peak_kib() - before < 60_000, "{} KiB", resident_peak_kib() - before);
}

fn resident_peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

#[test]
fn output_limit_ends_everything() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    kitchen.plan.limits.output_bytes = Some(100_000);
    let ran = kitchen.run(["cat", "/dev/zero"]);
    assert_eq!((ran.status(), ran.output.len()), (Status::OutputLimit, 100_000));
    let ran = kitchen.run(["head", "-c", "100000", "/dev/zero"]);
    assert_eq!((ran.status(), ran.output.len()), (Status::Exited(0), 100_000));
}

#[test]
fn time_limit_ends_everything() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    kitchen.plan.limits.wall_clock = Some(Duration::from_millis(400));
    let started = Instant::now();
    let ran = kitchen.sh("trap '' TERM INT HUP; (setsid sleep 1000 &); echo begun; while :; do sleep 1; done");
    assert_eq!((ran.status(), ran.output.as_str()), (Status::TimedOut, "begun\n"));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn cancel_ends_everything_within_a_second() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    for level in [Level::Full, Level::None] {
        kitchen.plan.level = level;
        let (_, ticks) = paths(&mut kitchen, level);
        let script = format!("trap '' TERM INT HUP; echo begun; while :; do echo >> {ticks}; sleep 0.02; done");
        kitchen.plan.command = ["/bin/sh", "-c", &script].map(Into::into).to_vec();
        let cancel = AtomicBool::new(false);
        let mut asked = None;
        let outcome = sandbox::run(
            &kitchen.plan,
            &mut |_| {
                asked = Some(Instant::now());
                cancel.store(true, Ordering::Relaxed);
            },
            &cancel,
        )
        .expect("it runs");
        assert_eq!(outcome.status, Status::Cancelled);
        assert!(asked.expect("it began").elapsed() < Duration::from_secs(1));
        let size = fs::metadata(kitchen.build().join("ticks")).map_or(0, |about| about.len());
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(fs::metadata(kitchen.build().join("ticks")).map_or(0, |about| about.len()), size);
    }
}

#[test]
fn many_sandboxes_run_at_once() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(kitchen.sh("echo $$; ls /proc | grep -c '^[0-9]'").status(), Status::Exited(0));
                }
            });
        }
    });
    let leftovers = fs::read_to_string("/proc/self/mounts").expect("it is there");
    assert!(!leftovers.contains("/layers"), "a mount of a sandbox is on the host");
    assert_eq!(kitchen.plan.limits, Limits::default());
}

#[test]
fn processors_are_held_back() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    kitchen.plan.limits.cpus = Some(1);
    let ran = kitchen.sh("nproc; grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat");
    assert_eq!(ran.output, "1\n1\n1\n");
}
