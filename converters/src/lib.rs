// converters/src/lib.rs
//! Foreign text and packages into ours.
