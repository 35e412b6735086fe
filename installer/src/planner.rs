// installer/src/planner.rs
//! Makes plans: which troves ([`crate::solve`]), then which paths ([`crate::decide`]).

use std::collections::BTreeMap;

use store::Store;
use store::root_db::{RootDb, TroveRow};

use crate::config::ConfigAction;
use crate::decide::{self, Arriving, Scene};
use crate::error::PlanError;
use crate::event::Warning;
use crate::hooks::Wanted;
use crate::owners::Owners;
use crate::plan::{Import, Origin, Plan, PlanOptions, Request, Work};
use crate::policy;
use crate::provided::RootFiles;
use crate::root::Root;
use crate::script::{self, Scripts};
use crate::solve::{self, Solution, Sources};
use crate::trust;

impl Root {
    /// Plans what the requests ask for, as one changeset; changes nothing.
    ///
    /// Troves that are named, or required, are looked for in `sources` in their order, and at last in the root's own store.
    ///
    /// # Errors
    /// Every [`PlanError`].
    pub fn plan(&self, requests: &[Request], sources: &[&Store], options: &PlanOptions) -> Result<Plan, PlanError> {
        let db = self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let db = db.as_ref();
        let number = db.map(RootDb::last_changeset).transpose()?.unwrap_or(0) + 1;
        if let Some(decisions) = config_decisions(requests)? {
            return self.plan_config(db, number, &decisions);
        }
        let mut sources = Sources::new(sources, self.store.as_ref());
        let mut files = RootFiles::new(&self.beneath);
        let solution = solve::solve(requests, db, &mut sources, &mut files)?;
        policy::check(&solution, db)?;
        let changes = solution.changes();
        let (arriving, leaving, imports) = gather(&solution, &mut sources, number)?;
        trust::check(self.store.as_ref(), &solution, &sources)?;
        let recorded = db.map(RootDb::hooks).transpose()?.unwrap_or_default();
        let hooks_before = Wanted::of(solution.installed.values().map(|(_, member)| member));
        let hooks_after = Wanted::of(solution.members.values());
        let io = |source| PlanError::Io { path: b"etc/passwd".to_vec(), source };
        let accounts = hooks_after.accounts(&self.beneath, &recorded).map_err(io)?;
        let mut owners = Owners::read(&self.beneath).map_err(io)?;
        if let Some(accounts) = &accounts {
            let [passwd, group, ..] = accounts.outcome().texts;
            owners.add(passwd.as_deref(), group.as_deref());
        }
        let scene = Scene {
            root: &self.beneath,
            db,
            uid: self.options.uid,
            replace: options.replace,
            arriving: &arriving,
            leaving: &leaving,
            put_back: &solution.put_back,
            returns_to: solution.returns_to,
            owners,
            accounts,
            hooks_before,
            hooks_after,
            recorded,
        };
        let decisions = decide::decide(&scene)?;
        let reasons = reasons(&solution, &arriving);
        let mut scripts = Scripts::of(&solution, &changes);
        let mut skipped = Vec::new();
        if options.no_scripts {
            let left_out = std::mem::take(&mut scripts);
            let left_out = left_out.before.iter().chain(&left_out.after);
            skipped.extend(left_out.map(|script| Warning::ScriptSkipped { script: script::title(script) }));
        }
        let work = Work {
            number,
            imports,
            puts: decisions.puts,
            takes: decisions.takes,
            displaced: decisions.displaced,
            beside: decisions.beside,
            beside_gone: decisions.beside_gone,
            leaving,
            troves: arriving.into_iter().map(|arriving| arriving.row).collect(),
            files: decisions.files,
            reasons,
            hooks: decisions.hooks,
            scripts,
            contents: decisions.contents,
            accounts: decisions.accounts,
        };
        let mut warnings = solution.warnings;
        warnings.extend(decisions.warnings);
        warnings.extend(skipped);
        Ok(Plan { troves: changes, paths: decisions.paths, warnings, returns_to: solution.returns_to, work })
    }
}

/// A configuration file and what is decided about it.
type Decision<'a> = (&'a [u8], ConfigAction);

/// Returns the decisions about configuration files, where there are no other requests.
fn config_decisions(requests: &[Request]) -> Result<Option<Vec<Decision<'_>>>, PlanError> {
    let decision = |request: &'_ Request| matches!(request, Request::Config { .. });
    if !requests.iter().any(decision) {
        return Ok(None);
    }
    let decisions = requests.iter().map(|request| match request {
        Request::Config { path, action } => Ok((path.as_slice(), *action)),
        _ => Err(PlanError::Mixed),
    });
    decisions.collect::<Result<_, _>>().map(Some)
}

type Gathered = (Vec<Arriving>, Vec<i64>, Vec<Import>);

/// Returns the troves that come with their trees, the rows that go, and what has to be brought into the store.
fn gather(solution: &Solution, sources: &mut Sources<'_>, number: i64) -> Result<Gathered, PlanError> {
    let mut leaving: Vec<i64> = solution.departing().iter().map(|row| row.row).collect();
    let (mut arriving, mut imports) = (Vec::new(), Vec::new());
    for name in solution.arriving() {
        let member = &solution.members[name];
        if let Some((row, _)) = solution.installed.get(name) {
            leaving.push(row.row);
        }
        let mut trees = Vec::new();
        let mut components = BTreeMap::new();
        for component in &member.components {
            if let Some(known) = member.manifest.components.get(component) {
                components.insert(component.clone(), known.tree);
                trees.push((component.clone(), sources.tree(member, component)?));
            }
        }
        let row = TroveRow {
            row: 0,
            name: name.to_owned(),
            digest: member.digest,
            manifest: member.manifest.to_json(),
            reason: member.reason,
            changeset: number,
            components,
        };
        arriving.push(Arriving { row, config: member.manifest.config.clone(), trees });
        if member.origin != Origin::Own {
            let bytes = member.manifest.components.values().map(|component| component.size_bytes).sum();
            imports.push(Import { spec: member.spec(), digest: member.digest, from: member.origin.clone(), bytes });
        }
    }
    leaving.sort_unstable();
    Ok((arriving, leaving, imports))
}

/// Returns the rows of troves that stay with their files and only change their reason.
fn reasons(solution: &Solution, arriving: &[Arriving]) -> Vec<(i64, store::root_db::Reason)> {
    let comes = |name: &str| arriving.iter().any(|arriving| arriving.row.name == name);
    solution
        .installed
        .iter()
        .filter_map(|(name, (row, before))| {
            let after = solution.members.get(name)?;
            (after.reason != before.reason && !comes(name)).then_some((row.row, after.reason))
        })
        .collect()
}
