// store/src/ccs/pool.rs
//! Buffers and codecs that threads use in turn: made when none is free, at most one for each thread at work.

use std::sync::{Mutex, PoisonError};

use super::CcsError;

/// Things to work with.
pub struct Pool<T, F> {
    free: Mutex<Vec<T>>,
    make: F,
}

impl<T, F: Fn() -> Result<T, CcsError>> Pool<T, F> {
    /// Makes an empty pool.
    pub fn new(make: F) -> Self {
        Self { free: Mutex::new(Vec::new()), make }
    }

    /// Works with a free thing. `work` must not wait for other threads.
    ///
    /// # Errors
    /// What making or working gives.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> Result<R, CcsError>) -> Result<R, CcsError> {
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
