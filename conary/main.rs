// conary/main.rs
//! The command line.
fn main() {}
