// converters/src/lib.rs
//! Foreign text and packages into ours.
//!
//! Here live the readers of other people's formats, and what is needed to say the same in ours. What cannot be said is never
//! dropped in silence: a conversion returns a list of findings beside its result. Never here: running a foreign
//! script outside the sandbox, installing anything.

pub mod pkgbuild;
pub mod shell;
pub mod srcinfo;
pub mod vercmp;
