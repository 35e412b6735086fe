// sandbox/src/signals.rs
//! What signals do to this process while it is at work. Handlers are needed that no safe interface has, so they stand here, where unsafe
//! code may.
#![allow(unsafe_code, reason = "a handler must do nothing that a signal may not interrupt, which no compiler checks")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::low_level;

use crate::sys;

/// Sets `cancel` at the first of these signals, and ends the process with `status` at the one that makes `patience`.
///
/// # Errors
/// What the system says when a handler cannot be installed.
pub fn ask_to_end(signals: &[i32], cancel: &Arc<AtomicBool>, patience: usize, status: i32) -> io::Result<()> {
    let asked = Arc::new(AtomicUsize::new(0));
    for signal in signals {
        let (cancel, asked) = (Arc::clone(cancel), Arc::clone(&asked));
        let act = move || {
            cancel.store(true, Ordering::SeqCst);
            if asked.fetch_add(1, Ordering::SeqCst) + 1 >= patience {
                low_level::exit(status);
            }
        };
        // SAFETY: the action touches two atomics and may call `_exit`.
        unsafe { low_level::register(*signal, act) }?;
    }
    Ok(())
}

/// At this signal, writes `words` to stderr and ends the process with `status`, whoever else had a handler for it.
///
/// # Errors
/// What the system says when the handler cannot be installed.
pub fn last_words(signal: i32, words: &'static str, status: i32) -> io::Result<()> {
    sys::default_signal(signal).map_err(io::Error::from_raw_os_error)?;
    let act = move || {
        // The process ends either way.
        let _ = sys::write(libc::STDERR_FILENO, words.as_bytes());
        low_level::exit(status);
    };
    // SAFETY: the action calls `write` and `_exit`.
    unsafe { low_level::register(signal, act) }.map(drop)
}
