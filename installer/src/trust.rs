// installer/src/trust.rs
//! Whether what a plan installs is signed as the root's store asks.
//!
//! A rollback returns to what was installed under the policy of its day and is not asked again.

use store::Store;

use crate::error::PlanError;
use crate::solve::{Solution, Sources};

/// Compares every trove that arrives with the policy of the root's store. A root without one has no policy.
pub fn check(own: Option<&Store>, solution: &Solution, sources: &Sources<'_>) -> Result<(), PlanError> {
    let (Some(own), None) = (own, solution.returns_to) else { return Ok(()) };
    for name in solution.arriving() {
        let member = &solution.members[name];
        let signatures = sources.signatures(member)?;
        own.may_install(&member.spec(), &member.digest, &signatures)??;
    }
    Ok(())
}
