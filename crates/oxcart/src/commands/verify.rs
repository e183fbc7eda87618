//! `oxcart verify`

use std::fmt::Write;
use std::io::Read;
use std::process::ExitCode;
use std::thread;

use oci::layer::Layer;
use oci::{Digest, Platform};
use oci_spec::image::ImageManifest;
use serde_json::Value;

use crate::archives::Mirrors;
use crate::base::{Bases, reader};
use crate::build::{self, Built, BuiltImage, BuiltLayer, Cache, Options, Supplies};
use crate::cli::{Global, VerifyArgs};
use crate::clock;
use crate::commands::build::{IfStale, lock};
use crate::diagnostics::Failure;
use crate::fetch::Fetcher;
use crate::full_lock;
use crate::github::Workflow;
use crate::layer_diff::{ReadLayer, Side, difference, same_order};
use crate::layers::{self, Workshop};
use crate::mend;
use crate::metadata::Seconds;
use crate::output;
use crate::place::{Document, Images, Location, Place, sha256};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::project::{Base, Project};
use crate::project_wheel;
use crate::registries::Registries;
use crate::resolving::Means;
use crate::store::Store;

/// An image that claims to be the project's, on one platform.
struct Claim {
    document: Document,
    manifest: ImageManifest,
    config: Vec<u8>,
    parsed: Value,
    platform: String,
}

/// Builds the project's image again from the files that its lock names, and compares the image at
/// `args.image` with it.
pub(crate) fn run(global: &Global, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut project = Project::open(&global.project, args.profile.as_deref())?;
    let chosen = project.choose(&args.platforms)?;
    if let Some(workflow) = Workflow::of_environment() {
        workflow.annotate(&mut project.annotations);
    }
    let location = Location::typed(&args.image)?;
    let store = Store::open(global.store.as_deref())?;
    let progress = Progress::new(global);
    let fetcher = Fetcher::new(&project, &store, &progress)?;
    let about = location.reference().or(project.base.reference());
    let registries = Registries::new(global, about, &progress);
    let means = Means {
        store: &store,
        fetcher: &fetcher,
        registries: &registries,
        progress: &progress,
    };
    let place = Place::open(&location, &registries)?;
    let images = fetcher.wait(Images::read(&place))?;
    let claims = fetcher.wait(claims(&place, &images))?;
    let platforms: Vec<_> = chosen
        .into_iter()
        .filter(|it| !args.platforms.is_empty() || claims.iter().any(|claim| claim.is_for(*it)))
        .collect();
    if platforms.is_empty() {
        let there: Vec<_> = claims.iter().map(|it| it.platform.as_str()).collect();
        return Err(Failure::new(format!(
            "{place} has no image for a platform of the project"
        ))
        .hint(format!("it has {}", there.join(", ")))
        .into());
    }
    let lock = lock(&project, &platforms, IfStale::Fail, None, means)?;
    let locked = platforms.iter().filter_map(|it| lock.platform(*it));
    let mut plans = locked
        .map(|locked| Plan::new(&project, locked))
        .collect::<Result<Vec<_>, _>>()?;
    project_wheel::complete(&mut plans, &project, &fetcher, &progress)?;
    let workshop = Workshop {
        project: &project,
        store: &store,
        date: clock::source_date()?,
    };
    let bases = Bases {
        store: &store,
        registries: &registries,
        progress: &progress,
    };
    let supplies = Supplies {
        mirrors: &Mirrors::find(&project, Some(&lock)),
        bases,
        fetcher: &fetcher,
        stated: &full_lock::stated(&lock, project.encoder),
        remote: None,
        target: None,
    };
    let built = rebuilt(&workshop, &plans, supplies)?;

    let comparing = Comparing {
        place: &place,
        project: &project,
        bases,
        fetcher: &fetcher,
    };
    let mut report = Report::default();
    for image in &built.images {
        report.begin(&image.platform.to_string());
        match claims.iter().find(|claim| claim.is_for(image.platform)) {
            None => report.differs("it is missing"),
            Some(claim) => comparing.image(image, claim, &mut report)?,
        }
    }
    for claim in &claims {
        let is_known = project.platforms.iter().any(|(it, _)| claim.is_for(*it));
        if !is_known {
            report.begin(&claim.platform);
            report.differs("the project is not built for it");
        }
    }
    if oci::is_index(images.top.descriptor.media_type()) {
        report.begin("index");
        let ours = &built.index.bytes;
        if images.top.bytes == *ours {
            report.equal(&format!("equal, {}", Digest::of(ours)));
        } else if args.platforms.is_empty() {
            report.documents("", ours, &images.top.bytes)?;
        } else {
            report.equal("not compared: --platform was given");
        }
    }
    super::print(report.text.trim_end())?;
    Ok(if report.found {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The images as their sources give them, once more where damage in the store was in the way.
fn rebuilt(
    workshop: &Workshop<'_>,
    plans: &[Plan],
    supplies: Supplies<'_>,
) -> anyhow::Result<Built> {
    let options = Options::of_names(Cache::Rebuild);
    let mut seconds = Seconds::default();
    let mut work = || build::build(workshop, plans, supplies, options, &mut seconds);
    let error = match work() {
        Err(error) => error,
        built => return built,
    };
    let Workshop { project, store, .. } = *workshop;
    let progress = supplies.bases.progress;
    let jobs = layers::jobs(project, plans, workshop.date).unwrap_or_default();
    if !mend::is_mended(&error, store, plans, jobs.iter().flatten(), progress) {
        return Err(error);
    }
    project_wheel::complete(&mut plans.to_vec(), project, supplies.fetcher, progress)?;
    work()
}

/// The images at a place. What is no image (an attestation, say) is passed over.
async fn claims(place: &Place, images: &Images) -> anyhow::Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for document in &images.manifests {
        let manifest: ImageManifest = document.parsed()?;
        let config = place.small_blob(manifest.config()).await?;
        let parsed: Value = serde_json::from_slice(&config)?;
        let parts = ["os", "architecture", "variant"].map(|key| parsed[key].as_str());
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if manifest.artifact_type().is_some() || parts.len() < 2 || parts[0] == "unknown" {
            continue;
        }
        claims.push(Claim {
            platform: parts.join("/"),
            document: document.clone(),
            manifest,
            config,
            parsed,
        });
    }
    Ok(claims)
}

impl Claim {
    fn is_for(&self, platform: Platform) -> bool {
        self.platform == platform.to_string() || self.platform == format!("{platform}/v8")
    }

    /// The `diff_id` that the configuration states of layer `n`.
    fn diff_id(&self, n: usize) -> &str {
        let stated = &self.parsed["rootfs"]["diff_ids"][n];
        stated.as_str().unwrap_or("none")
    }
}

/// What is read to compare.
struct Comparing<'a> {
    place: &'a Place,
    project: &'a Project,
    bases: Bases<'a>,
    fetcher: &'a Fetcher,
}

impl Comparing<'_> {
    fn image(&self, image: &BuiltImage, claim: &Claim, report: &mut Report) -> anyhow::Result<()> {
        let of_base = image.base_layers().len();
        let ours = &image.image.layers;
        let theirs = claim.manifest.layers();
        let mut equal = 0;
        for n in 0..ours.len().max(theirs.len()) {
            let made = n.checked_sub(of_base).and_then(|n| image.layers.get(n));
            let title = made.map_or_else(
                || "of the base image".to_owned(),
                |made| format!("{} {}", made.job.step.kind(), made.job.step.title()),
            );
            let name = format!("layer {} of {} ({title})", n + 1, ours.len());
            match (ours.get(n), theirs.get(n)) {
                (Some(ours), Some(theirs)) => {
                    let theirs = Layer {
                        digest: sha256(theirs)?,
                        diff_id: ours.diff_id,
                        size: theirs.size(),
                        media_type: theirs.media_type().to_string(),
                    };
                    let found = self.layer((ours, made, image), &theirs, claim.diff_id(n))?;
                    match found {
                        None => equal += 1,
                        Some(text) => report.differs(&format!("{name} {text}")),
                    }
                }
                (None, Some(extra)) => {
                    report.differs(&format!(
                        "layer {} is not expected: {}",
                        n + 1,
                        extra.digest()
                    ));
                }
                (_, None) => report.differs(&format!("{name} is missing")),
            }
        }
        report.equal(&format!("{equal} layers are equal"));
        report.documents("configuration", &image.image.config, &claim.config)?;
        report.documents("manifest", &image.image.manifest, &claim.document.bytes)
    }

    /// How a layer of the image differs from the one that was built; None where it does not. What lies
    /// on this machine is read in any case; what a registry has under the right digest is the right one
    /// for whoever pulls it.
    fn layer(
        &self,
        (ours, made, image): (&Layer, Option<&BuiltLayer>, &BuiltImage),
        theirs: &Layer,
        stated: &str,
    ) -> anyhow::Result<Option<String>> {
        let is_equal = ours.digest == theirs.digest;
        if is_equal && self.place.repository().is_some() {
            return Ok(None);
        }
        let open_theirs = || {
            self.fetcher
                .wait(reader(self.place, &theirs.digest, theirs.size))
        };
        let found = match ReadLayer::of(&theirs.media_type, &open_theirs) {
            Ok(found) => found,
            Err(error) => {
                let why = crate::diagnostics::chain(&*error);
                return Ok(Some(format!("cannot be read: {why}")));
            }
        };
        if found.digest != theirs.digest {
            let (digest, found) = (theirs.digest, found.digest);
            return Ok(Some(format!("is damaged: its blob {digest} has {found}")));
        }
        if is_equal {
            return Ok(None);
        }
        let heads = format!("is {}, expected {}", theirs.digest, ours.digest);
        if found.diff_id == ours.diff_id {
            return Ok(Some(format!(
                "{heads}\n    the files are the same (diff_id {}), compressed in another way",
                ours.diff_id
            )));
        }
        let open_ours = || self.open(ours, made, image);
        let expected = ReadLayer::of(&ours.media_type, &open_ours)?;
        let sides = [
            (
                &expected,
                ours,
                &open_ours as &crate::layer_diff::Opener<'_>,
            ),
            (&found, theirs, &open_theirs),
        ];
        let [expected_side, found_side] = sides.map(|(layer, of, open)| Side {
            layer,
            media_type: &of.media_type,
            open,
        });
        let spool = self.bases.store.spool();
        let difference = difference(&expected_side, &found_side, &spool)?;
        let mut text = format!("{heads}\n    {difference}");
        if difference.is_in_form_only() {
            text += if same_order(&expected, &found) {
                ", but not the headers around them: names of owners, or extended attributes"
            } else {
                ", but they come in another order"
            };
        }
        if stated != found.diff_id.to_string() {
            let _ = write!(
                text,
                "\n    its configuration says diff_id {stated}, and it has {}",
                found.diff_id
            );
        }
        Ok(Some(text))
    }

    /// A layer as it was built, or as the base image has it.
    fn open(
        &self,
        layer: &Layer,
        made: Option<&BuiltLayer>,
        image: &BuiltImage,
    ) -> anyhow::Result<Box<dyn Read + Send>> {
        let Some(made) = made else {
            let (Base::Image { location, .. }, Some(base)) = (&self.project.base, &image.base)
            else {
                anyhow::bail!("layer {} was not built", layer.digest);
            };
            let place = self.bases.pinned(location, base)?;
            return self.fetcher.wait(reader(&place, &layer.digest, layer.size));
        };
        let (reader, mut writer) = std::io::pipe()?;
        let (made, store) = (made.clone(), self.bases.store.clone());
        // It ends with the reader, which sees in the digest whether it was cut short.
        thread::spawn(move || drop(output::made_blob(&made, &store, &mut writer)));
        Ok(Box::new(reader))
    }
}

/// What was found, for people.
#[derive(Default)]
struct Report {
    text: String,
    /// Whether anything differs.
    found: bool,
}

impl Report {
    fn begin(&mut self, title: &str) {
        self.text += title;
        self.text.push('\n');
    }

    fn equal(&mut self, text: &str) {
        self.text += "  ";
        self.text += text;
        self.text.push('\n');
    }

    fn differs(&mut self, text: &str) {
        self.found = true;
        self.equal(text);
    }

    /// Compares two JSON documents, value by value.
    fn documents(&mut self, name: &str, expected: &[u8], found: &[u8]) -> anyhow::Result<()> {
        if expected == found {
            self.equal(&format!("the {name} is equal, {}", Digest::of(expected)));
            return Ok(());
        }
        let (ours, theirs): (Value, Value) = (
            serde_json::from_slice(expected)?,
            serde_json::from_slice(found)?,
        );
        let mut lines = Vec::new();
        values(name, &ours, &theirs, &mut lines);
        if lines.is_empty() {
            lines.push(format!("{name} says the same in other bytes"));
        }
        for line in &lines {
            self.differs(line);
        }
        Ok(())
    }
}

/// The places where two values differ.
fn values(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    let below = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match (expected, found) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let mut keys: Vec<_> = ours.keys().chain(theirs.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                match (ours.get(key), theirs.get(key)) {
                    (Some(ours), Some(theirs)) => values(&below(key), ours, theirs, lines),
                    (Some(ours), None) => {
                        lines.push(format!("{} is missing, expected {ours}", below(key)));
                    }
                    (None, theirs) => lines.push(format!(
                        "{} is not expected: {}",
                        below(key),
                        theirs.unwrap_or(&Value::Null)
                    )),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (n, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                values(&format!("{path}[{n}]"), ours, theirs, lines);
            }
        }
        _ if expected == found => {}
        _ => lines.push(format!("{path} is {found}, expected {expected}")),
    }
}
