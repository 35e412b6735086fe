// kitchen/src/lib.rs
//! Fetch, build and plate: a recipe becomes a trove.
