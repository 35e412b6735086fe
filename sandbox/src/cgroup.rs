// sandbox/src/cgroup.rs
//! Control groups for memory and processes, where the host lets us make one.
//!
//! A group is made only if the plan has a limit that needs one: making and removing it costs more than all
//! of the rest of a sandbox. Where none can be made, resource limits take its place, and the outcome says so.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::SandboxError;
use crate::plan::Limits;

/// Which of the kernel's two interfaces a group uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A control group of one sandbox. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Group {
    version: Version,
    /// With version 1, a directory per controller; with version 2, one.
    memory: Option<PathBuf>,
    processes: Option<PathBuf>,
}

impl Group {
    /// Makes a group for the limits that need one. `None` where the plan needs none or the host gives none.
    pub fn make(limits: &Limits) -> Option<Self> {
        if limits.memory_bytes.is_none() && limits.processes.is_none() {
            return None;
        }
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::two(&own, &mounts, limits).or_else(|| Self::one(&own, &mounts, limits))
    }

    /// A group of version 2, beside or below our own.
    fn two(own: &str, mounts: &str, limits: &Limits) -> Option<Self> {
        let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let mount = mount_point(mounts, "cgroup2", None)?;
        let here = Path::new(&mount).join(path.trim_start_matches('/'));
        // A group with processes cannot have children with controllers, so a sibling is the place.
        for parent in [here.as_path(), here.parent()?] {
            let enabled = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
            let has = |name: &str| enabled.split_whitespace().any(|controller| controller == name);
            if !has("memory") && !has("pids") {
                continue;
            }
            let Some(directory) = make_below(parent) else {
                continue;
            };
            let mut group = Self { version: Version::Two, memory: None, processes: None };
            if has("memory") {
                group.memory = Some(directory.clone());
            }
            if has("pids") {
                group.processes = Some(directory.clone());
            }
            let memory = limits.memory_bytes.is_none_or(|bytes| {
                // Without the second line a build would only get slow. It is absent where there is no swap.
                let _ = fs::write(directory.join("memory.swap.max"), "0");
                fs::write(directory.join("memory.max"), bytes.to_string()).is_ok()
            });
            let processes = limits
                .processes
                .is_none_or(|count| !has("pids") || fs::write(directory.join("pids.max"), count.to_string()).is_ok());
            if memory && processes {
                return Some(group);
            }
        }
        None
    }

    /// Groups of version 1, one for each controller that is needed.
    fn one(own: &str, mounts: &str, limits: &Limits) -> Option<Self> {
        let directory = |controller: &str| {
            let path = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':');
                let names = fields.nth(1)?;
                names.split(',').any(|name| name == controller).then(|| fields.next())?
            })?;
            let mount = mount_point(mounts, "cgroup", Some(controller))?;
            let whole = Path::new(&mount).join(path.trim_start_matches('/'));
            // In a container the path may be one that is not mounted here.
            make_below(&whole).or_else(|| make_below(Path::new(&mount)))
        };
        let mut group = Self { version: Version::One, memory: None, processes: None };
        if let Some(bytes) = limits.memory_bytes
            && let Some(directory) = directory("memory")
        {
            let limited = fs::write(directory.join("memory.limit_in_bytes"), bytes.to_string()).is_ok();
            // Absent where the kernel does not account swap.
            let _ = fs::write(directory.join("memory.memsw.limit_in_bytes"), bytes.to_string());
            group.memory = Some(directory);
            if !limited {
                return None;
            }
        }
        if let Some(count) = limits.processes
            && let Some(directory) = directory("pids")
        {
            let limited = fs::write(directory.join("pids.max"), count.to_string()).is_ok();
            group.processes = Some(directory);
            if !limited {
                return None;
            }
        }
        (group.memory.is_some() || group.processes.is_some()).then_some(group)
    }

    /// Moves a process into the group.
    pub fn add(&self, pid: libc::pid_t) -> Result<(), SandboxError> {
        for directory in [&self.memory, &self.processes].into_iter().flatten() {
            fs::write(directory.join("cgroup.procs"), pid.to_string()).map_err(|source| SandboxError::Step {
                step: format!("join the control group {}", directory.display()),
                source,
                hint: None,
            })?;
        }
        Ok(())
    }

    /// Whether it limits the memory of all processes together.
    pub fn holds_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// `v1` or `v2`.
    pub fn version(&self) -> &'static str {
        match self.version {
            Version::One => "v1",
            Version::Two => "v2",
        }
    }

    /// The most memory that all processes together had.
    pub fn peak_bytes(&self) -> Option<u64> {
        let file = match self.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        fs::read_to_string(self.memory.as_ref()?.join(file)).ok()?.trim().parse().ok()
    }

    /// Whether the kernel refused a process for the group's limit.
    pub fn ran_out_of_processes(&self) -> bool {
        let Some(directory) = &self.processes else {
            return false;
        };
        let text = fs::read_to_string(directory.join("pids.events")).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("max ")).any(|count| count.trim() != "0")
    }

    /// Whether the kernel killed a process for the group's memory limit.
    pub fn ran_out_of_memory(&self) -> bool {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let Some(directory) = &self.memory else {
            return false;
        };
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in [&self.memory, &self.processes].into_iter().flatten() {
            // Its processes are dead, but the kernel may need a moment to notice. What stays is empty.
            for _ in 0..20 {
                if fs::remove_dir(directory).is_ok() || !directory.exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
}

/// Makes a directory with a name of our own, `conary-<pid namespace>-<process>-<number>`, and removes those of processes that were killed.
fn make_below(parent: &Path) -> Option<PathBuf> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let namespace = fs::metadata("/proc/self/ns/pid").ok()?.ino();
    let prefix = format!("conary-{namespace}-");
    sweep(parent, &prefix);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = parent.join(format!("{prefix}{}-{number}", std::process::id()));
    fs::create_dir(&directory).ok().map(|()| directory)
}

/// Removes empty groups of dead processes. The kernel keeps those that have somebody in them, and whether a process of another pid
/// namespace is dead cannot be seen.
fn sweep(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix)?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Where a control group file system is mounted: `kind` with, for version 1, a controller among its options.
fn mount_point(mounts: &str, kind: &str, controller: Option<&str>) -> Option<String> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        if right.next()? != kind {
            return None;
        }
        let options = right.nth(1)?;
        if let Some(controller) = controller
            && !options.split(',').any(|option| option == controller)
        {
            return None;
        }
        left.split(' ').nth(4).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_dead_processes_go() {
        let parent = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let own = std::process::id();
        for name in
            [format!("conary-1-{dead}-0"), format!("conary-2-{dead}-0"), format!("conary-1-{own}-0"), "x".into()]
        {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        // Somebody is still there, as far as the kernel is concerned.
        fs::create_dir_all(parent.path().join(format!("conary-1-{dead}-1/inner"))).unwrap();
        sweep(parent.path(), "conary-1-");
        let left = |name: &str| parent.path().join(name).exists();
        assert!(!left(&format!("conary-1-{dead}-0")));
        for name in
            [format!("conary-1-{dead}-1"), format!("conary-2-{dead}-0"), format!("conary-1-{own}-0"), "x".into()]
        {
            assert!(left(&name), "{name}");
        }
    }

    #[test]
    fn mounts_are_found_by_controller() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 23 0:27 / /sys/fs/cgroup/cpu rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n\
                      32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts, "cgroup", Some("memory")).as_deref(), Some("/sys/fs/cgroup/memory"));
        assert_eq!(mount_point(mounts, "cgroup", Some("cpuacct")).as_deref(), Some("/sys/fs/cgroup/cpu"));
        assert_eq!(mount_point(mounts, "cgroup2", None).as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point(mounts, "cgroup", Some("pids")), None);
    }
}
