// kitchen/src/fetch/tests/pins.rs
