// kitchen/src/fetch/tests/trees.rs
