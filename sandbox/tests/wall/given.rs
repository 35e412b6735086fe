// sandbox/tests/wall/given.rs
//! Owners that a command asks for: recorded, answered back, and found again.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use sandbox::{Owners, Status};

use crate::common::{Kitchen, hostile, skipped};

const EXPECTED: &str = "\
chown ok\n0:0\nlchown ok\n8:8\nfchown ok\n5:0\nfchownat ok\n5:60\n5:60\nchmod ok\n6755\n\
chown of a set-id program ok\n755\nfrom elsewhere ok\nof another EROFS\nof nothing ENOENT\n\
by a wrong address EFAULT\ninto a wrong address EFAULT\ndevice EPERM\npipe ok\nid 1000:1000\n";

/// Runs words, and returns what they printed.
fn record(kitchen: &Kitchen, owners: &mut Owners, words: &[&str]) -> String {
    let mut plan = kitchen.plan.clone();
    plan.command = words.iter().map(Into::into).collect();
    let mut output = Vec::new();
    let ready = sandbox::prepare(plan, Some(owners)).expect("it can be made");
    let outcome = ready.run(Some(owners), || (), &mut |bytes| output.extend(bytes), &AtomicBool::new(false));
    let outcome = outcome.expect("it starts").outcome;
    let output = String::from_utf8_lossy(&output).into_owned();
    assert_eq!(outcome.status, Status::Exited(0), "{output}");
    output
}

/// The recorded owner of a file in a directory.
fn owner(owners: &Owners, directory: &Path, name: &str) -> Option<String> {
    let about = fs::symlink_metadata(directory.join(name)).expect("it is there");
    let top = File::open(directory).expect("a directory");
    let (owner, group) = owners.of(top.as_fd(), name.as_bytes(), (about.dev(), about.ino()))?;
    Some(format!("{owner}:{group}"))
}

#[test]
fn files_are_given_away_by_every_call() {
    for program in ["hostile", "hostile-static"] {
        let Some(kitchen) = Kitchen::new() else { return };
        if !hostile().with_file_name(program).exists() {
            skipped("no C library to link statically with");
            return;
        }
        let mut owners = Owners::new(&[], &[]);
        let output = record(&kitchen, &mut owners, &[&format!("/hostile/{program}"), "owners"]);
        assert_eq!(output, EXPECTED, "{program}");
        let found = |name| owner(&owners, &kitchen.build(), name);
        assert_eq!(found("file").as_deref(), Some("games:games"));
        assert_eq!(found("link").as_deref(), Some("mail:mail"));
        assert_eq!(found("later"), None);
        assert_eq!(found("pipe"), None);
        // Nothing on the disk was given to anybody.
        let (uid, gid) = sandbox::build_owner();
        let about = fs::metadata(kitchen.build().join("file")).expect("it is there");
        assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (uid, gid, 0o755));
        assert_eq!(owners.take_nodes(), [b"node\x1b[2J".to_vec()]);
        assert!(owners.take_nodes().is_empty());
    }
}

#[test]
fn install_and_chown_know_the_accounts() {
    let Some(kitchen) = Kitchen::new() else { return };
    let mut owners = Owners::new(&[("web".to_owned(), None)], &[("web".to_owned(), None)]);
    let script = "install -d -o web -g web -m 2750 data && install -o root -g mail -m 6755 /bin/true data/true && \
        touch plain && chown -R :games data/true && cp -a data copy && \
        stat -c '%U:%G %a %n' data data/true copy copy/true plain && \
        tar cf - data | tar tvf - | cut -d' ' -f1,2 && mv data moved && chown 4711 moved";
    let output = record(&kitchen, &mut owners, &["/bin/sh", "-euc", script]);
    assert_eq!(
        output,
        "web:web 2750 data\nroot:games 755 data/true\nweb:web 2750 copy\nroot:games 755 copy/true\n\
         builder:builder 644 plain\ndrwxr-s--- web/web\n-rwxr-xr-x root/games\n"
    );
    // What one command recorded, the next one is told.
    let output = record(&kitchen, &mut owners, &["/bin/sh", "-euc", "stat -c '%u:%G' moved; rm -r copy; id -u"]);
    assert_eq!(output, "4711:web\n1000\n");
    assert_eq!(owner(&owners, &kitchen.build(), "moved").as_deref(), Some("4711:web"));
    assert_eq!(owner(&owners, &kitchen.build(), "moved/true").as_deref(), Some("root:games"));
    assert_eq!(owner(&owners, &kitchen.build(), "plain"), None);
    // Without a record there is no such right.
    assert_ne!(kitchen.sh("chown 0:0 plain").status(), Status::Exited(0));
}
