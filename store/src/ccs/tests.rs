// store/src/ccs/tests.rs
//! Whole packages: round trips, equal bytes, other tools; damage of every kind is below.

mod bundles;
mod damage;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use recipes::Digest;
use tempfile::TempDir;

use super::limits::FRAME_BYTES;
use super::{CcsError, Package, WriteOptions, Written, write};
use crate::manifest::{Component, Manifest};
use crate::tree::{Entry, Node, Tree};
use crate::{OpenOptions, Store};

static ON: AtomicBool = AtomicBool::new(true);
static OFF: AtomicBool = AtomicBool::new(false);

/// A store in a directory of its own.
struct Kept {
    store: Store,
    directory: TempDir,
}

fn store() -> Kept {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store"), &OpenOptions::default()).unwrap();
    Kept { store, directory }
}

/// Puts other bytes where an object lies, which nobody can write to.
fn replace(path: &Path, bytes: &[u8]) {
    // It may be gone already.
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::blake3(*blake3::hash(bytes).as_bytes())
}

fn entry(path: &[u8], mode: u32, node: Node) -> Entry {
    let owner = "root".to_owned();
    Entry { path: path.to_vec(), mode, group: owner.clone(), owner, xattrs: BTreeMap::new(), node }
}

/// Bytes that compress neither well nor not at all, different for each seed.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 33).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A component under construction.
struct Part<'s> {
    store: &'s Store,
    entries: Vec<Entry>,
}

impl Part<'_> {
    fn directory(&mut self, path: &str) {
        self.entries.push(entry(path.as_bytes(), 0o755, Node::Directory));
    }

    fn file(&mut self, path: impl AsRef<[u8]>, mode: u32, content: &[u8]) -> &mut Entry {
        let object = self.store.put_bytes(content).unwrap();
        let node = Node::File { object, size: content.len() as u64 };
        self.entries.push(entry(path.as_ref(), mode, node));
        self.entries.last_mut().unwrap()
    }

    fn node(&mut self, path: impl AsRef<[u8]>, mode: u32, node: Node) {
        self.entries.push(entry(path.as_ref(), mode, node));
    }
}

/// A component's name and what fills it.
type Recipe<'a> = (&'a str, &'a dyn Fn(&mut Part<'_>));

/// Makes a trove of the given components and returns its manifest.
fn trove(store: &Store, parts: &[Recipe<'_>]) -> Manifest {
    let mut manifest = crate::manifest::tests::sample("hello", "1.0-1");
    for (name, fill) in parts {
        let mut part = Part { store, entries: Vec::new() };
        fill(&mut part);
        let files = part.entries.iter().filter(|entry| entry.node != Node::Directory).count();
        let tree = Tree::new(part.entries).unwrap();
        store.put_tree(&tree).unwrap();
        let component = Component {
            tree: tree.id(),
            files: files as u64,
            size_bytes: tree.content().1,
            provides: vec![],
            requires: vec![],
        };
        manifest.components.insert((*name).to_owned(), component);
    }
    manifest
}

/// One entry of every kind, in two components.
fn every_kind(store: &Store) -> Manifest {
    trove(
        store,
        &[
            ("lib", &|part| {
                part.directory("usr");
                part.directory("usr/lib");
                part.file("usr/lib/libhello.so.1", 0o755, &noise(1, 3000));
                part.node("usr/lib/libhello.so", 0o777, Node::Symlink { target: b"libhello.so.1".to_vec() });
                // The same content as in the other component.
                part.file("usr/lib/copy", 0o644, b"twice\n");
            }),
            ("runtime", &|part| {
                part.directory("usr");
                part.directory("usr/bin");
                part.directory("usr/share");
                part.directory("usr/share/empty");
                part.file("usr/bin/hello", 0o755, &noise(2, 70_000));
                let first = b"usr/bin/hello".to_vec();
                part.node("usr/bin/hello-again", 0o755, Node::Hardlink { first });
                part.file("usr/bin/setuid", 0o4755, &noise(3, 100));
                part.file("usr/share/nothing", 0o644, b"");
                part.file("usr/share/twice", 0o600, b"twice\n");
                part.file(b"usr/share/\xff\xfe\n\x1b[31m name", 0o644, b"name");
                part.node("usr/share/dangling", 0o777, Node::Symlink { target: b"/\xff/../..".to_vec() });
                let noted = part.file("usr/share/noted", 0o644, b"noted");
                noted.owner = "games".to_owned();
                noted.xattrs.insert(b"user.note".to_vec(), vec![0, 1, 255]);
                noted.xattrs.insert(b"security.capability".to_vec(), vec![1; 20]);
            }),
        ],
    )
}

fn package_with(store: &Store, manifest: &Manifest, level: i32) -> (Vec<u8>, Written) {
    let mut bytes = Vec::new();
    let written = write(store, None, manifest, &mut bytes, &WriteOptions { level }, &OFF).unwrap();
    assert_eq!(written, Written { digest: digest(&bytes), size_bytes: bytes.len() as u64 });
    (bytes, written)
}

fn package(store: &Store, manifest: &Manifest) -> Vec<u8> {
    package_with(store, manifest, 3).0
}

fn open(bytes: &[u8]) -> Result<Package, CcsError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Package::open(file)
}

fn import(bytes: &[u8], store: &Store) -> Result<Digest, CcsError> {
    open(bytes)?.import(store, &OFF, &|_, _| ())
}

fn verify(bytes: &[u8]) -> Result<(), CcsError> {
    open(bytes)?.verify(&OFF, &|_, _| ())
}

/// Says whether a store has all of a trove, whole.
fn has_all(store: &Store, manifest: &Manifest) -> bool {
    manifest.components.values().all(|component| {
        store.tree(&component.tree).is_ok_and(|tree| tree.objects().all(|object| store.read(&object).is_ok()))
    })
}

#[test]
fn every_kind_of_entry_round_trips() {
    let (from, to) = (store(), store());
    let manifest = every_kind(&from.store);
    let bytes = package(&from.store, &manifest);
    let opened = open(&bytes).unwrap();
    assert_eq!(opened.manifest(), &manifest);
    assert_eq!(opened.id(), manifest.id());
    assert_eq!(opened.trees().len(), 2);
    for (name, component) in &manifest.components {
        assert_eq!(opened.tree(name).unwrap(), &from.store.tree(&component.tree).unwrap());
    }
    opened.verify(&OFF, &|_, _| ()).unwrap();
    let done = AtomicU64::new(0);
    let progress = |now: u64, total: u64| {
        assert!(now <= total);
        done.fetch_max(now, Ordering::Relaxed);
    };
    assert_eq!(opened.import(&to.store, &OFF, &progress).unwrap(), manifest.id());
    assert_eq!(done.into_inner(), opened.payload_bytes().0);
    assert!(has_all(&to.store, &manifest));
    assert_eq!(to.store.trove(&manifest.id()).unwrap(), manifest);
    // What was imported can be written again, to the same bytes; and importing again does nothing.
    assert!(package(&to.store, &manifest) == bytes);
    let none = |_, _| panic!("nothing was missing");
    assert_eq!(opened.import(&to.store, &OFF, &none).unwrap(), manifest.id());
}

#[test]
fn packages_without_files_and_without_components_round_trip() {
    let kept = store();
    let empty: Manifest = trove(&kept.store, &[]);
    let bare = trove(&kept.store, &[("runtime", &|part| part.directory("etc"))]);
    let nothing = trove(&kept.store, &[("runtime", &|part| drop(part.file("a", 0o644, b"").clone()))]);
    for manifest in [empty, bare, nothing] {
        let to = store();
        let bytes = package(&kept.store, &manifest);
        verify(&bytes).unwrap();
        assert_eq!(import(&bytes, &to.store).unwrap(), manifest.id());
        assert!(has_all(&to.store, &manifest));
    }
}

#[test]
fn large_objects_are_cut_and_come_back() {
    let (from, to) = (store(), store());
    let big = noise(9, 2 * FRAME_BYTES + 5);
    let manifest = trove(
        &from.store,
        &[("runtime", &|part| {
            part.file("a", 0o644, b"before");
            part.file("b", 0o755, &big);
            part.file("b2", 0o644, &big);
            part.file("c", 0o644, &noise(10, FRAME_BYTES));
            part.file("d", 0o644, b"behind");
        })],
    );
    let bytes = package_with(&from.store, &manifest, 1).0;
    assert_eq!(open(&bytes).unwrap().index.frames.len(), 6);
    verify(&bytes).unwrap();
    import(&bytes, &to.store).unwrap();
    assert_eq!(to.store.read(&digest(&big)).unwrap(), big);
    assert!(has_all(&to.store, &manifest));
    // Both modes were asked for, so both are there to be linked.
    let variants = to.store.variants(&digest(&big)).unwrap();
    let mut variants: Vec<_> = variants.iter().map(|(variant, _)| variant.to_string()).collect();
    variants.sort();
    assert_eq!(variants, ["644", "755"]);
    // A byte changed in the middle piece is found by the merged digest.
    let opened = open(&bytes).unwrap();
    let at = usize::try_from(opened.offsets[2]).unwrap() + FRAME_BYTES / 4;
    let mut damaged = bytes.clone();
    damaged[at] ^= 1;
    assert!(matches!(verify(&damaged), Err(CcsError::Object { .. } | CcsError::Frame { .. })));
    let fresh = store();
    assert!(import(&damaged, &fresh.store).is_err());
    assert!(!fresh.store.has(&digest(&big)).unwrap());
    assert!(!fresh.store.has(&digest(b"before")).unwrap());
}

#[test]
fn objects_are_kept_with_the_modes_of_their_entries() {
    let (from, to) = (store(), store());
    let manifest = every_kind(&from.store);
    import(&package(&from.store, &manifest), &to.store).unwrap();
    let variants = |content: &[u8]| {
        let variants = to.store.variants(&digest(content)).unwrap();
        let mut variants: Vec<_> = variants.iter().map(|(variant, _)| variant.to_string()).collect();
        variants.sort();
        variants
    };
    assert_eq!(variants(&noise(2, 70_000)), ["755"]);
    assert_eq!(variants(&noise(3, 100)), ["755"]);
    assert_eq!(variants(b"twice\n"), ["600", "644"]);
    assert_eq!(variants(b"noted"), ["644"]);
}

#[test]
fn bytes_do_not_depend_on_threads_or_on_what_else_the_store_has() {
    let fill = |kept: &Kept| {
        trove(
            &kept.store,
            &[("runtime", &|part| {
                for number in 0..40_u32 {
                    let size = 1 + (number as usize * 97_531) % 900_000;
                    part.file(format!("f{number}"), 0o644, &noise(u64::from(number), size));
                }
            })],
        )
    };
    let (one, two) = (store(), store());
    two.store.put_bytes(b"something else").unwrap();
    let mut files = Vec::new();
    for (kept, threads) in [(&one, 1), (&one, 2), (&two, 5), (&two, 1)] {
        let manifest = fill(kept);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        files.push(pool.install(|| package(&kept.store, &manifest)));
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(open(&files[0]).unwrap().index.frames.len() > 1);
    // Another level is another file of the same trove.
    let manifest = fill(&one);
    let (other, _) = package_with(&one.store, &manifest, 1);
    assert!(other != files[0]);
    assert_eq!(open(&other).unwrap().id(), manifest.id());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let alone = store();
    pool.install(|| import(&files[0], &alone.store)).unwrap();
    assert!(has_all(&alone.store, &manifest));
}

#[test]
fn only_frames_with_missing_objects_are_decoded() {
    let (from, to) = (store(), store());
    let [first, second] = [noise(1, FRAME_BYTES - 10), noise(2, FRAME_BYTES - 10)];
    let manifest = trove(
        &from.store,
        &[("runtime", &|part| {
            part.file("a", 0o644, &first);
            part.file("b", 0o644, &second);
        })],
    );
    let mut bytes = package_with(&from.store, &manifest, 1).0;
    // The first frame is worthless, but what it holds is there already.
    let opened = open(&bytes).unwrap();
    let start = usize::try_from(opened.offsets[0]).unwrap();
    bytes[start..start + 1000].fill(0x55);
    assert!(import(&bytes, &to.store).is_err());
    assert!(!to.store.has(&digest(&second)).unwrap(), "nothing is kept of a damaged package");
    to.store.put_bytes(&first).unwrap();
    let total = AtomicU64::new(0);
    let progress = |_: u64, of: u64| total.store(of, Ordering::Relaxed);
    open(&bytes).unwrap().import(&to.store, &OFF, &progress).unwrap();
    assert_eq!(total.into_inner(), second.len() as u64);
    assert!(has_all(&to.store, &manifest));
}

#[test]
fn cancelled_work_leaves_nothing() {
    let (from, to) = (store(), store());
    let manifest = every_kind(&from.store);
    let mut out = Vec::new();
    let error = write(&from.store, None, &manifest, &mut out, &WriteOptions::default(), &ON).unwrap_err();
    assert!(matches!(error, CcsError::Interrupted));
    assert!(out.is_empty());
    let opened = open(&package(&from.store, &manifest)).unwrap();
    assert!(matches!(opened.import(&to.store, &ON, &|_, _| ()), Err(CcsError::Interrupted)));
    assert!(matches!(opened.verify(&ON, &|_, _| ()), Err(CcsError::Interrupted)));
    assert!(to.store.troves().unwrap().is_empty());
    let left = fs::read_dir(to.directory.path().join("store/objects")).unwrap();
    assert_eq!(left.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum::<usize>(), 0);
}

#[test]
fn a_damaged_or_incomplete_store_gives_no_package() {
    let kept = store();
    let manifest = every_kind(&kept.store);
    let object = digest(&noise(2, 70_000));
    let hex = object.hex();
    let path = kept.directory.path().join("store/objects").join(&hex[..2]).join(format!("{}.444", &hex[2..]));
    let mut out = Vec::new();
    let mut attempt = || write(&kept.store, None, &manifest, &mut out, &WriteOptions::default(), &OFF).unwrap_err();
    fs::remove_file(&path).unwrap();
    assert!(matches!(attempt(), CcsError::Store(_)));
    replace(&path, &noise(4, 70_000));
    let error = attempt();
    assert!(matches!(error, CcsError::Store(_)));
    assert!(error.hint().unwrap().contains("verify"));
    replace(&path, b"short");
    assert!(matches!(attempt(), CcsError::Store(_)));
    assert!(out.is_empty());

    let big = noise(5, FRAME_BYTES + 1);
    let manifest = trove(&kept.store, &[("runtime", &|part| drop(part.file("a", 0o644, &big).clone()))]);
    let hex = digest(&big).hex();
    let path = kept.directory.path().join("store/objects").join(&hex[..2]).join(format!("{}.444", &hex[2..]));
    replace(&path, &noise(6, FRAME_BYTES + 1));
    let error = write(&kept.store, None, &manifest, &mut out, &WriteOptions::default(), &OFF).unwrap_err();
    assert!(matches!(error, CcsError::StoredObject { .. }), "{error}");
    replace(&path, b"short");
    let error = write(&kept.store, None, &manifest, &mut out, &WriteOptions::default(), &OFF).unwrap_err();
    assert!(matches!(error, CcsError::StoredSize { .. }), "{error}");
    assert!(out.is_empty());
}

#[test]
fn a_tree_of_absurd_sizes_is_refused_by_its_limit() {
    let kept = store();
    let manifest = trove(
        &kept.store,
        &[("runtime", &|part| {
            let object = digest(b"not as large as that");
            let size = u64::MAX - 5;
            part.node("a", 0o644, Node::File { object, size });
        })],
    );
    let mut out = Vec::new();
    let error = write(&kept.store, None, &manifest, &mut out, &WriteOptions::default(), &OFF).unwrap_err();
    assert!(matches!(error, CcsError::Limit { limit: "frames", .. }), "{error}");
}

/// Runs a program of the system; `None`, loudly, when there is none.
fn tool(program: &str, arguments: &[&str], directory: &Path) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).current_dir(directory).env("LC_ALL", "C").output() {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(error) => {
            let forbidden = std::env::var_os("CONARY_FORBID_SKIPS").is_some_and(|value| value == "1");
            assert!(!forbidden, "{program} is needed: {error}");
            eprintln!("skipped: no {program}");
            None
        }
    }
}

#[test]
fn tar_and_zstd_open_a_package() {
    let kept = store();
    let manifest = every_kind(&kept.store);
    let bytes = package(&kept.store, &manifest);
    let directory = kept.directory.path();
    fs::write(directory.join("hello.ccs"), &bytes).unwrap();
    let Some((success, listing)) = tool("tar", &["-tvf", "hello.ccs"], directory) else {
        return;
    };
    assert!(success, "{listing}");
    let lines: Vec<&str> = listing.lines().collect();
    assert_eq!(lines.len(), 5, "{listing}");
    for (line, name) in lines.iter().zip(["manifest.json", "index", "trees/lib", "trees/runtime", "payload/0000.zst"]) {
        assert!(line.starts_with("-rw-r--r-- root/root") && line.ends_with(name), "{line}");
        assert!(line.contains(" 1980-01-02 ") || line.contains(" 1980-01-01 "), "{line}");
    }
    fs::create_dir(directory.join("out")).unwrap();
    let (success, message) = tool("tar", &["-xf", "../hello.ccs", "--warning=all"], &directory.join("out")).unwrap();
    assert!(success && message.is_empty(), "{message}");
    let out = directory.join("out");
    assert_eq!(fs::read(out.join("manifest.json")).unwrap(), manifest.to_json());
    let tree = &manifest.components["lib"].tree;
    assert_eq!(digest(&fs::read(out.join("trees/lib")).unwrap()), *tree);
    let Some((success, message)) = tool("zstd", &["-dq", "payload/0000.zst"], &out) else {
        return;
    };
    assert!(success, "{message}");
    let content = fs::read(out.join("payload/0000")).unwrap();
    assert_eq!(content.len() as u64, open(&bytes).unwrap().payload_bytes().0);
    assert!(content.windows(6).any(|window| window == b"twice\n"));
}

/// Contents that fill one frame each.
fn frame_contents() -> [Vec<u8>; 3] {
    [1, 2, 3].map(|seed| noise(seed, 5 << 20))
}

/// All but the last of them.
pub(super) fn first_contents() -> Vec<Vec<u8>> {
    frame_contents()[..2].to_vec()
}

/// A package of three frames.
pub(super) fn several_frames() -> (Vec<u8>, Manifest) {
    let kept = store();
    let fill = |part: &mut Part<'_>| {
        for (name, content) in ["a", "b", "c"].into_iter().zip(frame_contents()) {
            part.file(name, 0o644, &content);
        }
    };
    let manifest = trove(&kept.store, &[("runtime", &fill)]);
    (package(&kept.store, &manifest), manifest)
}

/// A package again, signed.
pub(super) fn signed_package(bytes: &[u8]) -> Vec<u8> {
    signed_by(bytes, 1)
}

/// A package again, signed by so many.
pub(super) fn signed_by(bytes: &[u8], count: u8) -> Vec<u8> {
    let id = open(bytes).unwrap().id();
    let signatures: Vec<_> = (1..=count).map(|seed| super::SecretKey::from_seed(&[seed; 32]).sign(&id)).collect();
    resigned(bytes, &signatures)
}

/// A small package whose manifest has a description of so many bytes.
pub(super) fn with_a_long_text(bytes: usize) -> (Vec<u8>, Manifest) {
    let kept = store();
    let fill = |part: &mut Part<'_>| {
        part.file("a", 0o644, b"a");
    };
    let mut manifest = trove(&kept.store, &[("runtime", &fill)]);
    manifest.description = Some("d".repeat(bytes));
    (package(&kept.store, &manifest), manifest)
}

/// Writes a package again with these signatures.
fn resigned(bytes: &[u8], signatures: &[super::Signature]) -> Vec<u8> {
    let mut out = Vec::new();
    open(bytes).unwrap().write_with(signatures, &mut out).unwrap();
    out
}

#[test]
fn signatures_are_a_member_that_changes_nothing_else() {
    let kept = store();
    for manifest in [every_kind(&kept.store), trove(&kept.store, &[])] {
        let bytes = package(&kept.store, &manifest);
        let signatures: Vec<super::Signature> =
            (1..=64).map(|seed| super::SecretKey::from_seed(&[seed; 32]).sign(&manifest.id())).collect();
        for count in [1, 2, 64] {
            let signed = resigned(&bytes, &signatures[..count]);
            let opened = open(&signed).unwrap();
            assert_eq!((opened.id(), opened.signatures().len()), (manifest.id(), count));
            assert!(opened.signatures().iter().all(|signature| signature.verify(&opened.id())));
            verify(&signed).unwrap();
            assert_eq!(resigned(&signed, &[]), bytes, "without them it is the same file again");
            assert_eq!(resigned(&bytes, opened.signatures()), signed);
            let to = store();
            import(&signed, &to.store).unwrap();
            assert_eq!(to.store.signatures(&manifest.id()).unwrap(), opened.signatures());
            // Every changed byte of the member is refused, or a signature that is not valid.
            let place = usize::try_from(open(&bytes).unwrap().signatures_at).unwrap();
            for at in (place..place + 700).step_by(7) {
                let mut damaged = signed.clone();
                damaged[at] ^= 0x10;
                let id = manifest.id();
                let refused =
                    open(&damaged).map_or(true, |package| package.signatures().iter().any(|one| !one.verify(&id)));
                assert!(refused, "byte {at}");
            }
        }
    }
}

#[test]
fn openssl_agrees_about_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let id = Digest::blake3([3; 32]);
    let signature = super::SecretKey::from_seed(&[5; 32]).sign(&id);
    let message = [&b"conary trove signature 1\n"[..], id.as_bytes()].concat();
    // The fixed head of an Ed25519 key in DER.
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    fs::write(directory.path().join("key"), [&head[..], signature.key.as_bytes()].concat()).unwrap();
    fs::write(directory.path().join("message"), message).unwrap();
    fs::write(directory.path().join("signature"), signature.bytes).unwrap();
    let arguments = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin", "-in", "message"];
    let arguments = [&arguments[..], &["-sigfile", "signature"]].concat();
    let Some((success, message)) = tool("openssl", &arguments, directory.path()) else { return };
    assert!(success, "{message}");
}

/// Returns where the second reader is.
fn second_reader() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/second_reader.py")
}

#[test]
fn the_second_reader_agrees() {
    let kept = store();
    let directory = kept.directory.path();
    let large = |part: &mut Part<'_>| {
        part.file("large", 0o644, &noise(9, FRAME_BYTES + 70_000));
        part.file("tiny", 0o755, b"x");
        part.file("piece", 0o644, &noise(8, 5000));
    };
    let packages = [every_kind(&kept.store), trove(&kept.store, &[]), trove(&kept.store, &[("runtime", &large)])];
    for (number, manifest) in packages.iter().enumerate() {
        let bytes = package(&kept.store, manifest);
        let path = directory.join(format!("{number}.ccs"));
        fs::write(&path, &bytes).unwrap();
        let reader = second_reader();
        let arguments = [reader.to_str().unwrap(), path.to_str().unwrap()];
        let Some((success, message)) = tool("python3", &arguments, directory) else {
            return;
        };
        assert!(success, "{message}");
        assert!(message.contains(&manifest.id().to_string()), "{message}");
        // It reads a signed one too, and checks the signatures by itself.
        let keys = [1, 2].map(|seed| super::SecretKey::from_seed(&[seed; 32]));
        let signatures = keys.map(|key| key.sign(&manifest.id()));
        let signed = resigned(&bytes, &signatures);
        fs::write(&path, &signed).unwrap();
        let (success, message) = tool("python3", &arguments, directory).unwrap();
        assert!(success, "{message}");
        let mut forged = signatures;
        forged[0].bytes[40] ^= 1;
        fs::write(&path, resigned(&bytes, &forged)).unwrap();
        let (success, message) = tool("python3", &arguments, directory).unwrap();
        assert!(!success && message.contains("signature by"), "{message}");
        // And it refuses what this reader refuses.
        let opened = open(&bytes).unwrap();
        let Some(offset) = opened.offsets.first() else {
            continue;
        };
        let mut damaged = bytes.clone();
        damaged[usize::try_from(*offset).unwrap() + 20] ^= 4;
        assert!(verify(&damaged).is_err());
        fs::write(&path, &damaged).unwrap();
        let (success, message) = tool("python3", &arguments, directory).unwrap();
        assert!(!success && !message.contains("Traceback"), "{message}");
    }
}

#[test]
fn a_large_hole_needs_little_room() {
    let kept = store();
    let size = 96 << 20;
    let path = kept.directory.path().join("sparse");
    File::create(&path).unwrap().set_len(size).unwrap();
    let batch = kept.store.batch().unwrap();
    let (object, _) = batch.add_file(&mut File::open(&path).unwrap(), 0o644).unwrap();
    batch.commit().unwrap();
    let manifest = trove(
        &kept.store,
        &[("runtime", &|part| {
            part.node("sparse", 0o644, Node::File { object, size });
        })],
    );
    let bytes = package(&kept.store, &manifest);
    assert!(bytes.len() < 40_000, "{}", bytes.len());
    verify(&bytes).unwrap();
    let mut content = Vec::new();
    let to = store();
    import(&bytes, &to.store).unwrap();
    let mut imported = to.store.open_object(&object).unwrap();
    imported.read_to_end(&mut content).unwrap();
    assert!(content.len() as u64 == size && content.iter().all(|byte| *byte == 0));
    for file in [&kept.store.open_object(&object).unwrap(), &imported] {
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20, "the hole is one again");
    }
}
