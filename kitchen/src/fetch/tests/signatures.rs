// kitchen/src/fetch/tests/signatures.rs
