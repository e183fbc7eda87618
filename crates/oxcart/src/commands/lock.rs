//! `oxcart lock`

use std::process::ExitCode;

use crate::archives::Mirrors;
use crate::asked;
use crate::base::Bases;
use crate::build::{self, Cache, Options, Supplies};
use crate::cli::{Global, LockArgs};
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::full_lock;
use crate::layers::{self, Workshop};
use crate::lock::Lock;
use crate::lock_diff;
use crate::mend;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::project::Project;
use crate::registries::Registries;
use crate::resolving::{self, Means, Upgrade};
use crate::store::Store;

/// Brings the lock up to date, or says whether it is.
pub(crate) fn run(global: &Global, args: &LockArgs) -> anyhow::Result<ExitCode> {
    let project = Project::open(&global.project, args.profile.as_deref())?;
    let store = Store::open(global.store.as_deref())?;
    let progress = Progress::new(global);
    let fetcher = Fetcher::new(&project, &store, &progress)?;
    let registries = Registries::new(global, project.base.reference(), &progress);
    let means = Means {
        store: &store,
        fetcher: &fetcher,
        registries: &registries,
        progress: &progress,
    };
    let path = project.lock_file();
    let old = Lock::read(&path)?;
    if args.check {
        let platforms = project.choose(&[])?;
        let why = match &old {
            None => Some("it does not exist".to_owned()),
            Some(lock) => {
                fetcher.wait(asked::staleness(&project, lock, &platforms, &registries))?
            }
        };
        let Some(why) = why else {
            return Ok(ExitCode::SUCCESS);
        };
        let failure = stale(&path, &why);
        let Some(old) = old else {
            return Err(failure.into());
        };
        // That it is stale is the answer, whether or not there is another one to compare it with.
        return Err(
            match fetcher.wait(resolving::lock(
                &project,
                Some(&old),
                &Upgrade::Nothing,
                means,
            )) {
                Ok(new) => {
                    print_changes(&lock_diff::changes(&old, &new))?;
                    failure.into()
                }
                Err(error) => failure.caused_by(error).into(),
            },
        );
    }
    let upgrade = match args.upgrade.as_deref() {
        None => Upgrade::Nothing,
        Some("") => Upgrade::Everything,
        Some(name) => Upgrade::Package(name.to_owned()),
    };
    let mut lock = fetcher.wait(resolving::lock(&project, old.as_ref(), &upgrade, means))?;
    full_lock::carry_over(&mut lock, old.as_ref(), &project, &store)?;
    // What was resolved is kept, whatever becomes of the layers.
    lock.write(&path)?;
    if args.layers {
        build_layers(&project, &lock, means)?;
        full_lock::carry_over(&mut lock, old.as_ref(), &project, &store)?;
        lock.write(&path)?;
    }
    super::print(&path.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Has the store know the layers that `lock` does not state.
fn build_layers(project: &Project, lock: &Lock, means: Means<'_>) -> anyhow::Result<()> {
    let Means {
        store,
        fetcher,
        registries,
        progress,
    } = means;
    let plans = lock.platforms.iter().map(|it| Plan::new(project, it));
    let plans = plans.collect::<Result<Vec<_>, _>>()?;
    let jobs = plans.iter().map(|plan| layers::shared_jobs(project, plan));
    let workshop = Workshop {
        project,
        store,
        date: oci::SHARED_MTIME,
    };
    let supplies = Supplies {
        mirrors: &Mirrors::find(project, Some(lock)),
        bases: Bases {
            store,
            registries,
            progress,
        },
        fetcher,
        stated: &full_lock::stated(lock, project.encoder),
        remote: None,
        target: None,
    };
    let options = Options::of_names(Cache::Use);
    let jobs = jobs.collect::<Result<Vec<_>, _>>()?;
    let build = || build::build_unstated(&workshop, &jobs, supplies, options);
    match build() {
        Err(error) if mend::is_mended(&error, store, &plans, jobs.iter().flatten(), progress) => {
            build()
        }
        done => done,
    }
}

/// What `lock` would change.
fn print_changes(changes: &[String]) -> anyhow::Result<()> {
    if changes.is_empty() {
        return super::print("no package would change");
    }
    super::print(&changes.join("\n"))
}

/// The failure of a command that needs a lock that is up to date.
pub(super) fn stale(path: &std::path::Path, why: &str) -> Failure {
    Failure::new(format!("{} is not up to date: {why}", path.display()))
        .hint("run `oxcart lock`, and commit what it writes")
}
