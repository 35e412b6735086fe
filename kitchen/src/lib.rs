// kitchen/src/lib.rs
//! Fetch, build and plate: a recipe becomes a trove.

mod beneath;
pub mod patch;
mod shown;
pub mod unpack;
