// store/src/event.rs
//! What long operations tell while they run.

/// A step of an operation on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Content was read and hashed.
    Hashed {
        /// How much.
        bytes: u64,
    },
    /// Entries of a tree were laid out.
    Placed {
        /// How many.
        entries: u64,
    },
    /// An object was compared with its name.
    Verified {
        /// Its size.
        bytes: u64,
    },
    /// An object was removed.
    Removed {
        /// Its size.
        bytes: u64,
    },
}

/// Hears the events of an operation, from any of its threads.
pub type Listener<'a> = &'a (dyn Fn(Event) + Sync);

/// A listener that does not listen.
pub(crate) fn nobody(_: Event) {}
