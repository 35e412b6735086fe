// sandbox/src/owner.rs
//! Which id of the host stands behind id 1000 inside.

use std::fs;

use crate::sys;

/// The id that a build started by root has on the host: above every range that distributions and
/// systemd hand out, and below 2^31, which some programs take for the end.
pub const RESERVED_ID: u32 = 2_147_440_640;

/// What the caller may do towards a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: u32,
    pub gid: u32,
    /// The caller may write any map, drop all groups and clone mounts of the host itself.
    pub privileged: bool,
}

impl Owner {
    /// Looks at the calling thread's ids and capabilities.
    pub fn of_caller() -> Self {
        const NEEDED: u64 = 1 << sys::CAP_SYS_ADMIN | 1 << sys::CAP_SETUID | 1 << sys::CAP_SETGID | 1 << sys::CAP_CHOWN;
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let own = Self { uid, gid, privileged: false };
        if uid != 0 || sys::effective_capabilities() & NEEDED != NEEDED {
            return own;
        }
        let uids = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let gids = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
        match (outer_id(&uids), outer_id(&gids)) {
            (Some(uid), Some(gid)) => Self { uid, gid, privileged: true },
            _ => own,
        }
    }
}

/// The id of a build among the ids that a map offers: the reserved one, or where the caller is itself in
/// a user namespace with fewer ids, the highest that is neither root nor nobody.
fn outer_id(map: &str) -> Option<u32> {
    let ranges: Vec<(u64, u64)> = map
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let first = fields.next()?.parse::<u64>().ok()?;
            let count = fields.nth(1)?.parse::<u64>().ok()?;
            Some((first, first + count))
        })
        .collect();
    let holds = |id: u64| ranges.iter().any(|(first, end)| (*first..*end).contains(&id));
    if holds(u64::from(RESERVED_ID)) {
        return Some(RESERVED_ID);
    }
    let highest = ranges.iter().map(|(_, end)| end - 1).max()?;
    // 65534 is nobody, and 65535 is -1 to programs that still hold an id in 16 bits.
    (0..3)
        .map(|below| highest.saturating_sub(below))
        .find(|id| *id > 0 && ![65534, 65535].contains(id) && holds(*id))
        .and_then(|id| u32::try_from(id).ok())
}

/// The host's user and group id behind id 1000 inside.
///
/// For a user, the caller's own. For root, a reserved high id ([`RESERVED_ID`]), so that a build started
/// by root is nobody on the host. Directories that a plan binds writable must belong to it.
#[must_use]
pub fn build_owner() -> (u32, u32) {
    let owner = Owner::of_caller();
    (owner.uid, owner.gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_comes_from_the_map() {
        assert_eq!(outer_id("         0          0 4294967295\n"), Some(RESERVED_ID));
        assert_eq!(outer_id("0 100000 65536\n"), Some(65533));
        assert_eq!(outer_id("0 100000 65535\n"), Some(65533));
        assert_eq!(outer_id("0 1000 1\n1 100000 1000\n"), Some(1000));
        assert_eq!(outer_id("0 1000 1\n"), None);
        assert_eq!(outer_id("nonsense"), None);
    }
}
