// tests/main.rs
//! The built `conary`, used as a person or a script would use it.
//!
//! Each test has a private world, [`support::TestEnv`]; where the tests run as root, most run as an ordinary user too.
//! A test that cannot run says so loudly; `CONARY_FORBID_SKIPS=1` makes that a failure.

mod builds;
/// Shared with the tests of the engine, which are disturbed in the same way.
#[path = "../installer/tests/engine/calls.rs"]
mod calls;
mod cli;
mod config;
mod convert;
mod cook;
mod docs;
mod enter;
mod git_sources;
mod given;
mod hooks;
mod hostile;
mod inject;
mod install;
mod key;
mod makepkg;
mod outputs;
mod packages;
mod power;
mod recipes;
mod seeds;
mod signals;
mod slash;
mod sources;
mod stores;
mod support;
mod terminal;
mod tidy;
mod wall;
