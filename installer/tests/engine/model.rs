// installer/tests/engine/model.rs
//! Random sequences of operations against a simple model: what should be installed, and which files should then be there.
//!
//! `CONARY_MODEL_STEPS` says how many operations; the seed is printed, and `CONARY_MODEL_SEED` runs one again.

use std::collections::BTreeMap;

use installer::{PlanOptions, Request, Rollback};

use crate::lab::*;

/// Small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Contents by path.
type Files = BTreeMap<String, String>;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const VERSIONS: u64 = 4;

/// What a version of a package holds: some paths change, come, go and become directories.
fn files(name: &str, version: u64) -> Files {
    let mut files = Files::new();
    files.insert(format!("usr/bin/{name}"), format!("{name} {version}"));
    files.insert(format!("usr/share/common/{name}"), "always the same".to_owned());
    files.insert(format!("usr/share/{name}/only-{version}"), version.to_string());
    let deep = if version.is_multiple_of(2) { format!("opt/{name}/shape") } else { format!("opt/{name}/shape/inner") };
    files.insert(deep, format!("shape {version}"));
    files
}

fn recipe(name: &str, version: u64) -> Recipe {
    let recipe = package(name, &format!("{}-1", version + 1));
    files(name, version).into_iter().fold(recipe, |recipe, (path, content)| recipe.file(&path, &content))
}

/// Lists the files of the root below `usr` and `opt`.
fn found(lab: &Lab) -> Files {
    let mut found = Files::new();
    for line in lab.listing() {
        let mut words = line.splitn(5, ' ');
        let (path, mode) = (words.next().unwrap(), words.next().unwrap());
        if mode.starts_with("100") {
            found.insert(path.to_owned(), words.nth(2).unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn random_operations_do_what_the_model_says() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (steps, seed) = (number("CONARY_MODEL_STEPS", 60), number("CONARY_MODEL_SEED", 0x5eed));
    let memory = tempfile::Builder::new().tempdir_in("/dev/shm");
    let lab = Lab::at(memory.unwrap_or_else(|_| tempfile::tempdir().unwrap()));
    let mut packages = BTreeMap::new();
    for name in NAMES {
        for version in 0..VERSIONS {
            packages.insert((name, version), lab.cook(&recipe(name, version)));
        }
    }
    let mut random = Random(seed);
    // What was installed after each changeset.
    let mut states: Vec<BTreeMap<&str, u64>> = vec![BTreeMap::new()];
    for step in 0..steps {
        let now = states.last().unwrap().clone();
        let (mut next, mut requests) = (now.clone(), Vec::new());
        if random.below(5) == 0 {
            let target = random.below(states.len() as u64);
            requests.push(Request::Rollback(Rollback::To(i64::try_from(target).unwrap())));
            next.clone_from(&states[usize::try_from(target).unwrap()]);
        } else {
            for name in NAMES {
                match random.below(4) {
                    0 => {
                        let version = random.below(VERSIONS);
                        requests.push(install(&packages[&(name, version)]));
                        next.insert(name, version);
                    }
                    1 if next.remove(name).is_some() => requests.push(remove(name)),
                    _ => {}
                }
            }
        }
        let at = format!("step {step} of seed {seed}: {requests:?}");
        if requests.is_empty() {
            continue;
        }
        let before = lab.listing();
        let root = lab.open();
        let plan = root.plan(&requests, &[], &PlanOptions::default()).unwrap_or_else(|error| panic!("{at}: {error}"));
        drop(root);
        assert_eq!(lab.listing(), before, "{at}: a plan changes nothing");
        let (changeset, _) = lab.run(&requests).unwrap_or_else(|error| panic!("{at}: {error:?}"));
        if changeset.number.is_some() {
            states.push(next.clone());
        } else {
            assert_eq!(next, now, "{at}");
        }
        // What the plan said is what happened.
        let after = lab.listing();
        let path = |line: &String| line.split(' ').next().unwrap().to_owned();
        let mut changed: Vec<String> = before.iter().filter(|line| !after.contains(line)).map(path).collect();
        changed.extend(after.iter().filter(|line| !before.contains(line)).map(path));
        changed.sort();
        changed.dedup();
        let planned: Vec<String> =
            plan.paths.iter().map(|change| installer::show_path(&change.path)[1..].to_owned()).collect();
        for path in &changed {
            assert!(planned.contains(path), "{at}: {path} changed and was not planned");
        }
        let wanted: Files = next.iter().flat_map(|(name, version)| files(name, *version)).collect();
        let there: Files = found(&lab);
        assert_eq!(there.len(), wanted.len(), "{at}");
        assert!(
            wanted.iter().all(|(path, content)| there
                .get(path)
                .is_some_and(|text| *text == content.escape_default().to_string())),
            "{at}"
        );
        let names: Vec<String> = next.iter().map(|(name, version)| format!("{name}={}-1", version + 1)).collect();
        assert_eq!(lab.names(), names, "{at}");
    }
    lab.assert_verified();
    lab.roll_back(Rollback::To(0));
    assert_eq!(lab.listing(), [""; 0], "seed {seed}");
    eprintln!("{steps} operations, {} changesets, seed {seed}", states.len() - 1);
}
