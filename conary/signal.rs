// conary/signal.rs
//! Ctrl-C and requests to terminate.
//!
//! The first signal asks: every long function looks at the flag and stops at a safe point, well within a
//! second. The third stops the process at once; what is then on the disk is put right by the next command, as
//! after a power cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::exit::Code;

/// How many signals end the process without asking any more.
const PATIENCE: u32 = 3;

/// Starts listening and returns the flag that the first signal sets.
///
/// # Errors
/// What the system says when a handler cannot be installed.
pub fn watch() -> io::Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let flag = Arc::clone(&cancel);
    thread::Builder::new().name("signals".to_owned()).stack_size(64 * 1024).spawn(move || {
        let mut seen = 0;
        for _ in signals.forever() {
            flag.store(true, Ordering::SeqCst);
            seen += 1;
            if seen >= PATIENCE {
                low_level::exit(Code::Interrupted as i32);
            }
        }
    })?;
    Ok(cancel)
}
