// recipes/src/lib.rs
//! The recipe format and the vocabulary of the house.
