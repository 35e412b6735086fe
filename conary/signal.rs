// conary/signal.rs
//! Ctrl-C and requests to terminate.
//!
//! The first signal asks: every long function looks at the flag and stops at a safe point, well within a
//! second. The third stops the process at once; what is then on the disk is put right by the next command, as
//! after a power cut.
//!
//! SIGBUS comes where a page of a mapped file cannot be had: SQLite maps the index of a database's log, and a quota, a full disk or a
//! disk that fails can refuse a page of it. That ends the process as well, with words and a code instead of the shell's "Bus error".

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::process::Signal;

use crate::exit::Code;
use crate::ui;

/// How many signals end the process without asking any more.
const PATIENCE: usize = 3;

/// Starts listening; returns the flag that the first signal sets.
///
/// # Errors
/// What the system says when a handler cannot be installed.
pub fn listen() -> io::Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let asking = [Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw);
    sandbox::ask_to_end(&asking, &cancel, PATIENCE, Code::Interrupted as i32)?;
    sandbox::last_words(Signal::BUS.as_raw(), ui::PAGE_REFUSED, Code::System as i32)?;
    Ok(cancel)
}
