// converters/src/shell/assoc.rs
//! Associative arrays, in the order in which bash walks them: by the hash of their keys.

use std::rc::Rc;

use super::state::weight;

/// Buckets of a table in bash 5.
const BUCKETS: u32 = 1024;

/// A table from texts to texts. A copy shares the entries until one of the two is changed.
#[derive(Debug, Clone, Default)]
pub struct Assoc {
    entries: Rc<Vec<(String, String)>>,
}

impl Assoc {
    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn insert(&mut self, key: String, value: String) {
        let entries = Rc::make_mut(&mut self.entries);
        match entries.iter_mut().find(|(name, _)| *name == key) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
    }

    /// What a copy costs, or a look at each entry.
    pub(crate) fn weight(&self) -> usize {
        self.entries.iter().map(|(key, value)| weight(key) + value.len() / 64).sum()
    }

    pub(crate) fn remove(&mut self, key: &str) {
        Rc::make_mut(&mut self.entries).retain(|(name, _)| name != key);
    }

    /// The entries in bash's order: by bucket, and in a bucket the newest first.
    pub(crate) fn in_order(&self) -> Vec<(&str, &str)> {
        let mut ordered: Vec<(&str, &str)> =
            self.entries.iter().rev().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        ordered.sort_by_key(|(key, _)| bucket(key));
        ordered
    }
}

/// FNV-1, as in bash's hashlib, where a byte has a sign.
fn bucket(key: &str) -> u32 {
    let signed = |byte: u8| i32::from(byte.cast_signed()).cast_unsigned();
    let hash = key.bytes().fold(2_166_136_261_u32, |hash, byte| hash.wrapping_mul(16_777_619) ^ signed(byte));
    hash & (BUCKETS - 1)
}
