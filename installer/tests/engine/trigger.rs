// installer/tests/engine/trigger.rs
//! Triggers: run once a changeset, all or nothing, from a queue that survives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use installer::{CommitError, Event, Rollback, TriggerRule, Warning};

use crate::lab::*;

/// A package with this machine's shell, some programs and what they are linked with.
pub fn programs() -> Recipe {
    programs_and(&[])
}

/// The same with further programs.
fn programs_and(more: &[&str]) -> Recipe {
    let names = [
        "/bin/sh",
        "/bin/cat",
        "/bin/mkdir",
        "/bin/ln",
        "/bin/rm",
        "/bin/cp",
        "/bin/mv",
        "/bin/chmod",
        "/bin/sleep",
        "/sbin/ldconfig",
    ];
    let mut recipe = package("programs", "1-1");
    let mut libraries: Vec<PathBuf> = Vec::new();
    for name in names.iter().chain(more) {
        recipe = recipe.host_file(Path::new(name));
        let linked = Command::new("ldd").arg(name).output().unwrap();
        for word in String::from_utf8_lossy(&linked.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
            libraries.push(PathBuf::from(word));
        }
    }
    libraries.sort();
    libraries.dedup();
    libraries.into_iter().fold(recipe, |recipe, library| recipe.host_file(&library))
}

fn words(version: &str, word: &str) -> Recipe {
    package("words", version).file(&format!("usr/share/words/{word}"), word)
}

fn rule(command: &str) -> TriggerRule {
    TriggerRule {
        name: "words".to_owned(),
        patterns: vec!["/usr/share/words/*".to_owned()],
        command: command.to_owned(),
        after: Vec::new(),
    }
}

const JOIN: &str = "mkdir -p $OUT/var/cache/words; cat /usr/share/words/* > $OUT/var/cache/words/all";

/// A root with programs; none where no sandbox can be made here.
fn lab() -> Option<Lab> {
    let lab = Lab::new();
    lab.install(&lab.cook(&programs()));
    lab.open().add_trigger(&rule(JOIN)).unwrap();
    let (probe, _) = lab.install(&lab.cook(&words("0-1", "probe")));
    if let Some((_, why)) = probe.failed.first() {
        skip(&format!("no sandbox for a trigger: {why}"));
        return None;
    }
    lab.remove(&["words"]);
    Some(lab)
}

fn failed(lab: &Lab) -> Vec<(String, String)> {
    lab.open().run_triggers(&AtomicBool::new(false), &|_| {}).unwrap()
}

#[test]
fn a_cache_follows_the_files() {
    let Some(lab) = lab() else { return };
    let before = lab.listing();
    lab.install(&lab.cook(&words("1-1", "one")));
    assert_eq!(lab.read("var/cache/words/all"), "one");
    lab.install(&lab.cook(&words("2-1", "two")));
    assert_eq!(lab.read("var/cache/words/all"), "two");
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("var/cache/words/all"), "one");
    // What does not touch its paths does not set it off.
    fs::write(lab.root().join("var/cache/words/all"), "by hand").unwrap();
    lab.install(&lab.cook(&package("other", "1-1").file("usr/share/other", "o")));
    assert_eq!(lab.read("var/cache/words/all"), "by hand");
    lab.remove(&["other"]);
    lab.install(&lab.cook(&words("3-1", "three")));
    lab.remove(&["words"]);
    assert_eq!(lab.listing(), before, "the cache goes with the last file");
    assert_eq!(lab.open().history().unwrap().len(), 10, "a trigger is no changeset");
}

#[test]
fn one_that_fails_changes_nothing_and_is_tried_again() {
    let Some(lab) = lab() else { return };
    let broken = "mkdir -p $OUT/var/cache; echo half > $OUT/var/cache/half; echo 'no luck' >&2; exit 3";
    lab.open().add_trigger(&rule(broken)).unwrap();
    let (changeset, _) = lab.install(&lab.cook(&words("1-1", "one")));
    assert_eq!(changeset.failed.len(), 1);
    assert_eq!(changeset.failed[0].1, "its command ended with 3: no luck");
    assert_eq!(lab.read("usr/share/words/one"), "one", "the changeset itself is complete");
    assert!(!lab.exists("var/cache/half"));
    let root = lab.open();
    assert_eq!(root.notes(), [Event::Warning(Warning::Degraded { names: vec!["words".to_owned()] })]);
    let due = root.triggers().unwrap().into_iter().find_map(|trigger| trigger.due).unwrap();
    assert_eq!((due.attempts, due.changeset), (1, 4));
    drop(root);
    assert_eq!(failed(&lab).len(), 1, "still broken");
    lab.open().add_trigger(&rule(JOIN)).unwrap();
    assert!(failed(&lab).is_empty());
    assert_eq!(lab.read("var/cache/words/all"), "one");
    assert!(lab.open().notes().is_empty());
}

#[test]
fn what_it_may_not_write_is_refused() {
    let Some(lab) = lab() else { return };
    let install = |command: &str, version: &str| {
        lab.open().add_trigger(&rule(command)).unwrap();
        let before = lab.listing();
        let (changeset, _) = lab.install(&lab.cook(&words(version, "w")));
        let added = |line: &String| !before.contains(line) && !line.starts_with("usr");
        assert_eq!(lab.listing().into_iter().filter(added).collect::<Vec<_>>(), [""; 0], "{command}");
        changeset.failed[0].1.clone()
    };
    for (number, (command, why)) in [
        ("mkdir -p $OUT/bin; echo x > $OUT/bin/cat", "wrote /bin/cat, which belongs to programs"),
        ("ln -s /etc/passwd $OUT/link", "wrote /link, which is neither a file nor a directory"),
        ("mkdir -p $OUT/var/lib/conary; echo x > $OUT/var/lib/conary/root.db", "where the root keeps its state"),
        ("echo x > /usr/share/words/w", "ended with 2"),
        ("echo x > $OUT/usr", "wrote /usr, which belongs to words"),
    ]
    .into_iter()
    .enumerate()
    {
        let said = install(command, &format!("{}-1", number + 1));
        assert!(said.contains(why), "{command}: {said}");
    }
}

#[test]
fn the_linker_finds_new_libraries() {
    let Some(lab) = lab() else { return };
    assert!(lab.exists("etc/ld.so.cache"), "the programs brought libraries");
    let library = fs::read_dir("/lib/x86_64-linux-gnu").unwrap().flatten().map(|entry| entry.path());
    let Some(library) = library.into_iter().find(|path| path.to_string_lossy().ends_with("/libz.so.1")) else {
        skip("this machine has no libz.so.1");
        return;
    };
    let cache = || {
        let mut ldconfig = Command::new("/sbin/ldconfig");
        let said = ldconfig.args(["-p", "-C"]).arg(lab.root().join("etc/ld.so.cache")).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    assert!(!cache().contains("libz.so.1"), "{}", cache());
    lab.install(&lab.cook(&package("zlib", "1-1").host_file(&library)));
    assert!(cache().contains("libz.so.1"), "{}", cache());
    lab.remove(&["zlib"]);
    assert!(!cache().contains("libz.so.1"));
    lab.remove(&["programs"]);
    assert!(!lab.exists("etc"), "{:?}", lab.listing());
}

#[test]
fn menus_and_icons_are_found() {
    let tools = ["/usr/bin/update-desktop-database", "/usr/bin/gtk-update-icon-cache"];
    if let Some(missing) = tools.iter().find(|tool| !Path::new(tool).exists()) {
        skip(&format!("this machine has no {missing}"));
        return;
    }
    if lab().is_none() {
        return;
    }
    let lab = Lab::new();
    lab.install(&lab.cook(&programs_and(&tools)));
    let theme = "[Icon Theme]\nName=Hicolor\nDirectories=48x48/apps\n[48x48/apps]\nSize=48\n";
    let picture = Path::new("/usr/share/icons/hicolor/48x48/apps/viewer.png");
    let viewer = package("viewer", "1-1")
        .file(
            "usr/share/applications/viewer.desktop",
            "[Desktop Entry]\nType=Application\nName=V\nMimeType=image/x-own;\n",
        )
        .file("usr/share/icons/hicolor/index.theme", theme)
        .file(&picture.to_string_lossy()[1..], "\u{89}PNG");
    let (changeset, _) = lab.install(&lab.cook(&viewer));
    assert_eq!(changeset.failed, []);
    assert_eq!(lab.read("usr/share/applications/mimeinfo.cache"), "[MIME Cache]\nimage/x-own=viewer.desktop;\n");
    let cache = fs::read(lab.root().join("usr/share/icons/hicolor/icon-theme.cache")).unwrap();
    assert!(cache.windows(6).any(|bytes| bytes == b"viewer"), "the icon is in the cache");
    assert!(!lab.exists("work"));
    lab.remove(&["viewer"]);
    for cache in ["usr/share/applications/mimeinfo.cache", "usr/share/icons/hicolor/icon-theme.cache"] {
        assert!(!lab.exists(cache), "{cache} stays behind");
    }
}

#[test]
fn modules_of_a_kernel_are_indexed() {
    let depmod = "/sbin/depmod";
    if !Path::new(depmod).exists() {
        skip("this machine has no depmod");
        return;
    }
    if lab().is_none() {
        return;
    }
    let lab = Lab::new();
    let link = package("link", "1-1").symlink("lib", "usr/lib").directory("usr/lib", 0o755);
    lab.run(&[install(&lab.cook(&link)), install(&lab.cook(&programs_and(&[depmod])))]).unwrap();
    let module = |version: &str| {
        let (source, object) = (lab.top.path().join("module.c"), lab.top.path().join("module.o"));
        let text =
            format!("__attribute__((section(\".modinfo\"), used)) static const char a[] = \"alias=own:{version}\";");
        fs::write(&source, text).unwrap();
        let compiled = Command::new("cc").arg("-c").arg(&source).arg("-o").arg(&object).status().unwrap();
        assert!(compiled.success());
        let path = "usr/lib/modules/6.1-x/kernel/own.ko";
        package("kernel", version).bytes_in("runtime", path, &fs::read(&object).unwrap(), 0o644)
    };
    let index = || ["dep", "alias"].map(|name| lab.read(&format!("usr/lib/modules/6.1-x/modules.{name}")));
    for version in ["1-1", "2-1"] {
        let (changeset, _) = lab.install(&lab.cook(&module(version)));
        assert_eq!(changeset.failed, []);
        let [dependencies, aliases] = index();
        assert_eq!(dependencies, "kernel/own.ko:\n");
        assert!(aliases.contains(&format!("alias own:{version} own")), "{aliases}");
    }
    assert!(!lab.exists("work"));
    lab.remove(&["kernel"]);
    assert!(!lab.exists("usr/lib/modules/6.1-x/modules.dep"), "{:?}", lab.listing());
}

#[test]
fn rules_are_checked() {
    let lab = Lab::new();
    let root = lab.open();
    let refused = |rule: &TriggerRule| matches!(root.add_trigger(rule), Err(CommitError::Trigger { .. }));
    assert!(refused(&TriggerRule { name: "ldconfig".to_owned(), ..rule("true") }));
    assert!(refused(&TriggerRule { patterns: vec!["[".to_owned()], ..rule("true") }));
    root.add_trigger(&rule("true")).unwrap();
    root.add_trigger(&TriggerRule { name: "early".to_owned(), ..rule("true") }).unwrap();
    root.add_trigger(&TriggerRule { after: vec!["words".to_owned()], name: "a".to_owned(), ..rule("true") }).unwrap();
    let names: Vec<_> = root.triggers().unwrap().into_iter().map(|trigger| trigger.rule.name).collect();
    assert_eq!(names[names.len() - 3..], ["early", "words", "a"]);
    root.remove_trigger("a").unwrap();
    assert!(root.remove_trigger("a").is_err());
}
