// sandbox/src/host.rs
//! What the host offers a plan: processors, memory, clocks, landlock.

use std::fs;

use crate::plan::{Limits, Plan};
use crate::sys;

/// Time since boot at which a sandbox's clocks start, in seconds.
const CLOCK_START: i64 = 100;

/// What the host offers, looked at before anything is prepared.
#[derive(Debug)]
pub(crate) struct Host {
    /// How many the command is told of.
    pub processors: u32,
    /// Those it may use.
    pub affinity: Vec<u64>,
    pub scratch_bytes: u64,
    pub landlock: u32,
    pub clock_offsets: Option<String>,
}

impl Host {
    /// Looks at what a plan needs to know.
    pub fn look(plan: &Plan) -> Self {
        let mut mask = [0_u64; 128];
        let words = sys::affinity(&mut mask).map_or(0, |bytes| bytes / 8);
        let allowed: u32 = mask.iter().take(words).map(|word| word.count_ones()).sum();
        let allowed = allowed.max(1);
        let affinity = match plan.limits.cpus {
            Some(cpus) => first_bits(&mask[..words], cpus.max(1)),
            // The kernel takes away those that there are not, or that a container may not use.
            None => vec![u64::MAX; words.max(1)],
        };
        let told = plan.limits.told_cpus.or(plan.limits.cpus.map(|cpus| cpus.min(allowed)));
        Self {
            processors: told.unwrap_or_else(|| online().unwrap_or(allowed)).clamp(1, MOST_PROCESSORS),
            affinity,
            scratch_bytes: scratch_bytes(&plan.limits),
            landlock: sys::landlock_version().unwrap_or(0),
            clock_offsets: fs::exists("/proc/self/timens_offsets").unwrap_or(false).then(clock_offsets),
        }
    }
}

/// The most processors that a mask of the supervisor's holds.
pub(crate) const MOST_PROCESSORS: u32 = 1024;

/// How many processors the machine has switched on.
fn online() -> Option<u32> {
    count_ranges(fs::read_to_string("/sys/devices/system/cpu/online").ok()?.trim())
}

/// Numbers in a list of ranges like `0-3,8`.
fn count_ranges(list: &str) -> Option<u32> {
    list.split(',').try_fold(0_u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

/// The mask with only its first `count` bits left.
fn first_bits(mask: &[u64], count: u32) -> Vec<u64> {
    let mut left = count;
    mask.iter()
        .map(|word| {
            let mut kept = 0;
            for bit in (0..64).map(|shift| word & (1 << shift)).filter(|bit| *bit != 0) {
                if left > 0 {
                    kept |= bit;
                    left -= 1;
                }
            }
            kept
        })
        .collect()
}

/// The size of `/tmp` and of `/dev/shm`: the memory limit, else 8 GiB or half of the machine's memory.
fn scratch_bytes(limits: &Limits) -> u64 {
    const LARGEST: u64 = 8 << 30;
    let system = rustix::system::sysinfo();
    let half = (system.totalram * u64::from(system.mem_unit) / 2).max(64 << 20);
    limits.memory_bytes.unwrap_or(LARGEST).min(half)
}

/// Offsets that let the clocks since boot start at [`CLOCK_START`].
fn clock_offsets() -> String {
    use rustix::time::{ClockId, clock_gettime};
    let offset = |clock| CLOCK_START - clock_gettime(clock).tv_sec;
    format!("monotonic {} 0\nboottime {} 0\n", offset(ClockId::Monotonic), offset(ClockId::Boottime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted() {
        assert_eq!(count_ranges("0-3,8"), Some(5));
        assert_eq!(count_ranges("0"), Some(1));
        assert_eq!(count_ranges("3-1"), None);
        assert_eq!(count_ranges(""), None);
    }

    #[test]
    fn first_processors_are_kept() {
        assert_eq!(first_bits(&[0b1010, 0b11], 3), [0b1010, 0b01]);
    }
}
