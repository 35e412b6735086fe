// kitchen/src/fetch/tests/pins.rs
//! Writing the missing checksums into a recipe.

use super::server::{Server, send};
use super::*;

impl Bench {
    fn pin(&self, text: &str) -> Result<Pinned, PinError> {
        pin(text, "recipe.toml", &self.directory(), &facts(), &self.store, &self.options, &self.cancel, &|_| {})
    }
}

#[test]
fn only_the_missing_checksums_are_added() {
    let bench = Bench::new();
    let real = Server::files(&[("/a-1.0.tar", b"main"), ("/extra", b"extra"), ("/far.patch", b"far")]);
    let target = real.url("/a-1.0.tar");
    let moved = Server::new(move |_, _, stream| send(stream, "302 Found", &[("Location", &target)], b""));
    bench.write("near.patch", "near");
    let text = format!(
        "# A comment.\n[package]\nname = \"a\"   # odd   spacing\nversion = \"1.0\"\n\n[source]\narchive = \"{}/a-%(version)s.tar\" # main\nextract_dir = \"a\"\n\n\
         [[source.additional]]\nurl = \"{1}/extra\"\n\n[[source.additional]]\nurl = \"{1}/known\"\nchecksum = \"{2}\"\n\n\
         [[patches.files]]\nfile = \"near.patch\"\n\n[[patches.files]]\nfile = \"{1}/far.patch\"\n\n[build]\nmake = '''\nmake\n'''\n",
        moved.url(""),
        real.url(""),
        sha256(b"known"),
    );
    let pinned = bench.pin(&text).unwrap();
    let list: Vec<(&str, &str, String)> =
        pinned.sources.iter().map(|one| (&*one.section, &*one.origin, one.pin.clone())).collect();
    let expected = [
        ("source", real.url("/a-1.0.tar"), sha256(b"main")),
        ("source.additional 1", real.url("/extra"), sha256(b"extra")),
        ("patches.files 2", real.url("/far.patch"), sha256(b"far")),
    ];
    assert_eq!(list, expected.each_ref().map(|(section, origin, digest)| (*section, &**origin, digest.clone())));
    let added: Vec<&str> = pinned.text.lines().filter(|line| !text.lines().any(|old| old == *line)).collect();
    assert_eq!(added, expected.map(|(_, _, digest)| format!("checksum = \"{digest}\"")));
    assert_eq!(pinned.text.lines().count(), text.lines().count() + 3, "every other line is as it was");
    // The pinned recipe loads, needs the network for what was known before alone, and is pinned.
    assert!(recipes::parse(&pinned.text, "recipe.toml").is_ok());
    let again = bench.pin(&pinned.text).unwrap();
    assert_eq!((again.sources.len(), &again.text), (0, &pinned.text));
}

#[test]
fn inline_tables_and_architectures_are_pinned_too() {
    let bench = Bench::new();
    bench.write("x86.tar", "x86");
    bench.write("more", "more");
    let text = "package = { name = \"a\", version = \"1\" }\n[source]\nadditional = [{ url = \"more\" }]\n[source.arch.x86_64]\narchive = \"x86.tar\"\n";
    let pinned = bench.pin(text).unwrap();
    assert_eq!(pinned.sources.len(), 2);
    let recipe = recipes::parse(&pinned.text, "recipe.toml").unwrap();
    assert!(
        matches!(recipe.source_for("x86_64"), Source::Archive { checksums, .. } if checksums[0].to_string() == sha256(b"x86"))
    );
}

#[test]
fn a_checksum_that_says_nothing_is_replaced() {
    let bench = Bench::new();
    bench.write("a.tar", "a");
    for checksum in [
        "md5:0cc175b9c0f1b6a831c399e269772661",
        "sha1:86f7e437faa5a7fce15d1ddcb9eaeaea377667b8",
        "cksum:1220704766",
        "SKIP",
        &format!("sha256:{}", "0".repeat(64)),
    ] {
        let text = format!(
            "[package]\nname = \"a\"\nversion = \"1\"\n[source]\narchive = \"a.tar\"\nchecksum = \"{checksum}\" # why\n"
        );
        let pinned = bench.pin(&text).unwrap_or_else(|error| panic!("{checksum}: {error}"));
        assert_eq!(pinned.text, text.replace(checksum, &sha256(b"a")));
    }
    // What proves nothing must hold all the same.
    for checksum in ["'md5:d41d8cd98f00b204e9800998ecf8427e'", "['SKIP', 'cksum:1']"] {
        let text =
            format!("[package]\nname = \"a\"\nversion = \"1\"\n[source]\narchive = \"a.tar\"\nchecksum = {checksum}\n");
        match bench.pin(&text) {
            Err(PinError::Fetch(FetchError::Other { file, .. })) => assert_eq!(file, "a.tar"),
            other => panic!("{checksum}: {other:?}"),
        }
    }
    // A slip of the pen is for its author to see.
    let slip = "[package]\nname = \"a\"\nversion = \"1\"\n[source]\narchive = \"a.tar\"\nchecksum = \"sha256:1234\"\n";
    assert!(matches!(bench.pin(slip), Err(PinError::Recipe(_))));
}

#[test]
fn a_recipe_with_other_errors_is_not_fetched_for() {
    let bench = Bench::new();
    let server = Server::files(&[("/a", b"a")]);
    let text = format!(
        "[package]\nname = \"a\"\nversion = \"1\"\n[source]\narchive = \"{}\"\nchecksun = \"x\"\n",
        server.url("/a")
    );
    match bench.pin(&text) {
        Err(PinError::Recipe(diagnostics)) => {
            assert!(diagnostics.iter().any(|one| one.line == 6 && one.message.contains("checksun")), "{diagnostics:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(bench.pin("[package\n"), Err(PinError::Recipe(_))));
    assert_eq!(server.requests().len(), 0);
    let missing = "[package]\nname = \"a\"\nversion = \"1\"\n[source]\narchive = \"none.tar\"\n";
    assert!(matches!(bench.pin(missing), Err(PinError::Fetch(FetchError::Missing { .. }))));
}
