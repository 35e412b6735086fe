// store/src/ccs/tests/bundles.rs
//! Bundles: several troves through one file, shared contents once, damage of every kind.

use super::super::archive;
use super::super::{Bundle, SecretKey, write_bundle};
use super::*;

/// A trove that shares a large content with [`every_kind`] and has one more of its own.
fn sharing(store: &Store) -> Manifest {
    let manifest = trove(
        store,
        &[("runtime", &|part| {
            part.directory("usr");
            part.file("usr/shared", 0o644, &noise(1, 3000));
            part.file("usr/own", 0o600, b"own\n");
            part.file("usr/empty", 0o644, b"");
        })],
    );
    store.put_trove(&manifest).unwrap();
    manifest
}

/// A trove of every kind of entry, on the store's list.
fn listed(store: &Store) -> Manifest {
    let manifest = every_kind(store);
    store.put_trove(&manifest).unwrap();
    manifest
}

fn bundle(store: &Store, ids: &[Digest]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = write_bundle(store, ids, &mut bytes, &WriteOptions { level: 3 }, &OFF).unwrap();
    assert_eq!(written, Written { digest: digest(&bytes), size_bytes: bytes.len() as u64 });
    bytes
}

fn opened(bytes: &[u8]) -> Result<Bundle, CcsError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Bundle::open(file)
}

#[test]
fn the_second_reader_agrees_about_bundles() {
    let kept = store();
    let (one, other) = (listed(&kept.store), sharing(&kept.store));
    let signatures = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]).sign(&one.id()));
    kept.store.add_signatures(&one.id(), &signatures).unwrap();
    let path = kept.directory.path().join("set.bundle");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let arguments = [second_reader(), path.clone()].map(|path| path.to_string_lossy().into_owned());
        tool("python3", &[&arguments[0], &arguments[1]], kept.directory.path())
    };
    for ids in [vec![one.id()], vec![other.id()], vec![one.id(), other.id()]] {
        let bytes = bundle(&kept.store, &ids);
        let Some((success, message)) = read(&bytes) else { return };
        assert!(success, "{message}");
        for id in &ids {
            let count = if *id == one.id() { 2 } else { 0 };
            let line = message.lines().find(|line| line.starts_with(&id.to_string())).unwrap();
            assert!(line.ends_with(&format!("{count} signatures")), "{message}");
        }
    }
    // What this reader refuses, that one refuses too.
    let bytes = bundle(&kept.store, &[one.id(), other.id()]);
    for place in (0..bytes.len()).step_by(bytes.len() / 24) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 4;
        let refused = opened(&damaged).and_then(|bundle| {
            let valid = |trove: &super::super::Bundled| trove.signatures.iter().all(|one| one.verify(&trove.id));
            bundle.verify(&OFF, &|_, _| ()).map(|()| bundle.troves().iter().all(valid))
        });
        let (success, message) = read(&damaged).unwrap();
        assert_eq!(success, matches!(refused, Ok(true)), "{place}: {message}");
        assert!(!message.contains("Traceback"), "{message}");
    }
}

#[test]
fn several_troves_round_trip_with_their_signatures() {
    let (from, to) = (store(), store());
    let (one, other) = (listed(&from.store), sharing(&from.store));
    let signature = SecretKey::from_seed(&[7; 32]).sign(&one.id());
    from.store.add_signatures(&one.id(), &[signature]).unwrap();
    let bytes = bundle(&from.store, &[one.id(), other.id()]);
    assert_eq!(bytes, bundle(&from.store, &[other.id(), one.id(), one.id()]), "order and repetition do not matter");

    let bundle = opened(&bytes).unwrap();
    bundle.verify(&OFF, &|_, _| ()).unwrap();
    bundle.import(&to.store, &OFF, &|_, _| ()).unwrap();
    for manifest in [&one, &other] {
        assert_eq!(&to.store.trove(&manifest.id()).unwrap(), manifest);
        assert!(has_all(&to.store, manifest));
    }
    assert_eq!(to.store.signatures(&one.id()).unwrap().len(), 1);
    assert!(to.store.signatures(&other.id()).unwrap().is_empty());
    // Again, and from the second store: nothing new, and the same bytes.
    bundle.import(&to.store, &OFF, &|_, _| ()).unwrap();
    assert_eq!(bytes, self::bundle(&to.store, &[one.id(), other.id()]));
    // Each content once: the second trove costs less than the content that both have.
    let alone = self::bundle(&from.store, &[one.id()]);
    assert!(bytes.len() < alone.len() + 3000 + 6 * 512, "{} and {}", bytes.len(), alone.len());
}

#[test]
fn other_tools_open_a_bundle() {
    let from = store();
    let (one, other) = (listed(&from.store), sharing(&from.store));
    let bytes = bundle(&from.store, &[one.id(), other.id()]);
    let mut names = Vec::new();
    for member in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut member = member.unwrap();
        let name = member.path().unwrap().to_string_lossy().into_owned();
        if name.starts_with("payload/") {
            let mut stored = Vec::new();
            member.read_to_end(&mut stored).unwrap();
            zstd::decode_all(&stored[..]).unwrap();
        }
        names.push(name);
    }
    assert_eq!(names[..3], ["bundle.json", "index", "0000/manifest.json"]);
    assert!(names.contains(&"0001/manifest.json".to_owned()), "{names:?}");
}

#[test]
fn what_the_store_lacks_or_the_list_repeats_is_refused() {
    let from = store();
    let manifest = listed(&from.store);
    let mut out = Vec::new();
    let unknown = [manifest.id(), digest(b"no trove")];
    assert!(write_bundle(&from.store, &unknown, &mut out, &WriteOptions::default(), &OFF).is_err());
    assert!(write_bundle(&from.store, &[], &mut Vec::new(), &WriteOptions::default(), &OFF).is_err());
    assert!(out.is_empty());
    // A package is no bundle, and a bundle no package.
    assert!(opened(&package(&from.store, &manifest)).is_err());
    assert!(open(&bundle(&from.store, &[manifest.id()])).is_err());
}

#[test]
fn every_truncation_and_every_flipped_byte_is_refused_or_equal() {
    let from = store();
    let (one, other) = (listed(&from.store), sharing(&from.store));
    from.store.add_signatures(&other.id(), &[SecretKey::from_seed(&[7; 32]).sign(&other.id())]).unwrap();
    let bytes = bundle(&from.store, &[one.id(), other.id()]);
    let ids: Vec<Digest> = opened(&bytes).unwrap().troves().iter().map(|trove| trove.id).collect();
    let refused = |bytes: &[u8], what: &str| match opened(bytes) {
        Err(_) => true,
        Ok(bundle) if bundle.verify(&OFF, &|_, _| ()).is_err() => true,
        Ok(bundle) => {
            let found: Vec<Digest> = bundle.troves().iter().map(|trove| trove.id).collect();
            assert_eq!(found, ids, "{what}");
            false
        }
    };
    for length in (0..bytes.len()).step_by(archive::BLOCK) {
        assert!(refused(&bytes[..length], "cut"), "{length} bytes");
    }
    assert!(refused(&[&bytes[..], &[0; 512]].concat(), "longer"));
    let mut taken = 0;
    for at in (0..bytes.len()).step_by(61) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        taken += usize::from(!refused(&damaged, &format!("byte {at}")));
    }
    // Only a signature's bytes and what zstd does not look at may change without being noticed here.
    assert!(taken <= 96 / 61 + 2, "{taken}");
}
