//! `oxcart lock`

use std::process::ExitCode;

use crate::asked;
use crate::cli::{Global, LockArgs};
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::lock::Lock;
use crate::lock_diff;
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
    let lock = fetcher.wait(resolving::lock(&project, old.as_ref(), &upgrade, means))?;
    lock.write(&path)?;
    super::print(&path.display().to_string())?;
    Ok(ExitCode::SUCCESS)
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
