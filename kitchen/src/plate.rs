// kitchen/src/plate.rs
//! From the directories that the steps filled to the packages of a build.
//!
//! ```text
//! common output ─ divide ─┐
//!                         ├─ tidy ─ strip ─ harvest: one trove for each package
//! outputs' own ───────────┘
//! ```

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;

use recipes::{Digest, Product, Recipe};
use store::{Batch, Decision, Found, IngestOptions, Node, Tree, TreeError};

use crate::divide;
use crate::event::Listener;
use crate::harvest::{self, HarvestError, Plated};
use crate::log::Log;
use crate::phases::Kitchen;
use crate::plan::Machine;
use crate::strip;
use crate::tidy;

/// What plating works with beside the build itself.
pub struct Plating<'a> {
    /// The build.
    pub kitchen: &'a Kitchen,
    /// What it built for.
    pub machine: &'a Machine,
    /// Where everything goes: contents, trees, and later the troves and the action.
    pub batch: &'a Batch<'a>,
    /// Set to stop.
    pub cancel: &'a AtomicBool,
    /// Where events go.
    pub listener: Listener<'a>,
}

impl Plating<'_> {
    /// Makes the packages of the build, in the order of [`Recipe::products`]. What they are made of is in the batch,
    /// and the troves are not yet.
    ///
    /// # Errors
    /// [`HarvestError`], by what an output is or holds.
    pub fn all(&self, log: &mut Log) -> Result<Vec<Plated>, HarvestError> {
        let recipe = &self.kitchen.recipe;
        let products = recipe.products();
        let (mut parts, mut notices) = self.collect(recipe, &products)?;
        for (part, product) in parts.iter_mut().zip(&products) {
            *part = tidy::tidy(std::mem::take(part), product.policies, self.batch)?;
        }
        let policies: Vec<_> = products.iter().map(|product| product.policies).collect();
        strip::strip(&mut parts, &policies, self, log)?;
        // What was stripped, packed or left out was needed until here.
        let wanted: HashSet<Digest> = parts.iter().flat_map(Tree::objects).collect();
        self.batch.retain(|object| wanted.contains(object));
        let mut all = Vec::with_capacity(products.len());
        for (part, product) in parts.iter().zip(&products) {
            all.push(harvest::plate(recipe, product, self.machine, part, self.batch)?);
        }
        if let Some(first) = all.first_mut() {
            first.notices.append(&mut notices);
        }
        Ok(all)
    }

    /// Takes all outputs into the store and says which product has what, and what a packager should know of that.
    fn collect(&self, recipe: &Recipe, products: &[Product<'_>]) -> Result<(Vec<Tree>, Vec<String>), HarvestError> {
        let workspace = &self.kitchen.workspace;
        let take = |path: PathBuf| -> Result<Tree, HarvestError> {
            let directory = workspace.open(&path)?;
            let owners = self.kitchen.owners.lock().unwrap_or_else(PoisonError::into_inner);
            let decide = |found: &Found<'_>| match owners.of(directory.as_fd(), found.path, found.inode) {
                None => Decision::Keep,
                Some((owner, group)) => Decision::Replace { mode: found.mode, owner, group },
            };
            let options = IngestOptions { decide: Some(&decide), ..IngestOptions::default() };
            Ok(self.batch.ingest(&directory, &options, self.cancel)?)
        };
        let common = take(workspace.dest())?;
        if !recipe.makes_package()
            && let Some(entry) = common.entries().iter().find(|entry| entry.node != Node::Directory)
        {
            let (name, path) = (recipe.name().to_string(), String::from_utf8_lossy(&entry.path).into_owned());
            return Err(HarvestError::Leftover { name, path });
        }
        let divided = divide::divide(&common, products)?;
        let mut parts = divided.parts;
        for (part, product) in parts.iter_mut().zip(products) {
            if product.output.is_some_and(|output| output.install.is_some()) {
                let own = take(workspace.output(&product.package.name))?;
                *part = Tree::merge([&own, part]).map_err(|source: TreeError| HarvestError::Twice {
                    name: product.package.name.to_string(),
                    source,
                })?;
            }
        }
        let idle = |(name, glob): (String, String)| format!("{name}: no file of the common output matches {glob}");
        Ok((parts, divided.idle.into_iter().map(idle).collect()))
    }
}
