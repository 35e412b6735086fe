// installer/tests/engine/kill.rs
//! Killed at every step: the engine runs under `strace`, which kills it at its Nth system call of each mutating kind.
//! After the next start the root is exactly old or exactly new.
//!
//! By default every kind is covered at up to a few points; `CONARY_KILL_POINTS=all` kills at every call.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use installer::{PlanOptions, Request, Rollback};

use crate::lab::*;

/// System calls that change something on the disk.
const MUTATING: &str = "mkdir,mkdirat,link,linkat,symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
    fchmod,fchmodat,chmod,fchown,fchownat,utimensat,fsetxattr,fremovexattr,ftruncate,write,pwrite64,copy_file_range,\
    fsync,fdatasync,syncfs";

/// What the killed process does.
fn requests(scenario: &str, packages: &Path) -> Vec<Request> {
    match scenario {
        "install" => vec![install(&packages.join("p-1-1.x86_64.ccs"))],
        "upgrade" => vec![install(&packages.join("p-2-1.x86_64.ccs")), install(&packages.join("q-1-1.x86_64.ccs"))],
        "remove" => vec![remove("p")],
        "rollback" => vec![Request::Rollback(Rollback::Last)],
        other => panic!("{other}"),
    }
}

fn old() -> Recipe {
    package("p", "1-1")
        .file_in("runtime", "usr/bin/p", "old program", 0o755)
        .hardlink("usr/bin/p-too", "usr/bin/p")
        .file("usr/share/p/same", "same")
        .file("usr/share/p/goes/deep/x", "x")
        .file("usr/share/p/shape/a", "a directory")
        .file("etc/p.conf", "one")
        .file("etc/edited.conf", "one")
        .symlink("usr/bin/link", "p")
}

fn new() -> Recipe {
    package("p", "2-1")
        .file_in("runtime", "usr/bin/p", "new program", 0o4755)
        .file("usr/share/p/same", "same")
        .file("usr/share/p/shape", "a file")
        .file("etc/p.conf", "two")
        .file("etc/edited.conf", "two")
        .symlink("usr/bin/link", "same")
        .file("opt/p/deep/new", "new")
        .file("usr/bin/another", "another")
}

/// Runs in a process of its own, which is killed.
#[test]
#[ignore = "started by the tests of this file"]
fn victim() {
    let (Some(root), Some(packages), Ok(scenario)) =
        (std::env::var_os("VICTIM_ROOT"), std::env::var_os("VICTIM_PACKAGES"), std::env::var("VICTIM_SCENARIO"))
    else {
        return;
    };
    let requests = requests(&scenario, Path::new(&packages));
    change(Path::new(&root), &requests, &[], PlanOptions::default()).unwrap();
}

struct Scene {
    lab: Lab,
    scenario: &'static str,
    base: PathBuf,
}

impl Scene {
    fn new(scenario: &'static str) -> Self {
        // Where a sync costs nothing: what is killed here is the process, not the power.
        let memory = tempfile::Builder::new().tempdir_in("/dev/shm");
        let lab = Lab::at(memory.unwrap_or_else(|_| tempfile::tempdir().unwrap()));
        lab.cook(&old());
        lab.cook(&new());
        lab.cook(&package("q", "1-1").file("usr/lib/q", "q"));
        let base = lab.top.path().join("base");
        fs::create_dir(&base).unwrap();
        fs::create_dir_all(base.join("usr/share")).unwrap();
        fs::write(base.join("usr/share/mine"), "mine").unwrap();
        let before: &[&str] = match scenario {
            "install" => &[],
            "rollback" => &["install", "upgrade"],
            _ => &["install"],
        };
        for step in before {
            change(&base, &requests(step, lab.top.path()), &[], PlanOptions::default()).unwrap();
            if *step == "install" {
                fs::write(base.join("etc/edited.conf"), "mine").unwrap();
                fs::write(base.join("usr/share/p/goes/deep/mine"), "mine").unwrap();
            }
        }
        Self { lab, scenario, base }
    }

    fn fresh(&self) -> PathBuf {
        let root = self.lab.root();
        let _ = fs::remove_dir_all(&root);
        let copied = Command::new("cp").arg("-a").arg(&self.base).arg(&root).status().unwrap();
        assert!(copied.success());
        root
    }

    /// Runs the victim under strace; returns whether it came to its end.
    fn run(&self, root: &Path, strace: &[&str]) -> bool {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq"])
            .args(strace)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "kill::victim", "--ignored", "--test-threads=1"])
            .env("VICTIM_ROOT", root)
            .env("VICTIM_PACKAGES", self.lab.top.path())
            .env("VICTIM_SCENARIO", self.scenario)
            .env("RAYON_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// Counts the calls of each kind in the thread that makes most of them.
    fn count(&self) -> BTreeMap<String, usize> {
        let log = self.lab.top.path().join("strace.log");
        let trace = format!("trace={MUTATING}");
        let root = self.fresh();
        assert!(self.run(&root, &["-o", log.to_str().unwrap(), "-e", &trace]));
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in fs::read_to_string(log).unwrap().lines() {
            let mut words = line.split_whitespace();
            let (Some(thread), Some(call)) = (words.next(), words.next()) else { continue };
            if let Some((name, _)) = call.split_once('(') {
                *counts.entry((name.to_owned(), thread.to_owned())).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((name, _), count) in counts {
            let known: &mut usize = most.entry(name).or_default();
            *known = count.max(*known);
        }
        most
    }
}

fn killed_at_every_step(scenario: &'static str) {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        skip("strace is not installed");
        return;
    }
    let scene = Scene::new(scenario);
    let before = listing(&scene.base);
    let counts = scene.count();
    let after = scene.lab.listing();
    assert_ne!(before, after);
    let all = std::env::var("CONARY_KILL_POINTS").is_ok_and(|points| points == "all");
    let (mut points, mut olds, mut news) = (0, 0, 0);
    for (call, count) in &counts {
        let few = if matches!(call.as_str(), "renameat2" | "unlinkat" | "mkdirat") { 12 } else { 2 };
        let stride = if all { 1 } else { count.div_ceil(few) };
        for number in (1..=*count).step_by(stride) {
            let root = scene.fresh();
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let trace = format!("trace={call}");
            if scene.run(&root, &["-o", "/dev/null", "-e", &trace, "-e", &inject]) {
                // Counted in another thread, or a call that this run did not need.
                continue;
            }
            points += 1;
            let at = format!("{scenario} killed at {call} number {number}");
            drop(open(&root).unwrap_or_else(|error| panic!("{at}: {error:?}")));
            let found = listing(&root);
            if found == before {
                olds += 1;
            } else {
                assert_eq!(found, after, "{at}");
                news += 1;
            }
            let reopened = open(&root).unwrap();
            assert!(reopened.notes().is_empty(), "{at}: a second recovery has nothing to do");
            let verified = reopened.verify(&[], &AtomicBool::new(false), &|_, _| {}).unwrap();
            let edits = |finding: &installer::Finding| !finding.path.ends_with(b"edited.conf");
            assert!(!verified.findings.iter().any(edits), "{at}: {:?}", verified.findings);
            drop(reopened);
            // And the root still works.
            if found == before && points % 10 == 0 {
                change(&root, &requests(scenario, scene.lab.top.path()), &[], PlanOptions::default()).unwrap();
                assert_eq!(listing(&root), after, "{at}");
            }
        }
    }
    eprintln!("{scenario}: {points} points, {olds} old, {news} new");
    assert!(points > 20 && olds > 0 && news > 0, "{scenario}: {points} points, {olds} old, {news} new");
}

#[test]
fn an_install_is_killed() {
    killed_at_every_step("install");
}

#[test]
fn an_upgrade_is_killed() {
    killed_at_every_step("upgrade");
}

#[test]
fn a_removal_is_killed() {
    killed_at_every_step("remove");
}

#[test]
fn a_rollback_is_killed() {
    killed_at_every_step("rollback");
}
