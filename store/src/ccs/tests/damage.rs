// store/src/ccs/tests/damage.rs
//! Packages that are cut, changed, put together wrongly or made to lie.

use std::fs::{self, File};

use super::{OFF, digest, every_kind, noise, open, package, store, trove, verify};
use crate::ccs::index::{Frame, Index};
use crate::ccs::limits::FRAME_BYTES;
use crate::ccs::{CcsError, IndexError, Package, archive, frame};
use crate::manifest::Manifest;

/// What must hold for any bytes: an error, or the trove that was packed.
fn refused_or_equal(bytes: &[u8], manifest: &Manifest, what: &str) -> bool {
    let Ok(opened) = open(bytes) else { return true };
    if opened.verify(&OFF, &|_, _| ()).is_err() {
        return true;
    }
    assert_eq!(opened.manifest(), manifest, "{what}");
    false
}

#[test]
fn every_truncation_is_refused() {
    let kept = store();
    let manifest = every_kind(&kept.store);
    let bytes = package(&kept.store, &manifest);
    assert_eq!(bytes.len() % archive::BLOCK, 0);
    for length in (0..bytes.len()).step_by(archive::BLOCK).chain([1, 511, bytes.len() - 1]) {
        assert!(open(&bytes[..length]).is_err(), "cut at {length}");
        // A hole of the same length where the rest was.
        let mut hollow = bytes[..length].to_vec();
        hollow.resize(bytes.len(), 0);
        let whole = bytes[length..].iter().all(|byte| *byte == 0);
        assert_eq!(refused_or_equal(&hollow, &manifest, "a hole"), !whole, "hole from {length}");
    }
    for behind in [&bytes[..], &[0; 512], &[0; 10_240], b"x"] {
        assert!(open(&[&bytes, behind].concat()).is_err());
    }
}

#[test]
fn every_changed_byte_is_refused_or_harmless() {
    let kept = store();
    let manifest = trove(
        &kept.store,
        &[("runtime", &|part| {
            part.file("a", 0o644, &noise(1, 700));
            part.file("b", 0o755, b"the quick brown fox, the quick brown fox, the quick brown fox");
        })],
    );
    let bytes = package(&kept.store, &manifest);
    let first_frame = usize::try_from(open(&bytes).unwrap().offsets[0]).unwrap();
    for offset in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            let mut damaged = bytes.clone();
            damaged[offset] ^= flip;
            let refused = refused_or_equal(&damaged, &manifest, "one byte");
            assert!(refused || offset >= first_frame, "byte {offset} ^ {flip:#x} was taken");
        }
    }
}

#[test]
fn swapped_repeated_and_foreign_members_are_refused() {
    let kept = store();
    let manifest = every_kind(&kept.store);
    let bytes = package(&kept.store, &manifest);
    let mut members: Vec<Vec<u8>> = Vec::new();
    let mut rest = &bytes[..bytes.len() - archive::END.len()];
    while !rest.is_empty() {
        let size = u64::from_str_radix(std::str::from_utf8(&rest[124..135]).unwrap(), 8).unwrap();
        let (member, behind) = rest.split_at(usize::try_from(archive::blocks(size)).unwrap() * 512);
        members.push(member.to_vec());
        rest = behind;
    }
    let join = |order: &[&[u8]]| [&order.concat()[..], &archive::END].concat();
    let [json, index, lib, runtime, frame] = [0, 1, 2, 3, 4].map(|number| &members[number][..]);
    assert!(join(&[json, index, lib, runtime, frame]) == bytes);
    let foreign = |name: &str, content: &[u8]| {
        let mut member = archive::header(name, content.len() as u64).to_vec();
        member.extend_from_slice(content);
        member.resize(member.len().next_multiple_of(512), 0);
        member
    };
    let script = foreign("scripts/post-install", b"#!/bin/sh\n");
    let signatures = foreign("signatures", b"");
    let mut pax = foreign("PaxHeaders/index", b"17 size=99999999\n");
    pax[156] = b'x';
    for order in [
        &[index, json, lib, runtime, frame][..],
        &[json, lib, runtime, index, frame],
        &[json, index, runtime, lib, frame],
        &[json, json, index, lib, runtime, frame],
        &[json, index, lib, lib, runtime, frame],
        &[json, index, lib, runtime, frame, frame],
        &[json, index, lib, runtime],
        &[json, index, lib, frame],
        &[json],
        &[],
        &[json, index, lib, runtime, &script, frame],
        &[json, index, lib, runtime, &signatures, frame],
        &[json, &pax, index, lib, runtime, frame],
        &[json, index, lib, runtime, frame, &foreign("manifest.json", b"{}")],
    ] {
        let error = open(&join(order)).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
    }
}

/// Kind, path, and what follows a link's kind.
type Entries<'a> = Vec<(u8, &'a [u8], &'a [u8])>;

/// A tree of entries without content, as somebody would write it who keeps to no rule.
fn unruly(entries: &[(u8, &[u8], &[u8])]) -> Vec<u8> {
    let number = |out: &mut Vec<u8>, mut number: usize| {
        while number >= 128 {
            out.push(u8::try_from(number % 128).unwrap() | 128);
            number /= 128;
        }
        out.push(u8::try_from(number).unwrap());
    };
    let mut out = b"conary-tree 1\n".to_vec();
    number(&mut out, entries.len());
    for (kind, path, text) in entries {
        out.push(*kind);
        number(&mut out, path.len());
        out.extend_from_slice(path);
        number(&mut out, if *kind == b'l' { 0o777 } else { 0o755 });
        for owner in ["root", "root"] {
            number(&mut out, owner.len());
            out.extend_from_slice(owner.as_bytes());
        }
        number(&mut out, 0);
        match kind {
            b'd' => {}
            b'f' => {
                out.extend_from_slice(blake3::hash(b"").as_bytes());
                number(&mut out, 0);
            }
            _ => {
                number(&mut out, text.len());
                out.extend_from_slice(text);
            }
        }
    }
    out
}

/// A package of one such tree in which everything else is right: counts, digests, headers, lengths.
fn around(tree: &[u8], files: u64) -> Vec<u8> {
    let mut manifest = crate::manifest::tests::sample("hello", "1.0-1");
    let component = crate::Component { tree: digest(tree), files, size_bytes: 0, provides: vec![], requires: vec![] };
    manifest.components.insert("runtime".to_owned(), component);
    let json = manifest.to_json();
    let tree_blocks = u32::try_from(archive::blocks(tree.len() as u64)).unwrap();
    let index = Index { manifest: digest(&json), tree_blocks, frames: vec![], order: vec![] }.encode();
    let mut out = Vec::new();
    for (name, content) in [("manifest.json", &json[..]), ("index", &index), ("trees/runtime", tree)] {
        out.extend_from_slice(&archive::header(name, content.len() as u64));
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(&archive::END);
    out
}

#[test]
fn trees_that_lead_elsewhere_are_refused_in_packages_that_are_right_otherwise() {
    let (long, deep) = (vec![b'n'; 256], [&b"n/".repeat(300)[..], b"n"].concat());
    let far = [&[&[b'n'; 200][..], b"/"].concat().repeat(21)[..], b"n"].concat();
    let cases: Vec<Entries<'_>> = vec![
        vec![(b'f', b"../up", b"")],
        vec![(b'f', b"/absolute", b"")],
        vec![(b'd', b"a", b""), (b'f', b"a/../../b", b"")],
        vec![(b'l', b"x", b"/etc"), (b'f', b"x/passwd", b"")],
        vec![(b'h', b"shadow", b"../../etc/shadow")],
        vec![(b'h', b"shadow", b"/etc/shadow")],
        vec![(b'h', b"a", b"b"), (b'f', b"b", b"")],
        vec![(b'h', b"a", b"missing")],
        vec![(b'l', b"a", b"/etc/passwd"), (b'h', b"b", b"a")],
        vec![(b'f', b"a", b""), (b'l', b"a", b"b")],
        vec![(b'f', b"a", b""), (b'f', b"a", b"")],
        vec![(b'f', b"./a", b"")],
        vec![(b'd', b"a", b""), (b'f', b"a//b", b"")],
        vec![(b'd', b"a/", b"")],
        vec![(b'f', b"", b"")],
        vec![(b'f', b"a", b""), (b'f', b"a/b", b"")],
        vec![(b'f', b"a/b", b"")],
        vec![(b'f', b"a\0b", b"")],
        vec![(b'l', b"a", b"b\0c")],
        vec![(b'l', b"a", b"")],
        vec![(b'f', &long, b"")],
        vec![(b'f', &far, b"")],
        vec![(b'f', &deep, b"")],
        vec![(b'c', b"device", b"")],
        vec![(b'b', b"device", b"")],
        vec![(b'p', b"pipe", b"")],
        vec![(b's', b"socket", b"")],
    ];
    for entries in cases {
        let error = open(&around(&unruly(&entries), entries.len() as u64)).unwrap_err();
        assert!(matches!(error, CcsError::Tree { .. }), "{entries:?}: {error}");
        assert!(!error.to_string().contains(['\0', '\x1b', '\n']), "{error}");
    }
    // What is only odd is taken as it is: control characters, no UTF-8, one name in two cases or two normal forms, names that
    // this program gives to files of its own, links to anywhere.
    let odd: Entries<'_> = vec![
        (b'f', b"-rf", b""),
        (b'd', b".conary", b""),
        (b'f', b".conary-1-0", b""),
        (b'f', b"A", b""),
        (b'f', b"a", b""),
        (b'f', b"line\nend", b""),
        (b'l', b"out", b"../../../../etc/passwd"),
        (b'l', b"self", b"self"),
        (b'f', b"\x1b[2J", b""),
        (b'f', b"e\xcc\x81", b""),
        (b'f', b"\xc3\xa9", b""),
        (b'f', b"\xff\xfe", b""),
    ];
    let mut odd = odd;
    odd.sort_unstable_by_key(|entry| entry.1);
    let files = odd.iter().filter(|entry| entry.0 != b'd').count() as u64;
    let kept = store();
    super::import(&around(&unruly(&odd), files), &kept.store).unwrap();
}

/// Rebuilds a package around another manifest, index or set of frames, with headers that are right.
fn rebuild(package: &Package, json: &[u8], index: &[u8], frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut member = |name: &str, content: &[u8]| {
        out.extend_from_slice(&archive::header(name, content.len() as u64));
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    };
    member("manifest.json", json);
    member("index", index);
    for (name, tree) in package.trees() {
        member(&archive::tree_name(name), &tree.encode());
    }
    for (number, frame) in frames.iter().enumerate() {
        member(&archive::frame_name(number), frame);
    }
    out.extend_from_slice(&archive::END);
    out
}

/// A package of three small objects, and what it is made of.
struct Small {
    json: Vec<u8>,
    package: Package,
}

impl Small {
    fn new() -> Self {
        let kept = store();
        let manifest = trove(
            &kept.store,
            &[("runtime", &|part| {
                part.file("a", 0o644, b"aaaa");
                part.file("b", 0o644, b"bbbb");
                part.file("c", 0o644, b"ccccc");
            })],
        );
        let package = open(&package(&kept.store, &manifest)).unwrap();
        Self { json: manifest.to_json(), package }
    }

    /// Verifies the package with another index and other frames.
    fn with(&self, change: impl FnOnce(&mut Index), frames: &[Vec<u8>]) -> Result<(), CcsError> {
        let mut index = self.package.index.clone();
        change(&mut index);
        verify(&rebuild(&self.package, &self.json, &index.encode(), frames))
    }

    /// Verifies the package with frames of these stored bytes and sizes.
    fn framed(&self, frames: &[(Vec<u8>, usize)]) -> Result<(), CcsError> {
        let rows = frames.iter().map(|(stored, size)| Frame {
            stored_bytes: u32::try_from(stored.len()).unwrap(),
            size_bytes: u32::try_from(*size).unwrap(),
        });
        let stored: Vec<Vec<u8>> = frames.iter().map(|(stored, _)| stored.clone()).collect();
        self.with(|index| index.frames = rows.collect(), &stored)
    }
}

fn compressed(content: &[u8]) -> Vec<u8> {
    frame::compressor(3).unwrap().compress(content).unwrap()
}

const CONTENT: &[u8] = b"aaaabbbbccccc";

#[test]
fn an_index_that_lies_about_objects_is_found_out() {
    let small = Small::new();
    let good = [compressed(CONTENT)];
    small.with(|_| (), &good).unwrap();
    // Objects in another order than the payload: of one size, and of several.
    for (left, right) in [(0, 1), (0, 2), (1, 2)] {
        let error = small.with(|index| index.order.swap(left, right), &good);
        assert!(matches!(error, Err(CcsError::Object { .. })), "{error:?}");
    }
    let objects = |result| matches!(result, Err(CcsError::Index(IndexError::Objects { .. })));
    assert!(objects(small.with(|index| index.order = vec![0, 1], &good)));
    assert!(objects(small.with(|index| index.order = vec![0, 1, 2, 3], &good)));
    let error = small.with(|index| index.tree_blocks += 1, &good);
    assert!(matches!(error, Err(CcsError::Truncated { .. })), "{error:?}");
    let error = small.with(|index| index.manifest = digest(b""), &good);
    assert!(matches!(error, Err(CcsError::ManifestDigest { .. })), "{error:?}");
}

#[test]
fn frames_that_do_not_fit_are_found_out() {
    let small = Small::new();
    let layout = |result| matches!(result, Err(CcsError::Layout(_)));
    let frame = |result| matches!(result, Err(CcsError::Frame { .. }));
    let whole = |content: &[u8]| (compressed(content), content.len());
    small.framed(&[whole(CONTENT)]).unwrap();
    // One that ends between two objects is fine, though this writer would not have made it.
    small.framed(&[whole(b"aaaabbbb"), whole(b"ccccc")]).unwrap();
    assert!(layout(small.framed(&[])));
    assert!(layout(small.framed(&[whole(CONTENT), whole(CONTENT)])));
    assert!(layout(small.framed(&[whole(b"aaaabb"), whole(b"bbccccc")])));
    // Longer or shorter than the objects: in frame and index alike, and in the frame alone.
    for content in [&b"aaaabbbbccccc-"[..], b"aaaabbbbcccc"] {
        assert!(layout(small.framed(&[whole(content)])));
        assert!(frame(small.framed(&[(compressed(content), CONTENT.len())])));
    }
    // Two frames in one member, a skippable frame before, a frame with a checksum, one without its size.
    let good = compressed(CONTENT);
    let mut checked = zstd::bulk::Compressor::new(3).unwrap();
    checked.include_checksum(true).unwrap();
    for stored in [
        [&good[..], &compressed(b"x")].concat(),
        [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], &good[..]].concat(),
        checked.compress(CONTENT).unwrap(),
        zstd::stream::encode_all(CONTENT, 3).unwrap(),
    ] {
        assert!(frame(small.framed(&[(stored, CONTENT.len())])));
    }
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    let small = Small::new();
    let zeros = compressed(&vec![0; FRAME_BYTES]);
    let frames = vec![(zeros, FRAME_BYTES); 200];
    let error = small.framed(&frames);
    assert!(matches!(error, Err(CcsError::Limit { limit: "compression ratio", .. })), "{error:?}");
}

#[test]
fn a_manifest_that_lies_is_found_out() {
    let kept = store();
    let manifest = every_kind(&kept.store);
    let bytes = package(&kept.store, &manifest);
    let opened = open(&bytes).unwrap();
    let frames: Vec<Vec<u8>> = opened
        .offsets
        .iter()
        .zip(&opened.index.frames)
        .map(|(offset, frame)| {
            let start = usize::try_from(*offset).unwrap();
            bytes[start..start + frame.stored_bytes as usize].to_vec()
        })
        .collect();
    let build = |json: &[u8]| {
        let mut index = opened.index.clone();
        index.manifest = digest(json);
        open(&rebuild(&opened, json, &index.encode(), &frames))
    };
    build(&manifest.to_json()).unwrap();
    let text = String::from_utf8(manifest.to_json()).unwrap();
    for (from, to, message) in [
        ("{\"format\":1", "{\"format\":2,\"new\":[]", "newer"),
        ("\"files\":3", "\"files\":4", "`files`"),
        ("\"size_bytes\":3006", "\"size_bytes\":3005", "`size_bytes`"),
        ("\"format\"", " \"format\"", "manifest"),
        ("\"lib\":{", "\"../lib\":{", "manifest"),
        ("\"lib\":{", "\"libs\":{", "trees/libs"),
        ("\"blake3:", "\"blake3:00", "manifest"),
        ("\"blake3:", "\"sha256:", "damaged"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let error = build(changed.as_bytes()).unwrap_err();
        let hint = error.hint().unwrap();
        assert!(format!("{error} {hint}").contains(message), "{error}");
    }
    // Nested without end, and larger than any manifest.
    assert!(build("[".repeat(100_000).as_bytes()).is_err());
    let huge = vec![b' '; (16 << 20) + 1];
    assert!(matches!(build(&huge), Err(CcsError::Limit { limit: "manifest bytes", .. })));
}

#[test]
fn what_is_no_file_is_no_package() {
    assert!(matches!(Package::open(File::open("/dev/zero").unwrap()), Err(CcsError::Io { .. })));
    assert!(matches!(Package::open(File::open("/").unwrap()), Err(CcsError::Io { .. })));
    assert!(matches!(open(b""), Err(CcsError::Truncated { .. })));
}

#[test]
fn a_package_that_changes_after_opening_is_not_believed() {
    let (from, to) = (store(), store());
    let manifest = every_kind(&from.store);
    let bytes = package(&from.store, &manifest);
    let path = from.directory.path().join("p.ccs");
    for change in ["cut", "other"] {
        fs::write(&path, &bytes).unwrap();
        let opened = Package::open(File::open(&path).unwrap()).unwrap();
        let start = opened.offsets[0];
        let file = File::options().write(true).open(&path).unwrap();
        match change {
            "cut" => file.set_len(start + 10).unwrap(),
            _ => std::os::unix::fs::FileExt::write_all_at(&file, &[7; 100], start + 40).unwrap(),
        }
        assert!(opened.import(&to.store, &OFF, &|_, _| ()).is_err());
        assert!(to.store.troves().unwrap().is_empty());
    }
}

/// How many packages the run below makes: `CONARY_MUTATIONS`, or few.
fn mutations() -> u64 {
    let count = std::env::var("CONARY_MUTATIONS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(1500)
}

#[test]
fn mutated_packages_are_refused_or_equal() {
    let kept = store();
    let manifest = every_kind(&kept.store);
    let plain = package(&kept.store, &manifest);
    let goods = [super::signed_package(&plain), plain];
    // Headers and index are where a change does most.
    let interesting = goods.each_ref().map(|good| (0..good.len()).filter(|at| good[*at] != 0).collect::<Vec<usize>>());
    let (mut refused, mut taken) = (0, 0);
    for seed in 0..mutations() {
        let dice = noise(seed, 64);
        let number = |at: usize, below: usize| {
            let four = [dice[at], dice[at + 1], dice[at + 2], dice[at + 3]];
            u32::from_le_bytes(four) as usize % below
        };
        let which = usize::from(dice[1].is_multiple_of(2));
        let (mut bytes, interesting) = (goods[which].clone(), &interesting[which]);
        let at = interesting[number(8, interesting.len())];
        let length = (1 + number(16, 600)).min(bytes.len() - at);
        match dice[0] % 6 {
            0 => bytes[at] = dice[24],
            1 => bytes[at..at + length].fill(dice[24]),
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let copy = bytes[at..at + length].to_vec();
                let target = number(32, bytes.len() - length + 1);
                bytes[target..target + length].copy_from_slice(&copy);
            }
            4 => bytes.truncate(at),
            _ => {
                let block = (at / archive::BLOCK) * archive::BLOCK;
                let copy = bytes[block..block + archive::BLOCK].to_vec();
                bytes.splice(block..block, copy);
            }
        }
        if refused_or_equal(&bytes, &manifest, "mutated") {
            refused += 1;
        } else {
            taken += 1;
        }
    }
    assert!(refused > taken, "{refused} refused, {taken} taken");
}
