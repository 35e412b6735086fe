// recipes/src/lib.rs
//! The recipe format and the vocabulary of the house.
//!
//! Text in, values out. Here live the words that every other crate speaks ([`Name`], [`Version`], [`TroveSpec`],
//! [`Requirement`], [`Digest`]), and the recipe: [`load`] or [`parse`] reads and checks it, [`Recipe::expand`] fills in
//! one cook's [`Facts`], [`Recipe::fields`] is its part of the cook key. Never here: processes, network, databases, the
//! clock, the environment.

mod capability;
mod diagnostic;
mod digest;
mod expansion;
mod fields;
mod hooks;
mod load;
mod name;
mod output;
mod policy;
mod read;
mod reader;
mod recipe;
mod spec;
mod text;
mod version;

pub use capability::{Capability, CapabilityError, Comparison, Constraint, Requirement};
pub use diagnostic::Diagnostic;
pub use digest::{Algorithm, Digest, DigestError};
pub use expansion::Facts;
pub use hooks::{
    ACCOUNT_IDS, HookAlternative, HookDirectory, HookGroup, HookUser, Hooks, is_account_field, is_account_name,
    is_plain_path,
};
pub use load::{LoadError, load, parse};
pub use name::{Name, NameError};
pub use output::{Output, Product, Scriptlet, ScriptletError, Scripts, Suggestion};
pub use policy::{Policies, Policy};
pub use read::{is_group, is_license};
pub use recipe::{
    Additional, AdditionalFrom, Build, Components, GitProof, Package, Patch, Phase, Recipe, Runtime, Signature, Source,
};
pub use spec::{Flavor, Label, SpecError, TroveSpec};
pub use version::{Version, VersionError, compare_versions};
