// tests/seeds.rs
//! Seeds, and build roots that are made of troves alone. A whole distribution as a seed: tests/seed.sh.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::recipe::plain;
use crate::support::{TestEnv, each_identity};

/// A root with a shell and a few programs of this host, and with what names a host.
fn small_root(env: &TestEnv) {
    for program in ["sh", "cat", "mkdir", "ls"] {
        let program = format!("/bin/{program}");
        let linked = Command::new("ldd").arg(&program).output().unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        for file in linked.split_whitespace().filter(|word| word.starts_with('/')).chain([program.as_str()]) {
            let inside = file.trim_start_matches('/');
            let inside = if inside.starts_with("usr/") { inside.to_owned() } else { format!("usr/{inside}") };
            env.write(format!("seed/{inside}"), fs::read(file).unwrap());
            Command::new("chmod").arg("755").arg(env.path(format!("seed/{inside}"))).status().unwrap();
        }
    }
    for name in ["bin", "lib", "lib64"] {
        let _ = symlink(format!("usr/{name}"), env.path(format!("seed/{name}")));
    }
    for (path, content) in [
        ("etc/machine-id", "4711\n"),
        ("etc/hostname", "secret\n"),
        ("etc/resolv.conf", "nameserver 192.0.2.1\n"),
        ("etc/ssh/ssh_host_rsa_key", "secret\n"),
        ("etc/issue", "small\n"),
        ("var/log/boot", "today\n"),
        ("tmp/left", "over\n"),
    ] {
        env.write(format!("seed/{path}"), content);
    }
    Command::new("mkfifo").arg(env.path("seed/etc/pipe")).status().unwrap();
    env.give();
}

fn import(env: &TestEnv, name: &str, from: &str) -> String {
    let seed = env.cook(["seed", "import", name, from, "--json"]).success().json();
    assert_eq!(seed["name"], name);
    seed["id"].as_str().unwrap().to_owned()
}

const RECIPE: &str = "[package]\nname = \"x\"\nversion = \"1\"\n\n[build]\nmakedepends = [\"/usr/bin/cat\"]\ninstall = '''\n\
    ls / /etc /usr /tmp\ncat /etc/issue\nmkdir -p \"$DESTDIR/usr\"\n\
    test ! -e /usr/bin/env\ntest ! -e /etc/hostname\necho made > \"$DESTDIR/usr/x\"\n'''\n";

#[test]
fn a_seed_is_its_content_and_a_hermetic_build_sees_nothing_else() {
    let packages = RefCell::new(Vec::new());
    each_identity(|env| {
        small_root(env);
        let id = import(env, "small", "seed");
        assert_eq!(import(env, "other", "seed"), id, "a name is no content");
        Command::new("tar")
            .arg("-C")
            .arg(env.path("seed"))
            .arg("-czf")
            .arg(env.path("seed.tgz"))
            .arg(".")
            .status()
            .unwrap();
        env.give();
        assert_eq!(import(env, "packed", "seed.tgz"), id, "a tarball is its content");
        let shown = env.cook(["seed", "show", "small", "--files"]).success();
        assert!(shown.stdout.contains("/etc/issue\n") && shown.stdout.contains("/tmp\n"), "{}", shown.stdout);
        for gone in ["machine-id", "hostname", "resolv.conf", "ssh_host", "pipe", "boot", "left"] {
            assert!(!shown.stdout.contains(gone), "{gone}: {}", shown.stdout);
        }

        env.write("x/recipe.toml", RECIPE);
        env.cook(["cook", "x", "--seed", "small"]).exits(2);
        env.cook(["cook", "x", "--hermetic", "--seed", "none"])
            .exits(10)
            .says(&["there is no seed none", "conary seed list"]);
        env.cook(["cook", "x", "--hermetic"]).exits(10).says(&["neither the store nor a seed has it"]);
        let run = env.cook(["cook", "x", "--hermetic", "--seed", "small", "--json"]).success();
        let package = run.json()["cooked"][0]["package"].as_str().unwrap().to_owned();
        packages.borrow_mut().push(fs::read(env.path(package)).unwrap());
        env.cook(["log", "x"]).success().prints(&["bin\nbuild\ndest\ndev\netc\n", "\nissue\n", "\nsmall\n"]);
        let again = env.cook(["cook", "x", "--hermetic", "--seed", &id]).success();
        assert!(again.stderr.contains("Fresh"), "{}", again.stderr);
        env.cook(["why", "x", "--hermetic", "--seed", "other"]).success().prints(&["fresh"]);
        env.cook(["why", "x"]).success().prints(&["seed"]);

        // A recipe names its seed, by name or by content; the command line has the last word.
        for named in ["small", "other", &id] {
            env.write("x/recipe.toml", RECIPE.replace("[build]", &format!("[build]\nseed = \"{named}\"")));
            env.cook(["why", "x", "--hermetic"]).success().prints(&["fresh"]);
            let again = env.cook(["cook", "x", "--hermetic"]).success();
            assert!(again.stderr.contains("Fresh"), "{}", again.stderr);
        }
        env.write("x/recipe.toml", RECIPE.replace("[build]", "[build]\nseed = \"none\""));
        env.cook(["cook", "x", "--hermetic"]).exits(10).says(&["there is no seed none"]);
        env.cook(["why", "x", "--hermetic", "--seed", "small"]).success().prints(&["fresh"]);
        env.write("x/recipe.toml", RECIPE);

        env.write("seed/etc/issue", "larger\n");
        env.write("seed/etc/motd", "more\n");
        assert_ne!(import(env, "other", "seed"), id);
        env.cook(["seed", "diff", "small", "other"]).success().prints(&["~ /etc/issue\n", "+ /etc/motd\n"]);
        let difference = env.cook(["seed", "diff", "other", "small", "--json"]).success().json();
        assert_eq!(difference["differences"][1]["change"], "removed");
        env.cook(["why", "x", "--hermetic", "--seed", "other"]).success().prints(&["stale", "seed"]);

        // A file that the root lacks is named, with the trove or the seed that has it.
        env.write("seed/usr/bin/very-rare", "#!/bin/sh\n");
        Command::new("chmod").arg("755").arg(env.path("seed/usr/bin/very-rare")).status().unwrap();
        env.give();
        import(env, "richer", "seed");
        env.write("y/recipe.toml", plain("y", "very-rare"));
        let seed = ["--hermetic", "--seed", "small"];
        env.cook([&["cook", "y"][..], &seed].concat()).exits(5).says(&[
            "it wanted the program very-rare",
            "the seed richer has the program very-rare (/usr/bin/very-rare)",
        ]);
        let rare = "mkdir -p \"$DESTDIR/usr/bin\"; echo > \"$DESTDIR/usr/bin/very-rare\"; chmod 755 \"$DESTDIR/usr/bin/very-rare\"";
        env.write("rare/recipe.toml", plain("rare", rare));
        env.cook(["cook", "rare"]).success();
        let run = env.cook([&["cook", "y"][..], &seed].concat()).exits(5);
        let run = run
            .says(&["rare=1.0-1 has the program very-rare (/usr/bin/very-rare): `rare` in `makedepends` brings it in"]);
        assert!(!run.stderr.contains("the seed richer"), "{}", run.stderr);
        env.cook(["seed", "remove", "richer"]).success();

        env.cook(["gc"]).success();
        env.cook(["cook", "x", "--hermetic", "--seed", "small", "--force"]).success();
        for name in ["small", "packed", "other"] {
            env.cook(["seed", "remove", name]).success();
        }
        assert_eq!(env.cook(["seed", "list", "--json"]).success().json()["seeds"].as_array().unwrap().len(), 0);
        env.cook(["seed", "remove", "small"]).exits(10);
        env.cook(["store", "verify"]).success();
    });
    let packages = packages.into_inner();
    assert!(packages.windows(2).all(|pair| pair[0] == pair[1]), "root's package and a user's differ");
}

#[test]
fn what_steps_used_is_shown() {
    each_identity(|env| {
        env.write("x/recipe.toml", plain("x", "mkdir -p \"$DESTDIR/usr\"; echo x > \"$DESTDIR/usr/x\""));
        env.cook(["cook", "x"]).success();
        env.cook(["show", "x", "--cooked"]).success().prints(&[
            "isolation  full",
            "peak memory",
            "install",
            "seccomp=",
        ]);
        let json = env.cook(["show", "x", "--cooked", "--json"]).success().json();
        let step = &json["steps"][0];
        assert_eq!(step["phase"], "install");
        assert!(step["peak_memory_bytes"].as_u64().unwrap() > 100_000, "{step}");
        assert!(step["written_bytes"].is_u64() && step["cpu_ms"].is_u64(), "{step}");
        env.cook(["show", "none", "--cooked"]).exits(10).says(&["never cooked"]);
        env.cook(["show", "x"]).exits(2);
    });
}
