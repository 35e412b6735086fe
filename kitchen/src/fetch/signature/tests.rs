// kitchen/src/fetch/signature/tests.rs
