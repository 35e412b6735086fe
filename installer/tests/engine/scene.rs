// installer/tests/engine/scene.rs
//! A change that is disturbed: which ones there are, what a root may look like afterwards, and the process that is disturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use installer::{Event, PlanOptions, Request, Rollback, Root, TriggerRule};
use recipes::{HookAlternative, HookUser, Scriptlet};

use crate::calls;
use crate::lab::*;
use crate::trigger::programs;

/// Changes of a small package with every kind of path, an edit and a conflict of kinds.
pub const PLAIN: [&str; 4] = ["install", "upgrade", "remove", "rollback"];
/// Changes of a package with a user, a service, an alternative, a trigger, configuration and scriptlets around all of it.
pub const LIVE: [&str; 3] = ["live-install", "live-upgrade", "live-remove"];

/// What the process does.
pub fn requests(scenario: &str, packages: &Path) -> Vec<Request> {
    let package = |name: &str| install(&packages.join(format!("{name}.x86_64.ccs")));
    match scenario {
        "install" => vec![package("p-1-1")],
        "upgrade" => vec![package("p-2-1"), package("q-1-1")],
        "remove" => vec![remove("p")],
        "rollback" => vec![Request::Rollback(Rollback::Last)],
        "many" => vec![package("many-1-1")],
        "live-install" => vec![package("live-1-1")],
        "live-upgrade" => vec![package("live-2-1")],
        "live-remove" => vec![remove("live")],
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

/// Enough files for several threads.
fn many() -> Recipe {
    (0..150).fold(package("many", "1-1"), |recipe, number| {
        recipe.file(&format!("usr/share/many/{}/{number}", number % 7), &format!("{number} ").repeat(number * 20))
    })
}

/// Its scriptlets may run twice: a kill can come after one of them and before the changeset.
fn live(version: &str) -> Recipe {
    let mut recipe = package("live", version)
        .file("usr/share/words/live", version)
        .file("usr/share/words/always", "always")
        .file("usr/bin/live", version)
        .file("usr/lib/systemd/system/live.service", "[Service]\n")
        .file("etc/live.conf", version)
        .file("etc/edited.conf", version)
        .directory("etc/systemd/system/multi-user.target.wants", 0o755)
        .directory("var/lib/live", 0o750)
        .with("var/lib/live", |entry| "live".clone_into(&mut entry.owner));
    recipe.hooks.users = vec![HookUser {
        name: "live".to_owned(),
        id: None,
        group: None,
        groups: vec!["audio".to_owned()],
        home: Some("/var/lib/live".to_owned()),
        shell: None,
        comment: None,
    }];
    let link = "/etc/systemd/system/multi-user.target.wants/live.service";
    recipe.hooks.services = BTreeMap::from([(link.to_owned(), "/usr/lib/systemd/system/live.service".to_owned())]);
    recipe.hooks.alternatives = vec![HookAlternative {
        link: "/usr/bin/editor".to_owned(),
        target: "/usr/bin/live".to_owned(),
        priority: 10,
        also: BTreeMap::new(),
    }];
    for scriptlet in Scriptlet::ALL {
        let name = scriptlet.name();
        recipe
            .scripts
            .insert(scriptlet, format!("set -e; mkdir -p /srv; echo {version} > /srv/{name}; rm -f /srv/mine"));
    }
    recipe
}

/// Runs in a process of its own, which is disturbed.
#[test]
#[ignore = "started by other tests"]
fn victim() {
    let (Some(root), Some(packages), Ok(scenario)) =
        (std::env::var_os("VICTIM_ROOT"), std::env::var_os("VICTIM_PACKAGES"), std::env::var("VICTIM_SCENARIO"))
    else {
        return;
    };
    let requests = requests(&scenario, Path::new(&packages));
    let root = Root::open(Path::new(&root), &options(true)).unwrap();
    let mut plan = root.plan(&requests, &[], &PlanOptions::default()).unwrap();
    let done = root.commit(&mut plan, &[], &AtomicBool::new(false), &|_| {}).unwrap();
    assert!(done.failed.is_empty(), "{:?}", done.failed);
}

/// A file system of our own, on a loop device over a file in memory.
pub struct Disk {
    pub place: PathBuf,
    mounted: PathBuf,
    _image: tempfile::TempDir,
}

impl Disk {
    /// Makes one; none where that cannot be done.
    pub fn make(kind: &str) -> Option<Self> {
        if !is_root() {
            not_for_us("only root mounts file systems");
            return None;
        }
        if !Path::new("/dev/loop-control").exists() {
            skip("no loop devices");
            return None;
        }
        let image = memory();
        let (file, place) = (image.path().join("image"), image.path().join("mounted"));
        fs::File::create(&file).unwrap().set_len(384 << 20).unwrap();
        fs::create_dir(&place).unwrap();
        let options: &[&str] = match kind {
            "ext4" => &["-q", "-F"],
            _ => &["-q", "-f"],
        };
        let made = Command::new(format!("mkfs.{kind}")).args(options).arg(&file).output();
        if made.is_err() {
            skip(&format!("mkfs.{kind} is not installed"));
            return None;
        }
        assert!(made.unwrap().status.success());
        // Somebody else may take the free loop device in between.
        for _ in 0..20 {
            let mounted =
                Command::new("mount").args(["-o", "loop", "-t", kind]).arg(&file).arg(&place).output().unwrap();
            if mounted.status.success() {
                return Some(Self { mounted: place.clone(), place, _image: image });
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{kind} cannot be mounted");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}

/// A directory where a sync costs nothing: what is disturbed here is the process, not the disk.
fn memory() -> tempfile::TempDir {
    let memory = tempfile::Builder::new().tempdir_in("/dev/shm");
    memory.unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Where a root lies.
#[derive(Clone, Copy)]
pub enum Place<'d> {
    Memory,
    Disk(&'static str, &'d Disk),
    /// An overlay, of which what was there before is the lower layer: its directories cannot be exchanged.
    Overlay,
    /// In memory, where `renameat2` answers `EINVAL`, as a file system does that knows none of its flags.
    NoRenameat2,
}

impl Place<'_> {
    pub fn name(self) -> &'static str {
        match self {
            Place::Memory => "in memory",
            Place::Disk(kind, _) => kind,
            Place::Overlay => "on an overlay",
            Place::NoRenameat2 => "without renameat2",
        }
    }
}

/// Runs a test of this program as root of a user namespace, which may mount an overlay; returns whether that could be done.
pub fn as_root_of_a_namespace(test: &str) {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount"]);
    if !unshare.arg("true").status().is_ok_and(|status| status.success()) {
        skip("no user namespace in which an overlay could be mounted");
        return;
    }
    let mut again = Command::new("unshare");
    again.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    assert!(again.args(["--exact", test, "--nocapture"]).status().unwrap().success());
}

pub struct Scene<'d> {
    pub lab: Lab,
    pub scenario: &'static str,
    pub base: PathBuf,
    place: Place<'d>,
    /// What the root looks like before, after each transaction of the change, and at its end.
    pub stages: Vec<Vec<String>>,
    names: Vec<String>,
}

impl<'d> Scene<'d> {
    /// Makes the root of a scenario; none where something that it needs cannot be had.
    pub fn new(scenario: &'static str, place: Place<'d>) -> Option<Self> {
        if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
            skip("strace is not installed");
            return None;
        }
        let lab = Lab::at(match place {
            Place::Disk(_, disk) => tempfile::tempdir_in(&disk.place).unwrap(),
            _ => memory(),
        });
        let base = lab.top.path().join("base");
        fs::create_dir(&base).unwrap();
        let mut scene = Self { lab, scenario, base, place, stages: Vec::new(), names: Vec::new() };
        if scenario.starts_with("live") {
            scene.set_up_live()?;
        } else {
            scene.set_up_plain();
        }
        scene.note_stages();
        Some(scene)
    }

    fn set_up_plain(&self) {
        let (lab, base) = (&self.lab, &self.base);
        lab.cook(&old());
        lab.cook(&new());
        lab.cook(&many());
        lab.cook(&package("q", "1-1").file("usr/lib/q", "q"));
        fs::create_dir_all(base.join("usr/share")).unwrap();
        fs::write(base.join("usr/share/mine"), "mine").unwrap();
        let before: &[&str] = match self.scenario {
            "install" | "many" => &[],
            "rollback" => &["install", "upgrade"],
            _ => &["install"],
        };
        for step in before {
            change(base, &requests(step, lab.top.path()), &[], PlanOptions::default()).unwrap();
            if *step == "install" {
                fs::write(base.join("etc/edited.conf"), "mine").unwrap();
                fs::write(base.join("usr/share/p/goes/deep/mine"), "mine").unwrap();
            }
        }
    }

    fn set_up_live(&self) -> Option<()> {
        let (lab, base) = (&self.lab, &self.base);
        let passwd = package("passwd", "1-1")
            .file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
            .file("etc/group", "root:x:0:\naudio:x:29:\n");
        let requests_for = [install(&lab.cook(&programs())), install(&lab.cook(&passwd))];
        change(base, &requests_for, &[], PlanOptions::default()).unwrap();
        let rule = TriggerRule {
            name: "words".to_owned(),
            patterns: vec!["/usr/share/words/*".to_owned()],
            command: "mkdir -p $OUT/var/cache; cat /usr/share/words/* > $OUT/var/cache/words".to_owned(),
            after: Vec::new(),
        };
        open(base).unwrap().add_trigger(&rule).unwrap();
        lab.cook(&live("1-1"));
        lab.cook(&live("2-1"));
        if self.scenario != "live-install" {
            let step = requests("live-install", lab.top.path());
            let (done, _) = change(base, &step, &[], PlanOptions::default()).unwrap();
            if let Some((_, why)) = done.failed.first() {
                skip(&format!("no sandbox for a scriptlet: {why}"));
                return None;
            }
            fs::write(base.join("etc/edited.conf"), "mine").unwrap();
        }
        fs::create_dir_all(base.join("srv")).unwrap();
        fs::write(base.join("srv/mine"), "mine").unwrap();
        Some(())
    }

    /// Makes the change undisturbed, and notes what the root looks like at each of its transactions.
    fn note_stages(&mut self) {
        let path = self.fresh();
        let stages = Mutex::new(vec![listing(&path)]);
        let root = open(&path).unwrap();
        let mut plan = root.plan(&requests(self.scenario, self.lab.top.path()), &[], &PlanOptions::default()).unwrap();
        let note = |event: Event| {
            if matches!(event, Event::Settled { .. }) {
                stages.lock().unwrap().push(listing(&path));
            }
        };
        let done = root.commit(&mut plan, &[], &AtomicBool::new(false), &note).unwrap();
        assert_eq!(done.failed, []);
        drop(root);
        self.stages = stages.into_inner().unwrap();
        self.stages.dedup();
        self.names = names(&path);
        assert!(self.stages.len() > 1);
    }

    pub fn new_listing(&self) -> &[String] {
        &self.stages[self.stages.len() - 1]
    }

    /// A fresh copy of the root.
    pub fn fresh(&self) -> PathBuf {
        let root = self.lab.root();
        if let Place::Overlay = self.place {
            self.mount_overlay(&root);
            return root;
        }
        if root.exists() {
            // The overlay of a scriptlet that was killed has directories without any permission, until the next one makes room.
            let opened = Command::new("chmod").args(["-R", "u+rwX"]).arg(&root).status().unwrap();
            assert!(opened.success());
            fs::remove_dir_all(&root).unwrap();
        }
        let copied = Command::new("cp").arg("-a").arg(&self.base).arg(&root).status().unwrap();
        assert!(copied.success());
        root
    }

    /// Mounts an overlay with nothing in its upper layer.
    fn mount_overlay(&self, root: &Path) {
        self.unmount_overlay();
        let layers = self.lab.top.path().join("layers");
        let _ = fs::remove_dir_all(&layers);
        let (upper, work) = (layers.join("upper"), layers.join("work"));
        for directory in [&upper, &work] {
            fs::create_dir_all(directory).unwrap();
        }
        let (lower, upper, work) = (self.base.display(), upper.display(), work.display());
        let layers = format!("userxattr,lowerdir={lower},upperdir={upper},workdir={work}");
        let mounted =
            Command::new("mount").args(["-t", "overlay", "-o", &layers, "overlay"]).arg(root).output().unwrap();
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    }

    fn unmount_overlay(&self) {
        let root = self.lab.root();
        let is_mounted = || Command::new("mountpoint").arg("-q").arg(&root).status().unwrap().success();
        // A process that was killed may hold it for a moment longer.
        for _ in 0..200 {
            if !is_mounted() {
                return;
            }
            if !Command::new("umount").arg(&root).stderr(Stdio::null()).status().unwrap().success() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        panic!("the overlay cannot be unmounted");
    }

    /// Runs the victim behind a command; returns whether it came to its end.
    pub fn run(&self, root: &Path, before: &[&str], threads: &str) -> bool {
        let mut command = Command::new(before[0]);
        command
            .args(&before[1..])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "scene::victim", "--ignored", "--test-threads=1"])
            .env("VICTIM_ROOT", root)
            .env("VICTIM_PACKAGES", self.lab.top.path())
            .env("VICTIM_SCENARIO", self.scenario)
            .env("RAYON_NUM_THREADS", threads)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().unwrap().success()
    }

    /// Returns a command that runs another one under `strace`.
    pub fn strace<'w>(&self, log: &'w str, words: &[&'w str]) -> Vec<&'w str> {
        let mut command = vec!["strace", "-f", "-qq", "-o", log];
        // Stops at the calls in question only. Calls of a sandbox, which has a filter of its own, are lost to it, and so are most signals
        // that strace is to send.
        let signals = words.iter().any(|word| word.contains("signal="));
        if !signals && !self.scenario.starts_with("live") {
            command.insert(2, "--seccomp-bpf");
        }
        command.extend(words);
        if let Place::NoRenameat2 = self.place {
            command.extend(["-e", "inject=renameat2:error=EINVAL"]);
        }
        command
    }

    /// Counts the calls of each kind in the thread that makes most of them.
    pub fn count(&self, threads: &str) -> BTreeMap<String, usize> {
        let log = self.lab.top.path().join("strace.log");
        let trace = format!("trace={}", calls::MUTATING);
        let root = self.fresh();
        assert!(self.run(&root, &self.strace(log.to_str().unwrap(), &["-e", &trace]), threads));
        assert_eq!(listing(&root), self.new_listing());
        calls::count(&log)
    }

    /// What must hold whatever happened: the root is at one of its stages, the database agrees, nothing temporary is left, nothing is left to
    /// recover, and the next commands bring the change to its end where `go_on` says so. Returns the stage.
    pub fn check(&self, root: &Path, go_on: bool, at: &str) -> usize {
        drop(open(root).unwrap_or_else(|error| panic!("{at}: {error:?}")));
        let mut found = listing(root);
        if !self.stages.contains(&found) && self.scenario.starts_with("live") {
            // What failed was a scriptlet or a trigger itself, and those behind it went on: the root is degraded, and a retry mends it.
            let root = open(root).unwrap();
            let degraded = |event: &Event| matches!(event, Event::Warning(installer::Warning::Degraded { .. }));
            assert!(root.notes().iter().any(degraded), "{at}: between two transactions, and not degraded");
            let left = root.run_triggers(&AtomicBool::new(false), &|_| {}).unwrap();
            assert_eq!(left, [], "{at}: what had failed goes through");
            found = listing(&self.lab.root());
        }
        let Some(stage) = self.stages.iter().position(|stage| *stage == found) else {
            let new: Vec<_> = found.iter().filter(|line| !self.new_listing().contains(line)).collect();
            let missing: Vec<_> = self.new_listing().iter().filter(|line| !found.contains(line)).collect();
            panic!("{at}: between old and new: has {new:#?}, lacks {missing:#?}");
        };
        let reopened = open(root).unwrap();
        let left = |event: &&Event| !matches!(event, Event::Warning(installer::Warning::Degraded { .. }));
        assert_eq!(reopened.notes().iter().find(left), None, "{at}: a second recovery has something to do");
        let verified = reopened.verify(&[], &AtomicBool::new(false), &|_, _| {}).unwrap();
        let edits = |finding: &&installer::Finding| !finding.path.ends_with(b"edited.conf");
        assert_eq!(verified.findings.iter().find(edits), None, "{at}");
        if let Some(store) = reopened.store() {
            let report = store.verify(&store::VerifyOptions::default(), &mut |_| {}, &AtomicBool::new(false)).unwrap();
            let damage = report.problems.iter().find(|problem| !matches!(problem, store::Problem::Stray { .. }));
            assert!(damage.is_none(), "{at}: {damage:?}");
        }
        drop(reopened);
        if go_on {
            if names(root) == self.names {
                let left = open(root).unwrap().run_triggers(&AtomicBool::new(false), &|_| {}).unwrap();
                assert_eq!(left, [], "{at}: what is due goes through");
            } else {
                let again = requests(self.scenario, self.lab.top.path());
                change(root, &again, &[], PlanOptions::default())
                    .unwrap_or_else(|error| panic!("{at}: again: {error:?}"));
            }
            assert_eq!(listing(root), self.new_listing(), "{at}: at the end");
        }
        stage
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if let Place::Overlay = self.place
            && !std::thread::panicking()
        {
            self.unmount_overlay();
        }
    }
}

fn names(root: &Path) -> Vec<String> {
    let root = Root::open(root, &options(false)).unwrap();
    root.list().unwrap().iter().map(|trove| trove.manifest.spec().to_string()).collect()
}
