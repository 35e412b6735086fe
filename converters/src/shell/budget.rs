// converters/src/shell/budget.rs
//! How much may be done: every step and every byte is counted, so that no text can make the reader hang.

use super::evaluate::{Need, Stop};

/// A budget that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent;

/// How much may be done.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Steps that are left.
    pub steps: u64,
    /// Bytes that may still be made.
    pub bytes: u64,
    pub(crate) line: usize,
    pub(crate) nesting: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: 4_000_000, bytes: 64 << 20, line: 0, nesting: 0 }
    }
}

impl Budget {
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        match self.steps.checked_sub(1) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(self.exhausted("it takes more steps than a PKGBUILD may")),
        }
    }

    /// One step of a match, which must not nest deeper than the stack.
    pub(crate) fn deeper(&mut self) -> Option<()> {
        const DEEPEST: usize = 3000;
        self.nesting += 1;
        if self.nesting > DEEPEST {
            self.steps = 0;
        }
        self.step().ok()
    }

    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        match self.bytes.checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(self.exhausted("it makes more text than a PKGBUILD may")),
        }
    }

    /// So many elements are copied or gone through: sixteen of them are a step. Of a long text, 64 bytes count as an element.
    pub(crate) fn copy(&mut self, elements: usize) -> Result<(), Stop> {
        match self.steps.checked_sub(elements as u64 / 16) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(self.exhausted("it takes more steps than a PKGBUILD may")),
        }
    }

    pub(crate) fn exhausted(&self, what: &str) -> Stop {
        Stop::Budget(Need { line: self.line, what: what.to_owned() })
    }
}
