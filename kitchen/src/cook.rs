// kitchen/src/cook.rs
//! One cook, from recipe to package: the story function of the kitchen.
//!
//! ```text
//! plan → key → hit? give it back : why → fetch → unpack → patches → steps → plate → action row → package
//! ```
//!
//! A hit opens no sandbox and touches no network. Everything up to the action row can be cut off at any
//! moment and leaves garbage at most; the row is written last and makes the result true.

mod answer;
mod error;
mod options;
mod seen;

use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use recipes::{AdditionalFrom, Digest, Phase, Recipe};
use rustix::fs::{Mode, OFlags};
use sandbox::{Level, RootView};
use store::{ActionRow, Batch, Manifest, Store};

use crate::dependencies::{Dependency, Ground, Wanted};
use crate::environment;
use crate::event::{Event, Listener};
use crate::fetch::{self, FetchError, Fetched, History};
use crate::harvest::Plated;
use crate::key;
use crate::log::Log;
use crate::package::{self, PackageFile};
use crate::phases::{self, Kitchen, PhaseError, Ran};
use crate::plan::{self, CookPlan, Machine, PlanError};
use crate::plate::Plating;
use crate::provenance::{Material, Statement};
use crate::roots;
use crate::seed;
use crate::sources::{self, SourceInput};
use crate::why::MissReason;
use crate::workspace::Workspace;

use answer::answer;
pub use error::CookError;
pub use options::{Artifact, Foundation, Options, Package};
use seen::SeenPaths;

/// The most that is read of what [`ask`] asks for.
const LARGEST_ANSWER: u64 = 64 << 10;

/// Cooks one recipe: gives back the earlier result if there is one for the same inputs, else builds.
///
/// `directory` is the recipe's own, for files that lie beside it.
///
/// # Errors
/// [`CookError`], by what failed. Nothing that was committed before is lost, and the same call may be
/// made again.
pub fn cook(
    recipe: &Recipe,
    directory: &Path,
    store: &Store,
    options: &Options,
    cancel: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Artifact, CookError> {
    let cook = Cook { recipe, directory, machine: Machine::this(), store, options, cancel, listener };
    let result = cook.run();
    match result {
        // Whatever a step, a download or a walk said when it was stopped, the user knows why.
        Err(_) if cancel.load(Ordering::Relaxed) => Err(CookError::Cancelled),
        other => other,
    }
}

/// Brings the sources of a recipe into the store and stops there.
///
/// # Errors
/// [`CookError::Plan`] or [`CookError::Fetch`].
pub fn fetch_only(
    recipe: &Recipe,
    directory: &Path,
    store: &Store,
    options: &Options,
    cancel: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Vec<Fetched>, CookError> {
    let cook = Cook { recipe, directory, machine: Machine::this(), store, options, cancel, listener };
    let expanded = plan::expand_for_key(recipe, &cook.machine)?;
    cook.fetch(&expanded)
}

/// Runs `setup` of a recipe and then one step of its own, with the whole history of its repositories at hand, and returns one file of
/// the output. Nothing is recorded.
///
/// This is how a version is found before a recipe is written; what a recipe builds never sees a history.
///
/// # Errors
/// [`CookError`], by what failed; [`CookError::Answer`] when the step made no such file.
pub fn ask(
    recipe: &Recipe,
    directory: &Path,
    store: &Store,
    options: &Options,
    cancel: &AtomicBool,
    listener: Listener<'_>,
    (step, file): (&str, &str),
) -> Result<Vec<u8>, CookError> {
    Cook { recipe, directory, machine: Machine::this(), store, options, cancel, listener }.ask(step, file)
}

/// Lays a build out as far as its first step, sources unpacked and patched, and hands over the sandbox's plan for a shell there. The steps
/// are in `/steps`. Nothing is recorded, and what was laid out goes when `visit` returns.
///
/// # Errors
/// [`CookError`], by what failed.
pub fn visit<T>(
    recipe: &Recipe,
    directory: &Path,
    store: &Store,
    options: &Options,
    cancel: &AtomicBool,
    listener: Listener<'_>,
    visit: impl FnOnce(&sandbox::Plan) -> T,
) -> Result<T, CookError> {
    let cook = Cook { recipe, directory, machine: Machine::this(), store, options, cancel, listener };
    let _hold = store.hold()?;
    let (plan, fetched) = cook.fetched()?;
    let mut kitchen = cook.kitchen(&plan, |_| {})?;
    cook.lay_out(&mut kitchen, &plan, &fetched, |_| Ok(()))?;
    Ok(visit(&kitchen.shell().map_err(PhaseError::Workspace)?))
}

/// The plan of a cook as far as it can be made without the network, for `conary why`: `options` forbid it.
///
/// # Errors
/// [`CookError::Plan`]. `None` when a source was never fetched.
pub fn plan_offline(
    recipe: &Recipe,
    directory: &Path,
    store: &Store,
    options: &Options,
) -> Result<Option<CookPlan>, CookError> {
    let cancel = AtomicBool::new(false);
    let cook = Cook { recipe, directory, machine: Machine::this(), store, options, cancel: &cancel, listener: &|_| {} };
    let expanded = plan::expand_for_key(recipe, &cook.machine)?;
    let known = match sources::identify(&expanded, directory, &cook.machine.arch, store, &cancel)? {
        Some(known) => known,
        // A local file that is too young to be recognised by its times is read.
        None => match cook.fetch(&expanded) {
            Ok(fetched) => sources::inputs(&fetched),
            Err(CookError::Fetch(FetchError::Offline { .. })) => return Ok(None),
            Err(error) => return Err(error),
        },
    };
    Ok(Some(cook.plan(expanded, &known)?))
}

/// Why `plan` is not answered from the store, or `None` if it is.
///
/// # Errors
/// [`CookError::Store`].
pub fn explain(plan: &CookPlan, store: &Store, options: &Options) -> Result<Option<MissReason>, CookError> {
    Ok(answer(plan, store, options)?.err())
}

/// What one cook works with.
struct Cook<'a> {
    recipe: &'a Recipe,
    directory: &'a Path,
    machine: Machine,
    store: &'a Store,
    options: &'a Options,
    cancel: &'a AtomicBool,
    listener: Listener<'a>,
}

impl Cook<'_> {
    fn run(&self) -> Result<Artifact, CookError> {
        // Garbage collection leaves alone what is there now and what comes: it is not referred to before the action row.
        let _hold = self.store.hold()?;
        let expanded = plan::expand_for_key(self.recipe, &self.machine)?;
        let known = sources::identify(&expanded, self.directory, &self.machine.arch, self.store, self.cancel)?;
        let (inputs, fetched) = if let Some(known) = known {
            (known, None)
        } else {
            let fetched = self.fetch(&expanded)?;
            (sources::inputs(&fetched), Some(fetched))
        };
        let plan = self.plan(expanded, &inputs)?;
        (self.listener)(Event::Started { spec: &plan.spec });
        let reason = match answer(&plan, self.store, self.options)? {
            Ok(hit) => return self.give_back(&plan, &hit),
            Err(reason) => reason,
        };
        (self.listener)(Event::Miss { spec: &plan.spec, reason: &reason });
        for requirement in &plan.dependencies.from_host {
            (self.listener)(Event::FromHost { requirement: requirement.clone() });
        }
        let mut waiting = |holder: &str| (self.listener)(Event::Waiting { holder: holder.to_owned() });
        let _lock = self.store.lock_action(&plan.key, &mut waiting, self.cancel)?;
        if !self.options.force
            && let Ok(hit) = answer(&plan, self.store, self.options)?
        {
            // Whoever held the lock has cooked the same thing meanwhile.
            return self.give_back(&plan, &hit);
        }
        let fetched = match fetched {
            Some(fetched) => fetched,
            None => self.fetch(&plan.recipe)?,
        };
        self.build(&plan, &fetched)
    }

    fn plan(&self, expanded: Recipe, inputs: &[SourceInput]) -> Result<CookPlan, PlanError> {
        let wanted = Wanted { with_check: self.options.with_check, allow_missing: self.options.allow_missing };
        plan::make(expanded, &self.machine, inputs, wanted, self.store, self.ground()?)
    }

    /// What lies below the troves of the build root; a seed is checked out, if it is not yet.
    fn ground(&self) -> Result<Ground, PlanError> {
        let seed = match &self.options.foundation {
            Foundation::Host(root) => return Ok(Ground::Host(root.clone())),
            Foundation::Hermetic { seed } => seed,
        };
        let Some(name) = seed.as_ref().or(self.recipe.build.seed.as_ref()) else {
            return Ok(Ground::Nothing);
        };
        let found = seed::find(self.store, name)?;
        let spec = self.store.trove(&found.id)?.spec();
        let seed = Dependency { spec, id: found.id };
        let place = roots::layer(self.store, &seed, self.cancel)?;
        Ok(Ground::Seed(found.id, place))
    }

    fn fetch(&self, recipe: &Recipe) -> Result<Vec<Fetched>, CookError> {
        let listener = |event: fetch::Event| (self.listener)(Event::Fetch(event));
        Ok(fetch::all(
            recipe,
            self.directory,
            &self.machine.arch,
            self.store,
            &self.options.fetch,
            self.cancel,
            &listener,
        )?)
    }

    /// The plan of this cook, and its sources, whether there is a result or not.
    fn fetched(&self) -> Result<(CookPlan, Vec<Fetched>), CookError> {
        let expanded = plan::expand_for_key(self.recipe, &self.machine)?;
        let fetched = self.fetch(&expanded)?;
        let plan = self.plan(expanded, &sources::inputs(&fetched))?;
        Ok((plan, fetched))
    }

    /// A hit: package files are put in place where they are not, and that is all.
    fn give_back(&self, plan: &CookPlan, hit: &ActionRow) -> Result<Artifact, CookError> {
        (self.listener)(Event::Fresh { spec: &plan.spec });
        let statement = Statement::from_json(&hit.statement);
        let mut packages = Vec::with_capacity(hit.troves.len());
        for (position, trove) in hit.troves.iter().enumerate() {
            let known = statement.as_ref().and_then(|statement| statement.package(position));
            let (package, file) = self.put(None, &self.store.trove(trove)?, known.as_ref())?;
            if file.written {
                (self.listener)(Event::Written { path: file.path });
            }
            packages.push(package);
        }
        Ok(Artifact {
            spec: plan.spec.clone(),
            packages,
            key: plan.key,
            fresh: true,
            log: self.store.latest_log(plan.spec.name.as_str())?.map(|row| row.path),
        })
    }

    /// Puts one package's file where packages go.
    fn put(
        &self,
        coming: Option<&Batch<'_>>,
        manifest: &Manifest,
        known: Option<&Digest>,
    ) -> Result<(Package, PackageFile), CookError> {
        let file = package::put(self.store, coming, manifest, &self.options.output, known, self.cancel)?;
        let package = Package { spec: manifest.spec(), trove: manifest.id(), path: file.path.clone() };
        Ok((package, file))
    }

    /// The directories of a build, the troves of its root, and all that its steps are told but of the sources.
    fn kitchen(&self, plan: &CookPlan, alter: impl FnOnce(&mut Recipe)) -> Result<Kitchen, CookError> {
        let layers = roots::layers(self.store, &plan.dependencies.troves, self.cancel)?;
        let source_name = format!("{}-{}", plan.recipe.name(), plan.recipe.version().version);
        let workspace = Workspace::create(self.store, &source_name)?;
        for output in plan.recipe.outputs.iter().filter(|output| output.install.is_some()) {
            workspace.add_output(&output.package.name)?;
        }
        let paths = SeenPaths::of(&workspace, self.options.level);
        let jobs = self.jobs();
        let mut recipe = plan::expand(self.recipe, &self.machine, &jobs.to_string(), &paths.destdir, &paths.outputs)?;
        alter(&mut recipe);
        let mut environment = environment::before_sources(&recipe, jobs);
        paths.apply(&mut environment);
        Ok(Kitchen {
            owners: Mutex::new(phases::owners(&recipe)),
            recipe,
            workspace,
            root: match &plan.ground {
                Ground::Host(_) => RootView::Host { overlays: layers },
                Ground::Seed(_, place) => RootView::Layers { lowers: [layers, vec![place.clone()]].concat() },
                Ground::Nothing => RootView::Layers { lowers: layers },
            },
            environment,
            directory: paths.build,
            scripts: paths.scripts,
            outputs: paths.outputs,
            level: self.options.level,
            jobs,
            cpus: self.options.cpus.map(NonZeroU32::get),
        })
    }

    /// Unpacks and patches the sources, does something `between`, and gives all to the build; returns the time of the sources.
    fn lay_out(
        &self,
        kitchen: &mut Kitchen,
        plan: &CookPlan,
        fetched: &[Fetched],
        between: impl FnOnce(&Workspace) -> Result<(), CookError>,
    ) -> Result<i64, CookError> {
        let (workspace, arch) = (&kitchen.workspace, &self.machine.arch);
        let laid_out =
            sources::lay_out(&plan.recipe, arch, fetched, self.store, workspace, self.cancel, self.listener)?;
        between(workspace)?;
        workspace.give_to_build()?;
        kitchen.directory = laid_out.start_directory(&kitchen.directory, workspace.source_name());
        let epoch = kitchen.environment.entry("SOURCE_DATE_EPOCH".to_owned());
        epoch.or_insert_with(|| laid_out.epoch_secs.to_string());
        Ok(laid_out.epoch_secs)
    }

    /// Runs `setup` and one step with the history of all repositories at hand, and returns one file of the output.
    fn ask(&self, step: &str, file: &str) -> Result<Vec<u8>, CookError> {
        let _hold = self.store.hold()?;
        let (plan, fetched) = self.fetched()?;
        let mut kitchen = self.kitchen(&plan, |recipe| {
            recipe.outputs.clear();
            recipe.build.steps.retain(|phase, _| *phase == Phase::Setup);
            recipe.build.steps.insert(Phase::Make, step.to_owned());
        })?;
        self.lay_out(&mut kitchen, &plan, &fetched, |workspace| {
            let arch = &self.machine.arch;
            for additional in plan.recipe.additional.iter().filter(|one| one.is_for(arch)) {
                let AdditionalFrom::Git { url, commit, .. } = &additional.from else { continue };
                let below = additional.extract_to.as_deref().unwrap_or_default();
                let into = workspace.source().join(below).join(additional.laid_out_as());
                let wanted = History { url, commit, into: &into };
                let listener = |event: fetch::Event| (self.listener)(Event::Fetch(event));
                fetch::history(&wanted, self.directory, self.store, &self.options.fetch, self.cancel, &listener)?;
            }
            Ok(())
        })?;
        let path = kitchen.workspace.steps().join("log");
        let log = File::create(&path).map_err(CookError::Log)?;
        phases::run(&kitchen, false, &mut Log::new(path, log), self.cancel, self.listener)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(kitchen.workspace.dest().join(file), flags, Mode::empty());
        let mut content = Vec::new();
        let read = opened
            .map_err(io::Error::from)
            .and_then(|opened| File::from(opened).take(LARGEST_ANSWER).read_to_end(&mut content));
        read.map_err(|source| CookError::Answer { file: file.to_owned(), source })?;
        Ok(content)
    }

    /// Builds at the level asked for, or where the host refuses that, at the next one that is allowed.
    fn build(&self, plan: &CookPlan, fetched: &[Fetched]) -> Result<Artifact, CookError> {
        let alone = matches!(plan.ground, Ground::Host(_)) && plan.dependencies.troves.is_empty();
        match self.build_there(plan, fetched) {
            Err(CookError::Phase(PhaseError::Refused(error)))
                if self.options.level == Level::Full && self.options.least < Level::Full && alone =>
            {
                let level = Level::Restricted;
                (self.listener)(Event::Lowered { level, error: &error });
                let options = Options { level, ..self.options.clone() };
                Cook { options: &options, machine: Machine::this(), ..*self }.build_there(plan, fetched)
            }
            built => built,
        }
    }

    fn build_there(&self, plan: &CookPlan, fetched: &[Fetched]) -> Result<Artifact, CookError> {
        let mut kitchen = self.kitchen(plan, |_| {})?;
        let epoch_secs = self.lay_out(&mut kitchen, plan, fetched, |_| Ok(()))?;
        let (log_row, log_file) = self.store.create_log(&plan.spec, &plan.key, self.options.now_unix_secs)?;
        (self.listener)(Event::LogOpened { path: log_row.path.clone() });
        let (ran, plated, batch) = match self.run_and_plate(&kitchen, Log::new(log_row.path.clone(), log_file)) {
            Ok(made) => made,
            Err(error) => {
                self.store.finish_log(&log_row, false)?;
                if self.keeps() && !matches!(error, CookError::Phase(PhaseError::Refused(_))) {
                    if let (CookError::Phase(PhaseError::Failed { step, .. }), Level::Full) = (&error, kitchen.level) {
                        kitchen.write_room(plan.spec.name.as_str(), step)?;
                    }
                    (self.listener)(Event::Kept { path: kitchen.workspace.keep()? });
                }
                return Err(error);
            }
        };
        let mut statement = Statement::new(&plan.key);
        statement.sources = fetched.iter().map(Material::of).collect();
        self.options.level.name().clone_into(&mut statement.isolation);
        statement.applied = ran.applied;
        statement.steps = ran.steps;
        statement.source_date_epoch = epoch_secs;
        statement.jobs = kitchen.jobs;
        let packages = thread::scope(|scope| {
            // Nothing looks there any more. Where there is no further thread, it goes here and now.
            let _ = thread::Builder::new().spawn_scoped(scope, || drop(kitchen));
            self.record(plan, plated, batch, statement)
        })?;
        self.store.finish_log(&log_row, true)?;
        for package in &packages {
            (self.listener)(Event::Written { path: package.path.clone() });
        }
        Ok(Artifact { spec: plan.spec.clone(), packages, key: plan.key, fresh: false, log: Some(log_row.path) })
    }

    /// Whether the tree of a build that failed stays.
    fn keeps(&self) -> bool {
        self.options.keep_failed && !self.cancel.load(Ordering::Relaxed)
    }

    /// Runs the steps and takes what they made into the store.
    fn run_and_plate(&self, kitchen: &Kitchen, mut log: Log) -> Result<(Ran, Vec<Plated>, Batch<'_>), CookError> {
        let ran = phases::run(kitchen, self.options.with_check, &mut log, self.cancel, self.listener)?;
        let Cook { machine, store, cancel, listener, .. } = self;
        let batch = store.batch()?;
        let plated = Plating { kitchen, machine, batch: &batch, cancel, listener }.all(&mut log)?;
        log.finish().map_err(CookError::Log)?;
        for one in &plated {
            (self.listener)(Event::Plated { spec: &one.manifest.spec(), files: one.files, bytes: one.bytes });
            for message in &one.notices {
                (self.listener)(Event::Notice { message: message.clone() });
            }
        }
        Ok((ran, plated, batch))
    }

    /// Writes the package files, then the row that makes the result true.
    fn record(
        &self,
        plan: &CookPlan,
        plated: Vec<Plated>,
        batch: Batch<'_>,
        mut statement: Statement,
    ) -> Result<Vec<Package>, CookError> {
        let mut packages = Vec::with_capacity(plated.len());
        for Plated { manifest, .. } in plated {
            let (package, file) = self.put(Some(&batch), &manifest, None)?;
            batch.add_trove(manifest, Vec::new());
            statement.troves.push(package.trove.to_string());
            statement.packages.push(file.digest.to_string());
            packages.push(package);
        }
        batch.add_action(ActionRow {
            key: plan.key,
            name: plan.spec.name.to_string(),
            version: plan.recipe.version().to_string(),
            inputs: key::to_store(&plan.inputs),
            troves: packages.iter().map(|package| package.trove).collect(),
            log: None,
            isolation: statement.isolation.clone(),
            made_by_uid: self.options.uid,
            at_unix_secs: self.options.now_unix_secs,
            statement: statement.to_json(),
        });
        batch.commit()?;
        Ok(packages)
    }

    /// Jobs of this build: what was asked for, at most what the recipe allows.
    fn jobs(&self) -> u32 {
        let processors =
            || thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
        let jobs = self.options.jobs.or(self.options.cpus).map_or_else(processors, NonZeroU32::get);
        jobs.min(self.recipe.build.jobs.unwrap_or(u32::MAX)).max(1)
    }
}
