// kitchen/src/cook/answer.rs
//! Whether an earlier result answers a plan, and if not, why.

use sandbox::Level;
use store::{ActionRow, Store, StoreError};

use super::Options;
use crate::key;
use crate::plan::CookPlan;
use crate::why::{self, MissReason};

/// The action row that answers a plan, or why there is none.
pub(super) fn answer(
    plan: &CookPlan,
    store: &Store,
    options: &Options,
) -> Result<Result<ActionRow, MissReason>, StoreError> {
    if options.force {
        return Ok(Err(MissReason::Forced));
    }
    let Some(row) = store.action(&plan.key)? else {
        let Some(earlier) = store.latest_action(plan.spec.name.as_str())? else {
            return Ok(Err(MissReason::First));
        };
        let differences = why::compare(store, &key::from_store(&earlier.inputs), &plan.inputs.to_list());
        return Ok(Err(MissReason::Changed { differences }));
    };
    if options.uid == 0 && row.made_by_uid != 0 {
        return Ok(Err(MissReason::Untrusted { uid: row.made_by_uid }));
    }
    let had = Level::from_name(&row.isolation).unwrap_or(Level::None);
    // What was made below the level asked for answers while this host gives no more.
    if had < options.least || (had < options.level && sandbox::gives_isolation()) {
        return Ok(Err(MissReason::Isolation { had: row.isolation }));
    }
    for trove in &row.troves {
        if !store.is_complete(trove)? {
            return Ok(Err(MissReason::Collected));
        }
    }
    if row.troves.is_empty() {
        return Ok(Err(MissReason::Collected));
    }
    Ok(Ok(row))
}
