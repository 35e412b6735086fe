// tests/sources.rs
//! Sources that cannot be had, or are not what they should be, or attack: code 4 or 5, and nothing is lost.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::recipe::{Member, archive_recipe, one_file, sha256_of, tar_of, with_archive};
use crate::support::server::{Manner, Server};
use crate::support::{AT_ONCE, TestEnv, each_identity};

const INSTALL: &str = "mkdir -p \"$DESTDIR/usr/share\"; cp -r . \"$DESTDIR/usr/share/x\"";

/// After a failure the store is sound, nothing stands in `dist/`, and the next command works.
fn nothing_is_lost(env: &TestEnv) {
    assert!(!env.path("dist").exists() || env.listing(&env.path("dist")).is_empty());
    env.cook(["store", "verify"]).success();
    assert_eq!(env.listing(&env.store().join("tmp")), [""; 0], "work was left behind");
    env.write("sound/recipe.toml", one_file("sound", "/usr/share/sound", "sound"));
    env.cook(["cook", "sound", "--output", "sound-dist"]).success().prints(&["sound=1.0-1"]);
}

fn archive() -> Vec<u8> {
    let content = vec![b'x'; 300_000];
    tar_of(&[Member::file("x-1.0/readme", b"hello\n"), Member::file("x-1.0/big", &content)])
}

#[test]
fn a_download_is_fetched_once_and_checked() {
    each_identity(|env| {
        let archive = archive();
        let server = Server::start(archive.clone(), Manner::Honest);
        let sum = sha256_of(env, &archive);
        env.write("x/recipe.toml", with_archive("x", &server.url("x-1.0.tar"), &sum, INSTALL));
        env.cook(["fetch", "x"]).success().says(&["Fetched x-1.0.tar"]);
        assert_eq!(server.requests().len(), 1);
        drop(server);
        env.cook(["cook", "x", "--offline"]).success().prints(&["x=1.0-1"]);
        env.cook(["cook", "x", "--fetch-only"]).success();
    });
}

#[test]
fn a_mismatch_is_refused_with_both_digests() {
    each_identity(|env| {
        let archive = archive();
        let server = Server::start(archive.clone(), Manner::Honest);
        let wrong = sha256_of(env, b"something else");
        env.write("x/recipe.toml", with_archive("x", &server.url("x-1.0.tar"), &wrong, INSTALL));
        let run = env.cook(["cook", "x"]).exits(4);
        run.says(&["x-1.0.tar", "does not match", &wrong, &sha256_of(env, &archive), "hint:"]);
        nothing_is_lost(env);
    });
}

#[test]
fn an_unreachable_server_is_named() {
    let env = TestEnv::ordinary();
    let sum = sha256_of(&env, b"x");
    // Port 1 of loopback: nobody listens.
    env.write("x/recipe.toml", with_archive("x", "http://127.0.0.1:1/x-1.0.tar", &sum, INSTALL));
    env.cook(["cook", "x"]).exits(4).says(&["http://127.0.0.1:1/x-1.0.tar: Connection refused", "hint:"]);
    let gone = Server::start(Vec::new(), Manner::Status(404));
    env.write("x/recipe.toml", with_archive("x", &gone.url("x-1.0.tar"), &sum, INSTALL));
    env.cook(["cook", "x"]).exits(4).says(&["404"]);
    env.cook(["cook", "x", "--offline"]).exits(4).says(&["fetching is off", "hint:"]);
    nothing_is_lost(&env);
}

#[test]
fn a_truncated_download_is_no_source_and_a_stumble_is_resumed() {
    let env = TestEnv::ordinary();
    let archive = archive();
    let sum = sha256_of(&env, &archive);
    let short = Server::start(archive.clone(), Manner::Truncates);
    env.write("x/recipe.toml", with_archive("x", &short.url("x-1.0.tar"), &sum, INSTALL));
    env.cook(["cook", "x"]).exits(4).says(&["x-1.0.tar", "hint:"]);
    nothing_is_lost(&env);
    let env = TestEnv::ordinary();
    let stumbling = Server::start(archive, Manner::StumblesOnce);
    env.write("x/recipe.toml", with_archive("x", &stumbling.url("x-1.0.tar"), &sum, INSTALL));
    env.cook(["cook", "x"]).success();
    let resumed = stumbling.requests().iter().any(|request| request.contains("from 1"));
    assert!(resumed, "{:?}", stumbling.requests());
}

#[test]
fn a_crawling_download_can_be_interrupted() {
    let env = TestEnv::ordinary();
    let server = Server::start(archive(), Manner::Crawls);
    let sum = sha256_of(&env, &archive());
    env.write("x/recipe.toml", with_archive("x", &server.url("x-1.0.tar"), &sum, INSTALL));
    let mut command = env.conary_command(["cook", "x", "--store"]);
    let mut child = command.arg(env.store()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let waited = Instant::now();
    while server.requests().is_empty() {
        assert!(waited.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    env.run(env.shell(&format!("kill -INT {}", child.id()))).success();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    nothing_is_lost(&env);
}

#[test]
fn distfiles_and_mirrors_serve_where_upstream_cannot() {
    let env = TestEnv::ordinary();
    let archive = archive();
    let sum = sha256_of(&env, &archive);
    let upstream = "http://127.0.0.1:1/pub/x/x-1.0.tar";
    env.write("x/recipe.toml", with_archive("x", upstream, &sum, INSTALL));
    env.write("distfiles/any-name", &archive);
    env.cook(["cook", "x", "--offline", "--distfiles", "distfiles"]).success();

    let env = TestEnv::ordinary();
    env.write("x/recipe.toml", with_archive("x", upstream, &sum, INSTALL));
    env.write("file", &archive);
    env.cook(["source", "add", "file"]).success().says(&["Added"]).prints(&[&sum]);
    env.cook(["cook", "x", "--offline"]).success();

    let env = TestEnv::ordinary();
    let mirror = Server::start(archive, Manner::Honest);
    env.write("x/recipe.toml", with_archive("x", upstream, &sum, INSTALL));
    env.cook(["mirror", "add", "http://127.0.0.1:1/pub/", &mirror.url("mirror/")]).success();
    env.cook(["mirror", "list"]).success().prints(&["http://127.0.0.1:1/pub/"]);
    env.cook(["cook", "x"]).success();
    assert!(mirror.requests()[0].contains("/mirror/x/x-1.0.tar"), "{:?}", mirror.requests());
    env.cook(["mirror", "remove", "http://127.0.0.1:1/pub/"]).success();
    assert!(!env.cook(["mirror", "list"]).success().stdout.contains("pub"));
    env.cook(["mirror", "remove", "http://127.0.0.1:1/pub/"]).exits(10);
}

#[test]
fn a_source_is_pinned_from_what_is_there() {
    let env = TestEnv::ordinary();
    let archive = archive();
    let sum = sha256_of(&env, &archive);
    let server = Server::start(archive, Manner::Honest);
    let pinned = with_archive("x", &server.url("x-1.0.tar"), &sum, INSTALL);
    let unpinned = pinned.replace(&format!("checksum = \"sha256:{sum}\"\n"), "");
    env.write("x/recipe.toml", &unpinned);
    env.cook(["cook", "x"]).exits(3).says(&["conary source pin"]);
    env.cook(["source", "pin", "x"]).success().says(&["Pinned"]);
    assert!(fs::read_to_string(env.path("x/recipe.toml")).unwrap().contains(&sum));
    env.cook(["cook", "x"]).success();
    env.cook(["source", "verify", "x"]).success();
}

#[test]
fn hostile_archives_write_nothing_outside() {
    each_identity(|env| {
        let outside = env.path("outside");
        let absolute = outside.to_string_lossy().into_owned();
        let cases: Vec<(&str, Vec<Member<'_>>)> = vec![
            ("dots", vec![Member::file("x-1.0/../../outside", b"owned")]),
            ("absolute", vec![Member::file(&absolute, b"owned")]),
            ("symlink", vec![Member::symlink("x-1.0/l", "../../../.."), Member::file("x-1.0/l/outside", b"owned")]),
            ("absolute-symlink", vec![Member::symlink("x-1.0/l", "/"), Member::file("x-1.0/l/outside", b"owned")]),
            ("hard-link", vec![Member::hard_link("x-1.0/l", "/etc/passwd")]),
        ];
        for (name, members) in cases {
            archive_recipe(env, name, &tar_of(&members), INSTALL);
            env.cook(["cook", name]).exits(4).says(&[name, "hint:"]);
            assert!(!outside.exists() && !Path::new("/outside").exists(), "{name} wrote outside");
        }
        nothing_is_lost(env);
    });
}

#[test]
fn a_bomb_is_stopped_before_it_fills_the_disk() {
    let env = TestEnv::ordinary();
    // One file of zeros, larger than what any ratio is granted, in a few thousand bytes.
    let size: u64 = 1_200 << 20;
    let mut header = tar::Header::new_ustar();
    header.set_path("x-1.0/zeros").unwrap();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(header.as_bytes()).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(size + 1024), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let sum = sha256_of(&env, &bomb);
    env.write("x/x-1.0.tar.zst", &bomb);
    env.write("x/recipe.toml", with_archive("x", "x-1.0.tar.zst", &sum, INSTALL));
    env.cook(["cook", "x"]).exits(4).says(&["x-1.0.tar.zst", "1000", "hint:"]);
    nothing_is_lost(&env);
}

#[test]
fn a_patch_that_does_not_apply_names_the_hunk() {
    let env = TestEnv::ordinary();
    env.write("x/src/a.txt", "one\ntwo\n");
    env.write("x/bad.patch", "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n-uno\n+eins\n two\n");
    let head = "[package]\nname = \"x\"\nversion = \"1.0\"\n[source]\npath = \"src\"\n";
    let rest = "[[patches.files]]\nfile = \"bad.patch\"\n[build]\ninstall = 'mkdir -p \"$DESTDIR/usr\"; cp a.txt \"$DESTDIR/usr\"'\n";
    env.write("x/recipe.toml", format!("{head}{rest}"));
    env.cook(["cook", "x"]).exits(4).says(&["bad.patch", "a.txt", "hint:"]);
    assert_eq!(fs::read_to_string(env.path("x/src/a.txt")).unwrap(), "one\ntwo\n", "the source itself was touched");
    nothing_is_lost(&env);
}
