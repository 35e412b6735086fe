// store/src/lib.rs
//! Objects, trees, packages and the databases, kept durably.
