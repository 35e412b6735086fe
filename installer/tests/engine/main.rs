// installer/tests/engine/main.rs
//! The engine at work on real packages and real roots.

// Tests move and link files about as users do.
#![allow(clippy::disallowed_methods, clippy::wildcard_imports)]

mod basic;
mod calls;
mod config;
mod differential;
mod hooks;
mod hostile;
mod inject;
mod kill;
mod lab;
mod model;
mod policy;
mod rebuild;
mod scene;
mod script;
mod speed;
mod trigger;
