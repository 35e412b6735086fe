// tests/hostile.rs
//! What a hostile step may leave as its output: contained, named safely, and nothing of the host in the package.

use std::os::unix::fs::PermissionsExt;

use crate::support::recipe::{Member, plain, sha256_of, tar_of, with_archive};
use crate::support::{checkout, each_identity};

#[test]
fn strange_outputs_are_packaged_as_they_are_or_refused_by_name() {
    each_identity(|env| {
        let links = "mkdir -p \"$DESTDIR/usr\"; cd \"$DESTDIR/usr\"; ln -s a b; ln -s b a; ln -s / top; ln -s .. up; \
            ln -s /etc/passwd users; ln -s ../../../../../../../../etc/shadow secret; echo x > x";
        env.write("links/recipe.toml", plain("links", links));
        env.cook(["cook", "links"]).success();
        env.root_command(["install", "dist/links-1.0-1.x86_64.ccs", "--yes"]).success();
        let listing = env.listing(&env.root().join("usr")).join("\n");
        assert!(listing.contains("secret") && !listing.contains("root:"), "{listing}");

        let whole = "mkdir \"$DESTDIR/usr\"; mkfifo \"$DESTDIR/usr/a-pipe\"; touch \"$DESTDIR/usr/x\"";
        env.write("pipe/recipe.toml", plain("pipe", whole));
        env.cook(["cook", "pipe"]).exits(5).says(&["usr/a-pipe is a named pipe", "leave it out"]);

        // Names that would speak to a terminal.
        let names =
            "mkdir -p \"$DESTDIR/usr\"; cd \"$DESTDIR/usr\"; touch \"$(printf 'a\\nb\\033[2Jc')\" x; chmod 6777 *";
        env.write("names/recipe.toml", plain("names", names));
        let run = env.cook(["cook", "names", "--verbose"]);
        assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{:?} {:?}", run.stdout, run.stderr);
        // Whatever modes a step sets, nothing of it is left where others could reach it.
        let leaves = "mkdir -p \"$DESTDIR/usr\"; echo x > \"$DESTDIR/usr/x\"; pwd -P; chmod 777 /build /dest";
        env.write("leaves/recipe.toml", plain("leaves", leaves));
        env.cook(["cook", "leaves"]).success();
        let left = std::fs::read_dir(env.store().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "something is left behind");
        env.cook(["store", "verify"]).success();
    });
}

#[test]
fn nothing_takes_the_place_of_the_output() {
    each_identity(|env| {
        let tries = "set +e; rm -rf \"$DESTDIR\" 2>/dev/null; rmdir /dest 2>/dev/null; mv /dest /build/d 2>/dev/null; ln -sfn /etc /dest 2>/dev/null; \
            mkdir -p /dest/usr; echo x > /dest/usr/x; test ! -L /dest; rmdir /build/* 2>/dev/null; ln -s / /build/to-the-top";
        env.write("whole/recipe.toml", plain("whole", tries));
        env.cook(["cook", "whole"]).success();
        // Sockets and pipes, each refused by name.
        let special = "mkdir -p /dest/usr; echo x > /dest/usr/x; \
            python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/dest/usr/socket\")'";
        env.write("special/recipe.toml", plain("special", special));
        env.cook(["cook", "special"]).exits(5).says(&["usr/socket"]);
        // Deeper than a path can be long.
        let deep = "mkdir -p /dest/usr; cd /dest/usr; \
            python3 -c 'import os\nfor number in range(1600): os.mkdir(\"ddd\"); os.chdir(\"ddd\")\nopen(\"x\", \"w\")'";
        env.write("deep/recipe.toml", plain("deep", deep));
        let run = env.cook(["cook", "deep"]).exits(5).says(&["usr/ddd", "is a directory of paths above 4095 bytes"]);
        assert!(run.stderr.len() < 1000, "{}", run.stderr);
        assert_eq!(std::fs::read_dir(env.store().join("tmp")).unwrap().count(), 0, "something is left behind");
        env.cook(["store", "verify"]).success();
        env.cook(["cook", "whole", "--force"]).success();
    });
}

#[test]
fn what_is_kept_of_a_failed_build_is_for_nobody_else() {
    each_identity(|env| {
        let open = "chmod 777 . /build /dest; cp /bin/sh /dest/sh; chmod 6777 /dest/sh; exit 1";
        env.write("x/recipe.toml", plain("x", open));
        env.cook(["cook", "x", "--keep-failed"]).exits(5);
        // Every way to it leads through a directory that only its owner may enter.
        let mode = std::fs::metadata(env.store().join("tmp")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
        let kept = std::fs::read_dir(env.store().join("tmp")).unwrap().count();
        assert_eq!(kept, 1);
    });
}

#[test]
fn the_callers_variables_do_not_reach_a_step() {
    each_identity(|env| {
        env.write("x/recipe.toml", plain("x", "mkdir -p \"$DESTDIR/usr\"; echo x > \"$DESTDIR/usr/x\"; env | sort"));
        env.cook(["cook", "x"]).success();
        let calm = env.cook(["log", "x"]).success().stdout;
        let store = env.store();
        let mut command = env.conary_command(["cook", "x", "--force", "--store", store.to_str().unwrap()]);
        for name in [
            "BASH_ENV",
            "ENV",
            "LD_LIBRARY_PATH",
            "GIT_DIR",
            "GIT_SSH_COMMAND",
            "PYTHONPATH",
            "PERL5LIB",
            "MAKEFLAGS",
            "CFLAGS",
            "DESTDIR",
            "CONFIG_SITE",
            "IFS",
            "BASH_FUNC_echo%%",
            "SOURCE_DATE_EPOCH",
            "LC_ALL",
            "TZ",
            "TERM",
        ] {
            command.env(name, "/hostile");
        }
        env.run(command).success();
        assert_eq!(env.cook(["log", "x"]).success().stdout, calm);
        assert!(!calm.contains("hostile"), "{calm}");
    });
}

#[test]
fn a_source_that_changes_while_it_is_read_is_what_its_digest_says() {
    each_identity(|env| {
        let archive = |word: &str| tar_of(&[Member::file("x-1.0/word", word.repeat(1 << 18).as_bytes())]);
        let (good, evil) = (archive("good"), archive("evil"));
        env.write("good", &good);
        env.write("evil", &evil);
        env.write("files/x-1.0.tar", &good);
        let sum = sha256_of(env, &good);
        let install = "mkdir -p \"$DESTDIR/usr\"; cp word \"$DESTDIR/usr/word\"; head -c 8 word; tail -c 8 word; grep -c evil word || true";
        let url = format!("file://{}", env.path("files/x-1.0.tar").display());
        env.write("x/recipe.toml", with_archive("x", &url, &sum, install));
        // Written over in place, cut, and replaced, until it is killed.
        let racer = "i=0; while [ -e racing ]; do cat evil > files/x-1.0.tar; cat good > files/x-1.0.tar; cp good new; mv new files/x-1.0.tar; done";
        env.write("racing", "");
        let mut racer = env.shell(racer).spawn().unwrap();
        let (mut cooked, mut refused) = (0, 0);
        for number in 0..60 {
            let store = env.path(format!("store-{number}"));
            let run = env.conary(["cook", "x", "--store", store.to_str().unwrap()]);
            match run.code {
                0 => {
                    let log = env.conary(["log", "x", "--store", store.to_str().unwrap()]).success();
                    assert!(log.stdout.contains("goodgoodgoodgood0\n"), "{}", log.stdout);
                    cooked += 1;
                }
                4 => refused += 1,
                code => panic!("{code}: {}", run.stderr),
            }
            std::fs::remove_dir_all(&store).unwrap();
            if cooked > 2 && refused > 2 {
                break;
            }
        }
        std::fs::remove_file(env.path("racing")).unwrap();
        racer.wait().unwrap();
        crate::support::note(&format!("{cooked} cooked, {refused} refused"));
    });
}

#[test]
fn everything_hostile_of_the_docs_has_its_tests() {
    let found = std::process::Command::new("grep")
        .args(["-rhoE", "--include=*.rs", "fn [a-z0-9_]+\\("])
        .args(["tests", "sandbox", "kitchen", "converters", "recipes", "installer", "store", "conary"])
        .current_dir(checkout())
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    for (page, section, least) in
        [("docs/design/sandbox.md", "## Hostile builds\n", 25), ("docs/reliability.md", "## Hostile installs\n", 30)]
    {
        let page = std::fs::read_to_string(checkout().join(page)).unwrap();
        let (_, section) = page.split_once(section).unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
        let tests: Vec<&str> =
            rows.flat_map(|row| row.rsplit("| ").next().unwrap().split('`').skip(1).step_by(2)).collect();
        assert!(tests.len() > least, "{tests:?}");
        for test in tests {
            assert!(found.lines().any(|line| line == format!("fn {test}(")), "there is no test {test}");
        }
    }
}
