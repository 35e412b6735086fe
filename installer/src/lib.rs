// installer/src/lib.rs
//! Changes to a root: plan, transaction, recovery; and questions about one.
//!
//! One engine does every mutation. A command opens a [`Root`], which locks it and finishes what an interrupted command left, asks for a
//! [`Plan`], and commits it. Install, upgrade, remove and rollback differ only in the set of troves that the plan leads to.
//! Protocol, decisions and database: docs/design/transaction.md.
//!
//! ```text
//! requests → solve → set of troves → decide → paths → Plan
//! Plan → ingest → stage → committed → apply → settled → clean up
//! ```
//!
//! Never here: cooking, prompts, the terminal, the clock, the environment, an implicit `/`. SQL, fsync, rename and link are crate
//! `store`'s.

mod accounts;
mod apply;
mod beneath;
mod canonical;
mod commit;
mod config;
mod decide;
mod error;
mod event;
mod hash;
mod hooks;
mod journal;
mod owners;
mod paths;
mod plan;
mod planner;
mod policy;
mod provided;
mod query;
mod rebuild;
mod root;
mod script;
mod solve;
mod space;
mod stage;
mod state;
mod trigger;
mod trust;
mod verify;

pub use canonical::CanonicalError;
pub use commit::Changeset;
pub use config::{Backup, ConfigAction, ConfigError, ConfigFile, ConfigState};
pub use error::{CommitError, Conflict, ErrorKind, PlanError, QueryError, RootError};
pub use event::{Event, Warning};
pub use paths::show as show_path;
pub use plan::{PathAction, PathChange, Plan, PlanOptions, Request, Rollback};
pub use policy::PolicyError;
pub use query::{Installed, Owner};
pub use rebuild::{RebuildError, Rebuilt};
pub use root::{Root, RootOptions};
pub use state::State;
pub use store::root_db::{
    ChangeRow, ChangesetRow, Displaced, DueScript, DueTrigger, FileRow, Held, Hold, Kind, Reason, TriggerRule,
};
pub use trigger::{Trigger, TriggerError};
pub use verify::{Difference, Finding, Verified};
