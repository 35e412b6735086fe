// installer/tests/engine/calls.rs
//! System calls of a program that is disturbed: which ones change something on the disk, and how many of each there are.
//!
//! Also part of the integration tests of the program itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// System calls that change something on the disk.
pub const MUTATING: &str = "mkdir,mkdirat,link,linkat,symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,\
    fchmod,fchmodat,chmod,fchown,fchownat,utimensat,fsetxattr,fremovexattr,ftruncate,write,pwrite64,pwritev2,\
    copy_file_range,fsync,fdatasync,syncfs";

/// Counts the calls of each kind that a log of `strace -f` shows, in the thread that makes most of them.
pub fn count(log: &Path) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(call)) = (words.next(), words.next()) else { continue };
        if let Some((name, _)) = call.split_once('(') {
            *counts.entry((name.to_owned(), thread.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((name, _), count) in counts {
        let known: &mut usize = most.entry(name).or_default();
        *known = count.max(*known);
    }
    most
}
