// tests/main.rs
//! Integration tests.
