// installer/tests/engine/main.rs
//! The engine at work on real packages and real roots.

mod basic;
mod hostile;
mod kill;
mod lab;
mod speed;
