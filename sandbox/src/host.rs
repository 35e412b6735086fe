// sandbox/src/host.rs
//! What the host offers a plan: processors, memory, clocks, landlock.

use std::fs;

use crate::plan::{Limits, Plan};
use crate::sys;

/// Time since boot at which a sandbox's clocks start, in seconds.
const CLOCK_START: i64 = 100;

/// What the host offers, looked at before anything is prepared.
pub(crate) struct Host {
    pub processors: u32,
    pub affinity: Option<Vec<u64>>,
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
        let processors = plan.limits.cpus.map_or(allowed, |cpus| cpus.clamp(1, allowed));
        let affinity = (processors < allowed).then(|| first_bits(&mask[..words], processors));
        Self {
            processors,
            affinity,
            scratch_bytes: scratch_bytes(&plan.limits),
            landlock: sys::landlock_version().unwrap_or(0),
            clock_offsets: fs::exists("/proc/self/timens_offsets").unwrap_or(false).then(clock_offsets),
        }
    }
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
    fn first_processors_are_kept() {
        assert_eq!(first_bits(&[0b1010, 0b11], 3), [0b1010, 0b01]);
    }
}
