//! `oxcart plan`

use std::fmt::Write;

use crate::asked;
use crate::cli::{Global, PlanArgs};
use crate::commands::bytes;
use crate::fetch::Fetcher;
use crate::lock::Lock;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::project::Project;
use crate::registries::Registries;
use crate::resolving::{self, Means, Upgrade};
use crate::store::Store;

/// Prints what a build would do. Resolves where the lock is missing or stale, and writes nothing.
pub(crate) fn run(global: &Global, args: &PlanArgs) -> anyhow::Result<()> {
    let project = Project::open(&global.project, args.profile.as_deref())?;
    let platforms = project.choose(&args.platforms)?;
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
    let old = Lock::read(&project.lock_file())?;
    let fresh = match &old {
        None => false,
        Some(lock) => fetcher
            .wait(asked::staleness(&project, lock, &platforms, &registries))?
            .is_none(),
    };
    let lock = match old {
        Some(lock) if fresh => lock,
        old => fetcher.wait(resolving::lock(
            &project,
            old.as_ref(),
            &Upgrade::Nothing,
            means,
        ))?,
    };
    let plans = platforms
        .iter()
        .filter_map(|platform| lock.platform(*platform))
        .map(|locked| Plan::new(&project, locked))
        .collect::<Result<Vec<_>, _>>()?;
    if args.json {
        let documents: Vec<_> = plans.iter().map(Plan::document).collect();
        return super::print(&serde_json::to_string_pretty(&documents)?);
    }
    super::print(plans.iter().map(text).collect::<String>().trim_end())
}

fn text(plan: &Plan) -> String {
    let mut out = String::new();
    let python = plan.python.as_ref().map_or_else(
        || "no Python".to_owned(),
        |python| format!("Python {} on {}", python.version, python.libc),
    );
    let _ = writeln!(out, "{}: {}, {python}", plan.platform, plan.base);
    let of_base = plan.image.as_ref().map_or(&[][..], |image| &image.layers);
    if let Some(image) = &plan.image {
        let size = of_base.iter().map(|layer| layer.size).sum();
        let _ = writeln!(
            out,
            "  {:6} {:>12}  {} layers of {}",
            "base",
            bytes(size),
            of_base.len(),
            image.manifest.digest
        );
    }
    for step in &plan.steps {
        let size = step.fetched_bytes().map(bytes).unwrap_or_default();
        let _ = writeln!(out, "  {:6} {size:>12}  {}", step.kind(), step.title());
    }
    let total: u64 = plan
        .steps
        .iter()
        .filter_map(crate::plan::Step::fetched_bytes)
        .sum();
    let _ = writeln!(
        out,
        "  {} layers, {} to fetch at most",
        of_base.len() + plan.steps.len(),
        bytes(total)
    );
    let config = &plan.config;
    let command: Vec<_> = config
        .entrypoint
        .iter()
        .chain(&config.cmd)
        .flatten()
        .cloned()
        .collect();
    let _ = writeln!(
        out,
        "  runs {} as {} in {}\n",
        if command.is_empty() {
            "nothing by itself".to_owned()
        } else {
            command.join(" ")
        },
        config.user.as_deref().unwrap_or("root"),
        config.workdir.as_deref().unwrap_or("/"),
    );
    out
}
