// kitchen/src/fetch/tests/repositories.rs
