// store/src/tests/inject.rs
//! Errors of the system: the work of a process fails at its Nth call of each mutating kind, with EIO, ENOSPC or EINTR, or its
//! files may not grow, so that writes come short. What was committed before stays whole, the next command mends the rest.
//!
//! By default every kind fails at a few points; `CONARY_INJECT_POINTS=all` fails every call.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use recipes::Digest;
use rustix::fs::Mode;

use super::{NEVER, open};
use crate::ccs::{Bundle, Package, SecretKey, WriteOptions, write, write_bundle};
use crate::durable;
use crate::manifest::tests::sample;
use crate::{
    CheckoutOptions, Component, GcOptions, IngestOptions, LinkMode, Manifest, Policy, Problem, Reference, Store,
    VerifyOptions,
};

/// System calls that change something on the disk.
const MUTATING: &str = "mkdir,mkdirat,linkat,renameat,renameat2,rename,unlink,unlinkat,rmdir,fchmod,fchown,utimensat,\
    fsetxattr,ftruncate,fallocate,write,pwrite64,pwritev2,copy_file_range,fsync,fdatasync,syncfs,flock";

/// What each scenario does to the store below `place`.
fn work(scenario: &str, place: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(&place.join("store"), &crate::OpenOptions::default())?;
    match scenario {
        "import" => {
            let package = Package::open(File::open(place.join("new.ccs"))?)?;
            package.import(&store, &NEVER, &|_, _| {})?;
        }
        "ingest" => drop(keep(&store, &place.join("new"), "new")?),
        "gc" => drop(store.gc(&GcOptions::default(), &mut |_| {}, &NEVER)?),
        "checkout" => {
            let old = store.find_troves("old")?.remove(0);
            let tree = store.tree(&store.trove(&old.id)?.components["runtime"].tree)?;
            let out = place.join("out");
            fs::create_dir_all(&out)?;
            let options = CheckoutOptions { link_mode: LinkMode::Hardlink, ..CheckoutOptions::default() };
            store.checkout(&tree, File::open(&out)?, &options, &NEVER)?;
        }
        "export" => {
            let ids = [store.find_troves("old")?.remove(0).id];
            let mut refused = None;
            durable::place(File::open(place)?, "out.bundle", Mode::from_raw_mode(0o644), |out| {
                let written = write_bundle(&store, &ids, out, &WriteOptions::default(), &NEVER);
                written.map(drop).map_err(|error| {
                    refused = Some(error.to_string());
                    std::io::ErrorKind::Other.into()
                })
            })
            .map_err(|error| refused.unwrap_or(error.to_string()))?;
        }
        "bundle" => {
            let bundle = Bundle::open(File::open(place.join("new.bundle"))?)?;
            bundle.import(&store, &NEVER, &|_, _| {})?;
        }
        // To a name beside it, and to another file system.
        "move" | "move-across" => {
            let target = place.join(if scenario == "move" { "moved" } else { "across/moved" });
            if !fs::symlink_metadata(place.join("store"))?.is_symlink() {
                store.move_to(&target, 5, &mut |_| {}, &NEVER)?;
            }
        }
        "repair" => {
            let package = Package::open(File::open(place.join("old.ccs"))?)?;
            let rescue = |object: &Digest| package.read_object(object, &NEVER).ok().flatten();
            let options = VerifyOptions { repair: true, rescue: &rescue, ..VerifyOptions::default() };
            store.verify(&options, &mut |_| {}, &NEVER)?;
        }
        "trust" => {
            let key = SecretKey::from_seed(&[7; 32]).public();
            store.distrust_key("somebody")?;
            store.trust_key(&key, "somebody")?;
            store.set_policy(Policy { signatures: 1 })?;
        }
        other => panic!("{other}"),
    }
    Ok(())
}

/// Takes a directory in as a trove, as a cook does.
fn keep(store: &Store, directory: &Path, name: &str) -> Result<Manifest, Box<dyn std::error::Error>> {
    let tree = store.ingest(File::open(directory)?, &IngestOptions::default(), &NEVER)?;
    let (files, size_bytes) = tree.content();
    let component = Component { tree: store.put_tree(&tree)?, files, size_bytes, provides: vec![], requires: vec![] };
    let mut manifest = sample(name, "1-1");
    manifest.components = BTreeMap::from([("runtime".to_owned(), component)]);
    store.put_trove(&manifest)?;
    Ok(manifest)
}

/// What the process does whose calls fail; it ends with 0 only when the work is done.
pub(super) fn victim(scenario: &str, path: &Path) {
    if let Err(error) = work(scenario, path.parent().unwrap()) {
        println!("{error}");
        std::process::exit(3);
    }
}

/// A store with a trove that is kept, garbage, and a package that it does not have.
struct Scene {
    top: tempfile::TempDir,
    /// On another file system, as a rule.
    across: tempfile::TempDir,
    old: Digest,
    new: Digest,
}

impl Scene {
    fn new() -> Self {
        // Where a sync costs nothing: it is the answer that is wrong here, not the disk.
        let memory = tempfile::Builder::new().tempdir_in("/dev/shm");
        let top = memory.unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let base = top.path().join("base");
        for (name, files) in [("old", 8), ("new", 12), ("garbage", 5)] {
            fs::create_dir_all(base.join(name)).unwrap();
            for number in 0..files {
                let content = format!("{name} {number} ").repeat(40 << (number % 3 * 4));
                fs::write(base.join(name).join(format!("file-{number}")), content).unwrap();
            }
        }
        // One that is written as a stream, and no shorter than it when it is packed.
        let large: Vec<u8> =
            (0..80_000).flat_map(|number: u32| *blake3::hash(&number.to_le_bytes()).as_bytes()).collect();
        fs::write(base.join("new/large"), large).unwrap();
        let other = open(&top.path().join("other"));
        let manifest = keep(&other, &base.join("new"), "new").unwrap();
        let mut package = File::create(base.join("new.ccs")).unwrap();
        write(&other, None, &manifest, &mut package, &WriteOptions::default(), &NEVER).unwrap();
        let mut bundle = File::create(base.join("new.bundle")).unwrap();
        write_bundle(&other, &[manifest.id()], &mut bundle, &WriteOptions::default(), &NEVER).unwrap();
        let store = open(&base.join("store"));
        let kept = keep(&store, &base.join("old"), "old").unwrap();
        let old = kept.id();
        let mut package = File::create(base.join("old.ccs")).unwrap();
        write(&store, None, &kept, &mut package, &WriteOptions::default(), &NEVER).unwrap();
        store.pin(&Reference::Trove(old), "test").unwrap();
        keep(&store, &base.join("garbage"), "garbage").unwrap();
        let across =
            tempfile::tempdir_in(std::env::var_os("CARGO_TARGET_TMPDIR").unwrap_or("/var/tmp".into())).unwrap();
        std::os::unix::fs::symlink(across.path(), base.join("across")).unwrap();
        Self { old, new: manifest.id(), top, across }
    }

    /// A fresh copy of everything.
    fn fresh(&self) -> PathBuf {
        let _ = fs::remove_dir_all(self.across.path().join("moved"));
        let place = self.top.path().join("place");
        let _ = fs::remove_dir_all(&place);
        let copied = Command::new("cp").arg("-a").arg(self.top.path().join("base")).arg(&place).status().unwrap();
        assert!(copied.success());
        place
    }

    /// A fresh copy in which the scenario has something to do.
    fn prepared(&self, scenario: &str) -> PathBuf {
        let place = self.fresh();
        if scenario == "repair" {
            let store = open(&place.join("store"));
            let tree = store.tree(&store.trove(&self.old).unwrap().components["runtime"].tree).unwrap();
            let mut objects = tree.objects();
            // One is gone, one has other bytes, one another mode.
            let mut file = || {
                let hex = objects.next().unwrap().hex();
                place.join(format!("store/objects/{}/{}.644", &hex[..2], &hex[2..]))
            };
            fs::remove_file(file()).unwrap();
            fs::write(file(), b"other bytes").unwrap();
            fs::set_permissions(file(), fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(place.join("store/objects/stray"), b"").unwrap();
        }
        place
    }

    /// Runs a scenario behind `before`; returns whether it came to its end.
    fn run(scenario: &str, place: &Path, before: &[&str]) -> bool {
        Command::new(before[0])
            .args(&before[1..])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "tests::child_process", "--nocapture", "--test-threads=1"])
            .env(super::WORK, format!("inject {scenario}"))
            .env(super::WHERE, place.join("store"))
            .env("RAYON_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    /// What must hold whatever failed, and that the same work goes through when nothing does.
    fn check(&self, scenario: &str, place: &Path, done: bool, at: &str) {
        if scenario == "repair" {
            // What was damaged before may still be, and comes back with the next repair.
            work(scenario, place).unwrap_or_else(|error| panic!("{at}: again: {error}"));
        }
        let store = open(&place.join("store"));
        assert!(store.is_complete(&self.old).unwrap(), "{at}: what was committed is lost");
        let report = store.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
        let damage: Vec<_> =
            report.problems.iter().filter(|problem| !matches!(problem, Problem::Stray { .. })).collect();
        assert!(damage.is_empty(), "{at}: {damage:?}");
        let gives_new = matches!(scenario, "import" | "ingest" | "bundle");
        let out = place.join("out.bundle");
        assert!(!done || scenario != "export" || out.exists(), "{at}: it said that it was done");
        if let Ok(file) = File::open(&out) {
            Bundle::open(file).unwrap().verify(&NEVER, &|_, _| {}).unwrap();
        }
        let is_link = |name: &str| fs::symlink_metadata(place.join(name)).unwrap().is_symlink();
        assert!(
            !done || !matches!(scenario, "move" | "move-across") || is_link("store"),
            "{at}: it said that it was done"
        );
        let trusts = store.trusted_keys().unwrap().len() == 1 && store.policy().unwrap().signatures == 1;
        assert!(!done || scenario != "trust" || trusts, "{at}: it said that it was done");
        if done && gives_new {
            assert!(store.is_complete(&self.new).unwrap(), "{at}: it said that it was done");
        }
        drop(store);
        let _ = fs::remove_dir_all(place.join("out"));
        work(scenario, place).unwrap_or_else(|error| panic!("{at}: again: {error}"));
        let store = open(&place.join("store"));
        assert!(!gives_new || store.is_complete(&self.new).unwrap(), "{at}");
        store.gc(&GcOptions::default(), &mut |_| {}, &NEVER).unwrap();
        let report = store.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
        assert!(report.problems.is_empty(), "{at}: {:?}", report.problems);
        assert!(store.is_complete(&self.old).unwrap(), "{at}");
    }

    /// Counts the calls of each kind.
    fn count(&self, scenario: &str) -> BTreeMap<String, usize> {
        let log = self.top.path().join("strace.log");
        let trace = format!("trace={MUTATING}");
        let place = self.prepared(scenario);
        assert!(Self::run(scenario, &place, &["strace", "-f", "-qq", "-o", log.to_str().unwrap(), "-e", &trace]));
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in fs::read_to_string(log).unwrap().lines() {
            let call = line.split_whitespace().nth(1).and_then(|word| word.split_once('('));
            if let Some((name, _)) = call {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

fn every_call_fails_in_turn(scenario: &str) {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CONARY_FORBID_SKIPS").is_none(), "strace is not installed");
        eprintln!("skipped: strace is not installed");
        return;
    }
    let scene = Scene::new();
    let all = std::env::var("CONARY_INJECT_POINTS").is_ok_and(|points| points == "all");
    let (mut points, mut failed) = (0, 0);
    for (call, count) in scene.count(scenario) {
        for (turn, error) in ["EIO", "ENOSPC", "EINTR"].into_iter().enumerate() {
            let stride = if all { 1 } else { count.div_ceil(2).max(1) };
            for number in (1 + turn.min(count - 1)..=count).step_by(stride) {
                let place = scene.prepared(scenario);
                let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}:when={number}"));
                let before = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
                let done = Scene::run(scenario, &place, &before);
                points += 1;
                failed += u64::from(!done);
                scene.check(scenario, &place, done, &format!("{scenario}: {call} number {number} fails with {error}"));
            }
        }
    }
    eprintln!("{scenario}: {points} points, {failed} ended in an error");
    // The least of them, what is trusted, makes some ten calls.
    assert!(points > 10 && failed > 5, "{scenario}: {points} points, {failed} failed");
}

#[test]
fn an_import_survives_every_error() {
    every_call_fails_in_turn("import");
}

#[test]
fn an_ingest_survives_every_error() {
    every_call_fails_in_turn("ingest");
}

#[test]
fn a_collection_survives_every_error() {
    every_call_fails_in_turn("gc");
}

#[test]
fn a_checkout_survives_every_error() {
    every_call_fails_in_turn("checkout");
}

#[test]
fn bundles_survive_every_error() {
    every_call_fails_in_turn("export");
    every_call_fails_in_turn("bundle");
}

#[test]
fn a_move_survives_every_error() {
    every_call_fails_in_turn("move");
    every_call_fails_in_turn("move-across");
}

#[test]
fn a_repair_survives_every_error() {
    every_call_fails_in_turn("repair");
}

#[test]
fn trust_survives_every_error() {
    every_call_fails_in_turn("trust");
}

#[test]
fn writes_that_come_short_lose_nothing() {
    let scene = Scene::new();
    let mut failed = 0;
    for scenario in ["import", "ingest", "bundle", "export", "move-across", "repair"] {
        // Kilobytes that a file may have: a write across that line comes short, the next one fails.
        for limit in ["1", "7", "33", "129", "200", "300", "1500"] {
            let place = scene.prepared(scenario);
            let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\"");
            let done = Scene::run(scenario, &place, &["bash", "-c", &script, "bash"]);
            failed += u32::from(!done);
            scene.check(scenario, &place, done, &format!("{scenario}: files of at most {limit} KiB"));
        }
    }
    assert!(failed > 3, "{failed}");
}
