//! Why two digests differ, in words. A digest differs because what it is of differs, so the causes are
//! told from the inside out: layers, configuration, compression, manifest, index.

use std::collections::BTreeSet;

use contents::Listing;

use crate::changes::{Change, changes};
use crate::comparison::{Comparison, Listings, PlatformComparison, packages_of};
use crate::files::{self, Fate, FileChange};
use crate::holdings::PackageRow;
use crate::inspection::{Inspection, Layer, Platform};
use crate::pairs::Pair;
use crate::table::{plain, shortened};

/// What is left where nothing else is found.
const OTHER_BYTES: &str = "the documents say the same in other bytes (order of keys, spaces)";
/// Things of a kind that are named before the rest is counted.
const NAMED: usize = 4;

/// What differs in the outermost documents, less the manifests' digests and sizes.
pub(crate) fn index_changes(a: &Inspection, b: &Inspection) -> Vec<Change> {
    let mut found = changes(&a.document, &b.document, &["manifests", "config", "layers"]);
    let list = |it: &Inspection| -> Vec<String> {
        it.platforms.iter().map(|it| it.platform.clone()).collect()
    };
    let (names_a, names_b) = (list(a), list(b));
    let set = |names: &[String]| -> BTreeSet<String> { names.iter().cloned().collect() };
    if names_a != names_b && set(&names_a) == set(&names_b) {
        found.push(Change::new("order of the platforms", names_a, names_b));
    }
    if a.media_type != b.media_type && !found.iter().any(|it| it.field == "mediaType") {
        let (a, b) = (a.media_type.clone(), b.media_type.clone());
        found.push(Change::new("mediaType", a, b));
    }
    let beside = |it: &Inspection| -> Vec<String> {
        it.attachments.iter().map(|it| it.digest.clone()).collect()
    };
    if beside(a) != beside(b) {
        found.push(Change::new(
            "what is beside the images",
            beside(a),
            beside(b),
        ));
    }
    found
}

/// Why the images differ: the platforms' causes, those of all platforms once, then the index's.
pub(crate) fn of_images(comparison: &Comparison) -> Vec<String> {
    let mut why = Vec::new();
    for (names, side) in [
        (&comparison.platforms_removed, "A"),
        (&comparison.platforms_added, "B"),
    ] {
        if !names.is_empty() {
            why.push(format!("only {side} has {}", names.join(", ")));
        }
    }
    let platforms = &comparison.platforms;
    for platform in platforms {
        for cause in &platform.why {
            let is_of_all =
                platforms.len() > 1 && platforms.iter().all(|it| it.why.contains(cause));
            let text = if is_of_all || is_manifest(comparison) {
                cause.clone()
            } else {
                format!("{}: {cause}", platform.platform)
            };
            if !why.contains(&text) {
                why.push(text);
            }
        }
    }
    if !comparison.index.is_empty() && !is_manifest(comparison) {
        why.push(format!(
            "the index differs in {}",
            fields(&comparison.index)
        ));
    }
    if why.is_empty() {
        why.push(OTHER_BYTES.to_owned());
    }
    why
}

/// Whether there is no index: then what differs in the manifest is told with its platform.
fn is_manifest(comparison: &Comparison) -> bool {
    comparison.platforms.iter().any(|platform| {
        platform.digest.a == comparison.a.digest && platform.digest.b == comparison.b.digest
    })
}

/// Why the images of one platform differ.
pub(crate) fn of_platforms(a: &Platform, b: &Platform, found: &PlatformComparison) -> Vec<String> {
    let mut why = Vec::new();
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for change in &found.layers {
        match (&change.a, &change.b) {
            (Some(_), Some(b)) => why.push(format!("layer {}: {}", b.number, change.what)),
            (Some(a), None) => of_a.push((a.number, change.what.clone())),
            (None, Some(b)) => of_b.push((b.number, change.what.clone())),
            (None, None) => {}
        }
    }
    why.extend(only("A", of_a));
    why.extend(only("B", of_b));
    let ids =
        |it: &Platform| -> Vec<String> { it.layers.iter().map(|it| it.diff_id.clone()).collect() };
    let is_same = ids(a) == ids(b);
    if why.is_empty() && !is_same {
        why.push("the same layers in another order".to_owned());
    }
    if !found.config.is_empty() {
        let is_time = |it: &Change| it.field == "created" || it.field.ends_with(".created");
        why.push(if found.config.iter().all(is_time) {
            "the `created` time of the configuration".to_owned()
        } else {
            format!("the configuration differs in {}", fields(&found.config))
        });
    }
    if is_same {
        why.extend(other_blobs(a, b));
    }
    if !found.manifest.is_empty() {
        why.push(format!(
            "the manifest differs in {}",
            fields(&found.manifest)
        ));
    }
    if why.is_empty() {
        why.push(OTHER_BYTES.to_owned());
    }
    why
}

/// Layers that one side alone has: their numbers, and what they are.
fn only(side: &str, layers: Vec<(usize, String)>) -> Option<String> {
    let (numbers, what): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    let s = if numbers.len() == 1 { "" } else { "s" };
    let what = (!what.is_empty()).then(|| named(&what))?;
    Some(format!(
        "only {side} has its layer{s} {}: {what}",
        ranges(&numbers)
    ))
}

/// `3-10, 12`
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// What tells blobs apart whose layers are the same.
fn other_blobs(a: &Platform, b: &Platform) -> Option<String> {
    let layers = a.layers.iter().zip(&b.layers);
    let differ = layers.filter(|(a, b)| a.digest != b.digest || a.media_type != b.media_type);
    let (numbers, types): (Vec<_>, BTreeSet<_>) = differ
        .map(|(a, b)| {
            let types = (a.media_type != b.media_type).then_some((&a.media_type, &b.media_type));
            (b.number.to_string(), types)
        })
        .unzip();
    if numbers.is_empty() {
        return None;
    }
    let which = if numbers.len() == b.layers.len() {
        "all layers".to_owned()
    } else {
        format!("layer {}", named(&numbers))
    };
    let types = types.into_iter().flatten();
    let types: Vec<_> = types.map(|(a, b)| format!("{a} → {b}")).collect();
    let types = if types.is_empty() {
        String::new()
    } else {
        format!(", {}", types.join(", "))
    };
    Some(format!(
        "{which}: the same files, compressed in another way (diff_ids are equal{types})"
    ))
}

/// What tells two layers apart.
pub(crate) fn of_layers(
    pair: &Pair<'_>,
    listings: &Listings,
    packages: [&[PackageRow]; 2],
) -> String {
    let listing = |layer: Option<&Layer>| listings.get(&layer?.diff_id);
    let title = |layer: &Layer| shortened(&plain(layer.title()), 72);
    let changed = packages_of(pair, packages);
    let versions = changed.iter().filter(|it| {
        let version =
            |side: &Option<crate::comparison::Version>| side.as_ref().map(|it| it.version.clone());
        version(&it.a) != version(&it.b)
    });
    let versions: Vec<_> = versions.map(crate::PackageChange::words).collect();
    match (pair.a, pair.b) {
        (Some(_), Some(_)) if !versions.is_empty() => named(&versions),
        (Some(a), Some(b)) => {
            let what = match (listing(Some(a)), listing(Some(b))) {
                (Some(a), Some(b)) => of_listings(a, b),
                _ => "not read".to_owned(),
            };
            format!("{} ({what})", title(b))
        }
        (Some(layer), None) | (None, Some(layer)) => title(layer),
        (None, None) => String::new(),
    }
}

fn of_listings(a: &Listing, b: &Listing) -> String {
    fn entries(it: &Listing) -> impl Iterator<Item = (&str, &contents::Entry)> {
        it.entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
    }
    let found = files::compare(entries(a), entries(b));
    let whiteouts = (&a.whiteouts, &a.opaque) != (&b.whiteouts, &b.opaque);
    if found.is_empty() {
        return if whiteouts {
            "the same files, other whiteouts".to_owned()
        } else {
            "the same files, in another order or form of tar".to_owned()
        };
    }
    let is_outside = |it: &FileChange| {
        let outside = ["mtime", "mode", "owner"];
        let fields = it.fields.iter();
        it.change == Fate::Changed
            && fields
                .clone()
                .all(|it| outside.contains(&it.field.as_str()))
    };
    if found.iter().all(is_outside) {
        let fields = found.iter().flat_map(|it| &it.fields);
        let fields: BTreeSet<_> = fields.map(|it| format!("{}s", it.field)).collect();
        let fields: Vec<_> = fields.into_iter().collect();
        return format!("the same files, other {}", fields.join(" and "));
    }
    let count = |fate| {
        found
            .iter()
            .filter(|it| it.change == fate && !is_outside(it))
            .count()
    };
    let parts = [
        (Fate::Added, "added"),
        (Fate::Removed, "removed"),
        (Fate::Changed, "changed"),
    ];
    let parts = parts.map(|(fate, word)| (count(fate), word));
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let first = found.iter().find(|it| !is_outside(it));
    let first = first.map(|it| format!(", first /{}", plain(&it.path)));
    format!("files: {}{}", parts.join(", "), first.unwrap_or_default())
}

fn fields(changes: &[Change]) -> String {
    let names: Vec<_> = changes.iter().map(|it| plain(&it.field)).collect();
    named(&names)
}

/// The first few, and how many more there are.
fn named(list: &[String]) -> String {
    let shown = list[..list.len().min(NAMED)].join(", ");
    match list.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}
