// kitchen/src/lib.rs
//! Fetch, build and plate: a recipe becomes a trove.
//!
//! [`cook`] is the one way there, and tells the whole story; [`plan`] and [`key`] say what would be cooked and
//! under which key, [`why`] why it has to be. Never here: a second way to run a step, the terminal, the clock.

mod beneath;
pub mod classify;
pub mod cook;
pub mod dependencies;
pub mod divide;
pub mod environment;
pub mod event;
pub mod fetch;
pub mod harvest;
mod hooks;
pub mod host;
pub mod kept;
pub mod key;
mod lint;
mod log;
pub mod order;
pub mod package;
pub mod patch;
pub mod phases;
pub mod plan;
pub mod plate;
pub mod provenance;
pub mod roots;
pub mod scan;
pub mod seed;
mod shown;
pub mod sources;
pub mod step;
pub mod strip;
mod sysusers;
pub mod tidy;
pub mod unpack;
pub mod wanted;
pub mod why;
pub mod workspace;

pub use cook::{Artifact, CookError, Foundation, Options, Package, ask, cook, visit};
pub use event::{Event, Listener};
