// sandbox/src/lib.rs
//! Runs one command in one described root.
