// kitchen/src/roots.rs
//! Checked-out troves: the read-only directories that a build root is made of.
//!
//! A trove is checked out once, to `<store>/roots/<id>`, by links to the store's objects, and then
//! mounted as a layer of every build root that holds it. Starting a build costs mounts, not copies.
//! The name appears when the directory is whole and durable.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use store::{CheckoutError, CheckoutOptions, Store, StoreError, Tree, TreeError};

use crate::dependencies::Dependency;

/// The store's directory of checked-out troves.
const ROOTS: &str = "roots";

/// A trove could not be checked out.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trove's components do not fit together.
    #[error("the components of {spec} contradict one another")]
    Tree {
        /// The trove.
        spec: String,
        /// How.
        source: TreeError,
    },
    /// The files could not be laid out.
    #[error(transparent)]
    Checkout(#[from] CheckoutError),
}

impl RootError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Checkout(error) => error.hint(),
            Self::Tree { .. } => Some("cook it again with `--force`".to_owned()),
        }
    }
}

/// The directories of these troves, in order, each checked out if it is not yet.
///
/// # Errors
/// [`RootError`] if a trove is not whole or the store's file system refuses.
pub fn layers(store: &Store, troves: &[Dependency], cancel: &AtomicBool) -> Result<Vec<PathBuf>, RootError> {
    troves.iter().map(|trove| layer(store, trove, cancel)).collect()
}

/// The directory of one trove.
///
/// # Errors
/// As [`layers`].
pub fn layer(store: &Store, trove: &Dependency, cancel: &AtomicBool) -> Result<PathBuf, RootError> {
    let name = trove.id.hex();
    let place = store.directory().join(ROOTS).join(&name);
    if place.is_dir() {
        return Ok(place);
    }
    let manifest = store.trove(&trove.id)?;
    let mut parts = Vec::new();
    for (name, component) in &manifest.components {
        if name != "debuginfo" {
            parts.push(store.tree(&component.tree)?);
        }
    }
    let whole = Tree::merge(&parts).map_err(|source| RootError::Tree { spec: trove.spec.to_string(), source })?;
    let work = store.work()?;
    store.checkout(&whole, work.directory(), &CheckoutOptions::default(), cancel)?;
    work.place(ROOTS, &name, store)?;
    Ok(place)
}
