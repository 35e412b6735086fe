// sandbox/tests/wall/roots.rs
//! What `/` is made of: the host's `/usr` under trees, or trees alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sandbox::{RootView, Status};

use crate::common::{Kitchen, bind, hostile, skipped};

fn file(path: &Path, content: &str, mode: u32) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn trees_lie_above_the_host() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    let (upper, lower) = (kitchen.beside("trees/upper"), kitchen.beside("trees/lower"));
    file(&upper.join("usr/bin/tool"), "#!/bin/sh\necho upper tool\n", 0o755);
    file(&lower.join("usr/bin/tool"), "#!/bin/sh\necho lower tool\n", 0o755);
    file(&lower.join("usr/bin/other"), "#!/bin/sh\necho other\n", 0o755);
    file(&lower.join("usr/include/only.h"), "header\n", 0o644);
    file(&lower.join("etc/tool.conf"), "configured\n", 0o644);
    file(&lower.join("etc/passwd"), "evil::0:0::/:/bin/sh\n", 0o644);
    file(&lower.join("opt/thing/file"), "optional\n", 0o644);
    file(&lower.join("var/lib/thing"), "state\n", 0o644);
    file(&lower.join("bin/laid"), "#!/bin/sh\necho laid over\n", 0o755);
    file(&lower.join("dev/null"), "not a device\n", 0o644);
    file(&lower.join("tmp/x"), "not scratch\n", 0o644);
    // A link that would lead out of the root if it were followed while the root is made.
    symlink("/", lower.join("etc/alternatives")).expect("a link");
    kitchen.plan.root = RootView::Host { overlays: vec![upper, lower.clone()] };
    let ran = kitchen.sh(
        "tool; other; cat /usr/include/only.h /etc/tool.conf /opt/thing/file /var/lib/thing; head -1 /etc/passwd; \
         laid; /bin/laid; cat /tmp/x; test -c /dev/null && echo device; command -v env; ls -A /usr/local | wc -l; \
         (echo > /usr/bin/new) 2>/dev/null || echo read-only; ls -d /etc/alternatives/.; cat /etc/ld.so.cache | wc -c",
    );
    let lines: Vec<&str> = ran.output.lines().collect();
    assert_eq!(
        &lines[..15],
        [
            "upper tool",
            "other",
            "header",
            "configured",
            "optional",
            "state",
            "root:x:0:0:root:/root:/bin/sh",
            "laid over",
            "laid over",
            "cat: /tmp/x: No such file or directory",
            "device",
            "/usr/bin/env",
            "0",
            "read-only",
            "/etc/alternatives/.",
        ],
        "{}",
        ran.output
    );
    assert_ne!(lines.get(15), Some(&"0"));
    // Compilers work over an overlay, with links of the host's alternatives.
    file(&lower.join("usr/include/answer.h"), "#define ANSWER 42\n", 0o644);
    fs::write(kitchen.build().join("main.c"), "#include <answer.h>\nint main(void) { return ANSWER; }\n")
        .expect("a file");
    assert_eq!(kitchen.sh("cc -o /tmp/main main.c && /tmp/main").status(), Status::Exited(42));
    assert!(fs::read_dir(kitchen.directory.path().join("trees/lower/usr/bin")).expect("a directory").count() == 2);
}

#[test]
fn trees_belong_to_the_build() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    let (tree, second) = (kitchen.beside("tree"), kitchen.beside("second"));
    file(&tree.join("opt/private"), "only the owner reads this\n", 0o600);
    file(&tree.join("srv/private"), "only the owner reads this\n", 0o600);
    file(&second.join("srv/more"), "", 0o644);
    kitchen.plan.root = RootView::Host { overlays: vec![tree, second] };
    let ran = kitchen.sh("cat /opt/private /srv/private; stat -c %u:%g /opt/private /srv/private /usr");
    assert_eq!(ran.output, "only the owner reads this\nonly the owner reads this\n1000:1000\n1000:1000\n65534:65534\n");
    assert_eq!(ran.applied("layers"), "own");
}

#[test]
fn trees_may_bring_a_local_directory() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    if !Path::new("/usr/local").is_dir() {
        return skipped("this host has no /usr/local");
    }
    let tree = kitchen.beside("tree");
    file(&tree.join("usr/local/bin/mine"), "#!/bin/sh\necho mine\n", 0o755);
    kitchen.plan.root = RootView::Host { overlays: vec![tree] };
    assert_eq!(kitchen.sh("/usr/local/bin/mine; ls /usr/local").output, "mine\nbin\n");
}

#[test]
fn layers_are_all_there_is() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    let program = hostile().with_file_name("hostile-static");
    if !program.exists() {
        return skipped("this host cannot link a static program");
    }
    let (upper, lower) = (kitchen.beside("upper"), kitchen.beside("lower"));
    fs::create_dir_all(lower.join("bin")).expect("a directory");
    fs::copy(&program, lower.join("bin/hostile")).expect("a copy");
    file(&lower.join("etc/own"), "own\n", 0o644);
    symlink("/etc", upper.join("var")).expect("a link");
    symlink("/", lower.join("proc")).expect("a link");
    kitchen.plan.root = RootView::Layers { lowers: vec![upper, lower] };
    kitchen.plan.binds.truncate(1);
    assert_eq!(kitchen.run(["/bin/hostile"]).output, "hello\n");
    assert_eq!(kitchen.run(["hostile", "clocks"]).status(), Status::Exited(0));
    assert!(kitchen.try_run(["/usr/bin/env"]).is_err());
    let ran = kitchen.run(["/bin/hostile", "nodes"]);
    assert!(ran.output.ends_with("fifo ok\n"), "{}", ran.output);
    let ran = kitchen.run(["/bin/hostile", "outsiders", "999999"]);
    assert!(ran.output.starts_with("kill ESRCH\n"), "{}", ran.output);
}

#[test]
fn one_layer_is_enough_and_a_shell_runs_in_it() {
    let Some(mut kitchen) = Kitchen::new() else {
        return;
    };
    // The host's own directories stand for a seed: /usr as a layer's `usr` by way of a bind is not possible, so
    // a copy of the shell and what it is linked with is made.
    let seed = kitchen.beside("seed");
    for path in ["/bin/sh", "/bin/ls", "/bin/cat"] {
        let mut files = vec![path.to_owned()];
        let linked = std::process::Command::new("ldd").arg(path).output().expect("ldd");
        for word in String::from_utf8_lossy(&linked.stdout).split_whitespace() {
            if word.starts_with('/') {
                files.push(word.to_owned());
            }
        }
        for file in files {
            let to = seed.join(file.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("it has one")).expect("a directory");
            fs::copy(file, to).expect("a copy");
        }
    }
    kitchen.plan.root = RootView::Layers { lowers: vec![seed] };
    kitchen.plan.binds.push(bind(&kitchen.beside("deep"), "/a/b/c", true));
    kitchen.plan.binds.push(bind(&kitchen.beside("scratch"), "/tmp/x/y", false));
    let ran = kitchen.sh("/bin/ls /; /bin/ls /etc /a/b; /bin/ls /tmp/x; echo made > /build/made; cat /build/made");
    let lines: Vec<&str> = ran.output.lines().filter(|line| !line.starts_with("lib")).collect();
    assert_eq!(
        lines,
        [
            "a",
            "bin",
            "build",
            "dev",
            "etc",
            "hostile",
            "proc",
            "run",
            "tmp",
            "var",
            "/a/b:",
            "c",
            "",
            "/etc:",
            "group",
            "host.conf",
            "hosts",
            "nsswitch.conf",
            "passwd",
            "protocols",
            "services",
            "y",
            "made",
        ]
    );
}
