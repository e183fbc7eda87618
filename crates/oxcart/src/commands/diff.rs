//! `oxcart diff`

use std::process::ExitCode;

use anatomy::{Comparison, Layer, Listings};
use contents::Options;

use crate::cli::{DiffArgs, Global};
use crate::commands::push::runtime;
use crate::look::Look;
use crate::progress::Progress;
use crate::store::Store;

/// Prints what tells two images apart. Exit status 1 where they differ, if that was asked for.
pub(crate) fn run(global: &Global, args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let progress = Progress::new(global);
    let comparison = runtime()?.block_on(async {
        let a = Look::at(global, &args.a, &args.platforms, &progress).await?;
        let b = Look::at(global, &args.b, &args.platforms, &progress).await?;
        let listings = listings(global, args, &a, &b).await?;
        let (a, b) = (&a.inspection, &b.inspection);
        Ok::<_, anyhow::Error>(Comparison::new(a, b, &listings, args.files))
    })?;
    if args.json {
        super::print(&serde_json::to_string_pretty(&comparison)?)?;
    } else {
        super::print(comparison.text().trim_end())?;
    }
    Ok(ExitCode::from(u8::from(args.exit_code && !comparison.same)))
}

/// What has to be read of the layers: nothing where the digests are equal; else those that only one image has;
/// and those of both where these depend on them, or for `--files`.
async fn listings(
    global: &Global,
    args: &DiffArgs,
    a: &Look,
    b: &Look,
) -> anyhow::Result<Listings> {
    if a.inspection.digest == b.inspection.digest {
        return Ok(Listings::new());
    }
    let store = Store::open(global.store.as_deref())?;
    let options = Options { digests: true };
    let unshared = Comparison::unshared(&a.inspection, &b.inspection);
    let mut listings = a.listings(&store, &unshared.a, options).await?;
    listings.extend(b.listings(&store, &unshared.b, options).await?);
    if args.files || Comparison::needs_all(&listings) {
        for look in [a, b] {
            let layers = look.inspection.platforms.iter().flat_map(|it| &it.layers);
            let missing: Vec<&Layer> = layers
                .filter(|it| !listings.contains_key(&it.diff_id))
                .collect();
            listings.extend(look.listings(&store, &missing, options).await?);
        }
    }
    Ok(listings)
}
