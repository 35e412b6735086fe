// kitchen/src/unpack/tests.rs
//! Unpacking what real tools packed, and refusing what no honest tool packs.

#![allow(clippy::disallowed_methods, clippy::similar_names, clippy::items_after_statements)] // Tests move files about as they please.

use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::*;

/// A member of a hostile tar, header by header.
struct Made {
    name: Vec<u8>,
    kind: u8,
    size: u64,
    link: Vec<u8>,
    mode: u32,
    content: Vec<u8>,
}

impl Made {
    fn new(name: impl AsRef<[u8]>, kind: u8) -> Self {
        Self { name: name.as_ref().to_vec(), kind, size: 0, link: Vec::new(), mode: 0o644, content: Vec::new() }
    }

    fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref().to_vec();
        Self { size: content.len() as u64, content, ..Self::new(name, b'0') }
    }

    fn link(name: &str, kind: u8, target: &str) -> Self {
        Self { link: target.as_bytes().to_vec(), ..Self::new(name, kind) }
    }

    fn pax(records: &[(&str, &str)]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..rest + 9).find(|length| rest + length.to_string().len() == *length).unwrap();
            content.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
        }
        Self { kind: b'x', ..Self::file("PaxHeader", content) }
    }

    fn long_name(name: impl AsRef<[u8]>) -> Self {
        let mut content = name.as_ref().to_vec();
        content.push(0);
        Self { kind: b'L', ..Self::file("././@LongLink", content) }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut header = [0_u8; 512];
        header[..self.name.len().min(100)].copy_from_slice(&self.name[..self.name.len().min(100)]);
        header[100..108].copy_from_slice(format!("{:07o}\0", self.mode).as_bytes());
        header[108..116].copy_from_slice(b"7777777\0");
        header[116..124].copy_from_slice(b"7777777\0");
        if self.size < 1 << 33 {
            header[124..136].copy_from_slice(format!("{:011o}\0", self.size).as_bytes());
        } else {
            header[124] = 0x80;
            header[128..136].copy_from_slice(&self.size.to_be_bytes());
        }
        header[136..148].copy_from_slice(b"14567654321\0");
        header[156] = self.kind;
        header[157..157 + self.link.len()].copy_from_slice(&self.link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut header);
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn tar_of(members: &[Made]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Made::bytes).collect();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn small() -> Limits {
    Limits {
        entries: 1000,
        bytes: 64 << 20,
        ratio: 100,
        ratio_from_bytes: 4 << 20,
        depth: 32,
        path_bytes: 1024,
        decoder_memory_bytes: 80 << 20,
    }
}

/// Unpacks `bytes` into a directory beside which `secret` lies.
fn unpack_bytes(bytes: &[u8], limits: &Limits) -> (tempfile::TempDir, Result<Unpacked, UnpackError>) {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("secret"), "untouched").unwrap();
    std::fs::create_dir(place.path().join("into")).unwrap();
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(bytes).unwrap();
    let into = File::open(place.path().join("into")).unwrap();
    let result = unpack(archive, "hostile.tar", into.as_fd(), limits, &AtomicBool::new(false));
    assert_eq!(std::fs::read_to_string(place.path().join("secret")).unwrap(), "untouched");
    let mut beside: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["into", "secret"], "nothing is made beside the directory");
    (place, result)
}

fn refusal(members: &[Made]) -> Refusal {
    match unpack_bytes(&tar_of(members), &small()).1 {
        Err(UnpackError::Refused { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn damage(bytes: &[u8]) -> String {
    match unpack_bytes(bytes, &small()).1 {
        Err(UnpackError::Damaged { reason, .. }) => reason,
        other => panic!("not damaged: {other:?}"),
    }
}

fn accepted(members: &[Made]) -> (tempfile::TempDir, Unpacked) {
    let (place, result) = unpack_bytes(&tar_of(members), &small());
    (place, result.unwrap())
}

#[test]
fn paths_that_lead_out_are_refused() {
    let table = [
        ("../secret", Refusal::Parent),
        ("/etc/passwd", Refusal::Absolute),
        ("a/../../b", Refusal::Parent),
        ("a/..", Refusal::Parent),
        ("//etc/passwd", Refusal::Absolute),
        ("", Refusal::Empty),
        (".", Refusal::Empty),
    ];
    for (name, why) in table {
        assert_eq!(refusal(&[Made::file(name, "x")]), why, "{name}");
    }
    // In every place where a name can stand.
    assert_eq!(refusal(&[Made::pax(&[("path", "../secret")]), Made::file("a", "x")]), Refusal::Parent);
    assert_eq!(refusal(&[Made::long_name("/etc/passwd"), Made::file("a", "x")]), Refusal::Absolute);
    assert_eq!(refusal(&[Made::new("../secret/", b'5')]), Refusal::Parent);
    assert_eq!(refusal(&[Made::link("../up", b'2', "a")]), Refusal::Parent);
}

#[test]
fn nothing_is_written_through_a_symlink() {
    let through = [
        vec![Made::link("x", b'2', "/etc"), Made::file("x/passwd", "owned")],
        vec![Made::link("x", b'2', "."), Made::file("x/a", "even within")],
        vec![Made::link("x", b'2', ".."), Made::new("x/y/", b'5')],
        vec![Made::link("x", b'2', "../secret"), Made::link("x/l", b'2', "t")],
        vec![Made::file("f", "f"), Made::link("x", b'2', "."), Made::link("x/l", b'1', "f")],
        vec![Made::file("f", "f"), Made::link("x", b'2', "."), Made::link("l", b'1', "x/f")],
    ];
    for members in &through {
        assert_eq!(refusal(members), Refusal::ThroughSymlink);
    }
    assert_eq!(refusal(&[Made::link("x", b'2', "../secret"), Made::file("x", "owned")]), Refusal::OtherKind);
    let mut chain: Vec<Made> = (0..41).map(|at| Made::link(&format!("l{at}"), b'2', &format!("l{}", at + 1))).collect();
    chain.push(Made::file("l0/file", "x"));
    assert_eq!(refusal(&chain), Refusal::ThroughSymlink);
    let (place, _) = accepted(&[Made::link("x", b'2', "/etc/passwd"), Made::link("x", b'2', "../secret")]);
    assert_eq!(
        std::fs::read_link(place.path().join("into/x")).unwrap(),
        Path::new("../secret"),
        "a link itself may point anywhere"
    );
}

#[test]
fn hard_links_name_files_that_are_there() {
    assert_eq!(refusal(&[Made::link("l", b'1', "../secret")]), Refusal::Parent);
    assert_eq!(refusal(&[Made::link("l", b'1', "/etc/passwd")]), Refusal::Absolute);
    assert_eq!(refusal(&[Made::link("l", b'1', "later"), Made::file("later", "x")]), Refusal::LinkMissing);
    assert_eq!(refusal(&[Made::link("l", b'1', "no/where")]), Refusal::LinkMissing);
    assert_eq!(refusal(&[Made::link("s", b'2', "/etc/passwd"), Made::link("l", b'1', "s")]), Refusal::LinkToOther);
    assert_eq!(refusal(&[Made::new("d/", b'5'), Made::link("l", b'1', "d")]), Refusal::LinkToOther);
    assert_eq!(refusal(&[Made::file("f", "x"), Made::link("l", b'1', "")]), Refusal::Empty);
    let (place, _) = accepted(&[Made::file("f", "same"), Made::link("f", b'1', "f"), Made::link("d/l", b'1', "./f")]);
    assert_eq!(std::fs::read_to_string(place.path().join("into/d/l")).unwrap(), "same");
    assert_eq!(std::fs::metadata(place.path().join("into/f")).unwrap().nlink(), 2);
}

#[test]
fn one_path_is_one_file() {
    let (place, unpacked) =
        accepted(&[Made::file("./a", "1"), Made::file("b//c", "2"), Made::file("a", "3"), Made::file("b/./c", "4")]);
    assert_eq!(std::fs::read_to_string(place.path().join("into/a")).unwrap(), "3", "the last one stays, as in tar");
    assert_eq!(std::fs::read_to_string(place.path().join("into/b/c")).unwrap(), "4");
    assert_eq!(unpacked.top_level, [b"a".to_vec(), b"b".to_vec()]);
    assert_eq!(refusal(&[Made::new("a/", b'5'), Made::file("a", "x")]), Refusal::OtherKind);
    assert_eq!(refusal(&[Made::file("a", "x"), Made::new("a/", b'5')]), Refusal::UnderFile);
    assert_eq!(refusal(&[Made::file("a", "x"), Made::file("a/b", "x")]), Refusal::UnderFile);
    assert_eq!(refusal(&[Made::file("a", "x"), Made::link("a", b'2', "b")]), Refusal::OtherKind);
    // A file that replaces one name of a hard link leaves the other name as it was.
    let (place, _) = accepted(&[Made::file("f", "old"), Made::link("l", b'1', "f"), Made::file("l", "new")]);
    assert_eq!(std::fs::read_to_string(place.path().join("into/f")).unwrap(), "old");
    // Case and normalisation are bytes like any other.
    let (place, _) = accepted(&[
        Made::file("Makefile", "1"),
        Made::file("makefile", "2"),
        Made::file("é", "3"),
        Made::file("e\u{301}", "4"),
    ]);
    assert_eq!(std::fs::read_dir(place.path().join("into")).unwrap().count(), 4);
}

#[test]
fn odd_names_are_contained_or_refused() {
    let odd: [&[u8]; 5] = [b"new\nline", b"esc\x1b[2J", b"\xff\xfe", b"-rf", b"$(id)"];
    for name in odd {
        let (place, _) = accepted(&[Made::file(name, "x")]);
        assert!(place.path().join("into").join(std::ffi::OsStr::from_bytes(name)).exists());
    }
    assert_eq!(refusal(&[Made::pax(&[("path", "a\0b")]), Made::file("a", "x")]), Refusal::Nul);
    assert_eq!(refusal(&[Made::pax(&[("linkpath", "a\0b")]), Made::link("a", b'2', "x")]), Refusal::Nul);
    assert_eq!(refusal(&[Made::long_name("n".repeat(256)), Made::file("a", "x")]), Refusal::NameTooLong);
    assert_eq!(refusal(&[Made::long_name("n/".repeat(5000)), Made::new("a", b'5')]), Refusal::PathTooLong);
    assert_eq!(refusal(&[Made::long_name("n/".repeat(40)), Made::new("a", b'5')]), Refusal::TooDeep);
    accepted(&[Made::long_name("n".repeat(255)), Made::file("a", "x")]);
    let shown = unpack_bytes(&tar_of(&[Made::file("../\x1b[2J", "x")]), &small()).1.unwrap_err().to_string();
    assert!(!shown.contains('\x1b'), "{shown}");
}

#[test]
fn devices_are_refused_and_special_bits_dropped() {
    for kind in [b'3', b'4', b'6'] {
        assert_eq!(refusal(&[Made::new("dev", kind)]), Refusal::Special);
    }
    let special = Made { mode: 0o7755, ..Made::file("suid", "x") };
    let directory = Made { mode: 0o1777, ..Made::new("sticky/", b'5') };
    let secret = Made { mode: 0o000, ..Made::file("none", "x") };
    let (place, _) = accepted(&[
        special,
        directory,
        secret,
        Made::pax(&[("SCHILY.xattr.security.capability", "x")]),
        Made::file("cap", "x"),
    ]);
    let mode =
        |name: &str| std::fs::metadata(place.path().join("into").join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("suid"), mode("sticky"), mode("none"), mode("cap")], [0o755, 0o755, 0o644, 0o644]);
}

#[test]
fn headers_that_contradict_one_another_are_refused() {
    let table: [(&str, Vec<Made>); 8] = [
        ("a pax size against the header's", vec![Made::pax(&[("size", "512")]), Made::file("a", vec![0; 1024])]),
        ("a pax name and a long name", vec![Made::pax(&[("path", "a")]), Made::long_name("b"), Made::file("c", "x")]),
        ("a long name and a pax name", vec![Made::long_name("b"), Made::pax(&[("path", "a")]), Made::file("c", "x")]),
        ("two long names", vec![Made::long_name("b"), Made::long_name("c"), Made::file("d", "x")]),
        ("a pax size on a symlink", vec![Made::pax(&[("size", "512")]), Made::link("l", b'2', "t")]),
        ("a symlink with content", vec![Made { size: 512, content: vec![0; 512], ..Made::link("l", b'2', "t") }]),
        ("a directory with content", vec![Made { size: 512, content: vec![0; 512], ..Made::new("d/", b'5') }]),
        ("an extension of nothing", vec![Made::file("a", "x"), Made::pax(&[("path", "b")])]),
    ];
    for (what, members) in table {
        assert!(matches!(unpack_bytes(&tar_of(&members), &small()).1, Err(UnpackError::Damaged { .. })), "{what}");
    }
    damage(&tar_of(&[Made { size: u64::MAX, ..Made::new("huge", b'0') }]));
    damage(&tar_of(&[Made { size: u64::MAX, ..Made::new("huge", b'x') }]));
    let mut negative = tar_of(&[Made::file("a", "x")]);
    negative[124..136].fill(0xff);
    seal(&mut negative);
    damage(&negative);
    let mut broken = tar_of(&[Made::file("a", "x"), Made::file("b", "y")]);
    broken[1024] ^= 1;
    assert!(damage(&broken).contains("at byte 1024"));
    for sparse in [vec![Made::new("s", b'S')], vec![Made::pax(&[("GNU.sparse.major", "1")]), Made::file("s", "x")]] {
        assert!(matches!(unpack_bytes(&tar_of(&sparse), &small()).1, Err(UnpackError::Unsupported { .. })));
    }
}

#[test]
fn truncation_is_noticed_at_every_block() {
    let whole = tar_of(&[
        Made::new("d/", b'5'),
        Made::pax(&[("path", "d/long")]),
        Made::file("x", vec![7; 1500]),
        Made::file("y", "y"),
    ]);
    let end = whole.len() - 1024;
    for cut in (0..=end).step_by(512).chain([700, 1100]) {
        assert!(unpack_bytes(&whole[..cut], &small()).1.is_err(), "cut at {cut}");
    }
    assert!(unpack_bytes(&whole[..end + 512], &small()).1.is_ok(), "one end block is enough");
    for tool in [&["gzip", "-c"][..], &["bzip2", "-c"], &["xz", "-c"], &["zstd", "-qc"], &["lzip", "-c"]] {
        let packed = filter(tool, &whole);
        for cut in [packed.len() - 1, packed.len() / 2] {
            assert!(unpack_bytes(&packed[..cut], &small()).1.is_err(), "{tool:?} cut at {cut}");
        }
    }
}

#[test]
fn a_second_archive_behind_the_first_is_not_seen() {
    let mut bytes = tar_of(&[Made::file("first", "1")]);
    bytes.extend(tar_of(&[Made::file("second", "2")]));
    let (place, result) = unpack_bytes(&bytes, &small());
    assert_eq!(result.unwrap().entries, 1);
    assert!(!place.path().join("into/second").exists());
}

#[test]
fn bombs_are_stopped() {
    let zeros = tar_of(&[Made::file("zeros", vec![0; 32 << 20])]);
    for tool in [&["gzip", "-c"][..], &["bzip2", "-c"], &["xz", "-c"], &["zstd", "-qc"]] {
        let result = unpack_bytes(&filter(tool, &zeros), &small()).1;
        assert!(matches!(result, Err(UnpackError::Limit { bound: Bound::Ratio, .. })), "{tool:?}: {result:?}");
    }
    let limits = Limits { bytes: 1 << 20, ..small() };
    assert!(matches!(unpack_bytes(&zeros, &limits).1, Err(UnpackError::Limit { bound: Bound::Bytes, .. })));
    let many: Vec<Made> = (0..2000).map(|at| Made::file(format!("f{at}"), "")).collect();
    assert!(matches!(unpack_bytes(&tar_of(&many), &small()).1, Err(UnpackError::Limit { bound: Bound::Entries, .. })));
    let same: Vec<Made> = (0..2000).map(|_| Made::file("same", "")).collect();
    assert!(matches!(unpack_bytes(&tar_of(&same), &small()).1, Err(UnpackError::Limit { bound: Bound::Entries, .. })));
}

#[test]
fn decoders_that_want_too_much_memory_are_refused() {
    let tar = tar_of(&[Made::file("a", "content")]);
    let limits = Limits { decoder_memory_bytes: 16 << 20, ..small() };
    for tool in [
        &["xz", "-c", "--lzma2=dict=512MiB"][..],
        &["xz", "-c", "--format=lzma", "--lzma1=dict=512MiB"],
        &["zstd", "-qc", "--ultra", "--long=27", "-22"],
    ] {
        let result = unpack_bytes(&filter(tool, &tar), &limits).1;
        assert!(matches!(result, Err(UnpackError::Limit { bound: Bound::DecoderMemory, .. })), "{tool:?}: {result:?}");
    }
    // lzip itself never asks for a dictionary larger than the file; its header is one byte of logarithm.
    let mut lzip = filter(&["lzip", "-c"], &tar);
    lzip[5] = 28;
    assert!(matches!(unpack_bytes(&lzip, &limits).1, Err(UnpackError::Limit { bound: Bound::DecoderMemory, .. })));
    // zstd's window of 2^31, which its own decoder refuses without being asked.
    let window: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    assert!(matches!(unpack_bytes(&window, &small()).1, Err(UnpackError::Limit { bound: Bound::DecoderMemory, .. })));
}

#[test]
fn frames_that_follow_one_another_are_one_archive() {
    let tar = tar_of(&[Made::file("a", vec![1; 3000]), Made::file("b", vec![2; 3000])]);
    let (first, second) = tar.split_at(1777);
    for tool in [&["gzip", "-c"][..], &["bzip2", "-c"], &["xz", "-c"], &["zstd", "-qc"], &["lzip", "-c"]] {
        let mut packed = filter(tool, first);
        packed.extend(filter(tool, second));
        assert_eq!(unpack_bytes(&packed, &small()).1.unwrap().entries, 2, "{tool:?}");
    }
    let mut padded = filter(&["gzip", "-c"], &tar);
    padded.extend([0; 777]);
    assert!(unpack_bytes(&padded, &small()).1.is_ok());
    padded.push(1);
    assert!(unpack_bytes(&padded, &small()).1.is_err());
}

#[test]
fn what_is_no_archive_is_named() {
    for bytes in [&b""[..], b"hello\n", &[0x7f; 600], &filter(&["gzip", "-c"], b"just text")] {
        let result = unpack_bytes(bytes, &small()).1;
        assert!(matches!(result, Err(UnpackError::NotAnArchive { .. })), "{result:?}");
    }
    for magic in [&b"7z\xbc\xaf\x27\x1c"[..], b"Rar!\x1a\x07\0", b"070701", b"!<arch>\n"] {
        assert!(matches!(unpack_bytes(magic, &small()).1, Err(UnpackError::Unsupported { .. })));
    }
    let mut patch = tempfile::tempfile().unwrap();
    patch.write_all(&filter(&["gzip", "-c"], b"--- a\n+++ b\n")).unwrap();
    assert!(!is_archive(&patch, &small()).unwrap());
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(&filter(&["xz", "-c"], &tar_of(&[Made::file("a", "x")]))).unwrap();
    archive.rewind().unwrap();
    assert!(is_archive(&archive, &small()).unwrap());
    let text = decompress(filter(&["gzip", "-c"], b"just text"), "a.gz", &small(), &AtomicBool::new(false)).unwrap();
    assert_eq!(text, b"just text");
}

#[test]
fn a_cancelled_unpack_stops() {
    let place = tempfile::tempdir().unwrap();
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(&tar_of(&[Made::file("a", "x")])).unwrap();
    let into = File::open(place.path()).unwrap();
    let result = unpack(archive, "a.tar", into.as_fd(), &small(), &AtomicBool::new(true));
    assert!(matches!(result, Err(UnpackError::Cancelled)));
}

#[test]
fn real_tools_agree() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().join("hello-1.0");
    std::fs::create_dir_all(root.join("deep").join("d".repeat(120)).join("e".repeat(120))).unwrap();
    std::fs::write(root.join("deep").join("d".repeat(120)).join("e".repeat(120)).join("leaf"), "leaf").unwrap();
    std::fs::write(root.join("configure"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(root.join("configure"), std::fs::Permissions::from_mode(0o775)).unwrap();
    std::fs::write(root.join("größe.c"), vec![b'x'; 100_000]).unwrap();
    std::fs::hard_link(root.join("configure"), root.join("configure.gnu")).unwrap();
    std::os::unix::fs::symlink("configure", root.join("link")).unwrap();
    run(Command::new("find")
        .args(["hello-1.0", "-exec", "touch", "-h", "-d", "@1500000000", "{}", "+"])
        .current_dir(tree.path()));
    run(Command::new("touch").args(["-d", "@1600000000.5", "hello-1.0/configure"]).current_dir(tree.path()));
    let check = |bytes: &[u8], what: &str| {
        let (place, result) = unpack_bytes(bytes, &small());
        let unpacked = result.unwrap_or_else(|error| panic!("{what}: {error} {error:?}"));
        assert_eq!(unpacked.top_level, [b"hello-1.0".to_vec()], "{what}");
        // A zip holds whole pairs of seconds in local time.
        assert_eq!(unpacked.newest_mtime, Some(1_600_000_000), "{what}");
        let into = place.path().join("into");
        run(Command::new("diff").args(["-r", "--no-dereference"]).arg(&root).arg(into.join("hello-1.0")));
        assert_eq!(std::fs::metadata(into.join("hello-1.0/configure")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(std::fs::metadata(into.join("hello-1.0/größe.c")).unwrap().mode() & 0o7777, 0o644);
        let directory = File::open(&into).unwrap();
        set_times(directory.as_fd(), 1_234_567_890).unwrap();
        let times = Command::new("find").args([".", "-printf", "%T@\\n"]).current_dir(&into).output().unwrap();
        assert!(String::from_utf8(times.stdout).unwrap().lines().all(|line| line == "1234567890.0000000000"), "{what}");
    };
    for format in ["gnu", "pax", "posix", "oldgnu"] {
        let tar = Command::new("tar")
            .args(["-c", "--format", format, "hello-1.0"])
            .current_dir(tree.path())
            .output()
            .unwrap()
            .stdout;
        check(&tar, format);
        for tool in [
            &["gzip", "-c"][..],
            &["bzip2", "-c"],
            &["xz", "-c"],
            &["xz", "-c", "--format=lzma"],
            &["zstd", "-qc"],
            &["lzip", "-c"],
        ] {
            check(&filter(tool, &tar), &format!("{format} {tool:?}"));
        }
    }
    // Not into a pipe: there Info-ZIP cannot store symlinks.
    run(Command::new("zip").args(["-qry", "hello.zip", "hello-1.0"]).env("TZ", "UTC").current_dir(tree.path()));
    check(&std::fs::read(tree.path().join("hello.zip")).unwrap(), "zip");
}

#[test]
fn zips_are_no_more_trusted() {
    use ::zip::write::SimpleFileOptions;
    let make = |members: &[(&str, &[u8], bool)]| {
        let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content, link) in members {
            if *link {
                writer.add_symlink(*name, std::str::from_utf8(content).unwrap(), SimpleFileOptions::default()).unwrap();
            } else {
                writer.start_file(*name, SimpleFileOptions::default().unix_permissions(0o4755)).unwrap();
                writer.write_all(content).unwrap();
            }
        }
        writer.finish().unwrap().into_inner()
    };
    let why = |bytes: &[u8]| match unpack_bytes(bytes, &small()).1 {
        Err(UnpackError::Refused { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(why(&make(&[("../up", b"x", false)])), Refusal::Parent);
    assert_eq!(why(&make(&[("/etc/passwd", b"x", false)])), Refusal::Absolute);
    assert_eq!(why(&make(&[("x", b"/etc", true), ("x/passwd", b"x", false)])), Refusal::ThroughSymlink);
    let good = make(&[("a/b", &[7; 5000], false)]);
    let (place, result) = unpack_bytes(&good, &small());
    assert_eq!(result.unwrap().bytes, 5000);
    assert_eq!(std::fs::metadata(place.path().join("into/a/b")).unwrap().mode() & 0o7777, 0o755);
    for cut in [1, 30, good.len() / 2, good.len() - 1] {
        assert!(unpack_bytes(&good[..cut], &small()).1.is_err(), "cut at {cut}");
    }
    let mut bent = good.clone();
    bent[40] ^= 0xff;
    assert!(unpack_bytes(&bent, &small()).1.is_err());
    let bomb = make(&[("zeros", &vec![0; 32 << 20], false)]);
    assert!(matches!(unpack_bytes(&bomb, &small()).1, Err(UnpackError::Limit { bound: Bound::Ratio, .. })));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn filter(tool: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool[0])
        .args(&tool[1..])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} is needed by this test: {error}", tool[0]));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}
