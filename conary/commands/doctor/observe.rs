// conary/commands/doctor/observe.rs
//! Inside a sandbox: everything that a program can find out about where it runs, as names and values.
//!
//! Names tell what sort of fact it is, so that noise can be told by name: `file PATH` is a content, `line PATH: KEY`
//! one line of a status file, `about PATH` mode, owner and kind, `inode PATH` and `times PATH` what the file system
//! gives anew each time.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::thread;

use rustix::time::{ClockId, clock_gettime};

/// The most of a file that is read.
const LONGEST: u64 = 256 << 10;

/// Names of `/proc/PID` that are not read: memory, and lists of what is looked at already.
const NOT_READ: [&str; 6] = ["mem", "pagemap", "clear_refs", "task", "map_files", "cwd"];

/// Everything that can be found out.
pub fn all() -> BTreeMap<String, String> {
    let mut facts = Facts(BTreeMap::new());
    facts.process();
    facts.machine();
    facts.directory(Path::new("/"), 8);
    facts.directory(Path::new("/usr"), 0);
    facts.order(Path::new("/usr/bin"));
    facts.proc(Path::new("/proc"), 5);
    facts.proc(Path::new("/proc/self"), 3);
    for place in ["/", "/usr", "/etc", "/proc", "/dev", "/dev/shm", "/tmp", "/build", "/dest", "/steps"] {
        facts.file_system(place);
    }
    // Last: they change this process.
    for (number, errno) in sandbox::answers() {
        facts.add(format!("call {number}"), errno);
    }
    facts.0
}

struct Facts(BTreeMap<String, String>);

impl Facts {
    #[allow(clippy::needless_pass_by_value, reason = "a value is told and forgotten")]
    fn add(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }

    fn process(&mut self) {
        use rustix::process::{getegid, geteuid, getgid, getgroups, getpgrp, getpid, getppid, getsid, getuid};
        let lossy = |word: OsString| word.to_string_lossy().into_owned();
        let variables: Vec<String> =
            env::vars_os().map(|(name, value)| format!("{}={}", lossy(name), lossy(value))).collect();
        self.add("environment", variables.join("\n"));
        self.add("arguments", env::args_os().map(lossy).collect::<Vec<_>>().join(" "));
        self.add(
            "identity",
            format!("{:?} {:?} {:?} {:?} {:?}", getuid(), geteuid(), getgid(), getegid(), getgroups()),
        );
        self.add("process", format!("{:?} {:?} {:?} {:?}", getpid(), getppid(), getpgrp(), getsid(None)));
        self.add(
            "directory",
            env::current_dir().map_or_else(|error| error.to_string(), |path| path.display().to_string()),
        );
        let mask = rustix::process::umask(rustix::fs::Mode::empty());
        self.add("umask", format!("{:o}", mask.bits()));
        self.add("nice", format!("{:?}", rustix::process::getpriority_process(None)));
        let affinity = rustix::thread::sched_getaffinity(None);
        self.add("processors", format!("{:?} {:?}", thread::available_parallelism(), affinity.map(|set| set.count())));
        for (name, clock) in
            [("monotonic", ClockId::Monotonic), ("boot time", ClockId::Boottime), ("real time", ClockId::Realtime)]
        {
            self.add(format!("clock {name}"), clock_gettime(clock).tv_sec);
        }
        let descriptors = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        for entry in descriptors {
            let target =
                fs::read_link(entry.path()).map_or_else(|error| error.to_string(), |to| to.display().to_string());
            self.add(format!("descriptor {}", entry.file_name().display()), target);
        }
        let reached =
            TcpStream::connect((Ipv4Addr::LOCALHOST, 22)).map_or_else(|error| error.to_string(), |_| "open".to_owned());
        self.add("socket 127.0.0.1:22", reached);
    }

    fn machine(&mut self) {
        let uname = rustix::system::uname();
        let texts =
            [uname.sysname(), uname.nodename(), uname.release(), uname.version(), uname.machine(), uname.domainname()];
        self.add("uname", texts.map(|text| text.to_string_lossy().into_owned()).join("|"));
    }

    /// The names of a directory as the kernel gives them, unsorted.
    fn order(&mut self, directory: &Path) {
        let names: Vec<String> = fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        self.add(format!("order {}", directory.display()), names.join(" "));
    }

    /// What stands in a directory, and in those below it as deep as said.
    fn directory(&mut self, directory: &Path, depth: usize) {
        self.order(directory);
        self.about(directory);
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            self.about(&path);
            // Not what the directory says, which knows nothing of what is mounted there.
            let Ok(kind) = fs::symlink_metadata(&path).map(|about| about.file_type()) else { continue };
            if ["/usr", "/proc"].iter().any(|own| path == Path::new(own)) {
                continue;
            }
            if kind.is_dir() && depth > 0 {
                self.directory(&path, depth - 1);
            } else if kind.is_file() {
                self.file(&path);
            }
        }
    }

    /// Mode, owner and kind of a path; apart from them, what is new each time.
    fn about(&mut self, path: &Path) {
        let shown = path.display();
        let Ok(about) = fs::symlink_metadata(path) else { return };
        let kind = about.file_type();
        let device = kind.is_char_device() || kind.is_block_device();
        let special = if device { about.rdev().to_string() } else { String::new() };
        let target = fs::read_link(path).map(|to| to.display().to_string()).unwrap_or_default();
        self.add(
            format!("about {shown}"),
            format!("{:o} {}:{} {special} {target}", about.mode(), about.uid(), about.gid()),
        );
        self.add(
            format!("inode {shown}"),
            format!("{} {} {} {}", about.dev(), about.ino(), about.nlink(), about.size()),
        );
        self.add(format!("times {shown}"), format!("{} {} {}", about.mtime(), about.ctime(), about.atime()));
    }

    fn file(&mut self, path: &Path) {
        let shown = path.display().to_string();
        let mut bytes = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
        if let Err(error) = read {
            return self.add(format!("file {shown}"), error);
        }
        let text = String::from_utf8_lossy(&bytes);
        // Files with a key on each line, some of which count.
        if ["status", "net/netstat", "net/snmp", "net/snmp6"].iter().any(|end| shown == format!("/proc/self/{end}")) {
            for line in text.lines() {
                let (key, value) = line.split_once([':', ' ', '\t']).unwrap_or((line, ""));
                self.add(format!("line {shown}: {key}"), value);
            }
        } else {
            self.add(format!("file {shown}"), text);
        }
    }

    /// Files below `/proc`, those of other processes aside.
    fn proc(&mut self, directory: &Path, depth: usize) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let of_a_process = name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) && depth == 5;
            let skipped = NOT_READ.iter().any(|known| name == **known) && directory == Path::new("/proc/self");
            let Ok(kind) = entry.file_type() else { continue };
            if of_a_process || skipped {
                continue;
            }
            if kind.is_symlink() {
                let target = fs::read_link(&path)
                    .map_or_else(|error: io::Error| error.to_string(), |to| to.display().to_string());
                self.add(format!("link {}", path.display()), target);
            } else if kind.is_dir() && depth > 0 {
                self.proc(&path, depth - 1);
            } else if kind.is_file() {
                self.file(&path);
            }
        }
    }

    fn file_system(&mut self, place: &str) {
        match rustix::fs::statvfs(place) {
            Ok(about) => {
                self.add(
                    format!("file system {place}"),
                    format!("{} {} {:?}", about.f_bsize, about.f_namemax, about.f_flag),
                );
                let room = [about.f_blocks, about.f_bfree, about.f_files, about.f_ffree, about.f_fsid];
                self.add(format!("room {place}"), format!("{room:?}"));
            }
            Err(error) => self.add(format!("file system {place}"), error),
        }
    }
}
