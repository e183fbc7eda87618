//! Where `build --push` goes: one repository and its tags, whole or joined to what is there.

use registry::{Reference, Repository};

use crate::base::Bases;
use crate::build::Built;
use crate::diagnostics::Failure;
use crate::github;
use crate::join::{self, Joining, Others, join};
use crate::place::Document;
use crate::progress::Progress;
use crate::project::{Base, Project};
use crate::push::{self, Delivered, Shipment};
use crate::registries::Registries;

/// A repository, and the tags that the image gets there.
pub(crate) struct Target {
    reference: Reference,
    pub(crate) repository: Repository,
    tags: Vec<String>,
    join: bool,
    /// Repositories that may have layers of the image.
    pub(crate) caches: Vec<Repository>,
}

/// What was pushed.
pub(crate) struct PushedImage {
    pub(crate) delivered: Delivered,
    /// What the first tag names.
    pub(crate) index: Document,
    /// Each tag with its digest.
    pub(crate) references: Vec<String>,
}

/// The name that an image is pushed under, as it is stated.
pub(crate) fn reference(name: Option<&str>) -> anyhow::Result<Reference> {
    let name = name.ok_or_else(|| {
        Failure::new("the image has no name to be pushed under").hint(
            "set [image] name, as in \"ghcr.io/acme/backend\", or use --name; in GitHub Actions, GITHUB_REPOSITORY gives it",
        )
    })?;
    let reference: Reference = name.parse()?;
    if reference.digest().is_some() || name.rsplit('/').next().is_some_and(|it| it.contains(':')) {
        return Err(
            Failure::new(format!("the image's name `{name}` has a tag or a digest"))
                .hint("leave it out of the name, and give tags with --tag")
                .into(),
        );
    }
    Ok(reference)
}

impl Target {
    /// Opens the repository; nothing is asked of it yet.
    pub(crate) fn open(
        reference: Reference,
        tags: &[String],
        join: bool,
        caches: Vec<Repository>,
        registries: &Registries,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            repository: registries.repository(&reference)?,
            reference,
            tags: tags.to_vec(),
            join,
            caches,
        })
    }

    /// Pushes everything, and puts the index under each tag.
    pub(crate) async fn push(
        &self,
        project: &Project,
        built: &Built,
        bases: Bases<'_>,
    ) -> anyhow::Result<PushedImage> {
        for text in github::too_long(&project.annotations) {
            bases.progress.warn(&text);
        }
        let base = match &project.base {
            Base::Image { location, .. } => Some(location),
            Base::Debian(_) | Base::Scratch => None,
        };
        let shipment = Shipment::of_built(built, base, &self.caches, bases)?;
        let delivered = shipment.deliver(&self.repository, bases).await?;
        let name = self.repository.name();
        bases
            .progress
            .line(&format!("pushed to {name}: {}", delivered.account()));
        let mut first = None;
        let mut references = Vec::new();
        for tag in &self.tags {
            let reference = self.reference.with_tag(tag);
            let index = if self.join {
                self.join(tag, project, &shipment, bases.progress).await?
            } else {
                self.replace(tag, project, built, &shipment, bases.progress)
                    .await?
            };
            bases.progress.line(&format!("tagged {reference}"));
            references.push(format!("{reference}@{}", index.digest()));
            first.get_or_insert(index);
        }
        Ok(PushedImage {
            delivered,
            index: first.unwrap_or(shipment.top),
            references,
        })
    }

    async fn join(
        &self,
        tag: &str,
        project: &Project,
        shipment: &Shipment,
        progress: &Progress,
    ) -> anyhow::Result<Document> {
        let manifests = shipment.manifests.iter();
        let joining = Joining {
            manifests: manifests
                .map(|parcel| parcel.document.descriptor.clone())
                .collect(),
            annotations: project.annotations.clone(),
            others: Others::Stay,
        };
        join(&self.repository, tag, &joining, progress).await
    }

    /// Tells of the platforms that the tag has now and will not have any more.
    async fn replace(
        &self,
        tag: &str,
        project: &Project,
        built: &Built,
        shipment: &Shipment,
        progress: &Progress,
    ) -> anyhow::Result<Document> {
        if built.images.len() < project.platforms.len() {
            let ours = built.images.iter().map(|it| it.platform.to_string());
            let ours: Vec<_> = ours.collect();
            let there = join::platforms(&self.repository, tag).await?;
            let lost: Vec<_> = there.into_iter().filter(|it| !ours.contains(it)).collect();
            if !lost.is_empty() {
                progress.warn(&format!(
                    "{} loses {}: with --join they would stay",
                    self.reference.with_tag(tag),
                    lost.join(", ")
                ));
            }
        }
        push::tag(&self.repository, tag, &shipment.top).await?;
        Ok(shipment.top.clone())
    }
}
