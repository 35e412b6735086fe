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
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGBUS, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::exit::Code;
use crate::ui;

/// How many signals end the process without asking any more.
const PATIENCE: usize = 3;

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// What has become of signals since the start.
#[derive(Debug)]
pub struct Watch {
    cancel: Arc<AtomicBool>,
    /// Signals since the start, until there is a thread that counts them.
    uncounted: Mutex<Option<Signals>>,
}

impl Watch {
    /// Starts listening.
    ///
    /// # Errors
    /// What the system says when a handler cannot be installed.
    pub fn new() -> io::Result<Self> {
        let cancel = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            flag::register(signal, Arc::clone(&cancel))?;
        }
        Ok(Self { cancel, uncounted: Mutex::new(Some(Signals::new(SIGNALS)?)) })
    }

    /// Returns the flag that the first signal sets.
    pub fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// Has the third signal end the process, from now on and counting those before, and SIGBUS at once. A command that does more than look
    /// asks for it; starting the thread takes a fair part of the time that looking takes.
    ///
    /// # Errors
    /// What the system says when the thread cannot be started.
    pub fn count(&self) -> io::Result<()> {
        let Some(mut signals) = self.uncounted.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        // The standard library looks for an overflow of the stack there, and lets the second SIGBUS end the process without a word.
        sandbox::default_signal(SIGBUS)?;
        signals.add_signal(SIGBUS)?;
        let count = move || {
            let mut asked = 0;
            for signal in signals.forever() {
                // The thread that wants the page asks for it over and over until this one has spoken.
                if signal == SIGBUS {
                    ui::page_refused();
                    low_level::exit(Code::System as i32);
                }
                asked += 1;
                if asked == PATIENCE {
                    low_level::exit(Code::Interrupted as i32);
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).stack_size(64 * 1024).spawn(count).map(drop)
    }
}
