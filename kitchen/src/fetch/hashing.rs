// kitchen/src/fetch/hashing.rs
//! Computes every digest that somebody claimed, in one pass.

use std::collections::BTreeMap;

use recipes::{Algorithm, Digest};
use store::Hasher;

/// Digests under way. BLAKE3 is not among them: the store computes it, as the object's name.
pub(super) struct Hashing(Vec<(Algorithm, Hasher)>);

impl Hashing {
    /// Begins the digests of these algorithms.
    pub(super) fn new(algorithms: &[Algorithm]) -> Self {
        let mut algorithms: Vec<Algorithm> = algorithms.to_vec();
        algorithms.retain(|algorithm| *algorithm != Algorithm::Blake3);
        algorithms.sort_unstable();
        algorithms.dedup();
        Self(algorithms.into_iter().map(|algorithm| (algorithm, Hasher::new(algorithm))).collect())
    }

    /// Takes more bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.0 {
            hasher.update(bytes);
        }
    }

    /// The digests, by algorithm, with the BLAKE3 one that the store computed.
    pub(super) fn finish(self, object: Digest) -> BTreeMap<Algorithm, Digest> {
        let own = [(Algorithm::Blake3, object)];
        self.0.into_iter().map(|(algorithm, hasher)| (algorithm, hasher.finish())).chain(own).collect()
    }
}
