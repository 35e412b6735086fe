// kitchen/src/fetch/tests.rs
