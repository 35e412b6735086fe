// kitchen/src/provenance.rs
//! The statement about one cook: what it was made from, how, and what it used.
//!
//! It lies beside the result, on the action row, never inside the package: times, the builder and the
//! isolation differ between equal builds, and the package must not.

use recipes::Digest;
use serde::{Deserialize, Serialize};

use crate::fetch::Fetched;
use crate::phases::Usage;

/// What is said about one cook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Version of this form.
    pub format: u32,
    /// The cook key.
    pub key: String,
    /// The troves that came out.
    pub troves: Vec<String>,
    /// Sources: name, content and where the bytes came from.
    pub sources: Vec<Material>,
    /// Isolation level.
    pub isolation: String,
    /// What the sandbox applied, feature and value.
    pub applied: Vec<(String, String)>,
    /// What every step used.
    pub steps: Vec<Usage>,
    /// `SOURCE_DATE_EPOCH` of the build.
    pub source_date_epoch: i64,
    /// Parallel jobs.
    pub jobs: u32,
    /// Digests of the package files, in the order of the troves.
    #[serde(default)]
    pub packages: Vec<String>,
}

/// One source in a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// File name.
    pub name: String,
    /// Digest of the content.
    pub content: String,
    /// Where it came from.
    pub origin: String,
}

impl Material {
    /// What a statement says of a fetched source.
    #[must_use]
    pub fn of(fetched: &Fetched) -> Self {
        Self {
            name: fetched.file_name.clone(),
            content: fetched.content.digest().to_string(),
            origin: fetched.origin.clone(),
        }
    }
}

impl Statement {
    /// An empty statement about the cook with this key, in version 1 of the form.
    #[must_use]
    pub fn new(key: &Digest) -> Self {
        Self {
            format: 1,
            key: key.to_string(),
            troves: Vec::new(),
            sources: Vec::new(),
            isolation: String::new(),
            applied: Vec::new(),
            steps: Vec::new(),
            source_date_epoch: 0,
            jobs: 0,
            packages: Vec::new(),
        }
    }

    /// The statement as it stands on an action row.
    ///
    /// # Panics
    /// Never: strings, numbers and lists of them always encode.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("because strings, numbers and lists of them always encode")
    }

    /// Reads a statement back. One of another version or a damaged one is `None`: it is a memory of
    /// the build, and nothing depends on it.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Digest of the package file that was written for the trove at this position, if it can be read.
    #[must_use]
    pub fn package(&self, position: usize) -> Option<Digest> {
        self.packages.get(position)?.parse().ok()
    }
}
