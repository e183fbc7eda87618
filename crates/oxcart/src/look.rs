//! An image as `inspect` and `diff` see it: its documents, what its layers hold, and whether the project's
//! lock says the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use anatomy::{Documents, ImageDocuments, Inspection, Listings};
use contents::{Contents, Listing, Options};
use oci::layer::Layer;
use oci::{DiffId, Digest};
use serde_json::Value;

use crate::cli::Global;
use crate::diagnostics::Failure;
use crate::listings;
use crate::place::{Document, Images, Location, Place};
use crate::progress::Progress;
use crate::registries::Registries;
use crate::store::Store;

/// Manifests that are no images although their configurations may look so: attestations of `BuildKit`.
const REFERENCE: &str = "vnd.docker.reference.type";

/// An image that is looked at.
pub(crate) struct Look {
    place: Place,
    progress: Progress,
    pub(crate) inspection: Inspection,
}

impl Look {
    /// Reads the documents of what is called `image` on the command line, for those of its `platforms` that
    /// are named, or all of them.
    pub(crate) async fn at(
        global: &Global,
        image: &str,
        platforms: &[String],
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let location = Location::typed(image)?;
        let registries = Registries::new(global, location.reference(), progress);
        let place = Place::open(&location, &registries)?;
        let documents = documents(&place, image).await?;
        let inspection = Inspection::new(&documents)?;
        let mut look = Self {
            place,
            progress: progress.clone(),
            inspection,
        };
        look.choose(platforms)?;
        Ok(look)
    }

    /// Leaves the platforms that are `wanted`, each by its name, with or without its variant; all, where
    /// none is named.
    pub(crate) fn choose(&mut self, wanted: &[String]) -> Result<(), Failure> {
        let is = |platform: &str, wanted: &str| {
            let variant = platform.strip_prefix(wanted);
            variant.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let Self {
            place, inspection, ..
        } = self;
        let platforms = &mut inspection.platforms;
        for name in wanted {
            if !platforms.iter().any(|it| is(&it.platform, name)) {
                let known: Vec<_> = platforms.iter().map(|it| it.platform.as_str()).collect();
                return Err(Failure::new(format!("{place} has no image for {name}"))
                    .hint(format!("it has {}", known.join(", "))));
            }
        }
        platforms
            .retain(|it| wanted.is_empty() || wanted.iter().any(|name| is(&it.platform, name)));
        Ok(())
    }

    /// What the layers hold, of each platform: what the store does not know is read.
    pub(crate) async fn contents(&self, store: &Store) -> anyhow::Result<Vec<Contents>> {
        let platforms = &self.inspection.platforms;
        let layers: Vec<_> = platforms.iter().flat_map(|it| &it.layers).collect();
        let listings = self.listings(store, &layers, Options::default()).await?;
        let layers = |it: &anatomy::Platform| -> Vec<Arc<Listing>> {
            let layers = it.layers.iter();
            layers
                .map(|it| Arc::clone(&listings[&it.diff_id]))
                .collect()
        };
        Ok(platforms
            .iter()
            .map(|it| Contents::new(&layers(it)))
            .collect())
    }

    /// What `layers` hold, each read once.
    pub(crate) async fn listings(
        &self,
        store: &Store,
        layers: &[&anatomy::Layer],
        options: Options,
    ) -> anyhow::Result<Listings> {
        let mut wanted = BTreeMap::new();
        for layer in layers {
            let read = |text: &str| {
                text.parse::<Digest>().map_err(|error| {
                    Failure::new(format!("`{text}` is no sha256 digest"))
                        .hint("only sha256 is read and written")
                        .caused_by(error)
                })
            };
            let found = Layer {
                digest: read(&layer.digest)?,
                diff_id: DiffId(read(&layer.diff_id)?),
                size: layer.size,
                media_type: layer.media_type.clone(),
            };
            wanted.insert(layer.diff_id.clone(), found);
        }
        let (diff_ids, layers): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
        let _spinner = self.progress.spinner("Reading layers");
        let found = listings::of_place(
            store,
            &self.place,
            || Ok(self.place.clone()),
            &layers,
            options,
        )
        .await?;
        Ok(diff_ids.into_iter().zip(found).collect())
    }
}

async fn documents(place: &Place, name: &str) -> anyhow::Result<Documents> {
    let images = Images::read(place).await?;
    let mut documents = Documents {
        name: name.to_owned(),
        top: told(&images.top),
        images: Vec::new(),
        attachments: Vec::new(),
    };
    for document in &images.manifests {
        let manifest: Value = document.parsed()?;
        let kind = manifest["artifactType"].as_str();
        let is_attached = oci::annotation(&document.descriptor, REFERENCE).is_some();
        if kind.is_none() && !is_attached {
            let manifest: oci_spec::image::ImageManifest = document.parsed()?;
            documents.images.push(ImageDocuments {
                manifest: told(document),
                config: place.small_blob(manifest.config()).await?,
            });
        } else if let (Some(kind), 1) = (kind, images.manifests.len()) {
            return Err(
                Failure::new(format!("{place} is no image: it is an artifact, {kind}"))
                    .hint("what `oxcart vendor` gathered is for `oxcart build --offline --vendor`")
                    .into(),
            );
        } else {
            documents.attachments.push(told(document));
        }
    }
    Ok(documents)
}

fn told(document: &Document) -> anatomy::Document {
    anatomy::Document {
        descriptor: document.descriptor.clone(),
        bytes: document.bytes.clone(),
    }
}
