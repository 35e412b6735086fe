// store/src/tests/crash.rs
//! Processes that die in the middle, and processes that work at the same time.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use recipes::Digest;

use super::{NEVER, Place, open, spawn};
use crate::{GcOptions, Problem, VerifyOptions};

/// What a process that will be killed does: batch after batch, each told once it is durable.
pub(super) fn import_for_ever(path: &Path) {
    let store = open(path);
    let mut out = std::io::stdout();
    for round in 0_u32.. {
        let batch = store.batch().unwrap();
        let mut objects = Vec::new();
        for number in 0..40_u32 {
            let text = format!("{} {round} {number}", std::process::id()).repeat(50);
            objects.push(batch.add_bytes(text.as_bytes(), 0o644).unwrap());
        }
        batch.commit().unwrap();
        // One write, so that the parent never reads half a promise as a whole one.
        let mut lines = String::new();
        for object in &objects {
            lines.push_str("kept ");
            lines.push_str(&object.to_string());
            lines.push('\n');
        }
        out.write_all(lines.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_it_promised() {
    let place = Place::at(tempfile::tempdir_in("/var/tmp").unwrap());
    let path = place.path("store");
    let mut promised: Vec<Digest> = Vec::new();
    for round in 0..25_u64 {
        let mut child = spawn("import", &path);
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, receiver) = mpsc::channel::<Digest>();
        let reader = std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).into_owned();
                let kept = text.strip_prefix("kept ").and_then(|digest| digest.parse().ok());
                if let Some(digest) = kept {
                    let _ = sender.send(digest);
                }
            }
        });
        // From its first promise on, at moments that differ from round to round.
        let first = receiver.recv_timeout(Duration::from_mins(1)).unwrap();
        std::thread::sleep(Duration::from_micros(round * 1733 % 29_000));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        promised.push(first);
        promised.extend(receiver.try_iter());
    }
    let store = open(&path);
    for object in &promised {
        assert!(store.read(object).is_ok(), "{object} was promised");
    }
    let report = store.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
    let others: Vec<_> = report.problems.iter().filter(|problem| !matches!(problem, Problem::Stray { .. })).collect();
    assert!(others.is_empty(), "{others:?}");
    // The next batch removes what the dead were writing, the next gc what they had named.
    store.put_bytes(b"next").unwrap();
    assert_eq!(fs::read_dir(path.join("tmp")).unwrap().count(), 0);
    store.gc(&GcOptions::default(), &mut |_| {}, &NEVER).unwrap();
    let report = store.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
    assert_eq!((report.problems, report.files), (vec![], 0));
}

/// What each of several processes does: the same contents as the others, many of them at once.
pub(super) fn put_many(path: &Path) {
    let store = open(path);
    for round in 0..15_u32 {
        let batch = store.batch().unwrap();
        for number in 0..20_u32 {
            batch.add_bytes(format!("{round} {number}").as_bytes(), 0o644).unwrap();
        }
        batch.commit().unwrap();
        store.put_bytes(format!("{} {round}", std::process::id()).as_bytes()).unwrap();
    }
}

#[test]
fn processes_and_threads_share_a_store() {
    let top = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = top.path().join("store");
    // Nobody made the store yet: all of them try.
    let mut children: Vec<_> = (0..3).map(|_| spawn("put", &path)).collect();
    let store = open(&path);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| put_many(&path));
        }
        scope.spawn(|| {
            for number in 0..20 {
                store.put_bytes(format!("thread {number}").as_bytes()).unwrap();
            }
        });
    });
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let report = store.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
    assert_eq!(report.problems, []);
    // Fifteen rounds of twenty shared contents, one of each round for each process, and the thread's.
    assert_eq!(report.files, 15 * 20 + 4 * 15 + 20);
}

#[test]
fn threads_share_a_batch() {
    let place = Place::new();
    let batch = place.store.batch().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..50 {
                    batch.add_bytes(format!("{number}").as_bytes(), 0o644).unwrap();
                    let mut writer = batch.writer(0o644);
                    writer.write_all(&vec![number; 600_000]).unwrap();
                    writer.finish().unwrap();
                }
            });
        }
    });
    assert_eq!(batch.commit().unwrap().objects, 100);
    let report = place.store.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
    assert_eq!((report.problems, report.files), (vec![], 100));
    drop(place.store.batch().unwrap().writer(0o644));
}
