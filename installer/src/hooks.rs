// installer/src/hooks.rs
//! What a set of troves wants of a root beside files: accounts, enabled services, alternatives.
//!
//! A function of the set alone. A changeset applies the difference between two sets; how is docs/design/transaction.md, "Hooks".

use std::collections::BTreeMap;
use std::io::{self, Read};

use recipes::{HookAlternative, HookUser};
use store::root_db::{HookKind, HookRow};

use crate::accounts::{Accounts, FILES};
use crate::beneath::{Beneath, is_absence};
use crate::solve::Member;

/// Components that want nothing of the system by themselves.
const PASSIVE: [&str; 3] = ["doc", "devel", "debuginfo"];

/// Longest account file that is edited.
const MOST_BYTES: u64 = 16 << 20;

/// What a set of troves wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    users: BTreeMap<String, HookUser>,
    groups: BTreeMap<String, Option<u32>>,
    /// Links that enable services, as packaged: target and package.
    pub services: BTreeMap<String, (String, String)>,
    /// Alternatives, by package.
    pub alternatives: Vec<(String, HookAlternative)>,
}

impl Wanted {
    /// Returns what these troves want. Of two that declare an account, the first by name says how it is.
    pub fn of<'m>(members: impl Iterator<Item = &'m Member>) -> Self {
        let mut wanted = Wanted::default();
        for member in members {
            if member.components.iter().all(|component| PASSIVE.contains(&component.as_str())) {
                continue;
            }
            let (name, hooks) = (member.manifest.name.to_string(), &member.manifest.hooks);
            for group in &hooks.groups {
                let id = wanted.groups.entry(group.name.clone()).or_default();
                *id = id.or(group.id);
            }
            for user in &hooks.users {
                for group in user.groups.iter().chain([user.group.as_ref().unwrap_or(&user.name)]) {
                    wanted.groups.entry(group.clone()).or_default();
                }
                wanted.users.entry(user.name.clone()).or_insert_with(|| user.clone());
            }
            for (link, target) in &hooks.services {
                wanted.services.entry(link.clone()).or_insert_with(|| (target.clone(), name.clone()));
            }
            let alternatives = hooks.alternatives.iter();
            wanted.alternatives.extend(alternatives.map(|alternative| (name.clone(), alternative.clone())));
        }
        wanted
    }

    /// Returns what account files are made from; none where no hook has to do with any.
    pub fn accounts(&self, root: &Beneath, recorded: &[HookRow]) -> io::Result<Option<Accounts>> {
        let recorded: Vec<HookRow> = recorded.iter().filter(|row| is_account(row.kind)).cloned().collect();
        if self.users.is_empty() && self.groups.is_empty() && recorded.is_empty() {
            return Ok(None);
        }
        let mut texts: [Option<Vec<u8>>; 4] = Default::default();
        for (text, path) in texts.iter_mut().zip(FILES) {
            *text = match root.read_inside(path) {
                Ok(file) => {
                    let mut bytes = Vec::new();
                    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
                    Some(bytes)
                }
                Err(error) if is_absence(&error) => None,
                Err(error) => return Err(error),
            };
        }
        let (users, groups) = (self.users.clone(), self.groups.clone());
        Ok(Some(Accounts { texts, recorded, users, groups, ..Accounts::default() }))
    }
}

/// Whether rows of this kind are about account files.
pub(crate) fn is_account(kind: HookKind) -> bool {
    !matches!(kind, HookKind::Service | HookKind::Alternative)
}
