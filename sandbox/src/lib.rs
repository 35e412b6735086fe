// sandbox/src/lib.rs
//! Runs one command in one described root.
//!
//! A [`Plan`] says what the command sees and may use; [`run`] makes that, runs the command to its end, and
//! tells how it ended. Recipes, stores and default mounts are not known here. What is promised, what is
//! not, and why: docs/design/sandbox.md.
//!
//! ```text
//! plan ──► layout   the root as a list of operations (operation)
//!          facts    what stands in for the host's files
//!          filter   refused system calls
//!     run ─────────► child      between clone and exec: nothing that allocates
//!      ├ owner       ids        ├ root, command, landlock, report
//!      ├ host        offers     ├ loose   without namespaces
//!      ├ prepare     the rest   └ supervisor  answers calls while it runs
//!      ├ idmap, cgroup
//!      ├ owners      and ownership: who owns what, where that is recorded
//!      └ hint        refusals
//! terminal  a command that somebody types to
//! answers   which calls answer, for the leak test
//! signals   what signals do to the caller itself
//! ```

mod answers;
mod budget;
mod cgroup;
mod child;
mod command;
mod error;
mod facts;
mod filter;
mod hint;
mod host;
mod idmap;
mod landlock;
mod layout;
mod loose;
mod operation;
mod owner;
mod owners;
mod ownership;
mod plan;
mod prepare;
mod probe;
mod ready;
mod report;
mod restricted;
mod root;
mod run;
mod show;
mod signals;
mod supervisor;
mod sys;
mod terminal;

pub use answers::answers;
pub use error::SandboxError;
pub use filter::{Condition, Rule, rules};
pub use owner::{RESERVED_ID, build_owner};
pub use owners::Owners;
pub use plan::{Bind, Level, Limits, Outcome, Plan, RootView, Status};
pub use probe::{Probe, gives_isolation, probe};
pub use ready::{Ready, prepare};
pub use run::{Ended, run};
pub use signals::{ask_to_end, last_words};
pub use terminal::run_on_terminal;

/// Version of what builds see inside: it stands in every cook key, and changes whenever a build's output
/// could change with it.
pub const POLICY_VERSION: &str = "4";
