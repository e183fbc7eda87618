//! `oxcart inspect`

use anatomy::{Tree, human};

use crate::cli::{Global, InspectArgs};
use crate::commands::push::runtime;
use crate::lock_state::lock_state;
use crate::look::Look;
use crate::output;
use crate::progress::Progress;
use crate::store::Store;

/// Prints what is in the image at `args.image`. Layers are read only for what they alone can tell.
pub(crate) fn run(global: &Global, args: &InspectArgs) -> anyhow::Result<()> {
    let progress = Progress::new(global);
    let runtime = runtime()?;
    // Of all platforms, or the lock would seem to have too many.
    let look = Look::at(global, &args.image, &[], &progress);
    let mut look = runtime.block_on(look)?;
    let compared = |look: &Look| lock_state(&global.project, &look.inspection);
    look.inspection.lock = compared(&look);
    look.choose(&args.platforms)?;
    let is_deep = !args.documents
        && (args.json || args.tree || args.packages || args.by_layer || args.html.is_some());
    if !is_deep {
        return if args.json {
            super::print(&serde_json::to_string_pretty(&look.inspection)?)
        } else {
            super::print(anatomy::text(&look.inspection, false).trim_end())
        };
    }
    let store = Store::open(global.store.as_deref())?;
    let contents = runtime.block_on(look.contents(&store))?;
    let is_tree = args.tree || args.by_layer;
    look.inspection.look(&contents, args.json && is_tree);
    if args.platforms.is_empty() {
        // Now Debian's packages are known one by one.
        look.inspection.lock = compared(&look);
    }
    if let Some(path) = &args.html {
        let page = anatomy::page(&look.inspection);
        output::bytes(path, page.as_bytes())?;
        let size = human(page.len() as u64);
        progress.line(&format!("wrote {} ({size})", path.display()));
    }
    if args.json {
        return super::print(&serde_json::to_string_pretty(&look.inspection)?);
    }
    if is_tree {
        let options = Tree {
            depth: (args.depth > 0).then_some(args.depth),
            by_layer: args.by_layer,
        };
        let text = anatomy::tree(&look.inspection, &contents, options);
        return super::print(text.trim_end());
    }
    if args.html.is_some() && !args.packages {
        return Ok(());
    }
    super::print(anatomy::text(&look.inspection, args.packages).trim_end())
}
