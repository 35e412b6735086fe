// kitchen/src/fetch/tests/vouched.rs
//! What vouches for a commit: archives as the real git makes them, and signatures as it makes them.

use std::path::Path;

use super::repositories::{Repositories, git, patient};
use super::*;

/// Adds what archives treat in ways of their own, and commits it; returns the commit.
fn with_attributes(at: &Path) -> String {
    let write = |name: &str, content: &[u8]| {
        let path = at.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    let long = format!("{}/{}/file.txt", "d".repeat(90), "e".repeat(70));
    let longer = format!("{}/{}", "f".repeat(120), "g".repeat(140));
    write(&long, b"long\n");
    write(&longer, b"longer\n");
    std::os::unix::fs::symlink("../".repeat(40) + "target", at.join("far")).unwrap();
    write(
        ".gitattributes",
        b"# what archives leave out\ntests export-ignore\n/docs/*.draft export-ignore\nonly/ export-ignore\n*.bat text eol=crlf\n*.auto text=auto eol=crlf\n*.bin binary\n\
          version.txt export-subst\nkeyword.c ident\n.gitattributes export-ignore\n",
    );
    write("tests/a.txt", b"no\n");
    write("docs/a.draft", b"no\n");
    write("docs/a.txt", b"yes\n");
    write("docs/tests/a.txt", b"no\n");
    write("only/a.txt", b"no\n");
    write("kept/.gitattributes", b"a.txt export-ignore\nb.txt -export-ignore\n");
    write("kept/a.txt", b"no\n");
    write("kept/b.txt", b"yes\n");
    write("run.bat", b"echo a\necho b\r\n");
    write("plain.auto", b"a\nb\n");
    write("mixed.auto", b"a\r\nb\n");
    write("raw.auto", b"a\0b\n");
    write("raw.bin", b"a\nb\n");
    write("version.txt", b"$Format:%H %h %T %P$\n$Format:%an <%ae> %at %ct$ $Format:%cI|%ai|%s|%%$ rest $Format\n");
    write("keyword.c", b"$Id$ $Id: old $ $Id: in another place $ $Idle$ $Id\n");
    write("empty", b"");
    write("exact", &[b'x'; 1024]);
    git(at, &["add", "."]);
    git(at, &["commit", "-qm", "attributes\nof archives\n\nmore"]);
    git(at, &["rev-parse", "HEAD"])
}

/// The archive that the real git makes.
fn archive(at: &Path, what: &str) -> Vec<u8> {
    let output = Command::new("git")
        .args(["-c", "core.abbrev=no", "-C"])
        .arg(at)
        .args(["archive", "--format", "tar", what])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn checksums_of_a_git_archive_hold_for_what_git_makes() {
    let bench = patient();
    let repositories = Repositories::new();
    let hello = repositories.path("hello");
    let newest = with_attributes(&hello);
    let server = repositories.over_http(true);
    for (commit, url) in [
        (&repositories.commits[1], hello.display().to_string()),
        (&newest, hello.display().to_string()),
        (&newest, server.url("/hello/.git")),
    ] {
        let real = archive(&hello, commit);
        let source = |sum: &str| {
            format!("[[source.additional]]\ngit = \"{url}\"\ncommit = \"{commit}\"\nchecksum = \"{sum}\"\nname = \"a\"")
        };
        let fetched = bench.fetch(&source(&sha256(&real))).unwrap_or_else(|error| panic!("{url}: {error:?}"));
        assert!(matches!(fetched[0].content, Content::Tree(_)));
        // It is remembered, and another one is looked at.
        assert_eq!(bench.fetch(&source(&sha256(&real))).unwrap()[0].how, How::Stored);
        let error = bench.fetch(&source(&sha256(b"other"))).unwrap_err();
        assert!(
            matches!(&error, FetchError::Git { source, .. } if matches!(**source, git::GitError::OtherArchive { .. })),
            "{error:?}"
        );
        // A weak one is held against it once, and SHA-256 takes its place.
        let text = |sum: &str| format!("[package]\nname = \"a\"\nversion = \"1\"\n{}\n", source(sum));
        let pin = |text: &str| {
            pin(text, "recipe.toml", &bench.directory(), &facts(), &bench.store, &bench.options, &bench.cancel, &|_| {})
        };
        let md5 = git_hash("md5sum", &real);
        for weak in [format!("md5:{md5}"), "SKIP".to_owned()] {
            assert!(recipes::parse(&text(&weak), "recipe.toml").is_err());
            assert_eq!(pin(&text(&weak)).unwrap().text, text(&sha256(&real)), "{weak}");
        }
        let wrong = pin(&text("md5:d41d8cd98f00b204e9800998ecf8427e")).unwrap_err();
        assert!(wrong.to_string().contains("git") || format!("{wrong:?}").contains("OtherArchive"), "{wrong:?}");
    }
}

#[test]
fn an_archive_that_depends_on_more_than_the_commit_is_not_guessed() {
    let bench = patient();
    let repositories = Repositories::new();
    let hello = repositories.path("hello");
    std::fs::write(hello.join(".gitattributes"), "v export-subst\n").unwrap();
    std::fs::write(hello.join("v"), "$Format:%d$\n").unwrap();
    git(&hello, &["add", "."]);
    git(&hello, &["commit", "-qm", "names"]);
    let commit = git(&hello, &["rev-parse", "HEAD"]);
    let error = bench
        .fetch(&format!(
            "[source]\ngit = \"{}\"\ncommit = \"{commit}\"\nchecksum = \"{}\"",
            hello.display(),
            sha256(b"")
        ))
        .unwrap_err();
    assert!(
        matches!(&error, FetchError::Git { source, .. } if matches!(**source, git::GitError::NoArchive { .. })),
        "{error:?}"
    );
}

/// What a program like `md5sum` prints for bytes.
fn git_hash(program: &str, bytes: &[u8]) -> String {
    let place = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(place.path(), bytes).unwrap();
    let output = Command::new(program).arg(place.path()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..32].to_owned()
}

#[test]
fn tags_and_commits_are_signed_by_the_recipes_keys() {
    if !has("gpg", &["--version"]) || !has("ssh-keygen", &["-?"]) {
        return;
    }
    let bench = patient();
    let repositories = Repositories::new();
    let hello = repositories.path("hello");
    let gpg = super::signatures::Gpg::new(&bench);
    let home = bench.directory().join("gnupg").display().to_string();
    for user in ["a@example.org", "b@example.org"] {
        gpg.run(&["--quick-generate-key", user, "ed25519", "sign", "never"]);
        gpg.export(user, &format!("{user}.asc"));
    }
    let ssh = bench.directory().join("id");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f"]).arg(&ssh).output();
    assert!(made.unwrap().status.success());
    // As the real git signs, with a wrapper for the home of GnuPG.
    let wrapper = bench.directory().join("gpg-here");
    std::fs::write(&wrapper, format!("#!/bin/sh\nGNUPGHOME={home} exec gpg --batch \"$@\"\n")).unwrap();
    std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = format!("gpg.program={}", wrapper.display());
    let key = format!("user.signingkey={}", ssh.display());
    let with_gpg = ["-c", &program, "-c", "user.signingkey=a@example.org"];
    let with_ssh = ["-c", "gpg.format=ssh", "-c", &key];
    git(&hello, &[&with_gpg[..], &["tag", "-sm", "signed", "pgp-tag", &repositories.commits[0]]].concat());
    git(&hello, &[&with_ssh[..], &["tag", "-sm", "signed", "ssh-tag", &repositories.commits[0]]].concat());
    git(&hello, &[&with_gpg[..], &["commit", "-q", "--allow-empty", "-S", "-m", "signed commit"]].concat());
    let by_gpg = git(&hello, &["rev-parse", "HEAD"]);
    git(&hello, &[&with_ssh[..], &["commit", "-q", "--allow-empty", "-S", "-m", "signed commit"]].concat());
    let by_ssh = git(&hello, &["rev-parse", "HEAD"]);
    git(&hello, &["tag", "of-signed", &by_gpg]);
    let (first, second) = (&repositories.commits[0], &repositories.commits[1]);
    let (two, zero) = (repositories.over_http(true), repositories.over_http(false));
    for url in [hello.display().to_string(), two.url("/hello/.git"), zero.url("/hello/.git")] {
        // Of another content in the store each time.
        let bench = {
            let other = patient();
            for file in ["a@example.org.asc", "b@example.org.asc", "id.pub"] {
                std::fs::copy(bench.directory().join(file), other.directory().join(file)).unwrap();
            }
            other
        };
        let fetch = |commit: &str, tag: &str, keys: &[&str]| {
            let tag = if tag.is_empty() { String::new() } else { format!("tag = \"{tag}\"\n") };
            let error = bench.fetch(&format!("[source]\ngit = \"{url}\"\ncommit = \"{commit}\"\n{tag}keys = {keys:?}"));
            error.map(drop).map_err(|error| match error {
                FetchError::Git { source, .. } => *source,
                other => panic!("{other:?}"),
            })
        };
        let (a, b, ssh) = ("a@example.org.asc", "b@example.org.asc", "id.pub");
        for (commit, tag, key) in [
            (first, "pgp-tag", a),
            (first, "ssh-tag", ssh),
            (&by_gpg, "", a),
            (&by_gpg, "of-signed", a),
            (&by_ssh, "", ssh),
        ] {
            fetch(commit, tag, &[key]).unwrap_or_else(|error| panic!("{url} {commit} {tag}: {error:?}"));
            fetch(commit, tag, &[b, key]).unwrap();
            let other = fetch(commit, tag, &[b]).unwrap_err();
            assert!(
                matches!(&other, git::GitError::Signature { source, .. } if matches!(**source, SignatureError::OtherKey { .. })),
                "{other:?}"
            );
        }
        for (commit, tag) in [(first, ""), (second, "v2"), (second, "light")] {
            let error = fetch(commit, tag, &[a]).unwrap_err();
            assert!(matches!(error, git::GitError::Unsigned { .. }), "{tag}: {error:?}");
        }
    }
}
