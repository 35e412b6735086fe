// recipes/src/lib.rs
//! The recipe format and the vocabulary of the house.
//!
//! Text in, values out. Here live the words that every other crate speaks ([`Name`], [`Version`], [`TroveSpec`],
//! [`Requirement`], [`Digest`]). Never here: processes, network, databases, the clock, the environment.

mod capability;
mod digest;
mod name;
mod spec;
mod text;
mod version;

pub use capability::{Capability, CapabilityError, Comparison, Constraint, Requirement};
pub use digest::{Algorithm, Digest, DigestError};
pub use name::{Name, NameError};
pub use spec::{Flavor, Label, SpecError, TroveSpec};
pub use version::{Version, VersionError, compare_versions};
