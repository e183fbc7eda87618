//! `oxcart store`

use crate::cli::{Global, StoreCommand};
use crate::commands::bytes;
use crate::store::{Store, Usage};

/// Looks after the store.
pub(crate) fn run(global: &Global, command: &StoreCommand) -> anyhow::Result<()> {
    let store = Store::open(global.store.as_deref())?;
    match command {
        StoreCommand::Size { json: true } => {
            let sizes: std::collections::BTreeMap<_, _> = store.sizes()?.into_iter().collect();
            super::print(&serde_json::to_string_pretty(&sizes)?)
        }
        StoreCommand::Size { json: false } => {
            let sizes = store.sizes()?;
            let mut lines: Vec<_> = sizes
                .iter()
                .map(|(kind, usage)| line(kind, *usage))
                .collect();
            let total = sizes
                .iter()
                .fold(Usage::default(), |sum, (_, usage)| Usage {
                    files: sum.files + usage.files,
                    bytes: sum.bytes + usage.bytes,
                });
            lines.push(line("total", total));
            super::print(&lines.join("\n"))
        }
        StoreCommand::Prune { older_than } => {
            let removed = store.prune(*older_than)?;
            super::print(&line("removed", removed))
        }
    }
}

fn line(what: &str, usage: Usage) -> String {
    format!(
        "{what:12} {:>12} in {} files",
        bytes(usage.bytes),
        usage.files
    )
}
