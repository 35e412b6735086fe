// conary/commands.rs
//! One file for each verb: its arguments, its help, and what it does with them.
//!
//! A command opens what it needs, calls one function of a library, and says how it went. Nothing is decided
//! here that a library should decide.

pub mod completions;
pub mod doctor;
pub mod man;

use std::sync::atomic::AtomicBool;

use crate::environment::Environment;
use crate::ui::Ui;

/// What every command is given.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The surroundings of the process.
    pub environment: &'a Environment,
    /// The only writer.
    pub ui: &'a Ui,
    /// Set by Ctrl-C.
    pub cancel: &'a AtomicBool,
}
