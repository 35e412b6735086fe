// store/src/pool.rs
//! Buffers and codecs that threads use in turn: made when none is free, at most one for each thread at work.

use std::sync::{Mutex, PoisonError};

/// Things to work with.
pub(crate) struct Pool<T, F> {
    free: Mutex<Vec<T>>,
    make: F,
}

impl<T, F> Pool<T, F> {
    /// Makes an empty pool.
    pub(crate) fn new(make: F) -> Self {
        Self { free: Mutex::new(Vec::new()), make }
    }

    /// Works with a free thing. `work` must not wait for other threads.
    ///
    /// # Errors
    /// What making or working gives.
    pub(crate) fn with<R, E>(&self, work: impl FnOnce(&mut T) -> Result<R, E>) -> Result<R, E>
    where
        F: Fn() -> Result<T, E>,
    {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut thing = match free {
            Some(thing) => thing,
            None => (self.make)()?,
        };
        let result = work(&mut thing);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(thing);
        result
    }
}
