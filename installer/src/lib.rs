// installer/src/lib.rs
//! Changes to a root: plan, transaction, recovery.
