// kitchen/src/fetch/tests/signatures.rs
//! Signatures made by the real programs.

use std::path::Path;

use super::server::Server;
use super::*;

impl Bench {
    fn signed(&self, archive: &str, signature: &str, keys: &[&str]) -> Result<Fetched, FetchError> {
        let content = std::fs::read(self.directory().join(archive)).unwrap();
        let source = format!(
            "[source]\narchive = \"{archive}\"\nchecksum = \"{}\"\nsignature = \"{signature}\"\nkeys = {keys:?}",
            sha256(&content)
        );
        let fetched = self.fetch(&source);
        assert_eq!(self.knows(&source), fetched.is_ok(), "what did not hold answers nothing");
        fetched.map(|mut fetched| fetched.remove(0))
    }

    fn refusal(&self, archive: &str, signature: &str, keys: &[&str]) -> SignatureError {
        match self.signed(archive, signature, keys) {
            Err(FetchError::Signature { source, .. }) => *source,
            other => panic!("not refused: {other:?}"),
        }
    }
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .env("GNUPGHOME", directory.join("gnupg"))
        .current_dir(directory)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A `GnuPG` of its own below the recipe's directory, whose agent ends with it.
pub(super) struct Gpg<'b>(&'b Bench);

impl<'b> Gpg<'b> {
    pub(super) fn new(bench: &'b Bench) -> Self {
        let home = bench.directory().join("gnupg");
        std::fs::create_dir(&home).unwrap();
        std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self(bench)
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let fixed = ["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""];
        run(&self.0.directory(), "gpg", &[&fixed[..], arguments].concat())
    }

    pub(super) fn export(&self, user: &str, file: &str) {
        let key = self.run(&["--armor", "--export", user]);
        assert!(!key.is_empty());
        self.0.write(file, key);
    }

    fn fingerprints(&self, user: &str) -> Vec<String> {
        let listing = String::from_utf8(self.run(&["--with-colons", "--list-keys", user])).unwrap();
        listing
            .lines()
            .filter(|line| line.starts_with("fpr:"))
            .map(|line| line.split(':').nth(9).unwrap().to_owned())
            .collect()
    }
}

impl Drop for Gpg<'_> {
    fn drop(&mut self) {
        let _ =
            Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.0.directory().join("gnupg")).output();
    }
}

#[test]
fn openpgp_signatures_hold_for_the_recipes_keys_alone() {
    if !has("gpg", &["--version"]) {
        return;
    }
    let bench = Bench::new();
    let gpg = Gpg::new(&bench);
    bench.write("a.tar", noise(100_000));
    for (user, algorithm) in
        [("ed@example.org", "ed25519"), ("rsa@example.org", "rsa2048"), ("other@example.org", "ed25519")]
    {
        gpg.run(&["--quick-generate-key", user, algorithm, "sign", "never"]);
        gpg.export(user, &format!("{user}.asc"));
    }
    let sign = |user: &str, more: &[&str], output: &str| {
        gpg.run(&[&["--local-user", user, "--output", output, "--detach-sign"][..], more, &["a.tar"]].concat());
    };
    sign("ed@example.org", &["--armor"], "ed.asc");
    sign("rsa@example.org", &[], "rsa.sig");
    for (signature, key) in [("ed.asc", "ed@example.org.asc"), ("rsa.sig", "rsa@example.org.asc")] {
        bench.signed("a.tar", signature, &[key]).unwrap_or_else(|error| panic!("{signature}: {error:?}"));
        assert!(
            bench
                .events()
                .iter()
                .any(|event| matches!(event, Event::Verified { key, .. } if key.contains("@example.org")))
        );
        bench.signed("a.tar", signature, &["other@example.org.asc", key]).unwrap();
        assert!(matches!(
            bench.refusal("a.tar", signature, &["other@example.org.asc"]),
            SignatureError::OtherKey { .. }
        ));
    }
    // The key itself as text.
    let inline = std::fs::read_to_string(bench.directory().join("ed@example.org.asc")).unwrap();
    bench.signed("a.tar", "ed.asc", &[&inline]).unwrap();
    // What held is remembered; what holds is not asked again, and other bytes are.
    bench.events();
    bench.signed("a.tar", "ed.asc", &["ed@example.org.asc"]).unwrap();
    assert!(!bench.events().iter().any(|event| matches!(event, Event::Verified { .. })));
    bench.write("b.tar", noise(100_001));
    assert!(matches!(bench.refusal("b.tar", "ed.asc", &["ed@example.org.asc"]), SignatureError::Wrong));
    // A signature that can be forged, and things that are no signature.
    sign(
        "rsa@example.org",
        &["--digest-algo", "SHA1", "--weak-digest", "MD5", "--allow-weak-digest-algos"],
        "weak.sig",
    );
    assert!(matches!(bench.refusal("a.tar", "weak.sig", &["rsa@example.org.asc"]), SignatureError::Weak { .. }));
    sign("ed@example.org", &["--textmode"], "text.sig");
    assert!(matches!(bench.refusal("a.tar", "text.sig", &["ed@example.org.asc"]), SignatureError::Malformed { .. }));
    bench.write("nonsense.sig", "hello");
    assert!(matches!(bench.refusal("a.tar", "nonsense.sig", &["ed@example.org.asc"]), SignatureError::Unknown { .. }));
    let good = std::fs::read(bench.directory().join("rsa.sig")).unwrap();
    bench.write("cut.sig", &good[..good.len() - 10]);
    bench.write("more.sig", [&good[..], b"and more"].concat());
    let mut bent = good.clone();
    *bent.last_mut().unwrap() ^= 1;
    bench.write("bent.sig", bent);
    for bad in ["cut.sig", "more.sig", "bent.sig"] {
        bench.refusal("a.tar", bad, &["rsa@example.org.asc"]);
    }
    assert!(matches!(bench.refusal("a.tar", "none.sig", &["ed@example.org.asc"]), SignatureError::Missing(_)));
    assert!(matches!(bench.refusal("a.tar", "ed.asc", &["none.asc"]), SignatureError::Key { .. }));
}

#[test]
fn openpgp_subkeys_must_be_bound_valid_and_for_signing() {
    if !has("gpg", &["--version"]) {
        return;
    }
    let bench = Bench::new();
    let gpg = Gpg::new(&bench);
    bench.write("a.tar", noise(1000));
    let user = "sub@example.org";
    gpg.run(&["--faked-system-time", "20200101T000000!", "--quick-generate-key", user, "ed25519", "cert", "never"]);
    let primary = gpg.fingerprints(user)[0].clone();
    gpg.run(&["--faked-system-time", "20200101T000001!", "--quick-add-key", &primary, "ed25519", "sign", "1y"]);
    let subkey = gpg.fingerprints(user)[1].clone();
    let sign = |at: &str, key: &str, output: &str| {
        gpg.run(&["--faked-system-time", at, "--local-user", key, "--output", output, "--detach-sign", "a.tar"]);
    };
    let exact = format!("{subkey}!");
    sign("20200601T000000!", &exact, "in-time.sig");
    gpg.export(user, "key.asc");
    bench.signed("a.tar", "in-time.sig", &["key.asc"]).unwrap();
    // Expired when the signature was made: gpg itself refuses to make one, so the lifetime is cut afterwards.
    gpg.run(&["--faked-system-time", "20200102T000000!", "--quick-set-expire", &primary, "2m", &subkey]);
    gpg.export(user, "shorter.asc");
    match bench.refusal("a.tar", "in-time.sig", &["shorter.asc"]) {
        SignatureError::Invalid { why, .. } => assert!(why.contains("expired"), "{why}"),
        other => panic!("{other:?}"),
    }
    // The binding taken away: the subkey is a stranger's.
    let packets = gpg.run(&["--export", user]);
    let parts = packets_of(&packets);
    let unbound: Vec<u8> = parts[..parts.len() - 1].concat();
    bench.write("unbound.asc", unbound);
    let refused = bench.refusal("a.tar", "in-time.sig", &["unbound.asc"]);
    assert!(matches!(refused, SignatureError::OtherKey { .. } | SignatureError::Invalid { .. }), "{refused:?}");
    // A stranger's certificate that adopts the subkey without its consent.
    gpg.run(&[
        "--faked-system-time",
        "20200101T000000!",
        "--quick-generate-key",
        "thief@example.org",
        "ed25519",
        "cert,sign",
        "never",
    ]);
    let thief = packets_of(&gpg.run(&["--export", "thief@example.org"])).concat();
    bench.write("thief.asc", [&thief[..], parts[parts.len() - 2], parts[parts.len() - 1]].concat());
    let refused = bench.refusal("a.tar", "in-time.sig", &["thief.asc"]);
    assert!(matches!(refused, SignatureError::Invalid { .. } | SignatureError::OtherKey { .. }), "{refused:?}");
    // Revoked, at any time.
    let revocation =
        std::fs::read_to_string(bench.directory().join(format!("gnupg/openpgp-revocs.d/{primary}.rev"))).unwrap();
    bench.write("revocation.asc", revocation.replace(":-----BEGIN", "-----BEGIN"));
    gpg.run(&["--import", "revocation.asc"]);
    gpg.export(user, "revoked.asc");
    match bench.refusal("a.tar", "in-time.sig", &["revoked.asc"]) {
        SignatureError::Invalid { why, .. } => assert!(why.contains("revoked"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// Splits binary OpenPGP into its packets, as far as gpg's exports need it.
fn packets_of(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let [tag, first, second, ..] = rest {
        let (head, length) = match (tag & 0x40 != 0, tag & 3, *first) {
            (false, 1, high) => (3, (usize::from(high) << 8) | usize::from(*second)),
            (false, 0, length) | (true, _, length @ 0..=191) => (2, usize::from(length)),
            (true, _, high) => (3, ((usize::from(high) - 192) << 8) + usize::from(*second) + 192),
            _ => panic!("a packet of 64 KiB"),
        };
        let (part, after) = rest.split_at(head + length);
        parts.push(part);
        rest = after;
    }
    parts
}

#[test]
fn minisign_signatures_hold() {
    if !has("minisign", &["-v"]) {
        return;
    }
    let bench = Bench::new();
    let directory = bench.directory();
    bench.write("a.tar", noise(300_000));
    bench.write("b.tar", noise(300_001));
    for name in ["one", "two"] {
        run(&directory, "minisign", &["-G", "-W", "-f", "-p", &format!("{name}.pub"), "-s", &format!("{name}.key")]);
    }
    run(&directory, "minisign", &["-S", "-s", "one.key", "-m", "a.tar", "-x", "a.minisig"]);
    run(&directory, "minisign", &["-S", "-l", "-s", "one.key", "-m", "a.tar", "-x", "legacy.minisig"]);
    let inline = std::fs::read_to_string(directory.join("one.pub")).unwrap().lines().nth(1).unwrap().to_owned();
    for signature in ["a.minisig", "legacy.minisig"] {
        bench.signed("a.tar", signature, &["one.pub"]).unwrap();
        bench.signed("a.tar", signature, &["two.pub", &inline]).unwrap();
        assert!(matches!(bench.refusal("a.tar", signature, &["two.pub"]), SignatureError::OtherKey { .. }));
        assert!(matches!(bench.refusal("b.tar", signature, &["one.pub"]), SignatureError::Wrong));
    }
    let text = std::fs::read_to_string(directory.join("a.minisig")).unwrap();
    bench.write("comment.minisig", text.replace("trusted comment: timestamp", "trusted comment: Timestamp"));
    assert!(matches!(bench.refusal("a.tar", "comment.minisig", &["one.pub"]), SignatureError::Wrong));
    bench.write("behind.minisig", text + "more\n");
    assert!(matches!(bench.refusal("a.tar", "behind.minisig", &["one.pub"]), SignatureError::Malformed { .. }));
}

#[test]
fn ssh_signatures_hold_for_files() {
    if !has("ssh-keygen", &["-?"]) {
        return;
    }
    let bench = Bench::new();
    let directory = bench.directory();
    bench.write("a.tar", noise(10_000));
    bench.write("b.tar", noise(10_001));
    for (name, kind, bits) in [
        ("ed", "ed25519", "0"),
        ("rsa", "rsa", "2048"),
        ("p256", "ecdsa", "256"),
        ("p384", "ecdsa", "384"),
        ("other", "ed25519", "0"),
    ] {
        let bits: &[&str] = if bits == "0" { &[] } else { &["-b", bits] };
        run(&directory, "ssh-keygen", &[&["-q", "-t", kind, "-N", "", "-C", name, "-f", name][..], bits].concat());
    }
    for name in ["ed", "rsa", "p256", "p384"] {
        run(&directory, "ssh-keygen", &["-Y", "sign", "-q", "-f", name, "-n", "file", "a.tar"]);
        let signature = format!("{name}.sig");
        std::fs::rename(directory.join("a.tar.sig"), directory.join(&signature)).unwrap();
        let public = format!("{name}.pub");
        bench.signed("a.tar", &signature, &["other.pub", &public]).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(matches!(bench.refusal("a.tar", &signature, &["other.pub"]), SignatureError::OtherKey { .. }));
        assert!(matches!(bench.refusal("b.tar", &signature, &[&public]), SignatureError::Wrong));
    }
    let inline = std::fs::read_to_string(directory.join("ed.pub")).unwrap();
    bench.signed("a.tar", "ed.sig", &[inline.trim()]).unwrap();
    run(&directory, "ssh-keygen", &["-Y", "sign", "-q", "-f", "ed", "-n", "git", "a.tar"]);
    assert!(matches!(bench.refusal("a.tar", "a.tar.sig", &["ed.pub"]), SignatureError::Purpose { .. }));
}

#[test]
fn a_signature_is_fetched_once_and_may_be_over_what_is_inside() {
    if !has("minisign", &["-v"]) {
        return;
    }
    let mut bench = Bench::new();
    let directory = bench.directory();
    bench.write("a.tar", noise(50_000));
    run(&directory, "minisign", &["-G", "-W", "-p", "one.pub", "-s", "one.key"]);
    run(&directory, "minisign", &["-S", "-s", "one.key", "-m", "a.tar", "-x", "a.tar.sig"]);
    run(&directory, "gzip", &["-k", "a.tar"]);
    let (packed, signature) =
        (std::fs::read(directory.join("a.tar.gz")).unwrap(), std::fs::read(directory.join("a.tar.sig")).unwrap());
    let server = Server::files(&[("/a.tar.gz", &packed), ("/a.tar.sig", &signature), ("/a.tar.gz.sig", &signature)]);
    let text = |name: &str| {
        format!(
            "[source]\narchive = \"{0}/a.tar.gz\"\nchecksum = \"{1}\"\nsignature = \"{0}/{name}\"\nkeys = [\"one.pub\"]",
            server.url(""),
            sha256(&packed)
        )
    };
    bench.fetch(&text("a.tar.sig")).unwrap();
    assert_eq!(server.requests().len(), 2);
    bench.options.offline = true;
    bench.fetch(&text("a.tar.sig")).unwrap();
    assert_eq!(server.requests().len(), 2);
    bench.options.offline = false;
    assert!(
        matches!(bench.fetch(&text("a.tar.gz.sig")), Err(FetchError::Signature { .. })),
        "this one says that it is over the packed file"
    );
}
